"""Groups that are read in order: the next one's first blocks are inflated ahead, and nobody notices but the clock."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from mdf4_writer import Channel, Data, Group, time_channel, write_mdf4

from platform_lib.errors import CorruptLog
from platform_lib.logs import open_log
from platform_lib.logs.mdf4 import file as mdf4_file
from platform_lib.logs.mdf4.pipeline import Pipeline

ROWS, GROUPS = 3000, 4


@pytest.fixture(autouse=True)
def _two_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mdf4_file, "default_threads", lambda: 2)


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Offsets of the fragments that were begun ahead; each has to come to its end."""
    offsets: list[int] = []
    futures: list[Future[Any]] = []
    begin = Pipeline.begin

    def noted(self: Pipeline, work: Any, *arguments: Any) -> Any:
        offsets.append(arguments[1].offset)
        future = begin(self, work, *arguments)
        assert future is not None
        futures.append(future)
        return future

    monkeypatch.setattr(Pipeline, "begin", noted)
    yield offsets
    assert all(future.done() for future in futures)


def written(path: Path) -> list[list[int]]:
    layout = [time_channel(), Channel("n", 0, 32, 8)]
    values = [[number * 1_000_000 + row for row in range(ROWS)] for number in range(GROUPS)]
    groups = []
    for number, column in enumerate(values):
        data = b"".join(struct.pack("<dI", row * 0.01, value) for row, value in enumerate(column))
        group = Group(layout, ROWS, 12, name=f"g{number}")
        groups.append(Data([group], data, storage="DL+DZ", block_bytes=7000, columns=12 * (number % 2)))
    write_mdf4(path, groups)
    return values


def read(log: Any, number: int) -> list[int]:
    return [value for batch in log.read(f"{number}:g{number}") for value in batch["n"].to_pylist()]


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (0, 1, 3, 2), (0, 1, 1, 2, 3), (1, 2, 0, 1)])
def test_whatever_the_order_the_rows_are_the_same(tmp_path: Path, begun: list[int], order: tuple[int, ...]) -> None:
    expected = written(tmp_path / "log.mf4")
    with open_log(tmp_path / "log.mf4") as log:
        assert [read(log, number) for number in order] == [expected[number] for number in order]
    assert bool(begun) == any(b == a + 1 and b + 1 < GROUPS for a, b in itertools.pairwise(order))


def test_one_group_alone_fetches_nothing_of_another(tmp_path: Path, begun: list[int]) -> None:
    written(tmp_path / "log.mf4")
    with open_log(tmp_path / "log.mf4") as log:
        read(log, 0)
        read(log, 2)
    assert not begun


def test_a_block_that_is_damaged_is_named_when_its_own_group_is_read(tmp_path: Path, begun: list[int]) -> None:
    path = tmp_path / "log.mf4"
    expected = written(path)
    data = bytearray(path.read_bytes())
    places = [at for at in range(len(data)) if data.startswith(b"##DZ", at)]
    first = places[len(places) // GROUPS * 2]  # of the third group
    data[first + 200] ^= 1
    path.write_bytes(data)
    with open_log(path) as log:
        assert [read(log, number) for number in (0, 1)] == expected[:2]
        assert begun
        with pytest.raises(CorruptLog, match=f"byte {first + 48}.*inflate"):
            read(log, 2)
        assert read(log, 3) == expected[3]


def test_a_reader_that_stops_early_leaves_nothing_behind(tmp_path: Path, begun: list[int]) -> None:
    expected = written(tmp_path / "log.mf4")
    with open_log(tmp_path / "log.mf4") as log:
        read(log, 0)
        next(iter(log.read("1:g1")))
        assert read(log, 3) == expected[3]
    assert begun
