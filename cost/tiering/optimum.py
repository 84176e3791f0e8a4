"""What an object would pay if all of its reads were known beforehand: the bound that no rule can pass. Pure.

It may move on any day: down by lifecycle as far as S3 allows it, and back to Standard by a copy, which pays for reading and writing
the object. The days that lifecycle keeps an object in a class before a next move are not asked of it, so the bound is rather too low.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from cost.tiering.fees import (
    GETS,
    INTELLIGENT_TIERS,
    MONITORING,
    PUTS,
    STANDARD_STORAGE,
    read_items,
    storage_item,
    transition_item,
)
from cost.tiering.model import (
    ARCHIVE_DAYS,
    GIB,
    MONTH_DAYS,
    OWN_OVERHEAD_BYTES,
    RULES,
    SMALL_BYTES,
    STANDARD_OVERHEAD_BYTES,
    StorageClass,
)
from cost.tiering.optimum_kernel import least

Floats = NDArray[np.float64]
Usd = Callable[[str], float]


def optimum(
    size_bytes: Floats,
    gets: Floats,
    read_bytes: Floats,
    usd: Usd,
    allowed: Iterable[StorageClass],
    *,
    copies: bool = True,
) -> Floats:
    """Return the least that each object can pay in its life, USD.

    Args:
        size_bytes: (objects,)
        gets: Requests by object and day, (objects, days).
        read_bytes: Bytes that they read, (objects, days).
        usd: Price of an item.
        allowed: Classes that it may lie in.
        copies: Whether objects may also be copied back to Standard, which no lifecycle rule does.
    """
    names = [StorageClass.STANDARD, *(name for name in allowed if name is not StorageClass.STANDARD)]
    spans = np.array([_span(name) for name in names])
    early = np.array([RULES[name].least_days for name in names])
    earliest = np.array([RULES[name].earliest_day for name in names])
    onward = np.array([[other in RULES[name].onward for other in names] for name in names])
    found = np.empty(len(size_bytes))
    for number, size in enumerate(size_bytes):
        gib = float(size) / GIB
        storage = np.stack([_storage(name, gib, usd) for name in names])
        leave = np.array([_leave(name, gib, usd) for name in names])
        enter = np.array([0.0 if name is names[0] else usd(transition_item(name)) / 1000 for name in names])
        back = np.array([_copy(name, gib, usd) if copies else np.inf for name in names])
        reads = np.stack([_reads(name, gib, gets[number], read_bytes[number] / GIB, usd) for name in names])
        watched = gib >= SMALL_BYTES / GIB
        found[number] = least(spans, early, earliest, onward, storage, leave, enter, back, reads,
                              gets[number] > 0, _tiered(names, watched))  # fmt: skip
    return found


def _span(name: StorageClass) -> int:
    """Return how many counted days a class has: since it was entered, or of idleness."""
    return ARCHIVE_DAYS + 1 if name is StorageClass.INTELLIGENT_TIERING else RULES[name].least_days + 1


def _tiered(names: list[StorageClass], watched: bool) -> int:  # noqa: FBT001 - of one caller
    here = StorageClass.INTELLIGENT_TIERING
    return names.index(here) if here in names and watched else -1


def _held(name: StorageClass, gib: float) -> float:
    held = max(gib, SMALL_BYTES / GIB) if RULES[name].floor else gib
    return held + (OWN_OVERHEAD_BYTES / GIB if RULES[name].overhead else 0.0)


def _storage(name: StorageClass, gib: float, usd: Usd) -> Floats:
    """Return USD a day, by tier."""
    if name is StorageClass.INTELLIGENT_TIERING:
        watched = gib >= SMALL_BYTES / GIB
        fee = usd(MONITORING) / 1000 if watched else 0.0
        return np.array([gib * usd(item) + fee for item in INTELLIGENT_TIERS]) / MONTH_DAYS
    beside = STANDARD_OVERHEAD_BYTES / GIB * usd(STANDARD_STORAGE) if RULES[name].overhead else 0.0
    return np.full(3, (_held(name, gib) * usd(storage_item(name)) + beside) / MONTH_DAYS)


def _leave(name: StorageClass, gib: float, usd: Usd) -> float:
    """Return USD for each day that a stay was too short."""
    return _held(name, gib) * usd(storage_item(name)) / MONTH_DAYS if RULES[name].least_days else 0.0


def _copy(name: StorageClass, gib: float, usd: Usd) -> float:
    return float(_reads(name, gib, np.ones(1), np.full(1, gib), usd)[0]) + usd(PUTS) / 1000


def _reads(name: StorageClass, gib: float, gets: Floats, read: Floats, usd: Usd) -> Floats:
    items = read_items(name)
    if RULES[name].instant:
        found = gets / 1000 * usd(items[0])
        return found + read * usd(items[1]) if len(items) > 1 else found
    whole = usd(items[0]) / 1000 + gib * usd(items[1]) + gib * usd(STANDARD_STORAGE) / MONTH_DAYS
    return np.asarray((gets > 0) * whole + gets / 1000 * usd(GETS))
