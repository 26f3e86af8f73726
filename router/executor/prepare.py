"""What is worked out once per plan rather than once per request."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from graphql import FieldNode, FragmentDefinitionNode, InlineFragmentNode, OperationDefinitionNode, SelectionNode, parse
from graphql.language import FragmentSpreadNode

from router.plan import Fetch, Plan


@dataclass(frozen=True, slots=True)
class PreparedFetch:
    """A fetch and what its operation's text says about the merged tree."""

    fetch: Fetch
    keys: tuple[frozenset[str], ...]
    """For every entry the keys that its result brings to each of its objects."""
    shares_results: tuple[bool, ...]
    """For every entry whether objects that sent one representation may hold the very same result.

    They may where they stand at one position: there, one key means one thing for all of them, whatever is fetched
    below. Not where ancestors tell them apart (@fromContext) or where one representation stands for several types."""


@dataclass(frozen=True, slots=True)
class PreparedPlan:
    """A plan, ready to be executed for any number of requests at the same time."""

    plan: Plan
    fetches: tuple[PreparedFetch, ...]
    name: str
    """The operation's name or hash, for tracebacks."""
    dependants: tuple[tuple[int, ...], ...]
    """For every fetch, by its place in `fetches`, the places of those that wait for it."""


def prepare(plan: Plan, *, name: str = "") -> PreparedPlan:
    """Read the fetches' operations and turn `depends_on` round."""
    has_context = any(entry.context for _, entry in plan.entries())
    index_of = {fetch.id: index for index, fetch in enumerate(plan.fetches)}
    dependants: list[list[int]] = [[] for _ in plan.fetches]
    for index, fetch in enumerate(plan.fetches):
        for other in fetch.depends_on:
            dependants[index_of[other]].append(index)
    return PreparedPlan(
        plan=plan,
        fetches=tuple(_prepare_fetch(fetch, has_context=has_context) for fetch in plan.fetches),
        name=name,
        dependants=tuple(map(tuple, dependants)),
    )


def _prepare_fetch(fetch: Fetch, *, has_context: bool) -> PreparedFetch:
    document = parse(fetch.operation, no_location=True)
    fragments = {item.name.value: item for item in document.definitions if isinstance(item, FragmentDefinitionNode)}
    operation = next(item for item in document.definitions if isinstance(item, OperationDefinitionNode))
    root = _fields(operation.selection_set.selections, fragments)
    keys: list[frozenset[str]] = []
    for entry in fetch.entries:
        if entry.alias:
            below = [node for key, node in root if key == entry.alias]
            inner = [
                pair
                for node in below
                if node.selection_set
                for pair in _fields(node.selection_set.selections, fragments)
            ]
            keys.append(frozenset(key for key, _ in inner))
        elif entry.keys:
            keys.append(frozenset(key for _, key in entry.keys))
        else:
            keys.append(frozenset(key for key, _ in root))
    uses = Counter(entry.alias for entry in fetch.entries)
    shares = tuple(
        len(entry.paths) == 1 and uses[entry.alias] == 1 and entry.representation.typename is None and not has_context
        for entry in fetch.entries
    )
    return PreparedFetch(fetch=fetch, keys=tuple(keys), shares_results=shares)


def _fields(
    selections: Sequence[SelectionNode], fragments: dict[str, FragmentDefinitionNode]
) -> list[tuple[str, FieldNode]]:
    """The response keys of a selection set with their fields, those inside fragments included."""
    found: list[tuple[str, FieldNode]] = []
    for node in selections:
        if isinstance(node, FieldNode):
            found.append(((node.alias or node.name).value, node))
        elif isinstance(node, InlineFragmentNode):
            found.extend(_fields(node.selection_set.selections, fragments))
        elif isinstance(node, FragmentSpreadNode):
            found.extend(_fields(fragments[node.name.value].selection_set.selections, fragments))
    return found
