"""How far two engines lie apart layer by layer, and which layer is the first that breaks. Pure over arrays and ONNX protos.

Quantization errors add up along a graph, so the output's SQNR alone does not say where they come from. In a QDQ model the
value of each quantized tensor is tapped behind its quantizer, and compared with the float model's or with the chip's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx
from numpy.typing import NDArray

from edge_compile.messages import LayerReport, LayerRow
from edge_compile.parity import cosine, sqnr_db
from edge_compile.samples import Samples

Layout = Literal["same", "NHWC"]
_FEATURE_MAP_RANK = 4
_TO_NCHW = (0, 3, 1, 2)
# The other layout is believed where it explains so much more than the one that was said; chance never does.
_LAYOUT_GAIN_DB = 20.0
# AIMET calls what it quantized so, and keeps an output's own name for what comes out behind the quantizer.
_BEHIND = "_updated"
_TAP = "layer_tap_"


@dataclass(frozen=True, slots=True)
class Tap:
    """Where a quantized tensor can be read: its integers with their scale and zero point, and the value behind them."""

    quantized: tuple[str, ...]
    value: str


def taps_of(graph: onnx.GraphProto) -> dict[str, Tap]:
    """Return the float model's tensor -> where the QDQ model holds it, in the order of the graph."""
    behind = {node.input[0]: node for node in graph.node if node.op_type == "DequantizeLinear"}
    outputs = {item.name for item in graph.output}
    found: dict[str, Tap] = {}
    for node in graph.node:
        last = behind.get(node.output[0]) if node.op_type == "QuantizeLinear" else None
        if last is None:
            continue
        bare = node.input[0].removesuffix(_BEHIND)
        name = bare if bare in outputs else str(node.input[0])
        # A second pair of quantizers behind the first converts widths, and is no layer of its own.
        found.setdefault(name, Tap(tuple(last.input), str(last.output[0])))
    return found


def makers_of(graph: onnx.GraphProto) -> dict[str, str]:
    """Return the tensor -> the operator of the float model that makes it, in the order of the graph."""
    return {str(name): f"{node.op_type} '{node.name or name}'" for node in graph.node for name in node.output}


def shapes_of(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Return tensor -> shape, for those whose shape is static and that hold float32."""
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    found = {}
    for item in (*graph.value_info, *graph.output):
        kind = item.type.tensor_type
        sizes = [size.dim_value if size.HasField("dim_value") else 0 for size in kind.shape.dim]
        # Without a shape nothing is known, and that is no scalar.
        if kind.elem_type == onnx.TensorProto.FLOAT and kind.HasField("shape") and all(sizes):
            found[item.name] = tuple(sizes)
    return found


def tapped(qdq: onnx.ModelProto, shapes: Mapping[str, tuple[int, ...]]) -> tuple[onnx.ModelProto, dict[str, str]]:
    """Return the model with every layer of known shape as one more output, and output -> tensor of the float model.

    Each tap is a cast of its own, so that the pairs of quantizers around an operator stay what a compiler looks for.
    """
    model = onnx.ModelProto()
    model.CopyFrom(qdq)
    outputs = {item.name for item in model.graph.output}
    names: dict[str, str] = {}
    for tensor, tap in taps_of(qdq.graph).items():
        if tensor not in shapes or tensor in outputs:
            continue
        name = f"{_TAP}{len(names)}"
        model.graph.node.append(onnx.helper.make_node("DequantizeLinear", list(tap.quantized), [name], name=name))
        model.graph.output.append(
            onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, list(shapes[tensor]))
        )
        names[name] = tensor
    return model, names | {name: name for name in outputs}


def compare(
    rung: str,
    precision: str,
    layers: Sequence[tuple[str, str]],
    reference: Samples,
    other: Samples,
    *,
    threshold_db: float,
) -> LayerReport:
    """Compare layer by layer.

    Args:
        rung: ``reference engine->other engine``.
        precision: What was compared.
        layers: Tensor and the operator that makes it, in the order of the graph.
        reference: Tensor -> (N, *shape) of the first engine.
        other: The same of the second; tensors that it does not have are left out.
        threshold_db: Below it a layer is broken.
    """
    rows = [_row(tensor, layer, reference[tensor], other[tensor]) for tensor, layer in layers if tensor in other]
    return LayerReport(
        rung=rung,
        precision=precision,
        samples=len(next(iter(reference.values()))) if reference else 0,
        threshold_db=threshold_db,
        rows=tuple(rows),
    )


def align(
    reference: NDArray[np.float32], other: NDArray[np.float32]
) -> tuple[NDArray[np.float32], Layout, float | None]:
    """Return `other` in the reference's layout, the layout that it came in, and the SQNR in dB (None: no difference).

    The reference is (N, channels, height, width); the chip's own tensors are (N, height, width, channels). Where the shapes
    do not say which it is, the layout counts that explains the numbers.
    """
    same = reference.shape == other.shape
    ratio = sqnr_db(reference, other) if same else None
    if reference.ndim != _FEATURE_MAP_RANK or other.size != reference.size or (same and ratio is None):
        return other, "same", ratio
    count, channels, height, width = reference.shape
    if not same and other.shape != (count, height, width, channels):
        return other, "same", ratio
    turned = other.reshape(count, height, width, channels).transpose(_TO_NCHW)
    other_ratio = sqnr_db(reference, turned)
    if not same or other_ratio is None or (ratio is not None and other_ratio > ratio + _LAYOUT_GAIN_DB):
        return turned, "NHWC", other_ratio
    return other, "same", ratio


def _row(tensor: str, layer: str, reference: NDArray[np.float32], other: NDArray[np.float32]) -> LayerRow:
    # Samples are stacked before the layer's own batch axis.
    first, second = reference.reshape(-1, *reference.shape[2:]), other.reshape(-1, *other.shape[2:])
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        return LayerRow(
            tensor=tensor, layer=layer, sqnr_db=-300.0, max_abs_error=None, cosine=0.0, layout="same", finite=False
        )
    turned, layout, ratio = align(first, second)
    if turned.shape != first.shape:
        raise ValueError(f"{tensor}: shapes {first.shape} and {second.shape}")
    return LayerRow(
        tensor=tensor,
        layer=layer,
        sqnr_db=ratio,
        max_abs_error=float(np.max(np.abs(np.subtract(first, turned, dtype=np.float64)))),
        cosine=cosine(first, turned),
        layout=layout,
        finite=True,
    )
