"""What was cut apart gives what it gave before, or the compile ends; planted cuts that change something."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx_detector import detector

from edge_compile.arrays import load_arrays
from edge_compile.rejoining import as_asked, rejoin
from edge_compile.rewrite_suppression import cut_suppression
from platform_lib.errors import CompileError

SAMPLES = {"x": np.random.default_rng(3).normal(size=(3, 1, 4)).astype(np.float32)}


def session(model: onnx.ModelProto) -> ort.InferenceSession:
    return ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def test_both_parts_answer_as_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = detector()
    head, tail, _ = cut_suppression(model)
    assert tail is not None
    rejoin(session(model), session(head), session(tail), SAMPLES, SAMPLES)
    before, after = (load_arrays(tmp_path / f"{name}.outputs.npz") for name in ("original", "rejoined"))
    assert set(before) == {"kept", "h"}
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_a_cut_that_keeps_other_boxes_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = detector()
    head, tail, _ = cut_suppression(model)
    assert tail is not None
    for item in tail.graph.initializer:
        if item.name == "most":
            item.CopyFrom(onnx.numpy_helper.from_array(np.array([1]), "most"))
    with pytest.raises(CompileError, match="cut at its suppression the model gives 'kept' as"):
        rejoin(session(model), session(head), session(tail), SAMPLES, SAMPLES)


def test_nothing_found_shows_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = detector()
    del model.graph.output[1:]
    for item in model.graph.initializer:
        if item.name == "least":
            item.CopyFrom(onnx.numpy_helper.from_array(np.array([1e9], np.float32), "least"))
    head, tail, _ = cut_suppression(model)
    assert tail is not None
    with pytest.raises(CompileError, match="no frozen input has a box left"):
        rejoin(session(model), session(head), session(tail), SAMPLES, SAMPLES)


def test_samples_that_the_model_as_brought_cannot_take_are_refused() -> None:
    model = detector()
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    model.graph.node.insert(0, onnx.helper.make_node("Cast", ["x"], ["xf"], to=onnx.TensorProto.FLOAT))
    model.graph.node[1].input[0] = "xf"
    assert as_asked(session(model), {"x": np.ones((1, 1, 4), np.float32)})["x"].dtype == np.float16
    with pytest.raises(CompileError, match="hold values that are no float16"):
        as_asked(session(model), SAMPLES)
