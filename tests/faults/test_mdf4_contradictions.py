"""MDF 4 files whose blocks are whole and contradict each other: noticed, and with recovery told, never read short in silence."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from mdf4_writer import VLSD, Channel, Data, Group, time_channel, write_mdf4

from platform_lib.errors import CorruptLog
from platform_lib.logs import Log, open_log

LAYOUT = [time_channel(), Channel("n", 0, 16, 8)]


def rows(log: Log) -> list[int]:
    return [value for item in log.streams for batch in log.read(item.name) for value in batch["n"].to_pylist()]


def test_records_beyond_the_declared_ones_are_told_as_lost(tmp_path: Path) -> None:
    records = b"".join(struct.pack("<dH", row, row) for row in range(5))
    path = write_mdf4(tmp_path / "a.mf4", [Data([Group(LAYOUT, 3, 10)], records)])
    with pytest.raises(CorruptLog, match="declares 3 records"):
        open_log(path)
    with open_log(path, recover=True) as log:
        assert rows(log) == [0, 1, 2]
        assert (log.report.recovered, log.report.bytes_lost) == (True, 20)
        assert "3 records are declared, of 5" in log.report.problems[0]


def test_records_of_a_mixed_group_beyond_the_declared_ones_are_told_as_lost(tmp_path: Path) -> None:
    records = b"".join(struct.pack("<BdH", 1 + row % 2, row, row) for row in range(8))
    groups = [Group(LAYOUT, 4, 10, record_id=1), Group(LAYOUT, 3, 10, record_id=2)]
    path = write_mdf4(tmp_path / "a.mf4", [Data(groups, records, 1)])
    with open_log(path, recover=True) as log:
        assert rows(log) == [0, 2, 4, 6, 1, 3, 5]
        assert (log.report.recovered, log.report.bytes_lost) == (True, 11)


def test_a_group_that_a_flipped_flag_would_hide_is_noticed(tmp_path: Path) -> None:
    records = b"".join(struct.pack("<dH", row, row) for row in range(5))
    path = write_mdf4(tmp_path / "a.mf4", [Data([Group(LAYOUT, 5, 10)], records)])
    data = bytearray(path.read_bytes())
    at = data.index(struct.pack("<QQH", 0, 5, 0), data.index(b"##CG"))
    data[at + 16] = 1  # values of variable length, which are no rows
    path.write_bytes(data)
    with pytest.raises(CorruptLog, match="which none may have"):
        open_log(path)


@pytest.mark.parametrize(("lengths", "sound"), [((3, 3, 3), True), ((3, 5, 3), False), ((9, 3, 3), False)])
@pytest.mark.parametrize("backwards", [False, True])
def test_values_that_begin_inside_one_another_are_noticed(
    tmp_path: Path, lengths: tuple[int, int, int], *, sound: bool, backwards: bool
) -> None:
    values = b"".join(struct.pack("<I", length) + b"abc" for length in lengths)
    offsets = [14, 7, 0, 7] if backwards else [0, 7, 7, 14]  # two records have the same value
    records = b"".join(struct.pack("<dHQ", row, row, offset) for row, offset in enumerate(offsets))
    text = Channel("text", 7, 64, 10, kind=VLSD, signal_data=values)
    path = write_mdf4(tmp_path / "a.mf4", [Data([Group([*LAYOUT, text], 4, 18)], records)])
    with open_log(path) as log:
        if sound:
            assert [item for batch in log.read("0:") for item in batch["text"].to_pylist()] == ["abc"] * 4
            return
        with pytest.raises(CorruptLog, match="overlap"):
            list(log.read("0:"))
