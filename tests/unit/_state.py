"""Builders for the tests of state files, KPIs and the light: rows, heartbeats, and a publisher on a folder of its own."""

from decimal import Decimal

from holdfast.contracts import streams
from holdfast.contracts.codes import Code, Kind, Leg, OrderState, PositionSide, UpdateKind
from holdfast.contracts.messages import Heartbeat, LedgerSnapshot, LedgerUpdated, OrderBlocked, Tick
from holdfast.contracts.rows import OrderRow, PositionRow, book_id
from holdfast.contracts.wire import Entry
from holdfast.domain.view import LedgerView, snapshot_checksum
from holdfast.state import StateFiles
from services.state_publisher.service import Options, StatePublisher

D = Decimal
T0 = 1_700_000_000_000
BTC, ETH, COIN = "BTC/USDT", "ETH/USDT", "BTC/USD"


class HandClock:
    """A clock that moves when told to."""

    def __init__(self, now=T0):
        self.now = now

    def wall_ms(self):
        return self.now

    def monotonic_ms(self):
        return self.now - T0

    async def sleep(self, seconds):
        self.now += int(seconds * 1000)


def position(
    position_id="p1",
    *,
    symbol=BTC,
    side="long",
    quantity="2",
    price="100",
    kind=Kind.LINEAR,
    account="main",
    leg=Leg.NET,
    settle=None,
    **more,
):
    base, _, quote = symbol.partition("/")
    quantity, price = D(quantity), D(price)
    values = {
        "position_id": position_id, "book_id": book_id(account, "paper", symbol, leg), "account": account, "exchange": "paper", "symbol": symbol,
        "leg": leg, "side": PositionSide(side), "kind": kind, "contract_size": D(1), "settle": settle or (base if kind is Kind.INVERSE else quote),
        "quantity": quantity, "cost": quantity / price if kind is Kind.INVERSE else quantity * price, "entry_price": price,
        "take_profit": price * 2, "stop_loss": price / 2, "take_profit_spec": "100%", "stop_loss_spec": "50%",
        "opened_at": T0, "changed_at": T0, "recorded_at": T0,
    }  # fmt: skip
    return PositionRow(**{**values, **more})


def order(order_id="o1", state=OrderState.OPEN, **more) -> OrderRow:
    values = {
        "order_id": order_id, "intent_id": "i1", "book_id": "main/paper/BTC/USDT", "account": "main", "exchange": "paper", "symbol": BTC,
        "contract_size": 1, "settle": "USDT", "role": "entry", "side": "buy", "quantity": 1, "state": state, "incarnation": "a", "epoch": 1,
        "send_by": T0, "reserved_at": T0, "changed_at": T0,
    }  # fmt: skip
    return OrderRow.model_validate(values | more)


def snapshot(seq=10, store="store-1", epoch=1, **tables):
    part = LedgerSnapshot(
        id=f"snap-{seq}",
        at=T0,
        snapshot_id=f"snap-{seq}",
        seq=seq,
        chain="",
        store_id=store,
        epoch=epoch,
        part=1,
        parts=1,
        checksum="",
        **tables,
    )
    return [part.evolve(checksum=snapshot_checksum([part]))]


def update(seq, *, store="store-1", at=T0, kind=UpdateKind.FILLED, **tables):
    return LedgerUpdated(id=f"u-{seq}", at=at, seq=seq, store_id=store, epoch=1, kind=kind, **tables)


def heartbeat(service, *, at=T0, incarnation="a", **fields):
    return Heartbeat(
        id=f"{service}-{at}",
        at=at,
        service=service,
        instance="0",
        incarnation=incarnation,
        started_at=T0,
        **fields,
    )


def tick(symbol=BTC, bid="100", ask=None, *, at=T0, feed="replay", run="r1"):
    return Tick(
        id=f"{symbol}-{at}-{bid}",
        at=at,
        symbol=symbol,
        bid=D(bid),
        ask=D(ask or bid),
        last=D(bid),
        feed=feed,
        run=run,
    )


def blocked(number=1, at=T0):
    return OrderBlocked(
        id=f"b-{number}",
        at=at,
        intent_id=f"i-{number}",
        code=Code.OPPOSED,
        reason="held long",
        account="main",
        exchange="paper",
        symbol=BTC,
    )


def entry(stream, message, written_ms):
    return Entry(stream, f"{written_ms}-0", message.body(), message)


async def inline(function, *arguments):
    """Instead of a thread."""
    return function(*arguments)


class Rig:
    """The real publisher and the real files, driven by hand."""

    def __init__(self, directory, clock=None, **options):
        self.clock = clock or HandClock()
        self.view, self.files = LedgerView(), StateFiles(directory, self.clock)
        self.publisher = StatePublisher(self.view, self.files, self.clock, Options(**options), offload=inline)

    async def load(self, seq=10, **tables):
        self.view.load(snapshot(seq, **tables))
        await self.publisher.on_reset()

    async def update(self, *updates):
        for change in updates:
            self.view.apply(change)
        await self.publisher.on_updates(updates)

    async def ticks(self, *ticks):
        await self.publisher.on_ticks([entry(streams.MARKET_TICK, each, self.clock.now) for each in ticks])

    async def beats(self, *, armed_through=None, unarmed=(), without=(), **fields):
        """One heartbeat of each required service, now; the scanner has armed all that the view shows."""
        through = self.view.seq if armed_through is None else armed_through
        said = {
            streams.LEDGER: {"seq": max(0, self.view.seq)},
            streams.EXECUTOR: {},
            streams.EXIT_SCANNER: {"armed_through": max(0, through), "unarmed": list(unarmed)}
            if through >= 0
            else {},
        }
        messages = [
            heartbeat(name, at=self.clock.now, **(extra | fields))
            for name, extra in said.items()
            if name not in without
        ]
        await self.publisher.on_heartbeats(
            [entry(streams.HEARTBEAT, message, self.clock.now) for message in messages]
        )

    async def loop(self, ms=1_000):
        """Let *ms* pass, then let the publisher write."""
        self.clock.now += ms
        await self.publisher.on_time()


async def one_loop(directory, *positions, **tables):
    """A whole simulated loop: snapshot, prices, heartbeats, write. Returns the rig."""
    rig = Rig(directory)
    await rig.load(positions=list(positions), **tables)
    await rig.ticks(*(tick(symbol, "110") for symbol in sorted({row.symbol for row in positions})))
    await rig.beats()
    await rig.loop()
    return rig
