"""Open-loop scores of plans against what was driven, and against where the others were."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from platform_lib.errors import ContractError
from platform_lib.evaluation.bootstrap import cluster_interval
from platform_lib.evaluation.frames import STEP_S, STEPS, Agents, Frames
from platform_lib.evaluation.geometry import Boxes, Doubles, ego_boxes, overlap, path_headings
from platform_lib.evidence import MetricsRow

# A plan misses when its end lies further than this from where the car was.
# Source: Argoverse motion forecasting (Chang et al. 2019), miss rate at 2.0 m.
MISS_M = 2.0
# Substeps of one 0.5 s step at which boxes are compared: at 15 m/s the car moves 1.5 m between them.
SUBSTEPS = 5
# An agent further than this from where it was half a second ago is another one.
_MATCH_M = 12.5
# Where what the camera sees decides what to do; SCENE pools them, so that the question has one answer with one interval.
SCENE_SLICES = ("pedestrian", "cut_in", "lead", "traffic_light")
SCENE = "scene"
SLICES = ("all", "clear", "night", "rain", SCENE, *SCENE_SLICES, "cruise")

Scores = Mapping[str, Doubles]
Scorer = Callable[[Doubles, Frames], Scores]


def score_frames(plan_m: Doubles, frames: Frames) -> dict[str, Doubles]:
    """Score each frame; every array is (N,).

    - ``ade_m``: mean distance to the driven path over the 6 future times; ``fde_m``: distance at 3.0 s.
    - ``miss_rate``: 1 where ``fde_m`` > 2.0 m, else 0.
    - ``collision_rate``: 1 where the ego box (4.6 x 1.9 m, rear axle on the path), swept along the plan, meets the
      box of another agent that is there at that time, else 0.
    - ``max_accel_mps2``, ``max_jerk_mps3``: largest second and third difference of the plan over time.

    Args:
        plan_m: (N, 6, 2) metres.
        frames: What was recorded.

    Raises:
        ContractError: The plan has another shape or holds a number that is not finite: such a planner gets no score.
    """
    if plan_m.shape != frames.future_m.shape:
        raise ContractError(f"plan of shape {plan_m.shape} for frames of {frames.future_m.shape}", where="plan")
    broken = int((~np.isfinite(plan_m).all(axis=(1, 2))).sum())
    if broken:
        raise ContractError(f"{broken} of {len(frames)} plans hold numbers that are not finite", where="plan")
    plan = plan_m.astype(np.float64)
    distance = np.linalg.norm(plan - frames.future_m, axis=2)
    accel, jerk = comfort(plan)
    return {
        "ade_m": distance.mean(axis=1),
        "fde_m": distance[:, -1],
        "miss_rate": (distance[:, -1] > MISS_M).astype(np.float64),
        "collision_rate": np.array([collides(p, a) for p, a in zip(plan, frames.agents, strict=True)], dtype=float),
        "max_accel_mps2": accel,
        "max_jerk_mps3": jerk,
    }


def comfort(plan_m: Doubles) -> tuple[Doubles, Doubles]:
    """Return the largest acceleration (m/s^2) and jerk (m/s^3) of (N, 6, 2) plans by finite differences, each (N,)."""
    points = np.concatenate([np.zeros((len(plan_m), 1, 2)), plan_m], axis=1)
    accel = np.diff(points, n=2, axis=1) / STEP_S**2
    jerk = np.diff(points, n=3, axis=1) / STEP_S**3
    return np.linalg.norm(accel, axis=2).max(axis=1), np.linalg.norm(jerk, axis=2).max(axis=1)


def collides(plan_m: Doubles, agents: Agents) -> bool:
    """Say whether the ego, following (6, 2) metres, meets an agent; both are interpolated between the samples."""
    solid = agents.solid()
    if not len(solid.boxes):
        return False
    time, boxes = _agents_in_time(solid)
    knots = np.arange(STEPS + 1, dtype=np.float64)
    path = np.vstack([np.zeros((1, 2)), plan_m])
    headings = np.concatenate([[0.0], path_headings(plan_m)])
    ego = ego_boxes(
        np.interp(time, knots, path[:, 0]), np.interp(time, knots, path[:, 1]), np.interp(time, knots, headings)
    )
    return bool(overlap(ego, boxes).any())


def _agents_in_time(agents: Agents) -> tuple[Doubles, Boxes]:
    """Return every agent at its own times and at substeps between, with those times in steps (1.0 = 0.5 s).

    Agents carry no identity: one is followed from a step to the next by kind, size and nearness. One that cannot be
    followed counts at its own times only. Before the first sample it is taken to have moved as between the first two.
    """
    table = np.stack(
        [agents.boxes.x_m, agents.boxes.y_m, agents.boxes.yaw_rad, agents.boxes.length_m, agents.boxes.width_m], axis=1
    )
    times, rows = [agents.step + 1.0], [table]
    fractions = np.arange(1, SUBSTEPS) / SUBSTEPS
    for before, after in _followed(agents, table):
        change = table[after] - table[before]
        change[2] = (change[2] + np.pi) % (2 * np.pi) - np.pi
        starts = (-1.0, 0.0) if agents.step[before] == 0 else (0.0,)
        for start in starts:
            times.append(agents.step[before] + 1.0 + start + fractions)
            rows.append(table[before] + (start + fractions)[:, None] * change)
    return np.concatenate(times), Boxes(*np.concatenate(rows).T)


def _followed(agents: Agents, table: Doubles) -> list[tuple[int, int]]:
    """Return (before, after) rows of the same agent, one step apart: the nearest of a kind and size, each at most once."""
    pairs: list[tuple[int, int]] = []
    kinds = np.asarray(agents.kind)
    for step in range(STEPS - 1):
        here, there = np.flatnonzero(agents.step == step), np.flatnonzero(agents.step == step + 1)
        if not len(here) or not len(there):
            continue
        one, other = table[here][:, None], table[there][None]
        like = (kinds[here][:, None] == kinds[there][None]) & np.isclose(one[..., 3:], other[..., 3:], atol=1e-3).all(2)
        gap = np.hypot(one[..., 0] - other[..., 0], one[..., 1] - other[..., 1])
        rows, columns = np.nonzero(like & (gap <= _MATCH_M))
        nearest = sorted(zip(gap[rows, columns].tolist(), here[rows].tolist(), there[columns].tolist(), strict=True))
        taken: set[int] = set()
        for _, before, after in nearest:
            if before not in taken and -after - 1 not in taken:
                taken |= {before, -after - 1}
                pairs.append((before, after))
    return pairs


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
