"""A plan's answer as structs: subgraphs' bytes are decoded into the shape that the client gets, and encoded from it.

Problem: a dictionary per object is decoded, merged into others, checked and copied into one more, value by value in
Python, though for most plans the answer's shape is known beforehand and so is all that may stand in it.
Idea: a `msgspec.Struct` per place of the answer, with the client's fields in the client's order. The decoder checks the
types and fills in what the first request brings; what later ones bring is set on the same objects; the encoder leaves
out what is not set. No value is looked at in Python but those that are asked with.

Why it is right: it serves the case that all is as it should be, and remembers the responses. At the first thing that
is not (a value of another type, a null where there may be none, an error, an entity that is missing, too many bytes)
everything is done again with dictionaries from the same responses, as if so from the start. So errors, nulls and places
have one implementation, which is the other one, and tests compare the two. One thing is simple enough to be done here:
where nothing came of a request that no other needs, or an entity of it does not exist, and all of that may be null, it
is null, with the request's errors.

    { users { name reviews { body } } }   users and their keys from one subgraph, reviews from another

    class User:   name: str, reviews: list[Review] = UNSET, id: str      `id` is not shown
    decode        User(name="Ann", id="1")
    absorb        user.reviews = item.reviews
    finish        user.id = UNSET
    encode        {"users":[{"name":"Ann","reviews":[{"body":"..."}]}]}

What subgraphs in this process answer is converted to the same structs, without being written down.

What @skip and @include let through hangs on variables that are known before anything is asked: there is a set of
structs for each combination of their values, made as if the operation had neither.

Where objects of several types stand at one place, one struct has the fields of all, and those of some types only are
not set at the others. The decoder cannot say which have to be there, so that is checked when the objects come, by their
`__typename`; structs that the decoder tells apart by it would be written with it in front, asked for or not.

What it is not for: types that have one key with different values, or their fields in contrary orders; results of which
not all who asked get the same keys; two fields of the answer from one value; what the router says of the schema; and
requests that ask with anything but plain values: such plans have no structs.

Limits: `answer_values_max` holds for what is certain never to be less than an answer's values, which is its bytes, or
its commas and brackets; what is shown at several places counts as often. Cost: some 150 microseconds and 4 kB per
field, once per plan that is used often, or has large answers; all plans share one room. A combination counts as a plan
of its own, and of each plan those that were met last are kept: a request with another is answered without structs.
"""

import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, defstruct

from trifolio.conditions import ALWAYS
from trifolio.executor.ask_text import INDENT_MAX, LISTS_MAX, Group, UnexpectedError, is_simple, write_ask
from trifolio.executor.brought import Brought, BroughtOnDemand
from trifolio.executor.encoding import encode_json, values_at_most, values_in
from trifolio.executor.source_text import Text
from trifolio.query_plan import (
    Entry,
    Fetch,
    LeafShape,
    ListShape,
    ObjectShape,
    OutputField,
    Path,
    Plan,
    Selection,
    Shape,
    TypenameShape,
)

NO_TYPES: Final[Mapping[str, frozenset[str]]] = MappingProxyType({})

ENCODE: Final = msgspec.json.Encoder().encode
"""From a struct, or an envelope, to JSON text."""


@dataclass(frozen=True, slots=True)
class Shown:
    """The fields that a client sees of an object, in order, with those of the objects inside."""

    fields: "tuple[tuple[str, str, Shown | None], ...]"
    """For each its key, its attribute, and what is inside."""
    objects: "tuple[tuple[str, str, Shown | None], ...]"
    """Those with something inside."""
    fetches: frozenset[int]
    """The ids of those that bring something for it, or for something inside."""


class _Envelope(Struct):
    """What stands around the data; each fetch has one of its own."""

    data: Any
    errors: Any = None


@dataclass(frozen=True, slots=True)
class StructFetch:
    """How one fetch of a plan is asked and absorbed."""

    decoder: "msgspec.json.Decoder[_Envelope]"
    ask: Callable[[Struct], list[Group]]
    """From the root to a group for every alias; raises one of `UNEXPECTED`."""
    absorb: Callable[[Struct, Any, Sequence[Sequence[list[Struct]]], int], int]
    """From the root, data, targets and how many values may be shown again, to how many are at most; raises one of
    `UNEXPECTED`, where they are more before it makes a copy of any."""
    lacking: tuple[frozenset[str], ...] | None
    """For every alias what its objects lack when nothing comes for them; None where that is not only null at these
    places: where something may not be null, or other requests need it."""


