"""Compiled execution answers what Strawberry's own execution answers."""

import asyncio
import gc
import inspect
import itertools
import os
import random
from collections.abc import AsyncGenerator, Awaitable
from typing import Any

import graphql
import pytest
import strawberry
from strawberry.dataloader import DataLoader
from strawberry.extensions import SchemaExtension

from subgraphs.shared.graphql_execution import CompiledOperations
from subgraphs.shared.graphql_execution import operations as operations_module
from subgraphs.shared.graphql_execution import selections as selections_module
from tests.shared.both_executions import told
from tests.shared.execution_world import Context, Operations, QuietSchema, later, schema_of_everything

OPERATIONS = int(os.environ.get("TRIFOLIO_COMPILED_OPERATIONS", "60"))
"""Random operations per likelihood of faults; `make long` asks for more."""
ROUNDS = 30
"""Of the loop, in which what an error has nulled comes to its end."""
SCHEMA = schema_of_everything()


# graphql-core cancels tasks that have not begun, whose coroutines are never awaited then: once in a hundred operations.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("faults", [0.0, 0.02, 0.2])
async def test_random_operations_are_answered_alike(faults: float) -> None:
    """Data, its order, errors and the calls of resolvers are the same."""
    compiled, draw = CompiledOperations(SCHEMA), random.Random(f"compiled {faults}")
    operations = Operations(SCHEMA._schema, draw)
    times_compiled = 0
    for number in range(OPERATIONS):
        text, variables = operations.operation()
        slow, fast = Context(number, faults), Context(number, faults)
        expected = await SCHEMA.execute(text, dict(variables), slow, operation_name="Q")
        found = await compiled.execute(text, dict(variables), fast, "Q")
        case = f"{faults} {number}\n{text}\n{variables}"
        assert str(found.data) == str(expected.data), case
        assert told(found) == told(expected), case
        if not expected.errors:
            assert sorted(fast.calls) == sorted(slow.calls), case
        await later(None, ROUNDS)
        times_compiled += compiled.is_compiled(text, "Q")
    assert times_compiled > OPERATIONS * 0.7


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("faults", [0.0, 0.02, 0.2])
async def test_random_subscriptions_are_answered_alike(faults: float) -> None:
    """Every event's data and errors are the same, what ends the events, and the calls of resolvers."""
    compiled, draw = CompiledOperations(SCHEMA), random.Random(f"events {faults}")
    operations = Operations(SCHEMA._schema, draw)
    times_compiled = events = 0
    for number in range(OPERATIONS):
        text, variables = operations.subscription()
        slow, fast = Context(number, faults), Context(number, faults)
        source: Any = await SCHEMA.subscribe(text, dict(variables), slow, operation_name="Q")
        expected = [each async for each in source]
        found = [each async for each in compiled.subscribe(text, dict(variables), fast, "Q")]
        case = f"{faults} {number}\n{text}\n{variables}"
        assert [str(each.data) for each in found] == [str(each.data) for each in expected], case
        assert [told(each) for each in found] == [told(each) for each in expected], case
        if not any(each.errors for each in expected):
            assert sorted(fast.calls) == sorted(slow.calls), case
        await later(None, ROUNDS)
        times_compiled += compiled.is_compiled(text, "Q")
        events += sum(each.data is not None for each in found)
    assert times_compiled > OPERATIONS * 0.7
    assert events > OPERATIONS


async def test_who_leaves_ends_the_source() -> None:
    """The generator of the events is closed with the one of the results."""
    ended = []

    @strawberry.type
    class Ticking:
        @strawberry.subscription
        async def ticks(self) -> AsyncGenerator[int, None]:
            try:
                for number in itertools.count():
                    yield number
            finally:
                ended.append(True)

    compiled = CompiledOperations(QuietSchema(Ever, subscription=Ticking))
    results = compiled.subscribe("subscription { ticks }", None, None, None)
    assert [(await anext(results)).data for _ in range(3)] == [{"ticks": number} for number in range(3)]
    assert compiled.is_compiled("subscription { ticks }")
    await results.aclose()
    assert ended == [True]


