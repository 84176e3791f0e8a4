"""`drivetrain cost prices`: which prices there are, from where, how old; and new ones."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from platform_lib.console import ERR, OUT, print_json, progress
from platform_lib.options import JsonOption

app = typer.Typer(no_args_is_help=True, help="The prices: dated snapshots that never change.")
SnapshotOption = Annotated[
    Path | None, typer.Option("--prices", help="A snapshot of your own; this release's newest.", show_default=False)
]


@app.command("list")
def list_(*, as_json: JsonOption = False) -> None:
    """List the snapshots of this release."""
    from cost.prices.snapshot import load, packaged
    from platform_lib.table import Column, print_table

    books = [load(name) for name in packaged()]
    if as_json:
        rows = [
            {"name": book.name, "prices": len(book.prices), "spot": len(book.spot), "regions": list(book.regions)}
            for book in books
        ]
        print_json({"snapshots": rows})
        return
    columns = (Column("snapshot"), Column("prices", right=True), Column("spot", right=True), Column("regions"))
    cells = [[book.name, str(len(book.prices)), str(len(book.spot)), ", ".join(book.regions)] for book in books]
    print_table(columns, cells)


@app.command()
def show(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="Part of a meter: `m7i`, `nat`, `s3`.")] = "",
    prices: SnapshotOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Show prices with source and date; what is not listed is unknown."""
    from cost.prices.model import stale
    from cost.prices.snapshot import load, read_snapshot
    from platform_lib.table import Column, print_table

    book = load() if prices is None else read_snapshot(prices)
    today = datetime.now(UTC).date()
    found = [item for item in book.prices.values() if text.lower() in str(item.meter).lower()]
    old = {(item.meter, item.region) for item in stale(found, today)}
    if as_json:
        print_json(
            {
                "snapshot": book.name,
                "prices": [
                    {
                        "meter": str(item.meter),
                        "region": item.region,
                        "unit": item.unit,
                        "usd": str(item.usd),
                        "source": item.source,
                        "dated": item.dated,
                        "stale": (item.meter, item.region) in old,
                    }
                    for item in found
                ],
            }
        )
        return
    columns = (
        Column("meter"),
        Column("region"),
        Column("USD", right=True),
        Column("unit"),
        Column("of"),
        Column("source"),
    )
    rows = [[str(item.meter), item.region, f"{item.usd:f}", item.unit, str(item.dated), item.source] for item in found]
    print_table(columns, rows)
    if old:
        OUT.print(f"{len(old)} of {len(found)} are stale: `drivetrain cost prices refresh` asks AWS", highlight=False)


@app.command()
def refresh(
    out: Annotated[Path, typer.Option("--out", help="The folder of your own snapshots.")],
    region: Annotated[list[str], typer.Option("--region", help="A region; repeat it for more.")],
    instance_type: Annotated[
        list[str] | None,
        typer.Option("--instance-type", help="A type; repeat it. All that are known.", show_default=False),
    ] = None,
    window_days: Annotated[int, typer.Option("--window-days", min=1, max=90, help="Of spot's history.")] = 30,
    prices: SnapshotOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Ask AWS (Price List, spot history, Savings Plans) and write a new snapshot; what it does not tell stays as it was."""
    from cost.prices.refreshing import Wish, ask, merged, types_of
    from cost.prices.snapshot import add_snapshot, load, read_snapshot, to_bytes
    from platform_lib.errors import PlatformError

    book = load() if prices is None else read_snapshot(prices)
    wish = Wish(tuple(region), types_of(book, instance_type or ()), window_days)
    with progress("asking AWS", None):
        answers = ask(wish)
    if answers.nothing:
        raise PlatformError(
            f"AWS told no price: {'; '.join(answers.refused) or 'empty answers'}",
            where=", ".join(region),
            remedy="credentials need pricing:GetProducts, ec2:DescribeSpotPriceHistory and "
            "savingsplans:DescribeSavingsPlansOfferingRates",
        )
    made = wish.now.date()
    path = add_snapshot(out, to_bytes(made, *merged(book, answers)), made)
    document = {
        "snapshot": path,
        "prices": len(answers.prices),
        "spot": len(answers.spot),
        "savings": len(answers.savings),
        "refused": answers.refused,
    }
    if as_json:
        print_json(document)
        return
    OUT.print(
        f"{path}: {len(answers.prices)} prices, {len(answers.spot)} of spot, {len(answers.savings)} of Savings Plans are of "
        "today",
        highlight=False,
    )
    for reason in answers.refused:
        ERR.print(f"not told: {reason}", markup=False, highlight=False)