@dataclass(frozen=True, slots=True)
class StructProgram:
    """A plan's structs, and the functions that fill them."""

    source: str
    root: Callable[[], Struct]
    """An answer in which nothing is set."""
    fetches: Mapping[int, StructFetch]
    """By fetch id: all of them."""
    finish: Callable[[Struct], None]
    """Take away what is not shown."""
    shown: Shown
    """What is left."""


def generate_structs(plan: Plan, values: Mapping[str, bool], *, name: str) -> StructProgram | None:
    """Make the structs of a plan and compile its functions, for requests whose variables have these values.

    None where its shape is not known beforehand.
    """
    try:
        return _Making(plan, values).program(name)
    except _NotStaticError:
        return None


class _NotStaticError(Exception):
    """Raised where it takes more of a request, or its data, to know the answer's shape."""


def _fetches_with(plan: Plan, values: Mapping[str, bool]) -> Iterator[Fetch]:
    """The fetches that are sent where the variables have these values; what is not asked in them is asked nowhere."""
    for fetch in plan.fetches:
        if fetch.condition.holds(values):
            entries = tuple(
                replace(entry, condition=ALWAYS, paths=entry.paths if entry.condition.holds(values) else ())
                for entry in fetch.entries
            )
            yield replace(fetch, condition=ALWAYS, entries=entries)


_Source = tuple[int, str]
"""A fetch's id, and the alias; empty for a root fetch."""


@dataclass(slots=True)
class _Position:
    """A place of the answer: one object, or the objects in a list."""

    selection: Selection
    fields: Sequence[OutputField]
    """Those of the selection that are shown."""
    made_by: _Source | None
    """What brings the objects themselves; None for the root."""
    brought: dict[str, _Source] = field(default_factory=dict)
    """By key, what brings it."""
    only: dict[str, frozenset[str]] = field(default_factory=dict)
    """The types that alone have a key, where not all objects have it."""
    inner: dict[str, "_Position"] = field(default_factory=dict)
    struct: type[Struct] | None = None
    types: dict[str, Any] = field(default_factory=dict)
    """The type of each key."""
    asked_by: set[int] = field(default_factory=set)
    """The ids of the fetches that bring something for its objects."""

    @property
    def hidden(self) -> list[str]:
        """Keys that the client does not see."""
        shown = {each.key for each in self.fields}
        return [key for key in self.brought if key not in shown]

    @property
    def hidden_by_type(self) -> dict[str, tuple[str, ...]]:
        """For each type that has some, the keys that are shown of others alone."""
        shown = {each.key: each.types for each in self.fields if each.types is not None}
        hidden = {
            name: tuple(key for key, types in shown.items() if name not in types and self.has(key, name))
            for name in sorted(self.selection.types)
        }
        return {name: keys for name, keys in hidden.items() if keys}

    def has(self, key: str, *types: str) -> bool:
        """Whether all objects of these types have a key; no types: all objects."""
        only = self.only.get(key)
        return key in self.brought and (only is None or only.issuperset(types or self.selection.types))

    def among(self, types: Sequence[str]) -> frozenset[str]:
        """Those types that objects here can be of; no types: whatever they are. Raises _NotStaticError where objects
        do not say of which type they are."""
        if not types:
            return self.selection.types
        if not self.selection.types or not self.has("__typename"):
            raise _NotStaticError
        return self.selection.types.intersection(types)


