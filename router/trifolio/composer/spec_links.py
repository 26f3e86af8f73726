"""The @link and directive definitions of a supergraph for the specified directives that it uses."""

from collections.abc import Iterator, Mapping

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
    DirectiveSpec,
    Version,
    directives_of,
    version_text,
)

CONTEXT_SCALAR = "context__ContextFieldValue"
LOCAL_SCALARS = {"Scope": "requiresScopes__Scope", "Policy": "policy__Policy"}


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


def specified_links(
    merging: Merging, composed: Composed, types: Mapping[str, MergedType], schema: tuple[str, ...]
) -> Iterator[SpecLink]:
    """One @link per specification whose directives the supergraph uses."""
    specs = directives_of(FEDERATION_LATEST)
    groups: dict[str, list[DirectiveSpec]] = {}
    for name in used_directives(composed, types, schema):
        spec = specs[name]
        groups.setdefault(spec.feature, []).append(spec)
    for feature, used in groups.items():
        imports = []
        for spec in used:
            local = composed.names[spec.name]
            if local != spec.name:
                imports.append(f'{{name: "@{spec.name}", as: "@{local}"}}')
            elif local != feature:
                imports.append(f'"@{local}"')
        version = version_text(used[0].feature_version)
        yield SpecLink(f"{APOLLO_HOST}{feature}/{version}", security=used[0].security, imports=tuple(imports))
    for feature in sorted({text.partition("federation__")[2].partition('"')[0] for text in _joined_texts(types)}):
        version = version_text(specs[feature].feature_version)
        yield SpecLink(f"{APOLLO_HOST}{specs[feature].feature}/{version}", execution=True)


def specified_definitions(
    composed: Composed, types: Mapping[str, MergedType], schema: tuple[str, ...]
) -> Iterator[str]:
    """The definitions of those directives, and of the scalars that they need."""
    specs = directives_of(FEDERATION_LATEST)
    for name in used_directives(composed, types, schema):
        text = specs[name].text(composed.names[name])
        for scalar, local in LOCAL_SCALARS.items():
            if f"{scalar}!" in text:
                text = text.replace(f"{scalar}!", f"{local}!")
                yield f"scalar {local}"
        yield text
        if name == "context":
            yield specs["fromContext"].text("context__fromContext").replace("ContextFieldValue", CONTEXT_SCALAR)
            yield f"scalar {CONTEXT_SCALAR}"


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
