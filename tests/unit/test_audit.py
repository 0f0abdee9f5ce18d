"""The auditor finds nothing in a real run, and names what is wrong in each corrupted copy of it."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from holdfast.contracts.rows import OrderRow
from proving.audit import STATEMENTS
from tests.unit._audit import Copy, Document, small_run

BOOK, ETH_BOOK = "main/paper/BTC/USDT", "main/paper/ETH/USDT"
Corrupt = Callable[[Copy], Any]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import asyncio

    directory = tmp_path_factory.mktemp("run")
    asyncio.run(small_run(directory))
    return directory


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Iterator[Copy]:
    made = Copy(run, tmp_path)
    yield made
    made.close()


def test_a_clean_run_has_no_violation(copy: Copy):
    assert copy.found() == []
    picture = copy.audit.picture
    assert picture.seq == len(copy.updates()) > 70
    assert {order.role for order in picture.orders.values()} == {"entry", "exit"}


def test_reading_step_by_step_is_reading_at_once(copy: Copy):
    rows = copy.ledger.execute("SELECT * FROM updates WHERE seq > 40").fetchall()
    copy.ledger.execute("DELETE FROM updates WHERE seq > 40")
    copy.audit.step()
    copy.ledger.executemany("INSERT INTO updates VALUES (?, ?, ?, ?, ?)", rows)
    copy.audit.step()
    assert copy.found() == []


def test_a_violation_is_told_once(copy: Copy):
    copy.append(epoch=0)
    assert len(copy.audit.step()) == 1
    assert copy.audit.step() == []


def at_the_venue_too(copy: Copy) -> None:
    """A trade of nobody's order: 2 BTC more are held there."""
    columns = [row[1] for row in copy.record.execute("PRAGMA table_info(trades)")]
    newest = copy.record.execute(
        "SELECT * FROM trades WHERE symbol = 'BTC/USDT' ORDER BY number DESC"
    ).fetchone()
    row = dict(zip(columns, newest, strict=True))
    row |= {"number": 900, "trade_id": "p900", "order_id": "", "side": "buy", "quantity": "2"}
    copy.record.execute(f"INSERT INTO trades VALUES ({', '.join('?' * len(row))})", tuple(row.values()))
    copy.record.execute("UPDATE holdings SET quantity = '2.9' WHERE symbol = 'BTC/USDT'")


def test_a_fill_in_quarantine_is_held_at_the_venue_and_not_in_the_ledger(copy: Copy):
    trade = copy.last("fills", symbol="BTC/USDT")
    strange = trade | {"id": "f-strange", "order_id": "", "trade_id": "p900", "side": "buy", "quantity": "2"}
    row = {
        "quarantine_id": "q-1",
        "account": "main",
        "exchange": "paper",
        "symbol": "BTC/USDT",
        "why": "",
        "at": 1,
    }
    copy.append(kind="quarantined", fills=[strange], quarantine=[row])
    at_the_venue_too(copy)
    assert not any("the venue holds" in found.text for found in copy.found())
    copy.append(kind="adjusted", quarantine=[row | {"resolved": True}])
    assert any("the venue holds 2.9, the ledger 0.9" in found.text for found in copy.found())


# -- ways to corrupt -----------------------------------------------------------------------------------------------------


def edit(table: str, change: Callable[[Document], Any], **like: Any) -> Corrupt:
    """Change the first row of *table* in the journal that is *like* that."""

    def corrupt(copy: Copy) -> None:
        def one(update: Document) -> bool:
            for row in update.get(table, ()):
                if all(row.get(name) == value for name, value in like.items()):
                    change(row)
                    return True
            return False

        copy.edit(one)

    return corrupt


def put(**fields: Any) -> Callable[[Document], Any]:
    """Set fields of a row; None takes one out."""

    def change(row: Document) -> None:
        row.update(fields)
        for name in [name for name, value in fields.items() if value is None]:
            del row[name]

    return change


