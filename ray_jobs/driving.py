"""Closed loop at scale: every world once by each planner, on Ray, and what went wrong kept as files to be replayed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import ray

from platform_lib.abilities import EVALUATES
from platform_lib.console import progress
from platform_lib.errors import PlatformError
from platform_lib.evaluation.closed_loop import Episode
from platform_lib.evaluation.epdms import score_epdms
from platform_lib.evaluation.geometry import Doubles
from platform_lib.evaluation.open_loop import rows_by_slice
from platform_lib.evidence import FailedEpisode, MetricsRow
from platform_lib.models.interface import ConstantVelocity, Planner
from platform_lib.models.onnx_planner import OnnxPlanner
from platform_lib.scenario.model import DriveSpec
from platform_lib.scenario.replay import Outcome, replay_bytes
from platform_lib.storage import publish_bytes
from ray_jobs.episodes import Drive, drive_planner
from ray_jobs.known_scenes import KnownScene, asked, expert_scenes, joined, pairs
from ray_jobs.placement import resources_for

FAILURES_KEPT = 12
"""So many failed drives are written as files, the worst first; the others are listed with their seeds."""
FAILURES_FOLDER = "failures"
_WORST_FIRST = (
    "ran into a pedestrian",
    "ran into a vehicle",
    "into oncoming lanes",
    "off the road",
    "over a red light",
)
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _InWorld:
    """All that happened in one world."""

    expert: Episode
    drives: tuple[Drive, ...]
    scenes: tuple[KnownScene, ...]
    plans: dict[str, tuple[Doubles, Doubles]]


@dataclass(frozen=True, slots=True)
class Driven:
    """What became of every planner in every world; see `drive_worlds`."""

    worlds: tuple[_InWorld, ...]

    @property
    def episodes(self) -> tuple[Episode, ...]:
        """Every planner's and the expert's episode, world after world."""
        return tuple(one for at in self.worlds for one in (*(drive.episode for drive in at.drives), at.expert))

    def epdms_rows(self, *, seed: int) -> tuple[MetricsRow, ...]:
        """Score every planner, and constant velocity, on the scenes of the expert's drives."""
        scenes = [scene for at in self.worlds for scene in at.scenes]
        if not scenes:
            return ()
        known = joined(scenes)
        rows: list[MetricsRow] = []
        for name in self.worlds[0].plans:
            now, before = (np.concatenate([at.plans[name][k] for at in self.worlds]) for k in (0, 1))
            scores = score_epdms(now, pairs(before, scenes), known)
            rows += rows_by_slice(name, scores, known.frames, seed=seed)
        return tuple(rows)


def drive_worlds(graphs: Mapping[str, Path], specs: Sequence[DriveSpec], *, looks: frozenset[str]) -> Driven:
    """Drive every world once with the expert and with each planner (1:1).

    Args:
        graphs: Planner -> its ONNX graph.
        specs: The worlds.
        looks: The planners that see the camera; the others are spared the rendering.
    """
    paths = {name: (str(path), name in looks) for name, path in graphs.items()}
    if not specs:
        return Driven(())
    task = _drive_remotely.options(resources=resources_for(EVALUATES))
    return Driven(tuple(gather("closed loop", [task.remote(paths, spec) for spec in specs])))


@ray.remote(num_cpus=1)  # type: ignore[untyped-decorator]  # ray publishes no types
def _drive_remotely(graphs: dict[str, tuple[str, bool]], spec: DriveSpec) -> _InWorld:
    return drive_world(
        {name: (OnnxPlanner(name, Path(path), threads=1), see) for name, (path, see) in graphs.items()}, spec
    )


def drive_world(planners: Mapping[str, tuple[OnnxPlanner, bool]], spec: DriveSpec) -> _InWorld:
    """Drive one world with the expert and each planner, and ask each at the scenes of the expert's drive."""
    expert, scenes = expert_scenes(spec)
    drives = tuple(
        drive_planner(planner, spec, looks=see, expert_progress_m=expert.progress_m)
        for planner, see in planners.values()
    )
    everybody: list[Planner] = [*(planner for planner, _ in planners.values()), ConstantVelocity()]
    plans = {planner.name: asked(planner, scenes) for planner in everybody} if scenes else {}
    return _InWorld(expert, drives, scenes, plans)


def failures_of(driven: Driven, planner: str) -> tuple[Drive, ...]:
    """Return the drives of a planner that failed, the worst first."""
    found = [drive for at in driven.worlds for drive in at.drives if drive.episode.planner == planner]
    return tuple(sorted((drive for drive in found if drive.episode.failed), key=_badness))


def _badness(drive: Drive) -> tuple[int, str]:
    told = drive.episode.failed or ""
    return (_WORST_FIRST.index(told) if told in _WORST_FIRST else len(_WORST_FIRST), drive.spec.name)


@ray.remote(num_cpus=1)  # type: ignore[untyped-decorator]  # ray publishes no types
def _replay_remotely(drive: Drive) -> bytes:
    return replay_of(drive)


def replay_of(drive: Drive) -> bytes:
    """Drive it again from its controls, and return the MCAP file of what is seen meanwhile."""
    episode = drive.episode
    outcome = Outcome(episode.planner, episode.failed or "nothing", episode.expert_progress_m)
    return replay_bytes(drive.spec, drive.controls, drive.plans_m, outcome)


def replays_of(drives: Sequence[Drive]) -> list[bytes]:
    """Return the files of the worst of failed drives, `FAILURES_KEPT` at most, made on Ray."""
    kept = drives[:FAILURES_KEPT]
    if not kept:
        return []
    task = _replay_remotely.options(resources=resources_for(EVALUATES))
    return gather("failures", [task.remote(drive) for drive in kept])


def write_failures(
    drives: Sequence[Drive], data: Sequence[bytes], folder: Path
) -> tuple[tuple[FailedEpisode, ...], dict[str, Path]]:
    """Write the worst failures as files under ``failures/``; return all failures as the report lists them, and the files."""
    listed, written = [], {}
    for place, drive in enumerate(drives):
        name = f"{FAILURES_FOLDER}/{drive.spec.session}.mcap" if place < len(data) else None
        if name is not None:
            (folder / FAILURES_FOLDER).mkdir(exist_ok=True)
            publish_bytes(folder / name, data[place])
            written[name] = folder / name
        spec = drive.spec
        listed.append(
            FailedEpisode(
                planner=drive.episode.planner,
                world=spec.name,
                seed=spec.seed,
                weather=spec.weather,
                event=spec.event,
                what=drive.episode.failed or "nothing",
                after_s=round(len(drive.controls) * 0.1, 1),
                file=name,
            )
        )
    return tuple(listed), written


def gather(title: str, references: Sequence[ray.ObjectRef[_T]]) -> list[_T]:
    """Wait for Ray tasks, in their own order, showing progress; an error in one is raised as itself."""
    waiting = list(references)
    with progress(title, total=len(waiting)) as bar:
        while waiting:
            ready, waiting = ray.wait(waiting, num_returns=1)
            try:
                ray.get(ready)
            except ray.exceptions.RayTaskError as error:
                raise error.cause if isinstance(error.cause, PlatformError) else error from None
            bar.advance(len(ready))
    return list(ray.get(list(references)))
