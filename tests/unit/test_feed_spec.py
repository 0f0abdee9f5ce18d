"""What people may write as a feed, and what they are told when it is none."""

from decimal import Decimal
from pathlib import Path

import pytest

from services.market_feed.spec import (
    BadSpec,
    CcxtSpec,
    ReplayFile,
    ReplaySpec,
    SyntheticSpec,
    guess_symbol,
    parse,
)


def test_a_file_alone_is_a_minute_of_market_a_second():
    expected = ReplaySpec((ReplayFile(Path("data/binance_btcusdt_1h.csv"), "BTC/USDT"),), Decimal(60))
    assert expected == parse("replay:data/binance_btcusdt_1h.csv")


def test_several_files_share_speed_and_keep_their_symbols():
    spec = parse(
        "replay:A.csv?symbol=BTC/USDT:USDT,B.csv?symbol=ETHUSDT&speed=600&spread_pct=0,replay:xrpeth.csv"
    )
    assert spec == ReplaySpec(
        (
            ReplayFile(Path("A.csv"), "BTC/USDT"),
            ReplayFile(Path("B.csv"), "ETH/USDT", Decimal(0)),
            ReplayFile(Path("xrpeth.csv"), "XRP/ETH"),
        ),
        Decimal(600),
    )


def test_max_loop_and_escaped_names():
    assert ReplaySpec((ReplayFile(Path("a,b?.csv"), "BTC/USDT"),), None, loop=True) == parse(
        "replay:a%2Cb%3F.csv?symbol=BTC-USDT&speed=max&loop=yes"
    )


def test_synthetic():
    assert SyntheticSpec() == parse("synthetic")
    assert SyntheticSpec(("BTC/USDT", "SOL/USDC"), 7, Decimal("0.5"), Decimal(0), 100) == parse(
        "synthetic?seed=7&symbols=BTC/USDT,SOL/USDC&volatility=0.5&jump=0&interval_ms=100"
    )


def test_an_exchange_keeps_its_own_names_of_symbols():
    assert CcxtSpec("binance") == parse("ccxt:binance")
    assert CcxtSpec("bybit", ("BTC/USDT:USDT", "ETH/USDT")) == parse(
        "ccxt:bybit?symbols=BTC/USDT:USDT,ETH/USDT"
    )


@pytest.mark.parametrize(
    ("name", "symbol"),
    [
        ("btc_perp_1m_2021-12-31_2022-02-01.csv", "BTC/USDT"),
        ("binance_btcusdt_quotes_2021-01-08_46s.csv", "BTC/USDT"),
        ("binance_xrpeth_trades_2019-10-11_13.csv", "XRP/ETH"),
        ("binance_xrpusdt_perp_5m.csv", "XRP/USDT"),
        ("lean_crypto_binance_btcbusd_1m_2022-12-13.csv", "BTC/BUSD"),
        ("lean_cryptofuture_binance_btcusd_1m.csv", "BTC/USD"),
        ("eth-btc.csv", "ETH/BTC"),
        ("BTCUSDT-1m-2022-01.csv", "BTC/USDT"),
        ("prices.csv", None),
        ("btcusdt_and_ethusdt.csv", None),
        ("usdt.csv", None),
    ],
)
def test_a_name_that_tells_its_symbol(name, symbol):
    assert symbol == guess_symbol(name)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "is no feed"),
        ("replay", "is no feed"),
        ("replay:", "is no feed"),
        ("synthetic:x", "is no feed"),
        ("random", "write replay:FILE, synthetic, or ccxt:EXCHANGE"),
        ("replay:a_btcusdt.csv,", "file name is missing"),
        ("replay:prices.csv", r"which symbol is it.*prices.csv\?symbol="),
        ("replay:a.csv?symbol=BTC/BTC", "base and quote are the same"),
        ("replay:btcusdt.csv?sped=3", 'no option "sped"; known here: symbol, spread_pct, speed, loop'),
        ("replay:btcusdt.csv?speed=0", "would never play"),
        ("replay:btcusdt.csv?speed=fast", "speed"),
        ("replay:btcusdt.csv?speed=-1", "not between"),
        ("replay:btcusdt.csv?speed=1,ethusdt.csv?speed=2", "given twice"),
        ("replay:btcusdt.csv?speed=1&speed=1", "given twice"),
        ("replay:btcusdt.csv?speed", "a value is missing"),
        ("replay:btcusdt.csv?loop=1", "yes or no"),
        ("replay:btcusdt.csv?spread_pct=50", "not between 0 and 10"),
        ("synthetic?seed=x", "no whole number"),
        ("synthetic?interval_ms=1", "at least 10"),
        ("synthetic?symbols=BTC/USDT,BTCUSDT", "name each once"),
        ("synthetic?volatility=nan", "volatility"),
        ("ccxt:Bin ance", "no exchange's name"),
        ("ccxt:binance?symbols=,", "name each once"),
        ("ccxt:binance?symbols=BTC/USDT,BTC/USDT:USDT", "name each once"),
    ],
)
def test_what_is_wrong_is_said(text, complaint):
    with pytest.raises(BadSpec, match=complaint):
        parse(text)
