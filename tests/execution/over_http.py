"""The same comparison with sockets in between: a client asks the router over HTTP, and that its subgraphs.

Router and subgraphs are served by the router's own protocol, as `trifolio serve` does. All of it runs on one event
loop, one operation at a time, so that what an execution remembers need not go through HTTP. The third answer to an
operation is made of structs, where it can be, by fetches that are begun on connections that the first two have left.
"""

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from email import message_from_bytes
from functools import partial
from typing import Any
from unittest.mock import patch

import httpx

from tests.execution.comparison import ALL_ERRORS, Comparison
from tests.execution.incremental import Whole, read_by_id, read_by_path
from tests.execution.monolith import Session
from tests.execution.operations import Operation
from tests.execution.world import digest
from tests.server.conftest import listening
from trifolio import engine
from trifolio.config import Config, OverrideConfig, SubgraphConfig
from trifolio.engine import LabelRules
from trifolio.executor import SubgraphRequest, Transport, prepare
from trifolio.gateway import Router
from trifolio.limits import Limits
from trifolio.query_plan import Plan

RESPONSE_JSON = "application/graphql-response+json"
FORMATS: dict[str, Callable[[Sequence[bytes]], Whole]] = {
    f"multipart/mixed;deferSpec=20220824,{RESPONSE_JSON}": read_by_path,
    f"multipart/mixed;incrementalSpec=v0.2,{RESPONSE_JSON}": read_by_id,
}
"""What a client accepts to get an answer in parts, and how it merges them."""

STICKY_HEADER = "authorization"
"""What decides a `percent(n)`: its value is the operation's seed."""


class _Subgraphs:
    """All subgraphs of a supergraph in one application, each at a path of its own."""

    limits = Limits()

    def __init__(self, transports: Mapping[str, Transport]) -> None:
        self._transports = transports
        self.session = Session()
        """The execution that requests belong to."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One ASGI connection."""
        if scope["type"] == "lifespan":
            for kind in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{kind}.complete"})
            return
        chunks, more = [], True
        while more:
            message = await receive()
            chunks.append(message.get("body", b""))
            more = message.get("more_body", False)
        asked = json.loads(b"".join(chunks))
        name = scope["path"].removeprefix("/")
        request = SubgraphRequest(name, "query", asked["query"], asked.get("variables") or {}, {}, self.session)
        response = await self._transports[name].send(request)
        headers = [(b"content-type", b"application/graphql-response+json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(response.payload).encode()})


class ComparisonOverHttp(Comparison):
    """A supergraph whose router is asked over HTTP; `served` makes one."""

    def __init__(self, sdl: str) -> None:
        super().__init__(sdl)
        labels = {name: digest("label", name) % 2 == 0 for name in self._joins.labels if "percent" not in name}
        self._override = OverrideConfig(labels=labels, sticky_header=STICKY_HEADER)
        self._label_rules = LabelRules(self._supergraph.labels, Config(override=self._override))
        self._subgraphs = _Subgraphs(self.transports)
        self._router: Router | None = None
        self._client: httpx.AsyncClient | None = None

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["ComparisonOverHttp"]:
        """With both servers up."""
        async with listening(self._subgraphs) as subgraphs_url:
            config = Config(
                subgraphs={name: SubgraphConfig(url=f"{subgraphs_url}/{name}") for name in self.transports},
                limits=ALL_ERRORS,
                override=self._override,
                introspection=True,
                access_log=False,
            )
            self._router = router = Router(self._supergraph, config=config)
            with patch.object(engine, "prepare", partial(prepare, structs_after=2)):
                async with (
                    listening(router.asgi()) as url,
                    httpx.AsyncClient(base_url=url, trust_env=False, timeout=60) as self._client,
                ):
                    yield self

    def generate(self, seed: str, *, deferring: bool = False) -> tuple[Operation, frozenset[str]]:
        """The operation that a seed stands for, and the override labels that the router finds for it."""
        operation, _ = super().generate(seed, deferring=deferring)
        return operation, self._label_rules.decide({STICKY_HEADER: _sticky(operation)})

    async def responses(
        self, operation: Operation, labels: frozenset[str], refusals: list[str]
    ) -> list[Mapping[str, Any]]:
        """The router's responses to three equal requests."""
        assert self._client is not None, "it is not served"
        assert self._router is not None
        self._world.salt = operation.salt
        responses = []
        for _ in range(3):
            self._subgraphs.session = session = Session(labels, operation.salt)
            fallbacks = self._router.state.fallbacks
            responses.append(await self._ask(self._client, operation))
            refusals += session.refusals
        self.generated += self._router.state.fallbacks == fallbacks
        return responses

    async def wholes(
        self, made: Plan, operation: Operation, labels: frozenset[str], refusals: list[str]
    ) -> list[Whole]:
        """What a client makes of the router's answers in parts, in either format, each asked for twice."""
        assert self._client is not None, "it is not served"
        self._world.salt = operation.salt
        wholes = []
        for accept, read in (*FORMATS.items(), *FORMATS.items()):
            self._subgraphs.session = session = Session(labels, operation.salt)
            response = await self._post(self._client, operation, accept)
            if response.headers["content-type"].startswith("multipart/mixed"):
                wholes.append(read(parts_of(response.headers["content-type"], response.content)))
            else:
                wholes.append(Whole(response.json()["data"], response.json().get("errors", [])))
            refusals += session.refusals
        return wholes

    async def _ask(self, client: httpx.AsyncClient, operation: Operation) -> Mapping[str, Any]:
        response = await self._post(client, operation, RESPONSE_JSON)
        assert response.headers["content-type"].startswith(RESPONSE_JSON)
        found: dict[str, Any] = response.json()
        assert "data" in found, found
        return found

    async def _post(self, client: httpx.AsyncClient, operation: Operation, accept: str) -> httpx.Response:
        asked = {"query": operation.text, "variables": operation.variables}
        headers = {STICKY_HEADER: _sticky(operation), "accept": accept}
        response = await client.post("/graphql", json=asked, headers=headers)
        assert response.status_code == 200, response.text
        return response


def parts_of(content_type: str, body: bytes) -> list[bytes]:
    """The parts of a `multipart/mixed` body, by the standard library's reader of e-mails."""
    head = f"Content-Type: {content_type}\r\n\r\n".encode()
    message = message_from_bytes(head + body)
    assert not message.defects
    parts: list[Any] = message.get_payload()  # type: ignore[assignment]  # of a multipart message it is a list
    assert all(part.get_content_type() == "application/json" for part in parts)
    return [part.get_payload(decode=True) for part in parts]


def _sticky(operation: Operation) -> str:
    return f"{digest('sticky', operation.salt):x}"


@asynccontextmanager
async def served(supergraph: str) -> AsyncIterator[ComparisonOverHttp]:
    """A supergraph with its big schema, and its router and subgraphs on sockets, ready for any number of operations."""
    async with ComparisonOverHttp(supergraph).serving() as comparison:
        yield comparison
