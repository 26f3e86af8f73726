"""Subgraphs derived from a supergraph's join directives: each answers what it owns, and refuses everything else.

A field that is not theirs, a representation that leads to no object, an @external field outside its @provides, a
@requires without its input: each is an error in the answer, and so a difference to what the one big schema says.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from graphql import (
    EnumTypeDefinitionNode,
    FieldDefinitionNode,
    FieldNode,
    GraphQLError,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLResolveInfo,
    GraphQLSchema,
    GraphQLUnionType,
    InputObjectTypeDefinitionNode,
    InterfaceTypeDefinitionNode,
    SelectionSetNode,
    TypeDefinitionNode,
    build_schema,
    print_ast,
)

from tests.execution.joins import JoinField, Joins, Key, TypeJoins
from tests.execution.monolith import Session
from tests.execution.world import Thing, UnsuitableError, World, canonical


@dataclass(frozen=True)
class Shown:
    """An object as one subgraph holds it."""

    thing: Thing
    name: str
    """The type's name in the subgraph: an interface's, where the subgraph has it as an object."""
    provided: tuple[FieldNode, ...] = ()
    """What @provides adds here."""
    representation: Mapping[str, Any] | None = None
    """What the router sent, for objects that `_entities` returns."""


def subgraph_names(joins: Joins) -> list[str]:
    """All subgraphs, in order."""
    return sorted(joins.graphs.values())


def build_subgraph(world: World, graph: str) -> GraphQLSchema:
    """One subgraph's schema with resolvers over the world."""
    subgraph = _Subgraph(world, graph)
    schema = build_schema(subgraph.sdl(), assume_valid=True)
    for graphql_type in schema.type_map.values():
        if graphql_type.name.startswith("__"):
            continue
        if isinstance(graphql_type, GraphQLObjectType):
            for name, definition in graphql_type.fields.items():
                definition.resolve = subgraph.resolver(graphql_type.name, name)
        if isinstance(graphql_type, GraphQLInterfaceType | GraphQLUnionType):
            graphql_type.resolve_type = lambda shown, *_: shown.name
    return schema


def session_of(info: GraphQLResolveInfo[Any]) -> Session:
    """The execution that a request belongs to; the transport hands over the whole request as context."""
    session = info.context.context
    assert isinstance(session, Session)
    return session


