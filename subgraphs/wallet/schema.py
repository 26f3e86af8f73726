"""The GraphQL face: a user's balances and transactions, deposits and withdrawals, and what remains of a mandate."""

from collections.abc import AsyncGenerator, Collection
from contextlib import aclosing
from enum import Enum
from typing import Annotated, Any, Literal, cast

import strawberry
from strawberry.federation.schema_directives import Key
from strawberry.federation.types import FieldSet

from subgraphs.shared.errors import NOT_FOUND, Refusal
from subgraphs.shared.graphql import RequestContext, SubgraphSchema
from subgraphs.shared.graphql_types import (
    CHANGES,
    CURSOR,
    ERRORS,
    FOR_THE_USER_ALONE,
    IDEMPOTENCY_KEY,
    MISSED,
    READS,
    REPLAYED,
    TELLS,
    After,
    AfterEvent,
    Connection,
    DecimalText,
    First,
    Money,
    MutationError,
    Timestamp,
    amount_text,
    attempt_once,
    connection,
    invalid_key,
    keys_of,
)
from subgraphs.shared.months import month_id, parse_month
from subgraphs.wallet import rules, rules_statements
from subgraphs.wallet.service import Moved, WalletService

Info = strawberry.Info[RequestContext[WalletService], None]
INPUT_AMOUNT = "Above zero, in whole units of the currency, with no more decimals than it has."


@strawberry.enum(description="What a transaction was.")
class TransactionKind(Enum):
    """The kinds of `rules.TransactionKind`."""

    DEPOSIT = strawberry.enum_value("deposit", description="Money came in from outside.")
    WITHDRAW = strawberry.enum_value("withdraw", description="Money went out.")
    TRADE = strawberry.enum_value("trade", description="What an order cost or brought.")
    FEE = strawberry.enum_value("fee", description="The house's fee on an order.")
    COMMISSION = strawberry.enum_value(
        "commission", description="The broker's fee on an order, which the broker sees come in."
    )
    ROLLOVER = strawberry.enum_value("rollover", description="Proceeds that stay set aside for the broker.")


@strawberry.enum(description="Whether a transaction raised or lowered the total balance.")
class TransactionDirection(Enum):
    """The directions of `rules.Direction`."""

    IN = strawberry.enum_value("in", description="It raised the total.")
    OUT = strawberry.enum_value("out", description="It lowered the total.")
    WITHIN = strawberry.enum_value("within", description="It moved money inside the total.")


@strawberry.type(description="A user's money in one currency.")
class Balance:
    """`rules.Balance` in decimals."""

    currency: str = strawberry.field(description="ISO 4217 code.")
    available: DecimalText = strawberry.field(description="May be spent or withdrawn.")
    committed: DecimalText = strawberry.field(description="Set aside for brokers by capital authorizations.")
    held: DecimalText = strawberry.field(description="Set aside for orders that are not settled.")
    total: DecimalText = strawberry.field(description="All of it: available, committed and held together.")


@strawberry.federation.type(
    keys=[Key(fields=FieldSet("id"), resolvable=False)], description="An order to buy or sell stocks."
)
class Order:
    """The order that caused a transaction; stocks owns it."""

    id: strawberry.ID = strawberry.field(description="The order's id, a UUID.")


@strawberry.federation.type(keys=["id"], description="A mandate that an investor gives a broker.")
class Authorization:
    """The wallet's share of a mandate: the money that remains of it."""

    id: strawberry.ID = strawberry.field(description="The authorization's id, a UUID.")
    remaining_capital: Money | None = strawberry.field(
        default=None,
        description="What remains of a capital authorization's money. Its investor and its broker see it; null for "
        "anybody else, and where no money was set aside.",
    )

    @classmethod
    async def resolve_references(
        cls, info: Info, representations: list[dict[str, Any]]
    ) -> list["Authorization | Refusal"]:
        """The mandates with what remains of each, by one statement that filters by viewer."""
        keys = keys_of(representations, "id")
        found = await info.context.service.commitments_by_id(info.context.user, {key for key in keys if key})
        return [invalid_key("id") if key is None else _authorization(key, found.get(key)) for key in keys]


