"""Damaged MDF 4 files: refused, or read as an exact prefix; never a crash, a hang, or a row that was not recorded.

Uncompressed sample data carries no checksum, so files here compress theirs: then every wrong row would be noticed.
"""

from __future__ import annotations

import os
import random
import struct
import time
from pathlib import Path
from typing import Any

import pytest
from mdf4_writer import VLSD, Channel, Conversion, Data, Group, Writer, time_channel

from platform_lib.errors import CorruptLog, PlatformError, UnsupportedLog
from platform_lib.logs import open_log

Rows = dict[str, list[dict[str, Any]]]
ROUNDS = int(os.environ.get("DRIVETRAIN_FAULT_ROUNDS", "200"))
MOST_SECONDS = 20.0


def texts(rows: int) -> Channel:
    data, offsets = b"", []
    for row in range(rows):
        text = b"v" * (row % 11)
        offsets.append(len(data))
        data += struct.pack("<I", len(text)) + text
    return Channel("text", 7, 64, 16, kind=VLSD, signal_data=data)


def sound_log(path: Path) -> Writer:
    """Sorted, transposed, columnar, mixed and variable-length data, conversions of each family."""
    rows = 200
    names = Conversion(7, (0.0, 1.0, 2.0), ("zero", "one", "two", Conversion(1, (0.5, 2.0))))
    layout = [
        time_channel(),
        Channel("n", 0, 32, 8, unit="m", conversion=Conversion(1, (1.0, 0.5))),
        Channel("name", 0, 8, 12, conversion=names),
        Channel("bits", 0, 5, 13, 2, flags=2, invalid_bit=1),
        Channel("pair", 0, 8, 14, sizes=(2,), step=1),
    ]
    records = b"".join(
        struct.pack("<dIBBBBB", row * 0.01, row, row % 5, row % 250, row % 7, row % 9, 2 * (row % 13 == 0))
        for row in range(rows)
    )
    sorted_data = Data([Group(layout, rows, 16, 1, name="sorted")], records, 0, "HL+DZ", 900)
    planes = Data([Group(layout, rows, 16, 1, name="planes")], records, 0, "DL+DZ", 1700, 17)
    clock = b"".join(
        struct.pack("<dHQ", row * 0.01, row, 4 * row + sum(n % 11 for n in range(row))) for row in range(rows)
    )
    variable = texts(rows)
    variable.byte = 10
    named = Group([time_channel(), Channel("k", 0, 16, 8), variable], rows, 18, name="variable")
    mixed = b"".join(
        struct.pack("<BdH", 1, row, row) + (struct.pack("<Bdf", 2, row, row / 2) if row % 3 else b"")
        for row in range(rows)
    )
    groups = [
        Group([time_channel(), Channel("a", 0, 16, 8)], rows, 10, record_id=1, name="a"),
        Group(
            [time_channel(), Channel("b", 4, 32, 8)],
            sum(1 for row in range(rows) if row % 3),
            12,
            record_id=2,
            name="b",
        ),
    ]
    writer = Writer()
    items = [sorted_data, planes, Data([named], clock, 0, "DL+DZ", 1800), Data(groups, mixed, 1, "HL+DZ", 1000)]
    writer.write(path, items)
    return writer


def read(path: Path, *, recover: bool) -> Rows:
    with open_log(path, recover=recover) as log:
        found = {}
        for stream in log.streams:
            batches = list(log.read(stream.name))
            for batch in batches:
                batch.validate(full=True)
            found[stream.name] = [row for batch in batches for row in batch.to_pylist()]
            assert len(found[stream.name]) == stream.rows
        if not recover:
            assert not log.report.recovered
        return found


def outcome(path: Path, *, recover: bool) -> Rows | None:
    """Read; `None` where the file was refused. Anything but our own errors is a fault of ours."""
    begun = time.monotonic()
    try:
        return read(path, recover=recover)
    except (CorruptLog, UnsupportedLog):
        return None
    finally:
        assert time.monotonic() - begun < MOST_SECONDS


def data_regions(writer: Writer) -> list[tuple[int, int]]:
    """Where checksums watch: the stored bytes of compressed blocks."""
    regions = []
    for start in writer.starts["DZ"]:
        stored = struct.unpack_from("<Q", writer.buffer, start + 40)[0]
        regions.append((start + 48, start + 48 + stored))
    return regions


def is_prefix(found: Rows, expected: Rows) -> bool:
    return all(name in expected and rows == expected[name][: len(rows)] for name, rows in found.items())


