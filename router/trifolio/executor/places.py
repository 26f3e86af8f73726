"""Where a place of the merged tree stands in the client's answer: everywhere it is shown, under the client's keys.

A subgraph's error names keys of its own answer. Merged into the tree, the object that it concerns may be shown at many
places (one entity in several items of a list), under other response keys, or nowhere at all (an input of a @requires):
then the error goes to the nearest place above it that the client does see.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from trifolio.errors import AnswerError, PathKey
from trifolio.executor.merge import Json
from trifolio.executor.tree import LocatedError, runtime_type
from trifolio.parts import ClientPath
from trifolio.query_plan import ListShape, ObjectShape, OutputField, Selection, Shape
from trifolio.work import Work


@dataclass(frozen=True, slots=True)
class Place:
    """An object as the client sees it."""

    path: ClientPath
    selection: Selection


def find_places(
    starts: Sequence[tuple[Json, Place]], variables: Mapping[str, object], wanted: frozenset[int], work: Work
) -> dict[int, list[Place]]:
    """All places of the objects whose identities are `wanted`, in the answer's order, from these objects on."""
    found: dict[int, list[Place]] = {}
    pending: list[tuple[Json, Place]] = list(reversed(starts))
    while pending:
        item, place = pending.pop()
        if id(item) in wanted:
            found.setdefault(id(item), []).append(place)
        work.spend(len(place.selection.fields))
        inner = [
            pair
            for field in _applicable(place.selection, item, variables)
            for pair in _objects(field.shape, item.get(field.key), (*place.path, field.response_key))
        ]
        pending.extend(reversed(inner))
    return found


def _applicable(selection: Selection, item: Json, variables: Mapping[str, object]) -> Iterator[OutputField]:
    """The fields that an object shows; all types' where its type is not known, as below a null."""
    typename = runtime_type(item)
    for field in selection.fields:
        if field.types is not None and typename is not None and typename not in field.types:
            continue
        if field.condition.holds(variables):
            yield field


def _objects(shape: Shape, value: object, path: ClientPath) -> Iterator[tuple[Json, Place]]:
    if isinstance(shape, ObjectShape) and isinstance(value, dict):
        yield value, Place(path, shape.selection)
    elif isinstance(shape, ListShape) and isinstance(value, list):
        for index, item in enumerate(value):
            yield from _objects(shape.item, item, (*path, index))


@dataclass(frozen=True, slots=True)
class Told:
    """An error as the client reads it."""

    error: AnswerError
    """With its path in the answer, where it has one."""
    origin: AnswerError
    """What the subgraph reported, without path: one object for all places of one error."""


def tell(
    located: Sequence[LocatedError],
    starts: Sequence[tuple[Json, Place]],
    variables: Mapping[str, object],
    *,
    whole_only: bool = False,
    errors_max: int,
    work: Work,
) -> list[Told]:
    """Every located error once for each place in the answer that it concerns, in the order of fetches.

    Where these are more than `errors_max`, the first so many. Values that are looked at are counted in `work`.

    The answer is what is shown from `starts` on: objects of the merged tree with their places. With `whole_only`,
    errors about what is not shown there are left out.
    """
    wanted = frozenset(id(item.place) for item in located if item.place is not None)
    places = find_places(starts, variables, wanted, work) if wanted else {}
    by_error: dict[int, list[LocatedError]] = {}
    for item in sorted(located, key=lambda item: item.fetch):
        by_error.setdefault(id(item.error), []).append(item)
    told: dict[AnswerError, Told] = {}
    for items in by_error.values():
        for error in _tell_one(items, places, variables, whole_only=whole_only):
            told.setdefault(error, Told(error, items[0].error))
            if len(told) >= errors_max:
                return list(told.values())
    return list(told.values())


def _tell_one(
    items: Sequence[LocatedError],
    places: Mapping[int, Sequence[Place]],
    variables: Mapping[str, object],
    *,
    whole_only: bool,
) -> Iterator[AnswerError]:
    """One error at every place that shows its field, or a null that it has left above; where none does, once, at the
    nearest place above."""
    first: Followed | None = None
    is_shown = False
    for item in items:
        for place in places.get(id(item.place), ()) if item.place is not None else ():
            for each in follow(place, item.place or {}, item.path, variables):
                first = first or each
                if each.is_whole or (each.is_null and not whole_only):
                    is_shown = True
                    yield items[0].error.at(each.path)
    if not is_shown and not whole_only:
        yield items[0].error if first is None else items[0].error.at(first.path)


@dataclass(frozen=True, slots=True)
class Followed:
    """Where keys of the merged tree lead in the answer."""

    path: ClientPath
    is_whole: bool
    """False where the client's selection ends before the keys do."""
    is_null: bool = False
    """Whether it ends at a null: the object is gone for all who show it, as for two aliases asked as one field."""


def follow(place: Place, item: Json, rest: Sequence[PathKey], variables: Mapping[str, object]) -> Iterator[Followed]:
    """The client's paths for keys that lead on from an object; cut off where the client's selection ends."""
    if not rest:
        yield Followed(place.path, is_whole=True)
        return
    fields = [field for field in _applicable(place.selection, item, variables) if field.key == rest[0]]
    if not fields:
        yield Followed(place.path, is_whole=False)
    for field in fields:
        path = (*place.path, field.response_key)
        yield from _follow_value(field.shape, item.get(field.key), path, rest[1:], variables)


def _follow_value(
    shape: Shape, value: object, path: ClientPath, rest: Sequence[PathKey], variables: Mapping[str, object]
) -> Iterator[Followed]:
    while rest and isinstance(shape, ListShape) and isinstance(rest[0], int):
        index = rest[0]
        value = value[index] if isinstance(value, list) and 0 <= index < len(value) else None
        path, rest, shape = (*path, index), rest[1:], shape.item
    if rest and isinstance(shape, ObjectShape):
        item = value if isinstance(value, dict) else {}
        for each in follow(Place(path, shape.selection), item, rest, variables):
            yield Followed(each.path, each.is_whole, is_null=each.is_null or (value is None and not each.is_whole))
    else:
        yield Followed(path, is_whole=True)
