"""The running brokerages that system tests share; each starts once per session."""

from collections.abc import Iterator

import pytest

from tests.system.brokerages import Brokerage, running_brokerage

STILL_MARKET = {"TRIFOLIO_FEED": "manual"}
"""Prices move only when they are posted, so that two answers can be compared."""


@pytest.fixture(scope="session")
def four_processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Brokerage]:
    """Three services and the router, each in a process."""
    with running_brokerage(tmp_path_factory.mktemp("four") / "data", environment=STILL_MARKET) as brokerage:
        yield brokerage


@pytest.fixture(scope="session")
def one_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Brokerage]:
    """Everything in one process on one port."""
    folder = tmp_path_factory.mktemp("one") / "data"
    with running_brokerage(folder, "--in-process", environment=STILL_MARKET) as brokerage:
        yield brokerage


@pytest.fixture(params=["four_processes", "one_process"])
def brokerage(request: pytest.FixtureRequest) -> Brokerage:
    """Both ways to run the same code."""
    running: Brokerage = request.getfixturevalue(request.param)
    return running
