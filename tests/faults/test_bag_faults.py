"""ROS 1 bags with bytes changed or cut off: refused, or the same messages at the same times."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from bags import write_bag1
from rosbags.rosbag1 import Writer

from platform_lib.errors import CorruptLog, UnsupportedLog
from platform_lib.logs import open_log

CASES = 250


def times(path: Path, *, recover: bool = False) -> dict[str, list[int]]:
    with open_log(path, recover=recover) as log:
        return {
            stream.name: [time for batch in log.read(stream.name, decode=False) for time in batch[0].to_pylist()]
            for stream in log.streams
        }


@pytest.mark.parametrize("compression", [None, Writer.CompressionFormat.LZ4, Writer.CompressionFormat.BZ2])
def test_a_changed_bag_is_refused_or_has_the_same_messages(tmp_path: Path, compression: Any) -> None:
    path = write_bag1(tmp_path / "log.bag", compression)
    data = path.read_bytes()
    expected = times(path)
    rng = random.Random(5)  # noqa: S311 - the same cases every time
    read = refused = 0
    for _ in range(CASES):
        changed = bytearray(data)
        for _ in range(rng.choice((1, 1, 4))):
            changed[rng.randrange(13, len(data))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        path.write_bytes(changed[: rng.randrange(len(data))] if rng.random() < 0.1 else changed)
        try:
            found = times(path)
        except (CorruptLog, UnsupportedLog):
            refused += 1
            continue
        read += 1
        assert list(found.values()) == list(expected.values())
    assert read > CASES // 50
    assert refused > CASES // 4


def test_of_a_damaged_chunk_the_others_are_recovered(tmp_path: Path) -> None:
    path = write_bag1(tmp_path / "log.bag", None)
    data = bytearray(path.read_bytes())
    at = data.index(b"conn=", data.index(b"op=\x02"))
    data[at + 5] ^= 0x40
    path.write_bytes(data)
    with pytest.raises(CorruptLog, match="its index says"):
        open_log(path)
    with open_log(path, recover=True) as log:
        assert log.report.recovered
        assert log.report.bytes_lost > 0
        assert sum(stream.rows for stream in log.streams) == 0
