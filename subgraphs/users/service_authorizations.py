"""What is asked of authorizations and needs no other service: each method is one read or one transaction.

`saga` puts these together with the steps that follow and the calls to wallet and stocks. The rule of locking: whatever
changes who belongs to a family (a rollover, a revoke, an expiry) first locks the family's root, then looks again.
"""

import uuid
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass, replace
from functools import partial

import orjson

from subgraphs.shared.audit import AuditEntry, record
from subgraphs.shared.auth import Caller, require_service, require_user
from subgraphs.shared.database import Connection, Database
from subgraphs.shared.errors import IDEMPOTENCY_KEY_REUSED, NOT_FOUND, FieldError, Refusal
from subgraphs.shared.idempotency import (
    IdempotencyKey,
    StoredAnswer,
    claim,
    idempotency_key,
    keep_refusal,
    stored_answer,
)
from subgraphs.shared.outbox import Change
from subgraphs.shared.pagination import Page, decode_cursor, encode_cursor, page_limit, page_of
from subgraphs.users import store as users_store
from subgraphs.users import store_authorizations as store
from subgraphs.users.rules_authorizations import (
    INVESTORS_ONLY,
    NOT_THE_INVESTOR,
    SELF_AUTHORIZATION,
    UNKNOWN_BROKER,
    Authorization,
    AuthorizationType,
    MandateRequest,
    RolledOver,
    Rollover,
    Status,
    StatusFilter,
    failure,
    window,
)
from subgraphs.users.steps import CREATE_ROUTE, lease_of
from subgraphs.users.store_authorizations import Lease
from subgraphs.users.tables import audit_log, idempotency_keys, outbox

AUTHORIZATION_LIST = "authorizations"
"""The list's name in its cursors."""
CHILD_NAMESPACE = uuid.UUID("c0f1a3f6-0d6c-5b8a-9a3e-3a5d2f5f7c11")
"""Of authorizations that orders roll over into: an order has at most one, with the same id however often it asks."""


@dataclass(frozen=True, slots=True)
class Creation:
    """An authorization that was asked for. `final` is False while its answer is still open."""

    authorization: Authorization
    key: str
    replayed: bool
    final: bool

    @property
    def refusal(self) -> Refusal | None:
        """Why the authorization failed, if that is its final answer."""
        failed = self.final and self.authorization.state == "FAILED"
        return failure(self.authorization) if failed else None


