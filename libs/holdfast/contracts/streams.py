"""The one table of streams: name, message, who writes, who reads, how, and how much is kept.

Groups, the docs page, contract tests, the ACL file and `holdfast tail` derive from `STREAMS`; no stream name stands
anywhere else.

Two kinds of reading. WORK is read by one group per consuming service, created at 0, and acknowledged after commit.
A VIEW is read by every instance for itself with plain XREAD: no group, no acknowledgement, no pending list.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cache

from holdfast.contracts import alarms
from holdfast.contracts import exit_messages as x
from holdfast.contracts import leases as l
from holdfast.contracts import messages as m
from holdfast.contracts import outcomes as o
from holdfast.contracts import portfolio as p
from holdfast.contracts.base import Message


class Reading(StrEnum):
    WORK = "work"
    VIEW = "view"


LEDGER, EXECUTOR, EXIT_SCANNER, STATE_PUBLISHER = "ledger", "executor", "exit_scanner", "state_publisher"
MARKET_FEED, DEMO, PEOPLE, ANYONE, EVERYONE = "market_feed", "demo", "people", "anyone", "everyone"
LEARNER, DASHBOARD, CLI, ALERTS, HOOKS = "learner", "dashboard", "cli", "alerts", "hooks"
SERVICES = (LEDGER, EXECUTOR, EXIT_SCANNER, STATE_PUBLISHER, MARKET_FEED, DASHBOARD, ALERTS, LEARNER)
"""What `holdfast up` starts, in this order."""
OPTIONAL = (DEMO, HOOKS)
"""Producers of ours that run only when asked for: the demonstration, and the door for alerts from outside."""


@dataclass(frozen=True, slots=True)
class Stream:
    name: str
    message: type[Message]
    what: str
    producers: tuple[str, ...]
    consumers: tuple[str, ...]
    reading: Reading
    maxlen: int | None = None
    """Most entries kept, about; None: trimmed only below what every group has finished with (WORK) or by the ledger."""
    extra_fields: tuple[str, ...] = field(default=())
    """Fields that stand beside `id` and `body` on the wire."""
    keeps_finished: bool = True
    """Of work: whether what every group has finished with stays for a while, for people to look at."""

    @property
    def groups(self) -> tuple[str, ...]:
        """Consumer groups: one per consuming service, of the service's name."""
        return self.consumers if self.reading is Reading.WORK else ()


def _work(
    name: str, message: type[Message], what: str, producers: tuple[str, ...], consumers: tuple[str, ...]
) -> Stream:
    return Stream(name, message, what, producers, consumers, Reading.WORK)


def _view(
    name: str,
    message: type[Message],
    what: str,
    producers: tuple[str, ...],
    consumers: tuple[str, ...],
    maxlen: int | None,
    extra_fields: tuple[str, ...] = (),
) -> Stream:
    return Stream(name, message, what, producers, consumers, Reading.VIEW, maxlen, extra_fields)


