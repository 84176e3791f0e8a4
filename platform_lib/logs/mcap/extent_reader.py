"""Reading the records of one extent, proven against what is known of it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from platform_lib.errors import CorruptLog, UnsupportedLog
from platform_lib.logs.bytes_source import ByteSource
from platform_lib.logs.faults import translated
from platform_lib.logs.mcap import records as rec
from platform_lib.logs.mcap.chunks import (
    MOST_CHUNK_BYTES,
    Records,
    check_crc,
    read_records,
    refuse_larger,
    unpack_chunk,
)
from platform_lib.logs.mcap.extent_table import Extent
from platform_lib.logs.mcap.large_chunks import LARGE_BYTES, inflated, wide_window
from platform_lib.logs.mcap.layout import Definitions
from platform_lib.logs.mcap.summary import damaged
from platform_lib.logs.payloads import Buffer

_FRAME_HEAD_BYTES = 18  # Source: RFC 8878, 3.1.1: magic number and the longest frame header


class ExtentReader:
    """Reads extents of one file; definitions among their records are compared with, or added to, `definitions`.

    Attributes:
        found_unchecked: Whether a chunk turned out to have no checksum, of which that was not known before.
    """

    def __init__(self, source: ByteSource, definitions: Definitions) -> None:
        self.source = source
        self.definitions = definitions
        self.found_unchecked = False
        self._stages = threading.local()  # any thread may read

    def read(self, extent: Extent, stored: memoryview | None = None) -> Records:
        """Return an extent's records.

        Args:
            extent: Which.
            stored: Its bytes in the file, where they are at hand already.

        Raises:
            CorruptLog: It is not what it says, or not what is known of it.
            UnsupportedLog: A compression that is not read.
        """
        what = f"reading the messages at byte {extent.offset}"
        try:
            with translated(self.source.name, what):
                records = self._read(extent, stored)
                self.definitions.add_all(records)
        except CorruptLog as error:
            kind = "messages" if extent.chunk is None else "chunk"
            raise damaged(self.source.name, extent.offset, f"the {kind} there: {error.what}") from error
        except UnsupportedLog as error:
            raise UnsupportedLog(
                error.what, where=self.source.name, remedy="re-encode it with zstd chunks of a few MiB"
            ) from error
        return records

    def _read(self, extent: Extent, stored: memoryview | None) -> Records:
        if extent.chunk is None:
            return read_records(self._kept(extent) if stored is None else stored)
        refuse_larger(extent.chunk)  # before anything is read
        if stored is None and extent.size_bytes > LARGE_BYTES and extent.chunk.compression in ("zstd", "lz4"):
            return self._large(extent, extent.chunk)
        if stored is None:
            stored = self._kept(extent) if extent.chunk.compression == "" else self._staged(extent)
        crc = self._checksum(extent, stored)
        return read_records(unpack_chunk(extent.chunk, crc, stored[len(stored) - extent.chunk.stored_bytes :]))

    def _checksum(self, extent: Extent, head: bytes | memoryview) -> int:
        """Return the checksum that a chunk's own head has, which must be the one that is expected here."""
        chunk, crc = rec.parse_chunk_head(head, extent.offset)
        if chunk != extent.chunk:
            raise CorruptLog("it differs from the summary's index of it")
        self.found_unchecked |= crc == 0 and extent.checked is None
        return crc

    def _large(self, extent: Extent, chunk: rec.Chunk) -> Records:
        """Read a large compressed chunk in pieces."""
        read_at = self.source.read_at
        crc = self._checksum(extent, read_at(extent.offset, min(rec.CHUNK_HEAD_MOST, extent.record_bytes)))
        begin = extent.offset + extent.record_bytes - chunk.stored_bytes
        if chunk.compression == "zstd" and wide_window(read_at(begin, min(_FRAME_HEAD_BYTES, chunk.stored_bytes))):
            if chunk.stored_bytes + chunk.size_bytes > MOST_CHUNK_BYTES:
                raise UnsupportedLog(f"a chunk of {chunk.size_bytes} bytes whose zstd window is too large")
            return read_records(unpack_chunk(chunk, crc, memoryview(read_at(begin, chunk.stored_bytes))))
        data = inflated(chunk.compression, read_at, begin, chunk.stored_bytes, chunk.size_bytes)
        check_crc(data, crc)
        return read_records(data)

    def _staged(self, extent: Extent) -> memoryview:
        """Read into memory that is used again for the next: fresh pages cost several times the copy."""
        stage = getattr(self._stages, "memory", b"")
        if len(stage) < extent.record_bytes:
            stage = self._stages.memory = bytearray(extent.record_bytes)
        target = memoryview(stage)[: extent.record_bytes]
        self.source.read_into(extent.offset, target)
        return target

    def _kept(self, extent: Extent) -> memoryview:
        """Read into memory that rows may point into."""
        target = memoryview(pa.allocate_buffer(extent.record_bytes))
        self.source.read_into(extent.offset, target)
        return target

    def read_proven(self, extent: Extent, stored: memoryview | None = None) -> Records:
        """Return an extent's records, its messages checked by `prove_messages` too."""
        records = self.read(extent, stored)
        prove_messages(self.source.name, [extent], records, np.array([records.message_at.size]))
        self.definitions.require(np.unique(records.heads["channel"]).tolist())
        return records


