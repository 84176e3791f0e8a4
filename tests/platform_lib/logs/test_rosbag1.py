"""ROS 1 bags: heads in any order, an index that lies, sizes that break the budget."""

from __future__ import annotations

import bz2
import random
import sqlite3
import struct
from pathlib import Path

import lz4.frame
import numpy as np
import pytest
from bag1_bytes import ENTRY, Bag, connection, message, u32, write_many
from peak_memory import BUDGET_BYTES, measured
from rosbags.rosbag1 import Reader

from platform_lib.errors import CorruptLog, PlatformError, UnsupportedLog
from platform_lib.logs import open_log, rosbag1_index, rosbag1_rows
from platform_lib.logs.model import DATA, TIMESTAMP
from platform_lib.logs.rosbag1_heads import _alike, records_at
from platform_lib.logs.rosbag1_records import Records, records_of

COMPRESSED = {"none": bytes, "bz2": bz2.compress, "lz4": lz4.frame.compress}
Found = list[tuple[str, int, bytes]]


def odd_chunk(rng: random.Random, topics: int, *, uniform: bool) -> tuple[bytes, dict[int, np.ndarray]]:
    """A chunk whose heads differ, and what the index says of it: at times the connection record before a message."""
    data = b""
    entries: dict[int, list[tuple[int, int, int]]] = {number: [] for number in range(topics)}
    order = tuple(rng.sample(range(3), 3))
    for _ in range(rng.randrange(1, 60)):
        number, at, time_ns = rng.randrange(topics), len(data), rng.randrange(1 << 61)
        if rng.random() < 0.2:
            data += connection(number, b"/t%d" % number)
            if rng.random() < 0.5:
                at = len(data)
        shape = order if uniform else tuple(rng.sample(range(3), 3))
        extra = b"" if uniform else rng.choice([b"", b"latching=1", b"x="])
        data += message(number, time_ns, rng.randbytes(rng.randrange(40)), shape, extra)
        entries[number].append((*divmod(time_ns, 1_000_000_000), at))
    if rng.random() < 0.3:
        data += connection(0, b"/t0")
    return data, {number: np.array(some, ENTRY) for number, some in entries.items() if some}


def odd_bag(path: Path, seed: int) -> Path:
    rng = random.Random(seed)  # noqa: S311 - the same cases every time
    topics = rng.randrange(1, 5)
    bag = Bag(path, {number: b"/t%d" % number for number in range(topics)})
    for _ in range(rng.randrange(1, 6)):
        data, index = odd_chunk(rng, topics, uniform=rng.random() < 0.7)
        kind = rng.choice(list(COMPRESSED))
        bag.chunk(data, index, COMPRESSED[kind](data), kind.encode())
    bag.close()
    return path


def ours(path: Path) -> Found:
    with open_log(path) as log:
        return sorted(
            (stream.name, row[TIMESTAMP], row[DATA])
            for stream in log.streams
            for batch in log.read(stream.name, decode=False)
            for row in batch.to_pylist()
        )


def by_rosbags(path: Path) -> Found:
    with Reader(path) as reader:
        return sorted((item.topic, time_ns, data) for item, time_ns, data in reader.messages())


@pytest.mark.parametrize("seed", range(40))
def test_odd_bags_read_as_by_rosbags(tmp_path: Path, seed: int) -> None:
    path = odd_bag(tmp_path / "odd.bag", seed)
    assert ours(path) == by_rosbags(path)


def test_a_window_of_time_is_cut_as_a_filter_would(tmp_path: Path) -> None:
    path = odd_bag(tmp_path / "odd.bag", 3)
    everything = ours(path)
    times = sorted(time_ns for _, time_ns, _ in everything)
    start, stop = times[len(times) // 4], times[3 * len(times) // 4]
    with open_log(path) as log:
        found = [
            time_ns
            for stream in log.streams
            for batch in log.read(stream.name, decode=False, start_ns=start, stop_ns=stop)
            for time_ns in batch[TIMESTAMP].to_pylist()
        ]
    assert sorted(found) == [time_ns for time_ns in times if start <= time_ns < stop]


def same(one: Records, other: Records) -> bool:
    names = ("start", "connection", "time_ns", "body", "size")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names)


