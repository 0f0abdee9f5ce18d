"""The ledger service on a real store: one transaction a batch, the same answer twice, nothing lost on the way to the bus."""

import asyncio
from decimal import Decimal

import pytest

from holdfast.contracts.base import ContractViolation
from holdfast.contracts.codes import Code, OrderState
from holdfast.contracts.messages import DeadLetter, SnapshotRequest
from holdfast.contracts.streams import (
    DEAD_LETTER,
    FILL,
    INTENT_RESULT,
    LEDGER_SNAPSHOT,
    LEDGER_TRADE,
    LEDGER_UPDATED,
    ORDER_BLOCKED,
    ORDER_STATUS,
    SNAPSHOT_REQUEST,
)
from holdfast.contracts.wire import Entry, Numbered, Out, Trim, decode
from holdfast.runtime.faults import EXIT_CONFIG, Terminal, Transient
from holdfast.store.store import ConstraintBroken
from services.ledger import service
from tests.unit._ledger import (
    BOOK,
    BTC,
    ETH,
    NOW,
    Desk,
    Trouble,
    as_entry,
    entry,
    fill,
    leave,
    move_exits,
    rows_of,
    rules,
    snapshot_view,
    status,
    steer,
    updates_of,
)

D = Decimal


@pytest.fixture
def desk(tmp_path):
    desk = Desk(tmp_path)
    yield desk
    desk.close()


def streams_of(outputs):
    return [output.stream for output in outputs]


# -- a batch ----------------------------------------------------------------------------------------------------------------


def test_a_batch_is_one_transaction_and_its_updates_are_numbered_without_a_gap(desk):
    outputs = desk.run(entry("a"), entry("b", "sell"), entry("c", symbol=ETH))

    assert [update.seq for update in updates_of(outputs)] == [1, 2, 3]
    assert streams_of(outputs) == [
        LEDGER_UPDATED,
        INTENT_RESULT,
        LEDGER_UPDATED,
        INTENT_RESULT,
        ORDER_BLOCKED,
        LEDGER_UPDATED,
        INTENT_RESULT,
    ]
    assert [desk.result(name).status for name in "abc"] == ["accepted", "blocked", "accepted"]
    desk.check()


def test_from_the_wish_to_the_trade(desk):
    desk.run(entry("e", take_profit="130"))
    desk.run(fill("1", "o-e"))
    desk.run(leave("x"))
    outputs = desk.run(fill("2", "o-x", "sell", price="120"))

    (trade,) = [
        output.message for output in outputs if isinstance(output, Out) and output.stream is LEDGER_TRADE
    ]
    assert (trade.realized_pnl, trade.exit_reason) == (20, "close")
    assert (desk.result("e").status, desk.result("x").status, desk.result("x").average_price) == (
        "filled",
        "filled",
        120,
    )
    desk.check()


def test_redelivery_changes_nothing_and_answers_again(desk):
    messages = [entry("e"), fill("1", "o-e"), steer("reduce_only"), leave("x"), status("o-x", "accepted")]
    for message in messages:
        desk.run(message)
    before, seq = rows_of(desk.state), desk.ledger.seq

    outputs = [output for message in messages for output in desk.run(message)]

    assert (rows_of(desk.state), desk.ledger.seq) == (before, seq)
    answers = [output.message for output in outputs]
    assert [(row.intent_id, row.status, row.repeated) for row in answers] == [
        ("e", "filled", True),
        ("x", "accepted", True),
    ]
    desk.check()


def test_redelivery_within_one_batch_too(desk):
    desk.run(entry("e"), entry("e"))
    desk.run(fill("1", "o-e"), fill("1", "o-e"), status("o-e", "canceled"), status("o-e", "canceled"))
    desk.run(steer("halted"), steer("halted"))

    assert (desk.ledger.seq, desk.state.positions[desk.state.position_of_book[BOOK]].quantity) == (3, 1)
    desk.check()


def test_what_was_reserved_is_filled_in_the_same_batch(desk):
    desk.run(entry("e"), fill("1", "o-e"), leave("x"), fill("2", "o-x", "sell"))

    assert (desk.result("e").status, desk.result("x").status) == ("filled", "filled")
    assert not desk.state.positions
    desk.check()


