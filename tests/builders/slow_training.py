"""Recipes whose steps take long enough to be killed in, and faults planted in them."""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "docs" / "examples"))

import torch
from own_model import Bender, BenderLearner, own_recipe

from platform_lib.datasets.reader import DrivingDataset
from ray_jobs.recipes.config import Processes, TrainConfig

STEPS = 48


def slow() -> TrainConfig:
    """48 steps of a tenth of a second."""
    return dataclasses.replace(own_recipe(), recipe="slow", planner=Bender(pause_s=0.1))


@dataclasses.dataclass(frozen=True)
class Faulty:
    """A model that goes wrong at a step, once or always.

    Attributes:
        fault: ``nan``, ``hang`` or ``die``.
        marker: A file that says that it went wrong already; "" for always.
    """

    fault: str
    at: int
    marker: str = ""

    def learner(self, dataset: DrivingDataset | None) -> _FaultyLearner:
        """Build it."""
        del dataset
        return _FaultyLearner(self)


class _FaultyLearner(BenderLearner):
    def __init__(self, faulty: Faulty) -> None:
        super().__init__(Bender(pause_s=0.02))
        self._faulty, self._steps = faulty, 0

    def loss(self, network, batch):
        self._steps += 1
        faulty = self._faulty
        if self._steps == faulty.at and not (faulty.marker and Path(faulty.marker).exists()):
            if faulty.marker:
                Path(faulty.marker).touch()
            if faulty.fault == "nan":
                return super().loss(network, batch) * torch.nan
            if faulty.fault == "hang":
                time.sleep(600)
            os.kill(os.getpid(), signal.SIGKILL)
        return super().loss(network, batch)


def hangs_once() -> TrainConfig:
    """Hangs at its 10th step; the marker's place comes from the environment."""
    return _faulty("hang", 10, os.environ["DRIVETRAIN_TEST_MARKER"])


def no_number() -> TrainConfig:
    """Has a loss that is no number at its 7th step, again and again."""
    return _faulty("nan", 7)


def dies_always() -> TrainConfig:
    """Dies at each process's first step."""
    return _faulty("die", 1)


def _faulty(fault: str, at: int, marker: str = "") -> TrainConfig:
    return dataclasses.replace(own_recipe(), recipe=fault, planner=Faulty(fault, at, marker))


def two(strategy: str = "ddp") -> TrainConfig:
    """Two processes."""
    return dataclasses.replace(own_recipe(), recipe=f"two_{strategy}", processes=Processes(count=2, strategy=strategy))


def two_fsdp() -> TrainConfig:
    """Two processes that share the network's pieces."""
    return two("fsdp")


def slow_ddp() -> TrainConfig:
    """The slow one in two processes."""
    return dataclasses.replace(slow(), recipe="slow_ddp", processes=Processes(count=2))


def slow_fsdp() -> TrainConfig:
    """The slow one in two processes that share the network's pieces."""
    return dataclasses.replace(slow(), recipe="slow_fsdp", processes=Processes(count=2, strategy="fsdp"))
