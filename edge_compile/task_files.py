"""Reads what a sample file says for the task's metric: each sample's slices, and labels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_compile.task_slices import ENOUGH_SAMPLES, Task
from platform_lib.errors import ConfigError

SLICE = "slice"
LABEL = "label_"
_Arrays = dict[str, NDArray[np.generic]]


def is_beside(name: str, outputs: set[str]) -> bool:
    """Say whether an array of a sample file is for the task and not for the model."""
    return name == SLICE or name.removeprefix(LABEL) in outputs


def task_of(
    metric: str | None,
    tolerance: float | None,
    read: Callable[[Path], _Arrays],
    *,
    frozen: Path | None,
    calibration: Path,
    output: str | None = None,
    scores: str | None = None,
    enough: int = ENOUGH_SAMPLES,
) -> Task | None:
    """Return the task that a command line asks for, None if it asks for none.

    Args:
        metric: Its name.
        tolerance: How much worse than float each slice may be.
        read: Reads a file's arrays.
        frozen: Its ``slice`` names the slices, its ``label_OUTPUT`` the truth; without it, the calibration's are taken.
        calibration: Its ``slice`` names the slices that the search measures on.
        output: See `Task`.
        scores: See `Task`.
        enough: See `Task`.

    Raises:
        ConfigError: A metric without a tolerance, or the other way round.
    """
    if metric is None:
        if tolerance is not None or output is not None or scores is not None:
            raise ConfigError("a task tolerance without a metric", where="--task-metric", remedy="name the metric")
        return None
    if tolerance is None:
        raise ConfigError(
            f"{metric} is to be kept, and how much worse than float it may be is not said",
            where="--task-tolerance",
            remedy="give it, in the metric's unit",
        )
    calibrated = read(calibration)
    judged = calibrated if frozen is None else read(frozen)
    return Task(
        metric,
        tolerance,
        output,
        scores,
        enough,
        slices=judged.get(SLICE),
        calibration_slices=calibrated.get(SLICE),
        labels={name.removeprefix(LABEL): array for name, array in judged.items() if name.startswith(LABEL)},
    )
