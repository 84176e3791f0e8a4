from __future__ import annotations

import re
import resource
import shutil
import sqlite3
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from bags import write_bag, write_bag1
from rosbags.highlevel import AnyReader
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import CompressionMode, StoragePlugin
from rosbags.typesys import Stores, get_typestore

from platform_lib.errors import CorruptLog, UnsupportedLog
from platform_lib.logs import find_logs, open_log, rosbag_sqlite

Rows = dict[str, list[tuple[int, bytes]]]


def ours(path: Path, *, recover: bool = False) -> Rows:
    with open_log(path, recover=recover) as log:
        return {
            stream.name: [
                (row["timestamp_ns"], row["data"])
                for batch in log.read(stream.name, decode=False)
                for row in batch.to_pylist()
            ]
            for stream in log.streams
            if stream.rows
        }


def reference(path: Path, store: Stores = Stores.ROS2_HUMBLE) -> Rows:
    rows: Rows = {}
    with AnyReader([path], default_typestore=get_typestore(store)) as reader:
        for connection, time_ns, data in reader.messages():
            rows.setdefault(connection.topic, []).append((time_ns, bytes(data)))
    return rows


def test_real_sqlite_bags_hold_the_same_as_their_mcap_twins(real_logs: Path) -> None:
    for name in ("talker", "cdr_test_0", "wbag_0"):
        bag = ours(real_logs / f"rosbag2_sqlite/{name}.db3")
        assert bag
        assert bag == ours(real_logs / f"mcap/{name}.mcap"), name


def test_real_sqlite_bags_decode_the_same_as_their_mcap_twins(real_logs: Path) -> None:
    for name in ("talker", "cdr_test_0", "wbag_0"):
        with (
            open_log(real_logs / f"rosbag2_sqlite/{name}.db3") as bag,
            open_log(real_logs / f"mcap/{name}.mcap") as mcap,
        ):
            for stream in mcap.streams:
                one = [r for b in bag.read(stream.name) for r in b.drop_columns(["publish_ns"]).to_pylist()]
                two = [r for b in mcap.read(stream.name) for r in b.drop_columns(["publish_ns"]).to_pylist()]
                assert one == two, (name, stream.name)


@pytest.mark.parametrize("plugin", [StoragePlugin.SQLITE3, StoragePlugin.MCAP])
def test_a_bag_folder_is_one_log(tmp_path: Path, plugin: StoragePlugin) -> None:
    folder = write_bag(tmp_path / "bag", plugin)
    assert find_logs([tmp_path]) == [folder]
    found = ours(folder)
    assert found == reference(folder)
    assert [time for time, _ in found["/text"]] == sorted(time for time, _ in found["/text"])
    with open_log(folder) as log:
        batch = next(iter(log.read("/text")))
        assert batch["data"].to_pylist()[0] == "n1"
        assert batch.schema.names == ["timestamp_ns", "publish_ns", "data"]


@pytest.mark.parametrize("plugin", [StoragePlugin.SQLITE3, StoragePlugin.MCAP])
@pytest.mark.parametrize("mode", [CompressionMode.FILE, CompressionMode.MESSAGE])
def test_compressed_bags(tmp_path: Path, plugin: StoragePlugin, mode: Any) -> None:
    plain = ours(write_bag(tmp_path / "plain", plugin))
    folder = write_bag(tmp_path / "bag", plugin, compression=mode)
    assert ours(folder) == plain
    with open_log(folder) as log:
        rows = [row for batch in log.read("/text") for row in batch.to_pylist()]
        assert {row["data"] for row in rows} == {f"n{step}" for step in range(1, 20, 2)}
        assert {name: batch.num_rows for name, batch in log.read_all()} == {"/text": 10, "/number": 10}


def test_a_compressed_file_that_was_cut_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    folder = write_bag(tmp_path / "bag", StoragePlugin.MCAP, compression=CompressionMode.FILE)
    (part,) = folder.glob("*.zstd")
    part.write_bytes(part.read_bytes()[:-20])
    with pytest.raises(CorruptLog) as refused:
        open_log(folder)
    assert part.name in str(refused.value)
    assert not list(scratch.iterdir())


def test_the_comparison_notices_a_changed_payload(tmp_path: Path) -> None:
    folder = write_bag(tmp_path / "bag", StoragePlugin.SQLITE3)
    expected = reference(folder)
    with sqlite3.connect(next(folder.glob("*.db3"))) as database:
        database.execute("UPDATE messages SET data = x'0001000000' WHERE id = 3")
    database.close()
    assert ours(folder) != expected


