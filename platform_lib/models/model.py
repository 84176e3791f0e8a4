"""The driving family's one interface: a batch goes in, a plan comes out, whatever network is between.

A `Model` is a network and what training has to know of it. Its network is a plain `torch.nn.Module` that can be called with
``(image, ego_history, command)`` and then gives the plan alone: that is the graph which is exported, evaluated and driven.
What only training needs besides (occupancy, tokens) goes through `Model.forward`, from a `Batch` to a `Plan`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from platform_lib.models.augmentation import Batch


@dataclass(frozen=True, slots=True)
class Normalisation:
    """Constants baked into the graph, taken from the training split alone.

    Attributes:
        ego_mean: Per ego channel (m/s, rad/s, m/s^2).
        ego_std: The same, never 0.
        residual_std_m: (6, 2) spread of the driven path around the constant-velocity path, in metres.
    """

    ego_mean: tuple[float, ...]
    ego_std: tuple[float, ...]
    residual_std_m: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a model makes of a batch of N samples.

    Attributes:
        waypoints_m: (N, 6, 2) x, y in metres in the ego frame at 0.5 ... 3.0 s.
        occupancy: (N, 6, X, Y) logits of a cell being taken at those times; None from models without a grid.
        token_logits: (N, 12, V) logits of the trajectory's tokens; None from models without tokens.
        text_logits: (N, R, V) logits of the rationale's tokens; None from models that do not speak.
        text_targets: (N, R) which tokens they should be, -100 behind the end.
    """

    waypoints_m: Tensor
    occupancy: Tensor | None = None
    token_logits: Tensor | None = None
    text_logits: Tensor | None = None
    text_targets: Tensor | None = None


class Model(ABC):
    """A member of the family; subclasses are built from their configuration and a `Normalisation`.

    Attributes:
        columns: Dataset columns it learns from besides those that every planner is trained on.
        network: What holds the weights.
        looks: Whether it looks at the image; one that does not is spared the work.
        cameras: How many cameras' pictures it takes, stacked along the channels.
        export_tolerance_m: How far the exported graph's plan may lie from torch's.
    """

    columns: ClassVar[tuple[str, ...]] = ()
    network: nn.Module
    looks: bool = True
    cameras: int = 1
    export_tolerance_m: float = 1e-3

    @abstractmethod
    def forward(self, batch: Batch, network: nn.Module | None = None) -> Plan:
        """Return the plan of N samples, with all that `loss` needs of it.

        Args:
            batch: The samples.
            network: What is called in place of `network`: the same, wrapped for several processes or compiled.
        """

    @abstractmethod
    def loss(self, plan: Plan, batch: Batch) -> Tensor:
        """Return the scalar that is made small."""

    @property
    @abstractmethod
    def flops_per_sample(self) -> int:
        """Floating-point operations of one sample's plan: two for each multiplication with an addition.

        Products of matrices and convolutions are counted and nothing else, as model FLOPs utilisation has it. A training
        step does three times as many: the backward pass forms the gradient of each product's two factors.
        Source: Chowdhery et al., PaLM (2022), appendix B.
        """
