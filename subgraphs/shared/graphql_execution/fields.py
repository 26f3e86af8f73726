"""Fields: what calls a resolver or takes a value that was resolved, and completes it.

Each function here does for its place what graphql-core's executor does there: `executor.py`, `execute_field` and
`complete_value` and its relatives. What is rare is left to that executor itself, for that place and all below it.
"""

from collections.abc import Awaitable, Callable
from types import CoroutineType
from typing import Any

import strawberry
from graphql import (
    GraphQLBoolean,
    GraphQLEnumType,
    GraphQLFloat,
    GraphQLID,
    GraphQLInterfaceType,
    GraphQLLeafType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLSchema,
    GraphQLString,
    GraphQLUnionType,
    Undefined,
    default_type_resolver,
    is_leaf_type,
)
from graphql.execution.executor import invalid_return_type_error
from graphql.pyutils import Path
from strawberry.execution import optimized_is_awaitable
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.types.arguments import convert_arguments
from strawberry.types.base import StrawberryObjectDefinition
from strawberry.types.cast import get_strawberry_type_cast
from strawberry.types.field import StrawberryField
from strawberry.types.union import StrawberryUnion

from subgraphs.shared.graphql_execution.run import SETTLED, Place, Run, settled
from subgraphs.shared.graphql_execution.values import arguments_of

Complete = Callable[[Any, Path, Run], Any]
"""Completes a value that stands at a path; returns what is completed, or what will be, or raises."""
Execute = Callable[[Any, "Path | None", Run], Any]
"""Executes a field, or all of an object's, on an object that stands at a path; returns as above."""
Select = Callable[[GraphQLObjectType, Place], Execute]
"""Makes what executes an object's fields."""

EXACT: dict[object, type] = {GraphQLString: str, GraphQLID: str, GraphQLBoolean: bool}
"""Scalars that are written as they are, if they are of that very class."""


def exact_class(type_: GraphQLOutputType) -> type | None:
    """The class whose instances are written as they are, if there is one."""
    if isinstance(type_, GraphQLEnumType) or type_ is GraphQLFloat:
        return None
    known = EXACT.get(type_)
    return str if known is None and getattr(type_, "coerce_output_value", None) is str else known


