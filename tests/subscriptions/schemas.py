"""A schema that routers which tests start execute by themselves: `tests.subscriptions.schemas:CLOCK`."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from graphql import build_schema

CLOCK = build_schema("""
    type Query { time: Int _service: _Service! }
    type Subscription { time: Int }
    type _Service { sdl: String }
""")


async def _time(*_: Any) -> AsyncGenerator[int, None]:
    """Now, and never again."""
    yield 1
    await asyncio.Event().wait()


assert CLOCK.subscription_type
assert CLOCK.query_type
CLOCK.subscription_type.fields["time"].subscribe = _time
CLOCK.subscription_type.fields["time"].resolve = lambda event, *_: event
SDL = "type Query { time: Int } type Subscription { time: Int }"
CLOCK.query_type.fields["_service"].resolve = lambda *_: {"sdl": SDL}
