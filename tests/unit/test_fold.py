"""`fold_lines`: a file of fills through the ledger's own arithmetic."""

import json
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.contracts.base import ContractViolation
from holdfast.contracts.money import canonical
from holdfast.domain.fold import fold_lines


def line(side: str, quantity: object, price: object, symbol: str = "BTC/USDT:USDT", **more: object) -> str:
    return json.dumps({"symbol": symbol, "side": side, "quantity": quantity, "price": price, **more})


def fold(*lines: str) -> list[dict[str, object]]:
    return [json.loads(answer) for answer in fold_lines(lines)]


def refusal(*lines: str) -> ContractViolation:
    with pytest.raises(ContractViolation) as caught:
        fold(*lines)
    return caught.value


def test_each_line_answers_how_its_symbol_stands() -> None:
    answers = fold(
        line("buy", "1", "100", fee="0.1"),
        line("SHORT", 2, "50", symbol="ETH/USDT:USDT"),
        line("sell", "3", "110", fee="0.3", fee_currency="USDT"),
        line("buy", "2", "100", fee="0.01", fee_currency="BNB"),
    )
    assert answers == [
        {"side": "long", "quantity": "1", "entry_price": "100", "realized_pnl": "-0.1", "fees": {}},
        {"side": "short", "quantity": "2", "entry_price": "50", "realized_pnl": "0", "fees": {}},
        {"side": "short", "quantity": "2", "entry_price": "110", "realized_pnl": "9.6", "fees": {}},
        {
            "side": "flat",
            "quantity": "0",
            "entry_price": "0",
            "realized_pnl": "29.6",
            "fees": {"BNB": "0.01"},
        },
    ]
    (first,) = fold_lines([line("buy", "1", "100")])
    assert list(json.loads(first)) == ["side", "quantity", "entry_price", "realized_pnl", "fees"]


def test_spot_fees_in_the_base_coin_reduce_the_quantity() -> None:
    spot = fold(
        line("buy", "1", "100", symbol="BTC/USDT", fee="0.001", fee_currency="BTC"),
        line("sell", "0.999", "110", symbol="BTCUSDT", fee="0.1"),
    )
    assert spot[0] == {
        "side": "long",
        "quantity": "0.999",
        "entry_price": "100",
        "realized_pnl": "0",
        "fees": {"BTC": "0.001"},
    }
    assert (spot[1]["side"], spot[1]["realized_pnl"], spot[1]["fees"]) == ("flat", "9.89", {"BTC": "0.001"})
    linear = fold(line("buy", "1", "100", fee="0.001", fee_currency="BTC"))
    assert linear[0]["quantity"] == "1"


@pytest.mark.parametrize(
    "how",
    [{"symbol": "BTC/USD:BTC"}, {"symbol": "BTC/USD", "inverse": True}, {"symbol": "BTC/USD:BTC-251226"}],
)
def test_inverse_contracts_profit_in_coin(how: dict[str, object]) -> None:
    answers = fold(
        line("buy", 100, "40000", contract_size=10, **how),
        line("buy", 100, "50000", **how),
        line("sell", 200, "50000", fee="0.001", fee_currency="BTC", **how),
    )
    assert answers[1]["entry_price"] == "44444.444444444444444444"
    assert (answers[2]["side"], answers[2]["realized_pnl"], answers[2]["fees"]) == ("flat", "0.004", {})


def test_contract_size_multiplies_profit_and_the_first_line_says_it_for_all() -> None:
    answers = fold(line("buy", 1, 100, contract_size="0.01"), line("sell", 1, 200))
    assert answers[1]["realized_pnl"] == "1"
    error = refusal(line("buy", 1, 100), line("sell", 1, 200, contract_size="0.01"))
    assert str(error) == "line 2, contract_size: BTC/USDT:USDT has 1 on an earlier line"
    error = refusal(line("buy", 1, 100), line("sell", 1, 200, inverse=True))
    assert str(error) == "line 2, inverse: BTC/USDT:USDT is linear on an earlier line"


