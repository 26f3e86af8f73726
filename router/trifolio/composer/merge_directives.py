"""Merging directive applications: which ones reach the supergraph, under which names, and with which arguments.

Composition carries the specified directives of `COMPOSED_DIRECTIVES`, GraphQL's own type system directives, and those
that a subgraph asks for with @composeDirective. Everything else stays in the subgraphs.
"""

from collections import Counter
from collections.abc import Container, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

from graphql.language import (
    BooleanValueNode,
    ConstValueNode,
    IntValueNode,
    ListValueNode,
    Node,
    StringValueNode,
    print_ast,
)

from trifolio.composer.diagnostics import Code
from trifolio.composer.schema import Application, Applications
from trifolio.composer.sources import Merging, Source
from trifolio.composer.values import compared_untyped, written_arguments
from trifolio.federation import COMPOSED_DIRECTIVES

GRAPHQL_DIRECTIVES = ("deprecated", "specifiedBy", "oneOf")
REPEATABLE = frozenset({"tag"})
AUTHORIZATION = ("authenticated", "requiresScopes", "policy")
CLAUSE_ARGUMENTS: Mapping[str, str] = {"requiresScopes": "scopes", "policy": "policies"}
JOINED = frozenset({"cacheTag"})
"""Carried as @join__directive: what they say holds for one subgraph's answers."""

SEPARATE = frozenset({"context", "fromContext", "cacheTag"})
"""Carried into the supergraph in a form of their own, not as they are applied."""

Clauses = tuple[tuple[str, ...], ...]
"""Alternatives (outer), each a set of names that are all demanded: `[["a", "b"], ["admin"]]`."""


@dataclass(frozen=True, slots=True)
class Composed:
    """Which directives reach the supergraph, and their names there."""

    names: Mapping[str, str]
    """Specified directives -> name in the supergraph."""
    custom: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Directives of @composeDirective -> the subgraphs whose applications are carried."""
    repeatable: frozenset[str] = frozenset()
    """Those of them that are repeatable."""

    def carries(self, subgraph: str, use: Application) -> bool:
        """Whether an application in a subgraph is to reach the supergraph."""
        if use.spec:
            return use.name in self.names
        return use.name in GRAPHQL_DIRECTIVES or subgraph in self.custom.get(use.name, ())


Applied = tuple[Source, Applications, Node | None]


def merged_directives(
    merging: Merging, composed: Composed, coordinate: str, sources: Sequence[Applied]
) -> tuple[str, ...]:
    """The texts of an element's directives in the supergraph, sorted by name within their first appearance."""
    groups: dict[tuple[bool, str], list[tuple[Source, Application]]] = {}
    for source, uses, _ in sources:
        for use in uses:
            if use.name not in SEPARATE and composed.carries(source.name, use):
                groups.setdefault((use.spec, use.name), []).append((source, use))
    texts: list[str] = []
    for (spec, name), found in sorted(groups.items(), key=lambda group: group[0][1]):
        local = composed.names[name] if spec else name
        repeatable = name in (REPEATABLE if spec else composed.repeatable)
        if repeatable:
            distinct = {_compared(use): use for _, use in reversed(found)}
            texts += [_text(local, _arguments(use)) for use in reversed(distinct.values())]
        else:
            texts.append(_merged_application(merging, coordinate, name if spec else "", local, found))
    return tuple(texts)


def joined_directives(sources: Iterable[tuple[Source, Applications]]) -> Iterator[str]:
    """The @join__directive texts of directives that a router reads per subgraph, as they were applied there."""
    graphs: dict[str, list[str]] = {}
    for source, uses in sources:
        for use in uses:
            if use.spec and use.name in JOINED:
                body = ", ".join(f"{name}: {value}" for name, value in _arguments(use).items())
                of_use = graphs.setdefault(f'name: "federation__{use.name}", args: {{{body}}}', [])
                of_use.append(source.graph)
    for text, names in graphs.items():
        yield f"@join__directive(graphs: [{', '.join(dict.fromkeys(names))}], {text})"