def of_update(change: Callable[[Document], Any], **like: Any) -> Corrupt:
    """Change the first update that is *like* that, or that has a table where *like* says True."""

    def corrupt(copy: Copy) -> None:
        def one(update: Document) -> bool:
            if not all(bool(update.get(k)) if v is True else update.get(k) == v for k, v in like.items()):
                return False
            change(update)
            return True

        copy.edit(one)

    return corrupt


def sql(statement: str) -> Corrupt:
    return lambda copy: copy.ledger.execute(statement)


def at_venue(statement: str) -> Corrupt:
    return lambda copy: copy.record.execute(statement)


def again(table: str, change: Callable[[Document], Any], *, kind: str = "status", **like: Any) -> Corrupt:
    """One more update: the newest such row, changed."""

    def corrupt(copy: Copy) -> None:
        row = copy.last(table, **like)
        change(row)
        copy.append(kind=kind, **{table: [row]})

    return corrupt


def after_a_look(corrupt: Corrupt) -> Corrupt:
    def both(copy: Copy) -> None:
        assert copy.audit.step() == []
        corrupt(copy)

    return both


def new_order(**fields: Any) -> Corrupt:
    """An order reserved at the end of the run: the newest of BTC, with other ids."""

    def corrupt(copy: Copy) -> None:
        row = copy.last("orders", symbol="BTC/USDT", role="entry")
        for name in ("filled", "filled_value", "state"):
            row.pop(name, None)
        row |= {"order_id": "h-new", "intent_id": "new", **fields}
        copy.append(kind="reserved", orders=[row], intents=[_answer(row)])

    return corrupt


def _answer(row: Document) -> Document:
    return {
        "intent_id": row["intent_id"],
        "digest": "d",
        "status": "accepted",
        "order_id": row["order_id"],
        "at": 1,
    }


def blocked(code: str, **fields: Any) -> Corrupt:
    def corrupt(copy: Copy) -> None:
        row = {
            "id": "b-1",
            "at": 1,
            "intent_id": "x-1",
            "code": code,
            "reason": "",
            "account": "main",
            "exchange": "paper",
        }
        copy.append(
            kind="blocked",
            blocked=[row | {"symbol": "BTC/USDT", "held_quantity": "0", "in_the_way": [], **fields}],
        )

    return corrupt


def unknown_then_entry(copy: Copy) -> None:
    again("orders", put(state="unknown"), symbol="BTC/USDT", role="exit")(copy)
    new_order()(copy)


def book_then_entry(**fields: Any) -> Corrupt:
    def both(copy: Copy) -> None:
        again("books", put(**fields), book_id=BOOK)(copy)
        new_order()(copy)

    return both


def twice(copy: Copy) -> None:
    def one(update: Document) -> bool:
        if not update.get("fills"):
            return False
        update["fills"].append(update["fills"][0])
        return True

    copy.edit(one)


def venue_trade(**fields: Any) -> Corrupt:
    """Change the newest trade at the venue."""
    assignments = ", ".join(f"{name} = '{value}'" for name, value in fields.items())
    return at_venue(f"UPDATE trades SET {assignments} WHERE number = (SELECT max(number) FROM trades)")


def another_trade(copy: Copy) -> None:
    columns = [row[1] for row in copy.record.execute("PRAGMA table_info(trades)")]
    row = dict(
        zip(columns, copy.record.execute("SELECT * FROM trades ORDER BY number DESC").fetchone(), strict=True)
    )
    row |= {"number": row["number"] + 1, "trade_id": "p999", "quantity": "100"}
    copy.record.execute(f"INSERT INTO trades VALUES ({', '.join('?' * len(row))})", tuple(row.values()))


def flipping_exit(copy: Copy) -> None:
    at_venue(
        "UPDATE trades SET quantity = '100' WHERE order_id IN (SELECT order_id FROM orders WHERE shrink_only = 1)"
    )(copy)


def rewritten(copy: Copy) -> None:
    of_update(lambda update: update.update(why="rewritten"), kind="control")(copy)


