"""Objects: Python is written for each selection of fields on each type, and compiled.

For `stock { symbol quotedAt day { high } days { low } }` on a `Stock`, whose `quotedAt` is a scalar with a function of
its own, whose `day` is an attribute and whose `days` is a resolver:

    def select(source, path, run):
        try:
            v0 = source.symbol
            v1 = source.quoted_at
            v1 = leaf1(v1)
            v2 = source.day
            odd = v0.__class__ is not str
        except Exception:
            odd = True
        if odd:
            return run.interpret_fields(parent, grouped, source, path)
        data = {"symbol": v0, "quotedAt": v1}
        waiting = []
        try:
            data["day"] = value = field2(v2, path, run)
            if value.__class__ not in SETTLED and is_awaitable(value): waiting.append("day")
            data["days"] = value = field3(source, path, run)
            if value.__class__ not in SETTLED and is_awaitable(value): waiting.append("days")
        except Exception:
            run.settle([data[key] for key in waiting])
            raise
        return settled(data, waiting) if waiting else data

What is odd about a value is found before any resolver is called, so the interpreter can begin again with the object.
"""

from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any

from graphql import (
    GraphQLField,
    GraphQLLeafType,
    GraphQLNonNull,
    GraphQLObjectType,
    Undefined,
    is_leaf_type,
)
from graphql.execution.collect_fields import FieldDetails, collect_fields, collect_subfields
from graphql.execution.values import VariableValues
from strawberry.execution import optimized_is_awaitable
from strawberry.schema.schema_converter import CustomGraphQLEnumType, GraphQLCoreConverter
from strawberry.types.field import StrawberryField

from subgraphs.shared.graphql_execution.fields import Execute, Fields, exact_class
from subgraphs.shared.graphql_execution.run import SETTLED, Place, Source, settled

FIELDS_MAX = 2_000
"""Fields of one operation, each on each type that it may be asked of; what is larger is interpreted."""

Grouped = dict[str, list[FieldDetails]]


class NotCompiled(Exception):
    """The operation has something that compiled code does not do."""


class Selections:
    """Compiles the selections of one operation, with conditions that hold for the given variables."""

    def __init__(self, source: Source, variables: VariableValues, never_awaitable: frozenset[type]) -> None:
        self._source = source
        self._variables = variables
        self._fields = Fields(source.schema, self._selected, never_awaitable)
        self._count = 0

    def root(self) -> Execute:
        """What executes the operation, a subscription's on an event.

        Raises NotCompiled, or SyntaxError for an attribute called like a keyword.
        """
        source = self._source
        root = source.schema.get_root_type(source.operation.operation)
        assert root is not None, "the operation is valid"
        collected = collect_fields(source.schema, source.fragments, self._variables, root, source.operation)
        if root is source.schema.subscription_type and not collected.grouped_field_set:
            raise NotCompiled
        return self._compiled(root, dict(collected.grouped_field_set))

    def _selected(self, type_: GraphQLObjectType, place: Place) -> Execute:
        source = self._source
        collected = collect_subfields(
            source.schema, source.fragments, self._variables, source.operation, type_, place.details
        )
        return self._compiled(type_, dict(collected.grouped_field_set))

    def _compiled(self, parent: GraphQLObjectType, grouped: Grouped) -> Execute:
        self._count += len(grouped)
        if self._count > FIELDS_MAX:
            raise NotCompiled
        names: dict[str, Any] = {
            "parent": parent,
            "grouped": grouped,
            "SETTLED": SETTLED,
            "is_awaitable": optimized_is_awaitable,
            "settled": settled,
        }
        reads: list[str] = []
        checks: list[str] = []
        leaves: list[str] = []
        others: list[str] = []
        for index, (key, details) in enumerate(grouped.items()):
            name = details[0].node.name.value
            if name == "__typename":
                leaves.append(f"{key!r}: {parent.name!r}")
                continue
            field = parent.fields.get(name)
            if field is None:
                raise NotCompiled  # introspection
            attribute = _attribute(field)
            value = f"v{index}"
            if attribute is not None:
                reads.append(f"{value} = source.{attribute}")
            inner = field.type.of_type if isinstance(field.type, GraphQLNonNull) else field.type
            if attribute is not None and is_leaf_type(inner):
                is_non_null = inner is not field.type
                self._add_leaf(inner, is_non_null, value, names, reads, checks)
                leaves.append(f"{key!r}: {value}")
                continue
            place = _place(parent, key, field, details)
            made = self._fields.resolved(place) if attribute is None else self._fields.attribute(place)
            names[f"field{index}"] = made
            given = "source" if attribute is None else value
            others.append(f"data[{key!r}] = value = field{index}({given}, path, run)")
            others.append(f"if value.__class__ not in SETTLED and is_awaitable(value): waiting.append({key!r})")
            leaves.append(f"{key!r}: None")  # keeps its place in the order
        return _function(reads, checks, leaves, others, names)

    @staticmethod
    def _add_leaf(
        type_: GraphQLLeafType,
        is_non_null: bool,
        value: str,
        names: dict[str, Any],
        reads: list[str],
        checks: list[str],
    ) -> None:
        exact = exact_class(type_)
        if exact is not None:
            odd = f"{value}.__class__ is not {exact.__name__}"
            checks.append(odd if is_non_null else f"{value} is not None and {odd}")
            return
        names[f"leaf_{value}"] = _written(type_)
        write = f"{value} = leaf_{value}({value})"
        reads.append(write if is_non_null else f"if {value} is not None: {write}")


