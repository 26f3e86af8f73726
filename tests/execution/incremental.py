"""One operation with @defer, answered in parts: by the router, and by graphql-core's incremental executor.

The parts are put together again as a client does, in both ways that there are: each part's data merged into the answer
at its object, and increment by increment, none of which may say what was said before. Both have to come to what the
reference comes to, and where nothing fails to what the operation answers without @defer.
"""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any

from graphql import (
    DirectiveNode,
    DocumentNode,
    GraphQLDeferDirective,
    GraphQLSchema,
    OperationDefinitionNode,
    Visitor,
    print_ast,
    visit,
)
from graphql.execution import ExperimentalIncrementalExecutionResults, experimental_execute_incrementally
from graphql.execution.values import get_variable_values
from graphql.pyutils import is_awaitable

from tests.execution.monolith import Session
from trifolio.executor import PreparedPlan, Transport, execute_in_parts
from trifolio.executor.delivery import FirstAnswer
from trifolio.parts import Pending
from trifolio.turns import Turns
from trifolio.work import Work


def with_defer(schema: GraphQLSchema) -> GraphQLSchema:
    """The schema with the directive, as a server that can defer has it."""
    parts: Any = schema.to_kwargs()
    return GraphQLSchema(**{**parts, "directives": (*parts["directives"], GraphQLDeferDirective)})


def without_defer(document: DocumentNode) -> str:
    """The same operation, to be answered at once."""

    class Drop(Visitor):
        def enter_directive(self, node: DirectiveNode, *_: Any) -> Any:
            return self.REMOVE if node.name.value == "defer" else None

    return print_ast(visit(document, Drop()))


@dataclass
class Whole:
    """An answer put together from its parts."""

    data: Any
    errors: list[Any] = field(default_factory=list)
    """As they are told."""
    parts: int = 0
    failed: int = 0
    """Parts whose data is null."""

    @property
    def canonical(self) -> str:
        """The data without regard to the order of keys: parts come in any order."""
        return json.dumps(self.data, sort_keys=True)


def at(data: Any, path: Any) -> Any:
    """The object at a path."""
    for key in path:
        data = data[key]
    return data


def add(target: Any, new: Any) -> None:
    """Merge what a part says into what is there; what is there may be said again, and must be the same."""
    if isinstance(target, list):
        assert isinstance(new, list)
        assert len(target) == len(new)
        for mine, theirs in zip(target, new, strict=True):
            if mine is None or theirs is None:
                assert mine is theirs
            else:
                add(mine, theirs)
        return
    for key, value in new.items():
        if key in target and isinstance(target[key], dict | list):
            assert value is not None
            add(target[key], value)
        else:
            assert key not in target or target[key] == value
            target[key] = value


async def reference(
    schema: GraphQLSchema, document: DocumentNode, variables: Mapping[str, Any], context: object = None
) -> Whole:
    """What graphql-core's incremental executor comes to; `schema` has the directive."""
    result: Any = experimental_execute_incrementally(
        schema, document, variable_values=dict(variables), context_value=context
    )
    if is_awaitable(result):
        result = await result
    if not isinstance(result, ExperimentalIncrementalExecutionResults):
        return Whole(result.data, list(result.errors or ()))
    first = result.initial_result.formatted
    whole = Whole(json.loads(json.dumps(first["data"])), list(first.get("errors", ())))
    paths = {item["id"]: item["path"] for item in first["pending"]}
    async for later in result.subsequent_results:
        formatted: Any = later.formatted
        paths |= {item["id"]: item["path"] for item in formatted.get("pending", ())}
        for item in formatted.get("incremental", ()):
            path = [*paths[item["id"]], *item.get("subPath", ())]
            add(at(whole.data, path), json.loads(json.dumps(item["data"])))
            whole.errors += item.get("errors", ())
        for item in formatted.get("completed", ()):
            whole.parts += 1
            whole.failed += "errors" in item
            whole.errors += item.get("errors", ())
    return whole


