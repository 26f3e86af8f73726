"""The six operations of PUT /balance, decided in memory: what moves, what closes, what is refused.

Other services drive money with these. Messages may be repeated, late, or overtaken by one another, so each operation is
unique by (id, op) and its answer, a refusal included, is stored in the transaction that carries it out. That alone does
not order different operations of one order; *gates* do. A gate is the account an operation turns on: an order's hold,
or an authorization's commitment. It is inserted or locked before anything is decided:

    operation   id              gate                       moves
    hold        order           hold, inserted open        available or commitment -> hold
    post        order           hold                       hold -> market, fees, broker; the rest back to its source
    void        order           hold, inserted voided      hold -> back to its source
    credit      order           commitment, inserted open  market -> fees, broker, available or commitment
    commit      authorization   commitment, inserted open  available -> commitment
    close       authorization   commitment, inserted closed  commitment -> available

An operation that inserts its gate shut leaves a *tombstone*: void before its hold, close before its commit or credit.
The late hold or commit finds the gate shut and is refused; the late credit is diverted to available, as is money whose
source closed in the meantime. A refused hold or commit shuts its own gate, so the refusal is final.

Everything here is pure. `service.py` inserts the gate, locks what `accounts_to_lock` names in the order of ids, asks
`decide`, and stores the decision.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, assert_never, get_args

from subgraphs.shared.errors import INVALID_REQUEST, ErrorCode, FieldError, Refusal
from subgraphs.wallet.rules import (
    ACCOUNT_MISMATCH,
    COMMITMENT_CLOSED,
    COMMITMENT_EXISTS,
    FEES_EXCEED_PROCEEDS,
    HOLD_EXCEEDED,
    HOLD_MISSING,
    HOLD_POSTED,
    HOLD_VOIDED,
    INSUFFICIENT_FUNDS,
    Account,
    AccountState,
    Direction,
    Posting,
    Transaction,
    TransactionKind,
    available_account,
    commitment_account_id,
    hold_account_id,
    outside_account,
    postings_of,
    transaction_id,
)

# ---- requests: amounts in minor units of `currency` ----


@dataclass(frozen=True, slots=True)
class Hold:
    """Set `amount` aside for an order: from the authorization's commitment, or from available without one."""

    id: str
    investor_id: str
    currency: str
    amount: int
    authorization_id: str | None = None
    op: Literal["hold"] = "hold"


@dataclass(frozen=True, slots=True)
class Post:
    """Spend an order's hold: `cost` to the market, the fees to house and broker, the remainder back to its source."""

    id: str
    investor_id: str
    currency: str
    cost: int
    fee: int = 0
    broker_fee: int = 0
    broker_id: str | None = None
    op: Literal["post"] = "post"


@dataclass(frozen=True, slots=True)
class Void:
    """Give an order's hold back to its source; before the hold arrived, refuse it in advance."""

    id: str
    investor_id: str
    currency: str
    op: Literal["void"] = "void"


@dataclass(frozen=True, slots=True)
class Credit:
    """Pay an order's proceeds less fees: to the authorization's commitment while it is open, else to available."""

    id: str
    investor_id: str
    currency: str
    proceeds: int
    fee: int = 0
    broker_fee: int = 0
    broker_id: str | None = None
    authorization_id: str | None = None
    op: Literal["credit"] = "credit"


@dataclass(frozen=True, slots=True)
class Commit:
    """Set `amount` aside for a broker under an authorization's id."""

    id: str
    investor_id: str
    broker_id: str
    currency: str
    amount: int
    op: Literal["commit"] = "commit"


@dataclass(frozen=True, slots=True)
class Close:
    """Give what remains of a commitment back; before the commitment arrived, refuse it in advance."""

    id: str
    investor_id: str
    broker_id: str
    currency: str
    op: Literal["close"] = "close"


Operation = Hold | Post | Void | Credit | Commit | Close
OPERATION_NAMES: tuple[str, ...] = tuple(get_args(kind.__annotations__["op"])[0] for kind in get_args(Operation))

