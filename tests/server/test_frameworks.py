"""docs/frameworks.md: Python's own frameworks as subgraphs, each in its own environment, behind the router.

Each example of docs/examples/frameworks is started as its first line says, composed with one that the router executes,
and asked for entities both ways.
"""

import asyncio
import functools
import os
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from tests.conftest import REQUIRED
from tests.server.test_cli import started

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples" / "frameworks"
PAGE = (ROOT / "docs" / "frameworks.md").read_text(encoding="utf-8")
ENVIRONMENTS = sorted(path.relative_to(EXAMPLES).as_posix() for path in EXAMPLES.glob("*-books/requirements*.txt"))
IN_MEMORY = ("ariadne-books/requirements.txt", "django-books/requirements.txt", "strawberry-books/requirements.txt")
"""The environments whose graphql-core is the router's: both can be in one process."""
START_S = 30.0
"""30 s for an example to listen: imports, on a machine that does much else."""

Environments = Callable[[str], Path]

pytestmark = pytest.mark.framework


@pytest.fixture(scope="session")
def environments(tmp_path_factory: pytest.TempPathFactory) -> Environments:
    """Makes the environment of an example's requirements, once; gives its interpreter."""

    @functools.cache
    def make(requirements: str) -> Path:
        folder = tmp_path_factory.mktemp("environment")
        venv.create(folder, symlinks=True)
        python = folder / "bin" / "python"
        pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check", "--quiet"]
        install = [*pip, "install", "--retries", "2", "--requirement", str(EXAMPLES / requirements)]
        done = subprocess.run(install, capture_output=True, text=True, check=False, timeout=300)
        if done.returncode != 0 and "frameworks" not in REQUIRED:
            pytest.skip(f"{requirements} cannot be installed here: {done.stderr[-300:]}")
        assert done.returncode == 0, done.stderr
        return python

    return make


@asynccontextmanager
async def books(python: Path, folder: Path) -> AsyncIterator[str]:
    """An example served by uvicorn of its own environment, on a free port; yields its address."""
    process = await asyncio.create_subprocess_exec(
        python,
        "-m",
        "uvicorn",
        "books:app",
        "--port",
        "0",
        cwd=folder,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": ""},
        stderr=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
    )
    assert process.stderr is not None
    said = b""
    try:
        async with asyncio.timeout(START_S):
            while not (address := re.search(rb"http://[\d.:]+", said)):
                line = await process.stderr.readline()
                assert line, said.decode()
                said += line
        rest = asyncio.ensure_future(process.stderr.read())  # so that it never waits for a reader
        yield address[0].decode() + "/"
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
    await rest


def copy_of_examples(folder: Path, requirements: str, *, in_memory: bool) -> tuple[str | Path, ...]:
    """A copy of the files for `serve`, which may name a schema instead of a URL; gives the options."""
    for name in ("reviews.py", "router.yaml", "supergraph.yaml"):
        shutil.copy(EXAMPLES / name, folder)
    if in_memory:
        shutil.copy((EXAMPLES / requirements).parent / "books.py", folder)
        file = folder / "supergraph.yaml"
        text = re.sub(
            r"subgraph_url: .*(?=\}$)", 'python: "books:schema"', file.read_text(), count=1, flags=re.MULTILINE
        )
        assert "books:schema" in text
        file.write_text(text)
    return ("--config", folder / "supergraph.yaml", "--settings", folder / "router.yaml")


async def ask(url: str, query: str) -> object:
    """The JSON answer of the router."""
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        answer = await client.post(url, json={"query": query}, headers={"accept-language": "fi", "cookie": "a=b"})
    return answer.json()


async def check_the_graph(url: str) -> None:
    """Entities go from books to reviews and back, lists too; one that there is not is null; headers arrive."""
    assert url.endswith("/graphql"), f"the router did not start; its first line names {url}"
    assert await ask(url, "{ books { title reviews { text } } language }") == {
        "data": {
            "books": [
                {"title": "Erewhon", "reviews": [{"text": "Backwards."}, {"text": "Splendid."}]},
                {"title": "Flatland", "reviews": [{"text": "Short."}]},
            ],
            "language": "fi",
        }
    }
    assert await ask(url, "{ latestReview { text book { id title reviews { book { title } } } } }") == {
        "data": {
            "latestReview": {
                "text": "Short.",
                "book": {"id": "2", "title": "Flatland", "reviews": [{"book": {"title": "Flatland"}}]},
            }
        }
    }
    answer = await ask(url, "{ reviewOfAnUnknownBook { book { title } } latestReview { text } }")
    assert isinstance(answer, dict)
    assert answer["data"] == {"reviewOfAnUnknownBook": None, "latestReview": {"text": "Short."}}


@pytest.mark.parametrize("requirements", ENVIRONMENTS)
async def test_a_framework_is_a_subgraph(requirements: str, environments: Environments, tmp_path: Path) -> None:
    """Behind its own view it is composed from what it answers for its SDL, and resolves entities both ways."""
    options = copy_of_examples(tmp_path, requirements, in_memory=False)
    async with (
        books(environments(requirements), (EXAMPLES / requirements).parent) as address,
        started(*options, BOOKS_URL=address) as (_, url),
    ):
        await check_the_graph(url)


@pytest.mark.parametrize("requirements", IN_MEMORY)
async def test_a_framework_is_a_subgraph_in_memory(
    requirements: str, environments: Environments, tmp_path: Path
) -> None:
    """The same file's schema is executed by the router, with the context that its resolvers were written for."""
    python = environments(requirements)
    [packages] = (python.parents[1] / "lib").glob("python*/site-packages")
    options = copy_of_examples(tmp_path, requirements, in_memory=True)
    async with started(*options, PYTHONPATH=str(packages)) as (_, url):
        await check_the_graph(url)


def test_the_page_has_the_versions_that_are_run() -> None:
    """Every pinned version stands in the page's table beside its example, and no other."""
    pinned = {
        (path.split("/")[0], (EXAMPLES / path).read_text().split("\n")[0].replace("==", " ")) for path in ENVIRONMENTS
    }
    rows = re.findall(
        r"^\| \[[^\]]+\]\(examples/frameworks/([\w-]+)/books\.py\) \| `([^`]+)` ", PAGE, flags=re.MULTILINE
    )
    assert set(rows) == pinned
    assert len(pinned) == len(ENVIRONMENTS) >= 5