ORDER_INTENT = _work("order.intent", m.OrderIntent, "a wish to open, close or cancel", (ANYONE,), (EXECUTOR,))
ORDER_INTENT_EXIT = _work(
    "order.intent.exit",
    m.OrderIntent,
    "the express lane: reduce-only wishes",
    (EXIT_SCANNER, CLI, DASHBOARD),
    (EXECUTOR,),
)
ORDER_RESERVE = _work(
    "order.reserve",
    m.OrderReserve,
    "the exact order the executor wants to send, or the code with which it refuses",
    (EXECUTOR,),
    (LEDGER,),
)
ORDER_BLOCKED = _view(
    "order.blocked_by_invariant",
    m.OrderBlocked,
    "a refused intent: code, reason, what is held, what is in the way",
    (LEDGER,),
    (STATE_PUBLISHER, DASHBOARD, ALERTS, ANYONE),
    100_000,
)
INTENT_RESULT = _view(
    "intent.result", m.IntentResult, "the answer to an intent", (LEDGER,), (EXECUTOR, ANYONE), 100_000
)
ORDER_STATUS = _work(
    "order.status",
    m.OrderStatus,
    "accepted, rejected, canceled, expired, unknown, absent; with evidence",
    (EXECUTOR,),
    (LEDGER,),
)
FILL = _work(
    "fill",
    m.Fill,
    "one execution (or funding, liquidation, adjustment, adoption) at the venue",
    (EXECUTOR, CLI, DASHBOARD),
    (LEDGER,),
)
LEDGER_UPDATED = _view(
    "ledger.updated",
    m.LedgerUpdated,
    "all rows that one message changed, as they now are, and why",
    (LEDGER,),
    (EVERYONE,),
    None,
    ("kind", "hash"),
)
LEDGER_SNAPSHOT = _view(
    "ledger.snapshot",
    m.LedgerSnapshot,
    "everything live as of a sequence, in parts with a checksum",
    (LEDGER,),
    (EVERYONE,),
    None,
)
LEDGER_TRADE = _view(
    "ledger.trade",
    m.Trade,
    "a closed position with its story",
    (LEDGER,),
    (EXECUTOR, LEARNER, STATE_PUBLISHER, DASHBOARD),
    10_000,
)
SNAPSHOT_REQUEST = _work(
    "snapshot.request", m.SnapshotRequest, "please publish a snapshot", (EVERYONE,), (LEDGER,)
)
NAV_MARK = _work(
    "nav.mark",
    p.NavMark,
    "what accounts are worth, positions at market; sent only while a rule needs it",
    (EXECUTOR,),
    (LEDGER,),
)
EXECUTOR_CLAIM = _work(
    "executor.claim",
    l.ExecutorClaim,
    "an executor takes accounts over: the ledger gives each epoch once",
    (EXECUTOR,),
    (LEDGER,),
)
EXIT_ADJUST = _work(
    "exit.adjust",
    x.ExitAdjust,
    "new exits of a position; tighten-only unless a person insists",
    (EXIT_SCANNER, DASHBOARD, CLI),
    (LEDGER,),
)
EXIT_EVALUATED = _view(
    "exit.evaluated",
    x.ExitEvaluated,
    "every rule of a position's exits as it stands: why it is still open, or why it is being closed",
    (EXIT_SCANNER,),
    (PEOPLE, DASHBOARD),
    10_000,
)
MARKET_TICK = _view(
    "market.tick",
    m.Tick,
    "bid, ask, last",
    (MARKET_FEED,),
    (EXECUTOR, EXIT_SCANNER, STATE_PUBLISHER, DASHBOARD, ALERTS, LEARNER, DEMO),
    20_000,
)
PREDICTION = _view(
    "prediction",
    x.Prediction,
    "a model's view of a symbol",
    (ANYONE,),
    (EXIT_SCANNER, LEARNER, DASHBOARD),
    10_000,
)
EXIT_THRESHOLDS = _work(
    "exit.thresholds",
    x.ExitThresholds,
    "what exit thresholds shall be: a version with its evidence, or mode, freeze, thaw, rollback",
    (LEARNER, CLI),
    (LEDGER,),
)
TRADE_OUTCOME = Stream(
    "trade.outcome",
    o.TradeOutcome,
    "what became of a closed trade, and of its market afterwards",
    (LEARNER,),
    (LEDGER,),
    Reading.WORK,
    keeps_finished=False,
)
"""Its entries are large, and who wants to look at one finds it on `ledger.outcome`."""
LEDGER_OUTCOME = _view(
    "ledger.outcome",
    o.KeptOutcome,
    "outcomes that the ledger keeps: new ones, and all of them for who asks",
    (LEDGER,),
    (LEARNER,),
    1_000,
)
CONTROL = _work(
    "control", m.Control, "active, reduce-only, halted; by whom and why", (DASHBOARD, CLI), (LEDGER,)
)
HEARTBEAT = _view(
    "heartbeat",
    m.Heartbeat,
    "proof of life and of progress",
    (EVERYONE,),
    (STATE_PUBLISHER, DASHBOARD, ALERTS, EXECUTOR),
    10_000,
)
DEAD_LETTER = _view(
    "dead.letter",
    m.DeadLetter,
    "an entry that a service could not use, kept whole",
    (EVERYONE,),
    (PEOPLE, DASHBOARD, ALERTS),
    100_000,
)

