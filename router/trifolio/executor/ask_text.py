"""What a fetch asks for, as Python: the way to all objects that an entity request concerns, and their representations.

What is asked of the same objects under several aliases is found in one walk. The order of representations is that in
which the plain interpreter finds them, so that both tell errors in the same order. Where the values of a representation
say all of it, objects are put together under these alone, and representations are made of what came to be there.

    products.@.maker    ->    products_1 = root[products_key]
                              if products_1 is not None:
                                  for item_2 in products_1:
                                      if item_2 is not None:
                                          maker_3 = item_2[maker_key]
                                          ...               a Maker's representation
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from trifolio.conditions import ALWAYS
from trifolio.executor.merge import Json
from trifolio.executor.source_text import Text
from trifolio.query_plan import Entry, Fetch, Path, PathStep, Representation


class UnexpectedError(Exception):
    """Raised by generated code where the data is not the common case; the interpreter takes over."""


UNEXPECTED: Final = (UnexpectedError, KeyError, TypeError, ValueError, AttributeError)
"""What generated code raises for data that is not the common case: its subscripts and loops are its type checks."""

Group = tuple[list[Json], list[list[Json]]]
"""The representations of one alias, and for each the objects that sent it."""


LISTS_MAX: Final = 12
"""Lists inside lists of objects: CPython allows 20 nested blocks."""
INDENT_MAX: Final = 80
"""Levels of indentation on the way to an object: CPython allows 100."""


def is_simple(fetch: Fetch) -> bool:
    """Whether a fetch's representations are flat copies, the same for every request, of objects that are not nested
    deeper than one function can go."""
    return fetch.is_entity_fetch and all(
        not entry.context
        and entry.condition == ALWAYS
        and all(map(_is_flat, (entry.representation, *entry.fallbacks)))
        and all(map(_is_near, entry.paths))
        for entry in fetch.entries
    )


def _is_near(path: Path) -> bool:
    lists = sum(step.lists for step in path)
    return lists <= LISTS_MAX and len(path) + 2 * lists + sum(map(bool, (step.types for step in path))) <= INDENT_MAX


def _is_flat(representation: Representation) -> bool:
    fields = representation.fields
    return all(not field.selection and not field.types for field in fields) and len(
        {field.name for field in fields}
    ) == len(fields)


class Objects(Protocol):
    """What is known of the objects that ask."""

    def read(self, text: Text, place: str, key: str) -> str:
        """The expression that reads a key of the object in a variable."""

    def is_exact(self, path: Path, key: str) -> bool:
        """Whether a key's values at the end of a path can be told apart by comparing them: not so 1, 1.0 and True."""

    def nulls(self, path: Path, key: str, lists: int) -> Sequence[bool]:
        """Whether a key's value at the end of a path may be null; then, as often as it is a list, whether items may."""


class Dictionaries:
    """Objects of which nothing is known but that they should be dictionaries."""

    def read(self, text: Text, place: str, key: str) -> str:
        """By subscript."""
        return f"{place}[{text.key(key)}]"

    def is_exact(self, path: Path, key: str) -> bool:
        """Anything may be there."""
        return False

    def nulls(self, path: Path, key: str, lists: int) -> Sequence[bool]:
        """Anything may be there."""
        return (True,) * (lists + 1)


def write_ask(text: Text, fetch: Fetch, objects: Objects) -> None:
    """`ask_N(root)`: the groups of a fetch's aliases, in the order in which the fetch names them."""
    numbers = {alias: number for number, alias in enumerate(dict.fromkeys(entry.alias for entry in fetch.entries))}
    with text.block(f"def ask_{fetch.id}(root):"):
        alike = _alike(fetch, objects)
        wholes = {entry.alias: _whole_of(entry, alike) for entry in fetch.entries}
        for alias, number in numbers.items():
            if wholes[alias] is not None:
                text.line(f"alias_{number} = defaultdict(list)")
                continue
            text.line(f"alias_{number}_representations = []")
            text.line(f"alias_{number}_targets = []")
            text.line(f"alias_{number}_seen = {{}}")
        asking = _Asking(text, objects, alike)
        for together in _with_the_same_objects(fetch):
            for path in together[0].paths:
                asking.write([(entry, numbers[entry.alias]) for entry in together], path, "root")
        groups = (_group(text, number, wholes[alias]) for alias, number in numbers.items())
        text.line(f"return [{', '.join(groups)}]")
    text.line("")


