"""What a fetch asks for, as Python: the way to all objects that an entity request concerns, and their representations.

What is asked of the same objects under several aliases is found in one walk. The order of representations is that in
which the plain interpreter finds them, so that both tell errors in the same order. Where the values of a representation
say all of it, objects are put together under these alone, and representations are made of what came to be there. What
the same objects are asked with fewer of these values, is put together from that.

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
from trifolio.query_plan import Entry, Fetch, Path, PathStep, Representation, RepresentationField


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
    aliases = _aliases(fetch, objects)
    with text.block(f"def ask_{fetch.id}(root):"):
        for alias in aliases.values():
            if alias.is_whole:
                text.line(f"{alias.name} = defaultdict(list)")
            else:
                for part in ("representations = []", "targets = []", "seen = {}"):
                    text.line(f"{alias.name}_{part}")
        asking = _Asking(text, objects, aliases)
        walked = [entry for entry in fetch.entries if aliases[entry.alias].base is None]
        for together in _with_the_same_objects(walked):
            for path in together[0].paths:
                asking.write(together, path, "root")
        groups = [_write_group(text, alias) for alias in aliases.values()]
        text.line(f"return [{', '.join(groups)}]")
    text.line("")


class _Alias(NamedTuple):
    """What one alias asks, and of which objects."""

    name: str
    """What its variables begin with."""
    representation: Representation
    """The first that it sends."""
    exact: frozenset[str] | None
    """Where it sends no other, the fields that are told apart by comparing their values."""
    asked: tuple[tuple[tuple[Path, ...], frozenset[str]], ...]
    """The ways to its objects, and of which types these are."""
    base: "_Alias | None" = None
    """An alias that asks the same objects with the same values and more."""

    @property
    def is_whole(self) -> bool:
        """Whether the values of a representation say all of it."""
        return self.exact is not None and len(self.exact) == len(self.representation.fields)

    def has_all_of(self, other: "_Alias") -> bool:
        """Whether it asks the same objects as another alias with what that asks with, and more, and as strictly."""
        keys, never_null = _keys(self.representation)
        their_keys, never_null_there = _keys(other.representation)
        return self.asked == other.asked and keys > their_keys and never_null >= never_null_there


def _keys(representation: Representation) -> tuple[frozenset[str], frozenset[str]]:
    """The keys that a representation is made of, and those of them that may not be null."""
    fields = representation.fields
    return frozenset([each.key for each in fields]), frozenset([each.key for each in fields if not each.required])


def _aliases(fetch: Fetch, objects: Objects) -> dict[str, _Alias]:
    """What a fetch's aliases ask, by their names in the operation."""
    by_name: dict[str, list[Entry]] = {}
    for entry in fetch.entries:
        by_name.setdefault(entry.alias, []).append(entry)
    aliases: dict[str, _Alias] = {}
    for number, (name, entries) in enumerate(by_name.items()):
        asked = tuple([(tuple(entry.paths), frozenset(entry.types or ())) for entry in entries])
        first = entries[0].representation
        aliases[name] = _Alias(f"alias_{number}", first, _exact(entries, objects), asked)
    wholes = [each for each in aliases.values() if each.is_whole]
    wholes.sort(key=lambda each: len(each.representation.fields), reverse=True)  # what fits first has no base
    for name, alias in aliases.items():
        if alias.is_whole:
            base = next((each for each in wholes if each.has_all_of(alias)), None)
            aliases[name] = alias._replace(base=base)
    return aliases


def _exact(entries: Sequence[Entry], objects: Objects) -> frozenset[str] | None:
    """The fields of one alias's representations that are told apart by comparing their values; None where it sends
    several kinds of representations."""
    first = entries[0].representation
    if not first.typename or any(entry.representation != first or entry.fallbacks for entry in entries):
        return None
    paths = [path for entry in entries for path in entry.paths]
    return frozenset([each.name for each in first.fields if all(objects.is_exact(path, each.key) for path in paths)])


def _write_group(text: Text, alias: _Alias) -> str:
    """Statements that end an alias's search; gives the expression for its group."""
    if not alias.is_whole:
        return f"({alias.name}_representations, {alias.name}_targets)"
    if alias.base is not None:
        variables = {field.key: text.name("value") for field in alias.base.representation.fields}
        values = [variables[field.key] for field in alias.base.representation.fields]
        places = text.name("places")
        with text.block(f"for {_names(values)}, {places} in {alias.base.name}.items():"):
            own = [variables[field.key] for field in alias.representation.fields]
            text.line(f"{alias.name}[{_identity(own, [])}] += {places}")
    values = [text.name("value") for _ in alias.representation.fields]
    typename = alias.representation.typename
    assert typename is not None, "else the values do not say all"
    made = _written(text, alias.representation, text.key(typename), values)
    return f"([{made} for {_names(values)} in {alias.name}], [*{alias.name}.values()])"


def _names(values: Sequence[str]) -> str:
    """What takes apart what `_identity` puts together."""
    return values[0] if len(values) == 1 else f"({', '.join(values)}{',' * bool(values)})"