ALERT = _view(
    "alert",
    alarms.Alert,
    "something that somebody is called for: raised, repeated, escalated, acknowledged, recovered",
    (ALERTS,),
    (ALERTS, PEOPLE, DASHBOARD),
    10_000,
)
ALERT_ACK = _work("alert.ack", alarms.AlertAck, "somebody has seen an alert", (DASHBOARD, CLI), (ALERTS,))

STREAMS: tuple[Stream, ...] = (
    ORDER_INTENT, ORDER_INTENT_EXIT, ORDER_RESERVE, ORDER_BLOCKED, INTENT_RESULT, ORDER_STATUS, FILL,
    LEDGER_UPDATED, LEDGER_SNAPSHOT, LEDGER_TRADE, SNAPSHOT_REQUEST, NAV_MARK, EXECUTOR_CLAIM, EXIT_ADJUST, EXIT_EVALUATED, MARKET_TICK, PREDICTION,
    EXIT_THRESHOLDS, TRADE_OUTCOME, LEDGER_OUTCOME, CONTROL, HEARTBEAT, DEAD_LETTER, ALERT, ALERT_ACK,
)  # fmt: skip
BY_NAME: dict[str, Stream] = {stream.name: stream for stream in STREAMS}

SIGNERS = (EXIT_SCANNER, CLI, DASHBOARD, *OPTIONAL)
"""Producers of intents that belong to Holdfast itself: they write to the shared streams, each with a key of its own."""
SIGNED_BY = {ORDER_INTENT.name: (CLI, *OPTIONAL), ORDER_INTENT_EXIT.name: (CLI, DASHBOARD, EXIT_SCANNER)}
"""Who signs for the shared streams of intents; every other intent stream is its producer's own."""
PRODUCER = re.compile(r"[a-z][a-z0-9_-]{0,31}")
RESERVED = frozenset({
    LEDGER, EXECUTOR, EXIT_SCANNER, STATE_PUBLISHER, MARKET_FEED, DEMO, PEOPLE, ANYONE, EVERYONE, LEARNER, DASHBOARD, CLI, ALERTS, HOOKS,
    "exit", "admin", "viewer", "default", "bus", "others",
})  # fmt: skip
"""Names that no producer may have: they are services, users of the bus, or the end of another stream's name."""


def group_of(account: str) -> str:
    """The consumer group of the executor that serves *account* alone; empty: of the one that serves all others."""
    return f"{EXECUTOR}.{account}" if account else EXECUTOR


@cache
def intent_stream(producer: str) -> Stream:
    """The stream that *producer* alone writes to. An ACL cannot see arguments: who may XADD may also erase the stream, or use
    up its ids; so whoever is not trusted with everybody's intents has a stream of his own.
    """
    return _work(
        f"{ORDER_INTENT.name}.{producer}",
        m.OrderIntent,
        f"intents of the producer {producer}, always signed",
        (producer,),
        (EXECUTOR,),
    )


def with_producers(producers: Iterable[str], apart: Iterable[str] = ()) -> tuple[Stream, ...]:
    """The table, and a stream for each of *producers*; with a group for each executor of an account that is *apart*."""
    every = (*STREAMS, *(intent_stream(name) for name in sorted(producers)))
    groups = tuple(group_of(account) for account in sorted(apart))
    return tuple(
        replace(stream, consumers=(*stream.consumers, *groups))
        if groups and stream.reading is Reading.WORK and EXECUTOR in stream.consumers
        else stream
        for stream in every
    )
