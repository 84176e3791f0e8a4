"""Reads the compiler's own dumps and says where each node runs and in which data type. Pure over the parsed JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from platform_lib.evidence import GraphSummary

# Source: QNN's public API reference, Qnn_DataType_t (QnnTypes.h): bits in the low byte, the kind above it.
_TYPE_NAMES = {
    0x0008: "int8", 0x0016: "int16", 0x0032: "int32", 0x0064: "int64",
    0x0108: "uint8", 0x0116: "uint16", 0x0132: "uint32", 0x0164: "uint64",
    0x0216: "float16", 0x0232: "float32", 0x0264: "float64",
    0x0304: "sfixed4", 0x0308: "sfixed8", 0x0316: "sfixed16", 0x0332: "sfixed32",
    0x0404: "ufixed4", 0x0408: "ufixed8", 0x0416: "ufixed16", 0x0432: "ufixed32",
    0x0508: "bool",
}  # fmt: skip
_INDEX_TYPES = frozenset({"int8", "int16", "int32", "uint8", "uint16", "uint32", "bool"})
# What a node of a quantized graph may read and write. sfixed32 is the bias; the index types carry no sensor values.
ALLOWED_TYPES: dict[str, frozenset[str]] = {
    "w8a8": _INDEX_TYPES | {"ufixed8", "sfixed8", "sfixed32"},
    "w8a16": _INDEX_TYPES | {"ufixed8", "sfixed8", "ufixed16", "sfixed16", "sfixed32"},
    "w8mixed": _INDEX_TYPES | {"ufixed8", "sfixed8", "ufixed16", "sfixed16", "sfixed32"},
    "mixed": _INDEX_TYPES | {"ufixed8", "sfixed8", "ufixed16", "sfixed16", "sfixed32"},
    "w4a16": _INDEX_TYPES | {"sfixed4", "ufixed4", "ufixed8", "sfixed8", "ufixed16", "sfixed16", "sfixed32"},
}
_GRAPH_INPUT, _GRAPH_OUTPUT = 0, 1  # Source: QNN's public API reference, Qnn_TensorType_t.


class _Dump(BaseModel):
    # The vendor's files carry more than is read here, and may grow: unknown keys are no fault of ours.
    model_config = ConfigDict(extra="ignore", frozen=True)


class Tensor(_Dump):
    """One tensor of the compiled graph: numeric data type, and the role (graph input, output, native, static)."""

    data_type: int
    type: int

    @property
    def type_name(self) -> str:
        """The data type's name; an unknown number stays visible, and is on no allow-list."""
        return _TYPE_NAMES.get(self.data_type, f"unknown(0x{self.data_type:04x})")


class Node(_Dump):
    """One node of the compiled graph."""

    type: str
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]


class _Graph(_Dump):
    nodes: dict[str, Node]
    tensors: dict[str, Tensor]


class GraphDump(_Dump):
    """What ``dump_json_qnn_graph`` writes for one subgraph."""

    graph: _Graph


class UnsupportedNode(_Dump):
    """An ONNX node that the compiler refused."""

    node_name: str
    op_type: str
    reason: str = "refused without a reason"


class OpTraceSummary(_Dump):
    """Counts over the ONNX model's nodes."""

    total_onnx_nodes: int
    supported_nodes: int
    unsupported_nodes: int


class OpTrace(_Dump):
    """What ``enable_framework_op_trace`` writes: every ONNX node's fate."""

    summary: OpTraceSummary
    unsupported_nodes: tuple[UnsupportedNode, ...] = ()


@dataclass(frozen=True, slots=True)
class Offence:
    """A node that reads or writes a data type that its precision does not allow."""

    node: str
    type_name: str


def offences(dump: GraphDump, precision: str) -> tuple[Offence, ...]:
    """Name the nodes outside the allow-list; the casts at the graph's own float inputs and outputs are allowed."""
    allowed = ALLOWED_TYPES[precision]
    found = []
    for name, node in sorted(dump.graph.nodes.items()):
        at_input = node.type == "Quantize" and _roles(dump, node.input_names) == {_GRAPH_INPUT}
        at_output = node.type == "Dequantize" and _roles(dump, node.output_names) == {_GRAPH_OUTPUT}
        names = (() if at_input else node.input_names) + (() if at_output else node.output_names)
        bad = [dump.graph.tensors[key].type_name for key in names if dump.graph.tensors[key].type_name not in allowed]
        if bad:
            found.append(Offence(name, bad[0]))
    return tuple(found)


def computes_quantized(dumps: Iterable[GraphDump]) -> bool:
    """Say whether any node but a cast both reads and writes fixed-point values."""
    for dump in dumps:
        for node in dump.graph.nodes.values():
            if node.type not in ("Quantize", "Dequantize") and any(
                "fixed" in dump.graph.tensors[name].type_name for name in node.output_names
            ):
                return True
    return False


def summarize(dumps: tuple[GraphDump, ...], trace: OpTrace, precision: str, *, cpu_nodes: int) -> GraphSummary:
    """Summarize where the compiled graph's nodes run and in which data types.

    Args:
        dumps: One for each subgraph in the context binary.
        trace: The compiler's account of the ONNX model's nodes.
        precision: ``w8a16``, ``w8a8``, or ``fp16`` (which is float on purpose).
        cpu_nodes: Nodes of the context model that are not the context binary itself.
    """
    outputs = Counter(
        dump.graph.tensors[name].type_name
        for dump in dumps
        for node in dump.graph.nodes.values()
        for name in node.output_names
    )
    offending = [item.node for dump in dumps for item in offences(dump, precision)] if precision != "fp16" else []
    return GraphSummary(
        npu_nodes=sum(len(dump.graph.nodes) for dump in dumps),
        cpu_nodes=cpu_nodes,
        dtypes=dict(sorted(outputs.items())),
        float_nodes=tuple(offending),
        unsupported=unsupported(trace),
    )


def refused_nodes(trace: OpTrace) -> tuple[UnsupportedNode, ...]:
    """Return the ONNX nodes that the compiler refused; the casts around them only if alone."""
    casts = ("QuantizeLinear", "DequantizeLinear")
    return tuple(row for row in trace.unsupported_nodes if row.op_type not in casts) or trace.unsupported_nodes


def unsupported(trace: OpTrace) -> dict[str, str]:
    """Return each of those nodes with the compiler's reason."""
    return {row.node_name: row.reason for row in refused_nodes(trace)}


def _roles(dump: GraphDump, names: tuple[str, ...]) -> set[int]:
    return {dump.graph.tensors[name].type for name in names}
