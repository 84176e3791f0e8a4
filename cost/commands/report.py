"""`drivetrain cost report`: one page about the cost."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from platform_lib.options import JsonOption


def report(
    plan_file: Annotated[
        Path, typer.Argument(metavar="PLAN", help="`plan.json`, or what `terraform show -json` writes.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Where the page goes.")] = Path("cost.html"),
    usage: Annotated[
        Path | None, typer.Option("--usage", help="What no plan says: GB stored, moved.", show_default=False)
    ] = None,
    manifests: Annotated[
        Path | None,
        typer.Option("--manifests", help="Of `drivetrain infra manifests`: Karpenter's pools.", show_default=False),
    ] = None,
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
    """Write one page: where the money goes, what would save and how surely, what is refused and why."""
    from cost.bill.beside import bill_document, lay_beside
    from cost.plan.budgets import BudgetFile, budgets_in_plan, judge
    from cost.plan.document import document_of
    from cost.plan.making import make_estimate
    from cost.plan.reading import read_settings
    from cost.prices.model import Price, stale
    from cost.report.page import Report, render
    from cost.report.proposals import ProposalFile, ordered
    from platform_lib.console import OUT, print_json
    from platform_lib.storage import publish_bytes

    today = datetime.now(UTC).date()
    limits = None if budgets is None else read_settings(budgets, BudgetFile)
    files = tuple(read_settings(path, ProposalFile) for path in proposal or ())
    found = make_estimate(plan_file, usage=usage, manifests=manifests, prices=prices, region=region, today=today)
    judged = [*budgets_in_plan(found), *([] if limits is None else judge(found, limits))]
    old = stale((item for item in found.sources if isinstance(item, Price)), today)
    beside = None if bill is None else lay_beside(found, bill)
    made = Report(found, judged, old, beside, ordered(files))
    publish_bytes(out, render(made).encode())
    if as_json:
        proposals = [{"source": source, **item.model_dump(mode="json")} for source, item in made.proposals]
        print_json({**document_of(found, judged, old), **bill_document(beside), "proposals": proposals, "page": out})
    else:
        OUT.print(f"{out}: {found.monthly.desired} a month as the plan asks", highlight=False)
