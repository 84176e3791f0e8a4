"""`drivetrain cost report`: one page about the cost."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cost.commands.judging import ManifestsOption, PlanArgument, PricesOption, RegionOption, UsageOption, judge_plan
from platform_lib.options import JsonOption


def report(
    plan_file: PlanArgument,
    out: Annotated[Path, typer.Option("--out", help="Where the page goes.")] = Path("cost.html"),
    usage: UsageOption = None,
    manifests: ManifestsOption = None,
    budgets: Annotated[
        Path | None, typer.Option("--budgets", help="Budgets and guardrails.", show_default=False)
    ] = None,
    bill: Annotated[
        Path | None, typer.Option("--bill", help="What was paid: CUR 2.0 or FOCUS.", show_default=False)
    ] = None,
    proposal: Annotated[
        list[Path] | None,
        typer.Option("--proposal", help="What another command proposes; repeat it for more.", show_default=False),
    ] = None,
    prices: PricesOption = None,
    region: RegionOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Write one page: where the money goes, what would save and how surely, what is refused and why."""
    from cost.plan.reading import read_settings
    from cost.report.page import Report, render
    from cost.report.proposals import ProposalFile, ordered
    from platform_lib.console import OUT, print_json
    from platform_lib.storage import publish_bytes

    files = tuple(read_settings(path, ProposalFile) for path in proposal or ())
    told = judge_plan(
        plan_file, budgets=budgets, bill=bill, usage=usage, manifests=manifests, prices=prices, region=region
    )
    further: dict[str, tuple[str, ...]] = {}
    for file in files:
        further[file.source] = tuple(dict.fromkeys((*further.get(file.source, ()), *file.prices)))
    made = Report(told.found, told.limits, told.old, told.beside, ordered(files), further)
    publish_bytes(out, render(made).encode())
    if as_json:
        proposals = [{"source": source, **item.model_dump(mode="json")} for source, item in made.proposals]
        print_json({**told.document(), "proposals": proposals, "proposal_prices": further, "page": out})
    else:
        OUT.print(f"{out}: {told.found.monthly.desired} a month as the plan asks", highlight=False)
