"""The learner's service: when it asks itself a question, what it asks the ledger for, what it says of itself."""

import asyncio
import threading
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from holdfast.contracts import streams
from holdfast.contracts.codes import LearnAction, LearnMode
from holdfast.contracts.outcomes import KeptOutcome
from holdfast.contracts.rows import LearningRow, ThresholdsRow
from holdfast.domain.exit_policy import ExitPolicy
from holdfast.domain.learning_shown import exit_quality
from holdfast.domain.view import LedgerView
from holdfast.runtime.learner_settings import LearnerSettings, learning_rules
from services.learner.beside import beside
from services.learner.mind import Aims, Answer, Question, think
from services.learner.service import Learner, Options
from tests.contract._golden import TRADE
from tests.unit._learning import candle_point, outcome
from tests.unit._state import T0, HandClock, snapshot
from tests.unit._state import entry as entry_at

D = Decimal
HOUR = 3_600_000


def entry(stream: Any, message: Any) -> Any:
    return entry_at(stream, message, T0)


class Numbers:
    def __init__(self) -> None:
        self.given = 0

    def new(self) -> str:
        self.given += 1
        return f"n{self.given}"


def options(**given: Any) -> Options:
    rules = learning_rules(LearnerSettings(bounds={"take_profit_pct": ["0.5", "50", "5"]}))
    aims = Aims(
        least_trades=60, confidence=0.95, revert_after=20, revert_confidence=0.9, slippage_pct=D(0), seed=1
    )
    return Options(
        **({"policy": ExitPolicy(D(10), D(20)), "rules": rules, "aims": aims, "propose_every": 3} | given)
    )


class Stage:
    """A learner that hears what the test says."""

    def __init__(self, **given: Any) -> None:
        self.clock, self.view = HandClock(), LedgerView()
        self.learner = Learner(self.view, self.clock, Numbers(), options(**given))

    async def load(self, *rows: ThresholdsRow, store: str = "store-1", **standing: Any) -> None:
        learning = [LearningRow(**{"mode": LearnMode.SHADOW, "by": "ann", "why": "", "at": T0, **standing})]
        self.view.load(snapshot(store=store, learning=learning, thresholds=list(rows)))
        await self.learner.on_reset()

    async def hears(self, *outcomes: Any) -> None:
        """The whole history, in one answer."""
        (asked, *_) = [
            out.message.id for out in await self.learner.on_time() if out.stream is streams.SNAPSHOT_REQUEST
        ]
        count = len(outcomes)
        told = [
            KeptOutcome(id=f"k{n}", at=T0, cause_id=asked, number=n, last=count, of=count, outcome=one)
            for n, one in enumerate(outcomes, 1)
        ]
        told = told or [KeptOutcome(id="k", at=T0, cause_id=asked)]
        await self.learner.on_kept([entry(streams.LEDGER_OUTCOME, one) for one in told])


def version(number: int, **given: Any) -> ThresholdsRow:
    values = {
        "version": number,
        "values": {"take_profit_pct": "15"},
        "adopted": True,
        "by": "learner",
        "why": "",
        "at": T0,
    }
    return ThresholdsRow(**(values | given))


def peaks(count: int, high: object = 118, learned: int | None = None) -> list[Any]:
    """Trades that rise to *high*, then jump below any stop: a take-profit below *high* would have had that."""
    terms = "" if learned is None else f"learned={learned}"
    return [
        outcome(
            name=f"p{n}", at=T0 + n * HOUR, row={"terms": terms, "entry_value": D(200), "take_profit_spec": "20%", "stop_loss_spec": "10%"},
            points=[
                candle_point(T0 + n * HOUR, 100, 100, 100, 100), candle_point(T0 + n * HOUR + 60_000, 100, 99, high, 99),
                candle_point(T0 + n * HOUR + 120_000, 89, 89, 89, 89),
            ],
            exit_price=D(89), realized_pnl=D(-22), closed_at=T0 + n * HOUR + 120_001, through=T0 + n * HOUR + 130_000,
        )
        for n in range(count)
    ]  # fmt: skip


# -- when it thinks ----------------------------------------------------------------------------------------------------


async def test_it_thinks_when_there_are_enough_new_outcomes_and_once_about_each():
    stage = Stage()
    assert stage.learner.question() is None
    await stage.load()
    await stage.hears(*peaks(2))
    assert stage.learner.question() is None
    await stage.learner.on_kept(
        [entry(streams.LEDGER_OUTCOME, KeptOutcome(id="k", at=T0, outcome=peaks(3)[-1]))]
    )
    question = stage.learner.question()
    assert (len(question.outcomes), question.newest, question.in_force) == (3, 0, None)
    assert question.current == {"take_profit_pct": 20, "stop_loss_pct": 10}
    assert stage.learner.question() is None, "nothing is new"


@pytest.mark.parametrize("standing", [{"mode": LearnMode.OFF}, {"frozen": True}])
async def test_it_does_not_think_while_nobody_wants_to_know(standing):
    stage = Stage()
    await stage.load(**standing)
    await stage.hears(*peaks(5))
    assert stage.learner.question() is None


async def test_nothing_is_learned_from_a_path_with_a_hole_or_from_none():
    stage = Stage()
    await stage.load()
    whole, holed, bare = peaks(3)
    await stage.hears(whole, holed.evolve(hole_ms=1), bare.evolve(path=[]))
    assert [one.position_id for one in stage.learner.question().outcomes] == ["p0"]
    assert stage.learner.beat()["details"]["outcomes"] == "3", "they count for exit quality"


