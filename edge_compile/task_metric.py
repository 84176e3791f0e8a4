"""What a model's answers are for, in numbers: metres of a path, the class, a box, or a function of one's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_compile.own_code import own_function
from platform_lib.errors import ConfigError, ContractError

Arrays = Mapping[str, NDArray[np.generic]]
Values = NDArray[np.float64]
_POINT_AXES = (2, 3)
# A box counts where its best score reaches this. Source: the usual threshold of a detector that is asked for a decision.
_SCORE = 0.5


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure of each sample.

    Attributes:
        name: As asked for.
        unit: Of its values, empty for a share.
        score: Answers and truth, by output -> (N,); NaN for a sample that says nothing.
        higher_is_better: A share of agreement, where the others are errors.
        worst: A slice has the value of its worst sample, not of the mean of all.
        sha256: Of the source of a function of one's own; empty for what is built in.
    """

    name: str
    unit: str
    score: Callable[[Arrays, Arrays], Values]
    higher_is_better: bool = False
    worst: bool = False
    sha256: str = ""

    def of(self, values: Values) -> float:
        """Return a slice's value from its samples'."""
        if not self.worst:
            return float(values.mean())
        return float(values.min() if self.higher_is_better else values.max())


BUILT_IN = {
    "ade": "mean displacement of a path (..., points, 2 or 3), in metres",
    "fde": "displacement of a path's last point, in metres",
    "max-displacement": "largest displacement of any point, in metres; a slice's worst sample decides",
    "top1": "share of rows whose largest of the last axis is the same; labels may be class numbers",
    "iou-corners": "mean overlap of boxes (..., 4) of x1, y1, x2, y2 at the same place",
    "iou-distances": "the same of distances left, top, right, bottom from the place",
}
"""Name -> what it is."""


def find_metric(name: str, outputs: tuple[str, ...], *, output: str | None = None, scores: str | None = None) -> Metric:
    """Return a metric by name, of `BUILT_IN` or ``module:function`` or ``file.py:function``.

    A function of one's own gets answers and truth, each output name -> (N, ...), and returns (N,): an error, 0 at best.

    Args:
        name: Which one.
        outputs: What the model gives.
        output: The one that a built-in metric looks at; may be left out where there is only one.
        scores: The output of shape (..., boxes, classes) that says which boxes count; None for all.

    Raises:
        PlatformError: There is no such metric, output or function.
    """
    for asked in (output, scores):
        if asked is not None and asked not in outputs:
            raise ConfigError(
                f"no output '{asked}'", where="the task metric", remedy=f"name one of {', '.join(outputs)}"
            )
    if name not in BUILT_IN:
        return _own(name)
    if output is None and len(outputs) > 1:
        raise ConfigError(
            f"{name} of which output?", where="the task metric", remedy=f"name one of {', '.join(outputs)}"
        )
    if scores is not None and not name.startswith("iou"):
        raise ConfigError(f"{name} looks at no scores", where="the task metric", remedy="leave the scores out")
    of = output or outputs[0]
    if name in ("ade", "fde", "max-displacement"):
        return Metric(name, "m", lambda a, t: _displacement(name, a[of], t[of]), worst=name == "max-displacement")
    if name == "top1":
        return Metric(name, "", lambda a, t: _same_class(a[of], t[of]), higher_is_better=True)

    def overlap(answers: Arrays, truth: Arrays) -> Values:
        return _overlap(answers[of], truth[of], _counted(truth, scores), corners=name == "iou-corners")

    return Metric(name, "", overlap, higher_is_better=True)


