"""Which scenario must notice which planted bug; `breaks` of the bug names the invariant. The bugs are in `proving.planted`."""

from collections.abc import Awaitable, Callable

from proving.planted.bug import Bug
from proving.planted.catalogue import BUGS
from tests.planted import scenarios
from tests.planted._world import World

SCENARIOS: dict[str, Callable[[World], Awaitable[None]]] = {
    "both sides at once": scenarios.in_flight,
    "exits are optional": scenarios.every_position_has_exits,
    "order first, record later": scenarios.recorded_before_sent,
    "no memory of fills": scenarios.fills_count_once,
    "exits counted alone": scenarios.exits_never_exceed_the_position,
    "halt stops everything": scenarios.a_halt_lets_exits_pass,
    "no answer is a rejection": scenarios.a_lost_answer_is_not_a_failure,
    "unreadable is flat": scenarios.an_unreadable_venue_takes_no_entries,
    "gaps are passed over": scenarios.followers_equal_the_ledger,
    "no lock on the store": scenarios.a_second_ledger_is_refused,
    "no fence in the store": scenarios.a_replaced_ledger_is_fenced,
    "re-send after restart": scenarios.nothing_is_sent_again_after_a_restart,
    "a group on a view": scenarios.every_reader_of_a_view_sees_all,
    "a fill lost in a wipe": scenarios.fills_survive_a_wipe,
    "a stop refused because a softer exit holds the quantity": scenarios.a_stop_displaces_a_softer_exit,
    "a poisoned batch": scenarios.poison_harms_only_itself,
    "a fill refused by a CHECK": scenarios.crossed_exits_are_put_right,
    "two symbols sharing a trade id": scenarios.trade_ids_are_of_their_symbol,
    "a store restored from a backup against a newer stream": scenarios.an_old_store_does_not_write_over_a_newer_stream,
    "an exit beside the stop": scenarios.a_stop_that_locks_the_coins_goes_before_they_are_sold,
    "a fill of an ended order is refused": scenarios.a_fill_after_the_end_counts,
}
"""By the bug's name."""

SHOWN: tuple[Bug, ...] = tuple(bug for bug in BUGS if bug.name in SCENARIOS)
