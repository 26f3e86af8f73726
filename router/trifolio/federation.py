"""The vocabulary of Apollo Federation: specification URLs, versions, and what each version defines.

One table, `DIRECTIVES`, says for every directive its arguments, locations and the federation version that brought it.
Everything else that the router and the composer know about directive names is read from there.

Specifications: Apollo Federation subgraph specification; link v1.0; join v0.3 to v0.5.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

Version = tuple[int, int]

LINK_IDENTITY: Final = "https://specs.apollo.dev/link"
JOIN_IDENTITY: Final = "https://specs.apollo.dev/join"
FEDERATION_IDENTITY: Final = "https://specs.apollo.dev/federation"
APOLLO_HOST: Final = "https://specs.apollo.dev/"

FEDERATION_1: Final[Version] = (1, 0)
FEDERATION_LATEST: Final[Version] = (2, 14)
LINK_VERSIONS: Final[tuple[Version, ...]] = ((1, 0),)

JOIN_BASE: Final[Version] = (0, 3)
JOIN_WITH_OVERRIDE_LABELS: Final[Version] = (0, 4)
JOIN_WITH_CONTEXT: Final[Version] = (0, 5)

EXECUTABLE_LOCATIONS: Final = frozenset(
    {
        "QUERY",
        "MUTATION",
        "SUBSCRIPTION",
        "FIELD",
        "FRAGMENT_DEFINITION",
        "FRAGMENT_SPREAD",
        "INLINE_FRAGMENT",
        "VARIABLE_DEFINITION",
    }
)
BUILT_IN_SCALARS: Final = frozenset({"Int", "Float", "String", "Boolean", "ID"})
BUILT_IN_DIRECTIVES: Final = frozenset({"skip", "include", "deprecated", "specifiedBy", "oneOf", "defer", "stream"})
ROOT_TYPES: Final = {"query": "Query", "mutation": "Mutation", "subscription": "Subscription"}
"""Operation kind -> the name that its root type has in every supergraph."""

MACHINERY_FIELDS: Final = frozenset({"_service", "_entities"})
"""Fields of a subgraph's query root that belong to the federation protocol."""
MACHINERY_TYPES: Final = frozenset({"_Any", "_Entity", "_Service"})


@dataclass(frozen=True, slots=True)
class ArgumentSpec:
    """An argument of a directive, with its type's canonical name (`FieldSet!`)."""

    name: str
    type: str
    default: str | None = None

    def __str__(self) -> str:
        """`resolvable: Boolean = true`."""
        return f"{self.name}: {self.type}" + (f" = {self.default}" if self.default is not None else "")


@dataclass(frozen=True, slots=True)
class DirectiveSpec:
    """A directive as a specification defines it."""

    name: str
    arguments: tuple[ArgumentSpec, ...]
    locations: tuple[str, ...]
    repeatable: bool = False
    since: Version = (2, 0)
    feature: str = "federation"
    """The specification (under specs.apollo.dev) that owns the directive in a supergraph."""
    feature_version: Version = (0, 1)
    security: bool = False
    """Whether the supergraph's @link says `for: SECURITY`."""

    def text(self, name: str | None = None) -> str:
        """The definition in GraphQL, under `name` where it is imported under another one."""
        arguments = f"({', '.join(map(str, self.arguments))})" if self.arguments else ""
        repeatable = " repeatable" if self.repeatable else ""
        return f"directive @{name or self.name}{arguments}{repeatable} on {' | '.join(self.locations)}"


def _arguments(text: str) -> tuple[ArgumentSpec, ...]:
    specs = []
    for part in filter(None, text.split(", ")):
        name, _, rest = part.partition(": ")
        type_text, _, default = rest.partition(" = ")
        specs.append(ArgumentSpec(name, type_text, default or None))
    return tuple(specs)


_ANY_ELEMENT = (
    "FIELD_DEFINITION INTERFACE OBJECT UNION ARGUMENT_DEFINITION SCALAR ENUM ENUM_VALUE INPUT_OBJECT "
    "INPUT_FIELD_DEFINITION"
)
_AUTHORIZED = "FIELD_DEFINITION OBJECT INTERFACE SCALAR ENUM"


def _directive(
    name: str,
    arguments: str,
    locations: str,
    *,
    repeatable: bool = False,
    since: Version = (2, 0),
    feature: str = "federation",
    feature_version: Version = (0, 1),
    security: bool = False,
) -> DirectiveSpec:
    return DirectiveSpec(
        name, _arguments(arguments), tuple(locations.split()), repeatable, since, feature, feature_version, security
    )


