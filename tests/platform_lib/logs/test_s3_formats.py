"""Bags and MDF 3 on an object store: read as the files are, with no more fetched than is said."""

from __future__ import annotations

import json
import sqlite3
import struct
import tempfile
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from asammdf import MDF, Signal
from bag1_bytes import write_many
from bags import write_bag, write_bag1
from mcap.writer import CompressionType, Writer
from mdf4_writer import Channel, Data, Group, time_channel, write_mdf4
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import CompressionMode, StoragePlugin
from rosbags.typesys import Stores, get_typestore
from s3_objects import BUCKET, put, put_folder
from typer.testing import CliRunner

from platform_lib.errors import ConfigError, CorruptLog, UnsupportedLog
from platform_lib.logs import Log, open_log, rosbag1_rows, scratch
from platform_lib.logs.bytes_source import open_source
from platform_lib.logs.commands import app
from platform_lib.logs.mcap import fetching
from platform_lib.logs.mdf import open_mdf
from platform_lib.logs.mdf4 import inflate
from platform_lib.logs.rosbag1 import open_bag1

pytestmark = pytest.mark.slow  # a server, and an AWS client per test


def rows(log: Log) -> dict[str, list[dict[str, Any]]]:
    return {item.name: [row for batch in log.read(item.name) for row in batch.to_pylist()] for item in log.streams}


def same(address: str, path: Path, **options: Any) -> None:
    """Assert that an address reads as the file does."""
    with open_log(address, **options) as there, open_log(path, **options) as here:
        assert there.streams == here.streams
        found = rows(there)
        assert found == rows(here)
        assert any(found.values())


@pytest.fixture
def scratch_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_a_sqlite_bag_is_read_from_a_copy_that_is_named_and_gone(
    bucket: Any, tmp_path: Path, scratch_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path,) = write_bag(tmp_path / "bag", StoragePlugin.SQLITE3).glob("*.db3")
    address = put(bucket, "one.db3", path.read_bytes())
    same(address, path)
    with open_log(address) as log:
        size = path.stat().st_size
        assert log.report.notes == [
            f"one.db3: read from a temporary copy of all its {size} bytes under {scratch_folder}"
        ]
        assert not list(scratch_folder.iterdir())
        assert len(rows(log)["/text"]) == 10
    with pytest.raises(CorruptLog) as caught:
        open_log(put(bucket, "cut.db3", path.read_bytes()[:-5000]))
    assert caught.value.where == f"s3://{BUCKET}/cut.db3"
    monkeypatch.setattr(scratch, "_KEPT_FREE_BYTES", 1 << 60)
    with pytest.raises(ConfigError, match="more room than there is"):
        open_log(address)
    monkeypatch.setattr(scratch, "MOST_COPIED_BYTES", path.stat().st_size - 1)
    with pytest.raises(UnsupportedLog, match=f"of {path.stat().st_size} bytes no temporary copy") as refused:
        open_log(address)
    assert "aws s3 cp" in str(refused.value.remedy)
    assert not list(scratch_folder.iterdir())


def test_rows_in_a_write_ahead_log_beside_the_object_are_not_missed(bucket: Any, tmp_path: Path) -> None:
    (path,) = write_bag(tmp_path / "bag", StoragePlugin.SQLITE3).glob("*.db3")
    writer = sqlite3.connect(path)
    writer.execute("PRAGMA journal_mode=WAL")
    writer.execute("INSERT INTO messages (topic_id, timestamp, data) SELECT topic_id, 5000, data FROM messages LIMIT 1")
    writer.commit()
    address = put(bucket, "wal.db3", path.read_bytes())
    with open_log(address) as log:
        assert sum(stream.rows for stream in log.streams) == 20
    put(bucket, "wal.db3-wal", path.with_name(path.name + "-wal").read_bytes())
    writer.close()
    with open_log(address) as log:
        assert sum(stream.rows for stream in log.streams) == 21


@pytest.mark.parametrize("compression", [None, Writer1.CompressionFormat.LZ4])
def test_a_ros1_bag_reads_as_the_file(bucket: Any, tmp_path: Path, compression: Any) -> None:
    path = write_bag1(tmp_path / "log.bag", compression)
    same(put(bucket, "log.bag", path.read_bytes()), path)