def test_the_same_intent_id_with_other_content_is_answered_and_shown_to_people(desk):
    desk.run(entry("e"))

    outputs = desk.run(entry("e", "sell", intent_digest="other"))

    assert streams_of(outputs) == [DEAD_LETTER, INTENT_RESULT]
    assert desk.result("e").code == Code.INTENT_ID_REUSED
    letter = outputs[0].message
    assert DeadLetter.parse(letter.body()) == letter
    assert (letter.stream, "e was used before" in letter.error) == ("order.reserve", True)
    assert desk.run(entry("e", "sell", intent_digest="other"))[0].message.id == letter.id


def test_a_message_id_that_comes_back_with_other_content(desk):
    desk.run(steer("halted", id="k"))

    with pytest.raises(ContractViolation, match="used before"):
        desk.run(steer("active", id="k"))
    desk.check()


# -- failures ----------------------------------------------------------------------------------------------------------------


def test_a_poisoned_batch_leaves_no_trace_and_its_good_messages_pass_alone(desk):
    desk.run(entry("e"), fill("1", "o-e"))
    before = rows_of(desk.state)
    position_id = desk.state.position(BOOK).position_id
    good, bad = leave("x"), move_exits(position_id, position_version=7, stop_loss="99")

    with pytest.raises(ContractViolation):
        desk.run(good, bad)
    assert rows_of(desk.state) == before
    desk.check()

    desk.run(good)
    assert desk.result("x").status == "accepted"
    desk.check()


@pytest.mark.parametrize("landed", [False, True])
@pytest.mark.parametrize("at", ["BEGIN", "UPDATE", "COMMIT", "SELECT order_id", "SELECT position_id"])
def test_a_store_in_trouble_costs_time_and_nothing_else(desk, at, landed):
    desk.run(entry("e"))
    trouble = Trouble.in_(desk)
    batch = (
        [fill("1", "o-e"), entry("f", symbol=ETH)] if "order" not in at else [entry("g"), fill("1", "o-e")]
    )
    trouble.next(at, landed=landed)

    with pytest.raises(Transient):
        desk.run(*batch)
    desk.run(*batch)

    assert trouble.at == ""
    assert desk.ledger.seq == 3
    assert len(desk.published) == 3, "what was committed was published, whoever noticed it"
    assert desk.state.positions
    desk.check()


def test_a_commit_that_landed_without_an_answer_is_found_out_and_published(desk):
    trouble = Trouble.in_(desk)
    trouble.next("COMMIT", landed=True)
    with pytest.raises(Transient):
        desk.run(entry("e"))
    assert desk.ledger.seq == 0

    desk.publish(desk.heal(None))

    assert (desk.ledger.seq, desk.result("e").status) == (1, "accepted")
    desk.check()


def test_a_load_that_fails_half_way_leaves_the_memory_whole(desk):
    desk.run(entry("e"))
    trouble = Trouble.in_(desk)
    trouble.next("COMMIT", landed=True)
    with pytest.raises(Transient):
        desk.run(fill("1", "o-e"))
    trouble.next("SELECT order_id, intent_id")
    with pytest.raises(Transient):
        desk.run(leave("x"))

    assert set(desk.state.orders) == {"o-e"}
    assert set(snapshot_view(asyncio.run(desk.ledger.on_time())).orders) == {"o-e"}
    desk.run(leave("x"))
    desk.check()


def test_a_constraint_is_held_against_the_message_and_not_against_the_batch(desk):
    """An order id that belonged to another intent: the domain has forgotten it, the schema has not."""
    desk.run(entry("a"), fill("1", "o-a"))

    with pytest.raises(ConstraintBroken):
        desk.run(leave("x"), entry("b", symbol=ETH, order_id="o-a"))
    desk.check()

    desk.run(leave("x"))
    assert desk.result("x").status == "accepted"
    assert desk.store.look_up(orders=["o-a"]).orders["o-a"].intent_id == "a"