DIRECTIVES: Final[tuple[DirectiveSpec, ...]] = (
    _directive(
        "key",
        "fields: FieldSet!, resolvable: Boolean = true",
        "OBJECT INTERFACE",
        repeatable=True,
        since=FEDERATION_1,
    ),
    _directive("requires", "fields: FieldSet!", "FIELD_DEFINITION", since=FEDERATION_1),
    _directive("provides", "fields: FieldSet!", "FIELD_DEFINITION", since=FEDERATION_1),
    _directive("external", "reason: String", "OBJECT FIELD_DEFINITION", since=FEDERATION_1),
    _directive("extends", "", "OBJECT INTERFACE", since=FEDERATION_1),
    _directive(
        "tag", "name: String!", _ANY_ELEMENT, repeatable=True, since=FEDERATION_1, feature="tag", feature_version=(0, 2)
    ),
    _directive("shareable", "", "OBJECT FIELD_DEFINITION"),
    _directive("inaccessible", "", _ANY_ELEMENT, feature="inaccessible", feature_version=(0, 2), security=True),
    _directive("override", "from: String!", "FIELD_DEFINITION"),
    _directive("composeDirective", "name: String", "SCHEMA", repeatable=True, since=(2, 1)),
    _directive("shareable", "", "OBJECT FIELD_DEFINITION", repeatable=True, since=(2, 2)),
    _directive("interfaceObject", "", "OBJECT", since=(2, 3)),
    _directive(
        "tag",
        "name: String!",
        _ANY_ELEMENT + " SCHEMA",
        repeatable=True,
        since=(2, 3),
        feature="tag",
        feature_version=(0, 3),
    ),
    _directive("authenticated", "", _AUTHORIZED, since=(2, 5), feature="authenticated", security=True),
    _directive(
        "requiresScopes",
        "scopes: [[Scope!]!]!",
        _AUTHORIZED,
        since=(2, 5),
        feature="requiresScopes",
        security=True,
    ),
    _directive("policy", "policies: [[Policy!]!]!", _AUTHORIZED, since=(2, 6), feature="policy", security=True),
    _directive("override", "from: String!, label: String", "FIELD_DEFINITION", since=(2, 7)),
    _directive(
        "context",
        "name: String!",
        "INTERFACE OBJECT UNION",
        repeatable=True,
        since=(2, 8),
        feature="context",
        security=True,
    ),
    _directive(
        "fromContext",
        "field: ContextFieldValue",
        "ARGUMENT_DEFINITION",
        since=(2, 8),
        feature="context",
        security=True,
    ),
    _directive(
        "cost",
        "weight: Int!",
        "ARGUMENT_DEFINITION ENUM FIELD_DEFINITION INPUT_FIELD_DEFINITION OBJECT SCALAR",
        since=(2, 9),
        feature="cost",
    ),
    _directive(
        "listSize",
        "assumedSize: Int, slicingArguments: [String!], sizedFields: [String!], "
        "requireOneSlicingArgument: Boolean = true",
        "FIELD_DEFINITION",
        since=(2, 9),
        feature="cost",
    ),
    _directive(
        "cacheTag",
        "format: String!",
        "OBJECT FIELD_DEFINITION",
        repeatable=True,
        since=(2, 12),
        feature="cacheTag",
    ),
)

SCALARS: Final[dict[str, Version]] = {
    "FieldSet": (2, 0),
    "Scope": (2, 5),
    "Policy": (2, 6),
    "ContextFieldValue": (2, 8),
}
"""Scalars of the federation specification and the version that brought each."""

LINK_DIRECTIVE: Final = DirectiveSpec(
    "link",
    _arguments("url: String, as: String, for: Purpose, import: [Import]"),
    ("SCHEMA",),
    repeatable=True,
    feature="link",
)
LINK_TYPES: Final = frozenset({"Import", "Purpose"})

STANDALONE_FEATURES: Final[dict[str, tuple[str, ...]]] = {
    "tag": ("tag",),
    "inaccessible": ("inaccessible",),
    "cost": ("cost", "listSize"),
    "authenticated": ("authenticated",),
    "requiresScopes": ("requiresScopes",),
    "policy": ("policy",),
    "context": ("context", "fromContext"),
    "cacheTag": ("cacheTag",),
}
"""Specifications that a subgraph may also link on their own, and their directives."""

COMPOSED_DIRECTIVES: Final = tuple(name for names in STANDALONE_FEATURES.values() for name in names)
"""Directives that composition carries into the supergraph."""


def directives_of(version: Version) -> dict[str, DirectiveSpec]:
    """The directives of one federation version by name; of federation 1 for `FEDERATION_1`."""
    known: dict[str, DirectiveSpec] = {}
    for spec in DIRECTIVES:
        if spec.since <= version:
            known[spec.name] = spec
    return known


def scalars_of(version: Version) -> Iterator[str]:
    """The scalars of one federation version, by canonical name."""
    return (name for name, since in SCALARS.items() if since <= version)


def known_federation_version(version: Version) -> bool:
    """Whether a federation version is one that this vocabulary covers."""
    return version[0] == 2 and (2, 0) <= version <= FEDERATION_LATEST


def version_text(version: Version) -> str:
    """`v2.9`."""
    return f"v{version[0]}.{version[1]}"
