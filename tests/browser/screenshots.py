"""`make screenshots`: the dashboard's pictures in docs/images, of real services with made-up positions."""

import random
import sys
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from holdfast.contracts.streams import ORDER_INTENT
from tests.browser._stage import CHROMIUM, ROOT, Stage, staged

OUT = ROOT / "docs" / "images"
COINS = """
BTC ETH SOL XRP ADA DOGE AVAX DOT LINK LTC BCH ATOM NEAR APT ARB OP SUI INJ TIA SEI FIL ICP HBAR VET
ALGO XLM EOS XTZ AAVE UNI MKR CRV SNX COMP LDO RUNE GRT SAND MANA AXS APE GALA ENJ CHZ FLOW ROSE
KAVA ZIL ONE CELO IOTA NEO WAVES DASH ZEC XMR ETC BAT ZRX KNC STORJ ANKR SKL CTSI LRC IMX GMX DYDX
PENDLE JUP PYTH WIF BONK PEPE SHIB FLOKI ORDI STX RNDR FET AGIX OCEAN TAO AR TON TRX BNB CAKE TWT
KSM GLMR ASTR MINA CFX QNT EGLD THETA HNT RVN
"""
PRICES = {
    "BTC": "61250",
    "ETH": "2640",
    "BNB": "585",
    "MKR": "1480",
    "BCH": "335",
    "SOL": "148",
    "TAO": "540",
    "XMR": "156",
}


def entry_prices() -> dict[str, Decimal]:
    dice = random.Random(5)
    return {name: Decimal(PRICES.get(name) or f"{dice.uniform(0.05, 60):.4f}") for name in COINS.split()}


def crowd(stage: Stage, count: int) -> None:
    """*count* positions in three accounts, at prices that have moved since, but not as far as any exit."""
    dice, names, entries = random.Random(7), COINS.split(), entry_prices()
    for number in range(count):
        name = names[number % len(names)]
        price = entries[name]
        size = (Decimal(dice.randrange(300, 9000)) / price).quantize(
            Decimal("0.001") if price > 20 else Decimal(1)
        )
        exits = {}
        if dice.random() < 0.8:
            exits = {
                "stop_loss": f"{dice.uniform(2, 6):.1f}%",
                "take_profit": f"{dice.uniform(4, 14):.1f}%",
            }
        stage.adopt(
            f"{name}/USDT",
            "buy" if dice.random() < 0.7 else "sell",
            str(size or 1),
            str(price),
            account=("main", "swing", "grid")[number // len(names)],
            held_ms=dice.randrange(60_000, 90_000_000),
            **exits,
        )
    for name, price in entries.items():
        moved = price * (1 + Decimal(f"{max(-0.016, min(0.016, dice.gauss(0.002, 0.009))):.5f}"))
        stage.prices[f"{name}/USDT"] = moved.quantize(Decimal("0.0001") if price < 100 else Decimal("0.01"))
    stage.wait(
        lambda: sum(row["armed"] for row in stage.get("/api/positions")) >= count,
        f"{count} armed positions",
        180,
    )


def refuse(stage: Stage) -> None:
    """A few intents that an invariant or a limit refuses."""
    held = {row["symbol"]: row for row in stage.get("/api/positions")}
    for number, symbol in enumerate(("BTC/USDT", "ETH/USDT", "SOL/USDT", "LINK/USDT")):
        if symbol in held:
            side = "sell" if held[symbol]["side"] == "LONG" else "buy"
            stage.publish(
                ORDER_INTENT,
                symbol=f"{symbol}:USDT",
                side=side,
                quantity="0.5",
                strategy=("momentum", "rl_v3")[number % 2],
            )
    stage.publish(ORDER_INTENT, symbol="BTC/USDT:USDT", side="buy", quantity="9000", strategy="momentum")
    stage.publish(
        ORDER_INTENT,
        symbol="LTC/USDT:USDT",
        side="buy",
        quantity="3",
        type="limit",
        price="40",
        strategy="grid",
    )


def shoot(page: Any, name: str, **how: Any) -> None:
    page.wait_for_selector("body[data-beat]")
    page.wait_for_timeout(900)
    OUT.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=OUT / f"{name}.png", **how)
    print(f"wrote docs/images/{name}.png")


def pages(browser: Any, stage: Stage, scheme: str, width: int = 1440, height: int = 900) -> Any:
    """A page of an operator."""
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, base_url=stage.url
    )
    page = context.new_page()
    page.goto("/login")
    page.fill("[name=token]", stage.token)
    page.fill("[name=name]", "anna")
    page.click("button.go")
    return page


def story(stage: Stage) -> str:
    """A position with a life: opened, its stop tightened, closed; its id."""
    stage.publish(
        ORDER_INTENT,
        symbol="KDA/USDT:USDT",
        side="buy",
        quantity="2500",
        strategy="momentum",
        account="main",
    )
    stage.wait(lambda: any(row["symbol"] == "KDA/USDT" for row in stage.get("/api/positions")), "KDA")
    position = next(row["position_id"] for row in stage.get("/api/positions") if row["symbol"] == "KDA/USDT")
    stage.post("exits", position_id=position, stop_loss="0.158", why="below the last low")
    stage.prices["KDA/USDT"] = Decimal("0.1570")
    stage.wait(lambda: any(row["position_id"] == position for row in stage.get("/api/trades")), "the stop")
    return str(position)


PRICED = {f"{name}/USDT": price for name, price in entry_prices().items()} | {"KDA/USDT": Decimal("0.1612")}


def main() -> int:
    if CHROMIUM is None:
        print("no Chromium: apt-get install chromium, or name one in CHROMIUM", file=sys.stderr)
        return 1
    with (
        tempfile.TemporaryDirectory() as folder,
        staged(
            Path(folder), dict(PRICED), HOLDFAST_ACCOUNTS="main,swing,grid", HOLDFAST_ALERTS_RED_AFTER_S="1"
        ) as stage,
        sync_playwright() as engine,
    ):
        browser = engine.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        stage.start("alerts")
        page = pages(browser, stage, "light")
        shoot(page, "dashboard-empty")
        position = story(stage)
        crowd(stage, 200)
        refuse(stage)
        stage.post("control", state="reduce_only", scope="account", target="swing", why="earnings week")
        shoot(page, "dashboard-crowded")
        shoot(pages(browser, stage, "dark"), "dashboard-dark")
        page.goto(f"/position/{position}")
        page.locator(".timeline summary").nth(5).click()
        shoot(page, "dashboard-timeline")
        page.goto("/")
        page.locator("tbody[data-list=positions] tr").nth(1).get_by_role("button", name="Exits").click()
        shoot(page, "dashboard-exits")
        page.goto("/performance")
        shoot(page, "dashboard-performance")
        phone = pages(browser, stage, "dark", 390, 844)
        shoot(phone, "dashboard-phone")
        page.goto("/")
        stage.kill("exit_scanner")
        page.locator(".lamp[data-tone=bad]").wait_for()
        page.locator("tbody[data-list=alerts] tr", has_text="light").wait_for()
        shoot(page, "dashboard-red")
        shoot(phone, "dashboard-phone-red")
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
