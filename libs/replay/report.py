"""The HTML report of a run: one file with its style and its drawings in it; nothing is loaded from anywhere.

Whatever comes from files (names of files and symbols, reasons) is escaped; a Content-Security-Policy forbids scripts and
addresses in any case.
"""

from collections.abc import Callable, Iterator, Sequence
from html import escape
from typing import Any

from holdfast.contracts.money import canonical
from holdfast.runtime.settings import Settings
from replay import svg
from replay.outcome import Curve, Outcome, ReplayTrade
from replay.show import effective_policy, moment, short
from replay.summary import summarize

MOST_DRAWN = 1500
"""Trades drawn on the price; more would be a blot."""
MOST_LISTED = 500

_CSP = "default-src 'none'; style-src 'unsafe-inline'"
_STYLE = """
:root{--ink:#1d2733;--soft:#64717f;--line:#e3e8ee;--page:#fff;--card:#f7f9fb;--good:#0a7d4b;--bad:#c2362b;--blue:#2563b8}
@media(prefers-color-scheme:dark){:root{--ink:#e4eaf0;--soft:#93a1af;--line:#2b3642;--page:#12181f;--card:#1a222b;--good:#3fbf85;--bad:#ef6b5f;--blue:#6aa5ee}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.45 system-ui,sans-serif}
main{max-width:1040px;margin:0 auto;padding:28px 24px 60px}
h1{font-size:24px;margin:0 0 2px}h2{font-size:17px;margin:34px 0 8px}
.sub{color:var(--soft);margin:0 0 20px;overflow-wrap:anywhere}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:10px}
.card{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:10px 14px}
.card b{display:block;font-size:20px;font-variant-numeric:tabular-nums}.card span{color:var(--soft);font-size:13px}
.good{color:var(--good)}.bad{color:var(--bad)}
svg{display:block;width:100%;height:auto}
.grid{stroke:var(--line);stroke-width:1}.tick{fill:var(--soft);font-size:11.5px}.name{fill:var(--ink);font-size:13px}
.curve{fill:none;stroke:var(--blue);stroke-width:1.6;stroke-linejoin:round}.price{fill:none;stroke:var(--soft);stroke-width:1.1}
.band{fill:var(--blue);opacity:.13}.under{fill:var(--bad);opacity:.22}.fall{fill:none;stroke:var(--bad);stroke-width:1.3}
.start{stroke:var(--soft);stroke-dasharray:4 4}
.won{stroke:var(--good);fill:var(--good)}.lost{stroke:var(--bad);fill:var(--bad)}
line.won,line.lost{stroke-width:1.8;opacity:.8}path.won,path.lost{opacity:.85}path.won,path.lost,rect.won,rect.lost{stroke:none}
table{border-collapse:collapse;width:100%;font-size:13.5px;font-variant-numeric:tabular-nums}
th,td{text-align:right;padding:4px 10px;border-bottom:1px solid var(--line);white-space:nowrap}
th{color:var(--soft);font-weight:600}td.text,th.text{text-align:left}
table.policy{width:auto;min-width:420px}td.wide{white-space:normal;color:var(--soft)}.scroll{overflow-x:auto}.legend{color:var(--soft);font-size:13px;margin:4px 0 0}
"""


def report(settings: Settings, outcome: Outcome, names: Sequence[str]) -> str:
    """The page. *names*: the files that the run was made of."""
    summary = summarize(outcome)
    parts = [
        "<h1>Replay</h1>",
        f'<p class="sub">{escape(moment(outcome.first_ms))} to {escape(moment(outcome.last_ms))} UTC · {escape(", ".join(names))}</p>',
        _cards(summary),
        *_equity(outcome),
        *_prices(outcome),
        *_reasons(outcome),
        *_policy(settings),
        *_trades(outcome),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Replay</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{_CSP}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<style>{_STYLE}</style></head><body><main>\n" + "\n".join(parts) + "\n</main></body></html>\n"
    )


