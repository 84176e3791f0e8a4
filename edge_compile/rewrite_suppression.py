"""Cuts the suppression of boxes off a graph: the chip ends at boxes and scores, a second model does the rest beside it.

What NonMaxSuppression gives depends on the values in its size, and the chip has static shapes. Everything from there on, and
whatever before it has no static float shape, goes into a model of its own, which reads what the first one gives.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from edge_compile.graph_index import GraphIndex, read_by
from edge_compile.layers import shapes_of
from platform_lib.evidence import Rewrite

_SUPPRESSION = "NonMaxSuppression"


def cut_suppression(
    model: onnx.ModelProto,
) -> tuple[onnx.ModelProto, onnx.ModelProto | None, tuple[Rewrite, ...]]:
    """Return the model up to its boxes and scores, the model that goes on from there, and what was cut.

    The model is returned as it is, with None, where it suppresses nothing or where no static cut is to be found.
    """
    first = next((node for node in model.graph.node if node.op_type == _SUPPRESSION), None)
    if first is None:
        return model, None, ()
    graph, shapes = model.graph, shapes_of(model)
    nodes = list(graph.node)
    behind = _closed(graph, nodes, shapes)
    seams = _seams(graph, nodes, behind)
    made_before = {name for at, node in enumerate(nodes) if at not in behind for name in node.output}
    inputs = {item.name for item in graph.input}
    if not seams or not (set(seams) & made_before) or any(name not in shapes and name not in inputs for name in seams):
        return model, None, ()
    made_behind = {name for at in behind for name in nodes[at].output}
    kept = [item for item in graph.output if item.name not in made_behind]
    head = _part(model, nodes, [*kept, *(_float(name, shapes) for name in seams if name in made_before)])
    tail = _part(
        model,
        [nodes[at] for at in sorted(behind)],
        [item for item in graph.output if item.name in made_behind],
        inputs=[_input(name, graph, shapes) for name in seams],
    )
    name = first.name or str(first.output[0])
    cut = ", ".join(seams)
    what = f"{len(behind)} nodes from the suppression on are in suppression.onnx, which reads {cut}"
    return head, tail, (Rewrite(name="suppression-outside", layer=name, what=what),)


def _closed(graph: onnx.GraphProto, nodes: list[onnx.NodeProto], shapes: Mapping[str, tuple[int, ...]]) -> set[int]:
    """Return the rows behind the cut: the suppression, what reads it, and what gives these no static floats."""
    makers = {name: at for at, node in enumerate(nodes) for name in node.output}
    given = {item.name for item in (*graph.input, *graph.initializer)}
    behind: set[int] = set()
    while True:
        reached = {name for at in behind for name in nodes[at].output}
        found = {
            at
            for at, node in enumerate(nodes)
            if at not in behind and (node.op_type == _SUPPRESSION or read_by(node) & reached)
        }
        found |= {
            makers[name]
            for at in behind | found
            for name in read_by(nodes[at])
            if name in makers and name not in shapes and name not in given
        } - behind
        found |= {at for at in _constants(nodes, behind | found) if at not in behind}
        if not found:
            return behind
        behind |= found


def _constants(nodes: list[onnx.NodeProto], behind: set[int]) -> set[int]:
    """Return the Constant nodes that the part behind reads: a constant is no seam."""
    read = {name for at in behind for name in read_by(nodes[at])}
    return {at for at, node in enumerate(nodes) if node.op_type == "Constant" and node.output[0] in read}


def _seams(graph: onnx.GraphProto, nodes: list[onnx.NodeProto], behind: set[int]) -> tuple[str, ...]:
    weights = {item.name for item in graph.initializer}
    made = {name for at in behind for name in nodes[at].output}
    read = [name for at in sorted(behind) for name in sorted(read_by(nodes[at]))]
    return tuple(dict.fromkeys(name for name in read if name and name not in made and name not in weights))


def _part(
    model: onnx.ModelProto,
    nodes: list[onnx.NodeProto],
    outputs: list[onnx.ValueInfoProto],
    *,
    inputs: list[onnx.ValueInfoProto] | None = None,
) -> onnx.ModelProto:
    """Return the part of a model that makes these outputs of these nodes."""
    part = onnx.ModelProto()
    part.CopyFrom(model)
    graph = part.graph
    for field in (graph.node, graph.output, graph.value_info):
        del field[:]
    wanted, kept = {item.name for item in outputs}, []
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            kept.append(node)
            wanted |= read_by(node)
    graph.node.extend(reversed(kept))
    graph.output.extend({item.name: item for item in outputs}.values())
    if inputs is not None:
        del graph.input[:]
        graph.input.extend(inputs)
    read = set(GraphIndex(graph).readers) | {item.name for item in outputs}
    weights = [item for item in graph.initializer if item.name in read]
    del graph.initializer[:]
    graph.initializer.extend(weights)
    return part


def _input(name: str, graph: onnx.GraphProto, shapes: Mapping[str, tuple[int, ...]]) -> onnx.ValueInfoProto:
    found = next((item for item in graph.input if item.name == name), None)
    return _float(name, shapes) if found is None else found


def _float(name: str, shapes: Mapping[str, tuple[int, ...]]) -> onnx.ValueInfoProto:
    return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, list(shapes[name]))
