"""Hostile requests to a whole router: answered or refused with a code, and no connection is left behind."""

import os
from random import Random
from typing import Any

import pytest

from tests.attacks.hostile_answers import Subgraphs
from tests.attacks.hostile_requests import FAMILIES, STATUSES, Family
from tests.attacks.test_documents import BROKERAGE, Answering, supergraph
from tests.server.wire import Server, settle, statuses
from trifolio import Router

ROUNDS = int(os.environ.get("TRIFOLIO_ATTACK_ROUNDS", "1"))
WRITTEN_BYTES_MAX = 60_000
"""More than the answers to as many requests as may wait."""


@pytest.mark.parametrize("family", FAMILIES, ids=lambda each: each.__name__)
async def test_a_connection_is_answered_and_ends(family: Family, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever arrives, each status is a documented one, no failure is logged, and in the end nothing is held."""
    for number in range(5 * ROUNDS):
        seed = f"{family.__name__} {number}"
        subgraph = Answering(Subgraphs(supergraph(BROKERAGE).api_schema))
        router = Router(supergraph(BROKERAGE), transports=dict.fromkeys(supergraph(BROKERAGE).subgraphs, subgraph))
        app: Any = router.asgi()
        server = Server(app)
        wire = server.connect()
        await server.send(wire, *family(Random(seed), FAMILIES[family] // 10 + 1))
        await settle()
        assert set(statuses(wire.written)) <= STATUSES, f"seed {seed}: {wire.written[:500]!r}"
        assert len(wire.written) <= WRITTEN_BYTES_MAX, f"seed {seed}"
        await server.pass_time(200_000)
        assert wire.closed, f"seed {seed}"
        assert len(server.connections) == 0
        assert server.connections.held_bytes == 0
        assert not [each for each in caplog.records if each.levelname in {"ERROR", "CRITICAL"}], f"seed {seed}"
        await router.close()
