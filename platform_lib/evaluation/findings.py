"""What the figures say in words: where the camera is worth something, and where it is not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from platform_lib.evaluation.bootstrap import cluster_interval
from platform_lib.evaluation.epdms import PARTS, TOTAL
from platform_lib.evaluation.frames import Frames
from platform_lib.evaluation.open_loop import SCENE, SCENE_SLICES, SLICES, Scores, in_slice
from platform_lib.evaluation.self_test import Verdict
from platform_lib.evidence import ChampionReport, Interval, MetricsRow


def paired_ade(camera: Scores, ego_only: Scores, frames: Frames, *, seed: int) -> dict[str, Interval]:
    """Return for each slice the mean of camera ADE less ego-only ADE on the same frames; negative: the camera is better.

    Pairing takes out what makes a frame hard for both, so the interval is about the difference alone.
    """
    drives = np.array(frames.drive)
    difference = camera["ade_m"] - ego_only["ade_m"]
    return {
        name: cluster_interval(difference[chosen], drives[chosen], seed=seed)
        for name in SLICES
        if (chosen := in_slice(frames, name)).any()
    }


def with_pairs(rows: Sequence[MetricsRow], pairs: dict[str, Interval]) -> tuple[MetricsRow, ...]:
    """Return the camera's rows with ``ade_vs_ego_only_m`` added."""
    return tuple(
        row.model_copy(update={"metrics": {**row.metrics, "ade_vs_ego_only_m": pairs[row.slice]}}) for row in rows
    )


def self_test_findings(verdict: Verdict) -> tuple[str, ...]:
    """Say how the scorer did on agents with known scores."""
    if not verdict.passed:
        wrong = ", ".join((*verdict.failed, *verdict.missed))
        return (f"scorer self-test: FAILED in {wrong}; no figure of this report may be believed",)
    return (
        f"scorer self-test: passed {len(verdict.cases)} cases and caught {len(verdict.caught)} planted wrong scorers",
    )


def open_loop_findings(pairs: dict[str, Interval], driven: Scores, frames: Frames) -> tuple[str, ...]:
    """Say plainly where the camera beats the ego-only baseline and where it does not."""
    found = [_pair_text(name, pair) for name, pair in pairs.items() if name in ("all", SCENE, *SCENE_SLICES)]
    missing = [name for name in SLICES if name not in pairs]
    if missing:
        found.append(f"the split has no frame of: {', '.join(missing)}")
    hits = int(driven["collision_rate"].sum())
    found.append(f"the driven path itself meets another agent's box in {hits} of {len(frames)} frames")
    return tuple(found)


def _pair_text(name: str, pair: Interval) -> str:
    figures = f"{pair.value:+.3f} m ADE against ego-only on '{name}'"
    if pair.low is None or pair.high is None:
        return f"camera {figures}: one drive only, no interval"
    interval = f"95 % interval {pair.low:+.3f} to {pair.high:+.3f}"
    if pair.high < 0:
        return f"camera is better: {figures} ({interval})"
    if pair.low > 0:
        return f"camera is WORSE: {figures} ({interval})"
    lean = "better" if pair.value < 0 else "worse"
    return f"camera is {lean}, but not beyond doubt: {figures} ({interval})"


def closed_loop_findings(rows: Sequence[MetricsRow]) -> tuple[str, ...]:
    """Sum up each planner's driving over all episodes."""
    found = []
    for row in rows:
        if row.slice == "all":
            crashed = round(row.metrics["collision_rate"].value * row.n)
            left = round(row.metrics["offroad_rate"].value * row.n)
            progress = row.metrics["progress_ratio"].value
            faults = round(row.metrics["at_fault_rate"].value * row.n)
            found.append(
                f"closed loop, {row.planner}: {crashed} of {row.n} episodes with a collision, {faults} by its own fault, {left} off the road, "
                f"{progress:.0%} of the expert's progress"
            )
    return tuple(found)


def champion_findings(report: ChampionReport | None) -> tuple[str, ...]:
    """Say on how many slices the challenger is shown not to be worse than the champion, and on which it is worse."""
    if report is None:
        return ()
    total = len(report.comparisons)
    passed = sum(item.status == "pass" for item in report.comparisons)
    found = [
        f"against the champion '{report.champion}': not worse in {passed} of {total} comparisons (Holm, {report.alpha:g})"
    ]
    found += [
        f"against the champion: WORSE in {item.metric} on '{item.slice}', {item.difference.value:+.3f} "
        f"(95 % interval {item.difference.low:+.3f} to {item.difference.high:+.3f}, margin {item.margin:g})"
        for item in report.comparisons
        if item.status == "fail"
    ]
    return tuple(found)


def epdms_findings(rows: Sequence[MetricsRow]) -> tuple[str, ...]:
    """Sum up each planner's predictive driver model score over all scenes, and what takes most of it away."""
    found = []
    for row in rows:
        if row.slice == "all" and TOTAL in row.metrics:
            parts = {name: row.metrics[name].value for name in PARTS}
            worst = min(parts, key=lambda name: parts[name])
            found.append(
                f"pseudo closed loop, {row.planner}: EPDMS {row.metrics[TOTAL].value:.3f} on {row.n} scenes of "
                f"{row.drives} worlds, least of all {worst.upper()} {parts[worst]:.3f}"
            )
    return tuple(found)
