"""The models of the incidents do what their reports say, and are judged from outside."""

from decimal import Decimal

import pytest

from proving.designs.__main__ import placed
from proving.designs.bot import Bot, Disk, Held
from proving.designs.compare import Row, table
from proving.designs.incidents import (
    DESIGNS,
    AtomicFiles,
    Enforcer,
    NeverSaved,
    NoCheck,
    OrderThenRow,
    PlainFiles,
)
from proving.designs.world import KINDS, DesignWorld, Outcome

SECONDS = 20.0
D = Decimal


def judged(design: type[Bot], seed: int, tmp_path) -> Outcome:
    directory = tmp_path / f"{design.__name__}-{seed}"
    directory.mkdir()
    return DesignWorld(design, seed, directory, SECONDS).run()


def test_the_same_seed_is_the_same_world(tmp_path):
    first, second = (judged(OrderThenRow, 3, tmp_path / name) for name in _folders(tmp_path, "a", "b"))
    assert (first.kinds, first.orders, first.steps) == (second.kinds, second.orders, second.steps)


def _folders(tmp_path, *names):
    for name in names:
        (tmp_path / name).mkdir()
        yield name


@pytest.mark.parametrize(
    ("design", "kind"),
    [(NeverSaved, "lost"), (NoCheck, "opposed"), (PlainFiles, "file")],
    ids=str,
)
def test_a_design_before_its_fix_shows_its_incident(design, kind, tmp_path):
    assert kind in judged(design, 1, tmp_path).kinds


def test_files_that_are_renamed_into_place_are_whole(tmp_path):
    assert judged(AtomicFiles, 1, tmp_path).kinds == set()


def test_a_design_is_judged_by_its_own_promise_alone(tmp_path):
    assert judged(Enforcer, 2, tmp_path).kinds <= Enforcer.promise
    assert all(design.promise <= KINDS.keys() for design in DESIGNS)
    assert all(design.promise for design in DESIGNS)


def test_exits_are_seeded_on_the_right_sides():
    long, short = (Held("BTC/USDT", side, D(1), D(100)).with_exits() for side in ("buy", "sell"))
    assert (long.stop_loss, long.take_profit) == (97, 104)
    assert (short.stop_loss, short.take_profit) == (103, 96)
    assert [long.is_due(D(price)) for price in (97, 98, 104)] == [True, False, True]


def test_netting_adds_averages_and_turns():
    bot = OrderThenRow.__new__(OrderThenRow)
    bot.disk = Disk()
    bot.positions = {"BTC/USDT": Held("BTC/USDT", "buy", D(1), D(100))}
    more, turned = (bot.grown("BTC/USDT", side, _Filled(D(3), D(104))) for side in ("buy", "sell"))
    assert (more.quantity, more.entry) == (4, 103)
    assert (turned.side, turned.quantity) == ("sell", 2)


class _Filled:
    def __init__(self, quantity: Decimal, price: Decimal) -> None:
        self.quantity, self.price = quantity, price


def test_the_table_counts_seeds_in_a_thousand():
    row = Row("order first", "as fixed", seeds=50, violated=5, crashes=7)
    row.kinds["lost"] = 5
    assert f"| order first | as fixed | 50 | 100 | {KINDS['lost']} (5) | 7 |" in table([row])


def test_the_table_goes_between_its_marks():
    page = "a\n<!-- designs: begin -->\nold\n<!-- designs: end -->\nz\n"
    assert placed(page, "new\n") == page.replace("old", "new")
