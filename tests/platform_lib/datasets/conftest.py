"""Drives in closed form: a vehicle on a straight or a circle, recorded by two clocks, with agents around it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from platform_lib.datasets.model import Detections, DriveStreams
from platform_lib.timeline import Series

T0 = 1_780_000_000_000_000_000


def ns(seconds: np.ndarray | float) -> np.ndarray:
    return T0 + np.rint(np.asarray(seconds) * 1e9).astype(np.int64)


@dataclass(frozen=True)
class Motion:
    """Speed ``speed + swing * sin(omega t) + push``, yaw rate ``curvature * speed``: the pose is integrated finely."""

    curvature: float = 0.0
    speed_mps: float = 12.0
    swing_mps: float = 2.0
    period_s: float = 9.0
    duration_s: float = 20.0
    start: tuple[float, float, float] = (100.0, -50.0, 0.7)
    time_s: np.ndarray = field(init=False)
    pose: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        time_s = np.arange(0.0, self.duration_s + 1e-9, 0.001)
        speed = self.speed(time_s)
        distance = np.concatenate([[0.0], np.cumsum((speed[1:] + speed[:-1]) / 2 * 0.001)])
        x, y, yaw = self.start
        heading = yaw + self.curvature * distance
        if self.curvature:
            east = x + (np.sin(heading) - np.sin(yaw)) / self.curvature
            north = y - (np.cos(heading) - np.cos(yaw)) / self.curvature
        else:
            east, north = x + distance * np.cos(yaw), y + distance * np.sin(yaw)
        object.__setattr__(self, "time_s", time_s)
        object.__setattr__(self, "pose", np.column_stack([east, north, heading]))

    def speed(self, time_s: np.ndarray) -> np.ndarray:
        brake = -3.0 / (1.0 + np.exp(-(time_s - 11.0) / 0.4))  # without it a swinging speed would be periodic
        return self.speed_mps + self.swing_mps * np.sin(2 * np.pi * time_s / self.period_s) + brake

    def accel(self, time_s: np.ndarray) -> np.ndarray:
        return np.interp(time_s, self.time_s, np.gradient(self.speed(self.time_s), 0.001))

    def at(self, time_s: np.ndarray) -> np.ndarray:
        return np.column_stack([np.interp(time_s, self.time_s, column) for column in self.pose.T])


@dataclass(frozen=True)
class Agent:
    """An agent with constant velocity in the odometry frame."""

    track: int
    kind: str
    x_m: float
    y_m: float
    yaw_rad: float
    speed_mps: float
    seen_s: tuple[float, float] = (-1.0, 1e9)

    def at(self, time_s: float) -> np.ndarray:
        way = self.speed_mps * time_s
        return np.array([self.x_m + way * np.cos(self.yaw_rad), self.y_m + way * np.sin(self.yaw_rad), self.yaw_rad])


def ego_from_odom(ego: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """Written a second time, with a matrix, so that the library is not checked by itself."""
    cos, sin = np.cos(ego[2]), np.sin(ego[2])
    xy = np.array([[cos, sin], [-sin, cos]]) @ (pose[:2] - ego[:2])
    turn = pose[2] - ego[2]
    return np.array([*xy, np.arctan2(np.sin(turn), np.cos(turn))])


class Drives:
    """What the tests of this folder make drives with."""

    Motion = Motion
    Agent = Agent
    ns = staticmethod(ns)
    ego_from_odom = staticmethod(ego_from_odom)

    @staticmethod
    def make(
        motion: Motion | None = None,
        *,
        agents: tuple[Agent, ...] = (),
        bus_offset_s: float = 0.3,
        drive_id: str = "drive-1",
        pii: str = "none_present",
        bus_accel: bool = True,
        lose_pose: tuple[float, float] | None = None,
        lose_bus: tuple[float, float] | None = None,
        lose_objects: tuple[float, float] | None = None,
        lose_command: tuple[float, float] | None = None,
    ) -> DriveStreams:
        rng = np.random.default_rng(1)
        how = motion or Motion()
        end_s = how.duration_s

        def times(rate_hz: float, lost: tuple[float, float] | None) -> np.ndarray:
            at_s = np.arange(0.0, end_s, 1.0 / rate_hz)
            return at_s if lost is None else at_s[(at_s < lost[0]) | (at_s > lost[1])]

        odom_s, bus_s = times(50.0, lose_pose), times(100.0, lose_bus)
        object_s, command_s = times(10.0, lose_objects), times(10.0, lose_command)
        frame_s = np.arange(0.0, end_s, 0.1)
        bus_ns = ns(bus_s - bus_offset_s)
        rows = []
        for number, time_s in enumerate(object_s):
            ego = how.at(np.array([time_s]))[0]
            for agent in agents:
                if agent.seen_s[0] <= time_s <= agent.seen_s[1]:
                    box = ego_from_odom(ego, agent.at(time_s))
                    rows.append((number, agent.track, agent.kind, (*box, 4.5, 1.8, agent.speed_mps)))
        return DriveStreams(
            drive_id=drive_id,
            labels={"weather": "rain", "event": "lead"},
            file_sha256=(f"file-of-{drive_id}",),
            frame_ns=ns(frame_s),
            duplicate_frames=0,
            frame_pii=(pii,) * len(frame_s),
            frame_is_jpeg=np.ones(len(frame_s), dtype=np.bool_),
            bus_speed=Series(bus_ns, how.speed(bus_s) + rng.normal(0, 0.01, len(bus_s))),
            bus_yaw_rate=Series(bus_ns, how.curvature * how.speed(bus_s) + rng.normal(0, 0.001, len(bus_s))),
            bus_accel=Series(bus_ns, how.accel(bus_s)) if bus_accel else None,
            pose=Series(ns(odom_s), how.at(odom_s)),
            odom_speed=Series(ns(odom_s), how.speed(odom_s) + rng.normal(0, 0.01, len(odom_s))),
            odom_yaw_rate=Series(ns(odom_s), how.curvature * how.speed(odom_s) + rng.normal(0, 0.001, len(odom_s))),
            command_ns=ns(command_s),
            command=np.where(command_s < end_s / 2, 0, 1).astype(np.int64),
            detections=Detections(
                message_ns=ns(object_s),
                message=np.array([row[0] for row in rows], dtype=np.intp),
                track=np.array([row[1] for row in rows], dtype=np.int64),
                kind=np.array([row[2] for row in rows], dtype=np.object_),
                box=np.array([row[3] for row in rows], dtype=np.float64).reshape(-1, 6),
            ),
        )


@pytest.fixture(scope="session")
def drives() -> type[Drives]:
    return Drives