class _Subgraph:
    def __init__(self, world: World, graph: str) -> None:
        self._world = world
        self._joins = world.joins
        self._graph = graph
        self._types = {name: item for name, item in world.joins.types.items() if graph in item.keys}
        self._entries = self._index_entries()

    # ---- the schema ----

    def sdl(self) -> str:
        """The schema's text."""
        parts = list(self._definitions())
        entities = sorted(self._entity_objects())
        if entities:
            parts.append("scalar _Any")
            parts.append(f"union _Entity = {' | '.join(entities)}")
        query = self._joins.roots["query"]
        if entities or not self._has_fields(query):
            lead = "extend type" if self._has_fields(query) else "type"
            field = "_entities(representations: [_Any!]!): [_Entity]!" if entities else "_empty: Int"
            parts.append(f"{lead} {query} {{ {field} }}")
        roots = {kind: name for kind, name in self._joins.roots.items() if name in self._types or kind == "query"}
        parts.append("schema { " + " ".join(f"{kind}: {name}" for kind, name in roots.items()) + " }")
        return "\n".join(parts)

    def _entity_objects(self) -> set[str]:
        return {
            possible
            for name, item in self._types.items()
            if item.keys[self._graph]
            for possible in ([name] if self._is_object_here(item) else self._joins.possible_in(name, self._graph))
        }

    def _is_object_here(self, item: TypeJoins) -> bool:
        return item.is_object or self._graph in item.interface_object_in

    def _has_fields(self, name: str) -> bool:
        return name in self._types and any(self._graph in joins for joins in self._types[name].fields.values())

    def _definitions(self) -> Iterator[str]:
        for name, item in self._types.items():
            if isinstance(item.node, EnumTypeDefinitionNode):
                yield f"enum {name} {{ {' '.join(sorted(item.values.get(self._graph, ())))} }}"
            elif not item.nodes:
                members = sorted(item.members.get(self._graph, set()))
                yield f"union {name} = {' | '.join(members)}"
            elif self._has_fields(name):
                yield self._composite(name, item)
        for node in self._joins.inputs.values():
            if self._graph in self._joins.graphs_of(node):
                yield _plain_input(node)

    def _composite(self, name: str, item: TypeJoins) -> str:
        is_interface = isinstance(item.node, InterfaceTypeDefinitionNode) and not self._is_object_here(item)
        interfaces = sorted(
            other
            for other in item.implements.get(self._graph, set())
            if other in self._types and not self._is_object_here(self._types[other])
        )
        implements = f" implements {' & '.join(interfaces)}" if interfaces else ""
        fields = [
            _plain_field(item.nodes[field], joins[self._graph])
            for field, joins in item.fields.items()
            if self._graph in joins
        ]
        return f"{'interface' if is_interface else 'type'} {name}{implements} {{ {' '.join(fields)} }}"

    # ---- entities ----

    def _index_entries(self) -> dict[str, list[tuple[Key, dict[str, Thing]]]]:
        """By type name and key: the objects that a representation can lead to."""
        from_keys: dict[str, list[tuple[Key, dict[str, Thing]]]] = {}
        for name, item in self._types.items():
            if self._graph in item.interface_object_in:
                possible = self._joins.possible(name)
            else:
                possible = self._joins.possible_in(name, self._graph) if item.keys[self._graph] else set()
            for key in item.keys[self._graph]:
                things: dict[str, Thing] = {}
                if key.resolvable or self._requires_something(item):
                    self._index_key(key, sorted(possible), things)
                from_keys.setdefault(name, []).append((key, things))
        return from_keys

    def _requires_something(self, item: TypeJoins) -> bool:
        """Whether the subgraph has to be shown objects of a type again, whatever its keys are."""
        return any(joins[self._graph].requires is not None for joins in item.fields.values() if self._graph in joins)

    def _index_key(self, key: Key, possible: list[str], things: dict[str, Thing]) -> None:
        for type_name in possible:
            for number in self._world.numbers():
                thing = Thing(type_name, number)
                found = _restrict(self._world.extract(thing, key.selection), key.selection)
                if found is None:
                    continue  # it has another key
                text = canonical(found)
                if things.setdefault(text, thing) != thing:
                    raise UnsuitableError(f"{type_name} @key({key.text}) does not tell objects apart")

    def _entity_or_error(self, representation: Mapping[str, Any], session: Session) -> Shown | GraphQLError | None:
        """An error in place of an object is that object's alone."""
        try:
            return self._entity(representation, session)
        except GraphQLError as error:
            return error

    def _entity(self, representation: Mapping[str, Any], session: Session) -> Shown | GraphQLError | None:
        name = representation.get("__typename")
        for key, things in self._entries.get(str(name), ()):
            given = _restrict(representation, key.selection)
            thing = None if given is None else things.get(canonical(given))
            if thing is not None and not key.resolvable and (self._graph, thing) not in session.returned:
                session.refusals.append(f"{self._graph} has not returned {thing}, and cannot be asked for it")
                continue
            if thing is not None and self._world.is_unknown(thing, self._graph):
                return None
            if thing is not None:
                self._world.raise_trouble(thing, self._graph)
                is_own = (
                    self._joins.types[str(name)].is_object or self._graph in self._types[str(name)].interface_object_in
                )
                shown = str(name) if is_own else thing.type
                return Shown(thing, shown, representation=representation)
        return GraphQLError(f"{self._graph} does not know {canonical(representation)}")

    # ---- fields ----

    def resolver(self, type_name: str, name: str) -> Any:
        """The resolver of one field."""
        if name == "_entities":
            return lambda _, info, representations: [
                self._entity_or_error(item, session_of(info)) for item in representations
            ]
        is_mutation = type_name == self._joins.roots.get("mutation")

        def resolve(source: Shown | None, info: GraphQLResolveInfo[Any], **args: Any) -> Any:
            shown = source or Shown(Thing(type_name, 0), type_name)
            join = self._types[type_name].fields[name][self._graph]
            provided = [node for node in shown.provided if node.name.value == name]
            self._refuse(shown, type_name, name, join, session_of(info), is_provided=bool(provided))
            extra = self._inputs(shown, name, join, is_provided=bool(provided))
            if is_mutation:
                extra += session_of(info).next_mutation()
            value = self._world.value(shown.thing, name, args, extra)
            return self._shown(value, join, provided, session_of(info))

        return resolve

    def _refuse(
        self, shown: Shown, type_name: str, name: str, join: JoinField, session: Session, *, is_provided: bool
    ) -> None:
        """Raise where the field is not this subgraph's to answer here."""
        is_key = (type_name, name) in self._own_key_fields()
        if join.resolves(session.labels) or is_provided or is_key:
            return
        refusal = f"{self._graph} does not own {type_name}.{name} at {shown.thing}"
        session.refusals.append(refusal)
        raise GraphQLError(refusal)

    def _own_key_fields(self) -> set[tuple[str, str]]:
        found: set[tuple[str, str]] = set()
        for name, item in self._types.items():
            for key in item.keys[self._graph]:
                self._mark(name, key.selection, found)
        return found

    def _mark(self, name: str, selection: SelectionSetNode, found: set[tuple[str, str]]) -> None:
        for node in selection.selections:
            if isinstance(node, FieldNode):
                found.add((name, node.name.value))
                if node.selection_set is not None and node.name.value in self._types[name].nodes:
                    inner = _named_text(self._types[name].nodes[node.name.value])
                    self._mark(inner, node.selection_set, found)

    def _inputs(self, shown: Shown, name: str, join: JoinField, *, is_provided: bool) -> str:
        """What the @requires came to, by what the router sent; the true inputs where the field is reached otherwise."""
        if join.requires is None or self._resolves(shown.thing.type, join.requires):
            return self._world.requires_text(shown.thing, name)
        if shown.representation is None:
            if is_provided:
                return self._world.requires_text(shown.thing, name)
            raise GraphQLError(f"{self._graph}: {shown.thing.type}.{name} has a @requires and needs a representation")
        return canonical(self._from_representation(shown.representation, shown.thing, join.requires))

    def _resolves(self, type_name: str, selection: SelectionSetNode) -> bool:
        """Whether a @requires says nothing, as in federation 1: this subgraph has itself what it asks for."""
        for node in selection.selections:
            if not isinstance(node, FieldNode):
                return False
            item = self._types.get(type_name)
            join = item.fields.get(node.name.value, {}).get(self._graph) if item else None
            if (
                join is None
                or join.requires is not None
                or join.context
                or join.label
                or not join.resolves(frozenset())
            ):
                return False
            below = print_ast(join.type).strip("[]!")
            if node.selection_set is not None and not self._resolves(below, node.selection_set):
                return False
        return True

    def _from_representation(self, given: Any, thing: Thing, selection: SelectionSetNode) -> dict[str, Any]:
        """The @requires fields as they were sent; what is missing says so."""
        found: dict[str, Any] = {}
        for node in self._world.fields(selection, thing.type):
            name = node.name.value
            if not isinstance(given, Mapping) or name not in given:
                raise GraphQLError(f"{self._graph}: a representation lacks {thing.type}.{name}")
            value = given[name]
            if node.selection_set is not None:
                truth = self._world.extracted_things(thing, node) if value is not None else None
                value = self._aligned(value, truth, node.selection_set)
            if isinstance(value, dict) and isinstance(found.get(name), dict):
                found[name] |= value
            else:
                found[name] = value
        return found

    def _aligned(self, value: Any, truth: Any, selection: SelectionSetNode) -> Any:
        """A composite input, read with the true objects' types."""
        if isinstance(value, list) and isinstance(truth, list) and len(value) == len(truth):
            return [self._aligned(mine, true, selection) for mine, true in zip(value, truth, strict=True)]
        if value is None or not isinstance(truth, Thing):
            return value
        return self._from_representation(value, truth, selection)

    def _shown(self, value: Any, join: JoinField, provided: list[FieldNode], session: Session) -> Any:
        """Objects as this subgraph holds them, with what is provided below."""
        if isinstance(value, list):
            return [self._shown(item, join, provided, session) for item in value]
        if not isinstance(value, Thing):
            return value
        session.returned.add((self._graph, value))
        name = value.type
        if name not in self._types:
            names = [
                other
                for other in self._joins.interfaces(name)
                if self._graph in self._joins.types[other].interface_object_in
            ]
            name = names[0] if names else name
        selections = [node.selection_set for node in provided if node.selection_set is not None]
        if join.provides is not None:
            selections.append(join.provides)
        inner = tuple(node for item in selections for node in self._world.fields(item, value.type))
        return Shown(value, name, inner)


