"""What the commands about a plan share: their options, and the plan priced, judged and laid beside its bill."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from cost.bill.beside import Beside
    from cost.plan.budgets import Judged
    from cost.plan.estimate import Estimate
    from cost.prices.model import Price

PlanArgument = Annotated[
    Path, typer.Argument(metavar="PLAN", help="`plan.json`, or what `terraform show -json` writes.")
]
UsageOption = Annotated[
    Path | None, typer.Option("--usage", help="What no plan says: GB stored, moved.", show_default=False)
]
ManifestsOption = Annotated[
    Path | None,
    typer.Option("--manifests", help="Of `drivetrain infra manifests`: Karpenter's pools.", show_default=False),
]
PricesOption = Annotated[
    Path | None,
    typer.Option("--prices", help="A snapshot of your own; this release's newest.", show_default=False),
]
RegionOption = Annotated[
    str | None, typer.Option("--region", help="Of a plan whose provider names none.", show_default=False)
]


@dataclass(frozen=True, slots=True)
class JudgedPlan:
    """A plan's estimate, its limits as they came out, the prices that are old, and the bill beside it."""

    found: Estimate
    limits: list[Judged]
    old: tuple[Price, ...]
    beside: Beside | None

    def document(self) -> dict[str, Any]:
        """Return all of it as one JSON document."""
        from cost.bill.beside import bill_document
        from cost.plan.document import document_of

        return {**document_of(self.found, self.limits, self.old), **bill_document(self.beside)}


def judge_plan(plan_file: Path, *, budgets: Path | None, bill: Path | None, **given: Any) -> JudgedPlan:
    """Price a plan and hold it against its budgets; see `make_estimate` for what else is given.

    Raises:
        ConfigError: A file is missing or not what it should be.
    """
    from cost.bill.beside import lay_beside
    from cost.plan.budgets import BudgetFile, budgets_in_plan, judge
    from cost.plan.making import make_estimate
    from cost.plan.reading import read_settings
    from cost.prices.model import Price, stale

    limits = None if budgets is None else read_settings(budgets, BudgetFile)
    today = datetime.now(UTC).date()
    found = make_estimate(plan_file, today=today, **given)
    judged = [*budgets_in_plan(found), *([] if limits is None else judge(found, limits))]
    old = stale((item for item in found.sources if isinstance(item, Price)), today)
    return JudgedPlan(found, judged, old, None if bill is None else lay_beside(found, bill))