def write_topics(path: Path) -> Path:
    """A bag of 20 topics, each of which fills chunks of its own."""
    store = get_typestore(Stores.ROS1_NOETIC)
    kind = store.types["std_msgs/msg/UInt8MultiArray"]
    layout = store.types["std_msgs/msg/MultiArrayLayout"](dim=[], data_offset=0)
    writer = Writer1(path)
    with writer:
        topics = [writer.add_connection(f"/t{at}", kind.__msgtype__, typestore=store) for at in range(20)]
        for burst in range(100):
            for step in range(8):
                message = kind(layout=layout, data=np.full(8 << 10, burst, np.uint8))
                data = store.serialize_ros1(message, kind.__msgtype__)
                writer.write(topics[burst % 20], 1_000_000_000 + 1000 * burst + step, data)
            writer.write_chunk(writer.chunks[-1])
    return path


def test_one_topic_of_a_ros1_bag_costs_its_own_chunks(bucket: Any, tmp_path: Path) -> None:
    path = write_topics(tmp_path / "twenty.bag")
    whole = path.stat().st_size
    source = open_source(put(bucket, "twenty.bag", path.read_bytes()))
    with Log(source.name, open_bag1(source, recover=False)) as log:
        assert source.bytes_fetched < 0.6 * whole  # the index lies behind each chunk
        before, asked = source.bytes_fetched, source.requests
        assert sum(batch.num_rows for batch in log.read("/t7")) == log.stream("/t7").rows == 40
        assert source.bytes_fetched - before < whole / 18
        assert source.requests - asked == 5
        assert "when they are read" in log.report.unverified[1]
    same(source.name, path)


def test_damage_in_a_chunk_of_a_ros1_bag_is_found_when_it_is_read(bucket: Any, tmp_path: Path) -> None:
    path = write_topics(tmp_path / "hurt.bag")
    data = bytearray(path.read_bytes())
    at = data.index(b"time=", data.index(b"op=\x02"))
    data[at + 5] ^= 1  # one message's time: no checksum covers it, the index contradicts it
    path.write_bytes(data)
    with pytest.raises(CorruptLog, match="its index says"):
        open_log(path)
    with open_log(path, recover=True) as log:
        assert (log.report.recovered, log.stream("/t0").rows) == (True, 32)
    with open_log(put(bucket, "hurt.bag", bytes(data))) as log:
        assert sum(batch.num_rows for batch in log.read("/t1")) == 40
        with pytest.raises(CorruptLog, match="its index says"):
            list(log.read("/t0"))


@pytest.mark.parametrize("plugin", [StoragePlugin.SQLITE3, StoragePlugin.MCAP])
@pytest.mark.parametrize("mode", [None, CompressionMode.FILE])
def test_a_bag_folder_reads_as_the_local_one(bucket: Any, tmp_path: Path, plugin: Any, mode: Any) -> None:
    folder = write_bag(tmp_path / "bag", plugin, compression=mode)
    address = put_folder(bucket, f"bags/{plugin.value}-{mode}", folder)
    same(address if mode is None else f"{address}/", folder)


def test_bag_folders_that_are_not_whole_are_refused(bucket: Any, tmp_path: Path) -> None:
    folder = write_bag(tmp_path / "bag", StoragePlugin.MCAP)
    address = put_folder(bucket, "partial", folder)
    bucket.delete_object(Bucket=BUCKET, Key="partial/bag.mcap")
    with pytest.raises(CorruptLog, match="a file of the bag is missing") as caught:
        open_log(address)
    assert caught.value.where == f"{address}/bag.mcap"
    with open_log(address, recover=True) as log:
        assert log.report.recovered
    with pytest.raises(UnsupportedLog, match=r"without metadata\.yaml"):
        open_log(f"s3://{BUCKET}/nowhere/")
    with pytest.raises(ConfigError, match="no such object"):
        open_log(f"s3://{BUCKET}/nowhere")


def test_a_bag_folder_is_described(bucket: Any, tmp_path: Path) -> None:
    folder = write_bag(tmp_path / "bag", StoragePlugin.SQLITE3)
    address = put_folder(bucket, "described", folder)
    for arguments in ([], ["--json"]):
        result = CliRunner().invoke(app, ["info", address, *arguments], catch_exceptions=False)
        assert result.exit_code == 0
    assert {item["rows"] for item in json.loads(result.stdout)["streams"]} == {10}


