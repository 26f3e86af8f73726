"""The import contracts catch new files: each is planted in a copy of the sources, where the linter has to find it."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.house.only_contract import Modules

ROOT = Path(__file__).parents[2]
SOURCES = ("router/trifolio", "subgraphs", "brokerage")
LINTER = ("tests/__init__.py", "tests/house/__init__.py", "tests/house/only_contract.py", "pyproject.toml")

ONE_DIRECTION = "trifolio: one direction, top to bottom"
WEBSOCKETS = "trifolio: bytes become WebSocket messages in two places"
CORE = "trifolio: the core does no I/O and knows no framework"
TRIFOLIO_LIBRARIES = "trifolio: every library has its place"
SERVICES_APART = "subgraphs: users, wallet and stocks never import one another; shared imports none of them"
SHAPE = "subgraphs: every subgraph has the same shape"
REST = "subgraphs: only the REST face knows HTTP"
GRAPHQL = "subgraphs: only the GraphQL face knows GraphQL"
FACES = "subgraphs: only the faces know the faces"
PYDANTIC = "subgraphs: only the edges of a service describe documents with pydantic"
SQL = "subgraphs: only the store speaks SQL"
STORE = "subgraphs: only services go to the store"
CONNECTIONS = "subgraphs: only services and what drives them hold a connection to the database"
RULES = "subgraphs: rules are pure"
WAITING = "subgraphs: only these wait or work side by side"
SUBGRAPH_LIBRARIES = "subgraphs: every library has its place"
APART = "trifolio and subgraphs never import each other"
BROKERAGE = "brokerage: the composition root stands above all"
CYCLES = "no import cycles anywhere"

LINTED = "=== linted"


@dataclass(frozen=True, slots=True)
class Planted:
    """Lines added to the file at `path`, which need not exist, and the contract that they break.

    `reached_from` is an existing file that gets an import of the new one, as in real life.
    """

    path: str
    text: str
    contract: str
    reached_from: str = ""

    def __str__(self) -> str:
        return f"{self.path}: {self.text}"


PLANTED = [
    # The places in the package, and in its packages
    Planted("router/trifolio/tracing.py", "import typing", ONE_DIRECTION),
    Planted("router/trifolio/storage/__init__.py", "import typing", ONE_DIRECTION),
    Planted("router/trifolio/executor/retries.py", "import typing", "trifolio.executor: layered"),
    Planted("router/trifolio/server/streams.py", "import typing", "trifolio.server: layered"),
    Planted("router/trifolio/planner/costs.py", "import typing", "trifolio.planner: layered"),
    Planted("router/trifolio/command/lint.py", "import typing", "trifolio.command: layered"),
    Planted("router/trifolio/planner/search.py", "import trifolio.planner.decisions", "trifolio.planner: layered"),
    Planted("router/trifolio/planner/speed.py", "import trifolio.executor.answer", ONE_DIRECTION),
    Planted("router/trifolio/composer/hints.py", "from trifolio.planner import cells", ONE_DIRECTION),
    Planted("router/trifolio/executor/fetch.py", "import trifolio.composer", ONE_DIRECTION),
    Planted("router/trifolio/engine.py", "import trifolio.server.http", ONE_DIRECTION),
    Planted("router/trifolio/server/reload.py", "import trifolio.command.serving", ONE_DIRECTION),
    # Ways around: for types alone, late, by a star, relative, in a package, under a name that may, by re-export
    Planted("router/trifolio/planner/typed.py", "import typing\nif typing.TYPE_CHECKING:\n    import asyncio", CORE),
    Planted("router/trifolio/composer/late.py", "def load() -> None:\n    import socket", CORE),
    Planted("router/trifolio/composer/stars.py", "from asyncio import *", CORE),
    Planted("router/trifolio/composer/near.py", "from ..executor import pool", CORE),
    Planted("router/trifolio/planner/__init__.py", "import asyncio", CORE),
    Planted("router/trifolio/composer/pool.py", "import socket", CORE),
    Planted("router/trifolio/planner/serving.py", "import uvicorn", "trifolio: clients are listened to in one place"),
    Planted("router/trifolio/composer/front.py", "from trifolio import Router", CORE),
    Planted("router/trifolio/planner/tried.py", "try:\n    import ssl\nexcept ImportError:\n    pass", CORE),
    Planted("router/trifolio/planner/echo.py", "from trifolio.executor.connection import asyncio", CORE),
    Planted("subgraphs/wallet/seen.py", "from subgraphs.users import *", SERVICES_APART),
    # The core
    Planted("router/trifolio/executor/sockets.py", "import socket", CORE, "router/trifolio/executor/fetch.py"),
    Planted("router/trifolio/executor/waiting.py", "import asyncio", CORE, "router/trifolio/executor/fetch.py"),
    Planted("router/trifolio/executor/fetch.py", "import trifolio.executor.pool", CORE),
    Planted("router/trifolio/server/graphql_socket.py", "import websockets", WEBSOCKETS),
    Planted("router/trifolio/executor/answer.py", "import trifolio.executor.schedule", CORE),
    Planted("router/trifolio/planner/remote.py", "import requests", CORE, "router/trifolio/planner/search.py"),
    Planted("router/trifolio/planner/remote.py", "import urllib.request", "trifolio: only these take URLs apart"),
    Planted("router/trifolio/planner/search.py", "import time", "trifolio: only these read the clock"),
    Planted("router/trifolio/planner/parallel.py", "import multiprocessing", CORE),
    Planted("router/trifolio/planner/parallel.py", "from threading import Lock", CORE),
    Planted("router/trifolio/planner/shell.py", "def ask():\n    import subprocess", CORE),
    Planted("router/trifolio/planner/front.py", "from trifolio import Router", CORE),
    Planted("router/trifolio/composer/merge_later.py", "import asyncio", CORE, "router/trifolio/composer/merge.py"),
    Planted("router/trifolio/composer/files.py", "from pathlib import Path", CORE),
    Planted("router/trifolio/document.py", "import yaml", CORE),
    Planted("router/trifolio/document.py", "import yaml", "trifolio: only the configuration is YAML"),
    Planted("router/trifolio/server/http.py", "import httptools", "trifolio: bytes become HTTP in two places"),
    Planted(
        "router/trifolio/engine.py", "import greenlet", "trifolio: a computation is left and entered again in one place"
    ),
    Planted("router/trifolio/plugins/sessions.py", "import jwt", "trifolio: tokens are verified in one place"),
    Planted("router/trifolio/document.py", "from trifolio.config import Config", CORE),
    Planted("router/trifolio/plan_costs.py", "from starlette.requests import Request", CORE),
    Planted("router/trifolio/plan.py", "import importlib", CORE),
    Planted("router/trifolio/query_graph/drawing.py", "import os", CORE),
    # The edge of the package
    Planted("router/trifolio/server/app.py", "from fastapi import FastAPI", TRIFOLIO_LIBRARIES),
    Planted("router/trifolio/command/publish.py", "import boto3", TRIFOLIO_LIBRARIES),
    Planted("router/trifolio/engine.py", "import httpx", "trifolio: subgraphs are reached through a transport"),
    Planted("router/trifolio/server/app.py", "import uvicorn", "trifolio: clients are listened to in one place"),
    # Between the projects and between the services
    Planted("subgraphs/stocks/plans.py", "import trifolio.plan", APART),
    Planted("router/trifolio/command/seed.py", "import subgraphs.stocks.rules", APART),
    Planted("subgraphs/wallet/demo.py", "import brokerage.demo", BROKERAGE),
    Planted("router/trifolio/demo.py", "from brokerage import demo", BROKERAGE),
    Planted("subgraphs/users/balances.py", "from subgraphs.wallet import service", SERVICES_APART),
    Planted("subgraphs/shared/market.py", "from subgraphs.stocks.rules import Order", SERVICES_APART),
    Planted("subgraphs/shared/market.py", "import typing", "subgraphs.shared: layered"),
    Planted("subgraphs/bonds/__init__.py", "import typing", SERVICES_APART),
    Planted("subgraphs/stocks/dividends.py", "import typing", SHAPE),
    Planted("router/trifolio/composer/links.py", "import trifolio.composer.schema", CYCLES),
    # HTTP
    Planted("subgraphs/stocks/saga.py", "import fastapi", REST),
    Planted("subgraphs/stocks/saga_transfers.py", "import fastapi", REST, "subgraphs/stocks/saga.py"),
    Planted("subgraphs/stocks/service.py", "import fastapi", REST),
    Planted("subgraphs/stocks/service_market.py", "import fastapi", REST),
    Planted("subgraphs/stocks/service_transfers.py", "from fastapi import HTTPException", REST),
    Planted("subgraphs/stocks/store_transfers.py", "from starlette.requests import Request", REST),
    Planted("subgraphs/stocks/rules_transfers.py", "import fastapi", REST),
    Planted("subgraphs/stocks/dividends.py", "import fastapi", REST, "subgraphs/stocks/service_stocks.py"),
    Planted("subgraphs/stocks/schema_transfers.py", "import fastapi", REST, "subgraphs/stocks/schema.py"),
    Planted("subgraphs/users/saga.py", "import fastapi", REST),
    Planted("subgraphs/users/recovery/codes.py", "import fastapi", REST),
    Planted("subgraphs/bonds/rules.py", "import fastapi", REST),
    Planted("subgraphs/users/service_recovery.py", "from subgraphs.shared.problems import problem", FACES),
    Planted("subgraphs/wallet/limits.py", "from subgraphs.wallet import routes", FACES),
    # GraphQL
    Planted("subgraphs/stocks/routes_transfers.py", "import strawberry", GRAPHQL, "subgraphs/stocks/routes.py"),
    Planted("subgraphs/stocks/service_transfers.py", "import strawberry", GRAPHQL),
    Planted("subgraphs/stocks/store_transfers.py", "import strawberry", GRAPHQL),
    Planted("subgraphs/wallet/service.py", "from graphql import GraphQLError", GRAPHQL),
    Planted("subgraphs/wallet/limits.py", "from subgraphs.shared.graphql_types import Page", FACES),
    # SQL and the store
    Planted("subgraphs/stocks/rules_intents.py", "import sqlalchemy", SQL),
    Planted("subgraphs/stocks/rules_sessions.py", "import sqlalchemy", SQL),
    Planted("subgraphs/wallet/rules_operations.py", "import sqlalchemy", SQL),
    Planted("subgraphs/stocks/bodies.py", "import sqlalchemy", SQL),
    Planted("subgraphs/stocks/documents.py", "import sqlalchemy", SQL),
    Planted("subgraphs/stocks/service_transfers.py", "from sqlalchemy import select", SQL),
    Planted("subgraphs/stocks/routes_transfers.py", "from sqlalchemy import select", SQL),
    Planted("subgraphs/stocks/schema_transfers.py", "from sqlalchemy import select", SQL),
    Planted("subgraphs/wallet/bodies.py", "from sqlalchemy import select", SQL, "subgraphs/wallet/routes.py"),
    Planted("subgraphs/wallet/ledger.py", "import sqlalchemy.ext.asyncio", SQL),
    Planted("subgraphs/stocks/bodies.py", "from subgraphs.stocks import store", STORE),
    Planted("subgraphs/stocks/routes_transfers.py", "from subgraphs.stocks.store_orders import find", STORE),
    Planted("subgraphs/stocks/schema_transfers.py", "from subgraphs.stocks.tables import orders", STORE),
    Planted("subgraphs/wallet/bodies.py", "import subgraphs.wallet.store", STORE),
    Planted("subgraphs/wallet/ledger.py", "import subgraphs.wallet.store", STORE),
    Planted("subgraphs/users/routes.py", "from subgraphs.shared.database import Database", CONNECTIONS),
    # Rules, and what else is nobody's by default
    Planted("subgraphs/wallet/rules_fees.py", "from pydantic import BaseModel", PYDANTIC, "subgraphs/wallet/rules.py"),
    Planted("subgraphs/wallet/rules_fees.py", "import asyncio", WAITING),
    Planted("subgraphs/wallet/rules_fees.py", "from subgraphs.shared.auth import Caller", RULES),
    Planted("subgraphs/wallet/rules_fees.py", "import random", RULES),
    Planted("subgraphs/wallet/rules.py", "import subgraphs.wallet.service", RULES),
    Planted("subgraphs/stocks/rules_pricing.py", "import time", RULES),
    Planted("subgraphs/users/service_recovery.py", "import smtplib", SUBGRAPH_LIBRARIES),
    Planted(
        "subgraphs/users/service_recovery.py", "import jwt", "subgraphs: only these know keys, tokens and passwords"
    ),
    Planted(
        "subgraphs/stocks/news.py", "import aiohttp", "subgraphs: other services are reached through the transport"
    ),
    Planted("subgraphs/stocks/service_stocks.py", "import os", "subgraphs: only these read files and the environment"),
    Planted("subgraphs/stocks/news.py", "import tests.in_memory", SUBGRAPH_LIBRARIES),
]


# One process lints again and again: starting one takes longer than linting.
LINTING = f"""
import sys
from importlinter.cli import lint_imports
for _ in sys.stdin:
    print({LINTED!r}, lint_imports(no_cache=True, no_logo=True), flush=True)
