from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from edge_models import bring
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from edge_compile.onnx_model import read_model
from platform_lib.errors import ContractError, MissingPartError, PlatformError


def test_reads_names_shapes_and_opset(linear: Path) -> None:
    model = read_model(linear)
    assert [(item.name, item.shape) for item in model.inputs] == [("x", (1, 4))]
    assert [(item.name, item.shape) for item in model.outputs] == [("y", (1, 3))]
    assert model.opset == 20
    assert model.external == ()


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingPartError, match="no such ONNX file"):
        read_model(tmp_path / "none.onnx")


@pytest.mark.parametrize("content", [b"", b"not a model at all", b"\x00" * 64, b"PK\x03\x04 a zip"])
def test_what_is_no_onnx_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.onnx"
    path.write_bytes(content)
    with pytest.raises(ContractError, match="not a valid ONNX model"):
        read_model(path)


def test_a_truncated_model_is_refused(linear: Path) -> None:
    linear.write_bytes(linear.read_bytes()[:-30])
    with pytest.raises(ContractError, match="not a valid ONNX model"):
        read_model(linear)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_model_is_read_or_refused_but_never_crashes(linear: Path, data: st.DataObject) -> None:
    content = bytearray(linear.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    damaged = linear.with_name("damaged.onnx")
    damaged.write_bytes(content)
    with suppress(PlatformError):
        read_model(damaged)


@pytest.mark.parametrize("shape", [("N", "M"), (0, 4)])
def test_a_dynamic_shape_is_refused_by_input_and_axis(build, shape: tuple[int | str, ...]) -> None:
    with pytest.raises(ContractError, match="input 'x' has a dynamic shape \\(axis 0"):
        read_model(build(input_shape=shape))


def test_weights_that_are_not_finite_are_refused_by_name(build) -> None:
    weights = np.ones((4, 3), np.float32)
    weights[1, 2] = np.nan
    with pytest.raises(ContractError, match="1 of 12 weights of 'w' are NaN"):
        read_model(build(weights=weights))


def test_an_old_opset_is_refused(build) -> None:
    with pytest.raises(ContractError, match="opset 10 is too old"):
        read_model(build(opset=10))


def test_an_input_that_is_no_float_is_refused(build) -> None:
    with pytest.raises(ContractError, match="input 'x' is INT64") as caught:
        read_model(build(input_type=TensorProto.INT64))
    assert "give the model a float32 input" in str(caught.value.remedy)


def test_weights_in_a_file_beside_are_read_and_missed(build, tmp_path: Path) -> None:
    folder = tmp_path / "external"
    folder.mkdir()
    path = folder / "model.onnx"
    onnx.save(onnx.load(build()), path, save_as_external_data=True, location="model.data", size_threshold=0)
    assert [item.name for item in read_model(path).external] == ["model.data"]
    (folder / "model.data").unlink()
    with pytest.raises(MissingPartError, match="weights is missing"):
        read_model(path)


def test_a_quantized_model_is_refused(tmp_path: Path) -> None:
    scale = helper.make_tensor("s", TensorProto.FLOAT, [], [0.1])
    graph = helper.make_graph(
        [
            helper.make_node("QuantizeLinear", ["x", "s"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "s"], ["y"]),
        ],
        "quantized",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
        [scale],
    )
    path = tmp_path / "q.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    with pytest.raises(ContractError, match="quantized already"):
        read_model(path)


# Models that the tools would refuse later and less clearly, or compile wrongly


def save(path: Path, nodes: list[onnx.NodeProto], **changes: Any) -> Path:
    """Write a model of `nodes` from x to y, (1, 8) each, with some of it replaced."""

    def value(name: str, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, [1, 8])

    inputs = [value(name) for name in changes.get("inputs", ["x"])]
    outputs = [value(name, kind) for name, kind in changes.get("outputs", {"y": TensorProto.FLOAT}).items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, changes.get("weights", []))
    domains = {node.domain: 1 for node in nodes if node.domain} | {"": changes.get("opset", 17)}
    imports = [helper.make_opsetid(domain, version) for domain, version in domains.items()]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=changes.get("ir", 8)), path)
    return path


RELU = helper.make_node("Relu", ["x"], ["y"])
ADD = helper.make_node("Add", ["x", "w"], ["y"])
CONSTANT = helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(np.ones((1, 8), np.float32)))
FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def weight(kind: type) -> onnx.TensorProto:
    return numpy_helper.from_array(np.ones((1, 8), kind), "w")


def cast(taken: str, given: str, kind: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [taken], [given], to=kind)


def added(kind: int) -> list[onnx.NodeProto]:
    return [cast("x", "h", kind), helper.make_node("Add", ["h", "w"], ["s"]), cast("s", "y", FLOAT)]


