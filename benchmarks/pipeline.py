"""The running services under load: intents per second, latency of one, and a stop in the middle of a burst.

Starts ledger, executor and exit_scanner (and the others with `everything`) as processes on a given bus, plays a market
of `SYMBOLS` symbols, and reads `ledger.updated` like any follower.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import orjson
import redis

from holdfast.contracts import streams

SYMBOLS = [f"S{number}/USDT:USDT" for number in range(50)]
CANONICAL = [name.partition(":")[0] for name in SYMBOLS]
CORE = ("ledger", "executor", "exit_scanner")
EVERYTHING = (*CORE, "state_publisher", "market_feed")
UPDATED, INTENT, TICK = streams.LEDGER_UPDATED.name, streams.ORDER_INTENT.name, streams.MARKET_TICK.name


class Market:
    """Publishes one tick of every symbol each `every_s`, from its own thread."""

    def __init__(self, url: str, every_s: float) -> None:
        self._client, self._every_s = redis.Redis.from_url(url, protocol=2), every_s
        self.prices = dict.fromkeys(CANONICAL, 42_000.0)
        self._running, self._number, self._lock = True, 0, threading.Lock()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        time.sleep(1)  # an entry is refused where no price is known yet

    def _run(self) -> None:
        while self._running:
            self.tick(CANONICAL)
            time.sleep(self._every_s)

    def tick(self, symbols: list[str]) -> None:
        """One tick of each of *symbols* at its price, now."""
        with self._lock:
            pipe, now = self._client.pipeline(transaction=False), time.time_ns() // 1_000_000
            for symbol in symbols:
                self._number += 1
                price = self.prices[symbol]
                body = orjson.dumps(
                    {
                        "id": f"bench:{self._number}",
                        "at": now,
                        "symbol": symbol,
                        "bid": str(price),
                        "ask": str(price),
                        "last": str(price),
                        "feed": "bench",
                        "run": "bench",
                        "live": True,
                    }
                )
                pipe.xadd(
                    TICK, {"id": f"bench:{self._number}", "body": body}, maxlen=20_000, approximate=True
                )
            pipe.execute(raise_on_error=False)  # a full bus refuses prices, too; the next come soon

    def stop(self) -> None:
        self._running = False
        self._thread.join()


@contextmanager
def services(
    url: str, names: tuple[str, ...] = CORE, more: Mapping[str, str] | None = None
) -> Iterator[dict[str, "subprocess.Popen[bytes]"]]:
    """The named services as processes, their data in a temporary directory; *more* goes into their environment."""
    root = Path(__file__).resolve().parents[1]
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {
            "PYTHONPATH": f"{root / 'libs'}:{root}",
            "HOLDFAST_DIR": folder,
            "HOLDFAST_REDIS_URL": url,
            "HOLDFAST_LOG_LEVEL": "warning",
            "HOLDFAST_PAPER_CAPITAL": "1000000000000",
            "HOLDFAST_FEED_SPEC": "synthetic?symbols=X/USDT",
        }
        limits = {
            f"HOLDFAST_LIMITS_{name}": "1000000000000"
            for name in ("MAX_SYMBOL_NOTIONAL", "MAX_ACCOUNT_NOTIONAL", "MAX_TOTAL_NOTIONAL")
        }
        environment |= limits | dict(more or {})
        running = {
            name: subprocess.Popen([sys.executable, "-m", f"services.{name}"], cwd=root, env=environment)
            for name in names
        }
        try:
            client = redis.Redis.from_url(url, protocol=2)
            waiting = set(names)
            while waiting:
                for _, fields in client.xrevrange(streams.HEARTBEAT.name, count=50):
                    waiting.discard(orjson.loads(fields[b"body"])["service"])
                time.sleep(0.05)
            time.sleep(1)
            yield running
        finally:
            for process in running.values():
                process.terminate()
            for process in running.values():
                process.wait(20)


def intent(number: str, index: int, **more: str) -> dict[str, bytes]:
    body = {
        "id": number,
        "at": time.time_ns() // 1_000_000,
        "symbol": SYMBOLS[index % len(SYMBOLS)],
        "side": "buy",
        "quantity": "0.01",
        "take_profit": "80000",
        "stop_loss": "38000",
    }
    return {"body": orjson.dumps(body | more)}


def newest(client: "redis.Redis[bytes]") -> bytes:
    rows = client.xrevrange(UPDATED, count=1)
    return rows[0][0] if rows else b"0-0"


def one_in_flight(client: "redis.Redis[bytes]", market: Market, probes: int) -> list[float]:
    """Microseconds from XADD of an intent to the read of its fill's update; a tick comes as soon as it is reserved."""
    taken = []
    for number in range(probes):
        last, wanted = newest(client), f"probe-{number}"
        symbol, started, filled = CANONICAL[number % len(CANONICAL)], time.perf_counter(), False
        client.xadd(INTENT, intent(wanted, number))
        reserved = False
        while not filled:
            if time.perf_counter() - started > 20:
                raise TimeoutError(f"{wanted}: not filled within 20 s")
            for _, entries in client.xread({UPDATED: last}, block=1 if reserved else 1000) or ():
                last = entries[-1][0]
                kinds = [fields[b"kind"] for _, fields in entries]
                reserved, filled = reserved or b"reserved" in kinds, b"filled" in kinds
            if reserved and not filled:
                market.tick([symbol])
        taken.append((time.perf_counter() - started) * 1e6)
    return sorted(taken)


