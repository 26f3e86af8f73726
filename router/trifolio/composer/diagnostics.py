"""What composition reports: one catalogue of codes, diagnostics with their places, and the list that gathers them.

Codes and their meaning are those of Apollo's composition, so that a message can be looked up and compared. Composition
never raises for what a schema author wrote: it collects, and `compose()` stops after a phase that found an error.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal

from graphql.language import Node

Severity = Literal["error", "hint"]


class Code(Enum):
    """Every code with its severity and what it means; `docs/diagnostics.md` is generated from this table."""

    # The documents themselves.
    INVALID_SUBGRAPH_NAME = ("error", "A subgraph's name is empty, reserved, or used twice.")
    INVALID_GRAPHQL = ("error", "The schema is not valid GraphQL: it does not parse, or breaks a rule of the language.")
    DIRECTIVE_DEFINITION_INVALID = (
        "error",
        "The subgraph defines a federation directive otherwise than the specification does.",
    )
    TYPE_DEFINITION_INVALID = (
        "error",
        "The subgraph defines a built-in or federation type otherwise than the specification does.",
    )
    UNSUPPORTED_LINKED_FEATURE = ("error", "The schema links a specification that this composer does not support.")
    INVALID_LINK_IDENTIFIER = ("error", "The url of a @link has no valid name or version.")
    INVALID_LINK_DIRECTIVE_USAGE = ("error", "A @link is used wrongly: twice, with bad imports, or out of place.")
    UNKNOWN_LINK_VERSION = ("error", "The version of the link specification is not known.")
    UNKNOWN_FEDERATION_LINK_VERSION = ("error", "The version of the federation specification is not known.")
    LINK_IMPORT_NAME_MISMATCH = (
        "error",
        "A composed directive is imported under one name by some subgraphs and under another name by others.",
    )
    ROOT_QUERY_USED = ("error", "The query root has another name, but a type named Query exists besides it.")
    ROOT_MUTATION_USED = ("error", "The mutation root has another name, but a type named Mutation exists besides it.")
    ROOT_SUBSCRIPTION_USED = (
        "error",
        "The subscription root has another name, but a type named Subscription exists besides it.",
    )
    # Keys.
    KEY_FIELDS_HAS_ARGS = ("error", "A field in a @key takes arguments.")
    KEY_FIELDS_SELECT_INVALID_TYPE = ("error", "A field in a @key is of an interface or union type.")
    KEY_INVALID_FIELDS_TYPE = ("error", "The `fields` of a @key are not a string.")
    KEY_INVALID_FIELDS = ("error", "The `fields` of a @key cannot be read, or name a field that does not exist.")
    KEY_DIRECTIVE_IN_FIELDS_ARG = ("error", "The `fields` of a @key have directives in them.")
    KEY_UNSUPPORTED_ON_INTERFACE = (
        "error",
        "@key stands on an interface, which needs federation 2.3 or later.",
    )
    # @requires and @provides.
    REQUIRES_INVALID_FIELDS_TYPE = ("error", "The `fields` of a @requires are not a string.")
    REQUIRES_INVALID_FIELDS = ("error", "The `fields` of a @requires cannot be read, or name an unknown field.")
    REQUIRES_FIELDS_MISSING_EXTERNAL = ("error", "A field in a @requires is not marked @external.")
    REQUIRES_DIRECTIVE_IN_FIELDS_ARG = ("error", "The `fields` of a @requires have directives in them.")
    REQUIRES_UNSUPPORTED_ON_INTERFACE = ("error", "@requires stands on a field of an interface.")
    PROVIDES_INVALID_FIELDS_TYPE = ("error", "The `fields` of a @provides are not a string.")
    PROVIDES_INVALID_FIELDS = ("error", "The `fields` of a @provides cannot be read, or name an unknown field.")
    PROVIDES_FIELDS_HAS_ARGS = ("error", "A field in a @provides takes arguments.")
    PROVIDES_FIELDS_MISSING_EXTERNAL = ("error", "A field in a @provides is not marked @external.")
    PROVIDES_ON_NON_OBJECT_FIELD = ("error", "@provides stands on a field that returns no object, interface or union.")
    PROVIDES_DIRECTIVE_IN_FIELDS_ARG = ("error", "The `fields` of a @provides have directives in them.")
    PROVIDES_UNSUPPORTED_ON_INTERFACE = ("error", "@provides stands on a field of an interface.")
    # @external and extensions.
    EXTERNAL_ON_INTERFACE = ("error", "@external stands on a field of an interface.")
    EXTERNAL_UNUSED = ("error", "A field is @external, but no @key, @requires, @provides or interface uses it.")
    EXTERNAL_MISSING_ON_BASE = ("error", "A field is @external in every subgraph that has it.")
    EXTERNAL_TYPE_MISMATCH = ("error", "An @external field has another type than where it is resolved.")
    EXTERNAL_ARGUMENT_MISSING = ("error", "An @external field lacks an argument that it has where it is resolved.")
    EXTERNAL_ARGUMENT_TYPE_MISMATCH = ("error", "An argument of an @external field has an incompatible type.")
    EXTERNAL_ARGUMENT_DEFAULT_MISMATCH = ("error", "An argument of an @external field has another default value.")
    EXTERNAL_COLLISION_WITH_ANOTHER_DIRECTIVE = (
        "error",
        "@external stands beside a directive that contradicts it.",
    )
    MERGED_DIRECTIVE_APPLICATION_ON_EXTERNAL = (
        "error",
        "A directive that is carried into the supergraph stands on an @external field.",
    )
    TYPE_WITH_ONLY_UNUSED_EXTERNAL = ("error", "A federation 1 type has only fields that are external and unused.")
    EXTENSION_WITH_NO_BASE = ("error", "A type is extended, but no subgraph defines it.")
    # Sharing and overriding.
    INVALID_SHAREABLE_USAGE = ("error", "@shareable stands where it has no meaning.")
    INVALID_FIELD_SHARING = ("error", "A field is resolved by several subgraphs, and not all of them allow it.")
    SHAREABLE_HAS_MISMATCHED_RUNTIME_TYPES = (
        "error",
        "The subgraphs that share a field have no runtime type of it in common.",
    )
    OVERRIDE_FROM_SELF_ERROR = ("error", "@override names the subgraph that it stands in.")
    OVERRIDE_SOURCE_HAS_OVERRIDE = ("error", "@override names a subgraph whose own field has @override.")
    OVERRIDE_COLLISION_WITH_ANOTHER_DIRECTIVE = (
        "error",
        "@override stands beside @external, @provides or @requires, or touches an interface object.",
    )
    OVERRIDE_ON_INTERFACE = (
        "error",
        "@override stands on a field of an interface.",
    )
    OVERRIDE_LABEL_INVALID = ("error", "The label of an @override is no valid label.")
    # Interfaces.
    INTERFACE_FIELD_NO_IMPLEM = (
        "error",
        "A type implements an interface, but lacks a field that the interface has in another subgraph.",
    )
    INTERFACE_KEY_NOT_ON_IMPLEMENTATION = ("error", "An interface has a @key that one of its implementations lacks.")
    INTERFACE_KEY_MISSING_IMPLEMENTATION_TYPE = (
        "error",
        "A subgraph has a @key on an interface, but not all of the interface's implementations.",
    )
    INTERFACE_OBJECT_USAGE_ERROR = ("error", "@interfaceObject is used wrongly.")
    # Merging.
    TYPE_KIND_MISMATCH = ("error", "A type is of different kinds in different subgraphs.")
    FIELD_TYPE_MISMATCH = ("error", "A field has types in different subgraphs that cannot be merged.")
    FIELD_ARGUMENT_TYPE_MISMATCH = ("error", "An argument has types in different subgraphs that cannot be merged.")
    FIELD_ARGUMENT_DEFAULT_MISMATCH = ("error", "An argument has different default values in different subgraphs.")
    INPUT_FIELD_DEFAULT_MISMATCH = ("error", "An input field has different default values in different subgraphs.")
    REQUIRED_ARGUMENT_MISSING_IN_SOME_SUBGRAPH = (
        "error",
        "An argument is required in some subgraphs and missing in others.",
    )
    REQUIRED_INPUT_FIELD_MISSING_IN_SOME_SUBGRAPH = (
        "error",
        "An input field is required in some subgraphs and missing in others.",
    )
    REQUIRED_INACCESSIBLE = ("error", "A required argument or input field is @inaccessible.")
    ENUM_VALUE_MISMATCH = (
        "error",
        "An enum is used for input and for output, and has different values in different subgraphs.",
    )
    EMPTY_MERGED_ENUM_TYPE = ("error", "No value of an enum is common to all the subgraphs that have it.")
    EMPTY_MERGED_INPUT_TYPE = ("error", "No field of an input object is common to all the subgraphs that have it.")
    NO_QUERIES = ("error", "No subgraph has a query.")
    DIRECTIVE_COMPOSITION_ERROR = ("error", "A @composeDirective is used wrongly.")
    # @inaccessible.
    QUERY_ROOT_TYPE_INACCESSIBLE = ("error", "The query root is @inaccessible.")
    REFERENCED_INACCESSIBLE = ("error", "An @inaccessible type is used by an element that clients can see.")
    DEFAULT_VALUE_USES_INACCESSIBLE = ("error", "A default value that clients can see uses an @inaccessible element.")
    IMPLEMENTED_BY_INACCESSIBLE = ("error", "An interface's visible element is @inaccessible in an implementation.")
    ONLY_INACCESSIBLE_CHILDREN = ("error", "A visible type has only @inaccessible members.")
    DISALLOWED_INACCESSIBLE = ("error", "An argument of a composed directive is @inaccessible.")
    # Cost.
    COST_APPLIED_TO_INTERFACE_FIELD = ("error", "@cost stands on a field of an interface.")
    LIST_SIZE_APPLIED_TO_NON_LIST = (
        "error",
        "@listSize stands on a field that is no list and names no sized field, or names a sized field that is no list.",
    )
    LIST_SIZE_INVALID_ASSUMED_SIZE = ("error", "The assumed size of a @listSize is negative.")
    LIST_SIZE_INVALID_SIZED_FIELD = ("error", "A sized field of a @listSize does not exist.")
    LIST_SIZE_INVALID_SLICING_ARGUMENT = ("error", "A slicing argument of a @listSize does not exist or is no Int.")
    # Authorization.
    AUTH_REQUIREMENTS_APPLIED_ON_INTERFACE = (
        "error",
        "@authenticated, @requiresScopes or @policy stands on an interface, its field, or an interface object.",
    )
    MISSING_TRANSITIVE_AUTH_REQUIREMENTS = (
        "error",
        "A field reads data whose access requirements it does not demand itself.",
    )
    # @context.
    CONTEXT_NAME_INVALID = ("error", "The name of a @context is no valid name.")
    NO_CONTEXT_IN_SELECTION = ("error", "The value of a @fromContext is not of the form `$context { field }`.")
    CONTEXT_NOT_SET = (
        "error",
        "A @fromContext names a context that no type sets, or stands where none can be filled in.",
    )
    CONTEXT_NO_RESOLVABLE_KEY = ("error", "A type with a @fromContext argument has no resolvable @key.")
    CONTEXT_INVALID_SELECTION = ("error", "The selection of a @fromContext does not fit the types of its context.")
    CONTEXTUAL_ARGUMENT_NOT_CONTEXTUAL_IN_ALL_SUBGRAPHS = (
        "error",
        "An argument is filled from a context in one subgraph and by clients in another.",
    )
    # The graph as a whole.
    SATISFIABILITY_ERROR = ("error", "A query that clients may ask cannot be answered by the subgraphs.")
    # Hints.
    INCONSISTENT_DESCRIPTION = ("hint", "An element has different descriptions in different subgraphs.")
    INCONSISTENT_BUT_COMPATIBLE_FIELD_TYPE = ("hint", "A field's types differ, but can be merged.")
    INCONSISTENT_BUT_COMPATIBLE_ARGUMENT_TYPE = ("hint", "An argument's types differ, but can be merged.")
    INCONSISTENT_DEFAULT_VALUE_PRESENCE = ("hint", "A default value is set in some subgraphs only.")
    INCONSISTENT_ENTITY = ("hint", "A type is an entity in some subgraphs only.")
    INCONSISTENT_OBJECT_VALUE_TYPE_FIELD = ("hint", "A field of a shared object type is missing in some subgraphs.")
    INCONSISTENT_INTERFACE_VALUE_TYPE_FIELD = ("hint", "A field of an interface is missing in some subgraphs.")
    INCONSISTENT_INPUT_OBJECT_FIELD = ("hint", "A field of an input object is missing in some subgraphs, so dropped.")
    INCONSISTENT_UNION_MEMBER = ("hint", "A member of a union is missing in some subgraphs.")
    INCONSISTENT_ENUM_VALUE_FOR_INPUT_ENUM = ("hint", "A value of an input enum is missing in some, so dropped.")
    INCONSISTENT_ENUM_VALUE_FOR_OUTPUT_ENUM = ("hint", "A value of an output enum is missing in some subgraphs.")
    INCONSISTENT_ARGUMENT_PRESENCE = ("hint", "An optional argument is missing in some subgraphs, so dropped.")
    INCONSISTENT_NON_REPEATABLE_DIRECTIVE_ARGUMENTS = ("hint", "A directive has different arguments in subgraphs.")
    INCONSISTENT_RUNTIME_TYPES_FOR_SHAREABLE_RETURN = (
        "hint",
        "The subgraphs that share a field can return different types for it.",
    )
    INCONSISTENT_EXECUTABLE_DIRECTIVE_PRESENCE = ("hint", "An executable directive is not in all subgraphs.")
    FROM_SUBGRAPH_DOES_NOT_EXIST = ("hint", "@override names a subgraph that does not exist.")
    OVERRIDE_DIRECTIVE_CAN_BE_REMOVED = ("hint", "An @override has no effect any more.")
    OVERRIDDEN_FIELD_CAN_BE_REMOVED = ("hint", "An overridden field can be removed.")
    OVERRIDE_MIGRATION_IN_PROGRESS = ("hint", "A field is being moved with a labelled @override.")
    UNUSED_ENUM_TYPE = ("hint", "An enum is used nowhere.")
    MERGED_NON_REPEATABLE_DIRECTIVE_ARGUMENTS = ("hint", "Different arguments of a directive were merged.")

    def __init__(self, severity: Severity, meaning: str) -> None:
        self.severity: Severity = severity
        self.meaning = meaning

    def __str__(self) -> str:
        """The code as Apollo's composition writes it."""
        return self.name


