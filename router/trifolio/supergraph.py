"""A supergraph, read once: which subgraph has which type and field, and the schema that clients see.

`Supergraph.parse` turns supergraph SDL (join v0.1 to v0.5) into frozen indexes. Types that only clients and subgraphs
talk about (inputs, scalars) stay in the API schema, which is built when it is first asked for.

Subgraphs are called by their name (`@join__graph(name:)`) everywhere; the enum value is only the SDL's own spelling.

Specifications: Apollo Federation join v0.1 to v0.5, link v1.0 (and core v0.1, v0.2), inaccessible v0.2, context v0.1.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, Literal

from graphql import GraphQLError, GraphQLSchema, parse
from graphql.language import (
    ConstDirectiveNode,
    DefinitionNode,
    DocumentNode,
    EnumTypeDefinitionNode,
    FieldDefinitionNode,
    InterfaceTypeDefinitionNode,
    ListTypeNode,
    NamedTypeNode,
    NonNullTypeNode,
    ObjectTypeDefinitionNode,
    SchemaDefinitionNode,
    SchemaExtensionNode,
    TypeNode,
    UnionTypeDefinitionNode,
    parse_type,
)

from trifolio.access_rules import AccessRules, read_access_rules
from trifolio.api_schema import build_api_schema
from trifolio.errors import SupergraphError
from trifolio.features import Machinery, applications, check_carried, read_machinery
from trifolio.selections import SelectedType, parse_field_set
from trifolio.supergraph_document import check_document

OperationKind = Literal["query", "mutation", "subscription"]

_ROOTS: Final[Mapping[str, str]] = {"query": "Query", "mutation": "Mutation", "subscription": "Subscription"}

_CompositeDefinition = ObjectTypeDefinitionNode | InterfaceTypeDefinitionNode | UnionTypeDefinitionNode


@dataclass(frozen=True, slots=True)
class TypeReference:
    """A field's or argument's type, unwrapped: `[[Foo!]]!` is Foo in 2 lists, non-null (outermost first) T, F, T."""

    name: str
    non_null: tuple[bool, ...]
    """For each level from the outermost list to the named type itself, whether it is non-null; never empty."""

    @property
    def lists(self) -> int:
        """How many list levels wrap the named type."""
        return len(self.non_null) - 1

    def __str__(self) -> str:
        text = self.name + "!" * self.non_null[-1]
        for non_null in reversed(self.non_null[:-1]):
            text = f"[{text}]" + "!" * non_null
        return text


@dataclass(frozen=True, slots=True)
class ContextArgument:
    """An argument that a subgraph fills from an ancestor: `@fromContext`, as join v0.5 writes it."""

    name: str
    type: TypeReference
    context: str
    """The context's full name, `subgraph__context`."""
    selection: str
    """The field set that is read at the ancestor, with its type conditions."""


@dataclass(frozen=True, slots=True)
class FieldInSubgraph:
    """What one subgraph says about a field."""

    type: TypeReference
    """The type there, which may be narrower or stricter than the supergraph's."""
    external: bool = False
    requires: str | None = None
    provides: str | None = None
    override: str | None = None
    """The subgraph (by the name in the SDL) that this field takes over from."""
    label: str | None = None
    """The condition of a progressive @override, on both the taking and the giving side."""
    used_overridden: bool = False
    context_arguments: tuple[ContextArgument, ...] = ()


@dataclass(frozen=True, slots=True)
class Field:
    """A field of the supergraph."""

    name: str
    type: TypeReference
    arguments: Mapping[str, TypeReference]
    subgraphs: Mapping[str, FieldInSubgraph]
    inaccessible: bool = False


@dataclass(frozen=True, slots=True)
class Key:
    """An entity key in one subgraph; unresolvable keys only say how the subgraph refers to the entity."""

    field_set: str
    resolvable: bool = True


@dataclass(frozen=True, slots=True)
class TypeInSubgraph:
    """What one subgraph says about a composite type."""

    keys: tuple[Key, ...] = ()
    is_interface_object: bool = False
    is_extension: bool = False
    interfaces: frozenset[str] = frozenset()
    possible_types: frozenset[str] = frozenset()
    """The runtime types that the subgraph itself can return where it says this type."""


