"""What a person sees and does on the dashboard: every view, every button, and what happens when services die."""

import signal
import time
from decimal import Decimal
from pathlib import Path

import pytest

from holdfast.contracts.messages import Fill
from holdfast.contracts.streams import CONTROL, EXIT_THRESHOLDS, FILL, ORDER_INTENT, PREDICTION
from holdfast.runtime.clock import SystemClock
from tests.browser._stage import Stage

pytestmark = [pytest.mark.redis, pytest.mark.timeout(120)]
AXE = Path(__file__).parent / "vendor" / "axe.min.js"
BTC, ETH = "BTC/USDT", "ETH/USDT"


@pytest.fixture(autouse=True)
def flat(stage: Stage):
    """Nothing is left of earlier tests: no position, no order, trading active, prices as at the start."""
    stage.prices.update({BTC: Decimal(100), ETH: Decimal(10)})
    stage.post("control", state="active", confirm="resume", why="a new test")
    for _ in range(5):
        if not stage.get("/api/positions") and not stage.get("/api/orders"):
            break
        stage.post("flatten", confirm="flatten")
    stage.wait(lambda: not stage.get("/api/positions"), "no position to be left")
    stage.wait(lambda: stage.get("/api/status")["status"] == "consistent", "a green light")


def held(stage: Stage, symbol: str = BTC, **exits: str) -> str:
    """A position that is open and armed; its id."""
    stage.adopt(symbol, price=str(stage.prices[symbol]), **exits)
    stage.wait(
        lambda: any(row["symbol"] == symbol and row["armed"] for row in stage.get("/api/positions")),
        f"{symbol} to be armed",
    )
    return next(row["position_id"] for row in stage.get("/api/positions") if row["symbol"] == symbol)


def row_of(page, symbol: str):
    return page.locator("tbody[data-list=positions] tr", has_text=symbol)


def looks(page, path: str = "/") -> None:
    page.goto(path)
    page.wait_for_selector("body[data-beat]")


def answered(page, dialog: str, words: str) -> None:
    """The dialog shows the ledger's *words*; it closes by itself when the wish was fulfilled."""
    page.locator(f"#toast, #dlg-{dialog}[open] output", has_text=words).locator(
        "visible=true"
    ).first.wait_for()


# -- looking ------------------------------------------------------------------------------------------------------------


def test_one_look_tells_that_everything_is_protected(stage, page):
    held(stage, BTC)
    held(stage, ETH)
    looks(page)

    page.locator("[data-c=armed]", has_text="2/2 positions armed").wait_for()
    assert page.inner_text("[data-c=light]").lower() == "consistent"
    assert page.get_attribute(".lamp", "data-tone") == "good"
    assert "working exits" in page.inner_text("[data-c=sentence]")
    page.wait_for_function("document.title.startsWith('🟢 consistent · 2/2 armed')")
    assert page.get_attribute("#favicon", "href") == "/static/favicon-good.svg"
    assert page.inner_text(".mode").startswith("PAPER")


def test_a_position_is_shown_with_its_exits_its_risk_and_why_it_is_open(stage, page):
    held(stage, BTC, stop_loss="95", take_profit="120")
    stage.prices[BTC] = Decimal(102)
    looks(page)

    row = row_of(page, BTC)
    row.locator("[data-c=mark]", has_text="102").wait_for()
    row.locator("[data-c=pnl]", has_text="+2.00 USDT").wait_for()
    assert row.locator("[data-c=sl]").inner_text() == "95"
    assert row.locator("[data-c=sl-distance]").inner_text() == "6.86 %"
    assert row.locator("[data-c=risk]").inner_text() == "5.00 USDT"
    assert row.locator("[data-c=stop-where]").inner_text() == "Holdfast watches it"
    assert row.locator("[data-c=why]").inner_text() == "stop 6.86 % away, target 17.65 % away"
    assert (
        row.locator("[data-c=bar]").get_attribute("aria-label") == "stop 95, entry 100, mark 102, target 120"
    )
    assert row.locator("[data-c=bar-mark]").get_attribute("cx") == "28.0"


