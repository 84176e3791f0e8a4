from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from accounts import as_nobody
from asammdf import MDF, Signal
from bags import write_bag, write_bag1
from mcap.writer import Writer
from mdf4_writer import Channel, Data, Group, time_channel, write_mdf4
from rosbags.rosbag2 import StoragePlugin

from platform_lib.errors import ConfigError, CorruptLog
from platform_lib.logs import LOG_SUFFIXES, READER_VERSION, Log, find_logs, open_log
from platform_lib.logs.bytes_source import LocalSource


@pytest.mark.parametrize("content", [b"", b"x", b"\0" * 4096, b"MDF", b"SQLite format 3\0rest"])
@pytest.mark.parametrize("suffix", [".mf4", ".mcap", ".bag"])
def test_what_is_no_log_is_refused(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"log{suffix}"
    path.write_bytes(content)
    for recover in (False, True):
        with pytest.raises(CorruptLog) as caught:
            open_log(path, recover=recover)
        assert caught.value.where == str(path)
        assert caught.value.remedy


def test_the_content_decides_not_the_suffix(mcap_maker: Any) -> None:
    path = mcap_maker.write("log.mf4")
    with open_log(path) as log:
        assert log.report.format == "mcap"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        open_log(tmp_path / "absent.mcap")


def test_a_closed_log_is_not_read(mcap_maker: Any) -> None:
    with open_log(mcap_maker.write()) as log:
        pass
    with pytest.raises(ConfigError, match="closed"):
        log.read("/a")


def test_one_pass_gives_the_columns_asked_for_of_each_stream(mcap_maker: Any) -> None:
    asked = {"/a": ["size", "header"], "/b": ["publish_ns"]}
    with open_log(mcap_maker.write()) as log:
        whole: dict[str, list[pa.RecordBatch]] = {}
        for name, batch in log.read_all():
            whole.setdefault(name, []).append(batch)
        some: dict[str, list[pa.RecordBatch]] = {}
        for name, batch in log.read_all(columns=asked):
            some.setdefault(name, []).append(batch)
        for name, columns in asked.items():
            expected = pa.Table.from_batches(whole[name]).select(["timestamp_ns", *columns])
            assert pa.Table.from_batches(some[name]).equals(expected)
        (batch,) = [batch for _, batch in log.read_all(["/b"], columns={"/b": ["data"]}, decode=False)]
        assert batch.schema.names == ["timestamp_ns", "data"]


def test_one_pass_gives_the_columns_asked_for_of_a_format_without_topics(tmp_path: Path) -> None:
    layout = [time_channel(), Channel("speed", 4, 64, 8), Channel("gear", 0, 8, 16)]
    groups = [Data([Group(layout, 10, 17, name=name)], data=bytes(170)) for name in ("a", "b")]
    write_mdf4(tmp_path / "log.mf4", groups)
    with open_log(tmp_path / "log.mf4") as log:
        found = {name: batch.schema.names for name, batch in log.read_all(columns={"1:b": ["gear", "speed"]})}
    assert found == {"0:a": ["timestamp_ns", "speed", "gear"], "1:b": ["timestamp_ns", "gear", "speed"]}


@pytest.mark.parametrize(
    ("names", "columns", "what"),
    [
        (None, {"/a": ["nosuch"]}, r"/a.* has no column 'nosuch'"),
        (None, {"/c": ["x"]}, r"no stream .*/c"),
        (["/a"], {"/b": ["x"]}, r"columns of stream .*/b.* are asked for, which is not read"),
    ],
)
def test_columns_that_are_not_there_are_refused(
    mcap_maker: Any, names: list[str] | None, columns: dict[str, list[str]], what: str
) -> None:
    with open_log(mcap_maker.write()) as log, pytest.raises(ConfigError, match=what) as caught:
        log.read_all(names, columns=columns)
    assert caught.value.remedy


def test_pipes_are_refused_and_links_to_nowhere_are_not_passed_over(tmp_path: Path) -> None:
    pipe, gone, loop = (tmp_path / name for name in ("pipe.mcap", "gone.mf4", "loop.mcap"))
    os.mkfifo(pipe)
    gone.symlink_to(tmp_path / "absent")
    loop.symlink_to(loop)
    assert find_logs([tmp_path]) == [gone, loop]
    with pytest.raises(ConfigError, match="not a file"):
        find_logs([pipe])
    with pytest.raises(ConfigError, match="not a file"):
        open_log(pipe)


def test_logs_are_found_once_each(tmp_path: Path) -> None:
    for name in ("a/can.mf4", "a/sensors.mcap", "b/old.MDF", "b/notes.txt", "b/.hidden.mcap", ".git/x.bag"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    bag = tmp_path / "bag"
    bag.mkdir()
    (bag / "metadata.yaml").touch()
    (bag / "bag_0.db3").touch()
    found = find_logs([tmp_path, tmp_path / "a"])
    assert found == [tmp_path / "a/can.mf4", tmp_path / "a/sensors.mcap", tmp_path / "b/old.MDF", bag]
    assert find_logs([tmp_path / "b/notes.txt"]) == [tmp_path / "b/notes.txt"]
    with pytest.raises(ConfigError, match="no such file"):
        find_logs([tmp_path / "absent"])
    assert {".mf4", ".mcap", ".db3", ".bag"} <= set(LOG_SUFFIXES)
    assert READER_VERSION


def test_links_to_folders_are_followed_each_folder_once(tmp_path: Path) -> None:
    drives, elsewhere = tmp_path / "drives", tmp_path / "elsewhere"
    for folder in (drives / "own", elsewhere / "day"):
        folder.mkdir(parents=True)
    (drives / "own/can.mf4").touch()
    (elsewhere / "day/can.mf4").touch()
    (drives / "also-own").symlink_to(drives / "own")
    (drives / "disk").symlink_to(elsewhere)
    (drives / "same-disk").symlink_to(elsewhere)
    (elsewhere / "day/circle").symlink_to(elsewhere)
    (elsewhere / "up").symlink_to(drives)
    assert find_logs([drives]) == [drives / "disk/day/can.mf4", drives / "own/can.mf4"]
    assert find_logs([drives / "disk"]) == [drives / "disk/day/can.mf4", drives / "disk/up/own/can.mf4"]


def test_a_closed_folder_is_returned_and_the_rest_found(reachable_tmp: Path) -> None:
    drives = reachable_tmp / "drives"
    for name in ("a/can.mf4", "closed/can.mf4", "listed/can.mf4"):
        (drives / name).parent.mkdir(parents=True)
        (drives / name).touch()
    (drives / "closed").chmod(0o000)
    (drives / "listed").chmod(0o644)
    with as_nobody(drives):
        assert find_logs([drives]) == [drives / "a/can.mf4", drives / "closed", drives / "listed"]
        with pytest.raises(PermissionError):
            find_logs([drives / "closed"])


def test_importing_the_door_loads_no_reader() -> None:
    program = "import sys, platform_lib.logs; print([m for m in ('asammdf', 'numpy', 'pyarrow', 'rosbags') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_json_messages_take_their_schemas_types(tmp_path: Path) -> None:
    schema = {
        "type": "object",
        "properties": {
            "speed": {"type": "number"},
            "gear": {"type": "integer"},
            "tags": {"type": "array", "items": {"type": "string"}},
            "pose": {"type": "object", "properties": {"x": {"type": "number"}}},
            "either": {"anyOf": [{"type": "number"}, {"type": "string"}]},
        },
    }
    messages = [
        {"speed": 1.5, "gear": 3, "tags": ["a"], "pose": {"x": 2.0}, "either": 1},
        {"speed": 2, "either": "s"},
    ]
    path = tmp_path / "json.mcap"
    with path.open("wb") as stream:
        writer = Writer(stream)
        writer.start()
        number = writer.register_schema("state", "jsonschema", json.dumps(schema).encode())
        typed = writer.register_channel("/state", "json", number)
        bad = writer.register_channel("/bad", "json", number)
        for time_ns, message in enumerate(messages):
            writer.add_message(typed, time_ns, json.dumps(message).encode(), time_ns)
        writer.add_message(bad, 0, b'{"gear": "third"}', 0)
        writer.finish()
    with open_log(path) as log:
        rows = [row for batch in log.read("/state") for row in batch.to_pylist()]
        with pytest.raises(CorruptLog, match="JSON"):
            list(log.read("/bad"))
    assert [row["speed"] for row in rows] == [1.5, 2.0]
    assert rows[0]["tags"] == ["a"]
    assert rows[0]["pose"] == {"x": 2.0}
    assert [row["either"] for row in rows] == ["1", '"s"']
    assert rows[1]["gear"] is None


@pytest.fixture(params=["mf4", "mdf", "mcap", "db3", "bag"])
def any_log(request: pytest.FixtureRequest, tmp_path: Path, mcap_maker: Any) -> Path:
    if request.param == "mcap":
        return Path(mcap_maker.write(messages=3000))
    if request.param == "bag":
        return write_bag1(tmp_path / "log.bag", None)
    if request.param == "db3":
        return next(write_bag(tmp_path / "bag", StoragePlugin.SQLITE3, 2000).glob("*.db3"))
    time = np.arange(100_000) * 0.001
    path = tmp_path / f"log.{request.param}"
    with warnings.catch_warnings(), MDF(version="4.10" if request.param == "mf4" else "3.30") as mdf:
        warnings.simplefilter("ignore")
        mdf.header.start_time = datetime(2026, 6, 1, 8, tzinfo=UTC)
        mdf.append([Signal(np.arange(time.size), time, name="x")], common_timebase=True)
        mdf.save(path, compression=2 if request.param == "mf4" else 0)
    return path


def test_threads_read_the_same_and_a_log_closed_meanwhile_is_not_called_damaged(any_log: Path) -> None:
    outcomes: list[str] = []

    def read(log: Log, begun: threading.Event) -> None:
        begun.set()
        try:
            for _ in range(30):
                outcomes.append(str({s.name: sum(b.num_rows for b in log.read(s.name)) for s in log.streams}))
        except ConfigError as error:
            outcomes.append(error.what)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test is to show it
            outcomes.append(repr(error))

    for _ in range(4):
        log = open_log(any_log, timezone="UTC")
        expected = str({stream.name: stream.rows for stream in log.streams})
        begun = threading.Event()
        threads = [threading.Thread(target=read, args=(log, begun)) for _ in range(3)]
        for thread in threads:
            thread.start()
        begun.wait(10)
        log.close()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()
        assert set(outcomes) <= {expected, "the log is closed"}
    assert "the log is closed" in outcomes


def test_a_file_closed_while_it_is_read_is_released_after_the_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    source = LocalSource(tmp_path / "file")
    descriptor = source._begin()
    source.close()
    assert os.pread(descriptor, 3, 0) == b"abc"
    source._end()
    with pytest.raises(OSError, match="descriptor"):
        os.fstat(descriptor)
    with pytest.raises(ConfigError, match="closed"):
        source.read_at(0, 1)
