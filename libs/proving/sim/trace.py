"""What happened, as one hash and, where somebody wants to read it, as lines.

Two runs of a seed are the same when their hashes are. A line has the virtual time in ms, who, where, and what.
"""

from collections import deque
from hashlib import blake2b


class Trace:
    """Takes every step and every fault. *keep*: how many lines are remembered; None keeps all. *place*: the folder of this run's
    files, whose name is no part of what happened.
    """

    def __init__(self, keep: int | None = 200, place: str = "") -> None:
        self._place = place or "\0"
        self._hash = blake2b(digest_size=16)
        self.steps = 0
        self.lines: deque[str] = deque(maxlen=keep)
        self.story: list[str] = []
        """Faults and what was found, without the steps between."""

    def step(self, at_s: float, service: str, number: int, point: str, note: str) -> None:
        self.steps += 1
        line = f"{at_s * 1000:.3f} {service}.{number} {point} {note}"
        self._hash.update(line.encode())
        self.lines.append(line)

    def fault(self, at_s: float, text: str) -> None:
        """A fault, or another event of the world worth telling."""
        line = f"{at_s * 1000:.3f} !! {text}".replace(self._place, "DIR")
        self._hash.update(line.encode())
        self.lines.append(line)
        self.story.append(line)

    def entry(self, name: bytes, entry_id: tuple[int, int], fields: dict[bytes, bytes]) -> None:
        """An entry was appended to the bus: what it says counts, too."""
        self._hash.update(b"%s %d-%d " % (name, *entry_id))
        self._hash.update(fields.get(b"body", b"").replace(self._place.encode(), b"DIR"))

    @property
    def hash(self) -> str:
        return self._hash.copy().hexdigest()
