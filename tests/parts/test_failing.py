"""What goes wrong in a part costs the part, or less; the others are whole, and each error is told once."""

import asyncio
import json
from typing import Any

import pytest

from tests.parts.world import DEFER, DOWN, INCREMENTAL, Served, complaints, serving, whole
from trifolio.config import Config
from trifolio.errors import ErrorCode, SubgraphError
from trifolio.executor.transport import SubgraphRequest, SubgraphResponse
from trifolio.limits import Limits
from trifolio.server.log import JsonFormatter


async def parts_of(served: Served, query: str) -> tuple[Any, dict[str, Any]]:
    """The first answer, and the later parts by their label."""
    response = await served.post(query)
    first, *later = whole(response.content, response.headers["content-type"])
    parts = [each for part in later for each in part["incremental"]]
    assert len({each["label"] for each in parts}) == len(parts)
    return first, {each["label"]: each for each in parts}


async def test_a_subgraph_that_is_down_costs_its_own_fields() -> None:
    """Its nullable fields are null, with its error in the part that asked; the other parts are whole."""
    query = '{ me { name ... @defer(label: "homes") { homes { city } } ... @defer(label: "owed") { owed } } }'
    async with serving() as served:
        served.world.places.failure = DOWN
        served.world.places.open.set()
        first, parts = await parts_of(served, query)
    assert first == {"data": {"me": {"name": "Ada"}}, "hasNext": True}
    assert parts["owed"] == {"path": ["me"], "label": "owed", "data": {"owed": 1}}
    assert parts["homes"]["data"] == {"homes": None}
    [error] = parts["homes"]["errors"]
    assert (error["path"], error["extensions"]) == (
        ["me", "homes"],
        {"code": "SUBGRAPH_UNREACHABLE", "subgraph": "places"},
    )


async def test_a_null_that_may_not_stand_ends_its_part() -> None:
    """The part has no data and says why; what the client has stays, and other parts come."""
    query = '{ me { name ... @defer(label: "roof") { roof { city } } ... @defer(label: "owed") { owed } } }'
    async with serving() as served:
        served.world.places.open.set()
        _, parts = await parts_of(served, query)
    assert parts["roof"]["data"] is None
    assert [error["path"][:2] for error in parts["roof"]["errors"]] == [["me", "roof"]]
    assert parts["owed"]["data"] == {"owed": 1}


async def test_in_the_newer_format_a_failed_part_is_completed_with_its_errors() -> None:
    """It brings no increment, and its errors stand with its end."""
    async with serving() as served:
        served.world.places.open.set()
        response = await served.post("{ me { name ... @defer { roof { city } } } }", accept=INCREMENTAL)
        _, last = whole(response.content, response.headers["content-type"])
    assert "incremental" not in last
    [completed] = last["completed"]
    assert (completed["id"], len(completed["errors"])) == ("0", 1)


async def test_what_is_inside_a_failed_part_never_comes() -> None:
    """A part within a part that failed was not announced and does not come."""
    query = '{ me { name ... @defer(label: "out") { roof { city } boss { ... @defer(label: "in") { owed } } } } }'
    async with serving() as served:
        served.world.places.open.set()
        _, parts = await parts_of(served, query)
    assert parts.keys() == {"out"}


async def test_an_error_of_a_subgraph_is_told_once_in_its_part() -> None:
    """An error with a path stands in the part that shows the path, as the subgraph put it."""
    query = '{ me { name ... @defer(label: "a") { lost } ... @defer(label: "b") { owed } } }'
    async with serving() as served:
        served.world.places.open.set()
        first, parts = await parts_of(served, query)
    assert "errors" not in first
    assert "errors" not in parts["b"]
    [error] = parts["a"]["errors"]
    assert (error["message"], error["path"]) == ("it is lost", ["me", "lost"])


class Grumbling:
    """A subgraph that has data, and an error about none of it."""

    async def send(self, request: SubgraphRequest, /) -> SubgraphResponse:
        """Data and an error without a path."""
        count = len(request.variables["representations"])  # type: ignore[arg-type] # a list, by what was planned
        entities = [{"homes": [{"city": "Oslo"}], "lost": "found"} for _ in range(count)]
        return SubgraphResponse(payload={"data": {"_entities": entities}, "errors": [{"message": "it grumbles"}]})

    async def close(self) -> None:
        """Nothing is held."""


async def test_an_error_without_a_path_is_told_once() -> None:
    """It is told with something, and not with everything."""
    query = "{ everyone { name ... @defer { homes { city } } ... @defer { owed } } }"
    async with serving(transports={"places": Grumbling()}) as served:
        response = await served.post(query)
        parts = whole(response.content, response.headers["content-type"])
    told = [error for part in parts for error in part.get("errors", ())]
    told += [error for part in parts for each in part.get("incremental", ()) for error in each.get("errors", ())]
    assert [error["message"] for error in told] == ["it grumbles"]


SLOW = '{ me { name ... @defer(label: "homes") { homes { city } } ... @defer(label: "owed") { owed } } }'


