"""How a server's socket lets connections in."""

import asyncio
import contextlib
import socket

import pytest
import uvicorn
import uvloop

from tests.server.wire import Echo
from trifolio.command.serving import listen
from trifolio.server.listening import ACCEPTED_AT_ONCE, DESCRIPTORS, Server

ROUNDS = 4
"""Rounds of the loop in which those who wait at the socket have to be let in: one for each group, and some to spare."""


async def accepted_soon(number: int) -> int:
    """How many of so many who come at the same moment are let in within a few rounds of the loop."""
    config = uvicorn.Config(
        Echo(), lifespan="off", ws="none", log_config=None, backlog=ACCEPTED_AT_ONCE,
        http="trifolio.server.protocol:HttpProtocol",
    )  # fmt: skip
    config.load()
    server = Server(config)
    server.lifespan = config.lifespan_class(config)
    listener = listen("127.0.0.1", 0)
    address = listener.getsockname()
    await server.startup([listener])
    clients = [socket.create_connection(address) for _ in range(number)]  # the system opens them by itself
    try:
        for _ in range(ROUNDS):
            await asyncio.sleep(0)
        return len(server.server_state.connections)
    finally:
        for client in clients:
            client.close()
        server.should_exit = True
        await server.shutdown([listener])
        with contextlib.suppress(OSError):
            listener.close()


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_those_who_come_together_are_let_in_together(factory: object) -> None:
    """Whatever the loop, who is new does not wait for a round of the others' work per connection before it."""
    with asyncio.Runner(loop_factory=factory) as runner:  # type: ignore[arg-type]  # one of the two
        assert runner.run(accepted_soon(DESCRIPTORS)) == DESCRIPTORS


def test_a_listening_socket_says_that_it_is_tcp() -> None:
    """Without it, loops of asyncio leave Nagle's algorithm on, and an answer in two writes takes 40 ms."""
    with listen("127.0.0.1", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP
        with socket.create_connection(listener.getsockname()):
            listener.setblocking(True)
            accepted, _ = listener.accept()
            with accepted:
                assert accepted.proto == socket.IPPROTO_TCP
