"""Tiny sound logs for tests of ingest: one signal and as many samples."""

from __future__ import annotations

import struct
from pathlib import Path

from mcap.writer import CompressionType, Writer

from platform_lib.home import Home
from platform_lib.lake.lake import Lake

ROWS = 50
_CDR = b"\x00\x01\x00\x00"


def write_tiny_log(path: Path, seed: int, *, metadata: bool = True, start_ns: int = 1000, rows: int = ROWS) -> Path:
    """Write a log of `rows` rows of one signal, all values different from other seeds', and as many samples."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as stream:
        writer = Writer(stream, compression=CompressionType.NONE)
        writer.start(profile="ros2")
        if metadata:
            writer.add_metadata("drive", {"vehicle": "v", "session": path.parent.name, "pii_state": "none_present"})
        number = writer.register_schema("std_msgs/msg/Float64", "ros2msg", b"float64 data")
        speed = writer.register_channel("/speed", "cdr", number)
        blob = writer.register_channel("/blob", "opaque", 0)
        for i in range(rows):
            writer.add_message(speed, start_ns + i, _CDR + struct.pack("<d", seed * 1000 + i), start_ns + i)
            writer.add_message(blob, start_ns + i, bytes([seed % 256]) * 500, start_ns + i)
        writer.finish()
    return path


def seen_rows(home: Home) -> dict[str, tuple[int, int, int]]:
    """Return drive -> signal rows, distinct values among them, samples, as a reader sees them."""
    with Lake.open(home) as lake:
        found = {}
        for drive in lake.drives():
            signals = lake.signals(drive.drive_id)
            samples = lake.samples(drive.drive_id, "/blob")
            found[drive.drive_id] = (signals.num_rows, len(set(signals["value"].to_pylist())), samples.num_rows)
        return found
