"""From an alert that somebody else's server delivers to an intent. Pure; the service that listens asks here.

The intent's id is a hash of the hook, the body and the alert's own time: a delivery that is repeated (TradingView repeats what it
took for lost) is the same intent, whoever received it, through any restart. Without a time in the body two alerts of
the same kind would be one intent, so a time must be there.
"""

import json
import re
from collections.abc import Collection, Mapping
from decimal import Decimal
from typing import Any

from pydantic import ValidationError

from holdfast.contracts.base import ContractViolation
from holdfast.contracts.messages import OrderIntent
from holdfast.contracts.money import canonical as canonical_amount
from holdfast.contracts.wire import ENTRY_LIFETIME_MS, digest
from holdfast.domain.instruments import canonical

MOST_BYTES = 4096
SECRET = "secret"  # noqa: S105 - the field that holds it
FIELDS = frozenset({
    "action", "symbol", "side", "quantity", "quote_amount", "nav_pct", "risk_pct", "fraction", "type", "price", "time_in_force", "post_only",
    "take_profit", "stop_loss", "ttl_s", "strategy", "account", "exchange", "reduce_only", "replaces",
})  # fmt: skip
"""What a template may say of an intent."""
_PLACE = re.compile(r"\{([A-Za-z_][A-Za-z0-9_.]{0,63})\}")
_CLOSE = frozenset({"symbol", "account", "exchange", "strategy"})


def template_problem(template: Mapping[str, str]) -> str | None:
    """What is wrong with a template as it is configured; None when nothing is."""
    unknown = sorted(set(template) - FIELDS)
    if unknown:
        return f"an intent has no {unknown[0]} that a hook may set; it may set {', '.join(sorted(FIELDS))}"
    return None if template.get("symbol") else "symbol is required"


def places_of(template: Mapping[str, str]) -> list[str]:
    """Fields of the alert that *template* uses."""
    return [name for text in template.values() for name in _PLACE.findall(text)]


def read(body: bytes) -> dict[str, Any]:
    """The delivered JSON object, numbers with all their digits. Raises ContractViolation."""
    try:
        document = json.loads(body, parse_float=Decimal, parse_int=Decimal, parse_constant=_refuse)
        json.dumps(document, default=str, ensure_ascii=False).encode()  # half of a surrogate pair is no text
    except (ValueError, RecursionError):
        raise ContractViolation("body", "a JSON object is expected") from None
    if not isinstance(document, dict):
        raise ContractViolation("body", "a JSON object is expected")
    return document


def _refuse(word: str) -> Any:
    raise ValueError(word)


def intent_id(hook: str, body: bytes, alert_ms: int) -> str:
    """The same for the same delivery, for ever."""
    return f"hook-{hook}-{digest(hook, body, str(alert_ms))}"


def intent_of(
    document: Mapping[str, Any],
    *,
    key: str,
    template: Mapping[str, str],
    close_when: Mapping[str, str],
    symbols: Collection[str],
    now_ms: int,
) -> OrderIntent:
    """The intent that an alert means. Raises ContractViolation, which names the field; nothing of the secret is in it."""
    closes = bool(close_when) and all(
        _shown(document.get(name)) == value for name, value in close_when.items()
    )
    fields = {name: text for name, text in template.items() if not closes or name in _CLOSE}
    wanted = {name: value for name, text in fields.items() if (value := _filled_in(name, text, document))}
    if closes:
        wanted |= {"action": "close", "reason": "signal"}
    symbol = canonical(wanted.get("symbol", ""))
    if symbol not in symbols:
        raise ContractViolation("symbol", f"{symbol} is not on this hook's list")
    if wanted.get("price") and "type" not in wanted:
        wanted["type"] = "limit"
    try:
        intent = OrderIntent.model_validate({"id": key, "at": now_ms, "correlation_id": key, **wanted})
    except ValidationError as error:
        raise ContractViolation.of(error) from None
    if intent.reduces or intent.action != "open":
        return intent
    return intent.evolve(expires_at=now_ms + ENTRY_LIFETIME_MS)


def _filled_in(name: str, text: str, document: Mapping[str, Any]) -> str:
    """*text* with the delivered values in their places; empty when a lone place has nothing, which leaves the field out."""
    lone = _PLACE.fullmatch(text)
    if lone is not None and lone[1] in document and document[lone[1]] is None:
        return ""

    def value(match: re.Match[str]) -> str:
        if match[1] == SECRET or match[1] not in document:
            raise ContractViolation(name, f"the alert has no field {match[1]}")
        found = document[match[1]]
        if not isinstance(found, str | Decimal | bool):
            raise ContractViolation(name, f"the alert's {match[1]} is neither a text nor a number")
        return _shown(found)

    return _PLACE.sub(value, text).strip()


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return canonical_amount(value) if value.is_finite() and abs(value.adjusted()) < 40 else "?"
    return value.strip() if isinstance(value, str) else ""
