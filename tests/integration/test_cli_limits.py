"""`holdfast limits` and `status`: what holds entries back, on the real services; through a restart of all of them."""

import pytest

from holdfast.runtime.embedded_bus import embedded
from tests.integration._cli import BTC, ETH, Desk

LIMITS = {"cooldown_s": "3600", "max_drawdown_pct": "0.001", "max_daily_loss": "5000", "loss_streak": 1}


@pytest.fixture
def strict(tmp_path, monkeypatch):
    """An installation with rules, its own bus, and the same settings for the command line."""
    file = tmp_path / "holdfast.toml"
    lines = [f'{key} = "{value}"' for key, value in LIMITS.items()]
    file.write_text("\n".join(["[limits]", *lines]).replace('"1"', "1"))
    monkeypatch.setenv("HOLDFAST_CONFIG", str(file))
    with embedded(tmp_path / "bus") as url:
        yield lambda: Desk(tmp_path, url, LIMITS)


def test_what_holds_entries_back_is_shown_and_outlives_everybody(strict):
    desk = strict()
    desk.start()
    desk.wait(lambda: desk.run("intent", "buy", BTC, "1").exit_code == 0)
    assert "no rule holds entries back" in desk.ok("limits")
    desk.prices[BTC] = "98"
    desk.wait(lambda: {"main"} <= {hold["scope"] for hold in desk.rows("limits")["holds"]})
    desk.ok("close", BTC)
    desk.wait(lambda: len(desk.rows("limits")["holds"]) == 3)
    (account,) = desk.rows("limits")["accounts"]
    assert (account["nav"], account["losses"], account["missing"]) == ("99998", 1, None)
    assert "limits.max_drawdown_pct is 0.001" in desk.ok("status")
    desk.stop()

    again = strict()
    again.start()
    codes = {(hold["scope"], hold["code"]) for hold in again.rows("limits")["holds"]}
    assert codes == {("main", "max_drawdown"), ("main", "loss_streak"), ("main/paper/BTC/USDT", "cooldown")}
    refused = again.run("intent", "buy", ETH, "1")
    assert "max_drawdown" in refused.output
    again.ok("resume")
    again.wait(lambda: "loss_streak" in again.run("intent", "buy", ETH, "1").output)
    assert "a person resumes" not in again.ok("limits")
    again.stop()


def test_a_ledger_that_does_not_answer_is_not_taken_for_one_without_rules(silent):
    result = silent.run("limits")
    assert (result.exit_code, result.stdout) == (1, "")
