"""The faults, and the order in which a drill has them: round after round, each kind in every round, shuffled by seed."""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle, permutations
from typing import TypeVar

from holdfast.contracts import streams
from holdfast.runtime.faults import EXIT_HELD
from proving.drill.report import Tally
from proving.drill.world import BUS, GREEN, LONGEST_BOUND_S, SERVICES, World

T = TypeVar("T")
CORE = (streams.LEDGER, streams.EXECUTOR, streams.EXIT_SCANNER)
ORDERED = (*CORE, BUS)
"""Those whose order of restarting matters: all 24 orders are gone through."""
PAUSE_S = LONGEST_BOUND_S + 3
OUTAGE_S = LONGEST_BOUND_S + 1
SKEWS_MS = (-3_600_000, -90_000, -1_500, 1_500, 90_000, 3_600_000)
ORDERS_PER_ROUND = 4
ONLY_ONE = (streams.LEDGER, streams.STATE_PUBLISHER)
"""Those of which a second one must be refused."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing done to a world. All is well again when everyone *touched* was heard of, *replaced* by successors."""

    kind: str
    strike: Callable[[World, Tally], None]
    touched: Sequence[str] = ()
    replaced: Sequence[str] = ()
    lasts: bool = False
    """Recovery counts from when `strike` has returned, not from when it began."""
    is_measured: bool = True


@dataclass(slots=True)
class Menu:
    """Deals out faults for ever. *kinds*: only those whose kind begins with one of these words."""

    seed: int
    kinds: tuple[str, ...] = ()
    orders_tried: set[tuple[str, ...]] = field(default_factory=set)

    def deal(self) -> Iterator[Fault]:
        chance = random.Random(self.seed)
        orders, paused, skewed, doubled = (
            cycle(_shuffled(chance, permutations(ORDERED))),
            cycle(_shuffled(chance, (*SERVICES, BUS))),
            cycle(_shuffled(chance, SERVICES)),
            cycle(_shuffled(chance, ONLY_ONE)),
        )
        while True:
            dealt = [kill((name,)) for name in (*SERVICES, BUS)] + [kill((*SERVICES, BUS))]
            dealt += [wipe(), rewind(), disk(), network(), second(next(doubled))]
            dealt += [pause(next(paused), chance.choice((None, *SERVICES)))]
            dealt += [self._restart(next(orders), chance.random() * 0.3) for _ in range(ORDERS_PER_ROUND)]
            dealt += [skew(next(skewed), chance.choice(SKEWS_MS))]
            for fault in _one_of_each_first(_shuffled(chance, dealt)):
                if not self.kinds or fault.kind.startswith(self.kinds):
                    yield fault
                    if fault.kind.startswith("skew"):
                        yield unskew(fault)

    def _restart(self, order: tuple[str, ...], pause_s: float) -> Fault:
        def strike(world: World, tally: Tally) -> None:  # noqa: ARG001 - the shape of every strike
            world.restart(order, pause_s)
            self.orders_tried.add(order)

        return Fault("restart in some order", strike, CORE, CORE)


def _shuffled(chance: random.Random, things: Iterable[T]) -> list[T]:
    ordered = list(things)
    chance.shuffle(ordered)
    return ordered


def _one_of_each_first(faults: Iterable[Fault]) -> list[Fault]:
    """The first of every kind, then the second of those that have one: a short drill has had them all."""
    seen: Counter[str] = Counter()
    ranked = []
    for fault in faults:
        ranked.append((seen[fault.kind], fault))
        seen[fault.kind] += 1
    return [fault for _, fault in sorted(ranked, key=lambda pair: pair[0])]


def kill(names: tuple[str, ...]) -> Fault:
    """SIGKILL, without a warning."""
    services = tuple(name for name in names if name != BUS)
    kind = f"kill -9 {names[0]}" if len(names) == 1 else "kill -9 all at once"
    return Fault(kind, lambda world, _: world.kill(names), services or CORE, services)


def wipe() -> Fault:
    """Everything on the bus is gone, groups included."""

    def strike(world: World, tally: Tally) -> None:  # noqa: ARG001 - the shape of every strike
        world.client().flushall()

    return Fault("wipe the bus", strike, CORE)


def rewind() -> Fault:
    return Fault("rewind the bus", lambda world, _: world.rewind(), CORE)


def pause(name: str, killed: str | None) -> Fault:
    """Stop *name* for longer than every bound on staleness; meanwhile, perhaps, another dies. Then it goes on, a zombie."""

    def strike(world: World, tally: Tally) -> None:
        world.pause(name)
        try:
            time.sleep(PAUSE_S / 2)
            if killed is not None and killed != name:
                world.kill((killed,))
            time.sleep(PAUSE_S / 2)
            must_not_be_green(world, tally, f"{name} stands still")
        finally:
            world.resume(name)

    return Fault(f"pause {name} {PAUSE_S:g} s", strike, CORE if name == BUS else (name,), lasts=True)


def disk() -> Fault:
    """Not one byte left where the data are, for a while."""

    def strike(world: World, tally: Tally) -> None:
        world.fill_disk()
        try:
            time.sleep(OUTAGE_S)
            must_not_be_green(world, tally, "the disk is full")
        finally:
            world.free_disk()

    return Fault(f"full disk {OUTAGE_S:g} s", strike, (*CORE, streams.STATE_PUBLISHER), lasts=True)


def network() -> Fault:
    """No packet between the bus and the services, for a while; connections stay open and say nothing."""

    def strike(world: World, tally: Tally) -> None:
        world.cut_network()
        try:
            time.sleep(OUTAGE_S)
            must_not_be_green(world, tally, "the network is cut")
        finally:
            world.join_network()

    return Fault(f"cut network {OUTAGE_S:g} s", strike, SERVICES, lasts=True)


def skew(name: str, by_ms: int) -> Fault:
    kind = f"skew the clock of {name}"
    return Fault(kind, lambda world, _: world.skew(name, by_ms), (name,), (name,))


def unskew(fault: Fault) -> Fault:
    """The clock of a skewed service, right again."""
    (name,) = fault.touched
    return Fault(fault.kind, lambda world, _: world.skew(name, 0), (name,), (name,))


def second(name: str) -> Fault:
    """Another of a kind of which there may be one: it must say so and end (INV-9)."""

    def strike(world: World, tally: Tally) -> None:
        code = world.second(name)
        tally.check("INV-9", code == EXIT_HELD, f"a second {name} ended with code {code}, not {EXIT_HELD}")

    return Fault("start a second one", strike, is_measured=False)


def must_not_be_green(world: World, tally: Tally, why: str) -> None:
    tally.check("INV-10", world.light() != GREEN, f"{why}, and the light is green")