def _cards(summary: dict[str, Any]) -> str:
    shown = (
        ("profit", _signed(summary["profit_ratio"], 100, " %"), _mood(summary["profit_ratio"])),
        ("final equity", f"{summary['final_equity']:,.2f}", ""),
        ("trades", str(summary["trades"]), ""),
        ("win rate", _number(summary["win_rate"], 100, " %"), ""),
        ("profit factor", _number(summary["profit_factor"]), ""),
        ("expectancy", _number(float(summary["expectancy"]) if summary["expectancy"] else None), ""),
        ("max drawdown", _number(summary["max_drawdown"], 100, " %"), ""),
        ("Sharpe", _number(summary["sharpe"]), ""),
        ("Sortino", _number(summary["sortino"]), ""),
        ("exposure", _number(summary["exposure"], 100, " %"), ""),
        ("fees", f"{float(summary['fees']):,.2f}", ""),
    )
    cells = (
        f'<div class="card"><b class="{css}">{text}</b><span>{name}</span></div>' for name, text, css in shown
    )
    return f'<div class="cards">{"".join(cells)}</div>'


def _number(value: float | None, times: float = 1, unit: str = "") -> str:
    return "–" if value is None else f"{value * times:,.2f}{unit}"


def _signed(value: float | None, times: float, unit: str) -> str:
    return "–" if value is None else f"{value * times:+,.2f}{unit}"


def _mood(value: float | None) -> str:
    return "" if not value else "good" if value > 0 else "bad"


def _equity(outcome: Outcome) -> Iterator[str]:
    points = outcome.equity.points
    if not points:
        return
    capital = float(outcome.capital)
    at = [float(point.at) for point in points]
    low, high = [point.low for point in points], [point.high for point in points]
    frame = svg.frame_of(at, [*low, capital], [*high, capital], 260)
    shapes = [
        svg.area(frame, list(zip(at, high, strict=True)), list(zip(at, low, strict=True)), "band"),
        svg.segment(frame, (at[0], capital), (at[-1], capital), "start", "capital"),
        svg.line(frame, [(point.at, point.last) for point in points], "curve"),
    ]
    yield "<h2>Equity</h2>"
    yield svg.chart("equity over time", frame, shapes, lambda value: f"{value:,.0f}")
    falls = _falls(outcome.equity, capital)
    frame = svg.frame_of(at, falls, [0.0], 150)
    under = list(zip(at, falls, strict=True))
    shapes = [svg.area(frame, [(at[0], 0.0), (at[-1], 0.0)], under, "under"), svg.line(frame, under, "fall")]
    yield "<h2>Drawdown</h2>"
    yield svg.chart("fall from the last peak over time", frame, shapes, _percent_text(frame))


def _falls(curve: Curve, capital: float) -> list[float]:
    """At each point, the lowest equity's distance from the peak before it, in percent."""
    peak, falls = capital, []
    for point in curve.points:
        falls.append(min(0.0, (point.low / peak - 1) * 100) if peak > 0 else 0.0)
        peak = max(peak, point.high)
    return falls


def _prices(outcome: Outcome) -> Iterator[str]:
    for symbol, curve in sorted(outcome.prices.items()):
        points = curve.points
        trades = [trade for trade in outcome.trades if trade.symbol == symbol]
        drawn = trades[-MOST_DRAWN:]
        size = 4.0 if len(drawn) <= 60 else 2.6 if len(drawn) <= 400 else 1.6
        at = [float(point.at) for point in points]
        low, high = [point.low for point in points], [point.high for point in points]
        frame = svg.frame_of(at, low, high, 340)
        shapes = [
            svg.area(frame, list(zip(at, high, strict=True)), list(zip(at, low, strict=True)), "band"),
            svg.line(frame, [(point.at, point.last) for point in points], "price"),
            *(shape for trade in drawn for shape in _drawn(frame, trade, size)),
        ]
        yield f"<h2>Trades on {escape(symbol)}</h2>"
        yield svg.chart(f"price of {symbol} with its trades", frame, shapes, _price_text(frame))
        left_out = f" The last {len(drawn)} of {len(trades)} are drawn." if len(drawn) < len(trades) else ""
        yield f'<p class="legend">A line from entry to exit per trade, green where it won. ▲ bought to open, ▼ sold to open.{left_out}</p>'


