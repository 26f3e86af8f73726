"""@link: which specifications a subgraph uses, in which version, and under which names.

A schema names specified elements by import (`@key`, or `{name: "@key", as: "@myKey"}`), by the specification's prefix
(`@federation__key`), or, where the element is named like its specification, by that name (`@link`, `@tag`).

Specification: link v1.0 (https://specs.apollo.dev/link/v1.0/).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from graphql.language import (
    ConstDirectiveNode,
    ConstValueNode,
    EnumValueNode,
    ListValueNode,
    NullValueNode,
    ObjectValueNode,
    StringValueNode,
)

from trifolio.composer.diagnostics import Code, Diagnostics
from trifolio.federation import (
    APOLLO_HOST,
    FEDERATION_1,
    FEDERATION_IDENTITY,
    FEDERATION_LATEST,
    LINK_DIRECTIVE,
    LINK_IDENTITY,
    LINK_TYPES,
    LINK_VERSIONS,
    STANDALONE_FEATURES,
    Version,
    directives_of,
    known_federation_version,
    scalars_of,
    version_text,
)

NAME = re.compile(r"[_A-Za-z][_0-9A-Za-z]*")
VERSION = re.compile(r"v(\d{1,9})\.(\d{1,9})")
ADOPTABLE = frozenset({"shareable", "inaccessible", "override", "interfaceObject", "composeDirective"})
UNSUPPORTED = frozenset({"connect", "source"})
"""Specifications under specs.apollo.dev that change what a supergraph means and that this composer does not know."""


@dataclass(frozen=True, slots=True)
class Link:
    """One @link: a specification and the names of its elements in this schema."""

    identity: str
    """The URL without its version."""
    feature: str
    """As its URL says. It need not be a name of GraphQL: `house-rules` is a name of nothing in a schema, so that only
    imports and `as` give the elements names."""
    version: Version
    prefix: str
    """The specification's name in this schema (`as`)."""
    imports: Mapping[str, str] = field(default_factory=dict)
    """Canonical name -> name in this schema; directives with their `@`."""
    node: ConstDirectiveNode | None = None
    purpose: str = ""
    """What the link is `for`; empty where it says nothing."""

    @property
    def url(self) -> str:
        """The full URL."""
        return f"{self.identity}/{version_text(self.version)}"

    def local_directive(self, name: str) -> str:
        """What this schema calls a directive of the specification, without `@`."""
        imported = self.imports.get("@" + name)
        if imported is not None:
            return imported[1:]
        return self.prefix if name == self.feature else f"{self.prefix}__{name}"

    def local_type(self, name: str) -> str:
        """What this schema calls a type of the specification."""
        return self.imports.get(name, f"{self.prefix}__{name}")

    def canonical_directive(self, local: str) -> str | None:
        """The specification's name of a directive that this schema calls `local`; None where it is not its own."""
        for name, imported in self.imports.items():
            if imported == "@" + local:
                return name[1:]
        if local.startswith(self.prefix + "__"):
            return local.removeprefix(self.prefix + "__")
        is_named_alike = local == self.prefix and bool(NAME.fullmatch(self.feature))
        return self.feature if is_named_alike and "@" + self.feature not in self.imports else None

    def canonical_type(self, local: str) -> str | None:
        """The specification's name of a type that this schema calls `local`; None where it is not its own."""
        for name, imported in self.imports.items():
            if imported == local:
                return name
        return local.removeprefix(self.prefix + "__") if local.startswith(self.prefix + "__") else None


