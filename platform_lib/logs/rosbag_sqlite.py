"""sqlite3 files of ROS 2 bags.

A sqlite file has no checksum over its rows: its own structure check finds lost and torn pages, a flipped bit in a
payload stays unnoticed. SQLite reads local files only, so an object of a store is copied first.
"""

from __future__ import annotations

import sqlite3
import threading
from array import array
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import numpy as np
import zstandard
from rosbags.typesys import Stores, TypesysError, get_typestore

from platform_lib.errors import ConfigError, CorruptLog, UnsupportedLog
from platform_lib.logs.bytes_source import ByteSource, open_source
from platform_lib.logs.extents import Index, IndexedRows, TopicIndex
from platform_lib.logs.faults import REMEDY, translated
from platform_lib.logs.messages import Loaded, Topic, TopicSource
from platform_lib.logs.model import Report
from platform_lib.logs.payloads import Payloads
from platform_lib.logs.rosbag_salvage import SalvagedTables
from platform_lib.logs.schemas.cdr import decode_payloads
from platform_lib.logs.schemas.rosmsg import normal_name
from platform_lib.logs.scratch import copied

_LOOKUP_ROWS = 500
MOST_MESSAGES = 12_000_000  # measured: 228 MiB for 8 million
_MOST_MESSAGE_BYTES = 208 << 20  # as of an MCAP chunk: while a caller holds one, the next comes
_MOST_HELD_BYTES = 448 << 20
_INDEX_BYTES = 24  # a message
_PIECE_BYTES = 4 << 20  # by which large messages are read: a row at once is in memory twice, as SQLite's and as ours
_WAL_VERSION = 2  # of the bytes 18 and 19. Source: SQLite file format, section 1.3.3


def open_sqlite_bag(source: ByteSource, *, recover: bool) -> TopicSource:
    """Open one ``.db3`` file; see `platform_lib.logs.open_log`. It takes the source over, and closes it."""
    report = Report(format="rosbag2-sqlite3")
    return TopicSource(source.name, load_sqlite(source, report, recover=recover, compressed=False), report)


def load_sqlite(source: ByteSource, report: Report, *, recover: bool, compressed: bool) -> Loaded:
    """Open a sqlite3 part of a bag; an object of a store from a temporary copy, which dies with the connection.

    Args:
        source: The file. It is taken over, and closed.
        report: Told of damage, of what is unverified, and of the copy.
        recover: Read what is whole of a damaged file.
        compressed: Its messages are compressed one by one.

    Raises:
        CorruptLog: The file contradicts its format.
        UnsupportedLog: It is no bag, or too large to be copied.
        ConfigError: There is no room for the copy.
    """
    try:
        if not source.remote:
            return _load(Path(source.name), report, recover=recover, compressed=compressed)
        with copied(source, report, beside=_write_ahead_log(source, report)) as path:
            return _load(path, report, recover=recover, compressed=compressed)
    finally:
        source.close()


def _write_ahead_log(source: ByteSource, report: Report) -> tuple[ByteSource, ...]:
    """Return the object that holds rows which the file lacks, if there is one."""
    from platform_lib.logs.s3_source import find

    if source.read_at(0, 20)[18:] != bytes([_WAL_VERSION, _WAL_VERSION]):
        return ()
    try:
        found = find(f"{source.name}-wal")
    except ConfigError:
        report.unverified.append(f"{source.name}-wal may hold further rows: whether it exists was not to be learnt")
        return ()
    return () if found is None else (found,)


def check_count(where: Path | str, messages: int) -> None:
    """Refuse a file, or a bag of several, of whose messages more is kept than fits.

    Raises:
        UnsupportedLog: There are more than `MOST_MESSAGES`.
    """
    if messages > MOST_MESSAGES:
        raise UnsupportedLog(
            f"more than {MOST_MESSAGES} messages: what is kept of each takes too much memory",
            where=where,
            remedy="convert the bag to MCAP (`ros2 bag convert`), or read its files one by one",
        )


def plain_message(data: bytes | bytearray) -> bytes:
    """Return a message that was compressed by itself.

    Raises:
        UnsupportedLog: It is larger than bounded memory allows.
    """
    size = zstandard.frame_content_size(data)  # which the decompressor would make room for, whatever it is told
    if size > _MOST_MESSAGE_BYTES:
        raise UnsupportedLog(f"a compressed message of {size} bytes; at most {_MOST_MESSAGE_BYTES} are read at once")
    return zstandard.ZstdDecompressor().decompress(data, max_output_size=_MOST_MESSAGE_BYTES)


class Tables(Protocol):
    """The tables of a bag file, and its payloads by place."""

    names: set[str]

    def select(self, table: str, columns: tuple[str, ...]) -> list[tuple[Any, ...]]:
        """Return some columns of a small table."""

    def messages(self) -> Iterator[tuple[Any, ...]]:
        """Yield topic, time, place and payload length of every message, by time."""

    def payload(self, place: int) -> object:
        """Return the payload at a place."""

    def fetch(self, places: Index, size_bytes: Index) -> Payloads:
        """Return the payloads at `places`."""

    def close(self) -> None:
        """Release the file."""


