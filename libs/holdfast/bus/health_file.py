"""A note of each heartbeat that the bus has taken, in a file: a health check reads it without Python, and without the bus.

`holdfast health` asks the bus itself, and takes half a second of processor for it: too much for ten containers, each ten seconds.
The file says as much: it is written behind the publication, by the loop that would not come round if the service hung.
"""

import logging

from holdfast.contracts.messages import Heartbeat
from holdfast.runtime.files import WriteFailed, write_atomically

log = logging.getLogger("holdfast.bus")


class HealthFile:
    """*path* empty: nothing is written. One line: wall time of the beat in s, ms for which the oldest message has waited."""

    def __init__(self, path: str) -> None:
        self._path, self._failing = path, False

    def note(self, beat: Heartbeat) -> None:
        """A file that cannot be written is told once, and stops nothing: it grows old, and that is what is checked."""
        if not self._path:
            return
        try:
            write_atomically(self._path, b"%d %d\n" % (beat.at // 1000, beat.oldest_pending_ms))
        except WriteFailed as error:
            if not self._failing:
                log.warning("health_file: %s", error)
            self._failing = True
        else:
            self._failing = False
