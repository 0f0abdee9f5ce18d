"""What a venue refuses: the reasons that matching knows, and an answer with a code of the wire.

Matching refuses for a *reason*, in no venue's words; each dialect says it in its own: its code, its text, its status.
"""

from enum import StrEnum
from http import HTTPStatus


class Why(StrEnum):
    """Reasons for which an order, or a cancel, is refused."""

    UNKNOWN_SYMBOL = "unknown_symbol"
    NO_PRICE = "no_price"
    MISSING = "missing"
    TOO_SMALL = "too_small"
    TOO_LARGE = "too_large"
    OFF_STEP = "off_step"
    OFF_TICK = "off_tick"
    BELOW_NOTIONAL = "below_notional"
    NO_MONEY = "no_money"
    DUPLICATE = "duplicate"
    REDUCE_ONLY = "reduce_only"
    REDUCE_ONLY_HEDGED = "reduce_only_hedged"
    POSITION_SIDE = "position_side"
    WOULD_TAKE = "would_take"
    NOT_WHOLE = "not_whole"
    WOULD_TRIGGER = "would_trigger"
    TOO_MANY = "too_many"
    NOT_OPEN = "not_open"
    NO_ORDER = "no_order"


class Refusal(Exception):  # noqa: N818 - the word of the field
    """*why*, with the figure or the name that it is about."""

    def __init__(self, why: Why, detail: str = "") -> None:
        super().__init__(f"{why.value} {detail}".strip())
        self.why, self.detail = why, detail


class VenueError(Exception):
    """A refusal on the wire: the venue's own code, its text, and the HTTP status that it comes with."""

    def __init__(self, code: int | str, text: str = "", status: int = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(f"{code}: {text}")
        self.code, self.text, self.status = code, text, int(status)
