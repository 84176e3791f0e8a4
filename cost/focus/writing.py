"""Writes FOCUS rows, and shows who pays."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from cost.amount import ZERO, money
from cost.focus.activity import ActivityFile
from cost.focus.rows import Row, as_1_4
from cost.focus.showback import Allotted, by_team, unit_costs
from platform_lib.console import OUT
from platform_lib.storage import publish_bytes
from platform_lib.table import Column, print_table

_PARTS = ("whole", "used", "idle", "unmeasured")


def write_rows(path: Path, rows: Sequence[Row], version: str) -> None:
    """Write rows as CSV, whole or not at all."""
    chosen = [as_1_4(row) for row in rows] if version == "1.4" else list(rows)
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, fieldnames=list(chosen[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(chosen)
    publish_bytes(path, stream.getvalue().encode())


def document_of(parts: Sequence[Allotted], done: ActivityFile, *, rows: int, out: Path | None) -> dict[str, Any]:
    """Return who pays, as plain content."""
    return {
        "paid_usd": float(sum((item.charge.usd for item in parts), ZERO)),
        "by_team": {
            team: {"usd": float(sum(row.values(), ZERO)), **{f"{part}_usd": float(usd) for part, usd in row.items()}}
            for team, row in by_team(parts).items()
        },
        "units": [
            {
                "unit": item.unit,
                "count": float(item.count),
                "usd": float(item.usd),
                "usd_per_unit": None if item.usd_per_unit is None else float(item.usd_per_unit),
            }
            for item in unit_costs(parts, done.units)
        ],
        "focus_rows": rows,
        "out": out,
    }


def show(parts: Sequence[Allotted], done: ActivityFile) -> None:
    """Print who pays, and what units of work cost."""
    columns = (Column("team"), Column("USD", right=True), *(Column(f"of it {part}", right=True) for part in _PARTS))
    rows = [
        [team, money(sum(row.values(), ZERO)), *(_or_none(row.get(part)) for part in _PARTS)]
        for team, row in by_team(parts).items()
    ]
    print_table(columns, rows)
    for item in unit_costs(parts, done.units):
        each = "unknown: there was none" if item.usd_per_unit is None else f"${item.usd_per_unit:,.4f}"
        OUT.print(f"{item.unit}: {each} ({item.count:,f} for {money(item.usd)})", highlight=False)


def _or_none(usd: Decimal | None) -> str:
    return "" if usd is None else money(usd)
