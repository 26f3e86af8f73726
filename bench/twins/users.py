"""users, as one writes it first."""

from typing import Self

import strawberry
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from bench.twins.identity import Context

Info = strawberry.Info[Context, None]


class Base(DeclarativeBase):
    """The models' base."""


class UserModel(Base):
    """A row of the users."""

    __tablename__ = "users"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    email: Mapped[str]


@strawberry.federation.type(keys=["id"])
class User:
    """A user."""

    id: strawberry.ID
    name: str
    email: str | None

    @classmethod
    async def resolve_reference(cls, info: Info, id: strawberry.ID) -> Self | None:
        """The user of that id."""
        row = await info.context.session.get(UserModel, id)
        if row is None:
            return None
        return cls(id=id, name=row.name, email=row.email if id == info.context.user_id else None)


@strawberry.type
class Query:
    """What can be read."""

    @strawberry.field
    async def me(self, info: Info) -> User | None:
        """Who asks."""
        if info.context.user_id is None:
            return None
        return await User.resolve_reference(info, strawberry.ID(info.context.user_id))


schema = strawberry.federation.Schema(query=Query)
