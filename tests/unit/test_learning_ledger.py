"""The ledger on exit thresholds and outcomes: what is recorded, what comes into force, what is refused, what survives."""

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from holdfast.contracts.base import ContractViolation
from holdfast.contracts.codes import Code, LearnMode
from holdfast.contracts.exit_messages import ExitThresholds
from holdfast.contracts.exit_terms import ExitTerms, parse_terms
from holdfast.contracts.messages import SnapshotRequest
from holdfast.contracts.outcomes import KeptOutcome
from holdfast.contracts.streams import INTENT_RESULT, LEDGER_OUTCOME, LEDGER_TRADE
from holdfast.domain.exit_policy import ExitPolicy
from holdfast.domain.exits import thresholds_version
from holdfast.domain.learning_rules import DAY_MS
from holdfast.runtime.learner_settings import LearnerSettings, learning_rules
from holdfast.store.reading import SqliteReader
from holdfast.store.verify import verify
from tests.unit._ledger import NOW, Desk, Mem, as_entry, entry, fill, leave, rules, snapshot_view
from tests.unit._store import outcome_of, proposal

D = Decimal
POLICY = ExitPolicy(D(10), D(20), terms=ExitTerms(min_hold_s=D(120), emergency_loss_pct=D(20)))
MORNING = NOW - NOW % DAY_MS + 3_600_000


def learning(mode: str = "apply", **settings: Any) -> Any:
    bounds = {"stop_loss_pct": ["0.5", "20", "5"]}
    return rules(
        policy=POLICY,
        learning=learning_rules(LearnerSettings(mode=LearnMode(mode), bounds=bounds, **settings)),
    )


def said(action: str, key: str = "", **given: Any) -> ExitThresholds:
    return ExitThresholds(id=f"m-{action}-{key}", at=NOW, action=action, by="ann", why="a test", **given)


@pytest.fixture
def mem():
    found = Mem(learning())
    found.now = MORNING
    return found


def answer(change: Any) -> tuple[str, Code | None]:
    (out,) = [one.message for one in change.beside if one.stream is INTENT_RESULT]
    return out.status.value, out.code


def test_a_proposal_in_apply_is_in_force_for_what_is_opened_from_then_on(mem):
    before = mem.open(intent="before")
    assert answer(mem.do(proposal(1, stop_loss_pct="9", min_hold_s="60"))) == ("accepted", None)
    after = mem.open(intent="after", symbol="ETH/USDT")

    assert (after.stop_loss, after.stop_loss_spec) == (91, "9%")
    assert (parse_terms(after.terms).learned, parse_terms(after.terms).min_hold_s) == (1, 60)
    assert thresholds_version(after).startswith("v1.")
    held = mem.position()
    assert (held.stop_loss, held.terms) == (90, before.terms), "open positions keep their thresholds"
    row = mem.state.thresholds[1]
    assert (row.adopted, row.evidence, row.by) == (True, {"trades": "120"}, "learner")


def test_a_proposal_in_shadow_is_recorded_and_moves_nothing(mem):
    mem.rules = learning("shadow")
    assert answer(mem.do(proposal(1, stop_loss_pct="9"))) == ("accepted", None)
    opened = mem.open()
    assert (opened.stop_loss, parse_terms(opened.terms).learned) == (90, None)
    assert (mem.state.thresholds[1].adopted, mem.state.learning["all"].version) == (False, 0)
    assert answer(mem.do(proposal(2, stop_loss_pct="8.5"))) == ("accepted", None), (
        "still measured against the policy"
    )


def test_an_intents_own_levels_go_over_what_is_learned(mem):
    mem.do(proposal(1, stop_loss_pct="9", min_hold_s="60"))
    opened = mem.open(stop_loss="3%", exits={"min_hold_s": "10"})
    assert (opened.stop_loss, parse_terms(opened.terms).min_hold_s, parse_terms(opened.terms).learned) == (
        97,
        10,
        1,
    )


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (proposal(1, stop_loss_pct="10.5"), Code.BAD_THRESHOLDS),
        (proposal(1, stop_loss_pct="0.1"), Code.BAD_THRESHOLDS),
        (proposal(1, stop_loss_pct="4"), Code.STEP_TOO_LARGE),
        (proposal(1, max_hold_s="600"), Code.BAD_THRESHOLDS),
        (proposal(2, stop_loss_pct="9"), Code.STALE_THRESHOLDS),
        (proposal(1, stop_loss_pct="9").evolve(based_on=3), Code.STALE_THRESHOLDS),
        (said("rollback", version=5), Code.NO_SUCH_VERSION),
        (said("revert", version=0), Code.STALE_THRESHOLDS),
    ],
)  # fmt: skip
def test_what_the_ledger_refuses_is_answered_with_a_code_and_changes_nothing(mem, message, code):
    assert answer(mem.do(message)) == ("blocked", code)
    assert (mem.updates, mem.state.thresholds, mem.state.learning) == ([], {}, {})
    assert mem.open().stop_loss == 90


