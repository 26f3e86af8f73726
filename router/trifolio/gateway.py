"""The router that people embed: the engine with its transports made from a configuration, and its ASGI face."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import TYPE_CHECKING, Self

from trifolio.config import Config, SubgraphConfig
from trifolio.engine import Engine
from trifolio.errors import ConfigError
from trifolio.executor import Transport
from trifolio.executor.pool import Exchanged, PooledTransport
from trifolio.header_fields import SECRET_HEADER
from trifolio.observer import Observer
from trifolio.plugins import load_plugins
from trifolio.response import Response, ResponsePart
from trifolio.sharing import Sharing
from trifolio.supergraph import Supergraph

if TYPE_CHECKING:
    from trifolio.server.app import App


class Router(Engine):
    """Answers operations on a supergraph.

        router = Router(supergraph_sdl, transports={"users": LocalTransport(schema)})
        response = await router.execute("{ me { name } }", headers={"authorization": "Bearer ..."})
        app = router.asgi()

    Subgraphs without a transport are reached over HTTP, at the URL of the supergraph or of `config`. A router that is
    not served by itself is closed with `await router.close()` or by `async with`.

    Plug-ins are those that `config` names, then `plugins`: objects with hooks (`Plugin`), which `execute`, `stream` and
    the ASGI application all go through.
    """

    def __init__(
        self,
        supergraph_sdl: str | Supergraph,
        *,
        config: Config | None = None,
        transports: Mapping[str, Transport] | None = None,
        observer: Observer | None = None,
        plugins: Sequence[object] = (),
    ) -> None:
        """Raises SupergraphError for a text that is no supergraph, ConfigError where names or URLs do not fit it, and
        where a plug-in cannot be had."""
        supergraph = Supergraph.parse(supergraph_sdl) if isinstance(supergraph_sdl, str) else supergraph_sdl
        config = config or Config()
        given = dict(transports or {})
        for name in [*given, *config.subgraphs]:
            if name not in supergraph.subgraphs:
                known = ", ".join(supergraph.subgraphs)
                raise ConfigError(f"the supergraph has no subgraph {name!r}; it has {known}")
        sharing: Sharing[Exchanged] = Sharing()
        made = {
            name: given.get(name) or make_transport(supergraph, config, name, sharing) for name in supergraph.subgraphs
        }
        every_plugin = (*load_plugins(config.plugins), *plugins)
        super().__init__(supergraph, transports=made, config=config, observer=observer, plugins=every_plugin)

    async def execute(
        self,
        query: str,
        *,
        variables: Mapping[str, object] | None = None,
        operation_name: str | None = None,
        headers: Mapping[str, str] | None = None,
        context: object = None,
    ) -> Response:
        """Answer one operation; what is wrong with the request or a subgraph stands in the response.

        `headers` are the client's, names in any case: those that the configuration forwards go on to the subgraphs.
        `context` is handed to transports within this process.
        """
        return await self.answer(
            query,
            variables=variables,
            operation_name=operation_name,
            headers=_in_lower_case(headers),
            context=context,
        )

    async def stream(
        self,
        query: str,
        *,
        variables: Mapping[str, object] | None = None,
        operation_name: str | None = None,
        headers: Mapping[str, str] | None = None,
        context: object = None,
    ) -> AsyncGenerator[ResponsePart, None]:
        """Answer one operation in parts: the first has all that is not deferred, others come as they are ready.

            async for part in router.stream("{ me { name ... @defer { orders { id } } } }"):
                print(part.path, part.data)

        Without @defer there is one part. Whoever stops reading before the end closes the generator
        (`contextlib.aclosing`), which ends every fetch in flight.
        """
        parts = super().stream(
            query,
            variables=variables,
            operation_name=operation_name,
            headers=_in_lower_case(headers),
            context=context,
        )
        async with aclosing(parts):
            async for part in parts:
                yield part

    def asgi(self, *, path: str = "/graphql") -> "App":
        """An ASGI application with the GraphQL endpoint at `path`, `/health`, `/ready` and `/metrics`.

        With the path "" (or "/") the endpoint is the application's own root: `Mount("/graphql", router.asgi(path=""))`.
        Raises ValueError for a path without its slash, or that of something else.

        Served by itself it closes the router when it ends. Mounted in another application (which passes no lifespan
        on), closing stays with that application.
        """
        from trifolio.server.app import App  # late: a router that is asked from Python needs no server

        return App(self, path=path)

    async def __aenter__(self) -> Self:
        """Let the plug-ins open what they need. Raises ConfigError where one cannot."""
        try:
            await self.start()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()


def _in_lower_case(headers: Mapping[str, str] | None) -> dict[str, str]:
    return {name.lower(): value for name, value in (headers or {}).items()}


def make_transport(supergraph: Supergraph, config: Config, name: str, sharing: Sharing[Exchanged]) -> Transport:
    """The way to a subgraph over HTTP, as the configuration says; `sharing` is that of all of them. Raises ConfigError
    where it has no URL."""
    own = config.subgraphs.get(name, SubgraphConfig())
    url = own.url or supergraph.subgraphs[name].url
    if not url.startswith(("http://", "https://")):
        raise ConfigError(f"the supergraph has no URL for subgraph {name!r}; set subgraphs.{name}.url in router.yaml")
    limits = config.limits
    forwarded = config.forwarded_headers(name)
    if own.secret is not None:
        # A subgraph that knows the router may believe it about the client's address, and needs it to limit attempts.
        forwarded = (*forwarded, "x-forwarded-for")
    headers = {SECRET_HEADER: own.secret.value} if own.secret else {}
    try:
        pooled = PooledTransport(
            url,
            headers=headers,
            forward_headers=forwarded,
            timeout_ms=own.timeout_ms or limits.fetch_timeout_ms,
            connect_timeout_ms=limits.fetch_connect_timeout_ms,
            idle_timeout_ms=limits.fetch_idle_timeout_ms,
            header_bytes_max=limits.fetch_header_bytes_max,
            response_bytes_max=limits.fetch_response_bytes_max,
            connections_max=limits.fetch_connections_max,
            sharing=sharing if config.shares_fetches(name) else None,
        )
    except ValueError as error:
        raise ConfigError(f"subgraph {name!r} cannot be asked: {error}") from error
    if own.subscriptions is None:
        return pooled
    from trifolio.executor.upstream import UpstreamTransport  # late: it imports much that few need

    return UpstreamTransport(
        pooled,
        own.subscriptions.url or url,
        own.subscriptions.protocol,  # type: ignore[arg-type]  # one of its words, which the form has seen to
        headers=headers,
        forward_headers=forwarded,
        timeout_ms=own.timeout_ms or limits.fetch_timeout_ms,
        limits=limits,
    )
