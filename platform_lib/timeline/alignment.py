"""Estimate one recorder's clock against another's from quantities that both recorded.

Three stages. **Coarse** (`search`): every offset within the search range gets the likelihood that the two recordings,
smoothed and put on one grid, are the same quantity up to gain and bias; that gives the peak, and says when there is none,
or more than one. **Fine** (`least_squares`): Gauss-Newton with Huber weights for offset, drift, and each signal's gain and
bias. The uncertainty is the larger of the formal one and the one that the scatter between time windows shows. **Doubts**
(`doubts`): a clock that stepped in mid-drive, drifts as no crystal does, or a signal of the other sign is refused.

Gain and bias are free, so the units of the two recordings need not agree; their signs must.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from platform_lib.timeline.clock import ClockModel
from platform_lib.timeline.doubts import doubtful_drift, find_step
from platform_lib.timeline.grid import GridPair, common_grid
from platform_lib.timeline.least_squares import Fit, gauss_newton
from platform_lib.timeline.options import AlignmentOptions
from platform_lib.timeline.resampling import Series
from platform_lib.timeline.sampling import sampling_shift_s
from platform_lib.timeline.search import MIN_EVIDENCE_NATS, Coarse, liveliest, search

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SharedSignal:
    """One quantity that both recorders saw, each in its own clock, as scalars (N,); units may differ, signs may not."""

    name: str
    source: Series
    reference: Series


@dataclass(frozen=True, slots=True)
class ClockEstimate:
    """What could be learnt about the source's clock.

    Attributes:
        model: The mapping; None when the signals do not carry it.
        reason: Why there is no model; None when there is one.
        offset_sigma_s: Standard uncertainty of the offset: of the model, or of the search when there is none (wide).
        evidence_nats: Log-likelihood of the best offset over "nothing is shared".
        informative: Names of the signals that contributed.
    """

    model: ClockModel | None
    reason: str | None
    offset_sigma_s: float
    evidence_nats: float
    informative: tuple[str, ...]


def estimate_clock(shared: Sequence[SharedSignal], options: AlignmentOptions | None = None) -> ClockEstimate:
    """Estimate offset and drift of the source clock against the reference clock.

    Args:
        shared: The quantities both recorded; all sources in one clock, all references in the other.
        options: What is assumed of the recorders.

    Returns:
        An estimate whose `model` is None, with the reason, when the signals carry no information (constant speed),
        fit several offsets equally well, or do not overlap: never a guess.
    """
    chosen = options or AlignmentOptions()
    wide_s = chosen.max_offset_s / np.sqrt(3.0)  # standard deviation of "anywhere in the range"
    signals = [(item.name, item.source, item.reference) for item in shared]
    pairs = common_grid(signals, chosen.grid_rules, reach_s=chosen.max_offset_s)
    if not pairs:
        return ClockEstimate(None, "no signal was recorded by both at the same time", wide_s, 0.0, ())
    coarse = search(liveliest(pairs, chosen), chosen)
    reason = _refusal(coarse, chosen)
    if reason is not None:
        return ClockEstimate(None, reason, max(coarse.sigma_s, chosen.max_sigma_s), coarse.evidence_nats, ())
    used = {pair.name for pair in coarse.pairs}
    blur = {item.name: _sampling_shift_s(item, coarse, chosen) for item in shared if item.name in used}
    return _refine([pair for pair in pairs if pair.name in used], blur, coarse, chosen)


def _sampling_shift_s(shared: SharedSignal, coarse: Coarse, options: AlignmentOptions) -> float:
    """Return what sampling does to a signal, looked at in the stretch of the coarse search."""
    pair = next(item for item in coarse.pairs if item.name == shared.name)
    start_ns = pair.origin_ns + round(pair.source.start_s * 1e9)
    stop_ns = pair.origin_ns + round(pair.source.stop_s * 1e9)
    shift_ns = round(coarse.offset_s * 1e9)
    return sampling_shift_s(
        shared.source.between(start_ns, stop_ns),
        shared.reference.between(start_ns + shift_ns, stop_ns + shift_ns),
        options.grid_rules,
    )


def _refusal(coarse: Coarse, options: AlignmentOptions) -> str | None:
    if coarse.opposed:
        return f"{' and '.join(coarse.opposed)}: the two recordings have opposite signs"
    if coarse.evidence_nats < MIN_EVIDENCE_NATS:
        return "the signals carry no information about the clocks (nothing they share changes enough)"
    if coarse.at_edge:
        return f"the best offset lies at the edge of the search range of {options.max_offset_s} s"
    if not coarse.unique:
        return f"several offsets fit equally well (they spread by {coarse.sigma_s:.3f} s)"
    return None


def _refine(
    pairs: Sequence[GridPair], blur: Mapping[str, float], coarse: Coarse, options: AlignmentOptions
) -> ClockEstimate:
    names = tuple(pair.name for pair in pairs)
    origin_ns = pairs[0].origin_ns
    pivot_s, spans = _spans(pairs, coarse)
    fit: Fit | None = Fit(coarse.offset_s, 0.0, np.zeros((2, 2)))
    for start_s, stop_s in spans:
        cut = [replace(pair, source=pair.source.between(start_s, stop_s)) for pair in pairs]
        fit = gauss_newton(cut, blur, fit, pivot_s, options) if fit is not None else None
    if fit is None or abs(fit.offset_s - coarse.offset_s) > options.lobe_s + _drift_room_s(spans, options):
        left = "the least-squares fit left the correlation peak"
        return ClockEstimate(None, left, max(coarse.sigma_s, options.max_sigma_s), coarse.evidence_nats, ())
    model = ClockModel(
        pivot_ns=origin_ns + round(pivot_s * 1e9),
        offset_s=fit.offset_s,
        drift=fit.drift,
        offset_sigma_s=float(np.sqrt(fit.covariance[0, 0] + options.floor_s**2)),
        drift_sigma=float(np.sqrt(fit.covariance[1, 1])),
        covariance_s=float(fit.covariance[0, 1]),
    )
    # The promise holds for the whole drive, and drift makes its ends the worst.
    ends_ns = origin_ns + np.rint(np.array(spans[-1]) * 1e9).astype(np.int64)
    end_sigma_s = float(model.sigma_s(ends_ns).max())
    reason = _doubt(pairs, blur, fit, pivot_s, options)
    if reason is None and model.offset_sigma_s > options.max_sigma_s:
        reason = f"the signals pin the offset to {model.offset_sigma_s * 1e3:.1f} ms only"
    elif reason is None and end_sigma_s > max(options.max_end_sigma_s, options.max_sigma_s):
        reason = (
            f"the signals pin the drift too loosely: at an end of the drive the offset to {end_sigma_s * 1e3:.1f} ms"
        )
    if reason is not None:
        sigma_s = max(end_sigma_s, options.max_sigma_s)
        return ClockEstimate(None, reason, sigma_s, coarse.evidence_nats, ())
    logger.info(
        "clock offset %.4f s +- %.4f s, drift %.1f ppm, from %s",
        fit.offset_s,
        model.offset_sigma_s,
        model.drift_ppm,
        names,
    )
    return ClockEstimate(model, None, model.offset_sigma_s, coarse.evidence_nats, names)


def _doubt(
    pairs: Sequence[GridPair], blur: Mapping[str, float], fit: Fit, pivot_s: float, options: AlignmentOptions
) -> str | None:
    step = find_step(pairs, blur, fit, pivot_s, options)
    if step is not None:
        return (
            f"the clock steps: {step.start_s:.0f} to {step.stop_s:.0f} s into the recording it is off by "
            f"{step.by_s * 1e3:+.0f} ms against the rest"
        )
    start_s = min(pair.source.start_s for pair in pairs)
    return doubtful_drift(fit, max(pair.source.stop_s for pair in pairs) - start_s, options)


def _drift_room_s(spans: Sequence[tuple[float, float]], options: AlignmentOptions) -> float:
    start_s, stop_s = spans[-1]
    return 4.0 * options.drift_prior_ppm * 1e-6 * (stop_s - start_s)


def _spans(pairs: Sequence[GridPair], coarse: Coarse) -> tuple[float, list[tuple[float, float]]]:
    """Return the pivot and growing spans: the coarse stretch, then twice as long, until all is covered (seconds)."""
    first_s = min(pair.source.start_s for pair in pairs)
    last_s = max(pair.source.stop_s for pair in pairs)
    start_s = min(pair.source.start_s for pair in coarse.pairs)
    stop_s = max(pair.source.stop_s for pair in coarse.pairs)
    pivot_s = (start_s + stop_s) / 2.0
    spans = [(start_s, stop_s)]
    while start_s > first_s or stop_s < last_s:
        half_s = stop_s - start_s
        start_s, stop_s = max(first_s, start_s - half_s / 2.0), min(last_s, stop_s + half_s / 2.0)
        spans.append((start_s, stop_s))
    return pivot_s, spans
