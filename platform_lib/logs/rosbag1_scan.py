"""ROS 1 bags without a usable index: the recorder died, or the end is missing. Their records are walked from the front.

A chunk counts where the index records behind it agree with it, or where the file ends before they do: what a cut leaves
is as it was recorded, what else stands there may have damaged the chunk too. The walk ends at the first record that is none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from platform_lib.errors import CorruptLog, UnsupportedLog
from platform_lib.logs.bytes_source import ByteSource
from platform_lib.logs.faults import translated
from platform_lib.logs.mdf4.source import FileBytes
from platform_lib.logs.model import Report
from platform_lib.logs.payloads import Buffer
from platform_lib.logs.rosbag1_index import ENTRY, Connections, check_kept, connection_of, times_of
from platform_lib.logs.rosbag1_records import (
    BAG_HEADER_OP,
    CHUNK_INFO_OP,
    CHUNK_OP,
    COMPRESSIONS,
    CONNECTION_OP,
    INDEX_OP,
    MAGIC,
    Connection,
    Head,
    Index,
    Layout,
    Offsets,
    Records,
    StoredChunk,
    agrees,
    decompressed,
    fields_of,
    file_head,
    pieces_of,
    record,
    records_of,
)

Values = npt.NDArray[np.void]


@dataclass(slots=True)
class _Pending:
    """A chunk whose index records are being met; its records are without their bytes."""

    chunk: StoredChunk
    records: Records
    told: list[Connection]
    entries: list[Values] = field(default_factory=list)
    connections: list[Offsets] = field(default_factory=list)
    left: int = field(init=False)  # messages that no index record was met of
    contradicted: bool = False

    def __post_init__(self) -> None:
        self.left = self.records.start.size

    def agrees(self) -> bool:
        """Whether the index records met are those of the chunk, and all of them."""
        if self.contradicted or self.left:
            return False
        entries = np.concatenate([np.empty(0, ENTRY), *self.entries])
        connections = np.concatenate([np.empty(0, np.uint32), *self.connections])
        order = np.argsort(entries["offset"], kind="stable")
        return agrees(self.records, entries["offset"][order], connections[order], times_of(entries)[order])


@dataclass(slots=True)
class _Walk:
    """What the walk has found so far."""

    source: ByteSource
    report: Report
    known: Connections = field(init=False)
    contradicted: set[int] = field(default_factory=set)  # connections that two records say different things of
    chunks: list[StoredChunk] = field(default_factory=list)
    first: list[int] = field(default_factory=lambda: [0])
    columns: list[tuple[Offsets, Offsets, Index]] = field(default_factory=list)
    pending: _Pending | None = None

    def __post_init__(self) -> None:
        self.known = Connections(self.source.name)

    def take(self, at: int, head: Head) -> None:
        """Take in one record of the file."""
        if head.op == INDEX_OP:
            self._index(head)
            return
        self.settle(cut=False)
        if head.op == CHUNK_OP:
            self._chunk(at, head)
        elif head.op == CONNECTION_OP:
            self.known.check_size(head)
            body = self.source.read_at(head.body, head.size)
            self._tell([connection_of(head.number(b"conn"), head.fields[b"topic"], body)])
        elif head.op not in (BAG_HEADER_OP, CHUNK_INFO_OP):
            raise CorruptLog(f"a record of kind {head.op} at byte {at}")

    def settle(self, *, cut: bool) -> None:
        """Keep the chunk that was met last, or count it as lost; `cut`: the file ends before its index records do."""
        pending, self.pending = self.pending, None
        if pending is None:
            return
        records = pending.records
        if pending.contradicted or not (cut or pending.agrees()):
            what = f"the chunk at byte {pending.chunk.position} is not what its index records say"
            self.report.lose(pending.chunk.stored_bytes, what)
            return
        self._tell(pending.told)
        self.chunks.append(pending.chunk)
        self.first.append(self.first[-1] + records.start.size)
        check_kept(self.source.name, messages=self.first[-1], chunks=len(self.chunks))
        columns = records.start.astype(np.uint32), records.connection.astype(np.uint32), records.time_ns.copy()
        self.columns.append(columns)

    def layout(self) -> Layout:
        """Return what was found."""
        offset, connection, time_ns = (np.concatenate(column) for column in zip(*self.columns, strict=True))
        first = np.array(self.first, np.int64)
        sure = tuple(item for item in self.known.found if item.id not in self.contradicted)
        found = Layout(sure, tuple(self.chunks), first, offset, connection, time_ns)
        rows = found.in_time_order([[item.id for item in sure]], [])[0].size
        if rows < offset.size:
            what = "messages are left out: of their connections the bag says nothing, or two things"
            self.report.problems.append(f"{offset.size - rows} {what}")
        return found

    def _chunk(self, at: int, head: Head) -> None:
        compression = head.fields[b"compression"].decode()
        size_bytes = head.number(b"size")
        try:
            with translated(self.source.name, f"reading the chunk at byte {at}"):
                if compression not in COMPRESSIONS:
                    raise CorruptLog(f"it is compressed as {compression!r}")
                data = decompressed(pieces_of(self.source, head.body, head.size), compression, size_bytes)
                records = records_of(data)
                told = list(_connections_of(data))
        except (CorruptLog, UnsupportedLog) as error:
            self.report.lose(head.size, f"the chunk at byte {at} is left out: {error.what}")
            return
        chunk = StoredChunk(at, head.body, head.size, compression, size_bytes)
        self.pending = _Pending(chunk, replace(records, data=b""), told)

    def _tell(self, told: list[Connection]) -> None:
        """Take in connections; where a further record says something else of one, neither is believed."""
        self.contradicted.update(item.id for item in told if not self.known.add(item))

    def _index(self, head: Head) -> None:
        pending = self.pending
        if pending is None:
            return
        count, connection = head.number(b"count"), head.number(b"conn")
        if head.size != count * ENTRY.itemsize or count > pending.left:
            pending.contradicted = True
        if pending.contradicted or not count:
            return
        pending.left -= count
        pending.entries.append(np.frombuffer(self.source.read_at(head.body, head.size), ENTRY))
        pending.connections.append(np.full(count, connection, np.uint32))


def _connections_of(data: Buffer) -> Iterator[Connection]:
    """Yield the connections that a chunk's records are of."""
    at = 0
    while at < len(data):
        head, body, size = record(data, at)
        fields = dict(fields_of(head))
        if fields[b"op"][0] == CONNECTION_OP:
            number = int.from_bytes(fields[b"conn"], "little")
            yield connection_of(number, fields[b"topic"], bytes(data[body : body + size]))
        at = body + size


def scan(source: ByteSource, report: Report) -> Layout:
    """Walk a bag's records, and return what of it is whole.

    Args:
        source: The bag.
        report: Told of every loss.

    Raises:
        CorruptLog: No chunk is whole.
    """
    walk = _Walk(source, report)
    at, problem, cut = len(MAGIC), "", True
    file = FileBytes(source)
    while at < source.size_bytes:
        try:
            with translated(source.name, f"reading the record at byte {at}"):
                head = file_head(file, at)
                if head is None or head.body + head.size > source.size_bytes:
                    problem = f"the file ends inside the record at byte {at}"
                    break
                walk.take(at, head)
        except CorruptLog as error:
            problem, cut = f"what stands at byte {at} is no record: {error.what}", False
            break
        at = head.body + head.size
    walk.settle(cut=cut)
    if problem:
        report.lose(source.size_bytes - at, problem)
    if not walk.chunks:
        raise CorruptLog("no chunk of this bag is whole", where=source.name)
    report.recovered = True
    report.problems.append("the bag's index is missing or damaged; its chunks were walked instead")
    return walk.layout()
