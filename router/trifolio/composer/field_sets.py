"""Which fields a field set (@key, @requires, @provides) mentions in one subgraph, and whether it is a valid one."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from graphql import GraphQLError, parse, print_ast
from graphql.language import FieldNode, InlineFragmentNode, OperationDefinitionNode, SelectionSetNode

from trifolio.composer.schema import Application, FieldDef, SubgraphSchema, TypeDef, is_non_null, named
from trifolio.composer.values import misfit

Coordinate = tuple[str, str]
"""A type's name and a field's name."""

FIELD_SET_DEPTH_MAX = 60
"""Selections within one another. No data is nested that deeply on purpose, and Python's stack ends not far beyond."""


class InvalidFieldSet(Exception):
    """A field set that cannot be used; its text says why."""


@dataclass(frozen=True, slots=True)
class Mention:
    """One field where a field set mentions it."""

    parent: TypeDef
    field: FieldDef
    node: FieldNode
    path: tuple["Mention", ...] = ()
    """The mentions that it is nested in, outermost first."""


def parse_selection(text: str) -> SelectionSetNode:
    """The selection set of a field set's text. Raises InvalidFieldSet where it is none."""
    if _depth(text) > FIELD_SET_DEPTH_MAX:
        raise InvalidFieldSet(f"it is nested more than {FIELD_SET_DEPTH_MAX} levels deep")
    body = text if text.strip().startswith("{") else "{" + text + "}"
    try:
        document = parse(body, no_location=True)
    except GraphQLError as error:
        raise InvalidFieldSet(error.message) from error
    operation = document.definitions[0]
    if len(document.definitions) != 1 or not isinstance(operation, OperationDefinitionNode):
        raise InvalidFieldSet("it is not a list of fields")
    _check_not_empty(operation.selection_set)
    return operation.selection_set


def _check_not_empty(selection: SelectionSetNode) -> None:
    if not selection.selections:
        raise InvalidFieldSet("a selection in it is empty")
    for node in selection.selections:
        if isinstance(node, FieldNode | InlineFragmentNode) and node.selection_set is not None:
            _check_not_empty(node.selection_set)


def canonical_text(text: str) -> str:
    """A field set on one line, in its own order: `id organization { id }`."""
    return " ".join(print_ast(parse_selection(text)).removeprefix("{").removesuffix("}").split())


def _depth(text: str) -> int:
    depth = deepest = 0
    for character in text:
        if character == "{":
            depth += 1
            deepest = max(deepest, depth)
        elif character == "}":
            depth -= 1
    return deepest


def mentions(
    schema: SubgraphSchema,
    parent: TypeDef,
    selection: SelectionSetNode,
    *,
    on_problem: Callable[[str], None] | None = None,
    path: tuple[Mention, ...] = (),
) -> Iterator[Mention]:
    """Every field that a selection on `parent` mentions, outer ones first; problems are told, or passed over."""
    tell = on_problem or (lambda _: None)
    for node in selection.selections:
        if isinstance(node, FieldNode):
            yield from _field_mentions(schema, parent, node, tell, path)
        elif isinstance(node, InlineFragmentNode):
            condition = node.type_condition.name.value if node.type_condition else parent.name
            target = schema.types.get(condition)
            if target is None or not target.is_composite:
                tell(f'unknown type "{condition}"')
            else:
                yield from mentions(schema, target, node.selection_set, on_problem=tell, path=path)
        else:
            tell("named fragments are not allowed in it")


def _field_mentions(
    schema: SubgraphSchema,
    parent: TypeDef,
    node: FieldNode,
    tell: Callable[[str], None],
    path: tuple[Mention, ...],
) -> Iterator[Mention]:
    name = node.name.value
    if node.alias:
        tell(f'aliases are not allowed in it, found "{node.alias.value}: {name}"')
    if name == "__typename" and parent.is_composite:
        return
    found = parent.fields.get(name)
    if found is None:
        tell(f'Cannot query field "{name}" on type "{parent.name}"')
        return
    for each in node.arguments or ():
        argument = found.arguments.get(each.name.value)
        problem = misfit(each.value, argument.type, schema.types.get) if argument else None
        if argument is None:
            tell(f'unknown argument "{each.name.value}" of field "{parent.name}.{name}"')
        elif problem:
            tell(f'argument "{each.name.value}" of field "{parent.name}.{name}": {problem}')
    given = {each.name.value for each in node.arguments or ()}
    for argument in found.arguments.values():
        if argument.name not in given and is_non_null(argument.type) and argument.default is None:
            tell(f'missing required argument "{argument.name}" of field "{parent.name}.{name}"')
    mention = Mention(parent, found, node, path)
    yield mention
    target = schema.types.get(named(found.type))
    composite = target is not None and target.is_composite
    if node.selection_set is not None:
        if target is None or not composite:
            tell(f'field "{parent.name}.{name}" is a leaf and has no fields to select')
        else:
            yield from mentions(schema, target, node.selection_set, on_problem=tell, path=(*path, mention))
    elif composite:
        tell(f'field "{parent.name}.{name}" needs a selection of its fields')


def mentioned_coordinates(
    schema: SubgraphSchema, parent: TypeDef, application: Application, *, with_implementations: bool
) -> Iterator[Coordinate]:
    """Coordinates of the fields that a directive's field set mentions, up to the first thing that is wrong with it.

    `with_implementations` adds, for a field of an interface, the same field of the types that implement it.
    """
    text = application.text("fields")
    if text is None:
        return
    try:
        selection = parse_selection(text)
    except InvalidFieldSet:
        return
    problems: list[str] = []
    for mention in mentions(schema, parent, selection, on_problem=problems.append):
        if problems:
            return
        yield mention.parent.name, mention.field.name
        if with_implementations and mention.parent.kind == "INTERFACE":
            for implementation in schema.runtime_types(mention.parent.name):
                if mention.field.name in schema.types[implementation].fields:
                    yield implementation, mention.field.name
