"""What somebody met who used `drivetrain log` for the first time, with the manual alone."""

from __future__ import annotations

import json
import os
import resource
import signal
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bags import write_bag, write_bag1
from mdf4_writer import Channel, Data, Group, time_channel, write_mdf4
from rosbags.rosbag2 import StoragePlugin
from typer.testing import CliRunner

from platform_lib.errors import ConfigError, CorruptLog, PlatformError, StoppedError, UsageError
from platform_lib.logs import open_log
from platform_lib.logs.commands import app
from platform_lib.logs.members import member
from platform_lib.logs.pages import number, shown_words

BY_HAND = "nothing in it can be read without what is damaged"


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def drive(path: Path, rows: int = 3, groups: int = 2) -> Path:
    layout = [time_channel(), Channel("speed", 4, 64, 8)]
    table = np.repeat(np.arange(float(rows)), 2).tobytes()
    return write_mdf4(path, [Data([Group(layout, rows, 16, name=f"g{at}")], data=table) for at in range(groups)])


# -- what is named wrongly -----------------------------------------------------------------------------------------


def test_a_zone_that_is_none_is_refused_by_a_log_that_needs_none(mcap_maker: Any, tmp_path: Path) -> None:
    for path in (mcap_maker.write(), drive(tmp_path / "drive.mf4")):
        with pytest.raises(ConfigError, match="no time zone 'Nowhere/X'") as caught:
            open_log(path, timezone="Nowhere/X")
        assert str(caught.value.where).startswith("--timezone")
        open_log(path, timezone="Europe/Berlin").close()


@pytest.mark.parametrize(
    ("content", "what", "remedy"),
    [
        (b'VERSION ""\n\nNS_ :\n', "a CAN database", "--dbc FILE"),
        (b"<?xml version='1.0'?><AUTOSAR>", "an XML document", "--arxml FILE"),
        (b"\x1f\x8b\x08\x00more", "compressed by gzip", "unpack it"),
        (b"\x28\xb5\x2f\xfdmore", "compressed by zstd", "unpack it"),
        (b"PK\x03\x04more", "a zip archive", "unpack it"),
        (bytes(4000), "nothing but zeros", "fetch the file again"),
        (b"a,b\n1,2\n", "it starts with", "MDF 3/4, MCAP"),
    ],
)
def test_a_file_that_is_no_log_is_called_what_it_is(tmp_path: Path, content: bytes, what: str, remedy: str) -> None:
    path = tmp_path / "drive.mf4"
    path.write_bytes(content)
    with pytest.raises(CorruptLog, match=what) as caught:
        open_log(path)
    assert remedy in str(caught.value.remedy)


def test_an_address_without_a_bucket_stays_as_it_was_written(mcap_maker: Any) -> None:
    with pytest.raises(ConfigError, match="not an object's address") as caught:
        open_log("s3://")
    assert caught.value.where == "s3://"
    with pytest.raises(ConfigError, match="local folders") as caught:
        run("export", mcap_maker.write(), "--out", "s3://bucket/x")
    assert caught.value.where == "s3://bucket/x"


def test_one_text_in_the_place_of_several_is_taken_or_refused(tmp_path: Path) -> None:
    path = drive(tmp_path / "drive.mf4")
    with open_log(path) as log, pytest.raises(ConfigError, match="are one text") as caught:
        log.read("0:g0", columns="speed")
    assert "columns=['speed']" in str(caught.value.remedy)
    with pytest.raises(ConfigError, match="No such file") as caught:
        open_log(path, dbc="/nowhere.dbc")
    assert caught.value.where == "/nowhere.dbc"
    with pytest.raises(ConfigError, match="an empty path"):
        open_log("")


def test_streams_are_named_by_patterns_and_files_are_no_streams(tmp_path: Path) -> None:
    path = drive(tmp_path / "drive.mf4")
    done = json.loads(run("export", path, "?:g*", "g1", "--out", tmp_path / "out", "--json"))
    assert [item["stream"] for item in done["written"]] == ["0:g0", "1:g1"]
    with pytest.raises(ConfigError, match=r"no stream 'x\*'"):
        run("export", path, "x*", "--out", tmp_path / "none")
    with pytest.raises(ConfigError, match="but a file or folder") as caught:
        run("export", path, drive(tmp_path / "other.mf4"), "--out", tmp_path / "none")
    assert "one log at a time" in str(caught.value.remedy)
    assert not (tmp_path / "none").exists()