@dataclass(frozen=True, slots=True)
class CompositeType:
    """An object, interface or union of the supergraph."""

    name: str
    kind: Literal["object", "interface", "union"]
    fields: Mapping[str, Field]
    subgraphs: Mapping[str, TypeInSubgraph]
    interfaces: tuple[str, ...]
    possible_types: tuple[str, ...]
    """The object types that can stand here in the whole supergraph, sorted by name."""
    inaccessible: bool = False

    @property
    def is_abstract(self) -> bool:
        """Whether objects here carry another type's name."""
        return self.kind != "object"


@dataclass(frozen=True, slots=True)
class SubgraphReference:
    """A subgraph as the supergraph names it."""

    name: str
    url: str
    graph: str
    """Its value in the enum `join__Graph`."""


@dataclass(frozen=True, eq=False)
class Supergraph:
    """A parsed supergraph; compared by identity. Immutable, but for what is built when first asked for."""

    sdl: str
    """The text that it was parsed from."""
    subgraphs: Mapping[str, SubgraphReference]
    """By subgraph name, in name order."""
    types: Mapping[str, CompositeType]
    """Objects, interfaces and unions, by name: which subgraph has which of their fields."""
    enums: Mapping[str, frozenset[str]]
    """The values that clients may see, by enum."""
    roots: Mapping[OperationKind, str]
    """The root types that exist, by operation kind."""
    labels: frozenset[str]
    """The labels of progressive @override that are used anywhere."""
    contexts: Mapping[str, frozenset[str]]
    """For each context's full name the types that set it."""
    access: AccessRules
    """What is demanded of whoever asks for a type or a field."""
    _document: DocumentNode = field(repr=False)
    _machinery: Machinery = field(repr=False)

    @staticmethod
    def parse(sdl: str) -> "Supergraph":
        """Read a supergraph from its SDL. Raises SupergraphError where it is not one."""
        try:
            document = parse(sdl, no_location=True)
        except GraphQLError as error:
            raise SupergraphError(f"The supergraph cannot be parsed: {error.message}") from error
        check_document(document)
        return _Reader(sdl, document).read()

    @cached_property
    def possible_types(self) -> Mapping[str, frozenset[str]]:
        """The object types that can stand where a composite type is said, by its name."""
        return {name: frozenset(each.possible_types) for name, each in self.types.items()}

    def has_field(self, coordinate: str) -> bool:
        """Whether there is a field `Type.field`; what clients do not see counts."""
        type_name, _, name = coordinate.partition(".")
        return type_name in self.types and name in self.types[type_name].fields

    @cached_property
    def api_schema(self) -> GraphQLSchema:
        """The schema that clients see: without @inaccessible elements and without federation's machinery.

        Raises SupergraphError where what is left is no valid schema.
        """
        return build_api_schema(self._document, self._machinery)


def type_reference(node: TypeNode) -> TypeReference:
    """The unwrapped form of a type in SDL."""
    non_null = []
    while True:
        is_non_null = isinstance(node, NonNullTypeNode)
        non_null.append(is_non_null)
        inner = node.type if isinstance(node, NonNullTypeNode) else node
        if isinstance(inner, NamedTypeNode):
            return TypeReference(inner.name.value, tuple(non_null))
        assert isinstance(inner, ListTypeNode)
        node = inner.type