"""


@dataclass(frozen=True, slots=True)
class Report:
    """What the import linter printed, and whether it was content."""

    text: str
    clean: bool

    def broken(self) -> list[str]:
        return re.findall(r"^(.*) BROKEN$", self.text, re.MULTILINE)

    def about(self, contract: str) -> str:
        """What it says about a contract that is broken: what stands between its heading and the next one."""
        _, *parts = re.split(r"^(.*[^-\n].*)\n-+\n", self.text.partition("Broken contracts\n")[2], flags=re.MULTILINE)
        return dict(zip(parts[::2], parts[1::2], strict=True))[contract]


class Garden:
    """A copy of the sources in which lines can be planted, with a linter at work in it."""

    def __init__(self, folder: Path, linter: subprocess.Popen[str]) -> None:
        self.folder = folder
        self._linter = linter
        self._before = {path: path.read_text() for path in self._files()}

    def plant(self, path: str, text: str) -> None:
        """Add lines to a file, and what makes its folder a package."""
        target = self.folder / path
        target.parent.mkdir(exist_ok=True)
        (target.parent / "__init__.py").touch()
        with target.open("a") as file:
            file.write(f"\n{text}\n")

    def weed(self) -> None:
        """Take away whatever was planted."""
        for path in self._files():
            if path not in self._before:
                path.unlink()
            elif path.read_text() != self._before[path]:
                path.write_text(self._before[path])

    def lint(self) -> Report:
        assert self._linter.stdin is not None
        assert self._linter.stdout is not None
        self._linter.stdin.write("\n")
        self._linter.stdin.flush()
        lines: list[str] = []
        for line in self._linter.stdout:
            if line.startswith(LINTED):
                return Report("".join(lines), clean=line.split()[-1] == "0")
            lines.append(line)
        raise AssertionError("the linter has ended:\n" + "".join(lines))

    def _files(self) -> list[Path]:
        return [*self.folder.rglob("*.py"), self.folder / "pyproject.toml"]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Garden]:
    """The sources, the contracts and what checks them, in a folder that comes before whatever is installed."""
    folder = tmp_path_factory.mktemp("fences")
    sources = (path.relative_to(ROOT) for source in SOURCES for path in (ROOT / source).rglob("*.py"))
    for path in (*sources, *map(Path, LINTER)):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, folder / path)
    places = os.pathsep.join((str(folder / "router"), str(folder)))
    with subprocess.Popen(
        [sys.executable, "-c", LINTING],
        cwd=folder,
        env=os.environ | {"COLUMNS": "400", "PYTHONPATH": places},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as linter:
        yield Garden(folder, linter)
        linter.terminate()


@pytest.fixture
def garden(copy: Garden) -> Iterator[Garden]:
    """The copy, in which whatever a test plants is gone afterwards."""
    yield copy
    copy.weed()


def module_of(path: str) -> str:
    return path.removeprefix("router/").removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def test_the_sources_keep_every_contract(garden: Garden) -> None:
    """The copy is clean before anything is planted, so what is found later is what was planted."""
    report = garden.lint()
    assert (report.clean, report.broken()) == (True, []), report.text


@pytest.mark.parametrize("planted", PLANTED, ids=str)
def test_a_planted_file_is_caught(garden: Garden, planted: Planted) -> None:
    """The contract that is meant for it breaks, and says which file broke it."""
    garden.plant(planted.path, planted.text)
    module = module_of(planted.path)
    if planted.reached_from:
        garden.plant(planted.reached_from, f"import {module}")
    report = garden.lint()
    assert not report.clean
    assert planted.contract in report.broken(), report.text
    assert f".{module.rpartition('.')[2]}" in report.about(planted.contract)


def test_every_contract_has_a_file_that_breaks_it() -> None:
    """A contract that catches nothing planted would prove nothing."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    assert {contract["name"] for contract in contracts} == {planted.contract for planted in PLANTED}