def test_nothing_raw_is_promised_of_streams_that_are_no_topics(tmp_path: Path) -> None:
    path = drive(tmp_path / "drive.mf4")
    for arguments in (("head", path, "g0", "--raw"), ("export", path, "--raw", "--out", tmp_path / "out")):
        with pytest.raises(UsageError, match="0:g0 is no topic"):
            run(*arguments)


def test_databases_that_describe_nothing_are_not_passed_over(
    write_can: Any, frames_type: Any, mcap_maker: Any, tmp_path: Path
) -> None:
    base = tmp_path / "x.dbc"
    base.write_text('VERSION ""\nBU_: A\nBO_ 256 Speed: 8 A\n SG_ speed : 0|8@1+ (1,0) [0|0] "" A\n')
    assert "note: the log has no bus frames" in run("info", mcap_maker.write(), "--dbc", base)
    frames = [np.arange(5) * 0.01, np.full(5, 256), np.zeros(5, np.uint8), np.zeros((5, 8), np.uint8), np.full(5, 8)]
    path = write_can(frames_type(*frames))
    shown = run("info", path, "--dbc", f"CAN2={base}")
    assert "hint: the databases named describe none of the bus frames" in shown
    assert "hint" not in run("info", path, "--dbc", base)
    with pytest.raises(ConfigError, match="not a CAN database") as caught:
        open_log(path, dbc=[drive(tmp_path / "drive.mf4")])
    assert str(caught.value).isprintable()


# -- what is shown -------------------------------------------------------------------------------------------------


def test_a_member_is_asked_for_as_it_is_shown(mcap_maker: Any) -> None:
    path = mcap_maker.write()
    (row,) = json.loads(run("head", path, "/a", "-n", 1, "-c", "header.stamp.sec", "-c", "path[]", "--json"))["rows"]
    (whole,) = json.loads(run("head", path, "/a", "-n", 1, "--json"))["rows"]
    assert row == {
        "timestamp_ns": whole["timestamp_ns"],
        "header.stamp.sec": whole["header"]["stamp"]["sec"],
        "path[]": whole["path"],
    }
    assert "header.frame_id" in run("head", path, "/a", "-c", "header.frame_id")
    for name in ("header.nothing", "path.x", "x.y"):
        with pytest.raises(ConfigError, match=f"no column '{name}'"):
            run("head", path, "/a", "-c", name)


def test_a_channel_whose_name_has_dots_comes_before_a_member(tmp_path: Path) -> None:
    layout = [time_channel(), Channel("a.b", 4, 64, 8)]
    path = write_mdf4(tmp_path / "drive.mf4", [Data([Group(layout, 1, 16, name="g")], data=bytes(16))])
    with open_log(path) as log:
        assert member(log.streams[0].schema, "a.b").path == ()
    assert json.loads(run("head", path, "g", "-c", "a.b", "--json"))["rows"][0]["a.b"] == 0.0


def test_integers_are_whole_and_different_words_differ(mcap_maker: Any) -> None:
    assert (number(1_586_866_239), number(1_586_866_239.5), number(2.0)) == ("1586866239", "1.587e+09", "2")
    shown = run("info", mcap_maker.write(), "--stream", "/a")
    assert "binary, lengths" in shown
    told = [f"Publishing: Hello, world {at}" for at in range(3)]
    assert shown_words(told) == ["'Publis...orld 0'", "'Publis...orld 1'", "'Publis...orld 2'"]
    assert shown_words(["short", *told[:1]]) == ["'short'", "'Publishing: H...'"]


def test_an_empty_window_is_told_where_the_rows_lie(tmp_path: Path) -> None:
    path = drive(tmp_path / "drive.mf4")
    shown = run("export", path, "--out", tmp_path / "out", "--start", 100)
    assert "hint: no row of 2 streams lies in that window; they lie from" in shown
    assert "hint" not in run("export", path, "--out", tmp_path / "all")


# -- what goes wrong in an export ----------------------------------------------------------------------------------


