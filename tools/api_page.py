"""Writes docs/api.md from the source of the names that `trifolio` exports. `make docs` runs it.

The text of signatures, fields and docstrings is taken from the source through its syntax tree, not from the objects:
what is written there is what people read, docstrings of fields exist nowhere else, and the page is the same whichever
Python makes it.
"""

import ast
import re
import textwrap
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Final

import trifolio

PAGE: Final = Path(__file__).parents[1] / "docs" / "api.md"
SOURCES: Final = Path(trifolio.__file__).parents[1]
WIDTH: Final = 120
SIGNATURE_WIDTH: Final = 100

INTRODUCTION: Final = """# The names of `trifolio`

All that a program holds of Trifolio is imported from `trifolio`. What is not on this page may change at any time.

This page is made from the docstrings; after a change: `make docs`.
"""

Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = Function | ast.ClassDef | ast.Assign


@dataclass(frozen=True, slots=True)
class Module:
    """A module's source and what it says."""

    name: str
    lines: list[bytes]
    """In UTF-8, for the syntax tree counts its columns so."""
    tree: ast.Module

    def source(self, node: ast.expr | ast.stmt) -> str:
        """The source text of a node, on one line."""
        assert node.end_lineno is not None
        lines = self.lines[node.lineno - 1 : node.end_lineno]
        lines[-1] = lines[-1][: node.end_col_offset]  # first, for it may be the same line
        lines[0] = lines[0][node.col_offset :]
        return re.sub(rb"\s+", b" ", b" ".join(lines)).decode("utf-8")

    def hint(self, node: ast.expr | None) -> str:
        """The source text of an annotation, without the quotes that it needs where a name is not defined yet."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return node.value
        return self.source(node) if node else ""

    def default(self, node: ast.expr) -> str:
        """The source text of a default value; a private constant of the module, unknown outside, by its own value."""
        text = self.source(node)
        for name in {each.id for each in ast.walk(node) if isinstance(each, ast.Name) and each.id.startswith("_")}:
            text = re.sub(rf"\b{name}\b", self.source(self.constant(name)), text)
        return text

    def constant(self, name: str) -> ast.expr:
        """What the module assigns to a name."""
        for node in self.tree.body:
            targets = node.targets if isinstance(node, ast.Assign) else []
            if isinstance(node, ast.AnnAssign):
                targets = [node.target]
            if isinstance(node, ast.Assign | ast.AnnAssign) and node.value and name in map(self.source, targets):
                return node.value
        raise LookupError(f"{self.name} does not assign {name}")


@dataclass(frozen=True, slots=True)
class Found:
    """A definition, and where it stands."""

    module: Module
    node: Definition
    doc: str


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter or a field, as one writes it: `limit: int = 3`."""

    name: str
    type: str
    default: str = ""
    doc: str = ""

    def __str__(self) -> str:
        is_long = len(self.name + self.type + self.default) > SIGNATURE_WIDTH
        default = f" = {'...' if is_long else self.default}" if self.default else ""
        return f"{self.name}: {self.type}{default}" if self.type else self.name + default.replace(" ", "")


# ---- where things are ----


