"""`drivetrain cost plan`: what a Terraform plan costs a month."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from platform_lib.options import JsonOption

_OVER_STATUS = 5


def plan(
    plan_file: Annotated[
        Path, typer.Argument(metavar="PLAN", help="`plan.json`, or what `terraform show -json` writes.")
    ],
    usage: Annotated[
        Path | None, typer.Option("--usage", help="What no plan says: GB stored, moved.", show_default=False)
    ] = None,
    manifests: Annotated[
        Path | None,
        typer.Option("--manifests", help="Of `drivetrain infra manifests`: Karpenter's pools.", show_default=False),
    ] = None,
    budgets: Annotated[
        Path | None,
        typer.Option("--budgets", help="Budgets and guardrails; one that fails ends with 5.", show_default=False),
    ] = None,
    prices: Annotated[
        Path | None,
        typer.Option("--prices", help="A snapshot of your own; this release's newest.", show_default=False),
    ] = None,
    region: Annotated[
        str | None, typer.Option("--region", help="Of a plan whose provider names none.", show_default=False)
    ] = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Price every resource of a plan a month: now, as desired, at most; what is not known is said, never taken as 0."""
    from cost.plan.budgets import BudgetFile, budgets_in_plan, judge
    from cost.plan.document import document_of
    from cost.plan.making import make_estimate
    from cost.plan.reading import read_settings
    from cost.plan.showing import show
    from cost.prices.model import Price, stale
    from platform_lib.console import print_json

    limits = None if budgets is None else read_settings(budgets, BudgetFile)
    today = datetime.now(UTC).date()
    found = make_estimate(plan_file, usage=usage, manifests=manifests, prices=prices, region=region, today=today)
    judged = [*budgets_in_plan(found), *([] if limits is None else judge(found, limits))]
    old = stale((item for item in found.sources if isinstance(item, Price)), today)
    if as_json:
        print_json(document_of(found, judged, old))
    else:
        show(found, judged, old)
    if any(item.fails for item in judged):
        raise typer.Exit(_OVER_STATUS)
