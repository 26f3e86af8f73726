"""graphql-http's audit of every GraphQL endpoint here: what servers must, should and may do by GraphQL over HTTP."""

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from graphql import NoSchemaIntrospectionCustomRule

from subgraphs.shared.auth import ANONYMOUS, Caller
from subgraphs.shared.graphql import GraphQLEndpoint, Subgraph, SubgraphSchema
from subgraphs.shared.streaming import Streams
from subgraphs.stocks.schema import schema as stocks
from subgraphs.users.schema import schema as users
from subgraphs.wallet.schema import schema as wallet
from tests.npm import install
from tests.server.conftest import listening, serving
from trifolio.config import Config

AUDIT = Path(__file__).parent / "audit"
AUDITS_MIN = 61
"""How many there are in the version of the lock file."""
PLAIN_GETS = frozenset({"5A70", "D6D5", "6A70"})
"""The audits that send a GET which any page could make a browser send."""
SECRET = "a-secret-of-the-router"

pytestmark = pytest.mark.node


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the audit is installed; without Node or a package registry its tests are skipped, unless they must run."""
    made = tmp_path_factory.mktemp("audit")
    install(made, AUDIT, ["audit.mjs"])
    return made


async def failed(folder: Path, url: str, *header: str) -> dict[str, str]:
    """What the audit finds amiss at an endpoint, by the audits' numbers; `header` is a name and a value."""
    process = await asyncio.create_subprocess_exec(
        *("node", "audit.mjs", url, *header), cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    told, said = await process.communicate()
    assert process.returncode == 0, said.decode()
    results: list[dict[str, str]] = json.loads(told)
    assert len(results) >= AUDITS_MIN
    return {each["id"]: f"{each['name']}: {each['reason']}" for each in results if each["status"] != "ok"}


async def test_the_router_refuses_plain_gets_and_nothing_else(folder: Path) -> None:
    """All that servers must and should do, and all that they may, but for what the protection against CSRF is for."""
    async with serving(Config(introspection=True)) as served:
        found = await failed(folder, f"{served.url}/graphql")
    assert found.keys() == PLAIN_GETS, found


async def test_the_router_without_csrf_protection_does_everything(folder: Path) -> None:
    """The plain GETs are answered where the protection is off."""
    async with serving(Config(introspection=True, csrf_protection=False)) as served:
        assert await failed(folder, f"{served.url}/graphql") == {}


@dataclass(frozen=True)
class Nobody:
    """Says of every request that nobody in particular sent it."""

    async def caller(self, _authorization: str | None) -> Caller:
        """An anonymous caller."""
        return ANONYMOUS

    async def left_s(self, _authorization: str | None) -> float | None:
        """For ever."""
        return None


class Served:
    """A service's endpoint, and nothing of the service."""

    def __init__(self, schema: SubgraphSchema) -> None:
        streams = Streams(streams_max=1, per_caller_max=1)
        subgraph = Subgraph(schema, None, Nobody(), streams)  # type: ignore[arg-type] # it is one
        self._endpoint = GraphQLEndpoint(subgraph, [SECRET])

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One ASGI connection."""
        if scope["type"] != "lifespan":
            await self._endpoint(scope, receive, send)
            return
        for kind in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{kind}.complete"})


@pytest.mark.parametrize("schema", [users, wallet, stocks], ids=["users", "wallet", "stocks"])
async def test_a_service_answers_posts_as_it_must_and_should(
    folder: Path, schema: SubgraphSchema, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With introspection, which the audit uses, everything holds but for GET: the router alone asks, and it posts."""
    monkeypatch.setattr(NoSchemaIntrospectionCustomRule, "enter_field", lambda *_: None)
    async with listening(Served(schema)) as url:
        found = await failed(folder, f"{url}/graphql", "x-router-secret", SECRET)
    assert found.keys() == PLAIN_GETS, found


async def test_the_audit_finds_what_is_wrong(folder: Path) -> None:
    """An endpoint that refuses everybody fails what servers must do."""
    async with listening(Served(users)) as url:
        found = await failed(folder, f"{url}/graphql")
    assert any(text.startswith("MUST") for text in found.values()), found