def stale_executor(copy: Copy) -> None:
    copy.append(kind="reserved", executors={"main": 9})
    new_order()(copy)


def two_orders_of_an_intent_at_the_venue(copy: Copy) -> None:
    copy.record.execute("UPDATE orders SET intent_id = (SELECT intent_id FROM orders LIMIT 1)")


OPEN = {"symbol": "BTC/USDT"}


def reopened(copy: Copy) -> None:
    """The second position of a book takes the first one's id."""
    first, second = [row["position_id"] for update in copy.updates() for row in update.get("trades", ())][:2]
    previous = copy.ledger.execute("SELECT seq, body FROM updates").fetchall()
    for seq, body in previous:
        copy.ledger.execute("UPDATE updates SET body = ? WHERE seq = ?", (body.replace(second, first), seq))
    copy.edit(lambda _: True)


def refused_for_the_soft_exit(copy: Copy, reason: str) -> None:
    soft = copy.last("orders", intent_id="soft")["order_id"]
    again("books", put(refused_exit=f"{reason}: held by {soft}"), book_id=BOOK)(copy)


def one_digit(copy: Copy) -> None:
    """Too little to be seen by the fold, which allows for rounding; the law of money does not."""

    def change(row: Document) -> None:
        row["realized_pnl"] = format(Decimal(row["realized_pnl"]) + Decimal("1e-19"), "f")

    again("totals", change, **OPEN)(copy)


def stops(count: int, **fields: Any) -> Corrupt:
    """So many protective stops of BTC, which is long."""

    def corrupt(copy: Copy) -> None:
        held = copy.last("positions", **OPEN)
        for number in range(count):
            ids = {
                "order_id": f"h-{number}",
                "intent_id": f"new-{number}",
                "position_id": held["position_id"],
            }
            what = {
                "role": "protect",
                "side": "sell",
                "reduce_only": True,
                "quantity": "0.1",
                "stop_price": "1",
            }
            new_order(**ids | what | fields)(copy)

    return corrupt


