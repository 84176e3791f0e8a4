"""Every checkpoint of a training is scored once, whatever is deleted, damaged or killed meanwhile."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from platform_lib.datasets.reader import DrivingDataset
from platform_lib.home import Home, open_home
from platform_lib.models.checkpoint import published
from platform_lib.models.fitting import EpochRecord, Fit, SaveRules, Silent, StepRecord, seeded
from platform_lib.models.planner import TorchPlanner
from ray_jobs import checkpoint_queue, checkpoint_scores, recipes
from ray_jobs.checkpoint_queue import hold_new, waiting_checkpoints
from ray_jobs.evaluation_history import before_of, changes, history, not_scored
from ray_jobs.evaluation_page import write_page
from ray_jobs.evaluation_queue import Worked, watch
from ray_jobs.planner_run import PlannerRun
from ray_jobs.recipes.config import TrainConfig
from ray_jobs.samples import load_split
from ray_jobs.training_worker import training_loader

pytestmark = pytest.mark.filterwarnings("ignore:lance is not fork-safe")
EPOCHS = 4


def tiny() -> TrainConfig:
    made = recipes.recipe_named("planner_tiny")
    planner = dataclasses.replace(made.planner, channels=(4, 6, 8, 8), squeeze=4, hidden=16, ego_hidden=8)
    return dataclasses.replace(
        made, planner=planner, fit=dataclasses.replace(made.fit, epochs=EPOCHS, batch=8, threads=1)
    )


class Looking(Silent):
    """Calls after an epoch; may stop the training at a step."""

    def __init__(self, calls: dict[int, Callable[[], object]], *, stop_at: int = 0) -> None:
        self._calls, self._stop_at = calls, stop_at

    def stepped(self, record: StepRecord) -> None:
        if record.step == self._stop_at:
            raise StopError

    def epoch_ended(self, record: EpochRecord, records: object) -> None:
        self._calls.get(record.epoch, lambda: None)()


class StopError(BaseException):
    """As a kill: nothing that catches errors hears of it."""


@pytest.fixture
def home(tmp_path: Path, small_dataset: Path) -> Home:
    made = open_home(tmp_path / "home")
    shutil.copytree(small_dataset, made.datasets / "small")
    return made


def training(
    home: Home, listener: Silent, *, run: str = "r", rules: SaveRules | None = None, recipe: str = "planner_tiny"
) -> Fit:
    """Train without Ray, as a training process does."""
    folder = home.runs / run
    folder.mkdir(parents=True, exist_ok=True)
    about = {"step_sha256": "step", "recipe": recipe, "dataset": "small", "kind": "camera"}
    (folder / "step.json").write_text(json.dumps(about))
    config = tiny() if recipe == "planner_tiny" else recipes.recipe_named(recipe)
    with DrivingDataset.open(home.datasets / "small") as dataset:
        seeded(config.fit)
        batches = training_loader(dataset, config)
        learner = PlannerRun(config, config.planner, dataset, batches)
        fitting = Fit(learner, config.fit, train=batches, folder=folder / "checkpoints", identity="step", rules=rules)
        try:
            fitting.run(listener)
        except StopError:
            pass
    return fitting


def scored(home: Home) -> Worked:
    return watch(home, closed=False, poll_s=0.01, until_idle_s=0.0)


def test_each_checkpoint_is_scored_once_and_one_deleted_meanwhile_is_said_to_be(home: Home):
    fitting = training(home, Looking({1: lambda: hold_new(home)}))
    told = published(home.runs / "r" / "checkpoints")
    assert [item.name for item in told] == [f"epoch-000{number}" for number in range(1, EPOCHS + 1)]
    worked = scored(home)
    steps = [item.step for item in told]
    assert worked == Worked(tuple(f"r, step {steps[epoch]}" for epoch in (0, 2, 3)), ())
    entries = history(home)
    assert [(entry.run, entry.step, entry.checkpoint_sha256) for entry in entries] == [
        ("r", told[epoch].step, told[epoch].sha256) for epoch in (0, 2, 3)
    ]
    (gone,) = not_scored(home)
    assert (gone.checkpoint, gone.checkpoint_sha256) == ("epoch-0002", told[1].sha256)
    assert "deleted by its training" in gone.why
    assert scored(home) == Worked((), ())
    assert history(home) == entries
    assert list((home.reports / "evaluations" / "waiting").iterdir()) == []
    with DrivingDataset.open(home.datasets / "small") as dataset:
        test = load_split(dataset, "test")
    plan = TorchPlanner("torch", fitting.network).plan(test.inputs)
    expected = float(np.linalg.norm(plan - test.future_m, axis=2).mean())
    row = entries[-1].value("open_loop", "ade_m")
    assert row is not None
    assert row.metrics["ade_m"].value == pytest.approx(expected, abs=1e-3)
    assert {row.planner for row in entries[-1].rows["open_loop"]} == {"camera", "constant_velocity"}
    assert before_of(entries, 2) is entries[1]
    assert changes(entries[1], entries[2])
    page = write_page(home).read_text()
    assert f"step {steps[3]}" in page
    assert "deleted by its training" in page


def test_a_run_that_nobody_watched_is_scored_itself_and_its_checkpoints_are_not(home: Home):
    training(home, Looking({}))
    (home.runs / "r" / "manifest.json").write_text("{}")
    assert scored(home) == Worked((), ())
    assert (history(home), not_scored(home)) == ((), ())


def test_a_blind_planner_and_own_data_are_no_business_of_the_scorer(home: Home):
    training(home, Looking({}, stop_at=9))
    marker = home.runs / "r" / "step.json"
    about = json.loads(marker.read_text())
    for change in ({"kind": "ego_only"}, {"kind": None}, {"dataset": None}):
        marker.write_text(json.dumps({**about, **change}))
        assert hold_new(home) == 0
    marker.write_text(json.dumps(about))
    assert hold_new(home) == 2


def test_a_damaged_checkpoint_has_no_score_and_its_neighbour_has(home: Home):
    training(home, Looking({}, stop_at=9))
    first, second = published(home.runs / "r" / "checkpoints")[-2:]
    state = home.runs / "r" / "checkpoints" / first.name / "state.pt"
    data = bytearray(state.read_bytes())
    data[len(data) // 2] ^= 1
    state.write_bytes(data)
    assert len(scored(home).scored) == 2
    assert [(item.checkpoint_sha256, item.why) for item in not_scored(home)] == [
        (first.sha256, "its bytes differ from its digest")
    ]
    assert [entry.checkpoint_sha256 for entry in history(home)] == [second.sha256]


@pytest.mark.parametrize("where", ["note", "let_go"])
def test_a_watch_that_dies_before_or_after_the_entry_doubles_and_loses_nothing(
    home: Home, monkeypatch: pytest.MonkeyPatch, where: str
):
    training(home, Looking({}, stop_at=6), rules=SaveRules(every_s=1e9, every_steps=5, each_epoch=False))

    def dies(*args: object, **told: object) -> None:
        raise StopError

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint_scores, where, dies)
        with pytest.raises(StopError):
            scored(home)
    assert len(waiting_checkpoints(home)) == (where == "note")
    shutil.rmtree(home.runs / "r" / "checkpoints")  # training deletes it meanwhile: it was held
    scored(home)
    assert len(history(home)) == 1
    assert not_scored(home) == ()
    assert list((home.reports / "evaluations" / "waiting").iterdir()) == []


def test_the_example_of_an_own_planner_is_scored_while_it_trains(home: Home, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "docs" / "examples"))
    recipe = "own_planner:own_planner_recipe"
    fitting = training(home, Looking({}, stop_at=12), recipe=recipe)
    (home.runs / "r" / "out").mkdir()
    assert "model.onnx" in fitting.learner.export(home.runs / "r" / "out")
    assert len(scored(home).scored) == 2
    one, other = history(home)
    figures = [entry.value("open_loop", "ade_m") for entry in (one, other)]
    assert all(row is not None and row.metrics["ade_m"].value < 10 for row in figures)


def test_without_second_links_a_copy_is_held(home: Home, monkeypatch: pytest.MonkeyPatch):
    training(home, Looking({}, stop_at=6), rules=SaveRules(every_s=1e9, every_steps=5, each_epoch=False))

    def refuses(*args: object) -> None:
        raise PermissionError

    monkeypatch.setattr(checkpoint_queue.os, "link", refuses)
    assert hold_new(home) == 1
    (claim,) = waiting_checkpoints(home)
    assert checkpoint_queue.held_state(home, claim).stat().st_nlink == 1


WATCH = """
import os, signal, sys
from pathlib import Path
from platform_lib.home import open_home
from ray_jobs import checkpoint_scores
from ray_jobs.evaluation_queue import watch
if sys.argv[2] != "-":
    setattr(checkpoint_scores, sys.argv[2], lambda *args, **told: os.kill(os.getpid(), signal.SIGKILL))
watch(open_home(Path(sys.argv[1])), closed=False, poll_s=0.05, until_idle_s=0.0)
"""


@pytest.mark.soak
@pytest.mark.slow
def test_kill_9_of_the_watch_at_every_stage(home: Home):
    rules = SaveRules(every_s=1e9, every_steps=4, each_epoch=False)
    training(home, Looking({}), rules=rules)
    there = published(home.runs / "r" / "checkpoints")[-2:]
    for where in ("_restore", "write_evidence", "note", "let_go", "let_go", "-"):
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", WATCH, str(home.root), where],
            check=False,
            cwd=Path(__file__).resolve().parents[2],
            env={**os.environ},
        )
        assert done.returncode == (0 if where == "-" else -signal.SIGKILL)
    assert sorted(entry.checkpoint_sha256 or "" for entry in history(home)) == sorted(item.sha256 for item in there)
    folder = home.reports / "evaluations"
    assert [list((folder / name).glob("*tmp*")) for name in ("waiting", "checkpoints", "history")] == [[], [], []]
