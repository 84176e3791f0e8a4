"""`drivetrain lake`: look after the lake's files."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import Annotated

import typer

from platform_lib.console import OUT, plain_line, print_json, size
from platform_lib.home import open_home
from platform_lib.lake.compaction import SMALL_BYTES, TARGET_BYTES
from platform_lib.options import HomeOption, JsonOption
from platform_lib.table import Column, print_table
from ray_jobs.mending import MendReport
from ray_jobs.mending import check as run_check
from ray_jobs.mending import compact as run_compact
from ray_jobs.mending import expire as run_expire
from ray_jobs.mending import mend as run_mend

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Look after the lake's files: check, compact, expire."
)

_COLUMNS = (Column("finding"), Column("where"), Column("what"))


@app.callback()
def _lake() -> None:
    """Look after the lake's files."""


@app.command()
def check(
    home: HomeOption = None,
    *,
    repair: Annotated[
        bool, typer.Option("--repair", help="Delete what no reader may see; read logs again whose rows are lost.")
    ] = False,
    digests: Annotated[
        bool,
        typer.Option("--digests", help="Read every data file and compare its digest with the one it was written with."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Compare the catalogue with the files of both stores: orphans, lost files, wrong numbers of rows.

    Exit with 0 if all is as it should be (with --repair: is so now), else with 1. Waits for an ingest and a blur to end.
    """
    at = open_home(home, make=False)
    report = run_mend(at, digests=digests) if repair else run_check(at, digests=digests)
    if as_json:
        print_json({**asdict(report), "clean": report.clean})
    else:
        _print(report)
    if not report.clean:
        raise typer.Exit(1)


@app.command()
def compact(
    home: HomeOption = None,
    *,
    small_mib: Annotated[
        float, typer.Option("--small", min=0.001, help="MiB. Files below this are put together.")
    ] = SMALL_BYTES / 2**20,
    target_mib: Annotated[
        float, typer.Option("--target", min=0.001, help="MiB. About how large the new files become.")
    ] = TARGET_BYTES / 2**20,
    as_json: JsonOption = False,
) -> None:
    """Put small files of the lake together; what readers see stays the same, row for row.

    The old files go when `lake expire` forgets the versions that name them.
    """
    report = run_compact(
        open_home(home, make=False), small_bytes=int(small_mib * 2**20), target_bytes=int(target_mib * 2**20)
    )
    if as_json:
        print_json(asdict(report))
        return
    _say(
        f"signal table: {report.signal_files_before} files, now {report.signal_files}; "
        f"sample store: {report.sample_files_before} fragments, now {report.sample_files}"
    )


@app.command()
def expire(
    home: HomeOption = None,
    older_than_h: Annotated[
        float,
        typer.Option("--older-than", min=0.0, help="Hours. A reader or a dataset that works longer loses its version."),
    ] = 168.0,
    as_json: JsonOption = False,
) -> None:
    """Forget old versions of the lake and delete the files that only they name; what is visible now stays."""
    report = run_expire(open_home(home, make=False), timedelta(hours=older_than_h))
    if as_json:
        print_json(asdict(report))
        return
    _say(
        f"{report.signal_versions} versions of the signal table and {report.sample_versions} of the sample store are gone, "
        f"{size(max(0, report.freed_bytes))} freed"  # what notes the expiry may be more than what went
    )


def _print(report: MendReport) -> None:
    found = report.found
    if found.findings:
        print_table(_COLUMNS, [[item.kind, item.where, item.what] for item in found.findings])
    _say(
        f"{found.ingests} ingests, {found.files} data files of {size(found.bytes)}: "
        f"{len(found.findings) or 'no'} finding{'' if len(found.findings) == 1 else 's'}"
    )
    if found.digests or found.without_digest:
        _say(f"digests: {found.digests} files compared, {found.without_digest} have none on record")
    if report.after is not None:
        for log, why in report.left.items():
            _say(f"left {log}: {why}")
        if report.blur_again:
            _say(f"{report.blur_again} logs lost their blurred frames: `drivetrain blur frames` makes them again")
        _say(f"repaired: {report.read_again} logs read again, {len(report.after.findings)} findings left")
    elif found.findings:
        _say("`drivetrain lake check --repair` mends what is safe to mend")


def _say(line: str) -> None:
    OUT.print(plain_line(line), markup=False, highlight=False)