CASES: dict[str, tuple[str, str, Corrupt]] = {
    # one side
    "opposed entry": ("INV-1", "live entries sell", new_order(side="sell")),
    "book of the other side": ("INV-1", "the book says short", again("books", put(side="short"), book_id=BOOK)),
    "two positions": ("INV-1", "is open beside", again("positions", put(position_id="p-2"), **OPEN)),
    # never bare
    "no stop-loss": ("INV-2", "has no stop-loss", again("positions", put(stop_loss=None), **OPEN)),
    "no take-profit": ("INV-2", "has no take-profit", again("positions", put(take_profit=None), **OPEN)),
    "crossed exits": ("INV-2", "wrong sides of each other", again("positions", put(stop_loss="999"), **OPEN)),
    "stop loosened by a fill": ("INV-2", "moved the stop-loss from", again("positions", put(stop_loss="1"), kind="filled", **OPEN)),
    # recorded before sent
    "order at the venue alone": ("INV-3", "has not reserved it", at_venue("UPDATE orders SET order_id = 'stranger' WHERE number = 5")),
    "other quantity sent": ("INV-3", "reserved was", at_venue("UPDATE orders SET quantity = '77' WHERE number = 5")),
    "other side sent": ("INV-3", "reserved was", at_venue("UPDATE orders SET side = 'sell' WHERE number = 1")),
    # once
    "two orders of an intent": ("INV-4", "is the second order of intent", new_order(intent_id="again")),
    "two orders of an intent at the venue": ("INV-4", "has two orders at the venue", two_orders_of_an_intent_at_the_venue),
    "fill applied twice": ("INV-4", "is applied twice", twice),
    "order without its fills": ("INV-4", "its fills sum to", edit("orders", put(filled="0.001"), state="filled")),
    "order over its quantity": ("INV-4", "it was for", edit("fills", put(quantity="5"))),
    "ended order lives again": ("INV-4", "it had ended as", again("orders", put(state="open"), state="canceled")),
    "ended order ends otherwise": ("INV-4", "it had ended as filled", again("orders", put(state="rejected"), state="filled")),
    "order changed": ("INV-4", "is not the order that was reserved", again("orders", put(quantity="9"), **OPEN)),
    "intent ends twice": ("INV-4", "ends it as rejected", again("intents", put(status="rejected"), status="filled")),
    "intent without an end": ("INV-4", "and its order is filled", edit("intents", put(status="accepted"), status="filled")),
    "trade applied otherwise": ("INV-4", "applied is", venue_trade(price="1")),
    "trade not applied": ("INV-4", "is not applied", another_trade),
    "applied without a trade": ("INV-4", "the venue has no such trade", at_venue("DELETE FROM trades WHERE number = 3")),
    "venue holds something else": ("INV-4", "the venue holds 7, the ledger 0.9",
                                   at_venue("UPDATE holdings SET quantity = '7' WHERE symbol = 'BTC/USDT'")),
    "sums differ": ("INV-4", "are worth", another_trade),
    "position id used again": ("INV-4", "which has been closed before", reopened),
    # exits only shrink
    "exit not reduce-only": ("INV-5", "is not reduce-only", new_order(role="exit", side="sell", reduce_only=False)),
    "exits above the position": ("INV-5", "work against a position of 0.9", new_order(role="exit", side="sell", reduce_only=True)),
    "exit without reduce-only at the venue": ("INV-5", "without reduce-only", at_venue("UPDATE orders SET shrink_only = 0")),
    "exit through zero at the venue": ("INV-5", "is held now", flipping_exit),
    "stop above the position": ("INV-5", "held was 0.9", stops(1, quantity="1")),
    "two stops": ("INV-5", "neither replaces the other", stops(2, kind="linear")),
    "three stops": ("INV-5", "3 protective stops are live", stops(3, displaced=True, position_id="p-gone")),
    "stop of a position that is gone": ("INV-5", "p-gone, which is gone", stops(1, position_id="p-gone")),
    "two stops on spot": ("INV-5", "2 protective stops are live", stops(2, kind="spot", replaces="new-0")),
    "stop on spot beside an exit": ("INV-5", "and a stop of 0.5 work against a position of 0.9", stops(1, kind="spot", quantity="0.5")),
    # exits always pass
    "exit refused by a halt": ("INV-6", "was refused as halted", blocked("halted")),
    "exit refused beside free quantity": ("INV-6", "while exits of 0 worked", blocked("exit_in_flight")),
    "nothing to close": ("INV-6", "the book holds 0.9", blocked("nothing_to_close")),
    "stop refused for a softer exit": ("INV-6", "that it displaces", lambda copy: refused_for_the_soft_exit(copy, "stop_loss")),
    "exit refused for nothing": ("INV-6", "which is not live", again("books", put(refused_exit="ttl: held by h0"), book_id=BOOK)),
    "entry while the book is closed": ("INV-6", "while the book was being closed", new_order()),
    "refused at rest": ("INV-6", "an exit is still refused", again("books", put(refused_exit="ttl: held by h0"), book_id=BOOK)),
    "closing without an exit": ("INV-6", "and no exit is live", again("books", put(exiting="close"), book_id=ETH_BOOK)),
    # unknown is not failed
    "entry beside an UNKNOWN order": ("INV-7", "was UNKNOWN", unknown_then_entry),
    "entry on a disputed book": ("INV-7", "on a disputed book", book_then_entry(disputed="why")),
    "ended here, open there": ("INV-7", "the venue has it open", again("orders", put(state="canceled"), state="open", role="entry")),
    "rejected here, filled there": ("INV-7", "the venue has it as filled", edit("orders", put(state="rejected"), state="filled")),
    "abandoned here, there all the same": ("INV-7", "is abandoned in the ledger", again("orders", put(state="abandoned"), state="open", role="entry")),
    "no answer at rest": ("INV-7", "is still unknown", again("orders", put(state="unknown"), state="open", role="entry")),
    "live here, ended there": ("INV-7", "at the venue it is canceled", at_venue("UPDATE orders SET state = 'canceled' WHERE state = 'open'")),
    # rebuildable
    "hole in the journal": ("INV-8", "there is a hole", sql("DELETE FROM updates WHERE seq = 30")),
    "hash": ("INV-8", "its chain makes", sql("UPDATE updates SET hash = 'x' WHERE seq = 30")),
    "body of another sequence": ("INV-8", "has a body that says 999", of_update(lambda update: update.update(seq=999), kind="control")),
    "another store": ("INV-8", "has updates of store other", of_update(lambda update: update.update(store_id="other"), kind="control")),
    "another store's record": ("INV-8", "the record belongs to store other", at_venue("INSERT OR REPLACE INTO meta VALUES ('store_id', 'other')")),
    "quantity": ("INV-8", "its fills make", again("positions", put(quantity="0.8"), **OPEN)),
    "last digit of the quantity": ("INV-8", "quantity of", again("positions", put(quantity="0.900000000000000000000001"), **OPEN)),
    "cost": ("INV-8", "cost of", again("positions", put(cost="90.0000001"), **OPEN)),
    "profit of a position": ("INV-8", "realized_pnl of", again("positions", put(realized_pnl="1"), **OPEN)),
    "entry price": ("INV-8", "entry_price of", again("positions", put(entry_price="100"), **OPEN)),
    "fees of a position": ("INV-8", "fees of", again("positions", put(fees={"BNB": "1"}), **OPEN)),
    "position from nowhere": ("INV-8", "its fills make nothing", again("positions", put(book_id=ETH_BOOK), **OPEN)),
    "position closed without a fill": ("INV-8", "its fills still make 0.9", again("positions", put(quantity="0"), **OPEN)),
    "position shown under another id": ("INV-8", "the open position is", again("positions", put(position_id="p-9"), **OPEN)),
    "fill without its position": ("INV-8", "does not show what its fill made", of_update(lambda update: update.pop("positions"), positions=True, fills=True)),
    "trade's profit": ("INV-8", "realized_pnl of trade", edit("trades", put(realized_pnl="1"))),
    "trade's exit price": ("INV-8", "exit_price of trade", edit("trades", put(exit_price="1"))),
    "trade's quantity": ("INV-8", "quantity of trade", edit("trades", put(quantity="3"))),
    "closed without a trade": ("INV-8", "without a trade", of_update(lambda update: update.pop("trades"), trades=True)),
    "trade without a close": ("INV-8", "which no fill closes", again("trades", put(position_id="p-3"))),
    "totals' count": ("INV-8", "totals count", edit("totals", put(fills=9))),
    "totals' profit": ("INV-8", "realised profit is", edit("totals", put(realized_pnl="5"))),
    "totals' last digit": ("INV-8", "that went in and out", one_digit),
    "totals' fees": ("INV-8", "fees are", edit("totals", put(fees={"BNB": "1"}))),
    "row of a table": ("INV-8", "is not what the journal makes it", sql("UPDATE positions SET body = replace(body, '0.9', '0.8')")),
    "row lost": ("INV-8", "is not in the table", sql("DELETE FROM trades")),
    "row too many": ("INV-8", "by the journal it is not", sql("INSERT INTO trades VALUES ('p-7', 1, '{}')")),
    "column": ("INV-8", "column stop_loss is 1", sql("UPDATE positions SET stop_loss = '1'")),
    "live column": ("INV-8", "column live is 1", sql("UPDATE orders SET live = 1")),
    "fill of another update": ("INV-8", "the table says 1", sql("UPDATE fills SET seq = 1")),
    "fill forgotten": ("INV-8", "the table says none", sql("DELETE FROM fills")),
    "commits lost": ("INV-8", "commits are lost", after_a_look(sql("DELETE FROM updates WHERE seq > 70"))),
    "rewritten": ("INV-8", "it was rewritten", after_a_look(rewritten)),
    "store's id": ("INV-8", "this is store other", after_a_look(sql("UPDATE store SET store_id = 'other'"))),
    "venue's own sum": ("INV-8", "its trades sum to", at_venue("UPDATE holdings SET quantity = '7' WHERE symbol = 'BTC/USDT'")),
    # one writer
    "epoch of an update": ("INV-9", "was written in epoch 0", lambda copy: copy.append(epoch=0)),
    "epoch of the store": ("INV-9", "the store is in epoch 0", after_a_look(sql("UPDATE store SET epoch = 0"))),
    "epoch of the record": ("INV-9", "the record's epoch is 0", after_a_look(at_venue("UPDATE meta SET value = '0' WHERE key = 'epoch'"))),
    "epoch of an executor": ("INV-9", "epoch 0 after 1", lambda copy: copy.append(executors={"main": 0})),
    "order of a replaced executor": ("INV-9", "had taken over", stale_executor),
}  # fmt: skip


