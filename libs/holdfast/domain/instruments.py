"""Names of instruments: one instrument has many, one canonical symbol, one book.

An account at an exchange trades one kind of market, so `BTCUSDT`, `BTC-USDT`, `btc/usdt` and `BTC/USDT:USDT` are one
symbol, `BTC/USDT`, which is the key of its book. The *kind* is a second question, answered by the first that speaks:
the symbol's own override, the market setting, and last (market `auto`) the suffix: none is spot, `:QUOTE` is linear,
`:BASE` is inverse.

A name without a separator is split at the longest known quote currency. Where one letter could belong to either half
(`DOTUSD`: DOT/USD or DO/TUSD?) a well-known base decides, and otherwise the name is refused: a guess would be a book
of its own beside the right one. Reading a name is cached; overrides are applied afterwards, so they may change.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Literal, NamedTuple, Protocol

from holdfast.contracts.base import ContractViolation
from holdfast.contracts.codes import Kind
from holdfast.contracts.messages import Tick
from holdfast.contracts.money import ONE, ZERO

Market = Literal["auto", "spot", "linear", "inverse"]

MAX_LENGTH = 40
STEP = Decimal("0.00000001")
"""Quantities and prices are multiples of this, where no override says otherwise."""

QUOTES = (
    *(
        "FDUSD",
        "USDT",
        "USDC",
        "BUSD",
        "TUSD",
        "USDE",
        "USDP",
        "USD1",
        "DAI",
        "USD",
        "EUR",
        "GBP",
        "TRY",
        "BRL",
    ),
    *(
        "JPY",
        "AUD",
        "CHF",
        "CAD",
        "KRW",
        "INR",
        "PLN",
        "UAH",
        "ZAR",
        "MXN",
        "ARS",
        "BTC",
        "ETH",
        "BNB",
        "SOL",
        "TRX",
    ),
)
"""Quote currencies by which a name without a separator is split; the longest wins."""

_BY_LENGTH = tuple(sorted(QUOTES, key=len, reverse=True))
_ONE_LETTER_MORE = {"TUSD": "USD", "BUSD": "USD"}
_WELL_KNOWN = frozenset(
    {
        *(
            "BTC",
            "ETH",
            "BNB",
            "SOL",
            "XRP",
            "ADA",
            "DOGE",
            "DOT",
            "TRX",
            "LTC",
            "LINK",
            "AVAX",
            "BCH",
            "XLM",
        ),
        *(
            "ATOM",
            "ETC",
            "FIL",
            "NEAR",
            "APT",
            "SHIB",
            "ARB",
            "BAT",
            "GRT",
            "FET",
            "QNT",
            "ANT",
            "ONT",
            "UNI",
        ),
        *("AAVE", "MATIC", "POL", "ALGO", "SUI", "TON", "PEPE", "INJ", "XMR", "EOS", "USDT", "USDC"),
    }
)
"""Bases that settle whether the T of `DOTUSD` is DOT's or TUSD's."""

_NO_QUOTES = frozenset({"PERP", "SWAP", "SPOT", "FUT", "FUTURES"})
_SHAPE = re.compile(
    r"(?P<base>[A-Z0-9]{1,30})(?:[/_-](?P<quote>[A-Z][A-Z0-9]{1,9}))?(?::(?P<settle>[A-Z0-9]{1,30}))?"
)


class Name(NamedTuple):
    """A name, read. *settle* is what stood behind the colon, if anything did."""

    symbol: str
    base: str
    quote: str
    settle: str | None


class Override(Protocol):
    """What the settings say about one symbol (`runtime.settings.InstrumentSettings` is one)."""

    @property
    def kind(self) -> Kind | None: ...
    @property
    def contract_size(self) -> Decimal: ...
    @property
    def quantity_step(self) -> Decimal: ...
    @property
    def price_step(self) -> Decimal: ...
    @property
    def min_quantity(self) -> Decimal: ...
    @property
    def min_notional(self) -> Decimal: ...


@dataclass(frozen=True, slots=True)
class Instrument:
    """What is traded under a canonical symbol. Amounts as in the settings; `settle` is the currency of profit and loss."""

    symbol: str
    kind: Kind
    base: str
    quote: str
    settle: str
    contract_size: Decimal = ONE
    quantity_step: Decimal = STEP
    price_step: Decimal = STEP
    min_quantity: Decimal = ZERO
    min_notional: Decimal = ZERO
    taker_fee_pct: Decimal | None = None
    """As the exchange says, in percent of the value; None: `paper.fee_pct`."""


def resolve(
    text: str, *, market: Market = "auto", overrides: Mapping[str, Override] | None = None
) -> Instrument:
    """The instrument that *text* names. Raises ContractViolation("symbol", ...) for what cannot be one.

    Overrides may be keyed by any name of the symbol.
    """
    name = parse(text)
    override = override_of(name.symbol, overrides) if overrides else None
    kind = _kind(name, market, override)
    settle = name.base if kind is Kind.INVERSE else name.quote
    if override is None:
        return Instrument(name.symbol, kind, name.base, name.quote, settle)
    return Instrument(
        symbol=name.symbol,
        kind=kind,
        base=name.base,
        quote=name.quote,
        settle=settle,
        contract_size=override.contract_size,
        quantity_step=override.quantity_step,
        price_step=override.price_step,
        min_quantity=override.min_quantity,
        min_notional=override.min_notional,
    )


def canonical(text: str) -> str:
    """`BASE/QUOTE`, the one name of the book. Raises ContractViolation("symbol", ...)."""
    return parse(text).symbol


def canonical_or(text: str) -> str:
    """The canonical symbol; a name that means nothing stays as it is."""
    try:
        return canonical(text)
    except ContractViolation:
        return text


def tick_of_book(tick: Tick) -> Tick | None:
    """*tick* under the name of the book it prices; None when its symbol names nothing that can be held."""
    try:
        symbol = canonical(tick.symbol)
    except ContractViolation:
        return None
    return tick if symbol == tick.symbol else tick.evolve(symbol=symbol)


def fold(text: str) -> str:
    """A key that all names of one symbol share, for texts of any origin: letters and digits, no separator, no suffix.

    Never refuses and never guesses a split, so it may at worst take two names for one (`DOT/USD`, `DO/TUSD`), never
    one for two. What does not look like a pair (a dated contract, a ticker) is only upper-cased.
    """
    upper = text.upper()
    match = _SHAPE.fullmatch(upper)
    return match["base"] + (match["quote"] or "") if match else upper


@lru_cache(maxsize=16_384)
def parse(text: str) -> Name:
    """Split a name in its parts. Raises ContractViolation("symbol", ...) with a sentence that says what is wrong."""
    match = _SHAPE.fullmatch(_readable(text))
    if match is None:
        raise _wrong(
            text, "is not BASE/QUOTE or BASE/QUOTE:SETTLE, like BTC/USDT (dated contracts are not traded)"
        )
    base, quote, settle = match["base"], match["quote"], match["settle"]
    if quote is None:
        base, quote = _split(base, text)
    if quote in _NO_QUOTES:
        raise _wrong(
            text, f"{quote} is not a currency; write a perpetual as BASE/QUOTE:SETTLE, like BTC/USDT:USDT"
        )
    if base == quote:
        raise _wrong(text, "base and quote are the same")
    if settle not in (None, base, quote):
        raise _wrong(text, f"settles in its quote ({quote}) or its base ({base}), not in {settle}")
    return Name(f"{base}/{quote}", base, quote, settle)


def override_of(symbol: str, overrides: Mapping[str, Override]) -> Override | None:
    """The override of a canonical symbol, whichever of its names it is keyed by."""
    found = overrides.get(symbol)
    if found is not None:
        return found
    return next((override for name, override in overrides.items() if canonical(name) == symbol), None)


def _kind(name: Name, market: Market, override: Override | None) -> Kind:
    if override is not None and override.kind is not None:
        return override.kind
    if market != "auto":
        return Kind(market)
    if name.settle is None:
        return Kind.SPOT
    return Kind.LINEAR if name.settle == name.quote else Kind.INVERSE


def _readable(text: str) -> str:
    if not isinstance(text, str):
        raise ContractViolation("symbol", "must be a text, like BTC/USDT")
    if not text:
        raise ContractViolation("symbol", "is empty; write it like BTC/USDT")
    if len(text) > MAX_LENGTH:
        raise ContractViolation("symbol", f"has {len(text)} characters; at most {MAX_LENGTH} are read")
    if not text.isascii():
        raise _wrong(text, "only letters A-Z, digits and one separator (/ - _) are read")
    return text.upper()


def _split(name: str, text: str) -> tuple[str, str]:
    """Base and quote of a name without a separator."""
    if name in QUOTES:
        raise _wrong(text, "is one currency, not a pair; write it like BTC/USDT")
    quote = next((quote for quote in _BY_LENGTH if name.endswith(quote)), None)
    if quote is None:
        raise _wrong(text, "has no separator and ends in no known quote currency; write it like BTC/USDT")
    base, shorter = name.removesuffix(quote), _ONE_LETTER_MORE.get(quote)
    if shorter is None or base in _WELL_KNOWN:
        return base, quote
    longer_base = name.removesuffix(shorter)
    if longer_base in _WELL_KNOWN:
        return longer_base, shorter
    raise _wrong(text, f"could be {base}/{quote} or {longer_base}/{shorter}; write it with a separator")


def _wrong(text: str, why: str) -> ContractViolation:
    return ContractViolation("symbol", f"{text!a}: {why}")
