"""Objects that are read by a known law, from seeds: what tiering is tested and measured on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cost.tiering.trace import Trace

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
SIZES = {"32 KiB": 32 * KIB, "512 KiB": 512 * KIB, "4 MiB": 4 * MIB, "64 MiB": 64 * MIB, "1 GiB": GIB}
Grid = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Law:
    """How objects are read: `gets(random, objects, days)` gives requests by object and day of life."""

    name: str
    predictable: bool
    gets: Callable[[np.random.Generator, int, int], Grid]


def _days(days: int, chosen: Callable[[NDArray[np.int64]], NDArray[np.bool_]]) -> Grid:
    return chosen(np.arange(days)).astype(float)


def _same(pattern: Callable[[int], Grid]) -> Callable[[np.random.Generator, int, int], Grid]:
    """Every object is read alike."""
    return lambda random, objects, days: np.tile(pattern(days), (objects, 1))


def _poisson(random: np.random.Generator, objects: int, days: int) -> Grid:
    return random.poisson(0.5 / 30, (objects, days)).astype(float)


def _skewed(random: np.random.Generator, objects: int, days: int) -> Grid:
    rate = random.lognormal(-2.0, 2.0, objects) * 0.5 / 30
    return random.poisson(rate[:, None], (objects, days)).astype(float)


def _heavy_gaps(random: np.random.Generator, objects: int, days: int) -> Grid:
    found = np.zeros((objects, days))
    for number in range(objects):
        day = 0.0
        while (day := day + 3 * random.pareto(0.8) + 0.5) < days:
            found[number, int(day)] += 1
    return found


def _campaigns(random: np.random.Generator, objects: int, days: int) -> Grid:
    found = np.zeros((objects, days))
    for number in range(objects):
        for start in random.integers(0, days, random.poisson(2.0)):
            found[number, start : start + 20] += 1
    return found


def _cooling(random: np.random.Generator, objects: int, days: int) -> Grid:
    return random.poisson(1.5 / (1 + np.arange(days) / 5.0) ** 1.5, (objects, days)).astype(float)


LAWS = (
    Law("never read", True, _same(lambda days: np.zeros(days))),
    Law("read daily", True, _same(lambda days: np.ones(days))),
    Law("daily for 45 days", True, _same(lambda days: _days(days, lambda day: day < 45))),
    Law("every 30th day", True, _same(lambda days: _days(days, lambda day: day % 30 == 29))),
    Law("a fortnight, then half-yearly", True, _same(lambda days: _days(days, lambda day: (day < 14) | (day % 182 == 181)))),
    Law("a campaign on day 200", True, _same(lambda days: _days(days, lambda day: (day >= 200) & (day < 230)))),
    Law("Poisson, every 60 days", False, _poisson),
    Law("lognormal rates", False, _skewed),
    Law("Pareto gaps", False, _heavy_gaps),
    Law("campaigns at random", False, _campaigns),
    Law("cooling down", False, _cooling),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Objects:
    """Objects with all of their reads."""

    size_bytes: Grid
    gets: Grid

    @property
    def read_bytes(self) -> Grid:
        """Each request reads the whole object."""
        return self.gets * self.size_bytes[:, None]

    def trace(self, *, watched: int | None = None) -> Trace:
        """Return the objects as if each had been watched from its first day on."""
        days = self.gets.shape[1] if watched is None else watched
        number, day = np.nonzero(self.gets[:, :days])
        return Trace(
            np.zeros(len(self.size_bytes), dtype=np.int64),
            self.size_bytes.astype(np.int64),
            days,
            number,
            day,
            self.gets[number, day],
            self.read_bytes[number, day],
        )

    def part(self, chosen: slice) -> Objects:
        """Return some of them."""
        return Objects(self.size_bytes[chosen], self.gets[chosen])


def make(law: Law, size_bytes: int, *, objects: int, days: int, seed: int = 20261130) -> Objects:
    """Return objects around a size that never leave its size class."""
    random = np.random.default_rng([seed, size_bytes % 9973])
    sizes = np.floor(size_bytes * random.uniform(0.7, 1.6, objects))
    return Objects(sizes, law.gets(random, objects, days))
