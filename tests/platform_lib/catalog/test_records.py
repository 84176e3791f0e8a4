"""Rows of datasets, runs, models and bundles: written from manifests, again after a kill, and never twice."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text

from platform_lib.catalog.catalog import Catalog
from platform_lib.catalog.lineage import Lineage
from platform_lib.home import Home, open_home
from platform_lib.manifest import Input, Manifest, Step

pytestmark = pytest.mark.slow
FILE = "f" * 64


def _made(home: Home) -> dict[str, Manifest]:
    """A dataset, a run of it with its evaluation, and a bundle, as steps publish them."""

    def finish(step: Step, manifest: Path, files: tuple[str, ...], **metrics: object) -> Manifest:
        manifest.parent.mkdir(parents=True, exist_ok=True)
        outputs = {}
        for name in files:
            (manifest.parent / name).write_text(f"{manifest} {name}")
            outputs[name] = manifest.parent / name
        return step.finish(manifest, outputs, metrics)  # type: ignore[arg-type]  # JSON values

    step = Step("dataset", inputs={"lake": Input(sha256="1" * 64, uri="lake")}, config={}, modules=())
    proof = {"files": {"train": {"monday": [FILE]}, "val": {}, "test": {}}}
    dataset = finish(
        step,
        home.datasets / "city" / "manifest.json",
        ("split.json",),
        samples={"train": 3, "val": 0, "test": 0},
        split_proof=proof,
    )
    step = Step(
        "run", inputs={"dataset": Input(sha256=dataset.step_sha256, uri="x")}, config={"recipe": "camera"}, modules=()
    )
    run = finish(
        step,
        home.runs / "first" / "manifest.json",
        ("weights.pt", "model.onnx", "curve.jsonl"),
        epochs=2,
        val_ade_m=0.5,
    )
    onnx = run.outputs["model.onnx"].sha256
    step = Step("evaluation", inputs={"onnx": Input(sha256=onnx, uri="x")}, config={}, modules=())
    evaluation = finish(step, home.runs / "first" / "evaluation" / "manifest.json", ("evaluation.json",))
    step = Step(
        "bundle",
        inputs={"evaluation": Input(sha256=evaluation.outputs["evaluation.json"].sha256, uri="x")},
        config={},
        modules=(),
    )
    bundle = finish(step, home.bundles / "v1.manifest.json", ("v1",))
    return {"dataset": dataset, "run": run, "evaluation": evaluation, "bundle": bundle}


def _rows(catalog: Catalog) -> dict[str, list[tuple[object, ...]]]:
    asked = {
        "datasets": "sha256, name, train, bytes > 0",
        "runs": "sha256, name, recipe, epochs, val_ade_m",
        "models": "sha256, run_sha256, file",
        "bundles": "sha256, name",
        "artefacts": "sha256, kind, uri",
        "edges": "sha256, input_sha256, role",
    }
    with catalog.engine.connect() as connection:
        return {
            table: [tuple(row) for row in connection.execute(text(f"SELECT {what} FROM {table} ORDER BY 1, 2, 3"))]  # noqa: S608 - ours
            if table != "bundles"
            else [tuple(row) for row in connection.execute(text(f"SELECT {what} FROM {table} ORDER BY 1"))]  # noqa: S608 - ours
            for table, what in asked.items()
        }


def test_what_steps_record_is_what_manifests_say_and_a_kill_in_between_is_made_up_for(
    catalog: Catalog, tmp_path: Path
) -> None:
    home = open_home(tmp_path / "home")
    made = _made(home)
    lineage = Lineage(catalog.engine)
    # As the steps do; the run's was killed between its manifest and its rows.
    catalog.record(made["dataset"], home.datasets / "city")
    assert [row[1:] for row in _rows(catalog)["datasets"]] == [("city", 3, True)]
    assert lineage.descendants([FILE])[0].sha256 == made["dataset"].step_sha256
    assert _rows(catalog)["runs"] == []

    assert lineage.note_folders(home) == 4
    after = _rows(catalog)
    assert after["runs"] == [(made["run"].step_sha256, "first", "camera", 2, 0.5)]
    assert sorted(row[2] for row in after["models"]) == ["model.onnx", "weights.pt"]
    assert [row[1] for row in after["bundles"]] == ["v1"]
    kinds = [item.kind for item in lineage.descendants([FILE])]
    assert kinds == ["dataset", "run", "model", "model", "evaluation", "bundle", "bundle file"]

    for kind, folder in (("dataset", home.datasets / "city"), ("run", home.runs / "first")):
        catalog.record(made[kind], folder)
    catalog.record(made["evaluation"], home.runs / "first" / "evaluation")
    assert lineage.note_folders(home) == 4
    assert _rows(catalog) == after  # the same rows by either way, and none twice


def test_rows_that_were_lost_or_changed_are_written_again(catalog: Catalog, tmp_path: Path) -> None:
    home = open_home(tmp_path / "home")
    _made(home)
    lineage = Lineage(catalog.engine)
    lineage.note_folders(home)
    before = _rows(catalog)
    with catalog.engine.begin() as connection:
        connection.execute(text("DELETE FROM models"))
        connection.execute(text("UPDATE runs SET epochs = 99, name = 'another'"))
        connection.execute(text("DELETE FROM edges WHERE role = 'dataset'"))
    lineage.note_folders(home)
    assert _rows(catalog) == before


def test_what_an_unfinished_or_torn_manifest_says_is_not_recorded(catalog: Catalog, tmp_path: Path) -> None:
    home = open_home(tmp_path / "home")
    _made(home)
    (home.runs / ".tmp-1-first").mkdir()
    (home.runs / "first" / "manifest.json").rename(home.runs / ".tmp-1-first" / "manifest.json")
    (home.datasets / "city" / "manifest.json").write_text('{"kind": "dataset"')
    assert Lineage(catalog.engine).note_folders(home) == 2
    assert _rows(catalog)["runs"] == _rows(catalog)["datasets"] == []
