"""The built-in planners in training: imitation of the driven path, on augmented frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from platform_lib.models.augmentation import Augmentation, Batch, augmented
from platform_lib.models.interface import PLAN_TIMES_S, Float, PlannerInput
from platform_lib.models.planner import Normalisation, PlannerConfig, PlannerNet, TorchPlanner


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
    """A planner that learns the path that was driven.

    Args:
        planner: The network's shape.
        augmentation: How much frames are changed.
        normalisation: Measured on the training split.
        val: Validation split; only reported, never selected on.
    """

    def __init__(
        self, planner: PlannerConfig, augmentation: Augmentation, *, normalisation: Normalisation, val: Samples
    ) -> None:
        self._augmentation, self._val = augmentation, val
        self.planner_config, self.normalisation = planner, normalisation
        # Channels last: convolutions on a CPU are a sixth faster.
        self.network: PlannerNet = PlannerNet(planner, normalisation).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in its stubs
        self._scale = torch.as_tensor(normalisation.residual_std_m, dtype=torch.float32)

    def prepare(self, samples: Mapping[str, Any], generator: np.random.Generator) -> dict[str, Tensor]:
        """Return an augmented batch; the image of a planner that does not look has no pixels."""
        looks = self.planner_config.kind == "camera"
        image = samples["image"] if looks else samples["image"][:0]
        command = nn.functional.one_hot(samples["command"], 3).float()
        batch = augmented(
            Batch(image, samples["ego_history"], command, samples["future"]), self._augmentation, generator
        )
        pixels = batch.image.contiguous(memory_format=torch.channels_last) if looks else samples["image"][:, :, :0]
        return {
            "image": pixels,
            "ego_history": batch.ego_history,
            "command": batch.command,
            "future_m": batch.future_m,
        }

    def loss(self, network: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the smooth L1 distance to the driven path."""
        plan = network(batch["image"], batch["ego_history"], batch["command"])
        scale = self._scale.to(plan.device)
        # In units of each waypoint's spread, so that sideways centimetres count beside metres ahead.
        return nn.functional.smooth_l1_loss(plan / scale, batch["future_m"] / scale, beta=0.1)

    def validate(self) -> dict[str, float]:
        """Return the mean distance to the driven path over the validation split, in metres."""
        plan = TorchPlanner("val", self.network).plan(self._val.inputs)
        return {"val_ade_m": float(np.linalg.norm(plan - self._val.future_m, axis=2).mean())}

    def weights(self) -> dict[str, Any]:
        """Return what ``weights.pt`` holds: enough to build the network again."""
        return {
            "planner": asdict(self.planner_config),
            "normalisation": asdict(self.normalisation),
            "state": self.network.state_dict(),
        }
