"""Every refusal of the executor: its code, and that the ledger records it as the intent's end and its entry is acknowledged."""

import pytest

from holdfast.contracts import streams
from holdfast.contracts.codes import Code, Kind, ResultStatus, Role, Scope, TradingState, UpdateKind
from holdfast.contracts.messages import OrderReserve
from holdfast.contracts.rows import ControlRow
from holdfast.domain.ledger_state import Change
from holdfast.domain.settle import dispute
from holdfast.venues.port import OutcomeKind
from tests.unit._executor import START, D, ScriptedVenue, World
from tests.unit.test_executor import opened, ready


async def refused(world: World, entry) -> tuple[Code, ResultStatus, str]:
    """Give *entry*, and return how the ledger has recorded its end."""
    await world.give(entry)
    refusal = world.refusal()
    await world.settle()
    (intent,) = [row for row in world.ledger.known.intents.values() if row.code is refusal.code]
    assert ("order.intent", entry.entry_id) in world.acked
    assert not world.executor.desk.pending
    return intent.code, intent.status, intent.reason


INVALID, BLOCKED, EXPIRED = ResultStatus.INVALID, ResultStatus.BLOCKED, ResultStatus.EXPIRED


@pytest.mark.parametrize(
    ("fields", "code", "status", "says"),
    [
        ({"symbol": "NONSENSE"}, Code.UNKNOWN_SYMBOL, INVALID, "no separator"),
        ({"symbol": "DOGE/USDT"}, Code.UNKNOWN_SYMBOL, INVALID, "DOGE/USDT is not traded"),
        ({"account": "other"}, Code.UNKNOWN_ACCOUNT, INVALID, "this one serves main/paper"),
        ({"exchange": "binance"}, Code.UNKNOWN_ACCOUNT, INVALID, "no executor serves main/binance"),
        ({"expires_at": START}, Code.EXPIRED, EXPIRED, "expired 1 ms"),
        ({"at": START + 60_002}, Code.FROM_THE_FUTURE, INVALID, "60001 ms in the future"),
        ({"quantity": "0.0009"}, Code.BELOW_MINIMUM, INVALID, "steps of 0.001"),
        ({"stop_loss": "101"}, Code.BAD_EXITS, INVALID, "stop_loss 101 of a long"),
        ({"take_profit": "101"}, Code.BAD_EXITS, INVALID, "take_profit 101 of a long"),
        ({"stop_loss": "100%"}, Code.BAD_EXITS, INVALID, "at zero or below"),
        ({"side": "sell", "stop_loss": "99"}, Code.BAD_EXITS, INVALID, "stop_loss 99 of a short"),
        ({"side": "sell", "take_profit": "99"}, Code.BAD_EXITS, INVALID, "take_profit 99 of a short"),
        ({"symbol": "ETH/USDT"}, Code.NO_PRICE, BLOCKED, "no price of ETH/USDT"),
    ],
)
async def test_an_entry_is_refused_for_what_it_says(fields, code, status, says):
    world = await ready()
    entry = world.entry(**{"symbol": "BTCUSDT", "side": "buy", "quantity": "1", **fields})
    got = await refused(world, entry)
    assert got[:2] == (code, status)
    assert says in got[2]


@pytest.mark.parametrize(
    ("body", "code", "says"),
    [
        (b"{oops", Code.MALFORMED, "not JSON"),
        (b"[1]", Code.MALFORMED, "a JSON object is expected"),
        (b"", Code.MALFORMED, "no field"),
        (b'{"symbol":"BTC/USDT","side":"buy","quantity":0.1}', Code.MALFORMED, "quantity: "),
        (b'{"symbol":"BTC/USDT","side":"buy","quantity":"NaN"}', Code.MALFORMED, "quantity: "),
        (b'{"symbol":"BTC/USDT","side":"buy","quantity":"-1"}', Code.MALFORMED, "quantity: "),
        (
            b'{"symbol":"BTC/USDT","side":"buy","quantity":"1","size":"1"}',
            Code.MALFORMED,
            "size: no such field",
        ),
        (
            b'{"symbol":"BTC/USDT","side":"buy","quantity":"1","pad":"' + b"x" * 1_000_000 + b'"}',
            Code.TOO_LARGE,
            "at most 65536",
        ),
    ],
)
async def test_what_is_no_intent_is_answered_too(body, code, says):
    world = await ready()
    got = await refused(world, world.entry(body=body))
    assert got[:2] == (code, INVALID)
    assert says in got[2]


async def test_a_malformed_intent_with_an_id_is_answered_under_it():
    world = await ready()
    await world.give(
        world.entry(body=b'{"id":"mine","symbol":"BTC/USDT"}'),
        world.entry(body=b'{"id":7}'),
        world.entry(body=b'{"id":"with space"}'),
    )
    ids = [reserve.intent_id for reserve in world.of(OrderReserve)]
    assert ids[0] == "mine"
    assert all(other.startswith("i-") for other in ids[1:])
    await world.settle()
    assert world.ledger.intent("mine").status is INVALID
    assert len(world.acked) == 3


