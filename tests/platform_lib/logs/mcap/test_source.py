from __future__ import annotations

import random
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from mcap.reader import NonSeekingReader, make_reader
from mcap.writer import CompressionType, IndexType, Writer
from mcap_layouts import all_rows, open_file

from platform_lib.errors import CorruptLog, PlatformError
from platform_lib.logs import open_log

Rows = dict[str, list[tuple[int, int | None, bytes]]]
LAYOUTS: dict[str, dict[str, Any]] = {
    "zstd": {},
    "lz4": {"compression": CompressionType.LZ4},
    "plain": {"compression": CompressionType.NONE},
    "no chunks": {"use_chunking": False},
    "no index": {"index_types": IndexType.NONE, "use_statistics": False, "use_summary_offsets": False},
    "no summary": {
        "index_types": IndexType.NONE,
        "use_statistics": False,
        "use_summary_offsets": False,
        "repeat_channels": False,
        "repeat_schemas": False,
    },
}


def ours(path: Path, *, recover: bool = False) -> Rows:
    rows: Rows = {}
    with open_log(path, recover=recover) as log:
        for stream in log.streams:
            rows[stream.name] = [
                (row["timestamp_ns"], row["publish_ns"], row["data"])
                for batch in log.read(stream.name, decode=False)
                for row in batch.to_pylist()
            ]
            assert len(rows[stream.name]) == stream.rows
    return rows


def reference(path: Path) -> Rows:
    rows: Rows = defaultdict(list)
    with path.open("rb") as stream:
        reader = make_reader(stream, validate_crcs=True)
        for _, channel, message in reader.iter_messages():
            rows[channel.topic].append((message.log_time, message.publish_time, message.data))
    return dict(rows)


def same(found: Rows, expected: Rows) -> bool:
    return {name: rows for name, rows in found.items() if rows} == expected


@pytest.mark.parametrize("layout", LAYOUTS)
def test_equals_the_reference_reader_in_every_layout(mcap_maker: Any, layout: str) -> None:
    path = mcap_maker.write(**LAYOUTS[layout])
    with path.open("rb") as stream:
        rows: Rows = defaultdict(list)
        for _, channel, message in NonSeekingReader(stream, validate_crcs=True).iter_messages():
            rows[channel.topic].append((message.log_time, message.publish_time, message.data))
    assert same(ours(path), rows)


def test_equals_the_reference_reader_on_real_files(real_logs: Path) -> None:
    files = sorted((real_logs / "mcap").glob("*.mcap"))
    assert files
    for path in files:
        assert same(ours(path), reference(path)), path.name
        for lazily in (False, True):
            with open_file(path, lazily=lazily) as log:
                assert same(all_rows(log), reference(path)), path.name


def test_the_comparison_notices_one_wrong_value(mcap_maker: Any) -> None:
    path = mcap_maker.write()
    found, expected = ours(path), reference(path)
    time, publish, data = found["/a"][5]
    for wrong in ((time + 1, publish, data), (time, publish, data[:-1] + b"\x55"), (time, 0, data)):
        assert not same(found | {"/a": [*found["/a"][:5], wrong, *found["/a"][6:]]}, expected)
    assert not same(found | {"/a": found["/a"][:-1]}, expected)


def test_a_window_is_half_open(mcap_maker: Any) -> None:
    path = mcap_maker.write()
    times = [row[0] for row in reference(path)["/a"]]
    with open_log(path) as log:
        stream = log.stream("/a")
        assert (stream.start_ns, stream.stop_ns) == (times[0], times[-1] + 1)
        got = [t for b in log.read("/a", start_ns=times[3], stop_ns=times[9]) for t in b["timestamp_ns"].to_pylist()]
    assert got == times[3:9]


def test_metadata_and_definitions_are_given(mcap_maker: Any, point_definition: str) -> None:
    with open_log(mcap_maker.write()) as log:
        assert log.metadata == {"vehicle": "dt-001", "session": "s1"}
        stream = log.stream("/a")
        assert (stream.message_type, stream.schema_text) == ("drive_msgs/msg/Point", point_definition)
        assert log.report.readers == {"/a": "fast", "/b": "fast"}
        assert (log.report.problems, log.report.unverified) == ([], [])


