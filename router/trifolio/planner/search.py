"""The shortest sequence of requests that makes every goal fact known.

An *action* is one request: a subgraph, asked for root fields or for `_entities`. Firing an action in a state (a set of
known facts) adds the gains of all its rules whose needs are met by the state before: a request cannot feed itself, so
a cyclic plan cannot be expressed. Taking every gain is safe, as more facts never hurt; what a request really asks is
decided afterwards, by liveness.

Sequences are searched by A* on their length. The estimate counts disjoint sets of actions each of which has to bring a
missing goal fact, so it never overestimates; facts that every way to the goal goes through count as goal, too. Two cuts
keep the search small. An action that must come, as it alone brings a fact that is missing, and that gives all it ever
can when it is fired now, is fired without branching: any sequence to the goal has it somewhere, and moving it to the
front takes no fact from the others. And a state is dropped when the same facts were reached with as few requests. A
greedy sequence is found first: it bounds the search, and it is the answer where the budget ends (set cover hides in
here: every field in two of thirty subgraphs).
"""

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Final

from trifolio.planner.cells import bits
from trifolio.planner.facts import Action, Rule

FIRINGS_MAX: Final = 40_000
"""Requests that one search may try out: a hundred times what known operations need, and about a second."""

TIE_FIRINGS_MAX: Final = 1_000
"""Requests tried out to find a sequence of equal length and less depth: a few milliseconds."""


@dataclass(frozen=True, slots=True)
class Step:
    """One request of the sequence, with the facts known when it is sent."""

    action: Action
    known: int


@dataclass(frozen=True, slots=True)
class Found:
    """The result of a search."""

    steps: tuple[Step, ...]
    known: int
    """The facts known at the end."""
    proven_minimal: bool


class Moves:
    """The rules by action, cut down to what can help towards a goal."""

    def __init__(self, rules: Sequence[Rule], known: int, goal: int) -> None:
        """`known` facts are there from the start: no way to bring them again is looked for."""
        relevant = _relevant(rules, goal)
        self.rules: dict[Action, list[tuple[int, int]]] = {}
        for rule in rules:
            gain = (rule.gain | rule.vacuous) & relevant
            if gain:
                self.rules.setdefault(rule.action, []).append((rule.need, gain))
        self.actions = sorted(self.rules)
        self.all_gains = {action: reduce(or_, (gain for _, gain in self.rules[action])) for action in self.actions}
        once = several = 0
        for gain in self.all_gains.values():
            several |= once & gain
            once |= gain
        self.goal = _with_landmarks([each for rules in self.rules.values() for each in rules], known, goal & ~known)
        self.only_here = {action: gain & self.goal & ~several for action, gain in self.all_gains.items()}
        self.sources = self._find_sources()

    def _find_sources(self) -> list[tuple[int, int]]:
        """The goal's facts by the set of actions that can gain them, small sets first; sets of actions are bits."""
        sources: dict[int, int] = {}
        for fact in bits(self.goal):
            able = reduce(or_, (1 << i for i, a in enumerate(self.actions) if self.all_gains[a] & fact), 0)
            sources[able] = sources.get(able, 0) | fact
        return sorted(sources.items(), key=lambda item: (item[0].bit_count(), item[0]))

    def fire(self, known: int, action: Action) -> int:
        """The facts known after one more request."""
        after = known
        for need, gain in self.rules[action]:
            if need & known == need:
                after |= gain
        return after

    def rounds_to_goal(self, known: int) -> int | None:
        """The round trips that it takes when every request is sent on each; None where the goal is out of reach."""
        rounds = 0
        while known & self.goal != self.goal:
            after = known
            for action in self.actions:
                after |= self.fire(known, action)
            if after == known:
                return None
            known = after
            rounds += 1
        return rounds


def _relevant(rules: Sequence[Rule], goal: int) -> int:
    """The goal, and whatever rules that gain something relevant need."""
    relevant, before = goal, -1
    while before != relevant:
        before = relevant
        for rule in rules:
            if (rule.gain | rule.vacuous) & relevant:
                relevant |= rule.need
    return relevant


def _with_landmarks(rules: Sequence[tuple[int, int]], known: int, goal: int) -> int:
    """The goal, and the facts that every way from `known` to it goes through: facts only grow, so any plan has them at
    its end."""
    wanted, done = goal, 0
    while wanted != done:
        shared: dict[int, int] = {}
        for need, gain in rules:
            for fact in bits(gain & wanted & ~done):
                shared[fact] = shared.get(fact, need) & need
        done = wanted
        wanted = reduce(or_, shared.values(), wanted) & ~known
    return wanted