async def test_opposed_by_a_position():
    world = await opened()
    assert (await refused(world, world.sell()))[:2] == (Code.OPPOSED, BLOCKED)


async def test_two_opposite_intents_in_one_batch_never_both_pass():
    world = await ready()
    await world.give(world.buy(id="long"), world.sell(id="short"))
    first, second = world.of(OrderReserve)
    assert first.order is not None
    assert second.refusal is not None
    assert second.refusal.code is Code.OPPOSED
    assert "in flight" in second.refusal.reason
    await world.settle()
    assert [row.side.value for row in world.venue.sent_order] == ["buy"]


async def test_a_refused_proposal_frees_the_book():
    world = await ready()
    await world.give(world.buy(id="long"))
    world.ledger.state.put_control(
        ControlRow(scope=Scope.ALL, state=TradingState.HALTED, by="a person", why="", at=0),
        Change(UpdateKind.CONTROL, "c"),
    )
    await world.settle()
    assert world.ledger.intent("long").code is Code.HALTED
    await world.give(world.sell(id="short"))
    assert world.of(OrderReserve)[0].order is not None, (
        "the book is free for the executor; only the ledger knows of the halt here"
    )


@pytest.mark.parametrize(
    ("state", "code"),
    [(TradingState.HALTED, Code.HALTED), (TradingState.REDUCE_ONLY, Code.REDUCE_ONLY_STATE)],
)
@pytest.mark.parametrize(
    ("scope", "target"), [(Scope.ALL, ""), (Scope.ACCOUNT, "main"), (Scope.BOOK, "main/paper/BTC/USDT")]
)
async def test_trading_states_stop_entries_and_no_exit(state, code, scope, target):
    world = await opened()
    world.ledger.state.put_control(
        ControlRow(scope=scope, target=target, state=state, by="a person", why="", at=0),
        Change(UpdateKind.CONTROL, "c"),
    )
    await world.reset()
    assert (await refused(world, world.buy()))[0] is code
    await world.give_exits(world.close(id="out"))
    await world.settle()
    assert world.venue.sent_order[-1].role is Role.EXIT


async def test_a_disputed_book():
    world = await opened()
    change = Change(UpdateKind.DISPUTED, "d")
    dispute(world.ledger.state, world.ledger.state.books["main/paper/BTC/USDT"], "odd trade", change)
    await world.hear([world.ledger.record(change)[0]])
    assert (await refused(world, world.buy()))[0] is Code.BOOK_DISPUTED


async def test_a_book_with_an_unknown_order():
    world = await ready()
    world.venue.outcome = OutcomeKind.UNKNOWN
    await world.give(world.buy(id="first"))
    await world.settle()
    assert (await refused(world, world.buy()))[0] is Code.BOOK_UNKNOWN


async def test_a_book_that_is_being_closed():
    world = await opened()
    await world.give_exits(world.close())
    await world.settle()
    assert (await refused(world, world.buy()))[0] is Code.EXIT_IN_PROGRESS


async def test_spot_needs_something_to_sell_unless_paper_may_go_short():
    world = await ready(venue=ScriptedVenue(kind=Kind.SPOT))
    assert (await refused(world, world.sell()))[0] is Code.SPOT_SHORT
    world = await ready(venue=ScriptedVenue(kind=Kind.SPOT), paper={"spot_short": True})
    await world.give(world.sell())
    assert world.of(OrderReserve)[0].order is not None


async def test_another_kind_of_instrument_than_the_book_holds():
    world = await opened()
    world.venue.kind = Kind.SPOT
    assert (await refused(world, world.buy()))[0] is Code.INSTRUMENT_MISMATCH


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        ({"max_positions": 1}, Code.MAX_POSITIONS),
        ({"max_symbol_notional": "50"}, Code.MAX_SYMBOL_NOTIONAL),
        ({"max_account_notional": "150"}, Code.MAX_ACCOUNT_NOTIONAL),
        ({"max_total_notional": "150"}, Code.MAX_TOTAL_NOTIONAL),
        ({"max_orders_per_minute": 1}, Code.ORDER_RATE),
    ],
)
async def test_limits_count_what_is_in_flight(limits, code):
    world = await ready(limits=limits)
    await world.tick(symbol="ETH/USDT")
    await world.give(world.buy("0.4", id="one"), world.buy("1.2", symbol="ETH/USDT", id="two"))
    assert [reserve.refusal.code if reserve.refusal else None for reserve in world.of(OrderReserve)] == [
        None,
        code,
    ]


