"""What an order costs without services: the statements of its saga, in plain sqlite3.

One market order is placed with the three services in this process, and what they write is recorded: every statement of
every transaction, as the driver gets it. Each repetition gets ids of its own, and runs on the same databases with the
same durability, from Python, with nothing around it: no HTTP, no rules, no SQLAlchemy.
"""

import asyncio
import re
import sqlite3
import statistics
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, event
from sqlalchemy.engine import Engine

from subgraphs.shared.migrations import migrate
from subgraphs.stocks.companies import COMPANIES
from tests.driver_statements import heard_by
from tests.faults.in_process import SERVICES, Brokerage, Person, running

STOCK = COMPANIES[0]
RECORDED = 3
"""Orders that are really placed: one to warm up, two to tell an order's own ids from others'."""
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{64}")
"""An id or a fingerprint."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement, with the parameters of one execution or, for `many`, of several."""

    database: str
    text: str
    parameters: Any
    many: bool = False


@dataclass(frozen=True, slots=True)
class RawSaga:
    """How many transactions a market order takes, and the CPU time of them all in milliseconds, on average."""

    commits: int
    cpu_ms: float


def measure_raw_saga(folder: Path, times: int) -> RawSaga:
    """Records one order on fresh databases in `folder`, which is made, and repeats what it wrote so often."""
    folder.mkdir()
    urls = {name: f"sqlite:///{folder / name}.db" for name in SERVICES}
    for name, url in urls.items():
        migrate(url, f"subgraphs.{name}")
    first, second = asyncio.run(_recorded_orders(urls))
    own = sorted(_ids_of(first) - _ids_of(second))
    databases = {statement.database: _open(statement.database) for statement in first}
    repetitions = [_renamed(first, own) for _ in range(times)]
    costs = [_run(databases, repetition) for repetition in repetitions]
    statement = "SELECT count(*) FROM orders WHERE state = 'completed'"
    completed = databases[str(folder / "stocks.db")].execute(statement).fetchone()[0]
    assert completed == times + RECORDED, "a repetition did not do what the order did"
    for database in databases.values():
        database.close()
    return RawSaga(sum(statement.text == "COMMIT" for statement in first), statistics.mean(costs) * 1e3)


async def _recorded_orders(urls: dict[str, str]) -> tuple[list[Statement], list[Statement]]:
    """What two orders write: ids that only one of them has are its own."""
    async with running(urls) as brokerage:
        alice = await brokerage.person("investor", "alice")
        await brokerage.tick(STOCK.symbol, "83.9", "84.1")
        deposit = {"type": "deposit", "currency": STOCK.currency, "amount": "900000"}
        assert (await brokerage.send(alice, "wallet", "POST", "/transactions", deposit)).status_code == 201
        await _buy(brokerage, alice)
        return await _recorded(brokerage, alice), await _recorded(brokerage, alice)


async def _buy(brokerage: Brokerage, alice: Person) -> None:
    response = await brokerage.send(
        alice, "stocks", "POST", "/orders", {"stockId": STOCK.stock_id, "side": "buy", "quantity": "1"}
    )
    assert (response.status_code, response.json()["status"]) == (201, "completed"), response.text


async def _recorded(brokerage: Brokerage, alice: Person) -> list[Statement]:
    written: list[Statement] = []

    def begin(connection: Connection) -> None:
        if _writes(connection):
            written.append(Statement(_file_of(connection), "BEGIN IMMEDIATE", ()))

    def execute(connection: Connection, text: str, parameters: Any, many: bool) -> None:
        if _writes(connection):
            written.append(Statement(_file_of(connection), text, parameters, many))

    def commit(connection: Connection) -> None:
        if _writes(connection):
            written.append(Statement(_file_of(connection), "COMMIT", ()))

    listeners = {"begin": begin, "commit": commit}
    for name, listener in listeners.items():
        event.listen(Engine, name, listener)
    with heard_by(execute):
        await _buy(brokerage, alice)
    for name, listener in listeners.items():
        event.remove(Engine, name, listener)
    return written


def _writes(connection: Connection) -> bool:
    return connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT"


def _file_of(connection: Connection) -> str:
    return str(connection.engine.url.database)


def _ids_of(statements: Sequence[Statement]) -> set[str]:
    return set(_ID.findall(repr([statement.parameters for statement in statements])))


def _renamed(statements: Sequence[Statement], own: Sequence[str]) -> list[Statement]:
    fresh = {name: str(uuid.uuid4()) if "-" in name else uuid.uuid4().hex * 2 for name in own}
    return [Statement(each.database, each.text, _with_names(each.parameters, fresh), each.many) for each in statements]


def _with_names(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, str):
        return _ID.sub(lambda match: names.get(match[0], match[0]), value)
    if isinstance(value, tuple | list):
        return type(value)(_with_names(each, names) for each in value)
    return value


def _open(file: str) -> sqlite3.Connection:
    connection = sqlite3.connect(file, isolation_level=None)
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def _run(databases: dict[str, sqlite3.Connection], statements: Sequence[Statement]) -> float:
    began = time.thread_time()
    for statement in statements:
        connection = databases[statement.database]
        execute = connection.executemany if statement.many else connection.execute
        execute(statement.text, statement.parameters).fetchall()
    return time.thread_time() - began