def test_what_opens_and_closes_appears_and_disappears_without_a_reload(stage, page):
    looks(page)
    page.locator("text=No open positions. Nothing needs protection.").wait_for()

    held(stage, ETH)
    row_of(page, ETH).wait_for()
    stage.post("flatten", confirm="flatten")

    row_of(page, ETH).wait_for(state="detached")


def test_refused_intents_are_shown_with_code_what_was_held_and_the_rate(stage, page):
    held(stage, BTC)
    looks(page)

    stage.publish(ORDER_INTENT, symbol=f"{BTC}:USDT", side="sell", quantity="2", strategy="contrary")

    row = page.locator("tbody[data-list=blocked] tr", has_text="contrary").first
    row.wait_for()
    assert row.locator("[data-c=code]").inner_text() == "opposed"
    assert row.locator("[data-c=held]").inner_text() == "long 1"
    assert row.locator("[data-c=attempted]").inner_text() == "sell 2"
    assert "a minute" in page.locator("[data-c=blocked-rate]").first.inner_text()


def test_services_show_beat_lag_pending_and_restarts(stage, page):
    looks(page)

    row = page.locator("tbody[data-list=services] tr[data-row=ledger]")
    assert row.locator("[data-c=beat]").inner_text() == "now"
    assert row.locator("[data-c=pending]").inner_text().isdigit()
    assert row.locator("[data-c=version]").inner_text() == "0.1.0"


def test_the_timeline_goes_from_the_intent_to_the_exit_with_raw_entries(stage, page):
    stage.publish(
        ORDER_INTENT,
        id=(key := stage.new_id()),
        symbol=f"{BTC}:USDT",
        side="buy",
        quantity="1",
        strategy="story",
    )
    stage.wait(lambda: stage.get("/api/positions"), "the position")
    position = stage.get("/api/positions")[0]["position_id"]
    assert stage.post("close", position_id=position).status_code == 200

    looks(page, f"/position/{position}")

    titles = page.locator(".timeline summary").all_inner_texts()
    story = "\n".join(titles)
    for words in (
        "wish: buy 1 BTC/USDT",
        "asks the ledger to reserve",
        "trade: buy 1 at 100",
        "position long 1",
        "wish: close",
        "closed for close",
    ):
        assert words in story
    page.locator(".timeline summary").first.click()
    assert key in page.locator(".timeline pre").first.inner_text()


def test_performance_draws_equity_and_lists_exit_reasons_and_trades(stage, page):
    position = held(stage, BTC)
    stage.post("close", position_id=position)
    stage.wait(lambda: any(row["position_id"] == position for row in stage.get("/api/trades")), "the trade")

    looks(page, "/performance")

    page.locator("#equity canvas, #equity:has-text('Not enough points')").first.wait_for()
    page.locator("th", has_text="close").first.wait_for()
    page.locator(f"a[href='/position/{position}']").click()
    page.locator("h1", has_text="BTC/USDT long").wait_for()


def test_learning_shows_what_models_and_learner_have_said(stage, page):
    now = SystemClock().wall_ms()
    stage.publish(
        PREDICTION,
        id=stage.new_id(),
        at=now,
        symbol=BTC,
        direction="long",
        confidence="0.8",
        model="oracle",
        expires_at=now + 600_000,
    )
    stage.publish(
        EXIT_THRESHOLDS,
        id=stage.new_id(),
        at=now,
        version=1,
        values={"min_hold_s": "90"},
        evidence={"trades": "120"},
        by="learner",
        why="120 trades say so",
    )
    stage.wait(
        lambda: stage.get("/api/learning")["predictions"] and stage.get("/api/learning")["versions"],
        "both to be heard",
    )

    looks(page, "/learning")

    assert "oracle" in page.inner_text("main")
    assert "80 %" in page.inner_text("main")
    assert "Mode shadow. New positions get the policy" in page.inner_text("main")
    assert "min_hold_s 90" in page.inner_text("main")
    assert "trades 120" in page.inner_text("main")


