"""The nouns of a dataset: one drive's recordings, one drive's samples, and why a frame did not become one.

Frames: ``odom`` is the odometry's fixed frame; ``ego`` has its origin on the ground under the rear axle, x forward,
y left. Times are int64 nanoseconds; unless a name says otherwise they are in the reference (camera) recorder's clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from platform_lib.errors import ContractError
from platform_lib.privacy.frames import AdmittedPii as AdmittedPii
from platform_lib.privacy.frames import admit_pii as admit_pii
from platform_lib.timeline import ClockEstimate, Series, SharedSignal

HISTORY_STEPS = 10
HISTORY_STEP_NS = 100_000_000
FUTURE_STEPS = 6
FUTURE_STEP_NS = 500_000_000
COMMANDS = 3
"""Route commands 0, 1, 2: lane_follow, change_lane_left, change_lane_right."""

HISTORY_OFFSETS_NS = np.arange(1 - HISTORY_STEPS, 1, dtype=np.int64) * HISTORY_STEP_NS
FUTURE_OFFSETS_NS = np.arange(1, FUTURE_STEPS + 1, dtype=np.int64) * FUTURE_STEP_NS

Int64Array = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
StringArray = npt.NDArray[np.object_]


class Drop(StrEnum):
    """Why a frame did not become a sample; the first that applies is counted."""

    DUPLICATE = "duplicate_timestamp"
    PII = "pii_not_admitted"
    IMAGE = "image_is_no_jpeg"
    HISTORY_START = "history_before_recording"
    HISTORY_GAP = "history_gap"
    COMMAND = "command_unknown"
    FUTURE_END = "future_after_recording"
    FUTURE_GAP = "future_gap"
    OBJECTS = "objects_gap"


@dataclass(frozen=True, slots=True)
class SampleRules:
    """How frames become samples.

    Attributes:
        every: Keep each `every`-th camera frame.
        bus_gap_ns: Bus samples farther apart are not joined.
        pose_gap_ns: Odometry poses farther apart are not joined.
        objects_gap_ns: Object messages farther apart are not joined.
        track_edge_ns: How far an object is carried on before its first or after its last message.
        command_age_ns: An older route command is unknown.
        accel_window_ns: Acceleration is the slope of the bus speed over this much of the past.
        position_age_ns: A position farther from the frame in time is unknown.
    """

    every: int = 2
    bus_gap_ns: int = 150_000_000
    pose_gap_ns: int = 150_000_000
    objects_gap_ns: int = 250_000_000
    track_edge_ns: int = 60_000_000
    command_age_ns: int = 500_000_000
    accel_window_ns: int = 250_000_000
    position_age_ns: int = 1_000_000_000

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ContractError(f"every {self.every}th frame cannot be kept", where="SampleRules.every")


@dataclass(frozen=True, slots=True)
class Detections:
    """Objects as one drive's messages list them, each in the ego frame at its own message's time.

    Attributes:
        message_ns: (M,) times of all messages, increasing, those without objects too.
        message: (K,) index of each object's message.
        track: (K,) the object's id.
        kind: (K,) for example ``vehicle``.
        box: (K, 6) x_m, y_m, yaw_rad, length_m, width_m, speed_mps.
    """

    message_ns: Int64Array
    message: npt.NDArray[np.intp]
    track: Int64Array
    kind: StringArray
    box: FloatArray


def shared_signals(
    bus_speed: Series, bus_yaw_rate: Series, odom_speed: Series, odom_yaw_rate: Series
) -> tuple[SharedSignal, ...]:
    """Return the quantities that carry a drive's clock, by the names that manifests use."""
    return SharedSignal("speed", bus_speed, odom_speed), SharedSignal("yaw_rate", bus_yaw_rate, odom_yaw_rate)


@dataclass(frozen=True, slots=True)
class DriveStreams:
    """What one drive recorded of everything that a sample needs.

    Attributes:
        labels: Metadata of the drive, for example weather and event.
        file_sha256: Digests of its log files, sorted.
        frame_ns: (F,) camera frames, increasing.
        duplicate_frames: Frames left out already, since a later one has the same time.
        frame_pii: F states of personal data as the lake has them.
        frame_is_jpeg: (F,) whether the bytes begin and end as a JPEG does.
        bus_speed: m/s, in the bus recorder's clock.
        bus_yaw_rate: rad/s, in the bus recorder's clock.
        bus_accel: m/s^2, in the bus recorder's clock; None where the bus has none (it is derived from the speed then).
        pose: (N, 3) x_m, y_m, yaw_rad (unwrapped) in the odom frame.
        odom_speed: m/s.
        odom_yaw_rate: rad/s, the mean between two poses.
        command_ns: (C,) when a route command was given.
        command: (C,) which.
        detections: Other agents; None where nobody recorded them.
        vehicle: Who drove; None where no log names it.
        position: (P, 2) latitude and longitude in degrees, WGS 84; None where the drive has no receiver.
    """

    drive_id: str
    labels: Mapping[str, str]
    file_sha256: tuple[str, ...]
    frame_ns: Int64Array
    duplicate_frames: int
    frame_pii: tuple[str, ...]
    frame_is_jpeg: BoolArray
    bus_speed: Series
    bus_yaw_rate: Series
    bus_accel: Series | None
    pose: Series
    odom_speed: Series
    odom_yaw_rate: Series
    command_ns: Int64Array
    command: Int64Array
    detections: Detections | None
    vehicle: str | None = None
    position: Series | None = None

    @property
    def shared_signals(self) -> tuple[SharedSignal, ...]:
        """What both recorders saw."""
        return shared_signals(self.bus_speed, self.bus_yaw_rate, self.odom_speed, self.odom_yaw_rate)


@dataclass(frozen=True, slots=True)
class FutureObjects:
    """Other agents around one sample at its future times, in the ego frame at its timestamp.

    Attributes:
        step: int8 (M,), 0 ... 5 for 0.5 ... 3.0 s.
        kind: M names.
        box: float32 (M, 5): x_m, y_m, yaw_rad, length_m, width_m.
    """

    step: npt.NDArray[np.int8]
    kind: tuple[str, ...]
    box: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class DriveSamples:
    """One drive's samples, columns of equal length N.

    Attributes:
        vehicle: None where no log names it.
        frame: (N,) index of each sample's camera frame.
        objects: N sets; None where nobody recorded other agents.
        geohash: N cells; None where the position is unknown.
        frames: Camera frames the drive has.
        thinned: Frames left out because only each n-th is taken.
        dropped: Reason -> frames left out because something was missing.
        clock: What was learnt about the bus recorder's clock.
    """

    drive_id: str
    vehicle: str | None
    frame: npt.NDArray[np.intp]
    timestamp_ns: Int64Array
    ego_history: npt.NDArray[np.float32]
    command: npt.NDArray[np.int8]
    future: npt.NDArray[np.float32]
    ego_yaw_future: npt.NDArray[np.float32]
    speed_mps: npt.NDArray[np.float32]
    slices: tuple[tuple[str, ...], ...]
    objects: tuple[FutureObjects | None, ...]
    pii_state: tuple[AdmittedPii, ...]
    geohash: tuple[str | None, ...]
    frames: int
    thinned: int
    dropped: Mapping[str, int]
    clock: ClockEstimate = field(repr=False)

    def __len__(self) -> int:
        return len(self.frame)


@dataclass(frozen=True, slots=True)
class SkippedDrive:
    """A drive that gives no sample at all, and why."""

    drive_id: str
    reason: str
