"""When @skip and @include let a part of an operation through: conditions over the request's boolean variables.

A condition is kept in disjunctive normal form: a set of clauses, each a set of literals, each a variable and the value
it must have. `ALWAYS` is one empty clause, `NEVER` is no clause at all. Conditions are compared by value, so two ways
of writing the same condition plan to the same bytes.

`Condition` is the value; `Conditions` combines the conditions of one operation: it counts what that costs, and
remembers what it has combined.

Specification: GraphQL, section 3.13 (@skip, @include).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from trifolio.errors import ErrorCode, PlanningError
from trifolio.work import Work

CLAUSES_MAX: Final = 256
"""Clauses that combining two conditions may make: honest operations have a handful; crafted ones would make 2^n."""

Literal = tuple[str, bool]
"""A variable's name and the value it must have for the part to be executed."""

Clause = frozenset[Literal]
"""Literals that must hold together."""


@dataclass(frozen=True, slots=True)
class Condition:
    """An OR of clauses, each an AND of literals; build it with `literal`, `and_` and `or_`, which keep it minimal.

    They raise PlanningError where a condition gets larger than `CLAUSES_MAX`.
    """

    clauses: frozenset[Clause]

    @staticmethod
    def literal(variable: str, value: bool, /) -> "Condition":
        """The condition that `variable` has `value`: @include(if: $v) is (v, True), @skip(if: $v) is (v, False)."""
        return Condition(frozenset({frozenset({(variable, value)})}))

    def and_(self, other: "Condition") -> "Condition":
        """Both conditions at once; clauses that contradict themselves are dropped."""
        if len(self.clauses) == 1 and self == ALWAYS:
            return other
        if other == ALWAYS:
            return self
        if len(self.clauses) * len(other.clauses) > CLAUSES_MAX:
            raise PlanningError(ErrorCode.PLANNING_BUDGET_EXCEEDED)
        products = {mine | theirs for mine in self.clauses for theirs in other.clauses}
        return Condition(_minimal({clause for clause in products if not _contradicts_itself(clause)}))

    def or_(self, other: "Condition") -> "Condition":
        """Either condition; `a OR NOT a` is ALWAYS."""
        if self == other or not other.clauses:
            return self
        if not self.clauses:
            return other
        if self == ALWAYS or other == ALWAYS:
            return ALWAYS
        if len(self.clauses) + len(other.clauses) > CLAUSES_MAX:
            raise PlanningError(ErrorCode.PLANNING_BUDGET_EXCEEDED)
        if len(other.clauses) == 1:
            [clause] = other.clauses
            if any(mine <= clause for mine in self.clauses):
                return self
            if not any(len(mine) == len(clause) for mine in self.clauses) or not _has_alike(self.clauses, clause):
                return Condition(frozenset([mine for mine in self.clauses if not clause < mine]) | other.clauses)
        return Condition(_minimal(set(self.clauses | other.clauses)))

    def assuming(self, values: Mapping[str, bool]) -> "Condition":
        """What is left of the condition when these variables have these values."""
        if self.clauses <= _CONSTANT:
            return self
        clauses = {
            frozenset([literal for literal in clause if literal[0] not in values])
            for clause in self.clauses
            if all(values.get(name, value) is value for name, value in clause)
        }
        return Condition(_minimal(clauses))

    def restricted(self, variables: frozenset[str]) -> "Condition":
        """What the condition says about some variables alone: it holds wherever this condition does."""
        if self.variables <= variables:
            return self
        return Condition(
            _minimal({frozenset([literal for literal in clause if literal[0] in variables]) for clause in self.clauses})
        )

    def negated(self) -> "Condition":
        """The condition that this one does not hold; up to the product of the clauses' sizes in clauses."""
        result = ALWAYS
        for clause in self.sorted_clauses():
            result = result.and_(Condition(frozenset(frozenset({(name, not value)}) for name, value in clause)))
        return result

    def implies(self, other: "Condition") -> bool:
        """Whether `other` surely holds when this one does (sound, clause by clause; it may miss exotic cases)."""
        return all(any(theirs <= mine for theirs in other.clauses) for mine in self.clauses)

    def holds(self, variables: Mapping[str, object]) -> bool:
        """Whether the condition is true for a request's coerced `variables`; a missing variable counts as false."""
        return any(all(bool(variables.get(name, False)) is value for name, value in clause) for clause in self.clauses)

    @property
    def variables(self) -> frozenset[str]:
        """The names of the variables that it looks at."""
        return frozenset(name for clause in self.clauses for name, _ in clause)

    def sorted_clauses(self) -> tuple[tuple[Literal, ...], ...]:
        """Clauses and literals in one fixed order, for printing."""
        return tuple(sorted(tuple(sorted(clause)) for clause in self.clauses))

    def __str__(self) -> str:
        """`$a AND NOT $b OR $c`; `true` and `false` for the constants."""
        if self == ALWAYS:
            return "true"
        if self == NEVER:
            return "false"
        return " OR ".join(
            " AND ".join(f"${name}" if value else f"NOT ${name}" for name, value in clause)
            for clause in self.sorted_clauses()
        )


def _has_alike(clauses: frozenset[Clause], clause: Clause) -> bool:
    """Whether a clause is about the same variables."""
    variables = {name for name, _ in clause}
    return any(len(each) == len(clause) and variables == {name for name, _ in each} for each in clauses)


def _contradicts_itself(clause: Clause) -> bool:
    return len(clause) > 1 and len({name for name, _ in clause}) < len(clause)


