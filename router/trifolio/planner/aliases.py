"""Which aliases of one field are asked as one.

The problem. `{ a: me { name } b: me { name balance } }` asks one field under two response keys. A subgraph that is
asked for both executes `me` twice, and what hangs on it as well. But asked as one they share one object: where
`balance` is never null and fails, `me` is null, and with it `a`, which has not asked for `balance`. The specification
executes every response key by itself, so that `a` has its name (sections 6.3.2 and 6.4.4).

The idea. What can take an object away is a field below it whose type is non-null somewhere, in any subgraph: that is a
*risk* of the object. Aliases with equal risks lose their objects together even when each is asked by itself. Those are
asked as one, all others apart.

Why it is right. Whatever is never null and selected below one of the aliases is selected below the others, under the
same conditions; all else is null where it fails. What is taken for a risk and is none costs a subgraph some work, and
never another request: fields of one request may be any number.

What it costs. Nothing where no composite field has two response keys. Else a look at every selection set below, once
for each type that it stands on.
"""

from collections.abc import Iterable

from graphql import print_ast
from graphql.language import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    SelectionNode,
    SelectionSetNode,
)

from trifolio.conditions import ALWAYS
from trifolio.operation import ANY_OF, FlatField, Flattener
from trifolio.selections import Arguments

Apart = dict[tuple[str, Arguments, str], str]
"""By name, arguments and response key, what tells a field apart from its other aliases; not there: nothing does."""

_NO_RISK = 0


class Risks:
    """What could take away the objects of one operation; risks are numbers, equal ones the same."""

    def __init__(self, flattener: Flattener) -> None:
        self._flattener = flattener
        self._supergraph = flattener.supergraph
        self._work = flattener.work
        self._numbers: dict[frozenset[object], int] = {}
        self._members: dict[int, frozenset[object]] = {_NO_RISK: frozenset()}
        """The numbers the other way round."""
        self._below: dict[tuple[int, str], int] = {}
        """By the identity of a selection set and the type that it stands on."""
        self._fields: dict[tuple[str, str], tuple[bool, frozenset[str]]] = {}
        """By type and field: whether it is a risk itself, and the types that it leads to."""

    def apart(self, flat: Iterable[FlatField]) -> Apart:
        """What tells aliases apart among the fields that are selected on an object position."""
        composite = [each for each in flat if each.node.selection_set is not None]
        if not any(each.node.alias for each in composite):
            return {}
        by_field: dict[tuple[str, Arguments], dict[str, list[FlatField]]] = {}
        for each in composite:
            field = each.node.name.value, self._flattener.arguments(each.node)
            by_field.setdefault(field, {}).setdefault(each.response_key, []).append(each)
        found: Apart = {}
        for (name, arguments), by_key in by_field.items():
            if len(by_key) == 1:
                continue
            risks = {key: self._risk(several) for key, several in by_key.items()}
            # What keys and @requires read is asked with the plain ones: of these, as few risks as can be.
            plain = min(risks.values(), key=len)
            first: dict[frozenset[object], str] = {}
            for key, risk in risks.items():
                if risk != plain:
                    found[name, arguments, key] = first.setdefault(risk, key)
        return found

    def _risk(self, appearances: list[FlatField]) -> frozenset[object]:
        """What could take away the object under one response key."""
        several = len(appearances) > 1
        found: set[object] = set()
        for each in appearances:
            assert each.node.selection_set is not None
            self._work.spend(len(each.types))
            targets = frozenset().union(*(self._field(name, each.node.name.value)[1] for name in each.types))
            for target in targets:
                risk = self._risks_below(each.node.selection_set, target)
                if risk is not _NO_RISK:
                    found.add((risk, each.condition if several else ALWAYS))
        return frozenset(found)

    def _risks_below(self, selection_set: SelectionSetNode, type_name: str) -> int:
        """The risks in a selection set, with the conditions that they stand under."""
        key = (id(selection_set), type_name)
        if key in self._below:
            return self._below[key]
        self._below[key] = _NO_RISK  # what a fragment that spreads itself would find
        found: set[object] = set()
        for node in selection_set.selections:
            self._work.spend(2)
            directives = tuple(map(print_ast, node.directives or ()))
            if isinstance(node, FieldNode):
                is_risk, targets = self._field(type_name, node.name.value)
                inner = (self._risks_below(node.selection_set, each) for each in targets if node.selection_set)
                below = frozenset(each for each in inner if each is not _NO_RISK)
                if is_risk or below:
                    found.add((node.name.value, self._flattener.arguments(node), directives, is_risk, below))
                continue
            fragment = self._fragment(node)
            on = fragment.type_condition.name.value if fragment.type_condition else type_name
            risk = self._risks_below(fragment.selection_set, on)
            if on == type_name and not directives:
                found |= self._members[risk]
            elif risk is not _NO_RISK:
                found.add((on, directives, risk))
        risks = frozenset(found)
        if risks:
            number = self._below[key] = self._numbers.setdefault(risks, len(self._numbers) + 1)
            self._members[number] = risks
        return self._below[key]

    def _fragment(self, node: SelectionNode) -> InlineFragmentNode | FragmentDefinitionNode:
        if isinstance(node, InlineFragmentNode):
            return node
        assert isinstance(node, FragmentSpreadNode)
        return self._flattener.fragment(node.name.value)

    def _field(self, type_name: str, name: str) -> tuple[bool, frozenset[str]]:
        """Whether a field is non-null anywhere, in any subgraph and for any runtime type, and where it leads to."""
        known = self._fields.get((type_name, name))
        if known is None:
            types = self._supergraph.types
            owners = {each for each in type_name.split(ANY_OF) if each in types}
            owners = owners.union(*(types[each].possible_types for each in owners))
            owners = owners.union(*(types[each].interfaces for each in owners))
            self._work.spend(len(owners))
            fields = [types[each].fields[name] for each in owners if name in types[each].fields]
            here = [field.type for field in fields]
            here += [each.type for field in fields for each in field.subgraphs.values()]
            targets = frozenset(each.name for each in here if each.name in types)
            known = self._fields[type_name, name] = any(any(each.non_null) for each in here), targets
        return known
