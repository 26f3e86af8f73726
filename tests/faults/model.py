"""A brokerage small enough to be read: one investor, one broker, one stock in euros, and exact integer arithmetic.

It says what every request must come to and what everybody has afterwards; it knows nothing of services, sagas or
databases. Money is in cents, prices in ten-thousandths of a euro, shares in millionths.
"""

from dataclasses import dataclass, field
from fractions import Fraction

SHARE = 1_000_000
FEE_CENTS_MIN = 100
FEE_PPM = 5_000
COMMISSION_PPM = 10_000
PPM = 1_000_000


def value(shares: int, price: int) -> int:
    """What shares are worth in cents, half to even."""
    return round(Fraction(shares * price, 100_000_000))


def upwards(amount: int, ppm: int) -> int:
    """A part of an amount, rounded up."""
    return -(-amount * ppm // PPM)


@dataclass(frozen=True, slots=True)
class Deal:
    """What one execution moves, in cents."""

    value: int
    fee: int
    commission: int

    @property
    def paid(self) -> int:
        return self.value + self.fee + self.commission

    @property
    def received(self) -> int:
        return self.value - self.fee - self.commission


def deal(side: str, shares: int, price: int, *, by_broker: bool) -> Deal:
    """The deal of an order; a seller's fees never exceed what the sale brings, the broker's share first."""
    amount = value(shares, price)
    commission = upwards(amount, COMMISSION_PPM) if by_broker else 0
    fee = max(upwards(amount, FEE_PPM), FEE_CENTS_MIN)
    if side == "sell":
        commission = min(commission, amount)
        fee = min(fee, amount - commission)
    return Deal(amount, fee, commission)


@dataclass(slots=True)
class Waiting:
    """An order that waits for a price."""

    side: str
    kind: str
    shares: int
    limit: int
    stop: int
    held: int
    stopped: bool = False

    def crosses(self, price: int) -> bool:
        """Whether a price executes it; a stop_limit first becomes a limit."""
        buys = self.side == "buy"
        reached = price >= self.stop if buys else price <= self.stop
        met = price <= self.limit if buys else price >= self.limit
        if self.kind == "limit":
            return met
        if self.kind == "stop":
            return reached
        self.stopped = self.stopped or reached
        return self.stopped and met


@dataclass(slots=True)
class Mandate:
    """What an investor lets the broker do; `remaining` is cents or shares."""

    kind: str
    root: str
    remaining: int
    active: bool = True


@dataclass(slots=True)
class Model:
    """Everything there is."""

    bid: int
    ask: int
    available: int = 0
    free: int = 0
    cost: int = 0
    commissions: int = 0
    waiting: dict[str, Waiting] = field(default_factory=dict)
    mandates: dict[str, Mandate] = field(default_factory=dict)

    # ---- what everybody has ----

    @property
    def held(self) -> int:
        return sum(order.held for order in self.waiting.values())

    @property
    def reserved(self) -> int:
        return sum(order.shares for order in self.waiting.values() if order.side == "sell")

    def committed(self, kind: str) -> int:
        """What all mandates of a kind have left."""
        return sum(mandate.remaining for mandate in self.mandates.values() if mandate.kind == kind)

    @property
    def shares(self) -> int:
        return self.free + self.committed("stockholding") + self.reserved

    def price(self, side: str) -> int:
        """What the market asks a buyer and gives a seller."""
        return self.ask if side == "buy" else self.bid

    # ---- the investor's own orders ----

    def withdraw(self, cents: int) -> bool:
        """Whether it is possible."""
        if cents > self.available:
            return False
        self.available -= cents
        return True

    def trade(self, side: str, shares: int) -> str:
        """A market order: `completed`, or why not."""
        if side == "buy":
            most = deal(side, shares, slipped(self.ask, 20_000), by_broker=False).paid
            if most > self.available:
                return "insufficient-funds"
            self._execute(side, shares, self.ask)
        else:
            if shares > self.free:
                return "insufficient-shares"
            self.free -= shares
            self._execute(side, shares, self.bid)
        return "completed"

    def wait(self, order_id: str, order: Waiting) -> str:
        """An automated order: `working`, or what becomes of it at once."""
        if order.side == "buy":
            price = slipped(order.stop, 50_000) if order.kind == "stop" else order.limit
            order.held = deal("buy", order.shares, price, by_broker=False).paid
            if order.held > self.available:
                return "insufficient-funds"
            self.available -= order.held
        else:
            if order.shares > self.free:
                return "insufficient-shares"
            self.free -= order.shares
        self.waiting[order_id] = order
        return self._look(order_id, self.price(order.side)) or "working"

    def cancel(self, order_id: str) -> None:
        """Everything goes back."""
        self._give_back(self.waiting.pop(order_id))

    def move(self, bid: int, ask: int) -> dict[str, str]:
        """A new price: what became of the orders that it crosses."""
        self.bid, self.ask = bid, ask
        ended = {
            order_id: self._look(order_id, self.price(order.side)) for order_id, order in self.waiting.copy().items()
        }
        return {order_id: status for order_id, status in ended.items() if status is not None}

    # ---- mandates ----

    def authorize(self, mandate_id: str, kind: str, amount: int) -> bool:
        """Whether there is enough to set aside."""
        if amount > (self.available if kind == "capital" else self.free):
            return False
        if kind == "capital":
            self.available -= amount
        else:
            self.free -= amount
        self.mandates[mandate_id] = Mandate(kind, mandate_id, amount)
        return True

    def change_commitment(self, mandate_id: str, shares: int) -> bool:
        """The owner's new amount of an active mandate over shares; whether the free shares suffice."""
        mandate = self.mandates[mandate_id]
        if shares - mandate.remaining > self.free:
            return False
        self.free -= shares - mandate.remaining
        mandate.remaining = shares
        return True

    def trade_for(self, mandate_id: str, shares: int) -> tuple[str, str]:
        """The broker's market order under a mandate: its status, and the known mandate that it rolls over to."""
        mandate = self.mandates[mandate_id]
        if not mandate.active:
            return "authorization-inactive", ""
        side = "buy" if mandate.kind == "capital" else "sell"
        known = deal(side, shares, self.price(side), by_broker=True)
        if 20 * (known.fee + known.commission) > known.value:
            return "order-too-small", ""
        if mandate.kind == "capital":
            most = deal("buy", shares, slipped(self.ask, 20_000), by_broker=True).paid
            if most > mandate.remaining:
                return "insufficient-funds", ""
            done = deal("buy", shares, self.ask, by_broker=True)
            mandate.remaining -= done.paid
            self.cost += done.value
        else:
            if shares > mandate.remaining:
                return "insufficient-shares", ""
            done = deal("sell", shares, self.bid, by_broker=True)
            self.cost -= round(Fraction(self.cost * shares, self.shares))
            mandate.remaining -= shares
        self.commissions += done.commission
        return "completed", self._continuing(mandate)

    def roll_over(self, used_id: str, continued_id: str, amount: int) -> None:
        """What the broker's order brought goes on under that mandate."""
        used = self.mandates[used_id]
        kind = "stockholding" if used.kind == "capital" else "capital"
        continued = self.mandates.setdefault(continued_id, Mandate(kind, used.root, 0))
        continued.remaining += amount

    def revoke(self, mandate_id: str, *, cascade: bool) -> None:
        """What remains goes back; with `cascade`, that of the whole family."""
        root = self.mandates[mandate_id].root
        for key, mandate in self.mandates.items():
            if mandate.active and (key == mandate_id or (cascade and mandate.root == root)):
                if mandate.kind == "capital":
                    self.available += mandate.remaining
                else:
                    self.free += mandate.remaining
                mandate.remaining, mandate.active = 0, False

    # ---- parts ----

    def _continuing(self, used: Mandate) -> str:
        kind = "stockholding" if used.kind == "capital" else "capital"
        found = [
            key
            for key, other in self.mandates.items()
            if other.active and (other.root, other.kind) == (used.root, kind)
        ]
        assert len(found) <= 1, "one active mandate per family and asset"
        return found[0] if found else ""

    def _look(self, order_id: str, price: int) -> str | None:
        order = self.waiting[order_id]
        if not order.crosses(price):
            return None
        del self.waiting[order_id]
        if order.side == "buy" and order.kind == "stop" and price > slipped(order.stop, 50_000):
            self._give_back(order)
            return "rejected"
        if order.side == "buy":
            self.available += order.held
        self._execute(order.side, order.shares, price)
        return "completed"

    def _execute(self, side: str, shares: int, price: int) -> None:
        done = deal(side, shares, price, by_broker=False)
        if side == "buy":
            self.available -= done.paid
            self.free += shares
            self.cost += done.value
        else:
            # The shares have left `free` already.
            self.cost -= round(Fraction(self.cost * shares, self.shares + shares))
            self.available += done.received

    def _give_back(self, order: Waiting) -> None:
        if order.side == "buy":
            self.available += order.held
        else:
            self.free += order.shares


def slipped(price: int, ppm: int) -> int:
    """A price raised by so many millionths, up to a whole unit."""
    return -(-price * (PPM + ppm) // PPM)
