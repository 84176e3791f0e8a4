"""What runs inside a Ray Train worker: read the dataset, fit, write the run's files."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray.train
import torch

from platform_lib.datasets.loader import TRAINING_COLUMNS
from platform_lib.datasets.reader import DrivingDataset
from platform_lib.datasets.sampled_loader import SampledLoader
from platform_lib.datasets.shuffle import Part, ShuffleRules
from platform_lib.datasets.torch_loader import SAMPLE_BYTES, TorchLoader
from platform_lib.errors import ConfigError, PlatformError
from platform_lib.models import checkpoint
from platform_lib.models.fitting import EpochRecord, Fit, SaveRules, batch_of_one_process, seeded
from platform_lib.models.gang import Gang, gang
from platform_lib.models.learner import Batches, Learner
from platform_lib.models.registry import columns_of, is_registered
from platform_lib.models.sampling import sample_table
from platform_lib.models.tags import tag_rows
from platform_lib.refusals import refused_by_system
from platform_lib.storage import publish_bytes
from ray_jobs.attempts import TrainingError, begin_attempt, no_room, stop_for_good, stopped_by
from ray_jobs.hang_guard import HangGuard
from ray_jobs.planner_run import PlannerRun, motion_of
from ray_jobs.recipes.config import TrainConfig
from ray_jobs.training_journal import CURVE, STEPS, Journal, write_curve
from ray_jobs.worker_gauge import WorkerGauge

WEIGHTS = "weights.pt"
OUTPUTS_FILE = "outputs.txt"
KEEP_BYTES = 2 << 30
"""A decoded training split of at most so much stays in memory: some 57,000 samples."""


@dataclass(frozen=True, slots=True)
class RunRules:
    """What has no say in a run's result.

    Attributes:
        save: When states are saved.
        hang_s: A process that takes no step for so long is ended and started again; 0 waits for ever.
    """

    save: SaveRules = field(default_factory=SaveRules)
    hang_s: float = 900.0


@dataclass(frozen=True, slots=True)
class FitJob:
    """What the worker is told; paths are absolute.

    Attributes:
        dataset: The dataset's folder; None where the recipe brings its own data.
        identity: Digest of the step; checkpoints of another are not resumed.
    """

    config: TrainConfig
    dataset: str | None
    run: str
    identity: str
    rules: RunRules = field(default_factory=RunRules)


def fit(job: dict[str, FitJob]) -> None:
    """Fit from the newest whole checkpoint and write every output of the run but its manifest."""
    todo = job["job"]
    run = Path(todo.run)
    if stopped_by(run) is not None:
        return  # another process of this run stopped for good, and Ray began the others anew
    together = gang(todo.config.processes.strategy, _device(todo.config))
    try:
        _fit(todo, run, together)
    except PlatformError as error:
        stop_for_good(run, error)
    except Exception as error:
        # Where several train, one's death reaches the others as an error of what they exchange: all begin anew then.
        if together.size > 1 and not no_room(error):
            raise
        stop_for_good(run, _said(error, run))


def _said(error: Exception, run: Path) -> PlatformError:
    if isinstance(error, OSError):
        return refused_by_system(error, where=str(run))
    return TrainingError(f"training stopped: {type(error).__name__}: {error}", where=run)


def _fit(todo: FitJob, run: Path, together: Gang) -> None:
    config, part = todo.config, Part(together.rank, together.size)
    guard = HangGuard(run, rank=together.rank, limit_s=todo.rules.hang_s)
    guard.beat()
    device = _device(config)
    with ExitStack() as opened:
        dataset = None if todo.dataset is None else opened.enter_context(DrivingDataset.open(Path(todo.dataset)))
        train = _batches(config, dataset, part)
        seeded(config.fit, device)
        learner = _learner(config, dataset, train)
        fitting = Fit(
            learner,
            config.fit,
            train=train,
            folder=run / "checkpoints",
            identity=todo.identity,
            rules=todo.rules.save,
            together=together,
            device=device,
        )

        def begun(step: int) -> None:
            if together.rank == 0:
                begin_attempt(run, step)
                write_curve(run, fitting.records)

        journal = Journal(run, rank=together.rank, guard=guard, begun=begun, report=_report)
        try:
            with WorkerGauge(run, rank=together.rank, device=device):
                fitting.run(journal)
        finally:
            journal.close()
        if together.rank == 0:
            _write_outputs(run, fitting)


def _report(record: EpochRecord) -> None:
    ray.train.report({"epoch": record.epoch, "train_loss": record.train_loss, **record.metrics})


def _write_outputs(run: Path, fitting: Fit) -> None:
    learner = fitting.learner
    learner.network = learner.network.to("cpu")
    publish_bytes(run / WEIGHTS, checkpoint.torch_bytes(learner.weights()))
    export = getattr(learner, "export", None)
    more = () if export is None else export(run)
    publish_bytes(run / OUTPUTS_FILE, "\n".join((WEIGHTS, CURVE, STEPS, *more)).encode())


def _device(config: TrainConfig) -> torch.device:
    if not config.processes.gpu:
        return torch.device("cpu")
    found: torch.device = ray.train.torch.get_device()
    return found


def _batches(config: TrainConfig, dataset: DrivingDataset | None, part: Part) -> Batches:
    if config.source is not None:
        batch = batch_of_one_process(config.fit, part.count)
        return config.source.batches(batch=batch, seed=config.fit.seed, part=part)
    if dataset is None:
        raise TrainingError("neither a dataset nor data of the recipe's own", where=config.recipe)
    return training_loader(dataset, config, part)


def _learner(config: TrainConfig, dataset: DrivingDataset | None, train: Any) -> Learner:
    if not is_registered(config.planner):
        own: Learner = config.planner.learner(dataset)
        return own
    if dataset is None:
        raise TrainingError("the built-in planners learn from a dataset", where=config.recipe)
    return PlannerRun(config, config.planner, dataset, train)


def training_loader(
    dataset: DrivingDataset, config: TrainConfig, part: Part | None = None
) -> TorchLoader | SampledLoader:
    """Return what hands out the training split. One that fits into memory is mixed wholly, since that costs nothing there.

    Raises:
        ConfigError: Samples are to be chosen, and several processes train: each would know the errors of its own alone.
    """
    loader = _loader(dataset, config, part)
    if config.sampling is None:
        return loader
    if part is not None and part.count > 1:
        raise ConfigError(
            f"sampling in {part.count} processes", where=config.recipe, remedy="train in one, or without sampling"
        )
    motion = motion_of(dataset, "train")
    table = sample_table(motion.ego_history, motion.command, motion.future_m, tag_rows(motion.slices))
    return SampledLoader(loader, table, config.sampling, batch=config.fit.batch, seed=config.fit.seed)


def _loader(dataset: DrivingDataset, config: TrainConfig, part: Part | None) -> TorchLoader:
    count = dataset.sample_count("train")
    rules = ShuffleRules(1, max(1, count)) if count * SAMPLE_BYTES <= KEEP_BYTES else ShuffleRules()
    return TorchLoader(
        dataset.folder,
        "train",
        batch=batch_of_one_process(config.fit, 1 if part is None else part.count),
        seed=config.fit.seed,
        part=part,
        rules=rules,
        columns=(*TRAINING_COLUMNS, *(columns_of(config.planner) if is_registered(config.planner) else ())),
        keep_bytes=KEEP_BYTES,
    )