def test_a_ledger_that_was_replaced_stops(desk, tmp_path):
    desk.run(entry("e"))
    desk.store.lock.release()  # as if it had been paused until its lock was taken for dead
    other = Desk(tmp_path)
    try:
        with pytest.raises(Terminal, match="taken over"):
            desk.run(entry("f"))
        assert other.heal(desk.newest) == []
        asyncio.run(other.ledger.on_work([as_entry(entry("f"))]))
        assert set(other.state.orders) == {"o-e", "o-f"}
    finally:
        other.close()


# -- disputes -------------------------------------------------------------------------------------------------------------


def test_an_adjustment_of_a_position_that_is_gone_ends_in_the_log_and_keeps_nothing_back(desk, caplog):
    desk.run(entry("e"))
    adjustment = move_exits("p-gone", stop_loss="95")

    for _ in range(2):
        desk.run(adjustment, fill("1", "o-e"))

    assert desk.state.position(BOOK) is not None, "the rest of its batch is applied"
    assert desk.ledger.seq == 2
    assert "position_gone: p-gone is not open" in caplog.text
    desk.check()


def test_a_dead_fill_disputes_its_book(desk):
    desk.run(entry("e"))
    body = fill("1", "o-e").body().replace(b'"price":"100"', b'"price":"NaN"')
    broken = decode(FILL, "5-0", {b"body": body})
    assert broken.error is not None

    desk.publish(asyncio.run(desk.ledger.on_dead(broken)))

    assert "fill 5-0 could not be applied" in desk.state.books[BOOK].disputed
    desk.run(entry("f"))
    assert desk.result("f").code == Code.BOOK_DISPUTED
    assert asyncio.run(desk.ledger.on_dead(broken)) == [], "told twice, disputed once"
    desk.check()


@pytest.mark.parametrize("ended", [False, True])
def test_a_dead_status_disputes_the_book_of_its_order(desk, ended):
    desk.run(entry("e"))
    if ended:
        desk.run(status("o-e", "canceled"))

    desk.publish(asyncio.run(desk.ledger.on_dead(as_entry(status("o-e", "accepted")))))

    assert desk.state.books[BOOK].disputed
    desk.check()


def test_a_dead_fill_of_a_hedged_symbol_disputes_every_leg_it_may_belong_to(tmp_path):
    desk = Desk(tmp_path, rules(hedging=True))
    desk.run(entry("a", leg="long"), entry("b", "sell", leg="short"))

    desk.publish(asyncio.run(desk.ledger.on_dead(as_entry(fill("1", "o-nobody")))))

    assert all(book.disputed for book in desk.state.books.values())
    assert len(desk.state.books) == 2
    desk.close()


def test_a_dead_fill_of_a_book_that_is_not_there_yet_makes_it_disputed(desk):
    desk.publish(asyncio.run(desk.ledger.on_dead(as_entry(fill("1", "o-nobody")))))

    assert desk.state.books[BOOK].disputed
    desk.check()


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b'{"account":"a b","exchange":"x","symbol":"y"}'])
def test_what_names_no_book_disputes_none(desk, body):
    assert asyncio.run(desk.ledger.on_dead(Entry(ORDER_STATUS, "5-0", body))) == []
    desk.check()


# -- snapshots ---------------------------------------------------------------------------------------------------------------


def test_a_snapshot_and_what_follows_it_is_the_ledger(desk):
    desk.run(
        entry("e", strategy="s", epoch=7),
        fill("1", "o-e"),
        entry("b", symbol=ETH),
        fill("q", "strangers"),
        steer("reduce_only"),
    )

    view = snapshot_view(asyncio.run(desk.ledger.on_time()))
    assert rows_of(view) == rows_of(desk.state)
    for update in updates_of(desk.run(leave("x"), status("o-b", "canceled"))):
        view.apply(update)

    assert rows_of(view) == rows_of(desk.state)
    assert (view.store_id, view.epoch, view.seq) == (desk.store.store_id, desk.store.epoch, desk.ledger.seq)


def test_snapshots_come_at_the_start_when_enough_has_changed_or_when_time_has_passed(tmp_path):
    desk = Desk(tmp_path, every_updates=3)

    def snapshot():
        return [row for row in asyncio.run(desk.ledger.on_time()) if row.stream is LEDGER_SNAPSHOT]

    assert snapshot()
    assert not snapshot()
    desk.run(entry("a"), entry("b"))
    assert not snapshot()
    desk.run(entry("c"))
    assert snapshot()
    desk.clock.now += 60_000
    assert not snapshot(), "nothing has changed"
    desk.run(entry("d"))
    assert snapshot()
    desk.close()


