"""Fragments written anew: which ones, in which order, and how much memory that takes."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from platform_lib.lake.lance_rewriting import compact_fragments, rewrite_without_deleted
from platform_lib.lake.lance_table import append_lance, create_lance, open_lance
from platform_lib.lake.writer import write_rows

_SCHEMA = pa.schema([("ingest_id", pa.int64()), ("number", pa.int64()), ("data", pa.large_binary())])
_KIB = 1 << 10
_GIVEN_MIB = 600
"""What putting fragments together may take beyond what the process had; Lance's own took 690 of 1.1 GB, 900 of 2.3 GB."""
_MEASURE = """
import os, sys
from pathlib import Path
import pyarrow as pa
from platform_lib.lake import lance_rewriting as here
from platform_lib.lake.lance_table import append_lance, create_lance, open_lance
from platform_lib.lake.writer import write_rows

uri, logs, size = Path(sys.argv[1]), int(sys.argv[2]), 4 << 20
schema = pa.schema([("ingest_id", pa.int64()), ("data", pa.large_binary())])

def rows(log):
    for _ in range(7):
        yield pa.record_batch([pa.array([log]), pa.array([os.urandom(size)], pa.large_binary())], schema)

def peak():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) >> 10

if os.fork() == 0:  # what writing took is not measured
    create_lance(uri, schema)
    append_lance(uri, open_lance(uri), [text for log in range(logs) for text in write_rows(uri, rows(log), schema)])
    os._exit(0)
assert os.wait()[1] == 0
open_lance(uri)
before = peak()
if len(sys.argv) > 3:  # the planted fault: everything at once
    table = open_lance(uri).to_table()
here.compact_fragments(uri, small_bytes=32 << 20, target_bytes=256 << 20, round_bytes=4 << 30)
assert open_lance(uri).count_rows() == 7 * logs
print(peak() - before)
"""


def _write(uri: Path, logs: list[tuple[int, int]]) -> None:
    """Write a fragment for each log: so many rows of so many bytes."""
    create_lance(uri, _SCHEMA)
    texts, draw = [], random.Random(7)  # noqa: S311 - noise: Lance would make a short file of anything else
    for log, (rows, size) in enumerate(logs):
        data = pa.array([draw.randbytes(size) for _ in range(rows)], pa.large_binary())
        batch = pa.record_batch([pa.array([log] * rows), pa.array(range(rows)), data], _SCHEMA)
        texts += write_rows(uri, iter([batch]), _SCHEMA)
    append_lance(uri, open_lance(uri), texts)


def _files(uri: Path) -> dict[str, int]:
    """Data file -> rows, of the newest version."""
    return {item.metadata.files[0].path: item.count_rows() for item in open_lance(uri).get_fragments()}


def _rows(uri: Path) -> dict[int, list[Any]]:
    """Log -> its rows, in the order in which they are read."""
    found: dict[int, list[Any]] = {}
    for row in open_lance(uri).to_table().to_pylist():
        found.setdefault(row["ingest_id"], []).append((row["number"], row["data"]))
    return found


def test_small_fragments_are_put_together_and_large_ones_are_not_touched(tmp_path: Path) -> None:
    uri = tmp_path / "t.lance"
    # By rows the second is the smallest, by bytes the largest: Lance's compaction would write it anew.
    _write(uri, [(40, _KIB), (3, 300 * _KIB), (40, _KIB), (40, _KIB)])
    before, rows = _files(uri), _rows(uri)
    compact_fragments(uri, small_bytes=200 * _KIB, target_bytes=90 * _KIB, round_bytes=1 << 30)
    after = _files(uri)
    kept = before.keys() & after.keys()
    assert sorted(before[name] for name in kept) == [3, 40], "the large one, and one that was left alone"
    assert sorted(after.values()) == [3, 40, 80], "two fit into what was asked for"
    assert _rows(uri) == rows
    version = open_lance(uri).version
    compact_fragments(uri, small_bytes=50 * _KIB, target_bytes=90 * _KIB, round_bytes=1 << 30)
    assert open_lance(uri).version == version, "nothing is left to be done"


def test_a_version_is_made_after_each_round(tmp_path: Path) -> None:
    uri = tmp_path / "t.lance"
    _write(uri, [(10, _KIB)] * 8)
    version, rows = open_lance(uri).version, _rows(uri)
    compact_fragments(uri, small_bytes=50 * _KIB, target_bytes=25 * _KIB, round_bytes=1)
    made = open_lance(uri).version - version
    assert made >= 4
    assert len(_files(uri)) == 4
    assert _rows(uri) == rows


def test_only_what_has_deleted_rows_is_written_anew(tmp_path: Path) -> None:
    uri = tmp_path / "t.lance"
    _write(uri, [(10, _KIB)] * 3)
    before, rows = _files(uri), _rows(uri)
    open_lance(uri).delete("ingest_id = 1 AND number < 4")
    assert rewrite_without_deleted(uri) == open_lance(uri).version
    after = _files(uri)
    assert len(before.keys() & after.keys()) == 2
    assert sorted(after.values()) == [6, 10, 10]
    assert all(item.metadata.deletion_file is None for item in open_lance(uri).get_fragments())
    assert _rows(uri) == {**rows, 1: rows[1][4:]}
    version = open_lance(uri).version
    assert rewrite_without_deleted(uri) == version, "nothing is deleted any more"


@pytest.mark.soak
@pytest.mark.parametrize("logs", [40, 100])
def test_putting_together_takes_the_same_memory_whatever_there_is(tmp_path: Path, logs: int) -> None:
    """1.1 and 2.8 GB of point clouds of 4 MiB each, in fragments of 28 MiB."""
    assert _measured(tmp_path / "t.lance", logs) <= _GIVEN_MIB


@pytest.mark.soak
def test_the_measurement_sees_what_is_held(tmp_path: Path) -> None:
    assert _measured(tmp_path / "t.lance", 40, "hold") > _GIVEN_MIB


def _measured(uri: Path, logs: int, *more: str) -> int:
    told = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _MEASURE, str(uri), str(logs), *more],
        check=True,
        capture_output=True,
        text=True,
    )
    return int(told.stdout)
