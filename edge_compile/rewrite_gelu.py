"""Finds the GELU that exporters below opset 20 write out with Erf, which the chip has not, and makes it one Gelu."""

from __future__ import annotations

import math

import onnx

from edge_compile.graph_index import GraphIndex, replace_nodes
from platform_lib.evidence import Rewrite

# ONNX has Gelu since then. onnxruntime's own (com.microsoft) needs no newer opset, but AIMET cannot infer its types.
# Source: https://onnx.ai/onnx/operators/onnx__Gelu.html, and aimet-onnx 2.42.0, 2026-11-30.
GELU_OPSET = 20
_RUNTIME_DOMAIN = "com.microsoft"


def has_gelu(model: onnx.ModelProto) -> bool:
    """Say whether there is a GELU to be made one node of ONNX's own."""
    index = GraphIndex(model.graph)
    return any(
        _is_runtimes(node) or (node.op_type == "Erf" and _match(index, node) is not None) for node in model.graph.node
    )


def fuse_gelu(model: onnx.ModelProto) -> tuple[Rewrite, ...]:
    """Replace every written-out GELU of the graph by one node, and onnxruntime's by ONNX's; an Erf that is none stays."""
    found = []
    for node in [node for node in model.graph.node if _is_runtimes(node)]:
        node.domain = ""
        what = "onnxruntime's Gelu became ONNX's, which is the same"
        found.append(Rewrite(name="runtime-gelu", layer=node.name or str(node.output[0]), what=what))
    for erf in [node for node in model.graph.node if node.op_type == "Erf"]:
        matched = _match(GraphIndex(model.graph), erf)
        if matched is None:
            continue
        taken, last, parts = matched
        name = erf.name or f"gelu_{last.output[0]}"
        gelu = onnx.helper.make_node("Gelu", [taken], [last.output[0]], name=name, approximate="none")
        replace_nodes(model.graph, last, [*parts, last], [gelu])
        found.append(Rewrite(name="erf-gelu", layer=name, what=f"{len(parts) + 1} nodes around an Erf became one Gelu"))
    return tuple(found)


def _is_runtimes(node: onnx.NodeProto) -> bool:
    return node.op_type == "Gelu" and node.domain == _RUNTIME_DOMAIN


def _match(index: GraphIndex, erf: onnx.NodeProto) -> tuple[str, onnx.NodeProto, list[onnx.NodeProto]] | None:
    """Return the GELU's input, its last node, and the nodes before that which go with it."""
    scaled = index.producers.get(erf.input[0])
    taken = None if scaled is None else _scaled(index, scaled)
    plus = index.only_reader(erf.output[0], "Add")
    if scaled is None or taken is None or plus is None or index.only_reader(erf.input[0], "Erf") is None:
        return None
    if not any(index.is_scalar(name, 1.0) for name in plus.input):
        return None
    product = index.only_reader(plus.output[0], "Mul")
    if product is None:
        return None
    other = _other(product, plus.output[0])
    parts = [scaled, erf, plus]
    half = index.producers.get(other)
    if half is not None and half.op_type == "Mul" and taken in half.input and _halves(index, half, taken):
        own = index.only_reader(other, "Mul") is not None
        return taken, product, [*parts, half] if own else parts
    last = index.only_reader(product.output[0], "Mul")
    if last is None:
        return None
    rest = _other(last, product.output[0])
    whole = (other == taken and index.is_scalar(rest, 0.5)) or (rest == taken and index.is_scalar(other, 0.5))
    return (taken, last, [*parts, product]) if whole else None


def _scaled(index: GraphIndex, node: onnx.NodeProto) -> str | None:
    """Return x where a node computes x / sqrt 2."""
    if node.op_type == "Div" and index.is_scalar(node.input[1], math.sqrt(2.0)):
        return str(node.input[0])
    if node.op_type == "Mul":
        for at in (0, 1):
            if index.is_scalar(node.input[at], math.sqrt(0.5)):
                return str(node.input[1 - at])
    return None


def _halves(index: GraphIndex, node: onnx.NodeProto, taken: str) -> bool:
    return index.is_scalar(_other(node, taken), 0.5)


def _other(node: onnx.NodeProto, name: str) -> str:
    return str(node.input[1] if node.input[0] == name else node.input[0])
