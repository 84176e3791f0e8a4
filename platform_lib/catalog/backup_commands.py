"""`drivetrain metadata`: back up and restore the metadata database."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from platform_lib.catalog.backup import BackupError, back_up, read_backup, restore
from platform_lib.catalog.postgres import embedded_postgres
from platform_lib.console import OUT, print_json
from platform_lib.home import open_home
from platform_lib.options import HomeOption, JsonOption

app = typer.Typer(no_args_is_help=True, help="Back up the metadata database, and restore it.")
_SHOWN = 5


@app.command()
def backup(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A new folder for it.")],
    home: HomeOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Dump catalogue and tracking, with row counts and digests taken in the same moment."""
    with embedded_postgres(open_home(home)) as uri:
        made = back_up(uri, folder)
    told = {"backup": folder, "rows": made.rows, "bytes": made.size_bytes, "seconds": made.seconds}
    if as_json:
        print_json(told)
    else:
        OUT.print(f"{folder}: {made.rows} rows, {made.size_bytes} bytes, {made.seconds:.1f} s", highlight=False)


@app.command("restore")
def restore_backup(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A backup.")],
    home: HomeOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Restore a backup into an empty server, and hold every table against it; never over what is there."""
    made = read_backup(folder)
    started = time.monotonic()
    with embedded_postgres(open_home(home)) as uri:
        differences = restore(folder, uri)
    seconds = round(time.monotonic() - started, 3)
    if differences:
        more = f", and {len(differences) - _SHOWN} more" if len(differences) > _SHOWN else ""
        raise BackupError(
            f"what was restored is not what was backed up: {'; '.join(differences[:_SHOWN])}{more}", where=folder
        )
    told = {"restored": folder, "rows": made.rows, "equal": True, "seconds": seconds}
    if as_json:
        print_json(told)
    else:
        OUT.print(f"{made.rows} rows restored, every table equal, {seconds:.1f} s", highlight=False)
