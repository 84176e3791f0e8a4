"""Training end to end on Ray Train, MLflow and PostgreSQL: killed, resumed, skipped, refused."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from platform_lib.catalog.postgres import embedded_postgres
from platform_lib.datasets.reader import DrivingDataset
from platform_lib.errors import ConfigError, HomeBusyError, IntegrityError, MissingPartError
from platform_lib.home import Home, open_home
from platform_lib.manifest import changed_outputs, read_manifest
from platform_lib.models.fitting import Fit, seeded
from platform_lib.models.onnx_planner import OnnxPlanner
from platform_lib.models.planner import Normalisation, PlannerConfig, PlannerNet, TorchPlanner
from ray_jobs import recipes
from ray_jobs.planner_run import PlannerRun
from ray_jobs.recipes.config import TrainConfig
from ray_jobs.train import train
from ray_jobs.training_worker import training_loader

pytestmark = pytest.mark.filterwarnings("ignore:lance is not fork-safe")
EPOCHS = 12
# Runs the real command with one more recipe, small enough for a test.
PROGRAM = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import ray_jobs.recipes
from test_train import tiny
ray_jobs.recipes.RECIPES["tiny"] = tiny
from platform_lib.cli import main
main()
"""


def tiny() -> TrainConfig:
    """A recipe that trains in a second or two."""
    made = recipes.recipe_named("planner_tiny")
    planner = dataclasses.replace(made.planner, channels=(4, 6, 8, 8), squeeze=4, hidden=16, ego_hidden=8)
    fit = dataclasses.replace(made.fit, epochs=EPOCHS, batch=4, threads=1)
    return dataclasses.replace(made, recipe="tiny", planner=planner, fit=fit, calibration_frames=6, frozen_frames=5)


def command(home: Home) -> list[str]:
    options = ["train", "tiny", "--dataset", "small", "--run", "r", "--home", str(home.root), "--json"]
    return [sys.executable, "-c", PROGRAM, *options]


@pytest.fixture
def home(reachable_tmp: Path, small_dataset: Path) -> Home:
    made = open_home(reachable_tmp / "home")
    shutil.copytree(small_dataset, made.datasets / "small")
    return made


def reference(dataset: Path, folder: Path) -> dict[str, torch.Tensor]:
    """Weights of an uninterrupted fit, without Ray."""
    config = tiny()
    with DrivingDataset.open(dataset) as opened:
        seeded(config.fit)
        batches = training_loader(opened, config)
        learner = PlannerRun(config, config.planner, opened, batches)
        done = Fit(learner, config.fit, train=batches, folder=folder, identity="reference")
        done.run()
    return done.network.state_dict()


def epochs_in(run: Path) -> int:
    curve = run / "curve.jsonl"
    return len(curve.read_text().splitlines()) if curve.exists() else 0


def artefacts(home: Home) -> dict[str, str]:
    import psycopg

    with embedded_postgres(home) as uri, psycopg.connect(uri.replace("+psycopg", "")) as connection:
        return dict(connection.execute("SELECT sha256, kind FROM artefacts").fetchall())