class AuthorizationsService:
    """The transactions of authorizations."""

    def __init__(self, database: Database, *, events_kept_days: int = 7) -> None:
        self._database = database
        self._events_kept_days = events_kept_days

    async def authorization(self, caller: Caller, authorization_id: str) -> Authorization:
        """An authorization that the caller gave or received; raises Refusal `not-found` for any other."""
        found = await self.authorizations_by_id(caller, [authorization_id])
        return _found(found, authorization_id)

    async def authorizations_by_id(self, caller: Caller, ids: Iterable[str]) -> dict[str, Authorization]:
        """Those of the authorizations that exist and that the caller is a party of, by id."""
        require_user(caller)
        async with self._database.reading() as connection:
            return await store.find_authorizations(connection, caller.id, ids)

    async def authorizations(
        self,
        caller: Caller,
        *,
        status: Status | None,
        kind: AuthorizationType | None,
        limit: int | None,
        after: str | None,
    ) -> Page[Authorization]:
        """A page of the caller's authorizations, given or received, newest first."""
        require_user(caller)
        size, key = page_limit(limit), decode_cursor(after, AUTHORIZATION_LIST, int, str) if after is not None else None
        wanted = None if status is None else StatusFilter.of(status)
        async with self._database.reading() as connection:
            found = await store.list_authorizations(connection, caller.id, wanted, kind, key, size + 1)
        return page_of(found, [encode_cursor(AUTHORIZATION_LIST, each.created_at, each.id) for each in found], size)

    def changes(self, caller: Caller, after: str | None) -> AsyncGenerator[Change[Authorization], None]:
        """The authorizations that the caller gave or received, each when it changes, for ever: see `Outbox.follow`.

        That a window begins changes nothing that is stored, and is no event.

        Args:
            after: the cursor of the last change that the caller knows; without it, from now on.

        Raises:
            Refusal: `unauthenticated`, `forbidden`, `invalid-cursor`, at once.
        """
        user = require_user(caller)
        load = partial(self.authorizations_by_id, user)
        return outbox.follow(self._database, user.id, store.AUTHORIZATION_EVENT, outbox.position(after), load)

    async def forget_events(self) -> None:
        """Deletes events that are kept no longer."""
        await outbox.purge(self._database, days=self._events_kept_days)

    async def verified_authorization(self, caller: Caller, authorization_id: str) -> Authorization:
        """Any authorization, for stocks, which checks it before a broker's order; raises Refusal `not-found`."""
        require_service(caller, "stocks")
        async with self._database.reading() as connection:
            found = await store.find_authorizations(connection, None, [authorization_id])
        return _found(found, authorization_id)

    def creation_key(self, caller: Caller, request: MandateRequest, key: str | None) -> IdempotencyKey:
        """The key of a request to create an authorization; raises Refusal unless the caller is an investor."""
        if require_user(caller).role != "investor":
            raise Refusal(INVESTORS_ONLY)
        return idempotency_key(caller.id, CREATE_ROUTE, key, request.document())

    async def created_before(self, caller: Caller, key: IdempotencyKey) -> Creation | None:
        """What an earlier request with the key led to; None if the key is fresh."""
        async with self._database.reading() as connection:
            stored = await stored_answer(connection, idempotency_keys, key)
            return None if stored is None else await _repetition(connection, caller, key, stored)

    async def create(
        self, caller: Caller, request: MandateRequest, stock_id: str | None, key: IdempotencyKey, owner: str
    ) -> Creation:
        """Inserts a PENDING authorization, leased to `owner`.

        Raises:
            Refusal: `self-authorization`, `unknown-broker`, `invalid-window`, or `idempotency-key-reused`.
        """

        async def work(connection: Connection) -> Creation:
            stored = await claim(connection, idempotency_keys, key)
            if stored is not None:
                return await _repetition(connection, caller, key, stored)
            await _check_broker(connection, caller, request.broker_id)
            await store.insert_authorization(
                connection, _pending_row(caller, request, stock_id, key, await lease_of(connection, owner))
            )
            details = {"type": request.type, "broker": request.broker_id}
            await record(connection, audit_log, AuditEntry("authorization.create", caller, key.object_id, "", details))
            created = await store.find_authorizations(connection, caller.id, [key.object_id])
            return Creation(created[key.object_id], key.key, replayed=False, final=False)

        return await self._database.write(work)

    async def refuse(self, caller: Caller, key: IdempotencyKey, refusal: Refusal) -> Creation:
        """Makes a refusal the final answer and raises it, unless another request with the key was answered before."""
        stored = await keep_refusal(self._database, idempotency_keys, key, refusal)
        async with self._database.reading() as connection:
            return await _repetition(connection, caller, key, stored)

    async def revoke(self, caller: Caller, authorization_id: str, owner: str, *, cascade: bool) -> list[str]:
        """Ends an authorization, with its whole family if `cascade`: durably, from this commit on.

        Returns the ids that are REVOKING by this call, leased to `owner`; none if all was over before.

        Raises:
            Refusal: `not-found`, or `not-the-investor`.
        """
        authorization = await self.authorization(caller, authorization_id)
        if authorization.investor.id != caller.id:
            raise Refusal(NOT_THE_INVESTOR)

        async def work(connection: Connection) -> list[str]:
            root_id = await store.lock_root(connection, authorization_id)
            assert root_id is not None, "authorizations are never deleted"
            lease = await lease_of(connection, owner)
            ended = await store.end_family(connection, root_id, None if cascade else authorization_id, lease)
            for each in ended:
                await record(connection, audit_log, AuditEntry("authorization.revoke", caller, each), at=lease.now)
            return ended

        return await self._database.write(work)

    async def roll_over(self, caller: Caller, rollover: Rollover) -> RolledOver:
        """T4: continues a mandate with what a broker's order brought; the answer is stored by order and never changes.

        Raises:
            Refusal: `not-found` for an unknown mandate, `idempotency-key-reused` for an order that came otherwise.
        """
        require_service(caller, "stocks")
        fingerprint = _fingerprint(rollover)
        child_id = str(uuid.uuid5(CHILD_NAMESPACE, rollover.order_id))

        async def work(connection: Connection) -> RolledOver:
            now = await connection.now()
            root_id = await store.lock_root(connection, rollover.used_authorization_id)
            if root_id is None:
                raise Refusal(NOT_FOUND)
            if await store.insert_rollover(connection, rollover, fingerprint, now):
                await _continue(connection, caller, rollover, root_id, child_id, now)
            stored_fingerprint, answer = await store.find_rollover(connection, rollover.order_id)
            if stored_fingerprint != fingerprint:
                raise Refusal(IDEMPOTENCY_KEY_REUSED, "This order has already rolled over in another way.")
            return answer

        return await self._database.write(work)


