"""The closed catalogues of words: sides, states, reasons. Whatever a message says in one word stands here."""

from enum import StrEnum


class Side(StrEnum):
    """Of an order."""

    BUY = "buy"
    SELL = "sell"


class PositionSide(StrEnum):
    """Of a position."""

    LONG = "long"
    SHORT = "short"


class Leg(StrEnum):
    """Which of a symbol's books: one netted book, or one per side where hedging is on."""

    NET = "net"
    LONG = "long"
    SHORT = "short"


class Kind(StrEnum):
    """Of an instrument: spot, or a contract that settles in quote (linear) or in base (inverse)."""

    SPOT = "spot"
    LINEAR = "linear"
    INVERSE = "inverse"


class Action(StrEnum):
    OPEN = "open"
    CLOSE = "close"
    CANCEL = "cancel"


class OrderType(StrEnum):
    MARKET = "market"
    LIMIT = "limit"


class TimeInForce(StrEnum):
    GTC = "gtc"
    IOC = "ioc"
    FOK = "fok"


class Role(StrEnum):
    """What an order is for. A protective stop resting at the venue is counted apart from working exits (INV-5)."""

    ENTRY = "entry"
    EXIT = "exit"
    PROTECT = "protect"


class OrderState(StrEnum):
    RESERVED = "reserved"
    OPEN = "open"
    PARTIAL = "partial"
    FILLED = "filled"
    CANCELING = "canceling"
    CANCELED = "canceled"
    REJECTED = "rejected"
    EXPIRED = "expired"
    UNKNOWN = "unknown"
    ABANDONED = "abandoned"


TERMINAL_STATES = frozenset(
    {OrderState.FILLED, OrderState.CANCELED, OrderState.REJECTED, OrderState.EXPIRED, OrderState.ABANDONED}
)


class StatusKind(StrEnum):
    """What the executor learned about an order at the venue."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    CANCELED = "canceled"
    EXPIRED = "expired"
    UNKNOWN = "unknown"
    ABSENT = "absent"  # proven never to have reached the venue


class ResultStatus(StrEnum):
    """How an intent stands. Everything but ACCEPTED and UNKNOWN is an end, and an intent has one."""

    ACCEPTED = "accepted"
    UNKNOWN = "unknown"
    FILLED = "filled"
    PARTLY_FILLED = "partly_filled"
    BLOCKED = "blocked"
    INVALID = "invalid"
    EXPIRED = "expired"
    REJECTED = "rejected"
    CANCELED = "canceled"
    DUPLICATE = "duplicate"
    NOTED = "noted"  # a soft close: it stands on the position, whose rules and vetoes decide


class FillKind(StrEnum):
    TRADE = "trade"
    FUNDING = "funding"
    LIQUIDATION = "liquidation"
    ADJUSTMENT = "adjustment"
    ADOPTION = "adoption"  # a position that existed before Holdfast did, recorded by a person
    DUST = "dust"  # the rest of a spot position, too small to be sold, leaves the books at its average price and becomes inventory


class StopBy(StrEnum):
    """What put a position's stop-loss where it is."""

    SET = "set"  # intent, policy, or a person
    BREAK_EVEN = "break_even"
    TRAILING = "trailing"


class ExitReason(StrEnum):
    """Why a position is (being) closed. Order here is no priority: `domain.exits` holds that."""

    LIQUIDATION_GUARD = "liquidation_guard"
    STOP_LOSS = "stop_loss"
    TRAILING_STOP = "trailing_stop"
    BREAK_EVEN = "break_even"
    EMERGENCY_LOSS = "emergency_loss"
    TAKE_PROFIT = "take_profit"
    EXTRAORDINARY_PROFIT = "extraordinary_profit"
    TTL = "ttl"
    REVERSAL = "reversal"
    ROI = "roi"
    SIGNAL = "signal"
    STAGNATION = "stagnation"
    CLOSE = "close"
    FLATTEN = "flatten"
    EXIT_ON_VENUE = "exit_on_venue"
    LIQUIDATION = "liquidation"
    FLIPPED = "flipped"
    FORCE_EXIT = "force_exit"


class TradingState(StrEnum):
    ACTIVE = "active"
    REDUCE_ONLY = "reduce_only"
    HALTED = "halted"


class Scope(StrEnum):
    ALL = "all"
    ACCOUNT = "account"
    BOOK = "book"


class LearnMode(StrEnum):
    """What becomes of what the learner proposes."""

    OFF = "off"
    """Outcomes are collected; nothing is proposed."""
    SHADOW = "shadow"
    """Proposals are recorded with their evidence; nothing is applied."""
    APPLY = "apply"
    """A proposal that the ledger accepts is in force for positions opened from then on."""


