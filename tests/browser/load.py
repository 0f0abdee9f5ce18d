"""500 positions and 1,000 ticks a second before an open page: how live it stays, and what it costs. Run by hand; prints a table.

.venv/bin/python -m tests.browser.load
"""

import sys
import tempfile
import threading
import time
from decimal import Decimal
from pathlib import Path

from playwright.sync_api import sync_playwright

from holdfast.contracts.streams import MARKET_TICK
from holdfast.contracts.wire import fields_of
from tests.browser._stage import CHROMIUM, Stage, staged

POSITIONS, TICKS_PER_S, SECONDS = 500, 1_000, 60


def rss_mb(pid: int) -> float:
    """Memory of a process now, MB."""
    line = next(
        line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")
    )
    return int(line.split()[1]) / 1024


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


class Market:
    """1,000 ticks a second, each symbol in its turn."""

    def __init__(self, stage: Stage, symbols: list[str]) -> None:
        self.stage, self.symbols, self.sent, self.over = stage, symbols, 0, threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        started = time.monotonic()
        while not self.over.is_set():
            due = int((time.monotonic() - started) * TICKS_PER_S) - self.sent
            with self.stage.redis.pipeline(transaction=False) as pipe:
                for _ in range(min(due, 200)):
                    self.sent += 1
                    price = Decimal(10_000 + self.sent // len(self.symbols) % 200) / 100
                    pipe.xadd(
                        MARKET_TICK.name,
                        fields_of(self.stage.tick(self.symbols[self.sent % len(self.symbols)], price)),
                        maxlen=20_000,
                    )
                pipe.execute()
            time.sleep(0.01)


def main() -> int:
    with (
        tempfile.TemporaryDirectory() as folder,
        staged(
            Path(folder), HOLDFAST_DASHBOARD_REFRESH_MS="500", HOLDFAST_STATE_MAX_HEARTBEAT_AGE_S="5"
        ) as stage,
        sync_playwright() as engine,
    ):
        symbols = [f"S{number:03}/USDT" for number in range(POSITIONS)]
        for symbol in symbols:
            stage.adopt(symbol)
        stage.wait(lambda: len(stage.get("/api/positions")) == POSITIONS, "the positions", 60)
        stage.prices = {}
        market = Market(stage, symbols)
        market.thread.start()
        pid = stage.pid("dashboard")
        page = engine.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"]
        ).new_page()
        page.goto(stage.url)
        page.wait_for_selector("body[data-beat]")
        page.evaluate("""() => { window.beats = []; new MutationObserver(() => window.beats.push(performance.now()))
            .observe(document.body, {attributes: true, attributeFilter: ['data-beat']}); }""")
        page.wait_for_timeout(5_000)
        before = (rss_mb(pid), cpu_s(pid), market.sent, time.monotonic())
        page.wait_for_timeout(SECONDS * 1000)
        after = (rss_mb(pid), cpu_s(pid), market.sent, time.monotonic())
        market.over.set()
        took = after[3] - before[3]
        gaps = sorted(page.evaluate("window.beats.slice(1).map((at, index) => at - window.beats[index])"))
        delay = page.evaluate("performance.memory ? performance.memory.usedJSHeapSize / 1e6 : 0")
        print(
            f"positions {len(stage.get('/api/positions'))}, ticks a second {(after[2] - before[2]) / took:.0f}, light {stage.get('/api/status')['status']}"
        )
        print(
            f"updates of the page: {len(gaps) / (took + 5):.2f} a second, gap p50 {gaps[len(gaps) // 2]:.0f} ms, p99 {gaps[int(len(gaps) * 0.99)]:.0f} ms, longest {gaps[-1]:.0f} ms"
        )
        print(
            f"dashboard: memory {before[0]:.0f} MB at first, {after[0]:.0f} MB after {took:.0f} s; {100 * (after[1] - before[1]) / took:.0f} % of one core; page heap {delay:.0f} MB"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