class _Making:
    """The structs of one plan in the making."""

    def __init__(self, plan: Plan, values: Mapping[str, bool]) -> None:
        self._plan = replace(plan, fetches=tuple(_fetches_with(plan, values)))
        self._values = values
        self._on_demand = BroughtOnDemand(self._plan, values)
        self._root = self._position(plan.selection, None)
        self._structs: dict[object, type[Struct]] = {}
        self._brought: dict[_Source, Mapping[str, Brought | None]] = {}
        self._items: dict[_Source, Any] = {}

    def program(self, name: str) -> StructProgram:
        """Everything; raises _NotStaticError."""
        plan = self._plan
        if plan.introspection is not None or plan.deferred:
            raise _NotStaticError
        for fetch, by_alias in self._on_demand.by_fetch:
            self._place_fetch(fetch, by_alias)
        root = self._make_struct(self._root)
        known: dict[str, object] = {"encode_json": encode_json, "encode": ENCODE, "values_at_most": values_at_most}
        text = Text(UnexpectedError=UnexpectedError, UNSET=UNSET, defaultdict=defaultdict, **known)
        decoders = {fetch.id: self._decoder(fetch) for fetch in plan.fetches}
        for fetch in plan.fetches:
            if fetch.is_entity_fetch:
                write_ask(text, fetch, _StructsAsObjects(self._at))
            self._write_absorb(text, fetch)
        with text.block("def finish(root):"):
            self._write_finish(text, self._root, "root", 0)
            text.line("return None")
        functions: dict[str, Any] = text.functions(f"plan {name or 'unnamed'}, structs", "finish")
        fetches = {
            fetch.id: StructFetch(
                decoders[fetch.id],
                functions.get(f"ask_{fetch.id}", _ask_nothing),
                functions[f"absorb_{fetch.id}"],
                self._lacking(fetch),
            )
            for fetch in plan.fetches
        }
        return StructProgram(text.source, root, fetches, functions["finish"], _shown(self._root))

    # ---- what is brought where ----

    def _position(self, selection: Selection, made_by: _Source | None) -> _Position:
        shown = [each for each in selection.fields if each.condition.holds(self._values)]
        return _Position(selection, _with_types(shown, selection), made_by)

    def _place_fetch(self, fetch: Fetch, by_alias: Mapping[str, Brought]) -> None:
        if not all(each.is_plain for each in by_alias.values()):
            raise _NotStaticError
        if fetch.is_entity_fetch:
            if not is_simple(fetch) or any(entry.fallbacks for entry in fetch.entries):
                raise _NotStaticError
        elif len(fetch.entries) != 1 or fetch.entries[0].paths != ((),):
            raise _NotStaticError
        for entry in fetch.entries:
            if entry.keys:
                raise _NotStaticError
            source = fetch.id, entry.alias if fetch.is_entity_fetch else ""
            brought = by_alias[source[1]]
            self._brought[source] = brought.fields
            for path in entry.paths:
                position = self._root
                for step in path:
                    if step.key not in position.inner or not position.has(step.key, *position.among(step.types)):
                        raise _NotStaticError
                    position = position.inner[step.key]
                types = position.among(entry.types)
                self._check_asked(entry, position, types)
                self._place(position, brought, source, types)
                position.asked_by.add(fetch.id)

    def _check_asked(self, entry: Entry, position: _Position, types: frozenset[str]) -> None:
        """What an object of these types is asked with has to be there."""
        needed = {item.key for item in entry.representation.fields}
        if entry.alias and entry.representation.typename is None:
            needed.add("__typename")
        if not all(position.has(key, *types) for key in needed):
            raise _NotStaticError

    def _place(self, position: _Position, brought: Brought, source: _Source, types: frozenset[str]) -> None:
        """Take note of what a source brings to the objects of these types."""
        shown = {each.key: each for each in position.fields}
        for key, inner in brought.fields.items():
            if key in position.brought:  # what is there may stay, or be completed: that is for the other way to say
                raise _NotStaticError
            position.brought[key] = source
            only = types & brought.types.get(key, types)
            if only != types and source != position.made_by:  # results do not say of which type they are
                raise _NotStaticError
            if only != position.selection.types:
                position.only[key] = only
            if inner is not None:
                selection = _selection_of(shown[key].shape) if key in shown else None
                if selection is None:
                    raise _NotStaticError
                position.inner[key] = self._position(selection, source)
                self._place(position.inner[key], inner, source, position.inner[key].selection.types)

    # ---- structs ----

    def _make_struct(self, position: _Position) -> type[Struct]:
        """The struct of a position, with those inside; positions that are alike have one."""
        selection = position.selection
        if not selection.is_possible:
            raise _NotStaticError
        for inner in position.inner.values():
            inner.struct = self._make_struct(inner)
        fields: list[tuple[str, Any, object]] = []
        for each in position.fields:
            if each.key != each.response_key:
                raise _NotStaticError
            constant = each.shape.constant if isinstance(each.shape, TypenameShape) else None
            if constant is None and not position.has(each.key, *(each.types or ())):
                raise _NotStaticError
            position.types[each.key] = _type_of(each, position)
            fields.append((each.key, position.types[each.key], constant or self._default(position, each.key)))
        for key in position.hidden:
            position.types[key] = _typename_type(selection) if key == "__typename" else Any
            fields.append((key, position.types[key], self._default(position, key)))
        if len({key for key, _, _ in fields}) < len(fields):
            raise _NotStaticError
        says_type = position.has("__typename") and position.brought["__typename"] == position.made_by
        if (position.only or position.hidden_by_type) and not says_type:
            raise _NotStaticError
        return self._struct(fields, position.only)

    def _default(self, position: _Position, key: str) -> object:
        return _REQUIRED if position.brought[key] == position.made_by and key not in position.only else UNSET

    def _struct(
        self, fields: Sequence[tuple[str, Any, object]], only: Mapping[str, frozenset[str]] = NO_TYPES
    ) -> type[Struct]:
        identity = tuple(fields), frozenset(only.items())
        if identity not in self._structs:
            own: list[Any] = [
                (attribute_of(key), kind) if default is _REQUIRED else (attribute_of(key), kind, default)
                for key, kind, default in fields
            ]
            names = {attribute_of(key): key for key, _, _ in fields}
            # Nothing in an answer refers back to what is around it: there is no garbage to look for.
            self._structs[identity] = defstruct("Answer", own, rename=names, kw_only=True, gc=False)
        return self._structs[identity]

    def _positions(self, entry: Entry) -> Iterator[_Position]:
        return map(self._at, entry.paths)

    def _at(self, path: Path) -> _Position:
        position = self._root
        for step in path:
            position = position.inner[step.key]
        return position

    def _decoder(self, fetch: Fetch) -> "msgspec.json.Decoder[_Envelope]":
        """What reads a fetch's whole response."""
        data: dict[str, Any] = {}
        for entry in fetch.entries:
            for position in self._positions(entry):
                source = fetch.id, entry.alias if fetch.is_entity_fetch else ""
                types = {key: position.types[key] for key in self._brought[source]}
                if not fetch.is_entity_fetch:
                    data = types
                    continue
                item: Any = self._struct([(key, kind, _REQUIRED) for key, kind in types.items()])
                each: Any = item if self._lacking(fetch) is None else item | None
                if data.setdefault(entry.alias, list[each]) != list[each]:
                    raise _NotStaticError
                self._items[source] = item
        inside = self._struct([(key, kind, _REQUIRED) for key, kind in data.items()])
        envelope = defstruct("Envelope", [("data", inside), ("errors", Any, None)], bases=(Struct,), gc=False)
        return msgspec.json.Decoder(envelope)

    def _lacking(self, fetch: Fetch) -> tuple[frozenset[str], ...] | None:
        if not fetch.is_entity_fetch or any(fetch.id in other.depends_on for other in self._plan.fetches):
            return None
        for entry in fetch.entries:
            for position in self._positions(entry):
                types = position.among(entry.types)
                may_be_null = {
                    each.key for each in position.fields if not each.shape.non_null and types <= (each.types or types)
                }
                if not may_be_null.issuperset(self._brought[fetch.id, entry.alias]):
                    return None
        aliases = dict.fromkeys(entry.alias for entry in fetch.entries)
        return tuple(frozenset(self._brought[fetch.id, alias]) for alias in aliases)

    # ---- functions ----

    def _write_absorb(self, text: Text, fetch: Fetch) -> None:
        """`absorb_N(root, data, targets, left)`: set what came on the objects that asked for it."""
        with text.block(f"def absorb_{fetch.id}(root, data, targets, left):"):
            if not fetch.is_entity_fetch:
                self._write_checks(text, self._root, "data", (fetch.id, ""), 0)
                for key in self._brought[fetch.id, ""]:
                    text.line(f"root.{attribute_of(key)} = data.{attribute_of(key)}")
                text.line("return 0")
                return
            text.line("repeated = 0")
            for number, alias in enumerate(dict.fromkeys(entry.alias for entry in fetch.entries)):
                if (fetch.id, alias) not in self._items:  # nobody asks for it
                    continue
                text.line(f"items, groups = data.{attribute_of(alias)}, targets[{number}]")
                with text.block("if len(items) != len(groups):"):
                    text.line("raise UnexpectedError")
                attributes = [attribute_of(key) for key in self._brought[fetch.id, alias]]
                with text.block("for item, places in zip(items, groups):"):
                    if self._lacking(fetch) is not None:
                        with text.block("if item is None:"):  # there is no such entity, which is no error
                            with text.block("for place in places:"):
                                text.line(" = ".join([*(f"place.{each}" for each in attributes), "None"]))
                            text.line("continue")
                    entry = next(each for each in fetch.entries if each.alias == alias)
                    position = next(self._positions(entry))
                    self._write_checks(text, position, "item", (fetch.id, alias), 0)
                    again = None
                    if not self._may_share(fetch, alias):
                        decode = msgspec.json.Decoder(self._items[fetch.id, alias]).decode
                        again = f"item = {text.constant('decode', decode)}(encoded)"
                    values = _values_of(position, self._brought[fetch.id, alias])
                    self._write_sets(text, attributes, values, again)
            text.line("return repeated")
        text.line("")

    def _may_share(self, fetch: Fetch, alias: str) -> bool:
        """Whether objects that asked for the same may hold the very same result.

        They may where it has no objects inside, where nothing else is set on these, or where all who ask stand at one
        position, as the same is set on all of these.
        """
        if all(inner is None for inner in self._brought[fetch.id, alias].values()):
            return True
        shares = self._on_demand.shares_results[fetch.id]
        entries = [(entry, shared) for entry, shared in zip(fetch.entries, shares, strict=True) if entry.alias == alias]
        return entries[0][1] or (len(entries) == 1 and len(entries[0][0].paths) == 1)

    def _write_sets(self, text: Text, attributes: Sequence[str], values: int | None, again: str | None) -> None:
        """Statements that set an item on its places.

        It has so many `values` at most; None: that is counted. `again` makes a copy for each place, where it takes one.
        """
        sets = [f"place.{each} = item.{each}" for each in attributes]
        with text.block("if len(places) > 1:"):
            if values is None:
                text.line("encoded = encode(item)")
            text.line(f"repeated += (len(places) - 1) * {values or 'values_at_most(encoded)'}")
            with text.block("if repeated > left:"):
                text.line("raise UnexpectedError")
            if again is None:
                shared = {each: text.name("shared") for each in attributes}
                for each, name in shared.items():
                    text.line(f"{name} = item.{each}")
                many = [f"place.{each} = {name}" for each, name in shared.items()]
            else:
                many = [again, *sets]
            with text.block("for place in places:"):
                for line in many or ["pass"]:
                    text.line(line)
        with text.block("else:"):
            text.line("[place] = places")
            for line in sets:
                text.line(line)

    def _write_checks(self, text: Text, position: _Position, place: str, source: _Source, lists: int) -> None:
        """Statements that raise where an object inside, of what came from a source, has not what its type has.

        What the objects of all types have, the decoder has checked.
        """
        for key, inner in position.inner.items():
            if inner.made_by == source and _is_any(inner, lambda each: each.made_by == source and bool(each.only)):
                with self._inside(text, position, key, place, lists) as (value, depth):
                    if inner.only:
                        _write_check(text, inner, value)
                    self._write_checks(text, inner, value, source, depth)

    def _write_finish(self, text: Text, position: _Position, place: str, lists: int) -> None:
        """Statements that take away what is not shown of the object in `place`, and of those inside."""
        for keys, types in _grouped(position.hidden_by_type).items():
            with text.block(f"if {_by_attribute(text, place, '__typename')} in {text.types(types)}:"):
                for key in keys:
                    text.line(f"{place}.{attribute_of(key)} = UNSET")
        for key in position.hidden:
            text.line(f"{place}.{attribute_of(key)} = UNSET")
        for key, inner in position.inner.items():
            if _is_any(inner, lambda each: bool(each.hidden or each.hidden_by_type)):
                with self._inside(text, position, key, place, lists) as (value, depth):
                    self._write_finish(text, inner, value, depth)

    @contextmanager
    def _inside(self, text: Text, position: _Position, key: str, place: str, lists: int) -> Iterator[tuple[str, int]]:
        """Statements for each object under a key, with the variable that holds it and the lists that it stands in."""
        indent = text.indent
        value = text.name(key.strip("_") or "value")
        text.line(f"{value} = {place}.{attribute_of(key)}")
        field = next(each for each in position.fields if each.key == key)
        shape = field.shape
        if key in position.only or field.types is not None:
            text.line(f"if {value} is not UNSET:")
            text.indent += 1
        while isinstance(shape, ListShape):
            shape, lists = shape.item, lists + 1
            text.line(f"if {value} is not None:")
            item = text.name("item")
            text.indent += 1
            text.line(f"for {item} in {value}:")
            text.indent += 1
            value = item
        if lists > LISTS_MAX or text.indent > INDENT_MAX:
            raise _NotStaticError
        with text.block(f"if {value} is not None:"):
            yield value, lists
        text.indent = indent


