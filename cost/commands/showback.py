"""`drivetrain cost showback`: who pays for what, as FOCUS, with idle accelerators apart."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from platform_lib.options import JsonOption


def showback(
    bill: Annotated[Path, typer.Argument(metavar="BILL", help="CUR 2.0 or FOCUS: CSV, gzipped CSV, Parquet.")],
    activity: Annotated[
        Path | None,
        typer.Option("--activity", help="How busy accelerators were; kilometres, scenarios.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write FOCUS rows here, as CSV.", show_default=False)
    ] = None,
    focus: Annotated[str, typer.Option("--focus", help="The version of --out: 1.2 or 1.4.")] = "1.2",
    *,
    as_json: JsonOption = False,
) -> None:
    """Split a bill by team, idle accelerators apart, and tell what a kilometre, a scenario, a model cost."""
    from cost.bill.reading import read_bill
    from cost.focus.activity import NO_ACTIVITY, ActivityFile
    from cost.focus.rows import focus_rows
    from cost.focus.rules import check
    from cost.focus.showback import allot, unknown_names
    from cost.focus.writing import document_of, show, write_rows
    from cost.plan.reading import read_settings
    from platform_lib.console import print_json
    from platform_lib.errors import ConfigError, ContractError, UsageError

    if focus not in {"1.2", "1.4"}:
        raise UsageError(f"FOCUS {focus} is not written", where="--focus", remedy="give 1.2 or 1.4")
    done = NO_ACTIVITY if activity is None else read_settings(activity, ActivityFile)
    parts = allot(read_bill(bill), done)
    strange = unknown_names(parts, done)
    if strange:
        raise ConfigError(
            f"the bill knows no {', '.join(strange)}", where=activity, remedy="name pools and teams as their tags do"
        )
    rows = focus_rows(parts)
    broken = check(rows)
    if broken:
        first = broken[0]
        raise ContractError(
            f"{len(broken)} rows break FOCUS 1.2, the first: row {first.row}, rule {first.rule}: {first.said}",
            where=bill,
        )
    if out is not None:
        write_rows(out, rows, focus)
    if as_json:
        print_json(document_of(parts, done, rows=len(rows), out=out))
    else:
        show(parts, done)
