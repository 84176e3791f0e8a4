from __future__ import annotations

import csv
import fcntl
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mcap.writer import Writer
from mdf4_writer import Channel, Data, Group, time_channel, write_mdf4

from platform_lib.errors import ConfigError, CorruptLog, HomeBusyError, UnsupportedLog
from platform_lib.logs import open_log
from platform_lib.logs.door import Log
from platform_lib.logs.export import tables
from platform_lib.logs.export.exporting import export_log
from platform_lib.logs.export.model import Export, Form
from platform_lib.logs.model import Window


def quiet(_name: str, _rows: int) -> None:
    pass


def run(log: Log, out: Path, form: Form | None = None, **options: Any) -> Export:
    settings = {"window": Window(), "decode": True, "force": False, "note": quiet} | options
    return export_log(log, settings.pop("streams", log.streams), out, form, **settings)


def speeds(path: Path, rows: int = 500, name: str = "g") -> Path:
    layout = [time_channel(), Channel("speed", 4, 64, 8, unit="km/h")]
    data = np.column_stack([np.arange(rows) * 0.01, np.arange(rows)]).astype("<f8").tobytes()
    return write_mdf4(path, [Data([Group(layout, rows, 16, name=name)], data=data)])


def test_parquet_holds_what_is_read_and_what_it_means(tmp_path: Path) -> None:
    with open_log(speeds(tmp_path / "drive.mf4")) as log:
        done = run(log, tmp_path / "out")
        expected = pa.Table.from_batches(log.read("0:g"))
    (written,) = done.written
    assert (written.path, written.rows) == (tmp_path / "out/0_g.parquet", 500)
    found = pq.read_table(written.path)
    assert found.replace_schema_metadata() == expected.replace_schema_metadata()
    assert found.schema.field("speed").metadata[b"unit"] == b"km/h"
    assert found.schema.metadata[b"drivetrain.stream"] == b"0:g"
    file = pq.ParquetFile(written.path)
    assert file.metadata.row_group(0).column(1).compression == "ZSTD"
    assert json.loads(file.metadata.metadata[b"drivetrain.health"])["recovered"] is False


def _values(table: pa.Table, *, hollow: bool) -> list[str]:
    """Return every row as text, in which NaN is equal to itself."""
    return [repr(tables._hollow(row) if hollow else row) for row in table.to_pylist()]


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["mdf4", "mcap", "rosbag2_sqlite"])
def test_every_real_log_is_the_same_in_parquet(real_logs: Path, tmp_path: Path, folder: str) -> None:
    for path in sorted((real_logs / folder).iterdir()):
        with open_log(path, timezone="UTC") as log:
            done = run(log, tmp_path / f"{path.name} out")
            for item in done.written:
                found = pq.read_table(item.path)
                expected = pa.Table.from_batches(log.read(item.stream), log.stream(item.stream).schema)
                assert _values(found, hollow=False) == _values(expected, hollow=True), f"{path}: {item.stream}"
                assert found.schema.names == expected.schema.names
        assert done.written


def test_row_groups_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_GROUP_BYTES", 1 << 19)
    with open_log(speeds(tmp_path / "drive.mf4", 100_000)) as log:
        (written,) = run(log, tmp_path / "out").written
    groups = pq.ParquetFile(written.path).metadata
    assert groups.num_rows == 100_000
    assert groups.num_row_groups == 2


def _payloads(path: Path, *sizes_bytes: int) -> Path:
    writer = Writer(str(path))
    writer.start()
    channel = writer.register_channel("/camera", "video", 0)
    for at, size in enumerate(sizes_bytes):
        writer.add_message(channel, at, bytes(size), at)
    writer.finish()
    return path


@pytest.mark.parametrize(("form", "most_bytes"), [(Form.PARQUET, 64 << 20), (Form.CSV, 16 << 20)])
def test_a_row_too_large_for_bounded_memory_is_refused(tmp_path: Path, form: Form, most_bytes: int) -> None:
    with open_log(_payloads(tmp_path / "fits.mcap", 9, most_bytes - 64, 9)) as log:
        assert run(log, tmp_path / "fits", form).written[0].rows == 3
    with open_log(_payloads(tmp_path / "over.mcap", 9, most_bytes + 64, 9)) as log:
        with pytest.raises(UnsupportedLog, match="a row of stream '/camera' takes"):
            run(log, tmp_path / "over", form)
    assert not list(tmp_path.glob("over/*"))


