"""A plot without a plotting library: bars of each ratio against its first bound, as SVG."""

from typing import Any


def plot(rows: list[dict[str, Any]]) -> str:
    """Each row a bar; 1.0 on the axis is the first bound, and towards the left is better in both senses."""
    width, bar, left = 900, 34, 430
    height = 70 + bar * len(rows)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="13">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        '<text x="12" y="22" font-size="15" font-weight="bold">Cost against the first bound (shorter is better; the line is the bound)</text>',
    ]
    scale = (width - left - 90) / 2
    for number, entry in enumerate(rows):
        bound, ratio = float(str(entry["first"]).split()[1]), float(entry["ratio"])
        cost = (bound / ratio if str(entry["first"]).startswith(">=") else ratio / bound) if ratio else 2.0
        y, length = 44 + bar * number, min(cost, 2.0) * scale
        colour = "#2b8a3e" if entry["first_reached"] else "#c92a2a"
        parts.append(f'<text x="{left - 8}" y="{y + 15}" text-anchor="end">{str(entry["what"])[:62]}</text>')
        parts.append(f'<rect x="{left}" y="{y}" width="{length:.1f}" height="{bar - 12}" fill="{colour}"/>')
        parts.append(f'<text x="{left + length + 6:.1f}" y="{y + 15}">{ratio:g}  ({entry["first"]})</text>')
    parts.append(
        f'<line x1="{left + scale}" y1="34" x2="{left + scale}" y2="{height - 20}" stroke="#333" stroke-dasharray="4 3"/>'
    )
    return "\n".join([*parts, "</svg>", ""])


COLOURS = ("#1c7ed6", "#c92a2a", "#2b8a3e", "#e67700", "#862e9c", "#0b7285", "#5c940d", "#a61e4d", "#343a40")
Panel = tuple[str, dict[str, list[float]]]


def lines(title: str, at: list[float], panels: list[Panel], unit: str, dashed: str = "") -> str:
    """Panels one below the other, each with its own axis from zero (or from what lies below it) and its lines over *at*, in *unit*.

    *dashed*: the name of a line that is black and dashed.
    """
    width, height, left, right = 900, 210, 70, 190
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {40 + height * len(panels)}" font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{40 + height * len(panels)}" fill="white"/>',
        f'<text x="12" y="24" font-size="15" font-weight="bold">{title}</text>',
    ]
    for number, (name, series) in enumerate(panels):
        top, bottom = 40 + height * number + 24, 40 + height * (number + 1) - 24
        most = max((max(values) for values in series.values()), default=0) or 1
        least = min(0, min((min(values) for values in series.values()), default=0))
        parts += [
            f'<text x="{left}" y="{top - 8}" font-weight="bold">{name}</text>',
            f'<line x1="{left}" y1="{bottom}" x2="{width - right}" y2="{bottom}" stroke="#333"/>',
            f'<text x="{left - 6}" y="{top + 6}" text-anchor="end">{most:,.4g}</text>',
            f'<text x="{left - 6}" y="{bottom}" text-anchor="end">{least:,.4g}</text>',
            f'<text x="{width - right}" y="{bottom + 16}" text-anchor="end">{at[-1]:.0f} {unit}</text>',
        ]
        if least < 0:
            zero = bottom + (bottom - top) * least / (most - least)
            parts.append(
                f'<line x1="{left}" y1="{zero:.1f}" x2="{width - right}" y2="{zero:.1f}" stroke="#999" stroke-dasharray="4 3"/>'
            )
            if zero > top + 20 and zero < bottom - 12:  # not on the two others
                parts.append(f'<text x="{left - 6}" y="{zero:.1f}" text-anchor="end">0</text>')
        for index, (label, values) in enumerate(series.items()):
            colour = "#000" if label == dashed else COLOURS[index % len(COLOURS)]
            dash = ' stroke-dasharray="6 4"' if label == dashed else ""
            points = " ".join(
                f"{left + (width - left - right) * x / (at[-1] or 1):.1f},{bottom - (bottom - top) * (y - least) / (most - least):.1f}"
                for x, y in zip(at, values, strict=True)
            )
            parts.append(
                f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.4"{dash}/>'
            )
            parts.append(
                f'<text x="{width - right + 8}" y="{top + 12 + 13 * index}" fill="{colour}">{label}</text>'
            )
    return "\n".join([*parts, "</svg>", ""])