@pytest.mark.parametrize(
    ("text", "told_of"),
    [
        ("{ words }", "queries are not allowed"),
        ("subscription { trees { nothing } }", "Cannot query field 'nothing'"),
        ("subscription { __typename }", "must not select an introspection"),
        ("subscription($yes: Boolean!) { trees @skip(if: $yes) { name } }", "must not use `@skip` or `@include`"),
        ("subscription { trees(n: 2.5) { name } }", "Int cannot represent"),
        ("subscription {", "Syntax Error"),
    ],
)
async def test_what_is_no_subscription_is_told_by_strawberry(text: str, told_of: str) -> None:
    """Its only result, or what it raises, is Strawberry's."""
    compiled = CompiledOperations(SCHEMA)
    for _ in range(2):
        try:
            [result] = [each async for each in compiled.subscribe(text, {"yes": True}, Context(1, 0.0), None)]
        except Exception as error:  # noqa: BLE001  # what is raised is looked at
            shown = repr(error)
        else:
            shown = f"{result.data} {result.errors}"
        assert told_of in shown, shown


async def test_no_coroutine_is_left_behind() -> None:
    """Whatever fails, each coroutine is awaited by somebody; warnings about one are errors here."""
    compiled = CompiledOperations(SCHEMA)
    operations = Operations(SCHEMA._schema, random.Random("left behind"))
    for number in range(OPERATIONS):
        text, variables = operations.operation()
        await compiled.execute(text, variables, Context(number, 0.2), "Q")
        await later(None, ROUNDS)
    gc.collect()


@strawberry.type
class Ever:
    """A root of queries, where there has to be one."""

    here: bool = True


SLOW = [
    "mutation { grow(name: null) }",
    "{ words __schema { queryType { name } } }",
    '{ __type(name: "Leaf") { name } }',
    "query @marked { words }",
    "{ words @marked }",
    "{ words { letters } }",
    "{ words",
    "fragment F on Query { words }",
    "query A { words } query B { words }",
    "subscription { words }",
    "subscription { trees { name } }",
]


@pytest.mark.parametrize("text", SLOW)
async def test_what_is_no_plain_query_is_left_to_strawberry(text: str) -> None:
    """Its answer, or what it raises, is Strawberry's."""
    schema, compiled = SCHEMA, CompiledOperations(SCHEMA)

    async def outcome(execution: Awaitable[Any]) -> tuple[str, Any]:
        try:
            result = await execution
        except Exception as error:  # noqa: BLE001  # what is raised is compared
            return type(error).__name__, str(error)
        return str(result.data), told(result)

    expected = await outcome(schema.execute(text, None, Context(1, 0.0)))
    for _ in range(2):
        assert await outcome(compiled.execute(text, None, Context(1, 0.0), None)) == expected
    assert not compiled.is_compiled(text)


async def test_one_of_several_operations_is_compiled_by_its_name() -> None:
    """The name chooses, and each has functions of its own."""
    compiled, text = CompiledOperations(SCHEMA), "query A { a: words } query B { b: words }"
    for name in "AB":
        result = await compiled.execute(text, None, Context(1, 0.0), name)
        assert list(result.data or {}) == [name.lower()]
        assert compiled.is_compiled(text, name)


async def test_each_combination_of_conditions_is_compiled_by_itself() -> None:
    """@skip and @include may have variables, but so many alone; the values of others make no difference."""
    compiled = CompiledOperations(SCHEMA)
    text = "query($yes: Boolean!, $share: Float!) { words @include(if: $yes) w: words(share: $share) @skip(if: $yes) }"
    for yes, share in ((True, 0.5), (False, 0.5), (True, 0.25)):
        result = await compiled.execute(text, {"yes": yes, "share": share}, Context(1, 0.0), None)
        assert list(result.data or {}) == (["words"] if yes else ["w"])
    [operation] = compiled._cached.values()
    assert operation is not None
    assert sorted(operation.variants) == [(False,), (True,)]
    many = [f"$v{number}: Boolean! = true" for number in range(5)]
    fields = " ".join(f"w{number}: words @skip(if: $v{number})" for number in range(5))
    text = f"query({', '.join(many)}) {{ {fields} }}"
    assert (await compiled.execute(text, None, Context(1, 0.0), None)).data == {}
    assert not compiled.is_compiled(text)


