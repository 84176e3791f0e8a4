"""Training: one recipe on one dataset into one run folder, on Ray Train, tracked in MLflow, resumable after any kill."""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
import os
import platform
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray.train
import ray.train.torch
from pydantic import JsonValue
from ray.train.v2._internal.execution.callback import WorkerGroupCallback
from ray.train.v2.api.exceptions import TrainingFailedError

from platform_lib.abilities import GPU, SHARE
from platform_lib.catalog.addresses import TRACKING_DATABASE, database_uri
from platform_lib.catalog.catalog import Catalog
from platform_lib.catalog.postgres import embedded_postgres
from platform_lib.code_digest import OWN_PACKAGES
from platform_lib.console import progress
from platform_lib.errors import ConfigError, PlatformError
from platform_lib.home import Home
from platform_lib.manifest import Manifest, Step, environment, git_state
from platform_lib.models import checkpoint
from platform_lib.models.registry import is_registered
from platform_lib.storage import publish_bytes, sweep_unfinished
from platform_lib.tracking.mlflow_store import TrackedRun
from ray_jobs.attempts import TrainingError, clear_attempts, release, stopped_by
from ray_jobs.interruption import forget_notices, listen, save_before_the_end
from ray_jobs.named import RUN_IDENTITY, training_data, valid_name
from ray_jobs.recipes import make_classes_importable, recipe_named
from ray_jobs.recipes.config import TrainConfig
from ray_jobs.session import local_ray
from ray_jobs.supervision import is_orphan, supervised
from ray_jobs.training_follower import INTERRUPTIONS, Follower
from ray_jobs.training_journal import CURVE, EVENTS, read_lines, tell_event
from ray_jobs.training_worker import OUTPUTS_FILE, WEIGHTS, FitJob, RunRules, fit

_LOG = logging.getLogger(__name__)
_MLFLOW_ID = "mlflow_run_id"


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


def train(
    home: Home,
    recipe: str | TrainConfig,
    *,
    dataset: str | None = None,
    run: str,
    force: bool = False,
    rules: RunRules | None = None,
) -> TrainOutcome:
    """Train a recipe into ``HOME/runs/<run>``.

    Args:
        home: Whose run it becomes.
        recipe: A recipe's name, ``module:function`` of one's own, or the configuration itself (from a notebook).
        dataset: A dataset of this home; None for a recipe that brings its own data.
        run: The run's name; a killed run of that name is resumed.
        force: Begin anew, whatever is there.
        rules: When states are saved, and when a process that hangs is ended.

    Raises:
        ConfigError: Unknown recipe, or a run name that cannot be a folder.
        MissingPartError: There is no such dataset.
        IntegrityError: The dataset's files differ from its manifest.
        DivergedError: A loss or gradient is no number.
        TrainingError: The training itself failed.
        HomeBusyError: Another command trains this very run, or builds its dataset.
    """
    config = recipe_named(recipe) if isinstance(recipe, str) else recipe
    make_classes_importable(config)
    folder = home.runs / valid_name(run, what="--run")
    source, given = training_data(home, config, dataset)
    step = Step(
        "run",
        inputs={"dataset": given},
        config={**config.resolved(), **_own_code(config)},
        modules=("ray_jobs.training_worker",),
    )
    with home.lock(f"run-{run}"), home.lock(f"dataset-{dataset or 'own'}", shared=True):
        found = None if force else step.done(folder / "manifest.json")
        if found is not None:
            return TrainOutcome(run=folder, manifest=found, skipped=True, resumed_epochs=0)
        about = {
            "recipe": recipe if isinstance(recipe, str) else None,
            "dataset": dataset,
            "kind": _kind(config),
        }
        resumed = _prepare(folder, step.sha256, about, fresh=force)
        job = FitJob(
            config=config,
            dataset=None if source is None else str(source),
            run=str(folder),
            identity=step.sha256,
            rules=rules or RunRules(),
        )
        manifest = supervised(
            lambda: _run(home, job, step),
            progress=lambda: checkpoint.newest_name(folder / "checkpoints"),
            died=lambda how: tell_event(folder, "driver-lost", how),
        )
    return TrainOutcome(run=folder, manifest=manifest, skipped=False, resumed_epochs=resumed)


