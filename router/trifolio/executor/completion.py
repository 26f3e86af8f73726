"""Reading the answer off the merged tree, completed against the API schema.

The shapes say what the client may get; the tree is what subgraphs sent, and may be anything. Every value is completed
as the GraphQL specification's section 6.4.3 says: what does not fit becomes null with an error, a null where the schema
promises a value makes its parent null, up to `data`. Errors are told once: a null that an error of a subgraph explains
already gets no second one.
"""

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from trifolio.conditions import Condition
from trifolio.errors import AnswerError, ClientText, ErrorCode, PathKey
from trifolio.executor.guarded import BUBBLE, Bubble, Guarded, Standing
from trifolio.executor.merge import Json, count_weight
from trifolio.executor.places import Place, follow
from trifolio.executor.tree import Absence, FindSources, MergedTree, Trail, runtime_type
from trifolio.query_plan import (
    HiddenShape,
    LeafShape,
    ListShape,
    ObjectShape,
    OutputField,
    Selection,
    Shape,
    TypenameShape,
)
from trifolio.work import Work

_FAILURE: Final = Bubble()
"""The null that ends a deferred part, as the parent is not the part's to take away."""
_REFUSED: Final = object()

# ---- leaves ----


def _as_int(value: object) -> object:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and -(2**31) <= value < 2**31:
        return value
    return _REFUSED