def _arguments(use: Application) -> dict[str, str]:
    return written_arguments({each.name.value: each.value for each in use.node.arguments or ()})


def _compared(use: Application) -> Hashable:
    return frozenset((each.name.value, compared_untyped(each.value)) for each in use.node.arguments or ())


def _text(name: str, arguments: Mapping[str, str]) -> str:
    body = ", ".join(f"{key}: {value}" for key, value in arguments.items())
    return f"@{name}({body})" if body else f"@{name}"


def _merged_application(
    merging: Merging, coordinate: str, name: str, local: str, found: Sequence[tuple[Source, Application]]
) -> str:
    """One application out of those of all sources: by the directive's strategy, or the most frequent one."""
    uses = [use for _, use in found]
    if len({_compared(use) for use in uses}) == 1:
        return _text(local, _arguments(uses[0]))
    if name in AUTHORIZATION or name in ("cost", "listSize"):
        message = f'@{local} on "{coordinate}" has different arguments across subgraphs; they are merged.'
        places = [(source.name, use.node) for source, use in found]
        merging.diagnostics.add(Code.MERGED_NON_REPEATABLE_DIRECTIVE_ARGUMENTS, message, places)
    if name in AUTHORIZATION:
        return merged_requirement(local, name, uses)
    if name == "cost":
        return _text(local, {"weight": str(max(_integers(use.argument("weight") for use in uses), default=1))})
    if name == "listSize":
        owner = merging.types(coordinate.partition(".")[0])
        in_full = any(found.kind == "INTERFACE" for _, found in owner)
        return _text(local, _merged_list_size(uses, _common_arguments(merging, coordinate), in_full=in_full))
    values = [_compared(use) for use in uses]
    counts = Counter(values)
    best = uses[values.index(max(counts, key=lambda value: (counts[value], -values.index(value))))]
    text = _text(local, dict(sorted(_arguments(best).items())))
    message = f'@{local} on "{coordinate}" has different arguments across subgraphs; {text} is used.'
    places = [(source.name, use.node) for source, use in found]
    merging.diagnostics.add(Code.INCONSISTENT_NON_REPEATABLE_DIRECTIVE_ARGUMENTS, message, places)
    return _text(local, _arguments(best))


# ---- strategies ----


def _integers(values: Iterable[ConstValueNode | None]) -> list[int]:
    return [int(value.value) for value in values if isinstance(value, IntValueNode)]


def strings_of(value: ConstValueNode | None) -> list[str] | None:
    """The strings of a list value, or of a single string (list coercion); None where there is none."""
    if isinstance(value, StringValueNode):
        return [value.value]
    if isinstance(value, ListValueNode):
        return [each.value for each in value.values if isinstance(each, StringValueNode)]
    return None


def _common_arguments(merging: Merging, coordinate: str) -> set[str]:
    """The arguments that a field has in all its subgraphs, which are those of the supergraph."""
    type_name, _, name = coordinate.partition(".")
    fields = [found for _, found in merging.fields(type_name, name)]
    return set.intersection(*(set(found.arguments) for found in fields)) if fields else set()


def _merged_list_size(uses: Sequence[Application], arguments: set[str], *, in_full: bool) -> dict[str, str]:
    """Sizes by the maximum, names by union, `requireOneSlicingArgument` only where all subgraphs demand it.

    Slicing arguments that are none of the merged field's `arguments` are left out.

    `in_full` writes that argument's default, too, as both reference composers do on fields of interfaces.
    """
    result: dict[str, str] = {}
    sizes = _integers(use.argument("assumedSize") for use in uses)
    if sizes:
        result["assumedSize"] = str(max(sizes))
    for argument in ("slicingArguments", "sizedFields"):
        lists = [names for use in uses if (names := strings_of(use.argument(argument))) is not None]
        names_of_all = dict.fromkeys(name for names in lists for name in names)
        if argument == "slicingArguments":
            names_of_all = {name: None for name in names_of_all if name in arguments}
        if lists:
            result[argument] = _list_text(names_of_all)
    flags = [
        value.value for use in uses if isinstance(value := use.argument("requireOneSlicingArgument"), BooleanValueNode)
    ]
    if flags or in_full:
        result["requireOneSlicingArgument"] = "true" if all(flags) else "false"
    return result


