"""`drivetrain clips`."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer

from platform_lib.catalog.catalog import Catalog
from platform_lib.catalog.cells import parse_near
from platform_lib.catalog.filters import ClipFilter
from platform_lib.catalog.finding import Clip, Finder
from platform_lib.catalog.lineage import Lineage
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
from platform_lib.console import ERR, OUT, print_json
from platform_lib.errors import ConfigError
from platform_lib.home import open_home
from platform_lib.options import HomeOption, JsonOption
from platform_lib.table import Column, print_table

_COLUMNS = (
    Column("clip"),
    Column("start (UTC)"),
    Column("ODD cell"),
    Column("frames"),
    Column("where"),
    Column("tags"),
)


def clips(
    drive: Annotated[str | None, typer.Option("--drive", help="Of one drive.", show_default=False)] = None,
    tag: Annotated[str | None, typer.Option("--tag", help="In which samples show this.", show_default=False)] = None,
    odd: Annotated[
        str | None, typer.Option("--odd", metavar="CELL", help="In this ODD cell.", show_default=False)
    ] = None,
    near: Annotated[
        str | None,
        typer.Option("--near", metavar="PLACE", help="That begin within LAT,LON,METRES.", show_default=False),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option("--dataset", help="That a dataset has samples of: its name or digest.", show_default=False),
    ] = None,
    since: SinceOption = None,
    until: UntilOption = None,
    state: StateOption = None,
    limit: LimitOption = 50,
    after: AfterOption = None,
    home: HomeOption = None,
    *,
    names: Annotated[bool, typer.Option("--names", help="List the tags and ODD cells there are.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List clips, windows of 20 s of a drive: newest first, of one drive in order of time.

    `drivetrain lineage --clip CLIP` says which datasets, runs, models and bundles saw one.
    """
    key = parse_key(after)
    with embedded_postgres(open_home(home, make=False)) as uri, Catalog(uri) as catalog:
        finder = Finder(catalog.engine)
        if names:
            _show_names(finder, as_json=as_json)
            return
        which = ClipFilter(
            drive=drive,
            tag=tag,
            odd_cell=odd,
            near=None if near is None else parse_near(near),
            dataset=None if dataset is None else _digest(Lineage(catalog.engine), dataset),
            pii_state=known_state(state),
            since_ns=parse_moment(since, where="--since"),
            until_ns=parse_moment(until, where="--until"),
        )
        page = finder.clips(which, limit=limit, after=key)
    following = key_text(page.after)
    if as_json:
        listed = [{"clip_id": item.clip_id, **asdict(item), "stop_ns": item.stop_ns} for item in page.clips]
        print_json({"clips": listed, "next": following})
        return
    OUT.print("1 clip" if len(page.clips) == 1 else f"{len(page.clips)} clips", highlight=False)
    print_table(_COLUMNS, [_cells(item) for item in page.clips])
    if following is not None:
        ERR.print(f"there are more: --after {following}", markup=False, highlight=False)


def _digest(lineage: Lineage, name: str) -> str:
    found = lineage.named(name)
    kinds = lineage.kind_of(found)
    digests = [digest for digest in found if kinds.get(digest, ("",))[0] == "dataset"]
    if len(digests) != 1:
        what = f"no dataset '{name}'" if not digests else f"{len(digests)} datasets were called '{name}'"
        remedy = "name it as `drivetrain dataset` made it" if not digests else f"give a digest: {', '.join(digests)}"
        raise ConfigError(what, where="--dataset", remedy=remedy)
    return digests[0]


def _show_names(finder: Finder, *, as_json: bool) -> None:
    tags, cells = finder.names()
    if as_json:
        print_json({"tags": tags, "odd_cells": cells})
        return
    for what, values in (("tag", tags), ("ODD cell", cells)):
        print_table((Column(what),), [[value] for value in values])


def _cells(clip: Clip) -> list[str]:
    start = datetime.fromtimestamp(clip.start_ns // 1_000_000_000, UTC)
    where = "unknown" if clip.latitude_deg is None else f"{clip.latitude_deg:.5f},{clip.longitude_deg:.5f}"
    frames = clip.pii_state or "none"
    return [clip.clip_id, f"{start:%Y-%m-%d %H:%M:%S}", clip.odd_cell, frames, where, ", ".join(clip.tags)]
