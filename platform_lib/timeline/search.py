"""Which offset between two recordings is the most likely: the coarse stage, over the whole search range."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from platform_lib.timeline.coverage import BoolArray, FloatArray
from platform_lib.timeline.grid import GridPair
from platform_lib.timeline.options import AlignmentOptions

# Twice the log-likelihood ratio is chi-squared with one degree of freedom when nothing is shared (Wilks' theorem), so
# 12 nats leave a chance of 1e-6 for one offset, about 1e-4 over the ~100 distinct ones in the search range.
MIN_EVIDENCE_NATS = 12.0
# How much worse, in nats, every offset away from the peak has to be. Where nothing but noise distinguishes offsets, the
# likelihood still differs by about sqrt(n)/2 for n independent samples (the standard deviation of n/2 log of a variance
# ratio); twice that is asked on top of a likelihood ratio of 400 : 1.
_MIN_MARGIN_NATS = 6.0
# A second peak that explains this much of what the best one explains is a repetition. Noise and model error set both peaks
# back alike, so a ratio sees through them; the likelihoods of a thousand samples do not.
_REPETITION = 0.9


@dataclass(frozen=True, slots=True)
class Coarse:
    """The likeliest offset.

    Attributes:
        offset_s: The offset.
        sigma_s: Spread of all offsets that are plausible.
        evidence_nats: Its log-likelihood over "nothing is shared".
        unique: No other offset is plausible.
        at_edge: It lies at the edge of the search range.
        opposed: Signals that agree only when one side's sign is turned.
        pairs: The signals that contributed.
    """

    offset_s: float
    sigma_s: float
    evidence_nats: float
    unique: bool
    at_edge: bool
    opposed: tuple[str, ...]
    pairs: tuple[GridPair, ...]


def liveliest(pairs: Sequence[GridPair], options: AlignmentOptions) -> list[GridPair]:
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


def search(pairs: Sequence[GridPair], options: AlignmentOptions) -> Coarse:
    """Give every offset on the grid its log-likelihood, gain and bias profiled out."""
    reach = round(options.max_offset_s / options.grid_s)
    lags = np.arange(-reach, reach + 1)
    likelihood, explained = np.zeros(len(lags)), np.zeros(len(lags))
    samples = 0.0
    contributing = []
    opposite: dict[str, FloatArray] = {}
    for pair in pairs:
        inner = pair.inner(reach)
        correlation = np.array([inner.correlation(int(lag)) for lag in lags])
        best = int(np.argmax(correlation))
        effective = inner.effective_samples(int(lags[best]))
        gain = _log_likelihood(correlation, effective)
        likelihood += gain
        opposite[pair.name] = _log_likelihood(-correlation, effective) - gain
        if gain[best] > MIN_EVIDENCE_NATS / 2.0:
            contributing.append(pair)
            samples += effective
            explained += effective * np.clip(correlation, 0.0, 1.0) ** 2
    best = int(np.argmax(likelihood))
    offsets_s = lags * options.grid_s
    plausible = likelihood >= likelihood[best] - _MIN_MARGIN_NATS - np.sqrt(samples)
    plausible |= _peaks(explained) & (explained >= _REPETITION * explained[best])
    lobe = np.abs(offsets_s - offsets_s[best]) <= options.lobe_s
    return Coarse(
        offset_s=float(offsets_s[best]),
        sigma_s=float(max(offsets_s[plausible].std(), options.grid_s)),
        evidence_nats=float(likelihood[best]),
        unique=bool(lobe[plausible].all()),
        opposed=_opposed(opposite, best, contributing),
        at_edge=abs(int(lags[best])) > reach - round(2 * options.smooth_s / options.grid_s),
        pairs=tuple(contributing),
    )


def _log_likelihood(correlation: FloatArray, effective: float) -> FloatArray:
    """Return the log-likelihood of each lag (N,) over "nothing is shared", from correlations and a sample count."""
    return np.asarray(-0.5 * effective * np.log1p(-(np.clip(correlation, 0.0, 1.0 - 1e-9) ** 2)))


def _opposed(opposite: dict[str, FloatArray], best: int, contributing: Sequence[GridPair]) -> tuple[str, ...]:
    """Name the signals for which turning a sign explains far more: at the clock, or anywhere while nothing has one."""
    least = 2.0 * MIN_EVIDENCE_NATS
    if contributing:
        return tuple(name for name, gain in opposite.items() if gain[best] > least)
    return tuple(name for name, gain in opposite.items() if gain.max() > least)


def _peaks(values: FloatArray) -> BoolArray:
    """Say where a course (N,) is higher than on both sides; its ends are no peaks."""
    found = np.zeros(len(values), dtype=np.bool_)
    found[1:-1] = (values[1:-1] > values[:-2]) & (values[1:-1] >= values[2:])
    return found
