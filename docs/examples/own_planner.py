"""A planner of one's own, on a dataset of the home: `drivetrain train own_planner:own_planner_recipe --dataset NAME --run mine`.

It is exported, scored, compared and compiled as the built-in ones are; `drivetrain evaluate --watch`, started in this file's folder,
scores its checkpoints too.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from platform_lib.models import registry
from platform_lib.models.augmentation import Batch
from platform_lib.models.flops import linear_flops
from platform_lib.models.interface import COMMANDS, EGO_CHANNELS, EGO_STEPS, PLAN_STEPS, PLAN_TIMES_S
from platform_lib.models.losses import path_loss
from platform_lib.models.model import Model, Normalisation, Plan
from ray_jobs.recipes import recipe_named
from ray_jobs.recipes.config import TrainConfig

FEATURES = EGO_STEPS * EGO_CHANNELS + len(COMMANDS)


@dataclass(frozen=True)
class MotionConfig:
    """The shape of the network: what a recipe names, and ``weights.pt`` keeps."""

    width: int = 32


class MotionNet(nn.Module):
    """Constant velocity, corrected by what the car's own motion says."""

    scale: Tensor
    reach_s: Tensor

    def __init__(self, config: MotionConfig, normalisation: Normalisation) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor(normalisation.residual_std_m))
        self.register_buffer("reach_s", torch.tensor(PLAN_TIMES_S, dtype=torch.float32))
        self.body = nn.Sequential(nn.Linear(FEATURES, config.width), nn.ReLU(), nn.Linear(config.width, PLAN_STEPS * 2))

    def forward(self, image: Tensor, ego_history: Tensor, command: Tensor) -> Tensor:
        """Plan from (N, 3, 64, 192), (N, 10, 3) and (N, 3); gives (N, 6, 2) metres. This is the graph that is exported."""
        del image
        ahead = ego_history[:, -1, :1] * self.reach_s
        constant = torch.stack([ahead, torch.zeros_like(ahead)], dim=2)
        moved = self.body(torch.cat([ego_history.flatten(1), command], dim=1))
        return constant + moved.reshape(-1, PLAN_STEPS, 2) * self.scale


class MotionModel(Model):
    """How it is trained."""

    looks = False

    def __init__(self, config: MotionConfig, normalisation: Normalisation) -> None:
        self._width = config.width
        self.network = MotionNet(config, normalisation)
        self._scale = torch.tensor(normalisation.residual_std_m)

    def forward(self, batch: Batch, network: nn.Module | None = None) -> Plan:
        """Plan; `network` is the same one, wrapped for several processes or compiled."""
        called = self.network if network is None else network
        return Plan(called(batch.image, batch.ego_history, batch.command))

    def loss(self, plan: Plan, batch: Batch) -> Tensor:
        """Return the distance to the driven path, in spreads of each waypoint."""
        return path_loss(plan.waypoints_m, batch.future_m, self._scale.to(plan.waypoints_m.device))

    @property
    def flops_per_sample(self) -> int:
        """Operations of one plan."""
        return linear_flops([FEATURES, self._width, PLAN_STEPS * 2])


registry.register("own_motion", MotionConfig, MotionModel)


def own_planner_recipe() -> TrainConfig:
    """The recipe: a built-in one with another model."""
    made = recipe_named("ego_only_tiny")
    return dataclasses.replace(made, recipe="own_planner_recipe", planner=MotionConfig())