@pytest.mark.parametrize(("number", "words", "corrupt"), CASES.values(), ids=CASES)
def test_a_corrupted_copy_is_named(copy: Copy, number: str, words: str, corrupt: Corrupt):
    corrupt(copy)

    told = copy.found()

    assert any(found.number == number and words in found.text for found in told), (
        "\n".join(map(str, told)) or "nothing found"
    )


def test_every_invariant_has_its_cases():
    assert {number for number, _, _ in CASES.values()} == set(STATEMENTS)


def test_a_crossed_stop_that_still_stands_is_named(copy: Copy):
    told = copy.found(**{"BTC/USDT": Decimal(90)})
    assert [(found.number, found.book) for found in told] == [("INV-6", BOOK)]
    assert "is open at 90" in told[0].text


# -- the command ---------------------------------------------------------------------------------------------------------


def command(directory: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "proving.audit", str(directory), *more],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def installed(copy: Copy) -> Copy:
    """The copy as an installation has it."""
    (copy.directory / "paper").mkdir()
    copy.record.close()
    (copy.directory / "paper.db").rename(copy.directory / "paper" / "main.db")
    return copy


def test_the_command_says_that_everything_holds(installed: Copy):
    done = command(installed.directory)
    assert done.returncode == 0, done.stderr
    assert "everything holds" in done.stdout
    assert "1 venue records" in done.stdout


