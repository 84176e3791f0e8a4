"""Gives every operator of a QDQ graph one width: where 8-bit values meet 16-bit ones, a second pair of quantizers converts.

No operator of the chip reads one width and writes another. A tensor keeps the width that the quantizer gave it; the
operators around it compute in 16 bits where any of their tensors has 16. Pure over ONNX protos.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np
import onnx
from numpy.typing import NDArray

from edge_compile.graph_index import GraphIndex

_CASTS = ("QuantizeLinear", "DequantizeLinear")
# Each of the 256 steps is one of the 65,536, without loss: 255 * 257 = 65535 covers the same range exactly. Signed
# ranges are not symmetric, so that 257 would leave theirs.
_FACTORS: dict[np.dtype[np.generic], tuple[int, type[np.generic]]] = {
    np.dtype(np.uint8): (257, np.uint16),
    np.dtype(np.int8): (256, np.int16),
}
_BIASED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
# Where a constant is an operand like any other. Elsewhere it is a weight, of 8 bits whatever the width around it.
# Source: HTP of QNN 2.51.0 refused a LayerNormalization of 16 bits with its weight widened; seen on 2026-11-30.
_OPERANDS = ("Add", "Sub", "Mul", "Div", "Max", "Min", "Pow", "Where", "Concat")


@dataclass(slots=True)
class _Cluster:
    """Operators with no quantizer between them, which the chip runs as one.

    Attributes:
        reads: Operator, the place of its input, the cast that gives it.
        writes: Operator and the cast that takes its output.
    """

    reads: list[tuple[onnx.NodeProto, int, onnx.NodeProto]] = field(default_factory=list)
    writes: list[tuple[onnx.NodeProto, onnx.NodeProto]] = field(default_factory=list)


def unify_widths(model: onnx.ModelProto) -> int:
    """Insert the conversions, in place; return how many there are."""
    graph = model.graph
    index = GraphIndex(graph)
    added: dict[str, list[onnx.NodeProto]] = defaultdict(list)  # name of the value they follow -> nodes
    widened: dict[str, str] = {}
    count = 0
    for cluster in _clusters(graph, index):
        casts = [cast for _, _, cast in cluster.reads] + [cast for _, cast in cluster.writes]
        if not any(_dtype(index, cast) in (np.uint16, np.int16) for cast in casts):
            continue
        for node, at, cast in cluster.reads:
            if _dtype(index, cast) not in _FACTORS:
                continue
            name = str(cast.output[0])
            if name not in widened:
                widened[name] = f"{name}_wide"
                added[name] += _pair(graph, index, cast, name, widened[name])
                count += 1
            if at == 0 and node.op_type in _BIASED:
                _rescale_biases(graph, index, node, cast)
            node.input[at] = widened[name]
        for node, cast in cluster.writes:
            if _dtype(index, cast) in _FACTORS:
                made = str(cast.input[0])
                added[made] += _pair(graph, index, cast, made, f"{made}_narrow")
                cast.input[0] = f"{made}_narrow"
                count += 1
                del node
    _insert(graph, added)
    _drop_unread(graph)
    return count


def _drop_unread(graph: onnx.GraphProto) -> None:
    """Take away the casts whose reader took another: the compiler refuses one of a bias that nobody reads."""
    index = GraphIndex(graph)
    for row in reversed(range(len(graph.node))):
        node = graph.node[row]
        read = any(name in index.readers or name in index.outputs for name in node.output)
        if node.op_type == "DequantizeLinear" and not read:
            del graph.node[row]


def _clusters(graph: onnx.GraphProto, index: GraphIndex) -> list[_Cluster]:
    nodes = [node for node in graph.node if node.op_type not in (*_CASTS, "Constant")]
    place = {id(node): at for at, node in enumerate(nodes)}
    parent = list(range(len(nodes)))

    def root(at: int) -> int:
        while parent[at] != at:
            at = parent[at]
        return at

    found: dict[int, _Cluster] = defaultdict(_Cluster)
    for at, node in enumerate(nodes):
        for name in node.input:
            maker = index.producers.get(name)
            if maker is not None and id(maker) in place:
                parent[root(at)] = root(place[id(maker)])
    for at, node in enumerate(nodes):
        cluster = found[root(at)]
        for spot, name in enumerate(node.input):
            maker = index.producers.get(name)
            if maker is not None and maker.op_type == "DequantizeLinear" and _is_activation(index, maker, node):
                cluster.reads.append((node, spot, maker))
        cluster.writes += [
            (node, reader)
            for name in node.output
            for reader in index.readers.get(name, [])
            if reader.op_type == "QuantizeLinear"
        ]
    return list(found.values())


def _is_activation(index: GraphIndex, cast: onnx.NodeProto, reader: onnx.NodeProto) -> bool:
    """Say whether a cast gives a feature map, or a constant that takes part as one; weights have their own rules."""
    stored = index.constant(str(cast.input[0]))
    if stored is None:
        return True
    return reader.op_type in _OPERANDS and stored.dtype == np.uint8 and _scale(index, cast).size == 1


def _dtype(index: GraphIndex, cast: onnx.NodeProto) -> np.dtype[np.generic] | None:
    zero = index.constant(str(cast.input[2])) if len(cast.input) > 2 else None
    return None if zero is None else zero.dtype


def _scale(index: GraphIndex, cast: onnx.NodeProto) -> NDArray[np.generic]:
    found = index.constant(str(cast.input[1]))
    return np.ones((), np.float32) if found is None else found


def _pair(
    graph: onnx.GraphProto, index: GraphIndex, cast: onnx.NodeProto, taken: str, given: str
) -> list[onnx.NodeProto]:
    """Return a pair of 16-bit quantizers over the range of an 8-bit one."""
    zero = index.constant(str(cast.input[2]))
    assert zero is not None  # noqa: S101 - the caller asked for its dtype
    factor, wide = _FACTORS[zero.dtype]
    scale = _scale(index, cast).astype(np.float32) / np.float32(factor)
    numbers = {f"{given}_scale": scale, f"{given}_zero": (zero.astype(np.int32) * factor).astype(wide)}
    graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in numbers.items())
    make = onnx.helper.make_node
    return [
        make("QuantizeLinear", [taken, *numbers], [f"{given}_q"], name=f"{given}_q"),
        make("DequantizeLinear", [f"{given}_q", *numbers], [given], name=given),
    ]


def _rescale_biases(graph: onnx.GraphProto, index: GraphIndex, node: onnx.NodeProto, cast: onnx.NodeProto) -> None:
    """Keep the rule that a bias counts in steps of input times weight, now that the input's steps are finer."""
    zero = index.constant(str(cast.input[2]))
    assert zero is not None  # noqa: S101 - the caller asked for its dtype
    factor, _ = _FACTORS[zero.dtype]
    places = [(node, 2)] if len(node.input) > 2 else []
    # A MatMul's bias is the constant that an Add behind it takes.
    if node.op_type == "MatMul":
        places += [(sum_, at) for sum_ in index.readers[str(node.output[0])] for at in (0, 1) if sum_.op_type == "Add"]
    for reader, at in places:
        bias = index.producers.get(str(reader.input[at]))
        stored = None if bias is None or bias.op_type != "DequantizeLinear" else index.constant(str(bias.input[0]))
        if bias is None or stored is None or stored.dtype != np.int32:
            continue
        finer = stored.astype(np.int64) * factor
        # Where it does not fit, its own scale stays: the value is right, and the compiler takes it or refuses it by name.
        if np.abs(finer).max(initial=0) <= np.iinfo(np.int32).max:
            _put_bias(
                graph,
                reader,
                at,
                bias,
                finer.astype(np.int32),
                _scale(index, bias).astype(np.float32) / np.float32(factor),
            )


def _put_bias(
    graph: onnx.GraphProto,
    reader: onnx.NodeProto,
    at: int,
    bias: onnx.NodeProto,
    values: NDArray[np.int32],
    scale: NDArray[np.generic],
) -> None:
    name = f"{reader.input[at]}_fine"
    numbers = {f"{name}_int": values, f"{name}_scale": scale}
    graph.initializer.extend(onnx.numpy_helper.from_array(value, key) for key, value in numbers.items())
    inputs = [*numbers, *bias.input[2:3]]
    fine = onnx.helper.make_node("DequantizeLinear", inputs, [f"{name}_dq"], name=f"{name}_dq")
    fine.attribute.extend(bias.attribute)
    graph.node.insert(0, fine)
    reader.input[at] = f"{name}_dq"


def _insert(graph: onnx.GraphProto, added: dict[str, list[onnx.NodeProto]]) -> None:
    """Put each group of nodes behind the node that makes the value it reads."""
    for row in reversed(range(len(graph.node))):
        for name in graph.node[row].output:
            for node in reversed(added.get(name, [])):
                graph.node.insert(row + 1, node)
