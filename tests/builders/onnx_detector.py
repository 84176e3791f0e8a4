"""A tiny detector that ends in its suppression, written by hand."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT


def model_of(nodes, inputs, outputs, weights=None, opset: int = 17) -> onnx.ModelProto:
    values = [
        [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in specs.items()]
        for specs in (inputs, outputs)
    ]
    constants = [numpy_helper.from_array(np.asarray(value), name) for name, value in (weights or {}).items()]
    graph = helper.make_graph(nodes, "g", *values, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def detector(*, class_ids: bool = False) -> onnx.ModelProto:
    """Boxes and scores of a linear layer; behind the suppression a Gather of the boxes that are left."""
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.normal(size=(4, 24)).astype(np.float32),
        "to_boxes": np.array([1, 6, 4]),
        "to_scores": np.array([1, 1, 6]),
        "most": np.array([4]),
        "overlap": np.array([0.5], np.float32),
        "least": np.array([-9.0], np.float32),
        "last": np.array([2]),
        "zero": np.array(0),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Reshape", ["h", "to_boxes"], ["boxes"]),
        helper.make_node("ReduceMax", ["boxes"], ["best"], axes=[2], keepdims=0),
        helper.make_node("Reshape", ["best", "to_scores"], ["scores"]),
        helper.make_node("ArgMax", ["boxes"], ["classes"], axis=2, keepdims=0),
        helper.make_node("NonMaxSuppression", ["boxes", "scores", "most", "overlap", "least"], ["found"], name="nms"),
        helper.make_node("Gather", ["found", "last"], ["at"], axis=1),
        helper.make_node("Squeeze", ["at"], ["rows"]),
        helper.make_node("Squeeze", ["classes" if class_ids else "boxes"], ["all"]),
        helper.make_node("Gather", ["all", "rows"], ["kept"]),
    ]
    model = model_of(nodes, {"x": [1, 4]}, {"kept": ["n", 4], "h": [1, 24]}, weights)
    if class_ids:
        model.graph.output[0].CopyFrom(helper.make_tensor_value_info("kept", TensorProto.INT64, ["n"]))
    return model
