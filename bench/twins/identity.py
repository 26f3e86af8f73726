"""Who asks: a FastAPI dependency that verifies the token of each request, and the session that its resolvers share."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import jwt
from fastapi import Header, HTTPException
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from strawberry.fastapi import BaseContext

from subgraphs.shared.auth import ALGORITHM, USER_AUDIENCE, USER_ISSUER


class Context(BaseContext):
    """What resolvers get as `info.context`."""

    def __init__(self, session: AsyncSession, user_id: str | None) -> None:
        super().__init__()
        self.session = session
        self.user_id = user_id


class Contexts:
    """What FastAPI's dependencies need: sessions of the database, and who a token names."""

    def __init__(self, database: Path, keys: Path) -> None:
        self._sessions = async_sessionmaker(create_async_engine(f"sqlite+aiosqlite:///{database}"))
        self._keys = {key["kid"]: jwt.PyJWK(key) for key in json.loads(keys.read_text())["keys"]}

    async def session(self) -> AsyncIterator[AsyncSession]:
        """A session for the time of a request."""
        async with self._sessions() as session:
            yield session

    def user_id(self, authorization: Annotated[str | None, Header()] = None) -> str | None:
        """Who asks; None without a token."""
        return None if authorization is None else str(self._verified(authorization)["sub"])

    def _verified(self, authorization: str) -> dict[str, Any]:
        token = authorization.removeprefix("Bearer ")
        try:
            key = self._keys[jwt.get_unverified_header(token)["kid"]]
            claims: dict[str, Any] = jwt.decode(
                token, key, algorithms=[ALGORITHM], audience=USER_AUDIENCE, issuer=USER_ISSUER
            )
        except (KeyError, jwt.PyJWTError) as error:
            raise HTTPException(401, "the token is not accepted") from error
        return claims
