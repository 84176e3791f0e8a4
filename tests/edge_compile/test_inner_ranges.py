"""Inputs within their ranges, and a tensor inside that leaves its own: the compile has to name it."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_compile.inner_ranges import Range, ranges_of, said_of_ranges
from edge_compile.samples import beyond_calibration

WIDE, COUNT = 64, 24


def _model(nodes: list[onnx.NodeProto], arrays: dict[str, np.ndarray]) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "sums",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, WIDE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
        [numpy_helper.from_array(values, name) for name, values in arrays.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


WEIGHTS = np.full((WIDE, 4), 1.0, np.float32)
FLOAT = _model(
    [
        helper.make_node("MatMul", ["x", "w"], ["h"], name="sum"),
        helper.make_node("Relu", ["h"], ["y"], name="last"),
    ],
    {"w": WEIGHTS},
)


def _quantized(held: float, kind: type = np.uint16) -> onnx.ModelProto:
    """Write the model with the grid that calibration gives `h`: from -held to held."""
    ends = np.iinfo(kind)
    arrays = {"w": WEIGHTS, "scale": np.float32(2 * held / (ends.max - ends.min)), "zero": kind(ends.max // 2)}
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], name="sum"),
        helper.make_node("QuantizeLinear", ["h", "scale", "zero"], ["h_q"]),
        helper.make_node("DequantizeLinear", ["h_q", "scale", "zero"], ["h_dq"]),
        helper.make_node("Relu", ["h_dq"], ["y"], name="last"),
    ]
    return _model(nodes, {name: np.asarray(values) for name, values in arrays.items()})


def _signs() -> np.ndarray:
    return np.random.default_rng(0).choice([-1.0, 1.0], size=(COUNT, 1, WIDE)).astype(np.float32)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_a_tensor_inside_is_named_where_no_input_leaves_its_range(kind: type) -> None:
    calibration = _signs()
    held = float(np.abs(calibration.sum(axis=-1)).max())
    frozen = calibration.copy()
    assert said_of_ranges(FLOAT, _quantized(held, kind), {"x": frozen}) == ()
    frozen[3:] = 1.0  # planted: all push one way, which no calibration sample did
    assert beyond_calibration({"x": calibration}, {"x": frozen}) == {}
    (said,) = said_of_ranges(FLOAT, _quantized(held, kind), {"x": frozen})
    assert said.startswith("inside, MatMul 'sum' leaves its calibrated range most: ")
    assert "in 16 frozen samples, up to 64 where 18" in said
    # What is left of 64 once it is clipped to what was seen.
    left_db = float(said.partition("leaves it ")[2].partition(" dB")[0])
    assert left_db == pytest.approx(20 * np.log10(64 / (64 - held)), abs=0.2)


def test_half_a_step_beyond_the_end_is_rounding_and_no_clipping() -> None:
    frozen = {"x": np.full((2, 1, WIDE), 1.0, np.float32)}
    assert said_of_ranges(FLOAT, _quantized(63.9, np.uint8), frozen) == ()
    assert ranges_of(_quantized(1.0, np.uint8))["h"] == Range(
        pytest.approx(-127 / 127.5), pytest.approx(128 / 127.5), pytest.approx(1 / 255)
    )


def test_a_grid_by_channel_is_left_out() -> None:
    quantized = _quantized(1.0)
    quantized.graph.initializer[1].CopyFrom(numpy_helper.from_array(np.ones(4, np.float32), "scale"))
    assert ranges_of(quantized) == {}