def test_payloads_have_no_dictionary_and_everything_else_has(tmp_path: Path) -> None:
    with open_log(_payloads(tmp_path / "raw.mcap", 9, 9)) as log:
        (written,) = run(log, tmp_path / "raw").written
    group = pq.ParquetFile(written.path).metadata.row_group(0)
    columns = [group.column(place) for place in range(group.num_columns)]
    told = {item.path_in_schema: (item.has_dictionary_page, item.is_stats_set) for item in columns}
    assert told["data"] == (False, False)
    assert told["timestamp_ns"] == (True, True)
    nested = pa.schema(
        [("pose", pa.struct([("x", pa.float64()), ("raw", pa.large_binary())])), ("tags", pa.list_(pa.string()))]
    )
    assert tables._leaves(nested) == {"pose.x", "pose.raw", "tags.list.element"}


def test_topics_that_wait_together_are_bounded(
    mcap_maker: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "_MOST_HELD_BYTES", 1)
    with open_log(mcap_maker.write()) as log:
        done = run(log, tmp_path / "out")
        for item in done.written:
            expected = pa.Table.from_batches(log.read(item.stream))
            assert pq.read_table(item.path).to_pylist() == expected.to_pylist()


def test_csv_has_units_in_its_head_and_nested_values_as_json(mcap_maker: Any, tmp_path: Path) -> None:
    with open_log(speeds(tmp_path / "drive.mf4", 3)) as log:
        (written,) = run(log, tmp_path / "out", Form.CSV).written
    assert written.path.read_text().splitlines()[0] == '"timestamp_ns","speed [km/h]"'
    with open_log(mcap_maker.write()) as log:
        (written,) = run(log, tmp_path / "out", Form.CSV, streams=[log.stream("/a")]).written
        expected = [row for batch in log.read("/a") for row in batch.to_pylist()]
    with written.path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [json.loads(row["header"]) for row in rows] == [row["header"] for row in expected]
    assert [bytes.fromhex(row["blob"]) for row in rows] == [row["blob"] for row in expected]


def test_a_window_and_nothing_in_it(tmp_path: Path) -> None:
    with open_log(speeds(tmp_path / "drive.mf4")) as log:
        start_ns = log.streams[0].start_ns
        assert start_ns is not None
        window = Window(start_ns + 1_000_000_000, start_ns + 2_000_000_000)
        assert run(log, tmp_path / "some", window=window).written[0].rows == 100
        assert run(log, tmp_path / "none", window=Window(0, 1)).written[0].rows == 0
    assert pq.read_table(tmp_path / "none/0_g.parquet").num_rows == 0


