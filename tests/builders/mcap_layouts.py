"""Small MCAP files in every layout, and what is in them."""

from __future__ import annotations

import random
from collections import defaultdict
from pathlib import Path
from typing import Any

from mcap.reader import NonSeekingReader
from mcap.writer import CompressionType, IndexType, Writer

from platform_lib.logs.bytes_source import LocalSource
from platform_lib.logs.door import Log
from platform_lib.logs.mcap.source import open_mcap

Row = tuple[int, int, bytes]
Rows = dict[str, list[Row]]
WITHOUT_INDEX = {"index_types": IndexType.NONE, "use_statistics": False, "use_summary_offsets": False}
LAYOUTS: dict[str, dict[str, Any]] = {
    "zstd": {},
    "lz4": {"compression": CompressionType.LZ4},
    "plain": {"compression": CompressionType.NONE},
    "no chunks": {"use_chunking": False, "enable_data_crcs": True},
    "no index": WITHOUT_INDEX,
    "no summary": {**WITHOUT_INDEX, "repeat_channels": False, "repeat_schemas": False},
    "no message index": {"index_types": IndexType.ALL & ~IndexType.MESSAGE},
    "no statistics": {"use_statistics": False},
    "data checksum": {"enable_data_crcs": True},
}
SIZES = (0, 3, 12, 13, 40, 200)


def write_layout(path: Path, layout: str, messages: int = 60, seed: int = 1, jitter: int = 3) -> Path:
    """Write three channels of two topics, out of order by `jitter` (a mask), with an attachment and metadata."""
    rng = random.Random(seed)  # noqa: S311 - seeded content
    with path.open("wb") as stream:
        writer = Writer(stream, **({"chunk_size": 1024, "compression": CompressionType.ZSTD} | LAYOUTS[layout]))
        writer.start("profile", "library")
        schema = writer.register_schema("a/msg/B", "ros2msg", b"uint8[] data")
        channels = [writer.register_channel(topic, "raw", schema) for topic in ("/a", "/b", "/a")]
        for number in range(messages):
            payload = rng.randbytes(rng.choice(SIZES))
            writer.add_message(channels[number % 3], 1000 + (number ^ jitter) // 2 * 10, payload, 5, number)
        writer.add_attachment(1, 2, "cal.json", "application/json", b"{}" * 30)
        writer.add_metadata("drive", {"vehicle": "v"})
        writer.finish()
    return path


def expected_rows(path: Path) -> Rows:
    """Return every topic's rows in time order as the reference library has them, equal times in file order."""
    rows: Rows = defaultdict(list)
    with path.open("rb") as stream:
        for _, channel, message in NonSeekingReader(stream, validate_crcs=True).iter_messages(log_time_order=False):
            rows[channel.topic].append((message.log_time, message.publish_time, message.data))
    return {name: sorted(found, key=lambda row: row[0]) for name, found in rows.items()}


def open_file(path: Path, *, lazily: bool = False, recover: bool = False) -> Log:
    """Open an MCAP file; `lazily`: as if it were too large to be proven at once."""
    small_bytes = 0 if lazily else 1 << 40
    return Log(path, open_mcap(LocalSource(path), recover=recover, small_bytes=small_bytes))


def all_rows(log: Log, **window: Any) -> Rows:
    """Return every topic's rows, read in one pass; the Arrow data is validated."""
    rows: Rows = defaultdict(list)
    for name, batch in log.read_all(decode=False, **window):
        batch.validate(full=True)
        rows[name].extend(zip(*(batch[column].to_pylist() for column in batch.schema.names), strict=True))
    return dict(rows)
