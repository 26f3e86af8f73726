"""The built wheel, installed alone into an empty environment, runs the command line.

This takes up to a minute and needs a package registry for the wheel's dependencies.
"""

import json
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.server.subgraphs import PEOPLE_SDL, PLACES_SDL

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy, so that the build leaves nothing in the tree."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    shutil.copytree(ROOT / "router", source, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "build"))
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(source)]
    subprocess.run(build, check=True, capture_output=True, timeout=120)
    [built] = folder.glob("trifolio-*.whl")
    return built


def interpreter_of(version: str) -> str | None:
    """A Python of this version on this machine, if there is one that runs."""
    if sys.version_info[:2] == tuple(map(int, version.split("."))):
        return sys.executable
    on_path = shutil.which(f"python{version}")
    of_pyenv = (Path.home() / ".pyenv" / "versions").glob(f"{version}*/bin/python")
    for candidate in [*([on_path] if on_path else []), *map(str, of_pyenv)]:
        # pyenv puts a command on the path that only says which versions there are.
        if subprocess.run([candidate, "-c", ""], capture_output=True, check=False).returncode == 0:
            return candidate
    return None


@pytest.fixture(scope="module", params=["3.11", "3.12", "3.13"])
def python(request: pytest.FixtureRequest, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that has the wheel and what it depends on, nothing else."""
    base = interpreter_of(request.param)
    if base is None:
        pytest.skip(f"this machine has no Python {request.param}")
    environment = tmp_path_factory.mktemp("environment")
    subprocess.run([base, "-m", "venv", str(environment)], check=True, capture_output=True, timeout=120)
    interpreter = environment / "bin" / "python"
    install = [str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(wheel)]
    subprocess.run(install, check=True, capture_output=True, timeout=300)
    return interpreter


def run(python: Path, folder: Path, *arguments: str) -> str:
    """What `python -m trifolio ...` prints, run in `folder`, far from the source."""
    command = [str(python), "-I", "-m", "trifolio", *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=60).stdout


@contextmanager
def served(python: Path, folder: Path) -> Iterator[str]:
    """The wheel's `serve` on a free port; yields the endpoint's address."""
    command = [str(python), "-I", "-m", "trifolio", "serve", "--supergraph", "made.graphql", "--port", "0"]
    process = subprocess.Popen(
        command, cwd=folder, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env={**os.environ}
    )
    assert process.stderr is not None
    try:
        yield json.loads(process.stderr.readline())["url"]
    finally:
        process.terminate()
        process.communicate(timeout=30)


def test_the_wheel_composes_plans_and_serves(python: Path, tmp_path: Path) -> None:
    """Two SDL files become a supergraph, an operation its plan, and the served router answers and has its explorer."""
    (tmp_path / "people.graphql").write_text(PEOPLE_SDL)
    (tmp_path / "places.graphql").write_text(PLACES_SDL)
    (tmp_path / "supergraph.yaml").write_text(
        "subgraphs:\n"
        "  people: {routing_url: http://people:1/graphql, schema: {file: people.graphql}}\n"
        "  places: {routing_url: http://places:1/graphql, schema: {file: places.graphql}}\n"
    )
    (tmp_path / "op.graphql").write_text("{ me { name homes { city } } }")
    run(python, tmp_path, "compose", "--config", "supergraph.yaml", "--output", "made.graphql")
    text = run(python, tmp_path, "plan", "--supergraph", "made.graphql", "--operation", "op.graphql")
    assert text.index("people") < text.index("places")
    with served(python, tmp_path) as url:
        body = json.dumps({"query": '{ __type(name: "Person") { fields { name } } }'}).encode()
        request = urllib.request.Request(url, body, {"content-type": "application/json"})  # noqa: S310  # own server
        with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310  # own server
            fields = json.load(response)["data"]["__type"]["fields"]
        page = urllib.request.Request(url, headers={"accept": "text/html"})  # noqa: S310  # own server
        with urllib.request.urlopen(page, timeout=30) as response:  # noqa: S310  # own server
            assert b'id="explorer"' in response.read()
    assert {field["name"] for field in fields} == {"id", "name", "boss", "homes"}


def test_the_wheel_brings_the_router_alone(python: Path, tmp_path: Path) -> None:
    """The base needs none of the brokerage's libraries, and its modules are typed."""
    code = (
        "import importlib.util as u, pathlib, trifolio;"
        "assert not any(u.find_spec(name) for name in ('fastapi', 'strawberry', 'sqlalchemy', 'pydantic'));"
        "assert (pathlib.Path(trifolio.__file__).parent / 'py.typed').exists();"
        "trifolio.Router, trifolio.LocalTransport, trifolio.HttpxTransport, trifolio.compose"
    )
    subprocess.run([str(python), "-I", "-c", code], cwd=tmp_path, check=True, timeout=60)
