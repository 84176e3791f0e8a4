"""Numbers to normalise with, from the training split alone."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from platform_lib.errors import ContractError

_SMALLEST_STD = 1e-3


class DatasetStats(BaseModel):
    """``stats.json``.

    Attributes:
        computed_on: Always ``train``: a number from another split would leak it.
        samples: Training samples behind the figures.
        ego_history_mean: v_mps, yaw_rate_rps, accel_mps2.
        ego_history_std: The same; at least 0.001, so that it can be divided by.
        future_mean: 6 times x, y in metres.
        future_std: The same; at least 0.001.
        command_counts: Samples with command 0, 1, 2.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    computed_on: Literal["train"] = "train"
    samples: int
    ego_history_mean: tuple[float, float, float]
    ego_history_std: tuple[float, float, float]
    future_mean: tuple[tuple[float, float], ...]
    future_std: tuple[tuple[float, float], ...]
    command_counts: tuple[int, int, int]


def dataset_stats(
    ego_history: npt.NDArray[np.float32], future: npt.NDArray[np.float32], command: npt.NDArray[np.int8]
) -> DatasetStats:
    """Compute the statistics of the training split.

    Args:
        ego_history: (N, 30) as stored.
        future: (N, 12) as stored.
        command: (N,).

    Raises:
        ContractError: There is no training sample.
    """
    if len(command) == 0:
        raise ContractError("no sample to compute statistics from", where="train")
    history = ego_history.reshape(-1, 3).astype(np.float64)
    path = future.reshape(len(command), -1, 2).astype(np.float64)
    std = np.maximum(path.std(axis=0), _SMALLEST_STD)
    spread = np.maximum(history.std(axis=0), _SMALLEST_STD)
    mean = history.mean(axis=0)
    counts = np.bincount(command.astype(np.int64), minlength=3)
    return DatasetStats(
        samples=len(command),
        ego_history_mean=(float(mean[0]), float(mean[1]), float(mean[2])),
        ego_history_std=(float(spread[0]), float(spread[1]), float(spread[2])),
        future_mean=tuple((float(x), float(y)) for x, y in path.mean(axis=0)),
        future_std=tuple((float(x), float(y)) for x, y in std),
        command_counts=(int(counts[0]), int(counts[1]), int(counts[2])),
    )
