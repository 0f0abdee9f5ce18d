"""What an audit says: the invariant's number, the book it is about, and one sentence with both figures."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

STATEMENTS: Mapping[str, str] = {
    "INV-1": "one side per book, live entries included",
    "INV-2": "no open position without its exits; adds never loosen a stop",
    "INV-3": "no order at the venue without an earlier reservation",
    "INV-4": "one order and one end per intent; every trade applied once, as it was",
    "INV-5": "exits only shrink: never more than the position, never through zero",
    "INV-6": "no exit refused without cause, no crossed stop left standing",
    "INV-7": "no entry beside an UNKNOWN order; what ended has ended at the venue",
    "INV-8": "the journal without holes, its hashes, its tables, its sums",
    "INV-9": "one writer: epochs never go back",
}


@dataclass(frozen=True, slots=True, order=True)
class Violation:
    """One thing that must not be. *book* is empty where it concerns the whole store."""

    number: str
    book: str
    text: str

    def __str__(self) -> str:
        return f"{self.number} {self.book + ': ' if self.book else ''}{self.text}"


class Findings:
    """Collects violations; the same one is told once in an audit's life."""

    def __init__(self) -> None:
        self._told: set[Violation] = set()
        self._new: list[Violation] = []

    def add(self, number: str, book: str, text: str) -> None:
        found = Violation(number, book, text)
        if found not in self._told:
            self._told.add(found)
            self._new.append(found)

    def take(self) -> list[Violation]:
        """What was found since the last call."""
        new, self._new = self._new, []
        return new


def plain(amount: Decimal) -> str:
    """*amount* in plain digits, as people read it."""
    text = format(amount, "f")
    return (text.rstrip("0").rstrip(".") if "." in text else text) or "0"