async def collected(first: FirstAnswer) -> Whole:
    """The router's answer put together; raises AssertionError where the parts are not as the protocol wants them."""
    answer = first.answer
    nested = json.loads(json.dumps(answer.data))
    whole = Whole(json.loads(json.dumps(answer.data)), [each.to_json() for each in answer.errors])
    waiting: dict[str, Pending] = {item.id: item for item in first.pending}
    assert bool(waiting) == (first.later is not None)
    assert len(waiting) == len(first.pending)
    if first.later is None:
        return whole
    has_next = True
    async for parts in first.later:
        assert has_next
        for item in parts.pending:
            assert item.id not in waiting
            waiting[item.id] = item
        for part in parts.parts:
            pending = waiting.pop(part.pending.id)
            whole.parts += 1
            whole.errors += [each.to_json() for each in part.errors]
            if part.data is None:
                assert not part.increments
                assert part.errors
                whole.failed += 1
                continue
            add(at(nested, pending.path), json.loads(json.dumps(part.data)))
            for increment in part.increments:
                target = at(whole.data, [*pending.path, *increment.sub_path])
                assert not target.keys() & increment.data.keys(), "said twice"
                assert increment.data
                target.update(json.loads(json.dumps(increment.data)))
        has_next = parts.has_next
        assert has_next == bool(waiting)
    assert not has_next
    assert json.dumps(nested, sort_keys=True) == whole.canonical, "the two ways of merging differ"
    return whole


def read_by_path(texts: Sequence[bytes]) -> Whole:
    """The answer out of the parts of `deferSpec=20220824`, as a client merges them."""
    first, *later = (json.loads(text) for text in texts)
    whole = Whole(first["data"], first.get("errors", []))
    _check_has_next([first, *later])
    for body in later:
        for item in body["incremental"]:
            whole.parts += 1
            whole.errors += item.get("errors", ())
            if item["data"] is None:
                assert item["errors"]
                whole.failed += 1
            else:
                add(at(whole.data, item["path"]), item["data"])
    return whole


def read_by_id(texts: Sequence[bytes]) -> Whole:
    """The answer out of the parts of `incrementalSpec=v0.2`, as a client merges them: nothing is said twice."""
    first, *later = (json.loads(text) for text in texts)
    whole = Whole(first["data"], first.get("errors", []))
    _check_has_next([first, *later])
    paths: dict[str, list[str | int]] = {}
    seen: set[str] = set()
    for body in (first, *later):
        for item in body.get("pending", ()):
            assert item["id"] not in seen, "an id stands for one part"
            seen.add(item["id"])
            paths[item["id"]] = item["path"]
        for item in body.get("incremental", ()):
            target = at(whole.data, [*paths[item["id"]], *item.get("subPath", ())])
            assert not target.keys() & item["data"].keys(), "said twice"
            target.update(item["data"])
            whole.errors += item.get("errors", ())
        for item in body.get("completed", ()):
            del paths[item["id"]]
            whole.parts += 1
            whole.failed += "errors" in item
            whole.errors += item.get("errors", ())
        assert body["hasNext"] == bool(paths)
    return whole


def _check_has_next(bodies: Sequence[Mapping[str, Any]]) -> None:
    assert [body["hasNext"] for body in bodies] == [True] * (len(bodies) - 1) + [False]


async def answer_in_parts(
    prepared: PreparedPlan,
    document: DocumentNode,
    variables: Mapping[str, Any],
    *,
    schema: GraphQLSchema,
    transports: Mapping[str, Transport],
    session: Session | None,
) -> FirstAnswer:
    """The router's answer to a prepared plan; `schema` is the API schema. Fetches end between any two objects."""
    turns = Turns(computations_max=1, long_computations_max=1, clock=count().__next__)
    definition = next(item for item in document.definitions if isinstance(item, OperationDefinitionNode))
    values = get_variable_values(schema, definition.variable_definitions or (), dict(variables))
    return await execute_in_parts(
        prepared,
        transports=transports,
        deadline=asyncio.get_running_loop().time() + 60,
        schema=schema,
        variables=variables,
        coerced={} if isinstance(values, list) else values.coerced,
        context=session,
        in_turns=lambda compute, units_max: turns.go_on(partial(_pausing, compute), units_max),
    )


def _pausing(compute: Callable[[Work], Any], work: Work) -> Any:
    """Compute with a pause at every count, where others have a turn."""
    often = _Often(work)
    try:
        return compute(often)
    finally:
        work.spent = often.spent


class _Often(Work):
    def __init__(self, work: Work) -> None:
        super().__init__(work.units_max)
        self._work = work

    def spend(self, units: int = 1) -> None:
        super().spend(units)
        if self._work._pause is not None:
            self._work._pause()
