"""What a supergraph demands of whoever asks: @authenticated, @requiresScopes and @policy on its types and fields.

Composition has done most of the work: an interface demands what its implementations demand, and a field that reads data
demands what that data demands. Supergraphs of older composers leave this to the router. So what an interface demands
beyond its implementations together, its author demanded of it, and it holds for each of them as well; and a field that
is selected on an interface has to be open in every type that may stand there (`authorization.py`).

    type Query { audit: [Entry] @requiresScopes(scopes: [["audit", "read"], ["admin"]]) }     (audit and read) or admin

Specifications: authenticated, requiresScopes and policy v0.1.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

from graphql.language import (
    ConstDirectiveNode,
    DefinitionNode,
    DocumentNode,
    EnumTypeDefinitionNode,
    FieldDefinitionNode,
    InterfaceTypeDefinitionNode,
    ObjectTypeDefinitionNode,
    ScalarTypeDefinitionNode,
)

from trifolio.errors import SupergraphError
from trifolio.features import Machinery, applications

AccessDirective = Literal["authenticated", "requiresScopes", "policy"]

_ARGUMENTS: Final[Mapping[AccessDirective, str | None]] = {
    "authenticated": None,
    "requiresScopes": "scopes",
    "policy": "policies",
}
_CLAUSES_MAX: Final = 1_000
"""Alternatives that the demands of all implementations of an interface may come to: beyond, an interface is taken to
demand something of its own, which errs on the side of who protects."""

_Guardable = ObjectTypeDefinitionNode | InterfaceTypeDefinitionNode | ScalarTypeDefinitionNode | EnumTypeDefinitionNode


@dataclass(frozen=True, slots=True)
class AccessRule:
    """One thing that is demanded."""

    directive: AccessDirective
    alternatives: frozenset[frozenset[str]] = frozenset()
    """One of these sets has to be there as a whole, of scopes or of policies; empty for `authenticated`. Where there is
    no set to choose from, nobody meets the rule."""


Demand = frozenset[AccessRule]
"""Rules that have to be met, all of them."""

NOTHING: Final[Demand] = frozenset()


@dataclass(frozen=True)
class AccessRules:
    """What a supergraph demands, by type and by field; types and fields that demand nothing are not in here."""

    types: Mapping[str, Demand]
    """Objects, interfaces, scalars and enums."""
    fields: Mapping[tuple[str, str], Demand]
    """By type and field."""

    @cached_property
    def in_use(self) -> bool:
        """Whether anything is demanded at all."""
        return bool(self.types or self.fields)


def read_access_rules(document: DocumentNode, machinery: Machinery) -> AccessRules:
    """The rules of a supergraph. Raises SupergraphError for one that cannot be enforced: it does not say what is
    demanded, or stands where it has no meaning."""
    names = {name: directive for directive in _ARGUMENTS for name in machinery.names(directive)}
    types: dict[str, Demand] = {}
    fields: dict[tuple[str, str], Demand] = {}
    implementing: dict[str, list[ObjectTypeDefinitionNode]] = {}
    interfaces: dict[str, InterfaceTypeDefinitionNode] = {}
    for node in document.definitions:
        if machinery.owns_definition(node):
            continue
        _refuse_elsewhere(node, names)
        if not isinstance(node, _Guardable):
            continue
        name = node.name.value
        types[name] = _demand(name, node.directives, names)
        for declared in _fields_of(node):
            place = name, declared.name.value
            fields[place] = _demand(".".join(place), declared.directives, names)
        if isinstance(node, ObjectTypeDefinitionNode):
            for interface in node.interfaces or ():
                implementing.setdefault(interface.name.value, []).append(node)
        elif isinstance(node, InterfaceTypeDefinitionNode):
            interfaces[name] = node
    if not any(types.values()) and not any(fields.values()):
        return AccessRules({}, {})
    given_types, given_fields = dict(types), dict(fields)
    for name, interface_node in interfaces.items():
        objects = [each.name.value for each in implementing.get(name, ())]
        own = _beyond(given_types[name], [given_types[each] for each in objects])
        for each in objects:
            types[each] |= own
        for declared in _fields_of(interface_node):
            key = declared.name.value
            places = [(each, key) for each in objects if (each, key) in given_fields]
            own = _beyond(given_fields[name, key], [given_fields[place] for place in places])
            for place in places:
                fields[place] |= own
    return AccessRules(
        {name: demand for name, demand in types.items() if demand},
        {place: demand for place, demand in fields.items() if demand},
    )


def _fields_of(node: DefinitionNode) -> Sequence[FieldDefinitionNode]:
    if isinstance(node, ObjectTypeDefinitionNode | InterfaceTypeDefinitionNode):
        return node.fields or ()
    return ()


def _demand(
    coordinate: str, nodes: Iterable[ConstDirectiveNode] | None, names: Mapping[str, AccessDirective]
) -> Demand:
    rules = []
    for name, arguments in applications(nodes):
        directive = names.get(name)
        if directive is not None:
            key = _ARGUMENTS[directive]
            rules.append(
                AccessRule(directive, _alternatives(coordinate, name, arguments.get(key)) if key else frozenset())
            )
    return frozenset(rules)


def _alternatives(coordinate: str, name: str, value: object) -> frozenset[frozenset[str]]:
    """The sets of names that `[["a", "b"], ["admin"]]` says, as GraphQL coerces values to lists."""
    clauses = []
    for clause in value if isinstance(value, list) else [value]:
        names = clause if isinstance(clause, list) else [clause]
        if not all(isinstance(each, str) for each in names):
            raise SupergraphError(f'@{name} on "{coordinate}" does not say what is demanded: a list of lists of names.')
        clauses.append(frozenset(names))
    return frozenset(clauses)


def _refuse_elsewhere(node: DefinitionNode, names: Mapping[str, AccessDirective]) -> None:
    """Rules stand on fields, objects, interfaces, scalars and enums; nothing would enforce one anywhere else."""
    for what, directives in _other_places(node):
        for each in directives or ():
            if each.name.value in names:
                raise SupergraphError(f"@{each.name.value} stands on {what}, where it cannot be enforced.")


def _other_places(node: DefinitionNode) -> Iterator[tuple[str, Iterable[ConstDirectiveNode] | None]]:
    named = getattr(node, "name", None)
    name = named.value if named is not None else "the schema"
    if not isinstance(node, _Guardable):
        yield name, getattr(node, "directives", None)
    for each in getattr(node, "fields", None) or ():
        if not isinstance(each, FieldDefinitionNode):
            yield f"{name}.{each.name.value}", each.directives
        for argument in getattr(each, "arguments", None) or ():
            yield f"the argument {name}.{each.name.value}({argument.name.value}:)", argument.directives
    for each in (*(getattr(node, "values", None) or ()), *(getattr(node, "arguments", None) or ())):
        yield f"{name}.{each.name.value}", each.directives


def _beyond(own: Demand, demands: Sequence[Demand]) -> Demand:
    """The rules of an interface that whoever meets the demands of all its implementations need not meet."""
    return frozenset(rule for rule in own if not _is_implied(rule, demands))


def _is_implied(rule: AccessRule, demands: Sequence[Demand]) -> bool:
    others = [each for demand in demands for each in demand if each.directive == rule.directive]
    if rule in others:
        return True
    together = {frozenset[str]()}
    for other in others:
        joined = {clause | more for clause in together for more in other.alternatives}
        together = {clause for clause in joined if not any(less < clause for less in joined)}
        if len(together) > _CLAUSES_MAX:
            return False
    return all(any(clause <= found for clause in rule.alternatives) for found in together)
