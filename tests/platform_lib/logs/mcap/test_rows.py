from __future__ import annotations

import random
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mcap.writer import CompressionType, Writer
from mcap_layouts import LAYOUTS, Rows, all_rows, expected_rows, open_file, write_layout

from platform_lib.errors import ConfigError, CorruptLog
from platform_lib.logs.mcap import rows as module
from platform_lib.logs.mcap.rows import waiting_bytes
from platform_lib.logs.mcap.table import topic_lookup

CACHES = ("SLAB_BYTES", "MOST_WAITING_BYTES", "CACHE_BYTES")


def one_by_one(path: Path, *, lazily: bool, **window: Any) -> Rows:
    with open_file(path, lazily=lazily) as log:
        return {
            stream.name: [
                tuple(row.values())
                for batch in log.read(stream.name, decode=False, **window)
                for row in batch.to_pylist()
            ]
            for stream in log.streams
        }


@pytest.mark.parametrize("lazily", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_reference_rows(tmp_path: Path, layout: str, lazily: bool) -> None:
    path = write_layout(tmp_path / "log.mcap", layout)
    expected = expected_rows(path)
    with open_file(path, lazily=lazily) as log:
        assert all_rows(log) == expected
        for stream in log.streams:
            times = [row[0] for row in expected[stream.name]]
            assert (stream.rows, stream.start_ns, stream.stop_ns) == (len(times), times[0], times[-1] + 1)
        (attachment,) = log.attachments
        assert (attachment.name, attachment.media_type, attachment.size_bytes) == ("cal.json", "application/json", 60)
        assert attachment.load() == b"{}" * 30
    assert one_by_one(path, lazily=lazily) == expected


@pytest.mark.parametrize("jitter", [0, 7, 31, 63])
@pytest.mark.parametrize("most_waiting_bytes", [1 << 20, 0])
def test_order_across_chunks_with_small_slabs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jitter: int, most_waiting_bytes: int
) -> None:
    """Chunks overlap more and more; with no room to wait, the index comes first."""
    for name, value in zip(CACHES, (2048, most_waiting_bytes, 4096), strict=True):
        monkeypatch.setattr(module, name, value)
    path = write_layout(tmp_path / "log.mcap", "lz4", messages=300, jitter=jitter)
    expected = expected_rows(path)
    with open_file(path, lazily=True) as log:
        assert all_rows(log) == expected
    window = {"start_ns": 1200, "stop_ns": 2200}
    wanted = {name: [row for row in rows if 1200 <= row[0] < 2200] for name, rows in expected.items()}
    with open_file(path, lazily=True) as log:
        assert all_rows(log, **window) == wanted
    assert one_by_one(path, lazily=True, **window) == wanted


def test_each_chunk_is_opened_once_for_all_topics(tmp_path: Path) -> None:
    path = write_layout(tmp_path / "log.mcap", "zstd", messages=400)
    with open_file(path, lazily=True) as log:
        source = log._source._store._source
        before = source.bytes_fetched
        all_rows(log)
        assert source.bytes_fetched - before <= path.stat().st_size


def test_a_message_of_the_far_past_in_every_chunk_does_not_hold_everything_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_WAITING_BYTES", 8192)
    monkeypatch.setattr(module, "CACHE_BYTES", 8192)
    path = tmp_path / "latched.mcap"
    with path.open("wb") as stream:
        writer = Writer(stream, chunk_size=2048, compression=CompressionType.LZ4)
        writer.start()
        channel = writer.register_channel("/tf", "raw", 0)
        for number in range(400):
            writer.add_message(channel, 0 if number % 10 == 0 else 1000 + number, b"%d" % number * 20, 1)
        writer.finish()
    with open_file(path, lazily=True) as log:
        assert all_rows(log) == expected_rows(path)


def test_overlap_is_counted_in_the_order_of_opening() -> None:
    def waiting(*spans: tuple[int, int]) -> int:
        start, stop = np.array(spans, np.uint64).T
        return waiting_bytes(start, stop, np.full(len(spans), 10, np.uint64))

    assert waiting((0, 9), (10, 19), (20, 29)) == 0
    assert waiting((0, 10), (10, 19), (20, 29)) == 10
    assert waiting((0, 99), (1, 99), (2, 99), (3, 99)) == 30
    assert waiting_bytes(*(np.zeros(0, np.uint64),) * 3) == 0