def test_the_step_of_a_day_counts_all_versions_of_the_day_and_begins_anew_at_midnight(mem):
    step = [proposal(1, stop_loss_pct="7"), proposal(2, stop_loss_pct="5.1").evolve(based_on=1)]
    assert [answer(mem.do(one))[0] for one in step] == ["accepted", "accepted"]
    further = proposal(3, stop_loss_pct="4").evolve(based_on=2)
    assert answer(mem.do(further)) == ("blocked", Code.STEP_TOO_LARGE)
    mem.now += DAY_MS
    assert answer(mem.do(further.evolve(id="x-3b"))) == ("accepted", None)


def test_off_refuses_proposals_and_frozen_refuses_them_and_reverts_until_thaw(mem):
    mem.do(said("mode", mode="off"))
    assert answer(mem.do(proposal(1, stop_loss_pct="9"))) == ("blocked", Code.LEARNING_OFF)
    mem.do(said("mode", "2", mode="apply"))
    assert answer(mem.do(proposal(1, stop_loss_pct="9").evolve(id="again")))[0] == "accepted"
    mem.do(said("freeze"))
    assert answer(mem.do(proposal(2, stop_loss_pct="8").evolve(based_on=1))) == (
        "blocked",
        Code.LEARNING_FROZEN,
    )
    back = ExitThresholds(id="r", at=NOW, action="revert", version=0, based_on=1, by="learner")
    assert answer(mem.do(back)) == ("blocked", Code.LEARNING_FROZEN)
    assert mem.open().stop_loss == 91, "what is in force stays in force"
    mem.do(said("thaw"))
    assert answer(mem.do(back.evolve(id="r2"))) == ("accepted", None)
    assert mem.open(symbol="ETH/USDT", intent="two").stop_loss == 90


def test_a_rollback_writes_a_new_version_with_the_old_values_and_zero_is_the_policy(mem):
    mem.do(proposal(1, stop_loss_pct="9"))
    mem.do(proposal(2, stop_loss_pct="8").evolve(based_on=1))
    assert answer(mem.do(said("rollback", "1", version=1))) == ("accepted", None)
    assert mem.open().stop_loss == 91
    assert (mem.state.thresholds[3].restores, mem.state.thresholds[3].based_on) == (1, 2)
    assert answer(mem.do(said("rollback", "0", version=0))) == ("accepted", None)
    last = mem.open(symbol="ETH/USDT", intent="two")
    assert (last.stop_loss, parse_terms(last.terms).learned) == (90, 4)
    assert mem.state.learning["all"].by == "ann"


def test_a_rollback_to_what_a_tighter_policy_forbids_by_now_is_refused(mem):
    mem.do(proposal(1, stop_loss_pct="9"))
    mem.rules = rules(policy=ExitPolicy(D(5), D(20)), learning=mem.rules.learning)
    assert mem.open().stop_loss == 95, "of the two the tighter one counts"
    assert answer(mem.do(said("rollback", version=1))) == ("blocked", Code.BAD_THRESHOLDS)


@pytest.mark.parametrize(
    "wrong",
    [
        {"action": "propose"},
        {"action": "propose", "version": 0},
        {"action": "mode"},
        {"action": "freeze", "version": 1},
        {"action": "rollback", "version": 1, "values": {"stop_loss_pct": "3"}},
        {"action": "freeze", "mode": "off"},
    ],
)
def test_a_message_that_says_half_of_it_is_none(wrong):
    with pytest.raises(ValueError, match=r"version|mode|values"):
        ExitThresholds(id="m", at=NOW, by="ann", **wrong)


# -- on a store ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def desk(tmp_path):
    found = Desk(tmp_path, learning(keep_outcomes=10))
    yield found
    found.close()


