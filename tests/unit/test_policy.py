"""Exits: what was asked for where it makes sense, policy where it does not; tighter only, and never bare."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.contracts.codes import PositionSide
from holdfast.contracts.exit_messages import ExitAdjust
from holdfast.contracts.money import canonical
from holdfast.contracts.rows import PositionRow
from holdfast.domain.exit_policy import ExitPolicy
from holdfast.domain.policy import (
    HIGHEST_PRICE,
    LOWEST_PRICE,
    Exits,
    adjust_exits,
    apply_adjust,
    merge_exits,
    nearer,
    seed_exits,
    tighter,
)

D = Decimal
LONG, SHORT = PositionSide.LONG, PositionSide.SHORT
POLICY = ExitPolicy(stop_loss_pct=D(10), take_profit_pct=D(20))


def seed(
    side: PositionSide,
    take_profit: str | None,
    stop_loss: str | None,
    *,
    entry_price: str = "100",
    policy: ExitPolicy = POLICY,
    has_deadline: bool = False,
) -> Exits:
    return seed_exits(
        side=side,
        entry_price=D(entry_price),
        take_profit=take_profit,
        stop_loss=stop_loss,
        policy=policy,
        has_deadline=has_deadline,
    )


def row(side: PositionSide = LONG, **fields: object) -> PositionRow:
    plain = {
        "position_id": "p-1",
        "book_id": "b",
        "account": "main",
        "exchange": "paper",
        "symbol": "BTC/USDT",
        "side": side,
        "contract_size": "1",
        "settle": "USDT",
        "quantity": "1",
        "cost": "100",
        "entry_price": "100",
        "take_profit": "120" if side is LONG else "80",
        "stop_loss": "90" if side is LONG else "110",
        "take_profit_spec": "20%",
        "stop_loss_spec": "10%",
        "opened_at": 1000,
        "changed_at": 1000,
        "recorded_at": 1,
        "seeded": ["stop_loss: missing", "take_profit: missing"],
    }
    return PositionRow.model_validate({**plain, **fields})


@pytest.mark.parametrize(
    ("side", "take_profit", "stop_loss", "expected"),
    [
        (LONG, "5%", "2.50%", (D(105), D("97.5"), "5%", "2.5%")),
        (SHORT, "5%", "2.5%", (D(95), D("102.5"), "5%", "2.5%")),
        (LONG, "130.0", "80", (D(130), D(80), "130", "80")),
        (SHORT, "80", "130", (D(80), D(130), "80", "130")),
    ],
)
def test_levels_are_prices_or_percents_of_the_entry_price(
    side: PositionSide, take_profit: str, stop_loss: str, expected: tuple[object, ...]
) -> None:
    exits = seed(side, take_profit, stop_loss)
    assert exits[:4] == expected
    assert exits.seeded == []


def test_what_is_missing_comes_from_policy_and_says_so() -> None:
    exits = seed(LONG, None, "95")
    assert exits == (D(120), D(95), "20%", "95", ["take_profit: missing"])
    assert seed(SHORT, None, None).seeded == ["stop_loss: missing", "take_profit: missing"]


@pytest.mark.parametrize(
    ("side", "take_profit", "stop_loss", "why"),
    [
        (LONG, "120%", "100%", ["stop_loss: not above zero"]),
        (SHORT, "100%", "5%", ["take_profit: not above zero"]),
        (LONG, "130", "0", ["stop_loss: not above zero"]),
        (LONG, "130", "off", ["stop_loss: cannot be off"]),
        (LONG, "130", "soon", ["stop_loss: neither a price nor a percent"]),
        (LONG, "9" * 25 + "%", "95", ["take_profit: beyond any price"]),
        (LONG, "off", "95", ["take_profit: off needs a trail, a ttl or a maximum hold"]),
    ],
)
def test_what_is_unusable_comes_from_policy_and_says_why(
    side: PositionSide, take_profit: str, stop_loss: str, why: list[str]
) -> None:
    exits = seed(side, take_profit, stop_loss)
    assert exits.seeded == why
    name = why[0].partition(":")[0]
    policy = {"stop_loss": (D(90), D(110)), "take_profit": (D(120), D(80))}[name]
    assert getattr(exits, name) == policy[side is SHORT]


def test_levels_on_the_wrong_sides_of_each_other_are_both_seeded() -> None:
    crossed = ["stop_loss: wrong side of take_profit", "take_profit: wrong side of stop_loss"]
    assert seed(LONG, "80", "95") == (D(120), D(90), "20%", "10%", crossed)
    assert seed(SHORT, "95", "80") == (D(80), D(110), "20%", "10%", crossed)
    assert seed(LONG, "95", "95").seeded == crossed
    half = seed(LONG, "85", None)
    assert (half.take_profit, half.stop_loss) == (120, 90)
    assert half.seeded == ["stop_loss: missing", "take_profit: wrong side of stop_loss"]


def test_a_price_that_gapped_through_the_stop_keeps_it_so_that_it_fires_at_once() -> None:
    assert seed(LONG, "130", "105")[:2] == (130, 105)
    assert seed(SHORT, "70", "95")[:2] == (70, 95)


def test_take_profit_may_be_off_where_something_else_ends_the_position() -> None:
    assert seed(LONG, "off", "5%", has_deadline=True) == (None, D(95), "off", "5%", [])
    held = ExitPolicy(D(10), None, max_hold_s=D(60))
    assert seed(LONG, None, None, policy=held)[:4] == (None, D(90), "off", "10%")


def test_policy_beyond_reason_still_makes_levels() -> None:
    wild = ExitPolicy(D(1000), D(150))
    assert seed(LONG, None, None, policy=wild)[:2] == (250, 1)
    assert seed(SHORT, None, None, policy=wild)[:2] == (1, 1100)
    timid = ExitPolicy(D("1e-24"), D("1e-24"))
    assert seed(LONG, None, None, entry_price="1e-20", policy=timid)[:2] == (D("2e-20"), D("5e-21"))
    assert seed(SHORT, None, None, entry_price="1e-20", policy=timid)[:2] == (D("5e-21"), D("2e-20"))


@pytest.mark.parametrize("numbers", [(D(0), D(1), None), (D(1), D(0), None), (D(1), None, None)])
def test_a_policy_that_leaves_positions_bare_cannot_be_made(
    numbers: tuple[Decimal, Decimal | None, None],
) -> None:
    with pytest.raises(ValueError, match=r"must be greater than zero|can only be off"):
        ExitPolicy(*numbers)


def test_tighter_and_nearer() -> None:
    assert (tighter(LONG, D(1), D(2)), tighter(SHORT, D(1), D(2))) == (2, 1)
    assert (nearer(LONG, D(1), D(2)), nearer(SHORT, D(1), D(2))) == (1, 2)
    assert (nearer(LONG, None, D(2)), nearer(LONG, D(1), None), nearer(LONG, None, None)) == (2, 1, None)


def test_an_add_keeps_the_exits_it_cannot_tighten() -> None:
    merged = merge_exits(row(), entry_price=D(100), take_profit="30%", stop_loss="20%")
    assert merged == (D(120), D(90), "20%", "10%", row().seeded)


def test_an_add_that_names_a_tighter_level_ends_the_note_that_it_was_seeded() -> None:
    merged = merge_exits(row(), entry_price=D(100), take_profit=None, stop_loss="5%")
    assert merged == (D(120), D(95), "20%", "5%", ["take_profit: missing"])


def test_crossed_exits_of_an_add_are_left_out_whole() -> None:
    merged = merge_exits(row(), entry_price=D(100), take_profit="95", stop_loss="110")
    assert merged[:2] == (120, 90)


def test_a_take_profit_never_crosses_a_stop_that_stays() -> None:
    merged = merge_exits(row(), entry_price=D(70), take_profit=None, stop_loss=None)
    assert merged[:2] == (120, 90), "20 % above 70 would stand below the stop, so the old one stays"


def test_switched_off_stays_off_until_an_add_brings_a_level() -> None:
    off = row(take_profit=None, take_profit_spec="off", expires_at=5000)
    assert merge_exits(off, entry_price=D(100), take_profit=None, stop_loss=None).take_profit is None
    assert merge_exits(off, entry_price=D(100), take_profit="8%", stop_loss=None).take_profit == 108


def test_an_adjustment_only_tightens() -> None:
    assert adjust_exits(row(), take_profit="110", stop_loss="95") == (110, 95, [])
    assert adjust_exits(row(SHORT), take_profit="90", stop_loss="105") == (90, 105, [])
    loose = adjust_exits(row(), take_profit="150", stop_loss="80")
    assert loose[:2] == (120, 90)
    assert loose.notes == ["stop_loss: 80 would loosen 10%, kept", "take_profit: 150 would loosen 20%, kept"]
    assert adjust_exits(row(), take_profit=None, stop_loss=None) == (120, 90, [])


def test_a_person_may_insist_but_not_on_nonsense() -> None:
    assert adjust_exits(row(), take_profit="150", stop_loss="80", insist=True) == (150, 80, [])
    crossed = adjust_exits(row(), take_profit="80", stop_loss="95", insist=True)
    assert crossed[:2] == (120, 90)
    assert "wrong sides of each other" in crossed.notes[0]
    off = adjust_exits(row(), take_profit="off", stop_loss="off", insist=True)
    assert off == (120, 90, ["stop_loss: cannot be off", "take_profit: off needs a trail or a ttl"])
    assert adjust_exits(row(expires_at=9), take_profit="off", stop_loss=None, insist=True).take_profit is None


def test_an_adjusted_row_has_a_new_version_and_remembers_what_was_asked() -> None:
    asked = ExitAdjust(id="a", at=1, position_id="p-1", stop_loss="95", ttl_s=D(60), by="me", why="trail")
    changed, notes = apply_adjust(row(), asked)
    assert notes == []
    assert (changed.version, changed.stop_loss, changed.stop_loss_spec) == (2, 95, "95")
    assert (changed.expires_at, changed.seeded) == (61_000, ["take_profit: missing"])
    later = asked.evolve(ttl_s=D(90), stop_loss=None)
    same, notes = apply_adjust(changed, later)
    assert same is changed
    assert notes == ["ttl_s: 90 would end later than the one in force, kept"]
    assert apply_adjust(changed, later.evolve(insist=True))[0].expires_at == 91_000


@st.composite
def prices(draw: st.DrawFn) -> Decimal:
    return D(draw(st.integers(1, 10**12))).scaleb(draw(st.integers(-24, 12)))


LEVELS = (
    st.none()
    | st.sampled_from(["off", "0", "0%", "x"])
    | prices().map(canonical)
    | prices().map(lambda p: canonical(p) + "%")
)
SIDES = st.sampled_from([LONG, SHORT])


def holds(side: PositionSide, exits: Exits) -> bool:
    """The store's CHECKs."""
    if not LOWEST_PRICE <= exits.stop_loss <= HIGHEST_PRICE:
        return False
    if exits.take_profit is None:
        return exits.take_profit_spec == "off"
    return (
        exits.take_profit > 0
        and (exits.stop_loss < exits.take_profit) == (side is LONG)
        and exits.stop_loss != exits.take_profit
    )


