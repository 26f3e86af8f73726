"""What a supergraph says of itself: the specifications that it links, and what this router does about each of them.

A supergraph is a contract with whoever serves it. A directive in it that nobody obeys is worse than none: who wrote it
believes that it protects, or that it changes what is executed. So everything that can stand in a supergraph or in a
client's document is in one of three places of the tables below: it is obeyed, it is refused, or it is passed over for a
reason that is written down. What is in none of them is judged by the purpose that its link states: SECURITY and
EXECUTION are refused, a link without a purpose is metadata. `docs/directives.md` shows the same tables.

A link gives its specification a name, which `as` replaces and imports of single elements go around:

    @link(url: "https://specs.apollo.dev/authenticated/v0.1", as: "login", for: SECURITY)     @login
    @link(url: ".../authenticated/v0.1", import: [{name: "@authenticated", as: "@member"}])    @member

Specifications: link v1.0 and core v0.2 (identity, versions, names, imports, purposes, bootstrapping).
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from graphql import value_from_ast_untyped
from graphql.language import (
    ConstDirectiveNode,
    DefinitionNode,
    DirectiveDefinitionNode,
    DocumentNode,
    SchemaDefinitionNode,
    SchemaExtensionNode,
    TypeDefinitionNode,
)

from trifolio.errors import SupergraphError
from trifolio.federation import Version, version_text


class Treatment(StrEnum):
    """What the router does about something that it meets."""

    OBEYED = "obeyed"
    REFUSED = "refused"
    IGNORED = "ignored"


@dataclass(frozen=True, slots=True)
class Feature:
    """A specification that a supergraph may link, by its own name at specs.apollo.dev."""

    name: str
    versions: tuple[Version, ...]
    """The versions that are known; none where the treatment is the same for all."""
    treatment: Treatment
    why: str


@dataclass(frozen=True, slots=True)
class DirectiveRule:
    """A directive and what is done about it."""

    name: str
    feature: str
    """The specification that defines it; `GraphQL` for the language's own."""
    treatment: Treatment
    why: str


@dataclass(frozen=True, slots=True)
class PurposeRule:
    """What a link's purpose means for a specification, or a version of one, that is not in the table of features."""

    name: str
    """As the link writes it; empty where it states none."""
    treatment: Treatment
    why: str


_OBEYED, _REFUSED, _IGNORED = Treatment.OBEYED, Treatment.REFUSED, Treatment.IGNORED

FEATURES: Final[tuple[Feature, ...]] = (
    Feature("link", ((1, 0),), _OBEYED, "Names what the supergraph uses."),
    Feature("core", ((0, 1), (0, 2)), _OBEYED, "What link was called in federation 1."),
    Feature("join", ((0, 1), (0, 2), (0, 3), (0, 4), (0, 5)), _OBEYED, "Says which subgraph has what."),
    Feature("inaccessible", ((0, 1), (0, 2)), _OBEYED, "What is marked is not in the API schema."),
    Feature("authenticated", ((0, 1),), _OBEYED, "Enforced before planning."),
    Feature("requiresScopes", ((0, 1),), _OBEYED, "Enforced before planning."),
    Feature("policy", ((0, 1),), _OBEYED, "Enforced before planning; plug-ins answer policies."),
    Feature("context", ((0, 1),), _OBEYED, "Arguments are filled from what is around an object."),
    Feature("tag", ((0, 1), (0, 2), (0, 3)), _IGNORED, "Labels for tools: serving does not depend on them."),
    Feature("cost", ((0, 1),), _IGNORED, "Estimates; work is limited by what is counted, not by what is estimated."),
    Feature("cacheTag", ((0, 1),), _IGNORED, "Says how a cache is cleared; the router keeps no answers."),
    Feature("connect", (), _REFUSED, "The router speaks GraphQL to subgraphs; REST behind them it does not call."),
)
"""The specifications that are known, all of them at specs.apollo.dev."""