def test_numbers_of_snapshots_go_on_and_old_ones_are_let_go(desk):
    desk.ledger.follow_snapshots(NOW + 5)
    first = asyncio.run(desk.ledger.on_time())
    desk.run(entry("a"))
    asked = Entry(SNAPSHOT_REQUEST, "1-0", b"", SnapshotRequest(id="s", at=NOW, by="me", why="new"))
    second = asyncio.run(desk.ledger.on_snapshot_requests([asked, asked]))

    assert [row.entry_id for row in first] == [f"{NOW + 6}-1"]
    numbered = [row for row in second if isinstance(row, Numbered)]
    assert [row.entry_id for row in numbered] == [f"{NOW + 7}-1"]
    assert [(row.stream, row.min_id) for row in second if isinstance(row, Trim)] == [
        (LEDGER_SNAPSHOT, f"{NOW + 6}-0"),
        (LEDGER_UPDATED, "0-0"),
    ]


def test_a_large_snapshot_comes_in_parts(desk, monkeypatch):
    monkeypatch.setattr("services.ledger.snapshot.ROWS_PER_PART", 2)
    desk.run(*(entry(f"e{n}", symbol=f"C{n}/USDT") for n in range(5)))

    outputs = asyncio.run(desk.ledger.on_time())

    assert len([row for row in outputs if row.stream is LEDGER_SNAPSHOT]) == 5
    assert rows_of(snapshot_view(outputs)) == rows_of(desk.state)


# -- restarts and the bus ------------------------------------------------------------------------------------------------------


def test_a_restart_goes_on_where_the_store_stands(desk):
    desk.run(entry("e"), fill("1", "o-e"), leave("x", "0.4"), steer("reduce_only"), fill("q"))
    before, epoch = rows_of(desk.state), desk.store.epoch

    desk.restart()

    assert rows_of(desk.state) == before
    assert desk.store.epoch == epoch + 1
    desk.run(fill("1", "o-e"), entry("f"), fill("2", "o-x", "sell", "0.4"))
    assert desk.result("f").code == Code.REDUCE_ONLY_STATE
    assert desk.state.position(BOOK).quantity == D("0.6")
    desk.check()


def test_what_was_committed_and_not_published_before_a_kill_is_published_at_the_start(desk):
    desk.run(entry("e"))
    newest = desk.newest
    asyncio.run(
        desk.ledger.on_work([as_entry(fill("1", "o-e"))])
    )  # committed; killed before its outputs got out
    desk.restart()

    outputs = desk.heal(newest)
    desk.publish(outputs)

    assert [update.seq for update in updates_of(outputs)] == [2]
    assert desk.result("e").status == "filled"
    assert rows_of(snapshot_view(outputs)) == rows_of(desk.state)
    assert desk.heal(desk.newest) == []
    desk.check()


@pytest.mark.parametrize("left", [0, 1, 2])
def test_a_wiped_or_rewound_bus_gets_what_it_lacks(desk, left):
    desk.run(entry("e"))
    desk.run(fill("1", "o-e"))
    desk.run(leave("x"))
    newest = (left, dict(desk.published[left].beside)["hash"]) if left else None

    outputs = desk.heal(newest)

    assert [row for row in outputs if row.stream is LEDGER_UPDATED and isinstance(row, Numbered)] == [
        desk.published[seq] for seq in range(left + 1, 4)
    ]
    assert snapshot_view(outputs).seq == 3


def test_a_bus_that_lacks_too_much_gets_one_snapshot_instead(desk, monkeypatch):
    monkeypatch.setattr(service, "REPUBLISH_LIMIT", 2)
    desk.run(entry("e"), fill("1", "o-e"), leave("x"))

    outputs = desk.heal(None)

    assert updates_of(outputs) == []
    assert rows_of(snapshot_view(outputs)) == rows_of(desk.state)
    number = int(next(row for row in outputs if isinstance(row, Numbered)).entry_id.partition("-")[0])
    desk.ledger.follow_snapshots(number)
    assert desk.heal(None) == [], "it is there: no second one"
    desk.ledger.follow_snapshots(0)
    desk.ledger.want_snapshot()
    assert desk.heal(None), "wiped once more"


