"""A router in a Django project, one file: uvicorn project:application --port 8000

Django speaks HTTP. Its view has everything of the router but WebSockets: answers, server-sent events, multipart. The
application at the end takes WebSockets past Django, and lets the router begin and end with the server.
"""

import asyncio
import secrets
from collections.abc import AsyncGenerator

import django
import strawberry
from django.conf import settings

from trifolio import LocalTransport, Router, Subgraph, compose

settings.configure(ALLOWED_HOSTS=["127.0.0.1"], ROOT_URLCONF=__name__, SECRET_KEY=secrets.token_urlsafe())
django.setup()

from django.core.asgi import get_asgi_application  # noqa: E402  # it needs the settings
from django.http import StreamingHttpResponse  # noqa: E402  # it needs the settings
from django.urls import path  # noqa: E402  # it needs the settings
from django.views.decorators.csrf import csrf_exempt  # noqa: E402  # it needs the settings

counting = 0


@strawberry.type
class Query:
    @strawberry.field
    def counting(self) -> int:
        """How many are counting at the moment."""
        return counting


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def count(self, to: int) -> AsyncGenerator[int, None]:
        """Count, and then wait for whoever leaves."""
        global counting
        counting += 1
        try:
            for number in range(to):
                yield number
            await asyncio.Event().wait()
        finally:
            counting -= 1


schema = strawberry.federation.Schema(query=Query, subscription=Subscription)
sdl = schema.as_str()
supergraph = compose([Subgraph("counter", "http://counter.invalid", sdl)]).supergraph
graph = Router(supergraph, transports={"counter": LocalTransport(schema)}).asgi()


class RouterResponse:
    """The router's answer to one request of Django's, as it comes; whoever closes it ends all that is done for it."""

    def __init__(self, request):
        self._body = [{"type": "http.request", "body": request.body}]
        self._messages = asyncio.Queue(maxsize=1)  # so that the router knows who does not read
        self._left = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._serving = asyncio.create_task(self._serve(request.scope))

    async def start(self):
        """Its status, its headers and its body, for Django."""
        try:
            message = await self._messages.get()
        except asyncio.CancelledError:
            self._left.set()
            raise
        response = StreamingHttpResponse(self, status=message["status"])
        del response.headers["content-type"]
        for name, value in message["headers"]:
            response.headers[name.decode("latin-1")] = value.decode("latin-1")
        return response

    async def __aiter__(self):
        try:
            while message := await self._messages.get():
                yield message.get("body", b"")
                if not message.get("more_body"):
                    return
            raise ConnectionResetError("the router has given the client up")
        finally:
            self._left.set()

    def close(self):
        """Django calls this at the end, on another thread."""
        self._loop.call_soon_threadsafe(self._left.set)

    async def _serve(self, scope):
        serving = asyncio.create_task(graph(scope, self._receive, self._messages.put))
        leaving = asyncio.create_task(self._left.wait())
        await asyncio.wait({serving, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():  # also without a last message: the client did not read
            ending = asyncio.create_task(self._messages.put(None))
            await asyncio.wait({ending, leaving}, return_when=asyncio.FIRST_COMPLETED)
            ending.cancel()
        leaving.cancel()
        serving.cancel()

    async def _receive(self):
        if self._body:
            return self._body.pop()
        await self._left.wait()
        return {"type": "http.disconnect"}


@csrf_exempt  # the router keeps forged requests out by itself
async def graphql(request):
    """The router's endpoint, at its path in `urlpatterns`."""
    return await RouterResponse(request).start()


urlpatterns = [path("graphql", graphql)]
pages = get_asgi_application()


async def application(scope, receive, send):
    """Django's pages; and the router's WebSockets, its beginning and its end."""
    await (pages if scope["type"] == "http" else graph)(scope, receive, send)
