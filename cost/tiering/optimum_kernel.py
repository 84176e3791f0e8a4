"""The loop of the offline optimum: backward over the days, over class and days counted in it (pure)."""

from __future__ import annotations

from typing import Any

import numpy as np

from platform_lib.compiled import compiled

_NEVER = 1e30


@compiled
def least(
    spans: Any, early: Any, earliest: Any, onward: Any, storage: Any, leave: Any, enter: Any, back: Any, reads: Any,
    touched: Any, tiered: int,
) -> float:  # fmt: skip
    """Return the least that one object pays; `tiered` is Intelligent-Tiering's number where it watches the object."""
    classes, days = reads.shape
    longest = spans.max()
    value = np.zeros((classes, longest))
    here = np.zeros((classes, longest))
    for c in range(classes):
        for k in range(spans[c]):
            value[c, k] = leave[c] * max(0, early[c] - k)
    for day in range(days - 1, -1, -1):
        # A day in state (c, k): k days were counted before it.
        for c in range(classes):
            for k in range(spans[c]):
                count, tier = k, 0
                if c == tiered:
                    if touched[day]:
                        count = 0
                    tier = 2 if count >= 90 else (1 if count >= 30 else 0)
                here[c, k] = storage[c, tier] + reads[c, day] + value[c, min(count + 1, spans[c] - 1)]
        for c in range(classes):
            # Standard comes first, so its value is of today already: a copy may be moved on at once.
            move = value[0, 0] + back[c] if c > 0 else _NEVER
            for to in range(classes):
                if onward[c, to] and day >= earliest[to]:
                    move = min(move, enter[to] + here[to, 0])
            for k in range(spans[c]):
                value[c, k] = min(here[c, k], move + leave[c] * max(0, early[c] - k))
    least_usd: float = value[0, 0]
    return least_usd