def test_the_quick_way_finds_what_the_walk_finds_or_nothing() -> None:
    rng = random.Random(11)  # noqa: S311 - the same cases every time
    quick = refused = 0
    for _ in range(300):
        data, index = odd_chunk(rng, 3, uniform=True)
        offset = np.sort(np.concatenate(list(index.values()))["offset"])
        found = _alike(data, offset.astype(np.int64))
        assert found is not None
        assert same(found, records_of(data))
        changed = bytearray(data)
        changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        if rng.random() < 0.3:
            offset = np.sort(rng.choices(offset.tolist(), k=offset.size)).astype(np.uint32)
        try:
            expected = records_of(bytes(changed))
        except (PlatformError, LookupError, ValueError) as error:
            with pytest.raises(type(error)):
                records_at(bytes(changed), offset)
            refused += 1
            continue
        found = _alike(bytes(changed), offset.astype(np.int64))
        quick += found is not None
        assert found is None or same(found, expected)
    assert quick > 100
    assert refused > 20


def indexed(path: Path, change: str) -> Path:
    """A bag of one chunk whose index lies."""
    bag = Bag(path, {0: b"/a", 1: b"/b"})
    one, two = message(0, 5, b"abcd"), message(1, 6, b"efgh")
    first, second = (0, 5, 0), (0, 6, len(one))
    index = {0: [first], 1: [second]}
    if change == "twice":
        index[0].append(first)
    elif change == "short":
        del index[1]
    elif change == "stranger":
        index = {0: [first], 7: [second]}
    elif change == "time":
        index[1] = [(0, 7, len(one))]
    elif change == "far":
        index[1] = [(0, 6, 1 << 31)]
    elif change == "swapped":
        index = {0: [second], 1: [first]}
    bag.chunk(one + two, {number: np.array(some, ENTRY) for number, some in index.items()})
    bag.close()
    return path


def test_a_true_index_is_read(tmp_path: Path) -> None:
    assert ours(indexed(tmp_path / "true.bag", "")) == [("/a", 5, b"abcd"), ("/b", 6, b"efgh")]


@pytest.mark.parametrize("change", ["twice", "short", "stranger", "time", "far", "swapped"])
def test_an_index_that_lies_is_noticed(tmp_path: Path, change: str) -> None:
    with pytest.raises(CorruptLog, match="index"):
        open_log(indexed(tmp_path / "lie.bag", change))


def patched(path: Path, field: bytes, value: bytes) -> Path:
    data = bytearray(path.read_bytes())
    at = data.index(field, data.index(b"op=\x06")) + len(field)
    data[at : at + len(value)] = value
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        (b"chunk_pos=", bytes(8), "names a chunk at byte 0"),
        (b"chunk_pos=", b"\xff" * 8, "names a chunk at byte"),
        (b"count=", u32(3), "a chunk of 3 connections has 2"),
    ],
)
def test_a_chunk_that_is_elsewhere_is_noticed(tmp_path: Path, field: bytes, value: bytes, message: str) -> None:
    with pytest.raises(CorruptLog, match=message):
        open_log(patched(indexed(tmp_path / "lie.bag", ""), field, value))


def test_an_index_of_another_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedLog, match="version 9"):
        open_log(patched(indexed(tmp_path / "new.bag", ""), b"ver=", u32(9)))


def test_counts_beyond_the_file_are_refused_before_memory_is_taken(tmp_path: Path) -> None:
    path = indexed(tmp_path / "lie.bag", "")
    data = bytearray(path.read_bytes())
    data[-4:] = u32(0xFFFFFFFF)  # the last chunk's count of its last connection
    path.write_bytes(data)
    with pytest.raises(CorruptLog, match="does not fit into the file"):
        open_log(path)


