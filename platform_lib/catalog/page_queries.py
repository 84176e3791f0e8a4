"""The statements behind lists: each reads a page by an index that has both what is asked and the order.

Pages follow a key, not a count of rows to skip: the last row of a page is where the next begins, so that a deep page costs
what the first one does, and a row that comes in between is neither shown twice nor hides another.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    FromClause,
    Integer,
    Select,
    Table,
    and_,
    exists,
    func,
    literal,
    select,
    true,
    tuple_,
    union_all,
)
from sqlalchemy.dialects import postgresql

from platform_lib.catalog.cells import EARTH_RADIUS_M, Near, box_around, cells_near
from platform_lib.catalog.clip_schema import CLIP_TAGS, CLIPS, DATASET_CLIPS, DATASETS, DRIVE_PLACES, ODD_CELLS, TAGS
from platform_lib.catalog.filters import ClipFilter, DriveFilter, Key
from platform_lib.catalog.schema import DRIVES
from platform_lib.errors import ConfigError

_E7 = 1e7


@dataclass(frozen=True, slots=True)
class _Order:
    """What a page follows: rows that come after `after` in the order of these columns."""

    columns: tuple[ColumnElement[Any], ColumnElement[Any]]
    ascending: bool = False
    after: Key | None = field(default=None)

    def of(self, wanted: Select[Any], limit: int) -> Select[Any]:
        if self.after is not None:
            mine = tuple_(*self.columns)
            bound = tuple_(
                *(literal(value, column.type) for value, column in zip(self.after, self.columns, strict=True))
            )
            wanted = wanted.where(mine > bound if self.ascending else mine < bound)
        order = [column.asc() if self.ascending else column.desc() for column in self.columns]
        return wanted.order_by(*order).limit(limit)


def drive_keys(which: DriveFilter, limit: int, after: Key | None) -> Select[Any]:
    """Choose a page of drives: id, time and number."""
    columns = (DRIVES.c.drive_id, DRIVES.c.listed_ns, DRIVES.c.drive_number)
    if which.near is None:
        wanted = _of_drives(select(*columns).where(DRIVES.c.listed_ns.is_not(None)), which, DRIVES.c.listed_ns)
        return _Order((DRIVES.c.listed_ns, DRIVES.c.drive_number), after=after).of(wanted, limit)
    # The newest of each cell, then the newest of those: a drive that is among the newest of all is so in its cell too.
    inside, rim = cells_near(which.near)
    cells = _cells([*inside, *rim], "cells")
    places = DRIVE_PLACES.c
    inner: Select[Any] = select(*columns).join(DRIVES, DRIVES.c.drive_number == places.drive_number)
    inner = _of_drives(
        inner.where(places.cell == cells.c.cell, DRIVES.c.listed_ns.is_not(None)), which, places.listed_ns
    )
    newest = _Order((places.listed_ns, places.drive_number), after=after).of(inner, limit).lateral("newest")
    joined = select(newest.c.drive_id, newest.c.listed_ns, newest.c.drive_number).select_from(
        cells.join(newest, true())
    )
    ordered = joined.distinct().order_by(newest.c.listed_ns.desc(), newest.c.drive_number.desc())
    return ordered.limit(limit)


def _of_drives(wanted: Select[Any], which: DriveFilter, begin: ColumnElement[Any]) -> Select[Any]:
    if which.vehicle is not None:
        wanted = wanted.where(DRIVES.c.vehicle == which.vehicle)
    if which.pii_state is not None:
        wanted = wanted.where(DRIVES.c.pii_state == which.pii_state)
    return _between(wanted, begin, which.since_ns, which.until_ns)


def _between(wanted: Select[Any], begin: ColumnElement[Any], since_ns: int | None, until_ns: int | None) -> Select[Any]:
    if since_ns is not None:
        wanted = wanted.where(begin >= since_ns)
    return wanted if until_ns is None else wanted.where(begin < until_ns)


def _cells(numbered: Sequence[int], name: str) -> FromClause:
    return (
        func.unnest(literal(list(numbered), postgresql.ARRAY(Integer))).table_valued("cell").render_derived(name=name)
    )


@dataclass(frozen=True, slots=True)
class Numbers:
    """What the names in a filter are numbered; None where not asked."""

    drive: int | None
    tag: int | None
    odd: int | None
    dataset: int | None


def named_numbers(connection: Connection, which: ClipFilter) -> Numbers:
    """Look the names in a filter up.

    Raises:
        ConfigError: Nothing is named that an index finds clips by, or something that there is not.
    """

    def number(what: str, name: str | None, column: ColumnElement[Any], named: ColumnElement[Any]) -> int | None:
        if name is None:
            return None
        found: int | None = connection.execute(select(column).where(named == name)).scalar_one_or_none()
        if found is None:
            raise ConfigError(f"no {what} '{name}' in the catalogue", where=f"--{what}", remedy=_REMEDIES[what])
        return found

    if all(item is None for item in (which.drive, which.tag, which.odd_cell, which.near, which.dataset)):
        raise ConfigError(
            "nothing is named that clips are found by",
            where="drivetrain clips",
            remedy="name one of --drive, --tag, --odd, --near, --dataset; --since, --until and --state narrow it down",
        )
    return Numbers(
        number("drive", which.drive, DRIVES.c.drive_number, DRIVES.c.drive_id),
        number("tag", which.tag, TAGS.c.tag_id, TAGS.c.tag),
        number("odd", which.odd_cell, ODD_CELLS.c.odd_id, ODD_CELLS.c.odd_cell),
        number("dataset", which.dataset, DATASETS.c.dataset_number, DATASETS.c.sha256),
    )


_REMEDIES = {
    "drive": "`drivetrain drives` lists them",
    "tag": "`drivetrain clips --names` lists the tags and ODD cells there are",
    "odd": "`drivetrain clips --names` lists the tags and ODD cells there are",
    "dataset": "`drivetrain lineage --dataset NAME` knows the datasets there are",
}


def clip_rows(which: ClipFilter, numbers: Numbers, limit: int, after: Key | None) -> Select[Any]:
    """Choose what the page is read from: the table whose index has both what is asked and the order."""
    if numbers.drive is not None:
        order = _Order((CLIPS.c.start_ns, CLIPS.c.drive_number), ascending=True, after=after)
        return _finished(order.of(_filtered(select(CLIPS), which, numbers), limit), ascending=True)
    if numbers.dataset is not None:
        own = DATASET_CLIPS.c
        order = _Order((own.drive_number, own.start_ns), ascending=True, after=after)
        rows = _member_rows(DATASET_CLIPS, own.dataset_number == numbers.dataset, which, numbers, "dataset")
        return _finished(order.of(rows, limit), ascending=True, by_drive=True)
    if numbers.tag is not None:
        tagged = CLIP_TAGS.c
        order = _Order((tagged.start_ns, tagged.drive_number), after=after)
        rows = _member_rows(CLIP_TAGS, tagged.tag_id == numbers.tag, which, numbers, "tag")
        return _finished(order.of(rows, limit))
    if which.near is not None:
        return _near_rows(which, numbers, which.near, limit, after)
    order = _Order((CLIPS.c.start_ns, CLIPS.c.drive_number), after=after)
    return _finished(order.of(_filtered(select(CLIPS), which, numbers), limit))


def _member_rows(
    table: Table, member: ColumnElement[bool], which: ClipFilter, numbers: Numbers, but: str
) -> Select[Any]:
    """Look up each clip that a table names, in the table's order: a plan that joins first and sorts reads all of them."""
    wanted: Select[Any] = _filtered(select(CLIPS).where(_same_clip(table)), which, numbers, but=but)
    one = wanted.limit(1).correlate(table).lateral("one")
    chosen = select(one).select_from(table.join(one, true())).where(member)
    return _between(chosen, table.c.start_ns, which.since_ns, which.until_ns)