def test_more_topics_than_are_open_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_MOST_OPEN", 3)
    path = tmp_path / "many.mcap"
    with path.open("wb") as stream:
        writer = Writer(stream)
        writer.start()
        for number in range(10):
            channel = writer.register_channel(f"/t{number}", "json", 0)
            writer.add_message(channel, number, b"{}", number)
        writer.finish()
    with open_log(path) as log:
        done = run(log, tmp_path / "out")
    assert [pq.read_table(item.path)["timestamp_ns"].to_pylist() for item in done.written] == [[at] for at in range(10)]


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with open_log(speeds(tmp_path / "drive.mf4")) as log:
        run(log, out)
        before = (out / "0_g.parquet").stat().st_ino
        with pytest.raises(ConfigError, match="--force"):
            run(log, out)
        assert (out / "0_g.parquet").stat().st_ino == before
        run(log, out, force=True)
        assert (out / "0_g.parquet").stat().st_ino != before


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_one_stream_goes_into_a_file_of_that_name(tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"speeds{suffix}"
    with open_log(speeds(tmp_path / "drive.mf4")) as log:
        done = run(log, out, streams=log.streams[:1], form=None)
        assert out.is_file()
        assert [item.path for item in done.written] == [out]
        with pytest.raises(ConfigError, match="do not fit into one file"):
            run(log, tmp_path / f"two{suffix}", streams=[*log.streams[:1], *log.streams[:1]], form=None)
        other = Form.CSV if suffix == ".parquet" else Form.PARQUET
        with pytest.raises(ConfigError, match="the file's name says"):
            run(log, tmp_path / f"other{suffix}", streams=log.streams[:1], form=other)
    assert not (tmp_path / f"two{suffix}").exists()


def test_places_where_nothing_can_go(tmp_path: Path) -> None:
    with open_log(speeds(tmp_path / "drive.mf4")) as log:
        with pytest.raises(ConfigError, match="local folders"):
            run(log, Path("s3://bucket/key"))
        (tmp_path / "out/0_g.parquet").mkdir(parents=True)
        with pytest.raises(ConfigError, match="in the way"):
            run(log, tmp_path / "out", force=True)
        with pytest.raises(ConfigError, match="no streams"):
            run(log, tmp_path / "out", streams=[])


def test_one_export_at_a_time(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    other = os.open(out, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    with open_log(speeds(tmp_path / "drive.mf4")) as log:
        with pytest.raises(HomeBusyError):
            run(log, out)
        os.close(other)
        run(log, out)


def test_a_log_that_breaks_while_read_leaves_nothing(mcap_maker: Any, tmp_path: Path) -> None:
    log = open_log(mcap_maker.write(messages=400))
    real = log.read_all

    def breaks(*arguments: Any, **options: Any) -> Any:
        yield next(real(*arguments, **options))
        raise CorruptLog("planted")

    log.read_all = breaks  # type: ignore[method-assign]  # the planted fault
    with log, pytest.raises(CorruptLog, match="planted"):
        run(log, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def empty_parts(path: Path, message_encoding: str, schema_encoding: str, definition: bytes, data: bytes) -> Path:
    with path.open("wb") as stream:
        writer = Writer(stream)
        writer.start()
        schema = writer.register_schema("a/msg/Out", schema_encoding, definition)
        channel = writer.register_channel("/t", message_encoding, schema)
        writer.add_message(channel, 1, data, 1)
        writer.finish()
    return path


def test_empty_messages_inside_messages_are_nulls_in_parquet(tmp_path: Path) -> None:
    definition = b"In inner\nEmpty[2] two\nint8 x\n===\nMSG: a/In\nEmpty e\nint8 y\n===\nMSG: a/Empty\n"
    path = empty_parts(tmp_path / "a.mcap", "cdr", "ros2msg", definition, b"\0\1\0\0\0\7\0\0\5")
    with open_log(path) as log:
        (row,) = [row for batch in log.read("/t") for row in batch.to_pylist()]
        assert row["inner"] == {"e": {}, "y": 7}
        (written,) = run(log, tmp_path / "out").written
    (found,) = pq.read_table(written.path).to_pylist()
    assert found == row | {"inner": {"e": None, "y": 7}, "two": [None, None]}


def export_command(path: Path, out: Path) -> list[str]:
    return [sys.executable, "-m", "platform_lib.cli", "log", "export", str(path), "--out", str(out)]


@pytest.mark.slow
def test_a_disk_that_takes_no_more_is_an_error_with_its_place(tmp_path: Path) -> None:
    path = speeds(tmp_path / "drive.mf4", 30_000)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    out = tmp_path / "out"
    done = subprocess.run(export_command(path, out), capture_output=True, text=True, preexec_fn=limit, check=False)
    assert done.returncode == 1
    assert "File too large" in done.stderr
    assert str(out) in done.stderr
    assert "Traceback" not in done.stderr
    assert "ignored" not in done.stderr
    assert not out.exists()


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_an_export_that_is_killed_leaves_no_half_file(tmp_path: Path, how: signal.Signals) -> None:
    path, out = speeds(tmp_path / "drive.mf4", 1_000_000), tmp_path / "out"
    process = subprocess.Popen(export_command(path, out), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    limit_s = time.monotonic() + 60
    while process.poll() is None and not list(out.glob(".tmp-*")) and time.monotonic() < limit_s:
        time.sleep(0.005)
    process.send_signal(how)
    process.communicate()
    assert process.returncode in (-how, 128 + how)
    assert not (out / "0_g.parquet").exists()
    if how == signal.SIGINT:
        assert not out.exists()
    with open_log(speeds(tmp_path / "drive.mf4", 10)) as log:
        run(log, out)
    assert [item.name for item in out.iterdir()] == ["0_g.parquet"]  # what the killed one left is gone
