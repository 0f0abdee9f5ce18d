"""From the arguments of `buy`, `sell`, `close`, `cancel` to an intent. Pure; whatever is wrong is said before anything is sent.

Ids are NAME:KEY, so that a log and a person can read them; a key that does not fit there is hashed. The same key with another
wish is another wish under a used name: the answer is `duplicate`, and nothing is done.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError

from holdfast.client.troubles import WrongIntent
from holdfast.contracts.base import ContractViolation
from holdfast.contracts.exit_messages import Prediction
from holdfast.contracts.messages import OrderIntent
from holdfast.contracts.wire import ENTRY_LIFETIME_MS, digest

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")
_PLAIN_KEY = re.compile(r"[\x21-\x7e]{1,90}")
MOST_MS = 9_999_999_999_999


def checked_name(name: str) -> str:
    """*name*, which ids begin with. Raises WrongIntent."""
    if not _NAME.fullmatch(name):
        raise WrongIntent(f"name {name!r}: 1 to 32 of A-Z, a-z, 0-9, '.', '_' and '-' are a name")
    return name


def id_for(name: str, key: str | None, given: str | None, fresh: Callable[[], str], *, signed: bool) -> str:
    """The intent's id: *given*, else made of *key*, else a fresh one. The ids of a signer begin with its name."""
    if key is not None and given is not None:
        raise WrongIntent("give key= or id=, not both: a key becomes the id")
    if given is not None:
        return f"{name}:{given.removeprefix(f'{name}:')}" if signed else given
    if key is None:
        return f"{name}:{fresh()}"
    if not key:
        raise WrongIntent("key: an empty key names nothing; leave it out for a wish that is never repeated")
    return f"{name}:{key}" if _PLAIN_KEY.fullmatch(key) else f"{name}:~{digest(key)}"


def intent_of(
    intent_id: str, now_ms: int, name: str, fields: Mapping[str, Any], expires_in_s: float | None
) -> OrderIntent:
    """The intent that *fields* describe. Raises WrongIntent."""
    given = {key: value for key, value in fields.items() if value is not None}
    if given.get("price") is not None:
        given.setdefault("type", "limit")
    document = {"id": intent_id, "at": now_ms, "correlation_id": intent_id, "strategy": name, **given}
    try:
        wish = OrderIntent.model_validate(document)
    except ValidationError as error:
        raise WrongIntent(f"{ContractViolation.of(error)}; nothing was sent") from None
    if expires_in_s is None and (wish.reduces or wish.action != "open"):
        return wish
    lifetime = ENTRY_LIFETIME_MS if expires_in_s is None else int(expires_in_s * 1000)
    return wish.evolve(expires_at=min(MOST_MS, now_ms + lifetime))


def prediction_of(message_id: str, now_ms: int, valid_s: float, fields: Mapping[str, Any]) -> Prediction:
    """A model's view. Raises WrongIntent."""
    document = {"id": message_id, "at": now_ms, "expires_at": now_ms + int(valid_s * 1000), **fields}
    try:
        return Prediction.model_validate(document)
    except ValidationError as error:
        raise WrongIntent(f"{ContractViolation.of(error)}; nothing was sent") from None


def same_symbol(one: str, other: str) -> bool:
    """Whether two names mean one pair: BTC/USDT, BTC-USDT, btcusdt, and a contract's BTC/USDT:USDT."""
    return _squeezed(one) == _squeezed(other)


def _squeezed(name: str) -> str:
    return re.sub(r"[^A-Z0-9]", "", name.partition(":")[0].upper())
