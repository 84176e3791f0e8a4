"""Rows of the spot bench -> one SVG: what each policy pays, from the optimum up (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

from tests.bench.spot import Row

_COLOURS = ("#1f6feb", "#d97706", "#15803d", "#9ca3af")
_NAMES = ("ours", "Uniform Progress", "optimum", "greedy")
_LEFT, _WIDTH, _ROW = 430, 520, 30


def picture(rows: Sequence[Row]) -> str:
    """Return one line a row with bills: a dot a policy, dollars to the right."""
    billed = [row for row in rows if row.paid_usd]
    low = min(usd for row in billed for usd in row.paid_usd) * 0.95
    high = max(usd for row in billed for usd in row.paid_usd) * 1.02
    height = _ROW * (len(billed) + 2) + 20

    def x(usd: float) -> float:
        return _LEFT + (usd - low) / (high - low) * _WIDTH

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_LEFT + _WIDTH + 90}" height="{height}" font-family="sans-serif" font-size="13">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for at, (name, colour) in enumerate(zip(_NAMES, _COLOURS, strict=True)):
        parts.append(
            f'<circle cx="{_LEFT + at * 135}" cy="18" r="5" fill="{colour}"/><text x="{_LEFT + 10 + at * 135}" y="22">{name}</text>'
        )
    for at, row in enumerate(billed):
        y = _ROW * (at + 2)
        label = escape(row.name.partition(":")[0])
        parts.append(f'<text x="10" y="{y + 4}">{label}</text>')
        parts.append(
            f'<line x1="{x(min(row.paid_usd)):.1f}" x2="{x(max(row.paid_usd)):.1f}" y1="{y}" y2="{y}" stroke="#d1d5db"/>'
        )
        for usd, colour in reversed(list(zip(row.paid_usd, _COLOURS, strict=True))):
            parts.append(f'<circle cx="{x(usd):.1f}" cy="{y}" r="5" fill="{colour}"><title>${usd:.2f}</title></circle>')
        parts.append(
            f'<text x="{x(max(row.paid_usd)) + 10:.1f}" y="{y + 4}" fill="#6b7280">${row.paid_usd[0]:.2f}</text>'
        )
    parts.append(f'<text x="{_LEFT}" y="{height - 12}" fill="#6b7280">mean dollars a job of 48 h</text></svg>')
    return "\n".join(parts) + "\n"
