"""Which tensor inside a model leaves its calibrated range most, on inputs that hardly do; loaded by the worker processes alone."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, log10

import numpy as np
import onnx
from numpy.typing import NDArray

from edge_compile.layer_run import cpu_session, parts, run_layers, with_outputs
from edge_compile.layers import makers_of, shapes_of, taps_of
from edge_compile.samples import Samples

# Looked at, spread over all there are: a range that matters is left by more than one sample.
_SAMPLES = 16
# A hundredth of the amplitude. What clipping leaves above that is not what a reader has to look at first.
_MATTERS_DB = 40.0


@dataclass(frozen=True, slots=True)
class Range:
    """What a tensor's grid holds: its ends, and half a step of it."""

    low: float
    high: float
    half_step: float


@dataclass(slots=True)
class _Clipped:
    """What clipping one tensor to its range takes away, over the samples so far."""

    values: int = 0
    outside: int = 0
    signal: float = 0.0
    noise: float = 0.0
    farthest: float = 0.0

    def add(self, found: NDArray[np.float32], held: Range) -> None:
        beyond = np.maximum(found - held.high, held.low - found).astype(np.float64)
        outside = beyond > held.half_step
        self.values += found.size
        self.outside += int(outside.sum())
        self.signal += float(np.square(found, dtype=np.float64).sum())
        self.noise += float(np.square(beyond[outside]).sum())
        self.farthest = max(self.farthest, float(np.abs(found).max()))

    @property
    def left_db(self) -> float:
        """What clipping alone leaves, in dB."""
        return inf if not self.noise else 10.0 * log10(max(self.signal, self.noise) / self.noise)


def ranges_of(qdq: onnx.ModelProto) -> dict[str, Range]:
    """Return tensor of the float model -> what its grid in a QDQ model holds; those of one scale alone."""
    constants = {item.name: onnx.numpy_helper.to_array(item) for item in qdq.graph.initializer}
    found = {}
    for name, tap in taps_of(qdq.graph).items():
        scale, zero = (constants.get(item) for item in (*tap.quantized[1:], "")[:2])
        if scale is None or zero is None or scale.size != 1 or zero.dtype.kind not in "iu":
            continue
        step, offset, ends = float(scale.item()), int(zero.item()), np.iinfo(zero.dtype)
        found[name] = Range((ends.min - offset) * step, (ends.max - offset) * step, step / 2)
    return found


def said_of_ranges(folded: onnx.ModelProto, qdq: onnx.ModelProto, frozen: Samples) -> tuple[str, ...]:
    """Name the tensor inside that clipping to its calibrated range harms most; nothing where that is of no account.

    Args:
        folded: The float model whose tensors the QDQ model quantizes.
        qdq: The QDQ model, whose grids say what was calibrated.
        frozen: Input name -> (N, *shape).
    """
    makers, shapes, ranges = makers_of(folded.graph), shapes_of(folded), ranges_of(qdq)
    layers = [(name, makers[name]) for name in makers if name in ranges and name in shapes]
    count = len(next(iter(frozen.values())))
    rows = np.unique(np.linspace(0, count - 1, min(count, _SAMPLES)).astype(int))
    session = cpu_session(with_outputs(folded, [name for name, _ in layers], shapes))
    clipped = {name: _Clipped() for name, _ in layers}
    for row in rows:
        sample = {name: values[row : row + 1] for name, values in frozen.items()}
        for part in parts(layers, shapes, samples=1):
            for name, values in run_layers(session, sample, {name: name for name, _ in part}).items():
                clipped[name].add(values, ranges[name])
    worst = min(clipped, key=lambda name: clipped[name].left_db, default=None)
    if worst is None or clipped[worst].left_db >= _MATTERS_DB:
        return ()
    item, held = clipped[worst], ranges[worst]
    return (
        f"inside, {makers[worst]} leaves its calibrated range most: {item.outside / item.values:.2%} of its values in "
        f"{len(rows)} frozen samples, up to {item.farthest:.3g} where {max(-held.low, held.high):.3g} was seen; clipping alone "
        f"leaves it {item.left_db:.1f} dB: calibrate on samples that are more like these",
    )
