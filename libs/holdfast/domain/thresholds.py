"""The twelve thresholds that can be learned: what each is, where it stands in a policy and in a position's row, how far it may go.

Values are a plain mapping, name -> amount, of what is *on*; what is off (not in the mapping) stays off: learning never switches a
rule on. Percents are of the price move, as in a row; a policy in percents of the margin goes through `exit_policy.policy_for` first.

*Safety* thresholds (`stop_loss_pct`, `emergency_loss_pct`, `max_hold_s`) bound what a position can lose, and for how long it is at
risk. They may only be learned tighter than the policy, and tighter is smaller for each of the three. The others have no such
direction: they are held by their bounds alone. A threshold whose policy value lies outside its bounds is not learned at all.

    values = clamped(proposed, of_policy(policy), bounds)      # always allowed: on, inside, never looser
    complaints(values, of_policy(policy), bounds)              # why not, for values that somebody else has made
    learned_policy(policy, values, version, bounds)            # what a new position gets
    in_row(row, values, version)                               # what a position would have got: for trying thresholds on it
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_EVEN, Decimal
from functools import lru_cache

from holdfast.contracts.codes import PositionSide, StopBy
from holdfast.contracts.exit_terms import LONGEST_S, MOST_PERCENT, ExitTerms, parse_terms
from holdfast.contracts.money import EXACT, ONE, ZERO, canonical, divide, sub
from holdfast.contracts.rows import OrderRow, PositionRow
from holdfast.domain.exit_policy import ExitPolicy
from holdfast.domain.ladder import is_ladder
from holdfast.domain.liquidation import guard_price
from holdfast.domain.policy import MOST_TOWARDS_ZERO, OFF, expiry, nearest_stop, seed_exits

Values = Mapping[str, Decimal]
"""Threshold -> its value, of those that are on."""

_THOUSAND = Decimal(1000)
_HUNDREDTH = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Bound:
    """How far a threshold may go, and by how much it may move in one UTC day; in its own unit. Raises ValueError."""

    low: Decimal
    high: Decimal
    step: Decimal

    def __post_init__(self) -> None:
        if not ZERO < self.low <= self.high:
            raise ValueError("low must be greater than zero, and not greater than high")
        if self.step <= 0:
            raise ValueError("step must be greater than zero")

    def holds(self, value: Decimal) -> bool:
        """Whether *value* lies inside; both ends count."""
        return self.low <= value <= self.high


Bounds = Mapping[str, Bound]


@dataclass(frozen=True, slots=True)
class Threshold:
    """One of the twelve. `field` is its field of `ExitTerms`; None: a level or time of the row itself."""

    name: str
    unit: str
    """% of the price move, s of market time, or a confidence from 0 to 1."""
    field: str | None
    bound: Bound
    """Where it may go unless the configuration says otherwise."""
    most: Decimal
    """No bound may be higher."""
    safety: bool = False
    """May only be learned tighter than the policy, which is: smaller."""

    @property
    def grain(self) -> Decimal:
        """Learned values are whole multiples of it."""
        return ONE if self.unit == "s" else _HUNDREDTH


def _of(name: str, unit: str, field: str | None, *bound: str, safety: bool = False) -> Threshold:
    most = {"s": LONGEST_S, "%": MOST_PERCENT, "confidence": ONE}[unit]
    return Threshold(
        name,
        unit,
        field,
        Bound(*map(Decimal, bound)),
        MOST_TOWARDS_ZERO if name == "stop_loss_pct" else most,
        safety,
    )


THRESHOLDS: tuple[Threshold, ...] = (
    _of("ai_hold_confidence", "confidence", "ai_hold_confidence", "0.5", "0.95", "0.05"),
    _of("min_hold_s", "s", "min_hold_s", "10", "3600", "60"),
    _of("min_loss_pct", "%", "min_loss_pct", "0.05", "5", "0.1"),
    _of("emergency_loss_pct", "%", "emergency_loss_pct", "1", "30", "1", safety=True),
    _of("extraordinary_profit_pct", "%", "extraordinary_profit_pct", "5", "100", "5"),
    _of("reversal_confidence", "confidence", "reversal_confidence", "0.5", "0.95", "0.05"),
    _of("take_profit_pct", "%", None, "0.5", "50", "1"),
    _of("stop_loss_pct", "%", None, "0.5", "20", "0.5", safety=True),
    _of("trail_activation_pct", "%", "trailing_activation_pct", "0.2", "20", "0.5"),
    _of("trail_distance_pct", "%", "trailing_distance_pct", "0.2", "20", "0.5"),
    _of("max_hold_s", "s", None, "300", "2592000", "3600", safety=True),
    _of("breakeven_trigger_pct", "%", "breakeven_trigger_pct", "0.2", "20", "0.5"),
)
BY_NAME: Mapping[str, Threshold] = {one.name: one for one in THRESHOLDS}
DEFAULT_BOUNDS: Bounds = {one.name: one.bound for one in THRESHOLDS}


def bounds_of(given: Bounds) -> Bounds:
    """The default bounds with those of the configuration in their place. Raises ValueError that names the key."""
    for name, bound in given.items():
        if name not in BY_NAME:
            raise ValueError(f"{name}: no such threshold; known: {', '.join(BY_NAME)}")
        if bound.high > BY_NAME[name].most:
            raise ValueError(f"{name}: high is at most {canonical(BY_NAME[name].most)}")
    return {**DEFAULT_BOUNDS, **given}


# -- what is in force -----------------------------------------------------------------------------------------------


def of_policy(policy: ExitPolicy) -> dict[str, Decimal]:
    """The thresholds of a policy. A take-profit in rungs is none of them."""
    found: dict[str, Decimal | None] = dict(_of_terms(policy.terms))
    found |= {"stop_loss_pct": policy.stop_loss_pct, "max_hold_s": policy.max_hold_s}
    found["take_profit_pct"] = None if policy.ladder is not None else policy.take_profit_pct
    return _in_order(found)


def of_row(row: PositionRow) -> dict[str, Decimal]:
    """The thresholds that a position lives by, as they were given: a stop that has moved since counts as what was asked for."""
    hold_ms = None if row.expires_at is None else row.expires_at - row.opened_at
    return dict(
        _of_texts(
            row.terms, row.take_profit_spec, row.stop_loss_spec, hold_ms, row.side is PositionSide.LONG, row.entry_price
        )
    )  # fmt: skip


@lru_cache(maxsize=4096)
def _of_texts(
    terms: str, take: str, stop: str, hold_ms: int | None, long: bool, entry_price: Decimal
) -> dict[str, Decimal]:
    found: dict[str, Decimal | None] = dict(_of_terms(parse_terms(terms)))
    found["stop_loss_pct"] = _distance(stop, entry_price, up=not long)
    found["take_profit_pct"] = None if is_ladder(take) else _distance(take, entry_price, up=long)
    found["max_hold_s"] = None if hold_ms is None else divide(Decimal(hold_ms), _THOUSAND)
    return _in_order(found)


def named_by(order: OrderRow) -> frozenset[str]:
    """Thresholds that an entry's intent named itself: policy has no say in them, and no learned value takes their place."""
    keys = {key.replace("trailing.", "trailing_", 1) for key in order.exits or {}}
    named = {one.name for one in THRESHOLDS if one.field in keys}
    levels = {
        "stop_loss_pct": order.stop_loss_spec,
        "take_profit_pct": order.take_profit_spec,
        "max_hold_s": order.ttl_s,
    }
    return frozenset(named | {name for name, value in levels.items() if value is not None})


