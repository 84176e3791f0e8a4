"""Puts samples on a grid as they are read: the busiest pod counts, and memory stays bounded. Pure."""

from __future__ import annotations

import math

import numpy as np

from cost.rightsize.model import ContainerKey, Resource, Samples, Usage

MOST_CELLS = 100_000_000
"""Containers times steps: 800 MB of CPU and memory together. 1,700 containers of eight weeks at 5 minutes are 27 million."""


class GridFullError(Exception):
    """More containers than memory is kept for."""


class Grid:
    """CPU and memory of any number of containers over one span.

    Args:
        start_utc_s: Where it begins.
        stop_utc_s: Where it ends, exclusive.
        step_s: From one step to the next.
        most_cells: Containers times steps, at most.
    """

    def __init__(self, start_utc_s: float, stop_utc_s: float, step_s: float, *, most_cells: int = MOST_CELLS) -> None:
        self.start_utc_s, self.step_s = start_utc_s, step_s
        self.steps = max(math.ceil((stop_utc_s - start_utc_s) / step_s - 1e-9), 0)
        self._most_cells = most_cells
        self._cells: dict[ContainerKey, tuple[Samples, Samples]] = {}
        self._kills: dict[ContainerKey, set[float]] = {}
        self._throttled: dict[ContainerKey, float] = {}

    def put(self, key: ContainerKey, resource: Resource, time_utc_s: float, value: float) -> bool:
        """Put one sample; return whether its time lies on the grid. Of several in one cell the highest stays.

        Raises:
            GridFullError: One container more than memory is kept for.
        """
        at = math.floor((time_utc_s - self.start_utc_s) / self.step_s + 1e-6)
        if not 0 <= at < self.steps:
            return False
        row = self._row(key)[0 if resource == "cpu" else 1]
        row[at] = np.fmax(row[at], np.float32(value))
        return True

    def put_kill(self, key: ContainerKey, time_utc_s: float) -> None:
        """Note that a container was killed for memory."""
        self._kills.setdefault(key, set()).add(time_utc_s)

    def put_throttled(self, key: ContainerKey, share: float) -> None:
        """Note in which share of its periods a container was throttled; the worst pod's stays."""
        self._throttled[key] = max(share, self._throttled.get(key, 0.0))

    def usages(self) -> tuple[Usage, ...]:
        """Return what was put, by container."""
        return tuple(
            Usage(
                key,
                self.start_utc_s,
                self.step_s,
                *self._cells[key],
                tuple(sorted(self._kills.get(key, ()))),
                self._throttled.get(key),
            )
            for key in sorted(self._cells)
        )

    def _row(self, key: ContainerKey) -> tuple[Samples, Samples]:
        found = self._cells.get(key)
        if found is None:
            if (len(self._cells) + 1) * self.steps > self._most_cells:
                raise GridFullError(
                    f"{len(self._cells) + 1} containers of {self.steps} steps are more than the {self._most_cells} cells "
                    "that memory is kept for"
                )
            found = (np.full(self.steps, np.nan, np.float32), np.full(self.steps, np.nan, np.float32))
            self._cells[key] = found
        return found
