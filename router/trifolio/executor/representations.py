"""From objects of the merged tree to the representations that a subgraph's `_entities` takes, and back.

`collect` walks to an entry's objects, `represent` copies out of one what a subgraph wants to know of it, and `Batch`
keeps every representation once, together with the objects that sent it:

    pets: [{"__typename": "Cat", "id": 1}, {"__typename": "Cat", "id": 2}, {"__typename": "Cat", "id": 1}]
    representations: [Cat 1, Cat 2]      targets: [[pets[0], pets[2]], [pets[1]]]

Specification: Apollo Federation subgraph specification, "Resolving entities".
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from trifolio.executor.encoding import encode_json
from trifolio.executor.merge import Json, merge_response
from trifolio.executor.tree import Trail
from trifolio.query_plan import Entry, Path, Representation, RepresentationField

# ---- where the objects are ----


def collect(root: Json, path: Path) -> list[Json]:
    """The objects at `path`, in order; what has not the shape that the path expects is passed over."""
    objects = [root]
    for step in path:
        if step.types:
            objects = [item for item in objects if item.get("__typename") in step.types]
        values: list[object] = [item.get(step.key) for item in objects]
        for _ in range(step.lists):
            values = [item for value in values if isinstance(value, list) for item in value]
        objects = [value for value in values if isinstance(value, dict)]
    return objects


def collect_trails(root: Json, path: Path) -> list[tuple[Json, Trail]]:
    """The objects at `path`, each with the objects and keys that lead to it, one for every step of the path."""
    found: list[tuple[Json, Trail]] = [(root, ())]
    for step in path:
        entered: list[tuple[Json, Trail]] = []
        for item, trail in found:
            if step.types and item.get("__typename") not in step.types:
                continue
            longer = (*trail, (item, step.key))
            entered.extend((value, longer) for value in _objects_in(item.get(step.key), step.lists))
        found = entered
    return found


def _objects_in(value: object, lists: int) -> Iterator[Json]:
    values = [value]
    for _ in range(lists):
        values = [item for inner in values if isinstance(inner, list) for item in inner]
    return (item for item in values if isinstance(item, dict))


# ---- what a subgraph is told of an object ----


def represent(place: Json, representation: Representation) -> Json | None:
    """`place` as `_entities` takes it, or None where a key is null or something that is needed is missing."""
    typename = representation.typename if representation.typename is not None else place.get("__typename")
    if not isinstance(typename, str):
        return None
    fields = _copy_fields(place, representation.fields, required=False)
    return None if fields is None else {"__typename": typename, **fields}


def _copy_fields(place: Json, fields: Sequence[RepresentationField], *, required: bool) -> Json | None:
    """The fields under their own names; inside a @requires everything may be null, inside a key nothing."""
    copied: Json = {}
    for item in fields:
        if item.types and place.get("__typename") not in item.types:
            continue
        if item.key not in place:
            return None
        may_be_null = required or item.required
        value = place[item.key]
        if value is None and not may_be_null:
            return None
        if value is not None and item.selection:
            value = _copy_composite(value, item.selection, required=may_be_null)
            if value is None:
                return None
        if item.name in copied:
            merge_response(copied, {item.name: value})
        else:
            copied[item.name] = value
    return copied


def _copy_composite(value: object, fields: Sequence[RepresentationField], *, required: bool) -> object | None:
    if isinstance(value, dict):
        return _copy_fields(value, fields, required=required)
    if not isinstance(value, list):
        return None
    items: list[object] = []
    for item in value:
        copied = None if item is None else _copy_composite(item, fields, required=required)
        if copied is None and item is not None:
            return None
        items.append(copied)
    return items


def missing_trail(place: Json, representation: Representation) -> Trail | None:
    """The way from `place` to the first value that `represent` did not find; None where it found a null key."""
    if representation.typename is None and "__typename" not in place:
        return ((place, "__typename"),)
    return _missing_in(place, representation.fields)


def _missing_in(value: object, fields: Sequence[RepresentationField]) -> Trail | None:
    if isinstance(value, list):
        trails = (_missing_in(item, fields) for item in value)
        return next((trail for trail in trails if trail is not None), None)
    if not isinstance(value, dict):
        return None
    for item in fields:
        if item.types and value.get("__typename") not in item.types:
            continue
        if item.key not in value:
            return ((value, item.key),)
        inner = _missing_in(value[item.key], item.selection) if item.selection else None
        if inner is not None:
            return ((value, item.key), *inner)
    return None


# ---- identical representations once ----


@dataclass(slots=True)
class Batch:
    """The representations that one alias of a fetch asks for, and the objects that each came from."""

    entry: Entry
    alias: str
    """Where the result stands in the response; empty for a root fetch, whose result goes to every target."""
    variable: str = ""
    representations: list[Json] = field(default_factory=list)
    targets: list[list[Json]] = field(default_factory=list)
    """For every representation the objects that take its result."""
    context: Json = field(default_factory=dict)
    """Values of the arguments that @fromContext fills, by the variable's name."""
    _indices: dict[bytes, int] = field(default_factory=dict)

    def add(self, place: Json, representation: Json) -> None:
        """Ask for `representation` on behalf of `place`."""
        text = encode_json(representation)
        index = self._indices.setdefault(text, len(self.representations))
        if index == len(self.representations):
            self.representations.append(representation)
            self.targets.append([place])
        else:
            self.targets[index].append(place)

    def places(self) -> Iterator[Json]:
        """Every object that waits for a result."""
        return (place for group in self.targets for place in group)