@pytest.mark.parametrize("accept", [DEFER, INCREMENTAL])
async def test_what_is_left_when_time_is_over_fails(accept: str) -> None:
    """After `operation_timeout_ms` the parts that are left end with a code, the body ends, the connection goes on."""
    config = Config(limits=Limits(operation_timeout_ms=100))
    with complaints() as found:
        async with serving(config) as served:
            async with served.asking(SLOW, accept=accept) as stream:
                *_, last = await stream.rest()
            assert last["hasNext"] is False
            assert "OPERATION_TIMEOUT" in json.dumps(last)
            await served.has_nothing_in_flight()
            assert served.world.places.cancelled == 1
            assert (await served.post("{ me { name } }")).json() == {"data": {"me": {"name": "Ada"}}}
            assert [each.codes for each in served.world.told.ended] == [("OPERATION_TIMEOUT",), ()]
    assert found == []


async def test_a_bug_in_a_transport_costs_its_part() -> None:
    """An exception that nobody expected fails its fetch with a code, and the cause stays here."""
    async with serving() as served:
        served.world.places.failure = ZeroDivisionError("the secret is hunter2")
        served.world.places.open.set()
        first, parts = await parts_of(served, SLOW)
    assert first["data"] == {"me": {"name": "Ada"}}
    assert parts["homes"]["data"] == {"homes": None}
    assert parts["homes"]["errors"][0]["extensions"]["code"] == "INTERNAL_SERVER_ERROR"
    assert parts["owed"]["data"] == {"owed": 1}
    assert "hunter2" not in json.dumps(parts)


async def test_a_bug_in_the_router_ends_what_is_left(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The parts that are left fail with a code, the body ends whole, and the log has the stack under the id."""

    def broken(*_: object) -> None:
        raise ZeroDivisionError("/srv/router")

    with complaints() as found:
        async with serving() as served:
            async with served.asking(SLOW, headers={"x-request-id": "request-0001"}) as stream:
                await stream.next()
                monkeypatch.setattr(served.world.told, "fetch_ended", broken)
                served.world.places.open.set()
                *_, last = await stream.rest()
            assert last["hasNext"] is False
            assert "INTERNAL_SERVER_ERROR" in json.dumps(last)
            assert "/srv" not in json.dumps(last)
            await served.has_nothing_in_flight()
    [record] = [each for each in caplog.records if each.name == "trifolio.error"]
    line = json.loads(JsonFormatter().format(record))
    assert line["request_id"] == "request-0001"
    assert "ZeroDivisionError" in line["exception"]
    assert found == []


async def test_the_first_answer_can_be_too_late() -> None:
    """Where the first answer takes too long there are no parts, and the whole answer is a 504."""
    config = Config(limits=Limits(operation_timeout_ms=50))
    async with serving(config) as served:
        served.world.people.open.clear()
        response = await served.post(SLOW)
    assert response.status_code == 504
    assert response.json()["errors"][0]["extensions"]["code"] == "OPERATION_TIMEOUT"


async def test_parts_share_the_limit_of_errors() -> None:
    """All parts together tell no more errors than one answer may."""
    config = Config(limits=Limits(answer_errors_max=2))
    async with serving(config) as served:
        served.world.places.failure = SubgraphError(ErrorCode.SUBGRAPH_UNREACHABLE, "places")
        served.world.places.open.set()
        response = await served.post("{ everyone { name ... @defer { homes { city } } ... @defer { lost } } }")
        parts = whole(response.content, response.headers["content-type"])
    told = [error for part in parts for each in part.get("incremental", ()) for error in each.get("errors", ())]
    assert len(told) == 2


async def test_streams_do_not_mix() -> None:
    """Many streams at once over one plan each get their own parts."""
    async with serving() as served:
        served.world.places.open.set()
        responses = await asyncio.gather(*(served.post(SLOW) for _ in range(30)))
        bodies = [whole(each.content, each.headers["content-type"]) for each in responses]
    for first, *later in bodies:
        parts = [each for part in later for each in part["incremental"]]
        assert first == {"data": {"me": {"name": "Ada"}}, "hasNext": True}
        assert sorted(each["label"] for each in parts) == ["homes", "owed"]


@pytest.mark.parametrize(("values_max", "part"), [(3, {"owed": 1}), (2, None)])
async def test_parts_share_the_limit_of_values(values_max: int, part: object) -> None:
    """What is beyond the limit on an answer's values fails with its code, and what came before stands."""
    async with serving(Config(limits=Limits(answer_values_max=values_max))) as served:
        first, parts = await parts_of(served, '{ me { name ... @defer(label: "owed") { owed } } }')
    assert first == {"data": {"me": {"name": "Ada"}}, "hasNext": True}
    assert parts["owed"]["data"] == part
    codes = [error["extensions"]["code"] for error in parts["owed"].get("errors", ())]
    assert codes == ([] if part else ["ANSWER_TOO_LARGE"])


async def test_the_first_answer_can_be_too_large() -> None:
    """Then it is the whole answer: no part follows."""
    async with serving(Config(limits=Limits(answer_values_max=1))) as served:
        response = await served.post('{ me { name ... @defer(label: "owed") { owed } } }')
    assert response.json()["data"] is None
    assert [error["extensions"]["code"] for error in response.json()["errors"]] == ["ANSWER_TOO_LARGE"]
