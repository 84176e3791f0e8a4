"""A model and data of one's own: one class each, and one recipe. `drivetrain train own_model:own_recipe --run mine` trains it.

From a notebook: `train(open_home(), own_recipe(), run="mine")`, with `train` of `ray_jobs.train`.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from platform_lib.datasets.position import Position
from platform_lib.datasets.reader import DrivingDataset
from platform_lib.datasets.shuffle import Part
from platform_lib.models.augmentation import Augmentation
from platform_lib.models.fitting import FitConfig
from ray_jobs.recipes.config import TrainConfig


@dataclass(frozen=True)
class Bends:
    """Data of one's own: speeds, and how far sideways a car is after a bend; two processes share it by rows."""

    rows: int = 96

    def sha256(self) -> str:
        """Return what a run is made from, and skipped by: here the rows are made from the number alone."""
        return hashlib.sha256(f"bends {self.rows}".encode()).hexdigest()

    def batches(self, *, batch: int, seed: int, part: Part) -> BendBatches:
        """Return what hands out this process's share."""
        return BendBatches(self.rows, batch=batch, seed=seed, part=part)


class BendBatches(Position):
    """Hands out rows in an order of their own each epoch; `Position` remembers where it is."""

    def __init__(self, rows: int, *, batch: int, seed: int, part: Part) -> None:
        self._rows, self._batch, self._seed, self._part = rows, batch, seed, part
        own = rows // part.count
        super().__init__(
            steps=-(-own // batch), identity={"rows": rows, "batch": batch, "seed": seed, "part": part.index}
        )

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        """Yield the rest of the epoch."""
        order = np.random.default_rng([self._seed, self.epoch]).permutation(self._rows)
        order = order[self._part.index :: self._part.count]
        while self._step < len(self):
            rows = order[self._step * self._batch : (self._step + 1) * self._batch]
            self._step += 1
            speed = torch.from_numpy(5 + 10 * np.sin(rows)).float()[:, None]
            yield {"sample_id": [f"bend-{row}" for row in rows], "speed": speed, "sideways": 0.3 * speed**2 / 10}
        self.seek(epoch=self.epoch + 1, step=0)


@dataclass(frozen=True)
class Bender:
    """A model of one's own.

    Attributes:
        pause_s: What a step of a larger network would take.
    """

    hidden: int = 8
    pause_s: float = 0.0

    def learner(self, dataset: DrivingDataset | None) -> BenderLearner:
        """Build it; `dataset` is what --dataset names, None for a recipe that brings its own data."""
        del dataset
        return BenderLearner(self)


class BenderLearner:
    """How `Bender` is trained."""

    def __init__(self, config: Bender) -> None:
        self._config = config
        self.network: Any = nn.Sequential(
            nn.Linear(1, config.hidden), nn.Tanh(), nn.Dropout(0.05), nn.Linear(config.hidden, 1)
        )

    def prepare(self, samples: Mapping[str, Any], generator: np.random.Generator) -> dict[str, Tensor]:
        """Shake the speeds a little."""
        noise = torch.from_numpy(generator.normal(0, 0.05, samples["speed"].shape)).float()
        return {"speed": (samples["speed"] + noise) / 10, "sideways": samples["sideways"]}

    def loss(self, network: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the mean squared error."""
        time.sleep(self._config.pause_s)
        return nn.functional.mse_loss(network(batch["speed"]), batch["sideways"])

    def validate(self) -> dict[str, float]:
        """Return the error at 10 m/s."""
        with torch.no_grad():
            self.network.eval()
            return {"val_error_m": abs(float(self.network(torch.ones(1, 1))) - 3.0)}

    def weights(self) -> dict[str, Any]:
        """Return all that it takes to build it again."""
        return {"model": asdict(self._config), "state": self.network.state_dict()}


def own_recipe() -> TrainConfig:
    """The recipe: the model, the data, and how it is fitted."""
    nothing = Augmentation(brightness=0.0, noise=0.0, mirror=0.0, turn_std_rad=0.0, focal_px=1.0)
    return TrainConfig(
        recipe="own_recipe",
        planner=Bender(),
        source=Bends(),
        fit=FitConfig(
            epochs=4,
            batch=8,
            learning_rate=1e-2,
            weight_decay=0.01,
            warmup_share=0.1,
            seed=5,
            threads=1,
            augmentation=nothing,
        ),
    )
