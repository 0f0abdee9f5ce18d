"""The learner's handlers: what is heard goes to the collector and the history; what has come to an end goes to the ledger.

Nobody waits for any of it. Thinking takes seconds of a processor, so it runs in a thread, one question at a time; what it asks the
ledger for names the version that it was made for, so an answer that comes too late is refused and nothing else happens.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import Any, Self

from holdfast.contracts.codes import LearnMode
from holdfast.contracts.exit_messages import ExitThresholds, Prediction
from holdfast.contracts.messages import LedgerUpdated, Tick, Trade
from holdfast.contracts.money import canonical
from holdfast.contracts.outcomes import KeptOutcome
from holdfast.contracts.streams import EXIT_THRESHOLDS, LEARNER
from holdfast.contracts.wire import Entry, Out, Outgoing, digest, entry_time_ms
from holdfast.domain.exit_policy import ExitPolicy, PolicyTable
from holdfast.domain.instruments import tick_of_book
from holdfast.domain.learning_rules import LearningRules, day_began, own_values, standing, values_in_force
from holdfast.domain.market import Markets
from holdfast.domain.view import LedgerView
from holdfast.runtime.clock import Clock
from holdfast.runtime.exit_settings import policy_table
from holdfast.runtime.ids import Ids
from holdfast.runtime.learner_settings import learning_rules
from holdfast.runtime.settings import Settings
from learning.quality import ExitQuality, exit_quality
from services.learner.beside import beside
from services.learner.collector import Collector, Limits
from services.learner.history import History
from services.learner.mind import Aims, Answer, Question, think
from services.learner.named import named_in

log = logging.getLogger("holdfast.learner")

Publish = Callable[[list[Outgoing]], Awaitable[None]]
LOOK_EVERY_S = 1.0
LONGEST_BACKLOG_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Options:
    """What of the settings counts here."""

    policy: ExitPolicy
    rules: LearningRules = field(default_factory=LearningRules)
    limits: Limits = field(default_factory=Limits)
    aims: Aims = field(
        default_factory=lambda: Aims(
            least_trades=100,
            confidence=0.95,
            revert_after=30,
            revert_confidence=0.9,
            slippage_pct=Decimal(0),
            seed=1,
        )
    )
    propose_every: int = 25
    policies: PolicyTable | None = None
    """Of single accounts and symbols; None: `policy` is everybody's."""
    bad_print_pct: Decimal = Decimal(20)

    @classmethod
    def of(cls, settings: Settings) -> Self:
        own = settings.learner
        aims = Aims(
            least_trades=own.least_trades, confidence=float(own.confidence), revert_after=own.revert_after,
            revert_confidence=float(own.revert_confidence), slippage_pct=settings.paper.slippage_pct, seed=own.seed,
        )  # fmt: skip
        limits = Limits(own.path_points, int(own.watch_after_s * 1000), int(own.feed_patience_s * 1000))
        policies = policy_table(settings)
        return cls(
            policies.default, learning_rules(own), limits, aims, own.propose_every, policies, settings.scanner.bad_print_pct
        )  # fmt: skip


