"""The driver of every saga: it moves a row on from its state alone, again and again, until no driver is needed.

How it works. A saga's row is its log, so whoever has the row may drive it. The request that wrote the row has it for
the length of a lease and drives it within its own time; the loop, one in every replica, leases what is due and drives
that. A row that a peer keeps from moving is postponed, with pauses that double. Two drivers of one row do no harm,
because every move may be repeated; leases keep them apart because that is cheaper.

    request   row -> move -> move -> ... done, or no time left for another call: postponed, and the loop has it
    loop      end what is overdue; lease what is due; the same for each row, without waiting: postponed where it stops

Between its rounds the loop waits until a row is due, as rows say when, and no longer than `LOOP_PAUSE_MS_MAX`: for what
nobody has told it of, such as a mandate whose end has come, or a row that a process which was killed has left. What
makes a row due at once, such as a price that triggers an order, wakes it (`wakening`).

What differs from saga to saga, which move follows which state, is the saga's: see the table in each `saga.py`.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

from subgraphs.shared.clocks import Patience, Seconds
from subgraphs.shared.peers import PEER_TIMEOUT_S, PeerRefused, PeerUnavailable
from subgraphs.shared.wakening import Wakening

RowT = TypeVar("RowT")

LEASE_MS = 2_000
"""How long a driver has a row to itself: longer than any call to a peer."""

REQUEST_DRIVE_MS = LEASE_MS
"""How long a request drives its row before it answers 202; the row is leased to it for as long."""

LOOP_PAUSE_MS_MIN = 50
"""50 ms: a row that is due and that another replica has in its hands is looked for again after that."""
LOOP_PAUSE_MS_MAX = 1_000
"""1 second: how late what time alone decides may be seen. A round that finds nothing is three short reads."""

ROWS_PER_STEP_MAX = 32
"""Rows that one round of the loop drives side by side."""

RETRY_MS_MIN = 50
RETRY_MS_MAX = 1_000
"""Pauses between attempts double from the least to the greatest."""


WAIT_MS_MAX = LEASE_MS
"""Neither a lease nor a pause is longer. A time further away than this was written by a clock that has stepped back."""


class Saga(Protocol[RowT]):
    """What a driver drives: rows, how each is moved, and whose turn it is."""

    async def end_overdue(self) -> None:
        """Decides what time alone decides, such as an expiry; what follows from it is driven."""
        ...

    async def take_due(self, limit: int) -> Sequence[RowT]:
        """Leases up to `limit` rows that are due and that nobody has."""
        ...

    def needs_driver(self, row: RowT) -> bool:
        """Whether there is a move from the row's state."""
        ...

    async def move(self, row: RowT) -> RowT:
        """Makes the move from the row's state; the row as it is then. Raises PeerUnavailable or PeerRefused."""
        ...

    async def postpone(self, row: RowT, pause_ms: int) -> None:
        """Ends the lease; the row is due again after the pause."""
        ...

    async def due_in_ms(self) -> int | None:
        """How long it is until a row is due that nobody has; None where there is none."""
        ...

    def key(self, row: RowT) -> str:
        """The row's id."""
        ...

    def attempts(self, row: RowT) -> int:
        """How often the row was postponed since it last moved."""
        ...

    def report(self, row: RowT, failure: Exception) -> None:
        """Says that a peer keeps the row from moving."""
        ...


class Driver(Generic[RowT]):
    """Drives the rows of one saga. `step` is one round of the loop, `run` the loop, which a wake of `topic` hurries."""

    def __init__(
        self,
        saga: Saga[RowT],
        wakening: Wakening,
        topic: str,
        *,
        request_drive_ms: int = REQUEST_DRIVE_MS,
        monotonic: Seconds = time.monotonic,
    ) -> None:
        self._saga = saga
        self._wakening = wakening
        self._topic = topic
        self._request_drive_ms = request_drive_ms
        self.patience = Patience(monotonic=monotonic)
        """How long each row that a peer keeps waiting has waited."""

    async def drive_request(self, row: RowT) -> RowT:
        """Drives within the request's time: no call begins that could outlast it. Without such time, it drives once."""
        allowed_s = self._request_drive_ms / 1_000 - PEER_TIMEOUT_S
        last_start = None if self._request_drive_ms == 0 else time.monotonic() + allowed_s
        pause_ms = RETRY_MS_MIN
        while True:
            row, done = await self._drive(row, until=last_start)
            if done:
                return row
            if last_start is None or time.monotonic() + pause_ms / 1_000 >= last_start:
                await self._saga.postpone(row, RETRY_MS_MIN)
                self._wakening.wake([self._topic])
                return row
            await asyncio.sleep(pause_ms / 1_000)
            pause_ms *= 2

    async def drive_leased(self, row: RowT) -> None:
        """Drives a row that was due as far as it goes; it is due again later where a peer stops it."""
        row, done = await self._drive(row)
        if not done:
            await self._saga.postpone(row, min(RETRY_MS_MIN << min(self._saga.attempts(row), 5), RETRY_MS_MAX))

    async def step(self) -> int:
        """One round: what is overdue is ended, and every row that is due is driven once; how many were."""
        await self._saga.end_overdue()
        due = await self._saga.take_due(ROWS_PER_STEP_MAX)
        await asyncio.gather(*(self.drive_leased(row) for row in due))
        return len(due)

    async def run(self) -> None:
        """Steps for ever: when a row is due, when it is woken, and after a pause in any case."""
        with self._wakening.waiting(self._topic) as waiter:
            while True:
                await self.step()
                due_ms = await self._saga.due_in_ms()
                pause_ms = LOOP_PAUSE_MS_MAX if due_ms is None else min(due_ms, LOOP_PAUSE_MS_MAX)
                await waiter.wait(max(pause_ms, LOOP_PAUSE_MS_MIN) / 1_000)

    async def _drive(self, row: RowT, *, until: float | None = None) -> tuple[RowT, bool]:
        """Moves a row from state to state; and whether it came to where no driver is needed.

        It stops where a peer fails, and before the first move that would begin after `until` (monotonic seconds).
        """
        while self._saga.needs_driver(row):
            if until is not None and time.monotonic() > until:
                return row, False
            try:
                row = await self._saga.move(row)
            except (PeerUnavailable, PeerRefused) as failure:
                self._saga.report(row, failure)
                self.patience.waited_ms(self._saga.key(row))
                return row, False
        self.patience.forget(self._saga.key(row))
        return row, True
