"""What every documented route of every service keeps: it takes the query parameters that it documents and no other."""

import time
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from subgraphs.shared.auth import LocalKeys, user_token
from subgraphs.stocks.app import create_app as create_stocks
from subgraphs.stocks.settings import Settings as StocksSettings
from subgraphs.users.app import create_app as create_users
from subgraphs.users.settings import Settings as UsersSettings
from subgraphs.wallet.app import create_app as create_wallet
from subgraphs.wallet.settings import Settings as WalletSettings

USERS = UsersSettings(mode="development", database_url=SecretStr("sqlite:///unused"), loops=False)
SERVICES = ("users", "wallet", "stocks")
HEALTH = {"/health", "/ready", "/metrics"}
"""For probes, which may add whatever keeps caches away."""


def application(service: str, folder: Path) -> FastAPI:
    """A service on a database that no request here reaches."""
    url = SecretStr(f"sqlite:///{folder / 'none.db'}")
    keys = LocalKeys(USERS.published_keys())
    if service == "users":
        return create_users(UsersSettings(mode="development", database_url=url, loops=False))
    if service == "wallet":
        return create_wallet(WalletSettings(mode="development", database_url=url), user_keys=keys)
    return create_stocks(StocksSettings(mode="development", database_url=url, loops=False), user_keys=keys)


def operations(app: FastAPI) -> list[tuple[str, str, Any]]:
    """Every documented method and path, with its description."""
    paths = app.openapi()["paths"].items()
    return [
        (method.upper(), path, operation)
        for path, methods in paths
        if path not in HEALTH
        for method, operation in methods.items()
    ]


@pytest.mark.parametrize("service", SERVICES)
async def test_an_unknown_query_parameter_is_refused(tmp_path: Path, service: str) -> None:
    """422 that names each unknown parameter and the known ones; without a token a starred route says 401 first."""
    app = application(service, tmp_path)
    token = user_token(USERS.access_token_key(), str(uuid.uuid4()), "investor", now=time.time())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=f"http://{service}") as http:
        for method, path, operation in operations(app):
            target = f"{path.replace('{', '').replace('}', '')}?stauts=working&after=x&nothing="
            known = {each["name"] for each in operation.get("parameters", []) if each["in"] == "query"}
            answer = await http.request(method, target, headers={"authorization": f"Bearer {token}"})
            problem = answer.json()
            assert (answer.status_code, problem["code"]) == (422, "invalid-request"), (method, path)
            named = [error["field"] for error in problem["errors"]]
            assert named == sorted({"stauts", "nothing", "after"} - known), (method, path)
            assert all(name in problem["errors"][0]["message"] for name in known), (method, path)
            anonymous = await http.request(method, target)
            assert anonymous.status_code == (401 if "security" in operation else 422), (method, path)
            forged = await http.request(method, target, headers={"authorization": "Bearer x"})
            assert forged.status_code == (401 if "security" in operation else 422), (method, path)


@pytest.mark.parametrize("service", SERVICES)
async def test_a_query_parameter_is_given_once(tmp_path: Path, service: str) -> None:
    """Of two values one would be lost: 422 that names the parameter."""
    app = application(service, tmp_path)
    token = user_token(USERS.access_token_key(), str(uuid.uuid4()), "investor", now=time.time())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=f"http://{service}") as http:
        for method, path, operation in operations(app):
            for name in (each["name"] for each in operation.get("parameters", []) if each["in"] == "query"):
                target = f"{path.replace('{', '').replace('}', '')}?{name}=a&{name}=b"
                answer = await http.request(method, target, headers={"authorization": f"Bearer {token}"})
                assert (answer.status_code, answer.json()["code"]) == (422, "invalid-request"), (method, path)
                assert [error["field"] for error in answer.json()["errors"]] == [name], (method, path)


@pytest.mark.parametrize("service", SERVICES)
async def test_a_method_that_a_route_lacks_is_told_so_first(tmp_path: Path, service: str) -> None:
    """What is wrong with the query of a request that no route answers does not matter."""
    app = application(service, tmp_path)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=f"http://{service}") as http:
        for path in {path for _, path, _ in operations(app)}:
            assert (await http.patch(f"{path}?x=1")).status_code == 405, path
