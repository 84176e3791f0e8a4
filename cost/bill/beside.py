"""A bill beside a plan, for people and for machines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from cost.amount import ZERO, money
from cost.bill.comparing import Compared, compare, months_of
from cost.bill.reading import read_bill
from cost.plan.estimate import Estimate
from platform_lib.console import OUT
from platform_lib.table import Column, print_table


@dataclass(frozen=True, slots=True)
class Beside:
    """A bill beside a plan.

    Attributes:
        rows: A row a meter and region.
        months: For how much of a month the bill is.
    """

    rows: tuple[Compared, ...]
    months: Decimal

    @property
    def paid_usd(self) -> Decimal:
        """The whole bill."""
        return sum((row.paid_usd for row in self.rows), ZERO)


def lay_beside(found: Estimate, bill: Path) -> Beside:
    """Read a bill and compare it.

    Raises:
        ConfigError: It is no bill.
        CorruptLog: A line of it cannot be read.
    """
    charges = read_bill(bill)
    return Beside(compare(found, charges), months_of(charges))


def bill_document(beside: Beside | None) -> dict[str, Any]:
    """Return it as plain content; nothing where there is no bill."""
    if beside is None:
        return {}
    return {
        "bill": {
            "months": _plain(beside.months),
            "paid_usd": _plain(beside.paid_usd),
            "rows": [
                {
                    "meter": row.what,
                    "region": row.region,
                    "planned_usd": _plain(row.planned_usd),
                    "paid_usd": _plain(row.paid_usd),
                    "planned_units": _plain(row.planned_units),
                    "paid_units": _plain(row.paid_units),
                    "by_quantity_usd": _plain(row.by_quantity_usd),
                    "by_price_usd": _plain(row.by_price_usd),
                    "why": row.why,
                }
                for row in beside.rows
            ],
        }
    }


def _plain(value: Decimal | None) -> float | None:
    return None if value is None else round(float(value), 6)


def show_bill(beside: Beside | None) -> None:
    """Print it; nothing where there is no bill."""
    if beside is None:
        return
    OUT.print(f"\n[bold]paid[/]: {money(beside.paid_usd)} for {beside.months:.2f} months", highlight=False)
    columns: Sequence[Column] = (
        Column("meter"),
        Column("region"),
        Column("planned", right=True),
        Column("paid", right=True),
        Column("why"),
    )
    rows = [
        [
            row.what,
            row.region,
            "unknown" if row.planned_usd is None else money(row.planned_usd),
            money(row.paid_usd),
            row.why,
        ]
        for row in beside.rows
    ]
    print_table(columns, rows)
