"""An answer in parts over HTTP: its bytes, and that every part can be read as soon as it is sent."""

import json
import logging
from typing import Any

import pytest

from tests.parts.world import DEFER, INCREMENTAL, Served, Stream, serving, whole
from trifolio.config import Config, MetricsConfig
from trifolio.server.log import JsonFormatter

QUERY = """
    {
      me {
        name
        ... @defer(label: "homes") { homes { city } boss { name ... @defer(label: "inner") { owed } } }
      }
    }
"""
HEAD = b"content-type: application/json; charset=utf-8"
GOLDEN = {
    DEFER: (
        'multipart/mixed;boundary="graphql";deferSpec=20220824',
        [
            b'{"data":{"me":{"name":"Ada"}},"hasNext":true}',
            b'{"incremental":[{"path":["me"],"data":{"homes":[{"city":"London"}],"boss":{"name":"Bob"}},'
            b'"label":"homes"},'
            b'{"path":["me","boss"],"data":{"owed":2},"label":"inner"}],"hasNext":false}',
        ],
    ),
    INCREMENTAL: (
        'multipart/mixed;boundary="graphql";incrementalSpec=v0.2',
        [
            b'{"data":{"me":{"name":"Ada"}},"hasNext":true,"pending":[{"id":"0","path":["me"],"label":"homes"}]}',
            b'{"pending":[{"id":"1","path":["me","boss"],"label":"inner"}],'
            b'"incremental":[{"id":"0","data":{"homes":[{"city":"London"}],"boss":{"name":"Bob"}}},'
            b'{"id":"1","data":{"owed":2}}],'
            b'"completed":[{"id":"0"},{"id":"1"}],"hasNext":false}',
        ],
    ),
}


def body_of(parts: list[bytes]) -> bytes:
    """A multipart body as RFC 2046 has it."""
    return b"".join(b"\r\n--graphql\r\n" + HEAD + b"\r\n\r\n" + part for part in parts) + b"\r\n--graphql--\r\n"


@pytest.mark.parametrize("accept", GOLDEN)
async def test_the_bytes_are_these(accept: str) -> None:
    """Both formats, byte by byte: headers, labels, a nested part."""
    content_type, parts = GOLDEN[accept]
    async with serving() as served, served.asking(QUERY, accept=accept) as stream:
        await stream.next()
        await served.world.debts.asked.wait()
        served.world.places.open.set()
        await stream.rest()
        assert stream.response.status_code == 200
        assert stream.response.headers["content-type"] == content_type
        assert stream.body == body_of(parts)


@pytest.mark.parametrize("accept", GOLDEN)
async def test_the_first_answer_waits_for_no_part(accept: str) -> None:
    """While the deferred fetch is under way, the first part can be read to the boundary after it."""
    async with serving() as served, served.asking(QUERY, accept=accept) as stream:
        first = await stream.next()
        assert (first["data"], first["hasNext"]) == ({"me": {"name": "Ada"}}, True)
        assert served.world.places.in_flight == 1
        served.world.places.open.set()
        assert (await stream.rest())[-1]["hasNext"] is False


async def test_parts_come_as_they_are_ready() -> None:
    """A part whose fetch has ended comes before one that stands further up in the operation."""
    query = '{ me { id ... @defer(label: "slow") { homes { city } } ... @defer(label: "quick") { owed } } }'
    async with serving() as served, served.asking(query) as stream:
        await stream.next()
        quick = await stream.next()
        assert quick == {
            "incremental": [{"path": ["me"], "label": "quick", "data": {"owed": 1}}],
            "hasNext": True,
        }
        served.world.places.open.set()
        [slow] = await stream.rest()
        assert slow["incremental"][0]["data"] == {"homes": [{"city": "London"}]}


async def test_every_object_of_a_list_has_its_part() -> None:
    """A fragment below a list comes once for each object, with its index in the path."""
    async with serving() as served:
        served.world.places.open.set()
        response = await served.post("{ everyone { name ... @defer { homes { city } } } }")
        _, *later = whole(response.content, response.headers["content-type"])
        found = {tuple(each["path"]): each["data"] for part in later for each in part["incremental"]}
    assert found == {
        ("everyone", index): {"homes": [{"city": city}]} for index, city in enumerate(("London", "Turin", "Graz"))
    }
    assert not any("label" in each for part in later for each in part["incremental"])