def _restrict(given: Any, selection: SelectionSetNode) -> Any:
    """The part of a representation that a key names; None where there is not all of it."""
    if isinstance(given, list):
        items = [_restrict(item, selection) for item in given]
        return None if None in items else items
    if not isinstance(given, Mapping):
        return None
    found: dict[str, Any] = {}
    for node in selection.selections:
        if not isinstance(node, FieldNode) or node.name.value == "__typename":
            continue
        name = node.name.value
        if given.get(name) is None:
            return None
        found[name] = given[name] if node.selection_set is None else _restrict(given[name], node.selection_set)
        if found[name] is None:
            return None
    return found


def _named_text(node: FieldDefinitionNode) -> str:
    return print_ast(node.type).strip("[]!")


def _plain_arguments(node: FieldDefinitionNode) -> list[str]:
    return [_without_directives(item) for item in node.arguments or ()]


def _plain_field(node: FieldDefinitionNode, join: JoinField) -> str:
    arguments = _plain_arguments(node)
    arguments.extend(f"{item.name}: {print_ast(item.type)}" for item in join.context)
    listed = f"({', '.join(arguments)})" if arguments else ""
    return f"{node.name.value}{listed}: {print_ast(join.type)}"


def _without_directives(node: Any) -> str:
    default = f" = {print_ast(node.default_value)}" if node.default_value is not None else ""
    return f"{node.name.value}: {print_ast(node.type)}{default}"


def _plain_input(node: TypeDefinitionNode) -> str:
    name = node.name.value
    if not isinstance(node, InputObjectTypeDefinitionNode):
        return f"scalar {name}"
    one_of = " @oneOf" if any(item.name.value == "oneOf" for item in node.directives or ()) else ""
    fields = " ".join(_without_directives(item) for item in node.fields or ())
    return f"input {name}{one_of} {{ {fields} }}"
