"""`kill -9`, for real: executors as processes, dead behind the numbered steps of docs/order-life.md, one after another at one ledger and one
simulated venue. Whoever comes next finds out what is true.

    PYTHONPATH=libs:. python -m tests.venue._kills             every step, entry and exit: a few minutes
    PYTHONPATH=libs:. python -m tests.venue._kills binance     on spot, where each exit has a stop give way first
"""

import asyncio
import itertools
import os
import signal
import sys
import tempfile
import time
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

from holdfast.contracts.messages import Tick
from holdfast.contracts.streams import (
    FILL,
    INTENT_RESULT,
    LEDGER,
    MARKET_TICK,
    ORDER_INTENT,
    ORDER_INTENT_EXIT,
)
from holdfast.contracts.wire import decode
from holdfast.runtime.clock import SystemClock
from holdfast.runtime.embedded_bus import embedded
from holdfast.runtime.secret_files import write_secret
from tests.contract._bus import Bus
from tests.contract._pipeline import Pipeline
from tests.contract._wait import wait_until
from tests.venue._mortal import BY_ITSELF
from tests.venue._stage import KEY, SECRET, quote
from venue_sim.faults import Fault, Kind
from venue_sim.server import Server

FUTURES = "binanceusdm"
BIDS = {"BTC/USDT": "42000", "ETH/USDT": "2500", "SOL/USDT": "100"}
SIZES = {"BTC/USDT": "0.1", "ETH/USDT": "1", "SOL/USDT": "10"}
ORDER = {FUTURES: ("POST", "/fapi/v1/order"), "binance": ("POST", "/api/v3/order")}
FEE = {FUTURES: Decimal(0), "binance": Decimal("0.001")}
"""Of a purchase, taken in coins."""
NOT_YET = {"venue_unreadable", "no_price", "stale_price"}
"""Why an entry is refused right after a start."""
NEVER_SENT = (2, 3, 4)
"""Reserved, and not sent: they end when the venue can no longer take them, which takes a while, for three at once as long as for one."""


class Executors:
    """The executor's processes, one at a time."""

    def __init__(self, process):
        self._process, self.pid, self.ends = process, 0, {}
        self.deaths = 0

    async def _line(self, *words):
        self._process.stdin.write((" ".join(map(str, words)) + "\n").encode())
        await self._process.stdin.drain()
        before = self.pid
        await wait_until(lambda: self.pid != before, "an executor to be forked")

    async def listen(self):
        while line := await self._process.stdout.readline():
            words = line.split()
            if words[:1] == [b"pid"]:
                self.pid = int(words[1])
            elif words[:1] == [b"gone"]:
                self.ends[int(words[1])] = int(words[2])

    async def doomed(self, step, intent):
        await self._line("die", step, intent)

    async def live(self):
        await self._line("live")

    async def dies(self):
        """Returns once the present one has died, by SIGKILL and nothing else."""
        await wait_until(lambda: self.pid in self.ends, "the executor to die", 60)
        assert self.ends[self.pid] == signal.SIGKILL
        self.deaths += 1

    async def kill(self):
        os.kill(self.pid, signal.SIGKILL)
        await self.dies()