class _Reader:
    """Reads one document; a class only because every step shares the indexes made before it."""

    def __init__(self, sdl: str, document: DocumentNode) -> None:
        self.sdl = sdl
        self.document = document
        self.machinery = read_machinery(document)
        self.inaccessible, self.context = self.machinery.names("inaccessible"), self.machinery.names("context")
        self.names = {reference.graph: reference for reference in self.graphs()}
        if len({reference.name for reference in self.names.values()}) < len(self.names):
            raise SupergraphError("The supergraph has two subgraphs of one name in its enum join__Graph.")
        self.composites: dict[str, _CompositeDefinition] = {}
        self.enums: dict[str, frozenset[str]] = {}
        self.type_cache: dict[str, TypeReference] = {}
        self.labels: set[str] = set()
        self.contexts: dict[str, set[str]] = defaultdict(set)
        for node in self.product_definitions():
            if isinstance(node, _CompositeDefinition):
                self.composites[node.name.value] = node
            elif isinstance(node, EnumTypeDefinitionNode):
                values = (value for value in node.values or () if not self.is_inaccessible(value.directives))
                self.enums[node.name.value] = frozenset(value.name.value for value in values)

    def read(self) -> Supergraph:
        roots = self.roots()
        if "query" not in roots:
            raise SupergraphError("The supergraph has no query root type.")
        if not self.names:
            raise SupergraphError("The supergraph names no subgraph: it has no enum join__Graph.")
        self.check_carried()
        self.index_types()
        self.check_references()
        types = {name: self.composite(node) for name, node in self.composites.items()}
        _check_field_sets(types)
        _check_places(types)
        self.check_contexts(types)
        return Supergraph(
            sdl=self.sdl,
            subgraphs={reference.name: reference for reference in sorted(self.names.values(), key=lambda r: r.name)},
            types=types,
            enums=self.enums,
            roots=roots,
            labels=frozenset(self.labels),
            contexts={name: frozenset(owners) for name, owners in self.contexts.items()},
            access=read_access_rules(self.document, self.machinery),
            _document=self.document,
            _machinery=self.machinery,
        )

    # ---- the document's parts ----

    def product_definitions(self) -> Iterator[DefinitionNode]:
        return (node for node in self.document.definitions if not self.machinery.owns_definition(node))

    def graphs(self) -> Iterator[SubgraphReference]:
        for node in self.document.definitions:
            if isinstance(node, EnumTypeDefinitionNode) and node.name.value == f"{self.machinery.join}__Graph":
                for value in node.values or ():
                    for name, arguments in applications(value.directives):
                        if name == f"{self.machinery.join}__graph":
                            graph = value.name.value
                            yield SubgraphReference(
                                str(arguments.get("name", graph)), str(arguments.get("url", "")), graph
                            )

    def roots(self) -> dict[OperationKind, str]:
        schemas = [n for n in self.document.definitions if isinstance(n, SchemaDefinitionNode | SchemaExtensionNode)]
        given = {str(each.operation.value): each.type.name.value for n in schemas for each in n.operation_types or ()}
        if not any(isinstance(node, SchemaDefinitionNode) for node in schemas):
            given |= {kind: name for kind, name in _ROOTS.items() if name in self.composites and kind not in given}
        for kind, name in given.items():
            if not isinstance(self.composites.get(name), ObjectTypeDefinitionNode):
                raise SupergraphError(
                    f'The supergraph names "{name}" as its {kind} type, which is no object type of it.'
                )
        kinds: tuple[OperationKind, ...] = ("query", "mutation", "subscription")
        return {kind: given[kind] for kind in kinds if kind in given}

    def is_inaccessible(self, directives: Iterable[ConstDirectiveNode] | None) -> bool:
        return any(node.name.value in self.inaccessible for node in directives or ())

    def subgraph_name(self, graph: object) -> str:
        if graph not in self.names:
            raise SupergraphError(f"The supergraph uses the graph {graph}, which the enum join__Graph does not list.")
        return self.names[str(graph)].name

    def reference(self, text: str) -> TypeReference:
        if text not in self.type_cache:
            try:
                self.type_cache[text] = type_reference(parse_type(text, no_location=True))
            except GraphQLError as error:
                raise SupergraphError(
                    f'The type "{text}" in a join__field cannot be parsed: {error.message}'
                ) from error
        return self.type_cache[text]

    def check_carried(self) -> None:
        """What a @join__directive carries out of a subgraph must be known, wherever it stands."""
        for node in self.document.definitions:
            for each in (node, *(getattr(node, "fields", None) or ())):
                for name, arguments in applications(getattr(each, "directives", None)):
                    if name == f"{self.machinery.join}__directive":
                        check_carried(str(arguments.get("name", "")), arguments.get("args"))

    # ---- types ----

    def index_types(self) -> None:
        """What @join__type, @join__implements and @join__unionMember say, before fields are looked at."""
        join = self.machinery.join
        self.joined: dict[str, dict[str, list[dict[str, object]]]] = {}
        self.implemented: dict[str, dict[str, set[str]]] = {}
        self.owners: dict[str, str] = {}
        members: dict[str, dict[str, set[str]]] = {}
        for name, node in self.composites.items():
            self.joined[name], self.implemented[name], members[name] = (
                defaultdict(list),
                defaultdict(set),
                defaultdict(set),
            )
            for directive, arguments in applications(node.directives):
                if directive == f"{join}__type":
                    self.joined[name][self.subgraph_name(arguments.get("graph"))].append(arguments)
                elif directive == f"{join}__implements":
                    subgraph = self.subgraph_name(arguments.get("graph"))
                    self.implemented[name][subgraph].add(_argument(arguments, "interface"))
                elif directive == f"{join}__unionMember":
                    members[name][self.subgraph_name(arguments.get("graph"))].add(_argument(arguments, "member"))
                elif directive == f"{join}__owner":
                    self.owners[name] = self.subgraph_name(arguments.get("graph"))
                elif directive in self.context:
                    self.contexts[_argument(arguments, "name")].add(name)
        self.fill_older_joins(members)
        self.index_possible_types(members)

    def fill_older_joins(self, members: dict[str, dict[str, set[str]]]) -> None:
        """join v0.1 leaves value types unmarked, and only v0.3 marks implementations and union members."""
        everywhere = [reference.name for reference in self.names.values()]
        for name, node in self.composites.items():
            if not self.joined[name]:
                for subgraph in self.older_home(name, everywhere):
                    self.joined[name][subgraph].append({})
            if isinstance(node, UnionTypeDefinitionNode):
                for subgraph in self.joined[name] if not members[name] else ():
                    members[name][subgraph] = {member.name.value for member in node.types or ()}
        for name, node in self.composites.items():
            if isinstance(node, UnionTypeDefinitionNode) or self.implemented[name]:
                continue
            for interface in node.interfaces or ():
                for subgraph in self.joined[name]:
                    if subgraph in self.joined.get(interface.name.value, ()):
                        self.implemented[name][subgraph].add(interface.name.value)

    def older_home(self, name: str, everywhere: list[str]) -> list[str]:
        """Where an unmarked type lives: a root type where its fields say, a value type anywhere."""
        node = self.composites[name]
        if isinstance(node, UnionTypeDefinitionNode) or name not in _ROOTS.values():
            return everywhere
        graphs = {
            self.subgraph_name(arguments.get("graph"))
            for each in node.fields or ()
            for directive, arguments in applications(each.directives)
            if directive == f"{self.machinery.join}__field" and "graph" in arguments
        }
        return sorted(graphs) or everywhere

    def index_possible_types(self, members: dict[str, dict[str, set[str]]]) -> None:
        self.possible: dict[str, set[str]] = {name: set() for name in self.composites}
        self.possible_in: dict[str, dict[str, set[str]]] = {name: defaultdict(set) for name in self.composites}
        for name, node in self.composites.items():
            if isinstance(node, UnionTypeDefinitionNode):
                self.possible[name] = {member.name.value for member in node.types or ()}
                for subgraph, names in members[name].items():
                    self.possible_in[name][subgraph] |= names
            elif isinstance(node, ObjectTypeDefinitionNode):
                self.possible[name].add(name)
                for subgraph in self.joined[name]:
                    self.possible_in[name][subgraph].add(name)
                for interface in node.interfaces or ():
                    self.possible.setdefault(interface.name.value, set()).add(name)
                for subgraph, interfaces in self.implemented[name].items():
                    for each in interfaces:
                        if each in self.possible_in:
                            self.possible_in[each][subgraph].add(name)

    def check_references(self) -> None:
        """Interfaces and union members have to be types of their kind."""
        for name, node in self.composites.items():
            if isinstance(node, UnionTypeDefinitionNode):
                members = self.possible[name].union(*self.possible_in[name].values())
                wrong = [
                    each for each in members if not isinstance(self.composites.get(each), ObjectTypeDefinitionNode)
                ]
            else:
                interfaces = {each.name.value for each in node.interfaces or ()}
                wrong = [
                    each
                    for each in interfaces
                    if not isinstance(self.composites.get(each), InterfaceTypeDefinitionNode)
                ]
            if wrong:
                what = "member" if isinstance(node, UnionTypeDefinitionNode) else "interface"
                raise SupergraphError(f'The type "{name}" has the {what} "{min(wrong)}", which is no such type.')

    def composite(self, node: _CompositeDefinition) -> CompositeType:
        name = node.name.value
        is_union = isinstance(node, UnionTypeDefinitionNode)
        fields = () if is_union else getattr(node, "fields", None) or ()
        return CompositeType(
            name=name,
            kind="union" if is_union else "object" if isinstance(node, ObjectTypeDefinitionNode) else "interface",
            fields={each.name.value: self.read_field(name, each) for each in fields},
            subgraphs={
                subgraph: self.type_in_subgraph(name, subgraph, joins) for subgraph, joins in self.joined[name].items()
            },
            interfaces=() if is_union else tuple(each.name.value for each in getattr(node, "interfaces", None) or ()),
            possible_types=tuple(sorted(self.possible[name])),
            inaccessible=self.is_inaccessible(node.directives),
        )

    def type_in_subgraph(self, name: str, subgraph: str, joins: list[dict[str, object]]) -> TypeInSubgraph:
        is_interface_object = any(join.get("isInterfaceObject") is True for join in joins)
        return TypeInSubgraph(
            keys=tuple(Key(str(join["key"]), join.get("resolvable") is not False) for join in joins if join.get("key")),
            is_interface_object=is_interface_object,
            is_extension=any(join.get("extension") is True for join in joins),
            interfaces=frozenset(self.implemented[name].get(subgraph, ())),
            possible_types=frozenset(self.possible_in[name].get(subgraph, ())),
        )

    # ---- fields ----

    def read_field(self, owner: str, node: FieldDefinitionNode) -> Field:
        declared = type_reference(node.type)
        joins = [
            arguments
            for directive, arguments in applications(node.directives)
            if directive == f"{self.machinery.join}__field"
        ]
        return Field(
            name=node.name.value,
            type=declared,
            arguments={each.name.value: type_reference(each.type) for each in node.arguments or ()},
            subgraphs=self.field_in_subgraphs(owner, node.name.value, declared, joins),
            inaccessible=self.is_inaccessible(node.directives),
        )

    def field_in_subgraphs(
        self, owner: str, name: str, declared: TypeReference, joins: list[dict[str, object]]
    ) -> dict[str, FieldInSubgraph]:
        plain = FieldInSubgraph(declared)
        placed = [join for join in joins if join.get("graph") is not None]
        if owner in self.owners:
            return self.owned_field(owner, name, plain, placed)
        if not joins:
            return dict.fromkeys(self.joined[owner], plain)
        return {
            self.subgraph_name(join.get("graph")): self.join_field(join, declared) if len(join) > 1 else plain
            for join in placed
        }

    def owned_field(
        self, owner: str, name: str, plain: FieldInSubgraph, placed: list[dict[str, object]]
    ) -> dict[str, FieldInSubgraph]:
        """join v0.1: a field without a graph is its owner's; other subgraphs have the fields of their keys besides."""
        subgraphs = {
            subgraph: plain
            for subgraph, joins in self.joined[owner].items()
            if any(name in str(join.get("key", "")).replace("{", " ").replace("}", " ").split() for join in joins)
        }
        subgraphs |= {self.subgraph_name(join.get("graph")): self.join_field(join, plain.type) for join in placed}
        if not placed:
            subgraphs[self.owners[owner]] = plain
        return subgraphs

    def join_field(self, join: dict[str, object], declared: TypeReference) -> FieldInSubgraph:
        label = join.get("overrideLabel")
        if label is not None:
            self.labels.add(str(label))
        contexts = join.get("contextArguments")
        return FieldInSubgraph(
            type=self.reference(str(join["type"])) if join.get("type") else declared,
            external=join.get("external") is True,
            requires=_text(join.get("requires")),
            provides=_text(join.get("provides")),
            override=_text(join.get("override")),
            label=_text(label),
            used_overridden=join.get("usedOverridden") is True,
            context_arguments=tuple(self.context_argument(each) for each in contexts)
            if isinstance(contexts, list)
            else (),
        )

    def context_argument(self, value: Mapping[str, object]) -> ContextArgument:
        return ContextArgument(
            name=_argument(value, "name"),
            type=self.reference(_argument(value, "type")),
            context=_argument(value, "context"),
            selection=_argument(value, "selection"),
        )

    def check_contexts(self, types: Mapping[str, CompositeType]) -> None:
        """An argument that is filled from a context needs one."""
        for owner, type_ in types.items():
            for name, field_ in type_.fields.items():
                for place in field_.subgraphs.values():
                    for argument in place.context_arguments:
                        if argument.context not in self.contexts:
                            raise SupergraphError(
                                f'The argument "{argument.name}" of "{owner}.{name}" is filled from the context '
                                f'"{argument.context}", which no type sets.'
                            )


