"""The router as people embed it: `await router.execute(...)`, without HTTP."""

import asyncio
import gc
import linecache
import tracemalloc
from collections.abc import AsyncIterator

import pytest

from tests.server.conftest import SUPERGRAPH
from tests.server.subgraphs import Renames, people, places
from trifolio import engine, turns
from trifolio.config import Config, OverrideConfig, SubgraphConfig
from trifolio.engine import LabelRules
from trifolio.errors import ConfigError, ErrorCode, SupergraphError
from trifolio.executor.local import LocalTransport
from trifolio.gateway import Router
from trifolio.limits import Limits
from trifolio.observer import FetchEnded, OperationEnded, OperationPlanned


class Recorder:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.planned: list[OperationPlanned] = []
        self.fetched: list[FetchEnded] = []
        self.ended: list[OperationEnded] = []

    def operation_planned(self, event: OperationPlanned, /) -> None:
        self.planned.append(event)

    def fetch_ended(self, event: FetchEnded, /) -> None:
        self.fetched.append(event)

    def operation_ended(self, event: OperationEnded, /) -> None:
        self.ended.append(event)


def make_router(config: Config | None = None, *, observer: Recorder | None = None) -> Router:
    transports = {"people": LocalTransport(people(Renames())), "places": LocalTransport(places())}
    return Router(SUPERGRAPH, config=config, transports=transports, observer=observer)


@pytest.fixture
async def router() -> AsyncIterator[Router]:
    async with make_router() as made:
        yield made


async def test_an_operation_is_answered(router: Router) -> None:
    """Data of both subgraphs comes back, and `to_json` is the GraphQL response."""
    response = await router.execute(
        "query Q($n: Int) { me { name homes(first: $n) { city } } }", variables={"n": 1}, operation_name="Q"
    )
    assert response.to_json() == {"data": {"me": {"name": "Ada", "homes": [{"city": "London"}]}}}
    assert response.refusal is None


async def test_headers_reach_the_subgraph_whatever_their_case(router: Router) -> None:
    """Header names are case-insensitive."""
    response = await router.execute("{ caller }", headers={"AUTHORIZATION": "Bearer t"})
    assert response.data == {"caller": "Bearer t"}


async def test_a_refused_operation_raises_nothing(router: Router) -> None:
    """What is wrong with a request stands in the response, which then has no data."""
    response = await router.execute("{ nothing }")
    assert "data" not in response.to_json()
    assert response.errors[0].code is ErrorCode.GRAPHQL_VALIDATION_FAILED
    assert response.errors[0].locations == ((1, 3),)


async def test_a_failing_resolver_keeps_its_own_message_and_path(router: Router) -> None:
    """What a subgraph says of its own error is the client's to read."""
    response = await router.execute("{ me { name } fail }")
    assert response.data == {"me": {"name": "Ada"}, "fail": None}
    [error] = response.errors
    assert (error.path, error.subgraph, error.code) == (("fail",), "people", ErrorCode.SUBGRAPH_ERROR)


async def test_introspection_shows_the_api_schema_only() -> None:
    """Clients see neither @inaccessible fields nor the federation machinery."""
    async with make_router(Config(introspection=True)) as router:
        query = '{ __schema { types { name fields { name } } } __type(name: "Person") { name } }'
        response = await router.execute(query)
    assert response.data is not None
    text = str(response.data)
    assert "passportNumber" not in text
    assert "join__" not in text
    assert "_entities" not in text


async def test_an_operation_is_planned_once() -> None:
    """The second request for a text finds its plan; another operation of the same document has its own."""
    seen = Recorder()
    async with make_router(observer=seen) as router:
        text = "query A { caller } query B { me { name } }"
        for name in ("A", "B", "A", "B"):
            await router.execute(text, operation_name=name)
    assert [event.fetches for event in seen.planned] == [1, 1]
    assert [(event.name, event.plan_cached) for event in seen.ended] == [
        ("A", False), ("B", False), ("A", True), ("B", True),
    ]  # fmt: skip
    assert [event.subgraph for event in seen.fetched] == ["people"] * 4


NAMED = "query %s($n: Int) { me { name homes(first: $n) { city } } }"


