"""When @skip and @include let a part of an operation through: conditions over the request's boolean variables.

A condition is kept in disjunctive normal form: a set of clauses, each a set of literals, each a variable and the value
it must have. `ALWAYS` is one empty clause, `NEVER` is no clause at all. Conditions are compared by value, so two ways
of writing the same condition plan to the same bytes.

Specification: GraphQL, section 3.13 (@skip, @include).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from trifolio.errors import ErrorCode, PlanningError

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
        return Condition(_minimal(set(self.clauses | other.clauses)))

    def assuming(self, values: Mapping[str, bool]) -> "Condition":
        """What is left of the condition when these variables have these values."""
        clauses = {
            frozenset((name, value) for name, value in clause if name not in values)
            for clause in self.clauses
            if all(values.get(name, value) is value for name, value in clause)
        }
        return Condition(_minimal(clauses))

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


def _contradicts_itself(clause: Clause) -> bool:
    return any((name, not value) in clause for name, value in clause)


def _minimal(clauses: set[Clause]) -> frozenset[Clause]:
    """Merge `x AND a OR x AND NOT a` into `x`, then drop every clause that a smaller one already covers."""
    if len(clauses) < 2:
        return frozenset(clauses)
    changed = True
    while changed:
        changed = False
        for clause in sorted(clauses, key=sorted):
            for name, value in sorted(clause):
                twin = (clause - {(name, value)}) | {(name, not value)}
                if twin in clauses:
                    clauses -= {clause, twin}
                    clauses.add(clause - {(name, value)})
                    changed = True
                    break
            if changed:
                break
    return frozenset(clause for clause in clauses if not any(other < clause for other in clauses))


ALWAYS: Final = Condition(frozenset({frozenset()}))
NEVER: Final = Condition(frozenset())
