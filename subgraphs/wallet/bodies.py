"""The JSON bodies of the wallet's REST face, and how entities are written in them."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, RootModel

from subgraphs.shared.bodies import (
    AmountText,
    CurrencyText,
    DecimalText,
    IdText,
    RequestBody,
    ResponseBody,
    TimestampText,
)
from subgraphs.shared.ids import ID_PATTERN
from subgraphs.shared.money import decimals_of, format_amount, parse_amount
from subgraphs.shared.timestamps import format_timestamp
from subgraphs.wallet.rules import Balance, Commitment, Direction, Transaction, TransactionKind
from subgraphs.wallet.rules_operations import Close, Commit, Credit, Hold, Operation, Post, Result, Void
from subgraphs.wallet.rules_statements import CurrencyStatement, Statement

# ---- bodies for users ----

TransactionType = Literal["deposit", "withdraw"]
"""What users create."""


class BalanceBody(ResponseBody):
    """A user's money in one currency."""

    currency: str = Field(examples=["USD"], description="ISO 4217.")
    available: DecimalText = Field(description="May be spent or withdrawn.")
    committed: DecimalText = Field(description="Set aside for brokers by capital authorizations.")
    held: DecimalText = Field(description="Set aside for orders that are not settled.")
    total: DecimalText = Field(description="All of it.")

    @classmethod
    def of(cls, balance: Balance) -> "BalanceBody":
        """A balance on the wire."""
        names = ("available", "committed", "held", "total")
        amounts = {name: format_amount(getattr(balance, name), balance.currency) for name in names}
        return cls(currency=balance.currency, **amounts)


class BalancesBody(ResponseBody):
    """A user's money in every currency they ever had."""

    balances: list[BalanceBody]


class CommitmentBody(ResponseBody):
    """What remains of the money set aside under a capital authorization."""

    authorization_id: IdText
    currency: str = Field(examples=["USD"], description="ISO 4217.")
    remaining: DecimalText = Field(description="What the broker may still buy for, fees included.")
    status: Literal["open", "closed"] = Field(description="Closed for good when the authorization has ended.")

    @classmethod
    def of(cls, commitment: Commitment) -> "CommitmentBody":
        """A commitment on the wire."""
        return cls(
            authorization_id=commitment.authorization_id,
            currency=commitment.currency,
            remaining=format_amount(commitment.remaining, commitment.currency),
            status="open" if commitment.state == "open" else "closed",
        )


class TransactionBody(ResponseBody):
    """One line of a user's list. Lines `in` and `out` add up to the total balance; `within` moves inside it."""

    id: IdText
    type: TransactionType | None = Field(description="As it was created; null for what a trade caused. See `kind`.")
    kind: TransactionKind = Field(description="What the line is, `type` included: a deposit, a fee, a trade.")
    direction: Direction
    currency: str = Field(examples=["USD"])
    amount: DecimalText
    order_id: IdText | None
    authorization_id: IdText | None
    created_at: TimestampText

    @classmethod
    def of(cls, transaction: Transaction) -> "TransactionBody":
        """A transaction on the wire."""
        kind = transaction.kind
        return cls(
            id=transaction.id,
            type=kind if kind == "deposit" or kind == "withdraw" else None,
            kind=kind,
            direction=transaction.direction,
            currency=transaction.currency,
            amount=format_amount(transaction.amount, transaction.currency),
            order_id=transaction.order_id,
            authorization_id=transaction.authorization_id,
            created_at=format_timestamp(transaction.created_at),
        )


class CurrencyStatementBody(ResponseBody):
    """One currency's month: `opening` and `credited` less `debited` is `closing`."""

    currency: str = Field(examples=["USD"], description="ISO 4217.")
    opening: DecimalText = Field(description="The total balance when the month began.")
    credited: DecimalText = Field(description="What the lines `in` add up to.")
    debited: DecimalText = Field(description="What the lines `out` add up to.")
    closing: DecimalText = Field(description="The total balance when the month ended, or by now.")

    @classmethod
    def of(cls, statement: CurrencyStatement) -> "CurrencyStatementBody":
        """A currency's month on the wire."""
        names = ("opening", "credited", "debited", "closing")
        amounts = {name: format_amount(getattr(statement, name), statement.currency) for name in names}
        return cls(currency=statement.currency, **amounts)


class StatementBody(ResponseBody):
    """A user's month: every booking in order, and the balances around them."""

    month: str = Field(examples=["2026-01"], description="A month of UTC.")
    currencies: list[CurrencyStatementBody]
    lines: list[TransactionBody]

    @classmethod
    def of(cls, statement: Statement) -> "StatementBody":
        """A statement on the wire."""
        return cls(
            month=statement.month.text,
            currencies=[CurrencyStatementBody.of(each) for each in statement.currencies],
            lines=[TransactionBody.of(line) for line in statement.lines],
        )


