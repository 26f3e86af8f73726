"""A subgraph over HTTP whose status, headers and body a test chooses, and which keeps what it was sent."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from graphql import GraphQLSchema

from tests.server.conftest import listening
from trifolio import LocalTransport, SubgraphRequest
from trifolio.limits import Limits


@dataclass
class Received:
    """One request that a subgraph got."""

    headers: dict[str, str]
    """Names in lower case; what came twice is joined by a comma."""
    body: bytes
    path: str


@dataclass
class HttpSubgraph:
    """Answers with a schema, unless a test has it answer something else."""

    schema: GraphQLSchema
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    more_headers: list[tuple[str, str]] = field(default_factory=list)
    """Beside `headers`; a name may come several times."""
    body: bytes | None = None
    """In place of the schema's answer."""
    received: list[Received] = field(default_factory=list)
    url: str = ""
    limits = Limits()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One ASGI connection."""
        if scope["type"] == "lifespan":
            for kind in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{kind}.complete"})
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        headers: dict[str, str] = {}
        for raw_name, raw_value in scope["headers"]:
            name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        self.received.append(Received(headers, body, scope["path"]))
        answer = await self._answer(body, headers) if self.body is None else self.body
        own = {"content-type": "application/json", "content-length": str(len(answer)), **self.headers}
        raw = [(name.encode(), value.encode("latin-1")) for name, value in (*own.items(), *self.more_headers)]
        await send({"type": "http.response.start", "status": self.status, "headers": raw})
        await send({"type": "http.response.body", "body": answer})

    async def _answer(self, body: bytes, headers: dict[str, str]) -> bytes:
        asked = json.loads(body)
        request = SubgraphRequest("", "query", asked["query"], asked.get("variables") or {}, headers)
        return json.dumps((await LocalTransport(self.schema).send(request)).payload).encode()


@asynccontextmanager
async def served(schema: GraphQLSchema) -> AsyncIterator[HttpSubgraph]:
    """A subgraph on a free port."""
    subgraph = HttpSubgraph(schema)
    async with listening(subgraph) as subgraph.url:
        yield subgraph
