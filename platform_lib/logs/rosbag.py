"""ROS 2 bags: a sqlite3 file alone, or a folder whose ``metadata.yaml`` names its parts (sqlite3 or MCAP).

A sqlite file has no checksum over its rows: its own structure check finds lost and torn pages, a flipped bit in a
payload stays unnoticed. The bag's metadata counts messages, and the counts must agree with the parts.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path, PurePosixPath
from urllib.parse import quote

import numpy as np
import yaml
import zstandard
from pydantic import BaseModel, ConfigDict, ValidationError
from rosbags.typesys import Stores, TypesysError, get_typestore

from platform_lib.errors import ConfigError, CorruptLog, UnsupportedLog
from platform_lib.logs.bytes_source import LocalSource
from platform_lib.logs.extents import Index, IndexedRows, TopicIndex
from platform_lib.logs.faults import REMEDY, translated
from platform_lib.logs.mcap.source import load_mcap
from platform_lib.logs.merging import merged
from platform_lib.logs.messages import Loaded, RowStore, Topic, TopicSource
from platform_lib.logs.model import BATCH_BYTES, Report, Window
from platform_lib.logs.payloads import Payloads, Rows
from platform_lib.logs.schemas.cdr import decode_payloads
from platform_lib.logs.schemas.rosmsg import normal_name

_METADATA = "metadata.yaml"
_LOOKUP_ROWS = 500
_MOST_MESSAGE_BYTES = 1 << 30
_MOST_MISSING_BYTES = 4 << 30
_SMALLEST_PAGE_BYTES = 512
_KEPT_FREE_BYTES = 1 << 30


class _Loose(BaseModel):
    # rosbag2 adds keys from version to version; those that are read here must have their type.
    model_config = ConfigDict(extra="ignore", frozen=True)


class _TopicMetadata(_Loose):
    name: str
    type: str


class _TopicCount(_Loose):
    message_count: int
    topic_metadata: _TopicMetadata


class _Bag(_Loose):
    version: int
    storage_identifier: str
    relative_file_paths: list[str]
    message_count: int
    topics_with_message_count: list[_TopicCount] = []
    compression_format: str = ""
    compression_mode: str = ""
    ros_distro: str | None = None
    custom_data: dict[str, str] | None = None


class _Document(_Loose):
    rosbag2_bagfile_information: _Bag


def open_sqlite_bag(path: Path, *, recover: bool) -> TopicSource:
    """Open one ``.db3`` file; see `platform_lib.logs.open_log`."""
    report = Report(format="rosbag2-sqlite3")
    return TopicSource(path, _load_sqlite(path, report, recover=recover, compressed=False), report)


def open_bag_folder(folder: Path, *, recover: bool) -> TopicSource:
    """Open a bag folder as one log; see `platform_lib.logs.open_log`."""
    with translated(folder, "opening the bag"):
        bag = _bag(folder)
        report = Report(format=f"rosbag2-{bag.storage_identifier}")
        parts: list[Loaded] = []
        try:
            for name in bag.relative_file_paths:
                part = _part(folder, name, bag, report, recover=recover)
                parts.extend([] if part is None else [part])
            loaded = _join(parts, bag.custom_data or {})
            _compare_counts(folder, bag, loaded.topics, report, recover=recover)
        except BaseException:
            for part in parts:
                part.store.close()
            raise
        return TopicSource(folder, loaded, report)


def _bag(folder: Path) -> _Bag:
    path = folder / _METADATA
    if not path.is_file():
        raise UnsupportedLog(
            "a folder without metadata.yaml is no bag", where=folder, remedy="name the log files in it, or ingest it"
        )
    try:
        bag = _Document.model_validate(yaml.safe_load(path.read_bytes())).rosbag2_bagfile_information
    except (yaml.YAMLError, ValidationError, ValueError, RecursionError) as error:
        short = " ".join(str(error).split())[:200]
        remedy = "open its .db3 or .mcap files one by one, or write it anew with `ros2 bag reindex`"
        raise CorruptLog(f"the bag's metadata cannot be read ({short})", where=path, remedy=remedy) from error
    if bag.storage_identifier not in ("sqlite3", "mcap"):
        raise UnsupportedLog(f"bag storage '{bag.storage_identifier}'; sqlite3 and mcap are read", where=path)
    if bag.compression_mode.upper() in ("FILE", "MESSAGE") and bag.compression_format != "zstd":
        remedy = "convert it with `ros2 bag convert`"
        raise UnsupportedLog(f"bag compression '{bag.compression_format}'; zstd is read", where=path, remedy=remedy)
    if not bag.relative_file_paths:
        raise CorruptLog("the bag's metadata names no files", where=path, remedy=REMEDY)
    return bag


def _part(folder: Path, name: str, bag: _Bag, report: Report, *, recover: bool) -> Loaded | None:
    pure = PurePosixPath(name)
    if pure.is_absolute() or ".." in pure.parts:
        raise CorruptLog(f"the bag names a file outside its folder: '{name}'", where=folder, remedy=REMEDY)
    path = folder / pure
    try:
        if not path.is_file():
            raise CorruptLog("a file of the bag is missing", where=path, remedy=REMEDY)
        if bag.compression_mode.upper() != "FILE":
            return _load_part(path, bag, report, recover=recover)
        with decompressed(path) as plain:
            return _load_part(plain, bag, report, recover=recover)
    except CorruptLog as error:
        if not recover:
            raise
        report.lose(path.stat().st_size if path.is_file() else 0, f"{path.name}: {error.what}")
        return None


def _load_part(path: Path, bag: _Bag, report: Report, *, recover: bool) -> Loaded:
    by_message = bag.compression_mode.upper() == "MESSAGE"
    if bag.storage_identifier == "mcap":
        loaded = load_mcap(LocalSource(path), report, recover=recover)
    else:
        loaded = _load_sqlite(path, report, recover=recover, compressed=by_message)
    return replace(loaded, store=_PlainRows(loaded.store)) if by_message else loaded


@contextmanager
def decompressed(path: Path) -> Iterator[Path]:
    """Give a file's content, zstd-compressed as a whole, as a temporary file; who opens it in time keeps it.

    Raises:
        CorruptLog: It does not decompress.
        ConfigError: There is no room for it.
    """
    with tempfile.TemporaryDirectory(prefix="drivetrain-bag-") as folder:
        plain = Path(folder) / path.name.removesuffix(".zstd")
        room = shutil.disk_usage(folder).free - _KEPT_FREE_BYTES
        try:
            with translated(path, "decompressing"), path.open("rb") as stored, plain.open("wb") as target:
                for piece in zstandard.ZstdDecompressor().read_to_iter(stored, write_size=1 << 20):
                    room -= len(piece)
                    if room < 0:
                        remedy = "make room, or set TMPDIR to a folder that has it"
                        raise ConfigError("decompressing it needs more room than there is", where=path, remedy=remedy)
                    target.write(piece)
            yield plain
        except CorruptLog as error:
            raise CorruptLog(error.what, where=path, remedy=error.remedy) from error


def _compare_counts(folder: Path, bag: _Bag, topics: list[Topic], report: Report, *, recover: bool) -> None:
    found: dict[str, int] = defaultdict(int)
    for topic in topics:
        found[topic.name] += topic.rows
    said = {item.topic_metadata.name: item.message_count for item in bag.topics_with_message_count}
    wrong = [name for name, count in said.items() if found.get(name, 0) != count]
    if not wrong and sum(found.values()) == bag.message_count:
        return
    name = wrong[0] if wrong else "all topics"
    expected, got = (said[name], found.get(name, 0)) if wrong else (bag.message_count, sum(found.values()))
    problem = f"the bag's metadata counts {expected} messages of {name}, its files hold {got}"
    if not recover:
        raise CorruptLog(problem, where=folder / _METADATA, remedy=REMEDY)
    report.lose(0, problem)


# -- several parts as one --------------------------------------------------------------------------------------------


class _JoinedRows:
    """The rows of several parts, of which a topic may be in any number."""

    def __init__(self, parts: list[Loaded], members: list[list[tuple[int, int]]]) -> None:
        """`members`: for each topic of the whole, which part holds it under which number there."""
        self._parts = parts
        self._members = members

    def rows(self, topics: Sequence[int], window: Window) -> Iterator[tuple[int, Rows]]:
        """Yield the rows of the given topics: part after part where their times follow each other, else merged."""
        if all(self._in_sequence(topic) for topic in topics):
            for part, loaded in enumerate(self._parts):
                own = {there: topic for topic in topics for number, there in self._members[topic] if number == part}
                for there, rows in loaded.store.rows(list(own), window) if own else ():
                    yield own[there], rows
            return
        for topic in topics:
            sources = [self._part_rows(*member, window) for member in self._members[topic]]
            yield from ((topic, rows) for rows in merged(sources))

    def _in_sequence(self, topic: int) -> bool:
        found = [self._parts[part].topics[there] for part, there in self._members[topic]]
        spans = [(item.start_ns, item.stop_ns) for item in found if item.start_ns is not None and item.stop_ns]
        # Stops are one past the last row; rows of equal time stay in the order of the parts.
        return all(stop - 1 <= start for (_, stop), (start, _) in pairwise(spans))

    def _part_rows(self, part: int, topic: int, window: Window) -> Iterator[Rows]:
        return (rows for _, rows in self._parts[part].store.rows([topic], window))

    def close(self) -> None:
        """Release every part's file."""
        for part in self._parts:
            part.store.close()


