"""Compares compiled execution with Strawberry's own, on one operation or on whatever a test sends."""

from inspect import isawaitable
from typing import Any

import pytest
from graphql import OperationType, execute_subscription_event

from subgraphs.shared.graphql_execution import CompiledOperations
from subgraphs.shared.graphql_execution.run import Run


def null_position(data: Any, path: list[str | int]) -> list[str | int]:
    """What an error has nulled: where it happened, or an object around it."""
    for depth, key in enumerate(path):
        if data is None:
            return path[:depth]
        data = data[key]
    return path


def told(result: Any) -> tuple[list[tuple[str, ...]], list[str]]:
    """What a result says of errors that nulled their own field, and what the others have nulled.

    Where several errors null one object, the specification lets any of them be told.
    """
    own, around = [], set()
    for error in result.errors or ():
        position = null_position(result.data, error.path or [])
        if position == error.path:
            about = (error.message, error.locations, type(error.original_error), error.extensions)
            own.append((str(position), *map(str, about)))
        else:
            around.add(str(position))
    return sorted(own), sorted(around)


@pytest.fixture(autouse=True)
def both_executions(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Whatever a test asks is executed by Strawberry as well, and has to be answered alike; unless the test counts."""
    if request.node.get_closest_marker("one_execution"):
        return
    execute = CompiledOperations.execute

    async def execute_twice(
        self: CompiledOperations, query: str, variables: dict[str, Any] | None, context: Any, operation_name: str | None
    ) -> Any:
        found = await execute(self, query, variables, context, operation_name)
        if self.is_compiled(query, operation_name):
            expected = await self._schema.execute(query, variables, context, operation_name=operation_name)
            assert str(found.data) == str(expected.data), query
            assert told(found) == told(expected), query
        return found

    executed = CompiledOperations._executed

    async def executed_twice(self: CompiledOperations, execute: Any, run: Run, root: Any = None) -> Any:
        found = await executed(self, execute, run, root)
        if run.source.operation.operation is OperationType.SUBSCRIPTION:
            again: Any = execute_subscription_event(run.executor.build_per_event_executor(root))
            expected = await again if isawaitable(again) else again
            assert str(found.data) == str(expected.data)
            assert told(found) == told(expected)
        return found

    monkeypatch.setattr(CompiledOperations, "execute", execute_twice)
    monkeypatch.setattr(CompiledOperations, "_executed", executed_twice)
