"""What `drivetrain log info --stream` says of each column: range, mean, nulls, and its course over time. Pure.

Nested columns are taken apart: ``pose.position.x`` is a member, ``ranges[]`` stands for all elements of a list.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Index = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
BUCKETS = 24
"""How many steps of time a column's course has."""

_BLOCKS = "▁▂▃▄▅▆▇█"
_PLAIN = "_.,-=+*#"
_MOST_WORDS = 16
_FLAT = 1e-12
"""Means of one constant differ by this share of it, from rounding."""


@dataclass(frozen=True, slots=True)
class ColumnSummary:
    """One column, or one part of a nested one.

    Attributes:
        name: With its members and ``[]`` for the elements of a list.
        type: Its Arrow type.
        unit: ``None`` where the log names none.
        values: How many there are, nulls left out.
        nulls: How many rows (or elements) have none.
        not_finite: How many are NaN or infinite; they count for nothing else.
        min: The least value, of bytes the shortest length; ``None`` without a value, and for text.
        mean: Their mean.
        max: The greatest.
        words: Of text, the first distinct values, at most 16.
        more_words: Whether there are more.
        course: (24,) means over equal spans of the stream's time, ``None`` where a span has no value.
    """

    name: str
    type: str
    unit: str | None
    values: int
    nulls: int
    not_finite: int
    min: float | int | None
    mean: float | None
    max: float | int | None
    words: tuple[str, ...]
    more_words: bool
    course: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class _Leaf:
    name: str
    unit: str | None
    array: pa.Array
    rows: Index
    lists_lost: int = 0  # null lists around it: they have no elements


@dataclass(slots=True)
class _Count:
    """What is known of one leaf so far."""

    type: str
    unit: str | None
    values: int = 0
    nulls: int = 0
    not_finite: int = 0
    least: float | int | None = None
    most: float | int | None = None
    total: float = 0.0
    words: dict[str, None] = field(default_factory=dict)
    more_words: bool = False
    sums: Floats = field(default_factory=lambda: np.zeros(BUCKETS))
    counts: Index = field(default_factory=lambda: np.zeros(BUCKETS, np.int64))

    def add(self, array: pa.Array, bucket: Index) -> None:
        """Take values and the span of time that each lies in."""
        self.nulls += array.null_count
        if array.null_count:
            bucket = bucket[np.asarray(array.is_valid())]
            array = array.drop_null()
        if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
            self._add_words(array)
            return
        numbers = _numbers(array)
        if numbers is None:
            self.values += len(array)
            return
        if numbers.dtype.kind == "f":
            finite = np.isfinite(numbers)
            self.not_finite += int(numbers.size - np.count_nonzero(finite))
            numbers, bucket = numbers[finite], bucket[finite]
        self._add_numbers(numbers, bucket)

    def _add_words(self, array: pa.Array) -> None:
        self.values += len(array)
        if self.more_words:
            return
        for word in pc.unique(array).slice(0, 2 * _MOST_WORDS).to_pylist():
            if word not in self.words and len(self.words) == _MOST_WORDS:
                self.more_words = True
                break
            self.words[word] = None

    def _add_numbers(self, numbers: npt.NDArray[np.generic], bucket: Index) -> None:
        if not numbers.size:
            return
        self.values += numbers.size
        least, most = numbers.min().item(), numbers.max().item()
        self.least = least if self.least is None else min(self.least, least)
        self.most = most if self.most is None else max(self.most, most)
        as_float = numbers.astype(np.float64)
        with np.errstate(over="ignore"):  # the sum of the greatest doubles is infinite, and shown as none
            sums = np.bincount(bucket, as_float, BUCKETS)
            self.sums += sums
            self.total += float(sums.sum())
        self.counts += np.bincount(bucket, minlength=BUCKETS)

    def summary(self, name: str) -> ColumnSummary:
        """Return what was found."""
        counted = int(self.counts.sum())
        mean = self.total / counted if counted else None
        course = tuple(
            _finite(total / count) if count else None
            for total, count in zip(self.sums.tolist(), self.counts.tolist(), strict=True)
        )
        return ColumnSummary(
            name, self.type, self.unit, self.values, self.nulls, self.not_finite,
            self.least, None if mean is None else _finite(mean), self.most,
            tuple(self.words), self.more_words, course,
        )  # fmt: skip


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


