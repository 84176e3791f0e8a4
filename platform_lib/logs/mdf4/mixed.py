"""Unsorted data: the records of several groups in one stream, told apart by their ids.

One pass finds where records begin, about every MiB, and how many of each group lie before; from then on every group is
read by place like sorted ones, touching only the stretches that hold its records.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from platform_lib.errors import CorruptLog
from platform_lib.logs.faults import REMEDY
from platform_lib.logs.mdf4.chains import MOST_BLOCK_BYTES
from platform_lib.logs.mdf4.columns import Batch
from platform_lib.logs.mdf4.model import ChannelGroup
from platform_lib.logs.mdf4.records import RecordStream, Rows
from platform_lib.logs.mdf4.rows import Follower, record_flags

Bytes = npt.NDArray[np.uint8]
Index = npt.NDArray[np.int64]
_STRETCH_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Stretches:
    """Stretches of mixed data that begin and end with a record.

    Attributes:
        starts: (S + 1,) bytes.
        rows: (S + 1, G) records of each group before each.
        taken: (S + 1, G) their bytes without ids.
        lost_bytes: What follows the last whole record.
        problem: Why the data ends there, ``None`` where it is whole.
    """

    starts: Index
    rows: Index
    taken: Index
    lost_bytes: int
    problem: str | None


class MixedData:
    """The data of one data group with several channel groups."""

    def __init__(
        self, path: str, id_bytes: int, groups: Sequence[ChannelGroup], stream: RecordStream, *, recover: bool
    ) -> None:
        """Take the groups' ids and sizes.

        Raises:
            CorruptLog: Two groups have the same id, or there are no ids.
        """
        self._path = path
        self._id_bytes = id_bytes
        self._stream = stream
        self._recover = recover
        self._numbers = {group.offset: number for number, group in enumerate(groups)}
        self._groups = tuple(groups)
        ids = [group.record_id for group in groups]
        if not id_bytes or len(set(ids)) < len(ids):
            raise self._corrupt("its groups cannot be told apart by record ids")
        self._ids = np.array(ids, np.uint64)
        self._sizes = np.array([-1 if group.variable else group.record_bytes for group in groups], np.int64)
        self._found: Stretches | None = None

    def _corrupt(self, what: str) -> CorruptLog:
        return CorruptLog(f"mixed data: {what}", where=self._path, remedy=REMEDY)

    @property
    def stretches(self) -> Stretches:
        """The stretches, found in one pass when first asked for.

        Raises:
            CorruptLog: A record without a group, or cut (unless recovering); fewer or more records than declared.
        """
        if self._found is None:
            found = self._search()
            if found.problem is not None and not self._recover:
                raise self._corrupt(found.problem)
            self._found = found
            if not self._recover:
                self._compare(found)
        return self._found

    def _compare(self, found: Stretches) -> None:
        for group, count in zip(self._groups, found.rows[-1].tolist(), strict=True):
            if not group.variable and group.cycles != count:
                self._found = None
                raise self._corrupt(f"a group declares {group.cycles} records and has {count}")

    def _search(self) -> Stretches:
        from platform_lib.logs.mdf4 import kernels

        count = len(self._groups)
        rows, taken = np.zeros(count, np.int64), np.zeros(count, np.int64)
        marks: list[tuple[int, Index, Index]] = [(0, rows.copy(), taken.copy())]
        total, problem = self._stream.starts[-1], None
        held: list[Bytes] = []
        held_bytes = needed = begin = 0
        for data in self._stream.pieces():
            held.append(data)
            held_bytes += data.size
            last = begin + held_bytes == total
            if held_bytes < max(_STRETCH_BYTES, needed) and not last:
                continue
            joined = held[0] if len(held) == 1 else np.concatenate(held)
            at, why, needed = kernels.walk(joined, self._id_bytes, self._ids, self._sizes, rows, taken)
            begin += at
            if at:
                marks.append((begin, rows.copy(), taken.copy()))
            if why == kernels.UNKNOWN:
                problem = f"a record at {begin} has an id that no group has"
            elif needed > total - begin and begin < total:
                problem = f"a record at {begin} takes {needed} bytes, {total - begin} are left"
            elif needed > MOST_BLOCK_BYTES:
                problem = f"a record at {begin} takes {needed} bytes"
            if problem:
                break
            held, held_bytes = [joined[at:]], joined.size - at
        starts, all_rows, all_taken = zip(*marks, strict=True)
        return Stretches(np.array(starts), np.array(all_rows), np.array(all_taken), total - begin, problem)

    def rows(self, group: ChannelGroup) -> int:
        """Return how many whole records a group has."""
        return int(self.stretches.rows[-1, self._numbers[group.offset]])

    def read(self, group: ChannelGroup, start: int, stop: int) -> Iterator[tuple[int, Bytes]]:
        """Yield a group's bytes, stretch by stretch, with the number of the first record of each."""
        found, number = self.stretches, self._numbers[group.offset]
        before = found.rows[:, number]
        first = max(0, int(np.searchsorted(before, start, "right")) - 1)
        last = int(np.searchsorted(before, stop, "left"))
        wanted = [at for at in range(first, last) if before[at + 1] > before[at]]
        for run in _runs(wanted):
            pieces = self._stream.read(int(found.starts[run[0]]), int(found.starts[run[-1] + 1]))
            follower = Follower(records.matrix(0, 1).reshape(-1) for records in pieces)
            for at in run:
                data = follower.take(int(found.starts[at + 1] - found.starts[at]))
                yield int(before[at]), self._extracted(data, at, number)

    def _extracted(self, data: Bytes, at: int, number: int) -> Bytes:
        from platform_lib.logs.mdf4 import kernels

        taken = self.stretches.taken[:, number]
        out = np.empty(int(taken[at + 1] - taken[at]), np.uint8)
        size = kernels.extract(data, self._id_bytes, self._ids, self._sizes, number, out)
        if size != out.size:
            raise self._corrupt("the file changed while it was read")
        return out

    def variable(self, group: ChannelGroup) -> VariableStream:
        """Return the values of a variable-length group as one stream."""
        return VariableStream(self, group)

    def variable_starts(self, group: ChannelGroup) -> list[int]:
        """Return where each stretch's values start in that stream, and where it ends."""
        starts: list[int] = self.stretches.taken[:, self._numbers[group.offset]].tolist()
        return starts

    def stretch(self, group: ChannelGroup, at: int) -> Bytes:
        """Return a group's bytes of one stretch."""
        starts = self.stretches.starts
        data = Follower(
            records.matrix(0, 1).reshape(-1) for records in self._stream.read(int(starts[at]), int(starts[at + 1]))
        ).take(int(starts[at + 1] - starts[at]))
        return self._extracted(data, at, self._numbers[group.offset])


