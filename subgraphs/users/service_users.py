"""What one can do with an account: register, log in, stay logged in, look at users and change one's profile.

Both faces call these; every method takes the caller first where it matters who asks, and returns entities of `rules`.
"""

import base64
import hashlib
import hmac
import secrets
import uuid
from dataclasses import dataclass

import orjson
from sqlalchemy.exc import IntegrityError

from subgraphs.shared.audit import AuditEntry, record
from subgraphs.shared.auth import ANONYMOUS, USER_TOKEN_LIFETIME_S, Caller, require_service, require_user, user_token
from subgraphs.shared.database import Connection, Database
from subgraphs.shared.errors import (
    IDEMPOTENCY_KEY_REUSED,
    INVALID_REQUEST,
    NOT_FOUND,
    PRECONDITION_FAILED,
    FieldError,
    Refusal,
)
from subgraphs.shared.idempotency import (
    IdempotencyKey,
    Outcome,
    StoredAnswer,
    claim,
    forget_refusals,
    idempotency_key,
    keep_refusal,
    store_result,
)
from subgraphs.shared.keys import SigningKey
from subgraphs.shared.pagination import Page, decode_cursor, encode_cursor, page_limit, page_of
from subgraphs.shared.sessions import KEPT_S, EndedSessions
from subgraphs.users import store
from subgraphs.users.passwords import Passwords
from subgraphs.users.rules import (
    EMAIL_TAKEN,
    INVALID_CREDENTIALS,
    INVALID_REFRESH_TOKEN,
    NEEDS_CURRENT,
    PROFILE_NOT_YOURS,
    Credentials,
    OpenSession,
    ProfileUpdate,
    Registration,
    Role,
    Session,
    User,
    normal_email,
)
from subgraphs.users.service_attempts import (
    Attempt,
    AttemptLimit,
    Counted,
    address_block,
    address_hash,
    count_attempts,
    take_back,
)
from subgraphs.users.tables import audit_log, idempotency_keys

REFRESH_TOKEN_LIFETIME_MS = 30 * 24 * 3_600 * 1_000
"""A client that was not used for thirty days logs in again."""
REFRESH_TOKEN_BYTES = 32
REFRESH_GRACE_MS = 10_000
"""Two tabs refresh within a moment of each other, and a lost answer is asked for again within seconds."""
KNOWN_ADDRESS_MS = 90 * 24 * 3_600 * 1_000
"""A quarter of a year without a login, and an address is as good as new."""
NO_SUCH_USER = "There is no such user. Find one in the list of users."
REGISTER_ROUTE = "POST /users/register"
USER_LIST = "users"
"""The list's name in its cursors."""


@dataclass(frozen=True, slots=True)
class AccountLimits:
    """How often one may try."""

    login_per_account: AttemptLimit
    login_per_address: AttemptLimit
    login_per_known_address: AttemptLimit
    registration_per_account: AttemptLimit
    registration_per_address: AttemptLimit


