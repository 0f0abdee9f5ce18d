"""The ledger's decision on one message about exit thresholds: recorded and perhaps in force, or refused with a code.

The learner proposes; what it says is checked here against the policy, whatever it says. A version is never changed once it is
written: a rollback or a revert writes a new one with the old values. What is in force moves only positions opened from then on.
"""

from dataclasses import dataclass
from decimal import Decimal

from holdfast.contracts.codes import Code, LearnAction, LearnMode, ResultStatus, UpdateKind
from holdfast.contracts.exit_messages import ExitThresholds
from holdfast.contracts.rows import LearningRow, ThresholdsRow
from holdfast.domain.exit_policy import ExitPolicy
from holdfast.domain.learning_rules import SCOPE, LearningRules, day_began, own_values, standing
from holdfast.domain.ledger_state import Change, LedgerState
from holdfast.domain.steer import answered
from holdfast.domain.thresholds import complaints, too_far

Refusal = tuple[Code, str]
_MAY = {
    LearnAction.PROPOSE: frozenset({LearnMode.SHADOW, LearnMode.APPLY}),
    LearnAction.REVERT: frozenset({LearnMode.APPLY}),
}
"""What the learner does by itself, and in which modes."""


def learn(
    state: LedgerState, message: ExitThresholds, policy: ExitPolicy, rules: LearningRules, now_ms: int
) -> Change:
    """Decide upon *message*, and answer it: accepted, or blocked and why. A refusal changes nothing else.

    *policy*: everybody's, which learned thresholds are measured against.
    """
    said = f"{message.action.value} by {message.by}: {message.why}"[:1000]
    change = Change(UpdateKind.LEARNED, message.id, message.correlation_id, said)
    refused = _Decision(state, message, own_values(policy), rules, now_ms, change).refusal()
    if refused is not None:
        code, why = refused
        change.why = f"{code.value}: {why}; {said}"[:1000]
        change.beside.append(answered(message, ResultStatus.BLOCKED, code, why, now_ms))
        return change
    row, newest = state.learning[SCOPE], next(iter(change.thresholds), None)
    told = f"mode {row.mode.value}, {'frozen, ' if row.frozen else ''}version {row.version} in force"
    told += "" if newest is None else f"; recorded as version {newest}"
    change.beside.append(answered(message, ResultStatus.ACCEPTED, None, told, now_ms))
    return change


@dataclass(frozen=True, slots=True)
class _Decision:
    state: LedgerState
    message: ExitThresholds
    own: dict[str, Decimal]
    """The policy's own thresholds."""
    rules: LearningRules
    now_ms: int
    change: Change

    def refusal(self) -> Refusal | None:
        """Why not; None: it is recorded in the state and the change."""
        row, action = standing(self.state, self.rules), self.message.action
        if action in _MAY:
            if row.mode not in _MAY[action]:
                return Code.LEARNING_OFF, f"the mode is {row.mode.value}"
            if row.frozen:
                return Code.LEARNING_FROZEN, f"frozen by {row.by}: {row.why}"
        if action is LearnAction.PROPOSE:
            return self._propose(row)
        if action in {LearnAction.ROLLBACK, LearnAction.REVERT}:
            return self._go_back(row)
        frozen = row.frozen if action is LearnAction.MODE else action is LearnAction.FREEZE
        self._stand(row.evolve(frozen=frozen, mode=self.message.mode or row.mode))
        return None

    def _propose(self, row: LearningRow) -> Refusal | None:
        message, newest = self.message, max(self.state.thresholds, default=0)
        if message.based_on != row.version or message.version != newest + 1:
            made_for = f"version {message.version} on {message.based_on}"
            return Code.STALE_THRESHOLDS, f"{made_for}; in force is {row.version}, the newest is {newest}"
        bounds, before = self.rules.bounds, day_began(self.state, self.own, self.rules, self.now_ms)
        if said := complaints(message.values, self.own, bounds):
            return Code.BAD_THRESHOLDS, "; ".join(said)[:900]
        if said := too_far(self.own | message.values, before, bounds):
            return Code.STEP_TOO_LARGE, "since the day began: " + "; ".join(said)[:900]
        adopted = row.mode is LearnMode.APPLY
        self._write(newest + 1, message.values, row, adopted=adopted)
        self._stand(row.evolve(version=newest + 1) if adopted else row)
        return None

    def _go_back(self, row: LearningRow) -> Refusal | None:
        """A person's rollback passes in every mode, frozen or not, and takes any step."""
        message, target = self.message, self.message.version or 0
        newest = max(self.state.thresholds, default=0)
        is_stale = message.based_on != row.version or target >= row.version
        if message.action is LearnAction.REVERT and is_stale:
            text = f"back to {target} from {message.based_on}; in force is {row.version}"
            return Code.STALE_THRESHOLDS, text
        if target and target not in self.state.thresholds:
            return Code.NO_SUCH_VERSION, f"there is no version {target} among the newest ones"
        values = self.state.thresholds[target].values if target else {}
        if said := complaints(values, self.own, self.rules.bounds):  # the policy is another one by now
            return Code.BAD_THRESHOLDS, "; ".join(said)[:900]
        self._write(newest + 1, values, row, adopted=True, restores=target)
        self._stand(row.evolve(version=newest + 1))
        return None

    def _write(
        self,
        number: int,
        values: dict[str, Decimal],
        row: LearningRow,
        *,
        adopted: bool,
        restores: int | None = None,
    ) -> None:
        message = self.message
        version = ThresholdsRow(
            version=number, values=values, based_on=row.version, restores=restores, adopted=adopted, evidence=message.evidence,
            by=message.by, why=message.why, at=self.now_ms,
        )  # fmt: skip
        self.state.put_thresholds(version, self.change)

    def _stand(self, row: LearningRow) -> None:
        """Who has said so is noted where somebody steers, and not where the learner goes its way."""
        if self.message.action not in _MAY:
            row = row.evolve(by=self.message.by, why=self.message.why, at=self.now_ms)
        self.state.put_learning(row, self.change)
