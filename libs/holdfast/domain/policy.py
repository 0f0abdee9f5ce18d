"""Exits of a position: read from what was asked for, seeded from policy where that is missing or unusable.

Everything here is total: whatever texts come in, levels come out that satisfy the store's CHECKs (stop-loss above zero,
take-profit above zero and beyond the stop). That is INV-2: no fill is ever refused for its exits, and no position is bare.

A level may lie on the wrong side of the *entry price*: a price that gapped through the stop between intent and fill
makes the stop fire at once, which is right. Only levels on the wrong sides of each other mean nothing, and are re-seeded.
"""

from decimal import Decimal
from typing import NamedTuple

from holdfast.contracts.codes import PositionSide, StopBy
from holdfast.contracts.exit_messages import ExitAdjust
from holdfast.contracts.exit_terms import parse_terms
from holdfast.contracts.money import (
    ONE,
    ZERO,
    add,
    canonical,
    divide,
    mul,
    parse_amount,
    percent_of,
    sub,
)
from holdfast.contracts.rows import PositionRow
from holdfast.domain.exit_policy import ExitPolicy
from holdfast.domain.ladder import in_order, is_ladder, leaves_rest, next_rung, rungs_of
from holdfast.domain.reseeding import new_terms

LOWEST_PRICE = Decimal("1e-24")
HIGHEST_PRICE = Decimal(10**25 - 1)
"""Prices outside cannot be written in a message; levels that would be are held at these."""
MOST_TOWARDS_ZERO = Decimal(99)
"""Policy may name 150 % for a take-profit; a level below the entry price stops at this distance, in percent."""
OFF = "off"

LATEST_MS = 9_999_999_999_999
"""Latest time a message can name."""

_TWO, _THOUSAND = Decimal(2), Decimal(1000)


class Exits(NamedTuple):
    """Levels as prices, the texts they come from, and which came from policy and why (`stop_loss: missing`)."""

    take_profit: Decimal | None
    stop_loss: Decimal
    take_profit_spec: str
    stop_loss_spec: str
    seeded: list[str]


class Adjusted(NamedTuple):
    """Levels after an adjustment; `notes` say what was not taken, and why."""

    take_profit: Decimal | None
    stop_loss: Decimal
    notes: list[str]


class _Level(NamedTuple):
    """One level: its price and its text; or the trouble with it. A take-profit that is off has no price to look at."""

    price: Decimal
    spec: str
    trouble: str = ""

    @classmethod
    def bad(cls, trouble: str) -> "_Level":
        return cls(ZERO, "", trouble)


_OFF = _Level(ZERO, OFF)
"""A take-profit without a price: switched off. One of a ladder that is done has none, either."""


def seed_exits(
    *,
    side: PositionSide,
    entry_price: Decimal,
    take_profit: str | None,
    stop_loss: str | None,
    policy: ExitPolicy,
    has_deadline: bool = False,
    guard: Decimal | None = None,
) -> Exits:
    """The exits of a fresh position, never failing.

    *take_profit* and *stop_loss* are texts like `43000`, `5%` or, for the take-profit, `off` or a ladder; off, and a ladder
    that leaves a rest, count only where the position has another end (*has_deadline*, or the policy's trail or maximum hold).
    *guard*: the liquidation guard's price; a seeded stop never lies beyond it.
    """
    take_seed, stop_seed = _policy_levels(side, entry_price, policy)
    take = _read(take_profit, side, entry_price, "take_profit")
    stop = _read(stop_loss, side, entry_price, "stop_loss")
    if (take.spec == OFF or leaves_rest(take.spec)) and not has_deadline and not policy.has_other_end:
        take = _Level.bad(
            "off needs a trail, a ttl or a maximum hold"
            if take.spec == OFF
            else "its rest needs a trail, a ttl or a maximum hold"
        )
    if guard is not None and tighter(side, stop_seed.price, guard) != stop_seed.price:
        stop_seed = _Level(guard, canonical(guard))
        if stop.trouble:
            stop = _Level.bad(f"{stop.trouble}; the policy's lies beyond the liquidation guard")
    named = {"stop_loss": stop, "take_profit": take}
    troubles = {name: level.trouble for name, level in named.items() if level.trouble}
    take, stop = take_seed if take.trouble else take, stop_seed if stop.trouble else stop
    if not _fit(side, take, stop):
        troubles.setdefault("stop_loss", "wrong side of take_profit")
        troubles.setdefault("take_profit", "wrong side of stop_loss")
        take, stop = take_seed, stop_seed
    return _exits(take, stop, [f"{name}: {trouble}" for name, trouble in troubles.items()])


