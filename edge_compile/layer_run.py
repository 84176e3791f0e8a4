"""Runs two models of one graph and compares them layer by layer; loaded by the worker processes alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from edge_compile.layers import compare, makers_of, shapes_of, tapped, taps_of
from edge_compile.messages import LayerReport, LayerRow
from edge_compile.parity import ONNX_QDQ, QDQ_TARGET
from edge_compile.samples import Samples

# Values of so many layers are held at once; what does not fit is run again for the next ones.
_AT_ONCE_BYTES = 256 << 20
_FLOAT_BYTES = 4
_ENGINES = 2
Shapes = Mapping[str, tuple[int, ...]]


def float_to_qdq(
    folded: onnx.ModelProto, qdq: onnx.ModelProto, precision: str, frozen: Samples, *, samples: int, threshold_db: float
) -> LayerReport:
    """Compare the float model with the QDQ model on this machine's CPU.

    Args:
        folded: The float model with its batch norms in its weights, as the QDQ model has them.
        qdq: The QDQ model.
        precision: Its name.
        frozen: Input name -> (N, *shape).
        samples: How many of them to run.
        threshold_db: Below it a layer is broken.
    """
    makers, shapes, taps = makers_of(folded.graph), shapes_of(folded), taps_of(qdq.graph)
    # An output that no quantizer stands behind (a Reshape's) is there under its own name.
    values = {item.name: item.name for item in qdq.graph.output} | {name: tap.value for name, tap in taps.items()}
    layers = [(name, makers[name]) for name in makers if name in values and name in shapes]
    values = {name: values[name] for name, _ in layers}
    one = cpu_session(with_outputs(folded, [name for name, _ in layers], shapes))
    two = cpu_session(with_outputs(qdq, [values[name] for name, _ in layers], {values[k]: shapes[k] for k in values}))
    few = {name: array[:samples] for name, array in frozen.items()}
    rows: list[LayerRow] = []
    for part in parts(layers, shapes, samples):
        first = run_layers(one, few, {name: name for name, _ in part})
        second = run_layers(two, few, {values[name]: name for name, _ in part})
        rows += compare(ONNX_QDQ, precision, part, first, second, threshold_db=threshold_db).rows
    return LayerReport(rung=ONNX_QDQ, precision=precision, samples=samples, threshold_db=threshold_db, rows=tuple(rows))


def tap_model(float_model: Path, qdq: Path, out: Path) -> dict[str, str]:
    """Write the QDQ model with each layer as an output, and return output -> tensor."""
    model, names = tapped(onnx.load(qdq), shapes_of(onnx.load(float_model)))
    onnx.save(model, out)
    return names


def qdq_to_target(
    tapped_model: Path,
    names: Mapping[str, str],
    makers: Mapping[str, str],
    inputs: Samples,
    on_target: Samples,
    *,
    precision: str,
    threshold_db: float,
) -> LayerReport:
    """Compare the tapped QDQ model on the CPU with what the chip answered to the same inputs."""
    found = run_layers(cpu_session(onnx.load(tapped_model)), inputs, names)
    other = {names[output]: values for output, values in on_target.items()}
    layers = [(tensor, layer) for tensor, layer in makers.items() if tensor in found]
    return compare(QDQ_TARGET, precision, layers, found, other, threshold_db=threshold_db)


def with_outputs(model: onnx.ModelProto, names: Iterable[str], shapes: Shapes) -> onnx.ModelProto:
    """Return the model with these tensors as outputs beside its own."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    have = {item.name for item in copy.graph.output}
    copy.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, list(shapes[name]))
        for name in names
        if name not in have
    )
    return copy


def parts(layers: Sequence[tuple[str, str]], shapes: Shapes, samples: int) -> Iterable[list[tuple[str, str]]]:
    """Return the layers in parts whose values may be held at once."""
    part: list[tuple[str, str]] = []
    held = 0
    for name, layer in layers:
        size = math.prod(shapes[name]) * samples * _FLOAT_BYTES * _ENGINES
        if part and held + size > _AT_ONCE_BYTES:
            yield part
            part, held = [], 0
        part.append((name, layer))
        held += size
    if part:
        yield part


def cpu_session(model: onnx.ModelProto) -> Any:
    """Return a session on this machine's CPU that keeps the simulated arithmetic of quantized nodes."""
    options = ort.SessionOptions()
    # As for the ladder: higher levels would replace the simulated arithmetic.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def run_layers(session: Any, samples: Samples, names: Mapping[str, str]) -> Samples:
    """Run each sample alone and return the tensors (N, *shape) under their names in the float model."""
    asked = list(names)
    count = len(next(iter(samples.values())))
    rows: list[list[NDArray[np.float32]]] = [
        session.run(asked, {key: np.asarray(value[row]) for key, value in samples.items()}) for row in range(count)
    ]
    return {names[output]: np.stack([row[at] for row in rows]) for at, output in enumerate(asked)}
