"""A bot of freqtrade to move in from: a configuration with its comments, and a database with the tables and columns of version 2024.10."""

import sqlite3
from contextlib import closing
from pathlib import Path

CONFIG = """
{
    // as it was made by `freqtrade new-config`, and edited
    "$schema": "https://schema.freqtrade.io/schema.json",
    "max_open_trades": 3,
    "stake_currency": "USDT",
    "stake_amount": "unlimited",
    "tradable_balance_ratio": 0.99,
    "fiat_display_currency": "USD",
    "dry_run": true,
    "dry_run_wallet": 1000,
    "cancel_open_orders_on_exit": false,
    "timeframe": "5m",
    "trailing_stop": true,
    "trailing_stop_positive": 0.01,
    "trailing_stop_positive_offset": 0.02,
    "trailing_only_offset_is_reached": true,
    "use_exit_signal": true,
    "exit_profit_only": false,
    "ignore_roi_if_entry_signal": false,
    "trading_mode": "spot",
    "margin_mode": "",
    "minimal_roi": {"40": 0.0, "30": 0.01, "20": 0.02, "0": 0.04},
    "stoploss": -0.10,
    "unfilledtimeout": {"entry": 10, "exit": 10, "exit_timeout_count": 0, "unit": "minutes"},
    "entry_pricing": {"price_side": "same", "use_order_book": true, "order_book_top": 1},
    "exit_pricing": {"price_side": "same", "use_order_book": true, "order_book_top": 1},
    "order_types": {"entry": "limit", "exit": "limit", "stoploss": "market", "stoploss_on_exchange": true},
    "order_time_in_force": {"entry": "gtc", "exit": "gtc"},
    "pairlists": [{"method": "StaticPairList"}, {"method": "VolumePairList", "number_assets": 20}],
    "protections": [
        {"method": "CooldownPeriod", "stop_duration_candles": 5},
        {"method": "MaxDrawdown", "lookback_period_candles": 48, "trade_limit": 20, "stop_duration_candles": 4, "max_allowed_drawdown": 0.2},
    ],
    "exchange": {
        "name": "binance", "key": "my-exchange-key", "secret": "my-exchange-secret", "ccxt_config": {}, "ccxt_async_config": {},
        "pair_whitelist": ["BTC/USDT", "ETH/USDT", "SOL/USDT", "DOGE/USDT", ".*/BTC"],
        "pair_blacklist": ["DOGE/.*"],
    },
    "telegram": {"enabled": true, "token": "my-telegram-token", "chat_id": "1"},
    "api_server": {"enabled": false, "listen_ip_address": "127.0.0.1", "listen_port": 8080},
    "bot_name": "freqtrade",
    "initial_state": "running",
    "force_entry_enable": false,
    "internals": {"process_throttle_secs": 5},
    "strategy": "SampleStrategy",
}
"""
TABLES = """
CREATE TABLE trades (
  id INTEGER NOT NULL PRIMARY KEY, exchange VARCHAR(25) NOT NULL, pair VARCHAR(25) NOT NULL, base_currency VARCHAR(25), stake_currency VARCHAR(25),
  is_open BOOLEAN NOT NULL, fee_open FLOAT NOT NULL, fee_open_cost FLOAT, fee_open_currency VARCHAR(25), fee_close FLOAT, fee_close_cost FLOAT,
  fee_close_currency VARCHAR(25), open_rate FLOAT NOT NULL, open_rate_requested FLOAT, open_trade_value FLOAT NOT NULL, close_rate FLOAT,
  close_rate_requested FLOAT, realized_profit FLOAT, close_profit FLOAT, close_profit_abs FLOAT, stake_amount FLOAT NOT NULL, max_stake_amount FLOAT,
  amount FLOAT NOT NULL, amount_requested FLOAT, open_date DATETIME NOT NULL, close_date DATETIME, stop_loss FLOAT, stop_loss_pct FLOAT,
  initial_stop_loss FLOAT, initial_stop_loss_pct FLOAT, is_stop_loss_trailing BOOLEAN NOT NULL, max_rate FLOAT, min_rate FLOAT, exit_reason VARCHAR(255),
  exit_order_status VARCHAR(100), strategy VARCHAR(100), enter_tag VARCHAR(255), timeframe INTEGER, trading_mode VARCHAR(7), amount_precision FLOAT,
  price_precision FLOAT, precision_mode INTEGER, precision_mode_price INTEGER, contract_size FLOAT, leverage FLOAT, is_short BOOLEAN NOT NULL,
  liquidation_price FLOAT, interest_rate FLOAT NOT NULL, funding_fees FLOAT, funding_fee_running FLOAT, record_version INTEGER NOT NULL);
CREATE TABLE orders (
  id INTEGER NOT NULL PRIMARY KEY, ft_trade_id INTEGER NOT NULL, ft_order_side VARCHAR(25) NOT NULL, ft_pair VARCHAR(25) NOT NULL, ft_is_open BOOLEAN NOT NULL,
  ft_amount FLOAT NOT NULL, ft_price FLOAT NOT NULL, ft_cancel_reason VARCHAR(255), order_id VARCHAR(255) NOT NULL, status VARCHAR(255), symbol VARCHAR(25),
  order_type VARCHAR(50), side VARCHAR(25), price FLOAT, average FLOAT, amount FLOAT, filled FLOAT, remaining FLOAT, cost FLOAT, stop_price FLOAT,
  order_date DATETIME, order_filled_date DATETIME, order_update_date DATETIME, funding_fee FLOAT, ft_fee_base FLOAT, ft_order_tag VARCHAR(255));
CREATE TABLE pairlocks (id INTEGER NOT NULL PRIMARY KEY, pair VARCHAR(25) NOT NULL, side VARCHAR(25) NOT NULL, reason VARCHAR(255), lock_time DATETIME NOT NULL,
  lock_end_time DATETIME NOT NULL, active BOOLEAN NOT NULL);
PRAGMA journal_mode = wal;
"""


