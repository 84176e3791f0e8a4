"""Exports and descriptions take bounded memory, whatever the size of the log; and the measurement would show it."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from mcap.writer import CompressionType, Writer
from mdf4_writer import Channel, Data, Group, time_channel
from mdf4_writer import Writer as MdfWriter
from peak_memory import BUDGET_BYTES, measured

RAW_BYTES = 720 << 20
BLOCK_BYTES = 4 << 20
COLUMNS = 63
SMALL_MESSAGES = 20
ROWS = {".mf4": RAW_BYTES // (8 * (COLUMNS + 1)), ".mcap": (RAW_BYTES >> 20) * (1 + SMALL_MESSAGES)}
WORK = """
from platform_lib.logs.describing import describe, describe_stream
from platform_lib.logs.export.exporting import export_log
from platform_lib.logs.model import Window

how, out = sys.argv[3:]

def work(path):
    quiet = lambda name, rows: None
    place = Path(out + (".small" if path == sys.argv[1] else ""))
    with open_log(path) as log:
        if how == "describe":
            return describe(log, quiet, deep=True)["rows"]
        if how == "columns":
            return describe_stream(log, log.streams[0], quiet)["stream"]["rows"]
        if how == "at once":
            return sum(batch.num_rows for batch in list(log.read(log.streams[0].name)))
        done = export_log(log, log.streams, place, None, window=Window(), decode=True, force=True, note=quiet)
        return sum(item.rows for item in done.written)
"""


def mdf_log(path: Path, blocks: int) -> Path:
    """Write a group of 64 columns in deflated blocks that are all the same but take no room."""
    layout = [time_channel(), *(Channel(f"c{at}", 4, 64, 8 * at + 8) for at in range(COLUMNS))]
    record = 8 * (COLUMNS + 1)
    rows = BLOCK_BYTES // record
    table = np.zeros((rows, COLUMNS + 1))
    table[:, 0] = np.arange(rows)
    table[:, 1:] = np.arange(COLUMNS)
    writer = MdfWriter()
    group = writer.data_group(Data([Group(layout, blocks * rows, record, name="g")]), [])
    writer.link(64, 0, group)
    stored = zlib.compress(table.tobytes(), 1)
    head = struct.pack("<2sBBIQQ", b"DT", 0, 0, 0, table.nbytes, len(stored))
    pieces = [writer.block("DZ", [], head + stored) for _ in range(blocks)]
    writer.link(group, 2, writer.block("DL", [0, *pieces], struct.pack("<IIQ", 1, blocks, BLOCK_BYTES)))
    path.write_bytes(writer.buffer)
    return path


def mcap_log(path: Path, blocks: int) -> Path:
    """Write images, and many small messages between them."""
    definition = b"string text\nuint8[] data\n"
    with path.open("wb") as stream:
        writer = Writer(stream, compression=CompressionType.ZSTD, chunk_size=1 << 20)
        writer.start(profile="ros2")
        schema = writer.register_schema("a/msg/Image", "ros2msg", definition)
        topics = [writer.register_channel(name, "cdr", schema) for name in ("/image", "/small")]
        head = b"\0\1\0\0" + struct.pack("<I4s", 4, b"abc\0")
        image = head + struct.pack("<I", 1 << 20) + bytes(1 << 20)
        for at in range(blocks * BLOCK_BYTES >> 20):
            writer.add_message(topics[0], at * 1000, image, at * 1000)
            for small in range(SMALL_MESSAGES):
                writer.add_message(topics[1], at * 1000 + small, head + struct.pack("<I", 0), at * 1000 + small)
        writer.finish()
    return path


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("large")
    blocks = RAW_BYTES // BLOCK_BYTES
    return {
        "small.mf4": mdf_log(folder / "small.mf4", 2),
        "large.mf4": mdf_log(folder / "large.mf4", blocks),
        "small.mcap": mcap_log(folder / "small.mcap", 2),
        "large.mcap": mcap_log(folder / "large.mcap", blocks),
    }


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".mf4", ".mcap"])
def test_export_to_parquet_stays_within_the_budget(logs: dict[str, Path], tmp_path: Path, suffix: str) -> None:
    rows, peak_bytes = measured(WORK, logs[f"small{suffix}"], logs[f"large{suffix}"], "export", tmp_path / "out")
    tables = [pq.ParquetFile(path).metadata for path in (tmp_path / "out").iterdir()]
    assert rows == sum(table.num_rows for table in tables) == ROWS[suffix]
    assert peak_bytes < BUDGET_BYTES


@pytest.mark.soak
@pytest.mark.parametrize("suffix", [".mf4", ".mcap"])
@pytest.mark.parametrize("how", ["describe", "columns"])
def test_describing_stays_within_the_budget(logs: dict[str, Path], tmp_path: Path, suffix: str, how: str) -> None:
    _, peak_bytes = measured(WORK, logs[f"small{suffix}"], logs[f"large{suffix}"], how, tmp_path / "out")
    assert peak_bytes < BUDGET_BYTES


@pytest.mark.soak
def test_mdf_to_mcap_stays_within_the_budget(logs: dict[str, Path], tmp_path: Path) -> None:
    rows, peak_bytes = measured(WORK, logs["small.mf4"], logs["large.mf4"], "export", tmp_path / "out.mcap")
    assert rows == ROWS[".mf4"]
    assert peak_bytes < BUDGET_BYTES


@pytest.mark.slow
def test_reading_all_at_once_would_break_the_budget(logs: dict[str, Path], tmp_path: Path) -> None:
    _, peak_bytes = measured(WORK, logs["small.mf4"], logs["large.mf4"], "at once", tmp_path / "out")
    assert peak_bytes > BUDGET_BYTES
