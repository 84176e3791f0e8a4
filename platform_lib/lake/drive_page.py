"""One drive for people: its files, its streams with their times, and where it went."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from platform_lib.braille import braille_map
from platform_lib.catalog.coherence import doubt
from platform_lib.catalog.finding import Finder
from platform_lib.catalog.model import Drive, StreamRecord
from platform_lib.console import OUT, can_show, one_line, plain_line, print_json, size
from platform_lib.home import Home
from platform_lib.lake.lake import Lake
from platform_lib.lake.route import Route, route_of
from platform_lib.table import Column, print_table

_STREAMS = (
    Column("stream"),
    Column("kept as"),
    Column("rows", right=True),
    Column("from, s", right=True),
    Column("to, s", right=True),
    Column("messages/s", right=True),
    Column("note"),
)
_MAP_COLUMNS, _MAP_ROWS = 48, 12
_LABEL_CHARS = 120


def show_drive(home: Home, name: str, *, as_json: bool) -> None:
    """Print one drive.

    Raises:
        ConfigError: No drive is called so, or several are.
    """
    with Lake.open(home) as lake:
        finder = Finder(lake.catalog.engine)
        drive = finder.drive(name)
        found = [finder.content(item.file_sha256) for item in drive.files]
        ids = {item.ingest_id: item.file_sha256 for item in found if item is not None and item.ingest_id is not None}
        listed = lake.catalog.streams(ids)
        streams = [(ids[ingest_id], item) for ingest_id, items in listed.items() for item in items]
        route = route_of(lake, drive.drive_id)
    if as_json:
        print_json(_document(drive, streams, route))
        return
    labels = ", ".join(f"{name}={one_line(value, _LABEL_CHARS)}" for name, value in drive.labels.items())
    _say(f"{drive.drive_id}: {labels}" if labels else drive.drive_id)
    for item in drive.files:
        lost = ", recovered" if item.recovered else ""
        length = "" if item.bytes is None else size(item.bytes)
        _say(f"  {item.file_sha256[:12]}  {length:>10}  {_place(item.paths)}{lost}")
    if (why := doubt(drive)) is None:
        _show_streams(drive.start_ns, [item for _, item in streams])
    else:
        _say(f"  note: {why}")
        # Each by its own clock: their distance says nothing.
        for item in sorted(drive.files, key=lambda item: item.start_ns or 0):
            _say(f"{item.file_sha256[:12]}  {_place(item.paths)}")
            _show_streams(item.start_ns, [record for sha256, record in streams if sha256 == item.file_sha256])
    _show_route(route)


def _say(line: str) -> None:
    OUT.print(plain_line(line), markup=False, highlight=False)


def _show_streams(start_ns: int | None, streams: Sequence[StreamRecord]) -> None:
    if start_ns is not None:
        start = datetime.fromtimestamp(start_ns // 1_000_000_000, UTC)
        OUT.print(f"  from {start:%Y-%m-%d %H:%M:%S} UTC, the times below count from there", highlight=False)
    print_table(_STREAMS, [_row(item, start_ns) for item in sorted(streams, key=lambda item: item.stream)])


def _place(paths: Sequence[str]) -> str:
    """Return one place of a content and how many more it has: the shortest name, since copies are named after it."""
    first = min(paths, key=lambda path: (len(path), path))
    return first if len(paths) == 1 else f"{first} and {len(paths) - 1} more of the same content"


def _row(item: StreamRecord, start_ns: int | None) -> list[str]:
    times = ["", "", ""]
    if item.start_ns is not None and item.stop_ns is not None and start_ns is not None:
        first, last = (item.start_ns - start_ns) / 1e9, (item.stop_ns - start_ns) / 1e9
        rate = f"{(item.messages - 1) / (last - first):,.1f}" if item.messages > 1 and last > first else ""
        times = [f"{first:,.2f}", f"{last:,.2f}", rate]
    return [item.stream, item.kept_as, f"{item.rows:,}", *times, item.problem or ""]


def _show_route(route: Route | None) -> None:
    if route is None:
        OUT.print("no log of it says where it was", highlight=False)
        return
    plain = not can_show("⣿")
    for line in braille_map(route.east_m, route.north_m, columns=_MAP_COLUMNS, rows=_MAP_ROWS, plain=plain):
        OUT.print(f"  {line}", markup=False, highlight=False)
    wide, high = (float(values.max() - values.min()) for values in (route.east_m, route.north_m))
    OUT.print(
        f"  {route.length_m / 1e3:,.2f} km, {wide:,.0f} m from west to east, {high:,.0f} m from south to north"
        f" ({route.stream})",
        markup=False,
        highlight=False,
    )


def _document(drive: Drive, streams: list[tuple[str, StreamRecord]], route: Route | None) -> dict[str, Any]:
    return {
        **asdict(drive),
        "doubt": doubt(drive),
        "stream_list": [
            {"file_sha256": sha256, **{k: v for k, v in asdict(item).items() if k != "schema_text"}}
            for sha256, item in streams
        ],
        "route": None
        if route is None
        else {
            "stream": route.stream,
            "positions": len(route.east_m),
            "length_m": route.length_m,
            "east_m": [float(route.east_m.min()), float(route.east_m.max())],
            "north_m": [float(route.north_m.min()), float(route.north_m.max())],
        },
    }
