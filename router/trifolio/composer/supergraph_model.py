"""The merged supergraph, between merging and emitting: types and fields with the join directives as values.

Directive applications are texts (`@tag(name: "a")`): merged ones are compared and printed, never taken apart again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from trifolio.composer.schema import Kind


@dataclass(frozen=True, slots=True)
class JoinType:
    """One @join__type."""

    graph: str
    key: str | None = None
    extension: bool = False
    resolvable: bool = True
    interface_object: bool = False


@dataclass(frozen=True, slots=True)
class JoinContextArgument:
    """One element of `contextArguments` of a @join__field."""

    name: str
    type: str
    context: str
    selection: str


@dataclass(frozen=True, slots=True)
class JoinField:
    """One @join__field; without a graph it marks a field that implementations get through an interface object."""

    graph: str | None
    requires: str | None = None
    provides: str | None = None
    type: str | None = None
    external: bool = False
    override: str | None = None
    used_overridden: bool = False
    override_label: str | None = None
    context_arguments: tuple[JoinContextArgument, ...] = ()


@dataclass(frozen=True, slots=True)
class MergedArgument:
    """An argument of a merged field."""

    name: str
    type: str
    default: str | None = None
    description: str | None = None
    directives: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MergedField:
    """A field of an object, interface or input object."""

    name: str
    type: str
    arguments: Mapping[str, MergedArgument] = field(default_factory=dict)
    default: str | None = None
    description: str | None = None
    joins: tuple[JoinField, ...] = ()
    directives: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MergedValue:
    """A value of an enum."""

    name: str
    graphs: tuple[str, ...]
    description: str | None = None
    directives: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MergedType:
    """A type of the supergraph."""

    name: str
    kind: Kind
    joins: tuple[JoinType, ...]
    description: str | None = None
    directives: tuple[str, ...] = ()
    interfaces: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Each interface with the graphs that say so."""
    fields: Mapping[str, MergedField] = field(default_factory=dict)
    members: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Each member of a union with the graphs that say so."""
    values: Mapping[str, MergedValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SpecLink:
    """A @link of the supergraph."""

    url: str
    security: bool = False
    execution: bool = False
    imports: tuple[str, ...] = ()
    alias: str | None = None


@dataclass(frozen=True, slots=True)
class MergedSupergraph:
    """Everything that the supergraph's text says."""

    graphs: Mapping[str, tuple[str, str]]
    """Enum value of join__Graph -> (subgraph's name, URL)."""
    types: Mapping[str, MergedType]
    links: tuple[SpecLink, ...] = ()
    definitions: tuple[str, ...] = ()
    """Directive definitions besides link's and join's, as text."""
    directives: tuple[str, ...] = ()
    """Applications on the schema besides @link."""
    description: str | None = None

    def runtime_types(self, name: str) -> tuple[str, ...]:
        """The object types that a value of a composite type can have."""
        found = self.types.get(name)
        if found is None:
            return ()
        if found.kind == "OBJECT":
            return (name,)
        if found.kind == "UNION":
            return tuple(found.members)
        return tuple(each.name for each in self.types.values() if each.kind == "OBJECT" and name in each.interfaces)
