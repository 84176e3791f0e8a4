"""sqlite3 files of ROS 2 bags.

A sqlite file has no checksum over its rows: its own structure check finds lost and torn pages, a flipped bit in a
payload stays unnoticed. SQLite reads local files only, so an object of a store is copied first.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import numpy as np
import zstandard
from rosbags.typesys import Stores, TypesysError, get_typestore

from platform_lib.errors import ConfigError, CorruptLog, UnsupportedLog
from platform_lib.logs.bytes_source import ByteSource
from platform_lib.logs.extents import Index, IndexedRows, TopicIndex
from platform_lib.logs.faults import REMEDY, translated
from platform_lib.logs.messages import Loaded, Topic, TopicSource
from platform_lib.logs.model import Report
from platform_lib.logs.payloads import Payloads
from platform_lib.logs.schemas.cdr import decode_payloads
from platform_lib.logs.schemas.rosmsg import normal_name
from platform_lib.logs.scratch import copied

_LOOKUP_ROWS = 500
_MOST_MESSAGE_BYTES = 1 << 30
_MOST_MISSING_BYTES = 4 << 30
_SMALLEST_PAGE_BYTES = 512
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


def plain_message(data: bytes) -> bytes:
    """Return a message that was compressed by itself."""
    return zstandard.ZstdDecompressor().decompress(data, max_output_size=_MOST_MESSAGE_BYTES)


class _SqliteStore:
    """Fetches payloads by row id."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path = path
        self._connection = connection

    def fetch(self, places: Index, size_bytes: Index) -> Payloads:
        """Return the payloads of the rows `places`."""
        del size_bytes
        found: dict[int, bytes] = {}
        ids = places.tolist()
        for first in range(0, len(ids), _LOOKUP_ROWS):
            some = ids[first : first + _LOOKUP_ROWS]
            marks = ",".join("?" * len(some))
            found.update(self._connection.execute(f"SELECT id, data FROM messages WHERE id IN ({marks})", some))  # noqa: S608 - only question marks
        payloads = [found.get(item) for item in ids]
        if any(not isinstance(item, bytes) for item in payloads):
            raise CorruptLog("a message's row vanished or is no blob", where=self._path, remedy=REMEDY)
        return Payloads.of([item for item in payloads if isinstance(item, bytes)])

    def close(self) -> None:
        """Release the file."""
        self._connection.close()


def _load(path: Path, report: Report, *, recover: bool, compressed: bool) -> Loaded:
    with translated(path, "opening the sqlite3 bag"):
        connection = _connect_cut(path) if recover and _missing_bytes(path) else _connect(path)
        try:
            _check_sqlite(path, connection, report, recover=recover)
            topics, indexes = _sqlite_topics(path, connection, report, compressed=compressed)
        except BaseException:
            connection.close()
            raise
        report.unverified.append(f"{path.name}: message payloads have no checksum")
        return Loaded(topics, IndexedRows(indexes, _SqliteStore(path, connection)), {})


def _connect(path: Path) -> sqlite3.Connection:
    # A write-ahead log beside the file holds rows that the file lacks; only without one the file is all there is.
    wal = path.with_name(path.name + "-wal")
    mode = "mode=ro" if wal.exists() and wal.stat().st_size else "mode=ro&immutable=1"
    return sqlite3.connect(f"file:{quote(str(path.resolve()))}?{mode}", uri=True)


def _missing_bytes(path: Path) -> int:
    """Return how many bytes the header says there are, and are not. Source: SQLite file format, section 1.3."""
    with path.open("rb") as stream:
        head = stream.read(32)
    page_bytes = int.from_bytes(head[16:18], "big") or 1
    pages = int.from_bytes(head[28:32], "big")
    return max(0, pages * (65_536 if page_bytes == 1 else page_bytes) - path.stat().st_size)


def _connect_cut(path: Path, fill: bytes = b"\0") -> sqlite3.Connection:
    """Open a file that was cut: sqlite refuses it unless the missing pages are there, so `fill` stands for them."""
    missing = _missing_bytes(path)
    if missing > _MOST_MISSING_BYTES:
        raise CorruptLog(f"the header claims {missing} bytes more than there are", where=path, remedy=REMEDY)
    data = path.read_bytes()
    torn = len(data) % _SMALLEST_PAGE_BYTES
    connection = sqlite3.connect(":memory:")
    connection.deserialize(data[: len(data) - torn] + fill * (missing + torn))
    return connection


def _check_sqlite(path: Path, connection: sqlite3.Connection, report: Report, *, recover: bool) -> None:
    missing = _missing_bytes(path)
    try:
        verdict = str(connection.execute("PRAGMA integrity_check(1)").fetchone()[0])
    except sqlite3.DatabaseError as error:
        verdict = str(error)
    if verdict == "ok" and not missing:
        return
    problem = (
        f"the file was cut, {missing} bytes are missing"
        if missing
        else f"sqlite finds the file damaged: {verdict[:120]}"
    )
    if not recover:
        raise CorruptLog(problem, where=path, remedy=REMEDY)
    report.lose(missing, problem)


