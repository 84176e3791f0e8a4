"""Logs that hold pictures of the front camera and nothing else."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

from mcap.writer import CompressionType, Writer

from platform_lib.datasets.sources import CAMERA_TOPIC as CAMERA

CDR = b"\x00\x01\x00\x00"
_DEFINITION = (
    "std_msgs/Header header\nstring format\nuint8[] data\n"
    + "=" * 80
    + "\nMSG: std_msgs/Header\nbuiltin_interfaces/Time stamp\nstring frame_id\n"
    + "=" * 80
    + "\nMSG: builtin_interfaces/Time\nint32 sec\nuint32 nanosec"
)


def write_camera_log(path: Path, session: str, state: str, pictures: Sequence[bytes]) -> None:
    """Write one log of vehicle ``v``: its pictures a nanosecond apart, from 1000 ns on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as stream:
        writer = Writer(stream, compression=CompressionType.NONE)
        writer.start(profile="ros2")
        writer.add_metadata("drive", {"vehicle": "v", "session": session, "pii_state": state})
        schema = writer.register_schema("sensor_msgs/msg/CompressedImage", "ros2msg", _DEFINITION.encode())
        camera = writer.register_channel(CAMERA, "cdr", schema)
        for number, data in enumerate(pictures):
            head = struct.pack("<iI", 1, 2) + struct.pack("<I", 4) + b"cam\0" + struct.pack("<I", 5) + b"jpeg\0\0\0\0"
            writer.add_message(camera, 1000 + number, CDR + head + struct.pack("<I", len(data)) + data, 1000 + number)
        writer.finish()
