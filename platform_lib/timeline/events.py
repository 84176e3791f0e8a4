"""Estimate one recorder's clock from events that both stamped: sync messages, trigger pulses, shared counters.

Each pair gives the difference of the clocks at once, so there is no search: a robust line through the differences,
whose residuals also tell its uncertainty. Pairs that were matched wrongly, or that waited in a queue, are outliers; more
of them than agree on one line is no clock.
"""

from __future__ import annotations

import numpy as np

from platform_lib.errors import ContractError
from platform_lib.timeline.alignment import ClockEstimate
from platform_lib.timeline.clock import ClockModel
from platform_lib.timeline.coverage import BoolArray, FloatArray, Int64Array
from platform_lib.timeline.options import AlignmentOptions

_FEWEST_PAIRS = 8
# A line has to be agreed on by clearly more pairs than not: with half of them anything else would do as well.
_LEAST_SHARE = 0.6
_OUTLIER_SIGMAS = 4.0
# Delays are never negative: where pairs scatter by more than this, what is common to all of them is as large, and unseen.
_MOST_SCATTER_S = 0.02
_ROUNDS = 10
_TRIES = 200
_LEAST_SCALE_S = 1e-6  # no stamp of two recorders agrees better; it keeps a perfect fit from being infinitely certain


def pair_events(
    source_ns: Int64Array, reference_ns: Int64Array, *, source_number: Int64Array, reference_number: Int64Array
) -> tuple[Int64Array, Int64Array]:
    """Pair the stamps of events that carry a number; what only one recorder has, or has twice, is left out.

    Args:
        source_ns: (N,) stamps of one recorder.
        reference_ns: (M,) of the other.
        source_number: (N,) which event each is. A counter that wraps around has to be unwrapped before.
        reference_number: (M,) the same.

    Returns:
        Two arrays of equal length, ordered by the events' numbers.

    Raises:
        ContractError: Stamps and numbers differ in length.
    """
    if len(source_ns) != len(source_number) or len(reference_ns) != len(reference_number):
        raise ContractError("stamps and numbers differ in length", where="timeline.pair_events")
    ours, first, count = np.unique(source_number, return_index=True, return_counts=True)
    theirs, other, other_count = np.unique(reference_number, return_index=True, return_counts=True)
    ours, first = ours[count == 1], first[count == 1]
    theirs, other = theirs[other_count == 1], other[other_count == 1]
    _, left, right = np.intersect1d(ours, theirs, assume_unique=True, return_indices=True)
    return source_ns[first[left]], reference_ns[other[right]]


def estimate_clock_from_events(
    source_ns: Int64Array, reference_ns: Int64Array, options: AlignmentOptions | None = None
) -> ClockEstimate:
    """Estimate offset and drift of the source clock from pairs of stamps.

    Args:
        source_ns: (N,) int64, when the source stamped each event.
        reference_ns: (N,) when the reference stamped the same events.
        options: `max_offset_s`, `drift_prior_ppm`, `floor_s` and `max_sigma_s` are used.

    Returns:
        An estimate whose `model` is None, with the reason, where too few pairs agree with each other. Its
        `evidence_nats` is the log-likelihood that the line has over "any offset in the search range".

    Raises:
        ContractError: The two differ in length.
    """
    chosen = options or AlignmentOptions()
    if len(source_ns) != len(reference_ns):
        raise ContractError(
            f"{len(source_ns)} and {len(reference_ns)} stamps are no pairs",
            where="timeline.estimate_clock_from_events",
            remedy="pair them with pair_events",
        )
    near = np.abs(reference_ns - source_ns) <= chosen.max_offset_s * 1e9
    pairs = int(near.sum())
    if pairs < _FEWEST_PAIRS or pairs < _LEAST_SHARE * len(source_ns):
        return _refused(f"{pairs} of {len(source_ns)} event pairs lie within {chosen.max_offset_s} s", chosen)
    difference_s: FloatArray = np.asarray((reference_ns - source_ns)[near] * 1e-9, dtype=np.float64)
    source_ns = source_ns[near]
    pivot_ns = int(source_ns[0]) + int(np.mean(source_ns - source_ns[0]))
    since_s: FloatArray = np.asarray((source_ns - pivot_ns) * 1e-9, dtype=np.float64)
    line, scale_s, agree = _consensus(since_s, difference_s, chosen)
    if scale_s > _MOST_SCATTER_S:
        return _refused(f"event pairs scatter by {scale_s * 1e3:.0f} ms: they do not agree on one clock", chosen)
    if agree.sum() < max(_FEWEST_PAIRS, _LEAST_SHARE * pairs):
        return _refused(f"only {int(agree.sum())} of {pairs} event pairs agree on one clock", chosen)
    covariance = _covariance(since_s[agree], difference_s[agree] - _at(line, since_s[agree]), scale_s, chosen)
    sigma_s = float(np.sqrt(covariance[0, 0] + chosen.floor_s**2))
    evidence = float(agree.sum() * np.log(max(chosen.max_offset_s / scale_s, 1.0)))
    if sigma_s > chosen.max_sigma_s:
        return ClockEstimate(None, f"the events pin the offset to {sigma_s * 1e3:.1f} ms only", sigma_s, evidence, ())
    model = ClockModel(
        pivot_ns, float(line[0]), float(line[1]), sigma_s, float(np.sqrt(covariance[1, 1])), float(covariance[0, 1])
    )
    return ClockEstimate(model, None, sigma_s, evidence, (f"{int(agree.sum())} of {pairs} events",))


