"""A pytest plugin: test a federated graph in one process, without sockets.

    def test_a_user_has_reviews(federate):
        router = federate({"users": users.schema, "reviews": reviews.schema})
        response = asyncio.run(router.execute("{ me { name reviews { text } } }"))
        assert response.data == {"me": {"name": "Ada", "reviews": []}}

The schemas are Strawberry's, or graphql-core's (Ariadne's) with `_service`. They are composed as `trifolio compose`
would; what does not compose fails the test with every diagnostic.

The plugin is in every test run where Trifolio is installed, so it takes nothing but the name of its fixture, and gives
way: it imports the router when the fixture is asked for, a fixture `federate` of the tests' own stands before it, and
`-p no:trifolio` leaves it out.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:  # the router is imported where it is used, not in every test run
    from trifolio.executor.local import ContextFactory
    from trifolio.gateway import Router


class Federate(Protocol):
    """What the fixture `federate` is: a function from schemas to a router over them."""

    def __call__(self, schemas: Mapping[str, Any], *, context_factory: "ContextFactory | None" = None) -> "Router":
        """Compose `schemas` by subgraph name; `context_factory` makes what resolvers see as their context."""


@pytest.fixture
def federate() -> Federate:
    """Make a router out of schema objects, each reached through memory."""
    from trifolio.command.sources import sdl_of_schema
    from trifolio.composer import Subgraph, compose
    from trifolio.executor.local import LocalTransport
    from trifolio.gateway import Router

    def make(schemas: Mapping[str, Any], *, context_factory: "ContextFactory | None" = None) -> Router:
        subgraphs = [
            Subgraph(name=name, url=f"http://{name}.invalid/graphql", sdl=sdl_of_schema(schema, name))
            for name, schema in schemas.items()
        ]
        result = compose(subgraphs)
        if result.supergraph is None:
            pytest.fail("\n".join(["the subgraphs do not compose:", *map(str, result.diagnostics)]), pytrace=False)
        transports = {name: LocalTransport(schema, context_factory=context_factory) for name, schema in schemas.items()}
        return Router(result.supergraph, transports=transports)

    return make
