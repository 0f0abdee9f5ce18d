"""The load tests' own gauges: a slope is the slope, and an intent's ends are counted as they are."""

import os

import orjson
import pytest

from benchmarks import pipeline
from benchmarks.gauges import file_handles, resident_mb, slope
from benchmarks.traffic import Ends, Traffic
from holdfast.runtime.settings import Settings
from services.ledger.app import rules_of
from tests.unit._ledger import Mem, entry


@pytest.mark.parametrize(
    ("points", "found"),
    [([(0, 5), (1, 7), (2, 9)], 2), ([(0, 5), (10, 5)], 0), ([(0, 1), (1, 0), (2, -1)], -1), ([(3, 3)], 0), ([], 0)],
)  # fmt: skip
def test_a_slope_is_that_of_the_line_with_the_least_squares(points, found):
    assert slope(points) == pytest.approx(found)


def test_a_running_process_holds_something_and_an_ended_one_nothing():
    assert resident_mb(os.getpid()) > 1
    assert file_handles(os.getpid()) > 1
    assert (resident_mb(2**30), file_handles(2**30)) == (0, 0)


class _Recorded(Ends):
    """Counts what it is given, without a bus."""

    def __init__(self):
        self._mark, self.count = b'"intent_id":"run-', 0
        self.by_status, self.of_intent = type(self).counters()

    @staticmethod
    def counters():
        from collections import Counter

        return Counter(), Counter()


def test_only_ends_count_and_a_second_one_is_noticed():
    ends = _Recorded()
    for body in (
        b'{"intent_id":"run-1","status":"accepted"}', b'{"intent_id":"run-1","status":"filled"}', b'{"intent_id":"other-1","status":"filled"}',
        b'{"intent_id":"run-2","status":"blocked","code":"bus_full"}', b'{"intent_id":"run-1","status":"filled","repeated":true}',
    ):  # fmt: skip
        ends._take(body)

    assert (ends.count, dict(ends.by_status), ends.twice) == (2, {"filled": 1, "blocked bus_full": 1}, [])
    ends._take(b'{"intent_id":"run-1","status":"canceled"}')
    assert ends.twice == ["run-1"]


def test_what_the_benchmarks_send_is_accepted_under_the_default_rules():
    """A refused intent costs next to nothing, so it would flatter, or never end."""
    bodies = [orjson.loads(pipeline.intent("one", 0)["body"]), Traffic(None, "run", ("main",))._body(0, 0)]
    for body in bodies:
        ledger = Mem(rules_of(Settings()))
        given = {key: body[key] for key in ("side", "quantity", "take_profit", "stop_loss")}
        assert ledger.answer(entry("e", reference_price="42000", **given)) == ("accepted", None)
