"""`drivetrain drives`."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime

from rich import box
from rich.console import Console
from rich.table import Table

from platform_lib.catalog.catalog import Catalog
from platform_lib.catalog.model import Drive
from platform_lib.catalog.postgres import embedded_postgres
from platform_lib.console import OUT, print_json
from platform_lib.home import open_home
from platform_lib.options import HomeOption, JsonOption

_PIPE_COLUMNS = 240
"""Where the output is no terminal nothing has to fit a window."""


def drives(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List the drives in the lake: vehicle, session, start, length, files, streams, rows, labels."""
    with embedded_postgres(open_home(home, make=False)) as uri, Catalog(uri) as catalog:
        found = catalog.drives()
        quarantined = len(catalog.quarantined())
    if as_json:
        print_json({"drives": [{**asdict(item), "duration_s": duration_s(item)} for item in found]})
        return
    table = Table(title=f"{len(found)} drives", title_justify="left", box=box.SIMPLE)
    for name in ("vehicle", "session", "start (UTC)"):
        table.add_column(name, no_wrap=True)
    for name in ("seconds", "files", "streams", "rows", "samples"):
        table.add_column(name, justify="right")
    table.add_column("labels")
    for item in found:
        seconds = duration_s(item)
        table.add_row(
            item.vehicle or "unknown",
            item.session,
            "unknown" if item.start_ns is None else _utc(item.start_ns),
            "unknown" if seconds is None else f"{seconds:.1f}",
            str(len(item.files)),
            str(item.streams),
            f"{item.signal_rows:,}",
            f"{item.sample_rows:,}",
            ", ".join(f"{name}={value}" for name, value in item.labels.items()),
        )
    console = OUT if OUT.is_terminal else Console(width=_PIPE_COLUMNS)
    console.print(table)
    if quarantined:
        OUT.print(quarantined, "files are in quarantine; the table 'quarantine' of `drivetrain query` says why")


def duration_s(drive: Drive) -> float | None:
    """Return a drive's length in seconds; None if it has no row."""
    if drive.start_ns is None or drive.stop_ns is None:
        return None
    return (drive.stop_ns - drive.start_ns) / 1e9


def _utc(moment_ns: int) -> str:
    return datetime.fromtimestamp(moment_ns // 1_000_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S")
