"""The state files: what dashboards, alerts and other bots read. Usable alone, by any Python program.

    from holdfast.state import write_positions_state, load_positions_state

`positions_state.json`, `positions_ledger.json`, `kpis_v7.json` and `status.json` are written whole or not at all
(`runtime.files`), by one process at a time: under Holdfast that is `services/state_publisher`, which holds the lock of the
directory, and these functions refuse to write beside it. Files are written, never read back as a source of truth.

Amounts are JSON numbers, written from Decimal digits: `json.load` gives floats, `exact=True` gives Decimals. NaN and
infinities are refused by the name of their field. Every file carries `updated_at` and `seq`, which never goes back
within one store. Symbols are canonical (`BTC/USDT`). A *missing* file loads as `{}`; one that cannot be read raises
StateUnreadable: unreadable is never empty.
"""

import json
import os
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson

from holdfast.domain.registry import positions_ledger
from holdfast.domain.view import LedgerView
from holdfast.runtime.clock import Clock, SystemClock
from holdfast.runtime.files import remove_leftovers, write_atomically
from holdfast.runtime.locks import Held, hold, holder_of
from holdfast.state_rows import (
    BadState,
    amount_of,
    ledger_entry,
    ledger_of_any,
    plain,
    position_row,
    with_numbers,
)

POSITIONS_STATE, POSITIONS_LEDGER, KPIS_V7, STATUS = (
    "positions_state.json",
    "positions_ledger.json",
    "kpis_v7.json",
    "status.json",
)
STATE_FILES = (POSITIONS_STATE, POSITIONS_LEDGER, KPIS_V7, STATUS)
LOCK = ".writer.lock"
DEFAULT_DIRECTORY = "logs/state"
Directory = str | os.PathLike[str] | None

_headers: dict[str, tuple[tuple[int, int], int, str | None]] = {}
"""Path -> (identity of the file, its seq, its store id): so that a writer need not read its own file each time."""


class OlderState(BadState):
    """What should be written is older (`seq`) than what stands there. Nothing was written."""


class StateUnreadable(RuntimeError):  # noqa: N818
    """A state file exists and cannot be read. It is not empty: nobody knows what it says."""


# -- writing ------------------------------------------------------------------------------------------------------------


def write_positions_state(
    rows: Iterable[Mapping[str, Any]],
    directory: Directory = None,
    *,
    header: Mapping[str, Any] | None = None,
    rewound: bool = False,
    clock: Clock | None = None,
) -> None:
    """Write `positions_state.json`.

    Each row has `symbol`, `side` (LONG or SHORT), `qty`, and unless `qty` is 0: `entry_price` and `mark_price` (> 0; None
    where no mark is known: then the entry price stands in and `mark_stale` is true), `realized_pnl`, and `notional` and
    `unrealized_pnl` (derived when missing). *header* may carry `seq`, `store_id`, `epoch`, `updated_at`; *rewound* allows a
    lower `seq` (a store restored from a backup). Raises BadState, OlderState, AlreadyHeld, WriteFailed.
    """
    positions = [position_row(row, f"positions[{number}]") for number, row in enumerate(rows)]
    _write(
        POSITIONS_STATE, {**(header or {}), "positions": positions}, directory, rewound=rewound, clock=clock
    )


def write_positions_ledger_state(
    ledger_dict: Mapping[str, Any],
    directory: Directory = None,
    *,
    rewound: bool = False,
    clock: Clock | None = None,
) -> None:
    """Write `positions_ledger.json`; *ledger_dict* is what `build_positions_ledger_state` returns. Raises as above."""
    entries, levels = ledger_dict.get("entries"), ledger_dict.get("tp_sl_levels", {})
    if not isinstance(entries, list):
        raise BadState("entries: a list is expected")
    if not isinstance(levels, Mapping):
        raise BadState("tp_sl_levels: an object is expected, symbol -> {tp, sl}")
    document = {
        **ledger_dict,
        "entries": [ledger_entry(entry, f"entries[{number}]") for number, entry in enumerate(entries)],
        "tp_sl_levels": {name: with_numbers(level, f"tp_sl_levels.{name}") for name, level in levels.items()},
    }
    document["metadata"] = {"version": "v1", **ledger_dict.get("metadata", {}), "entry_count": len(entries)}
    _write(POSITIONS_LEDGER, document, directory, rewound=rewound, clock=clock)


