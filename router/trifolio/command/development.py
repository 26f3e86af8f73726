"""`trifolio dev`: serve subgraphs under development, and recompose when one of them changes.

Every second each subgraph is asked for its SDL. What composes is served from then on; what does not is told in one line
per problem, and the last supergraph that did stays in place. A subgraph that is down keeps its last SDL; one that has
not been seen yet is left out. Each problem is told once, and so is its end. A schema that is named by `python:` is
executed in this process while nothing listens at its URL, or where it has none. Subscriptions to what was served before
end with `SUBSCRIPTION_DRAINED`, and so their clients come to what is served from then on.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import orjson

from trifolio.command.schemas import import_schema, local_transports, told, url_of
from trifolio.command.sources import answers, read_sdl
from trifolio.composer import Subgraph, compose
from trifolio.config import CompositionConfig, Config, read_composition_config
from trifolio.errors import ConfigError, ErrorCode, RouterError
from trifolio.executor.local import is_executable
from trifolio.gateway import Router
from trifolio.server.app import App
from trifolio.server.edge import RawHeaders, plain_refusal
from trifolio.server.http import Receive, Scope, Send

INTERVAL_S: Final = 1.0
"""1 s between two looks at the subgraphs: a developer who saves a file and switches windows finds it done."""
SDL_TIMEOUT_S: Final = 2.0
"""2 s for a subgraph to print its schema: one that is stuck must not keep the others' changes waiting."""

_log: Final = logging.getLogger("trifolio.dev")


@dataclass(frozen=True, slots=True)
class _Serving:
    """One composition that is served, or still was when its last requests came."""

    router: Router
    app: App