def test_logs_say_where_they_are_when_up_does_not_keep_them(stage, page):
    looks(page, "/logs?words=abc")

    assert "docker compose logs" in page.inner_text("main")


# -- acting -----------------------------------------------------------------------------------------------------------------


def test_without_a_login_there_is_no_button(stage, page):
    held(stage, BTC)
    looks(page)

    assert page.locator("[data-open]").count() == 0
    assert "log in with the operate token" in page.inner_text(".steer")


def test_closing_one_position(stage, operator):
    held(stage, BTC)
    held(stage, ETH)
    row_of(operator, BTC).get_by_role("button", name="Close").click()
    assert operator.inner_text("#dlg-close h2") == f"Close {BTC}"
    operator.click("#dlg-close .go")

    answered(operator, "close", "filled 1 at 100")
    row_of(operator, BTC).wait_for(state="detached")
    assert row_of(operator, ETH).count() == 1


def test_exits_are_tightened_freely_and_loosened_only_with_the_symbol_typed(stage, operator):
    held(stage, BTC, stop_loss="90", take_profit="120")
    row_of(operator, BTC).get_by_role("button", name="Exits").click()
    operator.fill("#dlg-exits [name=stop_loss]", "95")
    operator.click("#dlg-exits .go")
    row_of(operator, BTC).locator("[data-c=sl]", has_text="95").wait_for()

    row_of(operator, BTC).get_by_role("button", name="Exits").click()
    operator.fill("#dlg-exits [name=stop_loss]", "80")
    operator.click("#dlg-exits .go")
    answered(operator, "exits", f"type {BTC} because this loosens")
    operator.fill("#dlg-exits [name=confirm]", BTC)
    operator.click("#dlg-exits .go")

    row_of(operator, BTC).locator("[data-c=sl]", has_text="80").wait_for()


def test_halting_says_who_when_and_why_and_resuming_wants_a_word(stage, operator):
    operator.click("text=Halt >> visible=true")
    operator.fill("#dlg-control [name=why]", "storm")
    operator.click("#dlg-control .go")
    operator.locator("[data-c=trading]", has_text="halted").wait_for()
    assert operator.inner_text("[data-c=trading-who]") == "by dashboard:operate:anna: storm"

    operator.click("text=Resume >> visible=true")
    operator.click("#dlg-control .go")
    answered(operator, "control", "type resume")
    operator.fill("#dlg-control [name=confirm]", "resume")
    operator.click("#dlg-control .go")

    operator.locator("[data-c=trading]", has_text="active").wait_for()


def test_one_account_is_halted_and_the_others_are_not(stage, operator):
    operator.click("text=Reduce only >> visible=true")
    operator.select_option("#dlg-control [name=scope]", "account")
    offered = operator.eval_on_selector_all("#scopes option", "all => all.map(one => one.value)")
    assert offered[0] == "main"
    assert "main/paper/BTC/USDT" in offered or stage.get("/api/trades") == []
    operator.fill("#dlg-control [name=target]", "main")
    operator.click("#dlg-control .go")

    row = operator.locator("tbody[data-list=control] tr", has_text="account main")
    row.locator("[data-c=state]", has_text="reduce-only").wait_for()
    assert operator.inner_text("[data-c=trading]") == "Active"
    stage.post("control", state="active", scope="account", target="main", confirm="resume")


def test_canceling_a_resting_order(stage, operator):
    stage.publish(ORDER_INTENT, symbol=f"{BTC}:USDT", side="buy", quantity="1", type="limit", price="50")
    row = operator.locator("tbody[data-list=orders] tr", has_text="buy 1 at 50")
    row.get_by_role("button", name="Cancel").click()
    operator.click("#dlg-cancel .go")

    row.wait_for(state="detached")
    assert stage.get("/api/orders") == []