Status = Literal["held", "posted", "voided", "credited", "committed", "closed"]
Target = Literal["available", "commitment", "hold"]


# ---- decisions ----


@dataclass(frozen=True, slots=True)
class Result:
    """An operation's answer: `amount` minor units went to `target` (for a post, the remainder of the hold)."""

    op: str
    id: str
    status: Status
    currency: str
    amount: int
    target: Target


@dataclass(frozen=True, slots=True)
class Decision:
    """What an operation does. A refused one moves nothing, yet it is stored and may shut its gate."""

    answer: Result | ErrorCode
    postings: tuple[Posting, ...] = ()
    transactions: tuple[Transaction, ...] = ()
    shut: tuple[tuple[str, AccountState], ...] = ()
    """Accounts that change state: (account id, new state)."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The locked accounts an operation is decided on. `fresh`: the gate was inserted by this very operation."""

    accounts: Mapping[str, Account]
    fresh: bool

    def account(self, account_id: str) -> Account | None:
        """An account as it stands, None when there is none."""
        return self.accounts.get(account_id)

    def balance(self, account: Account) -> int:
        """An account's balance in minor units, 0 when there is none."""
        found = self.accounts.get(account.id)
        return found.balance if found else 0


def gate_of(operation: Operation) -> Account | None:
    """The account to insert, unless it exists, before anything is decided; None where only an existing one will do."""
    match operation:
        case Hold():
            return _hold_gate(operation, "open", operation.authorization_id)
        case Void():
            return _hold_gate(operation, "voided", None)
        case Commit():
            return _commitment_gate(operation, operation.id, operation.broker_id, "open")
        case Close():
            return _commitment_gate(operation, operation.id, operation.broker_id, "closed")
        case Credit(authorization_id=str(authorization_id), broker_id=str(broker_id)):
            return _commitment_gate(operation, authorization_id, broker_id, "open")
        case Credit() | Post():
            return None
        case _:
            assert_never(operation)


def hold_id_of(operation: Operation) -> str | None:
    """The hold account whose source must be known before locking; a hold's source never changes."""
    return hold_account_id(operation.id) if isinstance(operation, Post | Void) else None


def accounts_to_lock(operation: Operation, hold: Account | None) -> tuple[str, ...]:
    """The accounts whose state or balance decides, in the order of ids; `hold` is what `hold_id_of` found."""
    available = available_account(operation.investor_id, operation.currency).id
    match operation:
        case Hold():
            ids = {_source_id(operation, available), hold_account_id(operation.id)}
        case Post() | Void():
            ids = {hold_account_id(operation.id)}
        case Credit():
            ids = set() if operation.authorization_id is None else {commitment_account_id(operation.authorization_id)}
        case Commit():
            ids = {available, commitment_account_id(operation.id)}
        case Close():
            ids = {commitment_account_id(operation.id)}
        case _:
            assert_never(operation)
    if hold is not None and hold.authorization_id is not None:
        ids.add(commitment_account_id(hold.authorization_id))
    return tuple(sorted(ids))


def _source_id(operation: Hold, available: str) -> str:
    return available if operation.authorization_id is None else commitment_account_id(operation.authorization_id)


def decide(operation: Operation, standing: Standing) -> Decision:
    """Carries out an operation on the locked accounts; a refusal is a decision like any other, and final.

    Raises:
        Refusal: for a request that contradicts itself or what it names (`invalid-request`, `account-mismatch`,
            `hold-exceeded`, `fees-exceed-proceeds`), and for a post that comes before its hold (`hold-missing`). The
            sender is at fault, so nothing is stored and a right request may follow.
    """
    match operation:
        case Hold():
            return _hold(operation, standing)
        case Post():
            return _post(operation, standing)
        case Void():
            return _void(operation, standing)
        case Credit():
            return _credit(operation, standing)
        case Commit():
            return _commit(operation, standing)
        case Close():
            return _close(operation, standing)


