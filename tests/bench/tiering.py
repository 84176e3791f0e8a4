"""`make bench ONLY=tiering`: schedules found on one part of generated accesses, paid for on another.

Where a law is random, the schedule is chosen on the even objects and measured on the odd ones, which it never saw; a law that is
predictable reads every object alike, and both parts are the same objects. "Plain" is the best of the rules that people write, chosen
in hindsight on what is measured. The optimum knows each object's reads: `by rules` moves it by lifecycle alone, `with copies` also
copies it back to Standard, which no rule can.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from cost.prices.snapshot import load
from cost.tiering.fees import Fees, fees_of
from cost.tiering.model import INTELLIGENT, SMALL_BYTES, Schedule, StorageClass
from cost.tiering.optimum import optimum
from cost.tiering.planner import cheapest, costs, fixed_rules
from cost.tiering.population import Group, tables
from cost.tiering.replay import replay
from cost.tiering.trace import seen
from tests.bench.access_laws import GIB, LAWS, SIZES, Law, Objects, make

INSTANT = (StorageClass.INTELLIGENT_TIERING, StorageClass.STANDARD_IA, StorageClass.GLACIER_IR)
WAITING = (*INSTANT, StorageClass.GLACIER, StorageClass.DEEP_ARCHIVE)


@dataclass(frozen=True, slots=True)
class TieringRow:
    """One law and size; USD of all measured objects over their lives.

    Attributes:
        law: How objects are read.
        size: About how large they are.
        predictable: Whether all are read alike.
        schedule: What was chosen.
        ours: What it costs.
        intelligent: Intelligent-Tiering from the first day.
        plain: The best plain rule, in hindsight.
        plain_rule: Which.
        by_rules: The optimum of lifecycle moves.
        with_copies: The optimum that copies back, too.
        plan_s: CPU seconds of choosing.
    """

    law: str
    size: str
    predictable: bool
    schedule: str
    ours: float
    intelligent: float
    plain: float
    plain_rule: str
    by_rules: float
    with_copies: float
    plan_s: float

    @property
    def against_baselines(self) -> float:
        """Ours, of the cheaper of Intelligent-Tiering and the best plain rule."""
        return self.ours / min(self.intelligent, self.plain)

    @property
    def against_optimum(self) -> float:
        """Ours, of the optimum of lifecycle moves."""
        return self.ours / self.by_rules

    @property
    def holds(self) -> bool:
        """Whether it is never dearer than the baselines and, where reads are predictable, within 5 % of the optimum."""
        return self.against_baselines <= 1 + 1e-9 and (not self.predictable or self.against_optimum <= 1.05)


def measure_row(
    law: Law, size: str, fees: Fees, allowed: Sequence[StorageClass], *, objects: int, days: int, seed: int = 20261130
) -> TieringRow:
    """Choose a schedule on the training part and pay for it on the measured one."""
    made = make(law, SIZES[size], objects=objects, days=days, seed=seed)
    train, held = (made, made) if law.predictable else (made.part(slice(0, None, 2)), made.part(slice(1, None, 2)))
    small = SIZES[size] < SMALL_BYTES
    begin = time.process_time()
    found = seen(train.trace(), days)
    plan = cheapest([_group(train, days)], tables(found.access, small=small), fees.usd, allowed)
    plan_s = time.process_time() - begin
    charges, group = tables(seen(held.trace(), days).access, small=small), [_group(held, days)]

    def paid(rule: Schedule) -> float:
        return costs(rule, group, charges, fees.usd)

    plain = min(fixed_rules(allowed), key=paid)
    arguments = (held.size_bytes, held.gets, held.read_bytes, fees.usd)
    return TieringRow(
        law.name,
        size,
        law.predictable,
        str(plan.schedule),
        float(replay(plan.schedule, *arguments).sum()),
        paid(INTELLIGENT),
        paid(plain),
        str(plain),
        float(optimum(*arguments, allowed, copies=False).sum()),
        float(optimum(*arguments, allowed).sum()),
        plan_s,
    )


def _group(objects: Objects, days: int) -> Group:
    count = float(len(objects.size_bytes))
    return Group(np.array([0]), np.array([count]), np.array([objects.size_bytes.sum() / GIB]), days)


def measure_tiering(tell: Callable[[str], None], *, objects: int = 400, days: int = 365) -> dict[str, list[TieringRow]]:
    """Measure every law and size: with classes that are read at once, and with those that have to be restored, too."""
    fees = fees_of(load(), "us-east-1")
    found = {}
    for title, allowed in (("read at once", INSTANT), ("a reader may wait 48 h", WAITING)):
        begin = time.perf_counter()
        found[title] = [
            measure_row(law, size, fees, allowed, objects=objects, days=days) for law in LAWS for size in SIZES
        ]
        tell(f"tiering, {title}: {time.perf_counter() - begin:.0f} s")
    return found


def tiering_table(found: dict[str, list[TieringRow]]) -> str:
    """Return the rows as Markdown tables."""
    lines = []
    for title, rows in found.items():
        lines += [
            f"### S3 tiering, {title}: cost of a schedule chosen on the training part, on the measured part\n",
            "| law | size | ours / min(Intelligent-Tiering, best plain rule) | ours / optimum by rules | with copies |"
            " IT / ours | best plain rule | ours | holds? |",
            "|---|---|---|---|---|---|---|---|---|",
        ]
        for row in rows:
            law = f"{row.law}{' (predictable)' if row.predictable else ''}"
            lines.append(
                f"| {law} | {row.size} | {row.against_baselines:.4f} | {row.against_optimum:.3f} | "
                f"{row.ours / row.with_copies:.3f} | {row.intelligent / row.ours:.3f} | {row.plain_rule} | {row.schedule} | "
                f"{'holds' if row.holds else 'NOT MET'} |"
            )
        known = [row for row in rows if row.predictable]
        lines += [
            "",
            f"dearest against the baselines: {max(row.against_baselines for row in rows):.4f} (asked <= 1); against the optimum by "
            f"rules where predictable: {max(row.against_optimum for row in known):.3f} (asked <= 1.05), against the one with "
            f"copies {max(row.ours / row.with_copies for row in known):.3f}; a plan takes {max(row.plan_s for row in rows):.2f} CPU s at most\n",
        ]
    return "\n".join(lines)
