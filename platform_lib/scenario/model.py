"""The nouns of a synthetic drive: what is asked for, what the ego does, what it sees."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from platform_lib.errors import ConfigError

Weather: TypeAlias = Literal["clear", "night", "rain"]
Event: TypeAlias = Literal["cruise", "lead", "cut_in", "pedestrian", "traffic_light"]
ObjectKind: TypeAlias = Literal["vehicle", "pedestrian", "traffic_light_red", "traffic_light_green"]

WEATHERS: tuple[Weather, ...] = get_args(Weather)
EVENTS: tuple[Event, ...] = get_args(Event)

EGO_LENGTH_M = 4.6
EGO_WIDTH_M = 1.9
EGO_HEIGHT_M = 1.5
WHEELBASE_M = 2.8
EGO_CENTRE_AHEAD_M = 1.4
"""Distance of the box's centre ahead of the rear axle."""

HISTORY_STEPS = 10
STEP_S = 0.1

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*")


class Command(IntEnum):
    """The route's demand on the driver; names follow CARLA's road options. There are no junction turns yet.

    Source: https://carla.readthedocs.io/en/latest/python_api/ (RoadOption), 2026-11-20.
    """

    LANE_FOLLOW = 0
    CHANGE_LANE_LEFT = 1
    CHANGE_LANE_RIGHT = 2


@dataclass(frozen=True, slots=True)
class DriveSpec:
    """One drive to simulate; the same spec gives the same bytes.

    Attributes:
        seed: Decides everything that is random in the drive.
        vehicle: Name of the recording vehicle, for example ``dt-001``.
        session: The recorder's session, for example ``2026-06-01T08-00-00Z-s7-0003``.
        start_ns: Time of the first sample on the MCAP recorder's clock, UTC epoch.
        duration_s: Length of the drive, at least 1 s and at most 60 s.

    Raises:
        ConfigError: A name or number cannot be used.
    """

    seed: int
    vehicle: str
    session: str
    start_ns: int
    duration_s: float = 20.0
    weather: Weather = "clear"
    event: Event = "cruise"

    def __post_init__(self) -> None:
        if self.weather not in WEATHERS or self.event not in EVENTS:
            raise ConfigError(
                f"weather {self.weather!r} with event {self.event!r} is unknown",
                where="DriveSpec",
                remedy=f"weather is one of {', '.join(WEATHERS)}; event is one of {', '.join(EVENTS)}",
            )
        if not 1.0 <= self.duration_s <= 60.0:
            raise ConfigError(
                f"a drive of {self.duration_s} s", where="DriveSpec", remedy="take 1 to 60 s: the road is finite"
            )
        for name in (self.vehicle, self.session):
            if not _NAME.fullmatch(name):
                raise ConfigError(
                    f"{name!r} cannot name a folder", where="DriveSpec", remedy="use letters, digits, '.' and '-'"
                )
        if self.seed < 0 or self.start_ns < 0:
            raise ConfigError("seed and start_ns must not be negative", where="DriveSpec")

    @property
    def name(self) -> str:
        """Folder of the drive: ``<vehicle>_<session>``."""
        return f"{self.vehicle}_{self.session}"


@dataclass(frozen=True, slots=True)
class Control:
    """What a driver asks of the vehicle; the vehicle clips it to its limits.

    Attributes:
        accel_mps2: Longitudinal acceleration, negative brakes.
        steer_rad: Angle of the front wheels, left positive.
    """

    accel_mps2: float
    steer_rad: float


@dataclass(frozen=True, slots=True)
class EgoState:
    """The ego at one instant, in the world frame; the reference point is on the ground under the rear axle."""

    time_s: float
    x_m: float
    y_m: float
    yaw_rad: float
    v_mps: float
    accel_mps2: float
    steer_rad: float
    yaw_rate_rps: float


@dataclass(frozen=True, slots=True)
class ObjectBox:
    """One agent (or traffic light) in the ego frame; `x_m, y_m` is the centre of its footprint."""

    id: int
    kind: ObjectKind
    x_m: float
    y_m: float
    yaw_rad: float
    length_m: float
    width_m: float
    height_m: float
    speed_mps: float


@dataclass(frozen=True, slots=True)
class Observation:
    """What a driving policy gets at 10 Hz.

    Attributes:
        camera: uint8 (192, 384, 3), RGB; None when it was not asked for.
        ego_history: float32 (10, 3), oldest first and now last, 0.1 s apart: v_mps, yaw_rate_rps, accel_mps2.
        command: The route command in force.
    """

    time_s: float
    camera: NDArray[np.uint8] | None
    ego_history: NDArray[np.float32]
    command: Command