def closed(desk: Desk, *names: str) -> list[Any]:
    """Positions, opened and closed; their trades."""
    out: list[Any] = []
    for number, name in enumerate(names):
        symbol = f"{name}/USDT"
        out += desk.run(entry(name, symbol=symbol), fill(f"a{name}", f"o-{name}", symbol=symbol))
        out += desk.run(
            leave(f"{name}x", symbol=symbol),
            fill(f"b{name}", f"o-{name}x", "sell", symbol=symbol, price="103", executed_at=NOW + number),
        )
    return [one.message for one in out if getattr(one, "stream", None) is LEDGER_TRADE]


def kept(outputs: list[Any]) -> list[KeptOutcome]:
    return [one.message for one in outputs if getattr(one, "stream", None) is LEDGER_OUTCOME]


def asked(desk: Desk, skip: int = 0) -> list[KeptOutcome]:
    request = SnapshotRequest(id=f"q{skip}", at=NOW, by="learner", of="outcomes", skip=skip)
    return kept(asyncio.run(desk.ledger.on_snapshot_requests([as_entry(request)])))


def test_thresholds_and_mode_survive_a_restart_and_are_in_the_snapshot(desk):
    desk.run(said("freeze"), said("thaw"), proposal(1, stop_loss_pct="9"), said("mode", mode="apply"))
    desk.restart()
    desk.check()
    view = snapshot_view(desk.ledger._snapshot())
    assert (view.learning["all"].mode, view.learning["all"].version) == (LearnMode.APPLY, 1)
    assert view.thresholds[1].values == {"stop_loss_pct": 9}
    desk.run(entry("i"), fill("t", "o-i"))
    assert desk.state.position("main/paper/BTC/USDT").stop_loss == 91
    desk.run(proposal(1, stop_loss_pct="9"))
    assert len(desk.state.thresholds) == 1, "the same message again changes nothing"


def test_an_outcome_is_kept_once_told_to_everybody_and_given_to_who_asks(desk):
    first, second = (outcome_of(trade) for trade in closed(desk, "BTC", "ETH"))
    seq = desk.ledger.seq
    news = kept(desk.run(first, second))
    assert [one.outcome for one in news] == [first, second]
    again = kept(desk.run(first.evolve(path=[], hole_ms=5)))
    assert [one.outcome for one in again] == [first], "who sends it again is told what is kept"
    assert desk.ledger.seq == seq, "evidence is no state: nothing for followers to take in"

    desk.restart()
    told = asked(desk)
    assert [(one.number, one.last, one.of, one.cause_id) for one in told] == [
        (1, 2, 2, "q0"),
        (2, 2, 2, "q0"),
    ]
    assert [one.outcome for one in told] == [second, first], "newest first"
    with SqliteReader(desk.directory / "ledger" / "ledger.db") as store:
        checks = {check.check: check for check in verify(store)}
    assert (checks["outcomes"].count, checks["outcomes"].passed) == (2, True)


def test_who_asks_where_nothing_is_kept_is_told_so(desk):
    assert [(one.of, one.outcome, one.cause_id) for one in asked(desk)] == [(0, None, "q0")]


def test_only_the_newest_outcomes_are_kept(desk):
    names = [f"C{number}" for number in range(13)]
    desk.run(*(outcome_of(trade) for trade in closed(desk, *names)))
    page, rest = asked(desk), asked(desk, skip=7)
    assert [one.outcome.row.symbol for one in page] == [f"{name}/USDT" for name in reversed(names[3:])]
    assert [(one.number, one.last, one.of) for one in rest] == [(8, 10, 10), (9, 10, 10), (10, 10, 10)]
    assert [one.outcome for one in asked(desk, skip=10)] == [None]


def test_an_outcome_of_no_trade_is_not_kept_and_one_that_is_unlike_its_trade_is_refused(desk):
    (trade,) = closed(desk, "BTC")
    assert kept(desk.run(outcome_of(trade, position_id="p-none"))) == []
    with pytest.raises(
        ContractViolation, match=f"this is not the trade {trade.position_id}: realized_pnl 7, the trade 3"
    ):
        desk.run(outcome_of(trade, realized_pnl=D(7)))
    assert kept(desk.run(outcome_of(trade)))


def test_an_outcome_that_was_falsified_in_the_store_is_found(desk):
    (trade,) = closed(desk, "BTC")
    desk.run(outcome_of(trade))
    desk.store._driver.cursor().execute(
        """UPDATE outcomes SET body = replace(body, '"realized_pnl":"3"', '"realized_pnl":"4"')"""
    )
    with SqliteReader(desk.directory / "ledger" / "ledger.db") as store:
        (problem,) = [check.problems for check in verify(store) if not check.passed]
    assert "is not that of its trade: realized_pnl 4, the trade 3" in problem[0]
