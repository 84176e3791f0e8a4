"""Which cells there are, what becomes of what each compile said, and the real thing once in the long series."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from handoff_sources import compile_report

from platform_lib.errors import ConfigError, MissingPartError
from platform_lib.evidence import Interval, SliceScore, write_evidence
from platform_lib.home import open_home
from platform_lib.matrix import Cell, Matrix, Row, matrix_page
from ray_jobs.matrix import Planned, Told, compile_matrix, plan, read_cell


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / f"{name}.onnx").touch()
        np.savez(folder / f"{name}.calibration.npz", x=np.zeros((1, 4), np.float32))
    (folder / "b.frozen.npz").touch()
    return folder


def test_every_model_for_every_target_with_the_samples_beside_it(models: Path, tmp_path: Path) -> None:
    cells = plan(models, ("sa8255p", "SA8797P"), tmp_path / "out")
    assert [(cell.model.stem, cell.target) for cell in cells] == [
        ("a", "sa8255p"),
        ("a", "SA8797P"),
        ("b", "sa8255p"),
        ("b", "SA8797P"),
    ]
    assert [cell.frozen is not None for cell in cells] == [False, False, True, True]
    assert len({cell.out for cell in cells}) == 4
    assert cells[1].out == tmp_path / "out" / "a" / "sa8797p"


def test_a_model_without_samples_a_folder_without_models_and_no_target_are_refused(
    models: Path, tmp_path: Path
) -> None:
    for targets in ((), ("sa8255p", "SA8255P")):
        with pytest.raises(ConfigError, match="targets"):
            plan(models, targets, tmp_path)
    with pytest.raises(MissingPartError, match="no such folder"):
        plan(tmp_path / "none", ("sa8255p",), tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingPartError, match=r"no \.onnx file"):
        plan(tmp_path / "empty", ("sa8255p",), tmp_path)
    (models / "a.calibration.npz").unlink()
    with pytest.raises(MissingPartError, match="no calibration samples") as caught:
        plan(models, ("sa8255p",), tmp_path)
    assert str(caught.value.where).endswith("a.calibration.npz")


def planned(tmp_path: Path) -> Planned:
    return Planned(tmp_path / "a.onnx", "sa8255p", tmp_path / "a.npz", None, tmp_path / "out" / "a" / "sa8255p")


def test_what_was_published_is_read_from_its_report(tmp_path: Path) -> None:
    cell, report = planned(tmp_path), compile_report("0" * 64, {})
    cell.out.mkdir(parents=True)
    write_evidence(cell.out / "report.json", report)
    found = read_cell(
        cell, Told(0, json.dumps({"skipped": True, "chosen": "none of this is believed"})), tmp_path / "out"
    )
    assert (found.chosen, found.skipped, found.refused, found.folder) == (report.chosen, True, None, "a/sa8255p")
    assert [row.precision for row in found.rows] == [item.precision for item in report.precisions]


@pytest.mark.parametrize(
    ("told", "why"),
    [
        (Told(1, json.dumps({"error": {"what": "opset 7 is too old"}})), "opset 7 is too old"),
        (
            Told(1, json.dumps({"error": {"what": "NaN", "where": "a.onnx", "remedy": "train again"}})),
            "NaN; a.onnx; train again",
        ),
        (Told(-9, ""), "it ended without a word"),
        (Told(2, "{}"), "status 2"),
    ],
)
def test_a_compile_that_was_refused_or_died_is_a_refused_cell(tmp_path: Path, told: Told, why: str) -> None:
    found = read_cell(planned(tmp_path), told, tmp_path / "out")
    assert (found.refused, found.chosen, found.rows) == (why, None, ())


def test_a_failed_rung_fails_the_row_and_a_rung_not_run_is_no_pass() -> None:
    report = compile_report("0" * 64, {})
    name = str(report.chosen)
    assert {row.precision: row.verdict for row in Row.of(report)}[name] == "pass"
    for status in ("fail", "not_run"):
        rungs = tuple(
            rung.model_copy(update={"status": status, "reason": "so"}) if rung.precision == name else rung
            for rung in report.parity
        )
        rows = Row.of(report.model_copy(update={"parity": rungs}))
        assert {row.precision: row.verdict for row in rows}[name] == status


def test_the_page_links_each_cell_to_its_evidence_and_says_what_was_refused() -> None:
    report = compile_report("0" * 64, {"w8a16.profile.csv": "1" * 64})
    good = Cell(
        model="net<1>", target="sa8255p", refused=None, skipped=False, chosen=report.chosen, folder="net/sa8255p", rows=Row.of(report)
    )  # fmt: skip
    bad = good.model_copy(update={"target": "sa8295p", "refused": "opset 7 & older", "chosen": None, "rows": ()})
    found = Matrix(cells=(good, bad))
    text = matrix_page(found)
    binary = report.precision("w8a16").context[-1]
    for file in ("report.html", "report.json", "w8a16.profile.csv", binary):
        assert f'href="net/sa8255p/{file}"' in text
    assert "refused: opset 7 &amp; older" in text
    assert "<th>gate</th>" not in text
    assert "judged by `drivetrain gate`" in text
    assert "<1>" not in text
    assert not found.whole
    assert Matrix(cells=(good,)).whole


def scored(name: str, loss: float | None, engine: str = "qdq") -> SliceScore:
    status = "not_run" if loss is None else "pass" if loss <= 0.1 else "fail"
    return SliceScore.model_validate(
        {"precision": "w8a16", "engine": engine, "slice": name, "metric": "ade", "unit": "m", "truth": "labels", "n": 30,
         "float_value": 1.0, "value": None if loss is None else 1.0 + loss, "loss": loss, "tolerance": 0.1, "status": status,
         "reason": None if status == "pass" else "so"}
    )  # fmt: skip


def test_the_page_shows_what_each_slice_loses_the_worst_first() -> None:
    report = compile_report("0" * 64, {})
    task = (scored("all", 0.02), scored("night", 0.01), scored("night", 0.05, "target"), scored("all", None, "target"))
    row = next(row for row in Row.of(report.model_copy(update={"task": task})) if row.precision == "w8a16")
    assert (row.slices, row.worst, row.verdict) == ({"all": 0.02, "night": 0.05}, "night", "not_run")
    cell = Cell(
        model="net", target="sa8255p", refused=None, skipped=False, chosen=None, folder="net/sa8255p", rows=(row,)
    )
    assert "ade m: night 0.05, all 0.02" in matrix_page(Matrix(cells=(cell,)))
    failed = Row.of(report.model_copy(update={"task": (scored("night", 0.2),)}))
    assert {item.precision: item.verdict for item in failed}["w8a16"] == "fail"


def test_a_time_says_its_bounds_and_whether_it_was_measured() -> None:
    row = next(item for item in Row.of(compile_report("0" * 64, {})) if item.latency_us is not None)
    timed = row.model_copy(update={"latency_us": Interval(value=57.0, low=50.0, high=66.0)})
    for kind, said in (("simulator", "57 (50 to 66) simulated"), ("device", "57 (50 to 66) on a device")):
        shown = timed.model_copy(update={"measured_on": kind})
        cell = Cell(model="n", target="orin", refused=None, skipped=False, chosen=None, folder="n/orin", rows=(shown,))
        assert said in matrix_page(Matrix(cells=(cell,)))


@pytest.mark.soak
def test_a_folder_of_models_and_the_second_run_compiles_nothing(tmp_path: Path) -> None:
    from edge_models import bring

    folder, out = tmp_path / "models", tmp_path / "out"
    folder.mkdir()
    for kind in ("fusion", "detector"):
        brought = bring(kind, folder)
        path = brought.path.rename(folder / f"{kind}.onnx")
        np.savez(path.with_name(f"{kind}.calibration.npz"), **brought.calibration)
        np.savez(path.with_name(f"{kind}.frozen.npz"), **brought.frozen, **brought.reference)
    (folder / "broken.onnx").write_bytes(b"no model")
    np.savez(folder / "broken.calibration.npz", x=np.zeros((1, 4), np.float32))
    cells = plan(folder, ("sa8255p", "sa8295p"), out)
    home = open_home(tmp_path / "home")
    first = compile_matrix(home, cells, out, ("--precision", "w8a16"))
    assert [cell.chosen for cell in first.cells if cell.model != "broken"] == ["w8a16"] * 4
    assert {cell.refused is not None for cell in first.cells if cell.model == "broken"} == {True}
    assert not any(cell.skipped for cell in first.cells)
    again = compile_matrix(home, cells, out, ("--precision", "w8a16"))
    assert all(cell.skipped for cell in again.cells if cell.model != "broken")
    assert (out / "matrix.html").is_file()