def test_a_flipped_bit_in_sample_data_is_refused_or_recovered_as_a_prefix(tmp_path: Path) -> None:
    path = tmp_path / "log.mf4"
    writer = sound_log(path)
    whole, expected = path.read_bytes(), read(path, recover=False)
    rng = random.Random(11)  # noqa: S311 - seeded faults
    refused = 0
    for _ in range(ROUNDS // 4):
        start, stop = rng.choice(data_regions(writer))
        damaged = bytearray(whole)
        damaged[rng.randrange(start, stop)] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        found = outcome(path, recover=False)
        assert found is None or found == expected
        refused += found is None
        rest = outcome(path, recover=True)
        assert rest is not None
        assert is_prefix(rest, expected)
        if found is None:
            with open_log(path, recover=True) as log:
                assert log.report.recovered
                assert log.report.bytes_lost > 0
    assert refused > ROUNDS // 5


def test_a_file_cut_anywhere_is_refused_or_a_prefix(tmp_path: Path) -> None:
    path = tmp_path / "log.mf4"
    sound_log(path)
    whole, expected = path.read_bytes(), read(path, recover=False)
    rng = random.Random(12)  # noqa: S311 - seeded faults
    for cut in sorted(rng.sample(range(len(whole)), ROUNDS // 4)):
        path.write_bytes(whole[:cut])
        if cut:
            assert outcome(path, recover=False) is None
        else:
            with pytest.raises(PlatformError):
                open_log(path)
            continue
        rest = outcome(path, recover=True)
        assert rest is None or is_prefix(rest, expected)


def test_damaged_structure_never_crashes_hangs_or_invents_rows(tmp_path: Path) -> None:
    path = tmp_path / "log.mf4"
    writer = sound_log(path)
    whole, expected = path.read_bytes(), read(path, recover=False)
    watched = data_regions(writer)
    rng = random.Random(13)  # noqa: S311 - seeded faults
    seen = {"refused": 0, "whole": 0, "recovered": 0}
    for step in range(ROUNDS):
        damaged = _mutated(bytearray(whole), rng, step, watched)
        path.write_bytes(damaged)
        found = outcome(path, recover=False)
        seen["refused" if found is None else "whole" if found == expected else "recovered"] += 1
        rest = outcome(path, recover=True)
        if found is not None:
            # What metadata says cannot be checked against anything, but rows never come from nowhere.
            assert sum(map(len, found.values())) <= sum(map(len, expected.values()))
        if rest is not None:
            assert sum(map(len, rest.values())) <= 2 * sum(map(len, expected.values()))
    assert seen["refused"] > ROUNDS // 4
    assert seen["whole"] > 0


def _mutated(data: bytearray, rng: random.Random, step: int, watched: list[tuple[int, int]]) -> bytearray:
    """Plant one fault: a flipped bit, zeros, garbage, or a link or length that lies."""
    at = rng.randrange(64, len(data))
    kind = step % 5
    if kind == 0:
        data[at] ^= 1 << rng.randrange(8)
    elif kind == 1:
        count = rng.choice([8, 64, 512])
        data[at : at + count] = bytes(len(data[at : at + count]))
    elif kind == 2:
        count = rng.choice([1, 8, 64])
        data[at : at + count] = rng.randbytes(len(data[at : at + count]))
    elif kind == 3:
        at -= at % 8
        value = rng.choice([0, 8, 64, at, at + 8, len(data), len(data) - 8, 2**32 - 1, 2**60, 2**63, 2**64 - 1])
        data[at : at + 8] = struct.pack("<Q", value)[: len(data) - at]
    else:
        start, stop = rng.choice(watched)
        other, _ = rng.choice(watched)
        at -= at % 8
        data[at : at + 8] = struct.pack("<Q", rng.choice([start - 48, stop, other - 48]))[: len(data) - at]
    return data


def test_the_comparison_would_notice_a_wrong_row(tmp_path: Path) -> None:
    path = tmp_path / "log.mf4"
    sound_log(path)
    expected = read(path, recover=False)
    assert set(expected) == {"0:sorted", "1:planes", "2:variable", "3:a", "4:b"}
    assert {key for rows in expected.values() for key in rows[0]} >= {"n", "name", "bits", "pair", "text"}
    assert expected["0:sorted"] == expected["1:planes"]
    for name, key in (("0:sorted", "n"), ("2:variable", "text"), ("3:a", "timestamp_ns"), ("1:planes", "bits")):
        planted = {stream: [dict(row) for row in rows] for stream, rows in expected.items()}
        planted[name][5][key] = None
        assert not is_prefix(planted, expected)