@contextmanager
def largest_file(size_bytes: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("name", ["a/b", "a/b/drive.mcap"])
def test_an_export_that_fails_says_so_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    path = drive(tmp_path / "drive.mf4", rows=50_000)
    with largest_file(10_000), pytest.raises(PlatformError, match="File too large") as caught:
        run("export", path, "--out", tmp_path / name)
    assert caught.value.where == str(tmp_path / name)
    assert str(caught.value.remedy).startswith("nothing was written: raise the limit")
    assert [item.name for item in tmp_path.iterdir()] == ["drive.mf4"]


def test_a_folder_that_was_there_stays(tmp_path: Path) -> None:
    path = drive(tmp_path / "drive.mf4", rows=50_000)
    (tmp_path / "out").mkdir()
    with largest_file(10_000), pytest.raises(PlatformError):
        run("export", path, "--out", tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_an_export_as_tables_makes_no_folder_called_like_a_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the file's name says mcap, the command parquet"):
        run("export", drive(tmp_path / "drive.mf4"), "--to", "parquet", "--out", tmp_path / "x.mcap")
    assert not (tmp_path / "x.mcap").exists()


# The signal may come between the opening of a file and its name: then the collector closes it, and says so.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupted_export_says_what_is_true_and_leaves_nothing(tmp_path: Path) -> None:
    path, out = drive(tmp_path / "drive.mf4", rows=400_000), tmp_path / "out"
    ended = threading.Event()

    def interrupt() -> None:
        while not ended.is_set():
            if out.is_dir() and any(out.iterdir()):
                os.kill(os.getpid(), signal.SIGINT)
                return
            time.sleep(0.001)

    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with pytest.raises(StoppedError) as caught:
            run("export", path, "--to", "csv", "--out", out)
    finally:
        ended.set()
        thread.join()
    assert (caught.value.where, caught.value.exit_status) == (str(path), 130)
    assert "no file is there by half" in str(caught.value.remedy)
    assert not out.exists()


# -- what is damaged -----------------------------------------------------------------------------------------------


def test_a_damaged_history_of_edits_costs_no_row(tmp_path: Path) -> None:
    path = drive(tmp_path / "drive.mf4")
    data = bytearray(path.read_bytes())
    struct.pack_into("<Q", data, 64 + 24 + 8, len(data) + 4096)
    path.write_bytes(data)
    with pytest.raises(CorruptLog, match="##FH"):
        open_log(path)
    with open_log(path, recover=True) as log:
        assert [stream.rows for stream in log.streams] == [3, 3]
        assert (log.report.recovered, log.report.bytes_lost) == (True, 0)


def test_a_bag_that_was_cut_says_so_and_offers_no_recovery_in_vain(tmp_path: Path) -> None:
    path = write_bag1(tmp_path / "drive.bag", None)
    path.write_bytes(path.read_bytes()[:6000])
    with pytest.raises(CorruptLog, match="the file was cut: its index should begin at byte"):
        open_log(path)
    with pytest.raises(CorruptLog) as caught:
        run("info", path)
    with pytest.raises(CorruptLog, match="no chunk of this bag is whole") as again:
        run("info", path, "--recover")
    assert BY_HAND in str(caught.value.remedy)
    assert BY_HAND in str(again.value.remedy)


def test_what_a_cut_took_of_a_bag_is_counted_once(tmp_path: Path) -> None:
    folder = write_bag(tmp_path / "bag", StoragePlugin.SQLITE3, count=2000)
    (part,) = folder.glob("*.db3")
    whole = part.stat().st_size
    part.write_bytes(part.read_bytes()[: whole // 2])
    with open_log(part, recover=True) as log:
        assert sum(stream.rows for stream in log.streams) > 0
        assert whole // 2 <= log.report.bytes_lost <= whole


def test_every_topic_that_a_missing_part_held_is_named(tmp_path: Path) -> None:
    folder = write_bag(tmp_path / "bag", StoragePlugin.SQLITE3)
    with open_log(folder) as log:
        names = [stream.name for stream in log.streams]
    next(folder.glob("*.db3")).unlink()
    with open_log(folder, recover=True) as log:
        for name in names:
            assert any(f"messages of {name}, its files hold 0" in text for text in log.report.problems)
