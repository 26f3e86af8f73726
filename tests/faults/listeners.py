"""Everybody listens to everything of their own, whatever is killed: a client that comes again with its last cursor.

What each was told must be, in the end, exactly what the tables of events have for them: once, in order, and nothing of
anybody else's.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import orjson

from subgraphs.shared.database import Database
from subgraphs.shared.outbox import Event
from subgraphs.shared.pagination import encode_cursor
from subgraphs.shared.settings import DEVELOPMENT_ROUTER_SECRET
from tests.faults.books import OUTBOXES
from tests.faults.people import PLAIN, Person

SUBSCRIPTIONS: Mapping[str, tuple[str, str, str]] = {
    "orderChanged": ("stocks", "order", "order { id }"),
    "holdingChanged": ("stocks", "holding", "holding { id }"),
    "balanceChanged": ("wallet", "balance", "balance { currency }"),
    "authorizationChanged": ("users", "authorization", "authorization { id }"),
}
"""Where each is, of what kind its events are, and what it shows."""
HEARD_WITHIN_S = 10.0
"""Who listens hears of a commit within milliseconds, and who was cut off of all of it as soon as they come again."""
AGAIN_S = 0.02
SILENCE_S = 60.0


@dataclass
class Listener:
    """One subscription of one person's."""

    person: Person
    subscription: str
    start: int
    heard: list[tuple[str, str]] = field(default_factory=list)
    """Cursors, and ids of what they are of; `missed` in place of an id that is none."""
    connections: int = 0

    @property
    def service(self) -> str:
        """Where it listens."""
        return SUBSCRIPTIONS[self.subscription][0]

    async def listen(self, client: httpx.AsyncClient, url: str) -> None:
        """Listens for ever, over as many connections as it takes."""
        _, entity, fields = SUBSCRIPTIONS[self.subscription]
        query = f"subscription($after: String) {{ {self.subscription}(after: $after) {{ cursor missed {fields} }} }}"
        headers = {"accept": "text/event-stream", "x-router-secret": DEVELOPMENT_ROUTER_SECRET}
        while True:
            after = self.heard[-1][0] if self.heard else encode_cursor(f"{self.service} events", self.start)
            body = {"query": query, "variables": {"after": after}}
            try:
                sent = client.stream("POST", f"{url}/graphql", json=body, headers={**headers, **self.person.headers()})
                async with sent as response:
                    self.connections += response.status_code == httpx.codes.OK
                    async for line in response.aiter_lines():
                        if line.startswith("data: {"):
                            answer = orjson.loads(line.removeprefix("data: "))
                            if _is_resumed(answer):
                                break  # a router has lost the service meanwhile: from the last cursor on, once more
                            self._note(answer, entity)
            except httpx.TransportError:
                pass  # it is killed, or not there yet
            await asyncio.sleep(AGAIN_S)

    def _note(self, answer: Mapping[str, Any], entity: str) -> None:
        data = answer.get("data")
        if data is None:
            return  # such as that keys cannot be fetched while users is away
        event = data[self.subscription]
        shown = event[entity]
        name = "missed" if not isinstance(shown, dict) else str(next(iter(shown.values())))
        self.heard.append((str(event["cursor"]), name))

    async def told(self, databases: Mapping[str, Database]) -> list[tuple[str, str]]:
        """What it should have heard."""
        events: list[Event] = []
        async with databases[self.service].reading() as connection:
            while True:
                last = events[-1].number if events else self.start
                found = await OUTBOXES[self.service].after(connection, self.person.id, last)
                if not found:
                    break
                events += found
        kind = SUBSCRIPTIONS[self.subscription][1]
        name = f"{self.service} events"
        return [(encode_cursor(name, event.number), event.entity_id) for event in events if event.kind == kind]


def _difference(told: list[tuple[str, str]], heard: list[tuple[str, str]]) -> str:
    """Where what was heard is first another than what was to be told, and what the two have there and behind it."""
    same = next((at for at, (one, other) in enumerate(zip(told, heard, strict=False)) if one != other), len(heard))
    return f"{len(heard)} heard of {len(told)}; from {same} on {heard[same : same + 3]}, not {told[same : same + 3]}"


def _is_resumed(answer: Mapping[str, Any]) -> bool:
    return bool(answer.get("extensions", {}).get("subscription", {}).get("resumed"))


class Audience:
    """Everybody who listens."""

    def __init__(self, listeners: list[Listener], databases: Mapping[str, Database]) -> None:
        self.listeners = listeners
        self._databases = databases

    async def misheard(self) -> list[str]:
        """What differs between what was written and what was heard, when there has been time to hear it."""
        deadline = time.monotonic() + HEARD_WITHIN_S
        wanted = [await each.told(self._databases) for each in self.listeners]
        pairs = list(zip(self.listeners, wanted, strict=True))
        while any(len(each.heard) < len(told) for each, told in pairs) and time.monotonic() < deadline:  # noqa: ASYNC110  # many hear
            await asyncio.sleep(AGAIN_S)
        return [
            f"{each.subscription} to {each.person.name}: {_difference(told, each.heard)}"
            for each, told in pairs
            if each.heard != told
        ]


@asynccontextmanager
async def listening(
    urls: Mapping[str, str], databases: Mapping[str, Database], people: Mapping[str, Person]
) -> AsyncIterator[Audience]:
    """Everybody listens to every subscription from here on, whatever becomes of the services."""
    listeners = []
    for subscription, (service, *_) in SUBSCRIPTIONS.items():
        for person in people.values():
            async with databases[service].reading() as connection:
                start = await OUTBOXES[service].latest(connection, person.id)
            listeners.append(Listener(person, subscription, start))
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    async with httpx.AsyncClient(timeout=SILENCE_S, trust_env=False, verify=PLAIN, limits=limits) as client:
        tasks = [asyncio.create_task(each.listen(client, urls[each.service])) for each in listeners]
        try:
            yield Audience(listeners, databases)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