@strawberry.federation.type(keys=["id"], description="One change of a user's money.")
class Transaction:
    """`rules.Transaction` in decimals; its user alone sees it."""

    id: strawberry.ID = strawberry.field(description="The transaction's id, a UUID.")
    kind: TransactionKind = strawberry.field(description="What it was.")
    direction: TransactionDirection = strawberry.field(description="Whether it raised or lowered the total balance.")
    currency: str = strawberry.field(description="ISO 4217 code.")
    amount: DecimalText = strawberry.field(description="Above zero; `direction` says which way.")
    created_at: Timestamp = strawberry.field(description="When it was booked.")
    order: Order | None = strawberry.field(description="The order that caused it; null for deposits and withdrawals.")
    authorization: Authorization | None = strawberry.field(
        description="The mandate under which a broker caused it; null where no broker did."
    )

    @classmethod
    async def resolve_references(
        cls, info: Info, representations: list[dict[str, Any]]
    ) -> list["Transaction | Refusal"]:
        """The viewer's own transactions, by one statement; any other is not found."""
        keys = keys_of(representations, "id")
        found = await info.context.service.transactions_by_id(info.context.user, {key for key in keys if key})
        shown = await _transactions(info, found.values())
        return [invalid_key("id") if key is None else shown.get(key, Refusal(NOT_FOUND)) for key in keys]


@strawberry.type(description="One currency's month: what was there, what came and went, and what was left.")
class CurrencyStatement:
    """`rules_statements.CurrencyStatement` in decimals."""

    currency: str = strawberry.field(description="ISO 4217 code.")
    opening: DecimalText = strawberry.field(description="The total balance when the month began.")
    credited: DecimalText = strawberry.field(description="What the transactions IN add up to.")
    debited: DecimalText = strawberry.field(description="What the transactions OUT add up to.")
    closing: DecimalText = strawberry.field(description="The total balance when the month ended, or by now.")


@strawberry.federation.type(
    keys=[Key(fields=FieldSet("id"), resolvable=False)],
    description="A user's month: bookings, trades, and what they add up to.",
)
class Statement:
    """The wallet's share of a statement: the journal's lines; stocks adds the trades."""

    id: strawberry.ID = strawberry.field(description="Made of the user's id and the month.")
    month: str = strawberry.field(description="A month of UTC, as `2026-01`.")
    currencies: list[CurrencyStatement] = strawberry.field(description="Every currency the user had by then.")
    transactions: list[Transaction] = strawberry.field(description="All of the month, first one first.")


