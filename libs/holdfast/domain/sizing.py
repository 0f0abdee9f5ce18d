"""From the size that an intent names to a quantity, resolved once, at the reference price. Pure; the executor asks.

`quote_amount` and `nav_pct` are a value at the reference price, without fees. `risk_pct` is what would be lost at the
stop-loss that the position will have (the intent's, else the policy's; where something is held, whichever is tighter),
taker fees of entry and exit included; a gap through the stop loses more. Everything is divided exactly and rounded down
to the step: what was asked for is never exceeded, and missed by less than one step.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Protocol

from holdfast.contracts.codes import Code, Kind, PositionSide, ResultStatus, Side
from holdfast.contracts.messages import OrderIntent, Refusal
from holdfast.contracts.money import EXACT, HUNDRED, ONE, ZERO, add, canonical, mul, sub
from holdfast.contracts.rows import PositionRow
from holdfast.domain.exit_policy import ExitPolicy, policy_for
from holdfast.domain.liquidation import guard_price
from holdfast.domain.matching import notional, worth
from holdfast.domain.policy import level_of, seed_exits, tighter
from holdfast.domain.valuation import Rates


class Sized(Protocol):
    """What a size depends on of an instrument."""

    @property
    def symbol(self) -> str: ...
    @property
    def kind(self) -> Kind: ...
    @property
    def settle(self) -> str: ...
    @property
    def contract_size(self) -> Decimal: ...
    @property
    def quantity_step(self) -> Decimal: ...


@dataclass(frozen=True, slots=True)
class Worth:
    """An account's NAV in the base currency, and rates into that; or the trouble with it."""

    nav: Decimal = ZERO
    rates: Rates = field(default_factory=lambda: Rates({}, ""))
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Means:
    """What sizes are made of. *worth* counts the NAV of an account, only when a size asks for it."""

    worth: Callable[[str], Worth]
    policy: Callable[[str, str], ExitPolicy]
    fee_pct: Decimal = ZERO
    """Taker fee, in percent of the value."""


@dataclass(frozen=True, slots=True)
class Size:
    """A quantity, a multiple of the step (it may be zero), and in words what it was made of."""

    quantity: Decimal
    sizing: str | None = None


def size_of(
    intent: OrderIntent,
    what: Sized,
    side: Side,
    price: Decimal,
    held: PositionRow | None,
    means: Means | None,
) -> Size | Refusal:
    """The size of an entry of *side* at the reference *price*, on top of what is *held*; or why there is none."""
    step = what.quantity_step
    if intent.quantity is not None:
        return Size(_whole_steps(intent.quantity, ONE, step))
    if intent.quote_amount is not None:
        unit = notional(what.kind, ONE, price, what.contract_size)
        told = f"quote_amount {canonical(intent.quote_amount)} at {canonical(price)}"
        return Size(_whole_steps(intent.quote_amount, unit, step), told)
    share = intent.nav_pct or intent.risk_pct
    if share is None or means is None:
        return _refused(Code.MALFORMED, "an entry needs a size", ResultStatus.INVALID)
    known = means.worth(intent.account)
    rate = known.rates.of(what.settle)
    trouble = known.trouble or ("" if rate else f"no price leads from {what.settle} to {known.rates.into}")
    if trouble or rate is None or known.nav <= 0:
        return _refused(Code.NO_NAV, trouble or f"NAV is {canonical(known.nav)}")
    told = f"{canonical(share)} % of NAV {canonical(known.nav)} {known.rates.into} at {canonical(price)}"
    if intent.nav_pct is not None:
        unit, told = worth(what.kind, ONE, price, what.contract_size), f"nav_pct: {told}"
    else:
        stop = stop_of(intent, what, side, price, held, means)
        told = f"risk_pct: {told}, stop {canonical(stop)}"
        if (stop >= price) is (side is Side.BUY):
            return _refused(Code.BAD_EXITS, f"{told}: the stop is beyond the price already")
        unit = loss_per_contract(what, price, stop, means.fee_pct)
    return Size(_whole_steps(mul(known.nav, share), mul(mul(unit, rate.factor), HUNDRED), step), told)


def stop_of(
    intent: OrderIntent, what: Sized, side: Side, price: Decimal, held: PositionRow | None, means: Means
) -> Decimal:
    """The stop-loss price of the position that the entry makes, were it filled at *price*."""
    opens = PositionSide.LONG if side is Side.BUY else PositionSide.SHORT
    if held is not None:
        asked = level_of(intent.stop_loss, opens, price) if intent.stop_loss is not None else None
        return held.stop_loss if asked is None else tighter(opens, held.stop_loss, asked)
    policy, _ = policy_for(means.policy(intent.account, what.symbol), what.kind, intent.exits)
    return seed_exits(
        side=opens,
        entry_price=price,
        take_profit=intent.take_profit,
        stop_loss=intent.stop_loss,
        policy=policy,
        has_deadline=intent.ttl_s is not None,
        guard=guard_price(what.kind, opens, price, policy.terms),
    ).stop_loss


def loss_per_contract(what: Sized, price: Decimal, stop: Decimal, fee_pct: Decimal) -> Decimal:
    """What one contract loses from *price* to *stop*, taker fees of both orders included, in the settlement currency."""
    before, after = (worth(what.kind, ONE, at, what.contract_size) for at in (price, stop))
    fees = EXACT.divide(mul(add(before, after), fee_pct), HUNDRED)
    return add(sub(before, after).copy_abs(), fees)


def _whole_steps(amount: Decimal, per_contract: Decimal, step: Decimal) -> Decimal:
    """The most contracts, in whole steps, whose `per_contract` sum up to no more than *amount*."""
    return mul(EXACT.divide_int(amount, mul(per_contract, step)), step)


def _refused(code: Code, reason: str, status: ResultStatus = ResultStatus.BLOCKED) -> Refusal:
    return Refusal.trusted(code=code, reason=reason[:1000], status=status)
