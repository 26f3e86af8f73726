"""Every SQL statement about users, their sessions and their attempts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Row,
    and_,
    bindparam,
    case,
    delete,
    insert,
    literal,
    null,
    select,
    tuple_,
    update,
)

from subgraphs.shared.database import Connection, insert_or_ignore, locked
from subgraphs.shared.pagination import CursorKey
from subgraphs.users.rules import Credentials, OpenSession, ProfileUpdate, Registration, Role, User
from subgraphs.users.tables import attempts, known_addresses, refresh_tokens, sessions, users

# Users with the private columns that one viewer may see: the database, not the caller, leaves out the others'.
# Statements of every request are built once: building one costs more than running it.
_VIEWED = select(
    users.c.id,
    users.c.name,
    users.c.type,
    users.c.registered_at,
    users.c.version,
    case((users.c.id == bindparam("viewer_id"), users.c.email), else_=null()).label("email"),
)
_FIND_USERS = _VIEWED.where(users.c.id.in_(bindparam("ids", expanding=True)))


@dataclass(frozen=True, slots=True)
class StoredRefreshToken:
    """A refresh token's row with its session's: who it is for and whether it may still be used."""

    session_id: str
    user_id: str
    expires_at: int
    used_at: int | None
    revoked_at: int | None


async def insert_user(
    connection: Connection, user_id: str, registration: Registration, password_hash: str, now: int
) -> bool:
    """Inserts a user; False when the e-mail address (or the id) is taken."""
    statement = insert_or_ignore(connection, users).values(
        id=user_id,
        name=registration.name,
        email=registration.email,
        type=registration.type,
        password_hash=password_hash,
        registered_at=now,
        version=1,
    )
    return bool((await connection.execute(statement)).rowcount)


async def find_users(connection: Connection, viewer_id: str, ids: Sequence[str]) -> dict[str, User]:
    """The users of these ids as the viewer sees them, by id; missing ones are left out."""
    rows = await connection.execute(_FIND_USERS, {"viewer_id": viewer_id, "ids": ids})
    return {row.id: _user(row) for row in rows}


async def list_users(
    connection: Connection, viewer_id: str, role: Role | None, after: CursorKey | None, limit: int
) -> list[User]:
    """Up to `limit` users, the earliest registered first, after the cursor (registered_at, id)."""
    statement = _VIEWED.order_by(users.c.registered_at, users.c.id).limit(limit)
    if role is not None:
        statement = statement.where(users.c.type == role)
    if after is not None:
        statement = statement.where(_after(after))
    return [_user(row) for row in await connection.execute(statement, {"viewer_id": viewer_id})]


async def find_credentials(connection: Connection, *, email: str = "", user_id: str = "") -> Credentials | None:
    """What to compare a password with, by e-mail address or by id."""
    by = users.c.id == user_id if user_id else users.c.email == email
    row = (await connection.execute(select(users.c.id, users.c.type, users.c.password_hash).where(by))).one_or_none()
    return None if row is None else Credentials(user_id=row.id, role=row.type, password_hash=row.password_hash)


async def lock_version(connection: Connection, user_id: str) -> int | None:
    """The version of a user's row, locked to the end of the transaction."""
    statement = locked(select(users.c.version).where(users.c.id == user_id), connection)
    version: int | None = (await connection.execute(statement)).scalar_one_or_none()
    return version


async def email_is_taken(connection: Connection, email: str, *, except_user_id: str) -> bool:
    """Whether another user has this e-mail address."""
    statement = select(users.c.id).where(users.c.email == email, users.c.id != except_user_id)
    return (await connection.execute(statement)).first() is not None


async def update_profile(
    connection: Connection, user_id: str, profile: ProfileUpdate, password_hash: str | None
) -> None:
    """Replaces a user's profile, and the password's hash where one is given."""
    values: dict[str, Any] = {"name": profile.name, "email": profile.email, "version": users.c.version + 1}
    if password_hash is not None:
        values["password_hash"] = password_hash
    await connection.execute(update(users).where(users.c.id == user_id).values(values))


async def replace_password_hash(connection: Connection, user_id: str, old_hash: str, new_hash: str) -> None:
    """Stores the same password hashed with newer parameters, unless it was changed meanwhile."""
    same = and_(users.c.id == user_id, users.c.password_hash == old_hash)
    await connection.execute(update(users).where(same).values(password_hash=new_hash))


async def insert_session(connection: Connection, session_id: str, user_id: str, now: int) -> None:
    """Starts a session: a family of refresh tokens."""
    await connection.execute(insert(sessions).values(id=session_id, user_id=user_id, created_at=now, seen_at=now))


async def insert_refresh_token(connection: Connection, token_hash: str, session_id: str, expires_at: int) -> None:
    """Adds a token to a session."""
    values = {"token_hash": token_hash, "session_id": session_id, "expires_at": expires_at}
    await connection.execute(insert(refresh_tokens).values(values))


async def lock_refresh_token(connection: Connection, token_hash: str) -> StoredRefreshToken | None:
    """A refresh token with its session, both locked to the end of the transaction."""
    statement = (
        select(
            refresh_tokens.c.session_id,
            sessions.c.user_id,
            refresh_tokens.c.expires_at,
            refresh_tokens.c.used_at,
            sessions.c.revoked_at,
        )
        .join(sessions, sessions.c.id == refresh_tokens.c.session_id)
        .where(refresh_tokens.c.token_hash == token_hash)
    )
    row = (await connection.execute(locked(statement, connection))).one_or_none()
    return None if row is None else StoredRefreshToken(**row._mapping)