@strawberry.federation.type(keys=["id"], description="A user. Names are not verified: tell users apart by id.")
class User:
    """The wallet's share of a user; everything in it is for that user alone and null with NOT_FOUND for others."""

    id: strawberry.ID = strawberry.field(description="The user's id, a UUID.")

    @strawberry.field(description=f"Money, one balance for each currency the user ever had. {FOR_THE_USER_ALONE}")
    async def balances(self, info: Info) -> list[Balance] | None:
        """All balances."""
        balances = await info.context.service.balances(info.context.caller, of_user=self.id)
        return [_balance(balance) for balance in balances]

    @strawberry.field(description=f"Money in one currency, zero where there never was any. {FOR_THE_USER_ALONE}")
    async def balance(
        self,
        info: Info,
        currency: Annotated[
            str, strawberry.argument(description="ISO 4217 code; one that is not traded here is UNKNOWN_CURRENCY.")
        ],
    ) -> Balance | None:
        """One balance, zero where there never was any."""
        return _balance(await info.context.service.balance(info.context.caller, currency, of_user=self.id))

    @strawberry.field(description=f"Changes of the user's money, newest first. {FOR_THE_USER_ALONE}")
    async def transactions(
        self,
        info: Info,
        first: First = 20,
        after: After = None,
        kind: Annotated[
            TransactionKind | None, strawberry.argument(description="Of this kind alone; without it, of any.")
        ] = None,
    ) -> Connection[Transaction] | None:
        """A page of transactions."""
        page = await info.context.service.transactions(
            info.context.caller,
            of_user=self.id,
            kind=None if kind is None else cast(rules.TransactionKind, kind.value),
            after=after,
            limit=first,
        )
        shown = await _transactions(info, page.items)
        return connection(page, lambda transaction: shown[transaction.id], after=after)

    @strawberry.field(description=f"What a month brought. {FOR_THE_USER_ALONE}")
    async def statement(
        self, info: Info, month: Annotated[str, strawberry.argument(description="A month of UTC, as `2026-01`.")]
    ) -> Statement | None:
        """A statement."""
        wanted = parse_month(month)
        statement = await info.context.service.statement(info.context.caller, wanted, of_user=self.id)
        shown = await _transactions(info, statement.lines)
        return Statement(
            id=strawberry.ID(month_id(self.id, wanted)),
            month=wanted.text,
            currencies=[_currency_statement(each) for each in statement.currencies],
            transactions=[shown[line.id] for line in statement.lines],
        )

    @classmethod
    async def resolve_references(cls, _info: Info, representations: list[dict[str, Any]]) -> list["User | Refusal"]:
        """Users by id; whether they exist is for users to know, and nothing here is shown to another."""
        keys = keys_of(representations, "id")
        return [invalid_key("id") if key is None else cls(id=strawberry.ID(key)) for key in keys]


@strawberry.type(description=READS)
class Query:
    """The wallet's root fields."""

    @strawberry.field(
        description="One of the caller's transactions; null, with NOT_FOUND, where the caller has none of that id."
    )
    async def transaction(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="The transaction's id.")]
    ) -> Transaction | None:
        """A transaction by id; another user's is not found."""
        found = await info.context.service.transaction(info.context.caller, id)
        return (await _transactions(info, [found]))[id]


@strawberry.input(description="An amount to deposit.")
class DepositInput:
    """What `deposit` takes."""

    currency: str = strawberry.field(description="ISO 4217 code.")
    amount: DecimalText = strawberry.field(description=INPUT_AMOUNT)
    idempotency_key: str = strawberry.field(description=IDEMPOTENCY_KEY)


@strawberry.input(description="An amount to withdraw.")
class WithdrawInput:
    """What `withdraw` takes."""

    currency: str = strawberry.field(description="ISO 4217 code.")
    amount: DecimalText = strawberry.field(description=INPUT_AMOUNT)
    idempotency_key: str = strawberry.field(description=IDEMPOTENCY_KEY)


@strawberry.type(description="What became of a deposit.")
class DepositPayload:
    """The transaction, or why there is none."""

    transaction: Transaction | None = strawberry.field(description="What was booked; null where it was refused.")
    replayed: bool = strawberry.field(description=REPLAYED)
    errors: list[MutationError] = strawberry.field(description=ERRORS)


@strawberry.type(description="What became of a withdrawal.")
class WithdrawPayload:
    """The transaction, or why there is none."""

    transaction: Transaction | None = strawberry.field(description="What was booked; null where it was refused.")
    replayed: bool = strawberry.field(description=REPLAYED)
    errors: list[MutationError] = strawberry.field(description=ERRORS)


@strawberry.type(description=CHANGES)
class Mutation:
    """The wallet's mutations."""

    @strawberry.mutation(description="Brings the caller's money in.")
    async def deposit(
        self,
        info: Info,
        input: Annotated[DepositInput, strawberry.argument(description="What to bring in, once per key.")],
    ) -> DepositPayload | None:
        """A deposit, once per idempotency key."""
        moved, errors, repeated = await _move(info, "deposit", input)
        return DepositPayload(
            transaction=_transaction(moved.transaction, None) if moved else None,
            replayed=moved.replayed if moved else repeated,
            errors=errors,
        )

    @strawberry.mutation(description="Takes the caller's money out.")
    async def withdraw(
        self,
        info: Info,
        input: Annotated[WithdrawInput, strawberry.argument(description="What to take out, once per key.")],
    ) -> WithdrawPayload | None:
        """A withdrawal, once per idempotency key."""
        moved, errors, repeated = await _move(info, "withdraw", input)
        return WithdrawPayload(
            transaction=_transaction(moved.transaction, None) if moved else None,
            replayed=moved.replayed if moved else repeated,
            errors=errors,
        )


