"""The built wheel, installed alone into an empty environment, runs the command line.

This takes up to a minute and needs a package registry for the wheel's dependencies.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.packaging.conftest import Distributions
from tests.server.subgraphs import PEOPLE_SDL, PLACES_SDL
from trifolio.command import COMMANDS

pytestmark = pytest.mark.wheel


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
def python(
    request: pytest.FixtureRequest, distributions: Distributions, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The interpreter of an environment that has the wheel and what it depends on, nothing else."""
    base = interpreter_of(request.param)
    if base is None:
        pytest.skip(f"this machine has no Python {request.param}")
    return environment_with(distributions.wheel, base, tmp_path_factory.mktemp("environment"))


def environment_with(project: Path, base: str, folder: Path) -> Path:
    """Install a wheel or a project's folder into a new environment; returns the environment's interpreter."""
    subprocess.run([base, "-m", "venv", str(folder)], check=True, capture_output=True, timeout=120)
    interpreter = folder / "bin" / "python"
    install = [str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(project)]
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
    command += ["--introspection", "--explorer"]
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
        "[getattr(trifolio, name) for name in trifolio.__all__]"
    )
    subprocess.run([str(python), "-I", "-c", code], cwd=tmp_path, check=True, timeout=60)


def test_the_projects_folder_alone_gives_the_command(distributions: Distributions, tmp_path: Path) -> None:
    """`pip install ./router` brings `trifolio` with all its commands; `python -m trifolio` is the same."""
    python = environment_with(distributions.source, sys.executable, tmp_path / "environment")
    command, module = [str(python.with_name("trifolio"))], [str(python), "-m", "trifolio"]
    assert printed(command, "--help") == printed(module, "--help")
    listed = re.findall(r"^    (\w+)  ", printed(command, "--help"), flags=re.MULTILINE)
    assert listed == list(COMMANDS)
    assert printed(command, "--version") == f"trifolio {version('trifolio')}\n"


def printed(command: list[str], option: str) -> str:
    """What a command prints for one option."""
    return subprocess.run([*command, option], capture_output=True, text=True, check=True, timeout=60).stdout
