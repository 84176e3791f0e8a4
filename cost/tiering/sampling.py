"""Inventory and logs joined in bounded memory: every object counts in the sums, a hashed sample of them is watched. Pure.

The sample is what has the smallest hashes of its key, so it does not depend on the order of the lines, and the same keys are found in
the logs. Where it grows too large its limit is halved.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np

from cost.tiering.model import size_class_of
from cost.tiering.trace import Trace

_WHOLE = 1 << 64
MOST_OBJECTS = 100_000
MOST_ROWS = 2_000_000

Cell = tuple[str, int]
"""A prefix and the number of a size class."""


def prefix_of(key: str, depth: int) -> str:
    """Return a key's folders, `depth` of them at most, with the last slash."""
    folders = key.split("/")[:-1][:depth]
    return "".join(f"{name}/" for name in folders)


@dataclass(frozen=True, slots=True)
class Kind:
    """What objects of a cell have in common beside their size.

    Attributes:
        storage_class: S3's word.
        tier: Of Intelligent-Tiering.
        age_days: How old they are.
        locked_days: Until which day of their life they are retained; None: they are not.
        held: Whether they are under legal hold.
    """

    storage_class: str
    tier: str
    age_days: int
    locked_days: int | None = None
    held: bool = False


@dataclass(slots=True)
class Totals:
    """Objects and bytes."""

    objects: int = 0
    size_bytes: int = 0

    def add(self, size_bytes: int) -> None:
        """Count one object."""
        self.objects += 1
        self.size_bytes += size_bytes


@dataclass(slots=True)
class Sample:
    """Objects that are watched, by the hash of their key.

    Attributes:
        most_objects: How many at most.
        most_rows: How many days of reads at most, all objects together.
        limit: Keys with a smaller hash are in it.
        objects: Cell, day of birth (since 1970) and size of each.
        reads: Requests and bytes by object and day.
        unmatched: Reads of keys that are in no inventory, scaled by nothing.
    """

    most_objects: int = MOST_OBJECTS
    most_rows: int = MOST_ROWS
    limit: int = _WHOLE
    objects: dict[int, tuple[Cell, int, int]] = field(default_factory=dict)
    reads: dict[int, dict[int, list[float]]] = field(default_factory=dict)
    unmatched: int = 0
    _rows: int = 0

    @property
    def share(self) -> float:
        """The share of keys that is in it."""
        return self.limit / _WHOLE

    def add(self, key: str, cell: Cell, born_day: int, size_bytes: int) -> None:
        """Take an object in, if its hash says so."""
        mark = _hash(key)
        if mark >= self.limit:
            return
        self.objects[mark] = (cell, born_day, size_bytes)
        while len(self.objects) > self.most_objects:
            self._halve()

    def read(self, key: str, day: int, read_bytes: int | None) -> None:
        """Count a read; of a key that is not watched it is passed over, of one in no inventory counted."""
        mark = _hash(key)
        if mark >= self.limit:
            return
        known = self.objects.get(mark)
        if known is None:
            self.unmatched += 1
            return
        if day < known[1]:  # of an older object of that name
            self.unmatched += 1
            return
        days = self.reads.setdefault(mark, {})
        if day not in days:
            days[day] = [0.0, 0.0]
            self._rows += 1
        days[day][0] += 1
        # One request cannot hand out more than the object; several ranges may add up to more.
        days[day][1] += known[2] if read_bytes is None else min(read_bytes, known[2])
        while self._rows > self.most_rows and len(self.objects) > 1:
            self._halve()

    def known(self, key: str) -> bool:
        """Say whether a key is watched."""
        return _hash(key) in self.objects

    def _halve(self) -> None:
        self.limit //= 2
        self.objects = {mark: item for mark, item in self.objects.items() if mark < self.limit}
        self.reads = {mark: days for mark, days in self.reads.items() if mark < self.limit}
        self._rows = sum(map(len, self.reads.values()))

    def traces(self, first_day: int, last_day: int) -> dict[Cell, Trace]:
        """Return what was watched from one day to another, both included, by cell."""
        watched = last_day + 1 - first_day
        by_cell: dict[Cell, list[int]] = {}
        for mark, (cell, born_day, _) in self.objects.items():
            if born_day <= last_day:
                by_cell.setdefault(cell, []).append(mark)
        return {cell: self._trace(marks, first_day, watched) for cell, marks in by_cell.items()}

    def _trace(self, marks: list[int], first_day: int, watched: int) -> Trace:
        rows = [
            (number, day - first_day, gets, size)
            for number, mark in enumerate(marks)
            for day, (gets, size) in self.reads.get(mark, {}).items()
            if 0 <= day - first_day < watched
        ]
        columns = list(zip(*rows, strict=True)) if rows else [(), (), (), ()]
        return Trace(
            np.array([self.objects[mark][1] - first_day for mark in marks], dtype=np.int64),
            np.array([self.objects[mark][2] for mark in marks], dtype=np.int64),
            watched,
            np.array(columns[0], dtype=np.int64),
            np.array(columns[1], dtype=np.int64),
            np.array(columns[2], dtype=np.float64),
            np.array(columns[3], dtype=np.float64),
        )


def _hash(key: str) -> int:
    return int.from_bytes(hashlib.blake2b(key.encode("utf-8", "surrogateescape"), digest_size=8).digest(), "big")


@dataclass(slots=True)
class Holdings:
    """All of a bucket, counted.

    Attributes:
        depth: How many folders of a key make its prefix.
        today: The inventory's day, since 1970.
        cells: By prefix and size class: by kind.
        old_versions: Versions that were replaced.
        markers: Delete markers.
        sample: What is watched.
    """

    depth: int
    today: int
    cells: dict[Cell, dict[Kind, Totals]] = field(default_factory=dict)
    old_versions: Totals = field(default_factory=Totals)
    markers: int = 0
    sample: Sample = field(default_factory=Sample)

    def add(self, key: str, size_bytes: int, born_day: int, kind: Kind) -> None:
        """Count an object."""
        cell = prefix_of(key, self.depth), size_class_of(size_bytes)
        self.cells.setdefault(cell, {}).setdefault(kind, Totals()).add(size_bytes)
        self.sample.add(key, cell, born_day, size_bytes)