def _with_types(fields: Sequence[OutputField], selection: Selection) -> Sequence[OutputField]:
    """The fields of a selection, each key once, with no types where it is shown of all; in an order that is the
    client's for the fields of each type.

    Raises _NotStaticError where there is none, or where a key is not the same for the types that have it.
    """
    if all(each.types is None for each in fields):
        return fields
    united: dict[str, OutputField] = {}
    for each in fields:
        other = united.get(each.response_key, each)
        if (other.key, other.shape) != (each.key, each.shape):
            raise _NotStaticError
        united[each.response_key] = replace(each, types=_types_of(each, selection) | _types_of(other, selection))
    order: TopologicalSorter[str] = TopologicalSorter()
    for name in sorted(selection.types):
        before: list[str] = []
        for key in [each.response_key for each in fields if name in _types_of(each, selection)]:
            order.add(key, *before)
            before = [key]
    try:
        ordered = [united[key] for key in order.static_order()]
    except CycleError:
        raise _NotStaticError from None
    return [replace(each, types=None) if each.types == selection.types else each for each in ordered]


def _types_of(each: OutputField, selection: Selection) -> frozenset[str]:
    return selection.types if each.types is None else each.types & selection.types


def _write_check(text: Text, position: _Position, place: str) -> None:
    """Statements that raise where the object in `place` has not just what those of its type have when they come."""
    has = {
        name: tuple(
            key for key, types in position.only.items() if name in types and position.brought[key] == position.made_by
        )
        for name in sorted(position.selection.types)
    }
    typename = text.name("typename")
    text.line(f"{typename} = {_by_attribute(text, place, '__typename')}")
    test = "if"
    for keys, types in _grouped(has).items():
        wrong = [f"{place}.{attribute_of(key)} is {'' if key in keys else 'not '}UNSET" for key in position.only]
        with text.block(f"{test} {typename} in {text.types(types)}:"), text.block(f"if {' or '.join(wrong)}:"):
            text.line("raise UnexpectedError")
        test = "elif"


