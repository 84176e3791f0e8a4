"""The queue is what the manifests say; the history only grows; the page shows what got worse, offline."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import JsonValue

from platform_lib.errors import ContractError, IntegrityError, UsageError
from platform_lib.evidence import EvaluationReport, FailedEpisode, Interval, MetricsRow
from platform_lib.home import Home, open_home
from platform_lib.manifest import Input, Manifest, Step
from platform_lib.models.interface import ConstantVelocity
from ray_jobs import evaluation_queue
from ray_jobs.driving import replay_of
from ray_jobs.episodes import drive_planner, worlds
from ray_jobs.evaluation_history import before_of, changes, history, note
from ray_jobs.evaluation_page import render, write_page
from ray_jobs.evaluation_queue import waiting, watch
from ray_jobs.films import film

PLANNED = ("platform_lib.models.planner",)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = open_home(tmp_path / "home")
    dataset(made, "city", seed=1)
    run(made, "first", "camera", "city")
    return made


def dataset(home: Home, name: str, *, seed: int) -> str:
    folder = home.datasets / name
    folder.mkdir(parents=True, exist_ok=True)
    step = Step("dataset", inputs={}, config={"seed": seed}, modules=PLANNED)
    return step.finish(folder / "manifest.json", {}).step_sha256


def run(home: Home, name: str, kind: str, on: str) -> Manifest:
    folder = home.runs / name
    folder.mkdir(parents=True)
    for file in ("model.onnx", "weights.pt"):
        (folder / file).write_bytes(f"{file} of {name}".encode())
    source = home.datasets / on
    inputs = {"dataset": Input(sha256=digest_of(home, on), uri=str(source))}
    step = Step("run", inputs=inputs, config={"planner": {"kind": kind}, "name": name}, modules=PLANNED)
    return step.finish(folder / "manifest.json", {file: folder / file for file in ("model.onnx", "weights.pt")})


def digest_of(home: Home, name: str) -> str:
    from platform_lib.datasets.reader import DrivingDataset

    return DrivingDataset.digest(home.datasets / name)


def score(
    home: Home,
    name: str,
    on: str,
    *,
    folder: str = "evaluation",
    ade: float = 1.0,
    config: dict[str, JsonValue] | None = None,
) -> None:
    """Leave what an evaluation leaves, by the present scorer."""
    from ray_jobs import evaluate

    made = home.runs / name / folder
    made.mkdir(exist_ok=True)
    model = home.runs / name / "model.onnx"
    inputs = {
        "dataset": Input(sha256=digest_of(home, on), uri=str(home.datasets / on)),
        "camera": evaluate.input_of(model),
    }
    step = Step("evaluation", inputs=inputs, config=config or {}, modules=("ray_jobs.evaluate",))
    manifest = step.finish(made / "manifest.json", {})
    note(home, report(name, inputs["dataset"].sha256, ade=ade), manifest, made)


def report(name: str, dataset_sha256: str, *, ade: float, failures: tuple[FailedEpisode, ...] = ()) -> EvaluationReport:
    def row(planner: str, **values: float) -> MetricsRow:
        metrics = {key: Interval(value=value, low=0.9 * value, high=1.1 * value) for key, value in values.items()}
        return MetricsRow(planner=planner, slice="all", n=90, drives=9, metrics=metrics)

    return EvaluationReport(
        model_name=name, weights_sha256=f"{name:0<64}", dataset_sha256=dataset_sha256, split="test", scorer_version="1",
        scorer_sha256="5" * 64, seeds=(1,),
        open_loop=(row("camera", ade_m=ade, fde_m=2.0), row("ego_only", ade_m=1.4), row("constant_velocity", ade_m=2.0)),
        closed_loop=(row("camera", collision_rate=0.2, at_fault_rate=0.1, progress_ratio=0.9),),
        pseudo_closed_loop=(row("camera", epdms=0.8),), failures=failures,
    )  # fmt: skip


def test_a_new_run_a_new_dataset_version_and_new_weights_wait(home: Home):
    (item,) = waiting(home)
    assert (item.run, item.why, item.baseline) == ("first", "never scored", None)
    assert "drivetrain train ego_only_tiny --dataset city" in (item.blocked or "")
    run(home, "blind", "ego_only", "city")
    (item,) = waiting(home)
    assert (item.baseline, item.blocked) == ("blind", None)
    score(home, "first", "city")
    assert waiting(home) == ()
    dataset(home, "city", seed=2)
    (item,) = waiting(home)
    assert item.why == "not scored on the new version of its dataset"
    score(home, "first", "city", folder="evaluation-city")
    assert waiting(home) == ()
    (home.runs / "unfinished").mkdir()
    assert waiting(home) == ()


def test_a_planner_of_another_family_waits_too_and_what_has_no_graph_does_not(home: Home):
    folder = home.runs / "bev"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"graph")
    inputs = {"dataset": Input(sha256=digest_of(home, "city"), uri=str(home.datasets / "city"))}
    step = Step("run", inputs=inputs, config={"planner": {"cells": 72}}, modules=PLANNED)
    step.finish(folder / "manifest.json", {"model.onnx": folder / "model.onnx"})
    assert [item.run for item in waiting(home)] == ["first", "bev"]
    step.finish(folder / "manifest.json", {})
    assert [item.run for item in waiting(home)] == ["first"]


def test_open_loop_alone_is_not_all_of_it(home: Home):
    run(home, "blind", "ego_only", "city")
    score(home, "first", "city", config={"closed_loop": []})
    assert [item.why for item in waiting(home)] == ["scored in open loop alone"]
    assert waiting(home, closed=False) == ()


def test_another_scorer_scores_everything_again(home: Home, monkeypatch: pytest.MonkeyPatch):
    run(home, "blind", "ego_only", "city")
    score(home, "first", "city")
    monkeypatch.setattr(evaluation_queue, "scorer_code_sha256", lambda: "0" * 64)
    assert [item.why for item in waiting(home)] == ["the scorer is another one"]


def test_a_watch_scores_what_waits_and_goes_on_past_what_fails(home: Home, monkeypatch: pytest.MonkeyPatch):
    run(home, "blind", "ego_only", "city")
    run(home, "second", "camera", "city")
    asked = []

    def evaluate(at: Home, *, run: str, baseline: str, dataset: str, closed: bool) -> None:
        asked.append((run, baseline, dataset, closed))
        if run == "first":
            raise ContractError("no plan at all")
        score(at, run, dataset)

    monkeypatch.setattr(evaluation_queue, "evaluate_run", evaluate)
    worked = watch(home, closed=False, poll_s=0.01, until_idle_s=0.05)
    assert worked.scored == ("second",)
    assert worked.failed == ("first",)
    assert asked == [("first", "blind", "city", False), ("second", "blind", "city", False)]


def test_what_got_worse_is_told_only_of_the_same_data_and_scorer(home: Home):
    run(home, "second", "camera", "city")
    score(home, "first", "city", ade=1.0)
    score(home, "second", "city", ade=1.5)
    entries = history(home)
    assert [entry.run for entry in entries] == ["first", "second"]
    before = before_of(entries, 1)
    assert before is entries[0]
    found = changes(before, entries[1])
    assert [(item.metric, item.worse, item.beyond_doubt) for item in found] == [("ade_m", True, True)]
    assert changes(entries[1], entries[0])[0].worse is False
    other = entries[1].model_copy(update={"scorer_sha256": "6" * 64})
    assert before_of([entries[0], other], 1) is None


def test_a_changed_history_is_refused(home: Home):
    score(home, "first", "city")
    (path,) = (home.reports / "evaluations" / "history").iterdir()
    path.write_text("{}")
    with pytest.raises(IntegrityError, match="not an entry of the history"):
        history(home)


def test_the_page_is_one_file_with_films_of_what_went_wrong(home: Home):
    drive = drive_planner(ConstantVelocity(), worlds()[3], looks=False, expert_progress_m=117.0)
    folder = home.runs / "first" / "evaluation"
    (folder / "failures").mkdir(parents=True)
    (folder / "failures" / "a.mcap").write_bytes(replay_of(drive))
    data = film(folder / "failures" / "a.mcap")
    assert data is not None
    assert (data[:4], data[8:12]) == (b"RIFF", b"WEBP")
    assert data.count(b"ANMF") >= 8
    failed = FailedEpisode(
        planner="camera", world="w", seed=9, weather="clear", event="lead", what="off <the> road", after_s=2.1, file="failures/a.mcap"
    )  # fmt: skip
    step = Step(
        "evaluation", inputs={"dataset": Input(sha256="d" * 64, uri="datasets/city")}, config={}, modules=PLANNED
    )
    manifest = step.finish(folder / "manifest.json", {})
    note(home, report("first", "d" * 64, ade=1.0, failures=(failed,)), manifest, folder)
    page = write_page(home).read_text()
    assert "data:image/webp;base64," in page
    assert "off &lt;the&gt; road" in page
    assert "constant velocity" in page
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert "http" not in page


def test_an_empty_home_has_a_page_that_says_so():
    page = render((), ())
    assert "not run" in page
    assert "every finished run was scored" in page


def test_the_queue_is_not_asked_of_a_single_run():
    from typer.testing import CliRunner

    from platform_lib.cli import app

    result = CliRunner().invoke(app, ["evaluate", "--queue", "--run", "x"])
    assert isinstance(result.exception, UsageError)
    result = CliRunner().invoke(app, ["evaluate", "--run", "x", "--baseline", "y"])
    assert "no dataset is named" in str(result.exception)


def test_entries_lie_in_the_order_of_their_times(home: Home):
    score(home, "first", "city")
    assert history(home)[0].created_utc <= datetime.now(UTC)