def test_empty_lines_are_passed_over_and_nulls_are_absent() -> None:
    text = line("buy", 1, 100, fee=None, fee_currency=None, inverse=None, contract_size=None)
    assert len(fold("", "\ufeff" + text + "\r\n", "   \n")) == 1


@pytest.mark.parametrize(
    ("text", "field", "words"),
    [
        (line("buy", 0.5, "100"), "quantity", "write amounts as strings"),
        (line("buy", "1", 100.5), "price", "write amounts as strings"),
        (line("buy", "1", "100", fee=0.1), "fee", "write amounts as strings"),
        (line("buy", True, "100"), "quantity", "an amount is a string"),
        ('{"symbol":"BTC/USDT","side":"buy","quantity":NaN,"price":"1"}', "quantity", "write amounts"),
        (line("buy", "NaN", "100"), "quantity", "finite"),
        (line("buy", "-1", "100"), "quantity", "greater than zero"),
        (line("buy", "1", "0"), "price", "greater than zero"),
        (line("buy", "1e30", "1"), "quantity", "between 1e-24 and 1e24"),
        (line("hold", "1", "100"), "side", "one of buy, sell, long, short"),
        (line("buy", "1", "100", colour="red"), "colour", "no such field"),
        (line("buy", "1", "100", inverse="yes"), "inverse", "true or false"),
        (line("buy", "1", "100", contract_size="0"), "contract_size", "greater than zero"),
        (line("buy", "1", "100", fee="1", fee_currency="a b"), "fee_currency", ""),
        (line("buy", "1", "100", symbol=""), "symbol", "a text"),
        (line("buy", "1", "100", symbol="GOLD"), "symbol", "known quote currency"),
        (line("buy", "1", "100", symbol="BTC/"), "symbol", "BASE/QUOTE"),
        (line("buy", "1", "100", symbol="B" * 40 + "/USDT"), "symbol", "40"),
        ('{"symbol":"\\ud800/USDT","side":"buy","quantity":"1","price":"1"}', "symbol", ""),
        ('{"symbol":"BTC/USDT","side":"buy","price":"1"}', "quantity", "is required"),
        ('{"side":"buy","side":"sell"}', "side", "given twice"),
        ("[1]", "body", "a JSON object is expected"),
        ("{", "body", "not JSON"),
        ('{"quantity":' + "1" * 5000 + "}", "body", "not JSON"),
        ("[" * 60_000, "body", "not JSON"),
        (" " + "x" * 70_000, "body", "at most"),
    ],
)
def test_what_is_no_fill_is_refused_by_line_and_field(text: str, field: str, words: str) -> None:
    error = refusal(line("buy", "1", "100"), text)
    assert error.field == f"line 2, {field}"
    assert words in error.text


def test_lines_before_a_bad_one_are_answered() -> None:
    answers = fold_lines(iter([line("buy", "1", "100"), "{"]))
    assert json.loads(next(answers))["side"] == "long"
    with pytest.raises(ContractViolation, match="line 2"):
        next(answers)


@settings(max_examples=100, deadline=None)
@given(
    deals=st.lists(
        st.tuples(
            st.sampled_from(["buy", "sell"]),
            st.decimals("0.001", "10", places=3),
            st.decimals("1", "1000", places=2),
            st.decimals("0", "1", places=4),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_flat_in_the_end_is_cash_in_hand(deals: list[tuple[str, Decimal, Decimal, Decimal]]) -> None:
    sign = {"buy": 1, "sell": -1}
    lines = [
        line(side, canonical(quantity), canonical(price), fee=canonical(fee))
        for side, quantity, price, fee in deals
    ]
    cash = sum(
        (-sign[side] * Fraction(quantity * price) - Fraction(fee) for side, quantity, price, fee in deals),
        Fraction(0),
    )
    net = sum(sign[side] * quantity for side, quantity, _, _ in deals)
    if net:
        lines.append(line("sell" if net > 0 else "buy", canonical(abs(net)), "77.7"))
        cash += Fraction(net) * Fraction("77.7")
    last = fold(*lines)[-1]
    assert (last["side"], last["quantity"]) == ("flat", "0")
    assert Fraction(str(last["realized_pnl"])) == cash
