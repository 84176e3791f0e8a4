"""What has not been scored yet, and scoring it: every finished run, on its dataset as it is now, by the present scorer.

Checkpoints of runs that still train are scored too, in open loop and each once; see `ray_jobs.checkpoint_queue`.

The queue is not a list that somebody keeps. It is what the home's manifests say: a run whose evidence is missing, or is of
another version of its dataset, of other weights or of an older scorer. So nothing can be forgotten or be in it twice, and
a kill loses nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from platform_lib.datasets.reader import DrivingDataset
from platform_lib.errors import HomeBusyError, IntegrityError, MissingPartError, PlatformError
from platform_lib.home import Home
from platform_lib.manifest import read_manifest
from ray_jobs.checkpoint_queue import Claim, clear_known, hold_new, holding, waiting_checkpoints
from ray_jobs.checkpoint_scores import score_checkpoint
from ray_jobs.evaluate import CAMERA, EvaluationOutcome, evaluate_run, evidence_name, scorer_code_sha256
from ray_jobs.evaluation_history import Scored
from ray_jobs.finished_runs import EGO_ONLY, FinishedRun, finished_runs, newest_ego_only

logger = logging.getLogger(__name__)


def _unheard(claim: Claim, entry: Scored | None) -> None:
    del claim, entry


@dataclass(frozen=True, slots=True)
class Waiting:
    """One run that has to be scored.

    Attributes:
        why: What is missing or has changed.
        baseline: The ego-only run it is held against; None where there is none yet.
        blocked: Why it cannot be scored now, and what to do; None where it can.
    """

    run: str
    dataset: str
    why: str
    baseline: str | None
    blocked: str | None = None


@dataclass(frozen=True, slots=True)
class Worked:
    """What a watch did: run -> what became of it."""

    scored: tuple[str, ...]
    failed: tuple[str, ...]


def waiting(home: Home, *, closed: bool = True) -> tuple[Waiting, ...]:
    """Return the runs that have to be scored, the oldest first; without `closed`, open loop is enough."""
    runs = sorted(finished_runs(home), key=lambda run: run.manifest.created_utc)
    found = []
    for run in runs:
        if run.kind == EGO_ONLY:
            continue
        blind = [other.name for other in runs if other.kind == EGO_ONLY and other.dataset == run.dataset]
        try:
            why = _why(home, run, closed=closed)
            blocked = None
        except (MissingPartError, IntegrityError) as error:
            why, blocked = "its dataset cannot be read", str(error)
        if why is None:
            continue
        if not blind and blocked is None:
            blocked = (
                f"no ego-only run of '{run.dataset}' to hold it against: "
                f"`drivetrain train ego_only_tiny --dataset {run.dataset} --run NAME`"
            )
        found.append(Waiting(run.name, run.dataset, why, blind[-1] if blind else None, blocked))
    return tuple(found)


def _why(home: Home, run: FinishedRun, *, closed: bool) -> str | None:
    """Say why a run has to be scored on its dataset as it is now; None if it was."""
    source = home.datasets / run.dataset
    digest = DrivingDataset.digest(source)
    trained_on = run.manifest.inputs["dataset"]
    folder = (
        home.runs
        / run.name
        / evidence_name(run.manifest, run.dataset, trained_on.model_copy(update={"sha256": digest}))
    )
    try:
        scored = read_manifest(folder / "manifest.json")
    except (FileNotFoundError, IntegrityError):
        return "never scored" if digest == trained_on.sha256 else "not scored on the new version of its dataset"
    if scored.inputs["dataset"].sha256 != digest:
        return "not scored on the new version of its dataset"
    if scored.inputs[CAMERA].sha256 != run.manifest.outputs["model.onnx"].sha256:
        return "its weights are new"
    if closed and scored.config.get("closed_loop") == []:
        return "scored in open loop alone"
    return None if scored.code.sha256 == scorer_code_sha256() else "the scorer is another one"


def work_off(
    home: Home, *, closed: bool = True, skip: frozenset[str] = frozenset(),
    on_start: Callable[[Waiting], None] = lambda _: None,
    on_done: Callable[[EvaluationOutcome], None] = lambda _: None,
) -> Worked:  # fmt: skip
    """Score what waits, one after the other; one that fails does not keep the others from being scored."""
    scored, failed = [], []
    for item in waiting(home, closed=closed):
        if item.blocked is not None or item.baseline is None or item.run in skip:
            continue
        on_start(item)
        try:
            on_done(evaluate_run(home, run=item.run, baseline=item.baseline, dataset=item.dataset, closed=closed))
        except PlatformError as error:
            logger.warning("run=%s: %s", item.run, error)
            failed.append(item.run)
        else:
            scored.append(item.run)
    return Worked(tuple(scored), tuple(failed))


def score_checkpoints(
    home: Home, *, skip: frozenset[str] = frozenset(), on_checkpoint: Callable[[Claim, Scored | None], None] = _unheard
) -> Worked:
    """Score what is held of trainings that go on, the oldest first."""
    scored, failed = [], []
    for claim in waiting_checkpoints(home):
        name = checkpoint_title(claim)
        if name in skip:
            continue
        try:
            entry = score_checkpoint(home, claim, baseline=newest_ego_only(home, claim.dataset))
        except HomeBusyError:
            continue  # its dataset is being built, or another command scores: the next look finds it again
        except PlatformError as error:
            logger.warning("run=%s checkpoint=%s: %s", claim.run, claim.checkpoint, error)
            failed.append(name)
        else:
            on_checkpoint(claim, entry)
            scored.append(name)
    return Worked(tuple(scored), tuple(failed))


def checkpoint_title(claim: Claim) -> str:
    """Name a checkpoint for people."""
    return f"{claim.run}, step {claim.step}"


def watch(
    home: Home, *, closed: bool = True, poll_s: float = 5.0, until_idle_s: float | None = None,
    on_start: Callable[[Waiting], None] = lambda _: None, on_done: Callable[[EvaluationOutcome], None] = lambda _: None,
    on_checkpoint: Callable[[Claim, Scored | None], None] = _unheard,
) -> Worked:  # fmt: skip
    """Score what waits and what comes, until Ctrl-C, or until nothing came for `until_idle_s`.

    Runs that are finished, and checkpoints of those that are not. One that failed is tried again when the watch is
    started anew, not before.
    """
    scored: list[str] = []
    failed: list[str] = []
    busy_s = time.monotonic()
    clear_known(home)
    try:
        with holding(home, every_s=poll_s):
            while True:
                hold_new(home)
                tried = frozenset(failed)
                done = [score_checkpoints(home, skip=tried, on_checkpoint=on_checkpoint)]
                ready = [
                    item for item in waiting(home, closed=closed) if item.blocked is None and item.run not in tried
                ]
                if ready:
                    done.append(work_off(home, closed=closed, skip=tried, on_start=on_start, on_done=on_done))
                scored += [name for worked in done for name in worked.scored]
                failed += [name for worked in done for name in worked.failed]
                if ready or any(worked.scored or worked.failed for worked in done):
                    busy_s = time.monotonic()
                if until_idle_s is not None and time.monotonic() - busy_s >= until_idle_s:
                    break
                time.sleep(poll_s)
    except KeyboardInterrupt:
        logger.info("ended; what was being scored is scored by the next watch")
    return Worked(tuple(scored), tuple(failed))
