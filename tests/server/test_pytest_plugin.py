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


def test_the_plugin_is_there_where_the_package_is_installed(tmp_path: Path) -> None:
    """A test elsewhere finds the fixture without naming the plugin, and pays nothing for it until it is used."""
    (tmp_path / "test_it.py").write_text(
        "import sys\n"
        "def test_nothing_is_loaded(): assert 'trifolio.gateway' not in sys.modules\n"
        "def test_the_fixture_is_there(federate): assert callable(federate)\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "2 passed" in done.stdout, done.stdout
