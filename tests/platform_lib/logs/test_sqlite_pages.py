from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from platform_lib.errors import CorruptLog, UnsupportedLog
from platform_lib.logs import open_log
from platform_lib.logs.bytes_source import open_source
from platform_lib.logs.model import Report
from platform_lib.logs.rosbag_salvage import SalvagedTables
from platform_lib.logs.sqlite_pages import column_names

Rows = dict[str, list[tuple[int, bytes]]]
PAGE_BYTES = 4096


def write_bag(path: Path, messages: int = 400, largest: int = 9000, *, freed: bool = True) -> Path:
    """A bag whose table and index have several levels, with payloads of nothing up to three pages."""
    rng = random.Random(4)  # noqa: S311 - the same bag every time
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        connection.execute(
            "CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT, type TEXT, serialization_format TEXT)"
        )
        connection.execute(
            "CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER NOT NULL, timestamp INTEGER NOT NULL, data BLOB NOT NULL)"
        )
        connection.execute("CREATE INDEX timestamp_idx ON messages (timestamp ASC)")
        connection.execute("ALTER TABLE topics ADD COLUMN offered_qos_profiles TEXT NOT NULL DEFAULT ''")
        for number, topic in enumerate(("/a", "/b"), 1):
            connection.execute("INSERT INTO topics VALUES (?, ?, 'none/msg/None', 'raw', '')", (number, topic))
        for number in range(messages):
            data = rng.randbytes(rng.choice((0, 1, 60, 900, largest)))
            connection.execute(
                "INSERT INTO messages VALUES (?, ?, ?, ?)", (number * 3, 1 + number % 2, number ^ 1, data)
            )
        if freed:  # which leaves holes, and blank pages
            connection.execute("DELETE FROM messages WHERE id % 7 = 0")
    return path


def rows(path: Path, *, recover: bool = False) -> Rows:
    with open_log(path, recover=recover) as log:
        found = {
            stream.name: [
                (row["timestamp_ns"], bytes(row["data"]))
                for batch in log.read(stream.name, decode=False)
                for row in batch.to_pylist()
            ]
            for stream in log.streams
        }
        assert log.report.recovered == recover
        return found


def test_of_a_sound_file_every_row_is_found(tmp_path: Path, real_logs: Path) -> None:
    for path in (
        write_bag(tmp_path / "bag.db3", 3000, freed=False),
        *sorted((real_logs / "rosbag2_sqlite").glob("*.db3")),
    ):
        report = Report("rosbag2-sqlite3")
        with closing(sqlite3.connect(path)) as connection:
            query = "SELECT topic_id, timestamp, id, data FROM messages ORDER BY timestamp, id"
            expected = [(topic, time, data) for topic, time, _, data in connection.execute(query)]
            topics = list(connection.execute("SELECT id, name, type FROM topics"))
        with closing(SalvagedTables(open_source(path), report)) as tables:
            found = [(topic, time, tables.payload(place)) for topic, time, place, _ in tables.messages()]
            assert tables.select("topics", ("id", "name", "type")) == topics
        assert found == expected
        assert len(expected) > 6
        assert not report.bytes_lost


def damaged(data: bytes) -> Iterator[tuple[str, bytes]]:
    for start in range(PAGE_BYTES, len(data), 9 * PAGE_BYTES + 777):
        yield f"zeros from {start}", data[:start] + bytes(len(data) - start)
        yield f"zeros of a sector at {start}", data[:start] + bytes(512) + data[start + 512 :]
        yield f"cut at {start}", data[:start]
    for page in range(1, len(data) // PAGE_BYTES, 14):
        at = page * PAGE_BYTES
        yield f"page {page} blank", data[:at] + bytes(PAGE_BYTES) + data[at + PAGE_BYTES :]
        yield f"page {page} is another", data[:at] + data[-PAGE_BYTES:] + data[at + PAGE_BYTES :]


def test_no_row_of_a_damaged_file_was_never_recorded(tmp_path: Path) -> None:
    path = write_bag(tmp_path / "bag.db3")
    data, expected = path.read_bytes(), rows(path)
    recovered = 0
    for what, changed in damaged(data):
        path.write_bytes(changed)
        try:
            open_log(path).close()
        except CorruptLog:
            pass
        else:
            continue  # within a payload: nothing tells
        try:
            found = rows(path, recover=True)
        except (CorruptLog, UnsupportedLog):
            continue
        for name, messages in found.items():
            assert set(messages) <= set(expected[name]), what
            assert messages == sorted(messages, key=lambda item: item[0])
            recovered += len(messages)
    assert recovered > 3_000


def test_a_time_that_the_index_contradicts_costs_its_row(tmp_path: Path) -> None:
    path = write_bag(tmp_path / "bag.db3", 40, largest=100)
    data, expected = bytearray(path.read_bytes()), rows(path)
    at = data.rindex(expected["/a"][6][1])  # its time is the byte before its payload
    assert data[at - 1] == expected["/a"][6][0]
    data[at - 1] ^= 0x40
    path.write_bytes(data)
    with pytest.raises(CorruptLog, match="missing from index"):
        open_log(path)
    found = rows(path, recover=True)
    assert found == {"/a": [*expected["/a"][:6], *expected["/a"][7:]], "/b": expected["/b"]}


def test_columns_are_named_as_they_were_declared() -> None:
    assert column_names('CREATE TABLE "t"\n(\n id INTEGER\n primary key, "a b" TEXT, c DECIMAL(1, 2), d)') == [
        "id",
        "a",
        "c",
        "d",
    ]
