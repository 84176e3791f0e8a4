"""ROS 1 bags with bytes changed or cut off: refused, or the same messages at the same times."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from bags import write_bag1
from rosbags.rosbag1 import Writer
from rosbags.typesys import Stores, get_typestore

from platform_lib.errors import CorruptLog, UnsupportedLog
from platform_lib.logs import open_log

CASES = 250


def times(path: Path, *, recover: bool = False) -> dict[str, list[int]]:
    with open_log(path, recover=recover) as log:
        return {
            stream.name: [time for batch in log.read(stream.name, decode=False) for time in batch[0].to_pylist()]
            for stream in log.streams
        }


@pytest.mark.parametrize("compression", [None, Writer.CompressionFormat.LZ4, Writer.CompressionFormat.BZ2])
def test_a_changed_bag_is_refused_or_has_the_same_messages(tmp_path: Path, compression: Any) -> None:
    path = write_bag1(tmp_path / "log.bag", compression)
    data = path.read_bytes()
    expected = times(path)
    rng = random.Random(5)  # noqa: S311 - the same cases every time
    read = refused = 0
    for _ in range(CASES):
        changed = bytearray(data)
        for _ in range(rng.choice((1, 1, 4))):
            changed[rng.randrange(13, len(data))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        path.write_bytes(changed[: rng.randrange(len(data))] if rng.random() < 0.1 else changed)
        try:
            found = times(path)
        except (CorruptLog, UnsupportedLog):
            refused += 1
            continue
        read += 1
        assert list(found.values()) == list(expected.values())
    assert read > CASES // 50
    assert refused > CASES // 4


def chunked(path: Path, compression: Any) -> Path:
    """A bag of ten chunks and two topics, whose message numbers tell where they are."""
    store = get_typestore(Stores.ROS1_NOETIC)
    text, number = store.types["std_msgs/msg/String"], store.types["std_msgs/msg/UInt32"]
    writer = Writer(path)
    writer.chunk_threshold = 400
    if compression is not None:
        writer.set_compression(compression)
    with writer:
        one = writer.add_connection("/text", "std_msgs/msg/String", typestore=store)
        two = writer.add_connection("/number", "std_msgs/msg/UInt32", typestore=store)
        for step in range(60):
            message = text(f"message {step}") if step % 3 else number(step)
            kind = "std_msgs/msg/String" if step % 3 else "std_msgs/msg/UInt32"
            writer.write(one if step % 3 else two, 1_000 + (step ^ 1), store.serialize_ros1(message, kind))
    return path


def rows(path: Path, *, recover: bool = False) -> tuple[Counter[str], bool]:
    with open_log(path, recover=recover) as log:
        found = Counter(
            f"{stream.name} {row}"
            for stream in log.streams
            for batch in log.read(stream.name)
            for row in batch.to_pylist()
        )
        assert log.report.recovered == bool(log.report.bytes_lost or log.report.problems)
        return found, log.report.recovered


@pytest.mark.parametrize("compression", [None, Writer.CompressionFormat.LZ4, Writer.CompressionFormat.BZ2])
@pytest.mark.parametrize("zeros", [False, True])
def test_a_bag_without_its_end_gives_its_whole_chunks(tmp_path: Path, compression: Any, *, zeros: bool) -> None:
    path = chunked(tmp_path / "log.bag", compression)
    data = path.read_bytes()
    expected, _ = rows(path)
    counts = []
    for length in range(0, len(data), 97):
        path.write_bytes(data[:length] + bytes(len(data) - length if zeros else 0))
        with pytest.raises(CorruptLog):
            open_log(path)
        try:
            found, recovered = rows(path, recover=True)
        except CorruptLog:
            counts.append(0)
            continue
        assert recovered
        assert not found - expected, length
        counts.append(found.total())
    # A torn entry of the index costs the chunk that it is about, though that is whole.
    assert all(later >= earlier or later >= 55 for earlier, later in itertools.pairwise(counts))
    assert len(set(counts)) > 4
    assert max(counts) == expected.total() == 60


def test_a_recorder_that_died_left_no_index(tmp_path: Path) -> None:
    path = chunked(tmp_path / "log.bag", None)
    data = bytearray(path.read_bytes())
    expected, _ = rows(path)
    for field in (b"index_pos=", b"conn_count=", b"chunk_count="):
        at = data.index(field) + len(field)
        data[at : at + (8 if field == b"index_pos=" else 4)] = bytes(8 if field == b"index_pos=" else 4)
    path.write_bytes(data)
    with pytest.raises(CorruptLog, match="never closed"):
        open_log(path)
    assert rows(path, recover=True) == (expected, True)


@pytest.mark.parametrize("field", [b"chunk_count=", b"conn_count="])
def test_a_count_that_leaves_something_out_is_noticed(tmp_path: Path, field: bytes) -> None:
    path = chunked(tmp_path / "log.bag", None)
    data = bytearray(path.read_bytes())
    expected, _ = rows(path)
    at = data.index(field) + len(field)
    data[at] -= 1
    path.write_bytes(data)
    with pytest.raises(CorruptLog, match="do not say the same"):
        open_log(path)
    assert rows(path, recover=True) == (expected, True)


def test_of_a_walked_bag_a_chunk_that_its_index_contradicts_is_left_out(tmp_path: Path) -> None:
    path = chunked(tmp_path / "log.bag", None)
    data = path.read_bytes()
    expected, _ = rows(path)
    cut = bytearray(data[: data.index(b"index_pos=") + 10] + bytes(8) + data[data.index(b"index_pos=") + 18 :])
    at = cut.index(b"time=", cut.index(b"op=\x02"))  # of the first chunk's first message
    cut[at + 5] ^= 1
    path.write_bytes(cut)
    found, _ = rows(path, recover=True)
    assert not found - expected
    assert 0 < found.total() < expected.total()


def test_a_bag_of_an_older_version_is_not_called_damaged(tmp_path: Path) -> None:
    path = tmp_path / "old.bag"
    path.write_bytes(b"#ROSBAG V1.2\n" + bytes(200))
    with pytest.raises(UnsupportedLog, match=r"another version than 2\.0"):
        open_log(path)


def test_of_a_damaged_chunk_the_others_are_recovered(tmp_path: Path) -> None:
    path = write_bag1(tmp_path / "log.bag", None)
    data = bytearray(path.read_bytes())
    at = data.index(b"conn=", data.index(b"op=\x02"))
    data[at + 5] ^= 0x40
    path.write_bytes(data)
    with pytest.raises(CorruptLog, match="its index says"):
        open_log(path)
    with open_log(path, recover=True) as log:
        assert log.report.recovered
        assert log.report.bytes_lost > 0
        assert sum(stream.rows for stream in log.streams) == 0