def level_of(stop_loss: str, side: PositionSide, entry_price: Decimal) -> Decimal | None:
    """The price that a stop-loss text means at this entry price; None for one that means nothing."""
    level = _read(stop_loss, side, entry_price, "stop_loss")
    return None if level.trouble else level.price


def tighter(side: PositionSide, old: Decimal, new: Decimal) -> Decimal:
    """The stop-loss that gives less away: the higher one of a long, the lower one of a short."""
    return max(old, new) if side is PositionSide.LONG else min(old, new)


def nearer(side: PositionSide, old: Decimal | None, new: Decimal | None) -> Decimal | None:
    """The take-profit that is reached first: the lower one of a long, the higher one of a short. None is never reached."""
    if old is None or new is None:
        return new if old is None else old
    return min(old, new) if side is PositionSide.LONG else max(old, new)


def merge_exits(
    position: PositionRow, *, entry_price: Decimal, take_profit: str | None, stop_loss: str | None
) -> Exits:
    """The exits of *position* after an add that moved its average to *entry_price* and asked for these levels.

    Percent levels follow the average, but a stop never moves against the position; what the add asks for counts only
    where it is tighter. A new level that would cross the other one is left out; the levels held now are the last resort.
    """
    side = position.side
    now_take, now_stop = _held(position)
    own_take = _or(_read(position.take_profit_spec, side, entry_price, "take_profit", position), now_take)
    own_stop = _tighter_stop(side, now_stop, _read(position.stop_loss_spec, side, entry_price, "stop_loss"))
    add_take = _read(take_profit, side, entry_price, "take_profit")
    add_stop = _read(stop_loss, side, entry_price, "stop_loss")
    if not (add_take.trouble or add_stop.trouble or _fit(side, add_take, add_stop)):
        add_take = add_stop = _Level.bad("on the wrong sides of each other")
    stops = (_tighter_stop(side, own_stop, add_stop), own_stop, now_stop)
    takes = (_nearer_take(side, own_take, add_take), own_take, now_take)
    fitting = ((take, stop) for stop in stops for take in takes if _fit(side, take, stop))
    take, stop = next(fitting, (now_take, now_stop))
    return _exits(take, stop, _still_seeded(position, take.spec, stop.spec))


def adjust_exits(
    position: PositionRow, *, take_profit: str | None, stop_loss: str | None, insist: bool = False
) -> Adjusted:
    """New levels of an open position: only tighter ones, unless a person insists; never levels that cross each other."""
    exits, notes = changed_exits(position, take_profit=take_profit, stop_loss=stop_loss, insist=insist)
    return Adjusted(exits.take_profit, exits.stop_loss, notes)


def changed_exits(
    position: PositionRow, *, take_profit: str | None, stop_loss: str | None, insist: bool
) -> tuple[Exits, list[str]]:
    """`adjust_exits` with the texts that go into the row, and the notes on what was not taken."""
    side, notes = position.side, []
    now_take, now_stop = _held(position)
    take, stop = now_take, now_stop
    if stop_loss is not None:
        asked = _read(stop_loss, side, position.entry_price, "stop_loss")
        stop = asked if insist and not asked.trouble else _tighter_stop(side, now_stop, asked)
        notes += _refusal("stop_loss", asked, stop, now_stop)
    if take_profit is not None:
        asked = _read(take_profit, side, position.entry_price, "take_profit", position)
        if (asked.spec == OFF or leaves_rest(asked.spec)) and not has_other_end(position):
            asked = _Level.bad(
                "off needs a trail or a ttl" if asked.spec == OFF else "its rest needs a trail or a ttl"
            )
        take = asked if insist and not asked.trouble else _nearer_take(side, now_take, asked)
        notes += _refusal("take_profit", asked, take, now_take)
    if not _fit(side, take, stop):
        notes.append(
            f"take_profit {take.spec} and stop_loss {stop.spec} are on the wrong sides of each other: both kept"
        )
        take, stop = now_take, now_stop
    return _exits(take, stop, _still_seeded(position, take.spec, stop.spec)), notes


