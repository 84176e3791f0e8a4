"""The built-in planners in training: imitation of the driven path, on augmented frames."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from platform_lib.models.augmentation import Augmentation, Batch
from platform_lib.models.interface import PLAN_TIMES_S, Float, PlannerInput
from platform_lib.models.learning import training_batch
from platform_lib.models.model import Normalisation
from platform_lib.models.planner import TorchPlanner
from platform_lib.models.registry import ModelConfig, build_model, described, saved


@dataclass(frozen=True, slots=True)
class Samples:
    """A split in memory: what the planner sees, and (N, 6, 2) metres it drove."""

    inputs: PlannerInput
    future_m: Float

    def __len__(self) -> int:
        return len(self.inputs)


def normalisation_of(ego_history: Float, future_m: Float) -> Normalisation:
    """Measure the constants that are baked into the graph, on the training split alone.

    Args:
        ego_history: (N, 10, 3).
        future_m: (N, 6, 2).
    """
    speed_mps = ego_history[:, -1, 0].astype(np.float64)
    residual = future_m.astype(np.float64)
    residual[:, :, 0] -= speed_mps[:, None] * PLAN_TIMES_S
    spread = np.maximum(residual.std(axis=0), 0.05)
    history = ego_history.astype(np.float64)
    return Normalisation(
        ego_mean=tuple(_rounded(history.mean(axis=(0, 1)))),
        ego_std=tuple(_rounded(np.maximum(history.std(axis=(0, 1)), 1e-3))),
        residual_std_m=tuple((float(x), float(y)) for x, y in (_rounded(row) for row in spread)),
    )


def _rounded(values: NDArray[np.float64]) -> list[float]:
    return [float(value) for value in np.round(values, 6)]


class PlannerLearner:
    """A member of the driving family that learns the path that was driven, and what else its model asks for.

    Args:
        planner: The model's configuration; see `platform_lib.models.registry`.
        augmentation: How much frames are changed.
        normalisation: Measured on the training split.
        val: Validation split; only reported, never selected on.
        observe: Is told the samples' places and how far their plans lay from their paths, in metres; see `SampledLoader`.
    """

    def __init__(
        self,
        planner: ModelConfig,
        augmentation: Augmentation,
        *,
        normalisation: Normalisation,
        val: Samples,
        observe: Callable[[NDArray[np.int64], NDArray[np.float64]], None] | None = None,
    ) -> None:
        self._augmentation, self._val, self._observe = augmentation, val, observe
        self.planner_config, self.normalisation = planner, normalisation
        self.model = build_model(planner, normalisation)
        # Channels last: convolutions on a CPU are a sixth faster.
        self.model.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in its stubs

    @property
    def network(self) -> nn.Module:
        """What is fitted."""
        return self.model.network

    @network.setter
    def network(self, network: nn.Module) -> None:
        self.model.network = network

    def prepare(self, samples: Mapping[str, Any], generator: np.random.Generator) -> dict[str, Tensor]:
        """Return an augmented batch; the image of a planner that does not look has no pixels."""
        batch = training_batch(samples, self.model, self._augmentation, generator)
        found = {field.name: getattr(batch, field.name) for field in fields(batch)}
        if not self.model.looks:
            found["image"] = samples["image"][:, :, :0]
        if "place" in samples:
            found["place"] = samples["place"]
        return {name: value for name, value in found.items() if value is not None}

    def loss(self, network: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the model's own loss; of the camera planner the smooth L1 distance to the driven path."""
        given = Batch(**{name: value for name, value in batch.items() if name != "place"})
        plan = self.model.forward(given, network)
        if self._observe is not None:
            error_m = (plan.waypoints_m.detach() - given.future_m).norm(dim=2).mean(dim=1)
            self._observe(batch["place"].cpu().numpy(), error_m.double().cpu().numpy())
        return self.model.loss(plan, given)

    def validate(self) -> dict[str, float]:
        """Return the mean distance to the driven path over the validation split, in metres."""
        plan = TorchPlanner("val", self.network).plan(self._val.inputs)
        return {"val_ade_m": float(np.linalg.norm(plan - self._val.future_m, axis=2).mean())}

    def description(self) -> dict[str, Any]:
        """Return what the model is built from, so that a checkpoint alone can be scored."""
        return described(self.planner_config, self.normalisation)

    def weights(self) -> dict[str, Any]:
        """Return what ``weights.pt`` holds: enough to build the model again."""
        return saved(self.planner_config, self.normalisation, self.network)