def _attribute(field: GraphQLField) -> str | None:
    """The attribute that the field is read from, where nothing else happens around it."""
    known = field.extensions.get(GraphQLCoreConverter.DEFINITION_BACKREF)
    if not isinstance(known, StrawberryField) or not known.is_basic_field or known.default_resolver is not getattr:
        return None
    if type(known).get_result is not StrawberryField.get_result or not getattr(field.resolve, "_is_default", False):
        return None
    name = known.python_name
    return name if name.isidentifier() else None


def _place(parent: GraphQLObjectType, key: str, field: GraphQLField, details: list[FieldDetails]) -> Place:
    nodes = [each.node for each in details]
    is_non_null = isinstance(field.type, GraphQLNonNull)
    return Place(nodes[0].name.value, key, parent, field, field.type, is_non_null, details, nodes)


def _written(type_: GraphQLLeafType) -> Callable[[Any], Any]:
    """Writes present values of a scalar or an enum; raises for what the interpreter must look at."""
    coerce = type_.coerce_output_value
    if isinstance(type_, CustomGraphQLEnumType):
        members: Iterable[Enum] = type_.wrapped_cls
        names = {member: coerce(member) for member in members}
        return names.__getitem__

    def write(value: Any) -> Any:
        if value.__class__ not in SETTLED and (isinstance(value, Exception) or optimized_is_awaitable(value)):
            raise NotCompiled
        coerced = coerce(value)
        if coerced is None or coerced is Undefined:
            raise NotCompiled
        return coerced

    return write


def _function(
    reads: list[str], checks: list[str], leaves: list[str], others: list[str], names: dict[str, Any]
) -> Execute:
    lines = ["def select(source, path, run):"]
    if reads:
        lines += ["    try:", *(f"        {read}" for read in reads), f"        odd = {' or '.join(checks) or 'False'}"]
        lines += ["    except Exception:", "        odd = True"]
        lines += ["    if odd:", "        return run.interpret_fields(parent, grouped, source, path)"]
    if not others:
        lines.append(f"    return {{{', '.join(leaves)}}}")
    else:
        lines += [f"    data = {{{', '.join(leaves)}}}", "    waiting = []", "    try:"]
        lines += [f"        {other}" for other in others]
        lines += ["    except Exception:", "        run.settle([data[key] for key in waiting])", "        raise"]
        lines.append("    return settled(data, waiting) if waiting else data")
    exec(compile("\n".join(lines), "<selection>", "exec"), names)  # noqa: S102  # names of the schema and of documents that were validated, quoted
    made: Execute = names["select"]
    return made
