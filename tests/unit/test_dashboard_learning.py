"""The page and the API about learning: mode, what is in force, the twelve thresholds, versions with evidence, exit quality."""

from decimal import Decimal

from holdfast.contracts import streams
from holdfast.contracts.codes import LearnMode
from holdfast.contracts.rows import LearningRow, ThresholdsRow
from holdfast.domain.exit_policy import ExitPolicy
from holdfast.domain.learning_rules import own_values
from tests.unit._dashboard import Front, Hand
from tests.unit._state import T0, entry, heartbeat

D = Decimal
OWN = own_values(ExitPolicy(D(10), D(20)))
VERSION = ThresholdsRow(
    version=3, values={"stop_loss_pct": D("9.5")}, adopted=True, evidence={"trades": "120"}, by="learner", why="<b>120</b> say so", at=T0
)  # fmt: skip


async def hand(**standing: object) -> Hand:
    found = Hand(own=OWN)
    row = LearningRow(
        **{"mode": LearnMode.APPLY, "version": 3, "by": "ann", "why": "looked right", "at": T0, **standing}
    )
    await found.load(learning=[row], thresholds=[VERSION])
    details = {
        "outcomes": "40",
        "soft_losses": "8",
        "premature": "2",
        "premature_share": "0.25",
        "average_hold_s": "600",
        "last_look": "no gain",
    }
    await found.watcher.on_heartbeats([entry(streams.HEARTBEAT, heartbeat("learner", details=details), T0)])
    return found


async def test_the_api_shows_policy_learned_in_force_and_bounds_of_all_twelve(tmp_path):
    found = (await Front(tmp_path, await hand()).client().get("/api/learning")).json()

    rows = {row["name"]: row for row in found["thresholds"]}
    assert len(rows) == 12
    stop = rows["stop_loss_pct"]
    assert (stop["policy"], stop["learned"], stop["in_force"], stop["safety"]) == ("10", "9.5", "9.5", True)
    assert (stop["low"], stop["high"], stop["step_per_day"]) == ("0.5", "20", "0.5")
    assert (rows["min_hold_s"]["policy"], rows["min_hold_s"]["in_force"]) == (None, None)
    assert (found["mode"], found["version"], found["applied"], found["last_look"]) == (
        "apply",
        3,
        True,
        "no gain",
    )
    assert found["versions"][0]["evidence"] == {"trades": "120"}
    assert (found["exit_quality"]["premature_share"], found["exit_quality"]["worst_slip_pct"]) == (
        "0.25",
        None,
    )


async def test_the_page_says_it_and_what_others_wrote_is_text(tmp_path):
    text = (await Front(tmp_path, await hand(frozen=True)).client().get("/learning")).text

    for words in (
        "<strong>version 3</strong>", "frozen</strong> by ann: looked right", "no gain", "25 %", "of 8 soft exits at a loss", "10 min",
        "trades 120", "stop_loss_pct 9.5", "0.5 to 20", "only tighter", "&lt;b&gt;120&lt;/b&gt; say so",
    ):  # fmt: skip
        assert words in text, words


async def test_in_shadow_the_policy_is_in_force_whatever_was_learned(tmp_path):
    front = Front(tmp_path, await hand(mode=LearnMode.SHADOW))

    found = (await front.client().get("/api/learning")).json()

    rows = {row["name"]: row for row in found["thresholds"]}
    assert (rows["stop_loss_pct"]["learned"], rows["stop_loss_pct"]["in_force"], found["applied"]) == (
        "9.5",
        "10",
        False,
    )
    assert "New positions get the <strong>policy</strong>" in (await front.client().get("/learning")).text


async def test_without_a_learner_the_page_is_whole(tmp_path):
    text = (await Front(tmp_path, Hand(own=OWN)).client().get("/learning")).text

    assert "The learner has not been heard" in text
    assert "No version yet" in text
    assert "<strong>shadow</strong>" in text
