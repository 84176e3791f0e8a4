"""Pictures of the page, as SVG: bars and ranges. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from html import escape

from cost.amount import ZERO, money

_ROW_PX, _LABEL_PX, _WIDTH_PX, _TEXT_PX = 24, 230, 900, 210


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar.

    Attributes:
        label: What it is of.
        usd: Its length.
        most: A lighter bar behind it; None where there is none or nobody knows.
        said: The words behind it.
    """

    label: str
    usd: Decimal
    most: Decimal | None
    said: str


@dataclass(frozen=True, slots=True)
class Span:
    """One range; an end that is not known has none.

    Attributes:
        label: What it is of.
        low: Where it begins.
        high: Where it ends.
        said: The words behind it.
    """

    label: str
    low: Decimal | None
    high: Decimal | None
    said: str


def bars(items: Sequence[Bar], title: str) -> str:
    """Return a picture of bars; their lengths are true to one scale."""
    widest = max((max(item.usd, item.most or ZERO) for item in items), default=ZERO)
    rows = []
    for place, item in enumerate(items):
        y = place * _ROW_PX
        if item.most is not None:
            rows.append(_box("most", y, _px(item.most, widest)))
        rows.append(_box("desired", y, _px(item.usd, widest)))
        rows.append(_words(item.label, item.said, y))
    return _svg(rows, len(items), title)


def spans(items: Sequence[Span], title: str) -> str:
    """Return a picture of ranges."""
    widest = max((item.high or item.low or ZERO for item in items), default=ZERO)
    rows = []
    for place, item in enumerate(items):
        y = place * _ROW_PX
        if item.high is not None:
            start = _LABEL_PX + _px(item.low or ZERO, widest)
            end = max(_LABEL_PX + _px(item.high, widest), start + 2)
            dashed = ' stroke-dasharray="3 3"' if item.low is None else ""
            rows.append(f'<line class="range" x1="{start}" x2="{end}" y1="{y + 12}" y2="{y + 12}"{dashed}/>')
        rows.append(_words(item.label, item.said, y))
    return _svg(rows, len(items), title)


def _px(usd: Decimal, widest: Decimal) -> int:
    return int(usd / widest * (_WIDTH_PX - _LABEL_PX - _TEXT_PX)) if widest > 0 else 0


def _box(kind: str, y: int, width: int) -> str:
    return f'<rect class="{kind}" x="{_LABEL_PX}" y="{y + 4}" width="{width}" height="{_ROW_PX - 8}"/>'


def _words(label: str, said: str, y: int) -> str:
    left = f'<text x="{_LABEL_PX - 8}" y="{y + 16}" text-anchor="end">{escape(label[:34])}</text>'
    return f'{left}<text x="{_WIDTH_PX - _TEXT_PX + 8}" y="{y + 16}">{escape(said)}</text>'


def _svg(rows: list[str], count: int, title: str) -> str:
    height = max(count, 1) * _ROW_PX
    head = f'<svg role="img" viewBox="0 0 {_WIDTH_PX} {height}" width="100%"><title>{escape(title)}</title>'
    return f"{head}{''.join(rows)}</svg>"


def range_words(low: Decimal | None, high: Decimal | None) -> str:
    """Say a range; what is not known of it is said to be unknown."""
    ends = ["unknown" if usd is None else money(usd) for usd in (low, high)]
    return f"{ends[0]} to {ends[1]}"
