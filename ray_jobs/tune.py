"""Searching a recipe's values: Optuna proposes, Ray Tune runs, ASHA ends what falls behind; the study is in PostgreSQL.

A study that was killed goes on: what it had finished stays, what was at work is tried again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from platform_lib.catalog.addresses import TRACKING_DATABASE, database_uri, ensure_database
from platform_lib.catalog.postgres import embedded_postgres
from platform_lib.code_digest import code_sha256
from platform_lib.console import progress
from platform_lib.datasets.reader import DrivingDataset
from platform_lib.datasets.shuffle import Part
from platform_lib.errors import ConfigError, PlatformError
from platform_lib.home import Home
from platform_lib.models.fitting import EpochRecord, Fit, SaveRules, Silent, batch_of_one_process, seeded
from platform_lib.models.registry import is_registered
from platform_lib.storage import publish_bytes
from ray_jobs.named import training_data, valid_name
from ray_jobs.planner_run import PlannerRun
from ray_jobs.recipes import make_classes_importable, recipe_named
from ray_jobs.recipes.config import TrainConfig
from ray_jobs.search_space import Between, Range, Space, usual_space, with_values
from ray_jobs.session import local_ray
from ray_jobs.training_worker import training_loader
from ray_jobs.trial_tracking import SearchRecord, TrackedSearch
from ray_jobs.tune_page import TrialLine, write_page

_LOG = logging.getLogger(__name__)
TUNING_DATABASE = "tuning"
STUDY, PAGE, TRIALS = "study.json", "index.html", "trials"
_REDUCTION = 3  # ASHA's usual: a third of what reaches a rung goes on
_IDENTITY = "identity"


@dataclass(frozen=True, slots=True)
class TuneOutcome:
    """What a search found.

    Attributes:
        best: Values of the best trial.
        value: Its metric.
        trials: All that are finished, those of earlier visits too, the best first.
        ran: How many of them ran on this visit.
    """

    folder: Path
    metric: str
    best: Mapping[str, Any]
    value: float
    trials: Sequence[TrialLine]
    ran: int


@dataclass(frozen=True, slots=True)
class _TrialJob:
    """What a trial's process is told."""

    config: TrainConfig
    dataset: str | None
    folder: str
    metric: str


def tune(
    home: Home,
    recipe: str | TrainConfig,
    *,
    dataset: str | None,
    study: str,
    trials: int,
    space: Space | None = None,
    parallel: int = 1,
    seed: int = 0,
) -> TuneOutcome:
    """Search until so many trials are finished, those of earlier visits counted.

    Args:
        home: Whose study.
        recipe: Its name, or the configuration itself.
        dataset: A dataset of the home; None for a recipe with its own.
        study: The study's name.
        trials: How many trials, pruned ones included.
        space: What is searched; `usual_space` of the recipe by default.
        parallel: Trials at once.
        seed: Of what is proposed.

    Raises:
        ConfigError: The study of this name searched something else, or the recipe has no data.
        MissingPartError: There is no such dataset.
        PlatformError: No trial came to an end.
    """
    config = recipe_named(recipe) if isinstance(recipe, str) else recipe
    make_classes_importable(config)
    searched = space or usual_space(config)
    with_values(config, {name: _first(item) for name, item in searched.ranges.items()})  # every path leads somewhere
    folder = home.root / "studies" / valid_name(study, what="--study")
    source, given = training_data(home, config, dataset)
    identity = _identity(config, searched, given.sha256)
    job = _TrialJob(config, None if source is None else str(source), str(folder / TRIALS), searched.metric)
    with home.lock(f"study-{study}"), embedded_postgres(home) as uri:
        folder.mkdir(parents=True, exist_ok=True)
        address = database_uri(uri, TUNING_DATABASE)
        ensure_database(address)
        with _storage(address) as storage:
            found = _study(storage, study, identity, folder)
            left = max(0, trials - _finished(found))
            record = SearchRecord(
                uri=database_uri(uri, TRACKING_DATABASE),
                artefacts=home.mlflow,
                study=study,
                folder=folder,
                metric=searched.metric,
                tags=_tags(config, dataset, given.sha256, identity),
                epochs_of=lambda values: with_values(config, values).fit.epochs,
            )
            with _tracked(record, storage) as tracked:
                if left:
                    drawn = seed + len(found.trials)  # the same seed would propose the first visit's values again
                    with local_ray(home):
                        _search(job, record, searched, storage, count=left, parallel=parallel, seed=drawn)
                found = _study(storage, study, identity, folder)
                outcome = _told(found, folder, searched, ran=left)
                tracked.finish(
                    files=(folder / STUDY, folder / PAGE),
                    best={"best_trial": str(outcome.trials[0].number), "best_value": str(outcome.value)},
                )
            return outcome


