"""Usage from CSV: one row a container, pod and time. Read twice, so that memory holds the grid alone."""

from __future__ import annotations

import math
from pathlib import Path

from cost.rightsize.csv_rows import read_rows, time_of
from cost.rightsize.grid import MOST_CELLS, Grid, GridFullError
from cost.rightsize.model import BrokenCounter, ContainerKey, Measured
from platform_lib.errors import ConfigError

COLUMNS = ("timestamp", "namespace", "workload", "container", "cpu_cores", "memory_bytes")
OPTIONAL = ("pod", "oom_kills")
MOST_BROKEN = 0.05
"""A file of which more than this cannot be read is not the file that was meant."""
_REMEDY = f"columns: {', '.join(COLUMNS)}, and {', '.join(OPTIONAL)} if known; see docs/reference/cost-rightsize.md"


def read_usage(path: Path, *, step_s: float = 300.0, most_cells: int = MOST_CELLS) -> Measured:
    """Read a file.

    An empty field, and `NaN`, is "not measured". A row without a time, a name or a number is counted and named by its line.

    Args:
        path: `timestamp` in seconds since 1970 or ISO 8601 (UTC where it names no zone), cores, bytes.
        step_s: The grid's step; rows that are closer keep the highest.
        most_cells: Containers times steps, at most.

    Raises:
        ConfigError: It is missing, no such file, more than a twentieth is broken, or too large for memory.
    """
    span = [math.inf, -math.inf]
    rows = broken_times = 0
    for _, row in read_rows(path, COLUMNS, remedy=_REMEDY):
        rows += 1
        time_s = _time(row["timestamp"])
        if time_s is None:
            broken_times += 1
        else:
            span = [min(span[0], time_s), max(span[1], time_s)]
    if rows == broken_times:
        raise ConfigError(f"no row of {rows} has a time", where=path, remedy=_REMEDY)
    start_s = math.floor(span[0] / step_s) * step_s
    grid = Grid(start_s, span[1] + step_s, step_s, most_cells=most_cells)
    counter = BrokenCounter()
    try:
        for line, row in read_rows(path, COLUMNS, remedy=_REMEDY):
            _put(grid, counter, line, row)
    except GridFullError as error:
        remedy = "read fewer namespaces at once, or a longer step: --step"
        raise ConfigError(str(error), where=path, remedy=remedy) from error
    broken = counter.found()
    if broken.total > MOST_BROKEN * rows:
        named = "; ".join(
            f"{count} of {reason} ({', '.join(broken.first[reason])})" for reason, count in broken.counts.items()
        )
        raise ConfigError(f"{broken.total} of {rows} rows are broken: {named}", where=path, remedy=_REMEDY)
    return Measured(grid.usages(), broken, str(path))


def _put(grid: Grid, counter: BrokenCounter, line: int, row: dict[str, str]) -> None:
    place = f"line {line}"
    time_s = _time(row["timestamp"])
    if time_s is None:
        counter.add("no time", place)
        return
    names = [row[name].strip() for name in ("namespace", "workload", "container")]
    if not all(names):
        counter.add("no name", place)
        return
    key = ContainerKey(*names)
    values = [_number(row["cpu_cores"]), _number(row["memory_bytes"]), _number(row.get("oom_kills") or "")]
    if any(value is not None and (value < 0 or math.isinf(value)) for value in values):
        counter.add("no number", place)
        return
    cores, held, kills = values
    if cores is not None and not math.isnan(cores):
        grid.put(key, "cpu", time_s, cores)
    if held is not None and not math.isnan(held):
        grid.put(key, "memory", time_s, held)
    if kills:
        grid.put_kill(key, time_s)


def _time(text: str) -> float | None:
    try:
        seconds = time_of(text)
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) else None


def _number(text: str) -> float | None:
    """Return a number; None of an empty field, minus infinity of what is none."""
    if not text.strip():
        return None
    try:
        return float(text)
    except ValueError:
        return -math.inf