REFUSED: dict[str, tuple[list[onnx.NodeProto], dict[str, Any], str]] = {
    "opset too new": ([RELU], {"opset": 27, "ir": 13}, "opset 27 is too new: the tools know up to 26"),
    "IR too new": ([RELU], {"ir": 14}, "IR version 14 is too new"),
    "weight as input": ([ADD], {"weights": [weight(np.float32)], "inputs": ["x", "w"]}, "the weight 'w' is also an input"),
    "half weights": (added(TensorProto.FLOAT16), {"weights": [weight(np.float16)]}, "the weight 'w' is FLOAT16"),
    "double weights": (added(TensorProto.DOUBLE), {"weights": [weight(np.float64)]}, "the weight 'w' is DOUBLE"),
    "foreign operator": ([helper.make_node("Magic", ["x"], ["y"], domain="acme")], {}, "the operator 'Magic' of 'acme'"),
    "integer output": ([cast("x", "y", INT64)], {"outputs": {"y": INT64}}, "output 'y' is INT64; only FLOAT outputs"),
    "input as output": ([RELU], {"outputs": {"y": FLOAT, "x": FLOAT}}, "output 'x' is an input"),
    "constant output": ([RELU, CONSTANT], {"outputs": {"y": FLOAT, "k": FLOAT}}, "output 'k' does not depend on any input"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_tools_cannot_take_is_refused_by_name(tmp_path: Path, name: str) -> None:
    nodes, changes, said = REFUSED[name]
    with pytest.raises(ContractError) as caught:
        read_model(save(tmp_path / "m.onnx", nodes, **changes))
    assert said in caught.value.what
    assert caught.value.remedy


def test_an_output_of_a_branch_depends_on_what_the_branch_reads(tmp_path: Path) -> None:
    def branch(name: str, kind: str) -> onnx.GraphProto:
        out = helper.make_tensor_value_info(name, FLOAT, [1, 8])
        return helper.make_graph([helper.make_node(kind, ["x"], [name])], name, [], [out])

    choose = helper.make_node("If", ["c"], ["y"], then_branch=branch("t", "Relu"), else_branch=branch("e", "Neg"))
    truth = numpy_helper.from_array(np.array(True), "c")
    assert read_model(save(tmp_path / "m.onnx", [choose], weights=[truth])).outputs[0].name == "y"


def test_operators_of_the_runtime_and_of_the_models_own_functions_are_read(tmp_path: Path) -> None:
    gelu = helper.make_node("Gelu", ["x"], ["y"], domain="com.microsoft")
    assert read_model(save(tmp_path / "m.onnx", [gelu])).opset == 20


# What is rewritten on the way in, and what no rewrite helps


def test_an_open_batch_and_an_old_opset_are_rewritten_and_said(build) -> None:
    model = read_model(build(input_shape=("N", 4), opset=11))
    assert [(item.name, item.layer) for item in model.rewrites] == [("opset", ""), ("static-batch", "x")]
    assert ([item.shape for item in model.inputs], model.opset) == ([(1, 4)], 13)


def test_a_batch_and_another_axis_open_are_refused_with_what_could_be_fixed(build) -> None:
    with pytest.raises(ContractError, match=r"dynamic shape \(axis 0 is 'N'\)") as caught:
        read_model(build(input_shape=("N", "W")))
    assert "only a batch, the first" in str(caught.value.remedy)


def test_what_no_chip_can_have_is_refused_before_any_work(tmp_path: Path) -> None:
    made = helper.make_node("SequenceConstruct", ["x"], ["s"], name="gather_boxes")
    back = helper.make_node("ConcatFromSequence", ["s"], ["y"], axis=0)
    with pytest.raises(ContractError, match="the SequenceConstruct 'gather_boxes' makes a sequence") as caught:
        read_model(save(tmp_path / "m.onnx", [made, back]))
    assert "export again" in str(caught.value.remedy)


def test_suppression_inside_the_graph_is_named_with_the_way_out(tmp_path: Path) -> None:
    boxes = numpy_helper.from_array(np.zeros((1, 8, 4), np.float32), "b")
    scores = numpy_helper.from_array(np.zeros((1, 1, 8), np.float32), "c")
    nodes = [
        helper.make_node("NonMaxSuppression", ["b", "c"], ["found"], name="nms"),
        cast("found", "f", FLOAT),
        helper.make_node("ReduceSum", ["f"], ["t"], keepdims=0),
        helper.make_node("Add", ["x", "t"], ["y"]),
    ]
    with pytest.raises(ContractError, match="the NonMaxSuppression 'nms' gives as many boxes as it finds") as caught:
        read_model(save(tmp_path / "m.onnx", nodes, weights=[boxes, scores]))
    assert "end the graph at its boxes and scores" in str(caught.value.remedy)


def test_more_than_protobuf_holds_is_refused_before_it_is_read(linear: Path, build, tmp_path: Path) -> None:
    with linear.open("ab") as stream:
        stream.truncate(2 << 30)  # a hole: it takes no space, and was never read
    with pytest.raises(ContractError, match="larger than 1900000000 bytes"):
        read_model(linear)
    folder = tmp_path / "external"
    folder.mkdir()
    onnx.save(onnx.load(build()), folder / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    with (folder / "m.data").open("ab") as stream:
        stream.truncate(2 << 30)
    with pytest.raises(ContractError, match="weights exceed 1900000000 bytes") as caught:
        read_model(folder / "m.onnx")
    assert "in parts" in str(caught.value.remedy)


def test_outputs_whose_shape_the_model_computes_are_static_once_the_batch_is(tmp_path: Path):
    model = read_model(bring("detector", tmp_path, opset=13, dynamic_batch=True).path)
    assert {item.name: item.shape for item in model.outputs} == {"boxes": (1, 64, 4), "scores": (1, 64, 5)}