class Fields:
    """Makes the functions of one operation's fields.

    Args:
        schema: the operation's.
        select: makes the function of an object's fields.
        never_awaitable: classes whose instances are values for sure.
    """

    def __init__(self, schema: GraphQLSchema, select: Select, never_awaitable: frozenset[type]) -> None:
        self._schema = schema
        self._strawberry: strawberry.Schema = schema._strawberry_schema  # type: ignore[attr-defined]  # Strawberry adds it
        self._select = select
        self._never_awaitable = never_awaitable

    def resolved(self, place: Place) -> Execute:
        """Executes a field that has a resolver, or anything else around its value."""
        resolve = self._direct(place) or place.field.resolve
        assert resolve is not None, "Strawberry gives every field a resolver"
        complete, arguments = self.completion(place.type, place), arguments_of(place)
        key, parent, never = place.key, place.parent.name, self._never_awaitable

        def execute(source: Any, path: Path | None, run: Run) -> Any:
            path = Path(path, key, parent)
            try:
                result = resolve(source, run.info(place, path), **arguments(run))
                if isinstance(result, CoroutineType):
                    return _completed_later(result, complete, place, path, run)
                if result.__class__ not in never and optimized_is_awaitable(result):
                    return _completed_later(result, complete, place, path, run)
                completed = complete(result, path, run)
                if completed.__class__ not in SETTLED and optimized_is_awaitable(completed):
                    return _guarded(completed, place, path, run)
            except Exception as error:  # noqa: BLE001  # whatever a resolver raises is its field's error
                run.fail(error, place, path)
                return None
            else:
                return completed

        return execute

    def _direct(self, place: Place) -> Callable[..., Any] | None:
        """What calls the resolver of a field that has no extension and no permission around it; else None.

        It is what Strawberry's own function comes down to then, `get_arguments` included.
        """
        known, schema = place.field.extensions.get(GraphQLCoreConverter.DEFINITION_BACKREF), self._strawberry
        if not isinstance(known, StrawberryField) or known.base_resolver is None or known.extensions:
            return None
        if known.is_subscription:  # its resolver yields the events, of which each is the field's value
            return None
        if type(known).get_result is not StrawberryField.get_result or schema.exception_handlers:
            return None
        resolver, expected = known.base_resolver, known.arguments
        config, scalars = schema.config, schema.schema_converter.scalar_registry
        info_class, takes_self, takes_info = config.info_class, bool(resolver.self_parameter), resolver.info_parameter
        sources = [each.name for each in (resolver.parent_parameter, resolver.root_parameter) if each]

        def resolve(source: Any, raw_info: Any, /, **given: Any) -> Any:
            info = info_class(_raw_info=raw_info, _field=known)
            values = convert_arguments(given, expected, scalars, config, info) if expected else {}
            for name in sources:
                values[name] = source
            if takes_info:
                values[takes_info.name] = info
            return resolver(source, **values) if takes_self else resolver(**values)

        return resolve

    def attribute(self, place: Place) -> Execute:
        """Completes a value that was taken from the object already: the object's own path comes with it."""
        complete, never = self.completion(place.type, place), self._never_awaitable
        key, parent = place.key, place.parent.name

        def execute(value: Any, path: Path | None, run: Run) -> Any:
            path = Path(path, key, parent)
            try:
                if value.__class__ not in never and optimized_is_awaitable(value):
                    return _completed_later(value, complete, place, path, run)
                completed = complete(value, path, run)
                if completed.__class__ not in SETTLED and optimized_is_awaitable(completed):
                    return _guarded(completed, place, path, run)
            except Exception as error:  # noqa: BLE001  # as above
                run.fail(error, place, path)
                return None
            else:
                return completed

        return execute

    def completion(self, type_: GraphQLOutputType, place: Place) -> Complete:
        """Completes values of a type at a place."""
        if isinstance(type_, GraphQLNonNull):
            return _non_null(self.completion(type_.of_type, place), place)
        if isinstance(type_, GraphQLList):
            return self._list(type_, place)
        if is_leaf_type(type_):
            return _leaf(type_)
        if isinstance(type_, GraphQLObjectType):
            return self._object(type_, place)
        assert isinstance(type_, GraphQLInterfaceType | GraphQLUnionType)
        return self._abstract(type_, place)

    def _list(self, type_: GraphQLList[Any], place: Place) -> Complete:
        item_type, never = type_.of_type, self._never_awaitable
        item_place = Place(
            place.name,
            place.key,
            place.parent,
            place.field,
            item_type,
            isinstance(item_type, GraphQLNonNull),
            place.details,
            place.nodes,
        )
        complete_item = self.completion(item_type, place)
        exact = exact_class(item_type.of_type if item_place.is_non_null else item_type)

        def complete(value: Any, path: Path, run: Run) -> Any:
            if value is None:
                return None
            if value.__class__ is not list:
                return run.interpret(type_, place, value, path)
            if exact is not None and all(item.__class__ is exact for item in value):
                return value.copy()
            items: list[Any] = []
            waiting: list[int] = []
            try:
                for index, item in enumerate(value):
                    item_path = Path(path, index, None)
                    if item.__class__ not in never and optimized_is_awaitable(item):
                        items.append(_completed_later(item, complete_item, item_place, item_path, run))
                        waiting.append(index)
                        continue
                    try:
                        completed = complete_item(item, item_path, run)
                        if completed.__class__ not in SETTLED and optimized_is_awaitable(completed):
                            completed = _guarded(completed, item_place, item_path, run)
                            waiting.append(index)
                    except Exception as error:  # noqa: BLE001  # as above
                        run.fail(error, item_place, item_path)
                        completed = None
                    items.append(completed)
            except Exception:
                left = [item for item in value[len(items) + 1 :] if optimized_is_awaitable(item)]
                run.settle([items[index] for index in waiting] + left)
                raise
            return settled(items, waiting) if waiting else items

        return complete

    def _object(self, type_: GraphQLObjectType, place: Place) -> Complete:
        select, is_type_of = self._select(type_, place), type_.is_type_of
        if is_type_of is None:

            def complete(value: Any, path: Path, run: Run) -> Any:
                if value is None or value is Undefined:
                    return None
                if isinstance(value, Exception):
                    raise value
                return select(value, path, run)

            return complete

        def complete_checked(value: Any, path: Path, run: Run) -> Any:
            if value is None or value is Undefined:
                return None
            if isinstance(value, Exception):
                raise value
            belongs = is_type_of(value, run.info(place, path))
            if belongs.__class__ is not bool:
                _dispose(belongs)
                return run.interpret(type_, place, value, path)
            if not belongs:
                raise invalid_return_type_error(type_, value, place.details)
            return select(value, path, run)

        return complete_checked

    def _abstract(self, type_: GraphQLInterfaceType | GraphQLUnionType, place: Place) -> Complete:
        resolve_type = type_.resolve_type or default_type_resolver
        possible_types = self._schema.get_possible_types(type_)
        by_name: dict[object, Complete] = {each.name: self._object(each, place) for each in possible_types}
        by_class = {origin: by_name[name] for origin, name in _members_by_class(type_).items()}

        def complete(value: Any, path: Path, run: Run) -> Any:
            known = by_class.get(value.__class__)
            if known is not None and get_strawberry_type_cast(value) is None:
                return known(value, path, run)
            if value is None or value is Undefined:
                return None
            if isinstance(value, Exception):
                raise value
            name = resolve_type(value, run.info(place, path), type_)
            complete_object = by_name.get(name) if name.__class__ is str else None
            if complete_object is None:
                _dispose(name)
                return run.interpret(type_, place, value, path)
            return complete_object(value, path, run)

        return complete


