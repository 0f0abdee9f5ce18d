"""One executor per account (INV-9), whatever machines they run on: what the ledger makes of a claim, and when another may claim.

The ledger is the arbiter: it gives an account's next epoch to the first who asks, and refuses what is reserved under an older one.
Who waits beside a living executor asks when that one is dead, as far as anybody can tell: its connections to the bus are closed, or it
has been silent. Silence is counted in one's own heartbeats that came back over the same bus, so a bus that was away proves nothing
about anybody, and no two clocks are compared. A mistake costs a change of hands, never an order.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from holdfast.contracts.codes import Code, UpdateKind
from holdfast.contracts.leases import EPOCHS, PLACE, ExecutorClaim
from holdfast.contracts.messages import Heartbeat
from holdfast.contracts.streams import EXECUTOR
from holdfast.domain.ledger_state import Change, LedgerState

GONE_LOOKS = 4
"""Looks at the bus's list of connections, in a row, that do not show somebody: about a second."""
MOST_MS_PER_BEAT = 1_500
"""One heartbeat of ours proves at most so much silence of another."""
MOST_RIVALS = 100


def claim(state: LedgerState, message: ExecutorClaim) -> Change:
    """The ledger's decision."""
    change = Change(UpdateKind.CLAIMED, message.id, message.correlation_id)
    late = {name: epoch for name, epoch in message.epochs.items() if epoch <= state.executors.get(name, 0)}
    if late:
        change.why = (
            f"{Code.STALE_EXECUTOR.value}: {written(late)} is claimed by {message.incarnation}, too late"
        )
        return change
    for name, epoch in message.epochs.items():
        state.put_executor(name, epoch, change)
    return change


def written(epochs: Mapping[str, int]) -> str:
    """As heartbeats carry them: `main:3,second:1`."""
    return ",".join(f"{account}:{epoch}" for account, epoch in sorted(epochs.items()))


def read(text: str) -> dict[str, int]:
    """The reverse; what is no epoch is left out."""
    pairs = (part.rpartition(":") for part in text.split(","))
    return {account: int(epoch) for account, _, epoch in pairs if account and epoch.isdigit()}


@dataclass(slots=True)
class _Rival:
    epochs: Mapping[str, int]
    place: str = ""
    silent_ms: int = 0
    looks_gone: int = 0

    def lives(self, lease_ms: int) -> bool:
        return self.silent_ms < lease_ms and self.looks_gone < GONE_LOOKS


@dataclass(slots=True)
class Rivals:
    """Other executors, as far as they have been heard. *incarnation*: our own life."""

    incarnation: str
    lease_ms: int
    _rivals: dict[str, _Rival] = field(default_factory=dict)
    _own_beat: int | None = None

    def hear(self, beat: Heartbeat) -> None:
        """A heartbeat from the bus, ours included."""
        if beat.service != EXECUTOR:
            return
        if beat.incarnation == self.incarnation:
            passed = 0 if self._own_beat is None else beat.at - self._own_beat
            self._own_beat = beat.at
            for rival in self._rivals.values():
                rival.silent_ms += min(max(passed, 0), MOST_MS_PER_BEAT)
            return
        details = beat.details
        rival = self._rivals.setdefault(beat.incarnation, _Rival({}))
        rival.epochs, rival.place = read(details.get(EPOCHS, "")), details.get(PLACE, "")
        rival.silent_ms = rival.looks_gone = 0
        while len(self._rivals) > MOST_RIVALS:
            del self._rivals[next(iter(self._rivals))]

    def see(self, connected: frozenset[str]) -> None:
        """Whose connections the bus has now. Where it does not show ours, it shows nobody's."""
        if self.incarnation not in connected:
            return
        for incarnation, rival in self._rivals.items():
            rival.looks_gone = 0 if incarnation in connected else rival.looks_gone + 1

    def taken(self, epochs: Mapping[str, int]) -> None:
        """The ledger has just given these to somebody else, who will be heard soon."""
        self._rivals[f"somebody with {written(epochs)}"] = _Rival(dict(epochs), looks_gone=-1_000_000)

    def dead(self, epochs: Mapping[str, int]) -> str:
        """Who had one of the accounts of *epochs*, and why nobody waits for it any more; for people."""
        had = ((name, rival) for name, rival in self._rivals.items() if rival.epochs.keys() & epochs.keys())
        told = (
            f"{name} has been silent for {rival.silent_ms} ms"
            + (", its connections to the bus are closed" if rival.looks_gone >= GONE_LOOKS else "")
            for name, rival in had
        )
        return "; ".join(told) or "nobody had them"

    def in_the_way(self, accounts: Iterable[str], epochs: Mapping[str, int], place: str) -> str | None:
        """Who lives and has one of *accounts*, by the ledger's *epochs*; None: nobody.

        *place*: where we hold the accounts' locks. Whoever had them there before us is dead, however young its last heartbeat is.
        """
        for incarnation, rival in self._rivals.items():
            if not rival.lives(self.lease_ms) or (place and rival.place == place):
                continue
            for account in accounts:
                if rival.epochs.get(account, -1) >= epochs.get(account, 0):
                    return f"{incarnation} has {account}"
        return None
