"""Layer by layer: the layer that was broken is the one that is named, in whichever order its numbers lie."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_compile.layer_run import float_to_qdq
from edge_compile.layer_stage import _explained
from edge_compile.layers import align, compare, makers_of, shapes_of, tapped, taps_of
from edge_compile.messages import LayerReport
from edge_compile.parity import ONNX_QDQ, ONNX_SIMULATION
from platform_lib.evidence import ParityRung

LAYERS = ("stem", "middle", "last")
FROZEN = {"x": np.random.default_rng(1).random((3, 1, 4), dtype=np.float32)}


def save_float() -> onnx.ModelProto:
    """Three Mul, each by 2: x -> stem -> middle -> last."""
    names = ("x", "stem", "middle", "last")
    nodes = [helper.make_node("Mul", [names[i], "two"], [names[i + 1]], name=names[i + 1]) for i in range(3)]
    return _model(nodes, [numpy_helper.from_array(np.array([2.0], np.float32), "two")])


def quantized(broken: str | None = None) -> onnx.ModelProto:
    """The same as AIMET writes it, with a pair of quantizers behind each layer; one of them may have a far too small range."""
    nodes, weights, taken = [], [numpy_helper.from_array(np.array([2.0], np.float32), "two")], "x"
    for at, name in enumerate(LAYERS):
        made = f"{name}_updated" if name == "last" else name
        given = name if name == "last" else f"{name}_updated"
        scale = (2.0 ** (at + 1)) / 255 / (4 if name == broken else 1)
        weights += [
            numpy_helper.from_array(np.array(scale, np.float32), f"{name}_scale"),
            numpy_helper.from_array(np.array(0, np.uint8), f"{name}_zero"),
        ]
        pair = [f"{name}_scale", f"{name}_zero"]
        nodes += [
            helper.make_node("Mul", [taken, "two"], [made], name=name),
            helper.make_node("QuantizeLinear", [made, *pair], [f"{name}_q"]),
            helper.make_node("DequantizeLinear", [f"{name}_q", *pair], [given]),
        ]
        taken = given
    return _model(nodes, weights)


def _model(nodes: list, weights: list) -> onnx.ModelProto:
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in ("x", "last")]
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def down(qdq: onnx.ModelProto, threshold_db: float = 30.0) -> LayerReport:
    return float_to_qdq(save_float(), qdq, "w8a8", FROZEN, samples=2, threshold_db=threshold_db)


def test_every_layer_stands_in_the_order_of_the_graph_and_none_is_broken() -> None:
    found = down(quantized())
    assert [(row.tensor, row.layer) for row in found.rows] == [(name, f"Mul '{name}'") for name in LAYERS]
    assert (found.rung, found.samples, found.first_break) == (ONNX_QDQ, 2, None)
    assert all(row.sqnr_db is None or row.sqnr_db > 40 for row in found.rows)


@pytest.mark.parametrize("broken", LAYERS)
def test_the_layer_that_was_broken_is_the_first_that_is_named(broken: str) -> None:
    first = down(quantized(broken)).first_break
    assert first is not None
    assert first.tensor == broken


def test_a_failed_rung_names_it_and_a_sound_one_does_not() -> None:
    values: dict[str, Any] = {
        "precision": "w8a8",
        "samples": 3,
        "max_abs_error": 1.0,
        "cosine": 0.5,
        "threshold_db": 30.0,
    }
    failed = ParityRung(name=ONNX_SIMULATION, status="fail", sqnr_db=9.0, reason="9.0 dB, below 30.0 dB", **values)
    found = _explained(failed, [down(quantized("middle"))])
    assert found.first_break == "Mul 'middle'"
    assert str(found.reason).startswith("9.0 dB, below 30.0 dB; first broken: Mul 'middle' with ")
    sound = ParityRung(name=ONNX_SIMULATION, status="pass", sqnr_db=40.0, **values)
    assert _explained(sound, [down(quantized("middle"))]) == sound
    assert _explained(failed, [down(quantized())]) == failed


def test_a_value_of_unknown_shape_is_no_scalar() -> None:
    """As torch's exporter leaves them behind an If: typed, and without a shape."""
    model = save_float()
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    model.graph.node[0].domain = "com.microsoft"  # onnx infers nothing of it
    model.graph.value_info.append(helper.make_tensor_value_info("stem", TensorProto.FLOAT, None))
    scalar = helper.make_tensor_value_info("scalar", TensorProto.FLOAT, [])
    model.graph.value_info.append(scalar)
    found = shapes_of(model)
    assert "stem" not in found
    assert (found["scalar"], found["last"]) == ((), (1, 4))


def test_taps_leave_the_pairs_of_quantizers_alone() -> None:
    qdq = quantized()
    model, names = tapped(qdq, shapes_of(save_float()) | {"stem": (1, 4), "middle": (1, 4)})
    assert [node.SerializeToString() for node in model.graph.node][: len(qdq.graph.node)] == [
        node.SerializeToString() for node in qdq.graph.node
    ]
    assert sorted(names.values()) == sorted(LAYERS)
    assert list(taps_of(qdq.graph)) == list(LAYERS) == [n for n in makers_of(save_float().graph) if n != "x"]
    onnx.checker.check_model(model)


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 4, 4, 4)])
def test_numbers_in_the_chips_own_order_are_compared_in_it_and_said(shape: tuple[int, ...]) -> None:
    first = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    other = np.ascontiguousarray(first.transpose(0, 2, 3, 1))
    turned, layout, ratio = align(first, other)
    assert (layout, ratio) == ("NHWC", None)
    assert np.array_equal(turned, first)
    mixed_up = other.reshape(shape)  # read in the wrong order, where the shape does not say so
    found = compare(
        "a->b", "w8a8", [("t", "Conv 'c'")], {"t": first[:, None]}, {"t": mixed_up[:, None]}, threshold_db=20.0
    )
    assert found.first_break is not None
    assert (found.first_break.layout, found.first_break.sqnr_db) == ("NHWC", None)


def test_noise_is_not_taken_for_another_order() -> None:
    first = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    other = first + np.random.default_rng(1).normal(size=first.shape).astype(np.float32) * 3
    assert align(first, other)[1] == "same"
    assert align(first, first)[1:] == ("same", None)


def test_a_layer_that_holds_nan_is_broken() -> None:
    first, other = np.ones((1, 1, 4), np.float32), np.full((1, 1, 4), np.nan, np.float32)
    found = compare("a->b", "w8a8", [("t", "Log 'l'")], {"t": first}, {"t": other}, threshold_db=20.0).first_break
    assert found is not None
    assert not found.finite
