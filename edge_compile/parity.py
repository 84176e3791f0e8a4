"""The parity ladder's arithmetic: how far two engines' answers to the same inputs lie apart. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from platform_lib.evidence import OutputDistance, ParityRung, Status

TORCH_ONNX = "torch->onnx"
# The model as it was brought, and as it was rewritten: the same float arithmetic, in another order at most.
ORIGINAL_ONNX = "original->onnx"
ONNX_SIMULATION = "onnx->simulation"
SIMULATION_QDQ = "simulation->qdq"
QDQ_TARGET = "qdq->target"
ONNX_TARGET = "onnx->target"
# Layer by layer the simulation cannot be read, and the QDQ model stands for it.
ONNX_QDQ = "onnx->qdq"

# The SQNR each rung has to reach, in dB: the one place where they are set.
# Source: measured on 2026-11-20 with QNN 2.51.0 and AIMET 2.42.0 on resnet18, a small BEV net and the demo planner.
# w8a8 reached 26-29 dB (onnx->simulation), 30-31 (simulation against target), 26-42 (onnx->target); w8a16 reached
# 32-41, 52, 40-50. Each threshold lies below the worst of them by a few dB.
DEFAULT_THRESHOLDS_DB: dict[str, dict[str, float]] = {
    "fp32": {TORCH_ONNX: 60.0, ORIGINAL_ONNX: 100.0},
    "fp16": {ONNX_TARGET: 40.0},
    "w8a16": {ONNX_SIMULATION: 25.0, SIMULATION_QDQ: 40.0, QDQ_TARGET: 35.0, ONNX_TARGET: 25.0},
    "w8mixed": {ONNX_SIMULATION: 22.0, SIMULATION_QDQ: 35.0, QDQ_TARGET: 30.0, ONNX_TARGET: 22.0},
    # A mix is asked for what w8a16 is asked for between its ends; its widest and narrowest parts meet in conversions.
    "mixed": {ONNX_SIMULATION: 25.0, SIMULATION_QDQ: 35.0, QDQ_TARGET: 30.0, ONNX_TARGET: 25.0},
    # 16 steps a weight: 14 and 10 dB were measured on a BEV net and on resnet18, both with random weights.
    "w4a16": {ONNX_SIMULATION: 12.0, SIMULATION_QDQ: 35.0, QDQ_TARGET: 30.0, ONNX_TARGET: 12.0},
    "w8a8": {ONNX_SIMULATION: 18.0, SIMULATION_QDQ: 25.0, QDQ_TARGET: 22.0, ONNX_TARGET: 18.0},
}
# Where a task's metric judges the model's ends by slice, they only have to be an approximation at all: half the amplitude.
TASK_FLOOR_DB = 6.0
# What a board has to keep to the vendor's emulator of it: both compute the same binary, and no board was here to measure how
# closely. So these are the floors of the rung between the simulation and the emulator or higher, to be set by the first boards.
DEVICE_THRESHOLDS_DB: dict[str, float] = {
    "fp16": 40.0,
    "w8a16": 40.0,
    "w8mixed": 35.0,
    "mixed": 35.0,
    "w4a16": 35.0,
    "w8a8": 25.0,
}
# Ends of the scale: an error without any signal has no finite ratio, and evidence holds finite numbers only.
_SQNR_LIMIT_DB = 300.0

Arrays = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Distance:
    """How far one engine's outputs lie from another's.

    Attributes:
        sqnr_db: The worst output's signal-to-quantization-noise ratio over all samples; None when bit-identical.
        max_abs_error: The largest absolute difference, in the output's unit.
        cosine: The worst output's cosine similarity over all samples; single ones of hardly any length have no direction.
        outputs: Each output alone.
    """

    sqnr_db: float | None
    max_abs_error: float
    cosine: float
    outputs: tuple[OutputDistance, ...] = ()


def sqnr_db(reference: NDArray[np.float32], other: NDArray[np.float32]) -> float | None:
    """Return 10 log10(sum reference^2 / sum (reference - other)^2) in dB, None when there is no difference.

    Source: signal-to-quantization-noise ratio as AIMET and the QNN accuracy tools define it.
    """
    signal = float(np.sum(np.square(reference, dtype=np.float64)))
    noise = float(np.sum(np.square(np.subtract(reference, other, dtype=np.float64))))
    if noise == 0.0:
        return None
    if signal == 0.0:
        return -_SQNR_LIMIT_DB
    return float(np.clip(10.0 * np.log10(signal / noise), -_SQNR_LIMIT_DB, _SQNR_LIMIT_DB))


def distance(reference: Arrays, other: Arrays) -> Distance:
    """Compare two engines' outputs, arrays (N, ...) of the same names and shapes; the worst output counts."""
    outputs = tuple(
        OutputDistance(
            name=name,
            sqnr_db=sqnr_db(reference[name], other[name]),
            max_abs_error=float(np.max(np.abs(np.subtract(reference[name], other[name], dtype=np.float64)))),
            cosine=cosine(reference[name], other[name]),
        )
        for name in reference
    )
    finite = [item.sqnr_db for item in outputs if item.sqnr_db is not None]
    return Distance(
        sqnr_db=min(finite) if finite else None,
        max_abs_error=max(item.max_abs_error for item in outputs),
        cosine=min(item.cosine for item in outputs),
        outputs=outputs,
    )


