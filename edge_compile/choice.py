"""Chooses the precision that goes into a bundle. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from edge_compile.checks import FLOAT_REFERENCE
from edge_compile.messages import Objective
from edge_compile.parity import ONNX_TARGET
from edge_compile.task_slices import worst_of
from platform_lib.evidence import CompiledPrecision, ParityRung, SliceScore

# Where the vendor gives no latency, the fewer bits count as faster.
_FEWEST_BITS_FIRST = ("w8a8", "mixed", "w8mixed", "w4a16", "w8a16")


def passes(item: CompiledPrecision, parity: Sequence[ParityRung], task: Sequence[SliceScore] | None = None) -> bool:
    """Say whether a quantized precision passed every check and every rung of its own; what was not run is no pass.

    Where a task's metric was asked for (`task` is not None), every slice has to pass too, on every engine.

    The float rung (torch->onnx) may be missing, where nobody gave torch's outputs, but not failed; the gate asks for it.
    """
    rungs = [rung for rung in parity if rung.precision == item.precision]
    onnx_is_true = all(rung.status != "fail" for rung in parity if rung.precision == "fp32")
    return (
        item.precision != FLOAT_REFERENCE
        and onnx_is_true
        and bool(rungs)
        and all(rung.status == "pass" for rung in rungs)
        and all(check.status == "pass" for check in item.checks)
        and (task is None or _keeps_the_task(item, task))
    )


def _keeps_the_task(item: CompiledPrecision, task: Sequence[SliceScore]) -> bool:
    scores = [score for score in task if score.precision == item.precision]
    return bool(scores) and all(score.status == "pass" for score in scores)


def choose(
    precisions: Sequence[CompiledPrecision],
    parity: Sequence[ParityRung],
    *,
    wanted: str | None = None,
    task: Sequence[SliceScore] | None = None,
    minimise: Objective = "latency",
) -> tuple[str | None, tuple[str, ...]]:
    """Return the precision that goes into a bundle, None when none may, and notes on the choice.

    Args:
        precisions: What was compiled.
        parity: The ladder.
        wanted: The only one to take, if it passes. None for the fastest that passes; among those whose latency lies
            within the fastest's bounds, which decide nothing between them, the one closest to the float model.
        task: The task's metric by slice, None where none was asked for.
        minimise: ``size`` for the smallest binary instead of the fastest, of equally small ones the closest.
    """
    notes = (*_slower_than_float(precisions), *_refused_by_the_task(precisions, task or ()))
    candidates = [item for item in precisions if passes(item, parity, task)]
    if wanted is not None:
        if wanted in {item.precision for item in candidates}:
            return wanted, (*notes, f"{wanted} was asked for")
        return None, (*notes, f"{wanted} was asked for and did not pass every check and every rung of the ladder")
    if not candidates:
        return None, (*notes, "no precision passed every check and every rung of the parity ladder")
    if minimise == "size":
        smallest = min(candidates, key=lambda item: (item.context_bytes, -_closeness_db(item, parity)))
        return smallest.precision, (
            *notes,
            f"{smallest.precision} was chosen for its size, {smallest.context_bytes} bytes",
        )
    latencies = {
        item.precision: item.performance.latency_us.value
        for item in candidates
        if item.performance.latency_us is not None
    }
    if len(latencies) < len(candidates):
        chosen = min(candidates, key=lambda item: _FEWEST_BITS_FIRST.index(item.precision)).precision
        return chosen, (*notes, f"{chosen} was chosen for its fewer bits: the vendor gives no latency for this chip")
    fastest = min(candidates, key=lambda item: latencies[item.precision])
    closest = max(_as_fast_as(fastest, candidates), key=lambda item: _closeness_db(item, parity))
    if closest is fastest:
        return fastest.precision, notes
    said = (
        f"{closest.precision} was chosen over {fastest.precision}, which is no faster within its bounds and less exact"
    )
    return closest.precision, (*notes, said)


def _refused_by_the_task(precisions: Sequence[CompiledPrecision], task: Sequence[SliceScore]) -> tuple[str, ...]:
    """Say of each precision that a slice keeps back which one, and why."""
    found = []
    for item in precisions:
        worst = worst_of(task, item.precision)
        if worst is not None and worst.status != "pass":
            found.append(
                f"{item.precision} is not for slice '{worst.slice}' ({worst.metric}, {worst.engine}): {worst.reason}"
            )
    return tuple(found)


def _as_fast_as(fastest: CompiledPrecision, candidates: Sequence[CompiledPrecision]) -> list[CompiledPrecision]:
    limit = fastest.performance.latency_us
    high = None if limit is None else limit.high
    if high is None:
        return [fastest]
    latencies = [(item, item.performance.latency_us) for item in candidates]
    return [item for item, latency in latencies if item is fastest or (latency is not None and latency.value <= high)]


def _closeness_db(item: CompiledPrecision, parity: Sequence[ParityRung]) -> float:
    """Return a precision's SQNR against the float model on the target; bit-identical is the closest there is."""
    found = [rung.sqnr_db for rung in parity if (rung.name, rung.precision) == (ONNX_TARGET, item.precision)]
    return min((inf if ratio is None else ratio for ratio in found), default=-inf)


def _slower_than_float(precisions: Sequence[CompiledPrecision]) -> tuple[str, ...]:
    reference = next((item for item in precisions if item.precision == FLOAT_REFERENCE), None)
    if reference is None or reference.performance.latency_us is None:
        return ()
    limit_us = reference.performance.latency_us.value
    return tuple(
        f"{item.precision} is estimated slower than float: {item.performance.latency_us.value:g} us against {limit_us:g} us"
        for item in precisions
        if item is not reference and item.performance.latency_us and item.performance.latency_us.value > limit_us
    )