@dataclass(frozen=True, slots=True)
class Links:
    """All the links of one schema."""

    links: tuple[Link, ...] = ()
    adopted: frozenset[str] = frozenset()
    """Federation 2 directives that a federation 1 schema defines itself: they mean what they mean in federation 2."""

    def of(self, identity: str) -> Link | None:
        """The link to one specification."""
        return next((link for link in self.links if link.identity == identity), None)

    @property
    def federation(self) -> Link | None:
        """The link to the federation specification; None in a federation 1 schema."""
        return self.of(FEDERATION_IDENTITY)

    @property
    def version(self) -> Version:
        """The federation version that the schema links."""
        return self.federation.version if self.federation else FEDERATION_1

    def directive(self, local: str) -> tuple[Link, str] | None:
        """The specification and the canonical name behind a directive's name in this schema."""
        for link in self.links:
            name = link.canonical_directive(local)
            if name is not None:
                return link, name
        return None

    def type(self, local: str) -> tuple[Link, str] | None:
        """The specification and the canonical name behind a type's name in this schema."""
        for link in self.links:
            name = link.canonical_type(local)
            if name is not None:
                return link, name
        return None

    def understood_directive(self, local: str) -> str | None:
        """The canonical name, where the directive is one that composition understands; None for all others."""
        if self.federation is None and (local in directives_of(FEDERATION_1) or local in self.adopted):
            return local
        found = self.directive(local)
        return found[1] if found and found[1] in understood_directives(found[0]) else None

    def understood_type(self, local: str) -> str | None:
        """The canonical name, where the type is one of a specification that composition understands."""
        found = self.type(local)
        return found[1] if found and found[1] in understood_types(found[0]) else None


def is_prefix(text: str) -> bool:
    """Whether a specification can have a name: what it names begins with it and two underscores."""
    return bool(NAME.fullmatch(text)) and "__" not in text and not text.endswith("_")


def understood_directives(link: Link) -> Iterable[str]:
    """The directives of a linked specification that composition understands."""
    if link.identity == FEDERATION_IDENTITY:
        return directives_of(link.version)
    if link.identity == LINK_IDENTITY:
        return (LINK_DIRECTIVE.name,)
    return STANDALONE_FEATURES[link.feature] if is_standalone(link) else ()


def is_standalone(link: Link) -> bool:
    """Whether a link is to a specification that federation contains, linked on its own."""
    return link.identity == APOLLO_HOST + link.feature and link.feature in STANDALONE_FEATURES


def understood_types(link: Link) -> Iterable[str]:
    """The types of a linked specification that composition understands."""
    if link.identity == FEDERATION_IDENTITY:
        return scalars_of(link.version)
    if link.identity == LINK_IDENTITY:
        return LINK_TYPES
    return ()


# ---- reading ----


def read_links(
    subgraph: str,
    schema_directives: Iterable[ConstDirectiveNode],
    defined: Iterable[str],
    diagnostics: Diagnostics,
) -> Links | None:
    """The links that stand on a schema; None after reporting ones that cannot be read.

    `defined` are the names of the directives that the schema defines itself.
    """
    uses = list(schema_directives)
    adopted = ADOPTABLE & set(defined)
    local = _link_directive_name(uses)
    applications = [use for use in uses if use.name.value == local]
    links = [link for use in applications if (link := _read_link(subgraph, use, diagnostics))]
    if len(links) < len(applications):
        return None
    if links and not any(link.identity == LINK_IDENTITY for link in links):
        links.insert(0, Link(LINK_IDENTITY, "link", (1, 0), "link"))
    count = len(diagnostics.found)
    _check_conflicts(subgraph, links, diagnostics)
    for link in links:
        _check_known(subgraph, link, diagnostics)
    _check_standalone(subgraph, links, diagnostics)
    if len(diagnostics.found) > count:
        return None
    found = Links(tuple(links))
    return found if found.federation else Links(found.links, adopted)


def _string(use: ConstDirectiveNode, argument: str) -> str | None:
    for each in use.arguments or ():
        if each.name.value == argument and isinstance(each.value, StringValueNode):
            return each.value.value
    return None


def _link_directive_name(uses: Iterable[ConstDirectiveNode]) -> str:
    """What the schema calls @link: the link to the link specification itself may rename it."""
    for use in uses:
        url = _string(use, "url")
        if url and url.startswith(LINK_IDENTITY + "/"):
            return use.name.value
    return "link"


