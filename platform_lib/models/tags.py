"""What a dataset says of a sample in words: its weather and what happens in it, as columns of 0 and 1 (pure)."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

WEATHERS = ("clear", "rain", "night")
EVENTS = ("traffic_light", "pedestrian", "cut_in", "lead", "cruise")
TAGS = (*WEATHERS, *EVENTS)


def tag_rows(slices: Sequence[Collection[str]]) -> NDArray[np.uint8]:
    """Return (N, 8), 1 where a sample lies in a slice of that name; other slices' names are passed over."""
    return np.array([[name in found for name in TAGS] for found in slices], dtype=np.uint8).reshape(-1, len(TAGS))