def _grouped(keys_by_type: Mapping[str, tuple[str, ...]]) -> dict[tuple[str, ...], frozenset[str]]:
    """The types that are alike, by their keys."""
    grouped: dict[tuple[str, ...], frozenset[str]] = {}
    for name, keys in keys_by_type.items():
        grouped[keys] = grouped.get(keys, frozenset()) | {name}
    return grouped


def _ask_nothing(_: Struct) -> list[Group]:
    return []


def _shown(position: _Position) -> Shown:
    inner = position.inner
    below = {key: _shown(each) for key, each in inner.items()}
    fields = tuple((each.key, attribute_of(each.key), below.get(each.key)) for each in position.fields)
    objects = tuple([each for each in fields if each[2] is not None])
    return Shown(fields, objects, frozenset(position.asked_by).union(*(each.fetches for each in below.values())))


def _is_any(position: _Position, test: Callable[[_Position], bool]) -> bool:
    """Whether a test holds for a position or any inside."""
    return test(position) or any(_is_any(each, test) for each in position.inner.values())


class _StructsAsObjects:
    """What is known of objects that are structs."""

    def __init__(self, at: Callable[[Path], _Position]) -> None:
        self._at = at

    def read(self, text: Text, place: str, key: str) -> str:
        """By attribute."""
        return _by_attribute(text, place, key)

    def is_exact(self, path: Path, key: str) -> bool:
        """What the decoder lets through is of one type; of what the client does not see, it lets through anything."""
        shape = self._shape(path, key)
        return isinstance(shape, LeafShape) and (shape.values is not None or shape.name in _EXACT)

    def nulls(self, path: Path, key: str, lists: int) -> Sequence[bool]:
        """As the decoder lets through."""
        shape = self._shape(path, key)
        nulls = []
        for _ in range(lists + 1):
            nulls.append(shape is None or not shape.non_null)
            shape = shape.item if isinstance(shape, ListShape) else None
        return nulls

    def _shape(self, path: Path, key: str) -> Shape | None:
        """What the client is shown under a key; None where it does not see it."""
        return next((each.shape for each in self._at(path).fields if each.key == key), None)