def _read_link(subgraph: str, use: ConstDirectiveNode, diagnostics: Diagnostics) -> Link | None:
    url = _string(use, "url")
    if not url:
        message = f'[{subgraph}] A @{use.name.value} has no "url"; write @{use.name.value}(url: "https://.../v1.0").'
        diagnostics.add(Code.INVALID_LINK_DIRECTIVE_USAGE, message, [(subgraph, use)])
        return None
    split = _split_url(url)
    if isinstance(split, str):
        diagnostics.add(Code.INVALID_LINK_IDENTIFIER, f"[{subgraph}] {split}", [(subgraph, use)])
        return None
    identity, feature, version = split
    imports = _read_imports(subgraph, use, diagnostics)
    alias = _string(use, "as")
    if alias is not None and not is_prefix(alias):
        message = (
            f'[{subgraph}] "{url}" cannot be linked as "{alias}": that has to be a name without "__" that does not end '
            'with "_".'
        )
        diagnostics.add(Code.INVALID_LINK_DIRECTIVE_USAGE, message, [(subgraph, use)])
        return None
    if imports is None:
        return None
    return Link(identity, feature, version, alias or feature, imports, use, _purpose(use))


def _purpose(use: ConstDirectiveNode) -> str:
    """What a link is for, as it is written."""
    given = (each.value for each in use.arguments or () if each.name.value == "for")
    return next((each.value for each in given if isinstance(each, EnumValueNode | StringValueNode)), "")