def apply_adjust(position: PositionRow, adjust: ExitAdjust) -> tuple[PositionRow, list[str]]:
    """The position with new exits (the same row where nothing changes), and notes on what was not taken, and why."""
    if adjust.stop_by is not StopBy.SET or adjust.high_water is not None or adjust.atr is not None:
        return _followed(position, adjust), []
    exits, notes = changed_exits(
        position, take_profit=adjust.take_profit, stop_loss=adjust.stop_loss, insist=adjust.insist
    )
    expires_at = position.expires_at
    if adjust.ttl_s is not None:
        asked = expiry(position.opened_at, adjust.ttl_s)
        if adjust.insist or expires_at is None or asked <= expires_at:
            expires_at = asked
        else:
            notes.append(f"ttl_s: {canonical(adjust.ttl_s)} would end later than the one in force, kept")
    changes = {name: value for name, value in exits._asdict().items() if getattr(position, name) != value}
    if expires_at != position.expires_at:
        changes["expires_at"] = expires_at
    if exits.stop_loss != position.stop_loss:
        changes["stop_by"] = StopBy.SET
    if adjust.terms is not None:
        terms, more = new_terms(position.terms, adjust.terms, insist=adjust.insist)
        notes += more
        changes |= {"terms": terms} if terms != position.terms else {}
    if not changes:
        return position, notes
    return position.evolve(**changes, version=position.version + 1), notes


def _followed(position: PositionRow, adjust: ExitAdjust) -> PositionRow:
    """The position once its stop has followed the price: only forward, and what was asked for stays as it is."""
    side, changes = position.side, dict[str, object]()
    if adjust.stop_loss is not None and not adjust.stop_loss.endswith("%"):
        stop = Decimal(adjust.stop_loss)
        if nearest_stop(position, stop) != position.stop_loss:
            changes |= {"stop_loss": stop, "stop_by": adjust.stop_by}
    if adjust.trail_active and not position.trail_active:
        changes["trail_active"] = True
    if adjust.atr is not None and position.atr is None:
        changes["atr"] = adjust.atr
    if adjust.high_water is not None and (adjust.high_water_at or 0) > (position.high_water_at or -1):
        held = position.high_water or adjust.high_water
        best = max(held, adjust.high_water) if side is PositionSide.LONG else min(held, adjust.high_water)
        changes |= {"high_water": best, "high_water_at": adjust.high_water_at}
    return position.evolve(**changes, version=position.version + 1) if changes else position


def nearest_stop(position: PositionRow, stop: Decimal) -> Decimal:
    """*stop* where it is a price, tighter than the position's and on its side of the take-profit; else the position's."""
    if not LOWEST_PRICE <= stop <= HIGHEST_PRICE:
        return position.stop_loss
    take, _ = _held(position)
    fits = _fit(position.side, take, _Level(stop, ""))
    return tighter(position.side, position.stop_loss, stop) if fits else position.stop_loss


def has_other_end(position: PositionRow) -> bool:
    """Whether something else than a take-profit ends the position in the end: a trail, or a maximum hold."""
    return position.expires_at is not None or parse_terms(position.terms).trails


def expiry(opened_at: int, ttl_s: Decimal) -> int:
    """Market time, ms, at which a position opened at *opened_at* has been held for *ttl_s* seconds."""
    return min(LATEST_MS, opened_at + int(mul(ttl_s, _THOUSAND)))


def _policy_levels(side: PositionSide, entry_price: Decimal, policy: ExitPolicy) -> tuple[_Level, _Level]:
    """Take-profit and stop-loss as policy has them; where its numbers make no levels: double and half the entry price."""
    up = side is PositionSide.LONG
    stop = _distant(entry_price, policy.stop_loss_pct, above=not up)
    take = _OFF
    if policy.ladder is not None:
        take = _read(policy.ladder, side, entry_price, "take_profit")
    elif policy.take_profit_pct is not None:
        take = _distant(entry_price, policy.take_profit_pct, above=up)
    if take.spec == OFF:
        return _OFF, stop
    if _fit(side, take, stop):
        return take, stop
    high, low = _inside(add(entry_price, entry_price)), _inside(divide(entry_price, _TWO))
    levels = _Level(high, canonical(high)), _Level(low, canonical(low))
    return levels if up else levels[::-1]


def _distant(entry_price: Decimal, percent: Decimal, *, above: bool) -> _Level:
    """*percent* above or below the entry price, held inside what a price can be."""
    percent = percent if above else min(percent, MOST_TOWARDS_ZERO)
    return _Level(_inside(_moved(entry_price, percent, above=above)), canonical(percent) + "%")