def _own_code(config: TrainConfig) -> dict[str, JsonValue]:
    """Return digests of a team's own classes: changed, they make another run."""
    kinds = [type(item) for item in (config.planner, config.source) if item is not None]
    own = [kind for kind in kinds if kind.__module__.partition(".")[0] not in OWN_PACKAGES]
    return {"own_code": {kind.__qualname__: _source_sha256(kind) for kind in own}} if own else {}


def _source_sha256(kind: type) -> str:
    """Digest the module that holds a class; of one that has no file, a notebook's, the class itself."""
    module = inspect.getmodule(kind)
    try:
        if module is not None and kind.__module__ != "__main__":
            text = inspect.getsource(module)
        else:
            text = inspect.getsource(kind)
    except (OSError, TypeError) as error:
        raise ConfigError(
            f"the source of {kind.__qualname__} cannot be read, so a run could not tell a changed class from the same one",
            where="recipe",
            remedy="define the class in a file, or in a notebook's cell",
        ) from error
    return hashlib.sha256(text.encode()).hexdigest()


def _kind(config: TrainConfig) -> str | None:
    """Return what kind of planner is trained, for those who look on; None where it is no planner of the registry."""
    return str(getattr(config.planner, "kind", "camera")) if is_registered(config.planner) else None


def _prepare(folder: Path, identity: str, about: Mapping[str, str | None], *, fresh: bool) -> int:
    """Make the run folder ready; return the epochs that a killed attempt of this very step left."""
    marker = folder / RUN_IDENTITY
    try:
        known = json.loads(marker.read_text())["step_sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        known = None
    if known != identity or fresh:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    publish_bytes(marker, (json.dumps({"step_sha256": identity, **about}) + "\n").encode())
    forget_notices(folder)
    sweep_unfinished(folder)
    sweep_unfinished(folder / "checkpoints")
    clear_attempts(folder)
    (folder / "manifest.json").unlink(missing_ok=True)
    return checkpoint.resumable_epochs(folder / "checkpoints", identity=identity)


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
        # At the beginning: a run that fails is looked at the most.
        tracked.attach("environment.json", environment())
        try:
            with local_ray(home, cpus=_cpus(job.config)):
                _fit_on_ray(folder, job, tracked)
        except BaseException:
            tracked.fail()
            raise
        manifest = _finish(folder, step, tracked)
        _record(uri, manifest, folder)
        tracked.finish(
            tags={"weights_sha256": manifest.outputs[WEIGHTS].sha256},
            files=tuple(
                path
                for name in (CURVE, EVENTS, WEIGHTS, "model.onnx", "manifest.json")
                if (path := folder / name).exists()
            ),
        )
    return manifest


def _cpus(config: TrainConfig) -> int | None:
    """Return how many CPUs a local Ray has to offer so that all training processes find a place."""
    wanted = config.processes.count * config.processes.cpus
    return wanted if wanted > len(os.sched_getaffinity(0)) else None


# Ray Train reads a worker's report, and lets it go on, only when it looks: every 2 s by default, half a minute of
# waiting over the epochs of a small run. The watcher and the metrics serve clusters that a local session has not.
_RAY_TRAIN_SETTINGS = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.1",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
}
_UNLIMITED = -1  # what may begin anew is decided by `attempts`


