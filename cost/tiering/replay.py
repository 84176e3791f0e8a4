"""Runs objects through S3 day by day and writes down what is paid: the referee of plans, with arithmetic of its own. Pure.

Deliberately no part of how plans are made: each object is followed through its storage classes and through Intelligent-Tiering's tiers,
with its own reads.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from cost.tiering.fees import (
    GETS,
    INTELLIGENT_TIERS,
    MONITORING,
    STANDARD_STORAGE,
    read_items,
    storage_item,
    transition_item,
)
from cost.tiering.model import GIB, MONTH_DAYS, RULES, SMALL_BYTES, Schedule, StorageClass

Floats = NDArray[np.float64]
Usd = Callable[[str], float]
_OWN_GIB, _STANDARD_GIB = 32 / (1 << 20), 8 / (1 << 20)


def replay(schedule: Schedule, size_bytes: Floats, gets: Floats, read_bytes: Floats, usd: Usd) -> Floats:
    """Return what each object pays in its life, USD.

    Args:
        schedule: The rule.
        size_bytes: (objects,)
        gets: Requests by object and day, (objects, days).
        read_bytes: Bytes that they read, (objects, days).
        usd: Price of an item.
    """
    objects, days = gets.shape
    size = size_bytes / GIB
    paid, idle = np.zeros(objects), np.zeros(objects)
    moves = {step.day: step.to for step in schedule.steps}
    now, since = StorageClass.STANDARD, 0
    for day in range(days):
        if day in moves:
            paid += _left(now, day - since, size, usd)
            now, since = moves[day], day
            paid += usd(transition_item(now)) / 1000
            idle[:] = 0
        read = gets[:, day] > 0
        idle = np.where(read, 0, idle)
        paid += _stored(now, size, idle, usd)
        paid += _read(now, size, gets[:, day], read_bytes[:, day] / GIB, usd)
        idle += 1
    return paid + _left(now, days - since, size, usd)


def _billed(name: StorageClass, size: Floats) -> Floats:
    floor = SMALL_BYTES / GIB
    held = np.maximum(size, floor) if RULES[name].floor else size
    return held + (_OWN_GIB if RULES[name].overhead else 0.0)


def _stored(name: StorageClass, size: Floats, idle: Floats, usd: Usd) -> Floats:
    month = 1 / MONTH_DAYS
    if name is StorageClass.INTELLIGENT_TIERING:
        watched = size >= SMALL_BYTES / GIB
        tier = np.where(watched, (idle >= 30).astype(int) + (idle >= 90), 0)
        rate = np.array([usd(item) for item in INTELLIGENT_TIERS])[tier]
        return np.asarray((size * rate + np.where(watched, usd(MONITORING) / 1000, 0.0)) * month)
    found = _billed(name, size) * usd(storage_item(name))
    if RULES[name].overhead:
        found = found + _STANDARD_GIB * usd(STANDARD_STORAGE)
    return np.asarray(found * month)


def _read(name: StorageClass, size: Floats, gets: Floats, read: Floats, usd: Usd) -> Floats:
    items = read_items(name)
    if RULES[name].instant:
        found = gets / 1000 * usd(items[0])
        return found + read * usd(items[1]) if len(items) > 1 else found
    restored = (gets > 0).astype(float)
    whole = usd(items[0]) / 1000 + size * usd(items[1]) + size * usd(STANDARD_STORAGE) / MONTH_DAYS
    return restored * whole + gets / 1000 * usd(GETS)


def _left(name: StorageClass, stayed: int, size: Floats, usd: Usd) -> Floats:
    short = max(0, RULES[name].least_days - stayed)
    if not short:
        return np.zeros_like(size)
    return np.asarray(short * _billed(name, size) * usd(storage_item(name)) / MONTH_DAYS)
