"""A subgraph's schema as composition reads it: definitions and extensions joined, federation directives by their
canonical names whatever the subgraph calls them, every element with the syntax node that it came from.

Types of fields are texts (`"[Product!]!"`): they compare, hash and print as they are, and three functions take them
apart.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from graphql.language import (
    ConstDirectiveNode,
    ConstValueNode,
    DirectiveDefinitionNode,
    Node,
    StringValueNode,
)

from trifolio.composer.links import Links
from trifolio.federation import FEDERATION_1, Version

Kind = Literal["OBJECT", "INTERFACE", "UNION", "ENUM", "INPUT_OBJECT", "SCALAR"]

KIND_WORDS: Mapping[str, str] = {
    "OBJECT": "object type",
    "INTERFACE": "interface",
    "UNION": "union",
    "ENUM": "enum",
    "INPUT_OBJECT": "input object",
    "SCALAR": "scalar",
}


# ---- types as texts ----


def named(type_text: str) -> str:
    """The named type inside: `[Product!]!` -> `Product`."""
    return type_text.replace("[", "").replace("]", "").replace("!", "")


def is_non_null(type_text: str) -> bool:
    """Whether the outermost type is non-null."""
    return type_text.endswith("!")


def nullable(type_text: str) -> str:
    """Without the outermost `!`."""
    return type_text.removesuffix("!")


def is_list(type_text: str) -> bool:
    """Whether it is a list, non-null or not."""
    return type_text.startswith("[")


def item_type(type_text: str) -> str:
    """The items' type of a list type."""
    return nullable(type_text)[1:-1]


def renamed(type_text: str, names: Mapping[str, str]) -> str:
    """With the named type inside replaced as `names` says."""
    name = named(type_text)
    return type_text.replace(name, names[name]) if name in names else type_text


# ---- elements ----


@dataclass(frozen=True, slots=True)
class Application:
    """A directive where it is applied."""

    name: str
    """Canonical: `key` also where the subgraph writes `@federation__key` or `@myKey`."""
    spec: bool
    """Whether it is a directive of a specification that composition understands, and not the subgraph's own."""
    node: ConstDirectiveNode
    declaration: int = 0
    """Which definition or extension of the type it stands on: 0 is the first."""

    def argument(self, name: str) -> ConstValueNode | None:
        """The value of an argument, None where it is left out."""
        return next((each.value for each in self.node.arguments or () if each.name.value == name), None)

    def text(self, name: str) -> str | None:
        """The value of a string argument, None where it is left out or is no string."""
        value = self.argument(name)
        return value.value if isinstance(value, StringValueNode) else None

    def flag(self, name: str, *, default: bool) -> bool:
        """The value of a Boolean argument."""
        value = self.argument(name)
        return bool(getattr(value, "value", default))


Applications = tuple[Application, ...]


@dataclass(frozen=True, slots=True)
class Argument:
    """An argument of a field."""

    name: str
    type: str
    default: ConstValueNode | None
    description: str | None
    directives: Applications
    node: Node


@dataclass(frozen=True, slots=True)
class FieldDef:
    """A field of an object, interface or input object."""

    name: str
    type: str
    arguments: Mapping[str, Argument]
    default: ConstValueNode | None
    description: str | None
    directives: Applications
    node: Node
    declaration: int = 0


@dataclass(frozen=True, slots=True)
class EnumValue:
    """A value of an enum."""

    name: str
    description: str | None
    directives: Applications
    node: Node


@dataclass(frozen=True, slots=True)
class TypeDef:
    """A type: its definition and all extensions of it in one subgraph."""

    name: str
    kind: Kind
    description: str | None
    directives: Applications
    node: Node
    fields: Mapping[str, FieldDef] = field(default_factory=dict)
    interfaces: tuple[str, ...] = ()
    members: tuple[str, ...] = ()
    values: Mapping[str, EnumValue] = field(default_factory=dict)
    defined: bool = True
    """False where the subgraph has extensions of it alone."""
    extended_in: frozenset[int] = frozenset()
    """The declarations that are extensions."""

    @property
    def is_composite(self) -> bool:
        """Whether it has fields that a client selects, or members that have."""
        return self.kind in ("OBJECT", "INTERFACE", "UNION")

    @property
    def is_extension(self) -> bool:
        """Whether the subgraph means it as an extension, by the keyword or by @extends."""
        return not self.defined or has(self, "extends")


Element = TypeDef | FieldDef | Argument | EnumValue


def applications(element: Element, name: str) -> Iterator[Application]:
    """The applications of a specified directive on an element."""
    return (each for each in element.directives if each.spec and each.name == name)


def first(element: Element, name: str) -> Application | None:
    """The first application of a specified directive on an element, None where there is none."""
    return next(applications(element, name), None)


def has(element: Element, name: str) -> bool:
    """Whether a specified directive stands on an element."""
    return first(element, name) is not None


@dataclass(frozen=True, slots=True)
class SubgraphSchema:
    """One subgraph, ingested."""

    name: str
    url: str
    version: Version
    """Of the federation specification; `FEDERATION_1` where the schema links none."""
    types: Mapping[str, TypeDef]
    """Without what belongs to the federation protocol; root types under their standard names."""
    directives: Mapping[str, DirectiveDefinitionNode]
    """The subgraph's own directive definitions, by the name that they have in it."""
    schema_directives: Applications
    links: Links
    description: str | None = None
    """Of the schema itself."""
    node: Node | None = None
    """The schema's definition, where there is one."""

    @property
    def is_federation_2(self) -> bool:
        """Whether the schema links federation 2."""
        return self.version > FEDERATION_1

    def objects_and_interfaces(self) -> Iterator[TypeDef]:
        """The types that have fields clients can select."""
        return (each for each in self.types.values() if each.kind in ("OBJECT", "INTERFACE"))

    def fields(self) -> Iterator[tuple[TypeDef, FieldDef]]:
        """Every selectable field with its type."""
        return ((each, one) for each in self.objects_and_interfaces() for one in each.fields.values())

    def applied_directives(self) -> frozenset[str]:
        """The specified directives that stand somewhere in the schema, by their canonical names."""
        elements: list[Element] = []
        for each in self.types.values():
            elements += (each, *each.fields.values(), *each.values.values())
            elements += (argument for one in each.fields.values() for argument in one.arguments.values())
        uses = (use for each in elements for use in each.directives)
        return frozenset(use.name for use in (*self.schema_directives, *uses) if use.spec)

    def runtime_types(self, name: str) -> tuple[str, ...]:
        """The object types that a value of a composite type can have here."""
        found = self.types.get(name)
        if found is None:
            return ()
        if found.kind == "OBJECT":
            return (name,)
        if found.kind == "UNION":
            return tuple(member for member in found.members if member in self.types)
        return tuple(each.name for each in self.types.values() if each.kind == "OBJECT" and name in each.interfaces)
