"""Inputs of bytes or of half floats become float32 where the graph casts them to it anyway; the numbers stay the same."""

from __future__ import annotations

from dataclasses import dataclass

import onnx

from edge_compile.graph_index import GraphIndex
from platform_lib.evidence import Rewrite

_FLOAT = onnx.TensorProto.FLOAT
# float32 holds every value of these exactly.
CAST_TYPES = {onnx.TensorProto.UINT8: "uint8", onnx.TensorProto.INT8: "int8", onnx.TensorProto.FLOAT16: "float16"}
# Operators that move numbers and compute none, so that they do the same in any type.
_MOVERS = frozenset({"Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Slice", "Identity"})


@dataclass(frozen=True, slots=True)
class _Way:
    """The casts that an input ends in, and the nodes on the way there."""

    casts: list[onnx.NodeProto]
    movers: list[onnx.NodeProto]


def float_inputs(model: onnx.ModelProto) -> tuple[Rewrite, ...]:
    """Take the cast off each input that is one of `CAST_TYPES` and is cast to float32 before anything is computed."""
    graph, found = model.graph, []
    for item in graph.input:
        kind = item.type.tensor_type
        name = CAST_TYPES.get(kind.elem_type)
        way = None if name is None else _way(GraphIndex(graph), item.name)
        if way is None:
            continue
        kind.elem_type = _FLOAT
        for cast in way.casts:
            _rename(graph, str(cast.output[0]), str(cast.input[0]))
        rows = [row for row, node in enumerate(graph.node) if any(node is cast for cast in way.casts)]
        for row in reversed(rows):
            del graph.node[row]
        moved = {str(name) for node in way.movers for name in node.output}
        stale = [row for row, value in enumerate(graph.value_info) if value.name in moved]
        for row in reversed(stale):
            del graph.value_info[row]
        what = f"an input of {name} that the graph casts to float32 is float32"
        found.append(Rewrite(name="float-input", layer=item.name, what=what))
    return tuple(found)


def _way(index: GraphIndex, name: str) -> _Way | None:
    """Return the way of an input to its casts; None where something else reads it, or an output is on the way."""
    way, waiting = _Way([], []), [name]
    while waiting:
        value = waiting.pop()
        readers = index.readers.get(value, [])
        if value in index.outputs or not readers:
            return None
        for node in readers:
            if node.op_type == "Cast" and _casts_to_float(node) and node.output[0] not in index.outputs:
                way.casts.append(node)
            elif node.op_type in _MOVERS and node.input[0] == value:
                way.movers.append(node)
                waiting.append(str(node.output[0]))
            else:
                return None
    return way


def _casts_to_float(node: onnx.NodeProto) -> bool:
    return any(item.name == "to" and item.i == _FLOAT for item in node.attribute)


def _rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    for node in graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                _rename(inner, old, new)