def test_flattening_wants_the_word_and_closes_everything(stage, operator):
    held(stage, BTC)
    held(stage, ETH)
    operator.click("text=Flatten all")
    operator.fill("#dlg-flatten [name=confirm]", "flaten")
    operator.click("#dlg-flatten .go")
    answered(operator, "flatten", "type flatten")
    operator.fill("#dlg-flatten [name=confirm]", "flatten")
    operator.click("#dlg-flatten .go")

    answered(operator, "flatten", "2 of 2 done")
    operator.locator("text=No open positions. Nothing needs protection.").wait_for()


def stranger(symbol: str, side: str, price: str, **more) -> Fill:
    """A fill that belongs to no order of ours."""
    now = SystemClock().wall_ms()
    key = f"s-{time.time_ns()}"
    return Fill(
        id=key, at=now, account="main", exchange="paper", symbol=symbol, trade_id=key, side=side, quantity=Decimal(3),
        price=Decimal(price), executed_at=now, instrument="linear", settle="USDT", **more,
    )  # fmt: skip


def test_what_is_in_quarantine_is_adopted_with_exits(stage, operator):
    symbol = "SOL/USDT"
    stage.prices[symbol] = Decimal(20)
    stage.publish(FILL, stranger(symbol, "buy", "20", order_id="strangers"))
    row = operator.locator("tbody[data-list=quarantine] tr", has_text=symbol)
    row.wait_for()
    row.get_by_role("button").click()
    operator.fill("#dlg-quarantine [name=confirm]", symbol)
    operator.click("#dlg-quarantine .go")

    answered(operator, "quarantine", f"{symbol} adopted, with exits")
    row.wait_for(state="detached")
    position = row_of(operator, symbol)
    position.wait_for()
    stop = position.locator("[data-c=sl]").inner_text()
    stage.publish(FILL, stranger(symbol, "sell", "20", kind="adjustment"))  # the paper venue never held it
    position.wait_for(state="detached")
    assert 0 < float(stop) < 20


def test_an_alert_is_shown_and_somebody_says_that_he_has_seen_it(stage, operator):
    stage.start("alerts")  # it stays: the light would be yellow without it
    stage.publish(CONTROL, nonsense="2")
    operator.locator("tbody[data-list=alerts] tr", has_text="ledger could not use control").first.wait_for()
    key = stage.get("/api/alerts")[0]["key"]
    row = operator.locator(f"tbody[data-list=alerts] tr[data-row='{key}']")
    assert operator.locator(".card", has_text="Alerts").first.is_visible()
    row.get_by_role("button", name="I have seen it").click()
    operator.click("#dlg-ack .go")

    answered(operator, "ack", "no reminders until it has recovered")
    row.locator("[data-c=state]", has_text="seen by").wait_for()
    row.get_by_role("button").wait_for(state="hidden")
    looks(operator)  # rendered by the server this time
    row.locator("[data-c=state]", has_text="seen by").wait_for()
    assert row.get_by_role("button").count() == 0  # hidden from screen readers, too
    assert {one["key"]: one["state"] for one in stage.get("/api/alerts")}[key] == "acknowledged"


def test_a_dead_letter_is_put_back(stage, operator):
    stage.publish(CONTROL, nonsense="1")
    stage.wait(lambda: stage.get("/api/dead-letters"), "the dead letter")
    looks(operator, "/dead-letters")
    letter = operator.locator(".letter").first
    assert "nonsense" in letter.locator("pre").inner_text()

    letter.get_by_role("button", name="Put back").click()

    letter.locator("output", has_text="put back onto control as entry").wait_for()


def test_logging_out_takes_the_buttons_away(stage, operator):
    operator.click("#logout")
    operator.locator("text=Log in").first.wait_for()

    looks(operator)
    assert operator.locator("[data-open]").count() == 0


# -- when something dies ------------------------------------------------------------------------------------------------------


