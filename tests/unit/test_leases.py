"""Who may trade an account: the ledger gives an epoch once; who waits takes over from the dead, and from nobody else."""

import pytest

from holdfast.contracts.codes import UpdateKind
from holdfast.contracts.leases import ExecutorClaim
from holdfast.contracts.messages import Heartbeat
from holdfast.domain.leases import GONE_LOOKS, Rivals, claim, read, written
from holdfast.domain.ledger_state import LedgerState

T0 = 1_700_000_000_000
LEASE = 5_000


def beat(incarnation, at=0, *, epochs="", place="", service="executor"):
    return Heartbeat(
        id=f"h-{incarnation}-{at}", at=T0 + at, service=service, instance="0", incarnation=incarnation, started_at=T0, version="1",
        details={"epochs": epochs, "place": place},
    )  # fmt: skip


def asked(state, number=1, **epochs):
    return claim(state, ExecutorClaim(id=f"c-{number}", at=T0, incarnation=f"life{number}", epochs=epochs))


@pytest.fixture
def rivals():
    """We are `me`; `other` has main at epoch 3, and has just been heard."""
    found = Rivals("me", LEASE)
    found.hear(beat("me"))
    found.hear(beat("other", 100, epochs="main:3", place="elsewhere"))
    return found


def way(rivals, *, place="here", **epochs):
    return rivals.in_the_way(["main"], epochs or {"main": 3}, place)


# -- the ledger --------------------------------------------------------------------------------------------------------------


def test_the_first_claim_of_an_epoch_is_recorded_and_the_second_changes_nothing():
    state = LedgerState()
    first = asked(state, main=1, demo=1)
    assert (first.kind, first.executors) == (UpdateKind.CLAIMED, {"main": 1, "demo": 1})
    second = asked(state, 2, main=1)
    assert second.is_empty
    assert "main:1 is claimed by life2, too late" in second.why
    assert asked(state, 3, main=2).executors == {"main": 2}
    assert state.executors == {"main": 2, "demo": 1}


def test_a_claim_of_several_accounts_is_all_or_nothing():
    state = LedgerState()
    asked(state, main=4)
    assert asked(state, 2, main=4, second=1).is_empty
    assert state.executors == {"main": 4}


def test_epochs_are_read_as_they_are_written():
    epochs = {"main": 3, "a-b": 12}
    assert read(written(epochs)) == epochs
    assert read("") == read("main") == read("main:x") == {}


# -- who waits ---------------------------------------------------------------------------------------------------------------


def test_whoever_lives_and_has_the_account_is_in_the_way(rivals):
    assert way(rivals) == "other has main"


def test_whoever_has_an_older_epoch_or_other_accounts_is_not(rivals):
    assert way(rivals, main=4) is None
    assert rivals.in_the_way(["second"], {"main": 3}, "here") is None


def test_one_that_held_our_lock_before_us_is_dead_however_young_its_heartbeat_is(rivals):
    assert way(rivals, place="elsewhere") is None


def test_it_is_in_the_way_until_it_has_been_silent_for_the_lease(rivals):
    for second in range(1, 5):
        rivals.hear(beat("me", second * 1_000))
        assert way(rivals) == "other has main"
    rivals.hear(beat("me", 5_000))
    assert way(rivals) is None
    assert "other has been silent for 5000 ms" in rivals.dead({"main": 4})


def test_a_heartbeat_begins_the_silence_anew(rivals):
    for second in range(1, 10):
        rivals.hear(beat("me", second * 1_000))
        rivals.hear(beat("other", second * 1_000 + 100, epochs="main:3"))
    assert way(rivals) == "other has main"


def test_a_bus_that_was_away_proves_nobodys_silence(rivals):
    rivals.hear(beat("me", 60_000))
    assert way(rivals) == "other has main"


def test_other_services_silence_and_other_services_beats_are_no_matter(rivals):
    rivals.hear(beat("scanner", 100, service="exit_scanner", epochs="main:9"))
    assert way(rivals, main=4) is None


def test_one_whose_connections_are_closed_is_dead_after_a_moment(rivals):
    for _ in range(GONE_LOOKS - 1):
        rivals.see(frozenset({"me"}))
    assert way(rivals) == "other has main"
    rivals.see(frozenset({"me"}))
    assert way(rivals) is None
    rivals.see(frozenset({"me", "other"}))
    assert way(rivals) == "other has main", "it was only connecting anew"


def test_a_bus_that_does_not_show_us_shows_nothing(rivals):
    for _ in range(2 * GONE_LOOKS):
        rivals.see(frozenset({"somebody"}))
    assert way(rivals) == "other has main"


def test_whoever_the_ledger_has_just_given_the_account_is_waited_for(rivals):
    rivals.taken({"main": 4})
    assert way(rivals, main=4) == "somebody with main:4 has main"
    for second in range(1, 7):
        rivals.hear(beat("me", second * 1_000))
    assert way(rivals, main=4) is None, "it was never heard"
