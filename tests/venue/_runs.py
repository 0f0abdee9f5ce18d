"""Seeded histories of trading on a venue that breaks: afterwards nothing was ordered twice, and nothing of it was lost.

    .venv/bin/python -m tests.venue._runs 10000 --first 1      # every seed in order; the seeds that failed are printed
    .venv/bin/python -m tests.venue._runs 10000 --stops        # each position with a stop at the venue

What is random comes from the seed: intents, prices, faults of sends, cancels and reads, deaths of the executor, lost messages.
What is not: the order in which two sockets are served. So a failed seed nearly always fails again, and its story is printed.
"""

import argparse
import asyncio
import logging
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field

from holdfast.contracts.codes import OrderState
from tests.venue._run_stops import stops_of
from tests.venue._stage import D, quote
from tests.venue._world import FUTURES, SYMBOLS, bench, started
from venue_sim.faults import OF_SENDS, Fault, Kind

PRICES = {"BTC/USDT": 42_000, "ETH/USDT": 2_500}
CANCELS = (
    Kind.RESET,
    Kind.NO_ANSWER,
    Kind.BAD_GATEWAY,
    Kind.WRONG_CODE,
    Kind.FILL_AFTER_CANCEL,
    Kind.RATE_LIMITED,
)
READS = (
    Kind.RESET,
    Kind.HTML,
    Kind.EMPTY,
    Kind.BAD_GATEWAY,
    Kind.TRUNCATED,
    Kind.EMPTY_LIST,
    Kind.DOUBLED,
    Kind.SHUFFLED,
    Kind.GARBAGE,
)
ORDER = {"binanceusdm": "/fapi/v1/order", "binance": "/api/v3/order"}
ADD = {name: ("POST", path) for name, path in ORDER.items()} | {"kraken": ("POST", "/AddOrder")}
CANCEL = {name: ("DELETE", path) for name, path in ORDER.items()} | {"kraken": ("POST", "/CancelOrder")}
READ_PATHS = {
    "binanceusdm": ("GET", ["/order", "/openOrders", "/allOrders", "/userTrades", "/positionRisk", ""]),
    "binance": ("GET", ["/order", "/openOrders", "/allOrders", "/myTrades", "/account", ""]),
    "kraken": (
        "POST",
        ["/OpenOrders", "/ClosedOrders", "/TradesHistory", "/QueryTrades", "/QueryOrders", "/BalanceEx"],
    ),
}
INVENTORY = {"binance": {"BTC": "2", "ETH": "2"}, "kraken": {"XXBT": "2", "XETH": "2"}}
"""Coins that are nobody's business: whoever sold more than ours would sell them."""
STEPS = 25
PATIENCE_MS = 300
QUICK = tuple(sorted(OF_SENDS - {Kind.NO_ANSWER, Kind.SILENT_BEFORE, Kind.HIDDEN, Kind.DELAYED}))
SLOW = (Kind.NO_ANSWER, Kind.SILENT_BEFORE, Kind.HIDDEN, Kind.DELAYED)
"""Each costs the client's whole patience in real time, so they come less often."""


@dataclass
class Result:
    """What one history came to."""

    seed: int
    orders: int = 0
    doubled: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    story: list[str] = field(default_factory=list)

    @property
    def is_good(self):
        return not (self.doubled or self.lost or self.wrong)


STOPS = (
    {"protect": "both", "protect_every_s": 1},
    {"protect": "both", "protect_every_s": 1, "protect_order": "limit", "protect_limit_pct": "0.05"},
)
"""What rests at the venue where stops do, by seed."""