def test_the_command_names_what_is_broken(installed: Copy):
    sql("UPDATE updates SET hash = 'x' WHERE seq = 30")(installed)
    done = command(installed.directory, "--json")
    assert done.returncode == 2
    assert {(row["state"], row["invariant"]) for row in json.loads(done.stdout)} >= {("broken", "INV-8")}


def test_the_command_tells_what_has_not_come_to_rest(installed: Copy, monkeypatch: pytest.MonkeyPatch):
    from proving.audit import __main__ as program

    monkeypatch.setattr(program, "LOOKS", 1)
    row = again("orders", put(state="unknown"), state="open", role="entry")
    row(installed)
    for_table(installed)
    broken, restless = program.run(program.open_audit(installed.directory))
    assert broken == []
    assert [found.number for found in restless] == ["INV-7"]
    assert "not at rest: INV-7" in program.table(program.open_audit(installed.directory), broken, restless)


def for_table(copy: Copy) -> None:
    """Bring the table of orders in line with the newest row of the journal."""
    row = copy.last("orders", state="unknown")
    body = OrderRow.model_validate(row).json_bytes().decode()
    copy.ledger.execute(
        "UPDATE orders SET state = 'unknown', body = ? WHERE order_id = ?", (body, row["order_id"])
    )


def test_without_a_store_there_is_nothing_to_trust(tmp_path: Path):
    done = command(tmp_path)
    assert done.returncode == 2
    assert "no store at" in done.stderr
