"""The advice as a terminal shows it."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from cost.amount import money, total
from cost.prices.model import STALE_DAYS, Price, provenance
from cost.tiering.advice import CellAdvice
from cost.tiering.judging import Saving
from cost.tiering.model import GIB, SIZE_CLASSES
from cost.tiering.reading import Gathered
from platform_lib.console import OUT
from platform_lib.table import Column, print_table

_COLUMNS = (
    Column("prefix"),
    Column("size"),
    Column("objects", right=True),
    Column("GiB", right=True),
    Column("now $/month", right=True),
    Column("proposed $/month", right=True),
    Column("saves", right=True),
    Column("nine of ten", right=True),
    Column("pays back", right=True),
    Column("refused", right=True),
    Column("rule"),
)


def show(gathered: Gathered, cells: Sequence[CellAdvice], old: Sequence[Price]) -> None:
    """Print the table, and below it the arithmetic, what is refused and why, and what could not be read."""
    print_table(_COLUMNS, [_row(cell) for cell in cells])
    changing = [cell for cell in cells if cell.changes]
    _say(f"\n[bold]{gathered.bucket}[/]: {total(cell.verdict.now for cell in cells)} a month now, "
         f"{total(cell.verdict.then for cell in cells)} as proposed, fees of moving included")  # fmt: skip
    for cell in changing:
        _say(f"\n[bold]proposed[/] {_where(cell)}", plain=f": {cell.verdict.schedule}")
        _plain(f"  saves {_usd(cell.verdict.saves.expected)} a month; {cell.verdict.arithmetic}")
        _plain(f"  {cell.verdict.certainty}")
        if (seen := cell.verdict.hindsight) is not None and seen.optimum > 0:
            _plain(
                f"  {seen.objects} objects from their first day to the end of the watch: {seen.rule / seen.optimum:.2f} times the offline "
                f"optimum, Intelligent-Tiering {seen.intelligent / seen.optimum:.2f} times"
            )
    _refused(cells)
    _beside(gathered)
    _plain(f"\nprices of snapshot {gathered.snapshot}: {'; '.join(provenance(gathered.asked.fees.prices.values()))}")
    if old:
        _say(f"{len(old)} of the prices are older than {STALE_DAYS} days, the oldest of {old[0].dated}")


def _row(cell: CellAdvice) -> list[str]:
    verdict = cell.verdict
    after = "-" if verdict.payback_days is None else f"{verdict.payback_days} d"
    return [
        cell.prefix or "(no folder)",
        str(SIZE_CLASSES[cell.size_class]),
        f"{cell.holding.objects:,}",
        f"{cell.holding.gib:,.1f}",
        str(verdict.now),
        str(verdict.then),
        _usd(verdict.saves.expected) if cell.changes else "-",
        _bounds(verdict.saves) if cell.changes else "-",
        after,
        str(len(verdict.refused) + (cell.compaction is not None and cell.compaction.refused)),
        str(verdict.schedule) if cell.changes else f"as now: {verdict.schedule}",
    ]


def _refused(cells: Sequence[CellAdvice]) -> None:
    for cell in cells:
        packs = cell.compaction
        if packs is not None and not packs.refused:
            _say(
                f"\n[bold]put together[/] {_where(cell)}",
                plain=f": saves {money(Decimal(repr(packs.saves_usd)))} a month",
            )
            _plain(f"  {packs.because}")
    if any(cell.verdict.refused for cell in cells):
        _say("\n[bold]refused[/]")
    for cell in cells:
        for refusal in cell.verdict.refused:
            _plain(f"  {_where(cell)}: {refusal.rule}: {refusal.because}")
        if cell.compaction is not None and cell.compaction.refused:
            _plain(f"  {_where(cell)}: put together: {cell.compaction.because}")
        for note in cell.notes:
            _plain(f"  {_where(cell)}: {note}")


def _beside(gathered: Gathered) -> None:
    watch, holdings = gathered.watch, gathered.asked.holdings
    if watch.first_day is not None:
        _say(
            f"\nlogs of {gathered.asked.watched_days} days, {watch.lines:,} lines; access logs are best effort, S3 may leave some out"
        )
    if holdings.sample.unmatched:
        _plain(f"{holdings.sample.unmatched:,} reads were of keys that the inventory does not hold")
    if holdings.old_versions.objects or holdings.markers:
        gib = holdings.old_versions.size_bytes / GIB
        _plain(
            f"{holdings.old_versions.objects:,} replaced versions ({gib:,.1f} GiB) and {holdings.markers:,} delete markers are in no "
            "row: `keep.old_version_days` in the settings deletes them"
        )
    if not gathered.tells_locks:
        _plain(
            "the inventory does not say what is retained or held: add ObjectLockRetainUntilDate and ObjectLockLegalHoldStatus"
        )
    if gathered.problems.total:
        _say(f"\n[bold]not read[/]: {gathered.problems.total:,} lines")
        for reason, count in gathered.problems.counts.items():
            _plain(f"  {count:,}: {reason}, the first at {gathered.problems.places[reason][0]}")


def _where(cell: CellAdvice) -> str:
    return f"{cell.prefix or '(no folder)'} {SIZE_CLASSES[cell.size_class]}"


def _bounds(saves: Saving) -> str:
    return "unknown" if saves.low is None or saves.high is None else f"{money(saves.low)} to {money(saves.high)}"


def _usd(usd: Decimal | None) -> str:
    return "unknown" if usd is None else money(usd)


def _say(text: str, *, plain: str = "") -> None:
    OUT.print(text, end="" if plain else "\n", highlight=False)
    if plain:
        _plain(plain)


def _plain(text: str) -> None:
    OUT.print(text, markup=False, highlight=False)
