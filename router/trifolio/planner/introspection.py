"""Introspection is answered by the router: its root fields leave the operation and become one of their own.

Specification: GraphQL, section 4 (introspection).
"""

from dataclasses import replace

from graphql import print_ast
from graphql.language import FieldNode, FragmentSpreadNode, Visitor, visit

from trifolio.conditions import ALWAYS, Conditions
from trifolio.operation import INTROSPECTION_FIELDS, FlatField, Flattener, Operation
from trifolio.planner.printing import conditional_texts, variables_in


def split_introspection(operation: Operation, flattener: Flattener) -> tuple[str | None, tuple[str, ...]]:
    """The operation with the `__schema` and `__type` fields alone, and the variables that it uses; None without any."""
    root = flattener.supergraph.types[flattener.supergraph.roots[operation.kind]]
    flat = flattener.flatten([(operation.selection_set, ALWAYS)], frozenset({root.name}), position=0)
    at_once = {each.variable: True for each in flattener.deferrals.values()}
    fields = [
        replace(each, condition=each.condition.assuming(at_once))
        for each in flat
        if each.node.name.value in INTROSPECTION_FIELDS
    ]
    if not fields:
        return None, ()
    body = "{" + " ".join(text for each in fields for text in _field_texts(each, flattener.conditions)) + "}"
    fragments = "".join(print_ast(operation.fragments[name]) for name in _fragments(fields, operation))
    used = [name for name in operation.variables if name in variables_in(body + fragments)]
    definitions = ",".join(operation.variables[name].definition for name in used)
    return f"query{f'({definitions})' if definitions else ''}{body}{fragments}", tuple(used)


def _field_texts(each: FlatField, conditions: Conditions) -> list[str]:
    """A field with its selections as the client wrote them, under the condition of all that enclosed it."""
    node = each.node
    arguments = ",".join(print_ast(argument) for argument in node.arguments or ())
    head = (f"{node.alias.value}:" if node.alias else "") + node.name.value + (f"({arguments})" if arguments else "")
    below = print_ast(node.selection_set) if node.selection_set else ""
    return conditional_texts(head, each.condition, ALWAYS, conditions, lambda _: below)


class _Spreads(Visitor):
    def __init__(self, names: dict[str, None]) -> None:
        super().__init__()
        self.names = names

    def enter_fragment_spread(self, node: FragmentSpreadNode, *_: object) -> None:
        """Note the fragment."""
        self.names[node.name.value] = None


def _fragments(fields: list[FlatField], operation: Operation) -> list[str]:
    names: dict[str, None] = {}
    nodes: list[FieldNode] = [each.node for each in fields]
    for node in nodes:
        visit(node, _Spreads(names))
    done = 0
    while done < len(names):
        for name in list(names)[done:]:
            visit(operation.fragments[name], _Spreads(names))
            done += 1
    return list(names)
