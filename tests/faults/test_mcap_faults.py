"""Seeded damage to MCAP files: refused, or read right; recovered rows are rows that were recorded."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from mcap_layouts import LAYOUTS, Rows, all_rows, expected_rows, open_file, write_layout

from platform_lib.errors import CorruptLog, PlatformError

FOOTER_AT, CRC_AT = -37, -12
LENGTHS = (0, 1, 2**32, 2**60, 2**63, 2**64 - 1)
Mutation = Callable[[random.Random, bytearray], bytearray]


def cut(rng: random.Random, data: bytearray) -> bytearray:
    return data[: rng.randrange(len(data))]


def cut_and_zeros(rng: random.Random, data: bytearray) -> bytearray:
    """A crash leaves zeros up to the end of a block."""
    left = cut(rng, data)
    return left + bytes(-len(left) % rng.choice((512, 4096)))


def flip(rng: random.Random, data: bytearray) -> bytearray:
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return data


def zeros(rng: random.Random, data: bytearray) -> bytearray:
    at, count = rng.randrange(len(data)), rng.choice((1, 8, 64, 500))
    data[at : at + count] = bytes(len(data[at : at + count]))
    return data


def lying_length(rng: random.Random, data: bytearray) -> bytearray:
    at = rng.randrange(len(data) - 8)
    data[at : at + 8] = struct.pack("<Q", rng.choice((*LENGTHS, rng.randrange(1 << 16))))
    return data


def repeated(rng: random.Random, data: bytearray) -> bytearray:
    at, count = rng.randrange(len(data)), rng.randrange(1, 200)
    data[at:at] = data[at : at + count]
    return data


def missing(rng: random.Random, data: bytearray) -> bytearray:
    at = rng.randrange(len(data))
    del data[at : at + rng.randrange(1, 200)]
    return data


def swapped(rng: random.Random, data: bytearray) -> bytearray:
    one, other = rng.randrange(len(data) - 20), rng.randrange(len(data) - 20)
    data[one : one + 20], data[other : other + 20] = data[other : other + 20], data[one : one + 20]
    return data


def lying_summary(rng: random.Random, data: bytearray) -> bytearray:
    """Change the summary and give it the checksum that fits."""
    start = struct.unpack_from("<Q", data, len(data) + FOOTER_AT + 9)[0]
    if not start:
        return data
    for _ in range(rng.randrange(1, 3)):
        at = rng.randrange(start, len(data) + FOOTER_AT - 8)
        if rng.random() < 0.5:
            data[at] ^= 1 << rng.randrange(8)
        else:
            data[at : at + 8] = struct.pack("<Q", rng.choice((*LENGTHS, rng.randrange(1 << 13))))
    data[CRC_AT : CRC_AT + 4] = struct.pack("<I", zlib.crc32(bytes(data[start:CRC_AT])))
    return data


MUTATIONS: tuple[Mutation, ...] = (
    cut, cut_and_zeros, flip, zeros, lying_length, repeated, missing, swapped, lying_summary,
)  # fmt: skip


@pytest.fixture(autouse=True)
def _memory_cap() -> Iterator[None]:
    """No damaged file may take much more memory than it is long, whatever it claims."""
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = _memory_kib("VmRSS")
    yield
    assert _memory_kib("VmHWM") - before < 300 << 10


def _memory_kib(name: str) -> int:
    return int(Path("/proc/self/status").read_text().split(f"{name}:")[1].split()[0])


def damage(path: Path, layout: str, seed: int, cases: int) -> Iterator[tuple[str, Path, Rows]]:
    data = write_layout(path, layout).read_bytes()
    expected = expected_rows(path)
    broken = path.with_name("broken.mcap")
    rng = random.Random(seed)  # noqa: S311 - seeded faults
    for case in range(cases):
        mutation = rng.choice(MUTATIONS)
        mutated = bytes(mutation(rng, bytearray(data)))
        if mutated != data:
            broken.write_bytes(mutated)
            yield f"{layout}, seed {seed}, case {case}: {mutation.__name__}", broken, expected


def judge(label: str, path: Path, expected: Rows) -> str:
    for lazily in (False, True):
        with suppress(PlatformError), open_file(path, lazily=lazily) as log:  # refusing is right for any damage
            assert all_rows(log) == expected, label
    try:
        with open_file(path, recover=True) as log:
            found = all_rows(log)
            report = log.report
    except PlatformError:
        return "nothing"
    for name, rows in found.items():
        assert set(rows) <= set(expected.get(name, ())), label
        assert [row[0] for row in rows] == sorted(row[0] for row in rows), label
    assert report.recovered or found == expected, label
    return "some" if found else "nothing"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_damage_is_refused_and_recovered_rows_were_recorded(tmp_path: Path, layout: str) -> None:
    outcomes = [judge(*case) for case in damage(tmp_path / "log.mcap", layout, seed=5, cases=30)]
    assert "some" in outcomes


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("layout", LAYOUTS)
def test_damage_in_thousands(tmp_path: Path, layout: str, seed: int) -> None:
    for case in damage(tmp_path / "log.mcap", layout, seed=1000 + seed, cases=400):
        judge(*case)


def test_the_judge_notices_a_row_that_was_never_recorded(tmp_path: Path) -> None:
    path = write_layout(tmp_path / "log.mcap", "zstd")
    expected = expected_rows(path)
    expected["/a"][0] = (*expected["/a"][0][:2], b"never recorded")
    with pytest.raises(AssertionError):
        judge("planted", path, expected)


@pytest.mark.parametrize("layout", ["zstd", "plain", "no chunks", "no index"])
def test_cut_at_every_byte(tmp_path: Path, layout: str) -> None:
    """What was whole before the cut comes back, all of it."""
    data = write_layout(tmp_path / "log.mcap", layout, messages=8).read_bytes()
    expected = expected_rows(tmp_path / "log.mcap")
    path = tmp_path / "cut.mcap"
    most = 0
    for size in range(8, len(data), 3 if layout == "plain" else 11):
        path.write_bytes(data[:size])
        with pytest.raises(CorruptLog):
            open_file(path)
        try:
            with open_file(path, recover=True) as log:
                found = all_rows(log)
                assert log.report.recovered
                assert log.report.bytes_lost <= size
        except CorruptLog:
            found = {}
        count = sum(map(len, found.values()))
        assert all(set(rows) <= set(expected[name]) for name, rows in found.items())
        assert count >= most, "a longer piece of the file gives no fewer rows"
        most = count
    assert most == 8
