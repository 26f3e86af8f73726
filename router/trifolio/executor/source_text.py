"""Python source in the making: its lines, the values that its names stand for, and how the two become functions.

Safety: names and values from operations never become text. Every key, set of types or constant is bound in the
functions' namespace under a name of its own; names contain GraphQL names only, which are identifiers by grammar.

The text is registered with `linecache`, so that tracebacks and profilers show its lines.
"""

import linecache
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from types import CodeType
from typing import Final
from weakref import finalize

from trifolio.executor.merge import SHORT_CHARACTERS, TEXT_SHIFT, count_weight

Spend = Callable[[int], None]
"""Counts values before they are read, and raises where they are too many."""


class Text:
    """Lines of Python in the making, and the values that their names stand for.

    Names of variables end in a number, names of bound values never do: so none of them hides another.
    """

    def __init__(self, **namespace: object) -> None:
        """`namespace` is what the text may name beside what is bound later."""
        self.lines: list[str] = []
        self._namespace: dict[str, object] = {"count_weight": count_weight, **namespace}
        self._names: dict[object, str] = {}
        self.indent = 0
        self._count = 0

    @property
    def source(self) -> str:
        """All lines."""
        return "\n".join(self.lines) + "\n"

    def line(self, text: str) -> None:
        """Add one statement at the present indentation."""
        self.lines.append("    " * self.indent + text)

    @contextmanager
    def block(self, header: str) -> Iterator[None]:
        """A compound statement's header, and what is added inside."""
        self.line(header)
        self.indent += 1
        yield
        self.indent -= 1

    def name(self, prefix: str) -> str:
        """A fresh name for a variable or function."""
        self._count += 1
        return f"{prefix}_{self._count}"

    def key(self, text: str) -> str:
        """The name that stands for a key or type name."""
        assert text.isascii(), text
        assert text.isidentifier(), text
        return self._bind(("key", text), f"{text}_key", text)

    def types(self, types: frozenset[str]) -> str:
        """The name that stands for a set of types or enum values."""
        return self._bind(("types", types), f"types_{len(self._namespace)}_set", types)

    def constant(self, prefix: str, value: object) -> str:
        """The name that stands for this very object."""
        return self._bind(("constant", id(value)), f"{prefix}_{len(self._namespace)}_constant", value)

    def _bind(self, identity: object, name: str, value: object) -> str:
        if identity not in self._names:
            self._names[identity] = name
            self._namespace[name] = value
        return self._names[identity]

    def weigh(self, value: str) -> None:
        """Count what a value of no known shape holds: numbers and most texts hold nothing."""
        with self.block(f"if type({value}) is str:"), self.block(f"if len({value}) > {SHORT_CHARACTERS}:"):
            self.line(f"spend(len({value}) >> {TEXT_SHIFT})")
        with self.block(f"elif type({value}) is dict or type({value}) is list:"):
            self.line(f"count_weight({value}, spend)")

    def functions(self, filename: str, owner: str) -> dict[str, object]:
        """Compile the text; returns what it defines. Its lines stay registered for as long as the function `owner`.

        Plans come and go, and clients decide how many: the registered text goes when the code does.
        """
        source = self.source
        filename = f"<{filename}:{blake2b(source.encode(), digest_size=4).hexdigest()}>"
        defined = dict(self._namespace)
        exec(_compile(source, filename), defined)  # noqa: S102 # its text holds names of our own making alone
        linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
        finalize(defined[owner], linecache.cache.pop, filename, None).atexit = False
        return defined


def _compile(source: str, filename: str) -> CodeType:
    return compile(source, filename, "exec", dont_inherit=True)


_COUNTS: Final = f"len({{value}}) > {SHORT_CHARACTERS} and spend(len({{value}}) >> {TEXT_SHIFT})"
"""Counts how long a text is, and is not true."""
REFUSED_LEAVES: Final = {
    "Int": "type({value}) is not int or not -2147483648 <= {value} <= 2147483647",
    "Float": "type({value}) is not float and type({value}) is not int or {value} - {value} != 0",
    "String": f"type({{value}}) is not str or {_COUNTS}",
    "Boolean": "type({value}) is not bool",
    "ID": f"type({{value}}) is not str or {_COUNTS}",
}
"""Tests for values that cannot pass as they are; the interpreter then says whether they can be coerced."""
