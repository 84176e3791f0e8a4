"""A path as twelve tokens: each coordinate's distance from constant velocity, in one of so many equal bins."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from platform_lib.errors import ConfigError
from platform_lib.models.interface import PLAN_STEPS
from platform_lib.models.model import Normalisation

TOKENS = PLAN_STEPS * 2
"""x then y of each waypoint, the nearest first."""


@dataclass(frozen=True, slots=True)
class TrajectoryTokens:
    """How a residual (in spreads of its waypoint, see `PathHead`) becomes a bin, and a bin its middle.

    Attributes:
        bins: How many.
        reach: Residuals from -reach to reach have bins; what lies beyond is put into the outermost.

    Raises:
        ConfigError: There are fewer than two bins, or no reach.
    """

    bins: int
    reach: float

    def __post_init__(self) -> None:
        if self.bins < 2 or not self.reach > 0:
            raise ConfigError(f"{self.bins} bins over +-{self.reach}", where="TrajectoryTokens")

    @property
    def error_bound(self) -> float:
        """How far `decode(encode(r))` may lie from r, in spreads, for every r within the reach: half a bin."""
        return self.reach / self.bins

    def error_bound_m(self, normalisation: Normalisation) -> tuple[tuple[float, float], ...]:
        """Return the same in metres for each waypoint's x and y (6, 2)."""
        return tuple((x * self.error_bound, y * self.error_bound) for x, y in normalisation.residual_std_m)

    def encode(self, residual: Tensor) -> Tensor:
        """Return the bins (N, 12) of residuals (N, 12)."""
        places = torch.floor((residual + self.reach) * (self.bins / (2 * self.reach)))
        return places.clamp(0, self.bins - 1).long()

    def decode(self, tokens: Tensor) -> Tensor:
        """Return the middles (N, 12) of bins (N, 12), in spreads."""
        return (tokens.to(torch.float32) + 0.5) * (2 * self.reach / self.bins) - self.reach

    def beyond(self, residual: Tensor) -> Tensor:
        """Return which residuals have no bin of their own, and so no bound on their error."""
        return residual.abs() > self.reach
