"""The alerts service bare: what it hears becomes calls, every event for real, and a restart says nothing twice."""

from decimal import Decimal

import pytest

from holdfast.contracts import streams
from holdfast.contracts.alarms import Alert, AlertAck
from holdfast.contracts.codes import AlertEvent, OrderState, OrderType, Role, Side
from holdfast.contracts.messages import DeadLetter
from holdfast.contracts.rows import NavRow, OrderRow, QuarantineRow, TotalRow
from holdfast.contracts.wire import Entry
from holdfast.domain.alerting import Manners, Thresholds
from holdfast.domain.view import LedgerView
from holdfast.notify.courier import Apprise
from services.alerts.service import Alerts, Options
from tests.unit._hook import webhook
from tests.unit._state import T0, HandClock, blocked, heartbeat, position, snapshot, tick

SERVICES = ("ledger", "executor", "exit_scanner")


class Courier:
    """Keeps what it is given; `failures` is its answer."""

    def __init__(self) -> None:
        self.got: list[tuple[str, str]] = []
        self.failures: list[str] = []

    async def deliver(self, title: str, text: str, *, critical: bool) -> list[str]:
        self.got.append((title, text))
        return list(self.failures)


class World:
    """The service, its clock and what it has published."""

    def __init__(self, clock: HandClock | None = None, first=None, **told) -> None:
        self.clock, self.first, self.second = clock or HandClock(), first or Courier(), Courier()
        options = Options(
            thresholds=Thresholds(red_after_ms=0, yellow_after_ms=0, unknown_after_ms=0, down_after_ms=0),
            manners=Manners(repeat_ms=60_000, escalate_ms=120_000, calm_ms=2_000, most_per_minute=50),
            told={AlertEvent(name): mode for name, mode in told.items()},
        )
        self.view = LedgerView()
        self.alerts = Alerts(self.view, self.clock, options, self.first, self.second)
        self.published: list[Alert] = []
        self.heartbeats: dict[str, dict] = {name: {} for name in SERVICES}

    async def healthy(self, **tables) -> None:
        self.view.load(snapshot(**tables))
        await self.alerts.on_reset()
        self.clock.now += 2_000
        await self.look()
        assert self.alerts.desk.open() == [], self.alerts.desk.open()

    async def live(self) -> None:
        """Everybody's heartbeat, and a price, as of now."""
        beats = [
            self.entry(streams.HEARTBEAT, heartbeat(name, at=self.clock.now, **self.said(name), **fields))
            for name, fields in self.heartbeats.items()
        ]
        await self.alerts.on_heartbeats(beats)
        await self.alerts.on_ticks([self.entry(streams.MARKET_TICK, tick(at=self.clock.now))])

    def said(self, name: str) -> dict:
        """What a service says of itself when all is well."""
        through = max(0, self.view.seq)
        return {"ledger": {"seq": through}, "exit_scanner": {"armed_through": through}}.get(name, {})

    async def look(self, *, live: bool = True) -> list[tuple[str, str]]:
        if live:
            await self.live()
        outputs = await self.alerts.on_time()
        self.published += [out.message for out in outputs]
        return [(out.message.key, out.message.state.value) for out in outputs]

    async def deliver(self) -> None:
        """Let the delivery run until nothing waits."""

        async def publish(outputs):
            self.published += [out.message for out in outputs]

        while self.alerts.waiting:
            await self.alerts.deliver_next(publish)

    def entry(self, stream, message) -> Entry:
        return Entry(stream, f"{self.clock.now}-0", message.body(), message)


def order(state=OrderState.UNKNOWN):
    return OrderRow(
        order_id="o-1", intent_id="i-1", book_id="main/paper/ETH/USDT", account="main", exchange="paper", symbol="ETH/USDT", contract_size=1,
        settle="USDT", role=Role.ENTRY, side=Side.BUY, type=OrderType.MARKET, quantity=1, state=state, incarnation="x", epoch=1, send_by=T0,
        reserved_at=T0, changed_at=T0,
    )  # fmt: skip