_CHARACTERS: Final = {"Int": 11, "Float": 24, "Boolean": 5}
"""Of scalars that have an end, how long their JSON can be."""


def _values_of(position: _Position, keys: Iterable[str]) -> int | None:
    """No less than what objects with these keys of a position count as (`values_at_most`); None where that differs from
    one to the other."""
    shapes = {each.key: each.shape for each in position.fields}
    count, length = 2, 2
    for key in keys:
        shape = shapes.get(key)
        if not isinstance(shape, LeafShape):
            return None
        characters = _CHARACTERS.get(shape.name) if shape.values is None else 2 + max(map(len, shape.values))
        if characters is None:
            return None
        count += 1
        length += len(key) + len('"":,') + max(characters, len("null"))
    return values_in(count, length)


_EXACT: Final = frozenset({"ID", "String", "Int", "Boolean"})
"""Scalars whose values are of one type."""

_REQUIRED: Final = "required"
"""In place of a default: the field has to come with the object."""


def attribute_of(key: str) -> str:
    """The attribute for a key: no keyword, and none of a struct's own."""
    assert key.isascii(), key
    assert key.isidentifier(), key
    return f"k_{key}"


def _by_attribute(text: Text, place: str, key: str) -> str:
    return f"{place}.{attribute_of(key)}"


