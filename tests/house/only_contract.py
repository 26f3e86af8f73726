"""A contract for the import linter: only these modules may import those.

The linter's own `forbidden` names whom it judges, so a new file stands outside until somebody lists it. This one names
who is excepted and judges all the others: a new file may import nothing of it until `pyproject.toml` says so.
"""

import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import cast

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output

STANDARD_LIBRARY = "stdlib"


@dataclass(frozen=True, slots=True)
class Breach:
    """An import that the contract does not permit, with the lines it stands on."""

    importer: str
    imported: str
    lines: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.importer} -> {self.imported} (l. {', '.join(map(str, self.lines))})"


class Modules:
    """A set of module names written as patterns.

    `*` stands for any part of one name (`subgraphs.*.store*`), `.**` for a module and all below it, and `stdlib` for
    every module of the standard library. What comes from outside is known by its first name alone: `urllib`, never
    `urllib.request`.
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        self._expression = re.compile("|".join(map(_expression, patterns)) or r"(?!)")

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._expression.fullmatch(name) is not None


def _expression(pattern: str) -> str:
    if pattern == STANDARD_LIBRARY:
        return "|".join(sorted(sys.stdlib_module_names))
    stem = pattern.removesuffix(".**")
    names = stem.replace(".", r"\.").replace("*", "[^.]*")
    return names if stem == pattern else names + r"(?:\.[^.]+)*"


class OnlyContract(Contract):
    """Of the modules `within`, only `importers` may import directly what is `imported`.

    - `within`: whom the contract judges.
    - `imported`: what is fenced. `*` is everything that has a name of one part: all that comes from outside.
    - `open_to_all`: what is not fenced although `imported` says so.
    - `importers`: who may. Each has to make use of it, so that a permission does not outlive its reason.
    - `closed`: whether the importers are fenced in their turn. Then nobody else reaches what is imported through one of
      them either, over however many modules.
    """

    type_name = "only"

    within = fields.ListField(subfield=fields.StringField())
    imported = fields.ListField(subfield=fields.StringField(), default=[])
    open_to_all = fields.ListField(subfield=fields.StringField(), default=[])
    importers = fields.ListField(subfield=fields.StringField(), default=[])
    closed = fields.BooleanField(default=False)

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        """Find what is imported by those who may not, and who may without doing it."""
        importers = Modules(_patterns(self.importers))
        fenced = list(self._fenced_imports(graph))
        breaches = [
            Breach(importer, imported, _lines(graph, importer, imported))
            for importer, imported in fenced
            if importer not in importers
        ]
        users = {importer for importer, _ in fenced}
        idle = [pattern for pattern in _patterns(self.importers) if not _matches_any(pattern, users)]
        unknown = [pattern for pattern in _patterns(self.within) if not _matches_any(pattern, graph.modules)]
        return ContractCheck(
            kept=not (breaches or idle or unknown),
            metadata={"breaches": breaches, "idle": idle, "unknown": unknown},
        )

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Print every import that is not permitted, and every line of the table that nothing needs."""
        for breach in check.metadata["breaches"]:
            output.print_error(f"- {breach}", bold=False)
        if check.metadata["breaches"]:
            output.new_line()
            output.print(f"Only these may: {', '.join(_patterns(self.importers)) or 'none'}.")
        for pattern in check.metadata["idle"]:
            output.print_error(f"- {pattern} may import this and does not: take it from `importers`.", bold=False)
        for pattern in check.metadata["unknown"]:
            output.print_error(f"- {pattern} in `within` is the name of no module.", bold=False)
        output.new_line()

    def _fenced_imports(self, graph: ImportGraph) -> Iterator[tuple[str, str]]:
        within = Modules(_patterns(self.within))
        fenced = Modules(_patterns(self.imported))
        open_to_all = Modules(_patterns(self.open_to_all))
        importers = Modules(_patterns(self.importers))
        for importer in sorted(graph.modules):
            if importer in within:
                for imported in sorted(graph.find_modules_directly_imported_by(importer)):
                    behind_importer = bool(self.closed) and imported in importers
                    if behind_importer or (imported in fenced and imported not in open_to_all):
                        yield importer, imported


def _patterns(field: object) -> list[str]:
    # The linter replaces each field by its value on the instance; the class says only what fields there are.
    return cast("list[str]", field)


def _matches_any(pattern: str, names: Iterable[str]) -> bool:
    modules = Modules([pattern])
    return any(name in modules for name in names)


def _lines(graph: ImportGraph, importer: str, imported: str) -> tuple[int, ...]:
    details = graph.get_import_details(importer=importer, imported=imported)
    return tuple(sorted({detail["line_number"] for detail in details}))
