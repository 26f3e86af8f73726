"""Production mode as docker-compose.yml starts it: its commands, variables and secret files, without containers."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from brokerage import SERVICE_NAMES
from brokerage.development import SUPERGRAPH
from brokerage.secret_files import write_keys
from brokerage.services import migrate_service, read_settings
from brokerage.supervisor import ProcessFailed, ProcessSpec, running
from tests.system.brokerages import ROOT, free_port
from trifolio.config import read_config

ACCOUNT = {"email": "erin@example.com", "password": "a-long-password"}


@pytest.fixture
def specs(tmp_path: Path) -> list[ProcessSpec]:
    """The four processes of docker-compose.yml on this machine: other places, everything else as it stands there."""
    secrets, port = tmp_path / "secrets", free_port()
    write_keys(secrets)
    for service in SERVICE_NAMES:
        url = f"sqlite:///{tmp_path / service}.db"
        (secrets / f"{service}_database_url").write_text(url)
        migrate_service(service, url)
    moves = {"/run/secrets": str(secrets), "0.0.0.0": "127.0.0.1"}  # noqa: S104  # what stands in the file
    for offset, name in enumerate(("router", *SERVICE_NAMES)):
        moves |= {f"http://{name}:400{offset}": f"http://127.0.0.1:{port + offset}", f"400{offset}": str(port + offset)}
    settings = tmp_path / "deploy" / "router.yaml"
    settings.parent.mkdir()
    settings.write_text(moved((ROOT / "deploy" / "router.yaml").read_text(), moves))
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    router = ["-m", "trifolio", "serve", "--supergraph", str(SUPERGRAPH), "--settings", str(settings)]
    services["router"]["command"] = [*router, "--port", str(port)]
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    return [process(services, name, moves, tmp_path) for name in (*SERVICE_NAMES, "router")]


def process(services: Mapping[str, Any], name: str, moves: Mapping[str, str], folder: Path) -> ProcessSpec:
    """One service of the compose file; of this machine's environment it gets nothing that is ours."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("TRIFOLIO_")}
    given = {key: moved(str(value), moves) for key, value in services[name].get("environment", {}).items()}
    command = [sys.executable, *(moved(word, moves) for word in services[name]["command"])]
    port = command[command.index("--port") + 1]
    environment = {**inherited, **given, "PYTHONPATH": str(ROOT)}
    return ProcessSpec(name, command, environment, f"http://127.0.0.1:{port}/ready", folder / f"{name}.log")


def moved(text: str, moves: Mapping[str, str]) -> str:
    """The text with this machine's places in it."""
    for old, new in moves.items():
        text = text.replace(old, new)
    return text


async def test_production_starts_and_answers(specs: list[ProcessSpec]) -> None:
    """With the generated secrets everything starts; a new user registers and finds an empty portfolio, and no demo."""
    graphql = specs[-1].ready_url.replace("/ready", "/graphql")
    users = specs[0].ready_url.removesuffix("/ready")
    async with running(specs), httpx.AsyncClient(trust_env=False) as client:
        registration = {**ACCOUNT, "name": "Erin", "type": "investor"}
        assert (await client.post(f"{users}/users/register", json=registration)).status_code == 201
        session = (await client.post(f"{users}/users/login", json=ACCOUNT)).json()
        headers = {"Authorization": f"Bearer {session['accessToken']}"}
        query = {"query": "{ me { name balances { total } holdings { id } } users { edges { node { name } } } }"}
        answer = (await client.post(graphql, json=query, headers=headers)).json()
    everybody = {"edges": [{"node": {"name": "Erin"}}]}
    assert answer == {"data": {"me": {"name": "Erin", "balances": [], "holdings": []}, "users": everybody}}


async def test_production_does_not_start_without_its_secrets(specs: list[ProcessSpec]) -> None:
    """Without its key a service refuses to start, and says what to set."""
    wallet = specs[1]
    environment = {
        key: value for key, value in wallet.environment.items() if key != "TRIFOLIO_SERVICE_SIGNING_KEY_FILE"
    }
    lacking = ProcessSpec(wallet.name, wallet.command, environment, wallet.ready_url, wallet.log)
    with pytest.raises(ProcessFailed, match="TRIFOLIO_SERVICE_SIGNING_KEY_FILE"):
        async with running([lacking]):
            pass


@pytest.mark.parametrize("name", [*SERVICE_NAMES, "router"])
@pytest.mark.parametrize("said", [None, ""], ids=["not said", "empty"])
async def test_production_does_not_start_until_its_proxies_are_said(
    specs: list[ProcessSpec], name: str, said: str | None
) -> None:
    """A service and the router alike refuse to guess how many proxies are in front, and name the variable."""
    spec = next(each for each in specs if each.name == name)
    environment = {key: value for key, value in spec.environment.items() if key != "TRIFOLIO_TRUSTED_PROXIES"}
    assert environment.keys() != spec.environment.keys()
    given = environment if said is None else {**environment, "TRIFOLIO_TRUSTED_PROXIES": said}
    lacking = ProcessSpec(spec.name, spec.command, given, spec.ready_url, spec.log)
    with pytest.raises(ProcessFailed, match=r"(?i)trusted_proxies"):
        async with running([lacking]):
            pass


async def test_the_router_believes_as_many_proxies_as_it_is_told_of(specs: list[ProcessSpec]) -> None:
    """What the variable says is what `trusted_proxies` is."""
    router = specs[-1]
    settings = Path(router.command[router.command.index("--settings") + 1])
    for said in (0, 1, 2):
        config = read_config(settings, environment={**router.environment, "TRIFOLIO_TRUSTED_PROXIES": str(said)})
        assert config.trusted_proxies == said


def test_production_refuses_development_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mode unset means production, which does not take the keys that every checkout has."""
    monkeypatch.setenv("DATABASE_URL", "sqlite:///unused.db")
    for service in SERVICE_NAMES:
        with pytest.raises(ValueError, match="SERVICE_SIGNING_KEY"):
            read_settings(service)
