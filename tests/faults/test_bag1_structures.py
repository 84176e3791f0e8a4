"""ROS 1 bags whose records were moved, left out or say other things: noticed, and no row lost that is whole."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from bag1_bytes import ENTRY, Bag, connection, message, record, u32, write_many

from platform_lib.errors import CorruptLog, UnsupportedLog
from platform_lib.logs import open_log, rosbag1_index, rosbag1_rows

ONE = len(message(0, 5, b"abcd"))


def three(path: Path, change: Callable[[Bag], None] = lambda bag: None, first: bytes = b"") -> Path:
    """A bag of three chunks of one message each, all of ``/a``; `first` lies before the first chunk's message."""
    bag = Bag(path, {0: b"/a"})
    for number in range(3):
        data = (first if number == 0 else b"") + message(0, 5 + number, b"abc%d" % number)
        bag.chunk(data, {0: np.array([(0, 5 + number, len(data) - ONE)], ENTRY)})
    change(bag)
    bag.close()
    return path


def changed(path: Path, *edits: tuple[bytes, int, bytes]) -> Path:
    """Overwrite what follows the n-th of some text."""
    data = bytearray(path.read_bytes())
    for text, number, value in edits:
        at = -1
        for _ in range(number + 1):
            at = data.index(text, at + 1)
        data[at + len(text) : at + len(text) + len(value)] = value
    path.write_bytes(data)
    return path


def payloads(path: Path, *, recover: bool = True) -> tuple[list[bytes], list[str]]:
    with open_log(path, recover=recover) as log:
        assert log.report.recovered == recover
        found = [
            row["data"]
            for item in log.streams
            for batch in log.read(item.name, decode=False)
            for row in batch.to_pylist()
        ]
        return found, log.report.problems


def test_it_is_sound_without_a_change(tmp_path: Path) -> None:
    assert payloads(three(tmp_path / "a.bag"), recover=False) == ([b"abc0", b"abc1", b"abc2"], [])


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_chunk_that_the_index_leaves_out_is_noticed(tmp_path: Path, which: int) -> None:
    path = three(tmp_path / "a.bag", lambda bag: bag._infos.pop(which) and None)
    with pytest.raises(CorruptLog, match="is in no index"):
        open_log(path)
    assert len(payloads(path)[0]) == 3


def test_a_chunk_whose_connection_is_named_twice_is_noticed(tmp_path: Path) -> None:
    def twice(bag: Bag) -> None:
        bag._infos[1] = bag._infos[1].replace(u32(8) + u32(0) + u32(1), u32(16) + (u32(0) + u32(1)) * 2)
        bag._infos[1] = bag._infos[1].replace(b"count=" + u32(1), b"count=" + u32(2))

    with pytest.raises(CorruptLog, match="twice"):
        open_log(three(tmp_path / "a.bag", twice))


@pytest.mark.parametrize(
    ("edit", "refusal"),
    [
        ((b"size=", 0, u32(0x7FFFFFFF)), UnsupportedLog),  # a chunk that says it is too large to be read
        ((b"compression=", 0, b"nonf"), UnsupportedLog),
    ],
)
def test_of_a_chunk_that_says_something_else_the_others_are_recovered(
    tmp_path: Path, edit: tuple[bytes, int, bytes], refusal: type[Exception]
) -> None:
    path = changed(three(tmp_path / "a.bag"), edit)
    with pytest.raises(refusal):
        open_log(path)
    assert payloads(path)[0] == [b"abc1", b"abc2"]


def test_an_index_of_another_version_is_walked_around(tmp_path: Path) -> None:
    path = changed(three(tmp_path / "a.bag"), (b"ver=", 4, u32(9)))
    assert payloads(path)[0] == [b"abc0", b"abc1", b"abc2"]


def unclosed(path: Path, *edits: tuple[bytes, int, bytes]) -> Path:
    return changed(path, (b"index_pos=", 0, bytes(8)), *edits)


