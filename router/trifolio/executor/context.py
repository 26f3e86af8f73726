"""@fromContext: arguments whose values stand on an ancestor, so that one entry can need several aliases in a request.

A fetch's operation has one `_entities` alias per entry, and GraphQL's arguments are per field, not per entity. Objects
under ancestors with different values therefore go under aliases of their own, which are added to the operation:

    query ($r: [_Any!]!, $c: Int) { _e0: _entities(representations: $r) { ... on T { f(a: $c) } } }
 -> query ($r: [_Any!]!, $c: Int, $r_1: [_Any!]!, $c_1: Int) {
      _e0: _entities(representations: $r) { ... on T { f(a: $c) } }
      _e0_1: _entities(representations: $r_1) { ... on T { f(a: $c_1) } }
    }
"""

from collections.abc import Mapping
from dataclasses import dataclass

from graphql import (
    FieldNode,
    NameNode,
    OperationDefinitionNode,
    VariableDefinitionNode,
    VariableNode,
    Visitor,
    parse,
    print_ast,
    visit,
)

from trifolio.executor.merge import Json
from trifolio.executor.tree import Trail
from trifolio.query_plan import ContextVariable, RepresentationField


@dataclass(frozen=True, slots=True)
class Variant:
    """A copy of one entry's alias under other names."""

    alias: str
    new_alias: str
    variables: Mapping[str, str]
    """The entry's own variables and the names that they have in the copy."""


def context_value(place: Json, trail: Trail, argument: ContextVariable) -> tuple[object, Trail | None]:
    """The argument's value and None, or None and the way to the value that is missing."""
    ancestor = trail[-argument.levels_up][0] if argument.levels_up else place
    walked = trail[: len(trail) - argument.levels_up]
    value: object = ancestor
    choices: tuple[RepresentationField, ...] = (argument.value,)
    while choices and isinstance(value, dict):
        chosen = _applicable(value, choices)
        if chosen is None:
            return None, None
        walked = (*walked, (value, chosen.key))
        if chosen.key not in value:
            return None, walked
        value, choices = value[chosen.key], chosen.selection
    return value, None


def _applicable(place: Json, choices: tuple[RepresentationField, ...]) -> RepresentationField | None:
    """The first field that objects of this type have."""
    typename = place.get("__typename")
    return next((field for field in choices if not field.types or typename in field.types), None)


def add_variants(operation: str, variants: list[Variant]) -> str:
    """The operation's text with a copy of an entry for every variant."""
    if not variants:
        return operation
    document = parse(operation, no_location=True)
    (definition,) = (item for item in document.definitions if isinstance(item, OperationDefinitionNode))
    fields = list(definition.selection_set.selections)
    declared = list(definition.variable_definitions or ())
    for variant in variants:
        original = next(
            node for node in fields if isinstance(node, FieldNode) and node.alias and node.alias.value == variant.alias
        )
        fields.append(_renamed(original, variant))
        declared.extend(
            _redeclared(item, variant.variables[item.variable.name.value])
            for item in definition.variable_definitions or ()
            if item.variable.name.value in variant.variables
        )
    selection_set = type(definition.selection_set)(selections=tuple(fields))
    changed = OperationDefinitionNode(
        operation=definition.operation,
        name=definition.name,
        variable_definitions=tuple(declared),
        directives=definition.directives,
        selection_set=selection_set,
    )
    return print_ast(
        type(document)(definitions=tuple(changed if item is definition else item for item in document.definitions))
    )


def _renamed(original: FieldNode, variant: Variant) -> FieldNode:
    class Rename(Visitor):
        def enter_variable(self, node: VariableNode, *_: object) -> VariableNode | None:
            name = variant.variables.get(node.name.value)
            return None if name is None else VariableNode(name=NameNode(value=name))

    copied: FieldNode = visit(original, Rename())
    return FieldNode(
        alias=NameNode(value=variant.new_alias),
        name=copied.name,
        arguments=copied.arguments,
        directives=copied.directives,
        selection_set=copied.selection_set,
    )


def _redeclared(definition: VariableDefinitionNode, name: str) -> VariableDefinitionNode:
    return VariableDefinitionNode(
        variable=VariableNode(name=NameNode(value=name)),
        type=definition.type,
        default_value=definition.default_value,
        directives=definition.directives,
    )
