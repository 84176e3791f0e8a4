"""Availability files -> a trace, once it is certain what 1 means in them."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import numpy as np

from cost.spot.model import Bools, Floats, Pool, Trace
from platform_lib.errors import ConfigError

Meaning = Literal["available", "preempted"]

_COLUMNS: Mapping[str, Meaning] = {
    "availability": "available",
    "available": "available",
    "preempted": "preempted",
    "preemption": "preempted",
}
_FORM = "write a header and a line a tick, such as: date,availability / 2026-11-20 09:00:00,1 (UTC, or with its zone)"
_MEND = "the same traces are published with 1 = available and with 1 = preempted; say which by one_means="


def load_traces(
    files: Mapping[str, Path],
    *,
    prices: Path | None = None,
    spot_usd_per_hour: float | None = None,
    on_demand_usd_per_hour: float,
    tick_s: float = 195.0,
    one_means: Meaning | None = None,
    expected_share: Mapping[str, tuple[float, float]] | None = None,
) -> Trace:
    """Read one CSV file a zone (``date,availability``), all with the same dates.

    What 1 means has to be said by the column's name (``availability``, ``preempted``), or by ``one_means`` where the
    name says nothing; the two must not contradict each other.

    Args:
        files: The file of each zone.
        prices: A CSV file of change points: ``zone,first_tick,spot_usd_per_hour``.
        spot_usd_per_hour: One price for all, where there is no file of prices.
        on_demand_usd_per_hour: On-demand price of every zone.
        tick_s: Seconds between two points.
        one_means: What 1 means.
        expected_share: Known shares of available points, (least, most) a zone: a file read the wrong way falls out.

    Raises:
        ConfigError: The convention is not certain, points are missing or neither 0 nor 1, or dates differ.
    """
    if (prices is None) == (spot_usd_per_hour is None):
        raise ConfigError("either a file of spot prices or one spot price", where="load_traces")
    columns, starts, pools = [], [], []
    for zone, path in files.items():
        start_utc_s, available = _read(path, tick_s, one_means)
        _expect(zone, path, available, (expected_share or {}).get(zone))
        columns.append(available)
        starts.append((start_utc_s, len(available)))
        spot = spot_usd_per_hour if prices is None else _prices(prices, zone, len(available))
        pools.append(Pool(zone, spot if spot is not None else 0.0, on_demand_usd_per_hour))
    if len(set(starts)) != 1:
        raise ConfigError(
            "files of different dates or lengths",
            where=", ".join(str(path) for path in files.values()),
            remedy="cut all of them to the days that each has",
        )
    return Trace(tuple(pools), np.stack(columns, axis=1), tick_s, starts[0][0])


def _read(path: Path, tick_s: float, one_means: Meaning | None) -> tuple[float, Bools]:
    try:
        with path.open(newline="", encoding="utf-8") as lines:
            rows = csv.reader(lines)
            meaning = _meaning(path, next(rows, []), one_means)
            points = [_point(path, rows.line_num, row) for row in rows if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"is no CSV file in UTF-8: {error}", where=path, remedy=_FORM) from error
    dates, values = [point[0] for point in points], [point[1] for point in points]
    if not values or not set(values) <= {"0", "1"}:
        raise ConfigError(f"points are 0 or 1, not {sorted(set(values))[:5]}", where=path, remedy=_FORM)
    steps = np.diff(np.asarray(dates))
    if len(steps) and (steps.min() < tick_s / 2 or steps.max() > 1.5 * tick_s):
        raise ConfigError(
            f"points {steps.min():.0f} to {steps.max():.0f} s apart, not {tick_s:g}",
            where=path,
            remedy="sort by date, each once; fill or cut a gap: a missing point is neither available nor not",
        )
    ones = np.asarray(values) == "1"
    return dates[0], ones if meaning == "available" else ~ones


def _point(path: Path, number: int, row: Sequence[str]) -> tuple[float, str]:
    """Return a line's moment, seconds since 1970, and what it says; a date without a zone is of UTC."""
    try:
        date, value = row
        moment = datetime.fromisoformat(date.strip())
    except ValueError as error:
        raise ConfigError(
            f"is no date with a point: {','.join(row)[:60]}", where=f"{path}:{number}", remedy=_FORM
        ) from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp(), value.strip()


def _meaning(path: Path, header: Sequence[str], one_means: Meaning | None) -> Meaning:
    if len(header) != 2:
        raise ConfigError(f"two columns, date and availability, not {list(header)}", where=path, remedy=_FORM)
    said = _COLUMNS.get(header[1].strip().lower())
    if said is None and one_means is None:
        raise ConfigError(f"column {header[1]!r} does not say what 1 means", where=path, remedy=_MEND)
    if said is not None and one_means is not None and said != one_means:
        raise ConfigError(
            f"column {header[1]!r} says that 1 = {said}, the caller that 1 = {one_means}", where=path, remedy=_MEND
        )
    return one_means or said or "available"


def _expect(zone: str, path: Path, available: Bools, share: tuple[float, float] | None) -> None:
    if share is None:
        return
    found = float(available.mean())
    if not share[0] <= found <= share[1]:
        turned = " (the other way round it would be)" if share[0] <= 1 - found <= share[1] else ""
        raise ConfigError(
            f"{zone} reads {found:.1%} available, not {share[0]:.1%} to {share[1]:.1%}{turned}",
            where=path,
            remedy=_MEND,
        )


def _prices(path: Path, zone: str, ticks: int) -> Floats:
    """Return a price a tick; before the first change point, its price."""
    form = "write zone,first_tick,spot_usd_per_hour; of a zone the first ticks ascend"
    with path.open(newline="", encoding="utf-8") as lines:
        try:
            rows = [row for row in csv.DictReader(lines) if row["zone"] == zone]
            first = np.asarray([int(row["first_tick"]) for row in rows])
            price = np.asarray([float(row["spot_usd_per_hour"]) for row in rows])
        except (KeyError, TypeError, ValueError, csv.Error) as error:
            raise ConfigError(f"prices cannot be read: {error!r}", where=path, remedy=form) from error
    if not rows:
        raise ConfigError(f"no price of {zone}", where=path, remedy=form)
    if (np.diff(first) <= 0).any():
        raise ConfigError(f"change points of {zone} that do not ascend", where=path, remedy=form)
    found: Floats = price[np.maximum(np.searchsorted(first, np.arange(ticks), side="right") - 1, 0)]
    return found
