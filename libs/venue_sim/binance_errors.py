"""The error codes of Binance that these venues answer with, with the status and the text of the real ones."""

from collections.abc import Mapping
from http import HTTPStatus

from venue_sim.errors import Refusal, VenueError, Why


def too_many_requests(retry_s: int, *, banned: bool) -> VenueError:
    """429, and 418 for who goes on all the same."""
    text = f"Way too many requests; {'IP banned' if banned else 'please slow down'} for {retry_s} s."
    return VenueError(-1003, text, HTTPStatus.IM_A_TEAPOT if banned else HTTPStatus.TOO_MANY_REQUESTS)


def too_many_orders(limit: int) -> VenueError:
    return VenueError(
        -1015, f"Too many new orders; current limit is {limit} per 10 SECOND.", HTTPStatus.TOO_MANY_REQUESTS
    )


def wrong_time() -> VenueError:
    return VenueError(-1021, "Timestamp for this request is outside of the recvWindow.")


def wrong_signature() -> VenueError:
    return VenueError(-1022, "Signature for this request is not valid.")


def missing(name: str) -> VenueError:
    return VenueError(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")


def unknown_symbol() -> VenueError:
    return VenueError(-1121, "Invalid symbol.")


def wrong_key() -> VenueError:
    return VenueError(-2015, "Invalid API-key, IP, or permissions for action.", HTTPStatus.UNAUTHORIZED)


Words = Mapping[Why, tuple[int, str]]
_BOTH: Words = {
    Why.UNKNOWN_SYMBOL: (-1121, "Invalid symbol."),
    Why.MISSING: (-1102, "Mandatory parameter '{}' was not sent, was empty/null, or malformed."),
    Why.NOT_OPEN: (-2011, "Unknown order sent."),
    Why.NO_ORDER: (-2013, "Order does not exist."),
}
FUTURES: Words = {
    **_BOTH,
    Why.NO_PRICE: (-4131, "The counterparty's best price does not meet the PERCENT_PRICE filter limit."),
    Why.TOO_SMALL: (-4003, "Quantity less than or equal to zero."),
    Why.TOO_LARGE: (-4005, "Quantity greater than max quantity."),
    Why.OFF_STEP: (-4023, "Qty not increased by step size."),
    Why.OFF_TICK: (-4014, "Price not increased by tick size."),
    Why.BELOW_NOTIONAL: (-4164, "Order's notional must be no smaller than {} (unless you choose reduce only)."),
    Why.NO_MONEY: (-2019, "Margin is insufficient."),
    Why.DUPLICATE: (-4116, "ClientOrderId is duplicated."),
    Why.REDUCE_ONLY: (-2022, "ReduceOnly Order is rejected."),
    Why.REDUCE_ONLY_HEDGED: (-1106, "Parameter 'reduceonly' sent when not required."),
    Why.POSITION_SIDE: (-4061, "Order's position side does not match user's setting."),
    Why.WOULD_TAKE: (
        -5022, "Due to the order could not be executed as maker, the Post Only order will be rejected.",
    ),
    Why.NOT_WHOLE: (-5021, "Due to the order could not be filled immediately, the FOK order has been rejected."),
    Why.WOULD_TRIGGER: (-2021, "Order would immediately trigger."),
    Why.TOO_MANY: (-4045, "Reach max stop order limit."),
}  # fmt: skip
"""USD-M futures."""
SPOT: Words = {
    **_BOTH,
    Why.NO_PRICE: (-1013, "Market is closed."),
    Why.TOO_SMALL: (-1013, "Filter failure: LOT_SIZE"),
    Why.TOO_LARGE: (-1013, "Filter failure: LOT_SIZE"),
    Why.OFF_STEP: (-1013, "Filter failure: LOT_SIZE"),
    Why.OFF_TICK: (-1013, "Filter failure: PRICE_FILTER"),
    Why.BELOW_NOTIONAL: (-1013, "Filter failure: NOTIONAL"),
    Why.NO_MONEY: (-2010, "Account has insufficient balance for requested action."),
    Why.DUPLICATE: (-2010, "Duplicate order sent."),
    Why.WOULD_TAKE: (-2010, "Order would immediately match and take."),
    Why.WOULD_TRIGGER: (-2010, "Stop price would trigger immediately."),
    Why.TOO_MANY: (-1013, "Filter failure: MAX_NUM_ALGO_ORDERS"),
}
"""Spot: most of it under two codes, told apart by their texts alone."""


def said(refusal: Refusal, words: Words) -> VenueError:
    """*refusal* in Binance's words."""
    code, text = words[refusal.why]
    return VenueError(code, text.format(refusal.detail))
