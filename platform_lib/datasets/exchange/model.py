"""What every source of foreign samples gives, and how a recorded trajectory becomes samples."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import pyarrow as pa

from platform_lib.datasets.building import build_samples
from platform_lib.datasets.model import (
    COMMANDS,
    BoolArray,
    Detections,
    DriveSamples,
    DriveStreams,
    FloatArray,
    Int64Array,
    SampleRules,
    SkippedDrive,
    admit_pii,
)
from platform_lib.errors import ConfigError, ContractError
from platform_lib.privacy.decoding import decode_picture
from platform_lib.privacy.frames import AdmittedFrames
from platform_lib.timeline import ClockEstimate, ClockModel, Series

_JPEG_QUALITY = 95
_BLUR_ELSEWHERE = (
    "leave such frames out, or blur them before the import with a tool of yours and say so; `drivetrain blur frames` blurs "
    "logs alone: record the frames as a log, `drivetrain ingest` it, blur, and build with `drivetrain dataset`"
)


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """What a source cannot say by itself.

    Attributes:
        pii_state: What the frames are declared as, where the source does not say; None refuses such frames.
        camera: Which of several cameras.
        columns: Our name of a column -> the source's.
        command: The route command where the source has none; None refuses such drives.
        every: Keep each n-th frame.
    """

    pii_state: str | None = None
    camera: str | None = None
    columns: Mapping[str, str] | None = None
    command: int | None = None
    every: int = 1

    def __post_init__(self) -> None:
        if self.pii_state is not None:
            admit_pii(self.pii_state, where="--pii-state", remedy=_BLUR_ELSEWHERE)
        if self.command is not None and not 0 <= self.command < COMMANDS:
            raise ConfigError(f"{self.command} is no route command", where="--command", remedy="0, 1 or 2")

    def declared(self, said: str | None, *, where: object) -> str:
        """Return the state of personal data of a frame: what the source says, else what was declared.

        Raises:
            ContractError: Neither says, they contradict each other, or it is a state that must not enter.
        """
        if said is None and self.pii_state is None:
            raise ContractError(
                "nobody declares what personal data the frames show",
                where=where,
                remedy="look at them, then say --pii-state none_present or --pii-state blurred",
            )
        if said is not None and self.pii_state is not None and said != self.pii_state:
            raise ContractError(
                f"the source says pii_state {said!r}, the command {self.pii_state!r}",
                where=where,
                remedy="leave out --pii-state, or mend the source",
            )
        return str(admit_pii(str(self.pii_state if said is None else said), where=where, remedy=_BLUR_ELSEWHERE))


@dataclass(frozen=True, slots=True)
class Trajectory:
    """One drive as a foreign dataset recorded it; F frames and P poses, all in one clock.

    Attributes:
        frame_ns: (F,) increasing.
        image: Returns the encoded picture of a frame.
        pii_state: F states.
        pose_ns: (P,) increasing.
        pose: (P, 3) x_m, y_m, yaw_rad of the rear axle's middle, in any fixed frame.
        speed_mps: (P,), None to take it from the pose.
        yaw_rate_rps: (P,), None likewise.
        accel_mps2: (P,), None to take it from the speed.
        command: (F,) route commands; None where there are none.
        position: (P, 2) latitude and longitude in degrees; not finite where unknown.
        detections: None where nobody recorded other agents.
        labels: For example weather.
    """

    drive_id: str
    vehicle: str | None
    frame_ns: Int64Array
    image: Callable[[int], bytes]
    pii_state: tuple[str, ...]
    pose_ns: Int64Array
    pose: FloatArray
    speed_mps: FloatArray | None = None
    yaw_rate_rps: FloatArray | None = None
    accel_mps2: FloatArray | None = None
    command: Int64Array | None = None
    position: FloatArray | None = None
    detections: Detections | None = None
    labels: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """One drive, ready to be written: see `platform_lib.datasets.shards.write_samples`."""

    samples: DriveSamples
    images: AdmittedFrames
    files: tuple[str, ...]
    labels: Mapping[str, str]


def prepare(drive: Trajectory, options: ImportOptions) -> Prepared | SkippedDrive:
    """Turn a trajectory into samples: one second behind each frame, three ahead.

    Raises:
        ContractError: There is no route command and none was given, or times do not increase.
    """
    if len(drive.frame_ns) < 2 or len(drive.pose_ns) < 3:
        return SkippedDrive(drive.drive_id, f"{len(drive.frame_ns)} frames and {len(drive.pose_ns)} poses")
    for what, times in (("frames", drive.frame_ns), ("poses", drive.pose_ns)):
        if np.any(np.diff(times) <= 0):
            raise ContractError(f"the times of {what} do not increase", where=drive.drive_id, remedy="sort them")
    if drive.command is None and options.command is None:
        raise ContractError(
            "the source has no route command",
            where=drive.drive_id,
            remedy="say --command 0 if its drivers follow the lane, or add a column `command`",
        )
    jpegs = [as_jpeg(drive.image(frame)) for frame in range(len(drive.frame_ns))]
    streams = _streams(drive, options, np.array([jpeg is not None for jpeg in jpegs], dtype=np.bool_))
    known = ClockModel(pivot_ns=int(drive.frame_ns[0]), offset_s=0.0, drift=0.0, offset_sigma_s=0.0, drift_sigma=0.0)
    samples = build_samples(streams, _rules(drive, options), clock=ClockEstimate(known, None, 0.0, 0.0, ()))
    if isinstance(samples, SkippedDrive):
        return samples
    if not len(samples):
        counts = ", ".join(f"{reason} {count}" for reason, count in samples.dropped.items()) or "no frames"
        return SkippedDrive(drive.drive_id, f"no frame became a sample: {counts}")
    images = pa.chunked_array([pa.array([jpeg or b"" for jpeg in jpegs], pa.large_binary())])
    frames = AdmittedFrames(images, tuple(map(str, drive.pii_state)))
    return Prepared(samples, frames, (content_sha256(drive.drive_id, jpegs),), dict(drive.labels or {}))


def content_sha256(drive_id: str, jpegs: Sequence[bytes | None]) -> str:
    """Digest what a drive's pictures are: foreign drives often share one file, so its digest says nothing of them."""
    digest = hashlib.sha256(drive_id.encode())
    for jpeg in jpegs:
        digest.update(hashlib.sha256(jpeg or b"").digest())
    return digest.hexdigest()