# ---- types ----

_LEAVES: Final[Mapping[str, Any]] = {
    "Int": Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)],
    "Float": int | Annotated[float, Meta(ge=-sys.float_info.max, le=sys.float_info.max)],  # values in memory can be NaN
    "String": str,
    "Boolean": bool,
    "ID": str,
}
_ANY_VALUE: Final[Any] = bool | int | float | str | list | dict
"""Whatever JSON can say, but null."""


def _type_of(each: OutputField, position: _Position) -> Any:
    """What the decoder lets through for a field; what could be coerced is left to the other way."""
    return _type_in(each.shape, each.key, position)


def _type_in(shape: Shape, key: str, position: _Position) -> Any:
    kind: Any
    if isinstance(shape, TypenameShape):
        return Literal[shape.constant] if shape.constant else _typename_type(position.selection)
    if isinstance(shape, ListShape):
        item: Any = _type_in(shape.item, key, position)
        kind = list[item]
    elif isinstance(shape, ObjectShape):
        if key not in position.inner:
            raise _NotStaticError
        kind = position.inner[key].struct
    elif isinstance(shape, LeafShape):
        if shape.values is not None and not shape.values:
            raise _NotStaticError
        kind = _LEAVES.get(shape.name, _ANY_VALUE) if shape.values is None else Literal[tuple(sorted(shape.values))]
    else:
        raise _NotStaticError
    return kind if shape.non_null else kind | None


def _typename_type(selection: Selection) -> Any:
    return Literal[tuple(sorted(selection.types))] if selection.types else str


def _selection_of(shape: Shape) -> Selection | None:
    while isinstance(shape, ListShape):
        shape = shape.item
    return shape.selection if isinstance(shape, ObjectShape) else None
