"""MCAP files are read in bounded memory: with very many chunks, and with messages that are large."""

from __future__ import annotations

import random
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from mcap.writer import CompressionType
from mcap_chunks import PAYLOAD, write_large_messages, write_many_chunks
from mcap_layouts import all_rows, expected_rows, open_file
from peak_memory import BUDGET_BYTES, measured

from platform_lib.errors import CorruptLog, UnsupportedLog
from platform_lib.logs.mcap import chunks, extent_reader, extent_table, rows, summary
from platform_lib.logs.mcap.extent_table import Extent, ExtentTable

COMPRESSIONS = {"zstd": CompressionType.ZSTD, "lz4": CompressionType.LZ4, "none": CompressionType.NONE}
WORK = """
def work(path):
    with open_log(path) as log:
        return sum(batch.num_rows for _, batch in log.read_all())
"""


@pytest.mark.parametrize(("channels", "lazily"), [(1, False), (1, True), (5, True)])
def test_a_chunk_more_costs_less_than_a_hundred_bytes(tmp_path: Path, channels: int, lazily: bool) -> None:
    found = []
    for count in (200, 1000):
        path = write_many_chunks(tmp_path / "many.mcap", count, channels)
        tracemalloc.start()
        with open_file(path, lazily=lazily):
            found.append(tracemalloc.get_traced_memory()[0])
            tracemalloc.stop()
    assert (found[1] - found[0]) / 800 < 72 + 6 * channels + 30  # arrays grow ahead by an eighth


def test_many_chunks_are_the_reference_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summary, "_PIECE_BYTES", 1000)  # the summary comes in many pieces
    monkeypatch.setattr(extent_table, "_BLOCK", 64)
    path = write_many_chunks(tmp_path / "many.mcap", 300, 3)
    expected = expected_rows(path)
    for lazily in (False, True):
        with open_file(path, lazily=lazily) as log:
            assert all_rows(log) == expected
            assert [(item.rows, item.start_ns, item.stop_ns) for item in log.streams] == [(300, 1000, 1300)] * 3
            assert {name: len(found) for name, found in all_rows(log, start_ns=1100, stop_ns=1107).items()} == {
                "/t0": 7, "/t1": 7, "/t2": 7,
            }  # fmt: skip
    data = bytearray(path.read_bytes())
    data[-40] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptLog):
        open_file(path, lazily=True)


def test_more_chunks_than_memory_is_for_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_many_chunks(tmp_path / "many.mcap", 100)
    monkeypatch.setattr(extent_table, "MOST_TABLE_BYTES", 100 * 80)
    with open_file(path, lazily=True) as log:
        assert log.stream("/t0").rows == 100
    monkeypatch.setattr(extent_table, "MOST_TABLE_BYTES", 50 * 80)
    for lazily in (False, True):
        with pytest.raises(UnsupportedLog, match=r"more than 5\d chunks or runs") as refusal:
            open_file(path, lazily=lazily)
        assert "chunks of a few MiB" in refusal.value.remedy


def test_extents_are_kept_as_they_were_added() -> None:
    table = ExtentTable()
    added = [Extent(10 * at, 9, None, at, at + 5, 9, checked=(None, False, True)[at % 3]) for at in (3, 1, 2, 1)]
    for at, extent in enumerate(added):
        table.add(extent, [at, 65_535])
    assert [table[rank] for rank in range(4)] == added
    assert np.flatnonzero(table.holding([2])).tolist() == [2]
    assert np.flatnonzero(table.used()).tolist() == [0, 1, 2, 3, 65_535]
    table.sort()
    assert list(table) == [added[3], added[2], added[0]]  # of two at one place the later one
    assert np.flatnonzero(table.holding([3])).tolist() == [0]
    table.pop()
    assert list(table) == [added[3], added[2]]


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_large_chunks_are_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compression: str) -> None:
    monkeypatch.setattr(extent_reader, "LARGE_BYTES", 1000)
    monkeypatch.setattr(rows, "MOST_MEMORY_BYTES", 1000)
    message = random.Random(2).randbytes(5 << 20) + bytes(3 << 20)  # noqa: S311 - content that half compresses
    path = write_large_messages(tmp_path / "large.mcap", COMPRESSIONS[compression], message, overlap=True)
    expected = expected_rows(path)
    with open_file(path, lazily=True) as log:
        assert all_rows(log) == expected
        assert [row.as_py() for batch in log.read("/image") for row in batch.column("data")] == [message] * 4
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with open_file(path, lazily=True) as log, pytest.raises(CorruptLog, match="chunk"):
        all_rows(log)


