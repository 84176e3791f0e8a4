"""Drive one scene with the expert and keep what the sensors saw: the truth in columns, pictures and sweeps.

The expert is pushed off its line and its speed now and then, as in DART (Laskey et al., Conference on Robot Learning
2017), so that recordings show how to come back; what is recorded as the future is what really followed. Without pushes
along the road a planner learns only how to brake when nothing has gone wrong before: it hit something in twice as many
closed-loop worlds.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from platform_lib.errors import PlatformError
from platform_lib.scenario.lidar import ROOF_LIDAR, directions, sweep
from platform_lib.scenario.model import STEP_S, WHEELBASE_M, Control, DriveSpec, EgoState, ObjectBox
from platform_lib.scenario.world import SUBSTEPS, World

SAMPLE_S = STEP_S / SUBSTEPS
LIDAR_EVERY = 2
JPEG_QUALITY = 85
_PUSH_S = 0.6

Column = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Recording:
    """What happened in one drive, on the reference clock.

    Attributes:
        time_s: (N,) every 0.01 s from 0; the ego columns beside it have the same length, see `EgoState`.
        command: (frames,) route command at each frame.
        frame_s: (frames,) time of each camera frame, every 0.1 s.
        jpegs: One JPEG a frame.
        objects: What was around at each frame, in the ego frame.
        sweep_s: (sweeps,) time of each lidar sweep, every 0.2 s.
        sweeps: Points of each sweep, see `lidar.POINT_DTYPE`.
    """

    time_s: Column
    x_m: Column
    y_m: Column
    yaw_rad: Column
    v_mps: Column
    accel_mps2: Column
    steer_rad: Column
    yaw_rate_rps: Column
    lane_offset_m: Column
    command: NDArray[np.int8]
    frame_s: Column
    jpegs: tuple[bytes, ...]
    objects: tuple[tuple[ObjectBox, ...], ...]
    sweep_s: Column
    sweeps: tuple[NDArray[np.void], ...]

    def at(self, time_s: Column, column: Column) -> Column:
        """Interpolate an ego column at other times."""
        return np.asarray(np.interp(time_s, self.time_s, column))


@dataclass(frozen=True, slots=True)
class _Push:
    """A turn spread over the push and an acceleration held during it, zero for most."""

    start_s: float
    stop_s: float
    turn_rad: float
    accel_mps2: float


def record(spec: DriveSpec) -> Recording:
    """Simulate a drive with the expert at the wheel.

    Raises:
        PlatformError: The expert had an accident: a defect of the simulator, never a drive to learn from.
    """
    cv2.setNumThreads(1)  # two workers a machine; OpenCV's own threads would only contend
    world = World(spec)
    rng = np.random.default_rng(np.random.SeedSequence([spec.seed, 4]))
    pushes, rays = _pushes(spec, rng), directions(ROOF_LIDAR)
    states: list[EgoState] = [world.ego]
    jpegs, objects, sweeps, commands, offsets = [], [], [], [], []
    for frame in range(round(spec.duration_s / STEP_S)):
        seen = world.observe()
        jpegs.append(_jpeg(seen.camera))
        around = world.objects()
        objects.append(around)
        commands.append(int(seen.command))
        offsets.append(world.lane_offset_m)
        if frame % LIDAR_EVERY == 0:
            sweeps.append(sweep(ROOF_LIDAR, rays, around, spec.weather, rng))
        states.extend(world.step(_disturbed(world.expert_control(), world.ego, pushes)))
        if world.collision is not None or world.offroad:
            raise PlatformError(
                f"the expert had an accident after {world.time_s:.1f} s: {world.collision or 'off the road'}",
                where=f"drive {spec.name}, seed {spec.seed}",
                remedy="take another --seed, and report this one: the simulator's expert should never crash",
            )
    return _columns(states[:-1], commands, jpegs, objects, sweeps, offsets)


def _pushes(spec: DriveSpec, rng: np.random.Generator) -> tuple[_Push, ...]:
    count = max(1, round(spec.duration_s / 6.0))
    starts = np.sort(rng.uniform(0.5, spec.duration_s - 1.0, size=count))
    turns = rng.uniform(0.02, 0.05, size=count) * rng.choice((-1.0, 1.0), size=count)
    accels = rng.uniform(-2.0, 2.0, size=count) * rng.choice((0.0, 1.0), size=count)
    columns = (column.tolist() for column in (starts, starts + _PUSH_S, turns, accels))
    return tuple(_Push(*row) for row in zip(*columns, strict=True))


def _disturbed(control: Control, ego: EgoState, pushes: tuple[_Push, ...]) -> Control:
    """Add what turns and speeds up the vehicle over the push; a vehicle that hardly moves is left alone."""
    for push in pushes:
        if push.start_s <= ego.time_s < push.stop_s and ego.v_mps > 3.0:
            extra = push.turn_rad * WHEELBASE_M / (ego.v_mps * (push.stop_s - push.start_s))
            return Control(control.accel_mps2 + push.accel_mps2, control.steer_rad + extra)
    return control


def _jpeg(picture: NDArray[np.uint8] | None) -> bytes:
    if picture is None:
        raise ValueError("the frame was not rendered")
    done, data = cv2.imencode(
        ".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    )
    if not done:
        raise PlatformError("OpenCV could not encode a JPEG", remedy="reinstall opencv-python-headless")
    return bytes(data)


def _columns(
    states: list[EgoState],
    commands: list[int],
    jpegs: list[bytes],
    objects: list[tuple[ObjectBox, ...]],
    sweeps: list[NDArray[np.void]],
    offsets: list[float],
) -> Recording:
    def column(name: str) -> Column:
        return np.array([getattr(state, name) for state in states], dtype=np.float64)

    frame_s: Column = np.asarray(np.arange(len(jpegs)) * STEP_S, dtype=np.float64)
    time_s: Column = np.asarray(np.arange(len(states)) * SAMPLE_S, dtype=np.float64)
    return Recording(
        time_s=time_s,
        x_m=column("x_m"),
        y_m=column("y_m"),
        yaw_rad=column("yaw_rad"),
        v_mps=column("v_mps"),
        accel_mps2=column("accel_mps2"),
        steer_rad=column("steer_rad"),
        yaw_rate_rps=column("yaw_rate_rps"),
        lane_offset_m=np.interp(time_s, frame_s, np.array(offsets)),
        command=np.array(commands, dtype=np.int8),
        frame_s=frame_s,
        jpegs=tuple(jpegs),
        objects=tuple(objects),
        sweep_s=frame_s[::LIDAR_EVERY],
        sweeps=tuple(sweeps),
    )