def test_an_index_record_of_a_wrong_count_costs_its_chunk_alone(tmp_path: Path) -> None:
    path = unclosed(three(tmp_path / "a.bag"), (b"count=", 2, u32(7)))  # behind the header's two counts
    found, problems = payloads(path)
    assert found == [b"abc1", b"abc2"]
    assert "index records" in problems[0]


def test_a_connection_that_was_told_in_a_damaged_chunk_is_taken_from_elsewhere(tmp_path: Path) -> None:
    path = three(tmp_path / "a.bag", first=connection(0, b"/x"))
    found, problems = payloads(unclosed(path, (b"count=", 2, u32(7))))
    assert (found, len(problems)) == ([b"abc1", b"abc2"], 2)


def test_of_a_connection_that_two_records_contradict_no_row_is_given(tmp_path: Path) -> None:
    found, problems = payloads(unclosed(three(tmp_path / "a.bag", first=connection(0, b"/x"))))
    assert found == []
    assert any(text.startswith("3 messages are left out") for text in problems)


def test_index_records_beyond_a_chunks_messages_are_not_kept(tmp_path: Path) -> None:
    path = unclosed(three(tmp_path / "a.bag"))
    data = path.read_bytes()
    at = data.index(u32(len(b"op=\x05")) + b"op=\x05", data.index(b"abc0")) - 4
    more = record([b"op=\x04", b"ver=" + u32(1), b"conn=" + u32(0), b"count=" + u32(1)], bytes(12))
    path.write_bytes(data[:at] + 5 * more + data[at:])
    assert payloads(path)[0] == [b"abc1", b"abc2"]


def test_a_connections_text_is_not_zeros(tmp_path: Path) -> None:
    with pytest.raises(CorruptLog, match="zeros"):
        open_log(changed(three(tmp_path / "a.bag"), (b"message_definition=", 0, bytes(3))))


@pytest.mark.parametrize(
    ("name", "most", "text"),
    [
        ("_MOST_CONNECTIONS", 1, "more than 1 connections"),
        ("_MOST_DEFINITION_BYTES", 16, "bytes of definitions"),
        ("MOST_CHUNKS", 2, "more than 2 chunks"),
    ],
)
@pytest.mark.parametrize("closed", [True, False])
def test_more_than_bounded_memory_keeps_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, most: int, text: str, *, closed: bool
) -> None:
    path = write_many(tmp_path / "a.bag", 3, 4)
    open_log(path).close()
    monkeypatch.setattr(rosbag1_index, name, most)
    with pytest.raises(UnsupportedLog, match=text):
        open_log(path if closed else unclosed(path), recover=not closed)


def test_a_definition_that_many_connections_have_is_counted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rosbag1_index, "_MOST_DEFINITION_BYTES", 600)
    bag = Bag(tmp_path / "a.bag", {number: b"/t%d" % number for number in range(20)})
    bag.close()
    with open_log(tmp_path / "a.bag") as log:
        assert len(log.streams) == 20


def test_chunks_opened_by_several_threads_are_counted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_many(tmp_path / "a.bag", 40, 50)
    monkeypatch.setattr(rosbag1_rows, "_CACHE_BYTES", 20_000)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    failed: list[Exception] = []
    try:
        with open_log(path) as log:

            def read(name: str) -> None:
                try:
                    assert sum(batch.num_rows for batch in log.read(name, decode=False)) == log.stream(name).rows
                except Exception as error:  # noqa: BLE001 - a thread's errors are looked at by the test
                    failed.append(error)

            threads = [threading.Thread(target=read, args=(name,)) for name in ["/many", "/few"] * 8]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            chunks = log._source._store._chunks  # type: ignore[attr-defined] # what it keeps is seen nowhere else
            assert chunks._cached_bytes == sum(item.held_bytes for item in chunks._cache.values())
    finally:
        sys.setswitchinterval(before)
    assert not failed
