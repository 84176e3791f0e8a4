"""Find in the lake what a drive's samples need, and say what is missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from platform_lib.catalog.model import Drive
from platform_lib.datasets.geometry import yaw_from_quaternion
from platform_lib.datasets.model import (
    BoolArray,
    Detections,
    DriveStreams,
    FloatArray,
    Int64Array,
    SampleRules,
    SkippedDrive,
    shared_signals,
)
from platform_lib.datasets.places import known_positions
from platform_lib.lake.lake import Lake
from platform_lib.logs import decode_cdr
from platform_lib.privacy.frames import AdmittedFrames
from platform_lib.timeline import Series, SharedSignal, mean_rate

CAMERA_TOPIC = "/camera/front/image/compressed"
ODOMETRY_TOPIC = "/odom"
COMMAND_TOPIC = "/route/command"
OBJECTS_TOPIC = "/ground_truth/objects"

_POSITION = ("pose.pose.position.x", "pose.pose.position.y")
_ORIENTATION = tuple(f"pose.pose.orientation.{axis}" for axis in "xyzw")
_SPEED = "twist.twist.linear.x"
_COMMAND = "data"
_LAT_LON = ("latitude", "longitude")
_FEWEST_SAMPLES = 20
_BOX = ("x", "y", "yaw", "length", "width", "speed")


@dataclass(frozen=True, slots=True)
class BusRole:
    """One quantity on the vehicle bus, by the names and units it is known under.

    Attributes:
        name: For messages.
        signals: Alternatives, the best first; the signals of one alternative lie in one stream and are averaged.
        scale: Unit as the log names it -> factor to SI. A signal without a unit is not taken: it could be anything.
    """

    name: str
    signals: tuple[tuple[str, ...], ...]
    scale: Mapping[str, float]


# The mean of the rear wheels is the speed of the rear axle's middle, the ego frame's origin, also in a curve.
BUS_SPEED = BusRole(
    "speed",
    (("WheelSpeedRearLeft", "WheelSpeedRearRight"), ("VehicleSpeed",), ("vehicle_speed",)),
    # Source: 1 mile = 1609.344 m (international yard and pound agreement, 1959).
    {"m/s": 1.0, "km/h": 1 / 3.6, "kph": 1 / 3.6, "mph": 0.44704},
)
BUS_YAW_RATE = BusRole(
    "yaw rate",
    (("YawRate",), ("yaw_rate",)),
    {"rad/s": 1.0, "deg/s": float(np.pi / 180.0), "°/s": float(np.pi / 180.0)},
)
BUS_ACCEL = BusRole(
    "longitudinal acceleration",
    (("LongitudinalAcceleration",), ("longitudinal_acceleration",)),
    {"m/s2": 1.0, "m/s^2": 1.0, "m/s²": 1.0},
)

USED_SIGNALS: frozenset[str] = frozenset(
    {
        *(name for role in (BUS_SPEED, BUS_YAW_RATE, BUS_ACCEL) for chosen in role.signals for name in chosen),
        *(*_POSITION, *_ORIENTATION, _SPEED, _COMMAND, *_LAT_LON),
    }
)
"""Every signal that samples are made from."""


@dataclass(frozen=True, slots=True)
class LoadedDrive:
    """One drive's recordings, and its camera frames as JPEG files (F,) in the order of `streams.frame_ns`."""

    streams: DriveStreams
    images: AdmittedFrames


class _MissingStreamError(Exception):
    """A drive lacks something; the text is the reason it is skipped."""


def load_shared_signals(lake: Lake, drive: Drive) -> tuple[SharedSignal, ...] | SkippedDrive:
    """Read what both recorders of a drive saw, and nothing else; or say what is missing."""
    try:
        names = [name for role in (BUS_SPEED, BUS_YAW_RATE) for chosen in role.signals for name in chosen]
        table = lake.signals(drive.drive_id, signals=[*_POSITION, *_ORIENTATION, _SPEED, *names])
        speed, yaw_rate = _bus_motion(table)
        odometry = _odometry(table)
    except _MissingStreamError as missing:
        return SkippedDrive(drive.drive_id, str(missing))
    return shared_signals(speed, yaw_rate, odometry.speed, odometry.yaw_rate)


@dataclass(frozen=True, slots=True)
class _Odometry:
    """Pose (N, 3), speed and yaw rate.

    The yaw rate is that of the poses, not the one in the message: a sampled rate misses what happens between samples,
    and steering that keeps time with them would shift the clock by a part of their distance. Poses in the odometry
    frame do not jump. Source: REP 105, https://www.ros.org/reps/rep-0105.html.
    """

    pose: Series
    speed: Series
    yaw_rate: Series