def _price_text(frame: svg.Frame) -> Callable[[float], str]:
    span = frame.y1 - frame.y0
    places = 0 if span > 20 else 2 if span > 0.2 else 6
    return lambda value: f"{value:,.{places}f}"


def _percent_text(frame: svg.Frame) -> Callable[[float], str]:
    span = frame.y1 - frame.y0
    places = 0 if span > 10 else 1 if span > 1 else 2 if span > 0.1 else 4
    return lambda value: f"{value + 0.0:.{places}f} %"


def _drawn(frame: svg.Frame, trade: ReplayTrade, size: float) -> Iterator[str]:
    css = "won" if trade.profit > 0 else "lost"
    said = f"{trade.side} {short(trade.quantity)}: {short(trade.entry_price)} → {short(trade.exit_price)}, {trade.exit_reason}, {trade.profit_ratio * 100:+.2f} %"
    start = (float(trade.opened_ms), float(trade.entry_price))
    yield svg.segment(frame, start, (float(trade.closed_ms), float(trade.exit_price)), css, said)
    yield svg.marker(frame, start, css, said, up=trade.side == "long", size=size)


def _reasons(outcome: Outcome) -> Iterator[str]:
    sums: dict[str, list[float]] = {}
    for trade in outcome.trades:
        sums.setdefault(trade.exit_reason, []).append(float(trade.profit))
    rows = [
        (reason, float(len(profits)), "won" if sum(profits) > 0 else "lost", _told(profits))
        for reason, profits in sorted(sums.items(), key=lambda item: (-len(item[1]), item[0]))
    ]
    yield "<h2>Exit reasons</h2>"
    yield svg.bars(rows, "trades by exit reason") if rows else '<p class="legend">No trade was made.</p>'


def _told(profits: Sequence[float]) -> str:
    wins = sum(profit > 0 for profit in profits)
    trades = "1 trade" if len(profits) == 1 else f"{len(profits)} trades"
    return f"{trades}, {wins} won, {sum(profits):+,.2f}"


def _policy(settings: Settings) -> Iterator[str]:
    policy = effective_policy(settings)
    off = [name for name, value in policy.items() if value == "off"]
    rows = "".join(
        f'<tr><td class="text">{escape(name)}</td><td class="text">{escape(value)}</td></tr>'
        for name, value in policy.items()
        if value != "off"
    )
    rows += f'<tr><td class="text">off</td><td class="text wide">{escape(", ".join(off))}</td></tr>'
    yield f'<h2>Effective policy</h2><div class="scroll"><table class="policy"><tbody>{rows}</tbody></table></div>'


def _trades(outcome: Outcome) -> Iterator[str]:
    shown = outcome.trades[-MOST_LISTED:]
    head = (
        '<tr><th class="text">opened</th><th class="text">closed</th><th class="text">symbol</th><th class="text">side</th><th>quantity</th>'
        '<th>entry</th><th>exit</th><th class="text">reason</th><th>profit</th><th>%</th></tr>'
    )
    title = (
        f"The last {len(shown)} of {len(outcome.trades)} trades"
        if len(shown) < len(outcome.trades)
        else "Trades"
    )
    yield f'<h2>{title}</h2><div class="scroll"><table><thead>{head}</thead><tbody>'
    for trade in shown:
        css = _mood(float(trade.profit))
        texts = (moment(trade.opened_ms), moment(trade.closed_ms), trade.symbol, trade.side)
        cells = "".join(f'<td class="text">{escape(text)}</td>' for text in texts)
        amounts = (canonical(trade.quantity), short(trade.entry_price), short(trade.exit_price))
        cells += "".join(f"<td>{text}</td>" for text in amounts)
        cells += f'<td class="text">{escape(trade.exit_reason)}</td><td class="{css}">{float(trade.profit):,.2f}</td>'
        yield f'<tr>{cells}<td class="{css}">{trade.profit_ratio * 100:+.2f}</td></tr>'
    yield "</tbody></table></div>"
