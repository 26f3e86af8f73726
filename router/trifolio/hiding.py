"""Which fields an operation selects, and the same operation without those that its caller may not see.

A hidden field is replaced before planning, so that nothing is fetched for it: in its place stands `__typename` under
the field's response key, with a directive that no client can write and that the planner reads the answer's null off. So
the document stays valid, whatever is hidden, and the client gets its keys in the same order.

    { me { name email } }  ->  { me { name email: __typename @trifolio__hidden(field: "User.email", nonNull: true) } }

A field that a plug-in hides stands for that of every type that the object may be of, and for that of every interface
which these implement: it is hidden where any of these is. What access rules shut (`authorization.py`) is told by the
type that it is selected on.
"""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from graphql import (
    ArgumentNode,
    BooleanValueNode,
    DirectiveNode,
    DocumentNode,
    FieldNode,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLUnionType,
    InlineFragmentNode,
    NamedTypeNode,
    NameNode,
    SelectionSetNode,
    StringValueNode,
    TypeInfo,
    TypeInfoVisitor,
    Visitor,
    is_non_null_type,
    visit,
)

from trifolio.operation import ANY_OF
from trifolio.work import Work

HIDDEN: Final = "trifolio__hidden"
"""The directive's name; documents are validated before, so no client has it."""

_TYPENAME: Final = "__typename"
_FIELD_UNITS: Final = 15
"""What it takes to come to a field with the type that it is selected on."""
_REPLACED_UNITS: Final = 50
"""To put a placeholder in a field's place."""
_TOLD_APART_UNITS: Final = 150
"""To put two fragments in the place of a `__typename`, and to go through them."""
_INTROSPECTION: Final = frozenset({"__schema", "__type"})


@dataclass(frozen=True, slots=True)
class SelectedFields:
    """What an operation's document selects."""

    coordinates: frozenset[str]
    """Every field as `Type.field`: of each type that the object may be of, and of each interface of these."""
    introspects: bool
    """Whether `__schema` or `__type` is among them."""


def selected_fields(document: DocumentNode, schema: GraphQLSchema, work: Work | None = None) -> SelectedFields:
    """The fields that a valid document selects, those of all its operations and fragments. Raises WorkExceeded."""
    budget = work or Work(sys.maxsize)
    found: set[str] = set()
    introspects = False
    info = TypeInfo(schema)

    class Read(Visitor):
        def enter_field(self, node: FieldNode, *_: Any) -> None:
            nonlocal introspects
            introspects = introspects or node.name.value in _INTROSPECTION
            coordinates = list(_coordinates(info, node, schema))
            budget.spend(_FIELD_UNITS + len(coordinates))
            found.update(coordinates)

    visit(document, TypeInfoVisitor(info, Read()))
    return SelectedFields(frozenset(found), introspects)


def without_fields(
    document: DocumentNode,
    schema: GraphQLSchema,
    hidden: frozenset[str],
    shut: frozenset[str] = frozenset(),
    work: Work | None = None,
) -> DocumentNode:
    """The document with every field of `hidden` and `shut` replaced; the same one where nothing is.

    `hidden` names fields of any type and interface that the object may be of, `shut` those of the type that they are
    selected on, and `Type.__typename` where it must not be told that an object is of that type. Raises WorkExceeded.
    """
    if not hidden and not shut:
        return document
    budget = work or Work(sys.maxsize)
    info = TypeInfo(schema)

    class Hide(Visitor):
        def enter_field(self, node: FieldNode, *_: Any) -> FieldNode | InlineFragmentNode | None:
            parent = info.get_parent_type()
            if parent is None or hidden_mark(node.directives) is not None:
                return None
            budget.spend(_FIELD_UNITS)
            name = node.name.value
            coordinate: str | None = f"{parent.name}.{name}"
            if coordinate not in shut:
                if name == _TYPENAME and shut and isinstance(parent, GraphQLInterfaceType | GraphQLUnionType):
                    budget.spend(_TOLD_APART_UNITS + len(schema.get_possible_types(parent)))
                    return _told_apart(node, parent, schema, shut)
                coordinates = list(_coordinates(info, node, schema)) if hidden else []
                budget.spend(len(coordinates))
                coordinate = next((each for each in coordinates if each in hidden), None)
            if coordinate is None:
                return None
            budget.spend(_REPLACED_UNITS)
            return _placeholder(node, coordinate, non_null=is_non_null_type(info.get_type()))

    changed: DocumentNode = visit(document, TypeInfoVisitor(info, Hide()))
    return changed


def _told_apart(
    node: FieldNode, parent: GraphQLInterfaceType | GraphQLUnionType, schema: GraphQLSchema, shut: frozenset[str]
) -> InlineFragmentNode | None:
    """`__typename` by the type that the object is of, where it is shut for some: those have a placeholder, which names
    the abstract type alone. None where it is open for all."""
    possible = [each.name for each in schema.get_possible_types(parent)]
    kept_from = [each for each in possible if f"{each}.{_TYPENAME}" in shut]
    if not kept_from:
        return None
    bare = FieldNode(alias=node.alias, name=node.name, arguments=(), directives=(), selection_set=None)
    mark = _placeholder(bare, f"{parent.name}.{_TYPENAME}", non_null=True)
    told = [each for each in possible if each not in set(kept_from)]
    fragments = tuple(
        InlineFragmentNode(
            type_condition=NamedTypeNode(name=NameNode(value=ANY_OF.join(names))),
            directives=(),
            selection_set=SelectionSetNode(selections=(selected,)),
        )
        for names, selected in ((kept_from, mark), (told, bare))
        if names
    )
    return InlineFragmentNode(
        type_condition=None, directives=node.directives or (), selection_set=SelectionSetNode(selections=fragments)
    )


def hidden_mark(directives: Iterable[DirectiveNode] | None) -> tuple[str, bool] | None:
    """The field that a placeholder stands for, and whether it may not be null; None for every other field."""
    for directive in directives or ():
        if directive.name.value == HIDDEN:
            coordinate, non_null = (argument.value for argument in directive.arguments or ())
            assert isinstance(coordinate, StringValueNode)
            assert isinstance(non_null, BooleanValueNode)
            return coordinate.value, non_null.value
    return None


def _coordinates(info: TypeInfo, node: FieldNode, schema: GraphQLSchema) -> Iterator[str]:
    parent, name = info.get_parent_type(), node.name.value
    if parent is None or name.startswith("__") or parent.name.startswith("__"):
        return
    yield f"{parent.name}.{name}"
    types: list[GraphQLObjectType | GraphQLInterfaceType] = []
    if isinstance(parent, GraphQLInterfaceType):
        types += schema.get_possible_types(parent)
    elif isinstance(parent, GraphQLObjectType):
        types.append(parent)
    for possible in types:
        yield f"{possible.name}.{name}"
        for interface in possible.interfaces:
            if name in interface.fields:
                yield f"{interface.name}.{name}"


def _placeholder(node: FieldNode, coordinate: str, *, non_null: bool) -> FieldNode:
    mark = DirectiveNode(
        name=NameNode(value=HIDDEN),
        arguments=(
            ArgumentNode(name=NameNode(value="field"), value=StringValueNode(value=coordinate)),
            ArgumentNode(name=NameNode(value="nonNull"), value=BooleanValueNode(value=non_null)),
        ),
    )
    return FieldNode(
        alias=node.alias or NameNode(value=node.name.value),
        name=NameNode(value="__typename"),
        arguments=(),
        directives=(*(node.directives or ()), mark),
        selection_set=None,
    )
