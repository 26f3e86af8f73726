"""stocks, as one writes it first."""

import strawberry
from sqlalchemy import ForeignKey, select
from sqlalchemy.orm import DeclarativeBase, Mapped, joinedload, mapped_column, relationship

from bench.twins.identity import Context
from subgraphs.shared.money import format_amount, format_price, format_quantity
from subgraphs.stocks.rules_pricing import average_price, value_minor

Info = strawberry.Info[Context, None]


class Base(DeclarativeBase):
    """The models' base."""


class StockModel(Base):
    """A row of the stocks."""

    __tablename__ = "stocks"
    id: Mapped[str] = mapped_column(primary_key=True)
    symbol: Mapped[str]
    name: Mapped[str]
    currency: Mapped[str]
    bid: Mapped[int]
    last: Mapped[int]


class HoldingModel(Base):
    """A row of the holdings."""

    __tablename__ = "holdings"
    id: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str]
    stock_id: Mapped[str] = mapped_column(ForeignKey("stocks.id"))
    free: Mapped[int]
    committed: Mapped[int]
    reserved: Mapped[int]
    cost: Mapped[int]
    stock: Mapped[StockModel] = relationship()


@strawberry.federation.type(keys=["id"])
class Stock:
    """A share that is traded."""

    id: strawberry.ID
    symbol: str
    name: str
    price: str


@strawberry.type
class StockHolding:
    """A user's shares of one stock."""

    id: strawberry.ID
    quantity: str
    committed_amount: str
    average_price: str | None
    market_value: str
    profit_loss: str
    stock: Stock

    @classmethod
    def of(cls, row: HoldingModel) -> "StockHolding":
        """A row as its GraphQL type."""
        stock, quantity = row.stock, row.free + row.committed + row.reserved
        average = average_price(row.cost, quantity, stock.currency)
        value = value_minor(quantity, stock.bid, stock.currency)
        return cls(
            id=strawberry.ID(row.id),
            quantity=format_quantity(quantity),
            committed_amount=format_quantity(row.committed),
            average_price=None if average is None else format_price(average),
            market_value=format_amount(value, stock.currency),
            profit_loss=format_amount(value - row.cost, stock.currency),
            stock=Stock(
                id=strawberry.ID(stock.id), symbol=stock.symbol, name=stock.name, price=format_price(stock.last)
            ),
        )


@strawberry.federation.type(keys=["id"])
class User:
    """What stocks knows of a user."""

    id: strawberry.ID

    @strawberry.field
    async def holdings(self, info: Info) -> list[StockHolding] | None:
        """The user's shares, for the user alone."""
        if self.id != info.context.user_id:
            return None
        held = HoldingModel.free + HoldingModel.committed + HoldingModel.reserved > 0
        statement = (
            select(HoldingModel)
            .join(HoldingModel.stock)
            .options(joinedload(HoldingModel.stock))
            .where(HoldingModel.user_id == self.id, held)
            .order_by(StockModel.symbol)
        )
        return [StockHolding.of(row) for row in await info.context.session.scalars(statement)]

    @classmethod
    def resolve_reference(cls, id: strawberry.ID) -> "User":
        """Any user may be asked about."""
        return cls(id=id)


schema = strawberry.federation.Schema(types=[User, Stock])