def _hold(operation: Hold, standing: Standing) -> Decision:
    hold = standing.accounts[hold_account_id(operation.id)]
    if not standing.fresh:
        return Decision(HOLD_VOIDED)
    source = available_account(operation.investor_id, operation.currency)
    if operation.authorization_id is not None:
        commitment = standing.account(commitment_account_id(operation.authorization_id))
        if commitment is None:
            return _refused_gate(INSUFFICIENT_FUNDS, hold)
        _require_match(commitment, operation)
        if not commitment.is_open:
            return _refused_gate(COMMITMENT_CLOSED, hold)
        source = commitment
    if standing.balance(source) < operation.amount:
        return _refused_gate(INSUFFICIENT_FUNDS, hold)
    return Decision(
        _result(operation, "held", operation.amount, hold),
        postings_of(((source, -operation.amount), (hold, operation.amount))),
    )


def _post(operation: Post, standing: Standing) -> Decision:
    hold = standing.account(hold_account_id(operation.id))
    if hold is None:
        raise Refusal(HOLD_MISSING)
    _require_match(hold, operation)
    if not hold.is_open:
        return Decision(HOLD_POSTED if hold.state == "posted" else HOLD_VOIDED)
    remainder = hold.balance - operation.cost - operation.fee - operation.broker_fee
    if remainder < 0:
        raise Refusal(HOLD_EXCEEDED)
    source = _source(hold, standing)
    moves = [
        (hold, -hold.balance),
        (outside_account("market", operation.currency), operation.cost),
        (source, remainder),
        *_fee_moves(operation),
    ]
    trade = _line(operation, operation.investor_id, "trade", "out", operation.cost, hold.authorization_id)
    return Decision(
        _result(operation, "posted", remainder, source),
        postings_of(moves),
        _lines((trade, *_fee_lines(operation, hold.authorization_id))),
        shut=((hold.id, "posted"),),
    )


def _void(operation: Void, standing: Standing) -> Decision:
    hold = standing.accounts[hold_account_id(operation.id)]
    _require_match(hold, operation)
    if hold.state == "posted":
        return Decision(HOLD_POSTED)
    source = _source(hold, standing)
    return Decision(
        _result(operation, "voided", hold.balance, source),
        postings_of(((hold, -hold.balance), (source, hold.balance))),
        shut=((hold.id, "voided"),),
    )


def _credit(operation: Credit, standing: Standing) -> Decision:
    net = operation.proceeds - operation.fee - operation.broker_fee
    if net < 0:
        raise Refusal(FEES_EXCEED_PROCEEDS)
    target = available_account(operation.investor_id, operation.currency)
    if operation.authorization_id is not None:
        if operation.broker_id is None:
            raise _invalid("brokerId", "A credit to a commitment names its broker.")
        commitment = standing.accounts[commitment_account_id(operation.authorization_id)]
        _require_match(commitment, operation)
        if commitment.is_open:
            target = commitment
    moves = [
        (outside_account("market", operation.currency), -operation.proceeds),
        (target, net),
        *_fee_moves(operation),
    ]
    lines = [_line(operation, operation.investor_id, "trade", "in", operation.proceeds, operation.authorization_id)]
    lines += _fee_lines(operation, operation.authorization_id)
    if target.kind == "commitment":
        lines.append(_line(operation, operation.investor_id, "rollover", "within", net, operation.authorization_id))
    return Decision(_result(operation, "credited", net, target), postings_of(moves), _lines(lines))


def _commit(operation: Commit, standing: Standing) -> Decision:
    commitment = standing.accounts[commitment_account_id(operation.id)]
    if not standing.fresh:
        return Decision(COMMITMENT_EXISTS if commitment.is_open else COMMITMENT_CLOSED)
    source = available_account(operation.investor_id, operation.currency)
    if standing.balance(source) < operation.amount:
        return _refused_gate(INSUFFICIENT_FUNDS, commitment)
    return Decision(
        _result(operation, "committed", operation.amount, commitment),
        postings_of(((source, -operation.amount), (commitment, operation.amount))),
    )


