"""docs/plugins.md: every module on it is written to a file, named as its settings say, and does what the page says."""

import hashlib
import hmac
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.plugins.graph import People, places, supergraph
from tests.plugins.http_subgraph import HttpSubgraph, served
from tests.server.conftest import listening
from trifolio import Config, Limits, Router, SubgraphConfig, parse_config

PAGE = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text(encoding="utf-8")
MODULES = dict(re.findall(r"^```python\n# (\w+)\.py\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL))
SETTINGS = re.findall(r"^```yaml\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
EXAMPLES = ("carry_headers", "introspection", "unauthorized", "signatures", "fetch_cache")
LINES_MAX = 40


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The page's modules as files that can be imported."""
    for name, text in MODULES.items():
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in MODULES:
        sys.modules.pop(name, None)


class Bench:
    """A router on a real socket with plug-ins, over two subgraphs on real sockets."""

    def __init__(self, client: httpx.AsyncClient, people: HttpSubgraph, places: HttpSubgraph) -> None:
        self.client, self.people, self.places = client, people, places

    async def ask(self, query: str, **headers: str) -> httpx.Response:
        """POST an operation; underscores in names of headers stand for hyphens."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.post("/graphql", json={"query": query}, headers=named)


@asynccontextmanager
async def bench(settings: str = "", plugins: tuple[object, ...] = (), **environment: str) -> AsyncIterator[Bench]:
    """The bench with the plug-ins of a router.yaml, or with these."""
    async with served(People().schema) as people, served(places()) as other:
        read = parse_config(settings, name="router.yaml", folder=Path(), environment=environment)
        urls = {"people": SubgraphConfig(url=people.url), "places": SubgraphConfig(url=other.url)}
        config = Config(subgraphs=urls, introspection=read.introspection, plugins=read.plugins)
        router = Router(supergraph(), config=config, plugins=plugins)
        async with listening(router.asgi()) as url, httpx.AsyncClient(base_url=url, trust_env=False) as client:
            yield Bench(client, people, other)


def settings_of(name: str) -> str:
    """The page's settings that name a module."""
    found: list[str] = [text for text in SETTINGS if f"python: {name}:" in text]
    assert len(found) == 1
    return found[0]


def test_every_example_is_short_and_has_its_settings() -> None:
    """The page has these examples, each with the settings that put it in place, and none is long."""
    assert list(MODULES) == ["acme", *EXAMPLES, "test_acme"]
    for name in EXAMPLES:
        assert len(MODULES[name].strip().splitlines()) < LINES_MAX, name
        assert settings_of(name)
    of_the_readers = [each for each in SETTINGS if "- python: trifolio." not in each]  # not of what is built in
    assert len(of_the_readers) == len(EXAMPLES) + 1


async def test_the_smallest_one_adds_a_header() -> None:
    """The first module of the page adds the header that its settings name."""
    async with bench(settings_of("acme")) as served_here:
        assert (await served_here.ask("{ vault }")).headers["x-acme-version"] == "7"


async def test_a_subgraphs_headers_reach_the_client() -> None:
    """The headers that are named come from the one subgraph that is named, and replace the router's own."""
    async with bench(settings_of("carry_headers")) as served_here:
        served_here.people.headers = {"set-cookie": "a=1; Path=/", "cache-control": "max-age=5", "x-other": "1"}
        served_here.people.more_headers = [("set-cookie", "b=2, 3")]
        served_here.places.headers = {"set-cookie": "b=2", "cache-control": "max-age=9"}
        response = await served_here.ask("{ me { name homes { city } } }")
        assert response.json() == {"data": {"me": {"name": "Ada", "homes": [{"city": "London"}]}}}
        assert response.headers.get_list("set-cookie") == ["a=1; Path=/", "b=2, 3"]
        assert response.headers.get_list("cache-control") == ["max-age=5"]
        assert "x-other" not in response.headers
        served_here.people.headers, served_here.people.more_headers = {}, []
        response = await served_here.ask("{ vault }")
        assert response.headers["cache-control"] == "no-store"
        assert "set-cookie" not in response.headers


async def test_introspection_is_for_some_callers() -> None:
    """Without the key, and with another, the schema is refused with 403; everything else is answered."""
    async with bench(settings_of("introspection"), INTROSPECTION_KEY="sesame") as served_here:
        for query in ("{ __schema { queryType { name } } }", '{ vault __type(name: "Place") { name } }'):
            for headers in ({}, {"x_introspection_key": "sesam"}):
                refused = await served_here.ask(query, **headers)
                assert refused.status_code == 403
                assert refused.json()["errors"][0]["extensions"]["code"] == "INTROSPECTION_DISABLED"
            answered = await served_here.ask(query, x_introspection_key="sesame")
            assert (answered.status_code, "errors" in answered.json()) == (200, False)
        assert (await served_here.ask("{ __typename vault }")).status_code == 200


@pytest.mark.parametrize("body", [b"Log in.", b'{"errors":[{"message":"Log in."}]}'], ids=["text", "GraphQL"])
async def test_a_subgraphs_401_is_the_routers(body: bytes) -> None:
    """Whether the subgraph's 401 is GraphQL or not, the router's is one, with what other subgraphs gave."""
    async with bench(settings_of("unauthorized")) as served_here:
        served_here.places.status, served_here.places.body = 401, body
        response = await served_here.ask("{ me { name homes { city } } }")
        assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")
        assert response.json()["data"] == {"me": {"name": "Ada", "homes": None}}
        assert (await served_here.ask("{ me { name } }")).status_code == 200
        served_here.places.status = 403
        assert (await served_here.ask("{ me { homes { city } } }")).status_code == 200


async def test_requests_are_signed() -> None:
    """The signature is that of the bytes that arrived, with the subgraph's own key; others are not signed."""
    async with bench(settings_of("signatures"), PEOPLE_KEY="a key") as served_here:
        assert (await served_here.ask("{ me { name homes { city } } }")).status_code == 200
        [received] = served_here.people.received
        found = re.fullmatch(r"t=(\d+),v1=([0-9a-f]{64})", received.headers["x-signature"])
        assert found
        expected = hmac.new(b"a key", found[1].encode() + b"." + received.body, hashlib.sha256).hexdigest()
        assert hmac.compare_digest(found[2], expected)
        assert "x-signature" not in served_here.places.received[0].headers


class Clock:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def fetch_cache(clock: Clock, **options: Any) -> Any:
    """The page's cache."""
    return import_module("fetch_cache").FetchCache(**{"seconds": 5, "clock": clock, **options})


async def test_fetches_are_kept_for_a_time() -> None:
    """A second query of the same caller within the time asks no subgraph; after it, and for others, it does."""
    clock = Clock()
    async with bench(plugins=(fetch_cache(clock),)) as served_here:
        received = served_here.people.received
        for caller, moved, count in (("a", 0, 1), ("a", 4, 1), ("b", 0, 2), ("a", 1, 3), ("b", 0, 3), ("a", 4, 3)):
            clock.now += moved
            answer = (await served_here.ask("{ vault }", authorization=caller)).json()
            assert (answer, len(received)) == ({"data": {"vault": "gold"}}, count)
        await served_here.ask("{ vault }")
        assert len(received) == 4


async def test_only_good_answers_to_queries_are_kept() -> None:
    """Mutations are sent every time, and so is what was answered with an error, or with no GraphQL."""
    async with bench(plugins=(fetch_cache(Clock()),)) as served_here:
        received = served_here.people.received
        for _ in range(2):
            await served_here.ask("mutation { erase }")
        assert len(received) == 2
        for body in (b'{"data":{"vault":"old"},"errors":[{"message":"m"}]}', b"<html>", b""):
            received.clear()
            served_here.people.body = body
            for _ in range(2):
                await served_here.ask("{ vault }")
            assert len(received) == 2


async def test_the_cache_is_bounded() -> None:
    """It holds no more answers, and no more bytes, than it may; those that were not used for longest go."""
    for options in ({"entries_max": 2}, {"bytes_max": 120}):
        cache = fetch_cache(Clock(), **options)
        async with bench(plugins=(cache,)) as served_here:
            received = served_here.people.received
            for caller in ("a", "b", "a", "c", "a"):
                await served_here.ask("{ vault }", authorization=caller)
            assert (len(cache.kept), len(received)) == (2, 3)
            await served_here.ask("{ vault }", authorization="b")
            assert len(received) == 4
            assert cache.bytes == sum(size for _, size, _ in cache.kept.values()) <= 120
    tiny = fetch_cache(Clock(), bytes_max=10)
    async with bench(plugins=(tiny,)) as served_here:
        assert (await served_here.ask("{ vault }")).json() == {"data": {"vault": "gold"}}
    assert (len(tiny.kept), tiny.bytes) == (0, 0)


async def test_the_caches_settings_make_one() -> None:
    """The page's settings make a cache that works."""
    async with bench(settings_of("fetch_cache")) as served_here:
        for _ in range(2):
            assert (await served_here.ask("{ vault }")).json() == {"data": {"vault": "gold"}}
        assert len(served_here.people.received) == 1


def test_the_test_on_the_page_passes(folder: Path) -> None:
    """The page's test of a plug-in is one that pytest runs."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_acme.py"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_every_hook_and_limit_is_on_the_page() -> None:
    """The hooks of `Plugin` are in the table, in the order in which they are called."""
    hooks = re.findall(r"^\| `(on_\w+)\(", PAGE, flags=re.MULTILINE)
    assert hooks == ["on_start", "on_request", "on_operation", "on_fetch", "on_response", "on_stop"]
    names: Mapping[str, Any] = vars(import_module("trifolio").Plugin)
    assert set(hooks) == {name for name in names if name.startswith("on_")}
    for limit in re.findall(r"`limits\.(\w+)`", PAGE):
        assert hasattr(Limits(), limit), limit
