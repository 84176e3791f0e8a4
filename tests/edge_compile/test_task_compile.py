"""The task's metric by slice in a real compile: AIMET, the QNN compiler and its emulator on a planted model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_compile import compile_model
from edge_compile.task_slices import Task

pytestmark = pytest.mark.slow


def path_model(path: Path) -> Path:
    """Write a model of 8 numbers -> a path of 6 points, weights that are no one's favourite."""
    weights = np.random.default_rng(0).normal(size=(8, 12)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Reshape", ["h", "shape"], ["plan"])],
        "path",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8])],
        [helper.make_tensor_value_info("plan", TensorProto.FLOAT, [1, 6, 2])],
        [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(np.array([1, 6, 2], np.int64), "shape")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


def test_a_model_good_on_the_mean_and_bad_on_one_slice_is_not_chosen(tmp_path: Path) -> None:
    """Planted: the calibration knows no tunnel, so its range cuts off the tunnel's inputs, in 16 bits too."""
    rng = np.random.default_rng(1)
    frozen = rng.uniform(-1, 1, (64, 8)).astype(np.float32)
    frozen[:8] *= 2
    names = np.array(["tunnel"] * 8 + ["clear"] * 56)
    report = compile_model(
        path_model(tmp_path / "path.onnx"),
        "sa8255p",
        {"x": rng.uniform(-1, 1, (64, 8)).astype(np.float32)},
        tmp_path / "out",
        frozen={"x": frozen},
        precisions=("w8a16",),
        task=Task("ade", 0.5, slices=names),
    ).report
    assert report.chosen is None
    verdicts = {(item.engine, item.slice): item.status for item in report.task}
    assert verdicts == {
        (engine, name): "fail" if name == "tunnel" else "pass"
        for engine in ("qdq", "target")
        for name in ("all", "tunnel", "clear")
    }
    assert {rung.status for rung in report.parity if rung.precision == "w8a16"} == {"pass"}  # the mean is sound
    assert any("w8a16 is not for slice 'tunnel' (ade" in note for note in report.notes)
    assert "Worst slice: w8a16: &#x27;tunnel&#x27; fail." in (tmp_path / "out" / "report.html").read_text()
