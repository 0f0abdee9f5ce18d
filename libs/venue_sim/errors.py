"""The error codes of Binance USD-M futures that this venue answers with, with the status and the text of the real one."""

from http import HTTPStatus


class VenueError(Exception):
    """A refusal: the venue's own code, its text, and the HTTP status that it comes with."""

    def __init__(self, code: int, text: str, status: int = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(f"{code}: {text}")
        self.code, self.text, self.status = code, text, int(status)


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


def bad_precision() -> VenueError:
    return VenueError(-1111, "Precision is over the maximum defined for this asset.")


def cancel_rejected() -> VenueError:
    return VenueError(-2011, "Unknown order sent.")


def no_such_order() -> VenueError:
    return VenueError(-2013, "Order does not exist.")


def wrong_key() -> VenueError:
    return VenueError(-2015, "Invalid API-key, IP, or permissions for action.", HTTPStatus.UNAUTHORIZED)


def no_margin() -> VenueError:
    return VenueError(-2019, "Margin is insufficient.")


def would_trigger() -> VenueError:
    return VenueError(-2021, "Order would immediately trigger.")


def reduce_only() -> VenueError:
    return VenueError(-2022, "ReduceOnly Order is rejected.")


def too_small() -> VenueError:
    return VenueError(-4003, "Quantity less than or equal to zero.")


def too_large() -> VenueError:
    return VenueError(-4005, "Quantity greater than max quantity.")


def off_tick() -> VenueError:
    return VenueError(-4014, "Price not increased by tick size.")


def off_step() -> VenueError:
    return VenueError(-4023, "Qty not increased by step size.")


def wrong_position_side() -> VenueError:
    return VenueError(-4061, "Order's position side does not match user's setting.")


def duplicate_client_id() -> VenueError:
    return VenueError(-4116, "ClientOrderId is duplicated.")


def below_notional(least: str) -> VenueError:
    return VenueError(
        -4164, f"Order's notional must be no smaller than {least} (unless you choose reduce only)."
    )


def not_filled_whole() -> VenueError:
    return VenueError(
        -5021,
        "Due to the order could not be filled immediately, the FOK order has been rejected.",
    )


def would_take() -> VenueError:
    return VenueError(
        -5022, "Due to the order could not be executed as maker, the Post Only order will be rejected."
    )
