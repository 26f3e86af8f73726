"""Apollo Client on our answers in parts, with both formats that it can read.

The client says every result that it gives; the slow subgraph answers when the first was said. What it has in the end is
what the operation answers without @defer.
"""

import asyncio
import json
import re
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.parts.world import Served, serving

HANDLERS = ("Defer20220824Handler", "GraphQL17Alpha9Handler")
RESULT_TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True)
class Case:
    """An operation with @defer."""

    name: str
    query: str
    slow: str
    """A field of the slow subgraph."""
    is_lost: bool = False
    """Whether the part with the field fails, and never brings it."""


CASES = (
    Case("a part", "{ me { id name ... @defer { homes { city } } } }", "homes"),
    Case(
        "labels",
        '{ me { id name ... @defer(label: "a") { homes { city } } ... @defer(label: "b") { owed } } }',
        "homes",
    ),
    Case(
        "a part in a part",
        '{ me { id ... @defer(label: "out") { homes { city } boss { id ... @defer(label: "in") { owed } } } } }',
        "homes",
    ),
    Case("lists", "{ everyone { id name ... @defer { homes { city } boss { id name } } } }", "homes"),
    Case("an error in a part", "{ me { id name ... @defer { lost homes { city } } } }", "homes"),
    Case("a part that fails", "{ me { id name ... @defer { roof { city } } } }", "roof", is_lost=True),
    Case("at the root", "{ me { id name } ... @defer { weather } }", "weather"),
)


async def client_problems(folder: Path) -> list[str]:
    """What is wrong with what Apollo Client makes of our answers; `folder` has its modules. Prints what was asked."""
    problems: list[str] = []
    async with serving() as served, _client(folder, f"{served.url}/graphql") as client:
        for handler in HANDLERS:
            for case in CASES:
                found = await _problems(served, client, handler, case)
                print(f"@apollo/client, {handler}: {'WRONG' if found else 'right'}    {case.name}")
                problems += [f"{handler}, {case.name}: {each}" for each in found]
    return problems


@asynccontextmanager
async def _client(folder: Path, url: str) -> AsyncIterator[Process]:
    client = await asyncio.create_subprocess_exec("node", "parts.mjs", url, cwd=folder, stdin=PIPE, stdout=PIPE)
    try:
        yield client
    finally:
        client.terminate()
        await client.wait()


async def _problems(served: Served, client: Process, handler: str, case: Case) -> list[str]:
    places = served.world.places
    places.open.clear()
    assert client.stdin is not None
    client.stdin.write(json.dumps({"handler": handler, "query": case.query}).encode() + b"\n")
    # The subgraph waits for this line: it comes while the deferred fetch is under way, or not at all.
    results = [await _line(client)]
    places.open.set()
    while "done" not in results[-1]:
        results.append(await _line(client))
    *watched, done = [*results[:-1], results[-1]["done"]]
    answer = (await served.post(re.sub(r"@defer(\(.*?\))?", "", case.query), accept="application/json")).json()
    first = _as_asked(watched[0]["data"])
    expected = first if case.is_lost else answer["data"]
    found = []
    if len(watched) < 2 or f'"{case.slow}"' in json.dumps(first):
        found.append(f"the first result is {watched[0]}")
    for name, last in (("watched", watched[-1]), ("queried", done)):
        data = _as_asked(last["data"])
        if data != expected:
            found.append(f"{name}: the data is {json.dumps(data)}, not {json.dumps(expected)}")
        if bool(last["errors"]) != ("errors" in answer):
            found.append(f"{name}: the errors are {last['errors']}, not {answer.get('errors', [])}")
    return found


def _as_asked(data: Any) -> Any:
    """Data without the type names that the client asks for itself."""
    if isinstance(data, list):
        return [_as_asked(each) for each in data]
    if isinstance(data, dict):
        return {key: _as_asked(value) for key, value in data.items() if key != "__typename"}
    return data


async def _line(client: Process) -> Any:
    assert client.stdout is not None
    line = await asyncio.wait_for(client.stdout.readline(), RESULT_TIMEOUT_S)
    assert line, "the client has ended"
    return json.loads(line)