class LearnAction(StrEnum):
    """What a message on `exit.thresholds` wants."""

    PROPOSE = "propose"
    MODE = "mode"
    FREEZE = "freeze"
    THAW = "thaw"
    ROLLBACK = "rollback"
    """A person goes back to a version; 0 is the policy itself."""
    REVERT = "revert"
    """The learner goes back, because live results fell below the shadow of the thresholds before."""


class AlertEvent(StrEnum):
    """What somebody is called for. Each is on, silent or off in the settings."""

    LIGHT = "light"
    """Red or yellow for longer than its patience."""
    BLOCKED_RATE = "blocked_rate"
    UNKNOWN_ORDER = "unknown_order"
    QUARANTINE = "quarantine"
    DEAD_LETTER = "dead_letter"
    SERVICE_DOWN = "service_down"
    LEDGER_STOPPED = "ledger_stopped"
    DRAWDOWN = "drawdown"
    DAILY_LOSS = "daily_loss"


class AlertState(StrEnum):
    """How far an alert has come."""

    RAISED = "raised"
    REPEATED = "repeated"
    ESCALATED = "escalated"
    ACKNOWLEDGED = "acknowledged"
    RECOVERED = "recovered"
    UNDELIVERABLE = "undeliverable"


class UpdateKind(StrEnum):
    """What one `ledger.updated` entry tells. It stands beside the body, so that followers decode only what they use."""

    RESERVED = "reserved"
    BLOCKED = "blocked"
    STATUS = "status"
    FILLED = "filled"
    ADJUSTED = "adjusted"
    CONTROL = "control"
    CANCELING = "canceling"
    ADOPTED = "adopted"
    QUARANTINED = "quarantined"
    DISPUTED = "disputed"
    MAINTENANCE = "maintenance"
    LEARNED = "learned"
    MARKED = "marked"
    CLAIMED = "claimed"


