"""Which of the fields that an operation selects are open to its caller.

Read once per operation: a guard for every field that is guarded, by the type that it is selected on. A request then
only compares: which rules does its caller meet, and which guards does that leave shut. What is shut is taken out of the
document before planning (`hiding.py`), so nothing is fetched for it.

A field is guarded by

- its own rules, and those of the type that it is selected on: a fragment leads to that type past every field;
- the rules of its type: an object, an interface, a scalar, an enum. Where objects of several types can come, one of
  these types has to be open;
- on an interface, by the rules of the same field in every type that may stand there, and of these types.

`__typename` tells which type an object is of, so it is guarded by the rules of that type, object by object. At a root
it tells nothing. Introspection is not guarded: the schema is the same for everybody.

What a caller has is rules that are met, not a name: two callers who meet the same rules have the same plans.
"""

import sys
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Final

from graphql.language import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
)

from trifolio.access_rules import NOTHING, AccessRule, Demand
from trifolio.conditions import ALWAYS, NEVER, Condition
from trifolio.operation import INTROSPECTION_FIELDS, directive_condition
from trifolio.supergraph import Supergraph
from trifolio.work import Work

SHUT_KEPT_MAX: Final = 64
"""Answers kept per operation, by which rules are met: callers come in a few kinds."""

_TYPENAME: Final = "__typename"


@dataclass(frozen=True, slots=True)
class Guard:
    """What has to be met for a field to be open."""

    every: Demand
    """All of these."""
    one_of: tuple[Demand, ...] = ()
    """And all of one of these, where there are any."""

    def is_open(self, met: frozenset[AccessRule]) -> bool:
        """Whether the field is open to whoever meets these rules."""
        return self.every <= met and (not self.one_of or any(each <= met for each in self.one_of))


@dataclass(frozen=True, slots=True)
class Caller:
    """What is known of whoever sends a request."""

    claims: Mapping[str, object] | None
    """The claims of a token that was verified; None where nobody is logged in."""
    policies: Mapping[str, bool | None]
    """What plug-ins say to policies; without an answer it is a no."""

    def meets(self, rules: Iterable[AccessRule]) -> tuple[bool, ...]:
        """Whether the caller meets each of the rules."""
        scopes = scopes_in(self.claims)
        granted = {name for name, answer in self.policies.items() if answer is True}
        return tuple([self._meets(rule, scopes, granted) for rule in rules])

    def _meets(self, rule: AccessRule, scopes: AbstractSet[str], granted: AbstractSet[str]) -> bool:
        if rule.directive == "authenticated":
            return self.claims is not None
        names = scopes if rule.directive == "requiresScopes" else granted
        return any(clause <= names for clause in rule.alternatives)


def scopes_in(claims: Mapping[str, object] | None) -> frozenset[str]:
    """The scopes that claims hold: `scope`, a text with spaces between them (RFC 8693, 4.2) or a list of texts."""
    value = claims.get("scope") if claims is not None else None
    if isinstance(value, str):
        return frozenset(value.split())
    if isinstance(value, list | tuple | set | frozenset):
        return frozenset(each for each in value if isinstance(each, str))
    return frozenset()


@dataclass(slots=True)
class _Region:
    """An operation's or a fragment's own selections: what is guarded in it, and which fragments it spreads."""

    guarded: list[tuple[str, Condition]] = field(default_factory=list)
    spreads: list[tuple[str, Condition]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class GuardedFields:
    """The fields of one operation that are guarded."""

    guards: Mapping[str, Guard]
    """By `Type.field`, with the type that it is selected on; `Type.__typename` also for each type that an object may be
    of."""
    rules: tuple[AccessRule, ...]
    """All that any of the guards asks for, each once."""
    policies: frozenset[str]
    """The policies in them."""
    _regions: Mapping[str | None, _Region]
    """The operation's under None, and those of its fragments by name."""
    _shut: dict[tuple[bool, ...], frozenset[str]] = field(default_factory=dict)
    """What was found out before, by which of the rules are met."""

    def shut(self, caller: Caller) -> frozenset[str]:
        """The fields that the caller may not see."""
        meets = caller.meets(self.rules)
        shut = self._shut.get(meets)
        if shut is None:
            met = frozenset(rule for rule, is_met in zip(self.rules, meets, strict=True) if is_met)
            shut = frozenset(name for name, guard in self.guards.items() if not guard.is_open(met))
            if len(self._shut) < SHUT_KEPT_MAX:
                self._shut[meets] = shut
        return shut

    def selected(self, names: frozenset[str], variables: Mapping[str, object]) -> list[str]:
        """Those of the fields that are selected with these variables, each once, in the order of the document."""
        truths = {name: value is True for name, value in variables.items()}
        found: dict[str, None] = {}
        seen: set[str | None] = {None}
        todo: list[str | None] = [None]
        for name in todo:
            region = self._regions[name]
            found |= {each: None for each, when in region.guarded if each in names and when.holds(truths)}
            for fragment, when in region.spreads:
                if fragment not in seen and when.holds(truths):
                    seen.add(fragment)
                    todo.append(fragment)
        return list(found)


def guarded_fields(
    document: DocumentNode, operation: OperationDefinitionNode, supergraph: Supergraph, work: Work | None = None
) -> GuardedFields | None:
    """The guarded fields of one operation of a valid document; None where none is. Raises WorkExceeded."""
    if not supergraph.access.in_use:
        return None
    fragments = {node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)}
    reader = _Reader(supergraph, fragments, work or Work(sys.maxsize))
    regions = reader.read(operation)
    if not reader.guards:
        return None
    demands = [demand for guard in reader.guards.values() for demand in (guard.every, *guard.one_of)]
    rules = tuple(dict.fromkeys(rule for demand in demands for rule in demand))
    policies = frozenset(
        name for rule in rules if rule.directive == "policy" for clause in rule.alternatives for name in clause
    )
    return GuardedFields(reader.guards, rules, policies, regions)