class World:
    def __init__(self, bus, pipeline, server, executors, wire):
        self.wire = wire
        self.bus, self.pipeline, self.server, self.executors = bus, pipeline, server, executors
        self._wishes, self.is_over = 0, False
        self.results = {}
        """The newest answer to each intent."""
        self.expected = dict.fromkeys(BIDS, Decimal(0))

    @property
    def exchange(self):
        return self.server.venue.exchange

    def taken(self):
        """How many orders the venue has taken, stops apart."""
        return sum(ask.trigger is None for ask in self.exchange.received)

    async def market(self):
        """Prices stand still, and are told again and again."""
        clock = SystemClock()
        for number in itertools.count(1):
            if self.is_over:
                return
            for symbol, bid in BIDS.items():
                ask = Decimal(bid) + Decimal("0.1")
                quote(self.server, bid, str(ask), "100", symbol.replace("/", ""))
                await self.bus.add(MARKET_TICK, Tick(
                    id=f"t-{symbol}-{number}", at=clock.wall_ms(), symbol=symbol, bid=Decimal(bid), ask=ask, last=Decimal(bid),
                    feed="hand", run="r1",
                ))  # fmt: skip
            await clock.sleep(0.2)

    async def hear(self):
        """Answers, as they come."""
        name, last = INTENT_RESULT.name, "0"
        while not self.is_over:
            for _, rows in await self.bus.redis.xread({name: last}, block=100):
                for last, fields in rows:
                    result = decode(INTENT_RESULT, last.decode(), fields).message
                    self.results[result.intent_id] = result

    async def wish(self, symbol, *, is_exit, is_limit=False, until=None):
        """One wish, asked for anew while the executor has no prices or has not read the account; the intent that counted.

        *until*: what else ends the asking, once it is true.
        """
        self._wishes += 1
        wish = {"symbol": symbol, "exchange": self.wire}
        wish |= {"action": "close"} if is_exit else {"side": "buy", "quantity": SIZES[symbol]}
        if is_limit:  # one that is taken at once, and says that it rests first
            price = Decimal(BIDS[symbol]) * (Decimal("0.99") if is_exit else Decimal("1.01"))
            wish |= {"type": "limit", "price": str(price)}
        attempt = 0
        while True:
            attempt += 1
            intent = f"w{self._wishes}.{attempt}"
            await self.bus.add(
                ORDER_INTENT_EXIT if is_exit else ORDER_INTENT, **wish, id=intent, at=SystemClock().wall_ms()
            )
            await wait_until(
                lambda intent=intent: intent in self.results or (until is not None and until()),
                "an answer",
                60,
            )
            answer = self.results.get(intent)
            if answer is None or answer.status != "blocked" or answer.code not in NOT_YET:
                return intent

    async def dies_behind(self, step, symbol, *, is_exit):
        """One wish, in whose order's life the executor dies."""
        executors = self.executors
        if step in BY_ITSELF:
            await executors.doomed(step, f"w{self._wishes + 1}")
            pid = executors.pid
            intent = await self.wish(
                symbol, is_exit=is_exit, is_limit=step == 8, until=lambda: pid in executors.ends
            )
            await executors.dies()
        else:
            await executors.live()
            order = ORDER[self.wire]
            asked, taken = self.server.venue.log.count(order), self.taken()
            fault = Fault(Kind.DELAYED, *order, delay_ms=700) if step == 5 else Fault(Kind.NO_ANSWER, *order)
            self.server.venue.faults.arm(fault)

            def is_there():
                if step == 5:
                    return self.server.venue.log.count(order) > asked
                return self.taken() > taken

            intent = await self.wish(symbol, is_exit=is_exit, until=is_there)
            await wait_until(is_there, "the request at the venue", 60)
            await executors.kill()
            self.server.venue.faults.clear()
        if step not in self.never_sent(is_exit=is_exit):
            self.expected[symbol] += -self.expected[symbol] if is_exit else self.size(symbol)
        return intent

    def size(self, symbol):
        """What an entry leaves in the books."""
        return Decimal(SIZES[symbol]) * (1 - FEE[self.wire])

    def never_sent(self, *, is_exit):
        """On spot an exit waits for the stop, so what was published of it is no reservation: it comes again."""
        return NEVER_SENT[1:] if is_exit and self.wire != FUTURES else NEVER_SENT

    def is_guarded(self, symbol):
        """Whether a stop rests; on futures nobody waits for it."""
        if self.wire == FUTURES:
            return True
        name = symbol.replace("/", "")
        return any(
            one.is_open and one.ask.trigger is not None and one.ask.symbol == name
            for one in self.exchange.orders.values()
        )

    async def settled(self, intents):
        """Every one of *intents* has come to its end."""

        def ended():
            found = [self.results.get(intent) for intent in intents]
            return all(one is not None and one.status not in {"accepted", "unknown"} for one in found)

        await wait_until(ended, f"the ends of {intents}", 60)

    def redelivered(self, intent, symbol):
        """Whoever comes next may be asked for an entry before it has read the account; then it says so, and nothing is held."""
        result = self.results[intent]
        if result.status == "blocked" and result.code in NOT_YET:
            self.expected[symbol] -= self.size(symbol)

    def held(self):
        found = {symbol: Decimal(0) for symbol in BIDS}
        if self.wire != FUTURES:
            for trade in self.exchange.trades:
                bought = trade.quantity - (trade.fee if trade.side == "BUY" else 0)
                found[f"{trade.symbol.removesuffix('USDT')}/USDT"] += (
                    bought if trade.side == "BUY" else -bought
                )
            return found
        for (symbol, _), position in self.exchange.account.positions.items():
            found[f"{symbol.removesuffix('USDT')}/USDT"] += position.quantity
        return found

    async def is_true(self):
        """Ledger, venue and expectation are one; each trade is recorded once; nothing is open in the books."""
        view = await self.pipeline.view()
        ours = dict.fromkeys(BIDS, Decimal(0)) | {row.symbol: row.quantity for row in view.positions.values()}
        assert ours == self.held() == self.expected
        assert {row.role for row in view.orders.values()} <= {"protect"}
        fills = {(fill.order_id, fill.trade_id) for fill in await self.bus.of(FILL)}
        assert {trade for _, trade in fills} == {str(trade.number) for trade in self.exchange.trades}
        asked = [ask.client_id for ask in self.exchange.received]
        assert len(asked) == len(set(asked)), "no order was sent twice"