class History:
    """One seed's steps."""

    def __init__(self, seed, world, *, stops=False):
        self.random, self.world, self.result = random.Random(seed), world, Result(seed)
        self.given = []
        self.stops = stops_of(world, self.result.wrong) if stops else None

    async def run(self, steps):
        acts = [self.entry] * 8 + [self.exit] * 4 + [self.price] * 3 + [self.time] * 4
        acts += [self.break_send] * 3 + [
            self.break_cancel,
            self.break_read,
            self.cancel,
            self.crash,
            self.wipe,
            self.deaf,
        ]
        if self.stops is not None:
            acts += [self.break_stop] * 3 + [self.price] * 3 + [self.move_stop] * 2 + [self.take_stops]
            acts += [self.race] * 3 + [self.lock] if self.world.wire != FUTURES else []
        for _ in range(steps):
            act = self.random.choice(acts)
            self.result.story.append(act.__name__)
            await act()
            if self.random.random() < 0.7:
                await self.world.settle()
        await self.rest()
        self.judge()
        return self.result

    # -- what people, producers and prices do ----------------------------------------------------------------------------

    async def entry(self):
        symbol = self.random.choice(SYMBOLS)
        await self.fresh(symbol)
        price = PRICES[symbol]
        kinds = [
            {},
            {"type": "limit", "price": str(price - 50)},
            {"type": "limit", "price": str(price + 50)},
            {"type": "limit", "price": str(price + 50), "time_in_force": "ioc"},
            {"type": "limit", "price": str(price - 50), "post_only": True},
        ]
        side = self.random.choice(["buy", "buy", "sell"]) if self.world.wire == FUTURES else "buy"
        if self.stops is not None:
            away = self.random.choice([30, 40, 100])
            kinds = [
                kind | {"stop_loss": str(price - away if side == "buy" else price + away)} for kind in kinds
            ]
        intent = self.world.entry(
            symbol=symbol,
            side=side,
            quantity=self.random.choice(["0.1", "0.05"]),
            **self.random.choice(kinds),
        )
        if not self.world.executor.desk.is_full:
            self.given.append((False, intent))
            await self.world.give(intent)

    async def exit(self):
        symbol = self.random.choice(SYMBOLS)
        await self.fresh(symbol)
        kinds = [{}, {"quantity": "0.02"}, {"reason": "stop_loss"}]
        if self.stops is not None and self.world.wire != FUTURES:
            away = {"type": "limit", "price": str(PRICES[symbol] + 300)}
            kinds += [away, away | {"quantity": "0.03"}]
        fields = self.random.choice(kinds)
        intent = self.world.close(symbol, **fields)
        self.given.append((True, intent))
        await self.world.give_exits(intent)

    async def cancel(self):
        await self.world.give(self.world.entry(action="cancel", symbol=self.random.choice(SYMBOLS)))

    async def fresh(self, symbol):
        await self.world.price(str(PRICES[symbol]), symbol, self.random.choice(["10", "0.03"]))

    async def price(self):
        symbol = self.random.choice(SYMBOLS)
        await self.world.price(str(PRICES[symbol] + self.random.choice([-60, -10, 10, 60])), symbol)

    async def move_stop(self):
        """The ledger moves a stop-loss nearer, as a trail would."""
        rows = sorted(self.world.ledger.state.positions.values(), key=lambda row: row.position_id)
        if rows:
            row = self.random.choice(rows)
            nearer = D(self.random.choice([1, 3, 60]))
            stop = row.stop_loss + nearer if row.side.value == "long" else row.stop_loss - nearer
            await self.world.move_stop(row, str(stop))

    async def race(self):
        """The price comes to a stop while an exit, or a move of its level, takes it away."""
        await self.random.choice([self.exit, self.exit, self.move_stop])()
        for _ in range(self.random.choice([0, 1, 2, 3])):
            await self.world.deliver()
            await self.world.time(self.random.choice([50, 400]))
        symbol = self.random.choice(SYMBOLS)
        quote(
            self.world.server,
            str(PRICES[symbol] - 60),
            str(PRICES[symbol] - 59),
            self.random.choice(["10", "0.003"]),
            self.world.name(symbol),
        )

    async def lock(self):
        """On spot somebody puts coins on an order of his own, more than are his; or takes that back."""
        if not self.stops.take_locks():
            self.stops.lock(
                self.world.name(self.random.choice(SYMBOLS)), self.random.choice(["1.99", "2.03"])
            )

    async def take_stops(self):
        """Somebody cancels them by hand."""
        self.stops.take(self.world.name(self.random.choice(SYMBOLS)))

    async def time(self):
        await self.world.time(self.random.choice([50, 300, 1_500, 6_000]))

    # -- what breaks -----------------------------------------------------------------------------------------------------

    def arm(self, kind, method, path, **more):
        self.result.faults[f"{method} {kind.value}"] += 1
        self.world.server.venue.faults.arm(Fault(kind, method, path, **more))

    async def break_send(self):
        kind = self.random.choice(SLOW if self.random.random() < 0.15 else QUICK)
        self.arm(kind, *ADD[self.world.wire], delay_ms=self.random.choice([3_000, 9_000, 14_000]))

    async def break_cancel(self):
        self.arm(self.random.choice(CANCELS), *CANCEL[self.world.wire])

    async def break_stop(self):
        if self.world.wire != FUTURES:
            await self.random.choice([self.break_send, self.break_send, self.break_cancel])()
        elif self.random.random() < 0.7:
            kind = self.random.choice(SLOW if self.random.random() < 0.15 else QUICK)
            self.arm(kind, "POST", "/fapi/v1/algoOrder", delay_ms=self.random.choice([3_000, 9_000, 14_000]))
        else:
            kinds = [kind for kind in CANCELS if kind is not Kind.FILL_AFTER_CANCEL]
            self.arm(self.random.choice(kinds), "DELETE", "/fapi/v1/algoOrder")

    async def break_read(self):
        method, paths = READ_PATHS[self.world.wire]
        if self.stops is not None:
            paths = [*paths, *self.stops.reads]
        path = self.random.choice(paths)
        self.arm(self.random.choice(READS), method, path, times=self.random.choice([1, 1, 3]))

    async def crash(self):
        """The process is gone; what was not acknowledged comes again, and the venue is as it is."""
        faults = self.world.server.venue.faults.armed()
        self.world.server.venue.faults.clear()
        await self.world.start()
        for fault in faults:
            self.world.server.venue.faults.arm(fault)
        for is_exit, intent in self.given[-6:]:
            if (intent.stream.name, intent.entry_id) in self.world.acked or self.world.executor.desk.is_full:
                continue
            await (self.world.give_exits(intent) if is_exit else self.world.give(intent))

    async def wipe(self):
        self.world.bus.clear()
        await self.world.reset()

    async def deaf(self):
        """The ledger takes everything; the executor dies before it hears of it."""
        await self.world.deliver(to_executor=False)
        await self.crash()

    # -- afterwards ---------------------------------------------------------------------------------------------------------

    async def rest(self):
        """Faults end, time passes, and what rests is canceled."""
        world = self.world
        world.server.venue.faults.clear()
        await world.settle()
        on_spot = self.stops is not None and world.wire != FUTURES
        if self.stops is not None:
            self.stops.take_locks()
            self.deepen()
            await self.pursue()
        await world.pass_time(75_000 if on_spot else 45_000, step=1_500)  # balances are read every minute
        await self.pursue()  # of what was still found out
        for symbol in SYMBOLS:
            await world.give(world.entry(action="cancel", symbol=symbol))
            await world.settle()
        await world.pass_time(9_000, step=1_500)

    async def pursue(self):
        """On spot what is to be closed at once gets no stop, because the scanner, which is not here, would close it."""
        for row in list(self.world.ledger.state.positions.values()):
            if row.closing is not None and self.world.wire != FUTURES:
                await self.world.give_exits(self.world.close(row.symbol))

    def deepen(self):
        """Whatever is for sale finds buyers, at the prices that there are."""
        for name, was in list(self.world.exchange.quotes.items()):
            quote(self.world.server, str(was.bid), str(was.ask), symbol=name)

    def judge(self):
        world, result = self.world, self.result
        sent = Counter(ask.client_id for ask in world.exchange.received)
        result.orders = len(world.exchange.received)
        result.doubled = [f"{name} x {times}" for name, times in sent.items() if times > 1]
        theirs = world.venue_trades()
        recorded = {number for number in world.recorded_trades() if not number.startswith("dust-")}
        result.lost = [f"trade {number}" for number in theirs ^ recorded]
        live = {row.order_id for row in world.ledger.state.orders.values()}
        open_there = {
            world.of_ours(order.ask.client_id) for order in world.exchange.orders.values() if order.is_open
        }
        if world.wire == FUTURES:
            open_there |= {algo.ask.client_id for algo in world.exchange.algos.values() if algo.is_open}
        if self.stops is not None:
            self.stops.judge()
        result.lost += [f"open order {name}" for name in open_there ^ live]
        if world.ours() != world.held() and not self.is_dust():
            result.wrong.append(f"held {world.held()}, recorded {world.ours()}")
        for coin, amount in INVENTORY.get(world.wire, {}).items():
            if world.exchange.coins[coin] < D(amount):
                result.wrong.append(
                    f"{coin} that was not ours has been sold: {world.exchange.coins[coin]} are left"
                )
        unknown = [
            row.order_id for row in world.ledger.state.orders.values() if row.state is OrderState.UNKNOWN
        ]
        result.wrong += [f"unresolved {name}" for name in unknown]
        if (complaint := world.executor.heartbeat()["unreadable"]) is not None:
            result.wrong.append(complaint)
        for name in sent:
            if world.of_ours(name) not in world.ledger.known.orders:
                result.lost.append(f"{name} was sent and is not in the ledger")
        if sum((order.filled for order in world.exchange.orders.values()), D(0)) != sum(
            (trade.quantity for trade in world.exchange.trades), D(0)
        ):
            result.wrong.append("the simulated venue contradicts itself")

    def is_dust(self):
        """Whether the two sides differ by what has left the books as dust, and by nothing else."""
        held, ours, dust = self.world.held(), self.world.ours(), {}
        for update in self.world.ledger.updates:
            for fill in update.fills if update.trades else ():
                if fill.kind.value == "dust":
                    dust[fill.symbol] = dust.get(fill.symbol, D(0)) + fill.quantity
        return all(held.get(name, 0) == ours.get(name, 0) + dust.get(name, 0) for name in SYMBOLS)


