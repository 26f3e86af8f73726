"""The @link and directive definitions of a supergraph for the specified directives that it uses.

A link gives its specification a name in the supergraph, its own or one by `as`. No two may have the same, and none the
name of a directive that another one brings: planners refuse what can be confused.
"""

import re
from collections.abc import Iterable, Iterator, Mapping

from trifolio.composer.links import is_prefix
from trifolio.composer.merge_directives import Composed
from trifolio.composer.sources import Merging
from trifolio.composer.supergraph_model import MergedSupergraph, MergedType, SpecLink
from trifolio.federation import (
    APOLLO_HOST,
    COMPOSED_DIRECTIVES,
    FEDERATION_LATEST,
    JOIN_BASE,
    JOIN_WITH_CONTEXT,
    JOIN_WITH_OVERRIDE_LABELS,
    STANDALONE_FEATURES,
    DirectiveSpec,
    Version,
    directives_of,
    version_text,
)

LOCAL_SCALARS = ("Scope", "Policy")
SPECIFIED_PREFIXES = frozenset({"link", "join", *STANDALONE_FEATURES})
"""The names that specifications of federation have in supergraphs."""


def taken_prefixes(merging: Merging) -> set[str]:
    """What types' names begin with, and what directives are called: a specification with such a name takes them."""
    types = {name.partition("__")[0] for name in merging.names()}
    return types.union(SPECIFIED_PREFIXES, *(source.schema.directives for source in merging.sources))


def free_prefix(wanted: str, taken: Iterable[str]) -> str:
    """A name for a specification that resembles the wanted one and is not taken."""
    base = "_".join(re.findall("[0-9A-Za-z]+", wanted)) or "feature"
    base = base if is_prefix(base) else f"_{base}"
    names = (base, *(f"{base}{number}" for number in range(2, len(set(taken)) + 3)))
    return next(name for name in names if name not in taken)


def used_directives(composed: Composed, types: Mapping[str, MergedType], schema: tuple[str, ...]) -> list[str]:
    """The specified directives that stand somewhere in the supergraph, by their own names."""
    found = {text.partition("(")[0] for text in _texts(types)} | {text.partition("(")[0] for text in schema}
    return [name for name in COMPOSED_DIRECTIVES if f"@{composed.names[name]}" in found]


def _texts(types: Mapping[str, MergedType]) -> Iterator[str]:
    for each in types.values():
        yield from each.directives
        for field in each.fields.values():
            yield from field.directives
            for argument in field.arguments.values():
                yield from argument.directives
        for value in each.values.values():
            yield from value.directives


def _joined_texts(types: Mapping[str, MergedType]) -> Iterator[str]:
    return (text for text in _texts(types) if text.startswith("@join__directive("))


def _prefixes(merging: Merging, composed: Composed, used: Iterable[str]) -> dict[str, str]:
    """What the specifications of the used directives are called in the supergraph."""
    specs = directives_of(FEDERATION_LATEST)
    features = {name: specs[name].feature for name in used}
    taken = taken_prefixes(merging) | set(composed.custom) | set(composed.names.values())
    found = {}
    for feature in features.values():
        others = {composed.names[name] for name, other in features.items() if other != feature}
        found[feature] = free_prefix(feature, taken) if feature in others or feature in composed.custom else feature
    return found


def specified_links(
    merging: Merging, composed: Composed, types: Mapping[str, MergedType], schema: tuple[str, ...]
) -> Iterator[SpecLink]:
    """One @link per specification whose directives the supergraph uses."""
    specs = directives_of(FEDERATION_LATEST)
    groups: dict[str, list[DirectiveSpec]] = {}
    names = used_directives(composed, types, schema)
    prefixes = _prefixes(merging, composed, names)
    for name in names:
        groups.setdefault(specs[name].feature, []).append(specs[name])
    for feature, used in groups.items():
        imports = []
        for spec in used:
            local = composed.names[spec.name]
            if local != spec.name:
                imports.append(f'{{name: "@{spec.name}", as: "@{local}"}}')
            elif local != feature:
                imports.append(f'"@{local}"')
        version = version_text(used[0].feature_version)
        alias = prefixes[feature] if prefixes[feature] != feature else None
        url = f"{APOLLO_HOST}{feature}/{version}"
        yield SpecLink(url, security=used[0].security, imports=tuple(imports), alias=alias)
    for feature in sorted({text.partition("federation__")[2].partition('"')[0] for text in _joined_texts(types)}):
        version = version_text(specs[feature].feature_version)
        yield SpecLink(f"{APOLLO_HOST}{specs[feature].feature}/{version}", execution=True)


def specified_definitions(
    merging: Merging, composed: Composed, types: Mapping[str, MergedType], schema: tuple[str, ...]
) -> Iterator[str]:
    """The definitions of those directives, and of the scalars that they need."""
    specs = directives_of(FEDERATION_LATEST)
    names = used_directives(composed, types, schema)
    prefixes = _prefixes(merging, composed, names)
    for name in names:
        prefix = prefixes[specs[name].feature]
        text = specs[name].text(composed.names[name])
        for scalar in LOCAL_SCALARS:
            if f"{scalar}!" in text:
                text = text.replace(f"{scalar}!", f"{prefix}__{scalar}!")
                yield f"scalar {prefix}__{scalar}"
        yield text
        if name == "context":
            scalar = f"{prefix}__ContextFieldValue"
            yield specs["fromContext"].text(f"{prefix}__fromContext").replace("ContextFieldValue", scalar)
            yield f"scalar {scalar}"


def graphql_definitions(types: Mapping[str, MergedType]) -> Iterator[str]:
    """Definitions of GraphQL's own directives that readers of an older edition do not know."""
    if any(text == "@oneOf" for text in _texts(types)):
        yield "directive @oneOf on INPUT_OBJECT"


def join_version(supergraph: MergedSupergraph) -> Version:
    """The oldest join specification that can say what the supergraph says."""
    joins = [join for each in supergraph.types.values() for field in each.fields.values() for join in field.joins]
    if any(join.context_arguments for join in joins):
        return JOIN_WITH_CONTEXT
    if any(join.override_label for join in joins) or any(_joined_texts(supergraph.types)):
        return JOIN_WITH_OVERRIDE_LABELS
    return JOIN_BASE