async def _repetition(connection: Connection, caller: Caller, key: IdempotencyKey, stored: StoredAnswer) -> Creation:
    """What a repeated request gets: the authorization as its final answer showed it, or as it stands while open."""
    found = await store.find_authorizations(connection, caller.id, [key.object_id])
    authorization = found[key.object_id]
    if stored.result is None:
        return Creation(authorization, key.key, replayed=True, final=False)
    # An answer of before there was `begun` showed every mandate that was opened as active, and goes on to.
    answer = {"begun": True, **orjson.loads(stored.result)}
    return Creation(replace(authorization, **answer), key.key, replayed=True, final=True)


async def _check_broker(connection: Connection, caller: Caller, broker_id: str) -> None:
    if broker_id == caller.id:
        raise Refusal(SELF_AUTHORIZATION, fields=(FieldError("brokerId", SELF_AUTHORIZATION.detail),))
    broker = (await users_store.find_users(connection, caller.id, [broker_id])).get(broker_id)
    if broker is None or broker.type != "broker":
        raise Refusal(UNKNOWN_BROKER, fields=(FieldError("brokerId", UNKNOWN_BROKER.detail),))


def _pending_row(
    caller: Caller, request: MandateRequest, stock_id: str | None, key: IdempotencyKey, lease: Lease
) -> dict[str, object]:
    starts_at, ends_at = window(request, lease.now)
    return {
        "id": key.object_id,
        "root_id": key.object_id,
        "investor_id": caller.id,
        "broker_id": request.broker_id,
        "type": request.type,
        "asset": request.currency or stock_id,
        "currency": request.currency,
        "stockholding_id": request.stockholding_id,
        "stock_id": stock_id,
        "amount": request.amount,
        "state": "PENDING",
        "idempotency_key": key.key,
        "starts_at": starts_at,
        "ends_at": ends_at,
        "created_at": lease.now,
        "updated_at": lease.now,
        "version": 1,
        "lease_owner": lease.owner,
        "lease_until": lease.until,
        "drive_at": lease.now,
    }


async def _continue(
    connection: Connection, caller: Caller, rollover: Rollover, root_id: str, child_id: str, now: int
) -> None:
    """Extends or creates the family's mandate over what the order brought, while the used one is active."""
    parent = (await store.find_authorizations(connection, None, [rollover.used_authorization_id]))[
        rollover.used_authorization_id
    ]
    over = parent.ends_at is not None and parent.ends_at <= now
    if parent.state != "ACTIVE" or over or rollover.amount == 0:
        return
    continued = await store.extend_active(connection, root_id, rollover, now)
    if continued is None:
        continued = child_id
        await store.insert_authorization(connection, _child_row(parent, rollover, child_id, now))
    await store.answer_rollover(connection, rollover.order_id, continued)
    details = {"order": rollover.order_id, "used": parent.id, "created": continued == child_id}
    entry = AuditEntry("authorization.rollover", caller, continued, parent.investor.id, details)
    await record(connection, audit_log, entry, at=now)


def _child_row(parent: Authorization, rollover: Rollover, child_id: str, now: int) -> dict[str, object]:
    return {
        "id": child_id,
        "root_id": parent.root_id,
        "parent_id": parent.id,
        "investor_id": parent.investor.id,
        "broker_id": parent.broker.id,
        "type": rollover.type,
        "asset": rollover.asset,
        "currency": rollover.currency,
        "stockholding_id": rollover.stockholding_id,
        "stock_id": rollover.stock_id,
        "amount": rollover.amount,
        "state": "ACTIVE",
        "starts_at": now,
        "ends_at": parent.ends_at,
        "created_at": now,
        "updated_at": now,
        "version": 1,
    }


def _fingerprint(rollover: Rollover) -> str:
    return idempotency_key("stocks", CREATE_ROUTE, rollover.order_id, orjson.loads(orjson.dumps(rollover))).fingerprint


def _found(found: dict[str, Authorization], authorization_id: str) -> Authorization:
    if authorization_id not in found:
        raise Refusal(NOT_FOUND)
    return found[authorization_id]
