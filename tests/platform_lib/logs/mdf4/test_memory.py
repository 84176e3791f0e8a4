"""Reading takes bounded memory, whatever the size of the file."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from mdf4_writer import Channel, Data, Group, Writer, time_channel

BUDGET_BYTES = 512 << 20
BLOCK_BYTES = 4 << 20
RECORD_BYTES = 32
READ = """
import json, resource, sys
import pyarrow.parquet as pq
from platform_lib.logs import open_log
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
with open_log(sys.argv[1]) as log:  # a first, small log: imports and compiled loops are not the reading's
    for batch in log.read("0:g"):
        pass
before = peak()
with open_log(sys.argv[2]) as log, pq.ParquetWriter(sys.argv[3], log.streams[0].schema) as sink:
    rows = 0
    for batch in log.read("0:g"):
        sink.write_batch(batch)
        rows += batch.num_rows
print(json.dumps([rows, log.streams[0].rows, peak() - before]))
"""


def large_log(path: Path, blocks: int, *, compressed: bool) -> Path:
    layout = [time_channel(), *(Channel(f"c{at}", 0, 64, 8 * at) for at in (1, 2, 3))]
    rows = blocks * BLOCK_BYTES // RECORD_BYTES
    block = bytes(BLOCK_BYTES)
    writer = Writer()
    offsets: list[int] = []
    group = writer.data_group(Data([Group(layout, rows, RECORD_BYTES, name="g")]), offsets)
    writer.link(64, 0, group)
    if compressed:
        pieces = [writer.data_block("DT", block, "DZ", RECORD_BYTES) for _ in range(blocks)]
        writer.link(group, 2, writer.block("DL", [0, *pieces], struct.pack("<IIQ", 1, blocks, BLOCK_BYTES)))
        path.write_bytes(writer.buffer)
        return path
    data = writer.block("DT", [], b"")
    struct.pack_into("<Q", writer.buffer, data + 8, 24 + blocks * BLOCK_BYTES)
    writer.link(group, 2, data)
    path.write_bytes(writer.buffer)
    with path.open("r+b") as file:  # the rest is a hole: zeros that take no space
        file.truncate(data + 24 + blocks * BLOCK_BYTES)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("compressed", [False, True])
def test_a_file_larger_than_the_budget_is_read_within_it(tmp_path: Path, compressed: bool) -> None:
    small = large_log(tmp_path / "small.mf4", 2, compressed=compressed)
    blocks = BUDGET_BYTES // BLOCK_BYTES + 40
    large = large_log(tmp_path / "large.mf4", blocks, compressed=compressed)
    if not compressed:
        assert large.stat().st_size > BUDGET_BYTES
    arguments = [sys.executable, "-c", READ, str(small), str(large), str(tmp_path / "out.parquet")]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    rows, declared, peak_bytes = json.loads(done.stdout)
    assert rows == declared == blocks * BLOCK_BYTES // RECORD_BYTES
    assert peak_bytes < BUDGET_BYTES