def test_a_permission_without_use_is_found(garden: Garden) -> None:
    """Who may import something and does not breaks the contract too, so the table says what is true."""
    table = garden.folder / "pyproject.toml"
    permitted = 'importers = ["trifolio.config.reader"'
    assert permitted in table.read_text()
    table.write_text(table.read_text().replace(permitted, f'{permitted}, "trifolio.gateway"'))
    assert "trifolio.gateway may import this and does not" in garden.lint().text


def test_the_linter_sees_every_file() -> None:
    """It walks packages; a folder without __init__.py hides what is in it. Only migrations, run by path, have none."""
    hidden = {
        folder.relative_to(ROOT).as_posix()
        for source in SOURCES
        for path in (ROOT / source).rglob("*.py")
        for folder in (path.parent,)
        if not (folder / "__init__.py").exists()
    }
    assert all(re.fullmatch(r"subgraphs/\w+/migrations(/versions)?", folder) for folder in hidden), hidden


BY_NAME = {
    "router/trifolio/__init__.py",  # what it exports, when it is asked for
    "router/trifolio/command/__init__.py",  # its commands
    "router/trifolio/config/__init__.py",  # the reader, late
    "router/trifolio/command/schemas.py",  # a user's schema
    "router/trifolio/executor/source_text.py",  # compiles what is generated
    "router/trifolio/plugins/loading.py",  # a user's plug-in
    "brokerage/services.py",  # the service that is started
    "subgraphs/shared/graphql_execution/selections.py",  # runs what it has generated
    "brokerage/tether.py",  # the module that it keeps on a pipe
}
"""Who may import by name or run a text. The contracts read `import` statements: they do not see it."""