def as_jpeg(data: bytes) -> bytes | None:
    """Return a picture as JPEG: as it is, or encoded again (quality 95) if it is another format; None if it is none."""
    if data[:2] == b"\xff\xd8":
        return data if b"\xff\xd9" in data[-16:] else None
    picture = decode_picture(data, cv2.IMREAD_COLOR)
    if picture is None:
        return None
    return bytes(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1])


def _rules(drive: Trajectory, options: ImportOptions) -> SampleRules:
    """Allow gaps of two and a half recording intervals; nuScenes' objects come every 0.5 s."""
    usual = SampleRules(every=options.every)
    pose_gap_ns = int(2.5 * np.median(np.diff(drive.pose_ns)))
    frame_gap_ns = int(2.5 * np.median(np.diff(drive.frame_ns)))
    return SampleRules(
        every=options.every,
        bus_gap_ns=max(usual.bus_gap_ns, pose_gap_ns),
        pose_gap_ns=max(usual.pose_gap_ns, pose_gap_ns),
        objects_gap_ns=600_000_000,
        command_age_ns=max(usual.command_age_ns, frame_gap_ns),
    )


def _streams(drive: Trajectory, options: ImportOptions, is_jpeg: BoolArray) -> DriveStreams:
    times = drive.pose_ns
    yaw = np.unwrap(drive.pose[:, 2])
    seconds = np.diff(times) * 1e-9
    speed, yaw_rate, accel = drive.speed_mps, drive.yaw_rate_rps, drive.accel_mps2
    if speed is None:
        step = np.diff(drive.pose[:, :2], axis=0)
        ahead = step[:, 0] * np.cos(yaw[1:]) + step[:, 1] * np.sin(yaw[1:])  # negative in reverse
        speed = _backward(ahead / seconds)
    if yaw_rate is None:
        yaw_rate = _backward(np.diff(yaw) / seconds)
    if accel is None:
        accel = _backward(np.diff(speed) / seconds)
    command = np.full(len(drive.frame_ns), options.command) if drive.command is None else drive.command
    position = None
    if drive.position is not None and np.isfinite(drive.position).all(axis=1).any():
        position = Series.of(times, drive.position)
    return DriveStreams(
        drive_id=drive.drive_id,
        labels=dict(drive.labels or {}),
        file_sha256=(),
        frame_ns=drive.frame_ns,
        duplicate_frames=0,
        frame_pii=drive.pii_state,
        frame_is_jpeg=is_jpeg,
        bus_speed=Series.of(times, speed),
        bus_yaw_rate=Series.of(times, yaw_rate),
        bus_accel=Series.of(times, accel),
        pose=Series.of(times, np.column_stack([drive.pose[:, :2], yaw])),
        odom_speed=Series.of(times, speed),
        odom_yaw_rate=Series.of(times, yaw_rate),
        command_ns=drive.frame_ns,
        command=command.astype(np.int64),
        detections=drive.detections,
        vehicle=drive.vehicle,
        position=position,
    )


def _backward(slope: FloatArray) -> FloatArray:
    """Give each instant the change that led to it, so that nothing of the future enters; the first has the second's."""
    return np.concatenate([slope[:1], slope])
