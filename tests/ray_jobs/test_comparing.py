"""Two runs side by side."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from platform_lib.cli import run
from platform_lib.errors import MissingPartError
from platform_lib.home import Home, open_home
from platform_lib.manifest import Input, Step
from ray_jobs.comparing import compare_runs


def finished(home: Home, name: str, *, rate: float, data: str, losses: list[float]) -> None:
    folder = home.runs / name
    folder.mkdir(parents=True)
    lines = [
        {
            "epoch": n + 1,
            "step": 8 * n + 8,
            "train_loss": loss,
            "val_ade_m": loss / 2,
            "order_sha256": "o",
            "seconds": 1.0,
        }
        for n, loss in enumerate(losses)
    ]
    (folder / "curve.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "weights.pt").write_bytes(name.encode())
    step = Step(
        "run",
        inputs={"dataset": Input(sha256=data, uri="x")},
        config={"fit": {"learning_rate": rate, "batch": 8}},
        modules=("platform_lib.models.slow_ranks",),
    )
    metrics = {"val_ade_m": losses[-1] / 2, "epochs": len(losses), "order_sha256": "o"}
    step.finish(folder / "manifest.json", {"weights.pt": folder / "weights.pt"}, metrics)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = open_home(tmp_path / "home")
    finished(made, "a", rate=0.01, data="d1", losses=[1.0, 0.5, 0.25])
    finished(made, "b", rate=0.02, data="d2", losses=[2.0, 1.0])
    return made


def test_what_differs_is_shown_and_what_is_the_same_is_not(home: Home):
    found = compare_runs(home, "a", "b").document
    assert found["configuration"] == {"fit.learning_rate": [0.01, 0.02]}
    assert not found["same_dataset"]
    assert found["same_sample_order"]
    assert found["environment"] == {}
    assert found["metrics"]["val_ade_m"] == [0.125, 0.5]
    assert [len(curve) for curve in found["curves"]] == [3, 2]


def test_both_curves_are_drawn_on_one_scale(home: Home):
    drawn = compare_runs(home, "a", "b").curves
    assert drawn[:3] == ["train_loss: 0.25 to 2", "  ▄▂▁  a", "  █▄  b"]


def test_the_command_in_both_forms(home: Home, capsys: pytest.CaptureFixture[str]):
    assert run(["train", "compare", "a", "b", "--home", str(home.root), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["runs"] == ["a", "b"]
    assert run(["train", "compare", "a", "b", "--home", str(home.root)]) == 0
    said = capsys.readouterr().out
    assert "fit.learning_rate" in said
    assert "batch" not in said


def test_a_run_that_is_not_finished(home: Home):
    with pytest.raises(MissingPartError, match="run 'c' is not finished"):
        compare_runs(home, "a", "c")
