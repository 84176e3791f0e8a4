"""The extended predictive driver model score: is a plan safe, legal, comfortable, and does it get anywhere.

    EPDMS = NC * DAC * DDC * TLC * (5 EP + 5 TTC + 2 LK + 2 HC + 2 EC) / 16

Source: Cao et al., Pseudo-Simulation for Autonomous Driving, CoRL 2025 (NAVSIM v2), and its public description of the
metrics, docs/metrics.md of github.com/autonomousvision/navsim, 2026-11-30; bounds of comfort and fault as nuPlan has them
(Karnchanachari et al., 2024). A part that the human driver fails too is not held against the plan: it counts as 1.

What differs here, and is said in every report: the horizon is 3 s, not 4, since plans end there; the plan is followed
exactly on a smooth curve through its points, not by a simulated controller; the reference of progress is the expert's own
drive in place of PDM-Closed's. A part whose truth nobody recorded is missing from the scores, and the total with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from platform_lib.errors import ContractError
from platform_lib.evaluation.comfort import comfortable, slope
from platform_lib.evaluation.faults import at_fault, time_to_collision_kept
from platform_lib.evaluation.frames import Frames
from platform_lib.evaluation.geometry import Doubles, Flags
from platform_lib.evaluation.motion import Motion, motion_of
from platform_lib.evaluation.open_loop import refuse_unfit
from platform_lib.evaluation.poses import TICK_S, TICKS, stays_on
from platform_lib.evaluation.roads import Roads
from platform_lib.evaluation.swept import Sweeps, split, sweeps_of
from platform_lib.scenario.model import EGO_CENTRE_AHEAD_M, EGO_LENGTH_M, HISTORY_STEPS

MULTIPLIED = ("nc", "dac", "ddc", "tlc")
WEIGHTS = {"ep": 5.0, "ttc": 5.0, "lk": 2.0, "hc": 2.0, "ec": 2.0}
PARTS = (*MULTIPLIED, *WEIGHTS)
TOTAL = "epdms"
# Oncoming lanes: metres driven there within a second that cost half, and all. Source: nuPlan, driving direction compliance.
_ONCOMING_M = (2.0, 6.0)
_ONCOMING_TICKS = round(1.0 / TICK_S)
# Off the lane's centre by more than this for so long in a row. Source: NAVSIM v2, lane keeping.
_LANE_OFF_M = 0.5
_LANE_TICKS = round(2.0 / TICK_S)
# Where nobody could have got further than this, standing is no fault. Source: NAVSIM, progress.
_LEAST_PROGRESS_M = 5.0
# Root mean square of how much two plans in a row may differ. Source: NAVSIM v2, two-frame extended comfort.
_CHANGE = {"accel": 0.7, "jerk": 0.5, "yaw_rate": 0.1, "yaw_accel": 0.1}
EpdmsScorer = Callable[[Doubles, "PlanPairs | None", "DrivenScenes"], dict[str, Doubles]]


@dataclass(frozen=True, slots=True)
class Lights:
    """The traffic light of each frame.

    Attributes:
        stop_s_m: (N,) arc length of its stop line on the frame's road, NaN where there is none.
        red: (N, TICKS + 1) whether it is red at each tick.
    """

    stop_s_m: Doubles
    red: Flags


@dataclass(frozen=True, slots=True)
class DrivenScenes:
    """N frames with all that the score asks of the world.

    Attributes:
        frames: What was driven, and the others; `Frames.road` None where no map is known.
        lights: None where nobody recorded lights.
        history: (N, 10, 3) at 10 Hz, oldest first and now last: speed, yaw rate, acceleration.

    Raises:
        ContractError: Lengths differ, or there are lights without a road.
    """

    frames: Frames
    lights: Lights | None
    history: Doubles

    def __post_init__(self) -> None:
        n = len(self.frames)
        if self.history.shape != (n, HISTORY_STEPS, 3):
            raise ContractError(f"{n} frames with a history of {self.history.shape}", where="scenes")
        if self.lights is not None and (self.frames.road is None or self.lights.red.shape != (n, TICKS + 1)):
            raise ContractError("lights stand on a road, and are red or not at every tick", where="scenes")

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def speed_mps(self) -> Doubles:
        """(N,) present speed."""
        return np.asarray(self.history[:, -1, 0], dtype=np.float64)


@dataclass(frozen=True, slots=True)
class PlanPairs:
    """The plan that the same planner made some ticks before each frame: (N, 6, 2), with its (N,) speed then."""

    plan_m: Doubles
    speed_mps: Doubles
    ticks_before: int


def score_epdms(plan_m: Doubles, before: PlanPairs | None, scenes: DrivenScenes) -> dict[str, Doubles]:
    """Return each part (N,) in 0 ... 1 whose truth is known, and ``epdms`` where all nine are.

    Args:
        plan_m: (N, 6, 2) metres.
        before: What it planned a little earlier; without it ``ec`` is unknown.
        scenes: What is known of the world.

    Raises:
        ContractError: The plan has another shape or is not finite.
    """
    refuse_unfit(plan_m, len(scenes))
    sweeps = split(sweeps_of(scenes.frames.agents))
    parts, progress = _parts(plan_m.astype(np.float64), scenes, sweeps)
    human, human_progress = _parts(scenes.frames.future_m, scenes, sweeps)
    if before is not None:
        refuse_unfit(before.plan_m, len(scenes))
        parts["ec"] = extended_comfort(motion_of(plan_m, scenes.speed_mps), before)
    parts = {name: np.where(human.get(name, 1.0) == 0.0, 1.0, value) for name, value in parts.items()}
    if progress is not None and human_progress is not None:
        parts["ep"] = ego_progress(progress, human_progress, _product(parts), _product(human))
    if all(name in parts for name in PARTS):
        parts[TOTAL] = _product(parts) * sum(w * parts[name] for name, w in WEIGHTS.items()) / sum(WEIGHTS.values())
    return parts


def unknown_parts(scenes: DrivenScenes, before: PlanPairs | None) -> dict[str, str]:
    """Say of each part that cannot be scored, and of the total with it, why."""
    found: dict[str, str] = {}
    if scenes.frames.road is None:
        found |= dict.fromkeys(("dac", "ddc", "lk", "ep"), "nobody recorded a map")
    if scenes.lights is None:
        found["tlc"] = "nobody recorded where lights stand and when they are red"
    if before is None:
        found["ec"] = "there is no plan from a moment before"
    if found:
        found[TOTAL] = f"without {', '.join(found)}"
    return found


def _parts(plan_m: Doubles, scenes: DrivenScenes, sweeps: Sweeps) -> tuple[dict[str, Doubles], Doubles | None]:
    """Return what is known of a plan but its progress and its constancy, and how far along the road it leads."""
    motion, road = motion_of(plan_m, scenes.speed_mps), scenes.frames.road
    parts = {
        "nc": 1.0 - at_fault(motion, sweeps, road).astype(np.float64),
        "ttc": time_to_collision_kept(motion, sweeps, road).astype(np.float64),
        "hc": history_comfort(motion, scenes.history),
    }
    if road is None:
        return parts, None
    s, d = _centre_on(road, motion)
    parts |= {
        "dac": stays_on(road, motion.poses).astype(np.float64),
        "ddc": driving_direction(motion, d, road),
        "lk": lane_keeping(d, road),
    }
    if scenes.lights is not None:
        parts["tlc"] = traffic_lights(s + EGO_LENGTH_M / 2, scenes.lights)
    return parts, s[:, -1] - s[:, 0]


def _product(parts: dict[str, Doubles]) -> Doubles:
    return np.asarray(np.prod([parts[name] for name in MULTIPLIED if name in parts], axis=0))


def _centre_on(road: Roads, motion: Motion) -> tuple[Doubles, Doubles]:
    """Return (N, TICKS + 1) arc length and offset of the middle of the ego's box."""
    poses = motion.poses
    x = poses.x_m + EGO_CENTRE_AHEAD_M * np.cos(poses.yaw_rad)
    return road.locate(x, poses.y_m + EGO_CENTRE_AHEAD_M * np.sin(poses.yaw_rad))


