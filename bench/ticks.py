"""A subgraph that ticks: each subscription has an event a second, with its number and the moment it was sent.

schema: {python: "bench.ticks:SCHEMA"}     in the router's process
python -m bench.ticks PORT                 elsewhere, over graphql-transport-ws
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncGenerator
from typing import Any

from graphql import build_schema
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

SDL = (
    "type Query { nothing: Int } type Subscription { tick: Tick } type Tick { number: Int! at: Float! symbol: String! }"
)
SCHEMA = build_schema(
    SDL.replace("nothing: Int", "nothing: Int _service: _Service!") + " type _Service { sdl: String }"
)
SYMBOL = "FJRD"
EVERY_S = 1.0


async def ticks() -> AsyncGenerator[dict[str, object], None]:
    """An event a second, from now on; `at` is of the machine's own clock, which all its processes share."""
    due, number = time.monotonic(), 0
    while True:
        yield {"number": number, "at": time.monotonic(), "symbol": SYMBOL}
        due, number = due + EVERY_S, number + 1
        await asyncio.sleep(max(due - time.monotonic(), 0))


async def _subscribe(*_: object) -> AsyncGenerator[dict[str, object], None]:
    return ticks()


assert SCHEMA.subscription_type
assert SCHEMA.query_type
SCHEMA.subscription_type.fields["tick"].subscribe = _subscribe
SCHEMA.subscription_type.fields["tick"].resolve = lambda event, *_: event
SCHEMA.query_type.fields["_service"].resolve = lambda *_: {"sdl": SDL}


async def _speak(connection: ServerConnection) -> None:
    """One subscription per connection, which is all that the router asks for."""
    await connection.recv()
    await connection.send('{"type":"connection_ack"}')
    identity = json.loads(await connection.recv())["id"]
    try:
        async for tick in ticks():
            message: Any = {"type": "next", "id": identity, "payload": {"data": {"tick": tick}}}
            await connection.send(json.dumps(message))
    except ConnectionClosed:
        pass


async def main(port: int) -> None:
    """Serve for ever."""
    async with serve(_speak, "127.0.0.1", port, subprotocols=[Subprotocol("graphql-transport-ws")]) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
