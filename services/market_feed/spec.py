"""The grammar of `feed.spec`: which prices are fed.

    replay:FILE[?symbol=BTC/USDT&speed=60&spread_pct=0.01&loop=yes]
    replay:A.csv?symbol=BTC/USDT,B.csv?symbol=ETH/USDT&speed=600      several files on one timeline
    synthetic[?seed=1&symbols=BTC/USDT,ETH/USDT&volatility=0.02&jump=1&interval_ms=250]
    ccxt:EXCHANGE[?symbols=BTC/USDT,ETH/USDT&url=http://127.0.0.1:8490]      url: a simulated venue

Files are separated by commas (each may repeat the word `replay:`). `symbol` and `spread_pct` belong to the file they
stand behind; `speed` and `loop` to all of them, wherever they stand. `speed` is market seconds per wall second, or `max`.
A comma, `?`, `&` or `%` inside a file name is written %2C, %3F, %26, %25. Whatever is wrong is a BadSpec that says so.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

from holdfast.contracts.base import ContractViolation
from holdfast.contracts.money import parse_amount
from holdfast.domain.instruments import canonical
from holdfast.runtime.live_settings import SIMULATED

DEFAULT_SPEED = Decimal(60)
DEFAULT_SPREAD_PCT = Decimal("0.01")
DEFAULT_SYMBOLS = ("BTC/USDT", "ETH/USDT")
_QUOTES = ("USDT", "USDC", "BUSD", "FDUSD", "TUSD", "USD", "EUR", "BTC", "ETH")
_BASES = ("BTC", "ETH", "SOL", "XRP", "ADA", "BNB", "DOGE", "LTC", "DOT", "LINK", "AVAX")
"""Coins that a file may be named after with no quote currency; USDT is meant then."""
_BASE = re.compile(r"[A-Z0-9]{2,6}")


class BadSpec(ValueError):  # noqa: N818 - it reads as what it is
    """The feed's specification cannot be used; the text says why and what would do."""


@dataclass(frozen=True, slots=True)
class ReplayFile:
    """One recorded file and the symbol it tells of."""

    path: Path
    symbol: str
    spread_pct: Decimal = DEFAULT_SPREAD_PCT


@dataclass(frozen=True, slots=True)
class ReplaySpec:
    files: tuple[ReplayFile, ...]
    speed: Decimal | None = DEFAULT_SPEED
    """Market seconds per wall second; None: as fast as the bus takes it."""
    loop: bool = False


@dataclass(frozen=True, slots=True)
class SyntheticSpec:
    symbols: tuple[str, ...] = DEFAULT_SYMBOLS
    seed: int = 1
    volatility_pct: Decimal = Decimal("0.02")
    """Standard deviation of one step, percent."""
    jump_pct: Decimal = Decimal(1)
    """Size of a jump, percent; 0: none."""
    interval_ms: int = 250
    """Between two steps of each symbol, wall ms."""


@dataclass(frozen=True, slots=True)
class CcxtSpec:
    exchange: str
    symbols: tuple[str, ...] = DEFAULT_SYMBOLS
    """As the exchange's own markets are named in ccxt: BTC/USDT is spot, BTC/USDT:USDT a perpetual."""
    url: str = ""
    """A simulated venue instead of the exchange."""


Spec = ReplaySpec | SyntheticSpec | CcxtSpec


def parse(text: str) -> Spec:
    """What *text* asks for. Raises BadSpec."""
    text = text.strip()
    kind, _, rest = text.partition(":")
    if kind == "replay" and rest:
        return _replay(rest)
    if kind == "ccxt" and rest:
        return _ccxt(rest)
    head, _, query = text.partition("?")
    if head == "synthetic":
        return _synthetic(_options(query, ("seed", "symbols", "volatility", "jump", "interval_ms")))
    raise BadSpec(f'"{text}" is no feed; write replay:FILE, synthetic, or ccxt:EXCHANGE')


def _replay(text: str) -> ReplaySpec:
    files: list[ReplayFile] = []
    common: dict[str, str] = {}
    for part in text.split(","):
        name, _, query = part.strip().removeprefix("replay:").partition("?")
        if not name:
            raise BadSpec("replay: a file name is missing")
        options = _options(query, ("symbol", "spread_pct", "speed", "loop"))
        for key in ("speed", "loop"):
            value = options.pop(key, None)
            if value is not None and common.setdefault(key, value) != value:
                raise BadSpec(
                    f"replay: {key} is given twice, as {common[key]} and as {value}; it holds for all files"
                )
        files.append(_file(Path(unquote(name)), options))
    return ReplaySpec(tuple(files), _speed(common.get("speed")), _yes("loop", common.get("loop", "no")))


