"""Open-loop scores of plans against what was driven, and against where the others were."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from platform_lib.errors import ContractError
from platform_lib.evaluation.bootstrap import cluster_interval
from platform_lib.evaluation.frames import STEP_S, STEPS, Frames
from platform_lib.evaluation.geometry import Doubles
from platform_lib.evaluation.poses import Poses, stays_on
from platform_lib.evaluation.swept import Sweeps, first_contact_s, sweeps_of
from platform_lib.evidence import MetricsRow

# A plan misses when its end lies further than this from where the car was.
# Source: Argoverse motion forecasting (Chang et al. 2019), miss rate at 2.0 m.
MISS_M = 2.0
# Horizon in seconds -> how many of the future times lie within it.
_HORIZONS = {1: 2, 2: 4, 3: 6}
# Where what the camera sees decides what to do; SCENE pools them, so that the question has one answer with one interval.
SCENE_SLICES = ("pedestrian", "cut_in", "lead", "traffic_light")
SCENE = "scene"
SLICES = ("all", "clear", "night", "rain", SCENE, *SCENE_SLICES, "cruise")

Scores = Mapping[str, Doubles]
Scorer = Callable[[Doubles, Frames], Scores]


def score_frames(plan_m: Doubles, frames: Frames, sweeps: Sweeps | None = None) -> dict[str, Doubles]:
    """Score each frame; every array is (N,).

    With d(t) the distance to the driven path at t, over the 6 future times 0.5 ... 3.0 s:

    - ``ade_m``: mean of d over all of them; ``ade_1s_m``, ``ade_2s_m``: mean of d up to 1 s, 2 s.
    - ``fde_m``: d(3 s); ``fde_1s_m``, ``fde_2s_m``: d(1 s), d(2 s).
    - ``miss_rate``: 1 where ``fde_m`` > 2.0 m, else 0; ``any_miss_rate``: 1 where any d is > 2.0 m.
      Source: Chang et al., Argoverse, CVPR 2019 (at the end); nuScenes prediction challenge, MissRateTopK_2 (at any
      time), https://www.nuscenes.org/prediction.
    - ``collision_rate``: 1 where the ego box (4.6 x 1.9 m, rear axle on the path), swept along the plan, meets the
      swept box of another agent within 3 s, else 0; ``collision_1s_rate``, ``collision_2s_rate``: within 1 s, 2 s.
    - ``nuscenes_l2_m``: (d(1) + d(2) + d(3)) / 3. Source: Hu et al., Planning-oriented Autonomous Driving (UniAD),
      CVPR 2023: the error *at* each horizon.
    - ``nuscenes_l2_mean_m``: mean of ADE up to 1, 2 and 3 s. Source: Hu et al., ST-P3, ECCV 2022: the error *up to* each
      horizon. The two are often put side by side and are not the same figure.
    - ``nuscenes_collision_share``: mean of the collision rates up to 1, 2 and 3 s. Source: ST-P3, as above.
    - ``offroad_rate``: 1 where a corner of the ego box leaves the drivable area at any time. Only where the frames hold
      their road; else it is unknown and not among the scores.
    - ``max_accel_mps2``, ``max_jerk_mps3``: largest second and third difference of the plan over time.

    Args:
        plan_m: (N, 6, 2) metres.
        frames: What was recorded.
        sweeps: The frames' agents in motion, `sweeps_of`, where several planners are scored on the same frames.

    Raises:
        ContractError: The plan has another shape or holds a number that is not finite: such a planner gets no score.
    """
    refuse_unfit(plan_m, len(frames))
    plan = plan_m.astype(np.float64)
    distance = np.linalg.norm(plan - frames.future_m, axis=2)
    ade = {s: distance[:, :k].mean(axis=1) for s, k in _HORIZONS.items()}
    fde = {s: distance[:, k - 1] for s, k in _HORIZONS.items()}
    contact_s = first_contact_s(plan, sweeps_of(frames.agents) if sweeps is None else sweeps)
    # A contact at the very end of the horizon is within it.
    hit = {s: (contact_s <= s).astype(np.float64) for s in _HORIZONS}
    accel, jerk = comfort(plan)
    scores = {
        "ade_m": ade[3],
        "fde_m": fde[3],
        "miss_rate": (fde[3] > MISS_M).astype(np.float64),
        "collision_rate": hit[3],
        "max_accel_mps2": accel,
        "max_jerk_mps3": jerk,
        "any_miss_rate": (distance > MISS_M).any(axis=1).astype(np.float64),
        "nuscenes_l2_m": sum(fde.values()) / len(fde),
        "nuscenes_l2_mean_m": sum(ade.values()) / len(ade),
        "nuscenes_collision_share": sum(hit.values()) / len(hit),
    }
    for s in (1, 2):
        scores |= {f"ade_{s}s_m": ade[s], f"fde_{s}s_m": fde[s], f"collision_{s}s_rate": hit[s]}
    if frames.road is not None:
        scores["offroad_rate"] = (~stays_on(frames.road, Poses.of_plan(plan))).astype(np.float64)
    return scores


def refuse_unfit(plan_m: Doubles, count: int) -> None:
    """Refuse plans that no score can be given.

    Raises:
        ContractError: They are not (`count`, 6, 2), or hold a number that is not finite.
    """
    if plan_m.shape != (count, STEPS, 2):
        raise ContractError(f"plan of shape {plan_m.shape} for {count} frames of {STEPS} steps", where="plan")
    broken = int((~np.isfinite(plan_m).all(axis=(1, 2))).sum())
    if broken:
        raise ContractError(f"{broken} of {count} plans hold numbers that are not finite", where="plan")


def comfort(plan_m: Doubles) -> tuple[Doubles, Doubles]:
    """Return the largest acceleration (m/s^2) and jerk (m/s^3) of (N, 6, 2) plans by finite differences, each (N,)."""
    points = np.concatenate([np.zeros((len(plan_m), 1, 2)), plan_m], axis=1)
    accel = np.diff(points, n=2, axis=1) / STEP_S**2
    jerk = np.diff(points, n=3, axis=1) / STEP_S**3
    return np.linalg.norm(accel, axis=2).max(axis=1), np.linalg.norm(jerk, axis=2).max(axis=1)


def in_slice(frames: Frames, name: str) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return (N,) flags of the frames of a slice."""
    wanted = frozenset(SCENE_SLICES) if name == SCENE else frozenset((name,))
    return np.array([name == "all" or not wanted.isdisjoint(slices) for slices in frames.slices], dtype=np.bool_)


def rows_by_slice(planner: str, scores: Scores, frames: Frames, *, seed: int) -> tuple[MetricsRow, ...]:
    """Return one row a slice that has frames, each value with its 95 % interval over drives."""
    drives = np.array(frames.drive)
    rows = []
    for name in SLICES:
        chosen = in_slice(frames, name)
        if chosen.any():
            metrics = {
                metric: cluster_interval(values[chosen], drives[chosen], seed=seed, rate=metric.endswith("_rate"))
                for metric, values in scores.items()
            }
            rows.append(
                MetricsRow(
                    planner=planner,
                    slice=name,
                    n=int(chosen.sum()),
                    drives=len(set(drives[chosen].tolist())),
                    metrics=metrics,
                )
            )
    return tuple(rows)
