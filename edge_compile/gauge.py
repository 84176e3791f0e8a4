"""Measures how close a simulation's answers come to the float model's, and what they cost the task on its worst slice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import NDArray

from edge_compile.messages import TaskRequest
from edge_compile.parity import distance
from edge_compile.precision_search import Closeness
from edge_compile.samples import Samples
from edge_compile.task_metric import Metric, find_metric
from edge_compile.task_slices import Slices, worst_loss

_FEWEST_TUNED = 4
Run = Callable[[Samples], Samples]


@dataclass(frozen=True, slots=True)
class Gauge:
    """A few calibration samples and the float model's answers to them."""

    samples: Samples
    reference: Samples
    metric: Metric | None
    slices: Slices

    def of(self, run: Run) -> Closeness:
        """Run something on the samples and say how close it comes."""
        answers = run(self.samples)
        found = distance(self.reference, answers).sqnr_db
        ratio = inf if found is None else found
        if self.metric is None:
            return Closeness(ratio)
        return Closeness(ratio, *worst_loss(self.metric, self.slices, self.reference, answers))


def gauge_of(run_float: Run, calibration: Samples, *, count: int, task: TaskRequest | None) -> Gauge:
    """Pick the samples, `count` of them or those that the task names, and run the float model on them."""
    rows = gauged_rows(calibration, count=count, task=task)
    samples = {name: values[rows] for name, values in calibration.items()}
    if task is None:
        return Gauge(samples, run_float(samples), None, ())
    reference = run_float(samples)
    metric = find_metric(task.metric, tuple(reference), output=task.output, scores=task.scores)
    return Gauge(samples, reference, metric, task.slices)


def evenly(samples: Samples, count: int) -> Samples:
    """Return `count` of the samples, evenly spaced; all where there are fewer."""
    rows = _spread(len(next(iter(samples.values()))), count)
    return {name: values[rows] for name, values in samples.items()}


def gauged_rows(calibration: Samples, *, count: int, task: TaskRequest | None) -> NDArray[np.intp]:
    """Return which calibration samples a gauge measures on."""
    if task is not None:
        return np.array(task.rows, np.intp)
    return _spread(len(next(iter(calibration.values()))), count)


def tuned_on(calibration: Samples, gauged: NDArray[np.intp], count: int) -> Samples:
    """Return samples to tune weights on: none that is measured on, where enough others are left."""
    total = len(next(iter(calibration.values())))
    left = np.setdiff1d(np.arange(total), gauged)
    rows = left if len(left) >= _FEWEST_TUNED else np.arange(total)
    return evenly({name: values[rows] for name, values in calibration.items()}, count)


def _spread(total: int, count: int) -> NDArray[np.intp]:
    return np.unique(np.linspace(0, total - 1, min(count, total)).round().astype(np.intp))
