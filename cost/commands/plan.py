"""`drivetrain cost plan`: what a Terraform plan costs a month."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cost.commands.judging import ManifestsOption, PlanArgument, PricesOption, RegionOption, UsageOption, judge_plan
from platform_lib.options import JsonOption

_OVER_STATUS = 5


def plan(
    plan_file: PlanArgument,
    usage: UsageOption = None,
    manifests: ManifestsOption = None,
    budgets: Annotated[
        Path | None,
        typer.Option("--budgets", help="Budgets and guardrails; one that fails ends with 5.", show_default=False),
    ] = None,
    prices: PricesOption = None,
    bill: Annotated[
        Path | None,
        typer.Option("--bill", help="What was paid: CUR 2.0 or FOCUS, laid beside the plan.", show_default=False),
    ] = None,
    region: RegionOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Price every resource of a plan a month: now, as desired, at most; what is not known is said, never taken as 0."""
    from cost.bill.beside import show_bill
    from cost.plan.showing import show
    from platform_lib.console import print_json

    told = judge_plan(
        plan_file, budgets=budgets, bill=bill, usage=usage, manifests=manifests, prices=prices, region=region
    )
    if as_json:
        print_json(told.document())
    else:
        show(told.found, told.limits, told.old)
        show_bill(told.beside)
    if any(item.fails for item in told.limits):
        raise typer.Exit(_OVER_STATUS)
