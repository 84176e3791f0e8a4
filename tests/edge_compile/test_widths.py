"""Conversions between widths, on onnxruntime: nothing is lost on the way up, at most a step on the way down."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from edge_compile.widths import unify_widths

FLOAT = TensorProto.FLOAT
STEP = {"u8": np.float32(8 / 255), "u16": np.float32(8 / 65535)}
ZERO = {"u8": np.uint8(128), "u16": np.uint16(32896)}


def quantized(taken: str, given: str, width: str) -> list[onnx.NodeProto]:
    numbers = [f"scale_{width}", f"zero_{width}"]
    return [
        helper.make_node("QuantizeLinear", [taken, *numbers], [f"{given}_int"], name=f"{given}_int"),
        helper.make_node("DequantizeLinear", [f"{given}_int", *numbers], [given], name=given),
    ]


def network(widths: dict[str, str]) -> onnx.ModelProto:
    """Input -> Conv with bias -> Relu -> a residual Add with the input -> output, each tensor in its width."""
    rng = np.random.default_rng(0)
    weights = rng.integers(-127, 128, (4, 4, 1, 1)).astype(np.int8)
    step = np.float32(1 / 127)
    arrays = {f"scale_{key}": STEP[key] for key in STEP} | {f"zero_{key}": ZERO[key] for key in ZERO}
    arrays |= {"w_int": weights, "w_scale": step, "w_zero": np.int8(0)}
    bias_step = STEP[widths["x"]] * step
    arrays |= {"b_int": np.array([900, -400, 30, 7], np.int32), "b_scale": bias_step, "b_zero": np.int32(0)}
    nodes = [
        *quantized("x", "x_dq", widths["x"]),
        helper.make_node("DequantizeLinear", ["w_int", "w_scale", "w_zero"], ["w"], name="w"),
        helper.make_node("DequantizeLinear", ["b_int", "b_scale", "b_zero"], ["b"], name="b"),
        helper.make_node("Conv", ["x_dq", "w", "b"], ["c"], name="conv"),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        *quantized("r", "r_dq", widths["r"]),
        helper.make_node("Add", ["r_dq", "x_dq"], ["s"], name="add"),
        *quantized("s", "y", widths["y"]),
    ]
    values = [[helper.make_tensor_value_info(name, FLOAT, [1, 4, 2, 2])] for name in ("x", "y")]
    graph = helper.make_graph(nodes, "g", *values, [numpy_helper.from_array(v, k) for k, v in arrays.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def run(model: onnx.ModelProto) -> np.ndarray:
    onnx.checker.check_model(model)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": np.random.default_rng(1).uniform(-3, 3, (1, 4, 2, 2)).astype(np.float32)})[0]


def widths_of(model: onnx.ModelProto) -> dict[str, set[str]]:
    """Name the widths of everything each operator reads and writes, its weights aside."""
    zeros = {item.name: numpy_helper.to_array(item).dtype.name for item in model.graph.initializer}
    casts = [
        node for node in model.graph.node if node.op_type.endswith("quantizeLinear") or node.op_type == "QuantizeLinear"
    ]
    made = {node.output[0]: zeros[node.input[2]] for node in casts if node.op_type == "DequantizeLinear"}
    taken = {node.input[0]: zeros[node.input[2]] for node in casts if node.op_type == "QuantizeLinear"}
    found: dict[str, set[str]] = {}
    for node in model.graph.node:
        if node.op_type in ("Conv", "Relu", "Add"):
            kinds = {made.get(name, "") for name in node.input} | {taken.get(name, "") for name in node.output}
            found[node.op_type] = {kind for kind in kinds if kind.startswith("uint")}
    return found


def test_one_width_needs_nothing() -> None:
    for width in ("u8", "u16"):
        model = network(dict.fromkeys("xry", width))
        before = model.SerializeToString()
        assert unify_widths(model) == 0
        assert model.SerializeToString() == before


def test_on_the_way_up_nothing_is_lost() -> None:
    model = network({"x": "u8", "r": "u16", "y": "u16"})
    before = run(model)
    assert unify_widths(model) == 1  # one pair, for the convolution and for the sum
    assert widths_of(model) == {"Conv": {"uint16"}, "Relu": {"uint16"}, "Add": {"uint16"}}
    np.testing.assert_allclose(run(model), before, atol=1.01 * STEP["u16"])


def test_the_bias_counts_in_the_finer_steps() -> None:
    model = network({"x": "u8", "r": "u16", "y": "u16"})
    unify_widths(model)
    arrays = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    assert arrays["b_fine_int"].tolist() == [900 * 257, -400 * 257, 30 * 257, 7 * 257]
    assert "b" not in {name for node in model.graph.node for name in node.output}  # nobody reads it any more
    np.testing.assert_allclose(arrays["b_fine_scale"] * 257, arrays["b_scale"], rtol=1e-6)


def test_on_the_way_down_at_most_a_step_is_lost() -> None:
    model = network({"x": "u16", "r": "u8", "y": "u8"})
    before = run(model)
    assert unify_widths(model) == 3  # down behind the convolution, up again before the sum, down behind it
    assert widths_of(model)["Add"] == {"uint16"}
    assert np.abs(run(model) - before).max() <= 1.01 * STEP["u8"]


def test_a_narrow_operator_beside_a_wide_one_stays_narrow() -> None:
    model = network({"x": "u8", "r": "u8", "y": "u16"})
    unify_widths(model)
    assert widths_of(model) == {"Conv": {"uint8"}, "Relu": {"uint8"}, "Add": {"uint16"}}