async def test_six_positions_open_and_all_can_be_closed():
    """The deadlock of seed 000: the limit is reached, so nothing opens; what is open must still close."""
    world = await ready(limits={"max_positions": 2})
    await world.tick(symbol="ETH/USDT")
    await world.tick(symbol="SOL/USDT")
    await world.give(world.buy(), world.buy(symbol="ETH/USDT"))
    await world.settle()
    world.venue.fill_all()
    await world.tick()
    await world.settle()
    assert (await refused(world, world.buy(symbol="SOL/USDT")))[0] is Code.MAX_POSITIONS
    await world.give(world.sell(reduce_only=True))
    await world.give_exits(world.close("ETH/USDT"))
    await world.settle()
    world.venue.fill_all()
    await world.tick()
    await world.settle()
    assert not world.ledger.state.positions


async def test_a_price_that_is_too_old():
    world = await ready()
    world.clock.now += 60_001
    assert "60001 ms old" in (await refused(world, world.buy()))[2]


async def test_the_venues_minimums():
    world = await ready(venue=ScriptedVenue(minimum="0.5", min_notional="60"))
    assert (await refused(world, world.buy("0.4")))[0] is Code.BELOW_MINIMUM
    world = await ready(venue=ScriptedVenue(minimum="0.5", min_notional="60"))
    assert "worth 50.5" in (await refused(world, world.buy("0.5")))[2]


async def test_a_full_bus_refuses_entries_and_passes_exits():
    world = await opened()
    world.fullness = 70.0
    assert (await refused(world, world.buy()))[0] is Code.BUS_FULL
    await world.give_exits(world.close())
    assert world.of(OrderReserve)[0].order is not None


async def test_an_unreadable_venue_refuses_entries_and_passes_exits():
    world = await opened()
    world.venue.unreadable = True
    await world.tick()
    assert (await refused(world, world.buy()))[0] is Code.VENUE_UNREADABLE
    await world.give_exits(world.close())
    assert world.of(OrderReserve)[0].order is not None
    assert "no answer" in world.executor.heartbeat()["unreadable"]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"symbol": "ETH/USDT"}, Code.NOTHING_TO_CLOSE),
        ({"side": "buy"}, Code.WRONG_SIDE),
        ({"position_id": "p-gone"}, Code.POSITION_GONE),
        ({"quantity": "0.0001"}, Code.BELOW_MINIMUM),
        ({"symbol": "NONSENSE"}, Code.UNKNOWN_SYMBOL),
        ({"account": "other"}, Code.UNKNOWN_ACCOUNT),
    ],
)
async def test_exits_that_mean_nothing(fields, code):
    world = await opened()
    await world.give_exits(world.close(**{"id": "out", **fields}))
    await world.settle()
    assert world.ledger.intent("out").code is code


async def test_an_exit_needs_neither_price_nor_time():
    world = await opened()
    await world.start()  # no tick since: no price
    await world.give_exits(world.close(id="out", at=START + 10_000_000))
    world.clock.now += 1
    await world.settle()
    assert world.venue.sent_order[-1].quantity == D(1)


async def test_canceling_an_order_that_is_not_there():
    world = await ready()
    await world.give(
        world.entry(action="cancel", order_id="h123", id="c"),
        world.entry(action="cancel", symbol="BTC/USDT", id="all"),
    )
    await world.give(world.entry(action="cancel", symbol="NONSENSE", id="bad"))
    await world.settle()
    assert world.ledger.intent("c").code is Code.NO_SUCH_ORDER
    assert world.ledger.intent("all").status is ResultStatus.CANCELED
    assert world.ledger.intent("bad").code is Code.UNKNOWN_SYMBOL


async def test_hedged_symbols_have_a_book_per_side():
    world = await ready(hedging={"allow": True})
    await world.give(world.buy(id="long"), world.sell("2", id="short"))
    await world.settle()
    world.venue.fill_all()
    await world.tick()
    await world.settle()
    assert sorted((row.leg.value, row.quantity) for row in world.ledger.state.positions.values()) == [
        ("long", D(1)),
        ("short", D(2)),
    ]
    await world.give_exits(world.close(id="which"), world.close(id="long-out", side="sell"))
    await world.settle()
    assert world.ledger.intent("which").code is Code.WRONG_SIDE
    assert (world.venue.sent_order[-1].leg.value, world.venue.sent_order[-1].quantity) == ("long", D(1))


async def test_exits_on_the_entry_stream_are_exits():
    world = await opened()
    entry = world.entry(
        streams.ORDER_INTENT, symbol="BTC/USDT", side="sell", quantity="0.5", reduce_only=True, id="half"
    )
    await world.give(entry)
    await world.settle()
    assert (world.venue.sent_order[-1].role, world.venue.sent_order[-1].quantity) == (Role.EXIT, D("0.5"))
