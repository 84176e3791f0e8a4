"""Each rewrite gives what the model gave before, on onnxruntime, and nothing else is touched."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx_detector import detector, model_of

from edge_compile.rewrite_suppression import cut_suppression
from edge_compile.rewrite_transpose import reduce_axes
from edge_compile.rewrites import rewrite
from platform_lib.errors import ContractError

FLOAT = TensorProto.FLOAT


def answers(model: onnx.ModelProto, samples: dict[str, np.ndarray]) -> list[np.ndarray]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, samples)


def assert_equal_answers(model: onnx.ModelProto, samples: dict[str, np.ndarray]) -> tuple[onnx.ModelProto, list[str]]:
    before = model.SerializeToString()
    changed, found = rewrite(model)
    assert model.SerializeToString() == before
    onnx.checker.check_model(changed)
    for old, new in zip(answers(model, samples), answers(changed, samples), strict=True):
        np.testing.assert_allclose(new, old, rtol=2e-6, atol=2e-6)
    return changed, [item.name for item in found]


def kinds(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


# GELU

_HALF, _ONE, _ROOT = np.float32(0.5), np.float32(1), np.float32(math.sqrt(2))
WRITTEN_OUT = {
    "torch": [("Div", "x root", "d"), ("Erf", "d", "e"), ("Add", "e one", "a"), ("Mul", "x a", "p"), ("Mul", "p half", "y")],
    "half first": [("Mul", "half x", "h"), ("Div", "x root", "d"), ("Erf", "d", "e"), ("Add", "one e", "a"), ("Mul", "h a", "y")],
    "half inside": [("Mul", "inverse x", "d"), ("Erf", "d", "e"), ("Add", "e one", "a"), ("Mul", "half a", "p"), ("Mul", "p x", "y")],
}  # fmt: skip
CONSTANTS = {"root": _ROOT, "one": _ONE, "half": _HALF, "inverse": np.float32(math.sqrt(0.5)), "two": np.float32(2)}


def written_out(rows: list[tuple[str, str, str]], outputs: dict[str, list[int]] | None = None) -> onnx.ModelProto:
    nodes = [helper.make_node(kind, taken.split(), [given]) for kind, taken, given in rows]
    return model_of(nodes, {"x": [1, 16]}, outputs or {"y": [1, 16]}, CONSTANTS)


@pytest.mark.parametrize("form", WRITTEN_OUT)
def test_a_written_out_gelu_becomes_one(form: str) -> None:
    samples = {"x": np.random.default_rng(0).normal(size=(1, 16)).astype(np.float32) * 3}
    changed, found = assert_equal_answers(written_out(WRITTEN_OUT[form]), samples)
    assert (found, kinds(changed)) == (["opset", "erf-gelu"], ["Gelu"])


NEARLY = {
    "another divisor": [("Div", "x two", "d"), *WRITTEN_OUT["torch"][1:]],
    "another half": [*WRITTEN_OUT["torch"][:-1], ("Mul", "p two", "y")],
    "a bare erf": [("Erf", "x", "y")],
    "another factor": [*WRITTEN_OUT["torch"][:3], ("Mul", "d a", "p"), ("Mul", "p half", "y")],
}


@pytest.mark.parametrize("form", NEARLY)
def test_what_is_nearly_a_gelu_stays(form: str) -> None:
    samples = {"x": np.random.default_rng(0).normal(size=(1, 16)).astype(np.float32)}
    changed, found = assert_equal_answers(written_out(NEARLY[form]), samples)
    assert found == []
    assert "Erf" in kinds(changed)


def test_a_gelu_whose_middle_is_read_elsewhere_stays() -> None:
    model = written_out(WRITTEN_OUT["torch"], {"y": [1, 16], "a": [1, 16]})
    _, found = assert_equal_answers(model, {"x": np.ones((1, 16), np.float32)})
    assert found == []


def test_two_gelus_one_after_the_other() -> None:
    first = WRITTEN_OUT["torch"]
    second = [(kind, taken.replace("x", "y"), f"{given}2") for kind, taken, given in first]
    second = [
        (kind, " ".join(f"{w}2" if w in "deap" else w for w in taken.split()), given) for kind, taken, given in second
    ]
    model = written_out([*first, *second], {"y2": [1, 16]})
    changed, found = assert_equal_answers(model, {"x": np.linspace(-3, 3, 16, dtype=np.float32)[None]})
    assert (found, kinds(changed)) == (["opset", "erf-gelu", "erf-gelu"], ["Gelu"] * 2)
    assert {node.domain for node in changed.graph.node} == {""}


# Transposes


@given(data=st.data())
@settings(max_examples=200, deadline=None)
def test_fewer_axes_move_the_same_numbers(data: st.DataObject) -> None:
    rank = data.draw(st.integers(1, 7))
    shape = tuple(data.draw(st.lists(st.integers(1, 3), min_size=rank, max_size=rank)))
    order = tuple(data.draw(st.permutations(range(rank))))
    values = np.arange(math.prod(shape)).reshape(shape)
    lower, lower_order = reduce_axes(shape, order)
    assert len(lower) <= rank
    moved = values.reshape(lower).transpose(lower_order)
    assert moved.ravel().tolist() == values.transpose(order).ravel().tolist()


def windows(shape: list[int], order: list[int], tail: list[str]) -> onnx.ModelProto:
    """Partition into windows as Swin does, with or without the Reshapes around."""
    moved = [shape[axis] for axis in order]
    weights = {"in": np.array(shape, np.int64), "out": np.array([1, -1], np.int64)}
    nodes = [
        helper.make_node("Reshape", ["x", "in"], ["six"]),
        helper.make_node("Transpose", ["six"], ["t"], perm=order),
    ]
    given, size = "t", moved
    if "reshape" in tail:
        nodes.append(helper.make_node("Reshape", ["t", "out"], ["r"]))
        given, size = "r", [1, math.prod(shape)]
    nodes.append(helper.make_node("Relu", [given], ["y"]))
    return model_of(nodes, {"x": [1, math.prod(shape)]}, {"y": size}, weights)


@pytest.mark.parametrize("tail", [["reshape"], []])
def test_window_partition_is_moved_with_fewer_axes(tail: list[str]) -> None:
    model = windows([1, 2, 4, 3, 4, 5], [0, 1, 3, 2, 4, 5], tail)
    samples = {"x": np.arange(480, dtype=np.float32)[None] - 240}
    changed, found = assert_equal_answers(model, samples)
    assert found == ["transpose-rank"]
    inferred = onnx.shape_inference.infer_shapes(changed, data_prop=True).graph
    ranks = {item.name: len(item.type.tensor_type.shape.dim) for item in inferred.value_info}
    before = [node.input[0] for node in changed.graph.node if node.op_type == "Transpose"]
    assert [ranks[name] for name in before] == [4]
    assert "six" not in ranks  # the six axes themselves are gone, not only the transpose


def test_a_transpose_that_needs_six_axes_stays_and_so_do_small_ones() -> None:
    model = windows([2, 2, 2, 2, 2, 2], [5, 4, 3, 2, 1, 0], ["reshape"])
    _, found = assert_equal_answers(model, {"x": np.arange(64, dtype=np.float32)[None]})
    assert found == []
    model = windows([2, 3, 4], [2, 0, 1], ["reshape"])
    assert assert_equal_answers(model, {"x": np.arange(24, dtype=np.float32)[None]})[1] == []


def test_two_large_transposes_in_one_model() -> None:
    shape, order = [1, 2, 4, 3, 4, 5], [0, 1, 3, 2, 4, 5]
    weights = {"in": np.array(shape, np.int64), "flat": np.array([1, -1], np.int64)}
    chain = itertools.pairwise(["x", "f0", "f1"])
    nodes = [
        node
        for at, (taken, given) in enumerate(chain)
        for node in (
            helper.make_node("Reshape", [taken, "in"], [f"six{at}"]),
            helper.make_node("Transpose", [f"six{at}"], [f"t{at}"], perm=order, name=f"move{at}"),
            helper.make_node("Reshape", [f"t{at}", "flat"], [given]),
        )
    ]
    model = model_of([*nodes, helper.make_node("Relu", ["f1"], ["y"])], {"x": [1, 480]}, {"y": [1, 480]}, weights)
    assert assert_equal_answers(model, {"x": np.arange(480, dtype=np.float32)[None]})[1] == ["transpose-rank"] * 2


# Batch and opset


def test_an_open_batch_becomes_one() -> None:
    weights = {"w": np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)}
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Relu", ["h"], ["y"])]
    model = model_of(nodes, {"x": ["batch", 4]}, {"y": ["batch", 3]}, weights)
    changed, found = assert_equal_answers(model, {"x": np.ones((1, 4), np.float32)})
    assert found == ["static-batch"]
    shapes = [
        [size.dim_value for size in item.type.tensor_type.shape.dim]
        for item in (*changed.graph.input, *changed.graph.output)
    ]
    assert shapes == [[1, 4], [1, 3]]


@pytest.mark.parametrize("shape", [["batch", "width"], [1, "width"]])
def test_any_other_open_axis_stays_open(shape: list) -> None:
    model = model_of([helper.make_node("Relu", ["x"], ["y"])], {"x": shape}, {"y": shape})
    assert rewrite(model)[1] == ()


def test_an_output_left_open_behind_known_inputs_is_given_its_shape() -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["rows"]),
        helper.make_node("Concat", ["rows", "rest"], ["wanted"], axis=0),
        helper.make_node("Reshape", ["x", "wanted"], ["y"]),
    ]
    weights = {"zero": np.array([0], np.int64), "rest": np.array([-1], np.int64)}
    model = model_of(nodes, {"x": [1, 2, 3]}, {"y": ["Reshapey_dim_0", "Reshapey_dim_1"]}, weights)
    changed, found = assert_equal_answers(model, {"x": np.arange(6, dtype=np.float32).reshape(1, 2, 3)})
    assert found == ["static-output"]
    assert [size.dim_value for size in changed.graph.output[0].type.tensor_type.shape.dim] == [1, 6]


def test_an_output_whose_shape_hangs_on_the_values_stays_open() -> None:
    nodes = [helper.make_node("NonZero", ["x"], ["at"]), helper.make_node("Cast", ["at"], ["y"], to=FLOAT)]
    model = model_of(nodes, {"x": [1, 4]}, {"y": [2, "count"]})
    changed, found = rewrite(model)
    assert found == ()
    assert not changed.graph.output[0].type.tensor_type.shape.dim[1].HasField("dim_value")


@pytest.mark.parametrize("opset", [11, 12])
def test_an_old_opset_is_raised(opset: int) -> None:
    squeeze = helper.make_node("Squeeze", ["s"], ["q"], axes=[1])  # its axes became an input in opset 13
    nodes = [helper.make_node("Softmax", ["x"], ["s"], axis=2), squeeze, helper.make_node("Relu", ["q"], ["y"])]
    model = model_of(nodes, {"x": [1, 1, 8]}, {"y": [1, 8]}, opset=opset)
    changed, found = assert_equal_answers(model, {"x": np.arange(8, dtype=np.float32).reshape(1, 1, 8)})
    assert found == ["opset"]
    assert changed.opset_import[0].version == 13


def test_an_opset_that_cannot_be_raised_is_refused() -> None:
    model = model_of([helper.make_node("Relu", ["x"], ["y"])], {"x": [1, 4]}, {"y": [1, 4]}, opset=12)
    model.graph.node[0].op_type = "Scatter"  # gone since opset 11
    with pytest.raises(ContractError, match="opset 12 is too old, and could not be raised to 13"):
        rewrite(model)


def test_nothing_to_do_changes_nothing(linear: Path) -> None:
    model = onnx.load(linear)
    changed, found = rewrite(model)
    assert (changed, found) == (model, ())


# Weights that layers share


def test_a_bias_that_an_exporter_shared_becomes_each_layers_own() -> None:
    rng = np.random.default_rng(0)
    weights = {name: rng.normal(size=(4, 4)).astype(np.float32) for name in ("w1", "w2", "w3")}
    weights["zero"] = np.full(4, 0.5, np.float32)
    gemm = [
        helper.make_node("Gemm", [f"h{i}", f"w{i + 1}", bias], [f"h{i + 1}"])
        for i, bias in enumerate(("zero", "same", "zero"))
    ]
    nodes = [
        helper.make_node("Identity", ["zero"], ["same"], name="Identity_1"),
        *gemm,
        helper.make_node("Identity", ["h3"], ["y"]),
    ]
    model = model_of(nodes, {"h0": [1, 4]}, {"y": [1, 4]}, weights)
    changed, found = assert_equal_answers(model, {"h0": rng.normal(size=(1, 4)).astype(np.float32)})
    assert found == ["own-weights"]
    biases = [node.input[2] for node in changed.graph.node if node.op_type == "Gemm"]
    assert len(set(biases)) == 3
    assert kinds(changed) == ["Gemm", "Gemm", "Gemm", "Identity"]  # one of an activation is none of these


# Inputs that are no float32


@pytest.mark.parametrize(("kind", "numpy_kind"), [(TensorProto.UINT8, np.uint8), (TensorProto.FLOAT16, np.float16)])
def test_an_input_that_is_cast_anyway_becomes_float(kind: int, numpy_kind: type) -> None:
    nodes = [
        helper.make_node("Transpose", ["image"], ["chw"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["chw"], ["f"], to=FLOAT),
        helper.make_node("Mul", ["f", "k"], ["y"]),
    ]
    model = model_of(nodes, {"image": [1, 2, 4, 3]}, {"y": [1, 3, 2, 4]}, {"k": np.float32(1 / 255)})
    model.graph.input[0].type.tensor_type.elem_type = kind
    image = (np.random.default_rng(0).random((1, 2, 4, 3)) * 255).astype(numpy_kind)
    changed, found = rewrite(model)
    assert [item.name for item in found] == ["float-input"]
    before, after = answers(model, {"image": image}), answers(changed, {"image": image.astype(np.float32)})
    np.testing.assert_array_equal(before[0], after[0])


def test_an_input_that_is_read_as_bytes_stays() -> None:
    nodes = [helper.make_node("Cast", ["x"], ["f"], to=FLOAT), helper.make_node("Relu", ["f"], ["y"])]
    model = model_of(
        [*nodes, helper.make_node("BitShift", ["x", "x"], ["b"], direction="LEFT")], {"x": [1, 4]}, {"y": [1, 4]}
    )
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    assert rewrite(model)[1] == ()


# Suppression outside the graph


@pytest.mark.parametrize("class_ids", [False, True])
def test_a_graph_is_cut_at_its_boxes_and_scores_and_both_parts_give_the_whole(class_ids: bool) -> None:
    model = detector(class_ids=class_ids)
    head, tail, found = cut_suppression(model)
    assert [item.name for item in found] == ["suppression-outside"]
    assert tail is not None
    assert "NonMaxSuppression" not in kinds(head)
    assert {item.name for item in head.graph.output} >= {"h", "boxes", "scores"}
    assert ("ArgMax" in kinds(tail)) == class_ids  # class numbers are no floats, so that they are taken behind the cut
    for part in (head, tail):
        onnx.checker.check_model(part)
    sample = {"x": np.random.default_rng(1).normal(size=(1, 4)).astype(np.float32)}
    kept, h = answers(model, sample)
    values = dict(zip([item.name for item in head.graph.output], answers(head, sample), strict=True))
    (again,) = answers(tail, {item.name: values[item.name] for item in tail.graph.input})
    assert kept.size
    np.testing.assert_array_equal(again, kept)
    np.testing.assert_array_equal(values["h"], h)


def test_a_suppression_of_constants_is_not_cut() -> None:
    model = detector()
    model.graph.node[5].input[:2] = ["fixed", "fixed_scores"]
    model.graph.initializer.append(numpy_helper.from_array(np.zeros((1, 6, 4), np.float32), "fixed"))
    model.graph.initializer.append(numpy_helper.from_array(np.zeros((1, 1, 6), np.float32), "fixed_scores"))
    del model.graph.node[8:]
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("rows", TensorProto.INT64, None))
    assert cut_suppression(model) == (model, None, ())
