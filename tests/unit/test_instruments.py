"""Names of instruments: many names, one canonical symbol, and the kind by override, market, suffix."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.contracts.base import ContractViolation
from holdfast.contracts.codes import Kind
from holdfast.domain.instruments import QUOTES, Instrument, canonical, fold, parse, resolve
from holdfast.runtime.settings import InstrumentSettings


@pytest.mark.parametrize(
    "text",
    [
        "BTCUSDT",
        "btcusdt",
        "BTC/USDT",
        "BTC-USDT",
        "btc_usdt",
        "BTC/USDT:USDT",
        "BTCUSDT:USDT",
        "Btc-Usdt:btc",
    ],
)
def test_all_names_of_one_symbol_have_one_book(text: str) -> None:
    assert canonical(text) == "BTC/USDT"
    assert resolve(text, market="linear").symbol == "BTC/USDT"


@pytest.mark.parametrize(
    ("text", "symbol"),
    [
        ("ETHBTC", "ETH/BTC"),
        ("1000PEPEUSDT", "1000PEPE/USDT"),
        ("1INCHUSDC", "1INCH/USDC"),
        ("BTCFDUSD", "BTC/FDUSD"),
        ("BTCUSD", "BTC/USD"),
        ("BTCTUSD", "BTC/TUSD"),
        ("DOTUSD", "DOT/USD"),
        ("BNBUSD", "BNB/USD"),
        ("SHIBUSD", "SHIB/USD"),
        ("BNBBUSD", "BNB/BUSD"),
        ("USDTUSD", "USDT/USD"),
        ("USDCUSDT", "USDC/USDT"),
        ("EURUSD", "EUR/USD"),
        ("XBT/EUR", "XBT/EUR"),
        ("FOO/BAR", "FOO/BAR"),
    ],
)
def test_names_are_split_at_the_quote(text: str, symbol: str) -> None:
    assert canonical(text) == symbol


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is empty"),
        ("X" * 41, "has 41 characters; at most 40 are read"),
        ("BTC/USDT\n", "is not BASE/QUOTE"),
        ("BTC\x00USDT", "is not BASE/QUOTE"),
        (" BTC/USDT", "is not BASE/QUOTE"),
        ("BTC//USDT", "is not BASE/QUOTE"),
        ("BTC/USDT/USDT", "is not BASE/QUOTE"),
        ("/USDT", "is not BASE/QUOTE"),
        ("BTC/", "is not BASE/QUOTE"),
        ("BTC/USDT:", "is not BASE/QUOTE"),
        ("<script>alert(1)</script>", "is not BASE/QUOTE"),
        ("../../etc/passwd", "is not BASE/QUOTE"),
        ("BTC/USDT:USDT-261225", "dated contracts are not traded"),
        ("BTCUSDT_261225", "is not BASE/QUOTE"),
        ("BTC-USDT-SWAP", "is not BASE/QUOTE"),
        ("BTC-PERP", "PERP is not a currency"),
        ("BTC/BTC", "base and quote are the same"),
        ("BTC/USDT:ETH", "settles in its quote (USDT) or its base (BTC), not in ETH"),
        ("USDT", "is one currency, not a pair"),
        ("AAPL", "ends in no known quote currency"),
        ("FOOTUSD", "could be FOO/TUSD or FOOT/USD"),
        ("ВТС/USDT", "only letters A-Z"),
        ("ßTC/USDT", "only letters A-Z"),
        ("BTC/USDT٣", "only letters A-Z"),
    ],
)
def test_what_cannot_be_a_symbol_is_refused_with_a_sentence(text: str, why: str) -> None:
    with pytest.raises(ContractViolation) as caught:
        canonical(text)
    assert caught.value.field == "symbol"
    assert why in caught.value.text
    assert caught.value.text.isprintable()
    assert caught.value.text.isascii()


def test_something_else_than_text_is_refused() -> None:
    with pytest.raises(ContractViolation, match="must be a text"):
        canonical(17)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "market", "kind", "settle"),
    [
        ("BTC/USDT", "auto", Kind.SPOT, "USDT"),
        ("BTCUSDT", "auto", Kind.SPOT, "USDT"),
        ("BTC/USDT:USDT", "auto", Kind.LINEAR, "USDT"),
        ("BTC/USD:BTC", "auto", Kind.INVERSE, "BTC"),
        ("BTC/USDT", "linear", Kind.LINEAR, "USDT"),
        ("BTC/USDT:USDT", "spot", Kind.SPOT, "USDT"),
        ("BTCUSD", "inverse", Kind.INVERSE, "BTC"),
        ("BTC/USD:BTC", "linear", Kind.LINEAR, "USD"),
    ],
)
def test_the_market_decides_before_the_suffix(text: str, market: str, kind: Kind, settle: str) -> None:
    instrument = resolve(text, market=market)  # type: ignore[arg-type]
    assert (instrument.kind, instrument.settle) == (kind, settle)


def test_without_an_override_the_defaults_are_those_of_the_settings() -> None:
    plain, defaults = resolve("BTCUSDT"), InstrumentSettings()
    assert plain == Instrument("BTC/USDT", Kind.SPOT, "BTC", "USDT", "USDT")
    for field in ("contract_size", "quantity_step", "price_step", "min_quantity", "min_notional"):
        assert getattr(plain, field) == getattr(defaults, field)


@pytest.mark.parametrize("key", ["BTC/USD", "BTCUSD", "btc-usd", "BTC/USD:BTC"])
def test_an_override_speaks_first_whatever_name_it_has(key: str) -> None:
    override = InstrumentSettings(
        kind=Kind.INVERSE, contract_size=Decimal(100), quantity_step=Decimal(1), min_quantity=Decimal(1)
    )
    instrument = resolve("BTC/USD", market="spot", overrides={"ETH/USD": InstrumentSettings(), key: override})
    assert instrument == Instrument(
        symbol="BTC/USD",
        kind=Kind.INVERSE,
        base="BTC",
        quote="USD",
        settle="BTC",
        contract_size=Decimal(100),
        quantity_step=Decimal(1),
        min_quantity=Decimal(1),
    )


def test_an_override_without_a_kind_leaves_it_to_the_market() -> None:
    overrides = {"BTC/USDT": InstrumentSettings(min_notional=Decimal(5))}
    instrument = resolve("BTC/USDT:USDT", overrides=overrides)
    assert (instrument.kind, instrument.min_notional) == (Kind.LINEAR, Decimal(5))
    assert resolve("ETH/USDT", overrides=overrides).min_notional == 0


def test_reading_a_name_again_is_a_look_up() -> None:
    assert parse("BTC/USDT:USDT") is parse("BTC/USDT:USDT")


codes = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", min_size=1, max_size=12)


@settings(max_examples=300, deadline=None)
@given(codes, st.sampled_from(QUOTES), st.sampled_from("/-_"), st.booleans(), st.booleans())
def test_a_separated_name_is_its_own_canonical_form(
    base: str, quote: str, separator: str, lower: bool, suffix: bool
) -> None:
    if base == quote:
        return
    text = f"{base}{separator}{quote}" + (f":{quote}" if suffix else "")
    symbol = canonical(text.lower() if lower else text)
    assert symbol == f"{base}/{quote}"
    assert canonical(symbol) == symbol
    assert fold(text) == fold(symbol) == base + quote


@settings(max_examples=500, deadline=None)
@given(st.one_of(st.text(max_size=45), st.text("BTCUSD/-_:0 ", max_size=20)))
def test_any_text_is_read_or_refused_and_never_guessed_apart(text: str) -> None:
    try:
        symbol = canonical(text)
    except ContractViolation as refused:
        said = refused
    else:
        assert canonical(symbol) == symbol
        assert fold(symbol) == fold(text), "two names of one symbol never have two keys"
        return
    assert said.field == "symbol"
    assert said.text.isprintable()
