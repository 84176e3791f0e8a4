"""Where a file's messages are, in columns: some 70 bytes a chunk and 2 to 6 for each channel in it, not objects of 500.

A recording of terabytes has millions of chunks, and what is kept of all of them at once has to fit the memory budget.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from platform_lib.errors import UnsupportedLog
from platform_lib.logs.mcap import records as rec

MOST_TABLE_BYTES = 192 << 20
"""2.8 million chunks of one channel each, a million of twenty. What a summary says and what a walk finds may both be held."""

_NUMBERS = ("offset", "record_bytes", "start_ns", "stop_ns", "stored_bytes", "size_bytes", "index_bytes")
_ROW_BYTES = 8 * (len(_NUMBERS) + 1) + 2
_NO_CHUNK = 255
_BLOCK = 1 << 20  # indexing with 16 bits makes 64-bit copies: of so many entries at a time
_FAR = np.uint64(1 << 62)
_REMEDY = "re-encode it with chunks of a few MiB, or in several files"
Numbers = npt.NDArray[np.uint64]
Ranks = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Extent:
    """A stretch of the file that holds messages: a chunk, or a run of records outside chunks.

    Attributes:
        offset: Where it begins in the file.
        record_bytes: Its length there.
        chunk: What the chunk says of itself; ``None`` for a run.
        start_ns: The earliest log time.
        stop_ns: The latest, inclusive.
        size_bytes: Length of its records, decompressed.
        checked: Whether it has a checksum of its own; ``None`` while that is not known.
    """

    offset: int
    record_bytes: int
    chunk: rec.Chunk | None
    start_ns: int
    stop_ns: int
    size_bytes: int
    checked: bool | None

    @classmethod
    def of_chunk(cls, chunk: rec.Chunk, *, checked: bool | None) -> Extent:
        """Return a chunk's extent."""
        return cls(chunk.offset, chunk.record_bytes, chunk, chunk.start_ns, chunk.stop_ns, chunk.size_bytes, checked)