def _odometry(table: pa.Table) -> _Odometry:
    times, columns = _topic_columns(table, ODOMETRY_TOPIC, (*_POSITION, *_ORIENTATION, _SPEED))
    yaw_rad = yaw_from_quaternion(columns[:, 2:6])
    return _Odometry(
        pose=Series.of(times, np.column_stack([columns[:, :2], yaw_rad])),
        speed=Series.of(times, columns[:, 6]),
        yaw_rate=mean_rate(Series.of(times, yaw_rad), max_gap_ns=SampleRules().pose_gap_ns),
    )


def _bus_motion(table: pa.Table) -> tuple[Series, Series]:
    speed = _bus_signal(table, BUS_SPEED)
    yaw_rate = _bus_signal(table, BUS_YAW_RATE)
    if speed is None or yaw_rate is None:
        raise _MissingStreamError(
            f"no {(BUS_SPEED if speed is None else BUS_YAW_RATE).name} with a known unit on a bus"
        )
    return speed, yaw_rate


def load_drive(lake: Lake, drive: Drive) -> LoadedDrive | SkippedDrive:
    """Read one drive's streams; a drive that lacks one is skipped, with the reason."""
    try:
        return _load(lake, drive)
    except _MissingStreamError as missing:
        return SkippedDrive(drive.drive_id, str(missing))


def _load(lake: Lake, drive: Drive) -> LoadedDrive:
    camera = lake.samples(drive.drive_id, CAMERA_TOPIC)
    if len(camera) == 0 and (raw := lake.raw_frames(drive.drive_id, CAMERA_TOPIC)):
        raise _MissingStreamError(f"its {raw} frames of {CAMERA_TOPIC} may show people: `drivetrain blur frames` first")
    if len(camera) == 0:
        raise _MissingStreamError(f"no {CAMERA_TOPIC}")
    objects = lake.samples(drive.drive_id, OBJECTS_TOPIC)
    if len(objects) == 0:
        raise _MissingStreamError(f"no {OBJECTS_TOPIC}")
    names = [
        *_LAT_LON,
        *(name for role in (BUS_SPEED, BUS_YAW_RATE, BUS_ACCEL) for chosen in role.signals for name in chosen),
    ]
    table = lake.signals(drive.drive_id, signals=[*_POSITION, *_ORIENTATION, _SPEED, _COMMAND, *names])
    speed, yaw_rate = _bus_motion(table)
    command_ns, command = _topic_columns(table, COMMAND_TOPIC, (_COMMAND,))
    odometry = _odometry(table)
    # One camera frame per time: of two with the same stamp the later one stands.
    last = np.append(np.diff(camera["timestamp_ns"].to_numpy()) > 0, True)
    duplicates = int(np.count_nonzero(~last))
    camera = camera.filter(pa.array(last))
    streams = DriveStreams(
        drive_id=drive.drive_id,
        labels=dict(drive.labels),
        file_sha256=tuple(sorted(item.file_sha256 for item in drive.files)),
        frame_ns=camera["timestamp_ns"].to_numpy(),
        duplicate_frames=duplicates,
        frame_pii=tuple(str(state) for state in camera["pii_state"].to_pylist()),
        frame_is_jpeg=_whole_jpegs(camera),
        bus_speed=speed,
        bus_yaw_rate=yaw_rate,
        bus_accel=_bus_signal(table, BUS_ACCEL),
        pose=odometry.pose,
        odom_speed=odometry.speed,
        odom_yaw_rate=odometry.yaw_rate,
        command_ns=command_ns,
        command=command[:, 0].astype(np.int64),
        detections=_detections(objects),
        vehicle=drive.vehicle,
        position=_position(table),
    )
    return LoadedDrive(streams, AdmittedFrames.of(camera))


def _topic_columns(table: pa.Table, topic: str, names: tuple[str, ...]) -> tuple[Int64Array, FloatArray]:
    """Return times (N,) and values (N, len(names)) of one topic's signals; times with a value missing are left out."""
    rows = table.filter(pc.equal(table["stream"], topic))
    columns = []
    for name in names:
        own = rows.filter(pc.equal(rows["signal"], name))
        if len(own) == 0:
            raise _MissingStreamError(f"no {topic} {name}")
        times = own["timestamp_ns"].to_numpy()
        columns.append((times, own["value"].to_numpy(zero_copy_only=False)))
    times = columns[0][0]
    if any(len(other[0]) != len(times) or np.any(other[0] != times) for other in columns):
        raise _MissingStreamError(f"the fields of {topic} differ in their times")
    values = np.column_stack([column[1] for column in columns])
    keep = np.isfinite(values).all(axis=1)
    following = np.append(np.diff(times) > 0, True)
    return times[keep & following], values[keep & following]


