"""Writers of small logs, and the real logs that this project did not write."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mcap.writer import CompressionType, Writer
from s3_objects import BUCKET

REAL = Path(__file__).resolve().parents[3] / "../shared/data/logs"
POINT = """\
std_msgs/Header header
float64 x
string label
uint8[] blob
geometry_msgs/Vector3[] path
float32[3] size
================================================================================
MSG: std_msgs/Header
builtin_interfaces/Time stamp
string frame_id
================================================================================
MSG: builtin_interfaces/Time
int32 sec
uint32 nanosec
================================================================================
MSG: geometry_msgs/Vector3
float64 x
float64 y
float64 z
"""


@pytest.fixture(scope="session")
def real_logs() -> Path:
    if not REAL.is_dir():
        pytest.skip(f"no real logs at {REAL}")
    return REAL


@pytest.fixture
def point_definition() -> str:
    return POINT


@dataclass
class McapMaker:
    """Writes MCAP files of two topics whose times interleave and are out of order across chunks."""

    folder: Path

    def write(self, name: str = "log.mcap", messages: int = 120, seed: int = 3, **options: Any) -> Path:
        from mcap_ros2._dynamic import serialize_dynamic

        path = self.folder / name
        rng = np.random.default_rng(seed)
        options = {"chunk_size": 4096, "compression": CompressionType.ZSTD, "enable_data_crcs": True} | options
        with path.open("wb") as stream:
            writer = Writer(stream, **options)
            writer.start(profile="ros2")
            schema = writer.register_schema("drive_msgs/msg/Point", "ros2msg", POINT.encode())
            channels = {topic: writer.register_channel(topic, "cdr", schema) for topic in ("/a", "/b")}
            serialise = serialize_dynamic("drive_msgs/msg/Point", POINT)["drive_msgs/msg/Point"]
            for number in range(messages):
                log_time = 1_000_000 * (number ^ 1) + 7
                data = bytes(serialise(_point(rng, number)))
                writer.add_message(channels["/a" if number % 3 else "/b"], log_time, data, log_time - 5, number)
            writer.add_metadata("drive", {"vehicle": "dt-001", "session": "s1"})
            writer.finish()
        return path


def _point(rng: np.random.Generator, number: int) -> dict[str, Any]:
    vectors = [dict(zip("xyz", map(float, rng.normal(size=3)), strict=True)) for _ in range(number % 4)]
    return {
        "header": {"stamp": {"sec": number, "nanosec": number * 3}, "frame_id": "f" * (number % 5)},
        "x": float(rng.normal()),
        "label": "ü" * (number % 3),
        "blob": rng.bytes(number % 7 * 20),
        "path": vectors,
        "size": [1.0, 2.0, float(number)],
    }


@pytest.fixture
def mcap_maker(tmp_path: Path) -> McapMaker:
    return McapMaker(tmp_path)


@dataclass(frozen=True)
class Frames:
    """CAN frames: (N,) seconds, identifiers, 29-bit flags, buses and lengths; (N, W) data bytes."""

    time_s: np.ndarray
    frame_id: np.ndarray
    extended: np.ndarray
    data: np.ndarray
    length: np.ndarray
    bus: int = 1


CanWriter = Callable[..., Path]


@pytest.fixture
def write_can(tmp_path: Path) -> CanWriter:
    from asammdf import MDF, Signal, Source

    def write(frames: Frames, name: str = "can.mf4", signals: list[Any] | None = None, compression: int = 1) -> Path:
        path = tmp_path / name
        width = frames.data.shape[1]
        parts = [("BusChannel", "u1"), ("ID", "<u4"), ("IDE", "u1"), ("DLC", "u1"), ("DataLength", "u1")]
        table = np.zeros(
            len(frames.time_s),
            [(f"CAN_DataFrame.{key}", kind) for key, kind in parts] + [("CAN_DataFrame.DataBytes", f"({width},)u1")],
        )
        values = (frames.bus, frames.frame_id, frames.extended, frames.length, frames.length)
        for (key, _), value in zip(parts, values, strict=True):
            table[f"CAN_DataFrame.{key}"] = value
        table["CAN_DataFrame.DataBytes"] = frames.data
        source = Source(source_type=2, bus_type=2, name="CAN1", path="CAN1", comment="")
        with warnings.catch_warnings(), MDF(version="4.10") as mdf:
            warnings.simplefilter("ignore")
            mdf.header.start_time = datetime(2026, 6, 1, 8, tzinfo=UTC)
            frame = Signal(table, frames.time_s, name="CAN_DataFrame", source=source)
            mdf.append(frame, acq_name="CAN1", acq_source=source, common_timebase=True)
            if signals:
                mdf.append(signals, acq_name="measured", common_timebase=True)
            mdf.save(path, overwrite=True, compression=compression)
        return path

    return write


@pytest.fixture
def frames_type() -> type[Frames]:
    return Frames


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of an S3 server on loopback that has the bucket `s3_objects.BUCKET`."""
    import boto3

    environment = {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_CONFIG_FILE": "/nonexistent",
        "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    with suppress(client.exceptions.BucketAlreadyOwnedByYou):
        client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    yield client
    client.close()
