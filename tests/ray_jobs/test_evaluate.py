"""Evaluation end to end: what it writes, what it skips, what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from typer.testing import CliRunner

from platform_lib.errors import (
    ConfigError,
    ContractError,
    HomeBusyError,
    IntegrityError,
    MissingPartError,
    UsageError,
)
from platform_lib.evidence import EvaluationReport, read_evidence
from platform_lib.home import Home, open_home
from platform_lib.manifest import Input, Step, changed_outputs, read_manifest
from platform_lib.models.onnx_export import export_onnx
from platform_lib.models.planner import Normalisation, PlannerConfig, PlannerNet
from ray_jobs import evaluate

pytestmark = pytest.mark.filterwarnings("ignore:lance is not fork-safe")
NORMAL = Normalisation((8.0, 0.0, 0.0), (4.0, 0.1, 1.0), ((1.0, 0.5),) * 6)
CONFIGS = {
    "cam": PlannerConfig("camera", channels=(4, 4, 4, 4), squeeze=2, hidden=8, ego_hidden=8, dropout=0.0),
    "ego": PlannerConfig("ego_only", channels=(), squeeze=0, hidden=8, ego_hidden=8, dropout=0.0),
}


def finish_run(home: Home, name: str) -> None:
    """Write a run folder as training leaves it, with an untrained network that keeps its speed."""
    folder = home.runs / name
    folder.mkdir(parents=True)
    torch.manual_seed(1)
    net = PlannerNet(CONFIGS[name], NORMAL)
    for head in (net.head, *([net.vision] if name == "cam" else [])):
        torch.nn.init.zeros_(head[-1].weight)
        torch.nn.init.zeros_(head[-1].bias)
    export_onnx(net, folder / "model.onnx")
    (folder / "weights.pt").write_bytes(b"weights of " + name.encode())
    step = Step("run", inputs={}, config={"name": name}, modules=("platform_lib.models.planner",))
    step.finish(folder / "manifest.json", {file: folder / file for file in ("model.onnx", "weights.pt")})


@pytest.fixture
def home(reachable_tmp: Path, small_dataset: Path) -> Home:
    made = open_home(reachable_tmp / "home")
    shutil.copytree(small_dataset, made.datasets / "small")
    for name in CONFIGS:
        finish_run(made, name)
    return made


@pytest.mark.slow
def test_a_run_is_scored_pictured_and_skipped_the_second_time(home: Home, monkeypatch: pytest.MonkeyPatch):
    from ray_jobs import episodes

    monkeypatch.setattr(evaluate, "worlds", lambda: episodes.worlds()[:2])
    outcome = evaluate.evaluate_run(home, run="cam", baseline="ego", dataset="small")
    report = read_evidence(EvaluationReport, outcome.folder / "evaluation.json")
    assert report == outcome.report
    assert {row.planner for row in report.open_loop} == {"camera", "ego_only", "constant_velocity"}
    # An untrained head leaves the constant-velocity path: three ways to one score.
    ades = [report.row(name, "all").metrics["ade_m"].value for name in ("camera", "ego_only", "constant_velocity")]
    assert ades == pytest.approx([ades[0]] * 3, abs=1e-4)
    assert report.row("camera", "all").metrics["ade_vs_ego_only_m"].value == pytest.approx(0.0, abs=1e-4)
    assert {row.planner for row in report.closed_loop} == {"camera", "ego_only", "expert"}
    assert {row.planner for row in report.pseudo_closed_loop} == {"camera", "ego_only", "constant_velocity"}
    assert all("epdms" in row.metrics for row in report.pseudo_closed_loop)
    assert report.not_run["open_loop offroad_rate"].startswith("the dataset holds no map")
    manifest = read_manifest(outcome.folder / "manifest.json")
    assert manifest.metrics["self_test_sha256"] == report.self_test_sha256
    assert all((outcome.folder / one.file).is_file() and one.file in manifest.outputs for one in report.failures)
    assert report.failures, "a planner that keeps its speed and heading leaves the road in a bend"
    assert "scorer self-test: passed" in report.findings[0]
    assert len(report.scorer_sha256) == 64
    assert not changed_outputs(read_manifest(outcome.folder / "manifest.json"), outcome.folder)
    _check_scenes(outcome.folder)

    again = evaluate.evaluate_run(home, run="cam", baseline="ego", dataset="small")
    assert again.skipped
    assert again.report == report
    (outcome.folder / "evaluation.json").write_text("{}")
    assert not evaluate.evaluate_run(home, run="cam", baseline="ego", dataset="small", closed=False).skipped

    onnx_outcome = evaluate.evaluate_onnx(
        home,
        onnx=home.runs / "cam" / "model.onnx",
        name="w8a16",
        dataset="small",
        out=home.root.parent / "out",
        baseline="ego",
    )
    for name in ("constant_velocity", "ego_only"):  # the same rows as beside the run
        assert [row for row in onnx_outcome.report.open_loop if row.planner == name] == [
            row for row in report.open_loop if row.planner == name
        ]
    assert onnx_outcome.report.not_run == {}
    assert onnx_outcome.report.row("w8a16", "all").metrics["ade_m"].value == pytest.approx(ades[0])
    assert onnx_outcome.report.scorer_sha256 == report.scorer_sha256
    assert onnx_outcome.report.dataset_sha256 == report.dataset_sha256


def _check_scenes(folder: Path) -> None:
    scenes = json.loads((folder / "scenes.json").read_text())["scenes"]
    assert {scene["title"] for scene in scenes} >= {"A car cuts in", "The car ahead brakes", "Night", "A curve"}
    for scene in scenes:
        assert (folder / scene["image"]).read_bytes()[:2] == b"\xff\xd8"
        assert (scene["width"], scene["height"]) == (384, 192)
        assert set(scene["paths_px"]) == set(scene["paths_m"]) == {"driven", "planned", "ego_only"}
        pixels = np.array(scene["paths_px"]["driven"])
        assert len(pixels) > 3
        assert (pixels >= 0).all()
        assert (pixels <= [384, 192]).all()


def test_constant_velocity_stands_beside_any_graph_without_a_run(small_dataset: Path):
    split = evaluate.scored_split(small_dataset)
    rows = evaluate._rows_beside_constant_velocity({"w8a16": split.frames.future_m}, split)
    assert {row.planner for row in rows} == {"w8a16", "constant_velocity"}
    ades = {row.planner: row.metrics["ade_m"].value for row in rows if row.slice == "all"}
    assert ades["w8a16"] == 0.0
    # By hand: x = v t, y = 0.
    straight = np.zeros_like(split.frames.future_m)
    straight[:, :, 0] = split.inputs.ego_history[:, -1, :1] * np.arange(0.5, 3.01, 0.5)
    by_hand = np.linalg.norm(straight - split.frames.future_m, axis=2).mean()
    assert ades["constant_velocity"] == pytest.approx(by_hand, rel=1e-5)


def test_the_ego_only_run_beside_a_graph_is_the_named_one_the_newest_or_said_to_be_missing(home: Home):
    assert evaluate._blind_graph(home, "small", "ego") == (home.runs / "ego" / "model.onnx", {})
    graph, why = evaluate._blind_graph(home, "small", None)  # neither run says that it learned from this dataset
    assert graph is None
    assert why["open_loop ego_only"].startswith("no ego-only run of 'small' is finished")
    folder = home.runs / "ego"
    step = Step(
        "run",
        inputs={"dataset": Input(sha256="a" * 64, uri=str(home.datasets / "small"))},
        config={"planner": {"kind": "ego_only"}},
        modules=("platform_lib.models.planner",),
    )
    step.finish(folder / "manifest.json", {file: folder / file for file in ("model.onnx", "weights.pt")})
    assert evaluate._blind_graph(home, "small", None) == (folder / "model.onnx", {})
    assert evaluate._blind_graph(home, "other", None)[0] is None
    (folder / "weights.pt").write_bytes(b"other")
    graph, why = evaluate._blind_graph(home, "small", None)
    assert graph is None
    assert "'ego', cannot be used" in why["open_loop ego_only"]
    with pytest.raises(IntegrityError, match=r"weights\.pt"):
        evaluate._blind_graph(home, "small", "ego")
    with pytest.raises(MissingPartError, match="drivetrain train"):
        evaluate._blind_graph(home, "small", "absent")


def test_a_graph_does_not_take_a_baselines_name(home: Home, tmp_path: Path):
    with pytest.raises(ConfigError, match="name of a baseline's row"):
        evaluate.evaluate_onnx(
            home,
            onnx=home.runs / "cam" / "model.onnx",
            name="constant_velocity",
            dataset="small",
            out=tmp_path / "out",
        )


def test_evidence_on_another_dataset_does_not_replace_the_runs_own(home: Home):
    own, other = Input(sha256="a" * 64, uri="own"), Input(sha256="b" * 64, uri="other")
    step = Step("run", inputs={"dataset": own}, config={}, modules=("platform_lib.models.planner",))
    (home.root / "x").write_text("")
    run = step.finish(home.root / "manifest.json", {"x": home.root / "x"})
    assert evaluate.evidence_name(run, "demo", own) == "evaluation"
    assert evaluate.evidence_name(run, "city", other) == "evaluation-city"


def test_a_dataset_that_is_being_built_is_not_scored_on(home: Home):
    with home.lock("dataset-small"), pytest.raises(HomeBusyError, match="dataset-small"):
        evaluate.evaluate_run(home, run="cam", baseline="ego", dataset="small")


def test_a_missing_run_says_how_to_train_it(home: Home):
    with pytest.raises(MissingPartError, match="drivetrain train"):
        evaluate.evaluate_run(home, run="absent", baseline="ego", dataset="small")


def test_weights_changed_after_training_are_refused(home: Home):
    (home.runs / "cam" / "weights.pt").write_bytes(b"other")
    with pytest.raises(IntegrityError, match=r"weights\.pt"):
        evaluate.evaluate_run(home, run="cam", baseline="ego", dataset="small")


def test_a_missing_dataset_is_named(home: Home):
    with pytest.raises(MissingPartError, match="drivetrain dataset absent"):
        evaluate.evaluate_run(home, run="cam", baseline="ego", dataset="absent")


def test_a_scorer_that_fails_its_own_test_scores_nothing(home: Home, monkeypatch: pytest.MonkeyPatch):
    from platform_lib.evaluation.self_test import Verdict

    monkeypatch.setattr(evaluate, "run_self_test", lambda: Verdict(("a",), ("a",), (), ()))
    with pytest.raises(ContractError, match="fails its own test"):
        evaluate.evaluate_run(home, run="cam", baseline="ego", dataset="small")
    assert not (home.runs / "cam" / "evaluation").exists()


def test_a_graph_that_is_no_planner_is_refused_before_anything_starts(home: Home, tmp_path: Path):
    model = onnx.load(str(home.runs / "cam" / "model.onnx"))
    model.graph.input[0].name = "picture"
    for node in model.graph.node:
        node.input[:] = ["picture" if name == "image" else name for name in node.input]
    onnx.save(model, str(tmp_path / "other.onnx"))
    with pytest.raises(ContractError, match="not a planner"):
        evaluate.evaluate_onnx(home, onnx=tmp_path / "other.onnx", name="x", dataset="small", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_half_named_options_are_refused():
    from platform_lib.cli import app

    result = CliRunner().invoke(app, ["evaluate", "--dataset", "small", "--onnx", "m.onnx"])
    assert isinstance(result.exception, UsageError)
    assert "--onnx FILE --name NAME --out DIR" in str(result.exception)
