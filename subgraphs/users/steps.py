"""The local steps of the saga of authorizations, and whose turn it is: each is one transaction.

A driver changes one row, by compare-and-set on its state and on its own lease; one that has lost either changes
nothing. An expiry changes who belongs to a family, so it locks the family's root first, as a revoke does.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from subgraphs.shared.audit import AuditEntry, record
from subgraphs.shared.auth import Caller
from subgraphs.shared.database import Connection, Database
from subgraphs.shared.driving import LEASE_MS
from subgraphs.shared.idempotency import IdempotencyKey, store_result
from subgraphs.users import store_authorizations as store
from subgraphs.users.rules_authorizations import Authorization, State
from subgraphs.users.store_authorizations import Lease
from subgraphs.users.tables import audit_log, idempotency_keys

CREATE_ROUTE = "POST /authorizations"
"""The namespace of idempotency keys, for both faces."""
DRIVER = Caller(kind="service", id="users")
"""Who acts, in the audit log, where a driver moves an authorization on or time decides."""


@dataclass(frozen=True, slots=True)
class Leased:
    """An authorization that the driver `owner` has to itself, with the attempts made before, as of `now`."""

    authorization: Authorization
    owner: str
    now: int
    attempts: int = 0


class AuthorizationSteps:
    """What a driver does to an authorization in this service's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self, authorization_id: str) -> Authorization:
        """An authorization that there is, as the service itself sees it."""
        async with self._database.reading() as connection:
            return (await store.find_authorizations(connection, None, [authorization_id]))[authorization_id]

    async def settle(
        self, authorization: Authorization, owner: str, after: State, failure_code: str | None = None
    ) -> bool:
        """Moves a leased authorization on; a final state stores the answer of the request that created it.

        False if the authorization has left its state or its lease meanwhile: somebody else has decided.
        """

        async def work(connection: Connection) -> bool:
            before = authorization.state
            row = await store.settle(connection, authorization.id, owner, before, after, failure_code)
            if row is None:
                return False
            details = {} if failure_code is None else {"reason": failure_code}
            entry = AuditEntry(f"authorization.{after.lower()}", DRIVER, authorization.id, row.investor_id, details)
            await record(connection, audit_log, entry, at=row.updated_at)
            if row.idempotency_key is not None:
                answer = {
                    "state": after,
                    "failure_code": failure_code,
                    "amount": row.amount,
                    "version": row.version,
                    "begun": store.has_begun(row, row.updated_at),
                }
                await _store_first_answer(connection, row.investor_id, row.idempotency_key, answer)
            return True

        return await self._database.write(work)

    async def expire_due(self, limit: int) -> int:
        """Ends up to `limit` authorizations whose end has come; how many."""
        return sum([await self._expire(each) for each in await self.over_ids(limit)])

    async def over_ids(self, limit: int) -> list[str]:
        """Up to `limit` authorizations whose end has come and that nobody has ended yet."""
        async with self._database.reading() as connection:
            return await store.over_ids(connection, await connection.now(), limit)

    async def _expire(self, authorization_id: str) -> bool:
        async def work(connection: Connection) -> bool:
            await store.lock_root(connection, authorization_id)
            now = await connection.now()
            investor_id = await store.expire(connection, authorization_id, now)
            if investor_id is None:
                return False
            entry = AuditEntry("authorization.expire", DRIVER, authorization_id, investor_id)
            await record(connection, audit_log, entry, at=now)
            return True

        return await self._database.write(work)


class AuthorizationQueue:
    """Which authorizations wait for a driver, and who has which."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def take_due(self, owner: str, limit: int) -> list[Leased]:
        """Leases up to `limit` authorizations that wait to be driven."""
        async with self._database.reading() as connection:
            ids = await store.due_ids(connection, await connection.now(), limit)
        return await self.take(ids, owner) if ids else []

    async def take(self, ids: Sequence[str], owner: str) -> list[Leased]:
        """Leases those of the authorizations that are due and free."""

        async def work(connection: Connection) -> list[Leased]:
            lease = await lease_of(connection, owner)
            attempts = await store.take_lease(connection, ids, lease)
            found = await store.find_authorizations(connection, None, list(attempts))
            return [Leased(found[each], owner, lease.now, attempts[each]) for each in sorted(attempts)]

        return await self._database.write(work)

    async def due_in_ms(self) -> int | None:
        """How long it is until an authorization is due that nobody drives; None where none needs a driver."""
        async with self._database.reading() as connection:
            due_at = await store.next_due_at(connection)
            return None if due_at is None else max(due_at - await connection.now(), 0)

    async def count_unfinished(self) -> int:
        """How many authorizations a driver has still to open or to end, due or not."""
        async with self._database.reading() as connection:
            return await store.count_unfinished(connection)

    async def postpone(self, authorization_id: str, owner: str, pause_ms: int) -> None:
        """Gives a lease back; the authorization is due again after the pause."""

        async def work(connection: Connection) -> None:
            await store.postpone(connection, authorization_id, owner, await connection.now() + pause_ms)

        await self._database.write(work)


async def lease_of(connection: Connection, owner: str) -> Lease:
    """A lease of `LEASE_MS` from now."""
    now = await connection.now()
    return Lease(owner=owner, now=now, until=now + LEASE_MS)


async def _store_first_answer(
    connection: Connection, investor_id: str, key_text: str, answer: dict[str, object]
) -> None:
    """Stores the final answer of the creating request, unless an earlier state was final for it already."""
    key = IdempotencyKey(namespace=f"{investor_id} {CREATE_ROUTE}", key=key_text, fingerprint="")
    await store_result(connection, idempotency_keys, key, orjson.dumps(answer).decode(), only_if_open=True)