async def _move(
    info: Info, kind: Literal["deposit", "withdraw"], input: DepositInput | WithdrawInput
) -> tuple[Moved | None, list[MutationError], bool]:
    service, caller = info.context.service, info.context.user
    return await attempt_once(service.move(caller, kind, input.currency, input.amount, key=input.idempotency_key))


def _balance(balance: rules.Balance) -> Balance:
    return Balance(
        currency=balance.currency,
        available=amount_text(balance.available, balance.currency),
        committed=amount_text(balance.committed, balance.currency),
        held=amount_text(balance.held, balance.currency),
        total=amount_text(balance.total, balance.currency),
    )


def _currency_statement(statement: rules_statements.CurrencyStatement) -> CurrencyStatement:
    return CurrencyStatement(
        currency=statement.currency,
        opening=amount_text(statement.opening, statement.currency),
        credited=amount_text(statement.credited, statement.currency),
        debited=amount_text(statement.debited, statement.currency),
        closing=amount_text(statement.closing, statement.currency),
    )


async def _transactions(info: Info, transactions: Collection[rules.Transaction]) -> dict[str, Transaction]:
    """Transactions by id, with what remains of the mandates among them, by one statement at most."""
    mandates = {key for transaction in transactions if (key := transaction.authorization_id) is not None}
    commitments = await info.context.service.commitments_by_id(info.context.user, mandates) if mandates else {}
    return {
        transaction.id: _transaction(
            transaction,
            None if (key := transaction.authorization_id) is None else _authorization(key, commitments.get(key)),
        )
        for transaction in transactions
    }


def _transaction(transaction: rules.Transaction, mandate: Authorization | None) -> Transaction:
    return Transaction(
        id=strawberry.ID(transaction.id),
        kind=TransactionKind(transaction.kind),
        direction=TransactionDirection(transaction.direction),
        currency=transaction.currency,
        amount=amount_text(transaction.amount, transaction.currency),
        created_at=Timestamp(transaction.created_at),
        order=None if transaction.order_id is None else Order(id=strawberry.ID(transaction.order_id)),
        authorization=mandate,
    )


def _authorization(authorization_id: str, commitment: rules.Commitment | None) -> Authorization:
    if commitment is None:
        return Authorization(id=strawberry.ID(authorization_id))
    currency = commitment.currency
    money = Money(currency=currency, amount=amount_text(commitment.remaining, currency))
    return Authorization(id=strawberry.ID(authorization_id), remaining_capital=money)


@strawberry.type(description="That a balance has changed.")
class BalanceEvent:
    """A change of the caller's money in one currency."""

    cursor: str = strawberry.field(description=CURSOR)
    missed: bool = strawberry.field(description=MISSED)
    balance: Balance | None = strawberry.field(description="The balance as it stands; null if `missed`.")


@strawberry.type(description=TELLS)
class Subscription:
    """The subscriptions of the wallet."""

    @strawberry.subscription(
        description="Each of the caller's balances, when money of its currency comes, goes or is set aside."
    )
    async def balance_changed(self, info: Info, after: AfterEvent = None) -> AsyncGenerator[BalanceEvent, None]:
        """The caller's balances as they change."""
        async with aclosing(info.context.service.changes(info.context.user, after)) as changes:
            async for change in changes:
                node = None if change.entity is None else _balance(change.entity)
                yield BalanceEvent(cursor=change.cursor, missed=change.missed, balance=node)


schema = SubgraphSchema(
    query=Query, mutation=Mutation, subscription=Subscription, types=[User, Authorization, Transaction]
)
