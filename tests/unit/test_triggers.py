"""The index says the same as asking everybody."""

import random
from decimal import Decimal as D  # noqa: N817

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from holdfast.contracts.codes import ExitReason
from holdfast.contracts.rows import PositionRow
from holdfast.domain.conditions import AtOnce
from holdfast.domain.exits import HARDNESS, Rule, evaluate
from holdfast.domain.market import Quote
from holdfast.domain.triggers import NONE_FIRED, Triggers
from tests.unit._exits import LONG, SHORT, SYMBOL, T0, position


def asked_all(positions: dict[str, PositionRow], symbol: str, quote: Quote, now: int) -> set[str]:
    """Brute force: whose exits fire."""
    return {
        key
        for key, row in positions.items()
        if row.symbol == symbol and evaluate(row, quote, now).fire is not None
    }


def asked_index(triggers: Triggers, symbol: str, quote: Quote, now: int) -> set[str]:
    return {*triggers.on_price(symbol, quote), *triggers.due(symbol, now)}


def some_position(dice: random.Random, name: str, symbol: str) -> PositionRow:
    side = dice.choice([LONG, SHORT])
    low, high = D(dice.randint(1, 999)) / 10, D(dice.randint(1001, 1999)) / 10
    return position(
        name, side, symbol=symbol, stop_loss=low if side is LONG else high, take_profit=high if side is LONG else low,
        expires_at=dice.choice([None, T0 + dice.randint(0, 1000)]),
    )  # fmt: skip


def test_ten_thousand_positions_index_and_brute_force_agree() -> None:
    """Bulk-loaded, then changed one by one, over three symbols and a hundred prices."""
    dice = random.Random(7)
    symbols = ["A/USDT", "B/USDT", "C/USDT"]
    positions = {f"p{n}": some_position(dice, f"p{n}", dice.choice(symbols)) for n in range(10_000)}
    triggers = Triggers()
    assert triggers.arm_all(positions.values(), {}) == {}
    assert len(triggers) == 10_000
    assert sorted(triggers.symbols()) == symbols
    for turn in range(100):
        for name in dice.sample(sorted(positions), 20):
            if turn % 3:
                triggers.disarm(name)
                del positions[name]
            else:
                positions[name] = some_position(dice, name, dice.choice(symbols))
                triggers.arm(positions[name])
        bid = D(dice.randint(1, 2100)) / 10
        quote, now, symbol = (
            Quote(bid, bid + dice.randint(0, 3), T0),
            T0 + dice.randint(-10, 1010),
            dice.choice(symbols),
        )
        assert asked_index(triggers, symbol, quote, now) == asked_all(positions, symbol, quote, now)
    assert set(triggers) == set(positions)


def test_asking_takes_nothing_out() -> None:
    """A caller that fails after asking leaves nobody bare."""
    triggers = Triggers()
    triggers.arm(position(expires_at=T0))
    for _ in range(2):
        assert triggers.on_price(SYMBOL, Quote(D(90), D(90), T0)) == ["p1"]
        assert triggers.due(SYMBOL, T0) == ["p1"]
    assert triggers.on_price("OTHER/USDT", Quote(D(1), D(1), T0)) == []
    assert triggers.due("OTHER/USDT", T0) == []


def test_above_leaves_only_what_is_harder() -> None:
    """After a take-profit has fired its stop is still armed; after the stop nothing is, but the position stays known."""
    triggers = Triggers()
    triggers.arm(position(expires_at=T0), above=HARDNESS[ExitReason.TAKE_PROFIT])
    assert triggers.on_price(SYMBOL, Quote(D(120), D(120), T0)) == []
    assert triggers.due(SYMBOL, T0) == []
    assert triggers.on_price(SYMBOL, Quote(D(90), D(90), T0)) == ["p1"]
    triggers.arm(position(expires_at=T0), above=HARDNESS[ExitReason.STOP_LOSS])
    assert triggers.on_price(SYMBOL, Quote(D(90), D(90), T0)) == []
    assert "p1" in triggers


