"""Confidence intervals that respect that frames of one drive are alike: whole drives are resampled."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from scipy.stats import t as student_t

from platform_lib.errors import ContractError
from platform_lib.evaluation.rates import wilson
from platform_lib.evidence import Interval

RESAMPLES = 2000
FEWEST = 5
"""Clusters to resample: of fewer, resampling gives only so many means."""
_TAIL = 0.025


def cluster_interval(
    values: NDArray[np.float64],
    clusters: NDArray[Any],
    *,
    seed: int,
    rate: bool = False,
    resamples: int = RESAMPLES,
) -> Interval:
    """Return the mean of `values` with its 95 % interval over clusters: an expanded percentile bootstrap, if there are enough.

    Source: Davison and Hinkley, Bootstrap Methods and their Application (1997), section 3.8: with nested data the
    outer level is resampled whole. Hesterberg, "What teachers should know about the bootstrap", The American Statistician
    69 (2015), section 5: the plain percentile interval of few clusters is too short, by what Student's t is wider than
    the normal distribution and by the bias of a resampled variance. A rate of one trial a cluster,
    or without a change to resample, gets Wilson's interval for as many trials as there are clusters; two to four
    clusters get Student's t interval of their means.

    Args:
        values: (N,) one score a frame.
        clusters: (N,) the drive of each frame.
        seed: Makes the interval repeatable.
        rate: Whether each value is 0 or 1, and their mean how often it is 1.
        resamples: Bootstrap repetitions.

    Returns:
        The interval; its ends are None where there is a single cluster, which says nothing of others.

    Raises:
        ContractError: There is no value, or lengths differ.
    """
    if len(values) == 0 or len(values) != len(clusters):
        raise ContractError(f"{len(values)} values for {len(clusters)} clusters", where="bootstrap")
    _, index = np.unique(clusters, return_inverse=True)
    counts = np.bincount(index).astype(np.float64)
    value = float(values.mean())
    if len(counts) < 2:
        return Interval(value=value, low=None, high=None)
    if rate and (len(counts) == len(values) or value in (0.0, 1.0)):
        low, high = wilson(value, len(counts))
        return Interval(value=value, low=low, high=high)
    sums: NDArray[np.float64] = np.bincount(index, weights=values).astype(np.float64)
    if len(counts) < FEWEST:
        low, high = _student(sums, counts)
        least, most = (0.0 if values.min() >= 0.0 else -np.inf), (1.0 if rate else np.inf)
        return Interval(value=value, low=float(max(low, least)), high=float(min(high, most)))
    generator = np.random.default_rng(seed)
    weights = generator.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), size=resamples)
    means = (weights @ sums) / (weights @ counts)
    tail = _expanded_tail(len(counts))
    low, high = np.quantile(means, (tail, 1.0 - tail))
    return Interval(value=value, low=float(low), high=float(high))


def _student(sums: NDArray[np.float64], counts: NDArray[np.float64]) -> tuple[float, float]:
    """Return Student's t interval of a mean over few clusters of unequal size (a ratio estimate, linearised).

    Source: Cochran, Sampling Techniques (1977), section 6.4: the variance of a ratio of two cluster totals.
    """
    clusters, mean = len(counts), sums.sum() / counts.sum()
    spread = ((sums - mean * counts) ** 2).sum() * clusters / (clusters - 1)
    reach = float(student_t.ppf(1.0 - _TAIL, clusters - 1)) * float(spread) ** 0.5 / counts.sum()
    return mean - reach, mean + reach


@cache
def _expanded_tail(clusters: int) -> float:
    """Return the share to leave out at each end, so that `clusters` of them cover as often as 95 % says."""
    reach = float(student_t.ppf(1.0 - _TAIL, clusters - 1)) * (clusters / (clusters - 1)) ** 0.5
    return float(norm.cdf(-reach))