def test_more_messages_than_bounded_memory_holds_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_many(tmp_path / "many.bag", 3, 10)
    monkeypatch.setattr(rosbag1_index, "MOST_MESSAGES", 33)
    open_log(path).close()
    monkeypatch.setattr(rosbag1_index, "MOST_MESSAGES", 32)
    with pytest.raises(UnsupportedLog, match="more than 32 messages") as refusal:
        open_log(path)
    assert "rosbag record --split" in (refusal.value.remedy or "")


def test_an_index_and_chunks_that_do_not_fit_together_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_many(tmp_path / "many.bag", 3, 10, sparse=5000)
    with open_log(path) as log:
        rows = sum(stream.rows for stream in log.streams)
    largest = 10 * len(message(0, 0, b"1234")) + len(message(1, 0, u32(7)) + message(0, 5, bytes(5000)))
    monkeypatch.setattr(rosbag1_rows, "_MOST_HELD_BYTES", 20 * rows + 3 * 256 + 2 * largest)
    open_log(path).close()
    monkeypatch.setattr(rosbag1_rows, "_MOST_HELD_BYTES", 20 * rows + 3 * 256 + 2 * largest - 1)
    with pytest.raises(UnsupportedLog, match="more than bounded memory holds"):
        open_log(path)


@pytest.mark.parametrize("kind", ["bz2", "lz4"])
def test_bytes_behind_a_compressed_chunk_are_noticed(tmp_path: Path, kind: str) -> None:
    data = message(0, 5, b"abcd")
    for behind in (b"", b"x"):
        bag = Bag(tmp_path / "bag.bag", {0: b"/a"})
        bag.chunk(data, {0: np.array([(0, 5, 0)], ENTRY)}, COMPRESSED[kind](data) + behind, kind.encode())
        bag.close()
        if not behind:
            assert ours(tmp_path / "bag.bag") == [("/a", 5, b"abcd")]
            continue
        with pytest.raises(CorruptLog, match="ends elsewhere"):
            open_log(tmp_path / "bag.bag")


WORK = """
def work(path):
    with open_log(path) as log:
        return sum(batch.num_rows for stream in log.streams for batch in log.read(stream.name, decode=False))
"""


@pytest.mark.soak
@pytest.mark.parametrize(
    ("chunks", "messages", "sparse", "sorted_times"),
    [
        (620, 16_000, 0, True),  # close to the most messages
        (620, 16_000, 0, False),
        (2_000, 10, 700_000, True),  # a topic of one small message a chunk, in a file beyond the budget
        (3, 10, 200 << 20, True),  # single messages of 200 MiB
    ],
)
def test_any_bag_stays_within_the_budget(
    tmp_path: Path, chunks: int, messages: int, sparse: int, *, sorted_times: bool
) -> None:
    small = write_many(tmp_path / "small.bag", 3, 10)
    large = write_many(tmp_path / "large.bag", chunks, messages, sparse=sparse, sorted_times=sorted_times)
    rows, peak_bytes = measured(WORK, small, large)
    assert rows == chunks * (messages + 1 + bool(sparse))
    assert peak_bytes < BUDGET_BYTES


@pytest.mark.soak
def test_large_messages_of_a_sqlite_bag_stay_within_the_budget(tmp_path: Path) -> None:
    small = write_sqlite(tmp_path / "small.db3", 10)
    large = write_sqlite(tmp_path / "large.db3", 200 << 20)
    rows, peak_bytes = measured(WORK, small, large)
    assert rows == 3
    assert peak_bytes < BUDGET_BYTES


def write_sqlite(path: Path, size: int) -> Path:
    with sqlite3.connect(path) as bag:
        bag.execute("CREATE TABLE topics (id INTEGER, name TEXT, type TEXT, serialization_format TEXT)")
        bag.execute("INSERT INTO topics VALUES (1, '/a', 'std_msgs/msg/UInt8MultiArray', 'cdr')")
        bag.execute("CREATE TABLE messages (id INTEGER PRIMARY KEY, topic_id INTEGER, timestamp INTEGER, data BLOB)")
        for row in range(3):
            message = struct.pack("<4xIII", 0, 0, size) + bytes(size)
            bag.execute("INSERT INTO messages VALUES (?, 1, ?, ?)", (row, row, message))
    bag.close()
    return path
