"""Closed-loop scores: what became of the car when the plans were really driven."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from platform_lib.evaluation.bootstrap import cluster_interval
from platform_lib.evidence import MetricsRow


@dataclass(frozen=True, slots=True)
class Episode:
    """One simulated episode of one planner.

    Attributes:
        world: The episode's name, shared by the planners that drove it.
        slices: Its weather and event.
        collided_with: Kind of what was hit, or None.
        offroad: Whether a wheel left the road at any time.
        progress_m: Distance along the route when it ended.
        expert_progress_m: The expert's in the same world.
        max_accel_mps2: Largest magnitude of the acceleration along.
        max_jerk_mps3: Largest magnitude of its change, over half-second windows.
    """

    planner: str
    world: str
    slices: frozenset[str]
    collided_with: str | None
    offroad: bool
    progress_m: float
    expert_progress_m: float
    max_accel_mps2: float
    max_jerk_mps3: float

    @property
    def progress_ratio(self) -> float:
        """Progress against the expert's, at most 1: driving on where the expert stands is no merit."""
        return min(1.0, max(0.0, self.progress_m) / max(self.expert_progress_m, 1.0))


def rows_by_slice(planner: str, episodes: tuple[Episode, ...], *, seed: int) -> tuple[MetricsRow, ...]:
    """Return one row a slice (``all`` and those of the episodes) of one planner."""
    own = [episode for episode in episodes if episode.planner == planner]
    names = ["all", *sorted({name for episode in own for name in episode.slices})]
    rows = []
    for name in names:
        chosen = [episode for episode in own if name == "all" or name in episode.slices]
        if not chosen:
            continue
        worlds = np.array([episode.world for episode in chosen])
        table = {
            "collision_rate": [float(episode.collided_with is not None) for episode in chosen],
            "offroad_rate": [float(episode.offroad) for episode in chosen],
            "progress_ratio": [episode.progress_ratio for episode in chosen],
            "max_accel_mps2": [episode.max_accel_mps2 for episode in chosen],
            "max_jerk_mps3": [episode.max_jerk_mps3 for episode in chosen],
        }
        metrics = {
            metric: cluster_interval(np.array(values), worlds, seed=seed, rate=metric.endswith("_rate"))
            for metric, values in table.items()
        }
        rows.append(
            MetricsRow(planner=planner, slice=name, n=len(chosen), drives=len(set(worlds.tolist())), metrics=metrics)
        )
    return tuple(rows)


def motion_comfort(speed_mps: np.ndarray[tuple[int], np.dtype[np.float64]], step_s: float) -> tuple[float, float]:
    """Return the largest |acceleration| and |jerk| along, from (T,) speeds, over windows of half a second.

    The windows keep the controller's 10 Hz chatter from being read as jerk; what a passenger feels lasts longer.
    """
    window = max(1, round(0.5 / step_s))
    if len(speed_mps) <= 2 * window:
        return 0.0, 0.0
    accel = (speed_mps[window:] - speed_mps[:-window]) / (window * step_s)
    jerk = (accel[window:] - accel[:-window]) / (window * step_s)
    return float(np.abs(accel).max()), float(np.abs(jerk).max())