def test_bulk_loading_forgets_what_was_there_and_names_what_it_could_not_arm() -> None:
    """A table of rules without a price level would leave a position bare: that is said, not done."""
    triggers = Triggers()
    triggers.arm(position("old"))
    above = {"p2": HARDNESS[ExitReason.STOP_LOSS]}
    assert triggers.arm_all([position("p1", closing=ExitReason.CLOSE), position("p2")], above) == {}
    assert set(triggers) == {"p1", "p2"}
    assert triggers.at_once() == ["p1"]
    assert triggers.on_price(SYMBOL, Quote(D(90), D(90), T0)) == ["p1"]
    triggers.disarm("p1")
    triggers.disarm("p1")
    assert triggers.at_once() == []
    bare = Triggers(rules=(Rule("always", ExitReason.TTL, lambda _row: AtOnce("")),))
    assert bare.arm_all([position()], {}) == {"p1": "p1 has no price level to watch"}
    with pytest.raises(ValueError, match="no price level"):
        bare.arm(position())
    assert len(bare) == 0


def test_a_rule_whose_trigger_the_index_does_not_know_is_refused() -> None:
    """A new kind of condition must be taught to the index, or it would never be asked."""

    class Odd:
        def waits_for(self, *_: object) -> tuple[object, ...]:
            return (self,)

    unknown = Triggers(rules=(Rule("odd", ExitReason.TTL, lambda _row: Odd()),))  # type: ignore[arg-type,return-value]
    with pytest.raises(TypeError, match="no index for a Odd"):
        unknown.arm(position())


def test_deadlines_of_changed_positions_do_not_pile_up() -> None:
    """Ten thousand changes of one position leave a heap of its size, and one answer."""
    triggers = Triggers()
    for turn in range(10_000):
        triggers.arm(position(expires_at=T0 + 10, stop_loss=D(90) - D(turn) / 1000))
    assert len(triggers._books[SYMBOL].deadlines) < 200
    assert triggers.due(SYMBOL, T0 + 10) == ["p1"]
    triggers.arm(position(expires_at=T0 + 20))
    assert triggers.due(SYMBOL, T0 + 19) == []
    assert triggers.due(SYMBOL, T0 + 20) == ["p1"]


class IndexMachine(RuleBasedStateMachine):
    """Any order of arming, changing, firing and closing: index and brute force agree."""

    def __init__(self) -> None:
        super().__init__()
        self.triggers, self.rows, self.fired = Triggers(), dict[str, PositionRow](), dict[str, int]()

    names = st.sampled_from([f"p{n}" for n in range(6)])
    levels = st.integers(1, 12).map(D)

    @rule(
        name=names,
        side=st.sampled_from([LONG, SHORT]),
        low=levels,
        high=levels,
        deadline=st.none() | st.integers(1, 9),
    )
    def arm(self, name: str, side: object, low: D, high: D, deadline: int | None) -> None:
        stop, profit = (low, high) if side is LONG else (high, low)
        self.rows[name] = position(name, side, stop_loss=stop, take_profit=profit, expires_at=deadline)
        self.triggers.arm(self.rows[name], self.fired.get(name, NONE_FIRED))

    @precondition(lambda self: self.rows)
    @rule(name=names, reason=st.sampled_from([ExitReason.TTL, ExitReason.TAKE_PROFIT, ExitReason.STOP_LOSS]))
    def fire(self, name: str, reason: ExitReason) -> None:
        if name in self.rows:
            self.fired[name] = max(HARDNESS[reason], self.fired.get(name, NONE_FIRED))
            self.triggers.arm(self.rows[name], self.fired[name])

    @rule(name=names)
    def close(self, name: str) -> None:
        self.triggers.disarm(name)
        self.rows.pop(name, None)
        self.fired.pop(name, None)

    @rule()
    def reload(self) -> None:
        assert self.triggers.arm_all(self.rows.values(), self.fired) == {}

    @invariant()
    def the_same_as_asking_everybody(self) -> None:
        for price in range(1, 13, 3):
            quote = Quote(D(price), D(price + 1), T0)
            expected = {
                key
                for key, row in self.rows.items()
                if (fire := evaluate(row, quote, price).fire)
                and HARDNESS[fire] > self.fired.get(key, NONE_FIRED)
            }
            assert asked_index(self.triggers, SYMBOL, quote, price) == expected
        assert set(self.triggers) == set(self.rows)


TestIndex = IndexMachine.TestCase
TestIndex.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