def _as_float(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else _REFUSED
    return value if isinstance(value, int) and not isinstance(value, bool) else _REFUSED


def _as_string(value: object) -> object:
    return value if isinstance(value, str) else _REFUSED


def _as_boolean(value: object) -> object:
    return value if isinstance(value, bool) else _REFUSED


def _as_id(value: object) -> object:
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else _REFUSED


_SCALARS: Final[Mapping[str, Callable[[object], object]]] = {
    "Int": _as_int,
    "Float": _as_float,
    "String": _as_string,
    "Boolean": _as_boolean,
    "ID": _as_id,
}


def coerce_leaf(shape: LeafShape, value: object) -> object:
    """`value` as the scalar or enum, or `REFUSED`; custom scalars pass as they are (sections 3.5 and 3.9)."""
    if shape.values is not None:
        return value if isinstance(value, str) and value in shape.values else _REFUSED
    coerce = _SCALARS.get(shape.name)
    return value if coerce is None else coerce(value)


REFUSED: Final = _REFUSED
"""What `coerce_leaf` returns for a value that does not fit."""

# ---- the whole answer ----


@dataclass(frozen=True, slots=True)
class Completed:
    """The answer's data and the errors that completing it found."""

    data: Json | None
    errors: tuple[AnswerError, ...]


def complete(
    selection: Selection,
    tree: MergedTree,
    variables: Mapping[str, object],
    told: Sequence[AnswerError],
    *,
    guarded: Guarded | None = None,
    sources: FindSources,
    errors_max: int,
    work: Work,
) -> Completed:
    """Read the answer off `tree`; `told` are the errors that the answer has already, with their paths.

    The plan's own code, `guarded`, walks where there is some. Beyond `errors_max` errors are not even made. Values are
    counted in `work`. Raises WorkExceeded where they are more.
    """
    completion = _Completion(tree, variables, told, sources, errors_max, work)
    if guarded is None:
        data = completion.selection(selection, tree.root)
    else:
        conditions = [condition.holds(variables) for condition in guarded.conditions]
        data = guarded.complete(tree.root, conditions, work.spend, completion)
    return Completed(None if isinstance(data, Bubble) else data, tuple(completion.errors))


def complete_part(
    selection: Selection,
    tree: MergedTree,
    variables: Mapping[str, object],
    told: Sequence[AnswerError],
    place: Json,
    shown: Json,
    trail: Trail,
    path: Sequence[PathKey],
    *,
    sources: FindSources,
    errors_max: int,
    work: Work,
) -> Completed:
    """Read a deferred part off `tree` at the object `place`, which the client has as `shown` at `path`.

    What the client has of it is not read again, but for the objects and lists around what is new. No data: the part
    failed. `trail` leads from the tree's root to the object.
    """
    completion = _PartCompletion(tree, variables, told, shown, trail, path, sources, errors_max, work)
    data = completion.selection(selection, place)
    return Completed(None if isinstance(data, Bubble) else data, tuple(completion.errors))


FRAMES_PER_LEVEL: Final = 4
"""Calls between an object or list and what stands in it."""

FRAMES_ELSEWHERE: Final = 1_000
"""Calls above and below the interpreter: Python's own default."""


def make_room(selection: Selection) -> None:
    """Let Python recurse as deep as an answer can nest. Operations are limited in depth, and so is this.

    Calls from Python to Python take no C stack, so that a higher limit costs memory alone, and only where it is used.
    """
    levels: dict[int, int] = {}
    """By the identity of a selection: selections share what stands below them, and each is looked at once."""
    pending = [selection]
    while pending:
        current = pending[-1]
        below = [_innermost(field.shape) for field in current.fields]
        missing = [each for each, _ in below if each is not None and id(each) not in levels]
        if missing:
            pending += missing
            continue
        depths = (1 + lists + (0 if each is None else levels[id(each)]) for each, lists in below)
        levels[id(current)] = max(depths, default=0)
        pending.pop()
    deepest = levels[id(selection)]
    frames = FRAMES_ELSEWHERE + deepest * FRAMES_PER_LEVEL
    if frames > sys.getrecursionlimit():
        sys.setrecursionlimit(frames)


def _innermost(shape: Shape) -> tuple[Selection | None, int]:
    """The selection of an object, or of the objects in a list; and how many lists stand around."""
    lists = 0
    while isinstance(shape, ListShape):
        shape, lists = shape.item, lists + 1
    return (shape.selection if isinstance(shape, ObjectShape) else None), lists


class _Completion:
    """One walk over the shapes and the tree, which knows where it stands."""

    def __init__(
        self,
        tree: MergedTree,
        variables: Mapping[str, object],
        told: Sequence[AnswerError],
        sources: FindSources,
        errors_max: int,
        work: Work,
    ) -> None:
        self._sources = sources
        self.errors: list[AnswerError] = []
        self._spend = work.spend
        self._errors_max = errors_max
        self._tree = tree
        self._variables = variables
        self._conditions: dict[Condition, bool] = {}
        self._path: list[PathKey] = []
        self._trail: list[tuple[Json, str]] = []
        self._covered = _Covered(told)

    def selection(self, selection: Selection, place: Json) -> Json | Bubble:
        """The object that the client sees for `place`."""
        self._spend(len(selection.fields))
        typename = runtime_type(place)
        answer: Json = {}
        for field in selection.fields:
            if field.types is not None and typename not in field.types:
                continue
            if not self._holds(field.condition):
                continue
            self._path.append(field.response_key)
            self._trail.append((place, field.key))
            value = self._field(field, place, selection)
            self._trail.pop()
            self._path.pop()
            if isinstance(value, Bubble):
                return value
            answer[field.response_key] = value
        return answer

    def read(self, up: Standing | None, place: Json, field: OutputField, selection: Selection, /) -> object:
        """A field of an object at which generated code stands."""
        self._stand(up)
        self._path.append(field.response_key)
        self._trail.append((place, field.key))
        return self._field(field, place, selection)

    def read_item(self, standing: Standing, shape: Shape, item: object, coordinate: str, /) -> object:
        """An item of a list at which generated code stands."""
        self._stand(standing)
        return self._value(shape, item, coordinate)

    def _stand(self, standing: Standing | None) -> None:
        """Be where generated code is."""
        path: list[PathKey] = []
        trail: list[tuple[Json, str]] = []
        while standing is not None:
            standing, place, field, index = standing
            if index is not None:
                path.append(index)
            if place is not None and field is not None:
                path.append(field.response_key)
                trail.append((place, field.key))
        self._path, self._trail = path[::-1], trail[::-1]

    def _holds(self, condition: Condition) -> bool:
        holds = self._conditions.get(condition)
        if holds is None:
            holds = self._conditions[condition] = condition.holds(self._variables)
        return holds

    def _field(self, field: OutputField, place: Json, selection: Selection) -> object:
        shape = field.shape
        if isinstance(shape, HiddenShape):
            return self._wrong(shape, ErrorCode.UNAUTHORIZED_FIELD_OR_TYPE, field.coordinate)
        if isinstance(shape, TypenameShape):
            typename = shape.constant or place.get(field.key)
            if isinstance(typename, str) and (shape.constant or not selection.types or typename in selection.types):
                return typename
            if typename is None:
                return self._lacking(field, place, selection)
            return self._wrong(shape, ErrorCode.UNKNOWN_TYPENAME)
        if field.key not in place:
            return self._lacking(field, place, selection)
        return self._value(shape, place[field.key], field.coordinate)

    def _value(self, shape: Shape, value: object, coordinate: str) -> object:
        """`value` in its shape, null where it does not fit, or the bubble."""
        if value is None:
            return self._null(shape, coordinate)
        if isinstance(shape, LeafShape):
            count_weight(value, self._spend)
            coerced = coerce_leaf(shape, value)
            return coerced if coerced is not _REFUSED else self._wrong(shape, ErrorCode.VALUE_NOT_COERCIBLE, coordinate)
        if isinstance(shape, ObjectShape):
            return self._object(shape, value, coordinate)
        if isinstance(shape, ListShape):
            return self._list(shape, value, coordinate)
        count_weight(value, self._spend)
        return value

    def _object(self, shape: ObjectShape, value: object, coordinate: str) -> object:
        if not isinstance(value, dict):
            return self._wrong(shape, ErrorCode.VALUE_NOT_COERCIBLE, coordinate)
        possible = shape.selection.types
        if not shape.selection.is_possible:
            return self._wrong(shape, ErrorCode.UNKNOWN_TYPENAME, coordinate)
        if possible and ("__typename" in value or len(possible) > 1):
            if value.get("__typename") is None and self._depends_on_type(shape.selection):
                return self._untyped(shape, value, coordinate)
            if value.get("__typename") is not None and runtime_type(value) not in possible:
                return self._wrong(shape, ErrorCode.UNKNOWN_TYPENAME, coordinate)
        answer = self.selection(shape.selection, value)
        if answer is BUBBLE and not shape.non_null:
            return None
        return answer

    def _depends_on_type(self, selection: Selection) -> bool:
        """Whether it takes the object's type to say which fields it shows; a plan asks for the type only then."""
        return any(field.types is not None and self._holds(field.condition) for field in selection.fields)

    def _list(self, shape: ListShape, value: object, coordinate: str) -> object:
        if not isinstance(value, list):
            return self._wrong(shape, ErrorCode.VALUE_NOT_COERCIBLE, coordinate)
        self._spend(len(value))
        answer: list[object] = []
        for index, item in enumerate(value):
            self._path.append(index)
            completed = self._value(shape.item, item, coordinate)
            self._path.pop()
            if isinstance(completed, Bubble):
                return completed if shape.non_null or completed is _FAILURE else None
            answer.append(completed)
        return answer

    # ---- nulls and their reasons ----

    def _null(self, shape: Shape, coordinate: str) -> object:
        """A null that a subgraph sent, or that an error left behind."""
        if not shape.non_null:
            return None
        if len(self.errors) < self._errors_max and not self._covered.by(self._path):
            field = f" for the field {coordinate}" if coordinate else ""
            text = ClientText(f"There is no value{field}, which cannot be null.")
            self.errors.append(AnswerError(ErrorCode.NULL_IN_NON_NULL, text, path=tuple(self._path)))
        return BUBBLE

    def _lacking(self, field: OutputField, place: Json, selection: Selection) -> object:
        """The tree has no such key: tell the reason that is known, if it is one to tell."""
        absence = self._tree.explain(self._trail)
        if absence is None and not self._covered.by(self._path):
            return self._absent(field.shape, (_LACKING,), field.coordinate)
        if absence is not None and absence.paths and absence.place is place:
            return self._taken_away(field, absence, selection)
        return self._absent(field.shape, absence.errors if absence else (), field.coordinate)

    def _taken_away(self, field: OutputField, absence: Absence, selection: Selection) -> object:
        """The object was there, but an error at one of its fields has taken it away.

        It is told where it is, if it is about this field, or if this null ends the object for the client as well; else
        here, as this field is missing for it.
        """
        reasons = list(zip(absence.paths, absence.errors, strict=True))
        about = [(path, error) for path, error in reasons if path and path[0] == field.key]
        around = Place(tuple(self._path[:-1]), selection)
        for path, error in about or reasons:
            told = tuple(self._path)
            if about or field.shape.non_null:
                places = follow(around, absence.place, path, self._variables) if path else ()
                whole = [each.path for each in places if each.is_whole]
                told = next((each for each in whole if each[: len(told)] == told), next(iter(whole), told))
            if len(self.errors) < self._errors_max:
                self.errors.append(error.at(told))
        return BUBBLE if field.shape.non_null else None

    def _untyped(self, shape: ObjectShape, value: Json, coordinate: str) -> object:
        """An object of an abstract type whose own type nobody told.

        Where an error at one of its fields has taken the object away, it is told there, if the client sees the field.
        """
        absence = self._tree.explain([*self._trail, (value, "__typename")])
        if absence is None:
            return self._wrong(shape, ErrorCode.UNKNOWN_TYPENAME, coordinate)
        if not absence.paths or absence.place is not value:
            return self._absent(shape, absence.errors, coordinate)
        here = Place(tuple(self._path), shape.selection)
        for path, error in zip(absence.paths, absence.errors, strict=True):
            places = follow(here, value, path, self._variables) if path else ()
            told = next((each.path for each in places if each.is_whole), here.path)
            if len(self.errors) < self._errors_max:
                self.errors.append(error.at(told))
        return BUBBLE if shape.non_null else None

    def _absent(self, shape: Shape, errors: Sequence[AnswerError], coordinate: str) -> object:
        room = self._errors_max - len(self.errors)
        if room > 0:
            self.errors.extend(error.at(tuple(self._path)) for error in errors[:room])
        if errors:
            return BUBBLE if shape.non_null else None
        return self._null(shape, coordinate)

    def _wrong(self, shape: Shape, code: ErrorCode, coordinate: str = "") -> object:
        """A value that does not fit; the text names the field and the type, never the value."""
        if len(self.errors) >= self._errors_max:
            return BUBBLE if shape.non_null else None
        where = f"{coordinate}: " if coordinate else ""
        expected = f" It should be {_expected(shape)}." if code is ErrorCode.VALUE_NOT_COERCIBLE else ""
        text = ClientText(f"{where}{code.text}{expected}")
        subgraph = self._source() if code is ErrorCode.UNKNOWN_TYPENAME else None
        self.errors.append(AnswerError(code, text, path=tuple(self._path), subgraph=subgraph))
        return BUBBLE if shape.non_null else None

    def _source(self) -> str | None:
        """The subgraph that has brought what stands here, where it was one alone."""
        sources, keys = self._sources(), tuple(key for _, key in self._trail)
        found = (sources.get((keys[:depth], keys[depth])) for depth in reversed(range(len(keys))))
        return next((subgraph for subgraph in found if subgraph is not None), None)


_LACKING: Final = AnswerError(
    ErrorCode.SUBGRAPH_RESPONSE_MALFORMED, ClientText("The subgraphs' answers lack this field.")
)
_NOT_SHOWN: Final = object()


class _PartCompletion(_Completion):
    """A walk over a deferred part, which knows beside where it stands what the client has there."""

    def __init__(
        self,
        tree: MergedTree,
        variables: Mapping[str, object],
        told: Sequence[AnswerError],
        shown: Json,
        trail: Trail,
        path: Sequence[PathKey],
        sources: FindSources,
        errors_max: int,
        work: Work,
    ) -> None:
        super().__init__(tree, variables, told, sources, errors_max, work)
        self._path = list(path)
        self._trail = list(trail)
        self._shown: object = shown

    def selection(self, selection: Selection, place: Json) -> Json | Bubble:
        """The object with what is new in it."""
        self._spend(len(selection.fields))
        typename = runtime_type(place)
        here = self._shown
        answer: Json = {}
        for field in selection.fields:
            if field.types is not None and typename not in field.types:
                continue
            if not self._holds(field.condition):
                continue
            shown = here.get(field.response_key, _NOT_SHOWN) if isinstance(here, dict) else _NOT_SHOWN
            if shown is None or (shown is not _NOT_SHOWN and not _is_composite(field.shape)):
                continue
            self._path.append(field.response_key)
            self._trail.append((place, field.key))
            self._shown = shown
            value = self._field(field, place, selection)
            self._shown = here
            self._trail.pop()
            self._path.pop()
            if isinstance(value, Bubble):
                return _FAILURE if self._holds(field.fails_part) else value
            answer[field.response_key] = value
        return answer

    def _list(self, shape: ListShape, value: object, coordinate: str) -> object:
        here = self._shown
        if not isinstance(here, list) or not isinstance(value, list):
            return super()._list(shape, value, coordinate)
        self._spend(len(value))
        answer: list[object] = []
        for index, item in enumerate(value):
            self._shown = here[index] if index < len(here) else _NOT_SHOWN
            if self._shown is None:
                answer.append(None)
                continue
            self._path.append(index)
            completed = self._value(shape.item, item, coordinate)
            self._path.pop()
            if isinstance(completed, Bubble):
                self._shown = here
                return completed if shape.non_null or completed is _FAILURE else None
            answer.append(completed)
        self._shown = here
        return answer


def _is_composite(shape: Shape) -> bool:
    while isinstance(shape, ListShape):
        shape = shape.item
    return isinstance(shape, ObjectShape)


def _expected(shape: Shape) -> str:
    if isinstance(shape, LeafShape):
        return shape.name
    return "a list" if isinstance(shape, ListShape) else "an object"


class _Covered:
    """Which places of the answer have an error already, at them, above them or below them."""

    def __init__(self, told: Sequence[AnswerError]) -> None:
        self._paths = {error.path for error in told if error.path is not None}
        self._prefixes = {path[:length] for path in self._paths for length in range(len(path) + 1)}

    def by(self, path: Sequence[PathKey]) -> bool:
        """Whether an error at `path`, above it or below it was told."""
        if not self._paths:
            return False
        here = tuple(path)
        return here in self._prefixes or any(here[:length] in self._paths for length in range(len(here)))
