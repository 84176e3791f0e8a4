"""How likely a pool is to change in the next tick, by its age and the hour of the day (pure).

A logistic regression on the ticks of a history, one for pools that are up and one for pools that are down. What the
history says little about is drawn to a prior, which is what such pools have in common.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cost.spot.model import Bools, Floats

HOUR_S = 3600.0
DAY_S = 86400.0
_THURSDAY, _SATURDAY = 3, 5  # 1970 began on a Thursday; Monday is 0
EDGES_MIN = (0.0, 5.0, 11.0, 24.0, 50.0, 102.0, 206.0, 414.0, 830.0)
"""Where a class of ages begins."""
PENALTY = (0.5, 5.0, 5.0)
"""What holds a coefficient to its prior: the level, that of an age, those of the time of day and week."""
PRIOR_PER_HOUR = (
    (0.05, 0.05, 2.8, 1.3, 0.60, 0.45, 0.35, 0.27, 0.17),
    (0.05, 0.05, 2.4, 1.1, 0.55, 0.35, 0.27, 0.15, 0.08),
)
"""Rate of change of pools that are down, up, by class of age.

Source: pooled over six AWS zones of V100 availability, 45 days from 2023-02-15 (SkyNomad artefact, Apache-2.0), each zone
with a level of its own, rounded. None changed within two points.
"""
PRIOR_WEEKEND = (0.0, -0.5)
"""Log odds on Saturdays and Sundays (UTC), down and up, from the same traces: spot lasts longer."""


@dataclass(frozen=True, slots=True)
class Hazard:
    """The chance of change in one tick.

    Attributes:
        coefficients: (2, features): pools that are down, up.
        tick_s: Seconds of a tick.
        edges_ticks: First age of each class of ages.
        calendar: Whether moments are seconds since 1970, so that weekends are known.
    """

    coefficients: Floats
    tick_s: float
    edges_ticks: npt.NDArray[np.int64]
    calendar: bool

    def age_class(self, age_ticks: int) -> int:
        """Return the class of an age of one tick or more."""
        return int(np.searchsorted(self.edges_ticks, age_ticks, side="right")) - 1

    def chances(self, moments_s: Floats, *, caution: float = 0.0) -> Floats:
        """Return (moments, 2, age classes): the chance of change in a tick at each moment.

        Args:
            moments_s: When.
            caution: Log odds by which spot is taken to go sooner and to come later than the history says.
        """
        classes = len(self.edges_ticks)
        found = np.empty((len(moments_s), 2, classes))
        for age in range(classes):
            features = _features(np.full(len(moments_s), age), moments_s, classes, self.calendar)
            for up in (0, 1):
                found[:, up, age] = _chance(features @ self.coefficients[up] + (caution if up else -caution))
        return found


def fit_hazard(available: Bools, *, tick_s: float, start_s: float, calendar: bool) -> Hazard:
    """Fit one pool's history.

    Args:
        available: (ticks,), in order.
        tick_s: Seconds of a tick.
        start_s: When tick 0 began; of an unknown calendar any number: hours of the day count from it.
        calendar: Whether it is seconds since 1970.
    """
    edges = np.maximum(np.asarray(EDGES_MIN) * 60 / tick_s, np.arange(1, len(EDGES_MIN) + 1)).round().astype(np.int64)
    ages = ages_ticks(available)
    moments = start_s + np.arange(len(available)) * tick_s
    classes = np.searchsorted(edges, ages, side="right") - 1
    features = _features(classes, moments, len(edges), calendar)
    changed = np.append(available[1:] != available[:-1], False)
    coefficients = np.empty((2, features.shape[1]))
    for up in (0, 1):
        chosen = available == bool(up)
        chosen[-1] = False  # what comes after it is not history
        coefficients[up] = _regress(features[chosen], changed[chosen], _prior(up, edges, tick_s))
    return Hazard(coefficients, tick_s, edges, calendar)


def ages_ticks(available: Bools) -> npt.NDArray[np.int64]:
    """Return how long each tick's state has lasted, that tick included."""
    changes = np.flatnonzero(available[1:] != available[:-1]) + 1
    since = np.zeros(len(available), dtype=np.int64)
    since[changes] = changes
    ages: npt.NDArray[np.int64] = np.arange(len(available)) - np.maximum.accumulate(since) + 1
    return ages


def _features(classes: npt.NDArray[np.int64], moments_s: Floats, count: int, calendar: bool) -> Floats:  # noqa: FBT001
    found = np.zeros((len(classes), 1 + count + 3))
    found[:, 0] = 1
    found[np.arange(len(classes)), 1 + classes] = 1
    angle = 2 * np.pi * (moments_s % DAY_S) / DAY_S
    found[:, -3], found[:, -2] = np.sin(angle), np.cos(angle)
    if calendar:
        found[:, -1] = (moments_s // DAY_S + _THURSDAY) % 7 >= _SATURDAY
    return found


def _prior(up: int, edges: npt.NDArray[np.int64], tick_s: float) -> Floats:
    hourly = np.asarray(PRIOR_PER_HOUR[up])
    chance = 1 - np.exp(-hourly * tick_s / HOUR_S)
    logits = np.log(chance / (1 - chance))
    level = logits.mean()
    return np.concatenate([[level], logits - level, [0.0, 0.0, PRIOR_WEEKEND[up]]])


def _chance(logits: Floats) -> Floats:
    found: Floats = 1 / (1 + np.exp(-np.clip(logits, -12, 5)))
    return found


def _regress(features: Floats, changed: Bools, prior: Floats) -> Floats:
    """Return the coefficients with the highest posterior (Newton)."""
    penalty = np.full(len(prior), PENALTY[1])
    penalty[0], penalty[-3:] = PENALTY[0], PENALTY[2]
    found = prior.copy()
    for _ in range(15):
        chance = _chance(features @ found)
        slope = features.T @ (changed - chance) - penalty * (found - prior)
        curvature = (features * (chance * (1 - chance))[:, None]).T @ features + np.diag(penalty)
        step = np.clip(np.linalg.solve(curvature, slope), -2, 2)
        found = found + step
        if np.abs(step).max() < 1e-4:
            break
    return found