def _members_by_class(type_: GraphQLInterfaceType | GraphQLUnionType) -> dict[type, str]:
    """The types of a union by their classes, where Strawberry's resolver of types looks at nothing else of a value."""
    union = type_.extensions.get(GraphQLCoreConverter.DEFINITION_BACKREF)
    if not isinstance(type_, GraphQLUnionType) or not isinstance(union, StrawberryUnion):
        return {}
    if type(union).get_type_resolver is not StrawberryUnion.get_type_resolver:
        return {}
    members: dict[type, str] = {}
    for each in type_.types:
        known = each.extensions.get(GraphQLCoreConverter.DEFINITION_BACKREF)
        if not isinstance(known, StrawberryObjectDefinition) or known.concrete_of is not None:
            return {}
        if vars(known.origin).get("__strawberry_definition__") is known:
            members[known.origin] = each.name
    return members


def _non_null(complete: Complete, place: Place) -> Complete:
    message = f"Cannot return null for non-nullable field {place.parent}.{place.name}."

    def complete_present(value: Any, path: Path, run: Run) -> Any:
        completed = complete(value, path, run)
        if completed is None:
            raise TypeError(message)
        return completed

    return complete_present


def _leaf(type_: GraphQLLeafType) -> Complete:
    coerce, exact = type_.coerce_output_value, exact_class(type_)

    def complete(value: Any, path: Path, run: Run) -> Any:
        if value.__class__ is exact:
            return value
        if value is None or value is Undefined:
            return None
        if isinstance(value, Exception):
            raise value
        coerced = coerce(value)
        if coerced is None or coerced is Undefined:
            return run.executor.complete_leaf_value(type_, value)
        return coerced

    return complete


async def _completed_later(awaited: Awaitable[Any], complete: Complete, place: Place, path: Path, run: Run) -> Any:
    try:
        completed = complete(await awaited, path, run)
        if completed.__class__ not in SETTLED and optimized_is_awaitable(completed):
            return await completed
    except Exception as error:  # noqa: BLE001  # whatever a resolver raises is its field's error
        run.fail(error, place, path)
        return None
    else:
        return completed


async def _guarded(completed: Awaitable[Any], place: Place, path: Path, run: Run) -> Any:
    try:
        return await completed
    except Exception as error:  # noqa: BLE001  # as above
        run.fail(error, place, path)
        return None


def _dispose(value: object) -> None:
    """Ends a coroutine that nobody will await: the interpreter makes its own."""
    if isinstance(value, CoroutineType):
        value.close()
