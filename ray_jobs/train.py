"""Training: one recipe on one dataset into one run folder, on Ray Train, tracked in MLflow, resumable after any kill."""

from __future__ import annotations

import json
import logging
import os
import shutil
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import ray.train
import ray.train.torch
from pydantic import JsonValue
from ray.train.v2.api.exceptions import TrainingFailedError

from platform_lib.catalog.catalog import Catalog
from platform_lib.catalog.postgres import TRACKING_DATABASE, database_uri, embedded_postgres
from platform_lib.console import Task, progress
from platform_lib.errors import PlatformError
from platform_lib.home import Home
from platform_lib.manifest import Manifest, Step
from platform_lib.models import checkpoint
from platform_lib.storage import publish_bytes, sweep_unfinished
from platform_lib.tracking.mlflow_store import Point, TrackedRun
from ray_jobs.named import dataset_input, valid_name
from ray_jobs.recipes import recipe_named
from ray_jobs.recipes.config import TrainConfig
from ray_jobs.session import local_ray
from ray_jobs.training_worker import OUTPUTS, FitJob, fit

_LOG = logging.getLogger(__name__)
_IDENTITY, _MLFLOW_ID = "step.json", "mlflow_run_id"
_POLL_S = 0.2
# A worker that dies (killed for memory, say) is started again, and resumes from its checkpoint, this often.
_WORKER_RESTARTS = 2


@dataclass(frozen=True, slots=True)
class TrainOutcome:
    """What training left behind.

    Attributes:
        skipped: The run was up to date and nothing ran.
        resumed_epochs: Epochs taken over from an earlier, killed attempt.
    """

    run: Path
    manifest: Manifest
    skipped: bool
    resumed_epochs: int


class TrainingError(PlatformError):
    """The training function failed; the message carries its own."""


def train(home: Home, recipe: str, *, dataset: str, run: str, force: bool = False) -> TrainOutcome:
    """Train `recipe` on a dataset of this home into ``HOME/runs/<run>``.

    Raises:
        ConfigError: Unknown recipe, or a run name that cannot be a folder.
        MissingPartError: There is no such dataset.
        IntegrityError: The dataset's files differ from its manifest.
        TrainingError: The training itself failed.
        HomeBusyError: Another command trains this very run, or builds its dataset.
    """
    config = recipe_named(recipe)
    folder = home.runs / valid_name(run, what="--run")
    source = home.datasets / valid_name(dataset, what="--dataset")
    step = Step(
        "run",
        inputs={"dataset": dataset_input(source)},
        config=config.resolved(),
        modules=("ray_jobs.training_worker",),
    )
    with home.lock(f"run-{run}"), home.lock(f"dataset-{dataset}", shared=True):
        found = None if force else step.done(folder / "manifest.json")
        if found is not None:
            return TrainOutcome(run=folder, manifest=found, skipped=True, resumed_epochs=0)
        resumed = _prepare(folder, step.sha256, fresh=force)
        job = FitJob(config=config, dataset=str(source), run=str(folder), identity=step.sha256)
        manifest = _run(home, job, step)
    return TrainOutcome(run=folder, manifest=manifest, skipped=False, resumed_epochs=resumed)


def _prepare(folder: Path, identity: str, *, fresh: bool) -> int:
    """Make the run folder ready; return the epochs that a killed attempt of this very step left."""
    marker = folder / _IDENTITY
    try:
        known = json.loads(marker.read_text())["step_sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        known = None
    if known != identity or fresh:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        publish_bytes(marker, (json.dumps({"step_sha256": identity}) + "\n").encode())
    sweep_unfinished(folder)
    sweep_unfinished(folder / "checkpoints")
    (folder / "manifest.json").unlink(missing_ok=True)
    return checkpoint.resumable_epochs(folder / "checkpoints", identity=identity)


def _records(curve: Path) -> list[dict[str, float]]:
    try:
        return [json.loads(line) for line in curve.read_text().splitlines() if line]
    except FileNotFoundError:
        return []


def _run(home: Home, job: FitJob, step: Step) -> Manifest:
    folder = Path(job.run)
    with embedded_postgres(home) as uri:
        tracked = TrackedRun(
            database_uri(uri, TRACKING_DATABASE),
            artefacts=home.mlflow,
            name=folder.name,
            id_file=folder / _MLFLOW_ID,
            tags=_tags(step, job),
            params=_flat(step.config),
        )
        try:
            with local_ray(home):
                _fit_on_ray(folder, job, tracked)
        except BaseException:
            tracked.fail()
            raise
        manifest = _finish(folder, step, tracked)
        _record(uri, manifest, folder)
        tracked.finish(
            tags={"weights_sha256": manifest.outputs["weights.pt"].sha256},
            files=tuple(folder / name for name in ("curve.jsonl", "model.onnx", "manifest.json")),
        )
    return manifest


# Ray Train reads a worker's report, and lets it go on, only when it looks: every 2 s by default, half a minute of
# waiting over the epochs of a small run. The watcher and the metrics serve clusters that a local session has not.
_RAY_TRAIN_SETTINGS = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.1",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
}