def test_the_light_turns_red_within_two_seconds_of_the_scanners_death_and_green_after_its_restart(
    stage, page
):
    held(stage, BTC)
    looks(page)
    page.locator(".lamp[data-tone=good]").wait_for()
    try:
        stage.kill("exit_scanner")
        died = time.monotonic()
        page.locator(".lamp[data-tone=bad]").wait_for()
        took = time.monotonic() - died
        page.locator(".reasons li", has_text="exit_scanner has ended").wait_for()
        page.wait_for_function("document.title.startsWith('🔴 critical')")
        assert page.get_attribute("#favicon", "href") == "/static/favicon-bad.svg"
        row_of(page, BTC).and_(page.locator("[data-tone=bad]")).wait_for()
    finally:
        stage.start("exit_scanner")
    page.locator(".lamp[data-tone=good]").wait_for(timeout=30_000)
    assert took < 2.0


def test_a_scanner_that_hangs_is_not_taken_for_one_that_works(stage, page):
    """Its connections stay open: only its heartbeats tell."""
    held(stage, BTC)
    looks(page)
    page.locator(".lamp[data-tone=good]").wait_for()
    try:
        stage.signal("exit_scanner", signal.SIGSTOP)
        page.locator(".reasons li", has_text="exit_scanner silent for").wait_for()
        assert page.get_attribute(".lamp", "data-tone") == "bad"
    finally:
        stage.signal("exit_scanner", signal.SIGCONT)
    page.locator(".lamp[data-tone=good]").wait_for(timeout=30_000)


def test_a_page_whose_dashboard_died_says_so_and_comes_back_by_itself(stage, page):
    looks(page)
    try:
        stage.kill("dashboard")
        page.locator("#offline", has_text="not connected").wait_for()
        assert page.get_attribute(".lamp", "data-tone") == "bad"
        page.wait_for_function("document.title.startsWith('🔴 not connected')")
    finally:
        stage.start("dashboard")
    page.locator("#offline").wait_for(state="hidden", timeout=30_000)
    page.locator(".lamp[data-tone=good]").wait_for(timeout=30_000)


# -- for everybody ----------------------------------------------------------------------------------------------------------------


def test_what_strangers_wrote_is_shown_as_text(stage, page):
    evil = "<img src=x onerror=\"document.body.dataset.hacked='1'\"><script>document.body.dataset.hacked='2'</script>"
    looks(page)
    stage.post("control", state="reduce_only", scope="book", target="main/paper/<b>X</b>", why=evil)

    page.locator("tbody[data-list=control] tr", has_text="<img src=x").wait_for()
    looks(page)  # rendered by the server this time
    assert evil in page.inner_text("tbody[data-list=control]")
    assert page.evaluate("document.body.dataset.hacked ?? 'no'") == "no"
    assert page.locator("tbody img, tbody script").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_serious_finding_of_axe(stage, operator, scheme):
    held(stage, BTC)
    operator.emulate_media(color_scheme=scheme)
    serious = {}
    for path in ("/", "/performance", "/learning", "/dead-letters", "/logs", "/login"):
        operator.goto(path)
        operator.wait_for_load_state("load")
        operator.evaluate(AXE.read_text(encoding="utf-8"))
        found = operator.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
        serious |= {
            (path, one["id"]): [node["html"][:160] for node in one["nodes"]][:3]
            for one in found
            if one["impact"] in {"serious", "critical"}
        }

    assert serious == {}


def test_on_a_phone_nothing_has_to_be_pushed_sideways(stage, page):
    held(stage, BTC)
    page.set_viewport_size({"width": 390, "height": 844})
    for path in ("/", "/performance", "/learning", "/dead-letters", "/logs"):
        looks(page, path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_keys_and_preferences(stage, page):
    held(stage, BTC)
    held(stage, ETH)
    looks(page)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("/")
    page.keyboard.type("eth")
    row_of(page, BTC).wait_for(state="hidden")
    assert row_of(page, ETH).is_visible()

    page.click("#theme")
    assert page.get_attribute("html", "data-theme") == "dark"
    page.click("#zone")
    assert page.inner_text("#zone") == "Local"
    page.reload()
    assert (page.get_attribute("html", "data-theme"), page.inner_text("#zone")) == ("dark", "Local")