class Code(StrEnum):
    """Why an intent was refused, or an order's end was not a fill. The value is stable; docs/streams.md explains each."""

    OPPOSED = "opposed"
    """INV-1: the book holds, or has in flight, the other side."""
    POSITIONS_UNREADABLE = "positions_unreadable"
    """INV-7: what is held could not be read, so nothing may be opened."""
    BOOK_UNKNOWN = "book_unknown"
    """INV-7: an order of this book has no clear answer yet."""
    BOOK_DISPUTED = "book_disputed"
    """A fill or status of this book could not be applied; a person must look."""
    EXIT_IN_PROGRESS = "exit_in_progress"
    """A full exit of this book has not ended; no entry until it has."""
    NOTHING_TO_CLOSE = "nothing_to_close"
    """INV-5: a reduce-only intent on a flat book."""
    WRONG_SIDE = "wrong_side"
    """INV-5: a reduce-only intent that would enlarge the position."""
    EXIT_IN_FLIGHT = "exit_in_flight"
    """INV-5: an exit as hard or harder already holds the whole quantity."""
    POSITION_GONE = "position_gone"
    """The exit names a position that is not the open one."""
    ALREADY_PROTECTED = "already_protected"
    """INV-5: a protective stop of this position is live, and the new one does not name it as the one that it replaces."""
    NO_REDUCE_ONLY = "no_reduce_only"
    """A protective stop needs a venue with reduce-only orders; on spot it would lock the coins."""
    WOULD_TRIGGER = "would_trigger"
    """The venue refused a stop because the price is there already."""
    SPOT_SHORT = "spot_short"
    """On spot a sell needs something to sell."""
    HALTED = "halted"
    REDUCE_ONLY_STATE = "reduce_only_state"
    MAX_POSITIONS = "max_positions"
    MAX_SYMBOL_NOTIONAL = "max_symbol_notional"
    MAX_ACCOUNT_NOTIONAL = "max_account_notional"
    MAX_TOTAL_NOTIONAL = "max_total_notional"
    MAX_SIDE_NOTIONAL = "max_side_notional"
    """All long, or all short, positions and entries of all accounts together."""
    ORDER_RATE = "order_rate"
    COOLDOWN = "cooldown"
    """The book's last position closed at a loss, less than `limits.cooldown_s` ago."""
    LOSS_STREAK = "loss_streak"
    """The account's last `limits.loss_streak` trades all lost; entries pause for `limits.loss_streak_pause_s` from the last one."""
    DAILY_LOSS = "daily_loss"
    """As much was lost in this UTC day, unrealised included, as `limits.max_daily_loss` or `max_daily_loss_pct` says (`max_total_...`: of all accounts), or a live account's own `daily_loss`; entries wait for the next day."""
    MAX_DRAWDOWN = "max_drawdown"
    """NAV fell further below its high-water mark than `limits.max_drawdown_pct` (`max_total_drawdown_pct`: of all accounts) allows; a person resumes."""
    NAV_UNKNOWN = "nav_unknown"
    """A rule that needs NAV is on, and NAV is not known, or older than `limits.max_nav_age_s`."""
    STALE_EXECUTOR = "stale_executor"
    """INV-9: the reservation came from an executor that has been replaced."""
    RECORD_MISMATCH = "record_mismatch"
    """The venue's record and the ledger do not belong together."""
    VENUE_UNREADABLE = "venue_unreadable"
    NO_PRICE = "no_price"
    """No fresh price for the symbol, and the order needs one."""
    NO_NAV = "no_nav"
    """The size is a share of NAV, and NAV cannot be counted now; the reason says which price is missing."""
    BUS_FULL = "bus_full"
    INSTRUMENT_MISMATCH = "instrument_mismatch"
    """The name means another kind of instrument than the book holds."""
    UNKNOWN_SYMBOL = "unknown_symbol"
    UNKNOWN_ACCOUNT = "unknown_account"
    MALFORMED = "malformed"
    TOO_LARGE = "too_large"
    EXPIRED = "expired"
    FROM_THE_FUTURE = "from_the_future"
    BELOW_MINIMUM = "below_minimum"
    BAD_EXITS = "bad_exits"
    """Take-profit or stop-loss on the wrong side of the price, or an exit key that says nothing usable."""
    STOP_BEYOND_LIQUIDATION = "stop_beyond_liquidation"
    """The stop lies beyond the price at which the venue would liquidate, or within the guard's band before it."""
    SIGNAL_NOTED = "signal_noted"
    """A soft close was recorded on the position; its rules and vetoes decide when it leaves."""
    SIGNALS_OFF = "signals_off"
    """A soft close for a position whose terms have signal exits off."""
    INTENT_ID_REUSED = "intent_id_reused"
    """INV-4: the same intent id with other content."""
    NO_SUCH_ORDER = "no_such_order"
    NOT_SENT = "not_sent"
    """The order was reserved but its send_by passed before it could be sent."""
    VENUE_REJECTED = "venue_rejected"
    INSUFFICIENT_FUNDS = "insufficient_funds"
    POST_ONLY_WOULD_TAKE = "post_only_would_take"
    UNFILLED = "unfilled"
    """The order's time in force ended before it was filled."""
    DEAD_MAN = "dead_man"
    """The exchange canceled the entry by itself, because it had not heard of the executor for `dead_man_s`."""
    DISPLACED = "displaced"
    """A harder exit took its place."""
    STOPPED_BY_EXIT = "stopped_by_exit"
    """A full exit, flatten or halt canceled the entry."""
    UNSIGNED = "unsigned"
    """Only signed intents are taken here (`bus.require_signed`, or a producer's own stream), and this one is not."""
    UNKNOWN_KEY = "unknown_key"
    """It names a key that belongs to no producer."""
    BAD_SIGNATURE = "bad_signature"
    """The signature is not that key's for this body on this stream."""
    WRONG_STREAM = "wrong_stream"
    """The key is genuine, but its producer does not write to this stream."""
    FOREIGN_ID = "foreign_id"
    """An intent's id begins with another producer's name, or does not begin with its own producer's."""
    PRODUCER_SYMBOL = "producer_symbol"
    """The producer may not trade this symbol, neither in nor out."""
    PRODUCER_NOTIONAL = "producer_notional"
    """One entry of this producer is larger than its `max_notional`."""
    PRODUCER_RATE = "producer_rate"
    """This producer sends more entries than its `rate_per_s`."""
    REPLACED = "replaced"
    """The entry is canceled because another intent takes its place."""
    ALREADY_REPLACED = "already_replaced"
    """Another intent takes the place of that entry."""
    NOTHING_LEFT = "nothing_left"
    """What the replaced entry filled leaves nothing, or less than the smallest order, to open."""
    ON_REQUEST = "on_request"
    """Canceled because a cancel intent asked for it."""
    BAD_THRESHOLDS = "bad_thresholds"
    """Learned thresholds that are no threshold, off in the policy, outside `[learner.bounds]`, or looser than the policy in what limits a loss."""
    STEP_TOO_LARGE = "step_too_large"
    """A learned threshold would move further within one UTC day than `[learner.bounds]` allows."""
    STALE_THRESHOLDS = "stale_thresholds"
    """A proposal that was made for another version than the one in force, or whose number is taken."""
    NO_SUCH_VERSION = "no_such_version"
    """A rollback to thresholds that were never recorded."""
    LEARNING_OFF = "learning_off"
    """A proposal while the learner's mode is off, or a revert in another mode than apply."""
    LEARNING_FROZEN = "learning_frozen"
    """A proposal or a revert while a person has frozen the thresholds."""