def _file(path: Path, options: Mapping[str, str]) -> ReplayFile:
    spread = (
        _amount("spread_pct", options["spread_pct"], 10) if "spread_pct" in options else DEFAULT_SPREAD_PCT
    )
    symbol = options.get("symbol") or guess_symbol(path.name)
    if symbol is None:
        raise BadSpec(f"{path}: which symbol is it? Its name does not tell; write {path}?symbol=BTC/USDT")
    return ReplayFile(path, _symbol(symbol), spread)


def _synthetic(options: Mapping[str, str]) -> SyntheticSpec:
    default = SyntheticSpec()
    return SyntheticSpec(
        symbols=_distinct(map(_symbol, _listed(options["symbols"])))
        if "symbols" in options
        else default.symbols,
        seed=_whole("seed", options["seed"], 0) if "seed" in options else default.seed,
        volatility_pct=_amount("volatility", options["volatility"], 10)
        if "volatility" in options
        else default.volatility_pct,
        jump_pct=_amount("jump", options["jump"], 50) if "jump" in options else default.jump_pct,
        interval_ms=_whole("interval_ms", options["interval_ms"], 10)
        if "interval_ms" in options
        else default.interval_ms,
    )


def _ccxt(text: str) -> CcxtSpec:
    exchange, _, query = text.partition("?")
    options = _options(query, ("symbols", "url"))
    if not re.fullmatch(r"[a-z0-9_]{2,40}", exchange):
        raise BadSpec(f'"{exchange}" is no exchange\'s name; write it as ccxt does, like ccxt:binance')
    symbols = _distinct(_listed(options["symbols"])) if "symbols" in options else DEFAULT_SYMBOLS
    _distinct(map(_symbol, symbols))
    url = unquote(options.get("url", ""))
    if not re.fullmatch(SIMULATED, url):
        raise BadSpec(
            f'url: "{url}" is no simulated venue; it is http://127.0.0.1:PORT or http://venue-sim:PORT'
        )
    return CcxtSpec(exchange, symbols, url)


def guess_symbol(file_name: str) -> str | None:
    """The symbol a file is named after, or None when its name does not tell, or tells of two.

    `binance_btcusdt_1h.csv` is BTC/USDT, `eth-btc.csv` ETH/BTC, `btc_perp_1m.csv` BTC/USDT.
    """
    words = [word for word in re.split(r"[^A-Z0-9]+", file_name.rpartition(".")[0].upper()) if word]
    joined = [pair for word in words if (pair := _split(word))]
    joined += [f"{base}/{quote}" for base, quote in pairwise(words) if base in _BASES and quote in _QUOTES]
    found = set(joined) or {f"{word}/USDT" for word in words if word in _BASES}
    return found.pop() if len(found) == 1 else None


def _split(word: str) -> str | None:
    for quote in _QUOTES:
        base = word.removesuffix(quote)
        if base != word and _BASE.fullmatch(base) and base not in _QUOTES[:6]:
            return f"{base}/{quote}"
    return None


def _options(query: str, known: tuple[str, ...]) -> dict[str, str]:
    options: dict[str, str] = {}
    for pair in filter(None, query.split("&")):
        key, equals, value = pair.partition("=")
        if key not in known:
            raise BadSpec(f'no option "{key}"; known here: {", ".join(known)}')
        if not equals or not value:
            raise BadSpec(f"{key}: a value is missing; write {key}=...")
        if key in options:
            raise BadSpec(f"{key} is given twice")
        options[key] = unquote(value)
    return options


def _speed(text: str | None) -> Decimal | None:
    if text is None:
        return DEFAULT_SPEED
    if text == "max":
        return None
    speed = _amount("speed", text, 100_000_000)
    if speed == 0:
        raise BadSpec("speed: 0 would never play; write market seconds per wall second, or max")
    return speed


def _amount(key: str, text: str, most: int) -> Decimal:
    try:
        amount = parse_amount(text)
    except ValueError as error:
        raise BadSpec(f"{key}: {error}") from None
    if not 0 <= amount <= most:
        raise BadSpec(f"{key}: {text} is not between 0 and {most}")
    return amount


def _whole(key: str, text: str, least: int) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < least:
        raise BadSpec(f"{key}: {text} is no whole number of at least {least}")
    return int(text)


def _yes(key: str, text: str) -> bool:
    if text not in {"yes", "no"}:
        raise BadSpec(f"{key}: write yes or no, not {text}")
    return text == "yes"


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _distinct(symbols: Iterable[str]) -> tuple[str, ...]:
    listed = tuple(symbols)
    if not listed or len(set(listed)) != len(listed):
        raise BadSpec(f"symbols: name each once; got {', '.join(listed) or 'none'}")
    return listed


def _symbol(text: str) -> str:
    try:
        return canonical(text)
    except ContractViolation as error:
        raise BadSpec(str(error)) from None