def write_kpis_v7_state(
    kpis: Mapping[str, Any], directory: Directory = None, *, rewound: bool = False, clock: Clock | None = None
) -> None:
    """Write `kpis_v7.json`: `portfolio` with at least `nav` and `dd_pct`, and `per_symbol`. Raises as above."""
    portfolio, per_symbol = kpis.get("portfolio"), kpis.get("per_symbol")
    if not isinstance(portfolio, Mapping):
        raise BadState("portfolio: an object with nav and dd_pct is required")
    for name in ("nav", "dd_pct"):
        if portfolio.get(name) is None:
            raise BadState(f"portfolio.{name}: is required")
        amount_of(portfolio[name], f"portfolio.{name}")
    if not isinstance(per_symbol, Mapping):
        raise BadState(
            "per_symbol: an object is required, symbol -> {pnl, pnl_pct, exposure_nav_pct}; it may be empty"
        )
    _write(KPIS_V7, kpis, directory, rewound=rewound, clock=clock)


def write_status(
    status: Mapping[str, Any], directory: Directory = None, *, clock: Clock | None = None
) -> None:
    """Write `status.json`, the light. Its `seq` only tells how far the publisher is, so it may go back."""
    _write(STATUS, status, directory, rewound=True, clock=clock)


def build_positions_ledger_state(ledger: Any) -> dict[str, Any]:
    """The document of `positions_ledger.json` from a LedgerView, or from any object with `entries` (a list, or a mapping of
    them) whose items have `symbol, side, position_id, qty, entry_price, tp, sl, ttl_ts`, and with `tp_sl_levels`.
    """
    document = (
        positions_ledger(ledger.positions.values())
        if isinstance(ledger, LedgerView)
        else ledger_of_any(ledger)
    )
    if isinstance(ledger, LedgerView):
        document |= {"seq": max(0, ledger.seq), "store_id": ledger.store_id, "epoch": ledger.epoch}
        document["metadata"] |= {"seq": max(0, ledger.seq)}
    return {"updated_at": utc_now_iso(), **document}


def _write(
    name: str, document: Mapping[str, Any], directory: Directory, *, rewound: bool, clock: Clock | None
) -> None:
    path = state_directory(directory) / name
    if (held := holder_of(path.parent / LOCK)) is not None:
        raise held
    seq, store_id = _next_seq(path, document, rewound=rewound)
    body = {
        "updated_at": document.get("updated_at") or utc_now_iso(clock),
        "seq": seq,
        **{key: value for key, value in document.items() if key not in {"updated_at", "seq"}},
    }
    write_atomically(path, orjson.dumps(plain(body)))
    _headers[str(path)] = (_identity(path), seq, store_id)


def _next_seq(path: Path, document: Mapping[str, Any], *, rewound: bool) -> tuple[int, str | None]:
    """The `seq` to write: the given one if it does not go back, else the one after what stands there."""
    store_id, seq = document.get("store_id"), document.get("seq")
    last_seq, last_store = last_written(path)
    if seq is None:
        return last_seq + 1, store_id
    if not isinstance(seq, int) or isinstance(seq, bool) or seq < 0:
        raise BadState(f"seq: a whole number from 0 on is expected, not {seq!r}")
    if seq < last_seq and not rewound and (store_id is None or last_store is None or store_id == last_store):
        raise OlderState(f"{path}: seq {seq} is older than {last_seq}, which is already there")
    return seq, store_id


def last_written(path: Path) -> tuple[int, str | None]:
    """`seq` and store id of the file at *path*; (0, None) where there is no readable one: it will be replaced."""
    try:
        identity = _identity(path)
    except FileNotFoundError:
        return 0, None
    known = _headers.get(str(path))
    if known is None or known[0] != identity:
        try:
            document = _load(path)
        except StateUnreadable:
            return 0, None
        seq, store_id = document.get("seq"), document.get("store_id")
        known = (
            identity,
            seq if isinstance(seq, int) else 0,
            store_id if isinstance(store_id, str) else None,
        )
        _headers[str(path)] = known
    return known[1], known[2]


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_ino, found.st_mtime_ns


