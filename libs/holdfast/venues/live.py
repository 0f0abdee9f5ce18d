"""A live account from its settings: what can be refused without the exchange, then with it, before anything is sent.

`preflight` needs no connection, and `holdfast up` asks it, too. `check` asks the exchange whether it is as the settings say:
clocks, what the key may do, position mode, instruments, leverage. Each refusal names the setting.
"""

import logging
from collections.abc import Collection
from decimal import Decimal

from holdfast.contracts.codes import Kind
from holdfast.domain.instruments import canonical_or
from holdfast.runtime.clock import Clock
from holdfast.runtime.faults import EXIT_CONFIG, Terminal
from holdfast.runtime.live_settings import AccountSettings, live_accounts, secrets_of
from holdfast.runtime.settings import Settings
from holdfast.venues.capabilities import CAPABILITIES, refusal
from holdfast.venues.ccxt_client import Clients, Credentials
from holdfast.venues.ccxt_venue import CcxtVenue
from holdfast.venues.dead_man import refusal_of_switch
from holdfast.venues.port import VenueUnreadable
from holdfast.venues.protect import refusal_of_protect

log = logging.getLogger("holdfast.venue")
MOST_SKEW_MS = 1_000
TIMEOUT_MS = 10_000


def preflight(settings: Settings, names: Collection[str] | None = None) -> None:
    """Raises Terminal (78) for a live account that may not trade at its exchange, or whose secrets cannot be read. *names*: only those."""
    for name, one in live_accounts(settings).items():
        if names is not None and name not in names:
            continue
        why = refusal(one.exchange, unsafe=one.unsafe_venue)
        if why is not None:
            raise Terminal(f"[account.{name}] exchange: {why}", EXIT_CONFIG)
        if CAPABILITIES[one.exchange].kind is Kind.SPOT and one.leverage is not None:
            raise Terminal(f"[account.{name}] leverage: {one.exchange} is spot, it has none", EXIT_CONFIG)
        if CAPABILITIES[one.exchange].kind is Kind.SPOT:
            _check_coins(name, one)
            for setting in ("adopt", "flatten"):
                if getattr(one, setting):
                    why = f"[account.{name}] {setting}: {one.exchange} is spot, where the coins of others are never touched"
                    raise Terminal(why, EXIT_CONFIG)
        if (why := refusal_of_protect(name, one) or refusal_of_switch(name, one)) is not None:
            raise Terminal(why, EXIT_CONFIG)
        secrets_of(name, one)


def _check_coins(name: str, one: AccountSettings) -> None:
    """A coin that is bought as a position cannot be what another position is paid with. Raises Terminal."""
    parts = [symbol.partition("/") for symbol in map(canonical_or, one.symbols)]
    both = sorted({base for base, _, _ in parts} & {quote for _, _, quote in parts})
    if both:
        raise Terminal(
            f"[account.{name}] symbols: {', '.join(both)} would be held as a position and paid with, in one account on spot", EXIT_CONFIG
        )  # fmt: skip


async def open_live(settings: Settings, name: str, clock: Clock) -> CcxtVenue:
    """The venue of the live account *name*, checked. Raises Terminal, and VenueUnreadable when the exchange does not answer."""
    preflight(settings, [name])
    one = settings.account[name]
    venue = await connect(settings, name, clock)
    try:
        await check(venue, one)
        venue.follow()
    except BaseException:
        await venue.close()
        raise
    return venue


def _hedged(settings: Settings, name: str) -> bool:
    """Whether the account is meant to be in hedge mode. It is one for all symbols of an account. Raises Terminal where it is not."""
    symbols = settings.account[name].symbols
    hedged = [one for one in symbols if settings.hedging.allow or one in settings.hedging.symbols]
    if hedged and len(hedged) < len(symbols):
        raise Terminal(
            f"hedging.symbols: an exchange has one position mode for a whole account; of [account.{name}] symbols only {', '.join(hedged)} are hedged",
            EXIT_CONFIG,
        )
    return bool(hedged)


async def connect(settings: Settings, name: str, clock: Clock) -> CcxtVenue:
    """The same, to read from: instruments are known, nothing is checked but the clock, and nothing was changed there."""
    one = settings.account[name]
    key, secret, password = secrets_of(name, one)
    hedged = _hedged(settings, name)
    why = refusal(one.exchange, unsafe=one.unsafe_venue)
    if why is not None:
        raise Terminal(f"[account.{name}] exchange: {why}", EXIT_CONFIG)
    capability = CAPABILITIES[one.exchange]
    clients = Clients(
        capability,
        Credentials(key, secret, password, one.url),
        clock,
        timeout_ms=max(TIMEOUT_MS, one.answer_ms),
    )
    venue = CcxtVenue(
        name, capability, clients, clock, symbols=one.symbols, answer_ms=one.answer_ms, hedged=hedged
    )
    try:
        await check_clock(venue, clock)
        await venue.open()
    except BaseException:
        await venue.close()
        raise
    return venue


async def check_clock(venue: CcxtVenue, clock: Clock) -> None:
    """First, because a request of another time is refused whatever it asks. Raises Terminal (78), VenueUnreadable."""
    skew = await venue.server_time() - clock.wall_ms()
    if abs(skew) > MOST_SKEW_MS:
        raise Terminal(
            f"[account.{venue.account}] the clock of this machine and that of {venue.exchange} differ by {skew} ms, at most {MOST_SKEW_MS} are allowed: "
            "expiry and signatures depend on it; set up NTP",
            EXIT_CONFIG,
        )


async def check(venue: CcxtVenue, one: AccountSettings) -> None:
    """Raises Terminal (78) where the exchange is not as *one* says, and VenueUnreadable where it does not answer."""
    section = f"[account.{venue.account}]"
    missing = [symbol for symbol in one.symbols if venue.rules(symbol) is None]
    if missing:
        raise Terminal(f"{section} symbols: {one.exchange} does not trade {', '.join(missing)}", EXIT_CONFIG)
    if await venue.can_withdraw():
        raise Terminal(
            f"{section} key_file: this key may withdraw; make one that may only read and trade", EXIT_CONFIG
        )
    hedged = await venue.is_hedged()
    if hedged is not None and hedged is not venue.hedged:
        theirs, ours = ("hedge", "one-way") if hedged else ("one-way", "hedge")
        raise Terminal(
            f"hedging.symbols: {section} is in {theirs} mode at {one.exchange}, and these settings mean {ours} mode", EXIT_CONFIG
        )  # fmt: skip
    if one.leverage is not None:
        for symbol in one.symbols:
            await venue.set_leverage(symbol, one.leverage)
    free = (await venue.balances()).get("USDT", (Decimal(0), Decimal(0)))[0]
    log.warning("LIVE: account %s trades real money at %s; %s USDT free", venue.account, one.exchange, free)


__all__ = ["VenueUnreadable", "check", "open_live", "preflight"]
