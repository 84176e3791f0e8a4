"""`drivetrain lineage`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from platform_lib.catalog.catalog import Catalog
from platform_lib.catalog.clips import Clips
from platform_lib.catalog.finding import Clip, Finder, SawClip
from platform_lib.catalog.lineage import Artefact, Lineage
from platform_lib.catalog.openlineage import run_events
from platform_lib.catalog.postgres import embedded_postgres
from platform_lib.catalog.records import LAKE
from platform_lib.console import OUT, print_json
from platform_lib.errors import ConfigError
from platform_lib.home import Home, open_home
from platform_lib.logs.instants import whole_ns
from platform_lib.options import HomeOption, JsonOption
from platform_lib.storage import publish_bytes
from platform_lib.table import Column, print_table

_COLUMNS = (Column("what"), Column("digest"), Column("where"), Column("as"), Column("note"))
_SHORT = 12
_MOST_ROLES = 2


def lineage(
    clip: Annotated[
        str | None,
        typer.Option(
            "--clip", help="A clip, or a sample of a dataset: DRIVE/TIME_NS, any time within it.", show_default=False
        ),
    ] = None,
    drive: Annotated[str | None, typer.Option("--drive", help="A drive.", show_default=False)] = None,
    file: Annotated[
        str | None, typer.Option("--file", help="A log's sha256, or its beginning.", show_default=False)
    ] = None,
    dataset: Annotated[
        str | None, typer.Option("--dataset", help="A dataset's name or digest.", show_default=False)
    ] = None,
    run: Annotated[str | None, typer.Option("--run", help="A run's name or digest.", show_default=False)] = None,
    bundle: Annotated[
        str | None, typer.Option("--bundle", help="A bundle's name or digest.", show_default=False)
    ] = None,
    openlineage: Annotated[
        Path | None,
        typer.Option(
            "--openlineage", help="Write all that is recorded as OpenLineage events, one a line.", show_default=False
        ),
    ] = None,
    home: HomeOption = None,
    *,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Write every row anew from the manifests and the lake.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List each dataset, run, model and bundle that saw a clip, or what one of them was made from and into.

    Everything goes by digest. What an erasure touched is marked; a model stays what it was trained on.
    """
    given = {"clip": clip, "drive": drive, "file": file, "dataset": dataset, "run": run, "bundle": bundle}
    asked = {name: value for name, value in given.items() if value is not None}
    if len(asked) + (openlineage is not None) + rebuild != 1:
        raise ConfigError(
            "one thing is asked about at a time",
            where="drivetrain lineage",
            remedy="name one of --clip, --drive, --file, --dataset, --run, --bundle, --openlineage, --rebuild",
        )
    where = open_home(home, make=False)
    if openlineage is not None:
        _write_events(where, openlineage, as_json=as_json)
        return
    if rebuild:
        _rebuild(where, as_json=as_json)
        return
    ((what, name),) = asked.items()
    with embedded_postgres(where) as uri, Catalog(uri) as catalog:
        found = Lineage(catalog.engine)
        found.note_folders(where)
        named = _subject(found, what, name)
        digests = found.newest(named)
        earlier = [digest for digest in named if digest not in digests]
        touched = found.erased(named)
        below = found.descendants(digests)
        above = {key: kind for digest in digests for key, kind in catalog.ancestors(digest, beyond=LAKE).items()}
        places = found.kind_of(above)
        window, saw_window = (None, []) if clip is None else _window(Finder(catalog.engine), clip)
        below += found.beside(below, sorted({item.sha256 for item in saw_window}))
    holds = _holds(where, below, clip) if clip is not None else {}
    if as_json:
        saw = [
            {**asdict(item), **({"holds_sample": holds[item.sha256]} if item.sha256 in holds else {})} for item in below
        ]
        made_from = [
            {"sha256": key, "kind": kind, "uri": places.get(key, ("", None))[1]} for key, kind in above.items()
        ]
        told = {
            "clip": window and {"clip_id": window.clip_id, **asdict(window)},
            "took_samples": [asdict(item) for item in saw_window],
        }
        print_json(
            {
                "asked": {what: name},
                "sha256": digests,
                "earlier": earlier,
                "erased": touched,
                "made_from": made_from,
                "saw_it": saw,
                **(told if clip is not None else {}),
            }
        )
        return
    if window is not None:
        OUT.print(f"clip {window.clip_id}: {window.odd_cell}; {', '.join(window.tags) or 'no tag'}", markup=False)
        for item in saw_window:
            took = f"took {item.samples} samples of it, for {item.split}"
            OUT.print(f"  dataset {item.name} ({item.sha256[:_SHORT]}) {took}", markup=False, highlight=False)
    _show(what, name, above, below, holds)
    for digest in named:
        _show_marks(what, digest, touched.get(digest, ()), earlier=digest in earlier)


def _window(finder: Finder, clip: str) -> tuple[Clip | None, list[SawClip]]:
    """Return the clip that holds a sample's time, and the datasets that took samples from it."""
    drive, _, time_ns = clip.rpartition("/")
    return finder.clip_at(drive, int(time_ns)), finder.saw_clip(drive, int(time_ns))


