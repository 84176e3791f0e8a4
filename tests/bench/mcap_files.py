"""The MCAP files that are measured: a minute of a ROS 2 vehicle, and a log of twenty topics for the object store.

Four cameras at 20 Hz, a lidar at 10 Hz, an IMU at 400 Hz, CAN at 2.5 kHz (179,400 messages together) and odometry at
100 Hz; chunks of about 1 MiB, as the writer makes them by default.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mcap.writer import CompressionType, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

FULL_S = 60
IMAGE_BYTES = 110_000
POINTS = 60_000
TWENTY = 20
_START_NS = 1_793_520_000_000_000_000
_SEED = 20261102
_CAN = "std_msgs/Header header\nuint32 id\nbool is_extended\nbool is_error\nuint8 dlc\nuint8[8] data\n"


@dataclass(frozen=True, slots=True)
class Feed:
    """One topic: its rate, and how its n-th message at a time is made."""

    topic: str
    message_type: str
    rate_hz: int
    make: Callable[[int, Any], Any]


def write_zstd(path: Path, scale: float) -> None:
    """Write the minute with zstd chunks."""
    _write(path, scale, CompressionType.ZSTD)


def write_lz4(path: Path, scale: float) -> None:
    """Write the minute with lz4 chunks."""
    _write(path, scale, CompressionType.LZ4)


def _write(path: Path, scale: float, compression: CompressionType) -> None:
    vehicle = _Vehicle()
    with path.open("wb") as stream:
        writer = Writer(stream, compression=compression)
        writer.start(profile="ros2", library="drivetrain bench")
        channels: dict[str, int] = {}
        for feed in vehicle.feeds:
            definition = vehicle.store.generate_msgdef(feed.message_type, ros_version=2)[0].encode()
            schema = writer.register_schema(feed.message_type, "ros2msg", definition)
            channels[feed.topic] = writer.register_channel(feed.topic, "cdr", schema)
        for number, (time_ns, feed, count) in enumerate(_moments(vehicle.feeds, max(0.5, FULL_S * scale))):
            message = feed.make(count, vehicle.header(time_ns, feed.topic))
            data = bytes(vehicle.store.serialize_cdr(message, feed.message_type))
            writer.add_message(channels[feed.topic], time_ns, data, time_ns - 1000, number)
        writer.add_metadata("drive", {"vehicle": "bench-001", "session": "s1"})
        writer.finish()


def _moments(feeds: list[Feed], length_s: float) -> Iterator[tuple[int, Feed, int]]:
    """Yield every message's time, in time order: rows of (time_ns, feed, its number in the feed)."""
    times, owners, counts = [], [], []
    for owner, feed in enumerate(feeds):
        count = np.arange(max(2, int(feed.rate_hz * length_s)))
        times.append(_START_NS + 7919 * owner + count * (1_000_000_000 // feed.rate_hz))
        owners.append(np.full(count.size, owner))
        counts.append(count)
    time_ns, owner_of, count_of = map(np.concatenate, (times, owners, counts))
    for at in np.argsort(time_ns, kind="stable").tolist():
        yield int(time_ns[at]), feeds[owner_of[at]], int(count_of[at])


class _Vehicle:
    """Makes messages with content that compresses about as a recorded vehicle's does."""

    def __init__(self) -> None:
        self.store = get_typestore(Stores.ROS2_HUMBLE)
        self.store.register(get_types_from_msg(_CAN, "can_msgs/msg/Frame"))
        self._rng = np.random.default_rng(_SEED)
        self._noise = self._rng.integers(0, 256, 4 * IMAGE_BYTES, dtype=np.uint8)
        self._sweep = self._points()
        self.feeds = [
            *(Feed(f"/camera_{at}", "sensor_msgs/msg/CompressedImage", 20, self._image) for at in range(4)),
            Feed("/lidar", "sensor_msgs/msg/PointCloud2", 10, self._cloud),
            Feed("/imu", "sensor_msgs/msg/Imu", 400, self._imu),
            Feed("/odom", "nav_msgs/msg/Odometry", 100, self._odometry),
            Feed("/can", "can_msgs/msg/Frame", 2500, self._can),
        ]

    def _new(self, kind: str, /, **fields: Any) -> Any:
        return self.store.types[kind](**fields)

    def header(self, time_ns: int, topic: str) -> Any:
        stamp = self._new("builtin_interfaces/msg/Time", sec=time_ns // 10**9, nanosec=time_ns % 10**9)
        return self._new("std_msgs/msg/Header", stamp=stamp, frame_id=f"{topic[1:]}_link")

    def _image(self, count: int, header: Any) -> Any:
        """Return a frame of bytes that do not compress, as JPEG's do not."""
        size = IMAGE_BYTES + int(self._rng.integers(-15_000, 15_000))
        begin = int(self._rng.integers(0, self._noise.size - size))
        data = self._noise[begin : begin + size] ^ np.uint8(count * 37 & 0xFF)
        return self._new("sensor_msgs/msg/CompressedImage", header=header, format="jpeg", data=data)

    def _points(self) -> Any:
        """Return a sweep of 64 rings as millimetre-rounded floats: (POINTS,) of x, y, z, intensity."""
        angle = np.linspace(0, 2 * np.pi, POINTS // 64, endpoint=False)
        rings = np.linspace(-0.4, 0.1, 64)
        distance = 20 + 8 * np.sin(3 * angle)[:, None] + 2 * rings[None, :]
        sweep = np.zeros(angle.size * 64, [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("intensity", "<f4")])
        for name, values in (
            ("x", distance * np.cos(angle)[:, None]),
            ("y", distance * np.sin(angle)[:, None]),
            ("z", distance * rings[None, :]),
        ):
            sweep[name] = np.round(values.reshape(-1) / 0.004) * 0.004
        sweep["intensity"] = np.round(40 + 20 * np.sin(np.arange(sweep.size) * 0.01))
        return sweep

    def _cloud(self, count: int, header: Any) -> Any:
        sweep = self._sweep.copy()
        for name in "xyz":
            sweep[name] += (self._rng.integers(-6, 7, sweep.size) * 0.004).astype(np.float32)
        fields = [
            self._new("sensor_msgs/msg/PointField", name=name, offset=4 * at, datatype=7, count=1)
            for at, name in enumerate(sweep.dtype.names)
        ]
        return self._new(
            "sensor_msgs/msg/PointCloud2",
            header=header,
            height=1,
            width=sweep.size,
            fields=fields,
            is_bigendian=False,
            point_step=16,
            row_step=16 * sweep.size,
            data=sweep.view(np.uint8),
            is_dense=True,
        )

    def _vector(self, kind: str = "Vector3") -> Any:
        return self._new(
            f"geometry_msgs/msg/{kind}", **dict(zip("xyz", self._rng.normal(size=3).tolist(), strict=True))
        )

    def _quaternion(self) -> Any:
        values = dict(zip("xyzw", self._rng.normal(size=4).tolist(), strict=True))
        return self._new("geometry_msgs/msg/Quaternion", **values)

    def _imu(self, count: int, header: Any) -> Any:
        return self._new(
            "sensor_msgs/msg/Imu",
            header=header,
            orientation=self._quaternion(),
            orientation_covariance=np.eye(3).reshape(-1) * 1e-4,
            angular_velocity=self._vector(),
            angular_velocity_covariance=np.eye(3).reshape(-1) * 1e-5,
            linear_acceleration=self._vector(),
            linear_acceleration_covariance=np.eye(3).reshape(-1) * 1e-3,
        )

    def _odometry(self, count: int, header: Any) -> Any:
        covariance = np.eye(6).reshape(-1) * 1e-3
        pose = self._new("geometry_msgs/msg/Pose", position=self._vector("Point"), orientation=self._quaternion())
        twist = self._new("geometry_msgs/msg/Twist", linear=self._vector(), angular=self._vector())
        return self._new(
            "nav_msgs/msg/Odometry",
            header=header,
            child_frame_id="base_link",
            pose=self._new("geometry_msgs/msg/PoseWithCovariance", pose=pose, covariance=covariance),
            twist=self._new("geometry_msgs/msg/TwistWithCovariance", twist=twist, covariance=covariance),
        )

    def _can(self, count: int, header: Any) -> Any:
        data = self._rng.integers(0, 256, 8, dtype=np.uint8)
        identifier = 0x100 + 8 * (count % 48)
        return self._new(
            "can_msgs/msg/Frame", header=header, id=identifier, is_extended=False, is_error=False, dlc=8, data=data
        )


def write_twenty_topics(path: Path, scale: float) -> None:
    """Write a log of twenty topics, about 420 MB, whose writer gives each topic chunks of its own.

    Uncompressed: what is counted is bytes, and a chunk then is as large as it says.
    """
    rng = np.random.default_rng(_SEED)
    bursts = max(4 * TWENTY, int(420 * scale))
    with path.open("wb") as stream:
        writer = Writer(stream, chunk_size=1 << 20, compression=CompressionType.NONE)
        writer.start(profile="", library="drivetrain bench")
        channels = [writer.register_channel(f"/topic_{number}", "raw", 0) for number in range(TWENTY)]
        for burst in range(bursts):
            for step in range(17):
                time_ns = _START_NS + 1_000_000 * burst + step
                writer.add_message(channels[burst % TWENTY], time_ns, rng.bytes(62_000), time_ns, step)
        writer.finish()
