"""The container files: what compose makes of them, and that no secret stands in them."""

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import REQUIRED

ROOT = Path(__file__).parents[2]
SERVICES = ("users", "wallet", "stocks")


@pytest.fixture(scope="module")
def compose_file() -> Mapping[str, Any]:
    """docker-compose.yml with its anchors resolved."""
    loaded: Mapping[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return loaded


def test_compose_accepts_the_file() -> None:
    """`docker-compose config` reads the file without a complaint."""
    if shutil.which("docker-compose") is None:
        if "compose" in REQUIRED:
            pytest.fail("docker-compose is required here and not installed")
        pytest.skip("docker-compose is not installed")
    done = subprocess.run(
        ["docker-compose", "config", "--quiet"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_every_secret_comes_from_a_file(compose_file: Mapping[str, Any]) -> None:
    """Variables that carry secrets name a file below /run/secrets that the service is given; none is unused."""
    for name, service in compose_file["services"].items():
        environment = service.get("environment", {})
        plain = [key for key in environment if re.search(r"SECRET|PASSWORD|KEY|DATABASE_URL", key)]
        assert [key for key in plain if not key.endswith("_FILE")] == [], name
        used = {str(value).removeprefix("/run/secrets/") for key, value in environment.items() if key in plain}
        given = set(service.get("secrets", []))
        assert used <= given, name
    declared = set(compose_file["secrets"])
    assert declared == {each for service in compose_file["services"].values() for each in service.get("secrets", [])}


def test_a_service_gets_its_own_secrets_only(compose_file: Mapping[str, Any]) -> None:
    """No service can read another's database, nor sign in another's name; only users signs access tokens, and
    only stocks knows what the market will do."""
    for name in SERVICES:
        own = {f"{name}_database_url", f"{name}_router_secret", f"{name}_service_key", "service_verifying_keys"}
        expected = own | {"users": {"token_signing_key"}, "stocks": {"stocks_feed_seed"}}.get(name, set())
        assert set(compose_file["services"][name]["secrets"]) == expected


def test_no_process_runs_as_root_or_waits_for_nobody(compose_file: Mapping[str, Any]) -> None:
    """The image ends as a user, containers cannot gain rights, and everything that serves has a health check."""
    users = re.findall(r"^USER (.+)$", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    assert users[-1:] == ["10001:10001"]
    for name in (*SERVICES, "router", "migrate"):
        service = compose_file["services"][name]
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["read_only"] is True, name
        assert ("healthcheck" in service) is (name != "migrate"), name


def test_every_image_is_pinned(compose_file: Mapping[str, Any]) -> None:
    """Base images carry a full version, so that the same files give the same containers next year."""
    bases = re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    images = [compose_file["services"]["postgres"]["image"], *bases]
    assert [image for image in images if not re.fullmatch(r"[a-z]+:\d+\.\d+(\.\d+)?(-[a-z]+)+", image)] == []


def test_image_holds_what_it_copies() -> None:
    """Whatever the Dockerfile copies exists and is let in by .dockerignore."""
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copies = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    copied = {name for line in copies for name in line.split()}
    assert copied == let_in
    assert [name for name in sorted(copied) if not (ROOT / name).exists()] == []
