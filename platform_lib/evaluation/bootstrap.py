"""Confidence intervals that respect that frames of one drive are alike: whole drives are resampled."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from platform_lib.errors import ContractError
from platform_lib.evidence import Interval

RESAMPLES = 2000
_TAILS_PERCENT = (2.5, 97.5)


def cluster_interval(
    values: NDArray[np.float64], clusters: NDArray[Any], *, seed: int, resamples: int = RESAMPLES
) -> Interval:
    """Return the mean of `values` with its 95 % percentile-bootstrap interval over clusters.

    Source: Davison and Hinkley, Bootstrap Methods and their Application (1997), section 3.8: with nested data the
    outer level is resampled whole.

    Args:
        values: (N,) one score a frame.
        clusters: (N,) the drive of each frame.
        seed: Makes the interval repeatable.
        resamples: Bootstrap repetitions.

    Returns:
        The interval; its ends are None where there is a single cluster, since one drive says nothing about others.

    Raises:
        ContractError: There is no value, or lengths differ.
    """
    if len(values) == 0 or len(values) != len(clusters):
        raise ContractError(f"{len(values)} values for {len(clusters)} clusters", where="bootstrap")
    _, index = np.unique(clusters, return_inverse=True)
    counts = np.bincount(index).astype(np.float64)
    if len(counts) < 2:
        return Interval(value=float(values.mean()), low=None, high=None)
    sums = np.bincount(index, weights=values)
    generator = np.random.default_rng(seed)
    weights = generator.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), size=resamples)
    means = (weights @ sums) / (weights @ counts)
    low, high = np.percentile(means, _TAILS_PERCENT)
    return Interval(value=float(values.mean()), low=float(low), high=float(high))