def _whole_of(entry: Entry, alike: "Mapping[str, frozenset[str]]") -> Representation | None:
    """The representation of an alias under which the values say all; None where more has to be looked at."""
    fields, exact = entry.representation.fields, alike.get(entry.alias)
    return entry.representation if exact is not None and len(exact) == len(fields) else None


def _group(text: Text, number: int, whole: Representation | None) -> str:
    """The expression for an alias's group, from what the walk has found."""
    if whole is None:
        return f"(alias_{number}_representations, alias_{number}_targets)"
    names = [text.name(item.name.strip("_") or "value") for item in whole.fields]
    assert whole.typename is not None, "else the values do not say all"
    made = _written(text, whole, text.key(whole.typename), names)
    values = names[0] if len(names) == 1 else f"({', '.join(names)}{',' * bool(names)})"
    return f"([{made} for {values} in alias_{number}], [*alias_{number}.values()])"


def _written(text: Text, representation: Representation, typename: str, values: Sequence[str]) -> str:
    """The expression for a representation with these values."""
    parts = [f"{text.key('__typename')}: {typename}"]
    parts += [f"{text.key(item.name)}: {value}" for item, value in zip(representation.fields, values, strict=True)]
    return f"{{{', '.join(parts)}}}"


def _with_the_same_objects(fetch: Fetch) -> list[list[Entry]]:
    """The entries, those together that concern the same objects, each under an alias of its own."""
    aliases = Counter(entry.alias for entry in fetch.entries)
    groups: list[list[Entry]] = []
    for entry in fetch.entries:
        together = next((group for group in groups if group[0].paths == entry.paths), None)
        if together is None or aliases[entry.alias] > 1:
            groups.append([entry])
        else:
            together.append(entry)
    return groups


def _alike(fetch: Fetch, objects: Objects) -> dict[str, frozenset[str]]:
    """The aliases under which all objects are asked for with the same type's name and fields, and those of the fields
    that are told apart by comparing their values."""
    asked: dict[str, list[Entry]] = {}
    for entry in fetch.entries:
        asked.setdefault(entry.alias, []).append(entry)
    alike = {}
    for alias, entries in asked.items():
        first = entries[0].representation
        if first.typename and all(entry.representation == first and not entry.fallbacks for entry in entries):
            paths = [path for entry in entries for path in entry.paths]
            exact = (each.name for each in first.fields if all(objects.is_exact(path, each.key) for path in paths))
            alike[alias] = frozenset(exact)
    return alike


class _Read(NamedTuple):
    """What statements have done with an object before, whatever entry they are for."""

    variables: dict[str, str]
    """By key, those that hold its value."""
    checked: set[str]
    """The keys whose value is not null."""