_WAYS_BY_NAME = {"__import__", "import_module", "exec", "eval", "runpy", "pkgutil", "reload"}
_WAYS_THROUGH_A_MODULE = {("sys", "modules"), ("importlib", "util"), ("importlib", "machinery"), ("sys", "meta_path")}


def imports_by_name(text: str) -> set[str]:
    """The ways in which a module imports without an `import` statement that names what."""
    ways = set()
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Name(name) | ast.alias(name, _) if name in _WAYS_BY_NAME:
                ways.add(name)
            case ast.Attribute(ast.Name(module), name) if (module, name) in _WAYS_THROUGH_A_MODULE:
                ways.add(f"{module}.{name}")
            case ast.Attribute(_, "import_module"):
                ways.add("import_module")
            case ast.ImportFrom(str(module), names):
                ways |= {module} & _WAYS_BY_NAME
                ways |= {f"{module}.{each.name}" for each in names if (module, each.name) in _WAYS_THROUGH_A_MODULE}
                ways |= {module} & {".".join(each) for each in _WAYS_THROUGH_A_MODULE}
            case ast.alias("importlib.util" | "importlib.machinery" as module, _):
                ways.add(module)
    return ways


def test_few_import_by_name() -> None:
    """Who imports a module by its name, or runs a text as a program, is named here; who no longer does is not."""
    found = {
        path.relative_to(ROOT).as_posix()
        for source in SOURCES
        for path in (ROOT / source).rglob("*.py")
        if imports_by_name(path.read_text())
    }
    assert found == BY_NAME