def _near_rows(which: ClipFilter, numbers: Numbers, near: Near, limit: int, after: Key | None) -> Select[Any]:
    """Choose by the index alone, which has the position too, and look up what was chosen.

    Cells within the circle fill the page; cells at its rim are then read only as far back as the page reaches. Most clips
    of a crowded one lie outside, and to its end it would be read for the few that do not.
    """
    inside, rim = cells_near(near)
    inner = _newest_of(inside, "inside", which, numbers, near, limit, after).cte("inner_page")
    full = select(func.min(inner.c.start_ns)).having(func.count() >= limit).scalar_subquery()
    reach = func.coalesce(full, literal(-1 << 63, BigInteger))
    outer = _newest_of(rim, "rim", which, numbers, near, limit, after, since=reach).subquery("outer_page")
    both = union_all(select(inner), select(outer)).subquery("both")
    page = select(both).order_by(both.c.start_ns.desc(), both.c.drive_number.desc()).limit(limit).subquery("chosen")
    same = and_(CLIPS.c.drive_number == page.c.drive_number, CLIPS.c.start_ns == page.c.start_ns)
    return _finished(select(CLIPS).join(page, same))


def _newest_of(
    numbered: Sequence[int],
    name: str,
    which: ClipFilter,
    numbers: Numbers,
    near: Near,
    limit: int,
    after: Key | None,
    *,
    since: ColumnElement[int] | None = None,
) -> Select[Any]:
    """Choose the newest of each cell, then the newest of those."""
    cells, keys = _cells(numbered, f"cells_{name}"), CLIPS.alias(f"keys_{name}")
    inner: Select[Any] = select(keys.c.start_ns, keys.c.drive_number).where(
        keys.c.cell == cells.c.cell, keys.c.cell.is_not(None), _within(near, keys)
    )
    inner = _between(inner, keys.c.start_ns, which.since_ns, which.until_ns)
    if since is not None:
        inner = inner.where(keys.c.start_ns >= since)
    rest = replace(which, near=None, since_ns=None, until_ns=None)
    if (numbers.odd, rest.pii_state) != (None, None):
        same = and_(CLIPS.c.drive_number == keys.c.drive_number, CLIPS.c.start_ns == keys.c.start_ns)
        inner = _filtered(inner.join(CLIPS, same), rest, numbers)
    newest = _Order((keys.c.start_ns, keys.c.drive_number), after=after).of(inner, limit).lateral(f"newest_{name}")
    chosen = select(newest).select_from(cells.join(newest, true()))
    return chosen.order_by(newest.c.start_ns.desc(), newest.c.drive_number.desc()).limit(limit)