def _check_places(types: Mapping[str, CompositeType]) -> None:
    """Every field needs a subgraph that has its type, and one that may be asked for it.

    Whether there is a way to that subgraph is the composer's to prove; this is what one line of a supergraph can lack.
    """
    provided = {
        word
        for type_ in types.values()
        for field_ in type_.fields.values()
        for place in field_.subgraphs.values()
        for word in _words(place.provides or "")
    }
    for owner, type_ in types.items():
        in_keys = {word for here in type_.subgraphs.values() for key in here.keys for word in _words(key.field_set)}
        lent = {name for interface in type_.interfaces for name in _fields_of_interface_objects(types[interface])}
        for name, field_ in type_.fields.items():
            strange = sorted(field_.subgraphs.keys() - type_.subgraphs.keys())
            if strange:
                raise SupergraphError(
                    f'The supergraph has "{owner}.{name}" in the subgraph "{strange[0]}", which has no "{owner}".'
                )
            asked = any(not place.external and not _is_given_away(place) for place in field_.subgraphs.values())
            if type_.kind == "object" and not (asked or name in provided or name in in_keys or name in lent):
                raise SupergraphError(f'The supergraph has no subgraph that may be asked for "{owner}.{name}".')


def _fields_of_interface_objects(interface: CompositeType) -> Iterator[str]:
    """The fields that every implementation has through a subgraph which knows none of them."""
    lending = {subgraph for subgraph, here in interface.subgraphs.items() if here.is_interface_object}
    return (name for name, field_ in interface.fields.items() if not lending.isdisjoint(field_.subgraphs))


