"""What one can do with authorizations: the parties read them, stocks verifies them."""

from collections.abc import Sequence

from subgraphs.shared.auth import Caller, require_service, require_user
from subgraphs.shared.database import Database
from subgraphs.shared.errors import NOT_FOUND, Refusal
from subgraphs.shared.pagination import Page, decode_cursor, encode_cursor, page_limit, page_of
from subgraphs.users import store_authorizations as store
from subgraphs.users.rules import PUBLIC_STATUS, Authorization, AuthorizationType, Status


class AuthorizationsService:
    """The use cases of authorizations."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def authorization(self, caller: Caller, authorization_id: str) -> Authorization:
        """An authorization that the caller gave or received; raises Refusal `not-found` for any other."""
        found = await self.authorizations_by_id(caller, [authorization_id])
        return _found(found, authorization_id)

    async def authorizations_by_id(self, caller: Caller, ids: Sequence[str]) -> dict[str, Authorization]:
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
        size, key = page_limit(limit), decode_cursor(after, int, str) if after is not None else None
        states = [state for state, public in PUBLIC_STATUS.items() if public == status]
        async with self._database.reading() as connection:
            found = await store.list_authorizations(connection, caller.id, states, kind, key, size + 1)
        return page_of(found, [encode_cursor(each.created_at, each.id) for each in found], size)

    async def verified_authorization(self, caller: Caller, authorization_id: str) -> Authorization:
        """Any authorization, for stocks, which checks it before a broker's order; raises Refusal `not-found`."""
        require_service(caller, "stocks")
        async with self._database.reading() as connection:
            found = await store.find_authorizations(connection, None, [authorization_id])
        return _found(found, authorization_id)


def _found(found: dict[str, Authorization], authorization_id: str) -> Authorization:
    if authorization_id not in found:
        raise Refusal(NOT_FOUND, "There is no such authorization, or you are no party of it.")
    return found[authorization_id]
