"""Every recipe is complete, and the family's small members learn from a dataset and leave what the edge compiler takes."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from slow_training import own_recipe

from platform_lib.datasets.reader import DrivingDataset
from platform_lib.datasets.shuffle import Part
from platform_lib.errors import ConfigError
from platform_lib.models.fitting import Fit, SaveRules, Silent, seeded
from platform_lib.models.hugging_face import RandomBackbone
from platform_lib.models.onnx_planner import OnnxPlanner
from platform_lib.models.registry import is_registered, restored
from platform_lib.models.sampling import SamplingConfig
from ray_jobs.named import needs_data
from ray_jobs.planner_run import PlannerRun
from ray_jobs.recipes import RECIPES, make_classes_importable, recipe_named
from ray_jobs.recipes.config import Processes, TrainConfig
from ray_jobs.search_space import space_named
from ray_jobs.training_worker import training_loader

pytestmark = pytest.mark.filterwarnings("ignore:lance is not fork-safe")
SAMPLING = SamplingConfig(balance=0.5, hard_share=0.2, hard_boost=2.0, curriculum_epochs=1)


def small(name: str) -> TrainConfig:
    made = recipe_named(name)
    planner = made.planner
    if name == "bev_tiny":
        planner = replace(planner, channels=(4, 8, 8), width=16, layers=1, feedforward=16, ego_hidden=8, hidden=8)
    else:
        planner = replace(planner, backbone=RandomBackbone(1, 16, 2, 16), channels=(4, 4, 4, 4, 8))
    fit = replace(made.fit, epochs=2, batch=8, threads=1)
    return replace(made, planner=planner, fit=fit, sampling=SAMPLING, calibration_frames=6, frozen_frames=4)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipes_configuration_is_a_registered_models_and_plain_values(name: str) -> None:
    config = recipe_named(name)
    assert config.recipe == name
    assert is_registered(config.planner)
    assert json.loads(json.dumps(config.resolved())) == config.resolved()
    assert config.sha256 != recipe_named("planner_tiny").sha256 or name == "planner_tiny"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"epochs": 0}, "epochs is 0, and has to be at least 1"),
        ({"epochs": 2.5}, "epochs is 2.5, and has to be a whole number"),
        ({"epochs": True}, "epochs is True"),
        ({"batch": "8"}, "batch is '8', and has to be a whole number"),
        ({"batch": -4, "threads": 0}, "batch is -4, and has to be at least 1; threads is 0"),
        ({"learning_rate": 0.0}, "learning_rate is 0, and has to be above 0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan, and has to be a number"),
        ({"learning_rate": "1e-3"}, "learning_rate is '1e-3'"),
        ({"weight_decay": -1.0}, "weight_decay is -1"),
        ({"warmup_share": 1.5}, "warmup_share is 1.5, and has to be at most 1"),
        ({"precision": "fp8"}, "precision is 'fp8', and has to be one of fp32, bf16"),
        ({"compiled": "yes"}, "compiled is 'yes'"),
        ({"accumulate": 0}, "accumulate is 0"),
    ],
)
def test_a_value_that_cannot_be_is_refused_where_it_is_written(change: dict[str, object], told: str) -> None:
    fit = recipe_named("planner_tiny").fit
    with pytest.raises(ConfigError) as caught:
        replace(fit, **change)  # type: ignore[arg-type]  # planted
    assert told in caught.value.what


def test_processes_that_cannot_share_a_batch_are_refused() -> None:
    made = recipe_named("planner_tiny")
    for wrong in ({"count": 0}, {"strategy": "zero"}, {"cpus": 1.5}):
        with pytest.raises(ConfigError):
            Processes(**wrong)  # type: ignore[arg-type]  # planted
    assert replace(made, processes=Processes(count=2)).processes.count == 2
    with pytest.raises(ConfigError, match="cannot be shared evenly by 3 processes"):
        replace(made, processes=Processes(count=3))
    with pytest.raises(ConfigError, match="frozen_frames is 0"):
        replace(made, frozen_frames=0)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bev_tiny", "vla_tiny"])
def test_the_family_learns_from_a_dataset_and_leaves_its_graph(small_dataset: Path, tmp_path: Path, name: str) -> None:
    config = small(name)
    with DrivingDataset.open(small_dataset) as dataset:
        train = training_loader(dataset, config)
        seeded(config.fit)
        learner = PlannerRun(config, config.planner, dataset, train)
        fitting = Fit(
            learner, config.fit, train=train, folder=tmp_path / "checkpoints", identity="x", rules=SaveRules()
        )
        fitting.run(Silent())
        learner.export(tmp_path)
    # Sixteen steps show that all parts fit together; that losses fall is shown where each model is tested.
    assert all(np.isfinite(record.train_loss) for record in fitting.records)
    assert not torch.isnan(train.state_dict()["error"]).all()  # what hard examples go by was told
    frozen = np.load(tmp_path / "frozen.npz")
    assert np.load(tmp_path / "calibration.npz")["image"].shape[1:] == (3, 64, 192)
    assert frozen["plan"].shape == (4, 6, 2)
    assert (frozen["slice"].dtype.kind, len(frozen["slice"])) == ("U", 4)
    OnnxPlanner(name, tmp_path / "model.onnx")
    net = restored(learner.weights()).network.eval()
    with torch.inference_mode():
        given = [torch.from_numpy(frozen[part][:1]) for part in ("image", "ego_history", "command")]
        assert np.allclose(net(*given).numpy(), frozen["plan"][:1], atol=learner.model.export_tolerance_m)


def test_sampling_in_several_processes_is_refused(small_dataset: Path) -> None:
    with DrivingDataset.open(small_dataset) as dataset, pytest.raises(ConfigError, match="sampling in 2 processes"):
        training_loader(dataset, small("bev_tiny"), Part(0, 2))


def test_ones_own_recipe_that_raises_is_named_with_file_and_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bad_recipes.py").write_text(
        "def divides():\n    return 1 / 0\n\n\ndef reads():\n    return None.fit\n\n\n"
        "def imports():\n    import no_such_part\n\n\ndef number():\n    return 3\n"
    )
    (tmp_path / "no_python.py").write_text("def x(:\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name, what, line in (
        ("bad_recipes:divides", "raises ZeroDivisionError: division by zero", "bad_recipes.py:2"),
        ("bad_recipes:reads", "raises AttributeError: 'NoneType' object has no attribute 'fit'", "bad_recipes.py:6"),
        ("bad_recipes:imports", "raises ModuleNotFoundError: No module named 'no_such_part'", "bad_recipes.py:10"),
        ("no_python:x", "raises SyntaxError", "no_python.py:1"),
    ):
        with pytest.raises(ConfigError, match=what) as caught:
            recipe_named(name)
        assert str(caught.value.where).endswith(line)
    for name in ("bad_recipes:absent", "absent_module:x", "absent_package.module:x", ":x"):
        with pytest.raises(ConfigError, match=f"no recipe '{name}'"):
            recipe_named(name)
    with pytest.raises(ConfigError, match="returned a int"):
        recipe_named("bad_recipes:number")
    with pytest.raises(ConfigError, match="space 'bad_recipes:divides' raises ZeroDivisionError"):
        space_named("bad_recipes:divides")


def test_a_recipe_has_data_once() -> None:
    needs_data(recipe_named("planner_tiny"), "small")
    needs_data(own_recipe(), None)
    with pytest.raises(ConfigError, match="no dataset is named"):
        needs_data(recipe_named("planner_tiny"), None)
    with pytest.raises(ConfigError, match="brings its own data, and dataset 'small' is named too"):
        needs_data(own_recipe(), "small")


def test_workers_find_the_classes_of_a_notebook_where_it_found_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "")
    make_classes_importable(recipe_named("planner_tiny"))
    assert os.environ["PYTHONPATH"] == "", "the platform's own are found anyway"
    make_classes_importable(own_recipe())
    assert os.environ["PYTHONPATH"] == str(Path(__file__).resolve().parents[2] / "docs" / "examples")