def _is_given_away(place: FieldInSubgraph) -> bool:
    """Whether another subgraph has taken the field over for good."""
    return place.used_overridden and place.label is None


def _words(field_set: str) -> list[str]:
    return re.findall(r"\w+", field_set)


def _check_field_sets(types: Mapping[str, CompositeType]) -> None:
    """Every field set has to select fields that exist. Raises SupergraphError with the first that does not."""
    for owner, type_ in types.items():
        for subgraph, here in type_.subgraphs.items():
            for key in here.keys:
                _check_field_set(types, owner, key.field_set, f'The key of "{owner}" in the subgraph "{subgraph}"')
        for name, field_ in type_.fields.items():
            for subgraph, place in field_.subgraphs.items():
                where = f'of "{owner}.{name}" in the subgraph "{subgraph}"'
                if place.requires:
                    _check_field_set(types, owner, place.requires, f"The @requires {where}")
                if place.provides:
                    _check_field_set(types, place.type.name, place.provides, f"The @provides {where}")


def _check_field_set(types: Mapping[str, CompositeType], owner: str, text: str, what: str) -> None:
    todo = [(owner, parse_field_set(text))]
    while todo:
        type_name, nodes = todo.pop()
        if type_name not in types:
            raise SupergraphError(f'{what} selects fields of "{type_name}", which is no composite type.')
        for node in nodes:
            if isinstance(node, SelectedType):
                todo.append((node.type_condition or type_name, node.selection))
            elif node.name != "__typename":
                field_ = types[type_name].fields.get(node.name)
                if field_ is None:
                    raise SupergraphError(f'{what} selects "{node.name}", which "{type_name}" does not have.')
                if bool(node.selection) is not (field_.type.name in types):
                    raise SupergraphError(f'{what} selects "{node.name}" with the wrong kind of selection.')
                if node.selection:
                    todo.append((field_.type.name, node.selection))


def _argument(arguments: Mapping[str, object], name: str) -> str:
    value = arguments.get(name)
    if not isinstance(value, str):
        raise SupergraphError(f'A directive of join or context lacks the argument "{name}".')
    return value


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value.strip() else None
