"""Clients of others subscribe at our router: `make interop` does the same, and more."""

from pathlib import Path

import pytest

from bench.interop.subscribing import UPSTREAMS, subscription_problems
from tests.npm import install

INTEROP = Path(__file__).parents[2] / "bench" / "interop"


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the clients that are of Node."""
    folder = tmp_path_factory.mktemp("interop")
    install(folder, INTEROP, ["subscriptions.mjs"])
    return folder


@pytest.mark.node
@pytest.mark.parametrize("upstream", UPSTREAMS)
async def test_clients_of_others_get_every_event(modules: Path, upstream: str) -> None:
    """graphql-ws, graphql-sse, Apollo Client, urql and gql: a hundred events each, in order; each can leave, and is
    told the reason of an end."""
    assert await subscription_problems(modules, [upstream]) == []
