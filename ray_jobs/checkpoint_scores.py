"""Scoring a checkpoint of a training that goes on: in open loop, by the scorer and on the frames of finished runs.

Here and without Ray: a checkpoint takes seconds, and the machine's cores belong to the training.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from platform_lib.errors import ConfigError, ContractError, PlatformError
from platform_lib.evaluation import findings, open_loop
from platform_lib.evidence import EvaluationReport, write_evidence
from platform_lib.home import Home
from platform_lib.manifest import Input, Manifest, Step, input_of
from platform_lib.models.checkpoint import torch_bytes
from platform_lib.models.interface import ConstantVelocity
from platform_lib.models.model import Model
from platform_lib.models.onnx_export import export_onnx
from platform_lib.models.onnx_planner import OnnxPlanner
from platform_lib.models.registry import restored
from platform_lib.storage import publish_folder, sha256_file, sweep_unfinished
from ray_jobs import evaluate
from ray_jobs.checkpoint_queue import Claim, held_state, let_go, note_not_scored
from ray_jobs.evaluation_history import CheckpointPlace, Scored, checkpoint_entry, note
from ray_jobs.finished_runs import EGO_ONLY
from ray_jobs.named import dataset_input
from ray_jobs.recipes import recipe_named

_MODULES = ("ray_jobs.checkpoint_scores",)


class UnscorableError(ContractError):
    """A checkpoint that no later try would score either."""


@dataclass(frozen=True, slots=True)
class _Restored:
    model: Model
    weights_sha256: str


def score_checkpoint(home: Home, claim: Claim, *, baseline: str | None) -> Scored | None:
    """Score a held checkpoint and add it to the history, once whatever happens; None where it cannot be scored at all.

    Args:
        home: Whose it is.
        claim: Which.
        baseline: An ego-only run of its dataset, for the row beside it; None where there is none yet.

    Raises:
        HomeBusyError: Another command scores it, or its dataset is being built.
        PlatformError: It could not be scored now; it stays held.
    """
    with home.lock("checkpoint-scores"), home.lock(f"dataset-{claim.dataset}", shared=True):
        sweep_unfinished(_evidence(home))
        if checkpoint_entry(home, claim.sha256).exists():
            let_go(home, claim)
            return None
        try:
            restored_ = _restore(held_state(home, claim), claim)
            entry = _score(home, claim, restored_, baseline)
        except UnscorableError as error:
            note_not_scored(home, claim, error.what)
            return None
        let_go(home, claim)
    return entry


def _score(home: Home, claim: Claim, found: _Restored, baseline: str | None) -> Scored:
    source = home.datasets / claim.dataset
    graph = None if baseline is None else home.runs / baseline / "model.onnx"
    step = Step(
        "evaluation",
        inputs={
            "dataset": dataset_input(source),
            "checkpoint": Input(sha256=claim.sha256, uri=f"{claim.run}/checkpoints/{claim.checkpoint}"),
            **({} if graph is None else {EGO_ONLY: input_of(graph)}),
        },
        config=evaluate.scoring_config((), weights=found.weights_sha256),
        modules=_MODULES,
    )
    verdict = evaluate.believed_scorer()
    split = evaluate.scored_split(source)
    folder = _evidence(home) / claim.sha256
    with publish_folder(folder) as temporary:
        own = temporary / "model.onnx"
        export_onnx(found.model.network, own)
        scores = {}
        for name, path in ((evaluate.CAMERA, own), (EGO_ONLY, graph)):
            if path is not None:
                plan = OnnxPlanner(name, path, threads=1).plan(split.inputs).astype(np.float64)
                _refuse_no_number(plan, claim, judged=name == evaluate.CAMERA)
                scores[name] = open_loop.score_frames(plan, split.frames)
        plan = ConstantVelocity().plan(split.inputs).astype(np.float64)
        scores[ConstantVelocity.name] = open_loop.score_frames(plan, split.frames)
        own.unlink()
        seed = evaluate.BOOTSTRAP_SEED
        not_run = {"closed_loop": "a checkpoint is scored in open loop; its run is driven when it is finished"}
        if graph is None:
            not_run["open_loop ego_only"] = f"no ego-only run of '{claim.dataset}' is finished"
        report = EvaluationReport(
            **evaluate.report_header(step, verdict, model_name=claim.run, weights=found.weights_sha256, seeds=(seed,)),
            open_loop=tuple(
                row
                for name, score in scores.items()
                for row in open_loop.rows_by_slice(name, score, split.frames, seed=seed)
            ),
            closed_loop=(),
            not_run=not_run,
            findings=findings.self_test_findings(verdict),
        )
        write_evidence(temporary / evaluate.EVIDENCE, report)
        manifest: Manifest = step.finish(
            temporary / "manifest.json", {evaluate.EVIDENCE: temporary / evaluate.EVIDENCE}, {}
        )
    place = CheckpointPlace(claim.checkpoint, claim.step, claim.sha256)
    return note(home, report, manifest, folder, checkpoint=place)


def _evidence(home: Home) -> Path:
    return home.reports / "evaluations" / "checkpoints"


def _refuse_no_number(plan: np.ndarray[Any, np.dtype[np.float64]], claim: Claim, *, judged: bool) -> None:
    if not np.isfinite(plan).all():
        kind = UnscorableError if judged else ContractError
        raise kind("its plans hold values that are no numbers", where=f"{claim.run}/{claim.checkpoint}")


def _restore(state: Path, claim: Claim) -> _Restored:
    where = f"{claim.run}/{claim.checkpoint}"
    if not state.is_file():
        raise UnscorableError("its held state was deleted", where=where)
    if sha256_file(state) != claim.sha256:
        raise UnscorableError("its bytes differ from its digest", where=where)
    found: dict[str, Any] = torch.load(state, map_location="cpu", weights_only=True)
    described = found.get("model")
    if described is None:
        raise UnscorableError("its training does not say what the model is built from", where=where)
    if claim.recipe is not None and ":" in claim.recipe:
        _make_known(claim.recipe)
    weights = {**described, "state": found["network"]}
    try:
        model = restored(weights)
    except ContractError as error:
        raise UnscorableError(f"the model cannot be built here: {error.what}", where=where) from error
    return _Restored(model, hashlib.sha256(torch_bytes(weights)).hexdigest())


def _make_known(recipe: str) -> None:
    """Import a team's own recipe, which registers its model."""
    try:
        recipe_named(recipe)
    except ConfigError as error:
        raise PlatformError(
            f"its recipe '{recipe}' cannot be imported here: {error.what}",
            where="evaluate --watch",
            remedy="start it from the folder in which the training was started",
        ) from error
