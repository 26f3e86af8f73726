"""The class that plug-ins are made from."""

from typing import Protocol

from trifolio.executor.transport import SubgraphResponse
from trifolio.plugins.contexts import FetchContext, OperationContext, RequestContext, ResponseContext
from trifolio.response import Response


class SendFetch(Protocol):
    """Sends a request to its subgraph, through the plug-ins that come after."""

    async def __call__(self, fetch: FetchContext, /) -> SubgraphResponse:
        """The subgraph's response. Raises SubgraphError where there is none worth reading."""


class Plugin:
    """What a router does beside federation, in hooks: override those that are needed, the others cost nothing.

        class Version(Plugin):
            async def on_response(self, response):
                response.add_header("x-version", "7")

        router = Router(supergraph_sdl, plugins=[Version()])

    One plug-in serves all requests of its process at the same time: what it knows of one stands in
    `RequestContext.state`. Several plug-ins are called in their order, and in reverse for `on_response` and `on_stop`.
    The time that hooks take counts as the request's, and whatever they raise fails that request alone.
    """

    async def on_start(self) -> None:
        """Called before the first request: open what is needed. Whatever this raises keeps the router from starting."""

    async def on_stop(self) -> None:
        """Called when nothing is served any more: close what was opened."""

    async def on_request(self, request: RequestContext, /) -> Response | None:
        """Called when a request's headers and body have been read, and nothing else has been done.

        Change the request's headers, set `request.context`; return a response to answer at once; raise `Refused`.
        """
        return None

    async def on_operation(self, operation: OperationContext, /) -> None:
        """Called when the operation is known to be valid, and before it is executed.

        Choose @override labels, hide fields from the caller, or raise `Refused`.
        """

    async def on_fetch(self, fetch: FetchContext, send: SendFetch, /) -> SubgraphResponse:
        """Called around each request to a subgraph.

        Change the fetch's headers or URL, send it (`await send(fetch)`) once, several times or not at all, and return a
        response. Whatever this raises fails this fetch; the rest of the answer stands.
        """
        return await send(fetch)

    async def on_response(self, response: ResponseContext, /) -> None:
        """Called before a response is written, and again for each later part.

        Set the status, add headers and cookies (of the first part), change `extensions`.
        """