def _filtered(wanted: Select[Any], which: ClipFilter, numbers: Numbers, but: str = "") -> Select[Any]:
    clips = CLIPS.c
    if numbers.drive is not None:
        wanted = wanted.where(clips.drive_number == numbers.drive)
    if numbers.odd is not None:
        wanted = wanted.where(clips.odd_id == numbers.odd)
    if which.pii_state is not None:
        wanted = wanted.where(clips.pii_state == which.pii_state)
    if numbers.dataset is not None and but != "dataset":
        wanted = wanted.where(
            exists().where(_same_clip(DATASET_CLIPS), DATASET_CLIPS.c.dataset_number == numbers.dataset)
        )
    if numbers.tag is not None and but != "tag":
        wanted = wanted.where(exists().where(_same_clip(CLIP_TAGS), CLIP_TAGS.c.tag_id == numbers.tag))
    if which.near is not None:
        wanted = wanted.where(_within(which.near))
    return _between(wanted, clips.start_ns, which.since_ns, which.until_ns)


def _same_clip(table: Table) -> ColumnElement[bool]:
    return and_(table.c.drive_number == CLIPS.c.drive_number, table.c.start_ns == CLIPS.c.start_ns)


def _within(near: Near, clips: FromClause = CLIPS) -> ColumnElement[bool]:
    """Say of a clip whether it begins in a circle. Source: the haversine formula.

    The box around the circle is asked first: whole numbers, where the formula takes ten times as long.
    """
    latitude, longitude = (
        func.radians(column / literal(_E7)) for column in (clips.c.latitude_e7, clips.c.longitude_e7)
    )
    own_latitude = func.radians(literal(near.latitude_deg))
    up = func.power(func.sin((latitude - own_latitude) / 2), 2)
    across = func.power(func.sin((longitude - func.radians(literal(near.longitude_deg))) / 2), 2)
    share = up + func.cos(own_latitude) * func.cos(latitude) * across
    circle = 2 * EARTH_RADIUS_M * func.asin(func.sqrt(func.least(share, 1.0))) <= near.radius_m
    box = box_around(near)
    sides = [clips.c.latitude_e7.between(*_whole(box.south_deg, box.north_deg))]
    if box.west_deg >= -180.0 and box.east_deg <= 180.0:  # else it goes over the edge, where numbers jump
        sides.append(clips.c.longitude_e7.between(*_whole(box.west_deg, box.east_deg)))
    return and_(*sides, circle)


def _whole(least_deg: float, most_deg: float) -> tuple[int, int]:
    """Return degrees as the catalogue has them, the range a hair wider: a clip on the rim is the circle's to judge."""
    return math.floor(least_deg * _E7) - 1, math.ceil(most_deg * _E7) + 1


def _finished(page: Select[Any], *, ascending: bool = False, by_drive: bool = False) -> Select[Any]:
    """Give the rows of a page their names; a page is small, so its joins are few look-ups."""
    rows = page.subquery("page")
    columns = [rows.c.start_ns, rows.c.drive_number]
    if by_drive:
        columns.reverse()
    order = [column.asc() if ascending else column.desc() for column in columns]
    return (
        select(rows, DRIVES.c.drive_id, ODD_CELLS.c.odd_cell)
        .join(DRIVES, DRIVES.c.drive_number == rows.c.drive_number)
        .join(ODD_CELLS, ODD_CELLS.c.odd_id == rows.c.odd_id)
        .order_by(*order)
    )