def search(rules: Sequence[Rule], known: int, goal: int, depth_of: Callable[[Found], int]) -> Found | None:
    """The shortest sequence from `known` to `goal`; None where no sequence leads there.

    Among sequences of equal length one of least depth is preferred, as far as a small look around finds it: `depth_of`
    says how many round trips a sequence takes.
    """
    moves = Moves(rules, known, goal)
    if known & goal == goal:
        return Found((), known, proven_minimal=True)
    depth_min = moves.rounds_to_goal(known)
    if depth_min is None:
        return None
    best = _without_idle(moves, known, _greedy(moves, known))
    proven = True
    for sequence in _sequences(moves, known, len(best) - 1, FIRINGS_MAX):
        if sequence is None:
            proven = False
        else:
            best = sequence
        break
    found = _found(moves, known, best, proven_minimal=proven)
    depth = depth_of(found)
    if depth > depth_min:
        for sequence in _sequences(moves, known, len(best), TIE_FIRINGS_MAX):
            if sequence is None:
                break
            other = _found(moves, known, sequence, proven_minimal=proven)
            other_depth = depth_of(other)
            if other_depth < depth:
                found, depth = other, other_depth
            if depth == depth_min:
                break
    return found


def _found(moves: Moves, known: int, actions: Sequence[Action], *, proven_minimal: bool) -> Found:
    steps = []
    for action in actions:
        steps.append(Step(action, known))
        known = moves.fire(known, action)
    return Found(tuple(steps), known, proven_minimal)


def _greedy(moves: Moves, known: int) -> tuple[Action, ...]:
    """Always the request that brings most of the goal, then most of anything; then without those not needed."""
    sequence: list[Action] = []
    while known & moves.goal != moves.goal:
        best, best_gain, best_known = None, (0, 0), known
        for action in moves.actions:
            after = moves.fire(known, action)
            gain = ((after & ~known & moves.goal).bit_count(), (after & ~known).bit_count())
            if gain > best_gain:
                best, best_gain, best_known = action, gain, after
        assert best is not None, "the goal is within reach"
        sequence.append(best)
        known = best_known
    return tuple(sequence)


def _without_idle(moves: Moves, known: int, sequence: tuple[Action, ...]) -> tuple[Action, ...]:
    """Leave out, from the last to the first, every request without which the goal is still reached."""
    for index in range(len(sequence) - 1, -1, -1):
        shorter = sequence[:index] + sequence[index + 1 :]
        state = known
        for action in shorter:
            state = moves.fire(state, action)
        if state & moves.goal == moves.goal:
            sequence = shorter
    return sequence


def _sequences(moves: Moves, known: int, length_max: int, firings_max: int) -> Iterator[tuple[Action, ...] | None]:
    """A*: sequences to the goal of at most `length_max` requests, shortest first; None where the budget ends."""
    heap: list[tuple[int, int, int, int, tuple[Action, ...]]] = []
    seen: dict[int, int] = {}
    pushed = 0

    def push(state: int, sequence: tuple[Action, ...]) -> None:
        nonlocal pushed
        state, sequence = _fire_forced(moves, state, sequence)
        estimate = len(sequence) + _still_to_come(moves, state)
        if estimate > length_max:
            return
        if state & moves.goal != moves.goal:
            if seen.get(state, len(sequence) + 1) <= len(sequence):
                return
            seen[state] = len(sequence)
        pushed += 1
        heapq.heappush(heap, (estimate, -(state & moves.goal).bit_count(), pushed, state, sequence))

    push(known, ())
    fired = 0
    while heap:
        _, _, _, state, sequence = heapq.heappop(heap)
        if state & moves.goal == moves.goal:
            yield sequence
            continue
        fired += len(moves.actions)
        if fired > firings_max:
            yield None
            return
        for action in moves.actions:
            after = moves.fire(state, action)
            if after != state:
                push(after, (*sequence, action))


def _fire_forced(moves: Moves, state: int, sequence: tuple[Action, ...]) -> tuple[int, tuple[Action, ...]]:
    """Fire what must come anyway and, fired here, gives all that it ever can."""
    fired = True
    while fired and state & moves.goal != moves.goal:
        fired = False
        for action in moves.actions:
            if moves.only_here[action] & ~state:
                after = moves.fire(state, action)
                if after | moves.all_gains[action] == after:
                    state, sequence, fired = after, (*sequence, action), True
                    break
    return state, sequence


def _still_to_come(moves: Moves, state: int) -> int:
    """How many more requests there are at least: one for each of many disjoint sets of actions that must bring more."""
    used = count = 0
    for actions, facts in moves.sources:
        if facts & ~state and not actions & used:
            used |= actions
            count += 1
    return count
