"""`drivetrain drives`."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer

from platform_lib.catalog.catalog import Catalog
from platform_lib.catalog.model import Drive
from platform_lib.catalog.postgres import embedded_postgres
from platform_lib.console import OUT, print_json
from platform_lib.home import open_home
from platform_lib.options import HomeOption, JsonOption
from platform_lib.table import Column, print_table

_LABEL_CHARS = 60
_COLUMNS = (
    Column("vehicle"),
    Column("session"),
    Column("start (UTC)"),
    Column("seconds", right=True),
    Column("files", right=True),
    Column("streams", right=True),
    Column("rows", right=True),
    Column("samples", right=True),
    Column("labels"),
)


def drives(
    drive: Annotated[
        str | None,
        typer.Argument(metavar="DRIVE", help="One drive, or its session: streams and route.", show_default=False),
    ] = None,
    home: HomeOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """List the drives in the lake: vehicle, session, start, length, files, streams, rows, labels.

    Of one drive: its files, its streams with their times and rates, and a small map of where it went.
    """
    if drive is not None:
        from platform_lib.lake.drive_page import show_drive

        show_drive(open_home(home, make=False), drive, as_json=as_json)
        return
    with embedded_postgres(open_home(home, make=False)) as uri, Catalog(uri) as catalog:
        found = catalog.drives()
        quarantined = len(catalog.quarantined())
    if as_json:
        print_json({"drives": [{**asdict(item), "duration_s": duration_s(item)} for item in found]})
        return
    OUT.print("1 drive" if len(found) == 1 else f"{len(found)} drives", highlight=False)
    print_table(_COLUMNS, [_cells(item) for item in found])
    if quarantined:
        files = "1 file is" if quarantined == 1 else f"{quarantined} files are"
        OUT.print(f"{files} in quarantine; the table 'quarantine' of `drivetrain query` says why", highlight=False)


def _cells(drive: Drive) -> list[str]:
    seconds = duration_s(drive)
    return [
        drive.vehicle or "unknown",
        drive.session,
        "unknown" if drive.start_ns is None else _utc(drive.start_ns),
        "unknown" if seconds is None else f"{seconds:.1f}",
        str(len(drive.files)),
        str(drive.streams),
        f"{drive.signal_rows:,}",
        f"{drive.sample_rows:,}",
        ", ".join(f"{name}={_short(value)}" for name, value in drive.labels.items()),
    ]


def _short(value: str) -> str:
    """Cut a label that somebody wrote a paragraph in; `--json` has all of it."""
    return value if len(value) <= _LABEL_CHARS else f"{value[:_LABEL_CHARS]}…"


def duration_s(drive: Drive) -> float | None:
    """Return a drive's length in seconds; None if it has no row."""
    if drive.start_ns is None or drive.stop_ns is None:
        return None
    return (drive.stop_ns - drive.start_ns) / 1e9


def _utc(moment_ns: int) -> str:
    return datetime.fromtimestamp(moment_ns // 1_000_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S")
