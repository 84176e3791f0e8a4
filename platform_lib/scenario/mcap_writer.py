"""Write the sensor recorder's file: MCAP, ROS 2 profile, CDR messages, zstd chunks with CRCs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mcap.writer import CompressionType, Writer

from platform_lib.scenario.camera import FRONT_CAMERA
from platform_lib.scenario.cdr import CdrWriter
from platform_lib.scenario.clocks import keep_mask
from platform_lib.scenario.lidar import POINT_DTYPE, ROOF_LIDAR
from platform_lib.scenario.message_types import schema_name, schema_text
from platform_lib.scenario.model import DriveSpec
from platform_lib.scenario.recording import Column, Recording

_CHUNK_BYTES = 1 << 20
_LIBRARY = "drivetrain simulate"
_BASE, _ODOM, _IMU = "base_link", "odom", "imu_link"
_GRAVITY_MPS2 = 9.80665
_FLEET_AREA_DEG = ((46.0, 50.0), (7.0, 14.0))
"""South and north, west and east end of where the flat worlds are pinned to the globe. Each seed is a road of its own,
so each has a place of its own; the roads are invented, and their places with them."""
_METRES_PER_DEGREE = 111_320.0

_TOPICS: dict[str, str] = {
    "/camera/front/image/compressed": "sensor_msgs/CompressedImage",
    "/camera/front/camera_info": "sensor_msgs/CameraInfo",
    "/lidar/points": "sensor_msgs/PointCloud2",
    "/imu": "sensor_msgs/Imu",
    "/gnss": "sensor_msgs/NavSatFix",
    "/odom": "nav_msgs/Odometry",
    "/tf": "tf2_msgs/TFMessage",
    "/tf_static": "tf2_msgs/TFMessage",
    "/route/command": "std_msgs/UInt8",
    "/ground_truth/objects": "drivetrain_msgs/TrackedObjectArray",
}


@dataclass(frozen=True, slots=True)
class Lost:
    """Times of what the sensor recorder lost, on the reference clock."""

    frames_ns: tuple[int, ...]
    sweeps_ns: tuple[int, ...]


Message = tuple[int, str, bytes]


def write_mcap(path: Path, spec: DriveSpec, recording: Recording, rng: np.random.Generator) -> Lost:
    """Write one MCAP; the same arguments give the same bytes. Its clock is the reference clock.

    Returns:
        Which camera frames and lidar sweeps the recorder lost.
    """
    frames_kept = keep_mask(len(recording.frame_s), rng, single=0.004, burst=int(rng.integers(0, 3)))
    sweeps_kept = keep_mask(len(recording.sweep_s), rng, single=0.01, burst=int(rng.integers(0, 2)))
    messages = [
        *_static(spec),
        *_camera(spec, recording, frames_kept),
        *_lidar(spec, recording, sweeps_kept),
        *_imu(spec, recording, rng),
        *_gnss(spec, recording, rng),
        *_odometry(spec, recording),
        *_route_and_truth(spec, recording),
    ]
    topics = list(_TOPICS)
    messages.sort(key=lambda message: (message[0], topics.index(message[1])))
    with path.open("wb") as stream:
        # The data section's CRC covers what no chunk does: metadata such as the vehicle and the PII state.
        writer = Writer(stream, chunk_size=_CHUNK_BYTES, compression=CompressionType.ZSTD, enable_data_crcs=True)
        _write(writer, spec, messages)
    frame_ns, sweep_ns = _stamps(spec, recording.frame_s), _stamps(spec, recording.sweep_s)
    return Lost(
        tuple(t for t, kept in zip(frame_ns, frames_kept, strict=True) if not kept),
        tuple(t for t, kept in zip(sweep_ns, sweeps_kept, strict=True) if not kept),
    )


def _write(writer: Writer, spec: DriveSpec, messages: list[Message]) -> None:
    writer.start(profile="ros2", library=_LIBRARY)
    schemas = {
        name: writer.register_schema(schema_name(name), "ros2msg", schema_text(name).encode())
        for name in sorted(set(_TOPICS.values()))
    }
    channels = {topic: writer.register_channel(topic, "cdr", schemas[name]) for topic, name in _TOPICS.items()}
    sequences = dict.fromkeys(_TOPICS, 0)
    for stamp_ns, topic, data in messages:
        writer.add_message(channels[topic], stamp_ns, data, stamp_ns, sequences[topic])
        sequences[topic] += 1
    writer.add_metadata(
        "drive",
        {
            "vehicle": spec.vehicle,
            "session": spec.session,
            "weather": spec.weather,
            "event": spec.event,
            "pii_state": "none_present",
            "dataset": "synthetic",
        },
    )
    writer.finish()


def _stamps(spec: DriveSpec, time_s: Column) -> list[int]:
    """Return reference times as Python integers, UTC nanoseconds."""
    return [spec.start_ns + int(t) for t in np.round(time_s * 1e9).astype(np.int64)]


def _every(recording: Recording, step: int) -> slice:
    return slice(0, len(recording.time_s), step)


def _static(spec: DriveSpec) -> Iterator[Message]:
    camera, lidar = FRONT_CAMERA, ROOF_LIDAR
    transforms = (
        # The optical frame looks along its z axis, turned from x forward, y left, z up; see `camera_from_ego`.
        (camera.name, (camera.mount_x_m, 0.0, camera.mount_z_m), _optical_rotation(camera.pitch_rad)),
        (lidar.name, (lidar.mount_x_m, 0.0, lidar.mount_z_m), (0.0, 0.0, 0.0, 1.0)),
        (_IMU, (0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0)),
    )
    message = CdrWriter().put("I", len(transforms))
    for child, translation, rotation in transforms:
        message.header(spec.start_ns, _BASE).text(child).put("d", *translation, *rotation)
    yield spec.start_ns, "/tf_static", message.done()


def _optical_rotation(pitch_rad: float) -> tuple[float, float, float, float]:
    """Return the quaternion (x, y, z, w) of base_link from the optical frame, tilted down by `pitch_rad`."""
    # Product of a turn by pitch about y and the fixed turn onto optical axes (-0.5, 0.5, -0.5, 0.5).
    c, s = math.cos(pitch_rad / 2), math.sin(pitch_rad / 2)
    ax, ay, az, aw = 0.0, s, 0.0, c
    bx, by, bz, bw = -0.5, 0.5, -0.5, 0.5
    return (
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
        aw * bw - ax * bx - ay * by - az * bz,
    )


def _camera(spec: DriveSpec, recording: Recording, kept: Iterable[bool]) -> Iterator[Message]:
    camera = FRONT_CAMERA
    stamps = _stamps(spec, recording.frame_s)
    for stamp_ns, jpeg, keep in zip(stamps, recording.jpegs, kept, strict=True):
        if keep:
            message = CdrWriter().header(stamp_ns, camera.name).text("jpeg").blob(jpeg)
            yield stamp_ns, "/camera/front/image/compressed", message.done()
    k = camera.intrinsics
    for stamp_ns in stamps[::10]:
        info = CdrWriter().header(stamp_ns, camera.name).put("I", camera.height_px, camera.width_px)
        info.text("plumb_bob").put("I", 5).put("d", *([0.0] * 5))
        info.put("d", *k.ravel().tolist()).put("d", *np.eye(3).ravel().tolist())
        info.put("d", *np.hstack([k, np.zeros((3, 1))]).ravel().tolist())
        info.put("I", 0, 0).put("I", 0, 0, 0, 0).put("?", 0)
        yield stamp_ns, "/camera/front/camera_info", info.done()


def _lidar(spec: DriveSpec, recording: Recording, kept: Iterable[bool]) -> Iterator[Message]:
    step = POINT_DTYPE.itemsize
    for stamp_ns, points, keep in zip(_stamps(spec, recording.sweep_s), recording.sweeps, kept, strict=True):
        if not keep:
            continue
        message = CdrWriter().header(stamp_ns, ROOF_LIDAR.name).put("I", 1, len(points))
        message.put("I", len(POINT_DTYPE.names or ()))
        for number, name in enumerate(POINT_DTYPE.names or ()):
            message.text(name).put("I", 4 * number).put("B", 7).put("I", 1)
        message.put("?", 0).put("I", step, step * len(points)).blob(points.tobytes()).put("?", 1)
        yield stamp_ns, "/lidar/points", message.done()


def _imu(spec: DriveSpec, recording: Recording, rng: np.random.Generator) -> Iterator[Message]:
    count = len(recording.time_s)
    noise = rng.normal(0.0, (0.002, 0.002, 0.002, 0.04, 0.04, 0.04), size=(count, 6))
    lateral = recording.v_mps * recording.yaw_rate_rps
    orientation_cov = np.diag([1e-4] * 3).ravel().tolist()
    gyro_cov, accel_cov = np.diag([4e-6] * 3).ravel().tolist(), np.diag([1.6e-3] * 3).ravel().tolist()
    for i, stamp_ns in enumerate(_stamps(spec, recording.time_s)):
        n = noise[i].tolist()
        message = CdrWriter().header(stamp_ns, _IMU).put("d", *_about_z(float(recording.yaw_rad[i])), *orientation_cov)
        message.put("d", n[0], n[1], float(recording.yaw_rate_rps[i]) + n[2], *gyro_cov)
        message.put(
            "d", float(recording.accel_mps2[i]) + n[3], float(lateral[i]) + n[4], _GRAVITY_MPS2 + n[5], *accel_cov
        )
        yield stamp_ns, "/imu", message.done()


def _gnss(spec: DriveSpec, recording: Recording, rng: np.random.Generator) -> Iterator[Message]:
    window = _every(recording, 10)
    noise = rng.normal(0.0, 0.25, size=(len(recording.time_s[window]), 3))
    north = recording.y_m[window] + noise[:, 0]
    east = recording.x_m[window] + noise[:, 1]
    south_deg, west_deg = origin_deg(spec)
    latitude = south_deg + north / _METRES_PER_DEGREE
    longitude = west_deg + east / (_METRES_PER_DEGREE * math.cos(math.radians(south_deg)))
    covariance = np.diag([0.0625] * 3).ravel().tolist()
    for i, stamp_ns in enumerate(_stamps(spec, recording.time_s[window])):
        message = CdrWriter().header(stamp_ns, _BASE).put("b", 0).put("H", 1)
        message.put("d", float(latitude[i]), float(longitude[i]), 500.0 + float(noise[i, 2]), *covariance).put("B", 2)
        yield stamp_ns, "/gnss", message.done()


def origin_deg(spec: DriveSpec) -> tuple[float, float]:
    """Return latitude and longitude of the world's origin; the same road, which the seed decides, the same place."""
    rng = np.random.default_rng(np.random.SeedSequence([spec.seed, 6]))
    latitude, longitude = (float(rng.uniform(low, high)) for low, high in _FLEET_AREA_DEG)
    return latitude, longitude