async def test_a_name_makes_no_other_plan() -> None:
    """Operations that differ in their names alone are planned once, answered alike, and each is counted under its own
    name; a name that is asked for has to be there."""
    seen = Recorder()
    async with make_router(observer=seen) as router:
        answers = [
            await router.execute(NAMED % name, variables={"n": 1}, operation_name=asked)
            for name, asked in (("A", None), ("B", "B"), ("C", ""), ("A", None))
        ]
        missing = await router.execute(NAMED % "D", operation_name="A")
        other = await router.execute(NAMED.replace("homes", "h: homes") % "A", variables={"n": 1})
    assert [answer.to_json() for answer in answers] == [answers[0].to_json()] * 4
    assert [(event.name, event.plan_cached) for event in seen.ended] == [
        ("A", False), ("B", False), ("C", False), ("A", True), (None, False), ("A", False),
    ]  # fmt: skip
    assert missing.refusal is not None
    assert other.data == {"me": {"name": "Ada", "h": [{"city": "London"}]}}
    assert len(seen.planned) == 2


async def test_a_longer_name_may_be_one_too_many() -> None:
    """A text that is too long because of its name is refused, though its plan is there."""
    limits = Limits(document_bytes_max=len(NAMED % "A") + 5)
    async with make_router(Config(limits=limits)) as router:
        assert (await router.execute(NAMED % "A")).refusal is None
        refusal = (await router.execute(NAMED % "A_longer_name")).refusal
    assert refusal is not None
    assert refusal.code is ErrorCode.DOCUMENT_TOO_LARGE


async def test_the_plan_cache_forgets_what_was_used_longest_ago() -> None:
    """The cache holds as many operations as the limit says, the recently used ones."""
    seen = Recorder()
    async with make_router(Config(limits=Limits(plan_cache_entries_max=2)), observer=seen) as router:
        for text in ("{ caller }", "{ me { name } }", "{ caller }", "{ me { id } }", "{ caller }", "{ me { name } }"):
            await router.execute(text)
    assert [event.plan_cached for event in seen.ended] == [False, False, True, False, True, False]


async def test_the_plan_cache_is_bounded_by_what_plans_take() -> None:
    """A short document whose plan is large does not fill the memory: plans are kept up to a number of bytes."""
    seen = Recorder()
    wide = "{ me { " + " ".join(f"a{n}: name" for n in range(500)) + " } }"
    async with make_router(Config(limits=Limits(plan_cache_bytes_max=100_000)), observer=seen) as router:
        for text in ("{ caller }", "{ me { id } }", "{ caller }", wide, "{ caller }", "{ me { id } }", wide):
            await router.execute(text)
        assert router.state.plans == 2
        assert 0 < router.state.plans_bytes <= 100_000
    assert [event.plan_cached for event in seen.ended] == [False, False, True, False, True, True, False]


@pytest.mark.parametrize(
    "text",
    [
        "{ caller }",
        "{ me { id name homes { city } } }",
        "{ me { " + " ".join(f"a{n}: name" for n in range(300)) + " } }",
        "{ " + " ".join(f"a{n}: me {{ id name homes {{ city }} }}" for n in range(60)) + " }",
    ],
    ids=["tiny", "small", "wide", "many"],
)
async def test_the_size_of_a_plan_is_what_it_takes(text: str) -> None:
    """What the cache counts for an operation is between half and three times of what is allocated for it."""
    async with make_router() as router:
        for _ in range(3):
            await router.execute(text + " #")
        before_bytes = router.state.plans_bytes
        gc.collect()
        tracemalloc.start()
        for number in range(5):
            for _ in range(3):
                await router.execute(f"{text} #{number}")
        gc.collect()
        taken, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        counted = router.state.plans_bytes - before_bytes
    assert taken / 2 < counted < taken * 3


async def test_a_refusal_holds_nothing_of_its_document() -> None:
    """A refusal that is remembered keeps no frame, and so no document, in memory: its texts are all there is."""
    router = make_router()
    for _ in range(2):
        refusal = (await router.execute("{ nothing }")).refusal
        assert refusal is not None
        assert (refusal.__traceback__, refusal.__context__, refusal.__cause__) == (None, None, None)


async def test_a_refusal_is_remembered() -> None:
    """What was refused for its text is refused again without being looked at, and does not push out plans."""
    texts = ["{ nothing }", "{ me", "query A { caller } query B { caller }"]
    limits = Limits(refusal_cache_bytes_max=5_000)
    async with make_router(Config(limits=limits)) as router:
        first = [await router.execute(text) for text in texts]
        assert router.state.refusals == len(texts)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(router, "_prepare", None)
            again = [await router.execute(text) for text in texts]
        assert [each.to_json() for each in again] == [each.to_json() for each in first]
        for number in range(100):
            await router.execute(f"{{ nothing{number} }}")
        assert 1 < router.state.refusals < 10
        assert router.state.plans == 0