@cache
def module_named(name: str) -> Module:
    """Read a module's source."""
    path = SOURCES.joinpath(*name.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    text = path.read_bytes()
    return Module(name, text.splitlines(), ast.parse(text))


def find(module: Module, name: str) -> Found:
    """The definition of a name in a module, or in the module of ours from which it was imported."""
    for node, following in zip(module.tree.body, [*module.tree.body[1:], None], strict=True):
        if isinstance(node, Function | ast.ClassDef) and node.name == name:
            return Found(module, node, ast.get_docstring(node) or "")
        if isinstance(node, ast.Assign) and module.source(node.targets[0]) == name:
            return Found(module, node, literal(following))
        if isinstance(node, ast.ImportFrom) and name in [alias.name for alias in node.names]:
            return find(module_named(node.module or ""), name)
    raise LookupError(f"{module.name} does not have {name}")


def literal(node: ast.stmt | None) -> str:
    """The text of a string that stands by itself: the docstring of what was assigned before it."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return " ".join(node.value.value.split())
    return ""


def bases(found: Found) -> list[Found]:
    """The classes of ours that a class is made of, nearest first."""
    assert isinstance(found.node, ast.ClassDef)
    own = []
    for base in found.node.bases:
        try:
            own.append(find(found.module, found.module.source(base)))
        except (LookupError, FileNotFoundError):  # Exception, Protocol, Enum: Python's
            continue
    return [each for base in own for each in (base, *bases(base))]


def decorators(found: Found, node: ast.ClassDef | Function) -> set[str]:
    """The names of a definition's decorators, without their arguments."""
    return {found.module.source(each).partition("(")[0] for each in node.decorator_list}


# ---- signatures ----


def parameters(module: Module, arguments: ast.arguments) -> Iterator[str]:
    """The parameters of a function, with the marks `/` and `*`, without `self` and `cls`."""
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults = [None] * (len(positional) - len(arguments.defaults)) + [*arguments.defaults]
    for index, (argument, default) in enumerate(zip(positional, defaults, strict=True), start=1):
        if argument.arg not in {"self", "cls"}:
            yield str(parameter(module, argument, default))
        if index == len(arguments.posonlyargs):
            yield "/"
    if arguments.vararg:
        yield f"*{parameter(module, arguments.vararg, None)}"
    elif arguments.kwonlyargs:
        yield "*"
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        yield str(parameter(module, argument, default))
    if arguments.kwarg:
        yield f"**{parameter(module, arguments.kwarg, None)}"


def parameter(module: Module, argument: ast.arg, default: ast.expr | None) -> Parameter:
    """One parameter of a function."""
    return Parameter(argument.arg, module.hint(argument.annotation), module.default(default) if default else "")


def called(name: str, taken: list[str], returned: str = "") -> str:
    """A signature: on one line where it fits, else one parameter per line."""
    ending = f" -> {returned}" if returned else ""
    line = f"{name}({', '.join(taken)}){ending}"
    if len(line) <= SIGNATURE_WIDTH:
        return line
    return "\n".join([f"{name}(", *(f"    {each}," for each in taken), f"){ending}"])


def signature(module: Module, node: Function, name: str) -> str:
    """The signature of a function or method."""
    prefix = "async def " if isinstance(node, ast.AsyncFunctionDef) else "def "
    return prefix + called(name, list(parameters(module, node.args)), module.hint(node.returns))


# ---- classes ----


def fields(found: Found) -> list[Parameter]:
    """The public fields of a dataclass, with their docstrings."""
    assert isinstance(found.node, ast.ClassDef)
    body = found.node.body
    return [
        Parameter(
            found.module.source(node.target),
            found.module.hint(node.annotation),
            field_default(found.module, node.value) if node.value else "",
            literal(following),
        )
        for node, following in zip(body, [*body[1:], None], strict=True)
        if isinstance(node, ast.AnnAssign) and not found.module.source(node.target).startswith("_")
    ]


def field_default(module: Module, value: ast.expr) -> str:
    """The default of a field: what `field(default_factory=...)` makes, or the value; nothing for other `field(...)`."""
    if isinstance(value, ast.Call) and module.source(value.func) == "field":
        made = [module.source(each.value) for each in value.keywords if each.arg == "default_factory"]
        return {"dict": "{}", "list": "[]"}.get(made[0], f"{made[0]}()") if made else ""
    return module.default(value)


def methods(found: Found) -> Iterator[tuple[Found, Function]]:
    """The public methods and properties of a class, those of bases that are not exported too; each name once."""
    seen = set()
    for each in (found, *(base for base in bases(found) if name_of(base) not in trifolio.__all__)):
        assert isinstance(each.node, ast.ClassDef)
        for node in each.node.body:
            if isinstance(node, Function) and not node.name.startswith("_") and node.name not in seen:
                seen.add(node.name)
                yield each, node


def name_of(found: Found) -> str:
    """The name of a class or function."""
    return "" if isinstance(found.node, ast.Assign) else found.node.name


def constructor(found: Found) -> tuple[Module, ast.FunctionDef] | None:
    """The `__init__` of a class or of the nearest base that has one."""
    for each in (found, *bases(found)):
        assert isinstance(each.node, ast.ClassDef)
        for node in each.node.body:
            if isinstance(node, ast.FunctionDef) and node.name == "__init__":
                return each.module, node
    return None


def class_entry(name: str, found: Found) -> Iterator[str]:
    """What the page says about a class."""
    assert isinstance(found.node, ast.ClassDef)
    exported = [base for base in map(name_of, bases(found)) if base in trifolio.__all__]
    made = constructor(found)
    own = fields(found)
    if "Enum" in map(found.module.source, found.node.bases):
        yield found.doc
        yield members(found, [each.arg for each in made[1].args.args[1:]] if made else [])
    elif "dataclass" in decorators(found, found.node):
        if not has_private_fields(found):
            yield code(called(name, [str(each) for each in own]))
        yield found.doc
        yield "\n".join(item(f"`{each.name}: {each.type}`", each.doc) for each in own)
    else:
        if made:
            yield code(called(name, list(parameters(made[0], made[1].args))))
        yield found.doc
        yield f"Base class: `{exported[0]}`." if exported else ""
        if made and made[1] in found.node.body:
            yield ast.get_docstring(made[1]) or ""
    for home, node in methods(found):
        doc = ast.get_docstring(node) or ""
        if decorators(home, node) & {"property", "cached_property"}:
            yield f"### `{name}.{node.name}`\n\n{code(f'{node.name}: {home.module.hint(node.returns)}')}\n\n{doc}"
        else:
            said = f"{name}.{node.name}" if "staticmethod" in decorators(home, node) else node.name
            yield f"### `{name}.{node.name}`\n\n{code(signature(home.module, node, said))}\n\n{doc}"


def has_private_fields(found: Found) -> bool:
    """Whether a dataclass has fields that only its own module can fill, so that nobody else makes one."""
    assert isinstance(found.node, ast.ClassDef)
    targets = [node.target for node in found.node.body if isinstance(node, ast.AnnAssign)]
    return any(found.module.source(target).startswith("_") for target in targets)


def members(found: Found, columns: list[str]) -> str:
    """The members of an enumeration as a table; `columns` are what their values consist of."""
    enum: type[Enum] = getattr(import_module(found.module.name), name_of(found))
    rows = [["code", *columns], ["---"] * (1 + len(columns))]
    rows += [[f"`{member.name}`", *map(str, member.value)] for member in enum]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


# ---- the page ----


def code(text: str) -> str:
    """A block of Python."""
    return f"```python\n{text}\n```"


def item(head: str, doc: str) -> str:
    """An item of a list, folded."""
    return textwrap.fill(
        f"- {head}: {doc}" if doc else f"- {head}",
        WIDTH,
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def entry(name: str, found: Found) -> str:
    """What the page says about one exported name."""
    if isinstance(found.node, ast.ClassDef):
        parts = list(class_entry(name, found))
    elif isinstance(found.node, ast.Assign):
        parts = [code(found.module.source(found.node)), textwrap.fill(found.doc, WIDTH, break_on_hyphens=False)]
    else:
        parts = [code(signature(found.module, found.node, name)), found.doc]
    return "\n\n".join([f"## `{name}`", *filter(None, parts)])


def contents(found: dict[str, Found]) -> str:
    """The list of the names, each with the first sentence about it; `plan` and `Plan` have anchors of their own."""
    met: Counter[str] = Counter()
    lines = []
    for name, each in found.items():
        anchor = name.lower()
        first = re.split(r"(?<=\.)\s", " ".join(each.doc.split("\n\n")[0].split()))[0].rstrip(".:")
        lines.append(item(f"[`{name}`](#{anchor}{f'-{met[anchor]}' if met[anchor] else ''})", first))
        met[anchor] += 1
    return "\n".join(lines)


def api_page() -> str:
    """The text of docs/api.md."""
    found = {name: find(module_named(module), name) for name, module in trifolio._EXPORTS.items()}
    entries = [entry(name, each) for name, each in found.items()]
    return "\n\n".join([INTRODUCTION.strip(), contents(found), *entries]) + "\n"


if __name__ == "__main__":
    PAGE.write_text(api_page(), encoding="utf-8")
