"""Who pays for what: a bill by team, idle accelerators apart, and what a kilometre or a scenario cost. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal

from cost.amount import ZERO
from cost.bill.model import Charge
from cost.focus.activity import ActivityFile, UnitActivity

NOBODY = "(no tag)"
# Families with accelerators. Source: AWS, "Amazon EC2 accelerated computing instances".
_ACCELERATED = re.compile(r"^(p\d|g\d|gr\d|inf\d|trn\d|dl\d)")


@dataclass(frozen=True, slots=True)
class Allotted:
    """A charge, or a part of one, and what it is.

    Attributes:
        charge: The charge; quantity and dollars are the part's.
        part: `used`, `idle`, `unmeasured` accelerator time, or `whole` for anything else.
        share: Of the charge.
    """

    charge: Charge
    part: str
    share: Decimal = Decimal(1)

    @property
    def team(self) -> str:
        """Who pays."""
        return self.charge.tags.get("team", NOBODY)


@dataclass(frozen=True, slots=True)
class UnitCost:
    """What one unit of work cost.

    Attributes:
        unit: The unit.
        count: How many.
        usd: What was paid for all of them.
        usd_per_unit: For one; None where there was none: nothing per nothing is unknown.
    """

    unit: str
    count: Decimal
    usd: Decimal
    usd_per_unit: Decimal | None


def allot(charges: Iterable[Charge], activity: ActivityFile) -> tuple[Allotted, ...]:
    """Split hours of accelerators into used and idle; the parts add up to the charge, to the last digit.

    Time of a pool of which nothing was measured is `unmeasured`: neither used nor idle, and never idle 0.
    """
    busy = {item.pool: item.busy_share for item in activity.pools}
    return tuple(part for charge in charges for part in _parts(charge, busy))


def _parts(charge: Charge, busy: dict[str, Decimal]) -> Iterator[Allotted]:
    kind = charge.instance_type
    if kind is None or _ACCELERATED.match(kind) is None:
        yield Allotted(charge, "whole")
        return
    share = busy.get(charge.tags.get("pool", ""))
    if share is None:
        yield Allotted(charge, "unmeasured")
        return
    used = replace(charge, usd=charge.usd * share, quantity=charge.quantity * share)
    idle = replace(charge, usd=charge.usd - used.usd, quantity=charge.quantity - used.quantity)
    if share > ZERO:
        yield Allotted(used, "used", share)
    if share < 1:
        yield Allotted(idle, "idle", 1 - share)


def by_team(parts: Iterable[Allotted]) -> dict[str, dict[str, Decimal]]:
    """Return USD by team and part, dearest team first."""
    found: dict[str, dict[str, Decimal]] = {}
    for item in parts:
        row = found.setdefault(item.team, {})
        row[item.part] = row.get(item.part, ZERO) + item.charge.usd
    return dict(sorted(found.items(), key=lambda item: -sum(item[1].values())))


def unit_costs(parts: Iterable[Allotted], units: Iterable[UnitActivity]) -> tuple[UnitCost, ...]:
    """Return what units of work cost: everything their pools and teams paid, idle time and storage among it."""
    known = list(parts)
    return tuple(_unit(known, unit) for unit in units)


def _unit(parts: list[Allotted], unit: UnitActivity) -> UnitCost:
    chosen = [
        item
        for item in parts
        if (not unit.pools and not unit.teams)
        or item.charge.tags.get("pool") in unit.pools
        or item.charge.tags.get("team") in unit.teams
    ]
    usd = sum((item.charge.usd for item in chosen), ZERO)
    return UnitCost(unit.unit, unit.count, usd, usd / unit.count if unit.count else None)


def unknown_names(parts: Iterable[Allotted], activity: ActivityFile) -> tuple[str, ...]:
    """Return pools and teams that the activity file names and the bill does not know: misspelt, most likely."""
    known = list(parts)
    pools = {item.charge.tags.get("pool") for item in known}
    teams = {item.charge.tags.get("team") for item in known}
    named = [("pool", item.pool, pools) for item in activity.pools]
    named += [("pool", name, pools) for unit in activity.units for name in unit.pools]
    named += [("team", name, teams) for unit in activity.units for name in unit.teams]
    return tuple(dict.fromkeys(f"{what} {name}" for what, name, there in named if name not in there))