async def mark_refresh_token_used(connection: Connection, token_hash: str, now: int) -> None:
    """Notes that a token has been exchanged; showing it again is a theft's sign."""
    await connection.execute(
        update(refresh_tokens).where(refresh_tokens.c.token_hash == token_hash).values(used_at=now)
    )


async def revoke_session(connection: Connection, session_id: str, now: int) -> None:
    """Ends a session: none of its tokens works any more."""
    await connection.execute(update(sessions).where(sessions.c.id == session_id).values(revoked_at=now))


async def see_session(connection: Connection, session_id: str, now: int) -> None:
    """Notes that a session is in use."""
    await connection.execute(update(sessions).where(sessions.c.id == session_id).values(seen_at=now))


async def end_sessions(
    connection: Connection, user_id: str, now: int, *, only: str | None = None, but: str | None = None
) -> list[str]:
    """Ends the live sessions of a user, only that one or all but that one; the ids of those that ended now."""
    live = and_(sessions.c.user_id == user_id, sessions.c.revoked_at.is_(None))
    if only is not None:
        live = and_(live, sessions.c.id == only)
    if but is not None:
        live = and_(live, sessions.c.id != but)
    ended = update(sessions).where(live).values(revoked_at=now).returning(sessions.c.id)
    return [row.id for row in await connection.execute(ended)]


async def live_sessions(connection: Connection, user_id: str, now: int) -> list[OpenSession]:
    """A user's sessions that can still be refreshed, the one used last first."""
    usable = select(refresh_tokens.c.token_hash).where(
        refresh_tokens.c.session_id == sessions.c.id, refresh_tokens.c.expires_at > now
    )
    statement = (
        select(sessions.c.id, sessions.c.created_at, sessions.c.seen_at)
        .where(sessions.c.user_id == user_id, sessions.c.revoked_at.is_(None), usable.exists())
        .order_by(sessions.c.seen_at.desc(), sessions.c.id)
    )
    return [OpenSession(row.id, row.created_at, row.seen_at) for row in await connection.execute(statement)]


async def has_session(connection: Connection, user_id: str, session_id: str) -> bool:
    """Whether the user has, or had, that session."""
    statement = select(sessions.c.id).where(sessions.c.id == session_id, sessions.c.user_id == user_id)
    return (await connection.execute(statement)).first() is not None


async def ended_sessions(connection: Connection, after: int) -> list[tuple[str, int]]:
    """The sessions that ended after that time, and when."""
    statement = select(sessions.c.id, sessions.c.revoked_at).where(sessions.c.revoked_at > after)
    return [(row.id, row.revoked_at) for row in await connection.execute(statement)]


async def delete_expired_tokens(connection: Connection, now: int) -> None:
    """Forgets refresh tokens that have expired, and sessions that have none left."""
    await connection.execute(delete(refresh_tokens).where(refresh_tokens.c.expires_at <= now))
    has_token = select(refresh_tokens.c.token_hash).where(refresh_tokens.c.session_id == sessions.c.id).exists()
    await connection.execute(delete(sessions).where(~has_token))


async def count_attempt(connection: Connection, subject: str, window_start: int) -> int:
    """Counts one attempt and returns how many the window has with it; concurrent ones wait for each other."""
    key = {"subject": subject, "window_start": window_start}
    await connection.execute(insert_or_ignore(connection, attempts).values(**key, count=0))
    counted = update(attempts).where(_same_window(subject, window_start)).values(count=attempts.c.count + 1)
    count: int = (await connection.execute(counted.returning(attempts.c.count))).scalar_one()
    return count


async def uncount_attempt(connection: Connection, subject: str, window_start: int) -> None:
    """Takes one attempt back: it turned out to be rightful."""
    some = and_(_same_window(subject, window_start), attempts.c.count > 0)
    await connection.execute(update(attempts).where(some).values(count=attempts.c.count - 1))


async def delete_attempts_before(connection: Connection, moment: int) -> None:
    """Forgets windows that no limit looks at any more."""
    await connection.execute(delete(attempts).where(attempts.c.window_start < moment))


async def knows_address(connection: Connection, email: str, address: str) -> bool:
    """Whether the user of that e-mail address has logged in from there."""
    known = known_addresses.c
    statement = select(known.seen_at).join_from(known_addresses, users).where(users.c.email == email)
    return (await connection.execute(statement.where(known.address == address))).first() is not None


async def remember_address(connection: Connection, user_id: str, address: str, now: int) -> None:
    """Notes that a user has logged in from there."""
    key = {"user_id": user_id, "address": address}
    seen = update(known_addresses).where(known_addresses.c.user_id == user_id, known_addresses.c.address == address)
    if not (await connection.execute(seen.values(seen_at=now))).rowcount:
        await connection.execute(insert_or_ignore(connection, known_addresses).values(**key, seen_at=now))


async def delete_addresses_before(connection: Connection, moment: int) -> None:
    """Forgets from where nobody has logged in for so long."""
    await connection.execute(delete(known_addresses).where(known_addresses.c.seen_at < moment))


def _user(row: Row[Any]) -> User:
    return User(
        id=row.id,
        name=row.name,
        type=row.type,
        registered_at=row.registered_at,
        version=row.version,
        email=row.email,
    )


def _after(key: CursorKey) -> ColumnElement[bool]:
    registered_at, user_id = key
    return tuple_(users.c.registered_at, users.c.id) > tuple_(literal(registered_at, BigInteger), literal(user_id))


def _same_window(subject: str, window_start: int) -> ColumnElement[bool]:
    return and_(attempts.c.subject == subject, attempts.c.window_start == window_start)