PURPOSES: Final[tuple[PurposeRule, ...]] = (
    PurposeRule("SECURITY", _REFUSED, "Served without it, what it protects would be open."),
    PurposeRule("EXECUTION", _REFUSED, "Without it operations would be executed wrongly."),
    PurposeRule("", _IGNORED, "Metadata, which may be passed over."),
)
"""For specifications, and versions of them, that are not known. A purpose that is not here is refused as well."""

SUPERGRAPH_DIRECTIVES: Final[tuple[DirectiveRule, ...]] = (
    DirectiveRule("link", "link", _OBEYED, "See the table of specifications."),
    DirectiveRule("core", "core", _OBEYED, "See the table of specifications."),
    DirectiveRule("join__graph", "join", _OBEYED, "A subgraph's name and URL."),
    DirectiveRule("join__type", "join", _OBEYED, "Which subgraph has a type, and its keys."),
    DirectiveRule("join__owner", "join", _OBEYED, "Of join v0.1: whose the fields are that name no subgraph."),
    DirectiveRule("join__field", "join", _OBEYED, "Which subgraph has a field, and what it needs for it."),
    DirectiveRule("join__implements", "join", _OBEYED, "Which subgraph knows that a type implements an interface."),
    DirectiveRule("join__unionMember", "join", _OBEYED, "Which subgraph knows a member of a union."),
    DirectiveRule("join__enumValue", "join", _IGNORED, "Composition has already left the values that clients may use."),
    DirectiveRule(
        "join__directive", "join", _REFUSED, "What it carries is not known; `link` and `cacheTag` are passed over."
    ),
    DirectiveRule("inaccessible", "inaccessible", _OBEYED, "The element is not in the API schema."),
    DirectiveRule("authenticated", "authenticated", _OBEYED, "Somebody has to be logged in."),
    DirectiveRule("requiresScopes", "requiresScopes", _OBEYED, "The caller's token needs the scopes."),
    DirectiveRule("policy", "policy", _OBEYED, "A plug-in has to say yes to the policies."),
    DirectiveRule("context", "context", _OBEYED, "A type that arguments below are filled from."),
    DirectiveRule("fromContext", "context", _OBEYED, "Read as join v0.5 writes it, in `contextArguments`."),
    DirectiveRule("tag", "tag", _IGNORED, "Labels for tools."),
    DirectiveRule("cost", "cost", _IGNORED, "An estimate."),
    DirectiveRule("listSize", "cost", _IGNORED, "An estimate."),
    DirectiveRule("cacheTag", "cacheTag", _IGNORED, "The router keeps no answers."),
    DirectiveRule("deprecated", "GraphQL", _OBEYED, "Introspection shows it."),
    DirectiveRule("specifiedBy", "GraphQL", _OBEYED, "Introspection shows it."),
    DirectiveRule("oneOf", "GraphQL", _OBEYED, "Values are checked by it."),
)
"""Directives in a supergraph. Others belong to what links them, or to nobody, and are passed over."""

DOCUMENT_DIRECTIVES: Final[tuple[DirectiveRule, ...]] = (
    DirectiveRule("skip", "GraphQL", _OBEYED, "Also where it decides whether a subgraph is asked."),
    DirectiveRule("include", "GraphQL", _OBEYED, "Also where it decides whether a subgraph is asked."),
    DirectiveRule("defer", "GraphQL", _OBEYED, "For clients that take an answer in parts; for others no difference."),
    DirectiveRule("stream", "GraphQL", _REFUSED, "It is not in the API schema: GRAPHQL_VALIDATION_FAILED."),
)
"""Directives in a client's document. Those that the graph defines itself are checked against the API schema; what is in
neither is refused."""

CARRIED_AND_IGNORED: Final = frozenset({"link", "cacheTag", "federation__cacheTag"})
"""Names in `@join__directive` that are passed over: links are judged like those of the schema."""

