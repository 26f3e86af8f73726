"""The merged tree of one request, and what is known about the holes in it.

A key that is missing from an object has a reason: its fetch failed, or there was nothing to ask with. The reason is
kept beside the tree as an `Absence`, under the object's identity, so that a later fetch which needs the missing value,
or the projection which is to show it, can pass the reason on. An error that a subgraph reports *inside* what it did
answer is a `LocatedError`: it names an object of the tree and the keys that lead on from there.

Objects are kept by `id()`: nothing that once entered the tree leaves it before the answer is complete.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from trifolio.errors import AnswerError, PathKey
from trifolio.executor.merge import Json, count_values

COPIES_MAX: Final = 500_000
"""500,000 copied values, some 50 MB: as many as an answer may have by default."""

Trail = tuple[tuple[Json, str], ...]
"""The objects and keys that lead to a place, from the root down: each object is entered through its key."""


KeyPath = tuple[str, ...]
"""Keys of the merged tree from the root down, list levels left out."""
Sources = Mapping[tuple[KeyPath, str], str]
"""By the place of an object and a key of it, the subgraph that brings it; only where it is one alone."""
FindSources = Callable[[], Sources]
"""Finds that out: fetches' operations are read for it, so it is asked only where a value is told of."""


def runtime_type(place: Json) -> str | None:
    """The object's `__typename`; None where it is missing, or is nothing that could name a type."""
    typename = place.get("__typename")
    return typename if isinstance(typename, str) else None


@dataclass(frozen=True, slots=True)
class Brings:
    """What a fetch's results bring to each object of one of its entries."""

    fetch: int
    """The fetch's id."""
    keys: frozenset[str]
    """Keys of the merged tree."""


@dataclass(frozen=True, slots=True)
class Absence:
    """Why an object lacks what a fetch would have brought."""

    place: Json
    brings: Brings
    errors: tuple[AnswerError, ...] = ()
    """What to tell at each missing field, without path. Empty: the field is null and there is nothing to tell, as
    where a key is null or an entity does not exist."""
    paths: tuple[tuple[PathKey, ...], ...] = ()
    """For each error the keys that lead from the object to the field that it is about, as where a field's error has
    taken the whole entity away; an empty path where there is none. Empty: no error has one."""


@dataclass(frozen=True, slots=True)
class LocatedError:
    """An error at a place in what a subgraph answered."""

    fetch: int
    """The fetch's id: errors are told in this order."""
    error: AnswerError
    """Without path."""
    place: Json | None = None
    """The object of the merged tree from which `path` leads on; None where the subgraph named no place."""
    path: tuple[PathKey, ...] = ()
    """Keys of the merged tree, and indices."""


class MergedTree:
    """What the fetches of one request brought so far."""

    __slots__ = ("_copies_left", "absences", "fallbacks", "located", "root")

    def __init__(self, copies_max: int = COPIES_MAX) -> None:
        """`copies_max` bounds the values that stand in the tree several times over, as several objects are the same."""
        self._copies_left = copies_max
        self.root: Json = {}
        self.absences: dict[int, list[Absence]] = {}
        self.located: list[LocatedError] = []
        self.fallbacks = 0
        """How often generated code left what it found to the interpreter."""

    def may_copy(self, result: Json, number: int) -> bool:
        """Whether so many copies of a result still fit; they count as made where they do."""
        values = count_values(result, self._copies_left // number) * number
        if values > self._copies_left:
            return False
        self._copies_left -= values
        return True

    def add_absence(
        self,
        place: Json,
        brings: Brings,
        errors: tuple[AnswerError, ...] = (),
        paths: tuple[tuple[PathKey, ...], ...] = (),
    ) -> None:
        """Remember why `place` lacks what a fetch would have brought."""
        self.absences.setdefault(id(place), []).append(Absence(place, brings, errors, paths))

    def explain(self, trail: Sequence[tuple[Json, str]]) -> Absence | None:
        """Why the end of `trail` is missing: the innermost reason on the way to it, None where there is none.

        Of several reasons it is the first fetch's, so that the order of responses does not show. A value can be missing
        because the fetch that failed would have brought it together with an object higher up.
        """
        if not self.absences:
            return None
        for place, key in reversed(trail):
            reasons = [absence for absence in self.absences.get(id(place), ()) if key in absence.brings.keys]
            if reasons:
                return min(reasons, key=lambda absence: absence.brings.fetch)
        return None
