"""Everything in one process has what four processes have: readiness and counters of all, limits, addresses."""

from collections.abc import AsyncIterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from brokerage.development import SUPERGRAPH
from brokerage.one_process import OneProcess
from subgraphs.shared.database import Connection
from tests.faults.in_process import Brokerage, running
from trifolio import Config
from trifolio.server.descriptors import with_descriptors

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)


@pytest.fixture
async def brokerage(urls: dict[str, str]) -> AsyncIterator[Brokerage]:
    """The three services."""
    async with running(urls) as brokerage:
        yield brokerage


def client_of(app: OneProcess) -> httpx.AsyncClient:
    """A client of the one port."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app, client=("192.0.2.7", 5)), base_url="http://one")


def one_process(brokerage: Brokerage, **settings: Any) -> OneProcess:
    """The services behind a router with these settings."""
    return OneProcess(brokerage.apps, SUPERGRAPH.read_text(), replace(Config(), **settings))


async def set_revision(brokerage: Brokerage, revision: str) -> None:
    """Makes the wallet's database one of that revision."""

    async def work(connection: Connection) -> None:
        await connection.execute(text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision})

    database = type(brokerage.databases["wallet"]).open(brokerage.urls["wallet"])
    await database.write(work)
    await database.close()


async def test_it_is_ready_when_all_are(brokerage: Brokerage) -> None:
    """One service that cannot work with its database is named by /ready; the others, and /health, go on."""
    newest = await brokerage.databases["wallet"].revision()
    assert newest is not None
    async with client_of(one_process(brokerage)) as client:
        assert (await client.get("/ready")).status_code == 200
        await set_revision(brokerage, "9999")
        refused = await client.get("/ready")
        assert (refused.status_code, refused.json()["services"]) == (503, ["wallet"])
        assert int(refused.headers["retry-after"]) >= 1
        assert (await client.get("/health")).status_code == 200
        assert (await client.get("/stocks")).status_code == 200
        await set_revision(brokerage, newest)
        assert (await client.get("/ready")).status_code == 200


async def test_it_shows_the_counters_of_all(brokerage: Brokerage) -> None:
    """/metrics has the router's counters and the services', each under one name; what cannot be read is left out."""
    async with client_of(one_process(brokerage)) as client:
        shown = (await client.get("/metrics")).text
        names = [line.split()[2] for line in shown.splitlines() if line.startswith("# TYPE")]
        assert len(names) == len(set(names))
        counted = {"router_http_responses_total", "trifolio_order_alarms_total", "trifolio_orders_unfinished"}
        assert counted < set(names)
        numbers = [line.rpartition(" ")[0] for line in shown.splitlines() if not line.startswith("#")]
        assert len(numbers) == len(set(numbers))
        assert 'trifolio_order_alarms_total{service="stocks"}' in numbers
        brokerage.databases["stocks"].require_schema(lambda _found: "not now")
        without = (await client.get("/metrics")).text
        assert "trifolio_order_alarms_total" in without
        assert "trifolio_orders_unfinished" not in without


async def test_its_connections_are_bounded_by_what_the_process_may_open(brokerage: Brokerage) -> None:
    """Its limits are the router's, and within the system's, as where the router has a process of its own."""
    app = one_process(brokerage)
    assert app.limits == with_descriptors(Config().limits)


@pytest.mark.parametrize(("proxies", "address"), [(0, "192.0.2.7"), (1, "198.51.100.9")])
async def test_services_hear_the_clients_address(brokerage: Brokerage, proxies: int, address: str) -> None:
    """Limits count by the client's address: behind proxies it is the one that the router takes out of their header."""
    heard: list[str] = []

    async def execute(*_arguments: object, client_address: str, **_more: object) -> dict[str, Any]:
        heard.append(client_address)
        return {"data": {"me": None}}

    brokerage.apps["users"].state.subgraph = SimpleNamespace(execute=execute)
    async with client_of(one_process(brokerage, trusted_proxies=proxies)) as client:
        headers = {"x-forwarded-for": "198.51.100.9"}
        await client.post("/graphql", json={"query": "{ me { name } }"}, headers=headers)
    assert heard == [address]
