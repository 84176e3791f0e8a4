"""What was planned beside what was paid, meter by meter, and why they differ. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal

from cost.amount import ZERO, money
from cost.bill.model import Charge
from cost.plan.estimate import Estimate
from cost.plan.model import HOURS, Line
from cost.prices.model import Meter

_CENT = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Compared:
    """One meter in one region.

    Attributes:
        what: The meter, or the bill's own words for what no plan has.
        region: Where.
        planned_usd: For as long as the bill is of; None where it was not known.
        planned_units: How many units; None where that was not known.
        paid_usd: What was paid.
        paid_units: For how many units.
        by_quantity_usd: How much of the difference is other quantities, at the planned price; None where unknown.
        by_price_usd: How much is other prices, for what was used; None where unknown.
        why: In words.
    """

    what: str
    region: str
    planned_usd: Decimal | None
    planned_units: Decimal | None
    paid_usd: Decimal
    paid_units: Decimal
    by_quantity_usd: Decimal | None
    by_price_usd: Decimal | None
    why: str

    @property
    def difference_usd(self) -> Decimal | None:
        """Paid less planned; None where it was not known what was planned."""
        return None if self.planned_usd is None else self.paid_usd - self.planned_usd


@dataclass(slots=True)
class _Sum:
    usd: Decimal = ZERO
    units: Decimal = ZERO
    known: bool = True
    said: list[str] = field(default_factory=list)


def months_of(charges: Iterable[Charge]) -> Decimal:
    """Return for how much of a month of 730 hours a bill is."""
    known = list(charges)
    if not known:
        return ZERO
    seconds = (max(item.end for item in known) - min(item.start for item in known)).total_seconds()
    return Decimal(str(seconds)) / 3600 / HOURS


def compare(found: Estimate, charges: Iterable[Charge]) -> tuple[Compared, ...]:
    """Lay a bill beside a plan; every dollar of the bill is in one row, tax and credits among them.

    Args:
        found: The plan's estimate: what it asks for, for a month.
        charges: The bill, of whatever span.
    """
    known = list(charges)
    months = months_of(known)
    planned = _planned(found, months)
    paid: dict[tuple[str, str], _Sum] = {}
    for charge in known:
        key, per = _key(charge, planned)
        row = paid.setdefault(key, _Sum())
        row.usd += charge.usd
        row.units += charge.quantity / per
    rows = (_row(key, planned.get(key), paid.get(key)) for key in dict.fromkeys([*planned, *paid]))
    return tuple(sorted(rows, key=lambda item: -abs(item.difference_usd or item.paid_usd)))


def _planned(found: Estimate, months: Decimal) -> dict[tuple[str, str], _Sum]:
    sums: dict[tuple[str, str], _Sum] = {}
    for item in found.priced:
        for line in item.after:
            row = sums.setdefault((str(line.meter), item.resource.region or ""), _Sum())
            _add(row, line, months)
    return sums


def _add(row: _Sum, line: Line, months: Decimal) -> None:
    amount = line.expected
    row.usd += amount.usd * months
    if not amount.complete:
        row.known = False
        row.said.extend(reason for reason in line.reasons if reason not in row.said)
    if line.desired is not None:
        row.units += line.desired * months


def _key(charge: Charge, planned: dict[tuple[str, str], _Sum]) -> tuple[tuple[str, str], int]:
    if charge.kind != "usage":
        return (charge.kind, charge.region), 1
    found = charge.meter
    if found is None:
        return (f"{charge.service}: {charge.usage_type}", charge.region), 1
    meter, per = found
    own = (str(meter), charge.region)
    if own not in planned and charge.instance_type is not None:
        # A pool of several types is planned as one line.
        capacity = meter.item.split()[0]
        for what, region in planned:
            head = str(Meter("ec2", f"{capacity} any of "))
            if (
                region == charge.region
                and what.startswith(head)
                and charge.instance_type in what[len(head) :].split(", ")
            ):
                return (what, region), per
    return own, per


def _row(key: tuple[str, str], planned: _Sum | None, paid: _Sum | None) -> Compared:
    spent = paid or _Sum()
    if planned is None:
        why = "not in the plan" if key[0] not in {"tax", "credit", "other"} else "no plan has it"
        return Compared(*key, ZERO, ZERO, spent.usd, spent.units, spent.usd, ZERO, why)
    if not planned.known:
        why = f"not known when it was planned: {'; '.join(planned.said)}"
        return Compared(*key, None, None, spent.usd, spent.units, None, None, why)
    if paid is None or spent.units == ZERO:
        by_quantity = spent.usd - planned.usd
        why = "planned and not used" if planned.usd else "as planned"
        return Compared(*key, planned.usd, planned.units, spent.usd, spent.units, by_quantity, ZERO, why)
    rate = planned.usd / planned.units if planned.units else spent.usd / spent.units
    by_quantity = (spent.units - planned.units) * rate
    by_price = spent.usd - planned.usd - by_quantity
    why = _why(by_quantity, by_price)
    return Compared(*key, planned.usd, planned.units, spent.usd, spent.units, by_quantity, by_price, why)


def _why(by_quantity: Decimal, by_price: Decimal) -> str:
    said = []
    if abs(by_quantity) >= _CENT:
        said.append(f"{'more' if by_quantity > 0 else 'less'} used: {money(by_quantity)}")
    if abs(by_price) >= _CENT:
        said.append(f"{'dearer' if by_price > 0 else 'cheaper'}: {money(by_price)}")
    return ", ".join(said) or "as planned"