@settings(max_examples=400, deadline=None)
@given(
    side=SIDES,
    entry=prices(),
    levels=st.tuples(LEVELS, LEVELS),
    pcts=st.tuples(prices(), prices()),
    deadline=st.booleans(),
)
def test_whatever_is_asked_the_checks_hold(
    side: PositionSide,
    entry: Decimal,
    levels: tuple[str | None, str | None],
    pcts: tuple[Decimal, Decimal],
    deadline: bool,
) -> None:
    exits = seed_exits(
        side=side,
        entry_price=entry,
        take_profit=levels[0],
        stop_loss=levels[1],
        policy=ExitPolicy(*pcts),
        has_deadline=deadline,
    )
    assert holds(side, exits)
    assert exits.take_profit is not None or deadline


@settings(max_examples=400, deadline=None)
@given(side=SIDES, entry=prices(), asked=st.lists(st.tuples(LEVELS, LEVELS, st.booleans()), max_size=6))
def test_adjustments_tighten_and_the_checks_hold(
    side: PositionSide, entry: Decimal, asked: list[tuple[str | None, str | None, bool]]
) -> None:
    held = row(side)
    for take_profit, stop_loss, is_add in asked:
        if is_add:
            exits = merge_exits(held, entry_price=entry, take_profit=take_profit, stop_loss=stop_loss)
        else:
            adjusted = adjust_exits(held, take_profit=take_profit, stop_loss=stop_loss)
            exits = Exits(
                adjusted.take_profit, adjusted.stop_loss, held.take_profit_spec, held.stop_loss_spec, []
            )
            assert nearer(side, held.take_profit, exits.take_profit) == exits.take_profit
        assert holds(side, exits)
        assert tighter(side, held.stop_loss, exits.stop_loss) == exits.stop_loss
        held = held.evolve(**exits._asdict())