async def test_a_text_is_validated_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second execution finds what the first has made."""
    validated = []

    def validate(*given: Any) -> Any:
        validated.append(given)
        return graphql.validate(*given)

    monkeypatch.setattr(operations_module, "validate", validate)
    compiled = CompiledOperations(SCHEMA)
    for _ in range(3):
        await compiled.execute("{ words }", None, Context(1, 0.0), None)
    assert len(validated) == 1


async def test_what_is_kept_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The least recently used texts go first; what is still used stays."""
    monkeypatch.setattr(operations_module, "CACHED_BYTES_MAX", 60_000)
    compiled = CompiledOperations(SCHEMA)
    for number in range(40):
        await compiled.execute(f"{{ w{number:02}: words }}", None, Context(1, 0.0), None)
        await compiled.execute("{ w00: words }", None, Context(1, 0.0), None)
        assert compiled.cached_bytes <= 60_000
    kept = [text for text, _ in compiled._cached]
    assert (len(kept), kept[-1], "{ w39: words }" in kept) == (60_000 // (4_096 + 150 * 14), "{ w00: words }", True)


async def test_a_huge_operation_is_interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Functions are made for so many fields at most."""
    monkeypatch.setattr(selections_module, "FIELDS_MAX", 10)
    compiled, text = CompiledOperations(SCHEMA), "{ " + " ".join(f"w{number}: words" for number in range(11)) + " }"
    result = await compiled.execute(text, None, Context(1, 0.0), None)
    assert (len(result.data or {}), compiled.is_compiled(text)) == (11, False)


class Watching(SchemaExtension):
    """An extension that sees every field."""

    async def resolve(self, _next: Any, root: Any, info: Any, *args: Any, **kwargs: Any) -> Any:
        """Counts it."""
        info.context.calls.append(info.field_name)
        value = _next(root, info, *args, **kwargs)
        return await value if inspect.isawaitable(value) else value


async def test_a_schema_whose_extensions_see_fields_is_never_compiled() -> None:
    """They would not see what compiled code does."""
    schema, context = schema_of_everything(extensions=[Watching]), Context(1, 0.0)
    compiled = CompiledOperations(schema)
    await compiled.execute("{ words }", None, context, None)
    assert context.calls[0] == "words"
    assert not compiled.is_compiled("{ words }")


@strawberry.type
class Meeting:
    """Resolvers that need one another."""

    @strawberry.field
    async def first(self, info: strawberry.Info[Any, None]) -> str:
        """Waits for the second."""
        async with asyncio.timeout(5):
            await info.context["second"].wait()
        info.context["first"].set()
        return "first"

    @strawberry.field
    async def second(self, info: strawberry.Info[Any, None]) -> str:
        """Lets the first go on, and waits for it."""
        info.context["second"].set()
        async with asyncio.timeout(5):
            await info.context["first"].wait()
        return "second"

    @strawberry.field
    async def endless(self, info: strawberry.Info[Any, None]) -> str:
        """Waits until it is cancelled, and says so."""
        try:
            await asyncio.Event().wait()
        finally:
            info.context["cancelled"] += 1
        return "never"

    @strawberry.field
    async def loaded(self, info: strawberry.Info[Any, None], key: int) -> int:
        """A value that is loaded together with others."""
        return int(await info.context["loader"].load(key))


async def test_resolvers_wait_side_by_side() -> None:
    """Each goes on while the other waits, and a time limit of a resolver ends that resolver alone."""
    compiled = CompiledOperations(QuietSchema(Meeting))
    context = {"first": asyncio.Event(), "second": asyncio.Event()}
    async with asyncio.timeout(10):
        result = await compiled.execute("{ first second }", None, context, None)
    assert (result.data, result.errors) == ({"first": "first", "second": "second"}, None)


async def test_a_cancelled_execution_cancels_every_resolver() -> None:
    """Nobody goes on when the request is over."""
    compiled, context = CompiledOperations(QuietSchema(Meeting)), {"cancelled": 0}
    task = asyncio.ensure_future(compiled.execute("{ a: endless b: endless c: endless }", None, context, None))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0)
    assert context["cancelled"] == 3


async def test_a_loader_loads_what_is_asked_side_by_side_at_once() -> None:
    """A batch is one, as in Strawberry's own execution."""
    batches: list[list[int]] = []

    async def load(keys: list[int]) -> list[int]:
        batches.append(keys)
        return [key * 10 for key in keys]

    schema, text = QuietSchema(Meeting), "{ a: loaded(key: 1) b: loaded(key: 2) c: loaded(key: 3) }"
    slow = await schema.execute(text, None, {"loader": DataLoader(load)})
    fast = await CompiledOperations(schema).execute(text, None, {"loader": DataLoader(load)}, None)
    assert slow.data == fast.data == {"a": 10, "b": 20, "c": 30}
    assert batches == [[1, 2, 3], [1, 2, 3]]


async def test_errors_are_given_to_the_schema() -> None:
    """`process_errors` sees them, wherever they arise."""
    schema = schema_of_everything()
    compiled = CompiledOperations(schema)
    await compiled.execute("{ root { name } }", None, Context(5, 1.0), None)
    assert isinstance(schema, QuietSchema)
    assert schema.processed == 1
    await compiled.execute("query($n: Int!) { must(n: $n) { name } }", {"n": "x"}, Context(5, 1.0), None)
    assert schema.processed == 2
