"""Recurrent layers, written out over their steps: the same answers, and quantized on every chip."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_compile.compiler import compile_model
from edge_compile.rewrite_recurrent import MOST_STEPS
from edge_compile.rewrites import rewrite

STEPS, TAKEN, HIDDEN = 5, 3, 4
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def recurrent(
    kind: str,
    *,
    direction: str = "forward",
    batch: int = 2,
    steps: int = STEPS,
    bias: bool = True,
    first: str = "",
    outputs: tuple[str, ...] = ("y", "h"),
    extra: dict[str, np.ndarray] | None = None,
    **attributes: Any,
) -> onnx.ModelProto:
    """Write one recurrent layer; `first` says what its initial states are: nothing, zeros, or numbers."""
    rng, ways = np.random.default_rng(0), 2 if direction == "bidirectional" else 1
    rows = GATES[kind] * HIDDEN
    arrays = {"w": rng.normal(size=(ways, rows, TAKEN)), "r": rng.normal(size=(ways, rows, HIDDEN))}
    if bias:
        arrays["b"] = rng.normal(size=(ways, 2 * rows))
    states = ["h0", *(["c0"] if kind == "LSTM" else [])] if first else []
    arrays |= {name: rng.normal(size=(ways, batch, HIDDEN)) * (first == "numbers") for name in states}
    arrays = {name: values.astype(np.float32) for name, values in arrays.items()} | (extra or {})
    taken = ["x", "w", "r", "b" if bias else "", "lengths" if "lengths" in arrays else "", *states]
    node = helper.make_node(
        kind, taken, list(outputs), name="layer", hidden_size=HIDDEN, direction=direction, **attributes
    )
    shapes = {"y": [steps, ways, batch, HIDDEN], "h": [ways, batch, HIDDEN], "c": [ways, batch, HIDDEN]}
    graph = helper.make_graph(
        [node],
        "recurrent",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [steps, batch, TAKEN])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shapes[name]) for name in outputs if name],
        [numpy_helper.from_array(values, name) for name, values in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model)
    return model


def answers(model: onnx.ModelProto) -> list[np.ndarray]:
    shape = [size.dim_value for size in model.graph.input[0].type.tensor_type.shape.dim]
    samples = {"x": np.random.default_rng(1).normal(size=shape).astype(np.float32)}
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, samples)


def same(model: onnx.ModelProto) -> onnx.ModelProto:
    written, found = rewrite(model)
    assert [item.name for item in found if item.name != "own-weights"] == ["unrolled"]
    onnx.checker.check_model(written, full_check=True)
    assert not {node.op_type for node in written.graph.node} & set(GATES)
    for old, new in zip(answers(model), answers(written), strict=True):
        np.testing.assert_allclose(new, old, rtol=1e-5, atol=2e-6)
    read = {name for node in written.graph.node for name in node.input}
    assert {item.name for item in written.graph.initializer} <= read, "a weight that nobody reads"
    return written


@pytest.mark.parametrize("first", ["", "zeros", "numbers"])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("kind", GATES)
def test_the_steps_give_what_the_layer_gave(kind: str, direction: str, first: str) -> None:
    outputs = ("y", "h", "c") if kind == "LSTM" else ("y", "h")
    same(recurrent(kind, direction=direction, first=first, outputs=outputs))


@pytest.mark.parametrize(
    "model",
    [
        recurrent("GRU", linear_before_reset=1),
        recurrent("GRU", linear_before_reset=1, direction="bidirectional", first="numbers"),
        recurrent("GRU", linear_before_reset=1, bias=False),
        recurrent("LSTM", bias=False, batch=1),
        recurrent("LSTM", outputs=("", "h")),
        recurrent("RNN", outputs=("y",), steps=1),
        recurrent("LSTM", steps=1, direction="bidirectional"),
        recurrent("RNN", activations=["Tanh"]),
    ],
    ids=[
        "reset behind",
        "reset behind both ways",
        "no bias",
        "LSTM no bias",
        "last",
        "one step",
        "one both ways",
        "said",
    ],
)
def test_each_form_gives_what_it_gave(model: onnx.ModelProto) -> None:
    same(model)


def test_zeros_that_the_exporter_writes_out_are_no_states_and_are_swept_away() -> None:
    model = recurrent("GRU", first="zeros", extra={"shape": np.array([1, 2, HIDDEN]), "zero": np.zeros(1, np.float32)})
    model.graph.node.insert(0, helper.make_node("Expand", ["zero", "shape"], ["expanded"], name="expand"))
    model.graph.node[1].input[5] = "expanded"
    written = same(model)
    assert "Expand" not in {node.op_type for node in written.graph.node}
    first_products = [node.name for node in written.graph.node if node.op_type == "MatMul" and "s0" in node.name]
    assert first_products == []


def test_layers_on_top_of_each_other_are_each_written_out() -> None:
    model = recurrent("LSTM", direction="bidirectional", batch=1, outputs=("y",))
    rng, graph = np.random.default_rng(3), model.graph
    second = {"w2": (1, HIDDEN * 3, 2 * HIDDEN), "r2": (1, HIDDEN * 3, HIDDEN)}
    arrays = {name: rng.normal(size=shape).astype(np.float32) for name, shape in second.items()}
    arrays["flat"] = np.array([STEPS, 1, 2 * HIDDEN])
    graph.initializer.extend(numpy_helper.from_array(values, name) for name, values in arrays.items())
    graph.node.append(helper.make_node("Reshape", ["y", "flat"], ["between"]))
    graph.node.append(helper.make_node("GRU", ["between", "w2", "r2"], ["", "z"], name="second", hidden_size=HIDDEN))
    graph.output[0].CopyFrom(helper.make_tensor_value_info("z", TensorProto.FLOAT, [1, 1, HIDDEN]))
    written, found = rewrite(model)
    assert [item.layer for item in found if item.name == "unrolled"] == ["layer", "second"]
    np.testing.assert_allclose(answers(written)[0], answers(model)[0], rtol=1e-5, atol=2e-6)


LEFT: dict[str, Callable[[], onnx.ModelProto]] = {
    "another activation": lambda: recurrent("RNN", activations=["Relu"]),
    "a clip": lambda: recurrent("LSTM", clip=1.0),
    "lengths": lambda: recurrent("LSTM", extra={"lengths": np.array([5, 3], np.int32)}),
    "too many steps": lambda: recurrent("GRU", steps=MOST_STEPS + 1),
}


@pytest.mark.parametrize("name", LEFT)
def test_what_is_not_written_out_here_stays_as_it_is(name: str) -> None:
    written, found = rewrite(LEFT[name]())
    assert found == ()
    assert next(node.op_type for node in written.graph.node) in GATES


@pytest.fixture
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    kind, _, behind = request.param.partition(" ")
    attributes = {"linear_before_reset": 1} if behind else {}
    onnx.save(recurrent(kind, batch=1, outputs=("y",), **attributes), tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


def samples() -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(2).normal(size=(12, STEPS, 1, TAKEN)).astype(np.float32)}


@pytest.mark.slow
@pytest.mark.parametrize("target", ["orin", "aic100"])
@pytest.mark.parametrize("path", ["LSTM"], indirect=True)
def test_behind_a_door_it_is_proven_equal_and_waits_for_the_compiler(
    path: Path, target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("DRIVETRAIN_MODELOPT_PYTHON", raising=False)
    report = compile_model(path, target, samples(), tmp_path / "out").report
    assert (report.chosen, [item.name for item in report.rewrites]) == (None, ["unrolled"])
    (proof,) = [rung for rung in report.parity if rung.name == "original->onnx"]
    assert proof.status == "pass"
    assert any("not available here" in note for note in report.notes)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("target", ["sa8255p", "sa8295p", "sa8797p", "sm8650"])
@pytest.mark.parametrize("path", [*GATES, "GRU reset-behind"], indirect=True)
def test_every_generation_takes_every_kind_in_integers(path: Path, target: str, tmp_path: Path) -> None:
    report = compile_model(
        path, target, samples(), tmp_path / "out", precisions=("w8a8",), techniques=("plain",), emulator_samples=8
    ).report
    item = report.precision("w8a8")
    failed = [check for check in item.checks if check.status == "fail"]
    rungs = {rung.name: rung.status for rung in report.parity if rung.precision == "w8a8"}
    assert (failed, set(rungs.values())) == ([], {"pass"}), (report.parity, report.notes)
    assert report.chosen == "w8a8"
