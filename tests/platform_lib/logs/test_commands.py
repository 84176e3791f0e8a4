from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pyarrow.parquet as pq
import pytest
from mdf4_writer import Channel, Data, Group, time_channel, write_mdf4
from moto.server import ThreadedMotoServer
from typer.main import get_command
from typer.testing import CliRunner

from platform_lib.errors import ConfigError, CorruptLog, UsageError
from platform_lib.logs import open_log
from platform_lib.logs.commands import app
from platform_lib.logs.describing import Identity, identity


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_info_describes_streams_and_health(mcap_maker: Any) -> None:
    path = mcap_maker.write()
    document = json.loads(run("info", path, "--json"))
    assert {stream["name"]: stream["rows"] for stream in document["streams"]} == {"/a": 80, "/b": 40}
    assert document["metadata"]["vehicle"] == "dt-001"
    assert document["report"]["recovered"] is False
    shown = run("info", path)
    assert "/a" in shown
    assert "sound" in shown


def test_a_stream_is_named_as_info_prints_it_or_by_its_end(tmp_path: Path) -> None:
    layout = [time_channel(), Channel("speed", 4, 64, 8)]
    table = np.zeros((3, 2)).tobytes()
    groups = [Data([Group(layout, 3, 16, name=name)], data=table) for name in ("Engine", "Brake it's", "Brake")]
    path = write_mdf4(tmp_path / "drive.mf4", groups)
    shown = run("info", path)
    printed = [line.split("  ")[0] for line in shown.splitlines() if line[:2] in ("0:", "'1", "2:")]
    names = [shlex.split(item) for item in printed]
    assert names == [["0:Engine"], ["1:Brake it's"], ["2:Brake"]]
    for name in names:
        assert f"3 of 3 rows of {shlex.quote(name[0])}" in run("head", path, *name)
    assert json.loads(run("head", path, "Engine", "--json"))["stream"] == "0:Engine"
    written = json.loads(run("export", path, "Brake", "2:Brake", "--out", tmp_path / "out", "--json"))["written"]
    assert [item["stream"] for item in written] == ["2:Brake"]
    with pytest.raises(ConfigError) as caught:
        run("head", path, "Enigne")
    assert str(caught.value.remedy).startswith("did you mean 0:Engine?")
    with open_log(path) as log, pytest.raises(ConfigError, match="no stream Engine"):
        log.stream("Engine")  # a program names streams in full


def test_a_rate_is_that_of_its_rows_and_seconds(tmp_path: Path) -> None:
    times = np.delete(np.arange(101) * 0.01, range(20, 60))
    data = np.column_stack([times, times]).tobytes()
    layout = [time_channel(), Channel("speed", 4, 64, 8)]
    path = write_mdf4(tmp_path / "lossy.mf4", [Data([Group(layout, 61, 16, name="x")], data=data)])
    (stream,) = json.loads(run("info", path, "--json"))["streams"]
    assert (stream["rows"], stream["duration_s"], stream["rate_hz"]) == (61, 1.0, 60.0)
    assert stream["median_rate_hz"] == pytest.approx(100)
    assert "60 Hz (mean), 100 Hz (median)" in run("info", path, "--stream", "x")