class DevServer:
    """The ASGI application of `dev`: whatever composed last."""

    def __init__(self, path: Path, config: Config, environment: Mapping[str, str]) -> None:
        """`path` is a supergraph.yaml, which is read anew on every look."""
        self.limits = config.limits
        self.draining = False
        self.trusted_proxies = config.trusted_proxies
        self._path = path
        self._config = config
        self._environment = environment
        self._sdls: dict[str, Subgraph] = {}
        self._schemas: dict[str, str] = {}
        self._composed: tuple[tuple[Subgraph, ...], dict[str, str]] = ((), {})
        self._problems: dict[str, str] = {}
        self._current: _Serving | None = None
        self._retired: list[_Serving] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI connection."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif self._current is not None:
            await self._current.app(scope, receive, send)
        elif scope["type"] == "http":
            await _say_not_ready(send)
        else:
            await receive()
            await send({"type": "websocket.close", "code": 1008})  # before it is accepted: a 403

    def end_streams(self) -> None:
        """End every subscription with SUBSCRIPTION_DRAINED, and the WebSockets behind them."""
        for serving in (*self._retired, *([self._current] if self._current else [])):
            serving.app.end_streams()

    def wants_body(self, method: str, path: str) -> bool:
        """Whether it is an operation in a body."""
        return method == "POST"

    def refuse(self, refusal: RouterError, request_id_given: str | None) -> tuple[int, RawHeaders, bytes]:
        """The status, the headers and the body for what never became a request."""
        if self._current is None:
            return plain_refusal(refusal)
        return self._current.app.refuse(refusal, request_id_given)

    async def refresh(self) -> None:
        """Look at every subgraph once, and serve what they compose to if that changed."""
        await self._close_retired()
        try:
            composition = read_composition_config(self._path, environment=self._environment)
        except ConfigError as error:
            self._tell(self._path.name, error.message)
            return
        self._tell(self._path.name, None)
        await asyncio.gather(*(self._read(name, composition) for name in composition.subgraphs))
        subgraphs = tuple(self._sdls[name] for name in composition.subgraphs if name in self._sdls)
        schemas = {each.name: self._schemas[each.name] for each in subgraphs if each.name in self._schemas}
        if subgraphs and (subgraphs, schemas) != self._composed:
            self._composed = subgraphs, schemas
            await self._compose(subgraphs, schemas)

    async def close(self) -> None:
        """Close every router that was served."""
        for serving in (*self._retired, *([self._current] if self._current else [])):
            await serving.router.close()

    # ---- one look ----

    async def _read(self, name: str, composition: CompositionConfig) -> None:
        source, url = composition.subgraphs[name], url_of(name, composition, self._config)
        try:
            sdl = await asyncio.to_thread(read_sdl, source.schema, self._path.parent, timeout_s=SDL_TIMEOUT_S)
        except ConfigError as error:
            kept = "its last schema stays" if name in self._sdls else "it is left out"
            self._tell(name, f"{error.message}; {kept}")
            return
        self._tell(name, None)
        self._sdls[name] = Subgraph(name=name, url=source.url, sdl=sdl)
        if source.schema.python is not None:
            schema = import_schema(source.schema.python, self._path.parent)
            is_served = bool(url) and await asyncio.to_thread(answers, url, SDL_TIMEOUT_S)
            if is_executable(schema) and not is_served:
                self._schemas[name] = source.schema.python
            else:
                self._schemas.pop(name, None)

    async def _compose(self, subgraphs: tuple[Subgraph, ...], schemas: Mapping[str, str]) -> None:
        result = await asyncio.to_thread(compose, subgraphs)
        names = ", ".join(each.name for each in subgraphs)
        if result.supergraph is None:
            for diagnostic in result.diagnostics:
                _log.error("%s", diagnostic)
            _log.error("%s do not compose; %s", names, "what did is still served" if self._current else "not ready")
            return
        router = None
        try:
            transports = local_transports(schemas, self._path.parent, self._config)
            router = Router(result.supergraph, config=self._config_for(subgraphs), transports=transports)
            await router.start()
        except RouterError as error:
            _log.error("%s: %s", names, error.message)
            if router is not None:
                await router.close()
            return
        if self._current is not None:
            self._current.app.end_streams()  # whose clients subscribe again, to what is served now
            self._retired.append(self._current)
        self._current = _Serving(router, router.asgi())
        _log.info("serving %s%s", names, f", {told(schemas)}" if schemas else "")

    def _config_for(self, subgraphs: tuple[Subgraph, ...]) -> Config:
        """The settings without those of subgraphs that are left out."""
        names = {each.name for each in subgraphs}
        return replace(
            self._config, subgraphs={name: own for name, own in self._config.subgraphs.items() if name in names}
        )

    def _tell(self, name: str, problem: str | None) -> None:
        """Say what is wrong with `name`, or that it is well again, where that is news."""
        if problem == self._problems.get(name):
            return
        if problem is None:
            del self._problems[name]
            _log.info("%s is back", name)
        else:
            self._problems[name] = problem
            _log.warning("%s: %s", name, problem)

    async def _close_retired(self) -> None:
        """Close the routers that have answered their last requests."""
        idle = [serving for serving in self._retired if serving.app.requests_in_flight == 0]
        self._retired = [serving for serving in self._retired if serving not in idle]
        for serving in idle:
            await serving.router.close()

    # ---- lifespan ----

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        await self.refresh()
        watching = asyncio.ensure_future(repeat(self.refresh))
        await send({"type": "lifespan.startup.complete"})
        await receive()
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
        await self.close()
        await send({"type": "lifespan.shutdown.complete"})


async def repeat(look: Callable[[], Awaitable[None]]) -> None:
    """Call `look` once per interval until cancelled; a bug in one look is told and does not end the next."""
    while True:
        await asyncio.sleep(INTERVAL_S)
        try:
            await look()
        except Exception:  # noqa: BLE001  # the last resort: watching goes on, and the log has the bug
            _log.exception("looking at the subgraphs failed")


async def _say_not_ready(send: Send) -> None:
    body = orjson.dumps({"errors": [each.to_json() for each in RouterError(ErrorCode.NOT_READY).errors()]})
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": body})