@dataclass(frozen=True, slots=True)
class Location:
    """A place in a subgraph's SDL; lines and columns count from 1."""

    subgraph: str
    """The subgraph's name."""
    line: int
    """The line in its SDL."""
    column: int
    """The column in that line."""

    def __str__(self) -> str:
        """`users:12:3`."""
        return f"{self.subgraph}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding of composition."""

    code: str
    """The code that Apollo's composition gives such a finding; docs/diagnostics.md has them all."""
    severity: Severity
    """`error`, which leaves no supergraph, or `hint`."""
    message: str
    """What is wrong, and what to write instead where that can be said."""
    subgraphs: tuple[str, ...] = ()
    """The subgraphs that are to blame."""
    locations: tuple[Location, ...] = ()
    """The places that are to blame; none where there is nothing written to point at."""

    def __str__(self) -> str:
        """`error KEY_INVALID_FIELDS users:3:11: message`."""
        places = " ".join(map(str, self.locations)) or ", ".join(self.subgraphs)
        return f"{self.severity} {self.code}{' ' + places if places else ''}: {self.message}"


Place = tuple[str, Node | None]
"""A subgraph's name and the syntax node that is to blame there."""


def locate(place: Place) -> Location | None:
    """The line and column of a node; None where it was not parsed from text."""
    subgraph, node = place
    if node is None or node.loc is None:
        return None
    token = node.loc.start_token
    return Location(subgraph, token.line, token.column)


