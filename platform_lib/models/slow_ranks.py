"""Which of several training processes holds the others up (pure).

Gradients are exchanged in every step, so all processes take the same time for it; what differs is how long each needs
for itself before the exchange: reading its samples and going forward.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

FACTOR = 1.5
LEAST_S = 0.005


@dataclass(frozen=True, slots=True)
class SlowRank:
    """A process that takes much longer than the others.

    Attributes:
        own_s: Its median time of a step before the exchange.
        others_s: The median of the others' times.
    """

    rank: int
    own_s: float
    others_s: float

    def __str__(self) -> str:
        times = self.own_s / self.others_s if self.others_s > 0 else float("inf")
        return (
            f"rank {self.rank} holds the others up: {1e3 * self.own_s:.0f} ms a step before gradients are exchanged, "
            f"{times:.1f} times the others' {1e3 * self.others_s:.0f} ms"
        )


def slow_ranks(own_s: Sequence[float], *, factor: float = FACTOR, least_s: float = LEAST_S) -> tuple[SlowRank, ...]:
    """Return the ranks whose time is `factor` times that of the others, and more than `least_s` above it.

    Args:
        own_s: Each rank's median time of a step before the exchange, in seconds.
        factor: How much longer is too long.
        least_s: Smaller differences are noise.
    """
    found = []
    for rank, own in enumerate(own_s):
        others = [value for other, value in enumerate(own_s) if other != rank]
        if others and own > factor * median(others) and own - median(others) > least_s:
            found.append(SlowRank(rank, own, median(others)))
    return tuple(found)