class ColumnCounts:
    """Takes a stream's batches, one after the other.

    Args:
        schema: The stream's.
        start_ns: The earliest time.
        stop_ns: One past the latest.
    """

    def __init__(self, schema: pa.Schema, start_ns: int | None, stop_ns: int | None) -> None:
        self._start_ns = start_ns or 0
        self._span_ns = max(1, (stop_ns or 0) - self._start_ns)
        self._counts: dict[str, _Count] = {}
        # So that a stream without rows has its columns too.
        self.add(pa.RecordBatch.from_arrays([pa.array([], item.type) for item in schema], schema=schema))

    def add(self, batch: pa.RecordBatch) -> None:
        """Take the next rows; the first column is their time."""
        past = batch.column(0).to_numpy().astype(np.float64) - self._start_ns
        bucket = np.clip(past * BUCKETS // self._span_ns, 0, BUCKETS - 1).astype(np.int64)
        for leaf in _leaves(batch):
            if leaf.name not in self._counts:
                self._counts[leaf.name] = _Count(str(leaf.array.type), leaf.unit)
            self._counts[leaf.name].nulls += leaf.lists_lost
            self._counts[leaf.name].add(leaf.array, bucket[leaf.rows])

    def result(self) -> list[ColumnSummary]:
        """Return every column but the time, in order."""
        return [count.summary(name) for name, count in self._counts.items()]


def _leaves(batch: pa.RecordBatch) -> Iterator[_Leaf]:
    rows = np.arange(batch.num_rows)
    for item, column in list(zip(batch.schema, batch.columns, strict=True))[1:]:
        unit = (item.metadata or {}).get(b"unit")
        yield from _parts(_Leaf(item.name, unit.decode() if unit else None, column, rows))


def _parts(whole: _Leaf) -> Iterator[_Leaf]:
    kind = whole.array.type
    if pa.types.is_struct(kind) and kind.num_fields:
        for item, part in zip(kind, whole.array.flatten(), strict=True):
            yield from _parts(replace(whole, name=f"{whole.name}.{item.name}", array=part))
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        parents = np.asarray(pc.list_parent_indices(whole.array))
        elements = pc.list_flatten(whole.array)
        lost = whole.lists_lost + whole.array.null_count
        yield from _parts(_Leaf(f"{whole.name}[]", whole.unit, elements, whole.rows[parents], lost))
    elif pa.types.is_binary_view(kind):  # few kernels take views
        yield replace(whole, array=whole.array.cast(pa.large_binary()))
    else:
        yield whole


def _numbers(array: pa.Array) -> npt.NDArray[np.generic] | None:
    """Return what can be reckoned with of values without nulls: numbers, lengths of bytes; ``None`` of others."""
    kind = array.type
    if pa.types.is_boolean(kind):
        return np.asarray(array.cast(pa.uint8()))
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return np.asarray(array)
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return np.asarray(pc.binary_length(array))
    return None


def sparkline(course: Sequence[float | None], *, plain: bool = False) -> str:
    """Draw a course, one character a span: the lowest mean is the lowest block, a span without a value a blank.

    Args:
        course: Means, ``None`` for none.
        plain: With ASCII alone.
    """
    levels = _PLAIN if plain else _BLOCKS
    known = [value for value in course if value is not None]
    if not known:
        return ""
    least, most = min(known), max(known)
    # Halved, so that the span of the greatest doubles is one too.
    span = most / 2 - least / 2
    flat = span <= _FLAT * (abs(least) / 2 + abs(most) / 2)
    top = len(levels) - 1

    def level(value: float) -> str:
        return levels[top // 2 if flat else round((value / 2 - least / 2) / span * top)]

    return "".join(" " if value is None else level(value) for value in course)
