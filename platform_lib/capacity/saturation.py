"""Where taking logs in saturates: the driver's loop and its workers, simulated event by event (pure).

As `ray_jobs.reading` works: one driver hands tasks out, at most two a worker at a time, and commits what each gives,
one after the other; workers only read and write files.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from platform_lib.capacity.model import Measured

_AHEAD = 2  # tasks a worker, so that the next is there when one ends
_BUSY = 0.9
_LEAST_GAIN = 1.5
"""What twice the workers have to bring, as a factor, or else it is said to be saturated."""


@dataclass(frozen=True, slots=True)
class Load:
    """Files that arrive at once.

    Attributes:
        files: How many.
        file_gb: Of each.
        batch_files: Files a task.
        worker_mbps: What one worker can fetch and write.
    """

    files: int
    file_gb: float
    batch_files: int
    worker_mbps: float


@dataclass(frozen=True, slots=True)
class Point:
    """One simulated run.

    Attributes:
        workers: Reading processes.
        seconds: Until the last file is committed.
        worker_busy: Mean share of that time in which a worker works.
        driver_busy: Share in which the driver works.
        by_network: Whether a worker waits for its network rather than its core.
    """

    workers: int
    seconds: float
    files_per_s: float
    gb_per_s: float
    worker_busy: float
    driver_busy: float
    by_network: bool


def simulate(load: Load, workers: int, measured: Measured, *, lake_share: float | None = None) -> Point:
    """Run one load on so many workers."""
    sizes = [load.batch_files] * (load.files // load.batch_files)
    if rest := load.files % load.batch_files:
        sizes.append(rest)
    written = measured.lake_share if lake_share is None else lake_share
    core_s = load.file_gb * measured.core_s_per_gb + measured.core_s_per_file
    network_s = load.file_gb * 8e3 * (1 + written) / load.worker_mbps
    file_s = max(core_s, network_s)
    free = [0.0] * workers
    running: list[tuple[float, int]] = []
    now = driver_s = worker_s = 0.0
    waiting = list(reversed(sizes))
    while waiting or running:
        while waiting and len(running) < _AHEAD * workers:
            size = waiting.pop()
            now += measured.dispatch_s
            driver_s += measured.dispatch_s
            start = max(now, heapq.heappop(free))
            heapq.heappush(free, start + size * file_s)
            heapq.heappush(running, (start + size * file_s, size))
            worker_s += size * file_s
        ended, size = heapq.heappop(running)
        commit_s = measured.commit_s + size * measured.commit_s_per_file
        now = max(now, ended) + commit_s
        driver_s += commit_s
    return Point(
        workers=workers,
        seconds=now,
        files_per_s=load.files / now,
        gb_per_s=load.files * load.file_gb / now,
        worker_busy=worker_s / (workers * now),
        driver_busy=driver_s / now,
        by_network=network_s > core_s,
    )


def curve(load: Load, measured: Measured, most_workers: int = 1 << 14) -> list[Point]:
    """Run one load on 1, 2, 4, ... workers, until more of them change nothing."""
    found: list[Point] = []
    workers = 1
    while workers <= most_workers:
        found.append(simulate(load, workers, measured))
        if len(found) > 2 and found[-2].seconds / found[-1].seconds < 1.02:
            break
        workers *= 2
    return found


def saturation(points: Sequence[Point]) -> tuple[Point, str]:
    """Return the last point that doubling was worth, and what stands in the way of more."""
    for before, after in pairwise(points):
        if before.seconds / after.seconds < _LEAST_GAIN:
            if after.driver_busy >= _BUSY or after.driver_busy > after.worker_busy:
                return before, "the driver, which commits one task after the other"
            return before, "too few files for so many workers"
    last = points[-1]
    return last, "nothing up to here"