def _index_rows(path: Path, connection: sqlite3.Connection, report: Report) -> Iterator[tuple[object, ...]]:
    """Yield topic, time, row id and payload length of every message; of a damaged file, of those that can be read."""
    columns = "topic_id, timestamp, id, length(data)"
    if not report.recovered:
        yield from connection.execute(f"SELECT {columns} FROM messages ORDER BY timestamp, id")  # noqa: S608 - constant
        return
    found = _readable_rows(connection)
    if _missing_bytes(path):
        # A payload may reach into the missing part and come back as filler: keep what does not depend on it.
        other = _connect_cut(path, b"\xff")
        try:
            twice = _readable_rows(other)
        finally:
            other.close()
        found = {row_id: row for row_id, row in found.items() if twice.get(row_id) == row}
    report.problems.append(f"{path.name}: {len(found)} messages could be read")
    rows = [(row[0], row[1], row_id, len(row[2])) for row_id, row in found.items()]
    yield from sorted(rows, key=lambda row: (row[1], row[2]))


def _readable_rows(connection: sqlite3.Connection) -> dict[int, tuple[int, int, bytes]]:
    """Return topic, time and payload by row id: from the front until the damage, and from the back until it."""
    found: dict[int, tuple[int, int, bytes]] = {}
    for order in ("ASC", "DESC"):
        query = f"SELECT id, topic_id, timestamp, data FROM messages ORDER BY id {order}"  # noqa: S608 - constant
        with suppress(sqlite3.DatabaseError):
            for row_id, topic, time_ns, data in connection.execute(query):
                if isinstance(topic, int) and isinstance(time_ns, int) and isinstance(data, bytes):
                    found[row_id] = (topic, time_ns, data)
    return found


def _sqlite_topics(
    path: Path, connection: sqlite3.Connection, report: Report, *, compressed: bool
) -> tuple[list[Topic], list[TopicIndex]]:
    names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not {"topics", "messages"} <= names:
        raise UnsupportedLog("a sqlite3 file that is no ROS 2 bag (no tables 'topics' and 'messages')", where=path)
    definitions = _Definitions(connection, names)
    rows: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
    for topic_id, timestamp, row_id, size in _index_rows(path, connection, report):
        if not (isinstance(topic_id, int) and isinstance(timestamp, int) and isinstance(size, int)):
            raise CorruptLog(f"message row {row_id} holds values of the wrong kind", where=path, remedy=REMEDY)
        rows[topic_id].append((timestamp, int(str(row_id)), size))
    topics, indexes = [], []
    for topic_id, name, kind, encoding in connection.execute("SELECT id, name, type, serialization_format FROM topics"):
        table = np.array(rows.pop(topic_id, []), np.int64).reshape(-1, 3)
        sample = _first_payload(connection, table)
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
        count = sum(map(len, rows.values()))
        raise CorruptLog(f"{count} messages belong to no topic", where=path, remedy=REMEDY)
    return topics, indexes


def _first_payload(connection: sqlite3.Connection, table: Index) -> bytes | None:
    if not table.size:
        return None
    payload = connection.execute("SELECT data FROM messages WHERE id = ?", (int(table[0, 1]),)).fetchone()[0]
    return payload if isinstance(payload, bytes) else None


class _Definitions:
    """Message definitions: those in the bag, else those of the ROS distribution, which rosbags carries.

    Recorders have written definitions without their dependencies, and definitions cut short. So the bag's own is
    used only if it parses and its topic's first message fits it; the distribution's must pass the same test.
    """

    def __init__(self, connection: sqlite3.Connection, tables: set[str]) -> None:
        self._own: dict[str, tuple[str, str]] = {}
        distro = None
        if "message_definitions" in tables:
            query = "SELECT topic_type, encoding, encoded_message_definition FROM message_definitions"
            self._own = {str(kind): (str(encoding), str(text)) for kind, encoding, text in connection.execute(query)}
        if "schema" in tables:
            row = connection.execute("SELECT ros_distro FROM schema").fetchone()
            distro = str(row[0]) if row else None
        stores = {store.name.lower(): store for store in Stores}
        self._store = get_typestore(stores.get(f"ros2_{distro}", Stores.LATEST))

    def choose(self, kind: str, sample: bytes | None, report: Report) -> tuple[str, str | None]:
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


def _fits(kind: str, text: str, sample: bytes | None) -> bool:
    try:
        decode_payloads(kind, text, [] if sample is None else [sample])
    except (UnsupportedLog, CorruptLog):
        return False
    return True