def _of_terms(terms: ExitTerms) -> Iterator[tuple[str, Decimal | None]]:
    for one in THRESHOLDS:
        if one.field is not None:
            yield one.name, getattr(terms, one.field)


def _in_order(found: Mapping[str, Decimal | None]) -> dict[str, Decimal]:
    """What is on, in the order of the table; zero seconds are off."""
    return {name: value for name in BY_NAME if (value := found.get(name)) is not None and value > 0}


def _distance(spec: str, entry_price: Decimal, *, up: bool) -> Decimal | None:
    """A level in percent of the entry price; None where it is off. Below zero: on the other side of the entry."""
    if spec == OFF:
        return None
    if spec.endswith("%"):
        return Decimal(spec[:-1])
    gap = sub(Decimal(spec), entry_price) if up else sub(entry_price, Decimal(spec))
    return divide(gap.scaleb(2), entry_price)


# -- what is allowed ------------------------------------------------------------------------------------------------


def clamped(values: Values, policy: Values, bounds: Bounds) -> dict[str, Decimal]:
    """The nearest allowed values: all that *policy* has on and nothing else, inside the bounds, safety never looser, whole grains.

    What *values* does not name is as in the policy. A stop is never wider than the emergency loss.
    """
    kept = {name: _kept(name, values.get(name, mine), mine, bounds[name]) for name, mine in policy.items()}
    stop, emergency = kept.get("stop_loss_pct"), kept.get("emergency_loss_pct")
    if stop is not None and emergency is not None and emergency < stop:
        kept["emergency_loss_pct"] = (
            stop  # the policy's own stop is within its emergency loss, so this is, too
        )
    return kept


def _kept(name: str, value: Decimal, mine: Decimal, bound: Bound) -> Decimal:
    one = BY_NAME[name]
    if value == mine or not bound.holds(mine):
        return mine
    low, high = bound.low, min(bound.high, mine) if one.safety else bound.high
    if value <= low or value >= high:
        return min(max(value, low), high)
    whole = value.quantize(one.grain, rounding=ROUND_HALF_EVEN, context=EXACT)
    return min(max(whole, low), high)


