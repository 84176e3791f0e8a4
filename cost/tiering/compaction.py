"""Whether objects are too small to be stored one by one: what putting them together would save. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from cost.amount import money
from cost.tiering.bill import bill
from cost.tiering.charges import Access, Floats
from cost.tiering.fees import GETS, PUTS, Fees
from cost.tiering.judging import Case, allowed_classes, monthly_factor
from cost.tiering.model import GIB, KEEP, MIB, Schedule, StorageClass
from cost.tiering.planner import cheapest, costs
from cost.tiering.population import Group, quantities, tables

PACK_BYTES = 128 * MIB
TOO_SMALL_BYTES = MIB
"""Below it fees by object outweigh those by GiB: the monitoring fee alone is 11 % of 1 MiB's storage."""
_LEAST_OBJECTS = 1000
_LEAST_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class Compaction:
    """Small objects put together.

    Attributes:
        objects: How many there are.
        packs: How many it would be.
        schedule: The rule of the packs.
        once_usd: Reading and writing everything once.
        saves_usd: A month, that spread over the data's life.
        because: The arithmetic, in words; why it is refused, where it is.
        refused: Whether it is.
    """

    objects: int
    packs: int
    schedule: Schedule
    once_usd: float
    saves_usd: float
    because: str
    refused: bool


def compaction(case: Case, usd_then: float, fees: Fees, *, locked: int) -> Compaction | None:
    """Return what packs of 128 MiB would save beside the best rule for single objects; None: objects are large or few.

    A read of an object becomes a range of a pack: as many requests and bytes. A pack idles only while all of it does, so
    Intelligent-Tiering is given the least that is certain.

    Args:
        case: The cell.
        usd_then: What its objects cost under the best rule, over their lives.
        fees: Prices.
        locked: How many objects are under retention or hold, and can be neither replaced nor deleted.
    """
    access = case.evidence.access
    there = [group for group in case.groups if group.now is StorageClass.STANDARD]
    objects = sum(float(group.objects.sum()) for group in there)
    gib = sum(float(group.gib.sum()) for group in there)
    if access is None or objects < _LEAST_OBJECTS or gib * GIB / objects >= TOO_SMALL_BYTES:
        return None
    packs = max(1.0, gib * GIB / PACK_BYTES)
    packed = _packed(there, packs / objects)
    charges = tables(_as_packs(access, objects / packs), small=False)
    rule = cheapest(packed, charges, fees.usd, allowed_classes(case, fees)).schedule
    once = objects / 1000 * fees.usd(GETS) + packs / 1000 * fees.usd(PUTS)
    whole = costs(rule, packed, charges, fees.usd) + once
    saves = usd_then - whole
    if np.isnan(saves):
        return None
    text = (
        f"{objects - case.to_come:,.0f} objects of {gib * GIB / objects / 1024:.0f} KiB and {case.to_come:,.0f} to come become {packs:,.0f}, then {rule}: "
        f"{money(bill(quantities(rule, packed, charges), fees).usd)} and {money(Decimal(repr(once)))} once, "
        f"against {money(Decimal(repr(usd_then)))} over {case.life_days} days"
    )
    refused = ""
    if locked:
        refused = (
            f"{locked:,} objects are under retention or legal hold and can be neither replaced nor deleted; {text}"
        )
    elif saves < _LEAST_SHARE * usd_then:
        refused = f"it does not pay: {text}"
    return Compaction(
        round(objects - case.to_come),
        int(np.ceil(packs)),
        rule if not refused else KEEP,
        once,
        saves * float(monthly_factor(there, case.to_come)),
        refused or text,
        bool(refused),
    )


def _packed(groups: Sequence[Group], share: float) -> list[Group]:
    return [Group(each.ages, each.objects * share, each.gib, each.life_days, each.now) for each in groups]


def _as_packs(access: Access, members: float) -> Access:
    touched = np.minimum(1.0, access.read_days * members)
    total = np.concatenate(([0.0], np.cumsum(touched)))
    days = np.arange(access.days)

    def idle(span: int) -> Floats:
        touches = total[days + 1] - total[np.maximum(0, days + 1 - span)]
        return np.asarray(np.clip(1 - touches, 0.0, 1.0))

    return Access(access.gets * members, access.read_share, touched, touched, idle(30), idle(90))