class UsersService:
    """The use cases of accounts."""

    def __init__(
        self,
        database: Database,
        *,
        passwords: Passwords,
        token_key: SigningKey,
        limits: AccountLimits,
        refusal_retention_days: int = 30,
    ) -> None:
        self._database = database
        self._passwords = passwords
        self._token_key = token_key
        self._limits = limits
        self._refusal_retention_days = refusal_retention_days
        self.ended = EndedSessions(self)
        """The sessions whose tokens are refused before they expire."""

    async def register(self, registration: Registration, *, key: str | None, address: str) -> Outcome[User]:
        """Registers a user.

        Raises:
            Refusal: `email-taken`, `too-many-requests`, or `idempotency-key-reused`.
        """
        await count_attempts(
            self._database,
            Attempt(self._limits.registration_per_account, registration.email),
            Attempt(self._limits.registration_per_address, address_block(address)),
        )
        request = {"name": registration.name, "email": registration.email, "type": registration.type}
        claimed = idempotency_key(_registrant(registration.email), REGISTER_ROUTE, key, request)
        password_hash = await self._passwords.hash(registration.password)

        async def work(connection: Connection) -> tuple[User, bool]:
            return await _insert_once(connection, claimed, registration, password_hash)

        try:
            user, replayed = await self._database.write(work)
        except Refusal as refusal:
            user, replayed = _read_user(await keep_refusal(self._database, idempotency_keys, claimed, refusal)), True
        if replayed and not await self._has_password(user.id, registration.password):
            raise Refusal(IDEMPOTENCY_KEY_REUSED)
        return Outcome(value=user, key=claimed.key, replayed=replayed)

    async def login(self, email: str, password: str, *, address: str) -> Session:
        """Starts a session. An unknown address takes as long as a wrong password.

        Raises:
            Refusal: `invalid-credentials`, or `too-many-requests`.
        """
        counted = await count_attempts(self._database, *await self._login_attempts(normal_email(email), address))
        async with self._database.reading() as connection:
            credentials = await store.find_credentials(connection, email=normal_email(email))
        matches = await self._passwords.verify(password, credentials.password_hash if credentials else None)
        if credentials is None or not matches:
            await self._audit(AuditEntry("user.login-failed", ANONYMOUS, credentials.user_id if credentials else ""))
            raise Refusal(INVALID_CREDENTIALS)
        newer_hash = await self._newer_hash(credentials, password)
        return await self._start_session(credentials, counted, newer_hash, address)

    async def refresh(self, refresh_token: str) -> Session:
        """Exchanges a refresh token for fresh tokens.

        Two tabs share a token, and an answer may be lost: for `REFRESH_GRACE_MS` a token shown again gets the same
        successor, until that is used itself. Shown later it ends its whole session: one of the two is a thief's.

        Raises:
            Refusal: `invalid-refresh-token`.
        """

        async def work(connection: Connection) -> Session | None:
            return await self._rotate(connection, refresh_token)

        session = await self._database.write(work)
        if session is None:
            raise Refusal(INVALID_REFRESH_TOKEN)
        return session

    async def forget_expired_sessions(self) -> None:
        """Deletes what no client can use any more."""

        async def work(connection: Connection) -> None:
            now = await connection.now()
            await store.delete_expired_tokens(connection, now)
            await store.delete_addresses_before(connection, now - KNOWN_ADDRESS_MS)

        await self._database.write(work)

    async def forget_refusals(self) -> None:
        """Deletes refusals that are kept no longer."""
        await forget_refusals(self._database, idempotency_keys, days=self._refusal_retention_days)

    async def user(self, caller: Caller, user_id: str) -> User:
        """A user as the caller may see them; raises Refusal `not-found`."""
        found = await self.users_by_id(caller, [user_id])
        if user_id not in found:
            raise Refusal(NOT_FOUND, NO_SUCH_USER)
        return found[user_id]

    async def users_by_id(self, caller: Caller, ids: list[str]) -> dict[str, User]:
        """Those of the users that exist, by id, as the caller sees them."""
        require_user(caller)
        async with self._database.reading() as connection:
            return await store.find_users(connection, caller.id, ids)

    async def users(self, caller: Caller, *, role: Role | None, limit: int | None, after: str | None) -> Page[User]:
        """A page of all users, the earliest registered first; raises Refusal `invalid-cursor` or `invalid-request`."""
        require_user(caller)
        size, key = page_limit(limit), decode_cursor(after, USER_LIST, int, str) if after is not None else None
        async with self._database.reading() as connection:
            found = await store.list_users(connection, caller.id, role, key, size + 1)
        return page_of(found, [encode_cursor(USER_LIST, user.registered_at, user.id) for user in found], size)

    async def own_profile(self, caller: Caller, user_id: str) -> User:
        """The caller's own profile, to change it; raises Refusal `not-found` or `profile-not-yours`."""
        found = await self.user(caller, user_id)
        if caller.id != user_id:
            raise Refusal(PROFILE_NOT_YOURS)
        return found

    async def update_profile(
        self, caller: Caller, user_id: str, profile: ProfileUpdate, *, expected_version: int | None
    ) -> User:
        """Replaces the caller's own profile. A new password or e-mail address ends all sessions but the caller's.

        Raises:
            Refusal: `not-found`, `profile-not-yours`, `precondition-failed`, `email-taken`, `too-many-requests`, or
                `invalid-request` for a missing or wrong current password.
        """
        current = await self.own_profile(caller, user_id)
        if profile.new_password is not None or profile.email != current.email:
            await self._check_password(caller, profile.current_password)
        new_password = profile.new_password
        password_hash = None if new_password is None else await self._passwords.hash(new_password)

        async def work(connection: Connection) -> tuple[User, list[str]]:
            return await _replace_profile(connection, caller, profile, password_hash, expected_version)

        try:
            user, ended = await self._database.write(work)
        except IntegrityError as error:  # another registration or update took the address at the same moment
            raise _email_taken() from error
        self.ended.add(ended)
        return user

    # ---- sessions ----

    async def sessions(self, caller: Caller) -> list[OpenSession]:
        """The caller's own sessions that go on, the one used last first."""
        user = require_user(caller)
        async with self._database.reading() as connection:
            return await store.live_sessions(connection, user.id, await connection.now())

    async def end_session(self, caller: Caller, session_id: str) -> None:
        """Ends one of the caller's sessions; one that has ended stays so. Raises Refusal `not-found`."""
        user = require_user(caller)

        async def work(connection: Connection) -> list[str]:
            if not await store.has_session(connection, user.id, session_id):
                raise Refusal(NOT_FOUND)
            return await _end_sessions(connection, user, only=session_id)

        self.ended.add(await self._database.write(work))

    async def logout(self, caller: Caller, *, everywhere: bool) -> None:
        """Ends the session that the caller's token belongs to, or all of the caller's."""
        user = require_user(caller)
        if not everywhere and user.session is None:
            return

        async def work(connection: Connection) -> list[str]:
            return await _end_sessions(connection, user, only=None if everywhere else user.session)

        self.ended.add(await self._database.write(work))

    async def ended_for(self, caller: Caller, after: int) -> list[tuple[str, int]]:
        """The sessions that ended after that time, for the other services."""
        require_service(caller, "wallet", "stocks")
        return await self.ended_since(after)

    async def ended_since(self, after: int) -> list[tuple[str, int]]:
        """The same for this service; of those whose tokens may still run."""
        async with self._database.reading() as connection:
            oldest = await connection.now() - int(KEPT_S * 1_000)
            return await store.ended_sessions(connection, max(after, oldest))

    async def _check_password(self, caller: Caller, password: str | None) -> None:
        if password is None:
            raise Refusal(INVALID_REQUEST, NEEDS_CURRENT, fields=(FieldError("currentPassword", NEEDS_CURRENT),))
        counted = await count_attempts(self._database, Attempt(self._limits.login_per_account, caller.id))
        if not await self._has_password(caller.id, password):
            message = "This is not your current password. Check it."
            raise Refusal(INVALID_REQUEST, message, fields=(FieldError("currentPassword", message),))

        async def rightful(connection: Connection) -> None:
            await take_back(connection, counted)

        await self._database.write(rightful)

    async def _has_password(self, user_id: str, password: str) -> bool:
        async with self._database.reading() as connection:
            credentials = await store.find_credentials(connection, user_id=user_id)
        return await self._passwords.verify(password, credentials.password_hash if credentials else None)

    async def _newer_hash(self, credentials: Credentials, password: str) -> str | None:
        if not self._passwords.is_outdated(credentials.password_hash):
            return None
        return await self._passwords.hash(password)

    async def _login_attempts(self, email: str, address: str) -> tuple[Attempt, ...]:
        """What a login counts as: from where the user has logged in before, as one of that user there alone.

        So nobody who guesses elsewhere, or at other accounts behind the same address, locks the user out.
        """
        async with self._database.reading() as connection:
            known = await store.knows_address(connection, email, address_hash(address))
        if known:
            return (Attempt(self._limits.login_per_known_address, f"{email} {address_block(address)}"),)
        return (
            Attempt(self._limits.login_per_account, email),
            Attempt(self._limits.login_per_address, address_block(address)),
        )

    async def _start_session(
        self, credentials: Credentials, counted: Counted, newer_hash: str | None, address: str
    ) -> Session:
        session_id, refresh_token = str(uuid.uuid4()), secrets.token_urlsafe(REFRESH_TOKEN_BYTES)
        caller = Caller(kind="user", id=credentials.user_id, role=credentials.role)

        async def work(connection: Connection) -> Session:
            now = await connection.now()
            await take_back(connection, counted)
            if newer_hash is not None:
                await store.replace_password_hash(connection, caller.id, credentials.password_hash, newer_hash)
            await store.insert_session(connection, session_id, caller.id, now)
            await store.remember_address(connection, caller.id, address_hash(address), now)
            await record(connection, audit_log, AuditEntry("user.login", caller, caller.id))
            expires_at = now + REFRESH_TOKEN_LIFETIME_MS
            await store.insert_refresh_token(connection, _hashed(refresh_token), session_id, expires_at)
            return await self._session(connection, caller.id, session_id, refresh_token, now)

        return await self._database.write(work)

    async def _rotate(self, connection: Connection, refresh_token: str) -> Session | None:
        now, token_hash, successor = await connection.now(), _hashed(refresh_token), self._successor(refresh_token)
        token = await store.lock_refresh_token(connection, token_hash)
        if token is None or token.revoked_at is not None or token.expires_at <= now:
            return None
        if token.used_at is None:
            await store.mark_refresh_token_used(connection, token_hash, now)
            await store.see_session(connection, token.session_id, now)
            await store.insert_refresh_token(
                connection, _hashed(successor), token.session_id, now + REFRESH_TOKEN_LIFETIME_MS
            )
            return await self._session(connection, token.user_id, token.session_id, successor, now)
        following = await store.lock_refresh_token(connection, _hashed(successor))
        if following is not None and following.used_at is None and now <= token.used_at + REFRESH_GRACE_MS:
            return await self._session(connection, token.user_id, token.session_id, successor, now)
        await store.revoke_session(connection, token.session_id, now)
        self.ended.add([token.session_id])
        await record(connection, audit_log, AuditEntry("user.refresh-reused", ANONYMOUS, token.user_id))
        return None

    def _successor(self, refresh_token: str) -> str:
        """The token that follows: the same however often one asks, and known to nobody without the server's key."""
        digest = hmac.digest(self._token_key.secret("refresh tokens"), refresh_token.encode(), "sha256")
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")

    async def _session(
        self, connection: Connection, user_id: str, session_id: str, refresh_token: str, now: int
    ) -> Session:
        user = (await store.find_users(connection, user_id, [user_id]))[user_id]
        return Session(
            user=user,
            access_token=user_token(self._token_key, user.id, user.type, now=now / 1_000, session=session_id),
            expires_in_s=USER_TOKEN_LIFETIME_S,
            refresh_token=refresh_token,
        )

    async def _audit(self, entry: AuditEntry) -> None:
        async def work(connection: Connection) -> None:
            await record(connection, audit_log, entry)

        await self._database.write(work)