def _split_url(url: str) -> tuple[str, str, Version] | str:
    """(identity, name, version) of a specification's URL, or what is wrong with it."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return f'"{url}" is no URL.'
    if not parts.scheme or not parts.netloc:
        return f'"{url}" is no URL; a @link takes one such as "https://specs.apollo.dev/federation/v2.3".'
    path = [part for part in parts.path.split("/") if part]
    version = VERSION.fullmatch(path[-1]) if path else None
    if version is None:
        return f'"{url}" does not end with a version such as "v1.0".'
    if len(path) < 2:
        return f'"{url}" has no name before its version.'
    identity = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/{'/'.join(path[:-1])}"
    return identity, path[-2], (int(version[1]), int(version[2]))


def _read_imports(subgraph: str, use: ConstDirectiveNode, diagnostics: Diagnostics) -> dict[str, str] | None:
    value = next((each.value for each in use.arguments or () if each.name.value == "import"), None)
    if value is None or isinstance(value, NullValueNode):
        return {}
    items = value.values if isinstance(value, ListValueNode) else (value,)
    imports: dict[str, str] = {}
    problems = []
    for item in items:
        pair = _read_import(item)
        if isinstance(pair, str):
            problems.append(pair)
        elif imports.get(pair[0], pair[1]) != pair[1]:
            problems.append(f'"{pair[0]}" is imported under two names.')
        else:
            imports[pair[0]] = pair[1]
    for problem in problems:
        message = f"[{subgraph}] In the imports of @{use.name.value}: {problem}"
        diagnostics.add(Code.INVALID_LINK_DIRECTIVE_USAGE, message, [(subgraph, value)])
    return None if problems else imports


def _read_import(item: ConstValueNode) -> tuple[str, str] | str:
    """(canonical name, name here) of one import, or what is wrong with it."""
    if isinstance(item, StringValueNode):
        return (
            (item.value, item.value) if NAME.fullmatch(item.value.removeprefix("@")) else f'"{item.value}" is no name.'
        )
    if not isinstance(item, ObjectValueNode):
        return 'an import has to be a string or an object such as {name: "@key", as: "@myKey"}.'
    given = {one.name.value: one.value for one in item.fields}
    unknown = given.keys() - {"name", "as"}
    if unknown:
        return f'unknown field "{min(unknown)}" in an import.'
    if not all(isinstance(value, StringValueNode) for value in given.values()):
        return '"name" and "as" of an import have to be strings.'
    texts = {key: value.value for key, value in given.items() if isinstance(value, StringValueNode)}
    name = texts.get("name")
    if not name:
        return 'an import has no "name".'
    alias = texts.get("as", name)
    if name.startswith("@") != alias.startswith("@"):
        return f'"{name}" cannot be imported as "{alias}": directives begin with @, types do not.'
    for text in (name, alias):
        if not NAME.fullmatch(text.removeprefix("@")):
            return f'"{text}" is no name.'
    return name, alias


# ---- checking ----


def _check_conflicts(subgraph: str, links: list[Link], diagnostics: Diagnostics) -> None:
    identities: set[str] = set()
    prefixes: set[str] = set()
    names: set[str] = set()
    for link in links:
        problem = None
        taken = next((name for name in link.imports.values() if name in names), None)
        if link.identity in identities:
            problem = f'the specification "{link.identity}" is linked twice; put all imports into one @link.'
        elif link.prefix in prefixes:
            problem = f'two specifications are named "{link.prefix}"; give one another name with "as".'
        elif taken:
            problem = f'two specifications import "{taken}"; give one another name with "as".'
        if problem:
            message = f"[{subgraph}] {link.url}: {problem}"
            diagnostics.add(Code.INVALID_LINK_DIRECTIVE_USAGE, message, [(subgraph, link.node)])
        identities.add(link.identity)
        prefixes.add(link.prefix)
        names |= set(link.imports.values())


def _check_standalone(subgraph: str, links: list[Link], diagnostics: Diagnostics) -> None:
    """Specifications that federation contains are linked through it: on their own they make no federation 2 schema."""
    if any(link.identity == FEDERATION_IDENTITY for link in links):
        return
    for link in links:
        if is_standalone(link):
            message = (
                f'[{subgraph}] Import "@{link.feature}" from "{FEDERATION_IDENTITY}" instead of linking "{link.url}".'
            )
            diagnostics.add(Code.INVALID_LINK_DIRECTIVE_USAGE, message, [(subgraph, link.node)])


def _check_known(subgraph: str, link: Link, diagnostics: Diagnostics) -> None:
    place = [(subgraph, link.node)]
    if link.identity == LINK_IDENTITY and link.version not in LINK_VERSIONS:
        message = f"[{subgraph}] The link specification has no version {version_text(link.version)}; use v1.0."
        diagnostics.add(Code.UNKNOWN_LINK_VERSION, message, place)
        return
    if link.identity == FEDERATION_IDENTITY and not known_federation_version(link.version):
        message = (
            f"[{subgraph}] Federation {version_text(link.version)} is not known; the latest version supported is "
            f"{version_text(FEDERATION_LATEST)}."
        )
        diagnostics.add(Code.UNKNOWN_FEDERATION_LINK_VERSION, message, place)
        return
    if link.identity.removeprefix(APOLLO_HOST) in UNSUPPORTED and link.identity.startswith(APOLLO_HOST):
        message = f'[{subgraph}] The specification "{link.url}" is not supported.'
        diagnostics.add(Code.UNSUPPORTED_LINKED_FEATURE, message, place)
        return
    if link.identity in (FEDERATION_IDENTITY, LINK_IDENTITY):
        _check_imports(subgraph, link, diagnostics)


def _check_imports(subgraph: str, link: Link, diagnostics: Diagnostics) -> None:
    known = {f"@{name}" for name in understood_directives(link)} | set(understood_types(link))
    for name in link.imports:
        if name in known:
            continue
        hint = f' Did you mean "@{name}"?' if f"@{name}" in known else ""
        message = f'[{subgraph}] "{link.url}" has no element "{name}" to import.{hint}'
        diagnostics.add(Code.INVALID_LINK_DIRECTIVE_USAGE, message, [(subgraph, link.node)])
