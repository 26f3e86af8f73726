"""The command line: what each command prints, and with which code it ends."""

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import httpx
import pytest

from tests.server.conftest import SUPERGRAPH, listening
from tests.server.subgraphs import PEOPLE_SDL, PLACES_SDL, SubgraphApp, people, places
from trifolio.command import main
from trifolio.command.files import read_settings

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two subgraphs' SDL, a configuration for them, a supergraph and an operation."""
    (tmp_path / "people.graphql").write_text(PEOPLE_SDL)
    (tmp_path / "places.graphql").write_text(PLACES_SDL)
    (tmp_path / "supergraph.yaml").write_text(
        "federation_version: =2.9.3\n"
        "subgraphs:\n"
        "  people: {routing_url: http://people:1/graphql, schema: {file: people.graphql}}\n"
        "  places: {routing_url: http://places:1/graphql, schema: {file: places.graphql}}\n"
    )
    (tmp_path / "supergraph.graphql").write_text(SUPERGRAPH)
    (tmp_path / "op.graphql").write_text("query Both { me { name homes { city } } } query Other { caller }")
    return tmp_path


def run(*arguments: str | Path) -> int:
    return main([str(argument) for argument in arguments])


# ---- compose ----


def test_compose_prints_a_supergraph(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`compose` writes the supergraph to standard output, diagnostics to standard error, and ends with 0."""
    assert run("compose", "--config", folder / "supergraph.yaml") == 0
    output = capsys.readouterr()
    assert "join__Graph" in output.out
    assert 'url: "http://people:1/graphql"' in output.out


def test_compose_writes_a_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --output the supergraph goes to the file, and a plan can be made of it."""
    made = folder / "made.graphql"
    assert run("compose", "--config", folder / "supergraph.yaml", "--output", made) == 0
    assert "join__Graph" not in capsys.readouterr().out
    assert run("plan", "--supergraph", made, "--operation", folder / "op.graphql", "--operation-name", "Both") == 0


def test_compose_tells_every_error_and_ends_with_1(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be composed is told by code, as text or JSON, and nothing is written."""
    (folder / "places.graphql").write_text('extend type Person @key(fields: "nothing") { id: ID! }')
    assert run("compose", "--config", folder / "supergraph.yaml", "--output", folder / "made.graphql") == 1
    assert "error " in capsys.readouterr().err
    assert not (folder / "made.graphql").exists()
    assert run("compose", "--config", folder / "supergraph.yaml", "--format", "json") == 1
    body = json.loads(capsys.readouterr().out)
    assert body["supergraph"] is None
    assert body["diagnostics"][0]["severity"] == "error"


async def test_compose_watches(folder: Path) -> None:
    """With --watch each change is composed: a good one is written, a bad one told, and the last good one stays."""
    made = folder / "made.graphql"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "trifolio", "compose", "--watch", "--config", str(folder / "supergraph.yaml")),
        *("--output", str(made)),
        cwd=ROOT,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(30):
            assert b"is composed" in await process.stderr.readline()
            first = made.read_text()
            (folder / "people.graphql").write_text("type Query {")
            assert b"error INVALID_GRAPHQL" in await process.stderr.readline()
            assert made.read_text() == first
            (folder / "people.graphql").write_text(PEOPLE_SDL.replace("caller: String", "visitor: String"))
            assert b"is composed" in await process.stderr.readline()
            assert "visitor" in made.read_text()
    finally:
        process.terminate()
        await process.communicate()


def test_watching_needs_a_file_to_write(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--watch without --output is a mistake of the command line."""
    assert run("compose", "--config", folder / "supergraph.yaml", "--watch") == 2
    assert "--watch needs --output" in capsys.readouterr().err


def test_compose_annotates_files_for_github(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --format github each diagnostic is a workflow command that names the subgraph's file and line."""
    (folder / "places.graphql").write_text('\nextend type Person @key(fields: "nothing") { id: ID! }')
    assert run("compose", "--config", folder / "supergraph.yaml", "--format", "github") == 1
    first = capsys.readouterr().err.splitlines()[0]
    place = re.escape(f"file={folder / 'places.graphql'},line=2,col=")
    assert re.fullmatch(rf"::error title=[A-Z_]+,{place}\d+::.+", first)


def test_compose_reads_a_schema_from_python(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`schema: {python: ...}` takes a text of SDL or a schema object that answers `_service`."""
    (folder / "supergraph.yaml").write_text(
        "subgraphs:\n"
        "  people: {routing_url: http://people:1, schema: {python: 'tests.server.subgraphs:PEOPLE_SDL'}}\n"
        "  places: {routing_url: http://places:1, schema: {python: 'tests.server.schemas:PLACES'}}\n"
    )
    assert run("compose", "--config", folder / "supergraph.yaml") == 0
    assert "homes" in capsys.readouterr().out


UNREADABLE = {
    "no such file": "schema: {file: nowhere.graphql}",
    "no such module": "schema: {python: 'nowhere.at.all:schema'}",
    "no such attribute": "schema: {python: 'tests.server.subgraphs:NOTHING'}",
    "nothing listens": "schema: {subgraph_url: 'http://127.0.0.1:1/graphql'}",
}


@pytest.mark.parametrize("source", UNREADABLE.values(), ids=UNREADABLE)
def test_compose_names_the_subgraph_that_cannot_be_read(
    folder: Path, capsys: pytest.CaptureFixture[str], source: str
) -> None:
    """Every subgraph whose SDL cannot be had is named in one line, without a traceback; JSON says the same."""
    (folder / "supergraph.yaml").write_text(
        f"subgraphs: {{people: {{routing_url: http://a, {source}}}, places: {{routing_url: http://b, {source}}}}}\n"
    )
    assert run("compose", "--config", folder / "supergraph.yaml") == 1
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("error SUBGRAPH_SDL_UNAVAILABLE people: ")
    assert second.startswith("error SUBGRAPH_SDL_UNAVAILABLE places: ")
    assert run("compose", "--config", folder / "supergraph.yaml", "--format", "json") == 1
    diagnostics = json.loads(capsys.readouterr().out)["diagnostics"]
    assert [each["subgraphs"] for each in diagnostics] == [["people"], ["places"]]


async def test_compose_asks_running_subgraphs(folder: Path) -> None:
    """`schema: {subgraph_url}` asks `_service { sdl }`, with the configured headers."""
    app = SubgraphApp(people())
    async with listening(app) as url:
        (folder / "supergraph.yaml").write_text(
            f"subgraphs: {{people: {{schema: {{subgraph_url: '{url}', introspection_headers: {{x-key: k}}}}}}}}\n"
        )
        made = folder / "made.graphql"
        code = await asyncio.to_thread(run, "compose", "--config", folder / "supergraph.yaml", "--output", made)
    assert code == 0
    assert f'url: "{url}"' in made.read_text()
    assert app.seen[0]["x-key"] == "k"


# ---- plan ----


def test_plan_prints_the_requests(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`plan` prints the fetches in order; as JSON it is the graph of them."""
    arguments = ("plan", "--supergraph", folder / "supergraph.graphql", "--operation", folder / "op.graphql")
    assert run(*arguments, "--operation-name", "Both") == 0
    text = capsys.readouterr().out
    assert text.index("people") < text.index("places")
    assert run(*arguments, "--operation-name", "Other", "--format", "json") == 0
    fetches = json.loads(capsys.readouterr().out)["fetches"]
    assert [fetch["subgraph"] for fetch in fetches] == ["people"]


WRONG_PLANS = {
    "invalid operation": ("{ nothing }", SUPERGRAPH, "error: 1:3: "),
    "syntax error": ("{ me", SUPERGRAPH, "GRAPHQL_PARSE_FAILED"),
    "several operations": ("query A { caller } query B { caller }", SUPERGRAPH, "OPERATION_RESOLUTION_FAILURE"),
    "no supergraph": ("{ me { name } }", "<html>", "SUPERGRAPH_INVALID"),
}


@pytest.mark.parametrize(("operation", "supergraph", "problem"), WRONG_PLANS.values(), ids=WRONG_PLANS)
def test_plan_says_what_is_wrong(
    folder: Path, capsys: pytest.CaptureFixture[str], operation: str, supergraph: str, problem: str
) -> None:
    """An operation or a supergraph that is no good is a line on standard error and code 1."""
    (folder / "op.graphql").write_text(operation)
    (folder / "supergraph.graphql").write_text(supergraph)
    code = run("plan", "--supergraph", folder / "supergraph.graphql", "--operation", folder / "op.graphql")
    assert code == 1
    assert problem in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [(), ("serve",), ("plan", "--operation", "x"), ("dance",)])
def test_a_wrong_command_line_ends_with_2(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """What the command line lacks is said with its usage."""
    with pytest.raises(SystemExit) as ended:
        run(*arguments)
    assert ended.value.code == 2
    assert "usage: trifolio" in capsys.readouterr().err


def test_the_version_is_the_distributions(capsys: pytest.CaptureFixture[str]) -> None:
    """`--version` says what is installed."""
    with pytest.raises(SystemExit) as ended:
        run("--version")
    assert ended.value.code == 0
    assert re.fullmatch(r"trifolio \d+\.\d+\.\d+\n", capsys.readouterr().out)


# ---- serve ----


@contextmanager
def minding_interrupts() -> Iterator[None]:
    """What is started within the block ends with SIGINT, even if these tests are a job in the background, which ignores
    it, and with it whatever it starts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@asynccontextmanager
async def started(
    *arguments: str | Path, command: str = "serve", **environment: str
) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """`python -m trifolio serve` (or dev) as a process on a free port; yields it with the address that it prints."""
    with minding_interrupts():
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "trifolio",
            command,
            "--port",
            "0",
            *map(str, arguments),
            cwd=ROOT,
            env={**os.environ, **environment},
            stderr=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
        )
    assert process.stderr is not None
    try:
        address = re.search(rb"http://[^\s\"]+", await process.stderr.readline())
        assert address
        yield process, address[0].decode()
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)  # ends without a lame duck
        await process.communicate()


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_serve_answers_until_it_is_told_to_stop(folder: Path, workers: str) -> None:
    """`serve` takes URLs and secrets from its settings, answers over HTTP, and ends with 0 on SIGTERM."""
    apps = {"people": SubgraphApp(people()), "places": SubgraphApp(places())}
    async with listening(apps["people"]) as people_url, listening(apps["places"]) as places_url:
        (folder / "router.yaml").write_text(
            "limits: {lame_duck_ms: 1}\n"
            "subgraphs:\n"
            "  people: {url: '${PEOPLE_URL}', secret: {env: PEOPLE_SECRET}}\n"
            "  places: {url: '${PLACES_URL}'}\n"
        )
        async with started(
            *("--supergraph", folder / "supergraph.graphql", "--settings", folder / "router.yaml"),
            *("--workers", workers),
            PEOPLE_URL=people_url,
            PLACES_URL=places_url,
            PEOPLE_SECRET="s3cret",
        ) as (process, url):
            async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
                query = {"query": "{ me { name homes { city } } caller }"}
                answer = await client.post(
                    url, json=query, headers={"authorization": "Bearer t", "x-forwarded-for": "6.6.6.6"}
                )
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
    assert answer.json()["data"] == {
        "me": {"name": "Ada", "homes": [{"city": "London"}, {"city": "Turin"}]},
        "caller": "Bearer t",
    }
    assert {seen.get("x-router-secret") for seen in apps["people"].seen} == {"s3cret"}
    assert {seen.get("x-router-secret") for seen in apps["places"].seen} == {None}
    assert {seen.get("authorization") for seen in apps["places"].seen} == {"Bearer t"}
    assert {seen.get("x-forwarded-for") for seen in apps["people"].seen} == {"127.0.0.1"}
    assert {seen.get("x-forwarded-for") for seen in apps["places"].seen} == {None}


async def test_a_request_in_flight_is_answered_before_the_end(folder: Path) -> None:
    """SIGTERM ends the process only after the answers that are under way; nobody new is let in."""
    app = SubgraphApp(people())
    app.open.clear()
    async with listening(app) as people_url, httpx.AsyncClient(trust_env=False, timeout=30) as client:
        (folder / "router.yaml").write_text(
            f"limits: {{lame_duck_ms: 1}}\nsubgraphs: {{people: {{url: '{people_url}'}}}}\n"
        )
        arguments = ("--supergraph", folder / "supergraph.graphql", "--settings", folder / "router.yaml")
        async with started(*arguments) as (process, url), asyncio.timeout(20):
            answer = asyncio.ensure_future(client.post(url, json={"query": "{ me { name } }"}))
            await app.asked.wait()
            process.send_signal(signal.SIGTERM)
            assert process.stderr is not None
            while b"Waiting for connections to close" not in await process.stderr.readline():
                assert process.returncode is None
            app.open.set()
            assert (await answer).json() == {"data": {"me": {"name": "Ada"}}}
            assert await process.wait() == 0


async def test_a_lame_duck_serves_and_says_so(folder: Path) -> None:
    """After SIGTERM the router is not ready, answers all the same, on new connections too, and asks for none again."""
    (folder / "router.yaml").write_text("limits: {lame_duck_ms: 600_000}\n")
    arguments = ("--supergraph", folder / "supergraph.graphql", "--settings", folder / "router.yaml")
    async with (
        started(*arguments) as (process, url),
        httpx.AsyncClient(trust_env=False, timeout=30) as client,
        asyncio.timeout(30),
    ):
        ready = url.replace("/graphql", "/ready")
        before = await client.get(ready)
        assert (before.status_code, before.headers.get("connection")) == (200, None)
        process.send_signal(signal.SIGTERM)
        while (await client.get(ready)).status_code == 200:  # until the signal has arrived
            pass
        for _ in range(4):
            answer = await client.post(url, json={"query": "{ __typename }"})
            assert answer.json() == {"data": {"__typename": "Query"}}
            assert answer.headers["connection"] == "close"
        assert process.returncode is None
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0


async def test_a_stream_is_sent_to_its_end_before_the_end(folder: Path) -> None:
    """SIGTERM ends the process only after the parts that are to come, and the last boundary."""
    app = SubgraphApp(places())
    app.open.clear()
    async with (
        listening(SubgraphApp(people())) as people_url,
        listening(app) as places_url,
        httpx.AsyncClient(trust_env=False, timeout=30) as client,
    ):
        (folder / "router.yaml").write_text(
            "limits: {lame_duck_ms: 1}\n"
            f"subgraphs: {{people: {{url: '{people_url}'}}, places: {{url: '{places_url}'}}}}\n"
        )
        arguments = ("--supergraph", folder / "supergraph.graphql", "--settings", folder / "router.yaml")
        async with started(*arguments) as (process, url), asyncio.timeout(20):
            query = {"query": "{ me { name ... @defer { homes { city } } } }"}
            accept = {"accept": "multipart/mixed;deferSpec=20220824"}
            async with client.stream("POST", url, json=query, headers=accept) as response:
                chunks = response.aiter_bytes()
                body = await anext(chunks)
                await app.asked.wait()
                process.send_signal(signal.SIGTERM)
                assert process.stderr is not None
                while b"Waiting for connections to close" not in await process.stderr.readline():
                    assert process.returncode is None
                assert b"London" not in body
                app.open.set()
                async for chunk in chunks:
                    body += chunk
            assert b"London" in body
            assert body.endswith(b"\r\n--graphql--\r\n")
            assert await process.wait() == 0


async def test_serve_composes_first_where_it_is_told_to(folder: Path) -> None:
    """With --config the subgraphs are composed and then served."""
    async with started("--config", folder / "supergraph.yaml", "--introspection") as (_, url):
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.post(url, json={"query": '{ __type(name: "Person") { name } }'})
        assert answer.json() == {"data": {"__type": {"name": "Person"}}}


IN_MEMORY = (
    "subgraphs:\n"
    "  people: {schema: {python: 'tests.server.schemas:PEOPLE'}}\n"
    "  places: {schema: {python: 'tests.server.schemas:PLACES'}}\n"
)


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_serve_executes_schemas_that_have_no_url(folder: Path, workers: str) -> None:
    """Each worker executes them itself, and hands them the headers of the client that the settings forward."""
    (folder / "supergraph.yaml").write_text(IN_MEMORY)
    files = ("--config", folder / "supergraph.yaml", "--workers", workers)
    headers = {"authorization": "Bearer ada"}
    async with started(*files) as (_, url), httpx.AsyncClient(trust_env=False, timeout=30) as client:
        answer = await client.post(url, json={"query": "{ caller me { homes { city } } }"}, headers=headers)
    assert answer.json() == {
        "data": {"caller": "Bearer ada", "me": {"homes": [{"city": "London"}, {"city": "Turin"}]}},
    }
    (folder / "router.yaml").write_text("subgraphs: {people: {forward_headers: []}}\n")
    async with (
        started(*files, "--settings", folder / "router.yaml") as (_, url),
        httpx.AsyncClient(trust_env=False, timeout=30) as client,
    ):
        answer = await client.post(url, json={"query": "{ caller }"}, headers=headers)
    assert answer.json() == {"data": {"caller": None}}


async def test_serve_asks_every_url_that_it_is_told(folder: Path) -> None:
    """A schema that has a URL, in whichever file, is asked there and nowhere else, also when nothing listens."""
    unreachable = "http://127.0.0.1:1/graphql"
    (folder / "supergraph.yaml").write_text(IN_MEMORY.replace("places: {", f"places: {{routing_url: '{unreachable}', "))
    (folder / "router.yaml").write_text(f"subgraphs: {{people: {{url: '{unreachable}'}}}}\n")
    query = {"query": "{ me { name homes { city } } }"}
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        async with started("--config", folder / "supergraph.yaml") as (_, url):
            [error] = (await client.post(url, json=query)).json()["errors"]
        assert (error["extensions"]["code"], error["extensions"]["subgraph"]) == ("SUBGRAPH_UNREACHABLE", "places")
        settings = ("--settings", folder / "router.yaml")
        async with started("--config", folder / "supergraph.yaml", *settings) as (_, url):
            [error] = (await client.post(url, json=query)).json()["errors"]
        assert (error["extensions"]["code"], error["extensions"]["subgraph"]) == ("SUBGRAPH_UNREACHABLE", "people")


def test_serve_refuses_a_text_that_has_no_url(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A text of SDL can be composed, but nobody can execute it: one line says what to write."""
    (folder / "supergraph.yaml").write_text(
        "subgraphs: {people: {schema: {python: 'tests.server.subgraphs:PEOPLE_SDL'}}}\n"
    )
    assert run("compose", "--config", folder / "supergraph.yaml", "--output", folder / "made.graphql") == 0
    capsys.readouterr()
    assert run("serve", "--port", "0", "--config", folder / "supergraph.yaml") == 1
    [line] = capsys.readouterr().err.splitlines()
    assert "'people' has no URL" in line
    assert "give it a routing_url" in line
    assert run("serve", "--port", "0", "--supergraph", folder / "made.graphql") == 1
    assert "set subgraphs.people.url in router.yaml" in capsys.readouterr().err


SWITCHED = {
    "nothing said": ("", (), (False, False)),
    "the file says yes": ("introspection: true\nexplorer: true\n", (), (True, True)),
    "the command line says yes": ("", ("--introspection", "--explorer"), (True, True)),
    "one of them": ("", ("--introspection",), (True, False)),
    "the command line knows better": ("introspection: true\n", ("--no-introspection", "--explorer"), (False, True)),
}


@pytest.mark.parametrize(("text", "options", "expected"), SWITCHED.values(), ids=SWITCHED)
async def test_serve_shows_the_schema_where_it_is_told_to(
    folder: Path, text: str, options: tuple[str, ...], expected: tuple[bool, bool]
) -> None:
    """`serve` shows schema and explorer where the settings or an option say so; the option counts more."""
    (folder / "router.yaml").write_text(text)
    files = ("--supergraph", folder / "supergraph.graphql", "--settings", folder / "router.yaml")
    async with started(*files, *options) as (_, url), httpx.AsyncClient(trust_env=False, timeout=30) as client:
        answer = await client.post(url, json={"query": "{ __schema { queryType { name } } }"})
        page = await client.get(url, headers={"accept": "text/html"})
    assert ("data" in answer.json(), page.status_code == 200) == expected


@pytest.mark.parametrize(
    ("text", "given", "expected"),
    [
        (None, {}, (True, True, True)),
        ("access_log: false\n", {}, (True, True, True)),
        ("introspection: false\nexplorer: false\n", {}, (False, False, True)),
        ("explorer: false\n", {"introspection": False, "explorer": None}, (False, False, True)),
        ("introspection: false\n", {"introspection": True}, (True, True, True)),
        ("traces: false\n", {}, (True, True, False)),
        ("traces: true\n", {"traces": False}, (True, True, False)),
    ],
)
def test_dev_shows_the_schema_unless_it_is_told_not_to(
    tmp_path: Path, text: str | None, given: dict[str, bool | None], expected: tuple[bool, bool, bool]
) -> None:
    """Under `dev` the switches are on where neither the settings nor an option say no."""
    path = None
    if text is not None:
        path = tmp_path / "router.yaml"
        path.write_text(text)
    config = read_settings(path, given, development=True)
    assert (config.introspection, config.explorer, config.traces) == expected


async def test_dev_serves_running_subgraphs(folder: Path) -> None:
    """`dev` composes what runs, serves it, and ends with 0 on SIGTERM."""
    async with listening(SubgraphApp(people())) as url, httpx.AsyncClient(trust_env=False, timeout=30) as client:
        (folder / "supergraph.yaml").write_text(f"subgraphs: {{people: {{schema: {{subgraph_url: '{url}'}}}}}}\n")
        async with started("--config", folder / "supergraph.yaml", command="dev") as (process, endpoint):
            answer = await client.post(endpoint, json={"query": "{ me { name } }"})
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
    assert answer.json() == {"data": {"me": {"name": "Ada"}}}


async def test_serve_names_the_cure_for_a_busy_port(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A port that is taken is a line with its cure and code 1."""
    async with listening(SubgraphApp(people())) as url:
        port = url.rpartition(":")[2]
        code = await asyncio.to_thread(run, "serve", "--supergraph", folder / "supergraph.graphql", "--port", port)
    assert code == 1
    assert f"port {port} of 127.0.0.1 is in use; choose another with --port" in capsys.readouterr().err


async def test_serve_finds_plug_ins_beside_the_settings(folder: Path) -> None:
    """A plug-in's module is imported from the folder of router.yaml, in every worker, with the options given there."""
    (folder / "acme_plugins.py").write_text(
        "from trifolio import Plugin\n"
        "class Version(Plugin):\n"
        "    def __init__(self, number): self.number = number\n"
        "    async def on_response(self, response): response.add_header('x-version', str(self.number))\n"
    )
    (folder / "router.yaml").write_text("plugins: [{python: 'acme_plugins:Version', number: 7}]\n")
    files = ("--supergraph", folder / "supergraph.graphql", "--settings", folder / "router.yaml")
    for workers in ("1", "2"):
        async with started(*files, "--workers", workers) as (_, address), httpx.AsyncClient(timeout=60) as client:
            response = await client.post(address, json={"query": "{ __typename }"})
            assert (response.status_code, response.headers["x-version"]) == (200, "7")


async def test_serve_says_which_plug_in_it_lacks(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A plug-in that cannot be imported or made keeps the router from starting, with the line that names it."""
    for line, told in (
        ("python: 'acme_nowhere:Version'", "router.yaml:2: acme_nowhere:Version cannot be imported: ModuleNotFound"),
        ("python: 'json:dumps', number: 7", "router.yaml:2: json:dumps: "),
    ):
        (folder / "router.yaml").write_text(f"plugins:\n  - {{{line}}}\n")
        files = ("--supergraph", str(folder / "supergraph.graphql"), "--settings", str(folder / "router.yaml"))
        assert main(["serve", *files, "--port", "0"]) == 1
        assert told in capsys.readouterr().err