def test_a_store_restored_from_a_backup_against_a_newer_stream_is_refused(desk, tmp_path):
    desk.run(entry("e"))
    desk.store.backup(tmp_path / "backup.db")
    desk.run(fill("1", "o-e"))
    newest = desk.newest
    path = tmp_path / "ledger" / "ledger.db"
    desk.close()
    for old in (*path.parent.glob("ledger.db*"), path.with_suffix(".mark")):
        old.unlink()
    (tmp_path / "backup.db").rename(path)
    restored = Desk(tmp_path)

    with pytest.raises(Terminal, match="backup"):
        restored.heal(newest)
    asyncio.run(restored.ledger.on_work([as_entry(leave("other"))]))
    with pytest.raises(Terminal, match="another store"):
        restored.heal(newest)
    restored.close()
    desk.ledger = restored.ledger


def test_another_store_on_the_same_bus_is_refused(desk, tmp_path):
    other = Desk(tmp_path / "other")
    desk.run(entry("e"))
    other.run(entry("e"))

    with pytest.raises(Terminal, match="another store"):
        other.heal(desk.newest)
    other.close()


def test_switching_hedging_while_a_book_is_in_use_is_refused(desk):
    desk.run(entry("e"), fill("1", "o-e"))

    with pytest.raises(Terminal, match=f"hedging for {BTC} cannot be switched on") as caught:
        desk.restart(rules(hedging=True))
    assert caught.value.code == EXIT_CONFIG
    desk.rules = rules()
    desk.ledger = desk._start()
    desk.run(leave("x"), fill("2", "o-x", "sell"))
    desk.restart(rules(hedging=True))
    desk.run(
        entry("f", leg="long"), fill("3", "o-f"), entry("g", "sell", leg="short"), fill("4", "o-g", "sell")
    )
    with pytest.raises(Terminal, match="cannot be switched off"):
        desk.restart(rules())
    desk.rules = rules(hedging=True)
    desk.ledger = desk._start()


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("UPDATE positions SET body = 'x'", "cannot be read"),
        ('UPDATE orders SET body = replace(body, \'"quantity":"1"\', \'"quantity":"-1"\')', "cannot be read"),
    ],
)
def test_a_store_whose_rows_cannot_be_read_is_refused(desk, sql, why):
    desk.run(entry("e", quantity="2"), fill("1", "o-e", quantity="2"), leave("x", "1"))
    desk.store._driver.cursor().execute(sql)

    with pytest.raises(Terminal, match=why):
        desk.ledger.load()


def test_a_store_whose_rows_break_an_invariant_is_refused(desk):
    desk.run(entry("e"), fill("1", "o-e"), leave("x"))
    desk.store._driver.cursor().execute(
        'UPDATE positions SET quantity = \'0.5\', body = replace(body, \'"quantity":"1"\', \'"quantity":"0.5"\')'
    )

    with pytest.raises(Exception, match="INV-5"):
        desk.ledger.load()


def test_the_heartbeat_says_where_the_ledger_stands(desk):
    desk.run(entry("e"), fill("1", "o-e"), leave("x"))

    beat = desk.ledger.beat()

    assert (beat["seq"], beat["details"]["positions"], beat["details"]["live_orders"]) == (3, "1", "1")
    assert beat["details"]["store"] == desk.store.store_id


def test_a_stop_displaces_in_the_store_as_in_memory(desk):
    desk.run(entry("e"), fill("1", "o-e"))
    position = desk.state.position(BOOK)
    desk.run(leave("soft", reason="take_profit", position_id=position.position_id))

    outputs = desk.run(leave("stop", reason="stop_loss", position_id=position.position_id))

    (update,) = updates_of(outputs)
    assert {row.order_id: (row.state, row.displaced) for row in update.orders} == {
        "o-soft": (OrderState.CANCELING, True),
        "o-stop": (OrderState.RESERVED, False),
    }
    desk.check()
