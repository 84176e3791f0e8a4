"""Judges a task's metric slice by slice: the worst slice decides, and one with too few samples decides nothing. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edge_compile.samples import Samples
from edge_compile.task_metric import Arrays, Metric, find_metric
from platform_lib.errors import ConfigError, ContractError
from platform_lib.evidence import SliceScore, Status

EVERYTHING = "all"
# Samples that a slice needs before its metric says anything: a mean of fewer turns on one of them.
ENOUGH_SAMPLES = 8
Slices = tuple[tuple[str, ...], ...]
Engine = Literal["simulation", "qdq", "target"]


@dataclass(frozen=True, slots=True)
class Task:
    """What the compiled model has to keep, beside being close.

    Attributes:
        metric: A name of `task_metric.BUILT_IN`, or ``module:function``.
        tolerance: How much worse than the float model each slice may be, in the metric's unit.
        output: The output that a built-in metric looks at.
        scores: The output that says which boxes count.
        enough: Samples that a slice needs.
        slices: For each frozen sample its slice, (N,) or (N, K) of text, empty text for none; None: all are one slice.
        calibration_slices: The same of the calibration samples, for the search.
        labels: Output -> the truth (N, ...); None: the float model's own answers are the truth.
    """

    metric: str
    tolerance: float
    output: str | None = None
    scores: str | None = None
    enough: int = ENOUGH_SAMPLES
    slices: NDArray[np.generic] | None = None
    calibration_slices: NDArray[np.generic] | None = None
    labels: Arrays = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not np.isfinite(self.tolerance) or self.tolerance < 0:
            raise ConfigError(
                f"a task tolerance of {self.tolerance}", remedy="give how much worse it may be, 0 or more"
            )
        if self.enough < 1:
            raise ConfigError(f"{self.enough} samples a slice", remedy="ask for at least 1")


@dataclass(frozen=True, slots=True)
class TaskCase:
    """A task, checked against its model and its samples.

    Attributes:
        slices: For each frozen sample the slices it lies in, `EVERYTHING` among them.
        calibration_slices: The same of the calibration samples.
        labels: Output -> (N, ...) for the frozen samples.
    """

    metric: Metric
    tolerance: float
    enough: int
    slices: Slices
    calibration_slices: Slices
    labels: Arrays
    asked: Task


def check_task(task: Task, outputs: tuple[str, ...], *, frozen: int, calibration: int) -> TaskCase:
    """Check a task against a model's outputs and the numbers of samples.

    Raises:
        PlatformError: There is no such metric or output, or slices or labels do not fit the samples.
    """
    metric = find_metric(task.metric, outputs, output=task.output, scores=task.scores)
    if unknown := sorted(set(task.labels) - set(outputs)):
        raise ContractError(f"labels of '{unknown[0]}', which is no output", remedy=f"outputs: {', '.join(outputs)}")
    for name, values in task.labels.items():
        if len(values) != frozen or not np.issubdtype(values.dtype, np.number) or not np.isfinite(values).all():
            raise ContractError(
                f"labels of '{name}' are {values.dtype} {values.shape}",
                remedy=f"give a finite number for each of the {frozen} frozen samples",
            )
    return TaskCase(
        metric,
        task.tolerance,
        task.enough,
        slices_of(task.slices, frozen, "frozen"),
        slices_of(task.calibration_slices, calibration, "calibration"),
        task.labels,
        task,
    )


def slices_of(names: NDArray[np.generic] | None, count: int, role: str) -> Slices:
    """Return for each sample the slices it lies in; `EVERYTHING` is always one.

    Raises:
        ContractError: It is no text, or not one row a sample.
    """
    if names is None:
        return ((EVERYTHING,),) * count
    if names.dtype.kind != "U" or names.ndim not in (1, 2) or len(names) != count:
        raise ContractError(
            f"'slice' of the {role} samples is {names.dtype} {names.shape}",
            remedy=f"give text, one row for each of the {count} samples",
        )
    rows = names.reshape(count, -1)
    return tuple(
        (EVERYTHING, *dict.fromkeys(str(name) for name in row if name not in ("", EVERYTHING))) for row in rows
    )


def few_of_each(slices: Slices, each: int) -> NDArray[np.intp]:
    """Return at most about `each` samples of every slice, evenly spaced, in their order."""
    rows: set[int] = set()
    for name in dict.fromkeys(name for names in slices for name in names):
        inside = [row for row, names in enumerate(slices) if name in names]
        picked = np.linspace(0, len(inside) - 1, min(each, len(inside))).round().astype(int)
        rows |= {inside[at] for at in picked}
    return np.array(sorted(rows), np.intp)


def losses(metric: Metric, reference: Samples, answers: Samples, truth: Arrays) -> tuple[NDArray[np.float64], ...]:
    """Return of each sample the float model's value, the other's, and how much worse that is."""
    own, other = metric.score(reference, truth), metric.score(answers, truth)
    return own, other, (own - other if metric.higher_is_better else other - own)


def worst_loss(metric: Metric, slices: Slices, reference: Samples, answers: Samples) -> tuple[float, str]:
    """Return the largest loss of any slice against the float model's answers, and which slice; for a search."""
    found = losses(metric, reference, answers, reference)[2]
    worst, where = 0.0, EVERYTHING
    for name, rows in _rows(slices).items():
        values = found[rows][~np.isnan(found[rows])]
        loss = (float(values.max()) if metric.worst else float(values.mean())) if len(values) else 0.0
        if not np.isfinite(loss):
            return float("inf"), name
        if loss > worst:
            worst, where = loss, name
    return worst, where