def _displacement(name: str, answers: NDArray[np.generic], truth: NDArray[np.generic]) -> Values:
    if answers.shape != truth.shape or answers.ndim < 3 or answers.shape[-1] not in _POINT_AXES:
        raise ContractError(
            f"{name} needs points (N, ..., points, 2 or 3) on both sides, not {answers.shape} and {truth.shape}",
            where="the task metric",
            remedy="name the output that is a path, or give a function of your own",
        )
    moved = np.linalg.norm(answers.astype(np.float64) - truth.astype(np.float64), axis=-1)
    if name == "fde":
        moved = moved[..., -1]
    flat = moved.reshape(len(moved), -1)
    return np.asarray(flat.max(axis=1) if name == "max-displacement" else flat.mean(axis=1), np.float64)


def _same_class(answers: NDArray[np.generic], truth: NDArray[np.generic]) -> Values:
    given = answers.argmax(axis=-1).reshape(len(answers), -1)
    wanted = truth.argmax(axis=-1) if truth.shape == answers.shape else truth
    wanted = wanted.reshape(len(truth), -1)
    if wanted.shape != given.shape:
        raise ContractError(
            f"top1 needs classes for {given.shape[1]} rows a sample, not {truth.shape}",
            where="the task metric",
            remedy="give labels as class numbers (N, rows), or in the output's shape",
        )
    return np.asarray((given == wanted).mean(axis=1), np.float64)


def _counted(truth: Arrays, scores: str | None) -> NDArray[np.bool_] | None:
    if scores is None:
        return None
    values = truth[scores]
    return np.asarray(values.max(axis=-1).reshape(len(values), -1) >= _SCORE)


def _overlap(
    answers: NDArray[np.generic], truth: NDArray[np.generic], counted: NDArray[np.bool_] | None, *, corners: bool
) -> Values:
    if answers.shape != truth.shape or answers.shape[-1] != 4 or answers.ndim < 3:
        raise ContractError(
            f"an overlap needs boxes (N, ..., 4) on both sides, not {answers.shape} and {truth.shape}",
            where="the task metric",
            remedy="name the output that holds the boxes",
        )
    one, two = (_as_corners(values.astype(np.float64), corners=corners) for values in (answers, truth))
    ends = np.minimum(one[..., 2:], two[..., 2:]), np.maximum(one[..., :2], two[..., :2])
    shared = np.prod(np.clip(ends[0] - ends[1], 0.0, None), axis=-1)
    areas = [np.prod(np.clip(box[..., 2:] - box[..., :2], 0.0, None), axis=-1) for box in (one, two)]
    union = areas[0] + areas[1] - shared
    # Two boxes of no size are the same one.
    found = np.divide(shared, union, out=np.ones_like(shared), where=union > 0).reshape(len(answers), -1)
    if counted is None:
        return np.asarray(found.mean(axis=1), np.float64)
    if counted.shape != found.shape:
        raise ContractError(
            f"{counted.shape[1]} scores for {found.shape[1]} boxes", where="the task metric", remedy="one row a box"
        )
    boxes = counted.sum(axis=1)
    total = np.where(counted, found, 0.0).sum(axis=1)
    return np.asarray(np.divide(total, boxes, out=np.full(len(total), np.nan), where=boxes > 0), np.float64)


def _as_corners(boxes: Values, *, corners: bool) -> Values:
    if corners:
        return boxes
    return np.concatenate([-boxes[..., :2], boxes[..., 2:]], axis=-1)


def _own(name: str) -> Metric:
    if ":" not in name:
        raise ConfigError(
            f"no task metric '{name}'",
            remedy=f"choose from {', '.join(BUILT_IN)}, or name a function of your own as module:function",
        )
    found, sha256 = own_function(name)

    def score(answers: Arrays, truth: Arrays) -> Values:
        values = np.asarray(found(dict(answers), dict(truth)))
        count = len(next(iter(answers.values())))
        if values.shape != (count,) or not np.issubdtype(values.dtype, np.number):
            raise ContractError(
                f"returned {values.dtype} of shape {values.shape} for {count} samples",
                where=name,
                remedy="return one error a sample, an array (N,)",
            )
        return values.astype(np.float64)

    return Metric(name, "", score, sha256=sha256)