def _written(text: Text, representation: Representation, typename: str, values: Sequence[str]) -> str:
    """The expression for a representation with these values."""
    parts = [f"{text.key('__typename')}: {typename}"]
    parts += [f"{text.key(item.name)}: {value}" for item, value in zip(representation.fields, values, strict=True)]
    return f"{{{', '.join(parts)}}}"


def _with_the_same_objects(entries: Sequence[Entry]) -> list[list[Entry]]:
    """The entries, those together that concern the same objects, each under an alias of its own."""
    aliases = Counter(entry.alias for entry in entries)
    groups: list[list[Entry]] = []
    for entry in entries:
        together = next((group for group in groups if group[0].paths == entry.paths), None)
        if together is None or aliases[entry.alias] > 1:
            groups.append([entry])
        else:
            together.append(entry)
    return groups


class _Read(NamedTuple):
    """What statements have done with an object before, whatever entry they are for."""

    variables: dict[str, str]
    """By key, those that hold its value."""
    checked: set[str]
    """The keys whose value is not null."""


class _Asking:
    """Writes the loops and statements of one function."""

    def __init__(self, text: Text, objects: Objects, aliases: Mapping[str, _Alias]) -> None:
        self._text = text
        self._objects = objects
        self._aliases = aliases

    def write(self, entries: Sequence[Entry], path: Sequence[PathStep], place: str, walked: Path = ()) -> None:
        """The way from the object in `place`, and what is asked at its end by entries."""
        if not path:
            read = _Read({}, set())
            for entry in entries:
                is_certain = not entry.types and not entry.fallbacks
                self._representation(entry, place, walked, read if is_certain else _Read({}, set()))
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

    def _representation(self, entry: Entry, place: str, path: Path, read: "_Read") -> None:
        """Statements that ask for one object at the end of a path, or let it join those that asked for the same."""
        text, alias = self._text, self._aliases[entry.alias]
        indent = text.indent
        if entry.types:
            text.line(f"if {self._read(place, '__typename')} in {text.types(frozenset(entry.types))}:")
            text.indent += 1
        if alias.is_whole:
            values = [self._whole_value(item, place, path, read) for item in alias.representation.fields]
            text.line(f"{alias.name}[{_identity(values, [])}].append({place})")
        else:
            self._looked_at(entry, alias, place, path, read)
        text.indent = indent

    def _whole_value(self, item: RepresentationField, place: str, path: Path, read: "_Read") -> str:
        """The expression for a value that needs to be looked at for nothing but null."""
        if not item.required and item.key not in read.checked and self._objects.nulls(path, item.key, 0)[0]:
            self._check(self._value(item, place, read), item, read)
        return read.variables.get(item.key) or self._read(place, item.key)

    def _looked_at(self, entry: Entry, alias: _Alias, place: str, path: Path, read: "_Read") -> None:
        """Statements that ask for one object by the first representation that it has the keys of."""
        text = self._text
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
                self._ask(alias, representation, typename, _identity([typename, str(rank)], values), values, place)
            text.line("else:")
            text.indent += 1
        values = self._values(last, place, read)
        for item, value in zip(last.fields, values, strict=True):
            if not item.required and item.key not in read.checked and self._objects.nulls(path, item.key, 0)[0]:
                self._check(value, item, read)
        exact = alias.exact or ()
        inexact = [value for item, value in zip(last.fields, values, strict=True) if item.name not in exact]
        same = [value for value in values if value not in inexact]
        identity = _identity([*([] if alias.exact is not None else [typename]), *same], inexact)
        self._ask(alias, last, typename, identity, values, place)

    def _check(self, value: str, item: RepresentationField, read: "_Read") -> None:
        read.checked.add(item.key)
        with self._text.block(f"if {value} is None:"):
            self._text.line("raise UnexpectedError")

    def _values(self, representation: Representation, place: str, read: "_Read") -> list[str]:
        """Statements that read a representation's values, where that was not done; gives their names."""
        return [self._value(item, place, read) for item in representation.fields]

    def _value(self, item: RepresentationField, place: str, read: "_Read") -> str:
        variable = read.variables.get(item.key)
        if variable is None:
            variable = read.variables[item.key] = self._text.name(item.name.strip("_") or "value")
            self._text.line(f"{variable} = {self._read(place, item.key)}")
        return variable

    def _ask(
        self,
        alias: _Alias,
        representation: Representation,
        typename: str,
        identity: str,
        values: Sequence[str],
        place: str,
    ) -> None:
        """Statements that send a representation on behalf of an object, once for all that have the same identity."""
        text = self._text
        whole = _written(text, representation, typename, values)
        seen, key = text.name("seen"), text.name("identity")
        look = f"{seen} = {alias.name}_seen.get({key})"
        text.line(f"{key} = {identity}")
        with text.block("try:"):
            text.line(look)
        with text.block("except TypeError:"):  # a value of a custom scalar that is an object or a list
            text.line(f"{key} = encode_json({whole})")
            text.line(look)
        with text.block(f"if {seen} is None:"):
            text.line(f"{seen} = []")
            text.line(f"{alias.name}_seen[{key}] = {seen}")
            text.line(f"{alias.name}_targets.append({seen})")
            text.line(f"{alias.name}_representations.append({whole})")
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
