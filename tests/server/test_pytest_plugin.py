"""The pytest plugin, as a team with Strawberry subgraphs uses it."""

import subprocess
import sys
from pathlib import Path

import pytest
import strawberry
from graphql import GraphQLSchema

from tests.server.subgraphs import people, places
from trifolio.executor.transport import SubgraphRequest
from trifolio.pytest_plugin import Federate


@strawberry.federation.type(keys=["id"])
class Book:
    id: strawberry.ID
    title: str = "Erewhon"

    @classmethod
    async def resolve_reference(cls, id: strawberry.ID) -> "Book":
        return cls(id=id)


@strawberry.type
class Query:
    @strawberry.field
    def book(self) -> Book:
        return Book(id=strawberry.ID("b1"))

    @strawberry.field
    def reader(self, info: strawberry.Info) -> str:
        return str(info.context["reader"])


@strawberry.federation.type(keys=["id"], name="Book")
class ReviewedBook:
    id: strawberry.ID

    @strawberry.field
    def reviews(self) -> list[str]:
        return [f"review of {self.id}"]

    @classmethod
    async def resolve_reference(cls, id: strawberry.ID) -> "ReviewedBook":
        return cls(id=id)


@strawberry.type(name="Query")
class Empty:
    @strawberry.field
    def reviewed(self) -> ReviewedBook:
        return ReviewedBook(id=strawberry.ID("b2"))


BOOKS = strawberry.federation.Schema(Query)
REVIEWS = strawberry.federation.Schema(Empty)


async def test_strawberry_schemas_become_one_router(federate: Federate) -> None:
    """Two Strawberry schemas are one graph, and resolvers find their context."""

    def context(request: SubgraphRequest) -> dict[str, str]:
        return {"reader": request.headers.get("x-reader", "")}

    router = federate({"books": BOOKS, "reviews": REVIEWS}, context_factory=context)
    response = await router.execute("{ book { title reviews } reader }", headers={"X-Reader": "Ada"})
    assert response.to_json() == {
        "data": {"book": {"title": "Erewhon", "reviews": ["review of b1"]}, "reader": "Ada"},
    }


async def test_schemas_of_graphql_core_become_one_router(federate: Federate) -> None:
    """So do schemas of graphql-core that answer `_service`."""
    router = federate({"people": people(), "places": places()})
    response = await router.execute("{ me { name homes(first: 1) { city } } }")
    assert response.data == {"me": {"name": "Ada", "homes": [{"city": "London"}]}}


def test_what_does_not_compose_fails_the_test(federate: Federate) -> None:
    """The failure has every diagnostic and no traceback."""
    broken: GraphQLSchema = people(sdl="type Query { me: Nobody }")
    with pytest.raises(pytest.fail.Exception, match="the subgraphs do not compose:\nerror "):
        federate({"people": broken})


# ---- in other people's test runs ----


def run_of(folder: Path, *options: str, **files: str) -> str:
    """What pytest says about these files in a folder elsewhere, run as a process of its own."""
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, str(folder)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=60).stdout


def test_the_plugin_is_there_where_the_package_is_installed(tmp_path: Path) -> None:
    """A test elsewhere finds the fixture without naming the plugin."""
    said = run_of(tmp_path, test_it="def test_the_fixture_is_there(federate): assert callable(federate)\n")
    assert "1 passed" in said, said


def test_a_run_that_does_not_use_the_fixture_pays_nothing(tmp_path: Path) -> None:
    """The plugin alone is imported: no other module of the router, and no library of its own beyond pytest."""
    text = (
        "import sys\n"
        "def test_nothing_is_loaded():\n"
        "    ours = {name for name in sys.modules if name.partition('.')[0] == 'trifolio'}\n"
        "    assert ours == {'trifolio', 'trifolio.pytest_plugin'}\n"
        "    libraries = {'graphql', 'httptools', 'httpx', 'msgspec', 'orjson', 'uvicorn', 'uvloop', 'yaml'}\n"
        "    assert not libraries & set(sys.modules)\n"
    )
    # Other plugins are left out, for what they import is theirs to answer for.
    said = run_of(tmp_path, "-p", "no:asyncio", "-p", "no:hypothesispytest", "-p", "no:xdist", test_it=text)
    assert "1 passed" in said, said


def test_the_plugin_can_be_switched_off(tmp_path: Path) -> None:
    """With `-p no:trifolio` there is no such fixture, and nothing of the package is imported."""
    text = (
        "import sys\n"
        "def test_it_is_not_there(federate): pass\n"
        "def test_it_is_not_loaded(): assert 'trifolio' not in sys.modules\n"
    )
    said = run_of(tmp_path, "-p", "no:trifolio", test_it=text)
    assert "fixture 'federate' not found" in said
    assert "1 passed, 1 error" in said, said


@pytest.mark.parametrize("options", [[], ["-p", "no:trifolio"]], ids=["plugin on", "plugin off"])
def test_a_fixture_of_ones_own_comes_first(tmp_path: Path, options: list[str]) -> None:
    """A fixture of the same name in a conftest.py is the one that tests get, whether the plugin is on or off."""
    conftest = "import pytest\n@pytest.fixture\ndef federate(): return 'their own'\n"
    said = run_of(
        tmp_path, *options, conftest=conftest, test_it="def test_it(federate): assert federate == 'their own'\n"
    )
    assert "1 passed" in said, said
