"""Blur recall with its lower confidence bound (pure)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

CONFIDENCE = 0.95
COVERED = 0.9
"""Share of a labelled box that has to lie under blurred regions for the box to count as blurred."""
_HALVINGS = 60


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels: column and row of its upper left corner, and its size."""

    x_px: float
    y_px: float
    width_px: float
    height_px: float

    @property
    def area_px(self) -> float:
        """Its area."""
        return self.width_px * self.height_px


def covered_share(box: Box, regions: Sequence[Box]) -> float:
    """Return the share of `box` under the union of `regions`, exactly: by the cells that their edges cut it into."""
    if box.area_px <= 0:
        return 0.0
    right, bottom = box.x_px + box.width_px, box.y_px + box.height_px
    columns = _cuts(box.x_px, right, [edge for item in regions for edge in (item.x_px, item.x_px + item.width_px)])
    rows = _cuts(box.y_px, bottom, [edge for item in regions for edge in (item.y_px, item.y_px + item.height_px)])
    covered = 0.0
    for low_x, high_x in pairwise(columns):
        for low_y, high_y in pairwise(rows):
            x, y = (low_x + high_x) / 2, (low_y + high_y) / 2
            if any(
                item.x_px <= x <= item.x_px + item.width_px and item.y_px <= y <= item.y_px + item.height_px
                for item in regions
            ):
                covered += (high_x - low_x) * (high_y - low_y)
    return covered / box.area_px


def _cuts(low: float, high: float, edges: Sequence[float]) -> list[float]:
    return sorted({low, high, *(edge for edge in edges if low < edge < high)})


def lower_bound(hits: int, trials: int, confidence: float = CONFIDENCE) -> float:
    """Return the one-sided Clopper-Pearson lower bound of a share; 0 without a trial.

    It is the p at which `hits` or more of `trials` happen with probability 1 - `confidence`: whatever the true share,
    the bound lies above it in at most that many of all samples.

    Source: C. J. Clopper, E. S. Pearson, Biometrika 26 (1934) 404-413.

    Raises:
        ValueError: `hits` is not between 0 and `trials`.
    """
    if not 0 <= hits <= trials:
        raise ValueError(f"{hits} of {trials}")
    if hits == 0:
        return 0.0
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _at_least(hits, trials, middle) < 1 - confidence:
            low = middle
        else:
            high = middle
    return low


def _at_least(hits: int, trials: int, share: float) -> float:
    """Return the probability of `hits` or more of `trials`."""
    if share <= 0.0 or share >= 1.0:
        return float(share >= 1.0)
    log_p, log_q = math.log(share), math.log1p(-share)
    total = math.lgamma(trials + 1)
    return math.fsum(
        math.exp(total - math.lgamma(k + 1) - math.lgamma(trials - k + 1) + k * log_p + (trials - k) * log_q)
        for k in range(hits, trials + 1)
    )