STATEMENT_COLUMNS = ("bookedAt", "kind", "direction", "currency", "amount", "id", "orderId", "authorizationId")
"""The table of a statement as CSV."""


def statement_rows(statement: Statement) -> Iterator[tuple[str | None, ...]]:
    """The rows of that table: openings, then every line, then closings. The first and the last are no bookings."""
    start, end = format_timestamp(statement.month.start), format_timestamp(statement.month.end)
    for each in statement.currencies:
        amount = format_amount(each.opening, each.currency)
        yield start, "opening", None, each.currency, amount, None, None, None
    for line in statement.lines:
        amount = format_amount(line.amount, line.currency)
        booked = format_timestamp(line.created_at)
        yield booked, line.kind, line.direction, line.currency, amount, line.id, line.order_id, line.authorization_id
    for each in statement.currencies:
        amount = format_amount(each.closing, each.currency)
        yield end, "closing", None, each.currency, amount, None, None, None


class NewTransactionBody(RequestBody):
    """A deposit or a withdrawal."""

    type: TransactionType
    currency: CurrencyText
    amount: AmountText


# ---- bodies of system operations ----

_Uuid = Annotated[str, Field(pattern=f"^{ID_PATTERN}$")]


class _OperationBody(RequestBody):
    id: _Uuid
    investor_id: _Uuid
    currency: str

    def minor(self, field: str, *, zero_allowed: bool = False) -> int:
        """The amount in that member, in minor units; errors name the member as JSON spells it."""
        alias = type(self).model_fields[field].alias or field
        return parse_amount(getattr(self, field), self.currency, field=alias, zero_allowed=zero_allowed)


class HoldBody(_OperationBody):
    """`hold`: set money aside for an order."""

    op: Literal["hold"]
    amount: str
    authorization_id: _Uuid | None = None

    def operation(self) -> Operation:
        """The operation in minor units."""
        return Hold(self.id, self.investor_id, self.currency, self.minor("amount"), self.authorization_id)


class _PaidBody(_OperationBody):
    fee: str = "0"
    broker_fee: str = "0"
    broker_id: _Uuid | None = None

    def fees(self) -> tuple[int, int]:
        """The house's fee and the broker's, in minor units."""
        return self.minor("fee", zero_allowed=True), self.minor("broker_fee", zero_allowed=True)


class PostBody(_PaidBody):
    """`post`: spend an order's hold. A small order may cost less than the smallest amount of money: zero."""

    op: Literal["post"]
    cost: str

    def operation(self) -> Operation:
        """The operation in minor units."""
        return Post(
            self.id,
            self.investor_id,
            self.currency,
            self.minor("cost", zero_allowed=True),
            *self.fees(),
            self.broker_id,
        )


class VoidBody(_OperationBody):
    """`void`: give an order's hold back."""

    op: Literal["void"]

    def operation(self) -> Operation:
        """The operation."""
        decimals_of(self.currency)
        return Void(self.id, self.investor_id, self.currency)


class CreditBody(_PaidBody):
    """`credit`: pay an order's proceeds, which may be zero as a post's cost may."""

    op: Literal["credit"]
    proceeds: str
    authorization_id: _Uuid | None = None

    def operation(self) -> Operation:
        """The operation in minor units."""
        proceeds, target = self.minor("proceeds", zero_allowed=True), self.authorization_id
        return Credit(self.id, self.investor_id, self.currency, proceeds, *self.fees(), self.broker_id, target)


class CommitBody(_OperationBody):
    """`commit`: set money aside for a broker."""

    op: Literal["commit"]
    broker_id: _Uuid
    amount: str

    def operation(self) -> Operation:
        """The operation in minor units."""
        return Commit(self.id, self.investor_id, self.broker_id, self.currency, self.minor("amount"))


class CloseBody(_OperationBody):
    """`close`: give back what remains of a commitment."""

    op: Literal["close"]
    broker_id: _Uuid

    def operation(self) -> Operation:
        """The operation."""
        decimals_of(self.currency)
        return Close(self.id, self.investor_id, self.broker_id, self.currency)


class SystemOperationBody(
    RootModel[
        Annotated[HoldBody | PostBody | VoidBody | CreditBody | CommitBody | CloseBody, Field(discriminator="op")]
    ]
):
    """Any of the six; `op` says which."""


def result_document(result: Result) -> dict[str, str]:
    """An operation's answer on the wire, the same for every repetition."""
    return {
        "op": result.op,
        "id": result.id,
        "status": result.status,
        "currency": result.currency,
        "amount": format_amount(result.amount, result.currency),
        "target": result.target,
    }