def test_raw_bus_frames_are_hinted_at_until_a_database_is_named(
    write_can: Any, frames_type: Any, tmp_path: Path
) -> None:
    rows = 5
    frames = frames_type(
        np.arange(rows) * 0.01,
        np.full(rows, 256),
        np.zeros(rows, np.uint8),
        np.zeros((rows, 8), np.uint8),
        np.full(rows, 8),
    )
    path = write_can(frames)
    assert "hint: 5 bus frames are raw; name what describes them: --dbc FILE" in run("info", path)
    folder = tmp_path / "databases"
    folder.mkdir()
    with pytest.raises(ConfigError, match="a folder without a CAN database"):
        run("info", path, "--dbc", folder)
    (folder / "a.DBC").write_text('VERSION ""\nBO_ 256 First: 8 E\n SG_ x : 0|8@1+ (1,0) [0|0] "" E\n')
    (folder / "b.dbc").write_text('VERSION ""\nBO_ 256 Second: 8 E\n SG_ x : 0|8@1+ (1,0) [0|0] "" E\n')
    (folder / "notes.txt").write_text("no database")
    for given in (folder, f"CAN1={folder}"):
        document = json.loads(run("info", path, "--dbc", given, "--json"))
        assert document["hints"] == []
        assert "CAN1/First" in [item["name"] for item in document["streams"]]
        assert document["report"]["notes"][0].startswith(
            "identifiers that mean different messages in a.DBC and b.dbc: 1; a.DBC counts"
        )
    with pytest.raises(ConfigError, match=r"\(\.ldf\) are not read"):
        run("info", path, "--dbc", f"LIN1={tmp_path / 'doors.ldf'}")


def test_info_refuses_a_damaged_log_and_recovers_on_request(mcap_maker: Any) -> None:
    path = mcap_maker.write(enable_data_crcs=False)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(CorruptLog):
        run("info", path, "--json")
    document = json.loads(run("info", path, "--recover", "--json"))
    assert document["report"]["recovered"] is True
    assert "DAMAGED" in run("info", path, "--recover")


def test_head_shows_the_first_rows(mcap_maker: Any) -> None:
    path = mcap_maker.write()
    rows = json.loads(run("head", path, "/a", "-n", 2, "--json"))["rows"]
    assert [row["timestamp_ns"] for row in rows] == [7, 3_000_007]
    assert "blob" in rows[0]
    raw = json.loads(run("head", path, "/a", "-n", 1, "--raw", "--json"))["rows"]
    assert list(raw[0]) == ["timestamp_ns", "publish_ns", "data"]
    assert "2 of 80 rows" in run("head", path, "/a", "-n", 2)


def test_export_writes_what_is_read(mcap_maker: Any, tmp_path: Path) -> None:
    path = mcap_maker.write()
    out = tmp_path / "out"
    written = json.loads(run("export", path, "--out", out, "--json"))["written"]
    assert [entry["rows"] for entry in written] == [80, 40]
    table = pq.read_table(out / "a.parquet")
    assert table.num_rows == 80
    assert {"header", "path", "size"} <= set(table.schema.names)
    run("export", path, "/b", "--raw", "--out", out, "--force")
    assert pq.read_schema(out / "b.parquet").names == ["timestamp_ns", "publish_ns", "data"]
    assert not [item for item in out.iterdir() if item.name.startswith(".tmp-")]


def test_names_that_are_no_text_are_read_and_written(mcap_maker: Any, tmp_path: Path) -> None:
    odd = os.fsdecode(b"caf\xff \x1b[31m [bold]")
    path = mcap_maker.write().rename(tmp_path / f"{odd}.mcap")
    command = [sys.executable, "-m", "platform_lib.cli", "log", "info", path]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "caf\\udcff \\x1b[31m [bold].mcap" in shown
    assert len(json.loads(run("info", path, "--json"))["streams"]) == 2
    written = json.loads(run("export", path, "/a", "--out", tmp_path / odd, "--json"))["written"]
    assert Path(written[0]["path"]).is_file()


def test_the_three_commands_share_what_says_how_a_log_is_read() -> None:
    shared = {"--dbc", "--arxml", "--recover", "--timezone", "--json"}
    for command in get_command(app).commands.values():  # type: ignore[attr-defined]  # a group has them
        assert shared <= {name for parameter in command.params for name in parameter.opts}, command.name
        assert command.params[0].name == "file"
        assert command.help


