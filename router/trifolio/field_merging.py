"""Whether fields under one response key mean one thing, judged in groups: what is equal is compared once.

The problem. The specification compares every pair of fields that share a response key, and every pair of what is
selected below them. A document with a thousand equal selections of one field, or with fragments beside one another as
generated clients write them, has a million pairs and nothing wrong.

The idea (Simon Adameit's, as in Sangria and GraphQL Java). All fields of one response key at one place of the answer
form a group, whatever fragment they come from. Having the same type's shape, and being the same field with the same
arguments, are equivalences: a group is all right if each member is equal to the first. Below a group, the selections of
all members together form the groups of the next level.

    { pet { name } ... on Dog { pet { name } } }    groups: pet (2 fields), below it name (2 fields)

Two members on different object types never stand in one answer, so they may be different fields; only the shapes of
what they bring have to fit, on every level below. Members on an interface or a union stand beside those of every object
type. So a group of several object types is judged once for its shapes, and once per object type, with what stands on
abstract types, for sameness.

Why it is right. Each pair that the specification compares stands in one group, and an equivalence holds for all pairs
if it holds for each with the first. Groups are known by their members, and are judged once. A differential test asks
graphql-core's rule, which compares pairs, about random documents.

What it costs. Each field once per place; more where object types are mixed with abstract ones. Members are counted in
the request's budget, which ends what would be too much.

Specification: GraphQL, section 5.3.2 (field selection merging).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from graphql import (
    ArgumentNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLField,
    GraphQLNamedType,
    GraphQLSchema,
    InlineFragmentNode,
    ListValueNode,
    ObjectValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    StringValueNode,
    ValueNode,
    VariableNode,
    get_named_type,
    is_interface_type,
    is_leaf_type,
    is_list_type,
    is_non_null_type,
    is_object_type,
)

from trifolio.work import Work

NODES_MAX: Final = 20
"""20 places of one conflict: what a person looks at."""

REASON_CHARACTERS_MAX: Final = 1_000
"""1,000 characters of a reason that names the fields above it one by one."""

_FIELD_UNITS: Final = 2
"""What one field costs in one group."""


@dataclass(slots=True, eq=False)
class _Field:
    """A field of the document. Its parent type follows from where it is written, so there is one for each node."""

    node: FieldNode
    parent: GraphQLNamedType | None
    definition: GraphQLField | None
    below: "_Selections | None"
    arguments: object = None
    """A value that is equal for equal arguments; None until it is needed."""

    @property
    def is_on_object(self) -> bool:
        return is_object_type(self.parent)


@dataclass(slots=True, eq=False)
class _Selections:
    """A selection set with its inline fragments unfolded."""

    fields: list[tuple[str, _Field]]
    spreads: list[str]


@dataclass(slots=True, eq=False)
class _Level:
    """Selections that together form groups, and whose they are."""

    selections: Sequence[_Selections]
    shapes_only: bool
    """Whether only the shapes have to fit, as the objects are of different types."""
    parents: Sequence[_Field] = ()
    """The group that they stand below; empty for a whole operation or fragment."""
    above: "_Level | None" = None
    """The level which that group belongs to."""


def find_conflicts(document: DocumentNode, schema: GraphQLSchema, work: Work, *, errors_max: int) -> list[GraphQLError]:
    """One error for each group of fields that cannot be merged, up to `errors_max`.

    Raises WorkExceeded where looking takes too much work.
    """
    return _Merging(document, schema, work, errors_max).conflicts()


class _Merging:
    """The judgement of one document."""

    def __init__(self, document: DocumentNode, schema: GraphQLSchema, work: Work, errors_max: int) -> None:
        self._errors_max = errors_max
        self._document = document
        self._schema = schema
        self._work = work
        self._fragments = {
            node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)
        }
        self._spread: set[str] = set()
        self._read: dict[int, _Selections] = {}
        """By the identity of a selection set."""
        self._merged: set[frozenset[int]] = set()
        """Groups that were judged in full, by the identities of their fields."""
        self._shaped: set[frozenset[int]] = set()
        """Groups whose shapes were judged."""
        self._pending: list[_Level] = []
        self._errors: list[GraphQLError] = []

    def conflicts(self) -> list[GraphQLError]:
        for node in self._document.definitions:
            if isinstance(node, OperationDefinitionNode):
                self._judge(self._selections(node.selection_set, self._schema.get_root_type(node.operation)))
        for name in self._fragments:
            if name not in self._spread:  # it is another rule's error, and its fields have to fit all the same
                self._judge(self._fragment(name))
        return self._errors

    def _judge(self, selections: _Selections) -> None:
        self._pending.append(_Level([selections], shapes_only=False))
        while self._pending and len(self._errors) < self._errors_max:
            level = self._pending.pop()
            for key, group in self._groups(level.selections).items():
                self._judge_group(key, group, level)

    def _judge_group(self, key: str, group: list[_Field], level: _Level) -> None:
        identity = frozenset(map(id, group))
        if identity in self._merged or (level.shapes_only and identity in self._shaped):
            return
        (self._shaped if level.shapes_only else self._merged).add(identity)
        parts = [] if level.shapes_only else self._parts(group)
        for part in parts:
            misfit = self._misfit(part) if len(part) > 1 else None
            if misfit is not None:
                self._report(key, misfit[0], part[0], misfit[1], level)
                return
        misfit = self._misfit_in_shape(group) if len(group) > 1 else None
        if misfit is not None:
            self._report(key, misfit[0], group[0], misfit[1], level)
            return
        for part in parts:
            self._go_below(part, level, shapes_only=False)
        if len(parts) != 1:
            self._go_below(group, level, shapes_only=True)

    def _go_below(self, group: Sequence[_Field], level: _Level, *, shapes_only: bool) -> None:
        below = [field.below for field in group if field.below is not None]
        if below:
            self._pending.append(_Level(below, shapes_only, group, level))

    def _parts(self, group: list[_Field]) -> list[list[_Field]]:
        """The fields that can stand in one object: those of each object type, with all of abstract types."""
        by_type: dict[int, list[_Field]] = {}
        abstract = []
        for field in group:
            if field.is_on_object:
                by_type.setdefault(id(field.parent), []).append(field)
            else:
                abstract.append(field)
        if len(by_type) <= 1:
            return [group]
        self._work.spend(len(by_type) * len(abstract))
        return [[*part, *abstract] for part in by_type.values()]

    # ---- the two equivalences ----

    def _misfit_in_shape(self, group: list[_Field]) -> tuple[str, _Field] | None:
        """The first field whose value has another shape than those before it, with the reason."""
        first = next((field for field in group if field.definition is not None), None)
        is_streamed = any(
            directive.name.value == "stream" for each in group for directive in each.node.directives or ()
        )
        if is_streamed:
            return "they have overlapping stream directives", group[1]
        if first is None or first.definition is None:
            return None
        for field in group:
            if field.definition is None or field.definition.type is first.definition.type:
                continue
            if _shape(field.definition) != _shape(first.definition):
                types = f"'{first.definition.type}' and '{field.definition.type}'"
                return f"they return conflicting types {types}", field
        return None

    def _misfit(self, group: list[_Field]) -> tuple[str, _Field] | None:
        """The first field that is not the same as the first of all, with the reason."""
        name, arguments = group[0].node.name.value, self._arguments(group[0])
        for field in group:
            other = field.node.name.value
            if other != name:
                return f"'{name}' and '{other}' are different fields", field
            if self._arguments(field) != arguments:
                return "they have differing arguments", field
        return None

    def _arguments(self, field: _Field) -> object:
        if not field.node.arguments:
            return ()
        if field.arguments is None:
            field.arguments = self._argument_values(field.node.arguments)
        return field.arguments

    def _argument_values(self, nodes: Sequence[ArgumentNode]) -> object:
        values = {node.name.value: self._value(node.value) for node in nodes}
        return len(nodes), tuple(sorted(values.items(), key=lambda item: item[0]))

    def _value(self, node: ValueNode) -> object:
        """A value that is equal for equal literals."""
        self._work.spend()
        if isinstance(node, VariableNode):
            return "$", node.name.value
        if isinstance(node, ObjectValueNode):
            fields = sorted(node.fields, key=lambda field: field.name.value)
            return "{", tuple((field.name.value, self._value(field.value)) for field in fields)
        if isinstance(node, ListValueNode):
            return "[", tuple(self._value(each) for each in node.values)
        if isinstance(node, StringValueNode):
            return '"', node.value, bool(node.block)
        return node.kind, getattr(node, "value", None)

    # ---- the groups ----

    def _groups(self, several: Sequence[_Selections]) -> dict[str, list[_Field]]:
        """The fields of all selections by response key, each once, with those of the fragments that they spread."""
        groups: dict[str, list[_Field]] = {}
        spread: set[str] = set()
        pending = list(reversed(several))
        while pending:
            selections = pending.pop()
            self._work.spend(1 + _FIELD_UNITS * len(selections.fields) + len(selections.spreads))
            for key, field in selections.fields:
                groups.setdefault(key, []).append(field)
            for name in reversed(selections.spreads):
                if name not in spread and name in self._fragments:
                    spread.add(name)
                    pending.append(self._fragment(name))
        return groups

    def _fragment(self, name: str) -> _Selections:
        self._spread.add(name)
        node = self._fragments[name]
        return self._selections(node.selection_set, self._schema.get_type(node.type_condition.name.value))

    def _selections(self, node: SelectionSetNode, parent: GraphQLNamedType | None) -> _Selections:
        found = self._read.get(id(node))
        if found is None:
            found = self._read[id(node)] = _Selections([], [])
            self._read_into(found, node, parent)
        return found

    def _read_into(self, found: _Selections, node: SelectionSetNode, parent: GraphQLNamedType | None) -> None:
        """Add what stands in a selection set to `found`, in the document's order."""
        self._work.spend(_FIELD_UNITS * len(node.selections))
        for selection in node.selections:
            if isinstance(selection, FieldNode):
                name = selection.name.value
                fields = parent.fields if is_object_type(parent) or is_interface_type(parent) else {}
                definition = fields.get(name)
                below = selection.selection_set
                inner = None if below is None else self._below(below, definition)
                key = selection.alias.value if selection.alias else name
                found.fields.append((key, _Field(selection, parent, definition, inner)))
            elif isinstance(selection, FragmentSpreadNode):
                found.spreads.append(selection.name.value)
            else:
                assert isinstance(selection, InlineFragmentNode)
                condition = selection.type_condition
                inside = parent if condition is None else self._schema.get_type(condition.name.value)
                self._read_into(found, selection.selection_set, inside)

    def _below(self, node: SelectionSetNode, definition: GraphQLField | None) -> _Selections:
        return self._selections(node, None if definition is None else get_named_type(definition.type))

    # ---- what is told ----

    def _report(self, key: str, reason: str, first: _Field, second: _Field, level: _Level) -> None:
        """An error at both fields, and at the fields above them up to the one that both stand below."""
        if len(self._errors) >= self._errors_max:
            return
        nodes = [[first.node], [second.node]]
        here: _Level | None = level
        while here is not None and here.parents:
            above = self._parents_of(first, second, here)
            if above[0] is above[1]:
                break
            first, second = above
            for side, parent in zip(nodes, above, strict=True):
                side.insert(0, parent.node)
            if len(reason) <= REASON_CHARACTERS_MAX:
                reason = f"subfields '{key}' conflict because {reason}"
            key = _response_key(first)
            here = here.above
        text = f"Fields '{key}' conflict because {reason}."
        advice = "Use different aliases on the fields to fetch both if this was intentional."
        self._errors.append(GraphQLError(f"{text} {advice}", [*nodes[0], *nodes[1]][:NODES_MAX]))

    def _parents_of(self, first: _Field, second: _Field, level: _Level) -> tuple[_Field, _Field]:
        """The fields of the group above that select these two: one for both, where one does."""
        key = _response_key(first)
        found: list[_Field | None] = [None, None]
        for parent in level.parents:
            selected = self._groups([parent.below]).get(key, ()) if parent.below is not None else ()
            has = [first in selected, second in selected]
            if all(has):
                return parent, parent
            found = [old or (parent if here else None) for old, here in zip(found, has, strict=True)]
        return found[0] or level.parents[0], found[1] or level.parents[0]


def _response_key(field: _Field) -> str:
    return field.node.alias.value if field.node.alias else field.node.name.value


def _shape(definition: GraphQLField) -> tuple[str, str]:
    """What the value looks like: lists and what cannot be null, and the scalar or enum; objects all look alike."""
    wrappers = ""
    type_ = definition.type
    while is_list_type(type_) or is_non_null_type(type_):
        wrappers += "[" if is_list_type(type_) else "!"
        type_ = type_.of_type
    return wrappers, type_.name if is_leaf_type(type_) else ""
