"""What the buttons do: which message goes out, what is answered, what wants a word typed by hand, and the audit trail."""

from decimal import Decimal

import pytest

from holdfast.contracts.alarms import Alert
from holdfast.contracts.messages import DeadLetter
from holdfast.contracts.rows import QuarantineRow
from holdfast.contracts.streams import (
    ALERT,
    ALERT_ACK,
    CONTROL,
    DEAD_LETTER,
    EXIT_ADJUST,
    FILL,
    LEDGER_UPDATED,
    ORDER_INTENT_EXIT,
)
from holdfast.runtime.bounded_log import BoundedLog, tail
from holdfast.runtime.settings import Settings
from services.dashboard.actions import (
    AckWish,
    CancelWish,
    CloseWish,
    ControlWish,
    Desk,
    ExitsWish,
    FlattenWish,
    QuarantineWish,
    RequeueWish,
)
from services.dashboard.stories import Teller
from tests.unit._dashboard import FakeBus, Hand
from tests.unit._state import BTC, ETH, T0, entry, position, update
from tests.unit.test_dashboard_screen import order

D = Decimal


class Room:
    def __init__(self, hand, directory):
        self.hand, self.bus = hand, FakeBus(hand.clock)
        self.audit = directory / "audit.log"
        self.desk = Desk(self.bus, hand.watcher, Settings(), BoundedLog(self.audit))  # type: ignore[arg-type]

    async def do(self, wish):
        return await self.desk.do(wish, "anna")

    @property
    def sent(self):
        return [(out.stream, out.message) for out in self.bus.sent]


@pytest.fixture
async def room(tmp_path):
    item = QuarantineRow(
        quarantine_id="q-1",
        account="main",
        exchange="paper",
        symbol="SOL/USDT",
        side="long",
        quantity=2,
        price=5,
        why="x",
        at=T0,
    )
    hand = await Hand().well(
        position("p1", stop_loss=D(90), take_profit=D(120)), position("p2", symbol=ETH, account="other"), orders=[order("o1")], quarantine=[item]
    )  # fmt: skip
    return Room(hand, tmp_path)


async def test_halting_needs_one_click(room):
    outcome = await room.do(ControlWish(state="halted", why="storm"))

    assert (outcome.status, outcome.text) == ("done", "halted: all, recorded by the ledger")
    ((stream, message),) = room.sent
    assert (stream, message.state, message.scope, message.by, message.why) == (
        CONTROL,
        "halted",
        "all",
        "anna",
        "storm",
    )


async def test_resuming_wants_the_word(room):
    assert (await room.do(ControlWish(state="active"))).status == "invalid"
    assert room.sent == []
    assert (await room.do(ControlWish(state="active", confirm="resume"))).status == "done"


async def test_a_scope_without_its_target_is_told_and_nothing_is_sent(room):
    outcome = await room.do(ControlWish(state="halted", scope="account"))

    assert outcome.status == "invalid"
    assert "target names the account" in outcome.text
    assert room.sent == []


async def test_closing_names_the_position(room):
    room.bus.answers = {"filled_quantity": D(2), "average_price": D(100)}

    outcome = await room.do(CloseWish(position_id="p1"))

    assert (outcome.status, outcome.text) == ("done", "close BTC/USDT: filled 2 at 100")
    ((stream, message),) = room.sent
    assert (stream, message.action, message.position_id, message.reason) == (
        ORDER_INTENT_EXIT,
        "close",
        "p1",
        "close",
    )
    assert message.reduces


@pytest.mark.parametrize("wish", [CloseWish(position_id="gone"), CancelWish(order_id="gone"), ExitsWish(position_id="gone", stop_loss="1"), QuarantineWish(quarantine_id="gone", then="adopt"), RequeueWish(entry_id="1-1")])  # fmt: skip
async def test_what_is_gone_is_refused_and_nothing_is_sent(room, wish):
    assert (await room.do(wish)).status == "refused"
    assert room.sent == []


async def test_canceling_an_order(room):
    outcome = await room.do(CancelWish(order_id="o1"))

    assert outcome.status == "done"
    assert [(message.action, message.order_id) for _, message in room.sent] == [("cancel", "o1")]


async def test_flattening_wants_the_word_and_asks_for_everything(room):
    assert (await room.do(FlattenWish(confirm="yes"))).status == "invalid"

    outcome = await room.do(FlattenWish(confirm="flatten"))

    assert (outcome.status, outcome.text) == ("done", "3 of 3 done")
    assert [(m.action, m.position_id or m.order_id) for _, m in room.sent] == [
        ("close", "p1"),
        ("close", "p2"),
        ("cancel", "o1"),
    ]


async def test_flattening_one_account_leaves_the_others(room):
    await room.do(FlattenWish(confirm="flatten", account="other"))

    assert [message.position_id for _, message in room.sent] == ["p2"]


async def test_a_refusal_of_the_ledger_is_shown_as_it_is(room):
    room.bus.answers = {"status": "blocked", "code": "exit_in_flight", "reason": "an exit holds it all"}

    outcome = await room.do(CloseWish(position_id="p1"))

    assert (outcome.status, outcome.text) == (
        "refused",
        "close BTC/USDT: blocked exit_in_flight: an exit holds it all",
    )


async def test_silence_is_no_answer_and_says_so(room):
    room.bus.silent = True
    for wish in (CloseWish(position_id="p1"), ControlWish(state="halted"), ExitsWish(position_id="p1", stop_loss="95"), QuarantineWish(quarantine_id="q-1", then="adopt", confirm="SOL/USDT")):  # fmt: skip
        outcome = await room.do(wish)
        assert outcome.status == "no_answer"
        assert outcome.id