async def test_a_request_is_refused_where_its_work_is_spent() -> None:
    """An operation that takes more work than the limit is the client's fault, with its own code."""
    async with make_router(Config(limits=Limits(request_work_max=100))) as router:
        response = await router.execute("{ me { id name homes { city } } }")
        assert response.data is None
        assert [error.code for error in response.errors] == [ErrorCode.OPERATION_TOO_COSTLY]
        assert response.refusal is not None
        assert response.refusal.status == 400


async def test_operations_asked_for_at_once_are_prepared_once() -> None:
    """Who asks for what is being prepared waits for it, also when the first who asked has gone."""
    seen = Recorder()
    async with make_router(observer=seen) as router:
        asking = [asyncio.create_task(router.execute("{ me { name } }")) for _ in range(5)]
        await asyncio.sleep(0)
        asking[0].cancel()
        answers = await asyncio.gather(*asking[1:])
    assert [answer.data for answer in answers] == [answers[0].data] * 4
    assert answers[0].data is not None
    assert len(seen.planned) == 1


async def test_what_nobody_waits_for_any_more_is_not_prepared(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the last who asked has gone, preparing ends; whoever asks later begins anew."""
    monkeypatch.setattr(turns, "SLICE_S", 0)  # it takes several
    seen = Recorder()
    async with make_router(observer=seen) as router:
        text = "{ me { " + " ".join(f"a{n}: name" for n in range(200)) + " } }"
        asking = [asyncio.create_task(router.execute(text)) for _ in range(3)]
        for _ in range(5):
            await asyncio.sleep(0)
        for each in asking:
            each.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        assert not router._preparing
        for _ in range(100):
            await asyncio.sleep(0)
        assert not seen.planned
        assert (await router.execute(text)).errors == ()
    assert len(seen.planned) == 1


async def test_who_waits_too_long_for_a_plan_is_told_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of an operation counts from when it came: a long queue ends in OVERLOADED, which is not remembered."""
    async with make_router(Config(limits=Limits(operation_timeout_ms=400))) as router:
        never = asyncio.Event()

        async def wait(*_: object) -> None:
            await never.wait()

        with monkeypatch.context() as patch:
            patch.setattr(router._turns, "run", wait)
            response = await router.execute("{ me { name } }")
        assert [error.code for error in response.errors] == [ErrorCode.OVERLOADED]
        assert (await router.execute("{ me { name } }")).errors == ()


async def test_too_many_that_are_prepared_at_once_are_refused_for_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit the answer is OVERLOADED, and that is not remembered; others are served between slices."""
    monkeypatch.setattr(turns, "SLICE_S", 0)  # each operation takes several
    async with make_router(Config(limits=Limits(computations_max=2))) as router:
        texts = ["{ me { " + " ".join(f"a{number}b{n}: name" for n in range(200)) + " } }" for number in range(4)]
        await router.execute("{ caller }")
        ended: list[int] = []

        async def ask(number: int, text: str) -> list[ErrorCode]:
            answer = await router.execute(text)
            ended.append(number)
            return [error.code for error in answer.errors]

        codes = await asyncio.gather(*map(ask, range(5), [*texts, "{ caller }"]))
        assert sorted(map(len, codes)) == [0, 0, 0, 1, 1]
        assert [code for each in codes for code in each] == [ErrorCode.OVERLOADED] * 2
        assert 4 in ended[:3]
        assert [await ask(0, text) for text in texts] == [[]] * 4


async def test_a_bug_is_an_answer(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever raises inside, the client gets INTERNAL_SERVER_ERROR and the log the cause with the request's id."""

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a secret")

    async with make_router() as router:
        await router.execute("{ caller }")
        for name in ("execute", "coerce_variables", "read_document"):
            caplog.clear()
            with monkeypatch.context() as patch:
                patch.setattr(engine, name, fail)
                text = "{ caller } # new" if name == "read_document" else "{ caller }"
                response = await router.execute(text, headers={"X-Request-Id": "request-7"})
            assert [error.code for error in response.errors] == [ErrorCode.INTERNAL_SERVER_ERROR]
            assert "secret" not in str(response.to_json())
            [record] = caplog.records
            assert record.exc_info is not None
            assert record.exc_info[0] is ZeroDivisionError
            assert getattr(record, "fields", {})["request_id"] == "request-7"
        assert (await router.execute("{ caller }")).errors == ()


async def test_what_leaves_the_plan_cache_leaves_the_memory() -> None:
    """Of operations that the cache forgot, neither the plan nor the text of its generated code is kept."""

    def texts() -> int:
        gc.collect()
        return sum(name.startswith("<plan ") for name in linecache.cache)

    before = texts()
    async with make_router(Config(limits=Limits(plan_cache_entries_max=5))) as router:
        for number in range(40):
            for _ in range(3):
                await router.execute(f"query Q{number} {{ me {{ a{number}: name }} }}")
        assert texts() - before == 5


BIG = {
    "depth": "{ me " + "{ boss " * 97 + "{ name }" + " }" * 98,
    "aliases": "{ me { " + " ".join(f"a{n}: name" for n in range(1_000)) + " } }",
    "root fields": "{ " + " ".join(f"a{n}: caller" for n in range(200)) + " }",
    "fragments": "{ me { ...F0 } } "
    + " ".join(f"fragment F{n} on Person {{ b{n}: boss {{ ...F{n + 1} }} }}" for n in range(90))
    + " fragment F90 on Person { name }",
}


@pytest.mark.parametrize("query", BIG.values(), ids=BIG)
async def test_what_the_limits_allow_is_answered(router: Router, query: str) -> None:
    """An operation just within the limits of size is answered, within the work that a request may cost."""
    response = await router.execute(query)
    assert response.errors == ()
    assert response.data


async def test_many_requests_at_once_do_not_mix(router: Router) -> None:
    """A hundred requests with different callers each get their own answer."""
    responses = await asyncio.gather(
        *(router.execute("{ caller me { homes { city } } }", headers={"authorization": str(n)}) for n in range(100))
    )
    assert [response.data["caller"] for response in responses if response.data] == [str(n) for n in range(100)]


async def test_introspection_is_off_by_default() -> None:
    """Unless it is switched on, __schema is refused and __typename answered."""
    async with make_router() as router:
        assert (await router.execute("{ __schema { description } }")).refusal is not None
        assert (await router.execute("{ __typename me { __typename } }")).data == {
            "__typename": "Query",
            "me": {"__typename": "Person"},
        }


def test_names_that_the_supergraph_lacks_are_refused() -> None:
    """A transport or a configuration for an unknown subgraph is a mistake that names the known ones."""
    with pytest.raises(ConfigError, match="no subgraph 'peple'; it has people, places"):
        Router(SUPERGRAPH, transports={"peple": LocalTransport(people())})
    with pytest.raises(ConfigError, match="no subgraph 'peple'"):
        Router(SUPERGRAPH, config=Config(subgraphs={"peple": SubgraphConfig()}))


@pytest.mark.parametrize("text", ["", "<html>", "type Query { a: Int }", "{"])
def test_a_text_that_is_no_supergraph_is_refused(text: str) -> None:
    """The router does not start with something else."""
    with pytest.raises(SupergraphError):
        Router(text)


# ---- progressive @override ----


def test_percent_labels_split_requests_and_stick() -> None:
    """percent(n) holds for about n percent of the callers, always the same ones, and grows without losing any."""
    rules = LabelRules(frozenset({"percent(10)", "percent(50.5)", "percent(100)"}), Config())
    chosen = [rules.decide({"authorization": f"Bearer {n}"}) for n in range(2_000)]
    assert chosen == [rules.decide({"authorization": f"Bearer {n}"}) for n in range(2_000)]
    assert 140 < sum("percent(10)" in labels for labels in chosen) < 260
    assert 920 < sum("percent(50.5)" in labels for labels in chosen) < 1_100
    assert all("percent(100)" in labels for labels in chosen)
    assert all("percent(50.5)" in labels for labels in chosen if "percent(10)" in labels)


def test_configured_labels_hold_or_not_for_every_request() -> None:
    """The configuration decides all labels but percent(n)."""
    config = Config(override=OverrideConfig(labels={"on": True, "off": False, "unused": True}))
    rules = LabelRules(frozenset({"on", "off", "neither", "percent(100)"}), config)
    assert rules.decide({}) == {"on", "percent(100)"}


def test_a_supergraph_without_labels_decides_nothing() -> None:
    """Where nothing is overridden progressively, no request pays for it."""
    assert not LabelRules(frozenset(), Config()).in_use
