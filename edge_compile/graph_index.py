"""Who makes and who reads each value of an ONNX graph, and what its constants are. Pure over ONNX protos."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import onnx
from numpy.typing import NDArray


class GraphIndex:
    """An index of one graph as it is now; after a change, make another.

    Attributes:
        producers: Value -> the node that makes it.
        readers: Value -> the nodes that read it, branches inside nodes included.
        outputs: The graph's own outputs.
    """

    __slots__ = ("_constants", "outputs", "producers", "readers")

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.producers = {name: node for node in graph.node for name in node.output}
        self.readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in graph.node:
            for name in read_by(node):
                self.readers[name].append(node)
        self.outputs = {item.name for item in graph.output}
        self._constants = {item.name: item for item in graph.initializer}
        for node in graph.node:
            if node.op_type == "Constant":
                made = [item.t for item in node.attribute if item.name == "value"]
                self._constants |= dict(zip(node.output, made, strict=False))

    def constant(self, name: str) -> NDArray[np.generic] | None:
        """Return the value of a constant, None if it is none."""
        found = self._constants.get(name)
        return None if found is None else onnx.numpy_helper.to_array(found)

    def is_scalar(self, name: str, value: float) -> bool:
        """Say whether a constant is one number, near enough to `value` for a float of 32 bits."""
        found = self.constant(name)
        return found is not None and found.size == 1 and bool(np.isclose(float(found.reshape(())), value, rtol=1e-4))

    def only_reader(self, name: str, kind: str) -> onnx.NodeProto | None:
        """Return the one node that reads a value, if there is no other, it is of this kind, and the value is no output."""
        nodes = self.readers.get(name, [])
        alone = len(nodes) == 1 and name not in self.outputs and nodes[0].op_type == kind
        return nodes[0] if alone else None


def read_by(node: onnx.NodeProto) -> set[str]:
    """Name what a node reads, the branches inside it included."""
    found = set(node.input)
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                found |= read_by(inner)
    return found


def replace_nodes(
    graph: onnx.GraphProto, at: onnx.NodeProto, dropped: list[onnx.NodeProto], added: list[onnx.NodeProto]
) -> None:
    """Put nodes where `at` stands, and take `dropped` (which may hold it) away; every other node object stays valid."""
    place = next(row for row, node in enumerate(graph.node) if node is at)
    for row, node in enumerate(added):
        graph.node.insert(place + row, node)
    for row in reversed(range(len(graph.node))):
        if any(graph.node[row] is node for node in dropped):
            del graph.node[row]
