"""Lines about requests and failed fetches: many are written at once, none is lost, each is what a record would be."""

import asyncio
import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator

import pytest

from trifolio.errors import ErrorCode, InternalText, SubgraphError
from trifolio.observer import FetchEnded
from trifolio.server.log import (
    BATCH_LINES_MAX,
    BATCH_S,
    BatchHandler,
    FailureLog,
    JsonFormatter,
    access_log,
    error_log,
    log_request,
)

FIELDS = {"request_id": "a" * 32, "method": "POST", "path": '/"\\\n\u2028é', "status": 200, "ms": 0.5, "codes": ["X"]}


class Written(io.StringIO):
    """A stream that counts how often it was written to."""

    writes = 0

    def write(self, text: str) -> int:
        """Count and write."""
        self.writes += 1
        return super().write(text)

    def lines(self) -> list[str]:
        """What was written so far."""
        return self.getvalue().split("\n")[:-1]  # not splitlines: a path may hold what that takes for an end


@pytest.fixture
def handler() -> Iterator[BatchHandler]:
    """The only handler of the access log, as under `trifolio serve`."""
    yield from only_handler(access_log)


@pytest.fixture
def failures() -> Iterator[BatchHandler]:
    """The only handler of what goes wrong, as under `trifolio serve`."""
    yield from only_handler(error_log)


def only_handler(log: logging.Logger) -> Iterator[BatchHandler]:
    """A handler that is a log's only one for as long as it is used."""
    before = log.handlers, log.propagate, log.level
    handler = BatchHandler(Written())
    handler.setFormatter(JsonFormatter())
    log.handlers, log.propagate = [handler], False
    log.setLevel(logging.INFO)
    yield handler
    log.handlers, log.propagate, level = before
    log.setLevel(level)


def alone(log: logging.Logger, handler: BatchHandler) -> None:
    """From here on it is the log's only handler: pytest has added some of its own, to read along."""
    log.handlers = [handler]


def written(handler: BatchHandler) -> Written:
    """The handler's stream."""
    stream = handler.stream
    assert isinstance(stream, Written)
    return stream


async def test_lines_are_written_together(handler: BatchHandler) -> None:
    """Lines wait for one timer, and then go out in one write."""
    alone(access_log, handler)
    loop = asyncio.get_running_loop()
    for _ in range(3):
        log_request("request", FIELDS)
    assert written(handler).lines() == []
    waited = loop.create_future()
    loop.call_later(2 * BATCH_S, waited.set_result, None)
    await waited
    assert len(written(handler).lines()) == 3
    assert written(handler).writes == 1


async def test_many_do_not_wait(handler: BatchHandler) -> None:
    """What waits is bounded: so many lines are written at once."""
    for _ in range(BATCH_LINES_MAX + 1):
        log_request("request", FIELDS)
    assert len(written(handler).lines()) == BATCH_LINES_MAX
    handler.flush()
    assert len(written(handler).lines()) == BATCH_LINES_MAX + 1


def test_without_a_loop_none_waits(handler: BatchHandler) -> None:
    """Where no timer could come back to it, a line is written at once."""
    log_request("request", FIELDS)
    assert len(written(handler).lines()) == 1


async def test_the_line_is_that_of_a_record(handler: BatchHandler) -> None:
    """A line made of fields, and one made of a record by the formatter, differ in their times alone."""
    alone(access_log, handler)
    log_request("request", FIELDS)
    access_log.info("request", extra={"fields": FIELDS})
    handler.flush()
    fast, slow = map(json.loads, written(handler).lines())
    assert list(fast) == list(slow)
    assert len(fast.pop("time")) == len(slow.pop("time"))
    assert fast == slow


