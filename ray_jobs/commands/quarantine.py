"""`drivetrain quarantine`: what could not be read, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from platform_lib.catalog.catalog import Catalog
from platform_lib.catalog.model import Quarantined
from platform_lib.catalog.postgres import embedded_postgres
from platform_lib.console import OUT, plain_line, print_json
from platform_lib.errors import ConfigError, CorruptLog, PlatformError, UsageError
from platform_lib.home import open_home
from platform_lib.logs import open_log
from platform_lib.options import HomeOption, JsonOption
from platform_lib.table import Column, print_table
from ray_jobs.commands.ingest import print_report, shown
from ray_jobs.ingest import retry as run_retry

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="What could not be read, and why: list, show, release, retry."
)

_LEAST_DIGITS = 4
_SHOWN_DIGITS = 12
_COLUMNS = (Column("content"), Column("kind"), Column("since (UTC)"), Column("bytes", right=True), Column("log"))

WhichArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="CONTENT...",
        help="A content's first digits, as `list` shows them, or a log's path.",
        show_default=False,
    ),
]


@app.command("list")
def list_(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List what is in quarantine."""
    with embedded_postgres(open_home(home, make=False)) as uri, Catalog(uri) as catalog:
        found, unfetched = catalog.quarantined(), catalog.unfetched()
    if as_json:
        print_json(
            {"quarantine": [_document(item) for item in found], "unfetched": [asdict(item) for item in unfetched]}
        )
        return
    OUT.print(f"{len(found)} in quarantine, {len(unfetched)} in buckets that could not be fetched", highlight=False)
    rows = [_cells(item) for item in found]
    rows += [["", item.kind, _utc(item.since), f"{item.bytes:,}", item.uri] for item in unfetched]
    print_table(_COLUMNS, rows)


@app.command()
def show(
    which: Annotated[
        str, typer.Argument(metavar="CONTENT", help="A content's first digits, or a log's path.", show_default=False)
    ],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show why a log is in quarantine, where it lies, and what `--recover` would take of it."""
    with embedded_postgres(open_home(home, make=False)) as uri, Catalog(uri) as catalog:
        item = _find(catalog.quarantined(), which)
    rest = _what_is_whole(item)
    if as_json:
        print_json({**_document(item), "recoverable": rest})
        return
    _say(f"content   {item.refusal.key.file_sha256}")
    for path in item.paths:
        _say(f"log       {path}{'' if _is_there(path) else ' (not there now)'}")
    _say(f"kind      {item.refusal.kind}, with reader {item.refusal.key.reader_version}")
    _say(f"reason    {item.refusal.reason}")
    if item.refusal.remedy:
        _say(f"remedy    {item.refusal.remedy}")
    if item.visible:
        _say("in lake   an earlier reading of it is in the lake, and stays")
    _say(f"--recover {rest or 'takes nothing of it'}")


@app.command()
def release(
    which: WhichArgument,
    note: Annotated[str, typer.Option("--note", help="Why it may go; kept in the catalogue.", show_default=False)],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let logs out of quarantine: the next ingest judges them anew."""
    with embedded_postgres(open_home(home, make=False)) as uri, Catalog(uri) as catalog:
        held = catalog.quarantined()
        items = [_find(held, text) for text in which]
        for item in items:
            catalog.release(item.refusal.key.file_sha256, note)
    if as_json:
        print_json({"released": [_document(item) for item in items]})
        return
    for item in items:
        _say(f"released {item.refusal.key.file_sha256[:_SHOWN_DIGITS]} {item.paths[0] if item.paths else ''}")


@app.command()
def retry(
    which: Annotated[
        list[str] | None, typer.Argument(metavar="CONTENT...", help="A content's first digits, or a log's path.")
    ] = None,
    home: HomeOption = None,
    dbc: Annotated[
        list[str] | None, typer.Option("--dbc", help="CAN database; by default those it was tried with.")
    ] = None,
    timezone: Annotated[str | None, typer.Option(help="Zone of headers that carry local time only.")] = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="Everything that is in quarantine.")] = False,
    recover: Annotated[bool, typer.Option("--recover", help="Take what is whole of damaged logs.")] = False,
    accept_schema: Annotated[
        bool,
        typer.Option(
            "--accept-schema",
            help="Take in streams that are not what they were, as a version that is known from then on.",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Read logs again that are in quarantine; exit with 1 if any stays there."""
    if every == bool(which):
        raise UsageError(
            "name what to read again, or say --all", where="drivetrain quarantine retry", remedy="see `quarantine list`"
        )
    at = open_home(home, make=False)
    with embedded_postgres(at) as uri, Catalog(uri) as catalog:
        held = catalog.quarantined()
    items = held if every else [_find(held, text) for text in which or ()]
    with shown(as_json=as_json) as advance:
        report = run_retry(
            at,
            items,
            dbc=dbc or (),
            timezone=timezone,
            recover=recover,
            accept_schema=accept_schema,
            on_progress=advance,
        )
    if as_json:
        print_json(asdict(report))
    else:
        print_report(report)
    if report.quarantined or report.left:
        raise typer.Exit(1)


def _find(held: Sequence[Quarantined], text: str) -> Quarantined:
    places = {text, str(Path(text).resolve())}
    found = [item for item in held if places & set(item.paths)]
    if not found and len(text) >= _LEAST_DIGITS:
        found = [item for item in held if item.refusal.key.file_sha256.startswith(text.lower())]
    if len(found) == 1:
        return found[0]
    raise ConfigError(
        f"{len(found)} contents in quarantine begin with '{text}'" if found else f"'{text}' is not in quarantine",
        remedy="`drivetrain quarantine list` shows what is",
    )


def _what_is_whole(item: Quarantined) -> str | None:
    """Say what recovery would take. Only damage is looked into: another log may take its reader down."""
    if item.refusal.kind != CorruptLog.__name__ or item.refusal.recover:
        return None
    path = next((path for path in item.paths if _is_there(path)), None)
    if path is None:
        return None
    try:
        with open_log(path, recover=True) as log:
            rows = sum(stream.rows for stream in log.streams)
            lost = "an unknown number of" if log.report.bytes_lost is None else f"{log.report.bytes_lost:,}"
            return f"takes {rows:,} rows of {len(log.streams)} streams; {lost} bytes are lost"
    except PlatformError as error:
        return f"takes nothing of it: {error.what}"


def _is_there(path: str) -> bool:
    return Path(path).exists()


def _document(item: Quarantined) -> dict[str, object]:
    return {
        "content": item.refusal.key.file_sha256,
        "paths": item.paths,
        "bytes": item.bytes,
        "kind": item.refusal.kind,
        "reason": item.refusal.reason,
        "remedy": item.refusal.remedy,
        "recovery_tried": item.refusal.recover,
        "reader_version": item.refusal.key.reader_version,
        "since": item.since,
        "earlier_reading_in_lake": item.visible,
    }


def _cells(item: Quarantined) -> list[str]:
    digits = item.refusal.key.file_sha256[:_SHOWN_DIGITS]
    return [digits, item.refusal.kind, _utc(item.since), f"{item.bytes:,}", item.paths[0] if item.paths else ""]


def _utc(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def _say(line: str) -> None:
    OUT.print(plain_line(line), markup=False, highlight=False)
