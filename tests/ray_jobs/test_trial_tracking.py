"""A search in MLflow: a run for each trial below the study's, whole after a kill, nothing twice."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from mlflow.tracking import MlflowClient

from ray_jobs.trial_tracking import SearchRecord, TrackedSearch, trial_state
from ray_jobs.whole_curves import WholeCurves

pytestmark = pytest.mark.filterwarnings("ignore::Warning")
EPOCHS = 3
SPACE = {"rate": optuna.distributions.FloatDistribution(0.1, 1.0)}


def searched(values: tuple[tuple[float, ...], ...], *, ended: bool = True) -> optuna.Study:
    """Return a study as Ray leaves it: each trial's metric by epoch; whoever was cut is called complete."""
    study = optuna.create_study()
    for curve in values:
        trial = study.ask(SPACE)
        for epoch, value in enumerate(curve, start=1):
            trial.report(value, epoch)
        if ended:
            study.tell(trial, curve[-1])
    return study


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"


def tracked(store: str, folder: Path, study: optuna.Study) -> TrackedSearch:
    folder.mkdir(exist_ok=True)
    record = SearchRecord(
        uri=store,
        artefacts=folder / "artefacts",
        study=folder.name,
        folder=folder,
        metric="val_ade_m",
        tags={"recipe": "mine"},
        epochs_of=lambda _: EPOCHS,
    )
    curve = [{"epoch": epoch, "step": 9, "train_loss": 1.0 / epoch, "val_ade_m": 99.0} for epoch in (1, 2, 3)]
    key = f'{{"rate": {study.trials[0].params["rate"]}}}'
    return TrackedSearch(record, trials=study.get_trials, curves=lambda: {key: curve})


def below(store: str, search: TrackedSearch):
    client = MlflowClient(tracking_uri=store)
    experiment = client.get_experiment_by_name("searches")
    found = client.search_runs(
        [experiment.experiment_id], f"tags.`mlflow.parentRunId` = '{search._study.run_id}'", max_results=50
    )
    return client, {run.info.run_name: run for run in found}


def test_each_trial_is_a_run_below_the_study_with_values_curve_and_end(store: str, tmp_path: Path):
    study = searched(((0.9, 0.7, 0.5), (0.95,)))
    study.tell(study.ask(SPACE), state=optuna.trial.TrialState.FAIL)
    (tmp_path / "study.json").write_text("{}")
    with tracked(store, tmp_path / "s", study) as search:
        search.finish(files=(tmp_path / "study.json",), best={"best_trial": "0"})
    client, runs = below(store, search)
    assert {name: run.data.tags["state"] for name, run in runs.items()} == {
        "s-0": "complete",
        "s-1": "pruned",
        "s-2": "failed",
    }
    assert {run.info.status for run in runs.values()} == {"FINISHED", "FAILED"}
    assert runs["s-0"].data.params == {"rate": str(study.trials[0].params["rate"])}
    assert runs["s-0"].data.tags["recipe"] == "mine"

    def history(name: str, metric: str) -> list[tuple[int, float]]:
        return [(item.step, item.value) for item in client.get_metric_history(runs[name].info.run_id, metric)]

    assert history("s-0", "val_ade_m") == [(1, 0.9), (2, 0.7), (3, 0.5)]
    assert history("s-0", "train_loss") == [(1, 1.0), (2, 0.5), (3, 1 / 3)]
    assert history("s-1", "val_ade_m") == [(1, 0.95)]
    above = client.get_run(search._study.run_id)
    assert (above.info.status, above.data.tags["best_trial"]) == ("FINISHED", "0")
    assert [item.path for item in client.list_artifacts(search._study.run_id)] == ["study.json"]


def test_what_a_killed_search_told_is_completed_and_not_told_twice(store: str, tmp_path: Path):
    study = searched(((0.9, 0.7),), ended=False)
    first = tracked(store, tmp_path / "k", study)
    first.look()  # here the process is killed
    _, runs = below(store, first)
    assert runs["k-0"].data.tags["state"] == "running"
    trial = optuna.trial.Trial(study, study.trials[0]._trial_id)
    trial.report(0.5, 3)
    study.tell(trial, 0.5)
    for _ in range(2):
        with tracked(store, tmp_path / "k", study) as again:
            again.finish(files=(), best={})
        client, runs = below(store, again)
        assert again._study.run_id == first._study.run_id
        assert list(runs) == ["k-0"]
        assert runs["k-0"].data.tags["state"] == "complete"
        steps = [item.step for item in client.get_metric_history(runs["k-0"].info.run_id, "val_ade_m")]
        assert steps == [1, 2, 3]


def test_the_epoch_that_ends_a_trial_is_told_once():
    storage = optuna.storages.InMemoryStorage()
    search = WholeCurves(SPACE, metric="ade", mode="min", study_name="s", storage=storage, seed=0)
    assert search.suggest("cut")
    search.on_trial_result("cut", {"ade": 0.9, "training_iteration": 1})
    search.on_trial_complete("cut", {"ade": 0.8, "training_iteration": 2})  # Ray tells of the last in this way alone
    assert search.suggest("whole")
    for epoch, value in ((1, 0.5), (2, 0.4), (3, 0.3)):
        search.on_trial_result("whole", {"ade": value, "training_iteration": epoch})
    search.on_trial_complete("whole", {"ade": 0.3, "training_iteration": 3})
    assert search.suggest("broken")
    search.on_trial_complete("broken", error=True)
    cut, whole, broken = optuna.load_study(study_name="s", storage=storage).trials
    assert cut.intermediate_values == {1: 0.9, 2: 0.8}
    assert whole.intermediate_values == {1: 0.5, 2: 0.4, 3: 0.3}
    assert [trial_state(trial, epochs=3) for trial in (cut, whole, broken)] == ["pruned", "complete", "failed"]
