"""Who watches a position's stop-loss in each live account: the settings, and what its exchange can do."""

from collections.abc import Mapping
from decimal import Decimal

from holdfast.contracts.codes import OrderType
from holdfast.domain.protecting import Protect, ProtectTerms
from holdfast.runtime.live_settings import AccountSettings, live_accounts
from holdfast.runtime.settings import Settings
from holdfast.venues.capabilities import CAPABILITIES


def protects(one: AccountSettings) -> Protect:
    """As set; where it is not: both, if a stop may rest at the account's exchange, else the scanner alone.

    On spot the venue comes first: an exit of the scanner's at the same price would have to take the stop away before it could sell.
    """
    if one.protect is not None:
        return Protect(one.protect)
    if not _can(one.exchange):
        return Protect.SCANNER
    return Protect.BOTH if CAPABILITIES[one.exchange].reduces else Protect.VENUE


def _can(exchange: str) -> bool:
    found = CAPABILITIES.get(exchange)
    return found is not None and found.rests_stops


def refusal_of_protect(name: str, one: AccountSettings) -> str | None:
    """Why the account cannot be protected as it says; None: it can."""
    if protects(one) is Protect.SCANNER or _can(one.exchange):
        return None
    able = ", ".join(exchange for exchange in CAPABILITIES if _can(exchange))
    return (
        f'[account.{name}] protect = "{one.protect}": no stop of a position can rest at {one.exchange} yet, only at {able}; '
        'take "scanner"'
    )


def terms_of(settings: Settings) -> Mapping[str, ProtectTerms | None]:
    """How the stops of each live account rest at its venue; None: none is to rest there."""
    return {
        name: None if protects(one) is Protect.SCANNER else _terms(one)
        for name, one in live_accounts(settings).items()
    }


def _terms(one: AccountSettings) -> ProtectTerms:
    return ProtectTerms(
        type=OrderType(one.protect_order),
        limit_pct=Decimal(one.protect_limit_pct),
        step_pct=Decimal(one.protect_step_pct),
        every_ms=int(one.protect_every_s * 1000),
        escalate_ms=int(one.escalate_after_s * 1000),
    )