class _SqlTables:
    """The tables of a sound file, by SQL; a message's place is its rowid, which its id is only in a recorder's own files."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path = path
        self._connection = connection
        self._lock = threading.Lock()  # any thread may read, one at a time
        found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        self.names = {str(row[0]) for row in found}

    def select(self, table: str, columns: tuple[str, ...]) -> list[tuple[Any, ...]]:
        """Return some columns of a table."""
        return list(self._connection.execute(f"SELECT {', '.join(columns)} FROM {table}"))  # noqa: S608 - names of ours

    def messages(self) -> Iterator[tuple[Any, ...]]:
        """Yield topic, time, place and payload length of every message, by time."""
        columns = "topic_id, timestamp, rowid, length(data)"
        yield from self._connection.execute(f"SELECT {columns} FROM messages ORDER BY timestamp, rowid")  # noqa: S608 - constant

    def payload(self, place: int) -> object:
        """Return one payload."""
        size = self._connection.execute("SELECT length(data) FROM messages WHERE rowid = ?", (place,)).fetchone()[0]
        return self._large(place) if size > _PIECE_BYTES else self._rows([place])[place]

    def fetch(self, places: Index, size_bytes: Index) -> Payloads:
        """Return the payloads of the rows `places`."""
        large = size_bytes > _PIECE_BYTES
        found = self._rows(places[~large].tolist())
        for place in places[large].tolist():
            with self._lock:
                found[place] = self._large(place)
        payloads = [found.get(item) for item in places.tolist()]
        if any(not isinstance(item, bytes | bytearray) for item in payloads):
            raise CorruptLog("a message's row vanished or is no blob", where=self._path, remedy=REMEDY)
        return Payloads.of([item for item in payloads if isinstance(item, bytes | bytearray)])

    def _large(self, place: int) -> bytearray:
        with self._connection.blobopen("messages", "data", place, readonly=True) as blob:
            data = bytearray(len(blob))
            for at in range(0, len(data), _PIECE_BYTES):
                data[at : at + _PIECE_BYTES] = blob.read(_PIECE_BYTES)
        return data

    def _rows(self, places: list[int]) -> dict[int, object]:
        found: dict[int, object] = {}
        for first in range(0, len(places), _LOOKUP_ROWS):
            some = places[first : first + _LOOKUP_ROWS]
            marks = ",".join("?" * len(some))
            with self._lock:
                found.update(
                    self._connection.execute(f"SELECT rowid, data FROM messages WHERE rowid IN ({marks})", some)  # noqa: S608 - only question marks
                )
        return found

    def close(self) -> None:
        """Release the file."""
        with self._lock:
            self._connection.close()


def _load(path: Path, report: Report, *, recover: bool, compressed: bool) -> Loaded:
    with translated(path, "opening the sqlite3 bag"):
        tables = _tables(path, report, recover=recover)
        try:
            topics, indexes = _sqlite_topics(path, tables, report, recover=recover, compressed=compressed)
        except BaseException:
            tables.close()
            raise
        report.unverified.append(f"{path.name}: message payloads have no checksum")
        return Loaded(topics, IndexedRows(indexes, tables), {})


def _tables(path: Path, report: Report, *, recover: bool) -> Tables:
    """Return the tables of a sound file; with `recover`, of a damaged one what is whole."""
    connection = _connect(path)
    try:
        missing = _missing_bytes(path)
        damage = f"the file was cut, {missing} bytes are missing" if missing else _damage(connection)
        if damage is None:
            return _SqlTables(path, connection)
    except BaseException:
        connection.close()
        raise
    connection.close()
    if not recover:
        raise CorruptLog(damage, where=path, remedy=REMEDY)
    report.lose(missing, damage)
    if _log_beside(path):
        report.problems.append("rows that only the write-ahead log beside the file holds are not recovered")
    source = open_source(path)
    try:
        return SalvagedTables(source, report, missing_bytes=missing)
    except BaseException:
        source.close()
        raise


def _log_beside(path: Path) -> bool:
    """Whether a write-ahead log beside the file holds rows that the file lacks."""
    wal = path.with_name(path.name + "-wal")
    return wal.exists() and wal.stat().st_size > 0


def _damage(connection: sqlite3.Connection) -> str | None:
    try:
        verdict = str(connection.execute("PRAGMA integrity_check(1)").fetchone()[0])
    except sqlite3.DatabaseError as error:
        verdict = str(error)
    return None if verdict == "ok" else f"sqlite finds the file damaged: {verdict[:120]}"


def _connect(path: Path) -> sqlite3.Connection:
    mode = "mode=ro" if _log_beside(path) else "mode=ro&immutable=1"  # only without such a log the file is all there is
    connection = sqlite3.connect(f"file:{quote(str(path.resolve()))}?{mode}", uri=True, check_same_thread=False)
    connection.setlimit(
        sqlite3.SQLITE_LIMIT_LENGTH, _MOST_MESSAGE_BYTES
    )  # a computed column may claim a gigabyte a row
    return connection


def _missing_bytes(path: Path) -> int:
    """Return how many bytes the header says there are, and are not. Source: SQLite file format, section 1.3."""
    with path.open("rb") as stream:
        head = stream.read(32)
    page_bytes = int.from_bytes(head[16:18], "big") or 1
    pages = int.from_bytes(head[28:32], "big")
    return max(0, pages * (65_536 if page_bytes == 1 else page_bytes) - path.stat().st_size)


def _sqlite_topics(
    path: Path, tables: Tables, report: Report, *, recover: bool, compressed: bool
) -> tuple[list[Topic], list[TopicIndex]]:
    if not {"topics", "messages"} <= tables.names:
        raise UnsupportedLog("a sqlite3 file that is no ROS 2 bag (no tables 'topics' and 'messages')", where=path)
    definitions = _Definitions(tables)
    largest = 0
    rows: dict[int, array[int]] = defaultdict(lambda: array("q"))  # 24 bytes a message; tuples would take 150
    count = 0
    for topic_id, timestamp, row_id, size in tables.messages():
        if not (isinstance(topic_id, int) and isinstance(timestamp, int) and isinstance(size, int)):
            raise CorruptLog(f"message row {row_id} holds values of the wrong kind", where=path, remedy=REMEDY)
        rows[topic_id].extend((timestamp, int(str(row_id)), size))
        count += 1
        largest = max(largest, size)
        check_count(path, count)
    if _INDEX_BYTES * count + 2 * largest > _MOST_HELD_BYTES:
        what = f"{count} messages, of which the largest has {largest} bytes: more than bounded memory holds"
        raise UnsupportedLog(what, where=path, remedy="convert the bag to MCAP (`ros2 bag convert`), or split it")
    topics, indexes = [], []
    for topic_id, name, kind, encoding in tables.select("topics", ("id", "name", "type", "serialization_format")):
        table = np.frombuffer(rows.pop(topic_id, array("q")), np.int64).reshape(-1, 3)
        sample = _first_payload(tables, table)
        if sample is not None and compressed:
            sample = plain_message(sample)
        schema_encoding, text = definitions.choose(str(kind), sample if encoding == "cdr" else None, report)
        index = TopicIndex(table[:, 0], None, table[:, 2], table[:, 1])
        indexes.append(index)
        topics.append(
            Topic(
                name=str(name),
                message_type=str(kind),
                message_encoding=str(encoding),
                schema_encoding=schema_encoding,
                schema_text=text,
                schema_data=None if text is None else text.encode(),
                rows=len(table),
                start_ns=index.span_ns[0],
                stop_ns=index.span_ns[1],
            )
        )
    if rows:
        what = f"{sum(map(len, rows.values())) // 3} messages belong to no topic"
        if not recover:
            raise CorruptLog(what, where=path, remedy=REMEDY)
        report.lose(sum(sum(items[2::3]) for items in rows.values()), what)
    return topics, indexes


def _first_payload(tables: Tables, table: Index) -> bytes | bytearray | None:
    if not table.size:
        return None
    payload = tables.payload(int(table[0, 1]))
    return payload if isinstance(payload, bytes | bytearray) else None


class _Definitions:
    """Message definitions: those in the bag, else those of the ROS distribution, which rosbags carries.

    Recorders have written definitions without their dependencies, and definitions cut short. So the bag's own is
    used only if it parses and its topic's first message fits it; the distribution's must pass the same test.
    """

    def __init__(self, tables: Tables) -> None:
        self._own: dict[str, tuple[str, str]] = {}
        distro = None
        if "message_definitions" in tables.names:
            found = tables.select("message_definitions", ("topic_type", "encoding", "encoded_message_definition"))
            self._own = {str(kind): (str(encoding), str(text)) for kind, encoding, text in found}
        if "schema" in tables.names:
            distro = next((str(row[0]) for row in tables.select("schema", ("ros_distro",))), None)
        stores = {store.name.lower(): store for store in Stores}
        self._store = get_typestore(stores.get(f"ros2_{distro}", Stores.LATEST))

    def choose(self, kind: str, sample: bytes | bytearray | None, report: Report) -> tuple[str, str | None]:
        """Return a type's schema encoding and text; no text where nobody knows the type.

        Args:
            kind: The message type.
            sample: A payload that the definition must fit, where there is one.
            report: Told when the bag's own definition is not used.
        """
        own = self._own.get(kind)
        if own is not None and (own[0] != "ros2msg" or _fits(kind, own[1], sample)):
            return own
        text = self._known(kind)
        if text is None or not _fits(kind, text, sample):
            return own or ("ros2msg", None)
        if own is not None:
            report.problems.append(f"the bag's definition of {kind} does not fit its messages; ROS's own is used")
        return "ros2msg", text

    def _known(self, kind: str) -> str | None:
        try:
            return str(self._store.generate_msgdef(normal_name(kind), ros_version=2)[0])
        except (TypesysError, LookupError, ValueError):
            return None


def _fits(kind: str, text: str, sample: bytes | bytearray | None) -> bool:
    try:
        decode_payloads(kind, text, [] if sample is None else [sample])
    except (UnsupportedLog, CorruptLog):
        return False
    return True