def _fit_on_ray(folder: Path, job: FitJob, tracked: TrackedRun) -> None:
    for name, value in _RAY_TRAIN_SETTINGS.items():
        os.environ.setdefault(name, value)
    scratch = folder / "ray"
    shutil.rmtree(scratch, ignore_errors=True)  # Ray's own state of a killed attempt; the checkpoints are ours
    processes = job.config.processes
    resources: dict[str, float] = {"CPU": processes.cpus}
    if processes.gpu:
        resources[GPU] = 1
    if processes.placed_on is not None:
        resources[processes.placed_on] = SHARE
    trainer = _Trainer(
        fit,
        train_loop_config={"job": job},
        scaling_config=ray.train.ScalingConfig(
            num_workers=processes.count, use_gpu=processes.gpu, resources_per_worker=resources
        ),
        run_config=ray.train.RunConfig(
            name="attempt",
            storage_path=str(scratch),
            failure_config=ray.train.FailureConfig(max_failures=_UNLIMITED),
            callbacks=[_Listening()],
        ),
    )
    epochs = job.config.fit.epochs
    try:
        with progress(f"training {job.config.recipe}", total=epochs) as bar, Follower(folder, bar, tracked):
            trainer.fit()
    except SystemExit:  # with any code: Ray 2.60 makes 1 of whatever a signal's handler raises in its `get`
        # Asked to end, as by a node that is about to go. Without the command itself nobody waits for what is saved.
        if not is_orphan():
            save_before_the_end(folder)
        raise
    except TrainingFailedError as error:
        raise stopped_by(folder) or _training_error(error, folder) from error
    stopped = stopped_by(folder)
    if stopped is not None:
        raise stopped
    shutil.rmtree(scratch, ignore_errors=True)
    release(folder)


class _Listening(WorkerGroupCallback):  # type: ignore[misc]  # Ray publishes no types
    """Has each training process listen for its end; training itself is not in the thread that can."""

    def after_worker_group_start(self, worker_group: Any) -> None:
        """Called when all processes are up, before they train."""
        with suppress(ray.exceptions.RayError):  # one that died already is begun anew
            worker_group.execute(listen)


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


def _finish(folder: Path, step: Step, tracked: TrackedRun) -> Manifest:
    records: list[dict[str, Any]] = read_lines(folder / CURVE)
    last = records[-1]
    metrics: dict[str, JsonValue] = {
        "epochs": len(records),
        "steps": int(last["step"]),
        **{name: value for name, value in last.items() if name not in ("epoch", "step", "seconds")},
        "training_s": round(sum(record["seconds"] for record in records), 1),
        "interruptions": sum(event["event"] in INTERRUPTIONS for event in read_lines(folder / EVENTS)),
        "mlflow_run_id": tracked.run_id,
    }
    names = (folder / OUTPUTS_FILE).read_text().split("\n")
    return step.finish(folder / "manifest.json", {name: folder / name for name in names}, metrics)


def _record(uri: str, manifest: Manifest, folder: Path) -> None:
    """Tell the catalogue what was made from what: run from dataset, each file of the run from the run."""
    with Catalog(uri) as catalog:
        catalog.record(manifest, folder)


def _tags(step: Step, job: FitJob) -> dict[str, str]:
    config: TrainConfig = job.config
    commit, dirty = git_state()
    return {
        "recipe": config.recipe,
        "dataset": "own" if job.dataset is None else Path(job.dataset).name,
        "dataset_sha256": step.inputs["dataset"].sha256,
        "config_sha256": config.sha256,
        "code_sha256": step.code_sha256,
        "step_sha256": step.sha256,
        "git_commit": commit or "outside a checkout",
        "git_dirty": "unknown" if dirty is None else str(dirty).lower(),
        "python": platform.python_version(),
        "host": platform.node(),
        "checkpoints": str(Path(job.run) / "checkpoints"),
    }


def _flat(value: JsonValue, prefix: str = "") -> dict[str, str]:
    if isinstance(value, dict):
        return {key: text for name, item in value.items() for key, text in _flat(item, f"{prefix}{name}.").items()}
    return {prefix.rstrip("."): json.dumps(value) if isinstance(value, list) else str(value)}
