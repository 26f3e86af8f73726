"""The beginning of a subscription: its own fetch is sent, through the plug-ins that stand around fetches."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping

from trifolio.errors import ErrorCode, SubgraphError
from trifolio.executor.fetch import Around
from trifolio.executor.transport import SubgraphRequest, SubgraphResponse, SubscribingTransport, Transport


def subscribing(transports: Mapping[str, Transport], subgraph: str) -> SubscribingTransport:
    """The way to a subgraph that has events. Raises SubgraphError where there is only one for single answers."""
    transport = transports.get(subgraph)
    if not isinstance(transport, SubscribingTransport):
        raise SubgraphError(ErrorCode.SUBSCRIPTION_NOT_SUPPORTED, subgraph)
    return transport


async def open_events(
    transports: Mapping[str, Transport], request: SubgraphRequest, around: Around | None
) -> AsyncIterator[SubgraphResponse]:
    """The events that a subgraph sends for `request`, from the subscription's beginning to its end.

    What stands around fetches is asked once, at the beginning: its `send` subscribes, and returns before there is an
    event, with an answer that has no data. If it answers by itself, its answer is the only event.
    """
    transport = subscribing(transports, request.subgraph)
    opened: list[AsyncIterator[SubgraphResponse]] = []

    async def send(changed: SubgraphRequest) -> SubgraphResponse:
        opened.append(transport.subscribe(changed))
        return SubgraphResponse(payload={"data": None})

    try:
        if around is None:
            opened.append(transport.subscribe(request))
        else:
            answer = await around(request, send)
            if not opened:
                yield answer
                return
        async for event in opened[-1]:
            yield event
    finally:
        for events in opened:
            if isinstance(events, AsyncGenerator):
                await events.aclose()