class _Reader:
    """Reads the operation, and every fragment that it comes to, once."""

    def __init__(self, supergraph: Supergraph, fragments: Mapping[str, FragmentDefinitionNode], work: Work) -> None:
        self.supergraph = supergraph
        self.work = work
        self.access = supergraph.access
        self.fragments = fragments
        self.roots = frozenset(supergraph.roots.values())
        self.guards: dict[str, Guard] = {}
        self.open: set[str] = set()
        """What was looked at and is not guarded."""

    def read(self, operation: OperationDefinitionNode) -> dict[str | None, _Region]:
        regions: dict[str | None, _Region] = {}
        todo: list[tuple[str | None, SelectionSetNode, str]] = [
            (None, operation.selection_set, self.supergraph.roots[operation.operation.value])
        ]
        met: set[str] = set()
        for name, selection_set, type_name in todo:
            region = regions[name] = _Region()
            self.selections(selection_set, type_name, ALWAYS, region)
            for spread, _ in region.spreads:
                if spread not in met:
                    met.add(spread)
                    node = self.fragments[spread]
                    todo.append((spread, node.selection_set, node.type_condition.name.value))
        return regions

    def selections(self, selection_set: SelectionSetNode, parent: str, around: Condition, region: _Region) -> None:
        for node in selection_set.selections:
            self.work.spend(2)
            when = around.and_(directive_condition(node.directives)) if node.directives else around
            if when == NEVER:
                continue
            if isinstance(node, FieldNode):
                name = node.name.value
                if name in INTROSPECTION_FIELDS:
                    continue
                if self.is_guarded(parent, name):
                    region.guarded.append((f"{parent}.{name}", when))
                if node.selection_set is not None:
                    target = self.supergraph.types[parent].fields[name].type.name
                    self.selections(node.selection_set, target, when, region)
            elif isinstance(node, FragmentSpreadNode):
                region.spreads.append((node.name.value, when))
            else:
                assert isinstance(node, InlineFragmentNode)
                condition = node.type_condition
                self.selections(node.selection_set, condition.name.value if condition else parent, when, region)

    def is_guarded(self, parent: str, name: str) -> bool:
        """Whether a field that is selected on a type has a guard; from here on it is known."""
        coordinate = f"{parent}.{name}"
        if coordinate in self.guards:
            return True
        if coordinate in self.open:
            return False
        self.work.spend(len(self.supergraph.types[parent].possible_types))
        if name == _TYPENAME:
            for possible in self.supergraph.types[parent].possible_types:
                if possible != parent:
                    self.is_guarded(possible, name)
            guard = Guard(NOTHING if parent in self.roots else self.access.types.get(parent, NOTHING))
        else:
            guard = self.guard(parent, name)
        if guard.every or guard.one_of:
            self.guards[coordinate] = guard
            return True
        self.open.add(coordinate)
        return False

    def guard(self, parent: str, name: str) -> Guard:
        """What a field that is selected on a type asks for."""
        types, fields = self.access.types, self.access.fields
        every: set[AccessRule] = set()
        for each in {parent: None, **dict.fromkeys(self.supergraph.types[parent].possible_types)}:
            every |= types.get(each, NOTHING)
            every |= fields.get((each, name), NOTHING)
        target = self.supergraph.types[parent].fields[name].type.name
        every |= types.get(target, NOTHING)
        composite = self.supergraph.types.get(target)
        if composite is None or not composite.is_abstract:
            return Guard(frozenset(every))
        shown = [each for each in composite.possible_types if not self.supergraph.types[each].inaccessible]
        one_of = tuple(dict.fromkeys(types.get(each, NOTHING) for each in shown))
        return Guard(frozenset(every), () if NOTHING in one_of else one_of)
