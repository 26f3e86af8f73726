"""The rules for @context and @fromContext within one subgraph.

A type sets a context by name; an argument further down is filled from what is selected on the nearest ancestor that
sets it. Specification: https://specs.apollo.dev/context/v0.1/.
"""

import re
from collections.abc import Sequence

from graphql.language import FieldNode, InlineFragmentNode, SelectionSetNode

from trifolio.composer.diagnostics import Code, Diagnostics
from trifolio.composer.field_sets import InvalidFieldSet, mentions, parse_selection
from trifolio.composer.schema import (
    Application,
    Argument,
    FieldDef,
    SubgraphSchema,
    TypeDef,
    applications,
    first,
    is_list,
    is_non_null,
    item_type,
    named,
    nullable,
)
from trifolio.composer.usage import contexts_of, split_context_value

NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*")


def check_contexts(schema: SubgraphSchema, diagnostics: Diagnostics) -> None:
    """Report contexts that cannot be set and arguments that cannot be filled."""
    for each in schema.types.values():
        for use in applications(each, "context"):
            name = use.text("name") or ""
            if not NAME.fullmatch(name):
                message = (
                    f'[{schema.name}] Context name "{name}" on "{each.name}" has to begin with a letter and have '
                    "letters and digits only."
                )
                diagnostics.add(Code.CONTEXT_NAME_INVALID, message, [(schema.name, use.node)])
    _check_directive_definitions(schema, diagnostics)
    contexts = contexts_of(schema)
    for each, one in schema.fields():
        for argument in one.arguments.values():
            found = first(argument, "fromContext")
            if found is not None:
                _check_argument(schema, contexts, each, one, argument, found, diagnostics)


def _check_directive_definitions(schema: SubgraphSchema, diagnostics: Diagnostics) -> None:
    for name, node in schema.directives.items():
        for argument in node.arguments or ():
            for use in argument.directives or ():
                if schema.links.understood_directive(use.name.value) == "fromContext":
                    message = f'[{schema.name}] @fromContext cannot be used on an argument of the directive "@{name}".'
                    diagnostics.add(Code.CONTEXT_NOT_SET, message, [(schema.name, use)])


def _check_argument(
    schema: SubgraphSchema,
    contexts: dict[str, list[TypeDef]],
    each: TypeDef,
    one: FieldDef,
    argument: Argument,
    use: Application,
    diagnostics: Diagnostics,
) -> None:
    where = f'[{schema.name}] @fromContext on "{each.name}.{one.name}({argument.name}:)"'
    place = [(schema.name, use.node)]
    problem = _misplaced(schema, each, one, argument)
    if problem:
        diagnostics.add(Code.CONTEXT_NOT_SET, f"{where}: {problem}.", place)
    if each.kind != "OBJECT":
        return
    context, text = split_context_value(use.text("field") or "")
    if context is None or not text:
        message = f'{where}: the value has to name a context and select from it, as in "$user {{ name }}".'
        diagnostics.add(Code.NO_CONTEXT_IN_SELECTION, message, place)
        return
    if context not in contexts:
        message = f'{where}: no type of the subgraph sets the context "{context}" with @context.'
        diagnostics.add(Code.CONTEXT_NOT_SET, message, place)
    for parent in contexts.get(context, ()):
        problem = _selection_problem(schema, parent, text, argument.type)
        if problem:
            diagnostics.add(Code.CONTEXT_INVALID_SELECTION, f'{where}: on "{parent.name}", {problem}.', place)
    unused = _unused_condition(schema, contexts.get(context, ()), text)
    if unused:
        message = f'{where}: the type condition "{unused}" fits no type that sets the context.'
        diagnostics.add(Code.CONTEXT_INVALID_SELECTION, message, place)
    if not any(key.flag("resolvable", default=True) for key in applications(each, "key")):
        message = f'{where}: "{each.name}" needs a resolvable @key, since a router may have to enter here.'
        diagnostics.add(Code.CONTEXT_NO_RESOLVABLE_KEY, message, place)


def _misplaced(schema: SubgraphSchema, each: TypeDef, one: FieldDef, argument: Argument) -> str | None:
    if each.kind != "OBJECT":
        return "it cannot be used on a field of an interface"
    if argument.default is not None:
        return "the argument cannot have a default value"
    for name in each.interfaces:
        interface = schema.types.get(name)
        if interface and one.name in interface.fields:
            return f'the field fulfils "{name}.{one.name}", and through an interface no argument is filled'
    return None


def _selection_problem(schema: SubgraphSchema, parent: TypeDef, text: str, expected: str) -> str | None:
    """Why a selection on a type that sets the context cannot fill the argument; None where it can."""
    try:
        selection = parse_selection(text)
    except InvalidFieldSet as error:
        return f"the selection is invalid: {error}"
    if "@" in text:
        return "directives have no meaning in a selection"
    applicable = [node for node in selection.selections if _applies(schema, parent, node)]
    if not applicable:
        return "the selection says nothing"
    if len(applicable) > 1:
        return "the selection has more than one field"
    only = SelectionSetNode(selections=tuple(applicable))
    problems: list[str] = []
    found = list(mentions(schema, parent, only, on_problem=problems.append))
    if problems:
        return problems[0]
    # Only `__typename` is no field of the schema.
    types = [mention.field.type for mention in found] or ["String!"]
    leaf = _wrapped(types[-1], types[:-1])
    if any(_siblings(node) for node in applicable):
        return "the selection has more than one field"
    if not _assignable(expected, nullable(leaf)):
        return f'the selection is of type "{leaf}" and not "{expected}"'
    return None


def _unused_condition(schema: SubgraphSchema, parents: Sequence[TypeDef], text: str) -> str | None:
    """A type condition of a selection that applies to none of the types that set the context."""
    try:
        selection = parse_selection(text)
    except InvalidFieldSet:
        return None
    conditions = (node for node in selection.selections if isinstance(node, InlineFragmentNode) and node.type_condition)
    unused = (node for node in conditions if not any(_applies(schema, parent, node) for parent in parents))
    found = next(unused, None) if parents else None
    return found.type_condition.name.value if found and found.type_condition else None


def _applies(schema: SubgraphSchema, parent: TypeDef, node: object) -> bool:
    """Fields always do; a fragment does where its type can be the parent's."""
    if not isinstance(node, InlineFragmentNode) or node.type_condition is None:
        return True
    condition = node.type_condition.name.value
    return bool(set(schema.runtime_types(condition)) & set(schema.runtime_types(parent.name)))


def _siblings(node: object) -> bool:
    if not isinstance(node, FieldNode | InlineFragmentNode) or node.selection_set is None:
        return False
    below = node.selection_set.selections
    return len(below) > 1 or _siblings(below[0])


def _wrapped(leaf: str, outer: list[str]) -> str:
    """The type of a value at the end of a path: nullable and listed as the fields above are."""
    result = leaf
    for type_text in reversed(outer):
        # The value is null wherever an object above it may be.
        base = named(type_text)
        inner = result if f"{base}!" in type_text else nullable(result)
        result = type_text.replace(f"{base}!", base).replace(base, inner)
    return result


def _assignable(expected: str, actual: str) -> bool:
    """Whether every value of a type may be passed where another one is expected."""
    if is_non_null(expected):
        return is_non_null(actual) and _assignable(nullable(expected), nullable(actual))
    actual = nullable(actual)
    if is_list(expected) and is_list(actual):
        return _assignable(item_type(expected), item_type(actual))
    return expected == actual