def prove_messages(name: str, extents: Sequence[Extent], records: Records, counts: npt.NDArray[np.int64]) -> None:
    """Check that messages are as long as their fields, and as old as their extents say.

    Args:
        name: The file's.
        extents: Where they are.
        records: The messages of all of them, one extent after the other.
        counts: (len(extents),) how many messages each has.

    Raises:
        CorruptLog: A message is too short; the times are not those that the chunk says.
    """
    filled = np.flatnonzero(counts)
    if not filled.size:
        return
    begins = (np.cumsum(counts) - counts)[filled]
    short = np.minimum.reduceat(records.payload_bytes, begins) < 0
    times = np.ascontiguousarray(records.heads["log_time"])
    said = np.array([(extents[row].start_ns, extents[row].stop_ns) for row in filled.tolist()], np.uint64)
    wrong = (np.minimum.reduceat(times, begins) != said[:, 0]) | (np.maximum.reduceat(times, begins) != said[:, 1])
    for bad, what in ((short, "a message is shorter than its fields"), (wrong, "its time range is not its messages'")):
        if bad.any():
            extent = extents[int(filled[np.argmax(bad)])]
            kind = "messages" if extent.chunk is None else "chunk"
            raise damaged(name, extent.offset, f"the {kind} there: {what}")


class ExtentCache:
    """Keeps the last extents read, up to a number of bytes."""

    def __init__(self, reader: ExtentReader, most_bytes: int) -> None:
        self._reader = reader
        self._most_bytes = most_bytes
        self._kept: OrderedDict[int, Records] = OrderedDict()
        self._kept_bytes = 0
        self._lock = threading.Lock()

    def read(self, extent: Extent) -> Records:
        """Return an extent's records; raises as `ExtentReader.read` does."""
        with self._lock:
            found = self._kept.get(extent.offset)
            if found is not None:
                self._kept.move_to_end(extent.offset)
                return found
            self._make_room(extent.size_bytes)  # before there are both in memory
        found = self._reader.read(extent)
        with self._lock:
            if extent.offset not in self._kept:  # another thread may have read it meanwhile
                self._kept[extent.offset] = found
                self._kept_bytes += _bytes(found.data)
            self._make_room(0)
        return found

    def _make_room(self, more_bytes: int) -> None:
        """Let go of the oldest; of the last one only for something that comes."""
        while self._kept_bytes + more_bytes > self._most_bytes and len(self._kept) > (not more_bytes):
            _, dropped = self._kept.popitem(last=False)
            self._kept_bytes -= _bytes(dropped.data)


def _bytes(data: Buffer) -> int:
    return memoryview(data).nbytes