def test_export_of_a_log_that_breaks_while_read_leaves_nothing(mcap_maker: Any, tmp_path: Path) -> None:
    path = mcap_maker.write()
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(CorruptLog):
        run("export", path, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_info_says_what_the_log_is_and_how_it_was_read(mcap_maker: Any) -> None:
    document = json.loads(run("info", mcap_maker.write(), "--json", "--deep"))
    assert (document["format"], document["version"], document["profile"]) == ("mcap", "0", "ros2")
    assert document["read"] == "every value"
    assert document["rows"] == 120
    assert document["start_utc"] == "1970-01-01T00:00:00.000000007Z"
    assert document["last_utc"] == "1970-01-01T00:00:00.119000007Z"
    stream = document["streams"][0]
    assert (stream["reader"], stream["types"]["x"], stream["stop_ns"]) == ("fast", "double", 119_000_008)


def test_info_of_one_stream_shows_its_columns(mcap_maker: Any) -> None:
    path = mcap_maker.write()
    document = json.loads(run("info", path, "--stream", "/a", "--json"))
    found = {item["name"]: item for item in document["stream"]["summaries"]}
    with open_log(path) as log:
        values = [row["x"] for batch in log.read("/a") for row in batch.to_pylist()]
    assert (found["x"]["min"], found["x"]["max"], found["x"]["values"]) == (min(values), max(values), 80)
    assert {"header.stamp.sec", "path[].x", "size[]", "label"} <= set(found)
    shown = run("info", path, "--stream", "/a")
    assert "▁" in shown or "_" in shown
    assert "publish_ns" not in shown


def test_a_course_is_ascii_where_the_terminal_is(mcap_maker: Any) -> None:
    command = [sys.executable, "-m", "platform_lib.cli", "log", "info", mcap_maker.write(), "--stream", "/a"]
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    shown = subprocess.run(command, capture_output=True, check=True, env=environment).stdout
    assert shown.isascii()
    assert b"\\u" not in shown.replace(b"\\xfc", b"")


def test_a_thing_between_two_moments(mcap_maker: Any, tmp_path: Path) -> None:
    path = mcap_maker.write()
    assert " rows of /a in that window; they lie from 1970-01-01T00:00:00.000000007Z to " in run(
        "head", path, "/a", "--start", "500"
    )
    by_seconds = json.loads(run("head", path, "/a", "--start", "0.05", "--stop", "0.06", "-n", 99, "--json"))["rows"]
    assert {row["timestamp_ns"] // 1_000_000 for row in by_seconds} <= set(range(50, 60))
    iso = ("--start", "1970-01-01T00:00:00.050000007Z", "--stop", "1970-01-01T00:00:00.060000007Z")
    assert json.loads(run("head", path, "/a", *iso, "-n", 99, "--json"))["rows"] == by_seconds
    assert "x" in run("head", path, "/a", "-c", "x", "-n", 1)
    assert "label" not in run("head", path, "/a", "-c", "x", "-n", 1)
    written = json.loads(run("export", path, "/a", *iso, "--out", tmp_path, "--json"))["written"]
    assert written[0]["rows"] == len(by_seconds)


def test_export_of_a_recovered_log_says_what_was_lost(mcap_maker: Any, tmp_path: Path) -> None:
    path = mcap_maker.write(enable_data_crcs=False)
    path.write_bytes(path.read_bytes()[:-200])
    assert "DAMAGED" in run("export", path, "--recover", "--out", tmp_path / "out")
    health = json.loads(pq.ParquetFile(tmp_path / "out" / "a.parquet").metadata.metadata[b"drivetrain.health"])
    assert health["recovered"] is True


def test_pages_of_odd_logs(tmp_path: Path) -> None:
    layout = [time_channel(), *(Channel(f"c[{at}]\n\x1b[31m", 4, 64, 8 * at + 8) for at in range(900))]
    wide = np.random.default_rng(1).normal(size=(20, 901))
    wide[:, 0] = [5, 4, 3, *range(17)]
    wide[:, 1:4] = np.nan, np.inf, 1.7e308
    groups = [
        Data([Group(layout, 20, 901 * 8, name="../\n\x1b[2J")], data=wide.tobytes()),
        Data([Group(layout, 0, 901 * 8)]),
    ]
    path = write_mdf4(tmp_path / "odd.mf4", groups)
    for arguments in (
        ("info",),
        ("info", "--deep"),
        ("info", "--stream", "0:../\n\x1b[2J"),
        ("info", "--stream", "1:"),
    ):
        shown = run(arguments[0], path, *arguments[1:])
        assert "\x1b" not in shown
        json.loads(run(arguments[0], path, *arguments[1:], "--json"))
    assert "0 of 0 rows" in run("head", path, "1:")
    assert "steps back in time" in run("info", path)
    run("export", path, "--out", tmp_path / "out")
    assert sorted(item.name for item in (tmp_path / "out").iterdir()) == ["0_.._2J.parquet", "1.parquet"]


def test_a_group_of_many_channels_has_a_short_line(tmp_path: Path) -> None:
    layout = [time_channel(), *(Channel(f"c{at}", 0, 8, 8) for at in range(20_000))]
    path = write_mdf4(tmp_path / "wide.mf4", [Data([Group(layout, 1, 9, name="g")], data=bytes(9))])
    started = time.process_time()
    line = next(line for line in run("info", path).splitlines() if line.startswith("0:g"))
    assert "c0, c1, c2" in line
    assert line.split()[-1] == f"+{20_000 - line.count(' c')}"
    assert time.process_time() - started < 10  # it was quadratic


def test_identity_of_every_format() -> None:
    assert identity(b"MDF     4.10    asammdf ") == Identity("4.10", "asammdf")
    assert identity(b"#ROSBAG V2.0\n") == Identity("2.0")
    assert identity(b"SQLite format 3\0") == Identity()
    header = b"\x89MCAP0\r\n\x01" + (20).to_bytes(8, "little") + b"\4\0\0\0ros2\3\0\0\0abc"
    assert identity(header) == Identity("0", "abc", "ros2")
    assert identity(header[:25]) == Identity("0", None, "ros2")
    assert identity(header[:24]) == Identity("0")
    assert identity(b"") == Identity()


@pytest.fixture
def server() -> Iterator[ThreadedMotoServer]:
    started = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    started.start()
    yield started
    started.stop()


@pytest.mark.slow
def test_an_object_is_described_and_exported_as_the_file(
    mcap_maker: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: ThreadedMotoServer
) -> None:
    path = mcap_maker.write()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://{}:{}".format(*server.get_host_and_port()))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    client = boto3.client("s3")
    client.create_bucket(Bucket="drives")
    client.upload_file(str(path), "drives", "a//log.mcap")
    client.close()
    here, there = (json.loads(run("info", item, "--json")) for item in (path, "s3://drives/a//log.mcap"))
    assert there.pop("path") == "s3://drives/a//log.mcap"
    del here["path"], here["report"], there["report"]  # of an object it also says what was not fetched to be proven
    assert here == there
    assert "80" in run("export", "s3://drives/a//log.mcap", "/a", "--out", tmp_path / "out")


def test_any_number_of_rows_may_be_asked_for(mcap_maker: Any) -> None:
    path = mcap_maker.write()
    assert len(json.loads(run("head", path, "/a", "-n", 10**20, "--json"))["rows"]) == 80


@pytest.mark.parametrize(("start", "stop"), [("10", "5"), ("5", "5"), ("2026-06-01", "0.5")])
def test_a_window_that_ends_before_it_begins_is_refused(tmp_path: Path, mcap_maker: Any, start: str, stop: str) -> None:
    path = mcap_maker.write()
    with pytest.raises(UsageError, match="no later"):
        run("head", path, "/a", "--start", start, "--stop", stop)
    with pytest.raises(UsageError, match="no later"):
        run("export", path, "--out", tmp_path / "out", "--start", start, "--stop", stop)
    assert not (tmp_path / "out").exists()