def make_database(file: Path, *trades: dict, open_orders: tuple[int, ...] = ()) -> Path:
    """*trades* say pair, amount, open_rate, stop_loss and what else differs; each has a filled entry order."""
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.executescript(TABLES)
        for number, trade in enumerate(trades, 1):
            base, quote = trade["pair"].split(":")[0].split("/")
            row = {
                "id": number, "exchange": "binance", "base_currency": base, "stake_currency": quote, "is_open": 1, "fee_open": 0.001, "fee_close": 0.001,
                "open_trade_value": trade["amount"] * trade["open_rate"] * 1.001, "stake_amount": trade["amount"] * trade["open_rate"], "amount_requested": trade["amount"],
                "open_date": "2026-11-25 20:15:01.123456", "initial_stop_loss": trade["open_rate"] * 0.9, "initial_stop_loss_pct": -0.1, "stop_loss_pct": -0.1,
                "is_stop_loss_trailing": 0, "max_rate": trade["open_rate"], "min_rate": trade["open_rate"], "strategy": "SampleStrategy", "timeframe": 5,
                "trading_mode": "SPOT", "leverage": 1.0, "is_short": 0, "interest_rate": 0.0, "record_version": 2, **trade,
            }  # fmt: skip
            connection.execute(
                f"INSERT INTO trades ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})",
                list(row.values()),
            )
            order = {
                "ft_trade_id": number, "ft_order_side": "buy", "ft_pair": trade["pair"], "ft_is_open": number in open_orders, "ft_amount": trade["amount"],
                "ft_price": trade["open_rate"], "order_id": f"dry_run_buy_{number}", "status": "open" if number in open_orders else "closed", "side": "buy",
                "order_type": "limit",
            }  # fmt: skip
            connection.execute(
                f"INSERT INTO orders ({', '.join(order)}) VALUES ({', '.join('?' * len(order))})",
                list(order.values()),
            )
    return file
