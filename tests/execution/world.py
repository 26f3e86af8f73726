"""The data behind the generated execution test: every value follows from hashing where it stands, and a salt.

An object is a type and a number. The value of a field follows from the object, the field, its arguments, and, where it
has a @requires or a @fromContext, from those inputs: a wrong input gives a wrong value, and so shows in the answer.
Fields that are part of a key differ between objects, so that a representation leads back to its object, and are never
null, unless every subgraph knows the type by the same several keys: then an object can lack one of these. What several
subgraphs resolve is something that all of them can express.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from typing import Any

from graphql import (
    EnumTypeDefinitionNode,
    FieldNode,
    GraphQLError,
    InlineFragmentNode,
    ListTypeNode,
    NamedTypeNode,
    NonNullTypeNode,
    SelectionSetNode,
    TypeNode,
    print_ast,
    value_from_ast_untyped,
)

from tests.execution.joins import JoinField, Joins

OBJECTS_PER_TYPE = 5
LENGTHS = (0, 1, 2, 2, 3, 3)
TEXTS = ("plain", 'quote " and \\ slash', "ünïcødé 漢字 🎈", "line\nbreak", "<b>&amp;</b>", "$variable")


class UnsuitableError(Exception):
    """The supergraph has something that this data cannot express, such as a key of Booleans alone."""


@dataclass(frozen=True)
class Thing:
    """An object of the world."""

    type: str
    number: int
    parent: "Thing | None" = field(default=None, compare=False)
    """The object that it was reached from, where ancestors matter."""


def canonical(value: object) -> str:
    """One text per JSON value."""
    return json.dumps(value, sort_keys=True, default=str)


def digest(*parts: object) -> int:
    """A number that follows from `parts`."""
    return int.from_bytes(blake2b("\x1f".join(map(str, parts)).encode(), digest_size=8).digest(), "big")


def named(node: TypeNode) -> str:
    """The name inside lists and non-nulls."""
    while not isinstance(node, NamedTypeNode):
        node = node.type  # type: ignore[attr-defined]  # lists and non-nulls have one
    return node.name.value


class World:
    """All data of one supergraph."""

    def __init__(self, joins: Joins, *, failing: bool = False) -> None:
        self.joins = joins
        self.failing = failing
        """Whether some nullable leaves raise instead of having a value; never those that other fields need."""
        self.troubled = False
        """Whether all that can go wrong goes wrong here and there: fields of any kind raise, and subgraphs lack objects
        that others know, or fail at them. Never what other fields need."""
        self.salt = ""
        """What makes one operation's data differ from another's; keys do not depend on it."""
        self._candidates: dict[tuple[str, str], list[str]] = {}
        self._lackable: dict[tuple[str, str], bool] = {}
        self._spare_keys: dict[str, list[str]] = {}

    # ---- values ----

    def value(self, thing: Thing, name: str, args: Mapping[str, object], extra: object = "") -> Any:
        """A field's value: leaves as JSON, objects as `Thing`, lists as lists. `extra` are its inputs, as text."""
        is_key = (thing.type, name) in self.key_fields
        identity = (thing.type, thing.number, name, canonical(args), extra, "" if is_key else self.salt)
        types = [join.type for join in self.resolvers(thing.type, name)] or [self.node(thing.type, name).type]
        if self._lacks_key(thing, name):
            return None
        value = self._shaped(types, identity, thing, name, is_key=is_key, is_non_null=False)
        if self.failing and self._fails(types, identity, thing.type, name):
            raise GraphQLError(f"{thing.type}.{name} fails.")
        if self.troubled and self.is_own(thing.type, name):
            (join,) = self.resolvers(thing.type, name)
            if self.is_unknown(thing, join.graph):
                return None
            self.raise_trouble(thing, join.graph)
        if self.troubled and self._is_in_trouble(types, identity, thing.type, name):
            raise GraphQLError(f"{thing.type}.{name} is in trouble.", extensions={"code": f"{name.upper()}_IN_TROUBLE"})
        return value

    # ---- keys that are null ----

    def _lacks_key(self, thing: Thing, name: str) -> bool:
        """Whether a key is null on an object: at most one of several is, so that the others lead to it."""
        if thing.type not in self._spare_keys:
            self._spare_keys[thing.type] = self._find_spare_keys(thing.type)
        keys = self._spare_keys[thing.type]
        return name in keys and thing.number % (len(keys) + 1) == keys.index(name)

    def _find_spare_keys(self, type_name: str) -> list[str]:
        """The nullable fields that are a key each, where all subgraphs that have the type have the same keys."""
        item = self.joins.types[type_name]
        known = [sorted(key.text for key in keys if key.resolvable) for keys in item.keys.values()]
        if not known or any(keys != known[0] for keys in known) or len(known[0]) < 2:
            return []
        if any(
            keys for name in self.joins.interfaces(type_name) for keys in self.joins.types[name].keys.values() if keys
        ):
            return []  # an interface's keys lead to it as well
        return [name for name in known[0] if name in item.nodes and self._is_nullable_leaf(type_name, name)]

    def _is_nullable_leaf(self, type_name: str, name: str) -> bool:
        joins = self.joins.types[type_name].fields[name].values()
        types = [self.node(type_name, name).type, *(join.type for join in joins)]
        return all(isinstance(each, NamedTypeNode) for each in types) and named(types[0]) not in self.joins.types

    # ---- troubles ----

    @contextmanager
    def at_peace(self) -> Iterator[None]:
        """With nothing that raises."""
        before = self.failing, self.troubled
        self.failing = self.troubled = False
        try:
            yield
        finally:
            self.failing, self.troubled = before

    def _is_in_trouble(self, types: list[TypeNode], identity: tuple[object, ...], type_name: str, name: str) -> bool:
        """Whether a field raises, one that is never null as well: all subgraphs have to agree on what that ends."""
        return (
            len({print_ast(item) for item in (*types, self.node(type_name, name).type)}) == 1
            and (type_name, name) not in self.key_fields | self.input_fields
            and digest("trouble", *identity) % 12 == 0
        )

    def is_unknown(self, thing: Thing, graph: str) -> bool:
        """Whether the subgraph lacks an object that others know: its fields are null, and no error."""
        return self.troubled and self._can_lack(thing.type, graph) and self._trouble(thing, graph) == 0

    def raise_trouble(self, thing: Thing, graph: str) -> None:
        """Raise where the subgraph fails at an object: every field of its own does."""
        if self.troubled and self._can_lack(thing.type, graph) and self._trouble(thing, graph) == 1:
            raise GraphQLError(f"{graph} fails at {thing.type}.", extensions={"code": f"{graph.upper()}_FAILS"})

    def _trouble(self, thing: Thing, graph: str) -> int:
        return digest("object", thing.type, thing.number, graph, self.salt) % 8

    def is_own(self, type_name: str, name: str) -> bool:
        """Whether one subgraph alone resolves a field, and can lack objects of the type."""
        joins = self.resolvers(type_name, name)
        return (
            len(joins) == 1
            and (type_name, name) not in self.key_fields | self.input_fields
            and self._can_lack(type_name, joins[0].graph)
        )

    def _can_lack(self, type_name: str, graph: str) -> bool:
        """Whether nothing but the subgraph's own fields depends on its knowing an object of the type."""
        if (type_name, graph) not in self._lackable:
            self._lackable[type_name, graph] = self._could_lack(type_name, graph)
        return self._lackable[type_name, graph]

    def _could_lack(self, type_name: str, graph: str) -> bool:
        owners = [self.joins.types[name] for name in (type_name, *self.joins.interfaces(type_name))]
        here = [item for item in owners if graph in item.keys and (item.name == type_name or item.keys[graph])]
        if [len(item.keys[graph]) for item in here] != [1] or not here[0].keys[graph][0].resolvable:
            return False
        key = here[0].keys[graph][0].selection
        if any(isinstance(node, FieldNode) and node.selection_set is not None for node in key.selections):
            return False  # objects in a key have fields of their own
        for item in here:
            for name, joins in item.fields.items():
                join = joins.get(graph)
                if join is None or join.external or join.overridden or (type_name, name) in self.key_fields:
                    continue
                is_nullable = not isinstance(join.type, NonNullTypeNode)
                if (
                    not is_nullable
                    or (type_name, name) in self.input_fields
                    or len(self.resolvers(type_name, name)) > 1
                ):
                    return False
        return True

    def _fails(self, types: list[TypeNode], identity: tuple[object, ...], type_name: str, name: str) -> bool:
        is_leaf = named(types[0]) not in self.joins.types or not self.joins.types[named(types[0])].nodes
        return (
            is_leaf
            and not any(isinstance(item, NonNullTypeNode) for item in types)
            and (type_name, name) not in self.key_fields | self.input_fields
            and digest("fails", *identity) % 6 == 0
        )

    def input_value(self, thing: Thing, name: str, args: Mapping[str, object]) -> Any:
        """A field's value with its own @requires followed, as a field that requires it sees it."""
        return self.value(thing, name, args, self.requires_text(thing, name))

    def requires_text(self, thing: Thing, name: str) -> str:
        """What a field's @requires comes to; empty where it has none."""
        texts = {
            canonical(self.extract(thing, join.requires))
            for join in self.resolvers(thing.type, name)
            if join.requires is not None
        }
        if len(texts) > 1:
            raise UnsuitableError(f"{thing.type}.{name} has different @requires in different subgraphs")
        return next(iter(texts), "")

    def extract(self, thing: Thing, selection: SelectionSetNode) -> dict[str, object]:
        """A field set's values, as JSON."""
        found: dict[str, object] = {}
        for node in self.fields(selection, thing.type):
            value = self.extracted_things(thing, node)
            if node.selection_set is not None:
                value = self._extract_value(value, node.selection_set)
            if isinstance(value, dict) and isinstance(found.get(node.name.value), dict):
                found[node.name.value] |= value  # type: ignore[operator]  # both are dicts
            else:
                found[node.name.value] = value
        return found

    def numbers(self) -> range:
        """The numbers of every entity type's objects."""
        return range(OBJECTS_PER_TYPE)

    def extracted_things(self, thing: Thing, node: FieldNode) -> Any:
        """The objects that a field of a field set leads to."""
        name = node.name.value
        args = {item.name.value: value_from_ast_untyped(item.value) for item in node.arguments or ()}
        return self.input_value(thing, name, self.with_defaults(thing.type, name, args))

    def _extract_value(self, value: Any, selection: SelectionSetNode) -> object:
        if isinstance(value, list):
            return [self._extract_value(item, selection) for item in value]
        return None if value is None else self.extract(value, selection)

    def fields(self, selection: SelectionSetNode, type_name: str) -> Iterator[FieldNode]:
        """The fields of a field set that objects of a type have; `__typename` is none of them."""
        for node in selection.selections:
            if isinstance(node, FieldNode):
                if node.name.value != "__typename":
                    yield node
            elif isinstance(node, InlineFragmentNode):
                condition = node.type_condition
                if condition is None or type_name in self.joins.possible(condition.name.value):
                    yield from self.fields(node.selection_set, type_name)

    def with_defaults(self, type_name: str, name: str, args: dict[str, object]) -> dict[str, object]:
        """Arguments as a resolver gets them."""
        for item in self.node(type_name, name).arguments or ():
            if item.name.value not in args and item.default_value is not None:
                args[item.name.value] = value_from_ast_untyped(item.default_value)
        return args

    # ---- who resolves ----

    def node(self, type_name: str, name: str) -> Any:
        """A field's definition, the type's own or an interface's."""
        for owner in (type_name, *self.joins.interfaces(type_name)):
            if name in self.joins.types[owner].nodes:
                return self.joins.types[owner].nodes[name]
        raise KeyError(f"{type_name}.{name}")

    def resolvers(self, type_name: str, name: str) -> list[JoinField]:
        """How the subgraphs that resolve a field have it, interface objects included."""
        own = self.joins.types[type_name].fields.get(name, {})
        found = [join for join in own.values() if not join.external and not join.overridden]
        for interface in self.joins.interfaces(type_name):
            there = self.joins.types[interface]
            found.extend(
                join
                for graph, join in there.fields.get(name, {}).items()
                if graph in there.interface_object_in and not join.external and not join.overridden
            )
        return found

    @cached_property
    def key_fields(self) -> set[tuple[str, str]]:
        """Every (type, field) on the way to a key's leaves."""
        found: set[tuple[str, str]] = set()
        for item in self.joins.types.values():
            for keys in item.keys.values():
                for key in keys:
                    for possible in self.joins.possible(item.name):
                        self._mark_key(possible, key.selection, found)
        return found

    @cached_property
    def input_fields(self) -> set[tuple[str, str]]:
        """Every (type, field) that a @requires or a @fromContext reads."""
        found: set[tuple[str, str]] = set()
        for item in self.joins.types.values():
            for join in (join for joins in item.fields.values() for join in joins.values()):
                for possible in self.joins.possible(item.name) if join.requires else ():
                    assert join.requires is not None
                    self._mark_key(possible, join.requires, found)
                for argument in join.context:
                    self._mark_context(argument.context, argument.selection, found)
        return found

    def _mark_context(self, context: str, selection: SelectionSetNode, found: set[tuple[str, str]]) -> None:
        for item in self.joins.types.values():
            for possible in self.joins.possible(item.name) if context in item.contexts else ():
                self._mark_key(possible, selection, found)

    def _mark_key(self, type_name: str, selection: SelectionSetNode, found: set[tuple[str, str]]) -> None:
        for node in self.fields(selection, type_name):
            found.add((type_name, node.name.value))
            if node.selection_set is not None:
                for possible in self.joins.possible(named(self.node(type_name, node.name.value).type)):
                    self._mark_key(possible, node.selection_set, found)

    # ---- shapes ----

    def _shaped(
        self,
        types: list[TypeNode],
        identity: tuple[object, ...],
        thing: Thing,
        name: str,
        *,
        is_key: bool,
        is_non_null: bool,
    ) -> Any:
        """A value that every one of `types` allows."""
        is_non_null = is_non_null or any(isinstance(item, NonNullTypeNode) for item in types)
        types = [item.type if isinstance(item, NonNullTypeNode) else item for item in types]
        if not is_non_null and not is_key and digest("null", *identity) % 9 == 0:
            return None
        if any(isinstance(item, ListTypeNode) for item in types):
            inner = [item.type for item in types if isinstance(item, ListTypeNode)]
            length = 2 if is_key else LENGTHS[digest("length", *identity) % len(LENGTHS)]
            return [
                self._shaped(inner, (*identity, index), thing, name, is_key=is_key, is_non_null=False)
                for index in range(length)
            ]
        return self._single(named(types[0]), identity, thing, name, is_key=is_key, is_non_null=is_non_null)

    def _single(
        self, type_name: str, identity: tuple[object, ...], thing: Thing, name: str, *, is_key: bool, is_non_null: bool
    ) -> Any:
        found = self.joins.types.get(type_name)
        if found is None:
            return self._leaf(type_name, identity, thing, name, is_key=is_key)
        if isinstance(found.node, EnumTypeDefinitionNode):
            choices = self._enum_values(thing.type, name, type_name)
        else:
            choices = self._runtime_types(thing.type, name)
        if not choices:
            if is_non_null:
                raise UnsuitableError(f"{thing.type}.{name}: no value that all its subgraphs know")
            return None
        chosen = choices[digest("choice", *identity) % len(choices)]
        if isinstance(found.node, EnumTypeDefinitionNode):
            return chosen
        if chosen in self.joins.roots.values():
            return Thing(chosen, 0, thing)
        number = thing.number if is_key else digest("number", *identity) % OBJECTS_PER_TYPE
        if is_key and not self._is_entity(chosen):
            number += OBJECTS_PER_TYPE * sorted(self.joins.types).index(thing.type)
        return Thing(chosen, number, thing)

    def _is_entity(self, type_name: str) -> bool:
        return any(keys for keys in self.joins.types[type_name].keys.values())

    def _enum_values(self, type_name: str, name: str, enum: str) -> list[str]:
        known = self.joins.types[enum].values
        graphs = [join.graph for join in self.resolvers(type_name, name)]
        sets = [known.get(graph, set()) for graph in graphs] or list(known.values())
        return sorted(set.intersection(*sets))

    def _runtime_types(self, type_name: str, name: str) -> list[str]:
        if (type_name, name) not in self._candidates:
            joins = self.resolvers(type_name, name)
            sets = [self.joins.possible_in(named(join.type), join.graph) for join in joins]
            everyone = self.joins.possible(named(self.node(type_name, name).type))
            self._candidates[type_name, name] = sorted(everyone.intersection(*sets))
        return self._candidates[type_name, name]

    def _leaf(self, type_name: str, identity: tuple[object, ...], thing: Thing, name: str, *, is_key: bool) -> object:
        seed = digest("leaf", *identity)
        text = f"{thing.type}.{name}.{thing.number}"
        if is_key:
            number = thing.number * 1000 + digest(thing.type, name) % 1000
            unique = {"Int": number, "Float": number + 0.5, "Boolean": bool(seed % 2)}
            return unique.get(type_name, text + "".join(f".{part}" for part in identity[6:]))
        text = f"{text}.{seed % 100_000} {TEXTS[seed % len(TEXTS)]}"
        values: dict[str, object] = {
            "Int": seed % 2**32 - 2**31,
            "Float": (seed % 10**6) / 8,
            "Boolean": bool(seed % 2),
            "String": text,
            "ID": text,
        }
        custom = (text, seed, {"deep": [seed % 100, None, {"text": text}]}, 10**25 + seed, seed % 2 == 0)
        return values.get(type_name, custom[seed % len(custom)])
