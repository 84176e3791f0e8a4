"""Chunks whose records are not worth their memory."""

from __future__ import annotations

import struct
import tracemalloc

import pytest

from platform_lib.errors import CorruptLog, UnsupportedLog
from platform_lib.logs.mcap import chunks
from platform_lib.logs.mcap.chunks import read_records

MESSAGE = struct.pack("<BQHIQQ", 5, 22 + 3, 1, 0, 7, 7) + b"abc"


def test_zeros_in_a_chunk_cost_no_more_than_the_first_of_them() -> None:
    data = MESSAGE + bytes(24 << 20)
    tracemalloc.start()
    with pytest.raises(CorruptLog, match="a record of kind 0"):
        read_records(data)
    assert tracemalloc.get_traced_memory()[1] < 48 << 20  # every one would take three times as much
    tracemalloc.stop()
    assert read_records(MESSAGE + b"\x80" + bytes(8) + bytes(24 << 20), cut=True).message_at.tolist() == [0]


@pytest.mark.parametrize("count", [1, 5, 400])
def test_records_are_found_however_many_are_followed_at_once(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    expected = read_records(MESSAGE * count).message_at.tolist()
    assert expected == [at * len(MESSAGE) for at in range(count)]
    for link_bytes in (1, len(MESSAGE), 100, 1000):
        monkeypatch.setattr(chunks, "_LINK_BYTES", link_bytes)
        assert read_records(MESSAGE * count).message_at.tolist() == expected
        assert read_records(MESSAGE * count + bytes(2000), cut=True).message_at.tolist() == expected
        with pytest.raises(CorruptLog, match="passes its chunk's end"):
            read_records(MESSAGE * count + MESSAGE[:-1])


def test_a_chunk_of_nothing_but_empty_records_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "_MOST_OTHERS", 10)
    other = struct.pack("<BQ", 0x80, 0)
    assert len(read_records(other * 10 + MESSAGE).others) == 10
    with pytest.raises(UnsupportedLog, match="11 records beside its messages"):
        read_records(other * 11 + MESSAGE)


def test_a_chunk_of_more_messages_than_memory_is_for_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "_MOST_MEMORY_BYTES", 11 * (2 * len(MESSAGE) + 216))
    assert read_records(MESSAGE * 10).message_at.size == 10
    with pytest.raises(UnsupportedLog, match="a chunk with 11 records in 374 bytes: reading it takes too much memory"):
        read_records(MESSAGE * 11)
