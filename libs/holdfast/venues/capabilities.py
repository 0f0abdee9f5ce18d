"""What Holdfast knows of each exchange that ccxt can reach: whether live trading is allowed there, and with which delays.

The rule that decides: an order without a clear answer is resolved by looking it up under the id that we gave it. Where that cannot
be done, or was never tried, an account needs `unsafe_venue`. `docs/live.md` shows this table (`make docs`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from holdfast.contracts.codes import Kind

DAY_MS = 24 * 3600 * 1000


class Switch(StrEnum):
    """What an exchange cancels by itself when it is not told in time that somebody is here: its dead man's switch."""

    NONE = "no"
    SYMBOL = "a symbol's orders"
    ACCOUNT = "all orders"


@dataclass(frozen=True, slots=True)
class Capability:
    """One exchange by its name in ccxt."""

    exchange: str
    title: str
    kind: Kind
    exercised: bool
    """Whether the tests trade on its wire (`holdfast venue-sim`); everything else here is from documents alone."""
    looks_up: bool
    """By client order id, through ccxt, orders that have ended included."""
    reduces: bool
    """Has reduce-only orders: an exit cannot open or flip."""
    algo_orders: bool
    """Conditional orders live at endpoints of their own, which look-ups have to read, too."""
    rests_stops: bool
    """Whether a position's stop may rest there: found again by our id, told when it has triggered, exercised. Where nothing is reduce-only it
    locks its coins."""
    receive_window_ms: int | None
    """So long after its timestamp the exchange still takes a request (at Kraken: after `send_by`, which is sent along as the order's
    deadline); None: it has no such window."""
    visible_after_ms: int
    """So long an order may stay invisible to reads, on the cautious side."""
    trades_window_ms: int
    """Most that one read of trades may span."""
    switch: Switch = Switch.NONE
    """Its dead man's switch, where that is exercised."""
    keeps_till_ms: int | None = None
    """It ends an order by itself at a time that lies at least so far ahead; None: it does not."""
    listens: bool = False
    """Whether its user's stream is listened to, for speed."""
    note: str = ""

    @property
    def is_safe(self) -> bool:
        return self.exercised and self.looks_up

    @property
    def absent_after_ms(self) -> int:
        """An order that is not shown is absent when this much has passed since it could last be sent."""
        return (self.receive_window_ms or 60_000) + self.visible_after_ms


_ALL = (
    Capability(
        "binanceusdm", "Binance USD-M futures", Kind.LINEAR, exercised=True, looks_up=True, reduces=True, algo_orders=True, rests_stops=True,
        receive_window_ms=5_000, visible_after_ms=10_000, trades_window_ms=7 * DAY_MS, listens=True,
        switch=Switch.SYMBOL, keeps_till_ms=600_000,
    ),
    Capability(
        "binance", "Binance spot", Kind.SPOT, exercised=True, looks_up=True, reduces=False, algo_orders=False, rests_stops=True,
        receive_window_ms=5_000, visible_after_ms=10_000, trades_window_ms=DAY_MS, listens=True, note="no reduce-only orders; a stop locks its coins",
    ),
    Capability(
        "bybit", "Bybit", Kind.LINEAR, exercised=False, looks_up=False, reduces=True, algo_orders=False, rests_stops=False,
        receive_window_ms=5_000, visible_after_ms=10_000, trades_window_ms=7 * DAY_MS, note="shows the last 500 orders only",
    ),
    Capability(
        "okx", "OKX", Kind.LINEAR, exercised=False, looks_up=True, reduces=True, algo_orders=True, rests_stops=False,
        receive_window_ms=None, visible_after_ms=10_000, trades_window_ms=3 * DAY_MS, note="amounts in contracts",
    ),
    Capability(
        "kraken", "Kraken spot", Kind.SPOT, exercised=True, looks_up=True, reduces=False, algo_orders=False, rests_stops=True,
        receive_window_ms=5_000, visible_after_ms=10_000, trades_window_ms=7 * DAY_MS, switch=Switch.ACCOUNT, keeps_till_ms=5_000,
        note="no reduce-only orders, no FOK; a stop locks its coins, and one whose price has passed sells at once; the key needs a nonce window of some seconds",
    ),
)  # fmt: skip
CAPABILITIES: Mapping[str, Capability] = {one.exchange: one for one in _ALL}


def absent_after_ms(exchange: str) -> int:
    """See `Capability.absent_after_ms`; a minute for an exchange that is not in the table."""
    found = CAPABILITIES.get(exchange)
    return 60_000 if found is None else found.absent_after_ms


def refusal(exchange: str, *, unsafe: bool) -> str | None:
    """Why live trading is refused at *exchange*; None where it is not."""
    found = CAPABILITIES.get(exchange)
    if found is None:
        return f"{exchange!r} is not an exchange that is known here; known are {', '.join(CAPABILITIES)}"
    if found.is_safe or unsafe:
        return None
    why = "has never been tried" if found.looks_up else "cannot look up an order by the id that we gave it"
    return f"{found.title} {why}, so an order without a clear answer might stay unresolved; unsafe_venue = true takes that risk"


def table() -> Iterator[str]:
    """The rows of docs/live.md."""
    yield "| exchange | in ccxt | kind | exercised | looks up by our id | reduce-only | stop at the venue | dead man's switch | live | |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for one in _ALL:
        words = (
            "yes" if flag else "no" for flag in (one.exercised, one.looks_up, one.reduces, one.rests_stops)
        )
        live = "yes" if one.is_safe else "only with `unsafe_venue`"
        yield f"| {one.title} | `{one.exchange}` | {one.kind.value} | {' | '.join(words)} | {one.switch.value} | {live} | {one.note} |"
