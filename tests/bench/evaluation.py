"""`make bench ONLY=evaluation`: the scorer against a plain loop, and driven worlds on Ray against one thread.

Both sides of the scorer score the same frames of the same four planners, and give the same figures, or the line is unsound.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.builders.naive_scores import naive_scores
from tests.builders.traffic_frames import traffic_frames

LEAST_RATIO = 50.0
PLANNERS = 4  # an evaluation scores the camera planner, ego-only, constant velocity and the driven path itself
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """The scorer against the loop, CPU seconds of one thread for all planners; `differ` counts frames scored otherwise."""

    frames: int
    ours_s: float
    theirs_s: float
    differ: int

    @property
    def ratio(self) -> float:
        """How many times our time fits into the loop's."""
        return self.theirs_s / self.ours_s


@dataclass(frozen=True, slots=True)
class DriveRow:
    """Worlds driven by the expert and two planners, one of which sees: wall seconds without and with Ray."""

    worlds: int
    scenes: int
    cpus: int
    single_s: float
    ray_s: float
    start_s: float
    load: float
    same: bool

    @property
    def ratio(self) -> float:
        """How many times as many scenes a second Ray drives."""
        return self.single_s / self.ray_s


def measure_scores(tell: Tell, *, frames: int, rounds: int) -> ScoreRow:
    """Score random traffic by both sides in turn; medians."""
    from platform_lib.evaluation.open_loop import score_frames
    from platform_lib.evaluation.swept import sweeps_of

    plan, known = traffic_frames(frames, 7)
    random = np.random.default_rng(1)
    plans = [plan + random.normal(0.0, 0.2 * k, plan.shape) for k in range(PLANNERS)]
    score_frames(plans[0], known)
    ours, theirs, differ = [], [], 0
    for number in range(rounds):
        begin = time.process_time()
        sweeps = sweeps_of(known.agents)
        mine = [score_frames(one, known, sweeps) for one in plans]
        ours.append(time.process_time() - begin)
        begin = time.process_time()
        other = [naive_scores(one, known) for one in plans]
        theirs.append(time.process_time() - begin)
        if number == 0:
            differ = _differences(mine, other)
        tell(f"evaluation: scorer {ours[-1]:.3f} s, loop {theirs[-1]:.2f} s")
    return ScoreRow(frames, statistics.median(ours), statistics.median(theirs), differ)


def _differences(mine: Sequence[dict[str, np.ndarray]], other: Sequence[dict[str, list[float]]]) -> int:
    """Count frames with another figure. Whether a contact at a seam of two motions lies within a horizon is not asked."""
    names = (
        "ade_m",
        "fde_m",
        "ade_1s_m",
        "fde_1s_m",
        "ade_2s_m",
        "fde_2s_m",
        "miss_rate",
        "any_miss_rate",
        "collision_rate",
    )
    return sum(
        int((np.abs(one[name] - np.array(two[name])) > 1e-9).sum())
        for one, two in zip(mine, other, strict=True)
        for name in names
    )


def measure_drives(folder: Path, tell: Tell, *, worlds: int) -> DriveRow:
    """Drive the same worlds in a plain loop and on a local Ray; a small untrained network is the planner that sees."""
    from platform_lib.home import open_home
    from platform_lib.models.onnx_planner import OnnxPlanner
    from ray_jobs.driving import drive_world, drive_worlds
    from ray_jobs.episodes import worlds as all_worlds
    from ray_jobs.session import local_ray

    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="evaluation-", dir=folder, ignore_cleanup_errors=True) as root:
        graphs = _graphs(Path(root))
        specs = all_worlds()[:worlds]
        looks = frozenset({"camera"})
        planners = {name: (OnnxPlanner(name, path, threads=1), name in looks) for name, path in graphs.items()}
        drive_world(planners, specs[0])
        begin = time.perf_counter()
        alone = [drive_world(planners, spec) for spec in specs]
        single = time.perf_counter() - begin
        tell(f"evaluation: {worlds} worlds in one thread {single:.1f} s")
        begin = time.perf_counter()
        with local_ray(open_home(Path(root) / "home")):
            drive_worlds(graphs, specs[: os.cpu_count() or 1], looks=looks)  # workers started and modules imported
            started = time.perf_counter() - begin
            begin = time.perf_counter()
            driven = drive_worlds(graphs, specs, looks=looks)
            on_ray = time.perf_counter() - begin
    tell(f"evaluation: {worlds} worlds on Ray {on_ray:.1f} s")
    expected = [one for at in alone for one in (*(drive.episode for drive in at.drives), at.expert)]
    return DriveRow(
        worlds=worlds,
        scenes=len(expected),
        cpus=len(os.sched_getaffinity(0)),
        single_s=single,
        ray_s=on_ray,
        start_s=started,
        load=os.getloadavg()[0],
        same=tuple(expected) == driven.episodes,
    )


def _graphs(folder: Path) -> dict[str, Path]:
    import torch

    from platform_lib.models.onnx_export import export_onnx
    from platform_lib.models.planner import Normalisation, PlannerConfig, PlannerNet

    torch.manual_seed(1)
    normal = Normalisation((8.0, 0.0, 0.0), (4.0, 0.1, 1.0), ((1.0, 0.5),) * 6)
    configs = {
        "camera": PlannerConfig("camera", channels=(16, 32, 48, 64), squeeze=8, hidden=64, ego_hidden=32, dropout=0.0),
        "ego_only": PlannerConfig("ego_only", channels=(), squeeze=0, hidden=64, ego_hidden=32, dropout=0.0),
    }
    graphs = {name: folder / f"{name}.onnx" for name in configs}
    for name, config in configs.items():
        export_onnx(PlannerNet(config, normal), graphs[name])
    return graphs


def evaluation_table(scores: ScoreRow, drives: DriveRow) -> str:
    """Return both as one Markdown table."""
    holds = "UNSOUND" if scores.differ else "holds" if scores.ratio >= LEAST_RATIO else "NOT MET"
    per_s = drives.scenes / drives.single_s, drives.scenes / drives.ray_s
    return "\n".join(
        [
            "| work | ours | against | ratio | asked | holds? |",
            "|---|---|---|---|---|---|",
            f"| open-loop scores of {scores.frames} frames, {PLANNERS} planners | {scores.ours_s:.3f} CPU s "
            f"| plain loop, {scores.theirs_s:.2f} CPU s | {scores.ratio:.0f} | >= {LEAST_RATIO:g} | {holds} |",
            f"| {drives.scenes} simulated drives in {drives.worlds} worlds, Ray on {drives.cpus} CPUs | {per_s[1]:.2f} drives/s "
            f"| one thread, {per_s[0]:.2f} drives/s | {drives.ratio:.2f} | - | {'same episodes' if drives.same else 'UNSOUND'} |",
            f"\nRay and its workers took {drives.start_s:.1f} s to start, not counted; load {drives.load:.1f}.",
        ]
    )
