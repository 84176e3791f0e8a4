"""Measures how close a simulation's answers come to the float model's, and what they cost the task on its worst slice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

import numpy as np

from edge_compile.messages import TaskRequest
from edge_compile.parity import distance
from edge_compile.precision_search import Closeness
from edge_compile.samples import Samples
from edge_compile.task_metric import Metric, find_metric
from edge_compile.task_slices import Slices, worst_loss

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
    if task is None:
        samples = evenly(calibration, count)
        return Gauge(samples, run_float(samples), None, ())
    rows = np.array(task.rows, int)
    samples = {name: values[rows] for name, values in calibration.items()}
    reference = run_float(samples)
    metric = find_metric(task.metric, tuple(reference), output=task.output, scores=task.scores)
    return Gauge(samples, reference, metric, task.slices)


def evenly(samples: Samples, count: int) -> Samples:
    """Return `count` of the samples, evenly spaced; all where there are fewer."""
    total = len(next(iter(samples.values())))
    rows = np.unique(np.linspace(0, total - 1, min(count, total)).round().astype(int))
    return {name: values[rows] for name, values in samples.items()}