def driving_direction(motion: Motion, offset_m: Doubles, road: Roads) -> Doubles:
    """Return 1, or 1/2 where more than 2 m were driven in oncoming lanes within a second, or 0 for more than 6 m."""
    wrong = (offset_m > road.own_m[:, 1:]) & (offset_m <= road.drivable_m[:, 1:])
    steps = np.hypot(np.diff(motion.poses.x_m, axis=1), np.diff(motion.poses.y_m, axis=1)) * wrong[:, 1:]
    total = np.concatenate([np.zeros((len(steps), 1)), np.cumsum(steps, axis=1)], axis=1)
    most = (total[:, _ONCOMING_TICKS:] - total[:, :-_ONCOMING_TICKS]).max(axis=1)
    half, all_ = _ONCOMING_M
    return np.asarray(np.where(most > all_, 0.0, np.where(most > half, 0.5, 1.0)))


def lane_keeping(offset_m: Doubles, road: Roads) -> Doubles:
    """Return 0 where the ego is more than 0.5 m off every lane's centre for 2 s in a row, else 1."""
    gap = np.abs(offset_m[:, :, None] - road.lanes_m[:, None, :])
    off = np.nanmin(gap, axis=2) > _LANE_OFF_M
    total = np.concatenate([np.zeros((len(off), 1)), np.cumsum(off, axis=1)], axis=1)
    run = total[:, _LANE_TICKS:] - total[:, :-_LANE_TICKS]
    return np.asarray(~(run >= _LANE_TICKS).any(axis=1), dtype=np.float64)


