"""Where a group's records come from: its own stream, columns beside their invalidation bytes, mixed data, or nowhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from platform_lib.errors import CorruptLog
from platform_lib.logs.faults import REMEDY
from platform_lib.logs.mdf4.columns import Batch
from platform_lib.logs.mdf4.model import ChannelGroup
from platform_lib.logs.mdf4.records import Records, RecordStream, Rows
from platform_lib.logs.model import BATCH_ROWS

Bytes = npt.NDArray[np.uint8]
Item = TypeVar("Item", bound=np.generic)


class RowSource(Protocol):
    """The records of one group, by number."""

    def batches(self, start: int, stop: int) -> Iterator[Batch]:
        """Yield records `start` to `stop` in order, some MiB at a time.

        Raises:
            CorruptLog: They are not all there.
        """

    def prepare(self) -> None:
        """Begin to fetch the first records, for a read that is likely to come."""


class StreamRows:
    """Records one after the other, each with its id if there are ids."""

    def __init__(self, path: str, group: ChannelGroup, id_bytes: int, stream: RecordStream) -> None:
        self._path = path
        self._group = group
        self._stream = stream
        self._id = np.frombuffer(group.record_id.to_bytes(8, "little")[:id_bytes], np.uint8)
        self._flags_at = id_bytes + group.data_bytes

    def batches(self, start: int, stop: int) -> Iterator[Batch]:
        """Yield records `start` to `stop`."""
        at = start
        for records in self._stream.read(start, stop):
            if self._id.size and not bool(np.all(records.matrix(0, self._id.size) == self._id)):
                what = f"a record of a group with id {self._group.record_id} has another id"
                raise CorruptLog(what, where=self._path, remedy=REMEDY)
            yield Batch(records, at, record_flags(records, self._flags_at, self._group.invalid_bytes))
            at += records.rows

    def prepare(self) -> None:
        """Begin to inflate the first records."""
        self._stream.prepare()


def record_flags(records: Records, offset: int, count: int) -> Bytes | None:
    """Return the invalidation bytes of records, ``None`` where none is set."""
    if not count:
        return None
    flags = records.matrix(offset, count)
    return flags if flags.any() else None


class ColumnarRows:
    """Records whose invalidation bytes are kept apart (MDF 4.2, LD with DV and DI blocks)."""

    def __init__(self, stream: RecordStream, invalidation: RecordStream | None) -> None:
        self._stream = stream
        self._invalidation = invalidation

    def batches(self, start: int, stop: int) -> Iterator[Batch]:
        """Yield records `start` to `stop`."""
        flags = None if self._invalidation is None else Follower(_matrices(self._invalidation, start, stop))
        at = start
        for records in self._stream.read(start, stop):
            found = None if flags is None else flags.take(records.rows)
            yield Batch(records, at, found if found is not None and found.any() else None)
            at += records.rows

    def prepare(self) -> None:
        """Begin to inflate the first records."""
        self._stream.prepare()


def _matrices(stream: RecordStream, start: int, stop: int) -> Iterator[Bytes]:
    for records in stream.read(start, stop):
        yield records.matrix(0, stream.record_bytes)


class VirtualRows:
    """Records without bytes: every channel is virtual."""

    def batches(self, start: int, stop: int) -> Iterator[Batch]:
        """Yield records `start` to `stop`."""
        for at in range(start, stop, BATCH_ROWS):
            yield Batch(Rows(np.empty((min(BATCH_ROWS, stop - at), 0), np.uint8)), at, None)

    def prepare(self) -> None:
        """There is nothing to fetch."""


class Follower(Generic[Item]):
    """Cuts a stream of arrays into the lengths that another stream needs."""

    def __init__(self, arrays: Iterator[npt.NDArray[Item]]) -> None:
        self._arrays = arrays
        self._held: list[npt.NDArray[Item]] = []
        self._held_rows = 0

    def take(self, count: int) -> npt.NDArray[Item]:
        """Return the next `count` rows.

        Raises:
            CorruptLog: The stream ends before.
        """
        while self._held_rows < count:
            array = next(self._arrays, None)
            if array is None:
                raise CorruptLog("two streams that belong together differ in length", remedy=REMEDY)
            self._held.append(array)
            self._held_rows += array.shape[0]
        joined = self._held[0] if len(self._held) == 1 else np.concatenate(self._held)
        self._held = [joined[count:]]
        self._held_rows -= count
        return joined[:count]