@pytest.mark.parametrize(
    "text",
    [
        "__import__('socket')",
        "from importlib import import_module",
        "import importlib\nimportlib.import_module('socket')",
        "import importlib as i\ni.import_module('socket')",
        "import importlib.util",
        "from importlib import util",
        "from importlib.util import find_spec",
        "import sys\nsys.modules['socket']",
        "from sys import modules",
        "import runpy",
        "from pkgutil import resolve_name",
        "from builtins import __import__ as load",
        "exec('import socket')",
        "load = eval",
    ],
)
def test_an_import_by_name_is_seen(text: str) -> None:
    """Each way past an `import` statement counts as one."""
    assert imports_by_name(text)


def test_migrations_know_the_database_and_nothing_else() -> None:
    """What the linter does not see imports Alembic, SQLAlchemy, its service's tables and what runs migrations."""
    for path in (ROOT / "subgraphs").rglob("migrations/**/*.py"):
        service = path.relative_to(ROOT / "subgraphs").parts[0]
        known = Modules(
            [
                "alembic.**",
                "sqlalchemy.**",
                "collections.**",
                "typing",
                "subgraphs.shared.migrations",
                f"subgraphs.{service}.tables",
            ]
        )
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
                assert all(name in known for name in names), f"{path.relative_to(ROOT)}:{node.lineno}"


