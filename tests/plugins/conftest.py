"""The ways in which a router is asked."""

import pytest

from tests.plugins.graph import WAYS, Ask


@pytest.fixture(params=list(WAYS.values()), ids=list(WAYS))
def ask(request: pytest.FixtureRequest) -> Ask:
    """Each way to ask a router."""
    way: Ask = request.param
    return way
