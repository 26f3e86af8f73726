"""`trifolio dev`: what is served while subgraphs change, break, go and come back."""

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.server.conftest import listening
from tests.server.subgraphs import PEOPLE_SDL, SubgraphApp, people
from trifolio.command.development import DevServer, repeat
from trifolio.config import Config, SubgraphConfig
from trifolio.executor.local import LocalTransport

NAME = {"query": "{ me { name } }"}
BOTH = {"query": "{ me { name homes { city } } }"}


class Bench:
    """Two subgraphs under development: a running one and one whose SDL is a file."""

    def __init__(self, folder: Path, url: str, app: SubgraphApp) -> None:
        self.people = app
        self.places = folder / "places.graphql"
        self.yaml = folder / "supergraph.yaml"
        self.yaml.write_text(
            "subgraphs:\n"
            f"  people: {{schema: {{subgraph_url: '{url}'}}}}\n"
            "  places: {routing_url: 'http://127.0.0.1:1', schema: {file: places.graphql}}\n"
        )
        config = Config(introspection=True, subgraphs={"places": SubgraphConfig(timeout_ms=1_000)})
        self.server = DevServer(self.yaml, config, {})
        transport = httpx.ASGITransport(self.server)
        self.client = httpx.AsyncClient(transport=transport, base_url="http://dev")

    def change_people(self, old: str, new: str) -> None:
        """Edit the running subgraph's SDL."""
        assert old in PEOPLE_SDL
        self.people.transport = LocalTransport(people(sdl=PEOPLE_SDL.replace(old, new)))

    async def refresh(self) -> None:
        await self.server.refresh()

    async def code(self, body: dict[str, str]) -> str | None:
        """The code of the first error of an answer; None where it has none."""
        answer = (await self.client.post("/graphql", json=body)).json()
        code: str | None = answer["errors"][0]["extensions"]["code"] if "errors" in answer else None
        return code


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    app = SubgraphApp(people())
    async with listening(app) as url:
        bench = Bench(tmp_path, url, app)
        async with bench.client:
            yield bench
        await bench.server.close()


PLACES = 'type Person @key(fields: "id") { id: ID! homes: [Place!] } type Place { city: String! }'


async def test_before_anything_composed_it_is_not_ready(bench: Bench) -> None:
    """Until the first composition every request is a 503 with a code."""
    response = await bench.client.get("/ready")
    assert response.status_code == 503
    assert await bench.code(NAME) == "NOT_READY"


