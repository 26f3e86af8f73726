"""What a new supergraph changes for clients of the old one: breaking, dangerous and safe changes of the API schema.

A change is breaking where some valid operation would fail or get something else. Given the operations that clients
really send, only those count: an operation is broken where it is no longer valid, where a field that it reads has
another type, or where an input that its variables fill takes other values.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from graphql import (
    BreakingChange,
    FieldNode,
    GraphQLEnumType,
    GraphQLError,
    GraphQLInputObjectType,
    GraphQLSchema,
    OperationDefinitionNode,
    TypeInfo,
    TypeInfoVisitor,
    Visitor,
    get_named_type,
    parse,
    type_from_ast,
    validate,
    visit,
)
from graphql.language import DocumentNode
from graphql.utilities.find_schema_changes import DangerousChange, SafeChange, find_schema_changes

Severity = Literal["breaking", "dangerous", "safe"]

_SEVERITIES: Final[Mapping[type, Severity]] = {
    BreakingChange: "breaking",
    DangerousChange: "dangerous",
    SafeChange: "safe",
}
_ORDER: Final[tuple[Severity, ...]] = ("breaking", "dangerous", "safe")
_COORDINATE: Final = re.compile(r"\b([_A-Za-z]\w*)\.([_A-Za-z]\w*)")


@dataclass(frozen=True, slots=True)
class SchemaChange:
    """One difference between two API schemas."""

    severity: Severity
    code: str
    """`FIELD_REMOVED` and the like."""
    message: str

    def __str__(self) -> str:
        """`breaking FIELD_REMOVED: Field User.name was removed.`"""
        return f"{self.severity} {self.code}: {self.message}"


@dataclass(frozen=True, slots=True)
class BrokenOperation:
    """An operation that worked on the old schema and would not on the new one."""

    document: str
    """Where it was read."""
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        """`broken orders.graphql: ` and the reasons, one per line."""
        return "\n".join(f"broken {self.document}: {reason}" for reason in self.reasons)


def find_changes(old: GraphQLSchema, new: GraphQLSchema) -> tuple[SchemaChange, ...]:
    """Every difference that clients can notice: breaking ones first, each kind by its text."""
    changes = [
        SchemaChange(_SEVERITIES[type(change)], change.type.name, change.description)
        for change in find_schema_changes(old, new)
    ]
    return tuple(sorted(changes, key=lambda change: (_ORDER.index(change.severity), change.code, change.message)))


def find_broken_operations(
    old: GraphQLSchema, new: GraphQLSchema, documents: Mapping[str, str]
) -> tuple[BrokenOperation, ...]:
    """Which of the documents, by name, the new schema breaks. One that the old schema refuses already is left out."""
    breaking = [change for change in find_changes(old, new) if change.severity == "breaking"]
    broken = []
    for name, text in documents.items():
        try:
            document = parse(text)
        except GraphQLError:
            continue
        if validate(old, document):
            continue
        reasons = tuple(dict.fromkeys(_reasons(old, new, document, breaking)))
        if reasons:
            broken.append(BrokenOperation(name, reasons))
    return tuple(broken)


def _reasons(
    old: GraphQLSchema, new: GraphQLSchema, document: DocumentNode, breaking: Iterable[SchemaChange]
) -> Iterator[str]:
    for problem in validate(new, document):
        place = problem.locations[0] if problem.locations else None
        yield f"{place.line}:{place.column}: {problem.message}" if place else problem.message
    fields = _fields_read(old, document)
    inputs = _inputs_filled(old, document)
    for change in breaking:
        coordinate = _COORDINATE.search(change.message)
        if coordinate is None:
            continue
        reads = change.code == "FIELD_CHANGED_KIND" and coordinate[0] in fields
        if reads or coordinate[1] in inputs:
            yield change.message


def _fields_read(schema: GraphQLSchema, document: DocumentNode) -> set[str]:
    """The fields that a document selects, as `Type.field`."""
    info = TypeInfo(schema)
    found: set[str] = set()

    class Read(Visitor):
        def enter_field(self, node: FieldNode, *_: object) -> None:
            parent = info.get_parent_type()
            if parent is not None:
                found.add(f"{parent.name}.{node.name.value}")

    visit(document, TypeInfoVisitor(info, Read()))
    return found


def _inputs_filled(schema: GraphQLSchema, document: DocumentNode) -> set[str]:
    """The input objects and enums that a document's variables may fill, those inside others included."""
    found: set[str] = set()
    waiting = [
        get_named_type(type_from_ast(schema, variable.type))
        for node in document.definitions
        if isinstance(node, OperationDefinitionNode)
        for variable in node.variable_definitions or ()
    ]
    while waiting:
        given = waiting.pop()
        if isinstance(given, GraphQLEnumType | GraphQLInputObjectType) and given.name not in found:
            found.add(given.name)
            if isinstance(given, GraphQLInputObjectType):
                waiting.extend(get_named_type(each.type) for each in given.fields.values())
    return found