async def test_all_well_says_nothing():
    world = World()
    await world.healthy(positions=[position()])
    assert await world.look() == []


async def test_a_service_that_falls_silent_is_called_out_and_its_return_too():
    world = World()
    await world.healthy()
    del world.heartbeats["executor"]
    world.clock.now += 6_000
    assert ("service_down:executor", "raised") in await world.look()
    await world.deliver()
    assert any("service_down" in title and "executor is down" in text for title, text in world.first.got)
    world.heartbeats["executor"] = {}
    await world.look()
    world.clock.now += 3_000
    assert ("service_down:executor", "recovered") in await world.look()
    await world.deliver()
    assert any(title.startswith("✅") for title, _ in world.first.got)


async def test_the_ledger_has_an_event_of_its_own():
    world = World()
    await world.healthy()
    del world.heartbeats["ledger"]
    world.clock.now += 6_000
    assert ("ledger_stopped", "raised") in await world.look()


async def test_a_red_light_is_called_out():
    world = World()
    await world.healthy(positions=[position()])
    world.heartbeats["exit_scanner"] = {"unreadable": "prices make no sense"}
    assert ("light:critical", "raised") in await world.look()


async def test_an_order_without_an_answer_and_a_stranger_and_a_dead_letter():
    world = World()
    await world.healthy()
    world.view.orders["o-1"] = order()
    world.view.quarantine["q-1"] = QuarantineRow(
        quarantine_id="q-1", account="main", exchange="paper", symbol="BTC/USDT", why="by hand", at=T0
    )
    letter = DeadLetter(
        id="d-1", at=T0, service="ledger", stream="fill", entry_id="1-0", payload="{", error="body: not JSON"
    )
    await world.alerts.on_dead_letters([world.entry(streams.DEAD_LETTER, letter)])
    raised = {key for key, state in await world.look() if state == "raised"}
    assert {"unknown_order:o-1", "quarantine:q-1", "dead_letter:d-1"} <= raised


async def test_too_many_refusals_a_minute():
    world = World()
    await world.healthy()
    batch = [world.entry(streams.ORDER_BLOCKED, blocked(n)) for n in range(51)]
    await world.alerts.on_blocked(batch)
    await world.alerts.on_blocked(batch)  # the bus was rewound: each counts once
    assert ("blocked_rate", "raised") in await world.look()
    assert "10.2 refused intents per minute" in next(
        alert.text for alert in world.published if alert.key == "blocked_rate"
    )


async def test_a_loss_of_the_day_and_a_drawdown():
    world = World()
    await world.healthy()
    assert not {"drawdown", "daily_loss"} & {alert.key for alert in world.alerts.desk.open()}
    lost = TotalRow(
        account="main",
        exchange="paper",
        symbol="ETH/USDT",
        settle="USDT",
        realized_pnl=Decimal(-11_000),
        trades=1,
    )
    world.view.totals[lost.key] = lost
    world.view.nav["main"] = nav("89000")
    assert {("drawdown", "raised"), ("daily_loss", "raised")} <= set(await world.look())


async def silence(world, service):
    del world.heartbeats[service]
    world.clock.now += 6_000


async def go_wrong(world, event):
    """Whatever makes somebody be called for *event*."""
    if event is AlertEvent.LIGHT:
        world.heartbeats["exit_scanner"] = {"unreadable": "prices make no sense"}
    elif event is AlertEvent.SERVICE_DOWN:
        await silence(world, "executor")
    elif event is AlertEvent.LEDGER_STOPPED:
        await silence(world, "ledger")
    elif event is AlertEvent.UNKNOWN_ORDER:
        world.view.orders["o-1"] = order()
    elif event is AlertEvent.QUARANTINE:
        world.view.quarantine["q-1"] = QuarantineRow(
            quarantine_id="q-1", account="main", exchange="paper", symbol="BTC/USDT", why="by hand", at=T0
        )
    elif event is AlertEvent.DEAD_LETTER:
        letter = DeadLetter(
            id="d-1", at=T0, service="ledger", stream="fill", entry_id="1-0", payload="{", error="no"
        )
        await world.alerts.on_dead_letters([world.entry(streams.DEAD_LETTER, letter)])
    elif event is AlertEvent.BLOCKED_RATE:
        await world.alerts.on_blocked([world.entry(streams.ORDER_BLOCKED, blocked(n)) for n in range(60)])
    else:
        lost = TotalRow(
            account="main",
            exchange="paper",
            symbol="ETH/USDT",
            settle="USDT",
            realized_pnl=Decimal(-11_000),
            trades=1,
        )
        world.view.totals[lost.key] = lost
        world.view.nav["main"] = nav("89000")


