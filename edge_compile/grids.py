"""Which tensors are coordinates that GridSample samples at: 256 steps are too coarse for them. Pure over ONNX protos.

Source: HTP of QNN 2.51.0 sampled a grid in 8 bits at 13.6 dB and one in 16 bits at 61.6 dB; measured on 2026-11-20.
"""

from __future__ import annotations

import onnx

from edge_compile.graph_index import GraphIndex

# Operators that carry coordinates on, so that what they read has to be as fine as what they give.
_CARRY = frozenset(
    {"Add", "Sub", "Mul", "Div", "Neg", "Clip", "Concat", "Split", "Slice", "Gather", "Expand"}
    | {"Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Identity"}
)


def grid_tensors(graph: onnx.GraphProto) -> dict[str, tuple[str, ...]]:
    """Return each GridSample with the tensors that carry its coordinates: the grid, and what it was computed from."""
    index = GraphIndex(graph)
    found: dict[str, tuple[str, ...]] = {}
    for node in graph.node:
        if node.op_type != "GridSample":
            continue
        tensors: dict[str, None] = {}
        waiting = [str(node.input[1])]
        while waiting:
            name = waiting.pop()
            if name in tensors or not name:
                continue
            tensors[name] = None
            maker = index.producers.get(name)
            if maker is not None and maker.op_type in _CARRY:
                waiting += [str(item) for item in maker.input]
        found[node.name or str(node.output[0])] = tuple(tensors)
    return found


def said_of_grids(precision: str, grids: dict[str, tuple[str, ...]]) -> list[str]:
    """Say how fine the coordinates of every GridSample are, where they are not as fine as everything else."""
    names = ", ".join(f"'{name}'" for name in grids)
    if grids and precision == "w8mixed":
        return [f"w8mixed: the coordinates that GridSample {names} samples at have 16 bits"]
    if grids and precision == "w8a8":
        return [f"w8a8: GridSample {names} samples at coordinates of 8 bits; w8mixed gives them 16, and takes longer"]
    return []
