"""In which order an epoch reads its samples: a pure function of the seed, the epoch and the part.

Rows that lie together on the disk are read together: they are cut into blocks, the blocks are put into a random order,
and so many blocks at a time form a window whose rows are put into a random order once more. A sample can so end
anywhere in the epoch, but its neighbours of the same block end in the same window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from platform_lib.errors import ConfigError

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ShuffleRules:
    """How far samples travel, and what it costs.

    Attributes:
        block_rows: Rows that are read in one piece; 1 is a true shuffle, and reads row by row.
        window_blocks: Blocks whose rows are mixed; two windows are in memory at a time.
    """

    block_rows: int = 64
    window_blocks: int = 32

    def __post_init__(self) -> None:
        if self.block_rows < 1 or self.window_blocks < 1:
            raise ConfigError("blocks and windows hold at least one", where="ShuffleRules", remedy="take 1 or more")


@dataclass(frozen=True, slots=True)
class Part:
    """Which share of an epoch one reader takes: `index` of `count` equal parts."""

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise ConfigError(f"part {self.index} of {self.count}", where="Part", remedy="count from 0")


@dataclass(frozen=True, slots=True)
class Window:
    """What is read at once.

    Attributes:
        ranges: (K, 2) half-open ranges of rows, in the order they lie on the disk.
        order: (N,) the window's samples as places within those ranges.
    """

    ranges: Rows
    order: Rows


class EpochOrder:
    """One part of one epoch.

    The blocks' random order is one for all parts; each part is a stretch of it, and stretches differ by one sample at
    most. So each sample is read once an epoch, by one part, however many parts there are.

    Args:
        runs: (K, 2) half-open ranges of rows that belong to the split.
        batch: Most samples of one step.
        seed: Decides the order, together with the epoch; None leaves the rows in order.
        epoch: Counted from 0.
        part: Which share is asked for.
        rules: How rows are mixed.
    """

    def __init__(
        self, runs: Rows, *, batch: int, seed: int | None, epoch: int, part: Part, rules: ShuffleRules
    ) -> None:
        self._seed, self._epoch, self._part, self._rules = seed, epoch, part, rules
        blocks = _blocks(runs, rules.block_rows)
        if seed is not None:
            blocks = blocks[np.random.default_rng(np.random.SeedSequence([seed, epoch])).permutation(len(blocks))]
        total = int((runs[:, 1] - runs[:, 0]).sum())
        begin, end = part.index * total // part.count, (part.index + 1) * total // part.count
        self._pieces = _stretch(blocks, begin, end)
        self._samples = end - begin
        # Every part makes the same number of steps, so that no rank waits for one that is done.
        largest = -(-total // part.count)
        self.steps = -(-largest // batch)

    @property
    def windows(self) -> int:
        """How many windows there are."""
        return -(-len(self._pieces) // self._rules.window_blocks)

    def window(self, number: int) -> Window:
        """Return one window."""
        size = self._rules.window_blocks
        pieces = self._pieces[number * size : (number + 1) * size]
        place = np.argsort(pieces[:, 0], kind="stable")
        ranges = pieces[place]
        rows = int((ranges[:, 1] - ranges[:, 0]).sum())
        if self._seed is None:
            return Window(ranges, np.arange(rows, dtype=np.int64))
        source = np.random.SeedSequence([self._seed, self._epoch, self._part.count, self._part.index, number])
        return Window(ranges, np.random.default_rng(source).permutation(rows).astype(np.int64))

    def rows(self) -> Rows:
        """Return the part's rows in their order, all at once."""
        found = [np.zeros(0, dtype=np.int64)]
        for number in range(self.windows):
            window = self.window(number)
            found.append(np.concatenate([np.arange(start, stop) for start, stop in window.ranges])[window.order])
        return np.concatenate(found)

    def starts(self) -> Rows:
        """Return the place (windows + 1,) within the part at which each window starts, and where the last one ends."""
        rows = np.concatenate([[0], np.cumsum(self._pieces[:, 1] - self._pieces[:, 0])])
        return np.asarray(rows[np.minimum(np.arange(self.windows + 1) * self._rules.window_blocks, len(rows) - 1)])

    def step(self, number: int) -> tuple[int, int]:
        """Return the places within the part that a step covers; steps differ by one sample at most."""
        return number * self._samples // self.steps, (number + 1) * self._samples // self.steps


def _blocks(runs: Rows, rows: int) -> Rows:
    """Cut ranges into pieces of at most `rows`."""
    pieces = [
        np.column_stack([np.arange(start, stop, rows), np.minimum(np.arange(start, stop, rows) + rows, stop)])
        for start, stop in runs.tolist()
    ]
    return np.concatenate([np.zeros((0, 2), dtype=np.int64), *pieces]).astype(np.int64)


def _stretch(blocks: Rows, begin: int, end: int) -> Rows:
    """Return the ranges that hold places ``[begin, end)`` of the rows of `blocks`, in that order."""
    stop = np.cumsum(blocks[:, 1] - blocks[:, 0])
    start = stop - (blocks[:, 1] - blocks[:, 0])
    first = blocks[:, 0] + np.clip(begin - start, 0, None)
    last = blocks[:, 1] - np.clip(stop - end, 0, None)
    inside = first < last
    return np.column_stack([first[inside], last[inside]])


def runs_of(member: npt.NDArray[np.bool_]) -> Rows:
    """Return the half-open ranges (K, 2) in which `member` (N,) holds."""
    edge = np.flatnonzero(np.diff(np.concatenate([[False], member, [False]]).astype(np.int8)))
    return edge.reshape(-1, 2).astype(np.int64)


def rows_at(runs: Rows, places: Rows) -> Rows:
    """Return the rows (N,) at places (N,) counted over the ranges, one after the other."""
    size = runs[:, 1] - runs[:, 0]
    stop = np.cumsum(size)
    run = np.searchsorted(stop, places, side="right")
    return np.asarray(places - (stop - size)[run] + runs[run, 0], dtype=np.int64)


def places_of(runs: Rows, rows: Rows) -> Rows:
    """Undo `rows_at`: return the places of rows that all lie in the ranges."""
    run = np.searchsorted(runs[:, 1], rows, side="right")
    before = np.cumsum(runs[:, 1] - runs[:, 0]) - (runs[:, 1] - runs[:, 0])
    return np.asarray(rows - runs[run, 0] + before[run], dtype=np.int64)


def merged(ranges: Rows) -> Sequence[tuple[int, int]]:
    """Join ranges, ordered by their start, that touch."""
    found: list[tuple[int, int]] = []
    for start, stop in ranges.tolist():
        if found and found[-1][1] == start:
            found[-1] = (found[-1][0], stop)
        else:
            found.append((start, stop))
    return found
