"""A server that lets a few in at a time, and stops without leaving anybody at the door.

A loop of asyncio accepts as many connections in one round as may wait at the socket, thousands, before it looks at what
those have sent that it has. So it is told a small number, and the system the large one. A uvloop accepts one, so that
who is new waits for a round of everybody else's work for each who came before; it gets several descriptors of the same
socket, each of which accepts one.

When a listening socket closes, the system resets the connections that it has opened there and that nobody has accepted
yet; their clients may have sent a request already, and cannot know whether it was served. So the last thing before the
socket closes is to accept them all, in one step with the closing: what comes later is refused before it is sent.
"""

import asyncio
import contextlib
import socket
from typing import Final

import uvicorn

BACKLOG: Final = 2048
"""2048 connections may wait to be accepted: a burst is served late rather than refused."""

ACCEPTED_AT_ONCE: Final = 32
"""32 connections are accepted in one round of the loop, some three milliseconds."""


DESCRIPTORS: Final = 16
"""16 descriptors of a socket: so many connections are accepted in one round of uvloop, and as many times the system is
asked in vain where there is one alone."""


class Server(uvicorn.Server):
    """uvicorn's server, whose beginning and end are fair to everyone who comes; for a config whose `backlog` is
    `ACCEPTED_AT_ONCE`."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._further: list[socket.socket] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start as uvicorn does, and let more wait at the sockets than are accepted at once."""
        if not isinstance(asyncio.get_running_loop(), asyncio.BaseEventLoop):
            self._further = [listener.dup() for listener in sockets or () for _ in range(DESCRIPTORS - 1)]
        await super().startup([*sockets, *self._further] if sockets else None)
        for listener in sockets or ():
            listener.listen(BACKLOG)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept whoever has connected, close the sockets, and end as uvicorn does."""
        accepted = [each for listener in sockets or () for each in _accept_all(listener)]
        for server in self.servers:
            server.close()
        for listener in sockets or ():
            accepted += _accept_all(listener)  # where the loop has a descriptor of its own
            listener.close()
        for further in self._further:
            further.close()
        loop = asyncio.get_running_loop()
        for connection in accepted:
            with contextlib.suppress(OSError):  # it has gone again
                await loop.connect_accepted_socket(self._make_protocol, connection)
        await asyncio.sleep(0)
        await super().shutdown(sockets)

    def _make_protocol(self) -> asyncio.Protocol:
        made: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]  # as uvicorn does
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return made


def _accept_all(listener: socket.socket) -> list[socket.socket]:
    accepted: list[socket.socket] = []
    try:
        listener.setblocking(False)
        while True:
            connection, _ = listener.accept()
            connection.setblocking(False)
            accepted.append(connection)
    except OSError:  # nobody waits, or it is closed
        return accepted