def _close(operation: Close, standing: Standing) -> Decision:
    commitment = standing.accounts[commitment_account_id(operation.id)]
    _require_match(commitment, operation)
    target = available_account(operation.investor_id, operation.currency)
    return Decision(
        _result(operation, "closed", commitment.balance, target),
        postings_of(((commitment, -commitment.balance), (target, commitment.balance))),
        shut=((commitment.id, "closed"),),
    )


# ---- parts of decisions ----


def _hold_gate(operation: Hold | Void, state: AccountState, authorization_id: str | None) -> Account:
    return Account(
        hold_account_id(operation.id),
        "hold",
        operation.currency,
        owner_id=operation.investor_id,
        authorization_id=authorization_id,
        state=state,
    )


def _commitment_gate(
    operation: Commit | Close | Credit, authorization_id: str, broker_id: str, state: AccountState
) -> Account:
    return Account(
        commitment_account_id(authorization_id),
        "commitment",
        operation.currency,
        owner_id=operation.investor_id,
        authorization_id=authorization_id,
        broker_id=broker_id,
        state=state,
    )


def _source(hold: Account, standing: Standing) -> Account:
    """Where a hold's money goes back to: its commitment while that is open, else available.

    A hold that was refused because its commitment did not exist has nothing to give back, to whichever.
    """
    if hold.authorization_id is not None:
        commitment = standing.account(commitment_account_id(hold.authorization_id))
        if commitment is not None and commitment.is_open:
            return commitment
    assert hold.owner_id is not None, "a hold belongs to a user"
    return available_account(hold.owner_id, hold.currency)


def _require_match(account: Account, operation: Operation) -> None:
    broker_id = operation.broker_id if isinstance(operation, Credit | Close) else account.broker_id
    asked = (operation.investor_id, broker_id, operation.currency)
    if (account.owner_id, account.broker_id, account.currency) != asked:
        raise Refusal(ACCOUNT_MISMATCH, f"{ACCOUNT_MISMATCH.detail} See {account.id}.")


def _refused_gate(code: ErrorCode, gate: Account) -> Decision:
    return Decision(code, shut=((gate.id, "voided" if gate.kind == "hold" else "closed"),))


def _fee_moves(operation: Post | Credit) -> list[tuple[Account, int]]:
    moves = [(outside_account("fees", operation.currency), operation.fee)]
    if operation.broker_fee:
        moves.append((available_account(_broker(operation), operation.currency), operation.broker_fee))
    return moves


def _fee_lines(operation: Post | Credit, authorization_id: str | None) -> list[Transaction]:
    lines = [_line(operation, operation.investor_id, "fee", "out", operation.fee, authorization_id)]
    if operation.broker_fee:
        fee, broker = operation.broker_fee, _broker(operation)
        lines.append(_line(operation, operation.investor_id, "commission", "out", fee, authorization_id))
        lines.append(_line(operation, broker, "commission", "in", fee, authorization_id))
    return lines


def _broker(operation: Post | Credit) -> str:
    if operation.broker_id is None or operation.broker_id == operation.investor_id:
        raise _invalid("brokerId", "A broker's fee names the broker, who is not the investor.")
    return operation.broker_id


def _line(
    operation: Post | Credit,
    user_id: str,
    kind: TransactionKind,
    direction: Direction,
    amount: int,
    authorization_id: str | None,
) -> Transaction:
    return Transaction(
        transaction_id(operation.id, kind, user_id),
        user_id,
        kind,
        direction,
        operation.currency,
        amount,
        order_id=operation.id,
        authorization_id=authorization_id,
    )


def _lines(lines: list[Transaction] | tuple[Transaction, ...]) -> tuple[Transaction, ...]:
    return tuple(line for line in lines if line.amount)


def _result(operation: Operation, status: Status, amount: int, target: Account) -> Result:
    assert target.kind in ("available", "commitment", "hold"), "money of a user goes to an account of a user"
    return Result(operation.op, operation.id, status, operation.currency, amount, target.kind)


def _invalid(field: str, message: str) -> Refusal:
    return Refusal(INVALID_REQUEST, message, fields=(FieldError(field, message),))