async def test_a_fetch_that_failed_has_the_line_of_a_record(failures: BatchHandler) -> None:
    """It waits for others, and says what a record would."""
    alone(error_log, failures)
    error = SubgraphError(ErrorCode.SUBGRAPH_HTTP_ERROR, "wallet", internal=InternalText("HTTP 500"))
    event = FetchEnded("wallet", 0.0025, error.code, error, is_shared=False)
    FailureLog().fetch_ended(event)
    assert written(failures).lines() == []
    error_log.addHandler(logging.NullHandler())
    FailureLog().fetch_ended(event)
    failures.flush()
    fast, slow = map(json.loads, written(failures).lines())
    assert fast["cause"] == "HTTP 500"
    assert fast.pop("time") <= slow.pop("time")
    assert list(fast.items()) == list(slow.items())


async def test_whatever_is_in_a_line_it_is_written(failures: BatchHandler) -> None:
    """Half a character, which no JSON in UTF-8 can hold, and a number beyond 64 bits end no request."""
    alone(error_log, failures)
    error = SubgraphError(ErrorCode.SUBGRAPH_UNREACHABLE, "wallet", internal=InternalText("half \ud800"))
    FailureLog().fetch_ended(FetchEnded("wallet", 0.0, error.code, error, is_shared=False))
    error_log.error("half \ud800", extra={"fields": {"count": 2**70}})
    first, second = map(json.loads, written(failures).lines())
    assert (first["cause"], second["message"], second["count"]) == ("half \ud800", "half \ud800", 2**70)


async def test_what_cannot_be_formatted_stops_nothing(
    failures: BatchHandler, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mistake in a message is told as logging tells it."""
    alone(error_log, failures)
    error_log.error("%d", "no number")
    assert "no number" in capsys.readouterr().err


async def test_an_error_does_not_wait(failures: BatchHandler) -> None:
    """What may be the last line of a process is written at once, behind those that waited."""
    log_line = FetchEnded(
        "wallet", 0.0, ErrorCode.SUBGRAPH_TIMEOUT, SubgraphError(ErrorCode.SUBGRAPH_TIMEOUT, "w"), False
    )
    FailureLog().fetch_ended(log_line)
    error_log.error("the router failed")
    messages = [json.loads(line)["message"] for line in written(failures).lines()]
    assert messages == ["a fetch failed", "the router failed"]


async def test_a_level_silences_it(handler: BatchHandler) -> None:
    """A level above INFO is obeyed as by any logger."""
    alone(access_log, handler)
    access_log.setLevel(logging.WARNING)
    log_request("request", FIELDS)
    handler.flush()
    assert written(handler).lines() == []


async def test_other_handlers_get_records(handler: BatchHandler) -> None:
    """Whoever adds a handler of their own gets every line, and so does the first."""
    seen: list[logging.LogRecord] = []
    own = logging.Handler()
    own.emit = seen.append  # type: ignore[method-assign, assignment]  # the shortest handler there is
    access_log.addHandler(own)
    log_request("request", FIELDS)
    handler.flush()
    assert len(written(handler).lines()) == len(seen) == 1


async def test_a_stream_that_cannot_be_written_stops_nothing(
    handler: BatchHandler, capsys: pytest.CaptureFixture[str]
) -> None:
    """A full disk costs the lines that it has no room for, and the request nothing."""

    def fail(_: str) -> int:
        raise OSError("no space left")

    handler.stream.write = fail  # a disk that is full
    for _ in range(BATCH_LINES_MAX):
        log_request("request", FIELDS)
    del handler.stream.write
    log_request("request", FIELDS)
    handler.flush()
    assert len(written(handler).lines()) == 1
    assert "no space left" in capsys.readouterr().err


FORKING = """
import os
from trifolio.server.log import request_id
print(request_id(None), flush=True)
child = os.fork()
if child:
    os.waitpid(child, 0)
print(request_id(None), flush=True)
"""


def test_processes_have_ids_of_their_own() -> None:
    """Random ids are 32 hexadecimal digits, and a process that was forked makes other ones than its parent."""
    done = subprocess.run([sys.executable, "-c", FORKING], capture_output=True, text=True, check=True)
    ids = done.stdout.split()
    assert len(set(ids)) == 3
    assert all(len(each) == 32 and int(each, 16) >= 0 for each in ids)
