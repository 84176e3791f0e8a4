"""Estimate one recorder's clock against another's from quantities that both recorded.

Two stages. **Coarse**: every offset within the search range gets the likelihood that the two recordings, smoothed and
put on one grid, are the same quantity up to gain and bias; that gives the peak, and says when there is none, or more
than one. **Fine**: Gauss-Newton least squares with Huber weights for offset, drift, and each signal's gain and bias.
The uncertainty is the larger of the formal one and the one that the scatter between time windows shows.

Gain and bias are free, so the units of the two recordings need not agree; their signs must.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from platform_lib.errors import ContractError
from platform_lib.timeline.clock import ClockModel
from platform_lib.timeline.coverage import BoolArray, FloatArray
from platform_lib.timeline.grid import GridPair, GridRules, common_grid, effective_count
from platform_lib.timeline.resampling import Series
from platform_lib.timeline.sampling import sampling_shift_s

logger = logging.getLogger(__name__)

# Twice the log-likelihood ratio is chi-squared with one degree of freedom when nothing is shared (Wilks' theorem), so
# 12 nats leave a chance of 1e-6 for one offset, about 1e-4 over the ~100 distinct ones in the search range.
_MIN_EVIDENCE_NATS = 12.0
# How much worse, in nats, every offset away from the peak has to be. Where nothing but noise distinguishes offsets, the
# likelihood still differs by about sqrt(n)/2 for n independent samples (the standard deviation of n/2 log of a variance
# ratio); twice that is asked on top of a likelihood ratio of 400 : 1.
_MIN_MARGIN_NATS = 6.0
# Huber's constant for 95 % efficiency on Gaussian noise. Source: Huber, Robust Statistics (1981).
_HUBER_SIGMAS = 1.345
_MAX_ITERATIONS = 12
# A second peak that explains this much of what the best one explains is a repetition. Noise and model error set both peaks
# back alike, so a ratio sees through them; the likelihoods of a thousand samples do not.
_REPETITION = 0.9
# Below this share of true signal in the squared slope, the fit follows noise.
_MIN_SIGNAL_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class AlignmentOptions:
    """What is assumed of the two recorders.

    Attributes:
        max_offset_s: Offsets beyond this are not searched.
        drift_prior_ppm: Standard deviation of clock drift before anything is seen; a plain crystal keeps 50 ppm.
        grid_s: Step of the common grid.
        smooth_s: Standard deviation of the Gaussian both signals are smoothed with.
        max_gap_s: Neighbouring samples farther apart than this are not joined.
        window_s: Length of the windows whose scatter checks the uncertainty.
        coarse_span_s: The coarse stage looks at the liveliest stretch of this length.
        lobe_s: The coarse peak's half width; another offset outside it that fits as well means ambiguity.
        floor_s: Uncertainty that no amount of data removes: a bus message sent every 10 ms is 0 to 10 ms old.
        max_sigma_s: With a larger uncertainty than this no clock is returned. 3 ms: of what passes, and
            little of it comes near, 99 % is within 5 ms.
    """

    max_offset_s: float = 2.5
    drift_prior_ppm: float = 50.0
    grid_s: float = 0.01
    smooth_s: float = 0.1
    max_gap_s: float = 0.25
    window_s: float = 2.5
    coarse_span_s: float = 120.0
    lobe_s: float = 0.3
    floor_s: float = 0.002
    max_sigma_s: float = 0.003

    def __post_init__(self) -> None:
        if not (0.0 < self.grid_s <= self.smooth_s < self.lobe_s < self.max_offset_s):
            raise ContractError(
                "grid_s <= smooth_s < lobe_s < max_offset_s does not hold", where="timeline.AlignmentOptions"
            )

    @property
    def grid_rules(self) -> GridRules:
        """How recordings are put on the common grid."""
        return GridRules(self.grid_s, self.smooth_s, self.max_gap_s)


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


@dataclass(frozen=True, slots=True)
class _Coarse:
    offset_s: float
    sigma_s: float
    evidence_nats: float
    unique: bool
    at_edge: bool
    pairs: tuple[GridPair, ...]


@dataclass(frozen=True, slots=True)
class _Fit:
    offset_s: float
    drift: float
    covariance: FloatArray  # (2, 2), offset and drift


@dataclass(frozen=True, slots=True)
class _Linearised:
    """One channel around the current clock, its gain and bias already removed from the Jacobian.

    Attributes:
        name: The signal's.
        residual: (N,), in the source's unit.
        jacobian: (N, 2), per second of offset and per unit of drift.
        weight: (N,), one over the variance, Huber's weight and what a correlated sample is worth included.
        window: (N,), number of the time window.
        noise_curvature: What noise in the reference adds to the squared slope: to be taken off the information.
    """

    name: str
    residual: FloatArray
    jacobian: FloatArray
    weight: FloatArray
    window: FloatArray
    noise_curvature: float

    @property
    def information(self) -> FloatArray:
        """(2, 2), of offset and drift."""
        return np.asarray(self.jacobian.T @ (self.weight[:, None] * self.jacobian))

    @property
    def score(self) -> FloatArray:
        """(2,), the gradient."""
        return np.asarray(self.jacobian.T @ (self.weight * self.residual))


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
    coarse = _search(_liveliest(pairs, chosen), chosen)
    reason = _refusal(coarse, chosen)
    if reason is not None:
        return ClockEstimate(None, reason, max(coarse.sigma_s, chosen.max_sigma_s), coarse.evidence_nats, ())
    used = {pair.name for pair in coarse.pairs}
    blur = {item.name: _sampling_shift_s(item, coarse, chosen) for item in shared if item.name in used}
    return _refine([pair for pair in pairs if pair.name in used], blur, coarse, chosen)


def _sampling_shift_s(shared: SharedSignal, coarse: _Coarse, options: AlignmentOptions) -> float:
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


def _refusal(coarse: _Coarse, options: AlignmentOptions) -> str | None:
    if coarse.evidence_nats < _MIN_EVIDENCE_NATS:
        return "the signals carry no information about the clocks (nothing they share changes enough)"
    if coarse.at_edge:
        return f"the best offset lies at the edge of the search range of {options.max_offset_s} s"
    if not coarse.unique:
        return f"several offsets fit equally well (they spread by {coarse.sigma_s:.3f} s)"
    return None


def _liveliest(pairs: Sequence[GridPair], options: AlignmentOptions) -> list[GridPair]:
    """Cut a long recording to the stretch in which its signals vary most; drift is nothing over that length."""
    length = round(options.coarse_span_s / options.grid_s)
    total = max(pair.source.values.size for pair in pairs)
    if total <= length:
        return list(pairs)
    scores = []
    for start in range(0, total - length // 2, length):
        score = 0.0
        for pair in pairs:
            values, valid = pair.source.values[start : start + length], pair.source.valid[start : start + length]
            spread = pair.source.values[pair.source.valid].std() if pair.source.valid.any() else 0.0
            if valid.sum() > length // 4 and spread > 0.0:
                score += float(values[valid].std() / spread)
        scores.append((score, start))
    start = max(scores)[1]
    return [replace(pair, source=pair.source.cut(start, start + length)) for pair in pairs]


def _search(pairs: Sequence[GridPair], options: AlignmentOptions) -> _Coarse:
    """Give every offset on the grid its log-likelihood, gain and bias profiled out."""
    reach = round(options.max_offset_s / options.grid_s)
    lags = np.arange(-reach, reach + 1)
    likelihood, explained = np.zeros(len(lags)), np.zeros(len(lags))
    samples = 0.0
    contributing = []
    for pair in pairs:
        inner = pair.inner(reach)
        correlation = np.array([inner.correlation(int(lag)) for lag in lags])
        best = int(np.argmax(correlation))
        effective = inner.effective_samples(int(lags[best]))
        gain = -0.5 * effective * np.log1p(-(np.clip(correlation, 0.0, 1.0 - 1e-9) ** 2))
        likelihood += gain
        if gain[best] > _MIN_EVIDENCE_NATS / 2.0:
            contributing.append(pair)
            samples += effective
            explained += effective * np.clip(correlation, 0.0, 1.0) ** 2
    best = int(np.argmax(likelihood))
    offsets_s = lags * options.grid_s
    plausible = likelihood >= likelihood[best] - _MIN_MARGIN_NATS - np.sqrt(samples)
    plausible |= _peaks(explained) & (explained >= _REPETITION * explained[best])
    lobe = np.abs(offsets_s - offsets_s[best]) <= options.lobe_s
    return _Coarse(
        offset_s=float(offsets_s[best]),
        sigma_s=float(max(offsets_s[plausible].std(), options.grid_s)),
        evidence_nats=float(likelihood[best]),
        unique=bool(lobe[plausible].all()),
        at_edge=abs(int(lags[best])) > reach - round(2 * options.smooth_s / options.grid_s),
        pairs=tuple(contributing),
    )


def _peaks(values: FloatArray) -> BoolArray:
    """Say where a course (N,) is higher than on both sides; its ends are no peaks."""
    found = np.zeros(len(values), dtype=np.bool_)
    found[1:-1] = (values[1:-1] > values[:-2]) & (values[1:-1] >= values[2:])
    return found


def _refine(
    pairs: Sequence[GridPair], blur: Mapping[str, float], coarse: _Coarse, options: AlignmentOptions
) -> ClockEstimate:
    names = tuple(pair.name for pair in pairs)
    origin_ns = pairs[0].origin_ns
    pivot_s, spans = _spans(pairs, coarse)
    fit: _Fit | None = _Fit(coarse.offset_s, 0.0, np.zeros((2, 2)))
    for start_s, stop_s in spans:
        cut = [replace(pair, source=pair.source.between(start_s, stop_s)) for pair in pairs]
        fit = _gauss_newton(cut, blur, fit, pivot_s, options) if fit is not None else None
    if fit is None or abs(fit.offset_s - coarse.offset_s) > options.lobe_s + _drift_room_s(spans, options):
        reason = "the least-squares fit left the correlation peak"
        return ClockEstimate(None, reason, max(coarse.sigma_s, options.max_sigma_s), coarse.evidence_nats, ())
    sigma_s = float(np.sqrt(fit.covariance[0, 0] + options.floor_s**2))
    if sigma_s > options.max_sigma_s:
        reason = f"the signals pin the offset to {sigma_s * 1e3:.1f} ms only"
        return ClockEstimate(None, reason, sigma_s, coarse.evidence_nats, ())
    model = ClockModel(
        pivot_ns=origin_ns + round(pivot_s * 1e9),
        offset_s=fit.offset_s,
        drift=fit.drift,
        offset_sigma_s=sigma_s,
        drift_sigma=float(np.sqrt(fit.covariance[1, 1])),
        covariance_s=float(fit.covariance[0, 1]),
    )
    logger.info("clock offset %.4f s +- %.4f s, drift %.1f ppm, from %s", fit.offset_s, sigma_s, model.drift_ppm, names)
    return ClockEstimate(model, None, sigma_s, coarse.evidence_nats, names)


def _drift_room_s(spans: Sequence[tuple[float, float]], options: AlignmentOptions) -> float:
    start_s, stop_s = spans[-1]
    return 4.0 * options.drift_prior_ppm * 1e-6 * (stop_s - start_s)


def _spans(pairs: Sequence[GridPair], coarse: _Coarse) -> tuple[float, list[tuple[float, float]]]:
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


def _gauss_newton(
    pairs: Sequence[GridPair], blur: Mapping[str, float], start: _Fit, pivot_s: float, options: AlignmentOptions
) -> _Fit | None:
    """Minimise the weighted squares over offset and drift; None where only noise would pin them.

    Args:
        pairs: The channels.
        blur: By name, how far sampling alone may have moved each: an offset of its own that is not asked for.
        start: Where to begin.
        pivot_s: Where the offset holds.
        options: What is assumed of the recorders.
    """
    clock = np.array([start.offset_s, start.drift])
    prior = np.diag([0.0, 1.0 / (options.drift_prior_ppm * 1e-6) ** 2])
    for _ in range(_MAX_ITERATIONS):
        channels = [item for pair in pairs if (item := _linearise(pair, clock, pivot_s, options)) is not None]
        freed = [(item, _without_own_offset(item.information, blur[item.name])) for item in channels]
        information = prior + sum((free @ item.information for item, free in freed), np.zeros((2, 2)))
        score = sum((free @ item.score for item, free in freed), -prior @ clock)
        if not np.isfinite(information).all() or information[0, 0] <= 0.0:
            return None
        step = np.linalg.solve(information, score)
        clock = clock + np.clip(step, [-options.smooth_s, -1e-3], [options.smooth_s, 1e-3])
        if abs(step[0]) < 1e-6 and abs(step[1]) < 1e-8:
            break
    else:
        logger.info("clock fit did not settle in %d iterations", _MAX_ITERATIONS)
    # Noise in the reference has slopes too; they look like information and are none. The second derivative of the
    # squares tells: its expectation is the squared slope of the signal alone.
    total = sum(float(item.information[0, 0]) for item in channels)
    share = 1.0 - sum(channel.noise_curvature for channel in channels) / total
    if share < _MIN_SIGNAL_SHARE:
        return None
    covariance: FloatArray = np.asarray(np.linalg.inv(information), dtype=np.float64)
    covariance += (_scatter_inflation(freed, covariance) / share**2 - 1.0) * _from_noise(freed, covariance)
    # Scatter says nothing against the prior of the drift: it stays the bound.
    covariance[1, 1] = min(covariance[1, 1], (options.drift_prior_ppm * 1e-6) ** 2)
    return _Fit(float(clock[0]), float(clock[1]), covariance)


def _without_own_offset(information: FloatArray, own_sigma_s: float) -> FloatArray:
    """Return what (2, 2) takes from a channel's information and score what an unknown offset of its own could explain.

    Source: the Schur complement of that offset, whose prior has the standard deviation `own_sigma_s`.
    """
    own = np.outer(information[:, 0], [1.0, 0.0]) * own_sigma_s**2
    return np.asarray(np.eye(2) - own / (1.0 + information[0, 0] * own_sigma_s**2))


def _from_noise(freed: Sequence[tuple[_Linearised, FloatArray]], covariance: FloatArray) -> FloatArray:
    """Return the part of the covariance that comes from noise, not from what sampling may have moved."""
    spread = sum((free @ item.information @ free.T for item, free in freed), np.zeros((2, 2)))
    return np.asarray(covariance @ spread @ covariance)


def _linearise(pair: GridPair, clock: FloatArray, pivot_s: float, options: AlignmentOptions) -> _Linearised | None:
    times_s, source = pair.source.samples()
    since_s = times_s - pivot_s
    reference, valid = pair.reference.at(times_s + clock[0] + clock[1] * since_s)
    since_s, source, reference = since_s[valid], source[valid], reference[valid]
    if len(source) < 10:
        return None
    design = np.column_stack([reference[:, 0], np.ones(len(source))])
    solution, residual, huber, scale = _robust_line(design, source)
    # Smoothed residuals are correlated: each counts as the fraction of an independent one that it is worth.
    weight = huber * (effective_count(residual) / len(residual)) / scale**2
    columns = solution[0] * np.column_stack([reference[:, 1], reference[:, 1] * since_s])
    root = np.sqrt(weight)[:, None]
    # Frisch-Waugh-Lovell: what gain and bias explain of the clock's columns is no information about the clock.
    explained, *_ = np.linalg.lstsq(design * root, columns * root, rcond=None)
    return _Linearised(
        name=pair.name,
        residual=residual,
        jacobian=columns - design @ explained,
        weight=weight,
        window=np.floor(since_s / options.window_s),
        noise_curvature=float(weight @ (residual * solution[0] * reference[:, 2])),
    )


def _robust_line(design: FloatArray, target: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, float]:
    """Fit by iteratively reweighted least squares; return solution, residual, Huber's weights and noise scale."""
    huber = np.ones(len(target))
    smallest = 1e-6 * float(np.ptp(target)) + 1e-12
    for _ in range(4):
        root = np.sqrt(huber)
        solution = np.asarray(np.linalg.lstsq(design * root[:, None], target * root, rcond=None)[0], dtype=np.float64)
        residual = target - design @ solution
        # The median absolute deviation times 1.4826 is the standard deviation of Gaussian noise.
        scale = max(1.4826 * float(np.median(np.abs(residual))), smallest)
        huber = np.minimum(1.0, _HUBER_SIGMAS * scale / np.maximum(np.abs(residual), smallest))
    return solution, residual, huber, scale


def _scatter_inflation(freed: Sequence[tuple[_Linearised, FloatArray]], covariance: FloatArray) -> float:
    """Compare the scatter of the windows' scores with what the formal covariance expects; at least 1.

    Source: the cluster-robust ("sandwich") variance, Liang and Zeger (1986), with windows as clusters.
    """
    meat = np.zeros((2, 2))
    clusters = 0
    for channel, free in freed:
        gradient = channel.jacobian * (channel.weight * channel.residual)[:, None]
        number = (channel.window - channel.window.min()).astype(np.intp)
        scores = np.stack([np.bincount(number, column) for column in gradient.T], axis=1) @ free.T
        meat += scores.T @ scores
        clusters += int(np.count_nonzero(np.bincount(number)))
    if clusters < 3:
        return 4.0  # too few windows to see any scatter
    sandwich = covariance @ meat @ covariance * (clusters / (clusters - 2))
    return max(1.0, float(sandwich[0, 0] / _from_noise(freed, covariance)[0, 0]))
