"""What happens to a whole machine or server once in a while: pauses, twins, jumps of the clock, wipes, rewinds, trims, a full bus.

Each kind is tried once a virtual second, for each service or for the bus.
"""

from contextvars import Context
from typing import TYPE_CHECKING

from holdfast.contracts.streams import EXECUTOR, LEDGER, LEDGER_UPDATED, STREAMS, Reading

if TYPE_CHECKING:
    from proving.sim.process import Process
    from proving.sim.world import World

PAUSES_S = (0.5, 5.0, 61.0)
AWAY_S = (0.1, 8.0)
FULL_S = (1.0, 15.0)
OUTAGE_S = (1.0, 30.0)


class Mischief:
    """See the module."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._is_over = False

    def start(self) -> None:
        self._later()

    def _later(self) -> None:
        self._world.loop.call_later(1.0 + self._world.dice.roll("mischief") / 100, self._turn)

    def _turn(self) -> None:
        if self._is_over:
            return
        self._later()
        for service in list(self._world.processes):
            self._trouble(service)
        self._bus()
        self._outages()

    def _strike(self, kind: str, where: str, note: str = "") -> bool:
        world = self._world
        if not world.faults.strike(kind, where, world.loop.time()):
            return False
        world.trace.fault(world.loop.time(), f"{kind} {where} {note}")
        return True

    # -- processes ------------------------------------------------------------------------------------------------------

    def _trouble(self, service: str) -> None:
        world, dice = self._world, self._world.dice
        process = world.processes[service]
        if process.is_paused:
            return
        if self._strike("clock.jump", service):
            process.skew_ms += dice.whole("mischief|jump", -20_000, 20_000)
        if self._strike("process.twin", service):
            self._twin(service)
        if self._strike("process.pause", service):
            self._pause(
                service, dice.pick("mischief|pause", PAUSES_S) * dice.between("mischief|longer", 1.0, 1.1)
            )

    def _twin(self, service: str) -> None:
        """A second one beside it. A ledger's or executor's lock does not always hold it off: it may be on another machine."""
        world = self._world
        first = world.processes[service]
        if service in {LEDGER, EXECUTOR} and world.dice.roll("mischief|lease") < 0.4:
            self._lose_locks(service)
            first.was_paused = True
        world.others.append(first)
        world.processes[service] = world.start(service)
        if not first.was_paused:  # the newcomer is the one who is refused
            world.others.append(world.processes[service])
            world.others.remove(first)
            twin, world.processes[service] = world.processes[service], first
            if service == EXECUTOR:  # it waits
                seconds = world.dice.between("mischief|stand-by", 5.0, 40.0)
                world.loop.call_later(seconds, self._relieve, twin, context=Context())

    def _relieve(self, standby: "Process") -> None:
        """An executor that has waited beside another is stopped, unless it has taken over meanwhile."""
        if standby.is_dead:
            return
        if standby.held:
            self._world.sometimes.note("a stand-by executor took over")
        else:
            self._world.sometimes.note("a second executor waited")
            standby.kill("it has waited long enough")

    def _lose_locks(self, service: str) -> None:
        for lock in list(self._world.processes[service].held):
            lock.lose()

    def _pause(self, service: str, seconds: float) -> None:
        world = self._world
        process = world.processes[service]
        process.pause()
        world.trace.fault(world.loop.time(), f"{process!r} is paused for {seconds:.1f} s")
        world.loop.call_later(seconds, self._wake, process, context=Context())
        if seconds > 60 and service in {LEDGER, EXECUTOR} and world.dice.roll("mischief|zombie") < 0.7:
            self._lose_locks(service)
            process.was_paused = True
            world.others.append(process)
            world.processes[service] = world.start(service)

    def _wake(self, process: "Process") -> None:
        if not process.is_dead and process.is_paused:
            self._world.trace.fault(self._world.loop.time(), f"{process!r} wakes")
            if not self._is_over and self._strike("bus.trim_view", process.service):
                self._world.bus.server.trim(_UPDATED, maxlen=1)
            process.resume()

    # -- the bus ----------------------------------------------------------------------------------------------------------

    def _bus(self) -> None:
        world, bus, dice = self._world, self._world.bus, self._world.dice
        if self._strike("bus.gone", "server"):
            bus.restart(dice.between("mischief|away", *AWAY_S))
        if self._strike("bus.rewind", "server"):
            lost = bus.server.rewind(dice.whole("mischief|lost", 1, 120))
            world.trace.fault(world.loop.time(), f"the bus lost its last {lost} changes")
            bus.restart(dice.between("mischief|away", *AWAY_S))
            if bus.server.length(_UPDATED) and bus.server.keys[_UPDATED].last[0] < world.inspector.seq:
                world.sometimes.note("rewound behind the ledger")
        if self._strike("bus.wipe", "server"):
            bus.server.wipe()
            bus.restart(dice.between("mischief|away", *AWAY_S))
            if world.inspector.positions():
                world.sometimes.note("wiped while holding")
        if self._strike("bus.trim", "server"):
            self._trim()
        if not bus.server.is_full and self._strike("bus.full", "server"):
            bus.server.is_full = True
            world.loop.call_later(dice.between("mischief|full", *FULL_S), self._room, context=Context())

    def _outages(self) -> None:
        """Long enough to be waited for, or too long."""
        world, dice, now = self._world, self._world.dice, self._world.loop.time()
        if self._strike("bus.cut", "network"):
            process = world.processes.get(dice.pick("mischief|cut", world.services))
            if process is not None:
                world.bus.cut(process, dice.between("mischief|cut for", *OUTAGE_S))
        if self._strike("store.down", "disk"):
            world.outages.store_until_s = now + dice.between("mischief|store", *OUTAGE_S)
        if self._strike("venue.down", "venue"):
            world.outages.venue_until_s = now + dice.between("mischief|venue", *OUTAGE_S)
        if self._strike("clock.server", "server"):
            world.bus.skew_ms += dice.whole("mischief|server", -20_000, 20_000)

    def _room(self) -> None:
        self._world.bus.server.is_full = False

    def _trim(self) -> None:
        """The newest work of one stream is lost, delivered or not."""
        world, server = self._world, self._world.bus.server
        work = [stream.name.encode() for stream in STREAMS if stream.reading is Reading.WORK]
        name = world.dice.pick("mischief|trim", work)
        stream = server.keys.get(name)
        if stream is None or not stream.ids:
            return
        needed = any(group.pending or group.last < stream.ids[-1] for group in stream.groups.values())
        if server.trim(name, maxlen=world.dice.whole("mischief|kept", 0, 2)) and needed:
            world.sometimes.note("trimmed past a group")

    def end(self) -> None:
        """Nothing more happens; what was paused, away or full is so no longer, and clocks are right."""
        self._is_over = True
        bus = self._world.bus
        bus.server.is_full = False
        now = self._world.loop.time()
        bus.gone_until_s = min(bus.gone_until_s, now)
        self._world.outages.store_until_s = self._world.outages.venue_until_s = now
        bus.skew_ms = 0
        self._world.set_clocks_right()
        for process in self._world.processes.values():
            process.cut_until_s = now
        for process in [*self._world.processes.values(), *self._world.others]:
            if process.is_paused:
                process.resume()


_UPDATED = LEDGER_UPDATED.name.encode()
