"""Where the venue comes first, a stop-loss waits for the stop that rests there; everything else passes at once."""

from decimal import Decimal as D  # noqa: N817
from typing import Any

import pytest

from holdfast.contracts.codes import ExitReason, Kind, OrderState, Role, UpdateKind
from tests.unit._exits import Desk, exit_order, position, tick

PATIENT = {("a-p1", Kind.LINEAR): 5_000}


def desk_of(**fields: Any) -> Desk:
    desk = Desk(position(**fields), patience=PATIENT)
    held = desk.positions["p1"]
    stop = exit_order(held, None, held.quantity, desk.clock.now, role=Role.PROTECT, stop_price=held.stop_loss)
    desk.orders["stop"] = stop.evolve(order_id="stop")
    return desk


async def test_a_stop_loss_waits_for_the_stop_at_the_venue_and_fires_when_that_has_not_worked_in_time() -> (
    None
):
    desk = desk_of()
    await desk.load()
    assert await desk.ticks(tick(89)) == []
    assert await desk.ticks(tick(88)) == [], "a lower price is no new decision"
    assert await desk.after(4.75) == []
    (intent,) = await desk.after(0.5)
    assert (intent.reason, intent.trigger_price) == (ExitReason.STOP_LOSS, D(89))


async def test_a_price_that_comes_back_does_not_take_it_back() -> None:
    desk = desk_of()
    await desk.load()
    await desk.ticks(tick(89))
    assert await desk.ticks(tick(95)) == []
    assert [intent.trigger_price for intent in await desk.after(6)] == [D(89)]


async def test_the_venue_did_it_and_nothing_is_sent() -> None:
    desk = desk_of()
    await desk.load()
    await desk.ticks(tick(89))
    held = desk.positions["p1"]
    assert await desk.update(held.evolve(quantity=D(0), version=2)) == []
    assert await desk.after(10) == []
    assert desk.scanner.grace.waiting() == []


@pytest.mark.parametrize("state", [OrderState.RESERVED, OrderState.UNKNOWN, OrderState.CANCELED])
async def test_a_stop_that_is_not_proven_to_rest_is_not_waited_for(state: OrderState) -> None:
    desk = desk_of()
    desk.orders["stop"] = desk.orders["stop"].evolve(state=state)
    await desk.load()
    assert len(await desk.ticks(tick(89))) == 1


async def test_one_that_is_taken_away_meanwhile_is_waited_for_no_longer() -> None:
    desk = desk_of()
    await desk.load()
    await desk.ticks(tick(89))
    gone = desk.orders["stop"].evolve(state=OrderState.CANCELED)
    await desk.update(orders=(gone,), kind=UpdateKind.STATUS)
    assert len(await desk.after(0.25)) == 1


@pytest.mark.parametrize(
    ("price", "fields"),
    [(121, {}), (89, {"account": "other", "book_id": "other/paper/BTC/USDT"})],
    ids=["take-profit", "an account whose scanner fires at once"],
)
async def test_everything_else_passes_at_once(price: int, fields: dict[str, Any]) -> None:
    desk = desk_of(**fields)
    await desk.load()
    assert len(await desk.ticks(tick(price))) == 1
