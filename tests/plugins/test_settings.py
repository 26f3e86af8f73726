"""Plug-ins that `router.yaml` names: `serve` and `dev` with them, and every way to name what is none."""

import asyncio
import logging
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.server.conftest import SUPERGRAPH, listening
from tests.server.subgraphs import PEOPLE_SDL
from tests.server.test_cli import started
from trifolio import ConfigError, Router, parse_config
from trifolio.command import main
from trifolio.command.development import DevServer

MODULE = """
import os
from trifolio import Plugin

class Version(Plugin):
    def __init__(self, header, version="1"):
        if version == "bad":
            raise ValueError("no such\\nversion")
        self.header, self.version = header, version

    async def on_start(self):
        if self.version == "unready":
            raise OSError("no database")

    async def on_response(self, response):
        response.add_header(self.header, f"{self.version} {os.getpid()}")

class Nested:
    Version = Version

class Nothing:
    pass

class Synchronous:
    def on_request(self, request):
        pass

def make(**options):
    return Version(**options)

TEXT = "a text"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder with a supergraph, and a module of plug-ins that is imported anew."""
    name = f"plugins_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    (tmp_path / "broken_plugins.py").write_text("import sys\nsys.exit('no')\n")
    (tmp_path / "supergraph.graphql").write_text(SUPERGRAPH)
    (tmp_path / "module").write_text(name)
    path = list(sys.path)
    sys.path.insert(0, str(tmp_path))
    yield tmp_path
    sys.path[:] = path
    sys.modules.pop(name, None)


def settings(folder: Path, reference: str, options: str = "") -> Path:
    """A router.yaml with one plug-in, on its second line."""
    module = (folder / "module").read_text()
    file = folder / "router.yaml"
    file.write_text(f"plugins:\n- python: {reference.replace('MODULE', module)}\n{options}")
    return file


def made(folder: Path, reference: str, options: str = "") -> Router:
    """The router with that plug-in."""
    text = settings(folder, reference, options).read_text()
    return Router(SUPERGRAPH, config=parse_config(text, name="router.yaml", folder=folder, environment={}))


@pytest.mark.parametrize("reference", ["MODULE:Version", "MODULE:Nested.Version", "MODULE:make"])
async def test_a_plugin_is_made_with_its_options(folder: Path, reference: str) -> None:
    """The class (or function) that a reference names is called with all other keys."""
    async with made(folder, reference, "  header: x-v\n  version: '7'\n") as router:
        response = await router.execute("{ __typename }")
    assert response.headers == (("x-v", f"7 {os.getpid()}"),)


WRONG = {
    "no module": ("nowhere.at.all:Version", "", "cannot be imported: ModuleNotFoundError"),
    "no class": ("MODULE:Nothing2", "", "cannot be imported: AttributeError"),
    "a module that ends the process": ("broken_plugins:Version", "", "cannot be imported: SystemExit: no"),
    "a text": ("MODULE:TEXT", "", "is a str; name a class"),
    "an option that is missing": ("MODULE:Version", "", "missing a required argument: 'header'"),
    "an option that is unknown": ("MODULE:Version", "  header: a\n  heder: b\n", "its options are: header, version"),
    "a class that raises": ("MODULE:Version", "  header: a\n  version: bad\n", "ValueError: no such version"),
    "a class without hooks": ("MODULE:Nothing", "", "Nothing is no plug-in: it has none of on_start"),
    "a hook that cannot be awaited": ("MODULE:Synchronous", "", "write async def on_request"),
}


@pytest.mark.parametrize(("reference", "options", "text"), WRONG.values(), ids=WRONG)
def test_what_is_no_plugin_is_told_with_its_line(
    folder: Path, capsys: pytest.CaptureFixture[str], reference: str, options: str, text: str
) -> None:
    """The router is not made, and `serve` ends with 1 and one line that names file and line, without a traceback."""
    with pytest.raises(ConfigError) as raised:
        made(folder, reference, options)
    assert str(raised.value).startswith("router.yaml:2: ")
    assert text in str(raised.value)
    file = settings(folder, reference, options)
    assert main(["serve", "--supergraph", str(folder / "supergraph.graphql"), "--settings", str(file)]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: router.yaml:2: ")
    assert text in line


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_serve_has_the_plugins_of_its_settings(folder: Path, workers: str) -> None:
    """`serve` finds plug-ins beside its settings, and every worker has its own."""
    file = settings(folder, "MODULE:Version", "  header: x-v\n")
    arguments = ("--supergraph", folder / "supergraph.graphql", "--settings", file, "--workers", workers)
    async with started(*arguments) as (process, url), httpx.AsyncClient(trust_env=False) as client:
        response = await client.post(url, json={"query": "{ __typename }"}, timeout=30)
        assert response.json() == {"data": {"__typename": "Query"}}
        worker = int(response.headers["x-v"].removeprefix("1 "))
        assert (worker == process.pid) == (workers == "1")


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_serve_ends_where_a_plugin_does_not_start(folder: Path, workers: str) -> None:
    """A plug-in that does not start ends `serve` with 1, with a line that says why and no traceback."""
    file = settings(folder, "MODULE:Version", "  header: x-v\n  version: unready\n")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "trifolio", "serve", "--port", "0", "--workers", workers),
        *("--supergraph", str(folder / "supergraph.graphql"), "--settings", str(file)),
        stderr=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(60):
            _, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    text = errors.decode()
    assert process.returncode == 1
    assert "the plug-in Version does not start: OSError: no database" in text
    assert "Traceback" not in text
    assert "exception" not in text


async def test_dev_has_the_plugins_of_its_settings(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Under `dev` each composition has plug-ins of its own; where one does not start, that is told, and a next look
    finds them well."""
    caplog.set_level(logging.INFO)
    (folder / "people.graphql").write_text(PEOPLE_SDL)
    yaml = folder / "supergraph.yaml"
    yaml.write_text("subgraphs:\n  people: {routing_url: 'http://127.0.0.1:1', schema: {file: people.graphql}}\n")

    def server(version: str) -> DevServer:
        text = settings(folder, "MODULE:Version", f"  header: x-v\n  version: {version}\n").read_text()
        return DevServer(yaml, parse_config(text, name="router.yaml", folder=folder, environment={}), {})

    async with listening(server("good")) as url, httpx.AsyncClient(trust_env=False) as client:
        response = await client.post(f"{url}/graphql", json={"query": "{ __typename }"})
        assert response.headers["x-v"].startswith("good")
    async with listening(server("unready")) as url, httpx.AsyncClient(trust_env=False) as client:
        assert (await client.post(f"{url}/graphql", json={"query": "{ __typename }"})).status_code == 503
    assert [text for text in caplog.messages if re.search("people: the plug-in Version does not start: OSError", text)]
