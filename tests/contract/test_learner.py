"""The learner among the services, on a bus: outcomes survive it, the ledger decides what may come into force, what does worse goes back."""

from decimal import Decimal

from holdfast.contracts.codes import LearnMode
from holdfast.contracts.exit_messages import ExitThresholds
from holdfast.contracts.exit_terms import parse_terms
from holdfast.contracts.outcomes import KeptOutcome
from holdfast.contracts.streams import (
    DEAD_LETTER,
    EXECUTOR,
    EXIT_SCANNER,
    EXIT_THRESHOLDS,
    HEARTBEAT,
    LEARNER,
    LEDGER,
    LEDGER_OUTCOME,
    TRADE_OUTCOME,
)
from holdfast.store.opening import sqlite_path
from holdfast.store.reading import SqliteReader
from holdfast.store.verify import verify
from tests.contract._pipeline import Pipeline
from tests.contract._wait import wait_until

D = Decimal
TRADING = (LEDGER, EXECUTOR, EXIT_SCANNER)
ALL = (*TRADING, LEARNER)
WATCH = {"watch_after_s": "3", "keep_outcomes": 50}


async def opened(pipeline: Pipeline, intent_id: str, symbol: str = "BTC/USDT", **more) -> None:
    """A position of 1, entered at 100."""
    pipeline.feed = symbol
    await pipeline.tick("100")
    await wait_until(pipeline.priced, "the executor to have a price")
    await pipeline.intent(id=intent_id, symbol=f"{symbol}:USDT", side="buy", quantity="1", **more)
    await wait_until(pipeline.orders, "the order")
    await pipeline.tick("100")
    assert (await pipeline.answer(intent_id)).status == "filled"


async def closed(pipeline: Pipeline, price: str, count: int = 1) -> None:
    """At *price* an exit fires; there are then *count* trades."""
    await pipeline.tick(price)
    await wait_until(pipeline.orders, "the exit's order")
    await pipeline.tick(price)
    await wait_until(lambda: _number(pipeline, count), "the trade")


async def _number(pipeline: Pipeline, count: int) -> bool:
    return len(await pipeline.trades()) >= count


async def said(pipeline: Pipeline) -> dict[str, str]:
    """What the learner said last of itself."""
    beats = [one for one in await pipeline.bus.of(HEARTBEAT) if one.service == LEARNER]
    return beats[-1].details if beats else {}


async def news_on(bus) -> list[KeptOutcome]:
    """Outcomes that the ledger has told of as it recorded them."""
    return [one for one in await bus.of(LEDGER_OUTCOME) if one.number == 0 and one.outcome is not None]


async def has(pipeline: Pipeline, count: int) -> bool:
    return (await said(pipeline)).get("outcomes") == str(count)


async def wants(pipeline: Pipeline, key: str, **given) -> object:
    """The ledger's answer to a message about thresholds."""
    message = ExitThresholds(id=key, at=1, **{"by": "ann", **given})
    await pipeline.bus.add(EXIT_THRESHOLDS, message)
    return await wait_until(lambda: pipeline.bus.result(key), f"the answer to {key}")


async def test_an_outcome_goes_from_the_fills_to_the_ledger_and_to_a_learner_that_starts_on_an_empty_bus(
    bus, tmp_path
):
    async with Pipeline(bus, tmp_path, *ALL, learner=WATCH) as pipeline:
        await opened(pipeline, "one", stop_loss="7%")
        await pipeline.tick("110")
        await closed(pipeline, "121")
        for price in ("122", "105", "104"):
            await pipeline.tick(price)
        (news,) = await wait_until(lambda: news_on(bus), "the outcome to be kept", 20)
        outcome = news.outcome
        assert (outcome.exit_reason, outcome.exit_price, outcome.named) == (
            "take_profit",
            121,
            ["stop_loss_pct"],
        )
        assert (outcome.row.stop_loss_spec, outcome.hole_ms) == ("7%", 0)
        assert [point.last for point in outcome.path][-5:] == [121, 121, 122, 105, 104]

        await pipeline.stop(LEARNER)
        await bus.redis.flushall()
        await wait_until(pipeline.view, "the ledger")
        pipeline.start(LEARNER)
        await wait_until(lambda: has(pipeline, 1), "the outcome to be known again", 20)
        assert await bus.of(TRADE_OUTCOME) == [], "it is not published a second time"
        assert (await said(pipeline))["average_hold_s"] != "0"
    with SqliteReader(sqlite_path(tmp_path)) as store:
        checks = {check.check: check for check in verify(store)}
    assert (checks["outcomes"].count, [name for name, one in checks.items() if not one.passed]) == (1, [])


