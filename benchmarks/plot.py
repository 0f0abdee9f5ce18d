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