async def test_another_store_is_another_history():
    stage = Stage()
    await stage.load()
    await stage.hears(*peaks(5))
    await stage.load(store="store-2")
    assert stage.learner.history.kept == {}
    assert [out.message.of for out in await stage.learner.on_time()] == ["outcomes"]


async def test_a_trade_whose_outcome_is_kept_is_not_told_again():
    stage = Stage()
    await stage.load()
    await stage.hears(*peaks(1))
    await stage.learner.on_trades([entry(streams.LEDGER_TRADE, TRADE.evolve(position_id="p0"))])
    stage.clock.now += 60_000
    assert await stage.learner.on_time() == []


# -- what it thinks ----------------------------------------------------------------------------------------------------


async def asked(*rows: ThresholdsRow, outcomes: list[Any], **standing: Any) -> tuple[Question, Answer, Stage]:
    stage = Stage()
    await stage.load(*rows, **standing)
    await stage.hears(*outcomes)
    question = stage.learner.question()
    assert question is not None
    return question, think(question, options().rules, options().aims), stage


async def test_what_later_trades_bear_out_is_proposed_once_with_its_evidence_as_the_next_version():
    question, answer, stage = await asked(outcomes=peaks(64))
    (out,) = stage.learner.wanted(question, answer)
    message = out.message
    assert (message.action, message.version, message.based_on, message.by) == (
        LearnAction.PROPOSE,
        1,
        0,
        "learner",
    )
    assert 15 <= message.values["take_profit_pct"] < 18, (
        "what all of them reached, as far as a day's step goes"
    )
    assert message.evidence["trades"] == "64"
    assert message.evidence["moved.take_profit_pct"].startswith("20 -> 1")
    assert "take_profit_pct 20 -> " in stage.learner.last_look

    await stage.load(version(1, values=dict(message.values), adopted=False))
    assert stage.learner.wanted(replace(question, newest=1), answer) == [], "in shadow it was said just now"


async def test_with_too_few_trades_it_says_so_and_asks_for_nothing():
    question, answer, stage = await asked(outcomes=peaks(10))
    assert stage.learner.wanted(question, answer) == []
    assert "10 trades with a path, 60 are needed" in stage.learner.last_look


async def test_the_day_s_step_is_what_is_left_of_it():
    before = version(1, values={"take_profit_pct": "19"}, at=T0)
    question, answer, stage = await asked(before, outcomes=peaks(64), mode=LearnMode.APPLY, version=1)
    assert question.day_began["take_profit_pct"] == 20
    (out,) = stage.learner.wanted(question, answer)
    assert out.message.based_on == 1
    assert 15 <= out.message.values["take_profit_pct"] < 18


async def test_a_version_that_does_worse_than_what_it_replaced_is_asked_back():
    """The version would have ended them at their stop; the policy's take-profit before it would have been reached."""
    rows = [
        version(1, values={"take_profit_pct": "5"}),
        version(2, values={"take_profit_pct": "20"}, based_on=1),
    ]
    question, answer, stage = await asked(
        *rows, outcomes=peaks(30, learned=2), mode=LearnMode.APPLY, version=2
    )
    (out,) = stage.learner.wanted(question, answer)
    assert (out.message.action, out.message.version, out.message.based_on) == (LearnAction.REVERT, 1, 2)
    assert out.message.evidence["trades"] == "30"


async def test_a_version_that_somebody_went_back_to_is_not_judged_by_itself():
    rows = [version(1, values={"take_profit_pct": "5"}), version(2, values={}, based_on=1, restores=0)]
    _, answer, _ = await asked(*rows, outcomes=peaks(30, learned=2), mode=LearnMode.APPLY, version=2)
    assert answer.wish is None or answer.wish.action is LearnAction.PROPOSE


async def test_a_long_thought_lets_everything_else_go_on_and_its_failure_is_told():
    begun, go_on = threading.Event(), threading.Event()

    def slow() -> int:
        begun.set()
        assert go_on.wait(10)
        return 7

    thought = asyncio.create_task(beside(slow))
    assert await asyncio.to_thread(begun.wait, 10)
    assert not thought.done()
    go_on.set()
    assert await thought == 7
    with pytest.raises(ZeroDivisionError):
        await beside(lambda: 1 // 0)


def test_a_thought_does_not_keep_a_loop_from_ending():
    go_on = threading.Event()

    async def leave() -> None:
        asyncio.create_task(beside(lambda: go_on.wait(30)))  # noqa: RUF006 - it is cancelled with the loop
        await asyncio.sleep(0)

    asyncio.run(leave())
    go_on.set()


# -- what it says of itself ----------------------------------------------------------------------------------------------


async def test_its_heartbeat_has_the_figures_that_pages_and_files_show():
    stage = Stage()
    await stage.load(mode=LearnMode.APPLY, frozen=True)
    await stage.hears(*peaks(4))
    details = stage.learner.beat()["details"]
    assert (details["mode"], details["frozen"], details["outcomes"]) == ("apply", "true", "4")
    assert details["last_look"] == "nothing looked at yet: 4 outcomes, 60 are needed"
    found = exit_quality(details)
    assert (found["stops"], found["average_hold_s"]) == (4, D("120.001"))
    assert found["average_slip_pct"] == pytest.approx(D("1.111"), abs=D("0.001"))
    assert found["premature_share"] is None


def test_a_heartbeat_that_says_nonsense_says_nothing():
    assert set(exit_quality({"outcomes": "-3", "average_hold_s": "NaN", "stops": "many"}).values()) == {None}