def _read_user(stored: StoredAnswer) -> User:
    assert stored.result is not None, "a user commits together with the answer"
    return User(**orjson.loads(stored.result))


def _registrant(email: str) -> str:
    """Who registers, for idempotency keys: whoever has the address, so that strangers with the same key never meet."""
    return f"anonymous {hashlib.sha256(email.encode()).hexdigest()}"


async def _insert_once(
    connection: Connection, key: IdempotencyKey, registration: Registration, password_hash: str
) -> tuple[User, bool]:
    """The registered user, and whether this request is a repetition."""
    stored = await claim(connection, idempotency_keys, key)
    if stored is not None:
        return _read_user(stored), True
    now = await connection.now()
    if not await store.insert_user(connection, key.object_id, registration, password_hash, now):
        raise _email_taken()
    user = User(
        id=key.object_id,
        name=registration.name,
        type=registration.type,
        registered_at=now,
        version=1,
        email=registration.email,
    )
    await store_result(connection, idempotency_keys, key, orjson.dumps(user).decode())
    await record(connection, audit_log, AuditEntry("user.register", Caller("user", user.id, user.type), user.id))
    return user, False


async def _replace_profile(
    connection: Connection,
    caller: Caller,
    profile: ProfileUpdate,
    password_hash: str | None,
    expected_version: int | None,
) -> tuple[User, list[str]]:
    version = await store.lock_version(connection, caller.id)
    if version is None:
        raise Refusal(NOT_FOUND, NO_SUCH_USER)
    if expected_version is not None and expected_version != version:
        raise Refusal(PRECONDITION_FAILED)
    if await store.email_is_taken(connection, profile.email, except_user_id=caller.id):
        raise _email_taken()
    before = (await store.find_users(connection, caller.id, [caller.id]))[caller.id]
    await store.update_profile(connection, caller.id, profile, password_hash)
    ended = []
    if password_hash is not None or profile.email != before.email:
        ended = await _end_sessions(connection, caller, but=caller.session)
    action = "user.password" if password_hash is not None else "user.profile"
    await record(connection, audit_log, AuditEntry(action, caller, caller.id))
    return (await store.find_users(connection, caller.id, [caller.id]))[caller.id], ended


async def _end_sessions(
    connection: Connection, caller: Caller, *, only: str | None = None, but: str | None = None
) -> list[str]:
    ended = await store.end_sessions(connection, caller.id, await connection.now(), only=only, but=but)
    for session_id in ended:
        await record(connection, audit_log, AuditEntry("user.logout", caller, session_id))
    return ended


def _email_taken() -> Refusal:
    return Refusal(EMAIL_TAKEN, fields=(FieldError("email", EMAIL_TAKEN.detail),))


def _hashed(refresh_token: str) -> str:
    """Refresh tokens carry 256 random bits, so a fast hash is enough to keep a stolen table worthless."""
    return hashlib.sha256(refresh_token.encode()).hexdigest()