def test_gathering_takes_the_earliest_messages_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks overlap so much that times are gathered first, and there are more of them than are gathered at once."""
    path = tmp_path / "wide.mcap"
    with path.open("wb") as stream:
        from mcap.writer import Writer

        writer = Writer(stream, chunk_size=600)
        writer.start()
        topics = [writer.register_channel(name, "raw", 0) for name in ("/a", "/b")]
        for number in range(500):
            writer.add_message(topics[number % 2], number * 7919 % 500 // 2, b"%d" % number * 9, number)
        writer.finish()
    monkeypatch.setattr(rows, "MOST_WAITING_BYTES", 0)
    monkeypatch.setattr(rows, "SLAB_BYTES", 2000)
    expected = expected_rows(path)
    for most in (1 << 20, 100, 37):
        monkeypatch.setattr(rows, "MOST_GATHERED", most)
        with open_file(path, lazily=True) as log:
            assert all_rows(log) == expected
            found = all_rows(log, start_ns=20, stop_ns=200)
            assert found == {name: [row for row in all_ if 20 <= row[0] < 200] for name, all_ in expected.items()}
    monkeypatch.setattr(rows, "MOST_GATHERED", 1)
    with open_file(path, lazily=True) as log, pytest.raises(UnsupportedLog, match="of the same time"):
        all_rows(log, start_ns=5)


def test_a_chunk_too_large_for_two_at_once_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_large_messages(tmp_path / "large.mcap", CompressionType.ZSTD, bytes(50_000), overlap=False)
    monkeypatch.setattr(chunks, "MOST_CHUNK_BYTES", 40_000)
    with open_file(path, lazily=True) as log, pytest.raises(UnsupportedLog, match="at most 40000 are read") as refusal:
        all_rows(log)
    assert "chunks of a few MiB" in refusal.value.remedy


@pytest.mark.soak
@pytest.mark.parametrize("overlap", [False, True])
@pytest.mark.parametrize("noise", [False, True])
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_messages_of_200_mib_stay_within_the_budget(
    tmp_path: Path, compression: str, noise: bool, overlap: bool
) -> None:
    message = random.Random(2).randbytes(200 << 20) if noise else bytes(200 << 20)  # noqa: S311 - no secret
    kind = COMPRESSIONS[compression]
    small = write_large_messages(tmp_path / "small.mcap", kind, b"abc", overlap=overlap)
    large = write_large_messages(tmp_path / "large.mcap", kind, message, overlap=overlap)
    found, peak_bytes = measured(WORK, small, large)
    assert found == (12 if overlap else 4)
    assert peak_bytes < BUDGET_BYTES


@pytest.mark.soak
@pytest.mark.parametrize(("count", "channels"), [(1_500_000, 1), (300_000, 20)])
def test_a_million_chunks_stay_within_the_budget(tmp_path: Path, count: int, channels: int) -> None:
    small = write_many_chunks(tmp_path / "small.mcap", 1000, channels)
    large = write_many_chunks(tmp_path / "large.mcap", count, channels)
    found, peak_bytes = measured(WORK, small, large)
    assert found == count * channels
    assert len(PAYLOAD) == 4
    assert peak_bytes < BUDGET_BYTES
