"""@defer: which facts belong to the first answer and which to parts that may come later, and where those parts stand.

Fields in a deferred fragment carry a condition over a variable of its own (`operation.Deferral`). With all of these
variables false a condition says what the first answer needs; with one of them and those around it true, what this part
needs besides. Parts are planned one after the other, each from the facts that are known by then, but for its own:
those it gets by requests of its own wherever an entity lets it enter again, so that slow fields do not delay the first
answer.

Two parts can share fields, and a part can stand around fields of another. A null that may not stand where it is makes
its parent null; where the parent is not the part's alone, as it was shown before or another part shows it too, the part
ends there instead (`OutputField.fails_part`), and the parent stays.

    { me { name ... @defer { pet { name } } ... @defer { pet { age } } } }      age: Int!

`pet` belongs to both parts, `age` to the second alone: without an age the second part fails, and the pet has its name.

Specification: the incremental delivery of the GraphQL working group (https://specs.apollo.dev/incremental/v0.2/).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from trifolio.conditions import ALWAYS, NEVER, Condition, Conditions
from trifolio.operation import Contribution, Deferral
from trifolio.planner.cells import Cell, Demand
from trifolio.planner.projection import Projector, Reading
from trifolio.planner.requests import merged_paths
from trifolio.query_plan import Deferred, Fetch

_EVERYTHING_KNOWN = -1
"""All facts at once, as a set."""


@dataclass(frozen=True, slots=True)
class Part:
    """The first answer (without a deferral), or one deferred part."""

    deferral: Deferral | None
    reading: Reading


def parts_of(deferrals: Sequence[Deferral], conditions: Conditions) -> list[Part]:
    """The first answer and every deferred part, outer ones before inner ones."""
    nothing = dict.fromkeys((each.variable for each in deferrals), False)
    parents = {each.variable: each.parent for each in deferrals}
    parts = [Part(None, Reading(nothing, conditions=conditions))]
    for each in deferrals:
        around: dict[str, bool] = {}
        parent = each.parent
        while parent is not None:
            around[parent] = True
            parent = parents[parent]
        inside, outside = {**nothing, **around, each.variable: True}, {**nothing, **around}
        parts.append(Part(each, Reading(inside, outside, each.variable, conditions)))
    return parts


def goal_of(part: Part, goal: Demand) -> Demand:
    """The facts that a part needs, under the conditions that are left."""
    wanted = {fact: part.reading.leaf(condition) for fact, condition in goal.items()}
    return {fact: condition for fact, condition in wanted.items() if condition != NEVER}


def waited_for(
    requests: int, needs: Sequence[tuple[int, ...]], parts: Sequence[Part], conditions: Conditions
) -> list[Condition]:
    """For every request when what is read has waited for it: in which parts. None where nothing is deferred."""
    if not needs:
        return []
    found = [NEVER] * requests
    for part, indexes in zip(parts, needs, strict=True):
        here = ALWAYS if part.deferral is None else Condition.literal(part.deferral.variable, True)
        for index in indexes:
            found[index] = conditions.or_(found[index], here)
    return found


def deferred_parts(
    projector: Projector,
    root: Cell,
    contributions: Sequence[Contribution],
    parts: Sequence[Part],
    needs: Sequence[tuple[int, ...]],
) -> tuple[tuple[Deferred, ...], Mapping[str, int]]:
    """The plan's deferred parts, one for each place that a deferred fragment stands at, and each deferral's first.

    `needs` has for every part the ids of the fetches that bring it. Raises PlanningError where telling which part a
    null ends takes conditions beyond the limits.
    """
    places = list(projector.deferred_places(root, contributions)) if len(parts) > 1 else []
    found: list[Deferred] = []
    by_variable: dict[str, list[int]] = {}
    for number, part in enumerate(parts):
        deferral = part.deferral
        for place in places:
            if deferral is None or place.deferral is not deferral:
                continue
            selection = projector.selection(place.cell, place.contributions, ALWAYS, part.reading)
            if selection.fields:
                parent = _enclosing(deferral.parent, place.response_keys, by_variable, found, parts)
                [path] = merged_paths([place.cell], _EVERYTHING_KNOWN, projector.work)
                by_variable.setdefault(deferral.variable, []).append(len(found))
                found.append(
                    Deferred(
                        path,
                        place.response_keys,
                        selection,
                        needs[number] if needs else (),
                        deferral.label,
                        deferral.condition,
                        parent,
                    )
                )
    return tuple(found), {variable: indexes[0] for variable, indexes in by_variable.items()}


def _enclosing(
    variable: str | None,
    response_keys: tuple[str, ...],
    by_variable: Mapping[str, Sequence[int]],
    found: Sequence[Deferred],
    parts: Sequence[Part],
) -> int | None:
    """The part that a place is nested in: the nearest that shows anything, and of its places the one around this."""
    parents = {each.deferral.variable: each.deferral.parent for each in parts if each.deferral}
    while variable is not None:
        for index in reversed(by_variable.get(variable, ())):
            if response_keys[: len(found[index].response_keys)] == found[index].response_keys:
                return index
        variable = parents[variable]
    return None


def marked_fetches(
    fetches: Sequence[Fetch], part_of_fetch: Sequence[int], parts: Sequence[Part], first_places: Mapping[str, int]
) -> tuple[Fetch, ...]:
    """The fetches, each with the deferred part that it serves alone."""
    marked = []
    for fetch, number in zip(fetches, part_of_fetch or [0] * len(fetches), strict=True):
        deferral = parts[number].deferral
        marked.append(fetch if deferral is None else replace(fetch, deferred=first_places.get(deferral.variable)))
    return tuple(marked)
