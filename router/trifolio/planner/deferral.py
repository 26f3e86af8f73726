"""@defer: which facts belong to the first answer and which to parts that may come later, and where those parts stand.

Fields in a deferred fragment carry a condition over a variable of its own (`operation.Deferral`). With all of these
variables false a condition says what the first answer needs; with one of them and those around it true, what this part
needs besides. Parts are planned one after the other, each from the facts that are known by then, but for its own:
those it gets by requests of its own wherever an entity lets it enter again, so that slow fields do not delay the first
answer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from trifolio.conditions import ALWAYS, NEVER
from trifolio.operation import Contribution, Deferral
from trifolio.plan import Deferred, Fetch
from trifolio.planner.cells import Cell, Demand
from trifolio.planner.projection import Projector, Reading
from trifolio.planner.requests import merged_paths

_EVERYTHING_KNOWN = -1
"""All facts at once, as a set."""


@dataclass(frozen=True, slots=True)
class Part:
    """The first answer (without a deferral), or one deferred part."""

    deferral: Deferral | None
    reading: Reading


def parts_of(deferrals: Sequence[Deferral]) -> list[Part]:
    """The first answer and every deferred part, outer ones before inner ones."""
    nothing = dict.fromkeys((each.variable for each in deferrals), False)
    parents = {each.variable: each.parent for each in deferrals}
    parts = [Part(None, Reading(nothing))]
    for each in deferrals:
        around: dict[str, bool] = {}
        parent = each.parent
        while parent is not None:
            around[parent] = True
            parent = parents[parent]
        parts.append(Part(each, Reading({**nothing, **around, each.variable: True}, {**nothing, **around})))
    return parts


def goal_of(part: Part, goal: Demand) -> Demand:
    """The facts that a part needs, under the conditions that are left."""
    wanted = {fact: part.reading.leaf(condition) for fact, condition in goal.items()}
    return {fact: condition for fact, condition in wanted.items() if condition != NEVER}


def deferred_parts(
    projector: Projector, root: Cell, contributions: Sequence[Contribution], parts: Sequence[Part]
) -> tuple[tuple[Deferred, ...], Mapping[str, int]]:
    """The plan's deferred parts, one for each place that a deferred fragment stands at, and each deferral's first."""
    places = list(projector.deferred_places(root, contributions))
    found: list[Deferred] = []
    first: dict[str, int] = {}
    for part in parts:
        deferral = part.deferral
        for other, cell, here in places:
            if deferral is None or other is not deferral:
                continue
            selection = projector.selection(cell, here, ALWAYS, part.reading)
            if selection.fields:
                first.setdefault(deferral.variable, len(found))
                [path] = merged_paths([cell], _EVERYTHING_KNOWN)
                parent = first.get(deferral.parent) if deferral.parent is not None else None
                found.append(Deferred(path, selection, deferral.label, deferral.condition, parent))
    return tuple(found), first


def marked_fetches(
    fetches: Sequence[Fetch], part_of_fetch: Sequence[int], parts: Sequence[Part], first_places: Mapping[str, int]
) -> tuple[Fetch, ...]:
    """The fetches, each with the deferred part that it serves alone."""
    marked = []
    for fetch, number in zip(fetches, part_of_fetch or [0] * len(fetches), strict=True):
        deferral = parts[number].deferral
        marked.append(fetch if deferral is None else replace(fetch, deferred=first_places.get(deferral.variable)))
    return tuple(marked)