class ExtentTable:
    """Extents by rank, the order in which they were added. While numpy views of it are held, nothing can be added.

    Attributes:
        misplaced: Whether a message index lies outside its chunk's.
    """

    def __init__(self) -> None:
        self.misplaced = False
        self._numbers = {name: array("Q") for name in _NUMBERS}
        self._compression = array("B")
        self._checked = array("b")
        self._first = array("q", [0])
        self._channel = array("H")
        self._place = array("I")  # from its chunk's end on; as long as `_channel`, or empty
        self._kinds: list[str] = []  # of compressions

    def __len__(self) -> int:
        return len(self._compression)

    def __getitem__(self, rank: int) -> Extent:
        numbers = self._numbers
        offset, record_bytes = numbers["offset"][rank], numbers["record_bytes"][rank]
        start, stop, size = numbers["start_ns"][rank], numbers["stop_ns"][rank], numbers["size_bytes"][rank]
        chunk = None
        if self._compression[rank] != _NO_CHUNK:
            name = self._kinds[self._compression[rank]]
            chunk = rec.Chunk(offset, record_bytes, start, stop, name, numbers["stored_bytes"][rank], size)
        checked = None if self._checked[rank] < 0 else bool(self._checked[rank])
        return Extent(offset, record_bytes, chunk, start, stop, size, checked)

    def __iter__(self) -> Iterator[Extent]:
        return (self[rank] for rank in range(len(self)))

    @property
    def size_bytes(self) -> int:
        """Return how much memory the table takes."""
        entries = len(self._channel) * self._channel.itemsize + len(self._place) * self._place.itemsize
        return len(self) * _ROW_BYTES + entries

    # -- filling -------------------------------------------------------------------------------------------------

    def add(self, extent: Extent, channels: Collection[int]) -> None:
        """Add an extent, and which channels have messages in it.

        Raises:
            UnsupportedLog: There are more than bounded memory allows.
        """
        chunk = extent.chunk
        self._add(extent, 0 if chunk is None else chunk.stored_bytes, 0, None if chunk is None else chunk.compression)
        self._channel.extend(channels)
        self._first.append(len(self._channel))
        self._bounded()

    def add_index(self, index: rec.ChunkIndex) -> None:
        """Add what the summary says of a chunk; raises as `add`."""
        chunk = index.chunk
        self._add(
            Extent.of_chunk(chunk, checked=None), chunk.stored_bytes, index.message_index_bytes, chunk.compression
        )
        end = chunk.offset + chunk.record_bytes
        for channel, at in index.message_index.items():
            inside = 0 <= at - end < min(index.message_index_bytes, 1 << 32)
            self.misplaced |= not inside
            self._channel.append(channel)
            self._place.append(at - end if inside else 0)
        self._first.append(len(self._channel))
        self._bounded()

    def _add(self, extent: Extent, stored_bytes: int, index_bytes: int, compression: str | None) -> None:
        values = (
            extent.offset, extent.record_bytes, extent.start_ns, extent.stop_ns, stored_bytes, extent.size_bytes,
            index_bytes,
        )  # fmt: skip
        for column, value in zip(self._numbers.values(), values, strict=True):
            column.append(value)
        if compression is not None and compression not in self._kinds:
            if len(self._kinds) == _NO_CHUNK:
                raise UnsupportedLog(f"chunks of more than {_NO_CHUNK} kinds of compression", remedy=_REMEDY)
            self._kinds.append(compression)
        self._compression.append(_NO_CHUNK if compression is None else self._kinds.index(compression))
        self._checked.append(-1 if extent.checked is None else extent.checked)

    def _bounded(self) -> None:
        if self.size_bytes > MOST_TABLE_BYTES:
            what = f"more than {len(self) - 1} chunks or runs of messages: what is kept of each takes too much memory"
            raise UnsupportedLog(what, remedy=_REMEDY)

    def set_checked(self, rank: int, *, checked: bool | None) -> None:
        """Note whether an extent has a checksum of its own."""
        self._checked[rank] = -1 if checked is None else checked

    def pop(self) -> None:
        """Take the last extent out."""
        for column in (*self._numbers.values(), self._compression, self._checked, self._first):
            column.pop()
        del self._channel[self._first[-1] :]
        del self._place[self._first[-1] :]

    def keep(self, ranks: Ranks) -> None:
        """Keep some extents, in the order of `ranks`."""
        for name in _NUMBERS:
            self._numbers[name] = _taken(self._numbers[name], ranks)
        self._compression, self._checked = _taken(self._compression, ranks), _taken(self._checked, ranks)
        first, channel, place = array("q", [0]), array("H"), array("I")
        for rank in ranks.tolist():
            entries = slice(self._first[rank], self._first[rank + 1])
            channel.extend(self._channel[entries])
            place.extend(self._place[entries])
            first.append(len(channel))
        self._first, self._channel, self._place = first, channel, place

    def sort(self) -> None:
        """Order by place in the file; of several at one place the last one added stays."""
        offset = self.column("offset")
        if (offset[1:] > offset[:-1]).all():
            return
        order = np.argsort(offset, kind="stable")
        last = np.append(offset[order[1:]] != offset[order[:-1]], np.True_)
        del offset
        self.keep(order[last])

    # -- columns -------------------------------------------------------------------------------------------------

    def column(self, name: str) -> Numbers:
        """Return (N,) numbers: offset, record_bytes, start_ns, stop_ns, stored_bytes, size_bytes or index_bytes."""
        return np.frombuffer(self._numbers[name], np.uint64)

    def chunks(self) -> Mask:
        """Return (N,), which of them are chunks."""
        chunks: Mask = np.frombuffer(self._compression, np.uint8) != _NO_CHUNK
        return chunks

    def checked(self) -> npt.NDArray[np.int8]:
        """Return (N,): 1 with a checksum of its own, 0 without, -1 where that is not known."""
        return np.frombuffer(self._checked, np.int8)

    def index_bytes(self, rank: int) -> int:
        """Return how long a chunk's message indexes are together, as the summary says."""
        return self._numbers["index_bytes"][rank]

    def index_places(self, rank: int) -> Mapping[int, int]:
        """Return channel -> where its message index begins, counted from the chunk's end."""
        first, stop = self._first[rank], self._first[rank + 1]
        return dict(zip(self._channel[first:stop], self._place[first:stop], strict=True))

    def used(self) -> Mask:
        """Return (65536,), which channels have messages."""
        found = np.zeros(1 << 16, np.bool_)
        for _, block in self._blocks():
            found[block] = True
        return found

    def holding(self, channels: Collection[int]) -> Mask:
        """Return (N,), which extents have messages of some channels."""
        wanted = np.zeros(1 << 16, np.bool_)
        wanted[list(channels)] = True
        found = np.zeros(len(self), np.bool_)
        first = np.frombuffer(self._first, np.int64)
        for begin, block in self._blocks():
            entries = np.flatnonzero(wanted[block]) + begin
            found[np.searchsorted(first, entries, "right") - 1] = True
        return found

    def _blocks(self) -> Iterator[tuple[int, npt.NDArray[np.uint16]]]:
        channel = np.frombuffer(self._channel, np.uint16)
        for begin in range(0, channel.size, _BLOCK):
            yield begin, channel[begin : begin + _BLOCK]

    def plausible(self, end: int) -> bool:
        """Whether, of a summary's chunks, all lie before `end` in the file with their indexes, and no times contradict."""
        lengths = [self.column(name) for name in ("offset", "record_bytes", "index_bytes")]
        if self.misplaced or any((column >= _FAR).any() for column in lengths):
            return False
        start, stop = self.column("start_ns"), self.column("stop_ns")
        filled = np.diff(np.frombuffer(self._first, np.int64)) > 0
        return bool(
            (lengths[0] + lengths[1] + lengths[2] <= end).all()
            and (start <= stop).all()
            and (filled | ((start == 0) & (stop == 0))).all()
        )

    def unlike(self, other: ExtentTable) -> Numbers:
        """Return where chunks of this table begin that `other`, ordered by place, has not, or has otherwise."""
        offset = self.column("offset")
        place = np.searchsorted(other.column("offset"), offset)
        inside = np.flatnonzero(place < len(other))
        at = place[inside]
        same = other.chunks()[at]
        for name in _NUMBERS[:-1]:
            same &= self.column(name)[inside] == other.column(name)[at]
        known = [other._kinds.index(kind) if kind in other._kinds else _NO_CHUNK for kind in self._kinds]
        mine = np.array([*known, _NO_CHUNK], np.uint8)[np.frombuffer(self._compression, np.uint8)[inside]]
        same &= mine == np.frombuffer(other._compression, np.uint8)[at]
        found = np.zeros(len(self), np.bool_)
        found[inside] = same
        return offset[~found]


def _taken(column: array[Any], ranks: Ranks) -> array[Any]:
    return array(column.typecode, np.frombuffer(column, column.typecode)[ranks].tobytes())