async def several(seeds, steps, told, wire=FUTURES, *, stops=False):
    """Each seed in a world of its own, one after another; *stops*: with stops at the venue."""
    async with bench(PATIENCE_MS, wire) as tools:
        for seed in seeds:
            account = STOPS[seed % len(STOPS)] if stops else {}
            world = await started(*tools, wire, coins=INVENTORY.get(wire), **account)
            told(await History(seed, world, stops=stops).run(steps))


class Tally:
    """The sums over many runs; whatever went wrong is printed at once."""

    def __init__(self, *, story=False):
        self.runs = self.orders = self.doubled = self.lost = self.bad = 0
        self.faults, self._story = Counter(), story

    def take(self, result):
        self.runs, self.orders = self.runs + 1, self.orders + result.orders
        self.doubled, self.lost = self.doubled + len(result.doubled), self.lost + len(result.lost)
        self.bad += not result.is_good
        self.faults.update(result.faults)
        if self._story or not result.is_good:
            print(result.seed, result.doubled, result.lost, result.wrong, *result.story, flush=True)

    def text(self):
        return (
            f"{self.runs} runs, {self.orders} orders taken, {sum(self.faults.values())} faults of {len(self.faults)} kinds armed: "
            f"{self.doubled} doubled, {self.lost} lost, {self.bad} runs not as they should be"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=int)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--wire", choices=sorted(ADD), default=FUTURES)
    parser.add_argument("--story", action="store_true", help="Print what happened in each.")
    parser.add_argument("--stops", action="store_true", help="With stops that rest at the venue.")
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    begun, tally = time.monotonic(), Tally(story=given.story)
    seeds = range(given.first, given.first + given.runs)
    asyncio.run(several(seeds, given.steps, tally.take, given.wire, stops=given.stops))
    print(f"{tally.text()}; seeds {seeds[0]} to {seeds[-1]}, {time.monotonic() - begun:.0f} s")
    return 1 if tally.bad else 0


if __name__ == "__main__":
    sys.exit(main())