def _refused(reason: str, options: AlignmentOptions) -> ClockEstimate:
    return ClockEstimate(None, reason, options.max_offset_s / float(np.sqrt(3.0)), 0.0, ())


def _at(line: FloatArray, since_s: FloatArray) -> FloatArray:
    return np.asarray(line[0] + line[1] * since_s)


def _consensus(
    since_s: FloatArray, difference_s: FloatArray, options: AlignmentOptions
) -> tuple[FloatArray, float, BoolArray]:
    """Return the line (offset, drift), the scatter around it, and which pairs agree with it.

    It begins at the line through two pairs with the least median deviation, among drawn ones, and is then fitted to what
    lies near. Source: least median of squares, Rousseeuw (1984), followed by reweighted least squares.
    """
    rng = np.random.default_rng(0)  # the same pairs give the same clock
    drawn = rng.integers(0, len(since_s), (_TRIES, 2))
    run_s = since_s[drawn[:, 1]] - since_s[drawn[:, 0]]
    steep = np.where(run_s == 0.0, np.inf, (difference_s[drawn[:, 1]] - difference_s[drawn[:, 0]])) / np.where(
        run_s == 0.0, 1.0, run_s
    )
    drift = np.where(np.abs(steep) <= 10.0 * options.drift_prior_ppm * 1e-6, steep, 0.0)
    start_s = difference_s[drawn[:, 0]] - drift * since_s[drawn[:, 0]]
    medians = [np.median(np.abs(difference_s - a - b * since_s)) for a, b in zip(start_s, drift, strict=True)]
    best = int(np.argmin(medians))
    line, scale_s = np.array([start_s[best], drift[best]]), max(1.4826 * float(medians[best]), _LEAST_SCALE_S)
    agree = np.abs(difference_s - _at(line, since_s)) <= _OUTLIER_SIGMAS * scale_s
    for _ in range(_ROUNDS):
        line = _fitted(since_s[agree], difference_s[agree], scale_s, options)
        away_s = np.abs(difference_s - _at(line, since_s))
        scale_s = max(1.4826 * float(np.median(away_s[agree])), _LEAST_SCALE_S)
        settled, agree = agree, away_s <= _OUTLIER_SIGMAS * scale_s
        if np.array_equal(settled, agree):
            break
    return line, scale_s, agree


def _information(since_s: FloatArray, scale_s: float, options: AlignmentOptions) -> FloatArray:
    design = np.column_stack([np.ones(len(since_s)), since_s])
    return np.asarray(design.T @ design / scale_s**2 + np.diag([0.0, 1.0 / (options.drift_prior_ppm * 1e-6) ** 2]))


def _fitted(since_s: FloatArray, difference_s: FloatArray, scale_s: float, options: AlignmentOptions) -> FloatArray:
    score = np.array([difference_s.sum(), since_s @ difference_s]) / scale_s**2
    return np.asarray(np.linalg.solve(_information(since_s, scale_s, options), score))


def _covariance(since_s: FloatArray, residual_s: FloatArray, scale_s: float, options: AlignmentOptions) -> FloatArray:
    """Return the covariance (2, 2); delays that wander (a queue, a temperature) count as the few samples they are worth."""
    order = np.argsort(since_s, kind="stable")
    return np.asarray(np.linalg.inv(_information(since_s, scale_s, options)) * _wandering(residual_s[order]))


def _wandering(residual: FloatArray) -> float:
    """Return how much more a mean of these residuals scatters than if they were independent; at least 1.

    By batch means: the root of N residuals stays together, and their means scatter.
    Source: Geyer, Practical Markov Chain Monte Carlo (1992), section 3.2.
    """
    length = max(int(np.sqrt(len(residual))), 2)
    batches = len(residual) // length
    if batches < 4:
        return 4.0 if len(residual) < 2 * _FEWEST_PAIRS else 1.5
    means = residual[: batches * length].reshape(batches, length).mean(axis=1)
    spread = float(residual.var())
    return max(1.0, length * float(means.var(ddof=1)) / spread) if spread > 0.0 else 1.0
