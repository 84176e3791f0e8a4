"""The learned planners: small networks of operators that the Hexagon tensor processor runs in integers.

Only Conv, BatchNorm, ReLU, pooling, Linear and elementwise arithmetic on vectors are used, and normalisation constants
live inside the graph, so the exported model takes the sensor's own units and cannot be fed wrongly scaled data. Pixels
get no constants of their own: the first BatchNorm absorbs mean and scale, while arithmetic on a three-channel image
more than doubled the simulated latency in integers (163 us against 72 us on sa8255p, w8a8).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, cast

import numpy as np
import torch
from torch import Tensor, nn

from platform_lib.models.augmentation import Batch
from platform_lib.models.flops import convolution_flops, linear_flops
from platform_lib.models.interface import (
    COMMANDS,
    EGO_CHANNELS,
    EGO_STEPS,
    IMAGE_HEIGHT,
    IMAGE_WIDTH,
    PLAN_STEPS,
    PLAN_TIMES_S,
    Float,
    PlannerInput,
    network_inputs,
)
from platform_lib.models.losses import path_loss
from platform_lib.models.model import Model, Plan
from platform_lib.models.model import Normalisation as Normalisation


@dataclass(frozen=True, slots=True)
class PlannerConfig:
    """The shape of a network.

    Attributes:
        kind: ``camera`` looks at the image; ``ego_only`` has the same interface and does not.
        channels: Output channels of the stride-2 convolutions.
        squeeze: Channels of the last feature map, which is flattened so that *where* something is seen is kept.
        hidden: Width of the two hidden layers of each head.
        ego_hidden: Width of the ego encoder.
        dropout: Probability of dropping a hidden unit of a head while training.
    """

    kind: Literal["camera", "ego_only"]
    channels: tuple[int, ...]
    squeeze: int
    hidden: int
    ego_hidden: int
    dropout: float


class PlannerNet(nn.Module):
    """Plan = constant-velocity path + residual_std * (head(ego) + vision(image, ego)); one forward for both kinds.

    The ego head alone is the ego-only planner; what the camera sees is a correction of it. With one head over both, image
    features that fitted single drives spoilt what the ego history knew (ADE where the scene decides: 0.48 m, now 0.47).
    """

    ego_mean: Tensor
    ego_scale: Tensor
    residual_scale: Tensor
    reach_s: Tensor

    def __init__(self, config: PlannerConfig, normalisation: Normalisation) -> None:
        super().__init__()
        self.config = config
        self._constant("ego_mean", np.reshape(normalisation.ego_mean, (1, 1, EGO_CHANNELS)))
        self._constant("ego_scale", 1.0 / np.reshape(normalisation.ego_std, (1, 1, EGO_CHANNELS)))
        self._constant("residual_scale", np.reshape(normalisation.residual_std_m, (1, PLAN_STEPS * 2)))
        self._constant("reach_s", np.stack([PLAN_TIMES_S, np.zeros_like(PLAN_TIMES_S)], axis=1).reshape(1, -1))
        self.ego = nn.Sequential(
            nn.Linear(EGO_STEPS * EGO_CHANNELS + len(COMMANDS), config.ego_hidden),
            nn.ReLU(),
        )
        self.head = _head(config.ego_hidden, config)
        if config.kind == "camera":
            self.backbone = _backbone(config)
            down = 2 ** len(config.channels)
            seen = config.squeeze * (IMAGE_HEIGHT // down) * (IMAGE_WIDTH // down)
            self.vision = _head(seen + config.ego_hidden, config)

    def _constant(self, name: str, value: object) -> None:
        self.register_buffer(name, torch.as_tensor(np.asarray(value), dtype=torch.float32))

    def forward(self, image: Tensor, ego_history: Tensor, command: Tensor) -> Tensor:
        """Plan from (N, 3, 64, 192) in 0..1, (N, 10, 3) in SI units and (N, 3) one-hot; gives (N, 6, 2) metres."""
        history = ((ego_history - self.ego_mean) * self.ego_scale).flatten(1)
        features = self.ego(torch.cat([history, command], dim=1))
        residual = self.head(features)
        if self.config.kind == "camera":
            seen = self.backbone(image).flatten(1)
            residual = residual + self.vision(torch.cat([seen, features], dim=1))
        # The last step's first channel is the present speed.
        speed_mps = ego_history.flatten(1)[:, -EGO_CHANNELS : -EGO_CHANNELS + 1]
        path = speed_mps * self.reach_s + residual * self.residual_scale
        return cast("Tensor", path.reshape(-1, PLAN_STEPS, 2))


def _head(features: int, config: PlannerConfig) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(features, config.hidden),
        nn.ReLU(),
        nn.Dropout(config.dropout),
        nn.Linear(config.hidden, config.hidden),
        nn.ReLU(),
        nn.Linear(config.hidden, PLAN_STEPS * 2),
    )


def _backbone(config: PlannerConfig) -> nn.Sequential:
    layers: list[nn.Module] = []
    for number, (wide_in, wide_out) in enumerate(pairwise((3, *config.channels))):
        kernel = 5 if number == 0 else 3
        layers += [
            nn.Conv2d(wide_in, wide_out, kernel, stride=2, padding=kernel // 2, bias=False),
            nn.BatchNorm2d(wide_out),
            nn.ReLU(),
        ]
    layers += [nn.Conv2d(config.channels[-1], config.squeeze, 1), nn.ReLU()]
    return nn.Sequential(*layers)


class CameraModel(Model):
    """The camera planner and its ego-only sibling: behaviour cloning."""

    def __init__(self, config: PlannerConfig, normalisation: Normalisation) -> None:
        self._config = config
        self.network = PlannerNet(config, normalisation)
        self.looks = config.kind == "camera"
        self._scale = torch.as_tensor(normalisation.residual_std_m, dtype=torch.float32)

    def forward(self, batch: Batch, network: nn.Module | None = None) -> Plan:
        """Plan; nothing else comes with it."""
        return Plan((self.network if network is None else network)(batch.image, batch.ego_history, batch.command))

    def loss(self, plan: Plan, batch: Batch) -> Tensor:
        """Return the path's loss; see `path_loss`."""
        return path_loss(plan.waypoints_m, batch.future_m, self._scale.to(plan.waypoints_m.device))

    @property
    def flops_per_sample(self) -> int:
        """Floating-point operations of one plan."""
        config = self._config
        outputs = (config.hidden, config.hidden, PLAN_STEPS * 2)
        widths = [EGO_STEPS * EGO_CHANNELS + len(COMMANDS), config.ego_hidden]
        total = linear_flops(widths) + linear_flops([config.ego_hidden, *outputs])
        if config.kind == "ego_only":
            return total
        rows, columns = IMAGE_HEIGHT, IMAGE_WIDTH
        for number, (wide_in, wide_out) in enumerate(pairwise((3, *config.channels))):
            rows, columns = -(-rows // 2), -(-columns // 2)
            total += convolution_flops(wide_in, wide_out, 5 if number == 0 else 3, rows * columns)
        total += convolution_flops(config.channels[-1], config.squeeze, 1, rows * columns)
        return total + linear_flops([config.squeeze * rows * columns + config.ego_hidden, *outputs])


class TorchPlanner:
    """A network in evaluation mode behind the planner interface."""

    def __init__(self, name: str, network: nn.Module, *, batch: int = 64) -> None:
        self._name = name
        self._network = network.eval()
        self._batch = batch

    @property
    def name(self) -> str:
        """Return the name that stands in reports."""
        return self._name

    def plan(self, inputs: PlannerInput) -> Float:
        """Return (N, 6, 2) metres."""
        plans = [np.zeros((0, PLAN_STEPS, 2), dtype=np.float32)]
        with torch.inference_mode():
            for start in range(0, len(inputs), self._batch):
                rows = np.arange(start, min(start + self._batch, len(inputs)))
                arrays = network_inputs(inputs.take(rows))
                tensors = [torch.from_numpy(arrays[name]) for name in ("image", "ego_history", "command")]
                plans.append(self._network(*tensors).numpy())
        return np.concatenate(plans)