@pytest.mark.parametrize("event", list(AlertEvent))
async def test_every_event_reaches_a_real_webhook(event):
    with webhook() as hook:
        world = World(first=Apprise([hook.url], "alerts.urls"))
        await world.healthy()
        await go_wrong(world, event)
        await world.look()
        await world.deliver()
        assert any(f"Holdfast: {event.value}" in got["title"] for got in hook.got), hook.got


def nav(amount):
    return NavRow(account="main", currency="USDT", cash=amount, nav=amount, high_water="100000", at=T0)


@pytest.mark.parametrize("mode", ["silent", "off"])
async def test_silent_is_shown_and_not_delivered_and_off_is_not_looked_at(mode):
    world = World(service_down=mode)
    await world.healthy()
    del world.heartbeats["executor"]
    world.clock.now += 6_000
    keys = [key for key, _ in await world.look()]
    await world.deliver()
    assert ("service_down:executor" in keys) == (mode == "silent")
    assert not any("service_down" in title for title, _ in world.first.got)


async def test_an_acknowledged_alert_is_not_repeated_and_an_ignored_one_reaches_the_second_circle():
    world = World(light="off")
    await world.healthy()
    del world.heartbeats["executor"]
    world.clock.now += 6_000
    await world.look()
    for _ in range(3):
        world.clock.now += 60_000
        await world.look()
    await world.deliver()
    assert any("nobody has acknowledged" in title for title, _ in world.second.got)
    ack = AlertAck(id="k-1", at=T0, key="service_down:executor", by="ann")
    (out,) = await world.alerts.on_acks([world.entry(streams.ALERT_ACK, ack)])
    assert (out.message.state.value, out.message.by) == ("acknowledged", "ann")
    world.clock.now += 600_000
    assert await world.look() == []


async def test_what_cannot_be_delivered_is_told_on_the_stream_and_makes_the_light_yellow():
    world = World()
    world.first.failures = ["json://127.0.0.1:9/: refused"]
    await world.healthy()
    del world.heartbeats["executor"]
    world.clock.now += 6_000
    await world.look()
    await world.deliver()
    assert "undeliverable" in [alert.state.value for alert in world.published]
    assert "could not be delivered: json://127.0.0.1:9/" in world.alerts.beat()["warnings"][0]
    world.first.failures = []
    world.heartbeats["executor"] = {}
    await world.look()
    world.clock.now += 3_000
    await world.look()
    await world.deliver()
    assert world.alerts.beat()["warnings"] == []


async def test_a_second_life_takes_up_what_was_open():
    first = World()
    await first.healthy()
    del first.heartbeats["executor"]
    first.clock.now += 6_000
    await first.look()
    second = World(clock=first.clock)
    second.view.load(snapshot())
    del second.heartbeats["executor"]
    await second.alerts.on_past([second.entry(streams.ALERT, alert) for alert in first.published])
    second.clock.now += 6_000
    assert ("service_down:executor", "raised") not in await second.look()
    assert "service_down:executor" in {alert.key for alert in second.alerts.desk.open()}


async def test_the_days_beginning_is_known_to_the_next_life():
    first = World()
    await first.healthy()
    details = first.alerts.beat()["details"]
    second = World(clock=first.clock)
    second.heartbeats["alerts"] = {"details": details}
    await second.live()
    assert second.alerts.beat()["details"]["day_nav"] == details["day_nav"] == "100000"