async def test_what_was_said_is_not_said_again() -> None:
    """In the newer format a part adds keys to objects that are there, at a path below its own."""
    query = "{ me { boss { name } ... @defer { boss { owed } } } }"
    async with serving() as served:
        response = await served.post(query, accept=INCREMENTAL)
        first, later = whole(response.content, response.headers["content-type"])
    assert first["data"] == {"me": {"boss": {"name": "Bob"}}}
    assert first["pending"] == [{"id": "0", "path": ["me"]}]
    assert later["incremental"] == [{"id": "0", "data": {"owed": 2}, "subPath": ["boss"]}]
    assert later["completed"] == [{"id": "0"}]


async def test_the_headers_are_those_of_every_answer() -> None:
    """A stream has its request's id, is not kept by anybody, and cannot be taken for something else."""
    async with serving() as served:
        served.world.places.open.set()
        async with served.asking(QUERY, headers={"x-request-id": "request-0001"}) as stream:
            await stream.rest()
            headers = stream.response.headers
    assert headers["x-request-id"] == "request-0001"
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert "content-length" not in headers


async def test_the_connection_serves_the_next_request() -> None:
    """When the last boundary has been sent, the connection is free again."""
    async with serving() as served:
        served.world.places.open.set()
        streams = []
        for _ in range(3):
            async with served.asking(QUERY) as stream:
                await stream.rest()
                streams.append(stream.response.extensions["network_stream"].get_extra_info("client_addr"))
    assert len(set(streams)) == 1


async def test_a_get_is_answered_in_parts_and_a_head_is_refused() -> None:
    """GET asks as POST does; HEAD has nothing to ask for."""
    async with serving() as served:
        served.world.places.open.set()
        headers = {"accept": DEFER, "apollo-require-preflight": "1"}
        response = await served.client.get("/graphql", params={"query": QUERY}, headers=headers)
        assert len(whole(response.content, response.headers["content-type"])) > 1
        head = await served.client.head("/graphql", params={"query": QUERY}, headers=headers)
        assert (head.status_code, head.content) == (405, b"")


async def read(served: Served, query: str) -> list[Any]:
    """An answer's parts."""
    async with served.asking(query) as stream:
        return await stream.rest()


async def test_a_stream_is_logged_and_counted_once(caplog: pytest.LogCaptureFixture) -> None:
    """One line in the access log, with the codes of all parts, and one response and operation in the metrics."""
    caplog.set_level(logging.INFO, "trifolio.access")
    async with serving(Config(metrics=MetricsConfig(public=True))) as served:
        served.world.places.open.set()
        await read(served, "{ me { name ... @defer { lost } ... @defer { owed } } }")
        metrics = (await served.client.get("/metrics")).text.splitlines()
    line = json.loads(JsonFormatter().format(next(each for each in caplog.records if each.name == "trifolio.access")))
    assert (line["method"], line["path"], line["status"]) == ("POST", "/graphql", 200)
    assert line["codes"] == ["SUBGRAPH_ERROR"]
    assert [each.codes for each in served.world.told.ended] == [("SUBGRAPH_ERROR",)]
    for expected in (
        'router_http_responses_total{status="200"} 1',
        "router_http_requests_in_flight 1",
        'router_operation_seconds_count{kind="query"} 1',
        'router_errors_total{code="SUBGRAPH_ERROR"} 1',
    ):
        assert expected in metrics


async def test_a_part_can_be_read_byte_by_byte() -> None:
    """However the network cuts the body, its parts are the same."""
    async with serving() as served:
        served.world.places.open.set()
        response = await served.post(QUERY)
        expected = whole(response.content, response.headers["content-type"])
        stream = Stream(response)
        found = [part for byte in response.content for part in stream._reader.feed(bytes([byte]))]
    assert [json.loads(each) for each in found] == expected
