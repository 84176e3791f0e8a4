"""`drivetrain timeline`."""

from __future__ import annotations

from typing import Annotated

import typer

from platform_lib.console import OUT, print_json, progress
from platform_lib.datasets.drive_clocks import DriveClock, SyncPair, drive_clocks
from platform_lib.errors import ConfigError
from platform_lib.home import open_home
from platform_lib.lake.lake import Lake
from platform_lib.options import HomeOption, JsonOption
from platform_lib.table import Column, print_table

_COLUMNS = (
    Column("drive"),
    Column("recorder"),
    Column("reference"),
    Column("method"),
    Column("offset ms", right=True),
    Column("drift ppm", right=True),
    Column("sigma ms", right=True),
    Column("verdict"),
)


def timeline(
    drive: Annotated[
        str | None, typer.Argument(help="One drive's id. Default: every drive.", show_default=False)
    ] = None,
    sync: Annotated[
        str | None,
        typer.Option(
            "--sync",
            metavar="STREAM:SIGNAL=STREAM:SIGNAL",
            help="A counter that both recorders stamped, the one to be aligned first: its events give the clock too.",
        ),
    ] = None,
    home: HomeOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Show how each drive's recorders' clocks relate: offset, drift, how surely, and from what.

    A clock that the recordings do not carry is refused, with the reason; `drivetrain dataset` leaves such a drive out.
    """
    pair = None if sync is None else SyncPair.parse(sync)
    with Lake.open(open_home(home, make=False)) as lake:
        drives = lake.catalog.drives(None if drive is None else [drive])
        if drive is not None and not drives:
            raise ConfigError(f"no drive {drive!r}", where="lake", remedy="`drivetrain drives --json` lists their ids")
        found: list[tuple[str, DriveClock]] = []
        with progress("aligning", len(drives)) as bar:
            for item in drives:
                found += [(item.drive_id, clock) for clock in drive_clocks(lake, item, pair)]
                bar.advance(note=item.drive_id)
    if as_json:
        print_json({"clocks": [{"drive_id": drive_id, **clock.document()} for drive_id, clock in found]})
        return
    print_table(_COLUMNS, [_cells(drive_id, clock) for drive_id, clock in found])
    aligned = sum(clock.reason is None for _, clock in found)
    OUT.print(f"{aligned} of {len(found)} clocks aligned", highlight=False)


def _cells(drive_id: str, clock: DriveClock) -> list[str]:
    numbers = (clock.offset_s, 1e3, 3), (clock.drift_ppm, 1.0, 1), (clock.offset_sigma_s, 1e3, 2)
    method = f"{clock.method} ({', '.join(clock.signals)})" if clock.signals else clock.method
    return [
        drive_id,
        clock.recorder,
        clock.reference,
        method,
        *("unknown" if value is None else f"{value * scale:.{digits}f}" for value, scale, digits in numbers),
        clock.verdict if clock.reason is None else f"{clock.verdict}: {clock.reason}",
    ]
