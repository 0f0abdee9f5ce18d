"""What of the settings the executor's decisions depend on, for the accounts that it serves."""

from collections.abc import Mapping

from holdfast.domain.limits import Limits
from holdfast.domain.precheck import Terms
from holdfast.domain.protecting import ProtectTerms
from holdfast.runtime.limit_settings import portfolio_of
from holdfast.runtime.live_settings import AccountSettings, live_accounts
from holdfast.runtime.settings import Settings
from holdfast.venues.dead_man import switches_of
from holdfast.venues.protect import terms_of as protect_terms


def terms_of(settings: Settings) -> Terms:
    """What of the settings the pre-check depends on."""
    return Terms(
        limits=Limits.of(settings.limits),
        own_limits=portfolio_of(settings).limits,
        send_within_ms=settings.executor.send_within_ms,
        max_tick_age_ms=int(settings.executor.max_tick_age_s * 1000),
        spot_short=settings.paper.spot_short,
        hedging=settings.hedging.allow,
        hedged=frozenset(settings.hedging.symbols),
    )


def live_of(settings: Settings) -> dict[str, AccountSettings]:
    """The live ones of its accounts."""
    served = settings.served()
    return {name: one for name, one in live_accounts(settings).items() if name in served}


def switches(settings: Settings) -> Mapping[str, int]:
    """Those of them that have a dead man's switch, and after how many ms."""
    mine = live_of(settings)
    return {name: ms for name, ms in switches_of(settings).items() if name in mine}


def stops_of(settings: Settings) -> Mapping[str, ProtectTerms | None]:
    """How their stops rest at the venue; None: none is to rest there."""
    mine = live_of(settings)
    return {name: terms for name, terms in protect_terms(settings).items() if name in mine}
