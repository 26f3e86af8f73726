"""The shortest sequence of requests that makes every goal fact known.

An *action* is one request: a subgraph, asked for root fields or for `_entities`. Firing an action in a state (a set of
known facts) adds the gains of all its rules whose needs are met by the state before: a request cannot feed itself, so
a cyclic plan cannot be expressed. Taking every gain is safe, as more facts never hurt; what a request really asks is
decided afterwards, by liveness.

A greedy sequence comes first. Where it is as short as a lower bound says, it is the answer; else sequences are searched
by A* on their length, below that of the greedy one.

The estimate of what is still to come never overestimates. It has two terms. For each action: how often it has to be
fired where every other action costs nothing and is fired at once, whenever it helps. Each of these numbers counts
requests of one action alone, so that they may be added, and firing another action does not change it. Then, for actions
whose number is zero: how many disjoint sets of them there are, each of which alone has the sources of a missing fact.
Facts that every way to the goal goes through count as goal, too.

Three cuts keep the search small. Where all sources of a missing fact give all that they ever can when they are fired
now, nothing else is tried: any sequence to the goal has one of them somewhere, and moving it to the front takes no fact
from the others. Where there is one such source, it is fired without branching. A request is not tried where another
brings all that it does. And a state is dropped when the same facts were reached with as few requests.

What it costs: set cover hides in here (every field in three of a hundred subgraphs), so that the time has no good bound
but the budget, which all searches of an operation share (`Effort`). Where it ends, the greedy sequence is the answer.
Mutations ask the same of one payload after another: equal problems are solved once.
"""

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Final

from trifolio.limits import Limits
from trifolio.planner.cells import bits
from trifolio.planner.facts import Action, Rule
from trifolio.work import Work

SEARCH_UNITS_MAX: Final = 40_000
"""Units of work for looking for less than the greedy sequences: more than known operations take for everything."""

TIE_UNITS_MAX: Final = 3_000
"""Units of work to find a sequence of equal length and less depth."""

RULES_PER_UNIT: Final = 8
"""Rules that one unit of work looks at."""


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


@dataclass(frozen=True, slots=True)
class _Solution:
    """A sequence that was found for a problem, by the numbers of its actions."""

    sequence: tuple[int, ...]
    proven_minimal: bool