@pytest.mark.slow
def test_kill_9_then_a_rerun_ends_as_if_nothing_had_happened(home: Home, tmp_path: Path):
    run = home.runs / "r"
    _interrupt_while_ray_train_starts(home, run)
    process = subprocess.Popen(command(home), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 240
    while epochs_in(run) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    left = epochs_in(run)
    mlflow_run = (run / "mlflow_run_id").read_text()
    assert left >= 3
    assert not (run / "manifest.json").exists()

    done = subprocess.run(command(home), capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    assert not told["skipped"]
    assert told["resumed_epochs"] >= 3 or left == EPOCHS
    weights = torch.load(run / "weights.pt", weights_only=True)
    expected = reference(home.datasets / "small", tmp_path / "reference")
    assert all(torch.equal(weights["state"][name], value) for name, value in expected.items())
    assert (run / "mlflow_run_id").read_text() == mlflow_run
    _check_outputs(run, weights)
    assert set(artefacts(home).values()) >= {"run", "model"}

    again = json.loads(subprocess.run(command(home), capture_output=True, text=True, check=True).stdout)
    assert again["skipped"]
    assert again["weights_sha256"] == told["weights_sha256"]


def _interrupt_while_ray_train_starts(home: Home, run: Path) -> None:
    """Ctrl-C ends with 130 and one JSON document, whatever of Ray is up, and leaves no process."""
    process = subprocess.Popen(command(home), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 240
    while not (run / "ray").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    printed, errors = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGINT, errors
    assert json.loads(printed)["error"]["what"] == "interrupted"
    assert list(home.short.glob("r*")) == []
    assert not (home.postgres / "data" / "postmaster.pid").exists()


def _check_outputs(run: Path, weights: dict[str, object]) -> None:
    manifest = read_manifest(run / "manifest.json")
    assert not changed_outputs(manifest, run)
    assert not (run / "ray").exists()
    frozen, calibration = np.load(run / "frozen.npz"), np.load(run / "calibration.npz")
    assert calibration["image"].shape == (12, 3, 64, 192)
    assert calibration["ego_history"].shape == (12, 10, 3)
    assert calibration["command"].shape == (12, 3)
    assert frozen["plan"].shape == (5, 6, 2)
    assert {str(name).partition("/")[0] for name in frozen["sample_id"]} == {"drive-4", "drive-5"}
    assert 0.0 <= frozen["image"].min() <= frozen["image"].max() <= 1.0
    planner, constants = dict(weights["planner"]), dict(weights["normalisation"])
    net = PlannerNet(PlannerConfig(**planner), Normalisation(**constants))
    net.load_state_dict(weights["state"])
    from platform_lib.models.interface import PlannerInput

    given = PlannerInput(
        np.round(frozen["image"] * 255).astype(np.uint8), frozen["ego_history"], frozen["command"].argmax(1)
    )
    assert np.allclose(TorchPlanner("t", net, batch=1).plan(given), frozen["plan"], atol=1e-5)
    assert np.allclose(OnnxPlanner("o", run / "model.onnx").plan(given), frozen["plan"], atol=1e-3)
    curve = [json.loads(line) for line in (run / "curve.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in curve] == list(range(1, EPOCHS + 1))
    assert set(curve[0]) == {"epoch", "step", "train_loss", "val_ade_m", "order_sha256", "seconds"}
    steps = [json.loads(line) for line in (run / "steps.jsonl").read_text().splitlines()]
    assert [record["step"] for record in steps] == list(range(1, curve[-1]["step"] + 1))
    assert steps[-1]["order_sha256"] == curve[-1]["order_sha256"]


def test_recipes_are_complete_frozen_and_digested():
    one, other = recipes.recipe_named("planner_tiny"), recipes.recipe_named("ego_only_tiny")
    assert one.sha256 == recipes.recipe_named("planner_tiny").sha256 != other.sha256
    assert one.planner.kind == "camera"
    assert other.planner.kind == "ego_only"
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.recipe = "x"  # type: ignore[misc]  # planted
    changed = dataclasses.replace(one, fit=dataclasses.replace(one.fit, seed=99))
    assert changed.sha256 != one.sha256
    json.dumps(one.resolved())


def test_an_unknown_recipe_lists_the_known_ones(home: Home):
    with pytest.raises(ConfigError, match="planner_tiny, ego_only_tiny"):
        train(home, "planer_tiny", dataset="small", run="r")


def test_a_missing_dataset_says_how_to_make_it(home: Home):
    with pytest.raises(MissingPartError, match="drivetrain dataset absent"):
        train(home, "planner_tiny", dataset="absent", run="r")


def test_a_dataset_that_was_changed_is_refused(home: Home):
    victim = next((home.datasets / "small" / "samples.lance").rglob("*.lance"))
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    os.chmod(victim, 0o644)  # noqa: PTH101 - a path method would do the same
    victim.write_bytes(data)
    with pytest.raises(IntegrityError, match="changed after it was made"):
        train(home, "planner_tiny", dataset="small", run="r")


def test_two_trainings_into_one_run_do_not_happen(home: Home):
    with home.lock("run-r"), pytest.raises(HomeBusyError, match="run-r"):
        train(home, tiny(), dataset="small", run="r")
    assert not (home.runs / "r").exists()


@pytest.mark.parametrize("name", ["../outside", "", ".hidden", "a/b", "x" * 200])
def test_a_run_cannot_be_named_out_of_its_folder(home: Home, name: str):
    with pytest.raises(ConfigError, match="cannot name a folder"):
        train(home, "planner_tiny", dataset="small", run=name)
    with pytest.raises(ConfigError, match="cannot name a folder"):
        train(home, "planner_tiny", dataset=name, run="r")
