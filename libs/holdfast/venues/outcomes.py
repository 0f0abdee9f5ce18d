"""The outcome table: what an attempt to send an order proves. Everything that is not listed here is UNKNOWN.

REJECTED needs a proof that the order was not taken, and a proof is one of three: the request never reached the wire; no
connection was made; or the exchange answered, in its own words, with a code that it documents as a refusal. The class of
an exception proves nothing: ccxt raises ExchangeError for half an answer, and ExchangeNotAvailable for an order that rests.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from holdfast.contracts.codes import Code
from holdfast.venues.port import OutcomeKind

FUNDS, SMALL, REFUSED = Code.INSUFFICIENT_FUNDS, Code.BELOW_MINIMUM, Code.VENUE_REJECTED

_BINANCE: Mapping[int, Code] = {
    **dict.fromkeys((-2018, -2019), FUNDS),
    **dict.fromkeys((-1013, -4003, -4004, -4164), SMALL),
    -5022: Code.POST_ONLY_WOULD_TAKE,
    -5021: Code.UNFILLED,
    # the request was malformed, late, unsigned, or not allowed: refused at the door
    **dict.fromkeys((-1014, -1015, -1021, -1022, -1100, -1101, -1102, -1103, -1104, -1105, -1106), REFUSED),
    **dict.fromkeys((-1111, -1114, -1115, -1116, -1117, -1121, -1128, -1130, -1136, -2014, -2015, -5028), REFUSED),
    # the order breaks a rule of the instrument or of the account
    **dict.fromkeys((-2010, -2020, -2021, -2022, -2024, -2025, -2026, -2027, -2028), REFUSED),
    **dict.fromkeys((-4001, -4002, -4005, -4006, -4007, -4013, -4014, -4015, -4016, -4023, -4024, -4045), REFUSED),
    **dict.fromkeys((-4061, -4109, -4112, -4118, -4131, -4136, -4138, -4140, -4183, -4184), REFUSED),
}  # fmt: skip
"""Codes of Binance that are documented as refusals before matching. Not here, so UNKNOWN: -1000, -1001, -1006, -1007, -1008
(sent, and nobody knows), -4116 (an order of this id is open: it may be this one), and whatever is new."""

REFUSALS: Mapping[str, Mapping[int, Code]] = {"binanceusdm": _BINANCE, "binance": _BINANCE}
LIMITED: Mapping[str, frozenset[int]] = {
    "binanceusdm": frozenset({418, 429}),
    "binance": frozenset({418, 429}),
}
"""HTTP statuses with which an exchange turns a request away before it looks at it, by its documents."""

_CODE = re.compile(r'"code":\s*"?(-?\d+)')
_STATUS = re.compile(r"^\w+ (\d{3}) ")
_SIGNED = re.compile(r"(?i)((?:signature|sign|apikey|api_key|token|listenkey)=)[^&\s\"']+")


@dataclass(slots=True)
class Attempt:
    """How far one send has come: *on_wire* is set right before the request is handed to the socket."""

    on_wire: bool = False
    too_late: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is proven, and why in words that are safe to keep."""

    kind: OutcomeKind
    reason: str
    code: Code | None = None


def verdict(exchange: str, error: BaseException, attempt: Attempt) -> Verdict:
    """What *error* proves of the order of *attempt*."""
    reason = described(error)
    if attempt.too_late:
        return Verdict(OutcomeKind.NOT_SENT, "send_by passed before the wire", Code.NOT_SENT)
    if not attempt.on_wire:
        return Verdict(OutcomeKind.REJECTED, f"refused before the wire: {reason}", REFUSED)
    if never_connected(error):
        return Verdict(OutcomeKind.NOT_SENT, f"no connection was made: {reason}", Code.NOT_SENT)
    number = code_of(error)
    found = None if number is None else REFUSALS.get(exchange, {}).get(number)
    if found is not None:
        return Verdict(OutcomeKind.REJECTED, reason, found)
    if _status(error) in LIMITED.get(exchange, frozenset()):
        return Verdict(OutcomeKind.REJECTED, reason, REFUSED)
    return Verdict(OutcomeKind.UNKNOWN, reason)


def code_of(error: BaseException) -> int | None:
    """The exchange's own code in an error that ccxt has made of an answer."""
    found = _CODE.search(str(error))
    return None if found is None else int(found[1])


def _status(error: BaseException) -> int | None:
    found = _STATUS.match(str(error))
    return None if found is None else int(found[1])


def never_connected(error: BaseException) -> bool:
    """Whether the error behind *error* is that of opening the connection. By name: the paper path loads no HTTP client."""
    behind = error.__cause__
    return behind is not None and any(cls.__name__ == "ClientConnectorError" for cls in type(behind).__mro__)


def described(error: BaseException) -> str:
    """The error in words, without signatures, in at most 500 characters."""
    text = _SIGNED.sub(r"\g<1>***", str(error))
    return f"{type(error).__name__}: {text}"[:500]