def test_a_flipped_bit_in_a_chunk_is_found_when_its_rows_are_asked_for(tmp_path: Path) -> None:
    path = write_layout(tmp_path / "log.mcap", "plain")
    data = bytearray(path.read_bytes())
    payload = expected_rows(path)["/a"][20][2]
    data[data.index(payload)] ^= 1
    path.write_bytes(data)
    with open_file(path, lazily=True) as log, pytest.raises(CorruptLog, match="checksum"):
        all_rows(log)
    with pytest.raises(CorruptLog, match="checksum"):
        open_file(path)


def test_reading_a_closed_log_is_refused(tmp_path: Path) -> None:
    with open_file(write_layout(tmp_path / "log.mcap", "zstd")) as log:
        attachment = log.attachments[0]
    with pytest.raises(ConfigError, match="closed"):
        log.read_all()
    with pytest.raises(ConfigError, match="closed"):
        attachment.load()


def test_a_small_topics_batches_do_not_hold_the_chunks_they_came_from(tmp_path: Path) -> None:
    path = tmp_path / "log.mcap"
    with path.open("wb") as stream:
        writer = Writer(stream, chunk_size=64 << 10, compression=CompressionType.NONE)
        writer.start()
        large, small = (writer.register_channel(name, "raw", 0) for name in ("/large", "/small"))
        for number in range(400):
            writer.add_message(large, number, bytes(10_000), 1)
            writer.add_message(small, number, b"seventeen letters", 1)
        writer.finish()
    with open_file(path, lazily=True) as log:
        held = [batch for name, batch in log.read_all(decode=False) if name == "/small"]
        held += list(log.read("/small", decode=False))
    assert sum(batch.num_rows for batch in held) == 800
    assert sum(buffer.size for batch in held for buffer in batch["data"].buffers() if buffer) < 100_000


def test_a_file_of_as_many_topics_as_there_are_channel_numbers(tmp_path: Path) -> None:
    """Numbers of topics reach into those that mark channels left out: the marks move away."""
    path = tmp_path / "many.mcap"
    with path.open("wb") as stream:
        writer = Writer(stream)
        writer.start()
        schema = writer.register_schema(
            "s", "jsonschema", b'{"type": "object", "properties": {"x": {"type": "number"}}}'
        )
        for number in range(65_535):
            channel = writer.register_channel(f"/t{number}", "json", schema)
            writer.add_message(channel, 1_000_000_000 + number, b'{"x": %d}' % number, number)
        writer.finish()
    with open_file(path) as log:
        assert len(log.streams) == 65_535
        for number in (0, 65_532, 65_533, 65_534):
            (batch,) = log.read(f"/t{number}")
            assert batch.column("x").to_pylist() == [number]


def test_marks_of_channels_are_no_topics_number() -> None:
    for last in (0, 65_533, 65_534):
        lookup = topic_lookup([1, 2, 3], {0: [1], last: [2]})
        left_out, undefined = int(lookup[3]), int(lookup[4])
        assert lookup[2] == last
        assert len({0, last, left_out, undefined}) == (3 if last == 0 else 4)
    assert topic_lookup([1], {65_533: [1]}).dtype == "uint16", "sixteen bits are sorted faster"


def test_threads_that_read_one_log_at_once_do_not_share_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CACHE_BYTES", 0)
    path = tmp_path / "large.mcap"
    noise = random.Random(3)  # noqa: S311 - bytes that do not compress, no secret
    with path.open("wb") as stream:
        writer = Writer(stream, compression=CompressionType.ZSTD, chunk_size=100_000)
        writer.start()
        schema = writer.register_schema(
            "s", "jsonschema", b'{"type": "object", "properties": {"x": {"type": "number"}}}'
        )
        channel = writer.register_channel("/a", "json", schema)
        for number in range(8000):
            data = b'{"x": %d, "p": "%s"}' % (number, noise.randbytes(150).hex().encode())
            writer.add_message(channel, 1_000_000_000 + number, data, number)
        writer.finish()
    found: list[object] = []
    with open_file(path, lazily=True) as log:

        def read() -> None:
            for _ in range(5):
                try:
                    found.append([x for batch in log.read("/a") for x in batch.column("x").to_pylist()])
                except CorruptLog as error:
                    found.append(error)

        threads = [threading.Thread(target=read) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == [list(range(8000))] * 30