class Learner:
    """See the module."""

    def __init__(self, view: LedgerView, clock: Clock, ids: Ids, options: Options) -> None:
        self._view, self._clock, self._ids, self._options = view, clock, ids, options
        self._own = own_values(options.policy)
        policies = options.policies or PolicyTable(options.policy)
        named = partial(named_in, policies=policies, holder=view, rules=options.rules)
        self.collector = Collector(Markets(options.bad_print_pct), options.limits, named)
        self.history = History(options.rules.keep_outcomes, ids)
        self._store_id = ""
        self._quality: ExitQuality | None = None
        self._last_look = ""

    # -- what is heard ----------------------------------------------------------------------------------------------------

    async def on_reset(self) -> list[Outgoing]:
        """The view was loaded from a snapshot."""
        before, self._store_id = self._store_id, self._view.store_id
        if before not in {"", self._store_id}:
            self.collector.forget()
            self.history.begin()
        steady = self._clock.monotonic_ms()
        self.collector.rows(self._view.positions.values(), self._view.orders.values(), steady)
        return []

    async def on_updates(self, updates: Sequence[LedgerUpdated]) -> list[Outgoing]:
        for update in updates:
            self.collector.update(update, self._clock.monotonic_ms())
        return []

    async def on_trades(self, entries: Sequence[Entry]) -> list[Outgoing]:
        for entry in entries:
            if isinstance(entry.message, Trade) and not self.history.is_known(entry.message.position_id):
                self.collector.trade(entry.message, self._clock.monotonic_ms())
        return []

    async def on_kept(self, entries: Sequence[Entry]) -> list[Outgoing]:
        for entry in entries:
            if isinstance(entry.message, KeptOutcome):
                self.history.hear(entry.message)
                self._quality = None
        return []

    async def on_ticks(self, entries: Sequence[Entry]) -> list[Outgoing]:
        wall, steady = self._clock.wall_ms(), self._clock.monotonic_ms()
        for entry in entries:
            tick = tick_of_book(entry.message) if isinstance(entry.message, Tick) else None
            if tick is None:
                continue
            behind = wall - entry_time_ms(entry.entry_id)
            seen = steady - behind if 0 < behind <= LONGEST_BACKLOG_MS else steady
            quote = self.collector.markets.on_tick(tick, wall, seen)
            if quote is not None:
                self.collector.tick(tick.symbol, quote, seen)
        return []

    async def on_predictions(self, entries: Sequence[Entry]) -> list[Outgoing]:
        wall, steady = self._clock.wall_ms(), self._clock.monotonic_ms()
        for entry in entries:
            if isinstance(entry.message, Prediction):
                self.collector.predict(entry.message, entry_time_ms(entry.entry_id), wall, steady)
        return []

    # -- once a second ------------------------------------------------------------------------------------------------------

    async def on_time(self) -> list[Outgoing]:
        """Publish what has come to an end; ask for what is not known yet."""
        if not self._view.is_loaded:
            return []
        wall, steady = self._clock.wall_ms(), self._clock.monotonic_ms()
        outputs = list(self.history.turn(wall, steady))
        if self.history.is_loaded:
            self.collector.adopt_orphans(self.history.is_settled, steady)
            done = self.collector.done(wall, steady)
            outputs += [
                self.history.owe(one, steady) for one in done if not self.history.is_known(one.position_id)
            ]
        return outputs

    # -- thinking -------------------------------------------------------------------------------------------------------------

    async def think(self, publish: Publish) -> None:
        """For ever: a question when there is one, and what the answer asks the ledger for."""
        while True:
            await self._clock.sleep(LOOK_EVERY_S)
            question = self.question()
            if question is None:
                continue
            answer = await beside(partial(think, question, self._options.rules, self._options.aims))
            await publish(self.wanted(question, answer))

    def question(self) -> Question | None:
        """What is to be thought about now; None while there is nothing new, or nobody wants to know."""
        row = standing(self._view, self._options.rules)
        ready = self._view.is_loaded and self.history.is_loaded
        if (
            not ready
            or row.mode is LearnMode.OFF
            or row.frozen
            or self.history.news < self._options.propose_every
        ):
            return None
        self.history.news = 0
        versions, rules = self._view.thresholds, self._options.rules
        in_force = versions.get(row.version)
        return Question(
            outcomes=tuple(one for one in self.history.kept.values() if one.path and not one.hole_ms), standing=row, in_force=in_force,
            before=None if in_force is None else versions.get(in_force.based_on),
            current=values_in_force(self._view, self._own, rules), own=self._own,
            day_began=day_began(self._view, self._own, rules, self._clock.wall_ms()), newest=max(versions, default=0),
        )  # fmt: skip

    def wanted(self, question: Question, answer: Answer) -> list[Outgoing]:
        """The message to the ledger, unless it would say again what was said last."""
        self._last_look = answer.why
        log.info("%d outcomes looked at: %s", len(question.outcomes), answer.why)
        wish = answer.wish
        if wish is None:
            return []
        newest = self._view.thresholds.get(question.newest)
        if newest is not None and not newest.adopted and newest.values == dict(wish.values):
            return []
        based_on = question.standing.version
        message = ExitThresholds(
            id="th-" + digest(self._store_id, wish.action.value, str(wish.version), str(based_on), self._ids.new()), at=self._clock.wall_ms(),
            action=wish.action, version=wish.version, values=dict(wish.values), based_on=based_on, evidence=wish.evidence, by=LEARNER,
            why=wish.why[:1000],
        )  # fmt: skip
        return [Out(EXIT_THRESHOLDS, message)]

    # -- what it says of itself -------------------------------------------------------------------------------------------------

    def quality(self) -> ExitQuality:
        """How good exits were, over the outcomes that are kept."""
        if self._quality is None:
            self._quality = exit_quality(list(self.history.kept.values()))
        return self._quality

    @property
    def last_look(self) -> str:
        """What came of the last question, for people."""
        least = self._options.aims.least_trades
        return (
            self._last_look or f"nothing looked at yet: {len(self.history.kept)} outcomes, {least} are needed"
        )

    def beat(self) -> dict[str, Any]:
        """Heartbeat fields."""
        row, found = standing(self._view, self._options.rules), self.quality()
        figures = {
            "average_hold_s": found.average_hold_s, "premature_share": found.premature_share, "average_slip_pct": found.average_slip_pct,
            "worst_slip_pct": found.worst_slip_pct,
        }  # fmt: skip
        known = {name: canonical(value) for name, value in figures.items() if value is not None}
        return {
            "seq": max(0, self._view.seq),
            "details": {
                "mode": row.mode.value, "version": str(row.version), "frozen": str(row.frozen).lower(), "outcomes": str(len(self.history.kept)),
                "watching": str(self.collector.watching), "owed": str(len(self.history.owed)), "last_look": self.last_look[:500],
                "soft_losses": str(found.soft_losses), "premature": str(found.premature), "stops": str(found.stops), **known,
            },
        }  # fmt: skip