class StateFiles:
    """The directory of one writer: its lock, and the four files written together. For `services/state_publisher`."""

    def __init__(
        self,
        directory: Directory = None,
        clock: Clock | None = None,
        hold: Callable[[Path, str, Clock], Held] = hold,
    ) -> None:
        self.directory, self._clock, self._hold = state_directory(directory), clock or SystemClock(), hold
        self._lock: Held | None = None

    def take(self, who: str) -> list[str]:
        """Become the one writer; removes and returns what a killed one left behind. Raises AlreadyHeld, OSError."""
        self._lock = self._hold(self.directory / LOCK, who, self._clock)
        return remove_leftovers(self.directory)

    def release(self) -> None:
        if self._lock is not None:
            self._lock.release()

    def last_written(self) -> tuple[int, str | None]:
        """`seq` and store id of the newest positions file."""
        return last_written(self.directory / POSITIONS_STATE)

    def write(
        self,
        *,
        header: Mapping[str, Any],
        positions: Iterable[Mapping[str, Any]],
        ledger: Mapping[str, Any],
        kpis: Mapping[str, Any],
        rewound: bool = False,
    ) -> None:
        """Write the three files of the contract, each with *header*. Raises BadState, OlderState, WriteFailed."""
        write_positions_state(positions, self.directory, header=header, rewound=rewound, clock=self._clock)
        write_positions_ledger_state({**header, **ledger}, self.directory, rewound=rewound, clock=self._clock)
        write_kpis_v7_state({**header, **kpis}, self.directory, rewound=rewound, clock=self._clock)

    def write_status(self, status: Mapping[str, Any]) -> None:
        """Write `status.json`. Raises BadState, WriteFailed."""
        write_status(status, self.directory, clock=self._clock)


# -- reading ------------------------------------------------------------------------------------------------------------


def state_directory(directory: Directory = None) -> Path:
    """Where the files are: *directory*, else HOLDFAST_STATE_DIR, else `logs/state`."""
    return Path(directory or os.environ.get("HOLDFAST_STATE_DIR") or DEFAULT_DIRECTORY)


def load_positions_state(directory: Directory = None, *, exact: bool = False) -> dict[str, Any]:
    """`positions_state.json`; `{}` where there is none. Raises StateUnreadable."""
    return _load(state_directory(directory) / POSITIONS_STATE, exact=exact)


def load_positions_ledger_state(directory: Directory = None, *, exact: bool = False) -> dict[str, Any]:
    """`positions_ledger.json`; `{}` where there is none. Raises StateUnreadable."""
    return _load(state_directory(directory) / POSITIONS_LEDGER, exact=exact)


def load_kpis_v7_state(directory: Directory = None, *, exact: bool = False) -> dict[str, Any]:
    """`kpis_v7.json`; `{}` where there is none. Raises StateUnreadable."""
    return _load(state_directory(directory) / KPIS_V7, exact=exact)


def load_status(directory: Directory = None) -> dict[str, Any]:
    """`status.json`; `{}` where there is none. `domain.light.from_status` says what an old one means. Raises StateUnreadable."""
    return _load(state_directory(directory) / STATUS)


def get_ledger_entries(directory: Directory = None, *, exact: bool = False) -> list[dict[str, Any]]:
    """The entries of `positions_ledger.json`; empty where there is no such file. Raises StateUnreadable."""
    path = state_directory(directory) / POSITIONS_LEDGER
    state = _load(path, exact=exact)
    entries = state.get("entries", None if state else [])
    if not isinstance(entries, list):
        raise StateUnreadable(f"{path} has no list of entries")
    return entries


def _load(path: Path, *, exact: bool = False) -> dict[str, Any]:
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise StateUnreadable(f"{path} cannot be read: {error}") from error
    try:
        document = json.loads(text, parse_float=Decimal if exact else None, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:  # a number of thousands of digits is a plain ValueError
        raise StateUnreadable(f"{path} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise StateUnreadable(f"{path} holds no JSON object")
    return document


def _refuse(word: str) -> Any:
    raise ValueError(f"{word} is no number")


def utc_now_iso(clock: Clock | None = None) -> str:
    """Now as ISO 8601 in UTC with milliseconds, `2025-01-01T00:00:00.000Z`."""
    return iso((clock or SystemClock()).wall_ms())


def iso(milliseconds: int) -> str:
    """A time of ours (ms since 1970) as ISO 8601."""
    return (
        datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.")
        + f"{milliseconds % 1000:03d}Z"
    )