class _Asking:
    """Writes the loops and statements of one function."""

    def __init__(self, text: Text, objects: Objects, alike: Mapping[str, frozenset[str]]) -> None:
        self._text = text
        self._objects = objects
        self._alike = alike

    def write(
        self, entries: Sequence[tuple[Entry, int]], path: Sequence[PathStep], place: str, walked: Path = ()
    ) -> None:
        """The way from the object in `place`, and what is asked at its end by entries, each with its alias's number."""
        if not path:
            read = _Read({}, set())
            for entry, number in entries:
                is_certain = not entry.types and not entry.fallbacks
                self._representation(entry, place, walked, number, read if is_certain else _Read({}, set()))
            return
        text, step = self._text, path[0]
        indent = text.indent
        if step.types:
            text.line(f"if {self._read(place, '__typename')} in {text.types(frozenset(step.types))}:")
            text.indent += 1
        value = text.name(step.key.strip("_") or "value")
        text.line(f"{value} = {self._read(place, step.key)}")
        *may_lists_be_null, may_be_null = self._objects.nulls(walked, step.key, step.lists)
        for may_list_be_null in may_lists_be_null:
            self._unless_null(value, may_be_null=may_list_be_null)
            item = text.name("item")
            text.line(f"for {item} in {value}:")
            text.indent += 1
            value = item
        self._unless_null(value, may_be_null=may_be_null)
        self.write(entries, path[1:], value, (*walked, step))
        text.indent = indent

    def _unless_null(self, value: str, *, may_be_null: bool) -> None:
        if may_be_null:
            self._text.line(f"if {value} is not None:")
            self._text.indent += 1

    def _read(self, place: str, key: str) -> str:
        return self._objects.read(self._text, place, key)

    def _representation(self, entry: Entry, place: str, path: Path, number: int, read: "_Read") -> None:
        """Statements that ask for one object at the end of a path, or let it join those that asked for the same."""
        text = self._text
        indent = text.indent
        if entry.types:
            text.line(f"if {self._read(place, '__typename')} in {text.types(frozenset(entry.types))}:")
            text.indent += 1
        constant = entry.representation.typename
        typename = text.key(constant) if constant else text.name("typename")
        if not constant:
            text.line(f"{typename} = {self._read(place, '__typename')}")
            with text.block(f"if type({typename}) is not str:"):
                text.line("raise UnexpectedError")
        *before, last = (entry.representation, *entry.fallbacks)
        for rank, representation in enumerate(before):
            values = self._values(representation, place, read)
            with text.block(f"if {_has_keys(representation, values)}:"):
                self._ask(representation, typename, _identity([typename, str(rank)], values), values, place, number)
            text.line("else:")
            text.indent += 1
        values = self._values(last, place, read)
        for item, value in zip(last.fields, values, strict=True):
            if not item.required and item.key not in read.checked and self._objects.nulls(path, item.key, 0)[0]:
                read.checked.add(item.key)
                with text.block(f"if {value} is None:"):
                    text.line("raise UnexpectedError")
        if _whole_of(entry, self._alike) is not None:
            text.line(f"alias_{number}[{_identity(values, [])}].append({place})")
            text.indent = indent
            return
        exact = self._alike.get(entry.alias)
        if exact is None:
            identity = _identity([typename], values)
        else:
            inexact = [value for item, value in zip(last.fields, values, strict=True) if item.name not in exact]
            identity = _identity([value for value in values if value not in inexact], inexact)
        self._ask(last, typename, identity, values, place, number)
        text.indent = indent

    def _values(self, representation: Representation, place: str, read: "_Read") -> list[str]:
        """Statements that read a representation's values, where that was not done; gives their names."""
        text = self._text
        for item in representation.fields:
            if item.key not in read.variables:
                variable = read.variables[item.key] = text.name(item.name.strip("_") or "value")
                text.line(f"{variable} = {self._read(place, item.key)}")
        return [read.variables[item.key] for item in representation.fields]

    def _ask(
        self,
        representation: Representation,
        typename: str,
        identity: str,
        values: Sequence[str],
        place: str,
        number: int,
    ) -> None:
        """Statements that send a representation on behalf of an object, once for all that have the same identity."""
        text = self._text
        whole = _written(text, representation, typename, values)
        seen, key = text.name("seen"), text.name("identity")
        look = f"{seen} = alias_{number}_seen.get({key})"
        text.line(f"{key} = {identity}")
        with text.block("try:"):
            text.line(look)
        with text.block("except TypeError:"):  # a value of a custom scalar that is an object or a list
            text.line(f"{key} = encode_json({whole})")
            text.line(look)
        with text.block(f"if {seen} is None:"):
            text.line(f"{seen} = []")
            text.line(f"alias_{number}_seen[{key}] = {seen}")
            text.line(f"alias_{number}_targets.append({seen})")
            text.line(f"alias_{number}_representations.append({whole})")
        text.line(f"{seen}.append({place})")


def _identity(exact: Sequence[str], values: Sequence[str]) -> str:
    """The expression by which representations are told apart: what comparing tells apart, and each other value with its
    type."""
    parts = [*exact, *(f"{value}, type({value})" for value in values)]
    if not parts:
        return "()"  # a type of which there is one object has nothing in its key
    return parts[0] if len(exact) == 1 and not values else f"({', '.join(parts)},)"


def _has_keys(representation: Representation, values: Sequence[str]) -> str:
    """Whether a representation can be sent: what is required may be null, keys may not."""
    fields = zip(representation.fields, values, strict=True)
    return " and ".join(f"{value} is not None" for field, value in fields if not field.required) or "True"