async def test_a_learner_that_was_down_takes_up_the_path_and_tells_of_the_trade_all_the_same(bus, tmp_path):
    async with Pipeline(bus, tmp_path, *ALL, learner=WATCH) as pipeline:
        await opened(pipeline, "one")
        await wait_until(lambda: _watches(pipeline, 1), "the position to be watched")
        await pipeline.kill(LEARNER)
        await pipeline.tick("103")
        await pipeline.tick("104")
        pipeline.start(LEARNER)
        await wait_until(lambda: _watches(pipeline, 1), "the position to be watched again", 20)
        await pipeline.tick("110")
        await pipeline.kill(LEARNER)
        await closed(pipeline, "121")
        for _ in range(4):
            await pipeline.tick("121")
        pipeline.start(LEARNER)
        (news,) = await wait_until(lambda: news_on(bus), "the outcome to be kept", 25)
        assert [point.last for point in news.outcome.path][1:4] == [103, 104, 110]
        assert (news.outcome.hole_ms, news.outcome.exit_price) == (0, 121)


async def _watches(pipeline: Pipeline, count: int) -> bool:
    beats = [one for one in await pipeline.bus.of(HEARTBEAT) if one.service == LEARNER]
    app = pipeline.apps[LEARNER]
    return (
        bool(beats)
        and beats[-1].incarnation == app.incarnation
        and beats[-1].details["watching"] == str(count)
    )


async def test_in_shadow_nothing_moves_and_in_apply_a_new_entry_has_the_new_thresholds(bus, tmp_path):
    async with Pipeline(bus, tmp_path, *TRADING) as pipeline:
        shadow = await wants(
            pipeline, "x1", version=1, values={"stop_loss_pct": "9.5"}, evidence={"trades": "120"}
        )
        assert shadow.status == "accepted"
        await opened(pipeline, "one")
        (first,) = await pipeline.positions()
        assert (first.stop_loss, parse_terms(first.terms).learned) == (90, None)

        assert (await wants(pipeline, "m1", action="mode", mode="apply")).status == "accepted"
        assert (await wants(pipeline, "x2", version=2, values={"stop_loss_pct": "9.5"})).status == "accepted"
        await opened(pipeline, "two", "ETH/USDT")
        rows = {row.symbol: row for row in await pipeline.positions()}
        assert (rows["ETH/USDT"].stop_loss, parse_terms(rows["ETH/USDT"].terms).learned) == (D("90.5"), 2)
        assert rows["BTC/USDT"] == first, "open positions keep theirs"

        refused = {
            "looser": {"stop_loss_pct": "10.4"}, "outside": {"stop_loss_pct": "0.4"}, "too far": {"stop_loss_pct": "9.4"},
        }  # fmt: skip
        answers = [
            (await wants(pipeline, name.replace(" ", "-"), version=3, values=values, based_on=2)).code
            for name, values in refused.items()
        ]
        assert answers == ["bad_thresholds", "bad_thresholds", "step_too_large"]
        await bus.redis.flushall()
        view = await wait_until(lambda: _known(pipeline), "the ledger to tell it again")
        assert (view.learning["all"].mode, view.learning["all"].version, sorted(view.thresholds)) == (
            LearnMode.APPLY,
            2,
            [1, 2],
        )


async def _known(pipeline: Pipeline):
    view = await pipeline.view()
    return view if view.is_loaded and view.learning else None


async def test_a_version_that_does_worse_than_the_policy_is_taken_back_by_itself(bus, tmp_path):
    """Taking profits at 1 % in a market that goes on to 20 %, eleven times: the policy would have had all of it."""
    learner = WATCH | {
        "mode": "apply", "propose_every": 11, "revert_after": 10, "bounds": {"take_profit_pct": ["0.5", "50", "30"]}
    }  # fmt: skip
    async with Pipeline(bus, tmp_path, *ALL, learner=learner) as pipeline:
        assert (await wants(pipeline, "x1", version=1, values={"take_profit_pct": "1"})).status == "accepted"
        symbols = [f"C{number}/USDT" for number in range(11)]
        for count, symbol in enumerate(symbols, 1):
            await opened(pipeline, f"i-{count}", symbol)
            await closed(pipeline, "101", count)

        async def taken_back():
            """The market goes on until the learner has seen it do so behind each trade."""
            for symbol in symbols:
                pipeline.feed = symbol
                await pipeline.tick("121")
            return await _at_version(pipeline, 2)

        view = await wait_until(taken_back, "the version to be taken back", 30)
        row = view.thresholds[2]
        assert (row.restores, row.by, row.adopted, row.values) == (0, "learner", True, {})
        assert (row.evidence["trades"], float(row.evidence["below"]) >= 0.9) == ("11", True)
        await opened(pipeline, "after", symbols[0])
        (position,) = await pipeline.positions()
        assert (position.take_profit, parse_terms(position.terms).learned) == (120, 2)
        assert await bus.of(DEAD_LETTER) == []


async def _at_version(pipeline: Pipeline, version: int):
    view = await pipeline.view()
    return view if view.is_loaded and view.learning["all"].version == version else None