def split(tmp_path: Path) -> Path:
    """Two bags of the same topics as one bag of two files."""
    first, second = (write_bag(tmp_path / name, StoragePlugin.SQLITE3) for name in ("one", "two"))
    shutil.copy(next(second.glob("*.db3")), first / "second.db3")
    path = first / "metadata.yaml"
    document = yaml.safe_load(path.read_text())
    bag = document["rosbag2_bagfile_information"]
    bag["relative_file_paths"].append("second.db3")
    bag["message_count"] *= 2
    for topic in bag["topics_with_message_count"]:
        topic["message_count"] *= 2
    path.write_text(yaml.safe_dump(document))
    return first


def test_split_bags_are_joined_in_time_order(tmp_path: Path) -> None:
    folder = split(tmp_path)
    single = ours(tmp_path / "two")
    joined = ours(folder)
    assert {name: sorted(rows) for name, rows in joined.items()} == {
        name: sorted(rows + rows) for name, rows in single.items()
    }
    assert all([row[0] for row in rows] == sorted(row[0] for row in rows) for rows in joined.values())


def test_a_missing_part_or_message_is_refused(tmp_path: Path) -> None:
    folder = split(tmp_path)
    (folder / "second.db3").rename(tmp_path / "aside.db3")
    with pytest.raises(CorruptLog, match="missing"):
        open_log(folder)
    with open_log(folder, recover=True) as log:
        assert log.report.recovered
        assert sum(stream.rows for stream in log.streams) == 20
    (tmp_path / "aside.db3").rename(folder / "second.db3")
    with sqlite3.connect(folder / "second.db3") as database:
        database.execute("DELETE FROM messages WHERE id = 3")
    database.close()
    with pytest.raises(CorruptLog, match="counts"):
        open_log(folder)


def test_a_cut_sqlite_bag_is_refused_and_recovered_in_part(real_logs: Path, tmp_path: Path) -> None:
    data = (real_logs / "rosbag2_sqlite/wbag_0.db3").read_bytes()
    path = tmp_path / "cut.db3"
    whole = ours(real_logs / "rosbag2_sqlite/wbag_0.db3")
    recovered = 0
    for size in range(1024, len(data), 9000):
        path.write_bytes(data[:size])
        with pytest.raises(CorruptLog):
            open_log(path)
        try:
            found = ours(path, recover=True)
        except (CorruptLog, UnsupportedLog):
            continue
        recovered += 1
        assert all(set(rows) <= set(whole[name]) for name, rows in found.items())
    assert recovered


def test_rows_in_a_write_ahead_log_are_not_missed(tmp_path: Path) -> None:
    path = next(write_bag(tmp_path / "bag", StoragePlugin.SQLITE3).glob("*.db3"))
    writer = sqlite3.connect(path)
    writer.execute("PRAGMA journal_mode=WAL")
    writer.execute("INSERT INTO messages (topic_id, timestamp, data) SELECT topic_id, 5000, data FROM messages LIMIT 1")
    writer.commit()
    try:
        assert sum(map(len, ours(path).values())) == 21
    finally:
        writer.close()


def test_a_folder_that_names_files_outside_is_refused(tmp_path: Path) -> None:
    folder = write_bag(tmp_path / "bag", StoragePlugin.SQLITE3)
    path = folder / "metadata.yaml"
    path.write_text(path.read_text().replace("bag.db3", "../bag.db3"))
    with pytest.raises(CorruptLog, match="outside"):
        open_log(folder)


def test_a_sqlite_file_that_is_no_bag_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.db3"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE t (x)")
    database.close()
    with pytest.raises(UnsupportedLog, match="no ROS 2 bag"):
        open_log(path)


