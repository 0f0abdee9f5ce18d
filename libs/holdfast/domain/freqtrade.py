"""How a freqtrade bot moves in: its configuration becomes a holdfast.toml, its open trades rows for `adopt`; every difference is said.

Percents there are shares of one (0.04), and of the margin where there is leverage; here they are percents, with `basis = "margin"` for
that. What has no counterpart is listed by its key with what to do instead; a key that nobody here has heard of is listed, too, so
that nothing is lost in silence. Secrets (keys of the exchange, tokens) are neither read nor repeated.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from holdfast.contracts.base import ContractViolation
from holdfast.contracts.money import HUNDRED, canonical, divide
from holdfast.domain.instruments import canonical as canonical_symbol

FEE_PCT = Decimal("0.1")
"""Of most spot exchanges, where the configuration names none."""
FAR_PCT = Decimal(1000)
"""A take-profit that is there because there must be one."""
_COMMENT = re.compile(r'("(?:\\.|[^"\\])*")|//[^\n]*|/\*.*?\*/', re.DOTALL)
_TRAILING_COMMA = re.compile(r'("(?:\\.|[^"\\])*")|,(?=\s*[}\]])', re.DOTALL)

INSTEAD = {
    "stake_currency": "the quote currency of each symbol says it",
    "tradable_balance_ratio": "part of nav_pct, see stake_amount", "available_capital": "see dry_run_wallet", "fiat_display_currency": "amounts are shown in their own currency",
    "amount_reserve_percent": "not needed: sizes are rounded down", "amend_last_stake_amount": "what does not fit is refused, not made smaller",
    "last_stake_amount_min_ratio": "what does not fit is refused, not made smaller", "timeframe": "belongs to your strategy", "margin_mode": "positions are margined each on its own",
    "exit_profit_only": "exits by signal are not tied to a profit; min_loss_pct holds back small losses", "exit_profit_offset": "see exit_profit_only",
    "ignore_roi_if_entry_signal": "the ROI table does not know entry signals", "ignore_buying_expired_candle_after": "an intent expires 60 s after it was sent (expires_at)",
    "entry_pricing": "send a price, or a market order", "exit_pricing": "exits are market orders, or what your close names",
    "order_time_in_force": "time_in_force of an intent", "force_entry_enable": "`holdfast intent` always works", "cancel_open_orders_on_exit": "resting entries stay at a restart, and are canceled by a full exit",
    "position_adjustment_enable": "send another intent; adds never loosen a stop", "max_entry_position_adjustment": "limits.max_symbol_notional bounds what adds up",
    "api_server": "the dashboard, on loopback, with tokens of its own", "discord": "alerts.urls takes discord:// addresses", "webhook": "alerts.urls takes json:// addresses",
    "edge": "gone from freqtrade, too", "freqai": "publish its predictions: exits listen to them", "fee": "paper.fee_pct",
    "initial_state": "`holdfast reduce-only` or `halt`, and `resume`", "strategy": "runs as a program of its own, with holdfast.client", "db_url": "the store is Holdfast's own",
    "external_message_consumer": "views are streams; anybody reads them", "custom_price_max_distance_ratio": "prices are taken as you send them", "orderflow": "belongs to your strategy",
}  # fmt: skip
"""Keys without a counterpart, and what there is instead."""
SILENT = frozenset({
    "$schema", "bot_name", "internals", "disable_dataframe_checks", "strategy_path", "recursive_strategy_search", "dataformat_ohlcv",
    "dataformat_trades", "user_data_dir", "process_only_new_candles", "reduce_df_footprint", "add_config_files", "original_config", "verbosity",
    "logfile", "timerange", "export", "exportfilename", "backtest_cache", "hyperopt", "epochs", "spaces", "config_files", "dry_run", "exchange",
})  # fmt: skip
"""Keys that say nothing about trading, or are looked at elsewhere."""
PROTECTIONS = {
    "StoplossGuard": "entries are not locked after stops: `holdfast reduce-only` is a person's decision, or a supervisor's",
    "MaxDrawdown": "alerts.drawdown_pct calls somebody; entries go on until a person halts them",
    "LowProfitPairs": "no pair is locked for its results; `holdfast trades` and the dashboard show them",
    "CooldownPeriod": "no pause after an exit; your strategy waits as long as it likes",
}


@dataclass(slots=True)
class Moved:
    """What a configuration becomes: sections of holdfast.toml, and what is different, by key."""

    sections: dict[str, dict[str, Any]] = field(default_factory=dict)
    differences: list[tuple[str, str]] = field(default_factory=list)
    size: str = ""
    """What stake_amount is for an intent: `quote_amount="50"`."""

    def put(self, section: str, **values: Any) -> None:
        self.sections.setdefault(section, {}).update(values)

    def say(self, key: str, text: str) -> None:
        self.differences.append((key, text))

    def toml(self, source: str) -> str:
        """The file. *source* names where it comes from."""
        lines = [
            f"# From {source}, by `holdfast import freqtrade`. Every key with its default: `holdfast config`."
        ]
        if self.size:
            lines.append(f"# An entry of the size that stake_amount was: {self.size}")
        for section, values in self.sections.items():
            lines += ["", f"[{section}]", *(f"{name} = {_toml(value)}" for name, value in values.items())]
        lines += ["", "# What is different:"]
        lines += [f"# {key}: {text}" for key, text in self.differences]
        return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_toml(one)}" for key, one in value.items()) + " }"
    if isinstance(value, Decimal):
        return json.dumps(canonical(value))
    return json.dumps(value)


def read_config(text: str) -> dict[str, Any]:
    """A freqtrade configuration: JSON in which comments and trailing commas are allowed. Raises ContractViolation."""
    plain = _TRAILING_COMMA.sub(lambda m: m[1] or "", _COMMENT.sub(lambda m: m[1] or " ", text))
    try:
        document = json.loads(plain, parse_float=Decimal, parse_int=Decimal, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise ContractViolation("file", f"not JSON: {error}") from None
    if not isinstance(document, dict) or not {"exchange", "stoploss", "minimal_roi", "max_open_trades"} & set(
        document
    ):
        raise ContractViolation("file", "this is no configuration of freqtrade: it has none of its keys")
    return document


def _refuse(word: str) -> Any:
    raise ValueError(f"{word} is no amount")


def moved(config: Mapping[str, Any], leverages: Sequence[Decimal] = ()) -> Moved:
    """What *config* becomes. *leverages*: of its open trades. Raises ContractViolation, which names the key."""
    to = Moved()
    futures = config.get("trading_mode", "spot") != "spot"
    fee_pct = _share(config, "fee") or FEE_PCT
    _money(config, to, fee_pct)
    _market(to, leverages, futures=futures)
    _exits(config, to, fee_pct, futures=futures)
    _limits(config, to)
    _pairs(config, to)
    _protections(config, to)
    _orders(config, to)
    used = {"minimal_roi", "stoploss", "trailing_stop", "trailing_stop_positive", "trailing_stop_positive_offset", "trailing_only_offset_is_reached",
            "use_exit_signal", "max_open_trades", "stake_amount", "dry_run_wallet", "trading_mode", "pairlists", "protections", "order_types",
            "unfilledtimeout", "telegram", "fee"}  # fmt: skip
    for key in config:
        if key in INSTEAD and key not in used and config[key] not in (None, False, "", {}):
            to.say(key, INSTEAD[key])
        elif key not in used | SILENT | INSTEAD.keys():
            to.say(key, "is not known here; it changes nothing")
    return to


def _money(config: Mapping[str, Any], to: Moved, fee_pct: Decimal) -> None:
    wallet = config.get("dry_run_wallet")
    wallet = wallet.get(config.get("stake_currency")) if isinstance(wallet, Mapping) else wallet
    capital = wallet if isinstance(wallet, Decimal) and wallet > 0 else None
    if capital is not None:
        to.put("ledger", capital=capital)
        to.put("paper", capital=capital)
    if isinstance(config.get("stake_currency"), str):
        to.put("ledger", base_currency=config["stake_currency"])
    to.put("paper", fee_pct=fee_pct, maker_fee_pct=fee_pct)
    if not config.get("dry_run", True):
        to.say(
            "dry_run",
            "was false: here everything stays on paper until two settings and limits are set by hand, see docs/live.md",
        )


def _market(to: Moved, leverages: Sequence[Decimal], *, futures: bool) -> None:
    to.put("paper", market="linear" if futures else "spot")
    if not futures:
        return
    leverage = max(leverages, default=Decimal(1))
    to.put("paper", leverage=leverage)
    to.say(
        "leverage",
        f"is one number here, paper.leverage = {canonical(leverage)} (the highest of the open trades, else 1); there your strategy names it for each trade",
    )


def _exits(config: Mapping[str, Any], to: Moved, fee_pct: Decimal, *, futures: bool) -> None:
    """Stop, ROI and trail; the rules and vetoes that freqtrade has not are off."""
    stop = _share(config, "stoploss")
    if stop is None:
        to.say(
            "stoploss",
            "is not in this file but in your strategy: put it into stop_loss_pct; until then it is 10",
        )
        stop = Decimal(10)
    roi = _roi(config, to)
    _trailing(config, to, stop.copy_abs())
    to.put(
        "exits", stop_loss_pct=stop.copy_abs(), take_profit_pct=_take_profit(config, to, roi, fee_pct), emergency_loss_pct="off",
        extraordinary_profit_pct="off", reversal_confidence="off", ai_hold_confidence="off", min_hold_s="off", min_loss_pct="off",
        signal=bool(config.get("use_exit_signal", True)), **({"roi": roi} if roi else {}), **({"basis": "margin"} if futures else {}),
    )  # fmt: skip
    to.say(
        "stoploss",
        "is watched by the exit scanner, not by an order at the exchange; it cannot be switched off",
    )


def _take_profit(
    config: Mapping[str, Any], to: Moved, roi: Mapping[str, Decimal], fee_pct: Decimal
) -> Decimal | str:
    """Freqtrade has none. Where a trail may end a position it is off; else the ROI of minute 0, as a price move before fees."""
    if config.get("trailing_stop"):
        return "off"
    if "0" in roi and roi["0"] > 0:
        gross = roi["0"] + 2 * fee_pct
        to.say(
            "minimal_roi",
            f"minute 0 is a take-profit, too, at {canonical(gross)} % before fees: a position has to have one where nothing trails",
        )
        return gross
    to.say(
        "minimal_roi",
        f"says nothing for minute 0, so a take-profit at {canonical(FAR_PCT)} % stands in: a position has to have one",
    )
    return FAR_PCT


def _roi(config: Mapping[str, Any], to: Moved) -> dict[str, Decimal]:
    table = config.get("minimal_roi")
    if table is None:
        to.say("minimal_roi", "is not in this file but in your strategy: put it into exits.roi")
        return {}
    if not isinstance(table, Mapping):
        raise ContractViolation("minimal_roi", "a table of minutes and shares is expected")
    found: dict[str, Decimal] = {}
    for minutes in sorted(table, key=lambda text: (len(text), text)):
        if not minutes.isascii() or not minutes.isdigit():
            raise ContractViolation("minimal_roi", f"{minutes!r} is no number of minutes")
        share = _number(table[minutes], f"minimal_roi.{minutes}") * HUNDRED
        if share <= -HUNDRED:
            to.say(
                "minimal_roi",
                f"minute {minutes} says {canonical(share)} %: close anything; use max_hold_s = {int(minutes) * 60} for that",
            )
            to.put("exits", max_hold_s=Decimal(int(minutes) * 60))
        else:
            found[str(int(minutes))] = share
    return found


def _trailing(config: Mapping[str, Any], to: Moved, stop: Decimal) -> None:
    if not config.get("trailing_stop"):
        return
    positive, offset = (
        _share(config, "trailing_stop_positive"),
        _share(config, "trailing_stop_positive_offset"),
    )
    values: dict[str, Any] = {"distance_pct": positive or stop}
    if positive is not None and offset:
        values["activation_pct"] = offset
        values["only_after_activation"] = bool(config.get("trailing_only_offset_is_reached", False))
    elif positive is not None:
        to.say(
            "trailing_stop_positive",
            "without an offset trails from the first tick on; there it begins in profit",
        )
    to.put("exits.trailing", **values)
    to.say("trailing_stop", "moves at every tick; there once an iteration, a few seconds apart")


def _limits(config: Mapping[str, Any], to: Moved) -> None:
    most = config.get("max_open_trades")
    if isinstance(most, Decimal) and most > 0 and most.is_finite():
        to.put("limits", max_positions=int(most))
        to.say(
            "max_open_trades",
            "is limits.max_positions over all accounts; resting entries count, exits never do",
        )
    stake, ratio = config.get("stake_amount"), config.get("tradable_balance_ratio", Decimal("0.99"))
    if isinstance(stake, Decimal):
        to.size = f'quote_amount="{canonical(stake)}"'
    elif stake == "unlimited" and isinstance(most, Decimal) and most > 0:
        to.size = f'nav_pct="{canonical(divide(_number(ratio, "tradable_balance_ratio") * HUNDRED, most, Decimal("0.01")))}"'
    if to.size:
        to.say("stake_amount", f"the size is the intent's own: {to.size}, or risk_pct")


def _pairs(config: Mapping[str, Any], to: Moved) -> None:
    exchange = config.get("exchange")
    exchange = exchange if isinstance(exchange, Mapping) else {}
    symbols, blacklist = [], [str(one) for one in exchange.get("pair_blacklist", [])]
    for pair in exchange.get("pair_whitelist", []):
        try:
            symbol = canonical_symbol(str(pair))
        except ContractViolation:
            to.say("exchange.pair_whitelist", f"{pair} is a pattern or no pair, left out: name its symbols")
            continue
        if any(_matches(black, str(pair)) for black in blacklist):
            continue
        symbols.append((symbol, str(pair)))
    methods = [str(one.get("method")) for one in config.get("pairlists", []) if isinstance(one, Mapping)]
    if any(method != "StaticPairList" for method in methods):
        others = ", ".join(method for method in methods if method != "StaticPairList")
        to.say(
            "pairlists",
            f"{others}: no list is made by itself; the whitelist is taken as it stands, edit feed.spec",
        )
    if symbols:
        to.put(
            "feed",
            spec=f"ccxt:{exchange.get('name', 'binance')}?symbols={','.join(pair for _, pair in symbols)}",
        )
        to.say(
            "exchange.pair_whitelist",
            "prices are followed for these (needs ccxt), and nothing refuses another; for that: `holdfast keys new freqtrade`, then [producers.freqtrade]"
            f" symbols = {json.dumps(sorted({symbol for symbol, _ in symbols}))}",
        )
    if blacklist:
        to.say("exchange.pair_blacklist", "is taken off the whitelist; nothing else refuses a symbol")


def _matches(pattern: str, pair: str) -> bool:
    try:
        return re.fullmatch(pattern, pair) is not None
    except re.error:
        return pattern == pair


def _protections(config: Mapping[str, Any], to: Moved) -> None:
    for one in config.get("protections", []):
        method = str(one.get("method")) if isinstance(one, Mapping) else "?"
        to.say(f"protections.{method}", PROTECTIONS.get(method, "has no counterpart"))
        worst = one.get("max_allowed_drawdown") if isinstance(one, Mapping) else None
        if method == "MaxDrawdown" and isinstance(worst, Decimal) and 0 < worst <= 1:
            to.put("alerts", drawdown_pct=worst * HUNDRED)
    telegram = config.get("telegram")
    if isinstance(telegram, Mapping) and telegram.get("enabled"):
        to.say(
            "telegram",
            "HOLDFAST_ALERTS_URLS=tgram://TOKEN/CHAT_ID in the environment; it calls, and takes no commands",
        )


def _orders(config: Mapping[str, Any], to: Moved) -> None:
    types = config.get("order_types")
    if isinstance(types, Mapping):
        if types.get("stoploss_on_exchange"):
            to.say(
                "order_types.stoploss_on_exchange",
                "live a stop rests at the exchange where one can (docs/live.md); on paper none does, and while this machine is off nobody watches",
            )
        if types.get("entry") == "limit":
            to.say("order_types", "an intent is a market order unless it names a price")
    waits = config.get("unfilledtimeout")
    if isinstance(waits, Mapping) and isinstance(waits.get("entry"), Decimal):
        to.say(
            "unfilledtimeout",
            f"good_till of an intent cancels a resting entry; there after {canonical(waits['entry'])} {waits.get('unit', 'minutes')}",
        )


def _share(config: Mapping[str, Any], key: str) -> Decimal | None:
    """A share of one as percent; None where there is none."""
    value = config.get(key)
    return None if value is None else _number(value, key) * HUNDRED


def _number(value: Any, key: str) -> Decimal:
    if not isinstance(value, Decimal) or not value.is_finite():
        raise ContractViolation(key, "a number is expected")
    return value


# -- open trades ------------------------------------------------------------------------------------------------------

COLUMNS = (
    "id",
    "pair",
    "is_open",
    "amount",
    "open_rate",
    "stop_loss",
    "is_short",
    "leverage",
    "trading_mode",
    "open_date",
    "strategy",
)
NEEDED = frozenset({"id", "pair", "is_open", "amount", "open_rate", "stop_loss"})
"""Of the table `trades`; older databases have no others."""


def rows_of(trades: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Open trades as rows for `domain.moving_in`. Their stops are where they are now, trailed or not."""
    for trade in trades:
        row = {
            "symbol": str(trade["pair"]), "side": "SHORT" if trade.get("is_short") else "LONG", "qty": exact(trade["amount"]),
            "entry_price": exact(trade["open_rate"]),
        }  # fmt: skip
        if trade.get("stop_loss"):
            row["sl"] = exact(trade["stop_loss"])
        if trade.get("trading_mode") == "futures":
            row["kind"] = "linear"
        yield row


def exact(value: Any) -> Decimal:
    """A REAL of SQLite as the shortest decimal that is that number."""
    return Decimal(repr(value))
