"""The shapes of a graph's values, as far as they are static. Pure over ONNX protos."""

from __future__ import annotations

import onnx


def static_shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Return value -> shape, for those whose shape is known and static."""
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    found = {}
    for item in (*graph.input, *graph.value_info, *graph.output):
        kind = item.type.tensor_type
        if kind.HasField("shape") and all(size.HasField("dim_value") for size in kind.shape.dim):
            found[item.name] = tuple(int(size.dim_value) for size in kind.shape.dim)
    return found
