"""When a history is no longer believed: a run's changes against what the fitted hazards expect (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from cost.spot.hazard import Hazard, ages_ticks
from cost.spot.model import Floats, View

LIMIT = 5.0
"""Standard deviations; heavy tails make three a daily event on the very zone that was fitted."""
EVERY_H = 1.0
WARM_H = 6.0


@dataclass(frozen=True, slots=True, eq=False)
class Drift:
    """Expected changes by age, and the limit.

    Attributes:
        pools: Columns that are watched.
        chances: (pools, 2, classes): of change in a tick, averaged over a day.
        edges_ticks: First age of each class.
        every_ticks: How often it looks; between, what it said last holds by being computed from the same prefix.
        warm_ticks: Before this there is too little to tell.
    """

    pools: tuple[int, ...]
    chances: Floats
    edges_ticks: Floats
    every_ticks: int
    warm_ticks: int

    @classmethod
    def of(cls, hazards: list[Hazard], pools: tuple[int, ...], *, tick_s: float) -> Self:
        """Watch these pools."""
        day = np.arange(24) * 3600.0
        chances = np.stack([hazard.chances(day).mean(axis=0) for hazard in hazards])
        every, warm = (max(1, round(hours * 3600 / tick_s)) for hours in (EVERY_H, WARM_H))
        return cls(pools, chances, hazards[0].edges_ticks.astype(np.float64), every, warm)

    def contradicted(self, view: View) -> bool:
        """Return whether the run's changes are beyond the limit, at the last hour that was full."""
        upto = view.tick // self.every_ticks * self.every_ticks
        if upto < self.warm_ticks:
            return False
        return self.deviation(view, upto) > LIMIT

    def deviation(self, view: View, upto: int) -> float:
        """Return the largest deviation of a pool's changes in the first ticks, in standard deviations."""
        worst = 0.0
        for at, pool in enumerate(self.pools):
            seen = view.available[:upto, pool]
            classes = np.searchsorted(self.edges_ticks, ages_ticks(seen), side="right") - 1
            states = seen.astype(np.int64)
            chance = self.chances[at, states[:-1], classes[:-1]]
            changed = seen[1:] != seen[:-1]
            for up in (0, 1):
                of = states[:-1] == up
                expected = float(chance[of].sum())
                spread = float((chance[of] * (1 - chance[of])).sum()) ** 0.5
                worst = max(worst, abs(float(changed[of].sum()) - expected) / max(spread, 1.0))
        return worst