@pytest.fixture
def mdf3(tmp_path: Path) -> Path:
    time = np.arange(20_000) * 0.01
    with warnings.catch_warnings(), MDF(version="3.30") as mdf:
        warnings.simplefilter("ignore")
        mdf.header.start_time = datetime(2026, 6, 1, 8, tzinfo=UTC)
        for group in range(10):
            values = [Signal(np.sin(time + at), time, name=f"s{group}_{at}", unit="m/s") for at in range(3)]
            mdf.append(values, comment=f"group{group}", common_timebase=True)
        path = tmp_path / "old.mdf"
        mdf.save(path, overwrite=True)
    return path


def test_an_mdf3_object_reads_as_the_file(bucket: Any, mdf3: Path) -> None:
    same(put(bucket, "old.mdf", mdf3.read_bytes()), mdf3, timezone="UTC")
    with pytest.raises(CorruptLog, match="block is not there"):
        open_log(put(bucket, "cut.mdf", mdf3.read_bytes()[:-100]), timezone="UTC")


def test_one_group_of_an_mdf3_object_costs_its_own_records(bucket: Any, mdf3: Path) -> None:
    whole = mdf3.stat().st_size
    source = open_source(put(bucket, "costs.mdf", mdf3.read_bytes()))
    with Log(source.name, open_mdf(source, dbc=(), arxml=(), recover=False, timezone="UTC")) as log:
        assert source.bytes_fetched < 0.2 * whole
        assert sum(batch.num_rows for batch in log.read("3:group3")) == 20_000
        assert source.bytes_fetched < 0.5 * whole  # its records twice: for the time, and for the rest
        assert log.stream("3:group3").start_ns == 1_780_300_800_000_000_000
        assert source.requests < 40


def test_a_group_that_asammdf_reads_is_read_from_an_object_too(
    bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inflate, "MOST_BLOCK_BYTES", 1000)
    layout = [time_channel(), Channel("v", 0, 8, 8)]
    data = b"".join(struct.pack("<dB", row, row % 256) for row in range(500))
    large = Data([Group(layout, 500, 9, name="a")], data, storage="DT+DZ", columns=9)
    path = write_mdf4(tmp_path / "log.mf4", [large, Data([Group(layout, 500, 9, name="b")], data)])
    address = put(bucket, "large.mf4", path.read_bytes())
    same(address, path)
    with open_log(address) as log:
        assert log.report.readers == {"0:a": "reference", "1:b": "fast"}


def test_a_large_chunk_of_a_ros1_bag_is_fetched_in_parts(
    bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_many(tmp_path / "large.bag", 3, 10, sparse=100_000)
    address = put(bucket, "large.bag", path.read_bytes())
    monkeypatch.setattr(rosbag1_rows, "_AT_ONCE_BYTES", 50_000)
    monkeypatch.setattr(rosbag1_rows, "_PART_BYTES", 20_000)
    monkeypatch.setattr(fetching, "_MOST_GROUP_BYTES", 20_000)
    with open_log(address) as there, open_log(path) as here:
        assert list(there.read("/many", decode=False)) == list(here.read("/many", decode=False))
    source = open_source(address)
    largest = 0
    read_at = source.read_at

    def watched(offset: int, length: int) -> bytes:
        nonlocal largest
        largest = max(largest, length)
        return read_at(offset, length)

    monkeypatch.setattr(source, "read_at", watched)
    with Log(source.name, open_bag1(source, recover=False)) as log:
        assert sum(batch.num_rows for batch in log.read("/many", decode=False)) == 33
    assert largest <= 32 << 10  # what the index is read in


def test_a_large_uncompressed_chunk_of_an_mcap_is_read(bucket: Any, tmp_path: Path) -> None:
    path = tmp_path / "large.mcap"
    with path.open("wb") as stream:
        writer = Writer(stream, compression=CompressionType.NONE)
        writer.start()
        channel = writer.register_channel("/a", "bytes", 0)
        writer.add_message(channel, 5, bytes(33 << 20), 5)
        writer.finish()
    with open_log(put(bucket, "large.mcap", path.read_bytes())) as log:
        (batch,) = log.read("/a", decode=False)
        assert len(batch["data"][0].as_py()) == 33 << 20
