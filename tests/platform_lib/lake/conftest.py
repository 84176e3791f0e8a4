"""Small real logs, and a lake with its server for the tests of one module."""

from __future__ import annotations

import shutil
import struct
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest
from mcap.writer import CompressionType, Writer

from platform_lib.home import open_home
from platform_lib.lake.lake import Lake

# Message definitions, and the CDR of one value of each (little endian, offsets from after the 4-byte header).
DEFINITIONS = {
    "std_msgs/msg/Float64": "float64 data",
    "gps_msgs/msg/Mark": "float64 data",
    "geometry_msgs/msg/Vector3": "float64 x\nfloat64 y\nfloat64 z",
    "demo_msgs/msg/Readings": "float64[] values",
    "sensor_msgs/msg/CompressedImage": (
        "std_msgs/Header header\nstring format\nuint8[] data\n"
        + "=" * 80
        + "\nMSG: std_msgs/Header\nbuiltin_interfaces/Time stamp\nstring frame_id\n"
        + "=" * 80
        + "\nMSG: builtin_interfaces/Time\nint32 sec\nuint32 nanosec"
    ),
}
_CDR = b"\x00\x01\x00\x00"


def float64(value: float) -> bytes:
    return _CDR + struct.pack("<d", value)


def vector3(x: float, y: float, z: float) -> bytes:
    return _CDR + struct.pack("<ddd", x, y, z)


def readings(*values: float) -> bytes:
    return _CDR + struct.pack("<I4x", len(values)) + struct.pack(f"<{len(values)}d", *values)


def image(data: bytes) -> bytes:
    head = struct.pack("<iI", 1, 2) + struct.pack("<I", 4) + b"cam\0" + struct.pack("<I", 5) + b"jpeg\0\0\0\0"
    return _CDR + head + struct.pack("<I", len(data)) + data


Topics = Mapping[str, tuple[str | None, list[tuple[int, bytes]]]]
"""Topic -> (message type, or None for payloads without a definition; (time, payload) of each message)."""
WriteMcap = Callable[..., Path]


def _write_mcap(path: Path, topics: Topics, metadata: Mapping[str, str] | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as stream:
        writer = Writer(stream, compression=CompressionType.NONE)
        writer.start(profile="ros2")
        if metadata is not None:
            writer.add_metadata("drive", dict(metadata))
        for topic, (kind, messages) in topics.items():
            schema = 0 if kind is None else writer.register_schema(kind, "ros2msg", DEFINITIONS[kind].encode())
            channel = writer.register_channel(topic, "cdr" if kind else "opaque", schema)
            for time_ns, payload in messages:
                writer.add_message(channel, time_ns, payload, time_ns)
        writer.finish()
    return path


@pytest.fixture(scope="session")
def cdr() -> SimpleNamespace:
    """Encoders of the messages in `DEFINITIONS`."""
    return SimpleNamespace(float64=float64, vector3=vector3, readings=readings, image=image)


@pytest.fixture(scope="session")
def write_mcap() -> WriteMcap:
    return _write_mcap


@pytest.fixture(scope="module")
def lake() -> Iterator[Lake]:
    """An empty lake; as root its server runs as another account, which pytest's own folders keep out."""
    folder = Path(tempfile.mkdtemp(prefix="drivetrain-test-"))
    folder.chmod(0o755)
    with Lake.open(open_home(folder / "home")) as opened:
        opened.store.create()
        yield opened
    shutil.rmtree(folder, ignore_errors=True)