def rung(
    name: str, precision: str, reference: Arrays | None, other: Arrays | None, *, threshold_db: float, missing: str = ""
) -> ParityRung:
    """Judge one rung: the same frozen inputs through two engines.

    Args:
        name: ``reference engine->other engine``.
        precision: What was compared.
        reference: Output name -> (N, ...) of the first engine, None when it did not run.
        other: The same of the second engine; where it saw fewer samples, the first ones are compared.
        threshold_db: The SQNR to reach; reaching it exactly is a pass.
        missing: Why an engine did not run, if one did not.
    """
    if reference is None or other is None or not reference:
        return _unmeasured(name, precision, "not_run", 0, threshold_db, missing or "an engine did not run")
    samples = min(len(next(iter(reference.values()))), len(next(iter(other.values()))))
    first = {key: value[:samples] for key, value in reference.items()}
    second = {key: other[key][:samples] for key in reference}
    bad = sorted(key for key in first if not (np.isfinite(first[key]).all() and np.isfinite(second[key]).all()))
    if bad:
        reason = f"output '{bad[0]}' holds NaN or infinity"
        return _unmeasured(name, precision, "fail", samples, threshold_db, reason)
    found = distance(first, second)
    passed = found.sqnr_db is None or found.sqnr_db >= threshold_db
    return ParityRung(
        name=name,
        precision=precision,
        status="pass" if passed else "fail",
        samples=samples,
        sqnr_db=found.sqnr_db,
        max_abs_error=found.max_abs_error,
        cosine=found.cosine,
        threshold_db=threshold_db,
        reason=None if passed else f"{found.sqnr_db:.1f} dB, below {threshold_db:.1f} dB",
        outputs=found.outputs,
    )


def thresholds_db(precision: str, tolerance_db: float | None, *, by_task: bool = False) -> dict[str, float]:
    """Return a precision's thresholds; a tolerance replaces the last one, and loosens the simulation's if lower.

    Where a task's metric judges, `TASK_FLOOR_DB` stands in for the tolerance that nobody gave. What two engines make of
    one quantized model has to agree as before.
    """
    found = dict(DEFAULT_THRESHOLDS_DB[precision])
    if by_task and tolerance_db is None and precision != "fp16":
        tolerance_db = TASK_FLOOR_DB
    if tolerance_db is not None and precision != "fp32":
        found[ONNX_TARGET] = tolerance_db
        if ONNX_SIMULATION in found:
            found[ONNX_SIMULATION] = min(found[ONNX_SIMULATION], tolerance_db)
    return found


def _unmeasured(
    name: str, precision: str, status: Status, samples: int, threshold_db: float, reason: str
) -> ParityRung:
    return ParityRung(
        name=name,
        precision=precision,
        status=status,
        samples=samples,
        sqnr_db=None,
        max_abs_error=None,
        cosine=None,
        threshold_db=threshold_db,
        reason=reason,
    )


def cosine(reference: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Return the cosine similarity of two arrays; two of no length are alike."""
    first, second = reference.ravel().astype(np.float64), other.ravel().astype(np.float64)
    lengths = float(np.linalg.norm(first) * np.linalg.norm(second))
    if lengths == 0.0:
        return 1.0 if first.any() == second.any() else 0.0
    return float(np.clip(first @ second / lengths, -1.0, 1.0))
