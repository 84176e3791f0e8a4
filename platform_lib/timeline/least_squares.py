"""Least squares for a clock's offset and drift, with each signal's gain and bias: the fine stage, and its uncertainty."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from platform_lib.timeline.coverage import FloatArray
from platform_lib.timeline.grid import GridPair, effective_count
from platform_lib.timeline.options import AlignmentOptions

logger = logging.getLogger(__name__)

# Huber's constant for 95 % efficiency on Gaussian noise. Source: Huber, Robust Statistics (1981).
_HUBER_SIGMAS = 1.345
_MAX_ITERATIONS = 12
# Below this share of true signal in the squared slope, the fit follows noise.
_MIN_SIGNAL_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class Linearised:
    """One channel around the current clock, its gain and bias already removed from the Jacobian.

    Attributes:
        name: The signal's.
        line: (2,), gain and bias: from the reference's values to the source's.
        scale: Standard deviation of the residual's bulk, in the source's unit.
        worth: How much of an independent sample each correlated one is.
        residual: (N,), in the source's unit.
        jacobian: (N, 2), per second of offset and per unit of drift.
        weight: (N,), one over the variance, Huber's weight and what a correlated sample is worth included.
        window: (N,), number of the time window.
        noise_curvature: What noise in the reference adds to the squared slope: to be taken off the information.
    """

    name: str
    line: FloatArray
    scale: float
    worth: float
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

    def own_offset_s(self, own_sigma_s: float) -> float:
        """Return by how much this channel lies beside the clock, as far as its sampling may have moved it."""
        if own_sigma_s <= 0.0:
            return 0.0
        return float(self.score[0] / (self.information[0, 0] + 1.0 / own_sigma_s**2))


@dataclass(frozen=True, slots=True)
class Fit:
    """A clock, and what it was fitted to.

    Attributes:
        offset_s: At the pivot.
        drift: Seconds a second.
        covariance: (2, 2), of offset and drift.
        data_drift: What the signals alone say, without what is known of crystals.
        data_drift_sigma: Its standard uncertainty; infinite where they say nothing.
        channels: The signals around this clock.
    """

    offset_s: float
    drift: float
    covariance: FloatArray
    data_drift: float = 0.0
    data_drift_sigma: float = float("inf")
    channels: tuple[Linearised, ...] = ()


def gauss_newton(
    pairs: Sequence[GridPair], blur: Mapping[str, float], start: Fit, pivot_s: float, options: AlignmentOptions
) -> Fit | None:
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
        channels = [item for pair in pairs if (item := linearise(pair, clock, pivot_s, options)) is not None]
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
    inflation = _scatter_inflation(freed, covariance) / share**2
    covariance += (inflation - 1.0) * _from_noise(freed, covariance)
    # Scatter says nothing against the prior of the drift: it stays the bound.
    covariance[1, 1] = min(covariance[1, 1], (options.drift_prior_ppm * 1e-6) ** 2)
    # What the signals alone say of the drift, the offset left free.
    alone = float(information[1, 1] - prior[1, 1] - information[0, 1] ** 2 / information[0, 0])
    if alone <= 0.0:
        return Fit(float(clock[0]), float(clock[1]), covariance, channels=tuple(channels))
    data_drift = float(clock[1]) * (alone + float(prior[1, 1])) / alone
    return Fit(
        float(clock[0]), float(clock[1]), covariance, data_drift, float(np.sqrt(inflation / alone)), tuple(channels)
    )


def _without_own_offset(information: FloatArray, own_sigma_s: float) -> FloatArray:
    """Return what (2, 2) takes from a channel's information and score what an unknown offset of its own could explain.

    Source: the Schur complement of that offset, whose prior has the standard deviation `own_sigma_s`.
    """
    own = np.outer(information[:, 0], [1.0, 0.0]) * own_sigma_s**2
    return np.asarray(np.eye(2) - own / (1.0 + information[0, 0] * own_sigma_s**2))


def _from_noise(freed: Sequence[tuple[Linearised, FloatArray]], covariance: FloatArray) -> FloatArray:
    """Return the part of the covariance that comes from noise, not from what sampling may have moved."""
    spread = sum((free @ item.information @ free.T for item, free in freed), np.zeros((2, 2)))
    return np.asarray(covariance @ spread @ covariance)


def linearise(pair: GridPair, clock: FloatArray, pivot_s: float, options: AlignmentOptions) -> Linearised | None:
    """Linearise one channel around a clock (offset and drift); None where fewer than ten of its samples meet."""
    times_s, source = pair.source.samples()
    since_s = times_s - pivot_s
    reference, valid = pair.reference.at(times_s + clock[0] + clock[1] * since_s)
    since_s, source, reference = since_s[valid], source[valid], reference[valid]
    if len(source) < 10:
        return None
    design = np.column_stack([reference[:, 0], np.ones(len(source))])
    solution, residual, huber, scale = _robust_line(design, source)
    # Smoothed residuals are correlated: each counts as the fraction of an independent one that it is worth.
    worth = effective_count(residual) / len(residual)
    weight = huber * worth / scale**2
    columns = solution[0] * np.column_stack([reference[:, 1], reference[:, 1] * since_s])
    root = np.sqrt(weight)[:, None]
    # Frisch-Waugh-Lovell: what gain and bias explain of the clock's columns is no information about the clock.
    explained, *_ = np.linalg.lstsq(design * root, columns * root, rcond=None)
    return Linearised(
        name=pair.name,
        line=solution,
        scale=scale,
        worth=worth,
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


def _scatter_inflation(freed: Sequence[tuple[Linearised, FloatArray]], covariance: FloatArray) -> float:
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
