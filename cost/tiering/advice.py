"""A bucket's verdicts, cell by cell, and what is written from them: rules, proposals, a document. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

import numpy as np

from cost.amount import Amount, money, total
from cost.prices.model import Price, provenance
from cost.tiering.cells import Holding, groups_of, holding_of
from cost.tiering.charges import Access
from cost.tiering.compaction import Compaction, compaction
from cost.tiering.fees import Fees
from cost.tiering.judging import LOOK_DAYS, Case, Evidence, Refusal, Saving, Verdict, judge
from cost.tiering.lifecycle import CurrentRules, nested, schedule_of
from cost.tiering.model import MONTH_DAYS, SIZE_CLASSES, Schedule
from cost.tiering.planner import costs
from cost.tiering.population import tables
from cost.tiering.sampling import Cell, Holdings
from cost.tiering.settings import PrefixSettings, TieringFile
from cost.tiering.trace import Trace, seen

_FEW = 100


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """What a bucket's advice is made of.

    Attributes:
        holdings: Its inventory.
        traces: What was watched, by cell; empty where no log was given.
        watched_days: For how long.
        rates: Average reads by prefix (requests an object and day, share of bytes a day, days), of Storage Lens.
        settings: What the owner says.
        current: The bucket's rules.
        fees: Prices.
        life_days: How old objects get where the settings do not say.
        plan_days: For how many days to count what arrives.
        share: The share of objects that was watched.
    """

    holdings: Holdings
    traces: Mapping[Cell, Trace]
    watched_days: int
    rates: Mapping[str, tuple[float, float, int]]
    settings: TieringFile
    current: CurrentRules | None
    fees: Fees
    life_days: int
    plan_days: int
    share: float


@dataclass(frozen=True, slots=True, eq=False)
class CellAdvice:
    """One line of the advice."""

    prefix: str
    size_class: int
    holding: Holding
    life_days: int
    current: Schedule
    verdict: Verdict
    compaction: Compaction | None
    notes: tuple[str, ...]

    @property
    def changes(self) -> bool:
        """Whether a rule is proposed."""
        return self.verdict.schedule != self.current


def advise(asked: Asked) -> Iterator[CellAdvice]:
    """Yield the advice on every cell, prefix by prefix."""
    prefixes = sorted({prefix for prefix, _ in asked.holdings.cells})
    for prefix, number in sorted(asked.holdings.cells):
        yield _cell(asked, prefix, number, prefixes)


def _cell(asked: Asked, prefix: str, number: int, prefixes: Sequence[str]) -> CellAdvice:
    kinds, settings = asked.holdings.cells[prefix, number], asked.settings.of(prefix)
    life = _life(asked, settings)
    holding = holding_of(kinds, life)
    size, notes = SIZE_CLASSES[number], []
    current, odd = schedule_of(asked.current, prefix, size)
    groups = groups_of(kinds, life, plan_days=asked.plan_days)
    notes += [*odd, *_notes(holding, life)]
    if not groups:
        nothing = Verdict(
            current, Amount(), Amount(), Saving(None, None, None), None, "", "nothing to plan with", (), {}
        )
        return CellAdvice(prefix, number, holding, life, current, nothing, None, tuple(notes))
    horizon = max(LOOK_DAYS, *(group.life_days for group in groups))
    case = Case(
        size_class=size,
        groups=groups,
        life_days=life,
        evidence=_evidence(asked, (prefix, number), settings, horizon),
        current=current,
        settings=settings,
        held=holding.held > 0,
        mean_gib=holding.gib / holding.objects if holding.objects else 0.0,
        to_come=holding.arriving * asked.plan_days,
    )
    verdict = judge(case, asked.fees)
    if verdict.schedule != current and (settings.leave or nested(prefix, prefixes)):
        verdict = _withdrawn(verdict, current, leave=settings.leave)
    packs = None
    if case.evidence.access is not None:
        charges = tables(case.evidence.access, small=size.small)
        then = costs(
            verdict.schedule, [each for each in groups if each.now.value == "STANDARD"], charges, asked.fees.usd
        )
        packs = None if np.isnan(then) else compaction(case, then, asked.fees, locked=holding.locked + holding.held)
    return CellAdvice(prefix, number, holding, life, current, verdict, packs, tuple(notes))


def _withdrawn(verdict: Verdict, current: Schedule, *, leave: bool) -> Verdict:
    because = "the settings say to leave it" if leave else "a rule for this prefix would take the prefixes below it too"
    refusal = Refusal(str(verdict.schedule), f"{because}; it would save {_saved(verdict.saves)} a month")
    none = Saving(Decimal(0), Decimal(0), Decimal(0))
    return Verdict(
        current,
        verdict.now,
        verdict.now,
        none,
        None,
        "",
        verdict.certainty,
        (refusal, *verdict.refused),
        verdict.baselines,
    )


def _saved(saves: Saving) -> str:
    return "an unknown amount" if saves.expected is None else money(saves.expected)


def _evidence(asked: Asked, cell: Cell, settings: PrefixSettings, horizon: int) -> Evidence:
    if settings.reads_a_month is not None:
        said = f"declared by the owner: {settings.reads_a_month:g} reads a month and object"
        return Evidence(
            _steady(settings.reads_a_month / MONTH_DAYS, settings.reads_a_month / MONTH_DAYS, horizon), said
        )
    trace = asked.traces.get(cell)
    if trace is not None and len(trace.born):
        found = seen(trace, horizon)
        oldest = int(np.flatnonzero(found.seen_days)[-1]) if found.seen_days.any() else 0
        known = int(found.seen_days.sum())
        said = f"{found.objects:,} objects watched for {asked.watched_days} days, {found.reads:,.0f} reads"
        if asked.share < 1:
            said += f", a sample of {asked.share:.3%}"
        if oldest + 1 < _life(asked, settings):
            said += f"; life after day {oldest} was not seen and is taken to go on as before"
        if known < oldest + 1:
            said += f"; {oldest + 1 - known} of its first {oldest + 1} days were not seen"
        if found.objects < _FEW:
            said += "; few objects"
        if asked.watched_days < 90:
            said += "; too short to see Intelligent-Tiering's archive tier reached, of which only the certain part is counted"
        return Evidence(found.access, said, trace)
    rate = asked.rates.get(cell[0])
    if rate is not None:
        gets, share, days = rate
        return Evidence(
            _steady(gets, share, horizon), f"averages of {days} days of Storage Lens, alike for every object and age"
        )
    lost = ": none of its objects is in the sample, or all are newer than the logs" if asked.watched_days else ""
    return Evidence(None, f"how it is read is not known{lost}")


def _life(asked: Asked, settings: PrefixSettings) -> int:
    """Return how old objects get."""
    return settings.life_days or asked.life_days


def _steady(gets: float, share: float, days: int) -> Access:
    """Return reads that come at one rate; of idling, only what is certain."""
    flat = np.ones(days)
    touched = min(1.0, gets)
    idle = [max(0.0, 1 - touched * span) * flat for span in (30, 90)]
    return Access(gets * flat, share * flat, touched * flat, touched * flat, *idle)


def _notes(holding: Holding, life_days: int) -> Iterator[str]:
    if holding.outlived:
        yield f"{holding.outlived:,} objects are older than the {life_days} days they are to live; counted for 30 days more"
    if holding.locked:
        yield f"{holding.locked:,} objects are retained: planned to the end of their retention; rules move and never delete them"
    if holding.held:
        yield f"{holding.held:,} objects are under legal hold: nothing that would need a restore, nothing put together"
    for name, count in holding.unmanaged.items():
        yield f"{count:,} objects lie in {name or 'no class'}: left out"


def finals(cells: Sequence[CellAdvice]) -> dict[Cell, Schedule]:
    """Return the rule that each cell is to have."""
    return {(cell.prefix, cell.size_class): cell.verdict.schedule for cell in cells}


def proposals(cells: Sequence[CellAdvice], command: str, compact: Mapping[str, str], fees: Fees) -> dict[str, Any]:
    """Return what `cost report` takes.

    Args:
        cells: The advice.
        command: What applies the rules.
        compact: By prefix, what puts its objects together.
        fees: The prices.
    """
    found: list[dict[str, Any]] = []
    for cell in cells:
        where = f"{cell.prefix or 'all'} {SIZE_CLASSES[cell.size_class]}"
        if cell.changes:
            title = f"{where}: {cell.verdict.schedule}"
            found.append(
                {"title": title, "saves_usd": _range(cell.verdict.saves), "certainty": _sure(cell), "command": command}
            )
        for refusal in cell.verdict.refused:
            title = f"{where}: {refusal.rule}"
            certainty = cell.verdict.certainty
            found.append({"title": title, "saves_usd": {}, "certainty": certainty, "refused": refusal.because})
        if cell.compaction is not None:
            found.append(_packing(cell, where, compact.get(cell.prefix, "")))
    return {
        "format": "drivetrain-proposals/1",
        "source": "drivetrain cost tiering",
        "prices": provenance(fees.prices.values()),
        "proposals": found,
    }


def _packing(cell: CellAdvice, where: str, command: str) -> dict[str, Any]:
    packs = cell.compaction
    assert packs is not None  # noqa: S101 - of one caller
    title = f"{where}: put {packs.objects:,} small objects together"
    document: dict[str, Any] = {
        "title": title,
        "saves_usd": {},
        "certainty": f"{packs.because}; {cell.verdict.certainty}",
    }
    if packs.refused:
        return document | {"certainty": cell.verdict.certainty, "refused": packs.because}
    document["saves_usd"] = {"expected": str(round(Decimal(repr(packs.saves_usd)), 6))}
    return document | {"command": command or f"write what lies below {cell.prefix or 'the bucket'} in files of 128 MiB"}


def _sure(cell: CellAdvice) -> str:
    after = "" if cell.verdict.payback_days is None else f"; pays back after {cell.verdict.payback_days} days"
    return f"{cell.verdict.certainty}; {cell.verdict.arithmetic}{after}"


def _range(saves: Saving) -> dict[str, str]:
    found = {"low": saves.low, "expected": saves.expected, "high": saves.high}
    return {name: str(usd) for name, usd in found.items() if usd is not None}


def document_of(cells: Sequence[CellAdvice]) -> dict[str, Any]:
    """Return the advice as JSON."""
    changing = [cell for cell in cells if cell.changes]
    expected = [cell.verdict.saves.expected for cell in changing]
    return {
        "now_monthly": total(cell.verdict.now for cell in cells).document(),
        "then_monthly": total(cell.verdict.then for cell in cells).document(),
        "saves_monthly_usd": None
        if None in expected
        else float(sum((each or Decimal(0) for each in expected), Decimal(0))),
        "cells": [_cell_document(cell) for cell in cells],
    }


def _cell_document(cell: CellAdvice) -> dict[str, Any]:
    verdict, held, packs = cell.verdict, cell.holding, cell.compaction
    return {
        "prefix": cell.prefix,
        "size_class": str(SIZE_CLASSES[cell.size_class]),
        "objects": held.objects,
        "gib": round(held.gib, 6),
        "arriving_a_day": round(held.arriving, 3),
        "life_days": cell.life_days,
        "locked": held.locked,
        "held": held.held,
        "rule_now": str(cell.current),
        "rule": str(verdict.schedule),
        "steps": [{"day": step.day, "storage_class": step.to.value} for step in verdict.schedule.steps],
        "changes": cell.changes,
        "now_monthly": verdict.now.document(),
        "then_monthly": verdict.then.document(),
        "saves_monthly_usd": {name: float(usd) for name, usd in _range(verdict.saves).items()},
        "payback_days": verdict.payback_days,
        "arithmetic": verdict.arithmetic,
        "certainty": verdict.certainty,
        "beside": verdict.baselines,
        "hindsight": None if verdict.hindsight is None else asdict(verdict.hindsight),
        "refused": [{"rule": each.rule, "because": each.because} for each in verdict.refused],
        "compaction": None
        if packs is None
        else {
            "objects": packs.objects,
            "packs": packs.packs,
            "saves_monthly_usd": None if packs.refused else packs.saves_usd,
            "because": packs.because,
            "refused": packs.refused,
        },
        "notes": list(cell.notes),
    }


def prices_used(fees: Fees) -> list[dict[str, str]]:
    """Return every price of S3 that was at hand, with its source and day."""
    found: list[Price] = sorted(fees.prices.values(), key=lambda item: item.meter)
    return [
        {
            "item": each.meter.item,
            "unit": each.unit,
            "usd": str(each.usd),
            "source": each.source,
            "dated": str(each.dated),
        }
        for each in found
    ]