def test_nothing_of_ours_makes_requests_with_urllib() -> None:
    """The contracts see `urllib` as one; ruff tells the part that takes URLs apart from the part that opens them."""
    checked = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--stdin-filename", "router/trifolio/composer/links.py", "-"],
        cwd=ROOT,
        input='"""Planted."""\n\nfrom urllib.request import urlopen\n\nurlopen("http://127.0.0.1")\n',
        capture_output=True,
        text=True,
        check=False,
    )
    assert "TID251" in checked.stdout


@pytest.mark.parametrize(
    ("pattern", "matched", "not_matched"),
    [
        ("subgraphs.*.store*", ["subgraphs.users.store", "subgraphs.users.store_orders"], ["subgraphs.users.a.store"]),
        ("trifolio.server.**", ["trifolio.server", "trifolio.server.app"], ["trifolio.servers", "trifolio"]),
        ("*", ["socket", "trifolio"], ["trifolio.plan"]),
        ("stdlib", ["socket", "typing"], ["httpx", "trifolio.typing"]),
    ],
)
def test_patterns(pattern: str, matched: list[str], not_matched: list[str]) -> None:
    """A star is part of one name, `.**` a module with all below it, `stdlib` the whole standard library."""
    modules = Modules([pattern])
    assert [name in modules for name in (*matched, *not_matched)] == [True] * len(matched) + [False] * len(not_matched)
