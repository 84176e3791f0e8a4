"""`drivetrain drives`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from platform_lib.catalog.catalog import Catalog
from platform_lib.catalog.cells import parse_near
from platform_lib.catalog.coherence import LONGEST_NS, doubt, length_text, recorded
from platform_lib.catalog.filters import DriveFilter
from platform_lib.catalog.finding import Finder
from platform_lib.catalog.model import Drive
from platform_lib.catalog.paging import (
    AfterOption,
    LimitOption,
    SinceOption,
    StateOption,
    UntilOption,
    key_text,
    known_state,
    parse_key,
    parse_moment,
)
from platform_lib.catalog.postgres import embedded_postgres
from platform_lib.console import ERR, OUT, one_line, plain_line, print_json
from platform_lib.home import open_home
from platform_lib.options import HomeOption, JsonOption
from platform_lib.table import Column, print_table

_LABEL_CHARS = 60
_MOST_NOTES = 10
_COLUMNS = (
    Column("drive"),
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
    vehicle: Annotated[str | None, typer.Option("--vehicle", help="Of one vehicle.", show_default=False)] = None,
    since: SinceOption = None,
    until: UntilOption = None,
    near: Annotated[
        str | None,
        typer.Option(
            "--near",
            metavar="PLACE",
            help="That were near LAT,LON,METRES: in a cell of about a kilometre that this circle touches.",
            show_default=False,
        ),
    ] = None,
    state: StateOption = None,
    limit: LimitOption = 100,
    after: AfterOption = None,
    home: HomeOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """List the drives in the lake, newest first: name, vehicle, session, start, length, files, streams, rows, labels.

    Of one drive: its files, its streams with their times and rates, and a small map of where it went.
    """
    if drive is not None:
        from platform_lib.lake.drive_page import show_drive

        show_drive(open_home(home, make=False), drive, as_json=as_json)
        return
    which = DriveFilter(
        vehicle,
        parse_moment(since, where="--since"),
        parse_moment(until, where="--until"),
        None if near is None else parse_near(near),
        known_state(state),
    )
    key = parse_key(after)
    with embedded_postgres(open_home(home, make=False)) as uri, Catalog(uri) as catalog:
        page = Finder(catalog.engine).drives(which, limit=limit, after=key, names=as_json)
        quarantined = catalog.count_quarantined()
    found = page.drives
    following = key_text(page.after)
    if as_json:
        listed = [_document(item) for item in found]
        print_json({"drives": listed, "next": following})
        return
    OUT.print("1 drive" if len(found) == 1 else f"{len(found)} drives", highlight=False)
    print_table(_COLUMNS, [_cells(item) for item in found])
    _tell_doubts(found)
    if following is not None:
        ERR.print(f"there are more: --after {following}", markup=False, highlight=False)
    if quarantined:
        files = "1 file is" if quarantined == 1 else f"{quarantined} files are"
        OUT.print(f"{files} in quarantine; `drivetrain quarantine list` names them", highlight=False)


def _document(drive: Drive) -> dict[str, Any]:
    recorded_ns, recordings = recorded(drive)
    told = {"duration_s": duration_s(drive), "recorded_s": recorded_ns / 1e9, "recordings": recordings}
    return {**asdict(drive), **told, "doubt": doubt(drive)}


def _tell_doubts(found: Sequence[Drive]) -> None:
    """Say of which drives the length is that of a folder's recordings, and not of a drive."""
    doubts = [(item.drive_id, why) for item in found if (why := doubt(item)) is not None]
    for drive_id, why in doubts[:_MOST_NOTES]:
        OUT.print(plain_line(f"* {drive_id}: {why}"), markup=False, highlight=False)
    if len(doubts) > _MOST_NOTES:
        OUT.print(f"* {len(doubts) - _MOST_NOTES} more such drives: --json says it of each", highlight=False)


def _seconds(drive: Drive) -> str:
    """Return a drive's length; of a folder whose logs lie far apart, what was recorded, with a mark."""
    whole_s = duration_s(drive)
    if whole_s is None:
        return "unknown"
    if doubt(drive) is None:
        return f"{whole_s:.1f}"
    recorded_ns, recordings = recorded(drive)
    if recorded_ns > LONGEST_NS:
        return f"{length_text(recorded_ns)} *"
    return f"{recorded_ns / 1e9:.1f} in {recordings} recordings *"


def _cells(drive: Drive) -> list[str]:
    return [
        drive.drive_id,
        drive.vehicle or "unknown",
        drive.session,
        "unknown" if drive.start_ns is None else _utc(drive.start_ns),
        _seconds(drive),
        str(len(drive.files)),
        str(drive.streams),
        f"{drive.signal_rows:,}",
        f"{drive.sample_rows:,}",
        ", ".join(f"{name}={one_line(value, _LABEL_CHARS)}" for name, value in drive.labels.items()),
    ]


def duration_s(drive: Drive) -> float | None:
    """Return a drive's length in seconds; None if it has no row."""
    if drive.start_ns is None or drive.stop_ns is None:
        return None
    return (drive.stop_ns - drive.start_ns) / 1e9


def _utc(moment_ns: int) -> str:
    return datetime.fromtimestamp(moment_ns // 1_000_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S")