class Effort:
    """What the searches of one operation may cost together, and what they have found."""

    def __init__(self, work: Work | None = None) -> None:
        """`work` is the operation's; half of what is left of it may be spent on searching."""
        self.work = Work(Limits().request_work_max) if work is None else work
        self._left = min(SEARCH_UNITS_MAX, self.work.left // 2)
        self.solutions: dict[object, _Solution] = {}
        """By problem."""

    def allows(self, units: int) -> bool:
        """Count work that may be left undone; whether the searches may still do it."""
        if units > self._left or units > self.work.left // 2:
            self._left = 0
            return False
        self._left -= units
        self.work.spend(units)
        return True


class Moves:
    """The rules by action, cut down to what can help towards a goal."""

    def __init__(self, rules: Sequence[Rule], known: int, goal: int, work: Work | None = None) -> None:
        """`known` facts are there from the start, and no part of any state: nobody looks for ways to bring them."""
        self.work = Work(Limits().request_work_max) if work is None else work
        relevant = _relevant(rules, goal, self.work) & ~known
        by_action: dict[Action, dict[int, int]] = {}
        for rule in rules:
            gain = (rule.gain | rule.vacuous) & relevant & ~rule.need
            if gain:
                gains, need = by_action.setdefault(rule.action, {}), rule.need & ~known
                gains[need] = gains.get(need, 0) | gain
        self.names = sorted(by_action)
        self._set_rules([list(by_action[name].items()) for name in self.names], goal & ~known)

    def _set_rules(self, rules: list[list[tuple[int, int]]], goal: int) -> None:
        self.rules = rules
        self.actions = range(len(rules))
        self.all_gains = [reduce(or_, (gain for _, gain in here), 0) for here in rules]
        self.goal = _with_landmarks([each for here in rules for each in here], goal, self.work)
        self.units = [1 + len(here) // RULES_PER_UNIT for here in rules]
        """What firing each action costs."""
        self.units_of_all = sum(self.units)
        self._others: dict[int, list[tuple[int, int]]] = {}
        """For each action the rules of all others."""
        self.looked = 0
        """Rules looked at while saturating, since they were last counted."""
        self.sources = self._find_sources()

    def _find_sources(self) -> list[tuple[int, int]]:
        """The goal's facts by the set of actions that can gain them, small sets first; sets of actions are bits."""
        able: dict[int, int] = {}
        for action in self.actions:
            gains = self.all_gains[action] & self.goal
            self.work.spend(gains.bit_count() // 2)
            for fact in bits(gains):
                able[fact] = able.get(fact, 0) | 1 << action
        sources: dict[int, int] = {}
        for fact, actions in able.items():
            sources[actions] = sources.get(actions, 0) | fact
        return sorted(sources.items(), key=lambda item: (item[0].bit_count(), item[0]))

    def compressed(self) -> "Moves":
        """The same problem with as few facts as it can be told in: what no rule tells apart is one fact.

        Problems that differ in nothing but which facts they are about come out equal (`problem`).
        """
        sets = dict.fromkeys(each for here in self.rules for rule in here for each in rule)
        sets[self.goal] = None
        members: dict[int, int] = {}
        for number, facts in enumerate(sets):
            self.work.spend(2 * facts.bit_count())
            for fact in bits(facts):
                members[fact] = members.get(fact, 0) | 1 << number
        numbers: dict[int, int] = {}
        smaller = [0] * len(sets)
        for fact in sorted(members):
            within = members[fact]
            if within not in numbers:
                numbers[within] = new = 1 << len(numbers)
                for single in bits(within):
                    smaller[single.bit_length() - 1] |= new
        renamed = dict(zip(sets, smaller, strict=True))
        result = Moves.__new__(Moves)
        result.names, result.work = self.names, self.work
        result._set_rules(
            [[(renamed[need], renamed[gain]) for need, gain in here] for here in self.rules], renamed[self.goal]
        )
        return result

    @property
    def problem(self) -> object:
        """A value that equal problems share."""
        return self.goal, tuple(zip(self.names, map(tuple, self.rules), strict=True))

    def fire(self, known: int, action: int) -> int:
        """The facts known after one more request."""
        after = known
        for need, gain in self.rules[action]:
            if need & known == need:
                after |= gain
        return after

    def saturated(self, known: int, without: int) -> int:
        """The facts known once every action but one has been fired as often as it helps."""
        waiting = self._others.get(without)
        if waiting is None:  # in an order in which few rules wait for later ones: facts of deep positions come last
            others = [rule for action in self.actions if action != without for rule in self.rules[action]]
            waiting = self._others[without] = sorted(others, key=lambda rule: rule[0].bit_length())
        before = -1
        while before != known:
            before = known
            self.looked += len(waiting)
            still = []
            for rule in waiting:
                if rule[0] & known == rule[0]:
                    known |= rule[1]
                else:
                    still.append(rule)
            waiting = still
        return known

    def rounds_to_goal(self) -> int | None:
        """The round trips that it takes when every request is sent on each; None where the goal is out of reach."""
        known = rounds = 0
        while known & self.goal != self.goal:
            after = known
            for action in self.actions:
                after |= self.fire(known, action)
            if after == known:
                return None
            known = after
            rounds += 1
        return rounds


def _relevant(rules: Sequence[Rule], goal: int, work: Work) -> int:
    """The goal, and whatever rules that gain something relevant need."""
    relevant, before = goal, -1
    while before != relevant:
        before = relevant
        work.spend(1 + len(rules) // RULES_PER_UNIT)
        for rule in reversed(rules):  # deep positions come last, and need what is above them
            if (rule.gain | rule.vacuous) & relevant:
                relevant |= rule.need
    return relevant


def _with_landmarks(rules: Sequence[tuple[int, int]], goal: int, work: Work) -> int:
    """The goal, and the facts that every way to it goes through: facts only grow, so any plan has them at its end."""
    wanted, done = goal, 0
    while wanted != done:
        shared: dict[int, int] = {}
        new = wanted & ~done
        work.spend(1 + len(rules) // RULES_PER_UNIT + 2 * new.bit_count())
        for need, gain in rules:
            for fact in bits(gain & new):
                shared[fact] = shared.get(fact, need) & need
        done = wanted
        wanted = reduce(or_, shared.values(), wanted)
    return wanted


def search(
    rules: Sequence[Rule], known: int, goal: int, depth_of: Callable[[Found], int], effort: Effort | None = None
) -> Found | None:
    """The shortest sequence from `known` to `goal`; None where no sequence leads there.

    Among sequences of equal length one of least depth is preferred, as far as a small look around finds it: `depth_of`
    says how many round trips a sequence takes. `effort` is shared by the searches of an operation.

    Raises WorkExceeded where the operation's work ends before any sequence is found.
    """
    effort = Effort() if effort is None else effort
    effort.work.spend(1 + len(rules))
    moves = Moves(rules, known, goal, effort.work)
    if not moves.goal:
        return Found((), known, proven_minimal=True)
    effort.work.spend(moves.units_of_all)
    depth_min = moves.rounds_to_goal()
    if depth_min is None:
        return None
    greedy = _greedy(moves, effort.work)
    solution = _Solution(greedy, proven_minimal=True)
    smaller = moves
    if len(greedy) > _still_to_come(moves, 0, 0):
        smaller = moves.compressed()
        solution = _solved(smaller, greedy, effort)
    found = _found(moves, known, solution)
    if depth_min == len(found.steps):
        return found
    depth = depth_of(found)
    if depth > depth_min and solution.proven_minimal:
        for sequence in _sequences(smaller, len(solution.sequence), effort, TIE_UNITS_MAX, tries_all=True):
            if sequence is None:
                break
            other = _found(moves, known, _Solution(sequence, proven_minimal=True))
            other_depth = depth_of(other)
            if other_depth < depth:
                found, depth = other, other_depth
            if depth == depth_min:
                break
    return found


def _solved(moves: Moves, greedy: tuple[int, ...], effort: Effort) -> _Solution:
    """The shortest sequence for a problem, where none is known that is shorter than the greedy one."""
    problem = moves.problem
    solution = effort.solutions.get(problem)
    if solution is None:
        solution = _Solution(greedy, proven_minimal=True)
        for sequence in _sequences(moves, len(greedy) - 1, effort, SEARCH_UNITS_MAX):
            solution = _Solution(sequence or greedy, proven_minimal=sequence is not None)
            break
        effort.solutions[problem] = solution
    return solution


def _found(moves: Moves, known: int, solution: _Solution) -> Found:
    steps = []
    state = 0
    for action in solution.sequence:
        steps.append(Step(moves.names[action], known | state))
        state = moves.fire(state, action)
    return Found(tuple(steps), known | state, solution.proven_minimal)


def _greedy(moves: Moves, work: Work) -> tuple[int, ...]:
    """Always the request that brings most of the goal, then most of anything; then without those not needed."""
    sequence: list[int] = []
    known, goal = 0, moves.goal
    while known & goal != goal:
        work.spend(moves.units_of_all)
        best, best_gain, best_known = None, (0, 0), known
        for action in moves.actions:
            after = moves.fire(known, action)
            if after == known:
                continue
            new = after & ~known
            gain = ((new & goal).bit_count(), new.bit_count())
            if gain > best_gain:
                best, best_gain, best_known = action, gain, after
        assert best is not None, "the goal is within reach"
        sequence.append(best)
        known = best_known
    return _without_idle(moves, work, tuple(sequence))


def _without_idle(moves: Moves, work: Work, sequence: tuple[int, ...]) -> tuple[int, ...]:
    """Leave out, from the last to the first, every request without which the goal is still reached."""
    states = [0]
    for action in sequence:
        states.append(moves.fire(states[-1], action))
    for index in range(len(sequence) - 1, -1, -1):
        state = states[index]
        for action in sequence[index + 1 :]:
            work.spend(moves.units[action])
            state = moves.fire(state, action)
        if state & moves.goal == moves.goal:
            sequence = sequence[:index] + sequence[index + 1 :]
    return sequence


def _still_to_come(moves: Moves, state: int, used: int) -> int:
    """How many requests there are at least by actions that are not `used`: one for each of many disjoint sets of
    actions that must bring more."""
    count = 0
    for actions, facts in moves.sources:
        if not actions & used and facts & ~state:
            used |= actions
            count += 1
    return count


class _Alone:
    """How often each action has to be fired at least: where all others cost nothing."""

    def __init__(self, moves: Moves, effort: Effort) -> None:
        self.moves = moves
        self.effort = effort
        self.units = 0
        """What was computed so far cost, since that was last asked."""
        self._times: dict[tuple[int, int], int] = {}
        """By action, and the state once all others have done what they can."""

    def times(self, action: int, state: int) -> int:
        """How often the action has to be fired from a state."""
        moves, goal = self.moves, self.moves.goal
        passed = []
        times = 0
        while True:
            state = moves.saturated(state, action)
            units = 1 + 2 * moves.looked // RULES_PER_UNIT
            moves.looked = 0
            self.units += units
            self.effort.allows(units)
            times = self._times.get((action, state), -1)
            if times >= 0:
                break
            passed.append(state)
            if state & goal == goal:
                times = -1
                break
            state = moves.fire(state, action)
        for each in reversed(passed):
            times += 1
            self._times[action, each] = times
        return times


_Times = tuple[int, ...]
"""For each action how often it still has to be fired at least."""


def _sequences(
    moves: Moves, length_max: int, effort: Effort, units_max: int, *, tries_all: bool = False
) -> Iterator[tuple[int, ...] | None]:
    """A*: sequences to the goal of at most `length_max` requests, shortest first; None where the effort ends.

    With `tries_all`, requests are tried that cannot make a sequence shorter, but less deep.
    """
    goal = moves.goal
    alone = _Alone(moves, effort)
    heap: list[tuple[int, int, int, int, tuple[int, ...], _Times]] = []
    seen: dict[int, int] = {}
    pushed = 0

    def push(state: int, sequence: tuple[int, ...], times: _Times) -> None:
        nonlocal pushed
        fired = True
        while fired and state & goal != goal:
            fired = False
            for actions, facts in moves.sources:
                if actions & (actions - 1):
                    break  # it is those with one source that come first
                if facts & ~state:
                    action = actions.bit_length() - 1
                    after = moves.fire(state, action)
                    if after | moves.all_gains[action] == after:
                        state, sequence, times = after, (*sequence, action), _with(times, action, 0)
                        fired = True
        used = _used(times)
        estimate = len(sequence) + sum(times) + _still_to_come(moves, state, used)
        if estimate > length_max:
            return
        if state & goal != goal:
            if seen.get(state, len(sequence) + 1) <= len(sequence):
                return
            seen[state] = len(sequence)
        pushed += 1
        heapq.heappush(heap, (estimate, -(state & goal).bit_count(), pushed, state, sequence, times))

    push(0, (), tuple(alone.times(action, 0) for action in moves.actions))
    units = 0
    while heap:
        _, _, _, state, sequence, times = heapq.heappop(heap)
        if state & goal == goal:
            yield sequence
            continue
        spent = 2 * moves.units_of_all
        units += spent + alone.units
        alone.units = 0
        if units > units_max or not effort.allows(spent):
            yield None
            return
        for action, after in _all_tried(moves, state) if tries_all else _tried(moves, state):
            push(after, (*sequence, action), _with(times, action, alone.times(action, after) if times[action] else 0))


def _with(times: _Times, action: int, number: int) -> _Times:
    return (*times[:action], number, *times[action + 1 :])


def _used(times: _Times) -> int:
    return reduce(or_, (1 << action for action, number in enumerate(times) if number), 0)


def _all_tried(moves: Moves, state: int) -> Iterator[tuple[int, int]]:
    """All actions that bring anything, each with the state after it."""
    for action in moves.actions:
        after = moves.fire(state, action)
        if after != state:
            yield action, after


def _tried(moves: Moves, state: int) -> list[tuple[int, int]]:
    """The actions to try in a state, each with the state after it."""
    after = {action: moves.fire(state, action) for action in moves.actions}
    complete = reduce(or_, (1 << a for a, new in after.items() if new | moves.all_gains[a] == new), 0)
    for actions, facts in moves.sources:
        if facts & ~state and actions & complete == actions:
            after = {action: new for action, new in after.items() if actions >> action & 1}
            break
    tried: list[tuple[int, int]] = []
    for action, new in sorted(after.items(), key=lambda item: -item[1].bit_count()):
        if new != state and not any(new | other == other for _, other in tried):
            tried.append((action, new))
    return tried