def _runs(numbers: list[int]) -> Iterator[list[int]]:
    run: list[int] = []
    for number in numbers:
        if run and number != run[-1] + 1:
            yield run
            run = []
        run.append(number)
    if run:
        yield run


@dataclass(frozen=True, slots=True)
class VariableStream:
    """The values of a variable-length group, each a 32-bit length and its bytes, in stretches."""

    data: MixedData
    group: ChannelGroup

    @property
    def starts(self) -> list[int]:
        """Where each stretch starts, and where the last one ends."""
        return self.data.variable_starts(self.group)

    def piece(self, number: int) -> Bytes:
        """Return one stretch."""
        return self.data.stretch(self.group, number)


class MixedRows:
    """One group's records out of mixed data; a `RowSource`."""

    def __init__(self, data: MixedData, group: ChannelGroup) -> None:
        self._data = data
        self._group = group

    def batches(self, start: int, stop: int) -> Iterator[Batch]:
        """Yield records `start` to `stop`."""
        size = self._group.record_bytes
        for first, data in self._data.read(self._group, start, stop):
            records = data.reshape(-1, size)[max(0, start - first) : stop - first]
            flags = record_flags(Rows(records), self._group.data_bytes, self._group.invalid_bytes)
            yield Batch(Rows(records), max(start, first), flags)

    def prepare(self) -> None:
        """Nothing is fetched before it is asked for: the stream has other groups' records too."""