def test_a_bag_whose_payloads_are_computed_is_refused_before_they_take_a_gigabyte(tmp_path: Path) -> None:
    path = tmp_path / "bomb.db3"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE topics (id INTEGER, name TEXT, type TEXT, serialization_format TEXT)")
        database.execute("INSERT INTO topics VALUES (1, '/a', 'std_msgs/msg/String', 'cdr')")
        database.execute(
            "CREATE TABLE messages (id INTEGER PRIMARY KEY, topic_id INTEGER, timestamp INTEGER,"
            " data BLOB GENERATED ALWAYS AS (zeroblob(900000000)) VIRTUAL)"
        )
        database.execute("INSERT INTO messages (topic_id, timestamp) VALUES (1, 7)")
    database.close()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CorruptLog, match="too big"):
        open_log(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB


@pytest.mark.parametrize("compression", [None, Writer1.CompressionFormat.BZ2, Writer1.CompressionFormat.LZ4])
def test_ros1_bags(tmp_path: Path, compression: Any) -> None:
    path = write_bag1(tmp_path / "log.bag", compression)
    assert ours(path) == reference(path, Stores.ROS1_NOETIC)
    with open_log(path) as log:
        rows = [row for batch in log.read("/pose") for row in batch.to_pylist()]
    assert [row["header"]["seq"] for row in rows] == [step ^ 1 for step in range(40)]
    assert rows[0]["point"] == {"x": 1.0, "y": -1.0, "z": 0.5}
    assert rows[0]["header"] == {"seq": 1, "stamp": {"sec": 1, "nsec": 7}, "frame_id": "map"}


def test_cut_ros1_bags_are_refused(tmp_path: Path) -> None:
    data = write_bag1(tmp_path / "log.bag", None).read_bytes()
    path = tmp_path / "cut.bag"
    for size in range(10, len(data), 700):
        path.write_bytes(data[:size])
        with pytest.raises(CorruptLog):
            open_log(path)


@pytest.mark.parametrize("compression", [Writer1.CompressionFormat.BZ2, Writer1.CompressionFormat.LZ4])
def test_a_ros1_chunk_of_another_length_than_it_says_is_refused(tmp_path: Path, compression: Any) -> None:
    path = write_bag1(tmp_path / "log.bag", compression)
    data = path.read_bytes()
    (at,) = [item.end() for item in re.finditer(rb"\x09\x00\x00\x00size=", data)]
    said = int.from_bytes(data[at : at + 4], "little")
    for size, error in ((said - 1, CorruptLog), (said + 1, CorruptLog), (1 << 31, UnsupportedLog)):
        path.write_bytes(data[:at] + size.to_bytes(4, "little") + data[at + 4 :])
        with pytest.raises(error, match="a chunk ") as caught:
            open_log(path)
        assert (caught.value.where, bool(caught.value.remedy)) == (str(path), True)


def rewritten(folder: Path, change: Any) -> Path:
    path = folder / "metadata.yaml"
    document = yaml.safe_load(path.read_text())
    change(document["rosbag2_bagfile_information"])
    path.write_text(yaml.safe_dump(document))
    return folder


@pytest.mark.parametrize("prefix", ["bag/", "as_it_was_called/", ""])
def test_paths_of_early_bags_begin_with_their_folder(tmp_path: Path, prefix: str) -> None:
    folder = write_bag(tmp_path / "bag", StoragePlugin.SQLITE3)
    expected = ours(folder)

    def early(bag: dict[str, Any]) -> None:
        bag["version"] = 3
        bag["relative_file_paths"] = [prefix + name for name in bag["relative_file_paths"]]

    assert ours(rewritten(folder, early)) == expected
    if prefix:  # later ones mean what they say
        with pytest.raises(CorruptLog, match="a file of the bag is missing"):
            open_log(rewritten(folder, lambda bag: bag.update(version=4)))


def test_text_that_looks_like_a_number_or_a_date_stays_text(tmp_path: Path) -> None:
    folder = write_bag(tmp_path / "bag", StoragePlugin.SQLITE3)
    path = folder / "metadata.yaml"
    text = re.sub(r"\n  custom_data:.*", "", path.read_text().rstrip())
    path.write_text(f"{text}\n  custom_data:\n    vehicle: 0017\n    day: 2026-06-01\n    dry: yes\n")
    with open_log(folder) as log:
        assert log.metadata == {"vehicle": "0017", "day": "2026-06-01", "dry": "yes"}
    path.write_text(f"{text}\n  custom_data: ~\n")
    with open_log(folder) as log:
        assert log.metadata == {}


def test_a_message_that_would_not_fit_into_memory_is_refused_before_it_is_made(tmp_path: Path) -> None:
    import zstandard

    folder = write_bag(tmp_path / "bag", StoragePlugin.SQLITE3, compression=CompressionMode.MESSAGE)
    stream = zstandard.ZstdCompressor().compressobj(size=1 << 40)  # the size that the frame claims
    lie = stream.compress(bytes(1 << 20)) + stream.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
    with sqlite3.connect(next(folder.glob("*.db3"))) as bag:
        bag.execute("UPDATE messages SET data = ? WHERE id = 3", (lie,))
    with pytest.raises(UnsupportedLog, match="1099511627776 bytes"):
        ours_decoded(folder)


def ours_decoded(path: Path) -> int:
    with open_log(path) as log:
        return sum(batch.num_rows for _, batch in log.read_all())


def test_more_messages_than_bounded_memory_holds_are_refused(real_logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = real_logs / "rosbag2_sqlite/talker.db3"
    with open_log(path) as log:
        count = sum(stream.rows for stream in log.streams)
    monkeypatch.setattr(rosbag_sqlite, "MOST_MESSAGES", count)
    open_log(path).close()
    monkeypatch.setattr(rosbag_sqlite, "MOST_MESSAGES", count - 1)
    with pytest.raises(UnsupportedLog, match=f"more than {count - 1} messages"):
        open_log(path)


def test_an_index_and_messages_that_do_not_fit_together_are_refused(
    real_logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = real_logs / "rosbag2_sqlite/talker.db3"
    with sqlite3.connect(path) as bag:
        count, largest = bag.execute("SELECT count(*), max(length(data)) FROM messages").fetchone()
    monkeypatch.setattr(rosbag_sqlite, "_MOST_HELD_BYTES", 24 * count + 2 * largest)
    open_log(path).close()
    monkeypatch.setattr(rosbag_sqlite, "_MOST_HELD_BYTES", 24 * count + 2 * largest - 1)
    with pytest.raises(UnsupportedLog, match="more than bounded memory holds"):
        open_log(path)


def test_a_bag_of_many_files_is_refused_as_one_file_would(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_bag(tmp_path / "bag", StoragePlugin.SQLITE3)
    first = next(folder.glob("*.db3"))
    shutil.copy(first, folder / "second.db3")

    def split(bag: dict[str, Any]) -> None:
        bag["relative_file_paths"] = [first.name, "second.db3"]
        bag["message_count"] = 40
        for topic in bag["topics_with_message_count"]:
            topic["message_count"] = 20

    rewritten(folder, split)
    monkeypatch.setattr(rosbag_sqlite, "MOST_MESSAGES", 40)
    open_log(folder).close()
    monkeypatch.setattr(rosbag_sqlite, "MOST_MESSAGES", 39)
    with pytest.raises(UnsupportedLog, match="more than 39 messages"):
        open_log(folder)


def test_large_messages_of_a_sqlite_bag_read_as_small_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_bag(tmp_path / "bag", StoragePlugin.SQLITE3)
    expected = ours(folder)
    monkeypatch.setattr(rosbag_sqlite, "_PIECE_BYTES", 5)
    assert ours(folder) == expected


def test_messages_of_no_topic_are_left_out_on_request_and_counted(tmp_path: Path) -> None:
    folder = write_bag(tmp_path / "bag", StoragePlugin.SQLITE3)
    path = next(folder.glob("*.db3"))
    expected = ours(path)
    with sqlite3.connect(path) as bag:
        bag.execute("DELETE FROM topics WHERE name = '/number'")
    with pytest.raises(CorruptLog, match="10 messages belong to no topic"):
        open_log(path)
    with open_log(path, recover=True) as log:
        assert log.report.recovered
        assert log.report.bytes_lost > 0
    assert ours(path, recover=True) == {"/text": expected["/text"]}


@pytest.mark.parametrize("size", [10, 5 << 20])
def test_rows_whose_id_is_not_their_place_are_not_mixed_up(tmp_path: Path, size: int) -> None:
    path = tmp_path / "filtered.db3"
    with sqlite3.connect(path) as bag:
        bag.execute("CREATE TABLE topics (id INTEGER, name TEXT, type TEXT, serialization_format TEXT)")
        bag.execute("INSERT INTO topics VALUES (1, '/a', 'no_msgs/msg/None', 'cdr')")
        bag.execute("CREATE TABLE messages (id INTEGER, topic_id INTEGER, timestamp INTEGER, data BLOB)")
        for row, number in enumerate((3, 2, 1, 1)):  # as a filter or a join of bags by SQL leaves them
            bag.execute("INSERT INTO messages VALUES (?, 1, ?, ?)", (number, row, bytes([row]) * size))
    bag.close()
    with open_log(path) as log:
        found = [row for batch in log.read("/a", decode=False) for row in batch.to_pylist()]
    assert [(row["timestamp_ns"], row["data"][:1], len(row["data"])) for row in found] == [
        (row, bytes([row]), size) for row in range(4)
    ]