def _position(table: pa.Table) -> Series | None:
    """Return (P, 2) latitude and longitude in degrees of the first topic, by name, that tells both; None without."""
    own = table.filter(pc.and_(pc.equal(table["signal"], _LAT_LON[0]), pc.starts_with(table["stream"], pattern="/")))
    for stream in sorted(set(own["stream"].to_pylist())):
        try:
            times, values = _topic_columns(table, stream, _LAT_LON)
        except _MissingStreamError:
            continue
        known = known_positions(values[:, 0], values[:, 1])
        if known.any():
            return Series.of(times[known], values[known])
    return None


def _bus_signal(table: pa.Table, role: BusRole) -> Series | None:
    """Return the best alternative in SI units, or None."""
    for alternative in role.signals:
        found = [_one_bus_signal(table, name, role) for name in alternative]
        present = [item for item in found if item is not None]
        if len(present) < len(alternative):
            continue
        times = present[0].timestamp_ns
        for other in present[1:]:
            times = np.intersect1d(times, other.timestamp_ns, assume_unique=True)
        if len(times) == 0:
            continue
        values = [item.values[np.searchsorted(item.timestamp_ns, times)] for item in present]
        return Series(times, np.mean(values, axis=0))
    return None


def _one_bus_signal(table: pa.Table, name: str, role: BusRole) -> Series | None:
    """Return one signal that is no topic's and has a unit that is known; of several streams the first by name."""
    own = table.filter(
        pc.and_(pc.equal(table["signal"], name), pc.invert(pc.starts_with(table["stream"], pattern="/")))
    )
    for stream in sorted(set(own["stream"].to_pylist())):
        rows = own.filter(pc.equal(own["stream"], stream))
        units = set(rows["unit"].to_pylist())
        if len(units) == 1 and (unit := units.pop()) in role.scale:
            series = Series.of(rows["timestamp_ns"].to_numpy(), rows["value"].to_numpy(zero_copy_only=False))
            if len(series) < _FEWEST_SAMPLES:
                continue
            return Series(series.timestamp_ns, series.values * role.scale[unit])
    return None


def _whole_jpegs(camera: pa.Table) -> BoolArray:
    data = camera["data"].combine_chunks()
    begins = pc.starts_with(data, pattern=b"\xff\xd8")
    # Some encoders pad with zeros after the end marker; none pads with more than a few bytes.
    ends = [b"\xff\xd9" in item.as_buffer().to_pybytes()[-16:] for item in data]
    return np.asarray(begins.to_numpy(zero_copy_only=False), dtype=np.bool_) & np.array(ends, dtype=np.bool_)


def _detections(objects: pa.Table) -> Detections:
    """Decode the object messages; all of one stream share a type."""
    types = set(zip(objects["message_type"].to_pylist(), objects["schema_text"].to_pylist(), strict=True))
    if len(types) != 1 or set(objects["encoding"].to_pylist()) != {"cdr"}:
        raise _MissingStreamError(f"{OBJECTS_TOPIC} is not of one ROS 2 message type")
    message_type, schema_text = types.pop()
    payloads = (item.as_buffer() for chunk in objects["data"].chunks for item in chunk)
    batch = decode_cdr(message_type, schema_text, payloads)
    try:
        lists = batch.column(batch.schema.get_field_index("objects"))
        flat = lists.flatten()
        columns = [flat.field(name).to_numpy(zero_copy_only=False).astype(np.float64) for name in _BOX]
        track = flat.field("id").to_numpy(zero_copy_only=False).astype(np.int64)
        kind = flat.field("kind").to_numpy(zero_copy_only=False)
    except (KeyError, IndexError, AttributeError) as error:
        raise _MissingStreamError(f"{OBJECTS_TOPIC} ({message_type}) has no list of tracked objects") from error
    message_ns = objects["timestamp_ns"].to_numpy()
    message = np.repeat(np.arange(len(message_ns)), pc.list_value_length(lists).to_numpy(zero_copy_only=False))
    return Detections(message_ns=message_ns, message=message, track=track, kind=kind, box=np.column_stack(columns))