_HOST: Final = "specs.apollo.dev"
_KNOWN: Final[Mapping[str, Feature]] = {each.name: each for each in FEATURES}
_PURPOSES: Final[Mapping[str, PurposeRule]] = {each.name: each for each in PURPOSES}
_VERSION: Final = re.compile(r"v(0|[1-9]\d*)\.(0|[1-9]\d*)")
_NAME: Final = re.compile(r"(?!_)(?:(?!__)[_0-9A-Za-z])*(?<!_)")
_BY_DEFAULT: Final[Mapping[str, str]] = {
    each.name: each.feature for each in SUPERGRAPH_DIRECTIVES if each.feature in _KNOWN and "__" not in each.name
}
"""Directives of the known specifications, by their own names."""


@dataclass(frozen=True, slots=True)
class Link:
    """One link of a supergraph to a specification."""

    url: str
    feature: str | None
    """The specification's name, if it is one at specs.apollo.dev; else None."""
    version: Version | None
    """None where the URL has none that can be read."""
    prefix: str | None
    """What the specification's elements begin with here; None where they cannot be named but by import."""
    purpose: str
    """Empty where none is stated."""
    imports: Mapping[str, str]
    """The specification's name of an element -> its name here, directives with their `@`."""

    def directive_names(self, name: str) -> Iterator[str]:
        """The names that a directive of the specification goes by here."""
        imported = self.imports.get(f"@{name}")
        if imported is not None:
            yield imported.removeprefix("@")
        if self.prefix is not None:
            if name == self.feature and imported is None:
                yield self.prefix
            yield f"{self.prefix}__{name}"


@dataclass(frozen=True, slots=True)
class Machinery:
    """The names that the features linked on a supergraph take."""

    features: frozenset[str]
    imports: frozenset[str]
    """Imported names, directives with their `@`."""
    join: str = "join"
    directives: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """The names that the known directives go by, by their own; in a supergraph that does not link them, those."""

    def names(self, directive: str) -> frozenset[str]:
        """What a known directive is called in this supergraph."""
        return self.directives.get(directive, frozenset())

    def owns(self, name: str, *, directive: bool) -> bool:
        """Whether a type's or directive's name belongs to a feature."""
        if (f"@{name}" if directive else name) in self.imports:
            return True
        prefix, separator, _ = name.partition("__")
        return prefix in self.features and (bool(separator) or directive)

    def owns_definition(self, node: DefinitionNode) -> bool:
        """Whether a definition belongs to a feature."""
        if isinstance(node, DirectiveDefinitionNode):
            return self.owns(node.name.value, directive=True)
        return isinstance(node, TypeDefinitionNode) and self.owns(node.name.value, directive=False)


def read_machinery(document: DocumentNode) -> Machinery:
    """Read what the schema links; without any link, the usual names are assumed.

    Raises SupergraphError for a link that this router must not pass over.
    """
    links = list(_links(document))
    for link in links:
        _judge(link)
    joins = [link for link in links if link.feature == "join"]
    if len(joins) > 1:
        raise SupergraphError(f"The supergraph links join more than once, the second time as {joins[1].url}.")
    features = {"link", "core", "join"} | {link.prefix for link in links if link.prefix is not None}
    imports = frozenset(name for link in links for name in link.imports.values())
    return Machinery(
        frozenset(features),
        imports,
        next((link.prefix for link in joins if link.prefix is not None), "join"),
        {name: frozenset(_local_names(name, feature, links)) for name, feature in _BY_DEFAULT.items()},
    )


def check_carried(directive: str, arguments: object) -> None:
    """Raises SupergraphError where a `@join__directive` carries something that must not be passed over."""
    if directive not in CARRIED_AND_IGNORED:
        raise SupergraphError(
            f"The supergraph carries @{directive} of a subgraph in a @join__directive. This router does not know "
            "it and must not pass it over: remove it from the subgraph, and compose again."
        )
    if directive == "link" and isinstance(arguments, Mapping):
        link = _link(arguments)
        if link is not None:
            _judge(link)


# ---- links ----


def _links(document: DocumentNode) -> Iterator[Link]:
    applied = list(_applied_to_schema(document))
    linking = _linking_directives(applied)
    for name, arguments in applied:
        if name in linking:
            link = _link(arguments)
            if link is not None:
                yield link


def _applied_to_schema(document: DocumentNode) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for node in document.definitions:
        if isinstance(node, SchemaDefinitionNode | SchemaExtensionNode):
            yield from applications(node.directives)


