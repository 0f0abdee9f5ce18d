"""Where a feed goes on after a restart: a small JSON file, written whole or not at all, and a mark beside it.

The JSON is fsynced, about once a second: it survives a power cut. The *mark* is one line that is overwritten in place after
every batch, without fsync: it survives a kill, costs microseconds, and says how far that run has got since the JSON was
written. A mark that is torn, or of another run, says nothing; then the JSON alone decides, which is earlier, never later.
"""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from holdfast.runtime.faults import EXIT_TERMINAL, Terminal
from holdfast.runtime.files import write_atomically

log = logging.getLogger("holdfast.feed")


class Record:
    """The record of one feed in *directory* (made when missing)."""

    def __init__(self, directory: Path, name: str) -> None:
        self.path, self._mark_path = directory / f"{name}.json", directory / f"{name}.mark"
        self._mark: int | None = None
        self.trouble: str | None = None
        """Why the last save failed; None when it did not."""

    def load(self) -> dict[str, Any] | None:
        """What was saved last; None when nothing ever was. Raises Terminal when it cannot be read: unreadable is not new."""
        try:
            document = orjson.loads(self.path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, orjson.JSONDecodeError) as error:
            raise Terminal(self._unreadable(str(error)), EXIT_TERMINAL) from error
        if not isinstance(document, dict):
            raise Terminal(self._unreadable("it holds no JSON object"), EXIT_TERMINAL)
        return document

    def _unreadable(self, why: str) -> str:
        return f"{self.path}: cannot be read ({why}); remove it to start a new run"

    def save(self, document: Mapping[str, Any]) -> None:
        """Replace what is saved. A disk that does not take it is logged and told in `trouble`: prices must go on."""
        try:
            write_atomically(self.path, orjson.dumps(dict(document), option=orjson.OPT_INDENT_2))
        except OSError as error:
            self._fails(error)
        else:
            self.trouble = None

    def mark(self, run: str, index: int) -> None:
        """*run* has got as far as *index*."""
        try:
            if self._mark is None:
                self._mark_path.parent.mkdir(parents=True, exist_ok=True)
                self._mark = os.open(self._mark_path, os.O_WRONLY | os.O_CREAT, 0o644)
            os.pwrite(self._mark, f"{run:<40} {index:020d}\n".encode(), 0)
        except OSError as error:
            self._fails(error)

    def _fails(self, error: OSError) -> None:
        if self.trouble is None:
            log.warning(
                "%s: cannot be saved (%s); a restart would repeat what was played since", self.path, error
            )
        self.trouble = f"{self.path.name} cannot be saved: {error.strerror or error}"

    def marked(self, run: str) -> int:
        """How far the mark says *run* has got; 0 when it says nothing about it."""
        try:
            words = self._mark_path.read_bytes().split(b"\n")[0].decode("ascii", "replace").split()
        except FileNotFoundError:
            return 0
        if len(words) != 2 or words[0] != run or len(words[1]) != 20 or not words[1].isdigit():
            return 0
        return int(words[1])

    def close(self) -> None:
        if self._mark is not None:
            os.close(self._mark)
            self._mark = None