def _tracked(record: SearchRecord, storage: Any) -> TrackedSearch:
    import optuna

    watched = optuna.load_study(study_name=record.study, storage=storage)
    return TrackedSearch(
        record,
        trials=lambda: watched.get_trials(deepcopy=False),
        curves=lambda: _curves(record.folder),
        leave=storage.remove_session,
    )


def _tags(config: TrainConfig, dataset: str | None, dataset_sha256: str, identity: str) -> dict[str, str]:
    return {
        "recipe": config.recipe,
        "dataset": dataset or "own",
        "dataset_sha256": dataset_sha256,
        "config_sha256": config.sha256,
        "search_sha256": identity,
    }


@contextmanager
def _storage(address: str) -> Iterator[Any]:
    """Open the studies' database for the block; Optuna itself leaves its connections to the garbage collector."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = optuna.storages.RDBStorage(address)
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _identity(config: TrainConfig, space: Space, data: str) -> str:
    ranges = {name: [type(item).__name__, asdict(item)] for name, item in sorted(space.ranges.items())}
    told = [config.sha256, data, ranges, space.metric, code_sha256("ray_jobs.training_worker")]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _study(storage: Any, name: str, identity: str, folder: Path) -> Any:
    """Open the study; what was at work when it was killed counts as failed.

    Raises:
        ConfigError: It searched something else.
    """
    import optuna

    study = optuna.create_study(storage=storage, study_name=name, direction="minimize", load_if_exists=True)
    known = study.user_attrs.get(_IDENTITY)
    if known is not None and known != identity:
        raise ConfigError(
            f"study '{name}' searched another recipe, dataset, space or code",
            where=folder,
            remedy="take another --study; its trials cannot be compared with these",
        )
    study.set_user_attr(_IDENTITY, identity)
    for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
    return study


def _finished(study: Any) -> int:
    return len(_done(study))


def _done(study: Any) -> list[Any]:
    import optuna

    states = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
    return [trial for trial in study.get_trials(deepcopy=False, states=states) if trial.value is not None]


def _search(
    job: _TrialJob, record: SearchRecord, space: Space, storage: Any, *, count: int, parallel: int, seed: int
) -> None:
    from ray import tune as ray_tune
    from ray.tune.schedulers import ASHAScheduler

    from ray_jobs.whole_curves import WholeCurves

    epochs = job.config.fit.epochs
    scratch = record.folder / "ray"
    shutil.rmtree(scratch, ignore_errors=True)  # Ray's own state; ours is in PostgreSQL
    tuner = ray_tune.Tuner(
        ray_tune.with_parameters(ray_tune.with_resources(_trial, {"CPU": 1}), job=job),
        tune_config=ray_tune.TuneConfig(
            search_alg=WholeCurves(
                {name: _distribution(item) for name, item in space.ranges.items()},
                metric=space.metric,
                mode="min",
                study_name=record.study,
                storage=storage,
                seed=seed,
            ),
            scheduler=ASHAScheduler(
                time_attr="epoch",
                metric=space.metric,
                mode="min",
                max_t=epochs,
                grace_period=max(1, epochs // _REDUCTION**2),
                reduction_factor=_REDUCTION,
            ),
            num_samples=count,
            max_concurrent_trials=parallel,
        ),
        run_config=ray_tune.RunConfig(name="search", storage_path=str(scratch), verbose=0),
    )
    # Ray Tune tells of failed trials on standard output, which belongs to the command's answer.
    with progress(f"searching {job.config.recipe}", total=None), redirect_stdout(sys.stderr):
        results = tuner.fit()
    for error in results.errors:
        _LOG.warning("study=%s a trial failed: %s", record.study, str(error).strip().splitlines()[-1])
    shutil.rmtree(scratch, ignore_errors=True)


def _distribution(item: Range) -> Any:
    import optuna

    if not isinstance(item, Between):
        return optuna.distributions.CategoricalDistribution(item.values)
    if isinstance(item.low, int) and isinstance(item.high, int):
        return optuna.distributions.IntDistribution(item.low, item.high, log=item.log)
    return optuna.distributions.FloatDistribution(item.low, item.high, log=item.log)


def _first(item: Range) -> Any:
    return item.low if isinstance(item, Between) else item.values[0]


def _trial(values: dict[str, Any], job: _TrialJob) -> None:
    """Fit once, in a process of Ray's, and report every epoch; ASHA may end it after any."""
    from ray import tune as ray_tune

    config = with_values(job.config, values)
    key = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]
    folder = Path(job.folder) / key
    dataset = None if job.dataset is None else DrivingDataset.open(Path(job.dataset))

    folder.mkdir(parents=True, exist_ok=True)
    earlier = _epochs_before(folder, config.sha256)
    for line in earlier:  # of a trial of the same values: the fit goes on behind them, ASHA has to hear of them
        ray_tune.report({name: value for name, value in line.items() if name in (job.metric, "epoch", "train_loss")})

    class Reporting(Silent):
        def epoch_ended(self, record: EpochRecord, records: Sequence[EpochRecord]) -> None:
            told = {"values": values, "config_sha256": config.sha256, "curve": [item.line() for item in records]}
            publish_bytes(folder / "trial.json", json.dumps(told).encode())
            if record.epoch > len(earlier):
                ray_tune.report({**record.metrics, "epoch": record.epoch, "train_loss": record.train_loss})

    seeded(config.fit)
    if config.source is not None:
        batch = batch_of_one_process(config.fit, 1)
        batches: Any = config.source.batches(batch=batch, seed=config.fit.seed, part=Part())
    elif dataset is not None:
        batches = training_loader(dataset, config)
    else:
        raise ConfigError("neither a dataset nor data of the recipe's own", where=config.recipe)
    seeded(config.fit)
    planner = config.planner
    if is_registered(planner) and dataset is not None:
        learner: Any = PlannerRun(config, planner, dataset, batches)
    elif not is_registered(planner):
        learner = planner.learner(dataset)
    else:
        raise ConfigError("the built-in planners learn from a dataset", where=config.recipe)
    Fit(
        learner, config.fit, train=batches, folder=folder / "checkpoints", identity=config.sha256, rules=SaveRules()
    ).run(Reporting())