def _fit_on_ray(folder: Path, job: FitJob, tracked: TrackedRun) -> None:
    for name, value in _RAY_TRAIN_SETTINGS.items():
        os.environ.setdefault(name, value)
    scratch = folder / "ray"
    shutil.rmtree(scratch, ignore_errors=True)  # Ray's own state of a killed attempt; the checkpoints are ours
    trainer = _Trainer(
        fit,
        train_loop_config={"job": job},
        scaling_config=ray.train.ScalingConfig(num_workers=1, resources_per_worker={"CPU": 1}),
        run_config=ray.train.RunConfig(
            name="attempt",
            storage_path=str(scratch),
            failure_config=ray.train.FailureConfig(max_failures=_WORKER_RESTARTS),
        ),
    )
    epochs = job.config.fit.epochs
    try:
        with progress(f"training {job.config.recipe}", total=epochs) as bar, _Follower(folder, bar, tracked):
            trainer.fit()
    except TrainingFailedError as error:
        raise _training_error(error, folder) from error
    shutil.rmtree(scratch, ignore_errors=True)


class _Trainer(ray.train.torch.TorchTrainer):  # type: ignore[misc]  # Ray publishes no types
    """Leaves Ctrl-C to the command, which stops what it started and says so; Ray's own answer ends it without a word."""

    def _register_sigint_handler(self, controller: object) -> None:
        del controller


def _training_error(error: TrainingFailedError, folder: Path) -> PlatformError:
    """Turn Ray's report of a failed worker into the error it was raised with, or one that quotes it."""
    failures: Mapping[int, Exception] = getattr(error, "worker_failures", {})
    for failure in failures.values():
        cause = getattr(failure, "cause", failure)
        if isinstance(cause, PlatformError):
            return cause
        return TrainingError(f"training stopped: {type(cause).__name__}: {cause}", where=folder)
    return TrainingError(f"training stopped: {error}", where=folder)


class _Follower:
    """Follows the growing curve while Ray trains: moves the progress bar, and tells MLflow."""

    def __init__(self, folder: Path, bar: Task, tracked: TrackedRun) -> None:
        self._curve, self._bar, self._tracked = folder / "curve.jsonl", bar, tracked
        self._seen = 0
        self._stop = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        if self._failure is not None and error is None:
            raise self._failure
        if error is None:
            self._look()

    def _follow(self) -> None:
        try:
            while not self._stop.wait(_POLL_S):
                self._look()
        except Exception as error:  # noqa: BLE001 - handed over to the main thread, which raises it
            self._failure = error

    def _look(self) -> None:
        records = _records(self._curve)
        if len(records) <= self._seen:
            return
        now_ms = time.time_ns() // 1_000_000
        points = [
            Point(int(record["step"]), now_ms, {name: record[name] for name in ("train_loss", "val_ade_m")})
            for record in records
        ]
        self._tracked.log(points)
        last = records[-1]
        note = f"loss {last['train_loss']:.3f}, validation ADE {last['val_ade_m']:.2f} m"
        self._bar.advance(len(records) - self._seen, note=note)
        self._seen = len(records)


def _finish(folder: Path, step: Step, tracked: TrackedRun) -> Manifest:
    records = _records(folder / "curve.jsonl")
    last = records[-1]
    metrics: dict[str, JsonValue] = {
        "epochs": len(records),
        "steps": int(last["step"]),
        "train_loss": last["train_loss"],
        "val_ade_m": last["val_ade_m"],
        "training_s": round(sum(record["seconds"] for record in records), 1),
        "mlflow_run_id": tracked.run_id,
    }
    return step.finish(folder / "manifest.json", {name: folder / name for name in OUTPUTS}, metrics)


def _record(uri: str, manifest: Manifest, folder: Path) -> None:
    """Tell the catalogue what was made from what: run from dataset, each file of the run from the run."""
    with Catalog(uri) as catalog:
        catalog.record(manifest, folder)


def _tags(step: Step, job: FitJob) -> dict[str, str]:
    config: TrainConfig = job.config
    return {
        "recipe": config.recipe,
        "dataset": Path(job.dataset).name,
        "dataset_sha256": step.inputs["dataset"].sha256,
        "config_sha256": config.sha256,
        "code_sha256": step.code_sha256,
        "step_sha256": step.sha256,
    }


def _flat(value: JsonValue, prefix: str = "") -> dict[str, str]:
    if isinstance(value, dict):
        return {key: text for name, item in value.items() for key, text in _flat(item, f"{prefix}{name}.").items()}
    return {prefix.rstrip("."): json.dumps(value) if isinstance(value, list) else str(value)}