def burst(client: "redis.Redis[bytes]", count: int, name: str, batch: int = 500) -> float:
    """Seconds from the first XADD of *count* intents until the last of them is a durable position."""
    start_seq = int(newest(client).partition(b"-")[0])
    started = time.perf_counter()
    for first in range(0, count, batch):
        pipe = client.pipeline(transaction=False)
        for number in range(first, min(first + batch, count)):
            pipe.xadd(INTENT, intent(f"{name}-{number}", number))
        pipe.execute()
    while int(newest(client).partition(b"-")[0]) < start_seq + 2 * count:
        if time.perf_counter() - started > 300:
            raise TimeoutError(f"{name}: {newest(client)!r} is not {start_seq + 2 * count} after 300 s")
        time.sleep(0.005)
    return time.perf_counter() - started


def stop_latency_prepare(
    client: "redis.Redis[bytes]", market: Market, name: str, index: int, timeout_s: float = 60
) -> str:
    """A position of symbol T<index> whose stop lies a little below the price."""
    symbol = f"T{index}/USDT"
    market.prices[symbol] = 42_000.0
    body = {
        "id": name,
        "at": time.time_ns() // 1_000_000,
        "symbol": symbol + ":USDT",
        "side": "buy",
        "quantity": "0.01",
        "take_profit": "80000",
        "stop_loss": "41000",
    }
    last = newest(client)
    market.tick([symbol])
    time.sleep(0.1)  # an entry is refused where no price is known yet
    client.xadd(INTENT, {"body": orjson.dumps(body)})
    _await(
        client,
        last,
        lambda update: any(row["symbol"] == symbol for row in update.get("positions", ())),
        market,
        symbol,
        timeout_s,
    )
    return symbol


def stop_latency_cross(
    client: "redis.Redis[bytes]", market: Market, index: int, timeout_s: float = 60
) -> float:
    """Milliseconds from the tick that crosses its stop to the read of the update that closes the position."""
    symbol = f"T{index}/USDT"
    last = newest(client)
    market.prices[symbol] = 40_000.0
    started = time.perf_counter()
    market.tick([symbol])
    _await(
        client,
        last,
        lambda update: any(row["symbol"] == symbol for row in update.get("trades", ())),
        market,
        symbol,
        timeout_s,
    )
    return (time.perf_counter() - started) * 1000


def stop_latency(client: "redis.Redis[bytes]", market: Market, name: str, index: int) -> float:
    """Both, one after the other."""
    stop_latency_prepare(client, market, name, index)
    return stop_latency_cross(client, market, index)


def _await(
    client: "redis.Redis[bytes]", last: bytes, wanted: object, market: Market, symbol: str, timeout_s: float
) -> None:
    deadline = time.perf_counter() + timeout_s
    while time.perf_counter() < deadline:
        for _, entries in client.xread({UPDATED: last}, block=2, count=2000) or ():
            last = entries[-1][0]
            for _, fields in entries:
                if symbol.encode() in fields[b"body"] and wanted(orjson.loads(fields[b"body"])):  # type: ignore[operator]
                    return
        market.tick([symbol])
    raise TimeoutError(f"{symbol}: nothing within {timeout_s} s")


def floor(url: str, intents: int, probe: int) -> dict[str, float]:
    """One run of the floor against the same server."""
    path = Path(__file__).with_name("floor.py")
    done = subprocess.run(
        [sys.executable, str(path), "--url", url, "--intents", str(intents), "--probe", str(probe)],
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(done.stdout)
