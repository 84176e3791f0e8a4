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
        at_fault: Whether it ran into somebody by its own fault; see `platform_lib.evaluation.faults`.
        ran_red: Whether it passed a stop line at red; None where there was no light.
        wrong_side: Whether it left the road over the centre line, into oncoming lanes.
        comfortable: Whether all of it stayed within the bounds of comfort; None of a drive too short to tell.
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
    at_fault: bool = False
    ran_red: bool | None = None
    wrong_side: bool = False
    comfortable: bool | None = None

    @property
    def kept_rules(self) -> bool:
        """Whether it kept right and stopped at red."""
        return not self.wrong_side and not self.ran_red

    @property
    def failed(self) -> str | None:
        """What went wrong, the worst first; None if nothing did. Being hit without fault is no failure."""
        if self.at_fault:
            return f"ran into a {self.collided_with}"
        if self.wrong_side:
            return "into oncoming lanes"
        if self.offroad:
            return "off the road"
        return "over a red light" if self.ran_red else None

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
        lit = np.array([episode.ran_red is not None for episode in chosen])
        told = np.array([episode.comfortable is not None for episode in chosen])
        table = {
            "collision_rate": [float(episode.collided_with is not None) for episode in chosen],
            "offroad_rate": [float(episode.offroad) for episode in chosen],
            "progress_ratio": [episode.progress_ratio for episode in chosen],
            "max_accel_mps2": [episode.max_accel_mps2 for episode in chosen],
            "max_jerk_mps3": [episode.max_jerk_mps3 for episode in chosen],
            "at_fault_rate": [float(episode.at_fault) for episode in chosen],
            "wrong_side_rate": [float(episode.wrong_side) for episode in chosen],
            "rules_kept_rate": [float(episode.kept_rules) for episode in chosen],
            "red_light_rate": [float(episode.ran_red or False) for episode in chosen],
            "comfort_rate": [float(episode.comfortable or False) for episode in chosen],
        }
        # Where no episode had a light, or told of its comfort, nothing is known of it, and nothing is said.
        known = {"red_light_rate": lit, "comfort_rate": told}
        metrics = {
            metric: cluster_interval(np.array(values)[of], worlds[of], seed=seed, rate=metric.endswith("_rate"))
            for metric, values in table.items()
            if (of := known.get(metric, np.ones(len(chosen), dtype=np.bool_))).any()
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