def _rebuild(home: Home, *, as_json: bool) -> None:
    """Write what was made and every clip anew; what is recorded and lies nowhere any more stays recorded."""
    from platform_lib.lake.clips import refresh_clips  # only this opens the lake
    from platform_lib.lake.lake import Lake

    with Lake.turn(home, "ingest") as lake:
        noted = Lineage(lake.catalog.engine).note_folders(home)
        clips = Clips(lake.catalog.engine)
        clips.note_no_dataset()
        clips.note_all_due()
        drives = refresh_clips(lake)
    if as_json:
        print_json({"artefacts": noted, "drives": drives})
    else:
        OUT.print(f"written anew: {noted} artefacts, the clips of {drives} drives", highlight=False)


def _write_events(home: Home, out: Path, *, as_json: bool) -> None:
    with embedded_postgres(home) as uri, Catalog(uri) as catalog:
        Lineage(catalog.engine).note_folders(home)
        events = [event.to_json() for event in run_events(catalog.engine)]
    publish_bytes(out, "".join(f"{event}\n" for event in events).encode())
    if as_json:
        print_json({"path": out, "events": len(events)})
    else:
        OUT.print(f"{out}: {len(events)} events", markup=False, highlight=False)


def _subject(found: Lineage, what: str, name: str) -> list[str]:
    """Return the digests that are asked about."""
    if what in ("clip", "drive"):
        drive = name.rpartition("/")[0] if what == "clip" else name
        if what == "clip" and not (drive and whole_ns(name.rpartition("/")[2]) is not None):
            raise ConfigError(
                f"'{name}' is no clip", where="--clip", remedy="write DRIVE/TIME_NS, a dataset's sample_id"
            )
        digests = found.files_of(drive)
        if not digests:
            raise ConfigError(
                f"no drive '{drive}' in the lake",
                where=f"--{what}",
                remedy="`drivetrain drives` lists them; what was erased is found by its log's digest, --file",
            )
        return digests
    digests = found.named(name)
    kinds = found.kind_of(digests)
    if what != "file":
        digests = [digest for digest in digests if kinds.get(digest, ("",))[0] == what]
    if not digests:
        raise ConfigError(f"no {what} '{name}' in the catalogue", where=f"--{what}", remedy="name it, or its digest")
    return digests


def _holds(home: Home, below: list[Artefact], clip: str) -> Mapping[str, bool | None]:
    """Say of each dataset whether it holds the very sample; None where it is no longer there."""
    import lance  # only a question about a clip opens datasets

    quoted = clip.replace("'", "''")
    found: dict[str, bool | None] = {}
    for item in below:
        if item.kind == "dataset":
            uri = Path(item.uri) / "samples.lance"
            found[item.sha256] = None
            if uri.is_dir() and uri.is_relative_to(home.root):
                found[item.sha256] = lance.dataset(str(uri)).count_rows(filter=f"sample_id = '{quoted}'") > 0
    return found


def _show_marks(what: str, digest: str, touched: Sequence[int], *, earlier: bool) -> None:
    """Say of what was asked about what an erasure did to it, and which others stood at its place before."""
    marks = [f"touched by erasure {number}" for number in touched]
    if earlier:
        marks.insert(0, f"an earlier {what} of that name: ask for it by its digest")
    if marks:
        OUT.print(f"{what} {digest[:_SHORT]}: {'; '.join(marks)}", markup=False, highlight=False)


def _made_from(above: Mapping[str, str]) -> str:
    """Count logs as logs and other files (thresholds, frozen inputs, manifests) as files; name the other kinds."""
    said = []
    for kind, one in (("log", "log file"), ("file", "other file")):
        count = sum(item == kind for item in above.values())
        said += [f"{count} {one}" if count == 1 else f"{count} {one}s"] if count else []
    return ", ".join([*said, *sorted(set(above.values()) - {"log", "file"})])


def _show(
    what: str, name: str, above: Mapping[str, str], below: list[Artefact], holds: Mapping[str, bool | None]
) -> None:
    if above:
        OUT.print(f"{what} {name}: made from {_made_from(above)}", markup=False, highlight=False)
    if not below:
        OUT.print(f"nothing was made from {what} {name}", markup=False, highlight=False)
        return
    OUT.print(f"made from {what} {name}:", markup=False, highlight=False)
    said = {True: "holds the sample", False: "does not hold the sample", None: "no longer there"}
    rows = []
    for item in below:
        notes = [f"touched by erasure {number}" for number in item.erased]
        notes += [said[holds[item.sha256]]] if item.sha256 in holds else []
        roles = [*item.roles[:_MOST_ROLES], *(["..."] if len(item.roles) > _MOST_ROLES else [])]
        rows.append([item.kind, item.sha256[:_SHORT], item.uri, ", ".join(roles), "; ".join(notes)])
    print_table(_COLUMNS, rows)