class _PlainRows:
    """The rows of a part whose messages are compressed one by one."""

    def __init__(self, store: RowStore) -> None:
        self._store = store

    def rows(self, topics: Sequence[int], window: Window) -> Iterator[tuple[int, Rows]]:
        """Yield the rows with their payloads decompressed."""
        for topic, rows in self._store.rows(topics, window):
            first, size = 0, 0
            plain: list[bytes] = []
            for payload in rows.payloads.each():
                plain.append(plain_message(payload))
                size += len(plain[-1])
                if size > BATCH_BYTES:
                    yield topic, _with_payloads(rows, first, plain)
                    first, size, plain = first + len(plain), 0, []
            if plain:
                yield topic, _with_payloads(rows, first, plain)

    def close(self) -> None:
        """Release the file."""
        self._store.close()


def _with_payloads(rows: Rows, first: int, payloads: list[bytes]) -> Rows:
    some = slice(first, first + len(payloads))
    publish = None if rows.publish_time_ns is None else rows.publish_time_ns[some]
    return Rows(rows.log_time_ns[some], publish, Payloads.of(payloads))


def plain_message(data: bytes) -> bytes:
    """Return a message that was compressed by itself."""
    return zstandard.ZstdDecompressor().decompress(data, max_output_size=_MOST_MESSAGE_BYTES)


def _join(parts: list[Loaded], custom: dict[str, str]) -> Loaded:
    metadata: dict[str, str] = dict(custom)
    groups: dict[tuple[str, str | None, str, str | None], list[tuple[int, int]]] = {}
    for number, part in enumerate(parts):
        metadata.update(part.metadata)
        for place, topic in enumerate(part.topics):
            key = (topic.name, topic.message_type, topic.message_encoding, topic.schema_text)
            groups.setdefault(key, []).append((number, place))
    topics = []
    for members in groups.values():
        found = [parts[number].topics[place] for number, place in members]
        starts = [topic.start_ns for topic in found if topic.start_ns is not None]
        stops = [topic.stop_ns for topic in found if topic.stop_ns is not None]
        topics.append(
            replace(
                found[0],
                rows=sum(topic.rows for topic in found),
                start_ns=min(starts, default=None),
                stop_ns=max(stops, default=None),
            )
        )
    attachments = tuple(item for part in parts for item in part.attachments)
    return Loaded(topics, _JoinedRows(parts, list(groups.values())), metadata, attachments)


# -- sqlite3 ---------------------------------------------------------------------------------------------------------


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


def _load_sqlite(path: Path, report: Report, *, recover: bool, compressed: bool) -> Loaded:
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