def _epochs_before(folder: Path, config_sha256: str) -> list[dict[str, Any]]:
    """Return the curve of a trial of the same configuration, as far as it came."""
    try:
        told = json.loads((folder / "trial.json").read_bytes())
    except (OSError, ValueError):
        return []
    return list(told["curve"]) if told.get("config_sha256") == config_sha256 else []


def _told(study: Any, folder: Path, space: Space, *, ran: int) -> TuneOutcome:
    """Write what was found.

    Raises:
        PlatformError: No trial came to an end.
    """
    done = sorted(_done(study), key=lambda trial: (trial.value, trial.number))
    if not done:
        raise PlatformError(
            "no trial came to an end", where=folder, remedy="`drivetrain --verbose tune ...` tells why they failed"
        )
    curves = _curves(folder)
    lines = [
        TrialLine(
            number=trial.number,
            value=float(trial.value),
            values=dict(trial.params),
            curve=tuple(
                float(row[space.metric])
                for row in curves.get(json.dumps(dict(trial.params), sort_keys=True), ())
                if space.metric in row
            ),
        )
        for trial in done
    ]
    best = lines[0]
    document = {
        "metric": space.metric,
        "best": {"trial": best.number, "value": best.value, "values": best.values},
        "trials": [asdict(line) for line in lines],
    }
    publish_bytes(folder / STUDY, (json.dumps(document, indent=2) + "\n").encode())
    write_page(folder / PAGE, study.study_name, space.metric, lines)
    return TuneOutcome(folder, space.metric, best.values, best.value, lines, ran)


def _curves(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Return values as sorted JSON -> the curve of a trial with these values."""
    told = [json.loads(path.read_bytes()) for path in sorted((folder / TRIALS).glob("*/trial.json"))]
    return {json.dumps(item["values"], sort_keys=True): item["curve"] for item in told}