@asynccontextmanager
async def _bus(url):
    bus = Bus(url)
    try:
        yield bus
    finally:
        await bus.close()


@asynccontextmanager
async def _server(wire):
    server = Server(SystemClock(), key=KEY, secret=SECRET, dialect=wire)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@asynccontextmanager
async def world(tmp_path, wire=FUTURES):
    for name, text in (("key", KEY), ("secret", SECRET)):
        write_secret(tmp_path / name, text)
    with embedded(tmp_path / "bus") as url:
        async with _server(wire) as server, _bus(url) as bus:
            account = {
            "mode": "live", "exchange": wire, "symbols": list(BIDS), "max_notional": "1000000", "daily_loss": "100000",
            "key_file": str(tmp_path / "key"), "secret_file": str(tmp_path / "secret"), "url": server.url,
        }  # fmt: skip
            pipeline = Pipeline(bus, tmp_path / "data", LEDGER, live=True, account={"main": account})
            async with pipeline:
                path = tmp_path / "settings.json"
                path.write_text(pipeline.settings.model_dump_json())
                process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.venue._mortal", str(path), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
            )  # fmt: skip
                executors = Executors(process)
                stage = World(bus, pipeline, server, executors, wire)
                beside = [
                    asyncio.create_task(stage.market()),
                    asyncio.create_task(executors.listen()),
                    asyncio.create_task(stage.hear()),
                ]
                try:
                    yield stage
                finally:
                    for pid in {executors.pid} - set(executors.ends) - {0}:
                        os.kill(pid, signal.SIGKILL)
                    process.stdin.close()
                    await process.wait()
                    stage.is_over = True
                    await asyncio.gather(*beside)


async def play(stage, steps, *, is_exit):
    """The executor dies behind each of *steps*; after each, what is there is what should be."""
    symbols, open_still = itertools.cycle(BIDS), []
    never_sent = stage.never_sent(is_exit=is_exit)
    last = [step for step in steps if step in never_sent][-1:]
    for step in steps:
        symbol = next(symbols)
        if is_exit and not (stage.expected[symbol] and stage.is_guarded(symbol)):
            await stage.executors.live()
            if not stage.expected[symbol]:
                await stage.settled([await stage.wish(symbol, is_exit=False)])
                stage.expected[symbol] += stage.size(symbol)
            await wait_until(lambda symbol=symbol: stage.is_guarded(symbol), "a stop at the venue", 60)
            await stage.executors.kill()
        open_still.append(await stage.dies_behind(step, symbol, is_exit=is_exit))
        if step in never_sent and [step] != last:
            continue
        await stage.executors.live()
        await stage.settled(open_still)
        if step == 1 and not is_exit:
            stage.redelivered(open_still[-1], symbol)
        open_still.clear()
        await stage.executors.kill()
        await stage.is_true()


async def _play_all(wire=FUTURES):
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        async with world(Path(folder), wire) as stage:
            for is_exit in (False, True):
                await play(stage, (*NEVER_SENT, 1, 5, 6, 7, 8, 9, 10, 11), is_exit=is_exit)
            seconds = time.monotonic() - started
            sys.stdout.write(
                f"{stage.executors.deaths} deaths by SIGKILL, {len(stage.exchange.received)} orders, {seconds:.0f} s: nothing doubled, lost or unresolved\n"
            )


if __name__ == "__main__":
    asyncio.run(_play_all(*sys.argv[1:]))
