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
from platform_lib.logs.mcap.chunks import Records, read_records, unpack_chunk
from platform_lib.logs.mcap.layout import Definitions, Extent
from platform_lib.logs.mcap.summary import damaged
from platform_lib.logs.payloads import Buffer


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
        if stored is None:
            stored = self._kept(extent) if extent.chunk.compression == "" else self._staged(extent)
        chunk, crc = rec.parse_chunk_head(stored, extent.offset)
        if chunk != extent.chunk:
            raise CorruptLog("it differs from the summary's index of it")
        self.found_unchecked |= crc == 0 and extent.checked is None
        return read_records(unpack_chunk(chunk, crc, stored[len(stored) - chunk.stored_bytes :]))

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