async def test_a_subgraph_that_is_not_there_yet_is_left_out(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """The others are served, one line says why it is missing, and it joins when it is there."""
    await bench.refresh()
    await bench.refresh()
    assert await bench.code(NAME) is None
    assert await bench.code(BOTH) == "GRAPHQL_VALIDATION_FAILED"
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert warnings[0].startswith("places: ")
    assert warnings[0].endswith("there is no such file; it is left out")
    bench.places.write_text(PLACES)
    await bench.refresh()
    assert await bench.code(BOTH) == "SUBGRAPH_UNREACHABLE"


async def test_a_change_is_served_once_it_composes(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """A new field is there after the next look; a change that does not compose is told and leaves the last in place."""
    await bench.refresh()
    nick = {"query": '{ __type(name: "Query") { fields { name } } nick }'}
    assert await bench.code(nick) == "GRAPHQL_VALIDATION_FAILED"
    bench.change_people("caller: String", "caller: String nick: String")
    await bench.refresh()
    assert await bench.code(nick) != "GRAPHQL_VALIDATION_FAILED"
    bench.change_people("caller: String", "caller: Nothing")
    await bench.refresh()
    assert await bench.code(nick) != "GRAPHQL_VALIDATION_FAILED"
    assert any("do not compose" in record.getMessage() for record in caplog.records)


async def test_a_subgraph_that_goes_keeps_its_last_schema(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """A subgraph that is gone costs its fields alone, and its return is told."""
    caplog.set_level(logging.INFO, "trifolio.dev")
    bench.places.write_text(PLACES)
    await bench.refresh()
    bench.places.unlink()
    await bench.refresh()
    assert await bench.code(BOTH) == "SUBGRAPH_UNREACHABLE"
    bench.places.write_text(PLACES)
    await bench.refresh()
    told = [record.getMessage() for record in caplog.records if record.name == "trifolio.dev"]
    assert told[-2].endswith("its last schema stays")
    assert told[-1] == "places is back"


async def test_a_broken_configuration_is_told_and_changes_nothing(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """While supergraph.yaml is being edited the last state is served."""
    await bench.refresh()
    bench.yaml.write_text("subgraphs: [")
    await bench.refresh()
    assert await bench.code(NAME) is None
    assert "supergraph.yaml" in caplog.records[-1].getMessage()


async def test_a_bug_in_one_look_does_not_end_the_watching(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever one look raises is logged, and the next one comes."""
    monkeypatch.setattr("trifolio.command.development.INTERVAL_S", 0)
    looks: asyncio.Queue[int] = asyncio.Queue()

    async def look() -> None:
        looks.put_nowait(1)
        raise ZeroDivisionError

    watching = asyncio.ensure_future(repeat(look))
    await looks.get()
    await looks.get()
    watching.cancel()
    assert "looking at the subgraphs failed" in caplog.text


async def test_the_lifespan_looks_and_closes(bench: Bench) -> None:
    """Served, it composes before it takes requests, and closes in the end."""
    async with listening(bench.server) as url, httpx.AsyncClient(base_url=url, trust_env=False) as client:
        assert (await client.post("/graphql", json=NAME)).json() == {"data": {"me": {"name": "Ada"}}}


async def test_a_schema_in_python_is_executed_while_nothing_listens_at_its_url(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """It is asked at its URL as soon as something listens there, even what only fails, and executed again after."""
    caplog.set_level(logging.INFO, "trifolio.dev")
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    text = bench.yaml.read_text().replace("http://127.0.0.1:1", f"http://127.0.0.1:{port}")
    bench.yaml.write_text(text.replace("file: places.graphql", "python: 'tests.server.schemas:PLACES'"))

    def told() -> str:
        return [record.getMessage() for record in caplog.records if record.name == "trifolio.dev"][-1]

    await bench.refresh()
    assert await bench.code(BOTH) is None
    assert told() == "serving people, places, executing places in this process"
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", port)
    async with server:
        await bench.refresh()
        assert await bench.code(BOTH) is not None
    assert told() == "serving people, places"
    await bench.refresh()
    assert await bench.code(BOTH) is None


async def test_a_schema_in_python_needs_no_url(bench: Bench) -> None:
    """A schema object without any URL is executed here; a text that nobody can execute is told, and leaves what was."""
    text = bench.yaml.read_text()
    in_memory = text.replace(
        "routing_url: 'http://127.0.0.1:1', schema: {file: places.graphql}", "schema: {python: NAMED}"
    )
    assert in_memory != text
    bench.yaml.write_text(in_memory.replace("NAMED", "'tests.server.schemas:PLACES'"))
    await bench.refresh()
    assert await bench.code(BOTH) is None
    bench.yaml.write_text(in_memory.replace("NAMED", "'tests.server.subgraphs:PLACES_SDL'"))
    await bench.refresh()
    assert await bench.code(BOTH) is None


async def test_a_text_in_python_is_asked_at_its_url(bench: Bench) -> None:
    """A text of SDL whose URL nobody listens at costs its own fields, as any subgraph does that is down."""
    bench.yaml.write_text(
        bench.yaml.read_text().replace("file: places.graphql", "python: 'tests.server.subgraphs:PLACES_SDL'")
    )
    await bench.refresh()
    assert await bench.code(NAME) is None
    assert await bench.code(BOTH) == "SUBGRAPH_UNREACHABLE"
