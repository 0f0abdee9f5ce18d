"""What a drill found: the invariants with how often each was checked, and the time from each fault until all is armed."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

INVARIANTS: Mapping[str, str] = {
    "INV-1": "one side per book, live entries included",
    "INV-2": "no open position without its exits",
    "INV-3": "no order at the venue that the ledger had not recorded",
    "INV-4": "one end and one order per intent; every trade of the venue applied once",
    "INV-5": "exits never exceed what is held, never enlarge or flip it",
    "INV-6": "no exit refused but for what it closes; everything crossed is closed",
    "INV-7": "no entry reserved beside an UNKNOWN order",
    "INV-8": "the journal whole, the tables and the streams what it says",
    "INV-9": "one writer: epochs never go back, a second one is refused",
    "INV-10": "nobody ends silently, the light says what is wrong",
}
MOST_NAMED = 20
"""Violations spelled out per invariant; all are counted."""


@dataclass(slots=True)
class Tally:
    """Every check of every invariant, and what was broken."""

    checks: Counter[str] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)
    texts: list[str] = field(default_factory=list)

    def check(self, number: str, kept: bool, text: str) -> None:
        """One more check of invariant *number*; *text* says what is wrong where it was not *kept*."""
        self.checks[number] += 1
        if not kept:
            self.broken[number] += 1
            if self.broken[number] <= MOST_NAMED:
                self.texts.append(f"{number}: {text}")

    @property
    def violations(self) -> int:
        return self.broken.total()


@dataclass(frozen=True, slots=True)
class Struck:
    """One fault: what, when since the start, s, and how long until all was armed again, ms; None: not measured."""

    kind: str
    at_s: float
    recovery_ms: int | None


@dataclass(slots=True)
class Report:
    """Everything one drill found."""

    tally: Tally = field(default_factory=Tally)
    struck: list[Struck] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    """Kind of fault -> why it cannot be had on this machine."""
    from_end: set[str] = field(default_factory=set)
    """Kinds whose time counts from the end of the fault, because it lasts."""
    counts: dict[str, int] = field(default_factory=dict)
    head: dict[str, Any] = field(default_factory=dict)

    def recovery(self) -> dict[str, dict[str, Any]]:
        """Per kind of fault, and over all: how many, and p50, p99, max of the measured times, ms."""
        kinds: dict[str, list[Struck]] = {}
        for one in self.struck:
            kinds.setdefault(one.kind, []).append(one)
        return {kind: _times(ones) for kind, ones in sorted(kinds.items())} | {"all": _times(self.struck)}

    def document(self) -> dict[str, Any]:
        """For programs."""
        tally = self.tally
        return self.head | {
            "invariants": {
                number: {"what": what, "checks": tally.checks[number], "violations": tally.broken[number]}
                for number, what in INVARIANTS.items()
            },
            "recovery_to_armed_ms": self.recovery(),
            "from_the_end_of_the_fault": sorted(self.from_end),
            "skipped": self.skipped,
            "counts": self.counts,
            "violations": tally.texts,
            "faults": [asdict(one) for one in self.struck],
        }

    def text(self) -> str:
        """For people: two tables in Markdown, what was skipped, what was broken."""
        tally = self.tally
        lines = ["| invariant | checks | violations | |", "|---|---|---|---|"]
        lines += [
            f"| {number} | {tally.checks[number]:,} | {tally.broken[number]} | {what} |"
            for number, what in INVARIANTS.items()
        ]
        lines += ["", "| fault | times | to all armed: p50 | p99 | max |", "|---|---|---|---|---|"]
        for kind, row in self.recovery().items():
            mark = " ¹" if kind in self.from_end else ""
            cells = [
                f"{row[name] / 1000:.2f} s" if row[name] is not None else "-"
                for name in ("p50", "p99", "max")
            ]
            lines.append(f"| {kind}{mark} | {row['times']} | " + " | ".join(cells) + " |")
        if self.from_end:
            lines += ["", "¹ from the end of the fault: it lasts."]
        lines += ["", ", ".join(f"{name} {value:,}" for name, value in self.counts.items())]
        lines += [f"skipped: {kind}: {why}" for kind, why in self.skipped.items()]
        lines += [f"VIOLATION {text}" for text in tally.texts]
        return "\n".join([*lines, f"violations: {tally.violations}"])


def _times(ones: Sequence[Struck]) -> dict[str, Any]:
    taken = sorted(one.recovery_ms for one in ones if one.recovery_ms is not None)
    return {
        "times": len(ones), "measured": len(taken), "p50": percentile(taken, 0.5), "p99": percentile(taken, 0.99),
        "max": taken[-1] if taken else None,
    }  # fmt: skip


def percentile(ordered: Sequence[int], share: float) -> int | None:
    """The value below which *share* of an ordered sequence lies; None for an empty one."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else None