@dataclass(slots=True)
class Diagnostics:
    """Gathers what the phases find."""

    found: list[Diagnostic] = field(default_factory=list)

    def add(self, code: Code, message: str, places: Iterable[Place] = ()) -> None:
        """Report `message` under `code`, at the places that are to blame."""
        places = tuple(places)
        subgraphs = tuple(dict.fromkeys(name for name, _ in places))
        locations = tuple(dict.fromkeys(found for place in places if (found := locate(place))))
        self._append(Diagnostic(code.name, code.severity, message, subgraphs, locations))

    def add_at(self, code: Code, message: str, location: Location) -> None:
        """Report `message` under `code`, at a place known by line and column."""
        self._append(Diagnostic(code.name, code.severity, message, (location.subgraph,), (location,)))

    def _append(self, diagnostic: Diagnostic) -> None:
        if diagnostic not in self.found:
            self.found.append(diagnostic)

    @property
    def has_errors(self) -> bool:
        """Whether composition has to stop."""
        return any(diagnostic.severity == "error" for diagnostic in self.found)

    def in_order(self) -> tuple[Diagnostic, ...]:
        """Errors first, then hints, each in the order of the phases that found them."""
        return tuple(sorted(self.found, key=lambda diagnostic: diagnostic.severity != "error"))
