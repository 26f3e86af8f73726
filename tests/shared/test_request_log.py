"""What services write down of requests: JSON that finds them, and nothing that is secret."""

import io
import json
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from brokerage.services import spare_unshown_fields, write_log
from tests.faults.in_process import Brokerage, running

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
PASSWORD = "a long enough passphrase 7"  # to be looked for in the log


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Everything that is logged meanwhile, as a process of its own writes it."""
    root, written = logging.getLogger(), io.StringIO()
    handlers, level = root.handlers[:], root.level
    root.handlers.clear()
    write_log(logging.StreamHandler(written))
    yield written
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
async def brokerage(urls: dict[str, str]) -> AsyncIterator[Brokerage]:
    """The three services."""
    async with running(urls) as brokerage:
        yield brokerage


def lines(log: io.StringIO, logger: str = "subgraphs.access") -> list[dict[str, Any]]:
    """The lines of one logger."""
    return [line for text in log.getvalue().splitlines() if (line := json.loads(text))["logger"] == logger]


async def test_a_request_is_found_by_its_id(brokerage: Brokerage, log: io.StringIO) -> None:
    """A line has the id that the client or the router gave, who called, which route it was, and how it ended."""
    alice = await brokerage.person("investor", "alice")
    headers = {**brokerage.bearer(alice), "x-request-id": "router:0815-4711"}
    response = await brokerage.http.get("http://wallet/transactions?after=what-is-this", headers=headers)
    assert response.headers["x-request-id"] == "router:0815-4711"
    [line] = lines(log)
    wanted = {"request_id": "router:0815-4711", "caller": alice.id, "method": "GET", "path": "/transactions"}
    assert wanted.items() <= line.items()
    assert (line["operation"], line["status"]) == ("list_transactions", 400)
    assert line["ms"] > 0
    assert "what-is-this" not in str(line)


async def test_calls_between_services_name_the_service(brokerage: Brokerage, log: io.StringIO) -> None:
    """A service that calls another is named as what it is; nobody is an empty caller."""
    await brokerage.tick("ALBA", "10", "11")
    await brokerage.http.get("http://stocks/stocks")
    assert [line["caller"] for line in lines(log)] == ["service:stocks", ""]


async def test_an_operation_is_named_by_its_root_fields(brokerage: Brokerage, log: io.StringIO) -> None:
    """A line of a GraphQL request says what was asked for, and nothing of its values."""
    alice = await brokerage.person("investor", "alice")
    headers = {**brokerage.bearer(alice), "x-router-secret": "development-router-secret"}
    query = 'query Secret { user: user(id: "4711") { id } me { name } }'
    await brokerage.http.post("http://users/graphql", json={"query": query}, headers=headers)
    [line] = lines(log)
    assert (line["operation"], line["caller"], line["path"]) == ("query user me", alice.id, "/graphql")
    assert "4711" not in log.getvalue()


async def test_what_is_logged_on_the_way_has_the_request_too(
    brokerage: Brokerage, log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The traceback of our own fault stands under the request that met it, with its caller."""
    alice = await brokerage.person("investor", "alice")

    def fail(*_arguments: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr("subgraphs.wallet.service.WalletService.balances", fail)
    headers = {**brokerage.bearer(alice), "x-request-id": "the-failing-one"}
    assert (await brokerage.http.get("http://wallet/balance", headers=headers)).status_code == 500
    [line] = lines(log, "subgraphs.shared.app")
    assert (line["level"], line["request_id"], line["caller"]) == ("error", "the-failing-one", alice.id)
    assert "RuntimeError: broken" in line["exception"]
    assert [line["status"] for line in lines(log)] == [500]


async def test_health_is_not_logged(brokerage: Brokerage, log: io.StringIO) -> None:
    """What machines ask every second leaves no line."""
    for path in ("/health", "/ready", "/metrics"):
        await brokerage.http.get(f"http://wallet{path}")
    assert lines(log) == []


async def test_no_secret_is_written(brokerage: Brokerage, log: io.StringIO) -> None:
    """Registering, logging in and refreshing leave no password, token or address of a person in the log."""
    account = {"email": "erin@example.com", "password": PASSWORD}
    person = {**account, "name": "Erin", "type": "investor"}
    assert (await brokerage.http.post("http://users/users/register", json=person)).status_code == 201
    session = (await brokerage.http.post("http://users/users/login", json=account)).json()
    renewal = {"refreshToken": session["refreshToken"]}
    fresh = (await brokerage.http.post("http://users/users/refresh", json=renewal)).json()
    headers = {"authorization": f"Bearer {fresh['accessToken']}"}
    await brokerage.http.get("http://wallet/balance", headers=headers)
    await brokerage.http.post("http://users/users/login", json={**account, "password": f"{PASSWORD}8"})
    assert len(lines(log)) == 5
    secrets = (PASSWORD, "erin@", *session.values(), *fresh.values())
    assert [each for each in secrets if isinstance(each, str) and len(each) > 10 and each in log.getvalue()] == []


async def test_a_line_is_the_same_without_what_it_does_not_show(
    brokerage: Brokerage, log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a process of its own records lack threads, processes and source lines; lines have every member they had."""
    for switch in ("logThreads", "logProcesses", "logMultiprocessing", "logAsyncioTasks", "_srcfile"):
        monkeypatch.setattr(logging, switch, getattr(logging, switch, None), raising=False)
    records: list[logging.LogRecord] = []

    def keep(record: logging.LogRecord) -> bool:
        records.append(record)
        return True

    logging.getLogger("subgraphs.access").addFilter(keep)
    await brokerage.http.get("http://stocks/stocks")
    spare_unshown_fields()
    await brokerage.http.get("http://stocks/stocks")
    logging.getLogger("subgraphs.access").removeFilter(keep)
    before, after = lines(log)
    assert list(before) == list(after)
    assert [record.funcName == "__call__" for record in records] == [True, False]
    assert [record.thread is not None for record in records] == [True, False]