def _moved(entry_price: Decimal, percent: Decimal, *, above: bool) -> Decimal:
    distance = percent_of(entry_price, percent)
    return divide(add(entry_price, distance) if above else sub(entry_price, distance), ONE)


def _inside(price: Decimal) -> Decimal:
    return min(max(price, LOWEST_PRICE), HIGHEST_PRICE)


def _read(
    spec: str | None, side: PositionSide, entry_price: Decimal, name: str, held: PositionRow | None = None
) -> _Level:
    """The level that the text *spec* of `take_profit` or `stop_loss` (*name*) means at this entry price.

    Of a ladder the next rung's; *held* says how far it has come.
    """
    is_take = name == "take_profit"
    if not spec:
        return _Level.bad("missing")
    if is_take and is_ladder(spec):
        return _read_ladder(spec, side, entry_price, held)
    if spec == OFF:
        return _OFF if is_take else _Level.bad("cannot be off")
    percent = "%" if spec.endswith("%") else ""
    try:
        amount = parse_amount(spec.removesuffix("%"))
    except ValueError:
        return _Level.bad("neither a price nor a percent")
    if amount <= 0:
        return _Level.bad("not above zero")
    price = _moved(entry_price, amount, above=(side is PositionSide.LONG) == is_take) if percent else amount
    if not LOWEST_PRICE <= price <= HIGHEST_PRICE:
        return _Level.bad("not above zero" if price < LOWEST_PRICE else "beyond any price")
    return _Level(price, canonical(amount) + percent)


def _read_ladder(spec: str, side: PositionSide, entry_price: Decimal, held: PositionRow | None) -> _Level:
    try:
        rungs = rungs_of(spec)
    except ValueError as error:
        return _Level.bad(str(error))
    if not in_order(rungs, side, entry_price):
        return _Level.bad("its rungs are not one behind the other")
    prices = [rung.price(side, entry_price) for rung in rungs]
    if not all(LOWEST_PRICE <= price <= HIGHEST_PRICE for price in prices):
        return _Level.bad("not a price")
    if held is None:
        return _Level(prices[0], spec)
    rung = next_rung(held.evolve(take_profit_spec=spec))
    return _Level(ZERO if rung is None else prices[rungs.index(rung)], spec)


def _fit(side: PositionSide, take: _Level, stop: _Level) -> bool:
    """Whether the two stand on the right sides of each other."""
    if not take.price:
        return True
    return stop.price < take.price if side is PositionSide.LONG else take.price < stop.price


def _held(position: PositionRow) -> tuple[_Level, _Level]:
    """The levels of the row as they are."""
    take = _Level(position.take_profit or ZERO, position.take_profit_spec)
    return take, _Level(position.stop_loss, position.stop_loss_spec)


def _or(level: _Level, other: _Level) -> _Level:
    return other if level.trouble else level


def _tighter_stop(side: PositionSide, old: _Level, new: _Level) -> _Level:
    """*new* where it is usable and tighter than *old*, else *old*."""
    gains = not new.trouble and tighter(side, old.price, new.price) != old.price
    return new if gains else old


def _nearer_take(side: PositionSide, old: _Level, new: _Level) -> _Level:
    """*new* where it is usable and reached before *old*, else *old*."""
    gains = not new.trouble and nearer(side, _price(old), _price(new)) != _price(old)
    return new if gains else old


def _price(take: _Level) -> Decimal | None:
    return take.price or None


def _refusal(name: str, asked: _Level, taken: _Level, now: _Level) -> list[str]:
    """Why an adjustment was not taken; nothing to say where it was, or where it changes nothing."""
    if asked.trouble:
        return [f"{name}: {asked.trouble}"]
    if taken is asked or asked.price == now.price:
        return []
    return [f"{name}: {asked.spec} would loosen {now.spec}, kept"]


def _exits(take: _Level, stop: _Level, seeded: list[str]) -> Exits:
    return Exits(_price(take), stop.price, take.spec, stop.spec, seeded)


def _still_seeded(position: PositionRow, take_spec: str, stop_spec: str) -> list[str]:
    """The row's notes on seeds, without those on a level that somebody has named since."""
    named = {"take_profit"} if take_spec != position.take_profit_spec else set()
    named |= {"stop_loss"} if stop_spec != position.stop_loss_spec else set()
    return [note for note in position.seeded if note.partition(":")[0] not in named]