def applications(nodes: Iterable[ConstDirectiveNode] | None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each applied directive's name and argument values."""
    for node in nodes or ():
        yield (
            node.name.value,
            {each.name.value: value_from_ast_untyped(each.value) for each in node.arguments or ()},
        )


def _linking_directives(applied: Iterable[tuple[str, Mapping[str, Any]]]) -> set[str]:
    """What @link is called: as that link says which links the specification of links, and as that one is applied."""
    found = {"link", "core"}
    for name, arguments in applied:
        link = _link(arguments)
        if link is not None and link.feature in ("link", "core"):
            found |= {name, *link.directive_names(link.feature)}
    return found


def _link(arguments: Mapping[str, Any]) -> Link | None:
    """What the arguments of a link say; None where it links nothing."""
    url = next((str(arguments[key]) for key in ("url", "feature") if isinstance(arguments.get(key), str)), "")
    if not url:
        return None
    host, path, version = _taken_apart(url)
    name = path[-1] if path and path[-1] and _NAME.fullmatch(path[-1]) else None
    alias = arguments.get("as")
    return Link(
        url=url,
        feature=path[0] if host == _HOST and len(path) == 1 else None,
        version=version,
        prefix=alias if isinstance(alias, str) and alias else name,
        purpose=str(arguments.get("for") or ""),
        imports=_imported_names(arguments.get("import")),
    )


def _taken_apart(url: str) -> tuple[str, list[str], Version | None]:
    """Host, path without the version, and version of a link's URL."""
    rest = re.split(r"[?#]", url, maxsplit=1)[0].partition("://")[2]
    host, *path = rest.rstrip("/").split("/")
    host = host.rpartition("@")[2].lower()
    match = _VERSION.fullmatch(path[-1]) if path else None
    if match is None:
        return host, path, None
    return host, path[:-1], (int(match[1]), int(match[2]))


def _imported_names(value: object) -> dict[str, str]:
    """Original name -> name here; an import is a string or `{name:, as:}`."""
    names: dict[str, str] = {}
    for each in value if isinstance(value, list) else ():
        if isinstance(each, str):
            names[each] = each
        elif isinstance(each, Mapping) and isinstance(each.get("name"), str):
            names[each["name"]] = str(each.get("as") or each["name"])
    return names


def _local_names(directive: str, feature: str, links: Iterable[Link]) -> set[str]:
    """What a known directive is called: as its links say; without one by its own name, if that is nobody else's."""
    own = [link for link in links if link.feature == feature]
    if own:
        return {name for link in own for name in link.directive_names(directive)}
    taken = any(f"@{directive}" in link.imports.values() or link.prefix == directive for link in links)
    return set() if taken else {directive, f"{feature}__{directive}"}


def _judge(link: Link) -> None:
    """Raises SupergraphError for a link to what must not be passed over."""
    known = _KNOWN.get(link.feature) if link.feature is not None else None
    if known is not None and known.treatment is Treatment.REFUSED:
        raise SupergraphError(
            f"The supergraph links {link.url}, which this router does not serve. {known.why} "
            "Remove it from the subgraphs that link it, and compose again."
        )
    if known is not None and link.version in known.versions:
        return
    rule = _PURPOSES.get(link.purpose)
    is_relied_on = known is not None and known.treatment is Treatment.OBEYED
    if rule is not None and rule.treatment is Treatment.IGNORED and not is_relied_on:
        return
    purpose = f" for {link.purpose}" if link.purpose else ""
    if known is not None:
        versions = ", ".join(map(version_text, known.versions))
        raise SupergraphError(
            f"The supergraph links {link.url}{purpose}, a version that this router does not know: of {known.name} it "
            f"knows {versions}. Compose for one of these, or update the router."
        )
    why = rule.why if rule is not None else "What that purpose asks for is not known."
    raise SupergraphError(
        f"The supergraph links {link.url}{purpose}, which this router does not know. {why} "
        "Remove the link from the subgraphs, or its purpose if it only is metadata, and compose again."
    )
