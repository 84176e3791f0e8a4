"""Lines -> the one table that is printed, and the document for machines (pure)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from tests.bench.verdict import Line

_HEADS = (
    "work", "peer", "unit", "ours / peer", "ratio (asked)", "floor (read+inflate+CRC+copy)", "x floor",
    "peak MB ours / peer", "holds?",
)  # fmt: skip


def table(lines: Sequence[Line]) -> str:
    """Return the lines as a Markdown table with columns that stand under each other."""
    rows = [_HEADS, *(_cells(line) for line in lines)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(_HEADS))]
    texts = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    return "\n".join([texts[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *texts[1:]])


def _cells(line: Line) -> tuple[str, ...]:
    parts = "+".join(f"{line.parts[name]:.2f}" for name in ("read", "inflate", "crc", "copy") if name in line.parts)
    asked = "-" if line.required_ratio is None else f">= {line.required_ratio:g}"
    return (
        line.work,
        line.peer,
        line.unit,
        f"{line.ours.value:.2f} / {line.theirs.value:.2f}",
        f"{line.ratio:.2f} ({asked})",
        f"{line.floor:.2f}" + (f" ({parts})" if parts else ""),
        f"{line.times_floor:.2f}",
        f"{_megabytes(line.ours.peak_bytes)} / {_megabytes(line.theirs.peak_bytes)}",
        line.outcome,
    )


def _megabytes(size_bytes: int | None) -> str:
    return "-" if size_bytes is None else f"{size_bytes / 1e6:.0f}"


def document(lines: Sequence[Line], conditions: dict[str, Any]) -> dict[str, Any]:
    """Return everything that was measured, for ``--json``."""
    found = []
    for line in lines:
        values = dataclasses.asdict(line)
        values |= {"ratio": line.ratio, "times_floor": line.times_floor, "outcome": line.outcome}
        found.append(values)
    return {"conditions": conditions, "lines": found}
