"""Limits on attempts, counted in the database so that replicas share them and a restart forgets nothing.

An attempt is counted before the expensive or revealing work starts and taken back if it was rightful, so a limit is on
wrong passwords, and a burst of parallel guesses cannot slip past it.
"""

import hashlib
import ipaddress
from dataclasses import dataclass

from subgraphs.shared.database import Connection, Database
from subgraphs.shared.errors import TOO_MANY_REQUESTS, Refusal
from subgraphs.users import store

WINDOW_S_MAX = 3_600


@dataclass(frozen=True, slots=True)
class AttemptLimit:
    """At most `attempts_max` attempts per window of `window_s` seconds (at most WINDOW_S_MAX) on one subject."""

    name: str
    attempts_max: int
    window_s: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt under one limit, on an account or from an address."""

    limit: AttemptLimit
    on: str

    @property
    def subject(self) -> str:
        """What is counted: hashed, because it may be an e-mail address."""
        return f"{self.limit.name}:{hashlib.sha256(self.on.encode()).hexdigest()[:32]}"

    def window_start(self, now: int) -> int:
        """The start of the window that `now` (milliseconds) lies in."""
        window_ms = self.limit.window_s * 1_000
        return now - now % window_ms


@dataclass(frozen=True, slots=True)
class Counted:
    """Attempts that were counted, at a time in milliseconds; hand it back to `take_back`."""

    attempts: tuple[Attempt, ...]
    now: int


def address_block(address: str) -> str:
    """What is counted for an address: an IPv4 address itself, an IPv6 address's /64, which one client has alone."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return str(parsed)
    return str(ipaddress.ip_network((int(parsed), 64), strict=False))


def address_hash(address: str) -> str:
    """How a known address is stored: as a digest, since where somebody was is nobody's business."""
    return hashlib.sha256(address_block(address).encode()).hexdigest()


async def count_attempts(database: Database, *attempts: Attempt) -> Counted:
    """Counts the attempts.

    Raises:
        Refusal: `too-many-requests` when one of the limits is exceeded; Retry-After tells when its window ends.
    """

    async def work(connection: Connection) -> tuple[int, list[int]]:
        now = await connection.now()
        await store.delete_attempts_before(connection, now - WINDOW_S_MAX * 1_000)
        counts = [await store.count_attempt(connection, a.subject, a.window_start(now)) for a in attempts]
        return now, counts

    now, counts = await database.write(work)
    for attempt, count in zip(attempts, counts, strict=True):
        if count > attempt.limit.attempts_max:
            ends = attempt.window_start(now) + attempt.limit.window_s * 1_000
            wait_s = -((now - ends) // 1_000)
            raise Refusal(TOO_MANY_REQUESTS, f"{TOO_MANY_REQUESTS.title}. Wait {wait_s} seconds.", retry_after_s=wait_s)
    return Counted(attempts=attempts, now=now)


async def take_back(connection: Connection, counted: Counted) -> None:
    """Takes rightful attempts back, in the transaction that makes them rightful."""
    for attempt in counted.attempts:
        await store.uncount_attempt(connection, attempt.subject, attempt.window_start(counted.now))