def _minimal(clauses: set[Clause]) -> frozenset[Clause]:
    """Merge `x AND a OR x AND NOT a` into `x`, then drop every clause that a smaller one already covers."""
    if len(clauses) < 2:
        return frozenset(clauses)
    by_variables: dict[frozenset[str], set[Clause]] = {}
    for clause in clauses:
        by_variables.setdefault(frozenset([name for name, _ in clause]), set()).add(clause)
    if len(by_variables) < len(clauses):
        clauses = _merged(by_variables)
    kept: list[Clause] = []
    for clause in sorted(clauses, key=len):
        if not any(other < clause for other in kept):
            kept.append(clause)
    return frozenset(kept)


def _merged(by_variables: dict[frozenset[str], set[Clause]]) -> set[Clause]:
    """The clauses after merging; what is merged has one variable less, so that those with most variables come first."""
    merged: set[Clause] = set()
    sizes = {len(variables) for variables in by_variables}
    for size in range(max(sizes), -1, -1):
        for variables in sorted((each for each in by_variables if len(each) == size), key=sorted):
            here = by_variables[variables]
            for clause in sorted(here, key=sorted) if len(here) > 1 else ():
                for name, value in sorted(clause):
                    twin = (clause - {(name, value)}) | {(name, not value)}
                    if clause in here and twin in here:
                        here -= {clause, twin}
                        by_variables.setdefault(variables - {name}, set()).add(clause - {(name, value)})
                        break
            merged |= here
    return merged


_CONSTANT: Final[frozenset[Clause]] = frozenset({frozenset()})
"""The clauses of ALWAYS; NEVER has fewer."""

ALWAYS: Final = Condition(_CONSTANT)
NEVER: Final = Condition(frozenset())

COMPARISONS_PER_UNIT: Final = 8
"""Pairs of clauses that one unit of work combines or compares."""


class Conditions:
    """Combines the conditions of one operation, and remembers: what is equal is the same object."""

    def __init__(self, work: Work) -> None:
        self.work = work
        """What combining is counted in."""
        self._kept = {ALWAYS: ALWAYS, NEVER: NEVER}
        self._and: dict[tuple[Condition, Condition], Condition] = {}
        self._or: dict[tuple[Condition, Condition], Condition] = {}
        self._under: dict[tuple[Condition, Condition], Condition] = {}
        self._negated: dict[Condition, Condition] = {}
        self._implied: dict[tuple[Condition, Condition], bool] = {}
        self._restricted: dict[tuple[Condition, frozenset[str]], Condition] = {}

    def and_(self, one: Condition, other: Condition) -> Condition:
        """Both conditions at once."""
        if one is other or other is ALWAYS:
            return one
        if one is ALWAYS:
            return other
        if one is NEVER or other is NEVER:
            return NEVER
        key = one, other
        found = self._and.get(key)
        if found is None:
            self._count(len(one.clauses) * len(other.clauses))
            found = self._and[key] = self.kept(one.and_(other))
        return found

    def or_(self, one: Condition, other: Condition) -> Condition:
        """Either condition."""
        if one is other or one is ALWAYS or other is NEVER:
            return one
        if one is NEVER or other is ALWAYS:
            return other
        key = one, other
        found = self._or.get(key)
        if found is None:
            if len(other.clauses) == 1:
                self.work.spend(4 + len(one.clauses) // 2)
            else:
                self._count(len(one.clauses) + len(other.clauses))
            found = self._or[key] = self.kept(one.or_(other))
        return found

    def negated(self, condition: Condition) -> Condition:
        """The condition that this one does not hold: as many clauses as the product of its clauses' sizes, at most."""
        found = self._negated.get(condition)
        if found is None:
            found = ALWAYS
            for clause in condition.sorted_clauses():
                other = Condition(frozenset([frozenset({(name, not value)}) for name, value in clause]))
                found = self.and_(found, self.kept(other))
            self._negated[condition] = found
        return found

    def implies(self, one: Condition, other: Condition) -> bool:
        """Whether `other` surely holds when `one` does."""
        if one is other or other is ALWAYS or one is NEVER:
            return True
        key = one, other
        found = self._implied.get(key)
        if found is None:
            self.work.spend(1 + len(one.clauses) * len(other.clauses) // COMPARISONS_PER_UNIT)
            found = self._implied[key] = one.implies(other)
        return found

    def under(self, given: Condition, condition: Condition) -> Condition:
        """What is left of a condition where `given` holds."""
        if given is ALWAYS or condition is ALWAYS or condition is NEVER:
            return condition
        if given is condition:
            return ALWAYS
        key = given, condition
        found = self._under.get(key)
        if found is None:
            self._count(len(condition.clauses))
            sure = dict(frozenset.intersection(*given.clauses)) if given.clauses else {}
            found = self.kept(condition.assuming(sure))
            if found is not ALWAYS and self.implies(given, found):
                found = ALWAYS
            self._under[key] = found
        return found

    def restricted(self, condition: Condition, variables: frozenset[str]) -> Condition:
        """What a condition says about some variables alone."""
        if condition is ALWAYS or condition is NEVER:
            return condition
        key = condition, variables
        found = self._restricted.get(key)
        if found is None:
            self._count(len(condition.clauses))
            found = self._restricted[key] = self.kept(condition.restricted(variables))
        return found

    def _count(self, clauses: int) -> None:
        """Count making that many clauses, and comparing each with each."""
        clauses = min(clauses, CLAUSES_MAX)
        self.work.spend(4 + clauses + clauses * clauses // COMPARISONS_PER_UNIT)

    def kept(self, condition: Condition) -> Condition:
        """The one object for this condition, that comparing by identity finds."""
        return self._kept.setdefault(condition, condition)
