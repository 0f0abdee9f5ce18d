"""The real services live on spot, through real ccxt: an entry, coins by hand that are inventory, an exit, and what `reconcile` shows."""

import json
from decimal import Decimal

import pytest

from holdfast.runtime.embedded_bus import embedded
from tests.integration._cli import BTC
from tests.integration.test_live import LiveDesk

pytestmark = pytest.mark.redis


class SpotDesk(LiveDesk):
    exchange = "binance"


@pytest.fixture
def live(tmp_path):
    with embedded(tmp_path / "bus") as url:
        desk = SpotDesk(tmp_path, url, protect="scanner")
        desk.start()
        yield desk
        desk.stop()


def reconciled(live):
    """Exit code of `holdfast reconcile`, and what it shows of each book."""
    result = live.run("reconcile", "--json", "--config", live.config)
    rows = json.loads(result.stdout)
    return result.exit_code, [(row["ledger"], row["venue"], row["inventory"], row["verdict"]) for row in rows]


def test_an_entry_coins_of_others_and_an_exit_of_the_scanner(live, tmp_path):
    live.server.venue.dialect.adjust({"coins": {"BTC": "3"}})
    live.wait(lambda: "filled 1 at" in live.run("intent", "buy", BTC, "1", "--exchange", "binance").output)
    assert "LIVE, real money: main at binance" in live.ok("status")
    assert reconciled(live) == (0, [("0.999", "0.999", "3", "same")])
    exchange = live.server.venue.exchange
    exchange.by_hand("BTCUSDT", "SELL", Decimal(2))
    assert reconciled(live) == (0, [("0.999", "0.999", "1", "same")])
    live.server.venue.dialect.adjust({"coins": {"BTC": "0.5"}})
    assert reconciled(live) == (1, [("0.999", "0.5", "0", "differs")])
    live.server.venue.dialect.adjust({"coins": {"BTC": "1.999"}})

    file = tmp_path / "positions.json"
    row = {"symbol": BTC, "side": "LONG", "qty": "1", "entry_price": "100", "exchange": "binance"}
    file.write_text(json.dumps({"positions": [row]}))
    refused = live.run("adopt", str(file), "--yes", "--config", live.config)
    assert "binance is spot" in refused.output, refused.output
    assert refused.exit_code == 1

    live.prices[BTC] = "85"  # below the stop-loss of 10 %
    live.wait(lambda: not live.rows("positions"), 30)
    (trade,) = live.rows("trades")
    assert (trade["exit_reason"], trade["exchange"]) == ("stop_loss", "binance")
    ours = [(ask.side, ask.quantity) for ask in exchange.received if not ask.client_id.startswith("web_")]
    assert ours == [("BUY", Decimal(1)), ("SELL", Decimal("0.999"))]
    assert reconciled(live) == (0, [("0", "0", "1", "inventory")])


def test_a_stop_rests_and_gives_way_to_a_person_who_is_not_refused(tmp_path):
    """Nothing is set of who protects: on spot the exchange has the first word."""
    with embedded(tmp_path / "bus") as url:
        desk = SpotDesk(tmp_path, url)
        desk.start()
        desk.server.venue.dialect.adjust({"coins": {"BTC": "3"}})
        orders, buy = desk.server.venue.exchange.orders, ("intent", "buy", BTC, "1", "--stop-loss", "90")

        def stops():
            waiting = [one.ask for one in orders.values() if one.is_open and one.ask.trigger is not None]
            return [(ask.trigger, ask.quantity) for ask in waiting]

        desk.wait(lambda: "filled 1 at" in desk.run(*buy, "--exchange", "binance").output)
        desk.wait(lambda: stops() == [(Decimal(90), Decimal("0.999"))])
        desk.wait(lambda: [row["stop_at_venue"] for row in desk.rows("positions")] == ["90"])
        desk.wait(lambda: reconciled(desk)[0] == 0)
        assert [row[3] for row in reconciled(desk)[1]] == ["same", "stop at 90"]
        answer = desk.run("close", BTC, "--exchange", "binance").output
        assert "filled 0.999 at" in answer, answer
        assert stops() == []
        desk.wait(lambda: reconciled(desk) == (0, [("0", "0", "3", "inventory")]), 30)
        desk.stop()