@pytest.mark.parametrize("layout", ["zstd", "lz4", "plain", "no chunks"])
def test_damage_is_refused_and_never_changes_a_row(mcap_maker: Any, layout: str, tmp_path: Path) -> None:
    data = mcap_maker.write(**LAYOUTS[layout]).read_bytes()
    expected = ours(tmp_path / "log.mcap")
    broken = tmp_path / "broken.mcap"
    rng = random.Random(11)  # noqa: S311 - seeded faults
    for step in range(90):
        at = rng.randrange(len(data))
        damaged = bytearray(data[:at]) if step % 3 == 0 else bytearray(data)
        if step % 3 == 1:
            damaged[at] ^= 1 << rng.randrange(8)
        if step % 3 == 2:
            damaged[at : at + 64] = bytes(len(damaged[at : at + 64]))
        if damaged == data:
            continue
        broken.write_bytes(damaged)
        try:
            assert ours(broken) == expected, (step, at)
        except PlatformError:
            assert bytes(damaged) != data
        try:
            whole = ours(broken, recover=True)
        except PlatformError:
            continue
        for name, rows in whole.items():
            assert set(rows) <= set(expected[name]), (step, at)


def test_a_cut_file_gives_its_whole_chunks_on_request_and_says_so(mcap_maker: Any) -> None:
    path = mcap_maker.write(enable_data_crcs=False)
    complete = ours(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(CorruptLog, match="cut or never finished"):
        open_log(path)
    with open_log(path, recover=True) as log:
        assert log.report.recovered
        assert log.report.bytes_lost > 0
        assert log.report.problems
        kept = sum(stream.rows for stream in log.streams)
    assert 0 < kept < sum(map(len, complete.values()))


def test_a_flipped_chunk_costs_that_chunk_alone(mcap_maker: Any) -> None:
    path = mcap_maker.write(enable_data_crcs=False)
    with path.open("rb") as stream:
        summary = make_reader(stream).get_summary()
    assert summary is not None
    lost = summary.chunk_indexes[1]
    data = bytearray(path.read_bytes())
    data[lost.chunk_start_offset + lost.chunk_length // 2] ^= 4
    complete = ours(path)
    path.write_bytes(data)
    with pytest.raises(CorruptLog):
        open_log(path)
    kept = ours(path, recover=True)
    with open_log(path, recover=True) as log:
        assert log.report.bytes_lost == lost.chunk_length
    missing = [row for name, rows in complete.items() for row in rows if row not in kept[name]]
    assert missing
    assert all(lost.message_start_time <= row[0] <= lost.message_end_time for row in missing)


def test_without_a_data_checksum_the_report_says_what_is_not_covered(mcap_maker: Any) -> None:
    path = mcap_maker.write(enable_data_crcs=False, enable_crcs=False)
    with open_log(path) as log:
        assert any("chunks have no checksum" in line for line in log.report.unverified)


def test_a_lost_message_is_noticed_by_the_recorders_count(tmp_path: Path) -> None:
    path = tmp_path / "short.mcap"
    with path.open("wb") as stream:
        writer = Writer(stream, compression=CompressionType.NONE, enable_crcs=False)
        writer.start()
        channel = writer.register_channel("/x", "raw", 0)
        for number in range(4):
            writer.add_message(channel, number, b"abcdefgh", number)
        writer.finish()
    data = path.read_bytes()
    message = data.index(b"\x05" + (30).to_bytes(8, "little"))
    path.write_bytes(data[:message] + b"\x85" + data[message + 1 :])  # a private record: to be skipped by readers
    with pytest.raises(CorruptLog, match="time range"):
        open_log(path)


def test_unknown_encodings_stay_raw_and_the_report_says_so(real_logs: Path) -> None:
    with open_log(real_logs / "mcap/wrong_rmw_test_0.mcap") as log:
        assert log.streams[0].schema.names == ["timestamp_ns", "publish_ns", "data"]
        assert any("wrong_format" in line for line in log.report.problems)


def test_payload_views_outlive_the_log(mcap_maker: Any) -> None:
    path = mcap_maker.write()
    with open_log(path) as log:
        batches = list(log.read("/a", decode=False))
    del log
    for batch in batches:
        batch.validate(full=True)
    assert [row["data"] for batch in batches for row in batch.to_pylist()] == [row[2] for row in reference(path)["/a"]]