def _odometry(spec: DriveSpec, recording: Recording) -> Iterator[Message]:
    """Give the exact pose: the drives stand in for ones whose localisation was refined after the fact."""
    window = _every(recording, 2)
    covariance = np.diag([1e-4] * 6).ravel().tolist()
    columns = (recording.x_m, recording.y_m, recording.yaw_rad, recording.v_mps, recording.yaw_rate_rps)
    rows = np.stack([column[window] for column in columns], axis=1).tolist()
    for i, (stamp_ns, (x, y, yaw, v, rate)) in enumerate(
        zip(_stamps(spec, recording.time_s[window]), rows, strict=True)
    ):
        turned = _about_z(yaw)
        message = CdrWriter().header(stamp_ns, _ODOM).text(_BASE).put("d", x, y, 0.0, *turned, *covariance)
        message.put("d", v, 0.0, 0.0, 0.0, 0.0, rate, *covariance)
        yield stamp_ns, "/odom", message.done()
        if i % 2 == 0:
            moved = CdrWriter().put("I", 1).header(stamp_ns, _ODOM).text(_BASE).put("d", x, y, 0.0, *turned)
            yield stamp_ns, "/tf", moved.done()


def _route_and_truth(spec: DriveSpec, recording: Recording) -> Iterator[Message]:
    stamps = _stamps(spec, recording.frame_s)
    for stamp_ns, command, objects in zip(stamps, recording.command.tolist(), recording.objects, strict=True):
        yield stamp_ns, "/route/command", CdrWriter().put("B", command).done()
        message = CdrWriter().header(stamp_ns, _BASE).put("I", len(objects))
        for item in objects:
            message.put("I", item.id).text(item.kind)
            message.put("d", item.x_m, item.y_m, item.yaw_rad, item.length_m, item.width_m, item.speed_mps)
        yield stamp_ns, "/ground_truth/objects", message.done()


def _about_z(yaw_rad: float) -> tuple[float, float, float, float]:
    return 0.0, 0.0, math.sin(yaw_rad / 2), math.cos(yaw_rad / 2)