def _list_text(names: Iterable[str]) -> str:
    return f"[{', '.join(print_ast(StringValueNode(value=name)) for name in names)}]"


def merged_requirement(local: str, name: str, uses: Sequence[Application]) -> str:
    """One authorization directive that demands what all of `uses` demand."""
    if len(uses) == 1 or name not in CLAUSE_ARGUMENTS:
        return _text(local, _arguments(uses[0]))
    return _text(local, {CLAUSE_ARGUMENTS[name]: clauses_text(conjunction(clauses_of_uses(name, uses)))})


def clauses_of_uses(name: str, uses: Iterable[Application]) -> list[Clauses]:
    """What each application of an authorization directive demands."""
    if name not in CLAUSE_ARGUMENTS:
        return [((name,),) for _ in uses]
    return [clauses_of(use.argument(CLAUSE_ARGUMENTS[name])) for use in uses]


def clauses_of(value: ConstValueNode | None) -> Clauses:
    """The alternatives that `[["a", "b"], ["admin"]]` says; a bare string or list is coerced."""
    if isinstance(value, StringValueNode):
        return ((value.value,),)
    if not isinstance(value, ListValueNode):
        return ()
    return tuple(tuple(sorted(set(strings_of(each) or ()))) for each in value.values)


def conjunction(demands: Iterable[Clauses]) -> Clauses:
    """All demands at once, as alternatives again: clauses that demand more than another one are dropped."""
    given = [demand for demand in demands if demand]
    if not given:
        return ()
    combined = {frozenset(name for clause in choice for name in clause) for choice in product(*given)}
    minimal = [clause for clause in combined if not any(other < clause for other in combined)]
    return tuple(sorted((tuple(sorted(clause)) for clause in minimal), key=lambda clause: (len(clause), clause)))


def clauses_text(clauses: Clauses) -> str:
    """`[["a", "b"], ["admin"]]`."""
    return f"[{', '.join(_list_text(clause) for clause in clauses)}]"


# ---- names in the supergraph ----


def supergraph_names(merging: Merging, taken: Container[str]) -> dict[str, str]:
    """Specified directives -> the name in the supergraph; reports names that differ between subgraphs.

    A directive keeps the name under which subgraphs that apply it import it; where these disagree, one cannot be
    chosen. One that none imports and whose own name is `taken`, by a directive of @composeDirective, goes by its name
    with the prefix.
    """
    names: dict[str, str] = {}
    applied = {source.name: source.schema.applied_directives() for source in merging.sources}
    for directive in COMPOSED_DIRECTIVES:
        imported: dict[str, list[Source]] = {}
        for source in merging.sources:
            local = _imported_name(source, directive)
            if local and directive in applied[source.name]:
                imported.setdefault(local, []).append(source)
        names[directive] = next(iter(imported), f"federation__{directive}" if directive in taken else directive)
        if len(imported) > 1:
            spelled = ", ".join(f'"@{local}" in {_names(sources)}' for local, sources in imported.items())
            message = f"@{directive} is imported under different names: {spelled}. Import it under one name everywhere."
            places = [
                (source.name, link.node)
                for sources in imported.values()
                for source in sources
                if (link := source.schema.links.federation)
            ]
            merging.diagnostics.add(Code.LINK_IMPORT_NAME_MISMATCH, message, places)
    return names


def _names(sources: Iterable[Source]) -> str:
    return ", ".join(f'"{source.name}"' for source in sources)


def _imported_name(source: Source, directive: str) -> str | None:
    for link in source.schema.links.links:
        local = link.imports.get("@" + directive)
        if local is not None and source.schema.links.understood_directive(local[1:]) == directive:
            return local[1:]
    return None