def complaints(values: Values, policy: Values, bounds: Bounds) -> list[str]:
    """Why *values* may not be applied over *policy*; empty where they may. Each names its threshold first."""
    said = [f"{name}: no such threshold" for name in values if name not in BY_NAME]
    for one in THRESHOLDS:
        value, mine = values.get(one.name), policy.get(one.name)
        if value is None or value == mine:
            continue
        bound = bounds[one.name]
        if mine is None:
            said.append(f"{one.name}: it is off in the policy, and stays off")
        elif not bound.holds(mine):
            said.append(f"{one.name}: the policy's {canonical(mine)} is outside the bounds, so it stays")
        elif not bound.holds(value):
            limits = f"{canonical(bound.low)} to {canonical(bound.high)}"
            said.append(f"{one.name}: {canonical(value)} is outside {limits}")
        elif one.safety and value > mine:
            said.append(f"{one.name}: {canonical(value)} would be looser than the policy's {canonical(mine)}")
    stop = values.get("stop_loss_pct", policy.get("stop_loss_pct"))
    emergency = values.get("emergency_loss_pct", policy.get("emergency_loss_pct"))
    if stop is not None and emergency is not None and stop > emergency:
        said.append(
            f"stop_loss_pct: {canonical(stop)} is wider than emergency_loss_pct {canonical(emergency)}"
        )
    return said


def too_far(values: Values, before: Values, bounds: Bounds) -> list[str]:
    """Thresholds that lie more than their step from *before*: what was in force when the day began."""
    return [
        f"{name}: {canonical(value)} is more than {canonical(bounds[name].step)} from {canonical(before[name])}"
        for name, value in values.items()
        if name in before and abs(sub(value, before[name])) > bounds[name].step
    ]


# -- where they go --------------------------------------------------------------------------------------------------


def learned_policy(policy: ExitPolicy, values: Values, version: int, bounds: Bounds) -> ExitPolicy:
    """*policy* with *values* in it, clamped, and the version in its terms. Total: nothing looser ever comes out."""
    kept = clamped(values, of_policy(policy), bounds)
    return replace(
        policy,
        stop_loss_pct=kept["stop_loss_pct"],
        take_profit_pct=kept.get("take_profit_pct", policy.take_profit_pct),
        max_hold_s=kept.get("max_hold_s", policy.max_hold_s),
        terms=_in_terms(policy.terms, tuple(kept.items()), version),
    )


def in_row(
    row: PositionRow, values: Values, version: int | None = None, named: Collection[str] = ()
) -> PositionRow:
    """A copy of a fresh position as it would have been with *values*: levels at its own entry price, deadline from its opening.

    What is off in it stays off, what its intent *named* stays, and so does every level whose threshold is not another one. The
    same row comes back where nothing changes. Values are `clamped` ones. A stop that has already moved is never loosened. *version*: what `terms.learned` says.
    """
    mine = of_row(row)
    new = {
        name: value
        for name, value in values.items()
        if name in mine and mine[name] != value and name not in named
    }
    terms = row.terms
    if any(BY_NAME[name].field for name in new) or version is not None:
        terms = _in_text(row.terms, tuple(new.items()), version)
    changes: dict[str, object] = {"terms": terms} if terms != row.terms else {}
    if "max_hold_s" in new:
        changes["expires_at"] = expiry(row.opened_at, new["max_hold_s"])
    if "stop_loss_pct" in new or "take_profit_pct" in new:
        changes |= _levels(row, new, terms)
    return row.evolve(**changes) if changes else row


def _levels(row: PositionRow, new: Values, terms: str) -> dict[str, object]:
    """The row's two levels, as policy seeds them."""
    take, stop = new.get("take_profit_pct"), new.get("stop_loss_pct")
    exits = seed_exits(
        side=row.side,
        entry_price=row.entry_price,
        take_profit=row.take_profit_spec if take is None else None,
        stop_loss=row.stop_loss_spec if stop is None else None,
        policy=ExitPolicy(stop_loss_pct=stop or ONE, take_profit_pct=take or ONE),
        has_deadline=True,
        guard=guard_price(row.kind, row.side, row.entry_price, parse_terms(terms)),
    )
    changes: dict[str, object] = {}
    if take is not None:
        changes |= {"take_profit": exits.take_profit, "take_profit_spec": exits.take_profit_spec}
    if stop is not None:
        moved = row.stop_by is not StopBy.SET
        level = nearest_stop(row, exits.stop_loss) if moved else exits.stop_loss
        changes |= {"stop_loss": level, "stop_loss_spec": exits.stop_loss_spec}
    return changes


def _in_terms(terms: ExitTerms, values: tuple[tuple[str, Decimal], ...], version: int | None) -> ExitTerms:
    fields = {field: value for name, value in values if (field := BY_NAME[name].field) is not None}
    learned = terms.learned if version is None else Decimal(version)
    return replace(terms, learned=learned, **fields)  # type: ignore[arg-type]


@lru_cache(maxsize=4096)
def _in_text(text: str, values: tuple[tuple[str, Decimal], ...], version: int | None) -> str:
    return str(_in_terms(parse_terms(text), values, version))
