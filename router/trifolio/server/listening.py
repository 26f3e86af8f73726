"""A server that stops without leaving anybody at the door.

When a listening socket closes, the system resets the connections that it has opened there and that nobody has accepted
yet; their clients may have sent a request already, and cannot know whether it was served. So the last thing before the
socket closes is to accept them all, in one step with the closing: what comes later is refused before it is sent.
"""

import asyncio
import contextlib
import socket

import uvicorn


class Server(uvicorn.Server):
    """uvicorn's server, whose end answers everyone who was let in."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept whoever has connected, close the sockets, and end as uvicorn does."""
        accepted = [each for listener in sockets or () for each in _accept_all(listener)]
        for server in self.servers:
            server.close()
        for listener in sockets or ():
            accepted += _accept_all(listener)  # where the loop has a descriptor of its own
            listener.close()
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