@pytest.mark.parametrize(
    ("change", "word", "insists"),
    [
        ({"stop_loss": "95"}, "", False), ({"take_profit": "110"}, "", False), ({"ttl_s": "60"}, "", False),
        ({"stop_loss": "80"}, BTC, True), ({"take_profit": "500"}, BTC, True),
    ],
)  # fmt: skip
async def test_exits_tighten_freely_and_loosen_with_the_symbol(room, change, word, insists):
    if word:
        asked = await room.do(ExitsWish(position_id="p1", **change))
        assert asked.status == "invalid"
        assert f"type {BTC} because this loosens an exit" in asked.text
        assert room.sent == []

    outcome = await room.do(ExitsWish(position_id="p1", confirm=word, **change))

    assert outcome.status == "done"
    ((stream, message),) = room.sent
    assert (stream, message.position_id, message.insist) == (EXIT_ADJUST, "p1", insists)


@pytest.mark.parametrize("change", [{}, {"stop_loss": "abc"}, {"stop_loss": "-5"}, {"ttl_s": "soon"}])
async def test_exits_that_cannot_be_read_are_told_and_nothing_is_sent(room, change):
    assert (await room.do(ExitsWish(position_id="p1", **change))).status == "invalid"
    assert room.sent == []


@pytest.mark.parametrize("then", ["adopt", "flatten"])
async def test_quarantine_is_adopted_and_for_flatten_closed(room, then):
    assert (await room.do(QuarantineWish(quarantine_id="q-1", then=then))).status == "invalid"
    opened = position("p9", symbol="SOL/USDT")
    room.bus.answers = {}
    room.bus.answer = lambda message: (  # type: ignore[method-assign]
        update(11, positions=[opened]).evolve(cause_id=message.id)
        if message.id == "f-q-1"
        else FakeBus.answer(room.bus, message)
    )

    outcome = await room.do(QuarantineWish(quarantine_id="q-1", then=then, confirm="SOL/USDT"))

    assert outcome.status == "done"
    streams = [stream for stream, _ in room.sent]
    assert streams == [FILL] if then == "adopt" else [FILL, ORDER_INTENT_EXIT]
    fill = room.sent[0][1]
    assert (fill.kind, fill.trade_id, fill.side, fill.quantity, fill.price) == (
        "adjustment",
        "q-1",
        "buy",
        2,
        5,
    )


def alarm(state="raised", **more):
    values = {
        "id": f"a-{state}",
        "at": T0,
        "key": "light",
        "event": "light",
        "text": "red",
        "opened_at": T0,
        "state": state,
    }
    return Alert.model_validate(values | more)


async def test_an_alert_is_acknowledged_by_the_service_that_raised_it(room):
    assert (await room.do(AckWish(key="light"))).status == "refused"
    await room.hand.watcher.on_alerts([entry(ALERT, alarm(), T0)])
    room.bus.answer = lambda message: alarm("acknowledged", by="anna")  # type: ignore[method-assign]

    assert (await room.do(AckWish(key="light"))).status == "done"
    assert [(stream, message.key, message.by) for stream, message in room.sent] == [
        (ALERT_ACK, "light", "anna")
    ]

    await room.hand.watcher.on_alerts([entry(ALERT, alarm("acknowledged", by="ben"), T0)])
    assert (await room.do(AckWish(key="light"))).text == "seen already, by ben"


async def test_an_alerts_service_that_is_not_there_is_said(room):
    await room.hand.watcher.on_alerts([entry(ALERT, alarm(), T0)])
    room.bus.silent = True
    outcome = await room.do(AckWish(key="light"))
    assert (outcome.status, "is it running?" in outcome.text) == ("no_answer", True)


async def test_a_dead_letter_is_put_back_once(room):
    letter = DeadLetter(
        id="d", at=T0, service="ledger", stream="control", entry_id="1-0", payload="{}", error="no"
    )
    await room.hand.watcher.on_dead_letters([entry(DEAD_LETTER, letter, T0)])
    key = f"{T0}-0"

    assert (await room.do(RequeueWish(entry_id=key))).text == "put back onto control as entry 5-0"
    assert (await room.do(RequeueWish(entry_id=key))).status == "refused"
    assert room.bus.requeued == [letter]


async def test_everything_is_in_the_audit_trail_refused_or_not(room):
    await room.do(ControlWish(state="halted", why="storm"))
    await room.do(FlattenWish(confirm="no"))

    assert [(line["by"], line["what"], line["status"]) for line in tail(room.audit, 9)] == [
        ("anna", "FlattenWish", "invalid"), ("anna", "ControlWish", "done")
    ]  # fmt: skip


async def test_a_story_is_told_in_order_with_the_raw_entries(room):
    first = update(
        1, at=T0 + 5, positions=[position("p1", intent_id="i7")], orders=[order("o7", intent_id="i7")]
    )
    room.bus.found = {LEDGER_UPDATED.name: [entry(LEDGER_UPDATED, first, 1)]}
    letter = await Teller(room.bus).story("p1", ["", "i7"])  # type: ignore[arg-type]

    assert [(step.at_ms, step.stream) for step in letter] == [(T0 + 5, LEDGER_UPDATED.name)]
    assert letter[0].title.startswith("ledger records 1: filled: order entry open; position long 2")
    assert '"position_id": "p1"' in letter[0].raw