def traffic_lights(front_s_m: Doubles, lights: Lights) -> Doubles:
    """Return 0 where the front comes over the stop line, (N, TICKS + 1) arc lengths, while the light is red, else 1."""
    line = lights.stop_s_m[:, None]
    over = (front_s_m[:, :-1] <= line) & (front_s_m[:, 1:] > line) & lights.red[:, 1:]
    return np.asarray(~over.any(axis=1), dtype=np.float64)


def ego_progress(progress_m: Doubles, human_m: Doubles, allowed: Doubles, human_allowed: Doubles) -> Doubles:
    """Return how far the plan leads, as a share of the furthest lawful way: the plan's own or the human's.

    A way counts as far as its multiplied parts allow it. Where none leads further than 5 m, the share is 1, or 0 for a plan
    that is not allowed at all.
    """
    own = np.maximum(progress_m, 0.0) * allowed
    best = np.maximum(own, np.maximum(human_m, 0.0) * human_allowed)
    share = np.clip(own / np.maximum(best, _LEAST_PROGRESS_M), 0.0, 1.0)
    return np.where(best > _LEAST_PROGRESS_M, share, (allowed > 0.0).astype(np.float64))


def history_comfort(motion: Motion, history: Doubles) -> Doubles:
    """Return 1 where the last second and the plan together stay within the bounds of comfort, else 0."""
    speed, yaw_rate, accel = (history[:, :-1, k] for k in range(3))
    along = np.concatenate([accel, motion.accel_mps2], axis=1)
    across = np.concatenate([speed * yaw_rate, motion.lateral_mps2], axis=1)
    turn = np.concatenate([yaw_rate, motion.yaw_rate_rps], axis=1)
    return comfortable(along, across, turn).astype(np.float64)


def extended_comfort(motion: Motion, before: PlanPairs) -> Doubles:
    """Return 1 where the plan keeps to the one made before: both at the same times differ by little, else 0."""
    earlier, shift = motion_of(before.plan_m, before.speed_mps), before.ticks_before
    fine = np.ones(len(before.plan_m), dtype=np.bool_)
    old = _felt(earlier)
    for name, now in _felt(motion).items():
        change = old[name][:, shift:] - now[:, : TICKS + 1 - shift]
        fine &= np.sqrt(np.square(change).mean(axis=1)) <= _CHANGE[name]
    return fine.astype(np.float64)


def _felt(motion: Motion) -> dict[str, Doubles]:
    size = np.hypot(motion.accel_mps2, motion.lateral_mps2)
    return {
        "accel": size,
        "jerk": slope(size),
        "yaw_rate": motion.yaw_rate_rps,
        "yaw_accel": slope(motion.yaw_rate_rps),
    }
