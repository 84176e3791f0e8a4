"""Gives each layer weights of its own, where an exporter let layers share what happens to be equal.

torch's exporter keeps one of several equal tensors (biases that are all zero, fresh batch norms) and hands it to the other
layers through an Identity. AIMET then finds no one scale for the bias, and quantizes nothing.
"""

from __future__ import annotations

import onnx

from edge_compile.graph_index import GraphIndex
from platform_lib.evidence import Rewrite

# A vector costs next to nothing to copy; larger weights that layers share stay one.
_COPIED_RANK = 1


def own_weights(model: onnx.ModelProto) -> tuple[Rewrite, ...]:
    """Read weights without an Identity between, and copy each vector for every further node that reads it."""
    graph = model.graph
    weights = {item.name: item for item in graph.initializer}
    outputs = {item.name for item in graph.output}
    aliases = {
        str(node.output[0]): str(node.input[0])
        for node in graph.node
        if node.op_type == "Identity" and node.output[0] not in outputs
    }
    resolved = {name: found for name in aliases if (found := _end_of(name, aliases)) in weights}
    inner = {name for node in graph.node for attribute in node.attribute for name in _read_inside(attribute)}
    resolved = {name: found for name, found in resolved.items() if name not in inner}
    for node in graph.node:
        if node.output[0] not in resolved:
            node.input[:] = [resolved.get(name, name) for name in node.input]
    for row in reversed(range(len(graph.node))):
        if graph.node[row].output[0] in resolved:
            del graph.node[row]
    copied = _copy_vectors(graph, weights)
    if not resolved and not copied:
        return ()
    what = f"{len(resolved)} weights are read without an Identity, {copied} vectors that layers shared are copied"
    return (Rewrite(name="own-weights", layer="", what=what),)


def _end_of(name: str, aliases: dict[str, str]) -> str:
    while name in aliases:
        name = aliases[name]
    return name


def _read_inside(attribute: onnx.AttributeProto) -> list[str]:
    """Name what a branch reads, which keeps its Identities."""
    return [str(name) for graph in (attribute.g, *attribute.graphs) for node in graph.node for name in node.input]


def _copy_vectors(graph: onnx.GraphProto, weights: dict[str, onnx.TensorProto]) -> int:
    copied = 0
    readers = GraphIndex(graph).readers
    for name, tensor in weights.items():
        if len(tensor.dims) != _COPIED_RANK or tensor.data_type != onnx.TensorProto.FLOAT:
            continue
        for place, node in enumerate(readers.get(name, [])[1:]):
            own = f"{name}_own{place + 1}"
            if name not in node.input:  # read inside a branch
                continue
            copy = onnx.TensorProto()
            copy.CopyFrom(tensor)
            copy.name = own
            graph.initializer.append(copy)
            node.input[:] = [own if item == name else item for item in node.input]
            copied += 1
    return copied