def judge(
    case: TaskCase, precision: str, engine: Engine, reference: Samples, answers: Samples | None, *, missing: str = ""
) -> tuple[SliceScore, ...]:
    """Judge one precision on every slice.

    Args:
        case: The task.
        precision: What is judged.
        engine: What answered.
        reference: The float model's answers, output -> (N, ...).
        answers: The engine's, of the first samples where it ran fewer; None where it did not run.
        missing: Why it did not run.
    """
    if answers is None:
        return tuple(
            _score(case, precision, engine, name, status="not_run", reason=missing or "the engine did not run")
            for name in _rows(case.slices)
        )
    count = len(next(iter(answers.values())))
    first = {name: values[:count] for name, values in reference.items()}
    truth = {**first, **{name: _like(values[:count], first[name]) for name, values in case.labels.items()}}
    bad = [name for name, values in answers.items() if not np.isfinite(values).all()]
    values = None if bad else losses(case.metric, first, answers, truth)
    found = []
    for name, rows in _rows(case.slices).items():
        if values is None:
            why = f"output '{bad[0]}' holds NaN or infinity"
            found.append(_score(case, precision, engine, name, status="fail", reason=why))
            continue
        own, other, loss = (item[rows[rows < count]] for item in values)
        said = ~np.isnan(loss)
        found.append(_judged(case, precision, engine, name, (own[said], other[said], loss[said])))
    return tuple(found)


def _like(labels: NDArray[np.generic], answers: NDArray[np.float32]) -> NDArray[np.generic]:
    """Give labels the answers' batch axis, which a file may leave out."""
    return labels.reshape(answers.shape) if labels.size == answers.size else labels


def _judged(
    case: TaskCase, precision: str, engine: Engine, name: str, values: tuple[NDArray[np.float64], ...]
) -> SliceScore:
    own, other, each = values
    if not len(each):
        none = f"no sample of this slice was run, of {case.enough} that it takes{_more(case, name, engine)}"
        return _score(case, precision, engine, name, status="not_run", reason=none)
    loss = float(each.max()) if case.metric.worst else float(each.mean())
    status: Status = "pass"
    why: str | None = None
    if not np.isfinite(loss) or loss > case.tolerance:
        status, why = "fail", f"{loss:.4g} worse than float, and {case.tolerance:.4g} are allowed"
    elif len(each) < case.enough:
        status, why = (
            "not_run",
            (f"{len(each)} samples of this slice were run, of {case.enough} that it takes{_more(case, name, engine)}"),
        )
    if not np.isfinite(loss):
        return _score(case, precision, engine, name, status="fail", reason="the metric is no number")
    return _score(
        case, precision, engine, name, status=status, reason=why, n=len(each),
        values=(case.metric.of(own), case.metric.of(other), loss),
    )  # fmt: skip


def _more(case: TaskCase, name: str, engine: Engine) -> str:
    """Say where more samples would come from: the emulator runs the first ones of the file alone."""
    there = sum(name in names for names in case.slices)
    if engine != "target" or there < case.enough:
        return f"; the frozen samples hold {there}"
    return f"; the frozen samples hold {there}: put slices in turns, or run more with --emulator-samples"


def _score(
    case: TaskCase,
    precision: str,
    engine: Engine,
    name: str,
    *,
    status: Status,
    reason: str | None,
    n: int = 0,
    values: tuple[float | None, float | None, float | None] = (None, None, None),
) -> SliceScore:
    return SliceScore(
        precision=precision,
        engine=engine,
        slice=name,
        metric=case.metric.name,
        unit=case.metric.unit,
        truth="labels" if case.labels else "float",
        n=n,
        float_value=values[0],
        value=values[1],
        loss=values[2],
        tolerance=case.tolerance,
        status=status,
        reason=reason,
    )


def _rows(slices: Slices) -> Mapping[str, NDArray[np.intp]]:
    names = dict.fromkeys(name for row in slices for name in row)
    return {name: np.array([at for at, row in enumerate(slices) if name in row], np.intp) for name in names}


def worst_of(scores: Sequence[SliceScore], precision: str) -> SliceScore | None:
    """Return the score that decides on a precision: what failed before what was not run, then the largest loss."""
    order = {"fail": 0, "not_run": 1, "pass": 2}
    own = [item for item in scores if item.precision == precision]
    return min(own, key=lambda item: (order[item.status], -(item.loss or 0.0)), default=None)
