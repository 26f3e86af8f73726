"""wallet, as one writes it first."""

import strawberry
from sqlalchemy import func, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from bench.twins.identity import Context
from subgraphs.shared.money import format_amount

Info = strawberry.Info[Context, None]


class Base(DeclarativeBase):
    """The models' base."""


class AccountModel(Base):
    """A row of the accounts."""

    __tablename__ = "accounts"
    id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    currency: Mapped[str]
    owner_id: Mapped[str | None]
    state: Mapped[str]
    balance: Mapped[int]


@strawberry.type
class Balance:
    """Money in one currency."""

    currency: str
    available: str
    committed: str
    held: str
    total: str


@strawberry.federation.type(keys=["id"])
class User:
    """What the wallet knows of a user."""

    id: strawberry.ID

    @strawberry.field
    async def balances(self, info: Info) -> list[Balance] | None:
        """The user's money, for the user alone."""
        if self.id != info.context.user_id:
            return None
        statement = (
            select(AccountModel.currency, AccountModel.kind, func.sum(AccountModel.balance))
            .where(AccountModel.owner_id == self.id, AccountModel.state == "open")
            .group_by(AccountModel.currency, AccountModel.kind)
            .order_by(AccountModel.currency)
        )
        sums: dict[str, dict[str, int]] = {}
        for currency, kind, total in await info.context.session.execute(statement):
            sums.setdefault(currency, {})[kind] = total
        return [
            Balance(
                currency=currency,
                available=format_amount(kinds.get("available", 0), currency),
                committed=format_amount(kinds.get("commitment", 0), currency),
                held=format_amount(kinds.get("hold", 0), currency),
                total=format_amount(sum(kinds.values()), currency),
            )
            for currency, kinds in sums.items()
        ]

    @classmethod
    def resolve_reference(cls, id: strawberry.ID) -> "User":
        """Any user may be asked about."""
        return cls(id=id)


schema = strawberry.federation.Schema(types=[User])
