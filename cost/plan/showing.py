"""The estimate as a terminal shows it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal

from cost.amount import money
from cost.plan import estimate as sums
from cost.plan.budgets import Judged, Verdict
from cost.plan.document import priced_as_of
from cost.plan.estimate import Cases, Estimate
from cost.plan.model import Resource
from cost.prices.model import STALE_DAYS, Price
from platform_lib.console import OUT
from platform_lib.table import Column, print_table

_COLUMNS = (Column("now", right=True), Column("desired", right=True), Column("max", right=True))


def show(found: Estimate, judged: Sequence[Judged], stale: Sequence[Price]) -> None:
    """Print an estimate: sums, by kind, pool and team, spot, what is unknown, limits."""
    monthly, change = found.monthly, sums.difference(found.priced)
    _say(f"[bold]USD a month[/]: now {monthly.now}, desired {monthly.desired}, max {monthly.most}")
    said = money(change.usd) if change.complete else f"{money(change.usd)} of what is known"
    _say(f"the plan changes it by {said}; prices of {priced_as_of(found) or 'no day'}, snapshot {found.book.name}")
    for title, key in (("by kind", sums.by_kind), ("by pool", sums.by_pool), ("by team", sums.by_team)):
        _table(title, found, key)
    if found.spot:
        _say("\n[bold]spot[/], as desired: a range")
        for item in found.spot:
            bounds = f"{_or_unknown(item.low)} to {_or_unknown(item.high)}, expected {_or_unknown(item.expected)}"
            OUT.print(
                f"  {item.pool}: {bounds}{f' ({item.basis})' if item.basis else ''}", markup=False, highlight=False
            )
    if found.unpriced:
        _say(f"\n[bold]not known[/]: {len(found.unpriced)} reasons, in no sum")
        for reason in found.unpriced:
            OUT.print(f"  {reason}", markup=False, highlight=False)
    if judged:
        _say("\n[bold]limits[/]")
        for limit in judged:
            mark = "FAILS" if limit.fails else limit.verdict.value
            OUT.print(f"  {mark}: {limit.name}: {limit.said}", markup=False, highlight=False)
    if any(item.fails and item.verdict is Verdict.UNKNOWN for item in judged):
        _say("a limit fails because a part is unknown: --usage, --manifests and newer prices tell more")
    if stale:
        _say(
            f"\n{len(stale)} of the prices are older than {STALE_DAYS} days, the oldest of {stale[0].dated}: "
            "refresh them with `drivetrain cost prices refresh`"
        )


def _table(title: str, found: Estimate, key: Callable[[Resource], str]) -> None:
    groups = found.by(key)
    if list(groups) == [sums.NOBODY]:
        return
    OUT.print()
    print_table((Column(title), *_COLUMNS), [_row(name, item) for name, item in groups.items()])


def _row(name: str, item: Cases) -> list[str]:
    return [name, str(item.now), str(item.desired), str(item.most)]


def _or_unknown(usd: Decimal | None) -> str:
    return "unknown" if usd is None else money(usd)


def _say(text: str) -> None:
    OUT.print(text, highlight=False)
