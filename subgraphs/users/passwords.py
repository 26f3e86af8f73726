"""Password hashing: argon2id in a bounded pool, so that a flood of logins neither blocks the loop nor fills memory."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import Type

from subgraphs.shared.errors import UNAVAILABLE, Refusal

T = TypeVar("T")

MEMORY_KIB = 19 * 1024
ITERATIONS = 2
PARALLELISM = 1
"""OWASP's minimum for argon2id: 19 MiB, 2 iterations, 1 lane; about 20 ms of one core."""
HASHING_THREADS = 2
HASHING_WAITING_MAX = 50
"""Beyond this a login would wait longer than a second; it is told to come back instead."""


class Passwords:
    """Hashes and verifies passwords in its own threads. Close it at shutdown."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher(
            time_cost=ITERATIONS, memory_cost=MEMORY_KIB, parallelism=PARALLELISM, type=Type.ID
        )
        self._threads = ThreadPoolExecutor(max_workers=HASHING_THREADS, thread_name_prefix="passwords")
        self._waiting = 0
        self._nobodys_hash = self._hasher.hash("a password that no user has")

    async def hash(self, password: str) -> str:
        """The argon2id hash of a password, with its salt and parameters; raises Refusal `unavailable` when flooded."""
        return await self._run(self._hasher.hash, password)

    async def verify(self, password: str, password_hash: str | None) -> bool:
        """Whether the password is the hash's. Without a hash the answer is no, after the same time and work.

        Raises:
            Refusal: `unavailable` when flooded.
        """
        matches = await self._run(self._matches, password_hash or self._nobodys_hash, password)
        return matches and password_hash is not None

    def is_outdated(self, password_hash: str) -> bool:
        """Whether the hash was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(password_hash)

    async def close(self) -> None:
        """Ends the threads; hashing under way is finished."""
        self._threads.shutdown(wait=True)

    def _matches(self, password_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _run(self, work: Callable[..., T], *arguments: str) -> T:
        if self._waiting >= HASHING_WAITING_MAX:
            raise Refusal(UNAVAILABLE, "Too many logins at once. Try again in a moment.", retry_after_s=1)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)
        finally:
            self._waiting -= 1
