"""The last step of every learned planner: a residual in units of its spread becomes a path in metres."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from platform_lib.models.interface import EGO_CHANNELS, PLAN_STEPS, PLAN_TIMES_S
from platform_lib.models.model import Normalisation


class PathHead(nn.Module):
    """Constants of the training split: what ego history is measured in, and how far paths lie from constant velocity."""

    ego_mean: Tensor
    ego_scale: Tensor
    residual_scale: Tensor
    reach_s: Tensor

    def __init__(self, normalisation: Normalisation) -> None:
        super().__init__()
        self._constant("ego_mean", np.reshape(normalisation.ego_mean, (1, 1, EGO_CHANNELS)))
        self._constant("ego_scale", 1.0 / np.reshape(normalisation.ego_std, (1, 1, EGO_CHANNELS)))
        self._constant("residual_scale", np.reshape(normalisation.residual_std_m, (1, PLAN_STEPS * 2)))
        self._constant("reach_s", np.stack([PLAN_TIMES_S, np.zeros_like(PLAN_TIMES_S)], axis=1).reshape(1, -1))

    def _constant(self, name: str, value: object) -> None:
        self.register_buffer(name, torch.as_tensor(np.asarray(value), dtype=torch.float32))

    def normalised(self, ego_history: Tensor) -> Tensor:
        """Return ego history (N, 10, 3) in standard deviations."""
        return (ego_history - self.ego_mean) * self.ego_scale

    def forward(self, ego_history: Tensor, residual: Tensor) -> Tensor:
        """Return the path (N, 6, 2) that lies `residual` (N, 12) spreads from keeping the last speed."""
        # The last step's first channel is the present speed.
        speed_mps = ego_history.flatten(1)[:, -EGO_CHANNELS : -EGO_CHANNELS + 1]
        path = speed_mps * self.reach_s + residual * self.residual_scale
        return path.reshape(-1, PLAN_STEPS, 2)

    def residual(self, ego_history: Tensor, path_m: Tensor) -> Tensor:
        """Return (N, 12) spreads that a path (N, 6, 2) lies from keeping the last speed: what `forward` undoes."""
        speed_mps = ego_history.flatten(1)[:, -EGO_CHANNELS : -EGO_CHANNELS + 1]
        return (path_m.flatten(1) - speed_mps * self.reach_s) / self.residual_scale


def multilayer(widths: Sequence[int], dropout: float) -> nn.Sequential:
    """Return linear layers of these widths with ReLU between them; what the first one gives is dropped now and then."""
    layers: list[nn.Module] = []
    for number, (wide_in, wide_out) in enumerate(pairwise(widths)):
        layers.append(nn.Linear(wide_in, wide_out))
        if number < len(widths) - 2:
            layers.append(nn.ReLU())
        if number == 0 and len(widths) > 2:
            layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers)
