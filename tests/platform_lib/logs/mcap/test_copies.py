"""A damaged MCAP in which a chunk lies twice: what the index does not list is left out, what nothing tells is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from mcap.reader import make_reader
from mcap.records import ChunkIndex
from mcap.writer import CompressionType, Writer

from platform_lib.errors import CorruptLog
from platform_lib.logs import open_log

CHUNKS, ROWS = 4, 5


def log_of_equal_chunks(path: Path) -> list[ChunkIndex]:
    """Write chunks of one length and different messages; return the index."""
    with path.open("wb") as stream:
        writer = Writer(stream, chunk_size=160, compression=CompressionType.NONE, enable_data_crcs=False)
        writer.start()
        channel = writer.register_channel("/a", "raw", 0)
        for number in range(CHUNKS * ROWS):
            writer.add_message(channel, number, b"%08d" % number, number, number)
        writer.finish()
    with path.open("rb") as stream:
        summary = make_reader(stream).get_summary()
    assert summary is not None
    found: list[ChunkIndex] = summary.chunk_indexes
    return found


def times(path: Path) -> tuple[list[int], list[str]]:
    with open_log(path, recover=True) as log:
        found = [time for batch in log.read("/a") for time in batch.column(0).to_pylist()]
        assert log.report.recovered
        return found, [text for text in log.report.problems if "byte for byte" in text]


def test_a_write_that_went_astray_gives_no_row_twice(tmp_path: Path) -> None:
    path = tmp_path / "log.mcap"
    index = log_of_equal_chunks(path)
    one, other = next((a, b) for at, a in enumerate(index) for b in index[at + 1 :] if a.chunk_length == b.chunk_length)
    data = bytearray(path.read_bytes())
    begin, stop = one.chunk_start_offset, one.chunk_start_offset + one.chunk_length
    data[other.chunk_start_offset : other.chunk_start_offset + other.chunk_length] = data[begin:stop]
    path.write_bytes(data)
    with pytest.raises(CorruptLog):
        open_log(path)
    found, told = times(path)
    lost = set(range(other.message_start_time, other.message_end_time + 1))
    assert found == sorted(set(range(CHUNKS * ROWS)) - lost)
    assert told == [
        f"the chunk at byte {other.chunk_start_offset} is byte for byte the one at byte {begin}; "
        "it is left out, since the index does not list it"
    ]


def test_a_copy_that_no_index_tells_from_its_like_is_named(tmp_path: Path) -> None:
    path = tmp_path / "log.mcap"
    index = log_of_equal_chunks(path)
    data = path.read_bytes()
    begin, stop = index[0].chunk_start_offset, index[0].chunk_start_offset + index[0].chunk_length
    end = index[1].chunk_start_offset
    path.write_bytes(data[:end] + data[begin:stop])  # the end of the file, and with it the index, is not there
    first = list(range(index[0].message_start_time, index[0].message_end_time + 1))
    found, told = times(path)
    assert found == sorted(first * 2)
    assert told == [f"the chunk at byte {end} is byte for byte the one at byte {begin}; its messages are given twice"]


def test_chunks_that_only_look_alike_are_no_copies(tmp_path: Path) -> None:
    path = tmp_path / "log.mcap"
    with path.open("wb") as stream:
        writer = Writer(stream, chunk_size=40, compression=CompressionType.NONE, enable_data_crcs=False)
        writer.start()
        channel = writer.register_channel("/a", "raw", 0)
        for number in range(6):
            writer.add_message(channel, 7, b"%08d" % number, 7, 0)
        writer.finish()
    path.write_bytes(path.read_bytes()[:-8])
    assert times(path) == ([7] * 6, [])
