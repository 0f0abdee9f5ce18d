"""The outcome table: what an attempt to send an order proves. Everything that is not listed here is UNKNOWN.

REJECTED needs a proof that the order was not taken, and a proof is one of three: the request never reached the wire; no
connection was made; or the exchange answered, in its own words, with a code that it documents as a refusal. The class of
an exception proves nothing: ccxt raises ExchangeError for half an answer, and ExchangeNotAvailable for an order that rests.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from holdfast.contracts.codes import Code
from holdfast.venues.port import OutcomeKind

FUNDS, SMALL, REFUSED = Code.INSUFFICIENT_FUNDS, Code.BELOW_MINIMUM, Code.VENUE_REJECTED

_BINANCE: Mapping[str, Code] = {
    "-1013": SMALL,
    **dict.fromkeys((f"-1013 Filter failure: {name}" for name in ("MAX_NUM_ORDERS", "MAX_NUM_ALGO_ORDERS", "EXCHANGE_MAX_NUM_ORDERS",
                                                                 "EXCHANGE_MAX_NUM_ALGO_ORDERS")), REFUSED),
    # the request was malformed, late, unsigned, or not allowed: refused at the door
    **dict.fromkeys(("-1014", "-1015", "-1021", "-1022", "-1100", "-1101", "-1102", "-1103", "-1104", "-1105", "-1106"), REFUSED),
    **dict.fromkeys(("-1111", "-1114", "-1115", "-1116", "-1117", "-1121", "-1128", "-1130", "-1136", "-2014", "-2015"), REFUSED),
    # -2010 says that a new order was rejected, and only its text says why; "Duplicate order sent." is no proof
    "-2010 Account has insufficient balance for requested action.": FUNDS,
    "-2010 Order would immediately match and take.": Code.POST_ONLY_WOULD_TAKE,
    "-2010 Stop price would trigger immediately.": Code.WOULD_TRIGGER,
    **dict.fromkeys(
        ("-2010 Market is closed.", "-2010 This action is disabled on this account."), REFUSED
    ),
}  # fmt: skip
_FUTURES: Mapping[str, Code] = {
    **_BINANCE,
    **dict.fromkeys(("-2018", "-2019"), FUNDS),
    **dict.fromkeys(("-4003", "-4004", "-4164"), SMALL),
    "-5022": Code.POST_ONLY_WOULD_TAKE,
    "-5021": Code.UNFILLED,
    "-2021": Code.WOULD_TRIGGER,
    # the order breaks a rule of the instrument or of the account
    **dict.fromkeys(("-5028", "-2020", "-2022", "-2024", "-2025", "-2026", "-2027", "-2028"), REFUSED),
    **dict.fromkeys(("-4001", "-4002", "-4005", "-4006", "-4007", "-4013", "-4014", "-4015", "-4016", "-4023", "-4024", "-4045"), REFUSED),
    **dict.fromkeys(("-4061", "-4109", "-4112", "-4118", "-4131", "-4136", "-4120", "-4138", "-4140", "-4183", "-4184"), REFUSED),
}  # fmt: skip
"""Codes of Binance that are documented as refusals before matching. Not here, so UNKNOWN: -1000, -1001, -1006, -1007, -1008
(sent, and nobody knows), -4116 (an order of this id is open: it may be this one), and whatever is new. On spot -2021 and -2022
are about half a cancel-replace, and prove nothing of it."""
_KRAKEN: Mapping[str, Code] = {
    "EOrder:Insufficient funds": FUNDS,
    **dict.fromkeys(("EOrder:Order minimum not met", "EOrder:Cost minimum not met", "EGeneral:Invalid arguments:volume minimum not met"), SMALL),
    "EOrder:Post only order": Code.POST_ONLY_WOULD_TAKE,
    # refused at the door
    **dict.fromkeys(("EAPI:Invalid key", "EAPI:Invalid signature", "EAPI:Invalid nonce", "EAPI:Rate limit exceeded", "EAPI:Bad request"), REFUSED),
    **dict.fromkeys(("EGeneral:Permission denied", "EGeneral:Temporary lockout", "EGeneral:Too many requests", "EGeneral:Unknown method"), REFUSED),
    **dict.fromkeys(("EQuery:Unknown asset pair", "EQuery:Invalid asset pair", "EOrder:Rate limit exceeded", "EOrder:Trading agreement required"), REFUSED),
    # the order breaks a rule, or came too late for its own deadline
    **dict.fromkeys(("EOrder:Invalid price", "EOrder:Tick size check failed", "EOrder:Orders limit exceeded", "EOrder:Positions limit exceeded"), REFUSED),
    **dict.fromkeys(("EService:Deadline elapsed", "EService:Market in cancel_only mode", "EService:Market in post_only mode"), REFUSED),
    **dict.fromkeys(
        (f"EGeneral:Invalid arguments:{name}" for name in ("volume", "price", "price2", "pair", "type", "ordertype", "timeinforce", "oflags",
                                                           "cl_ord_id", "userref", "deadline", "leverage", "reduce_only")), REFUSED,
    ),
}  # fmt: skip
"""Errors of Kraken. Not here, so UNKNOWN: EService:Unavailable, EService:Busy, EService:Timeout, EGeneral:Internal error, one about a
client order id that is taken, and whatever is new."""

REFUSALS: Mapping[str, Mapping[str, Code]] = {"binanceusdm": _FUTURES, "binance": _BINANCE, "kraken": _KRAKEN}
"""By exchange: the code, or the code and the text where only both together say it."""
LIMITED: Mapping[str, frozenset[int]] = {
    "binanceusdm": frozenset({418, 429}),
    "binance": frozenset({418, 429}),
}
"""HTTP statuses with which an exchange turns a request away before it looks at it, by its documents."""

_CODE = re.compile(r'"code":\s*"?(-?\d+)')
_TEXT = re.compile(r'"msg":\s*"([^"]*)"')
_ERRORS = re.compile(r'"error":\s*\["([^"]*)"\]')
"""Kraken's list, with one error in it: of several nobody knows which one was about the order."""
_STATUS = re.compile(r"^\w+ (\d{3}) ")
_SIGNED = re.compile(r"(?i)((?:signature|sign|apikey|api_key|token|listenkey)=)[^&\s\"']+")


@dataclass(slots=True)
class Attempt:
    """How far one send has come: *on_wire* is set right before the request is handed to the socket, the rest by its answer."""

    on_wire: bool = False
    too_late: bool = False
    status: int | None = None
    """HTTP status of the answer, once there was one."""
    answer: str = ""
    """The answer's text."""


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
    found = _refusal(exchange, attempt.answer or str(error))
    if found is not None:
        return Verdict(OutcomeKind.REJECTED, reason, found)
    if (attempt.status or _status(error)) in LIMITED.get(exchange, frozenset()):
        return Verdict(OutcomeKind.REJECTED, reason, REFUSED)
    return Verdict(OutcomeKind.UNKNOWN, reason)


def _refusal(exchange: str, answer: str) -> Code | None:
    """What the exchange's own words prove; None: nothing."""
    known, said = REFUSALS.get(exchange, {}), codes_of(answer)
    return next((known[one] for one in said if one in known), None)


def codes_of(answer: str) -> Sequence[str]:
    """The exchange's own code in an answer, or in an error that ccxt has made of one: with its text, then alone."""
    found, listed = _CODE.search(answer), _ERRORS.search(answer)
    if found is not None:
        text = _TEXT.search(answer)
        return (f"{found[1]} {text[1]}", found[1]) if text else (found[1],)
    return () if listed is None else (listed[1],)


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
