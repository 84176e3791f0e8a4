"""What a class charges for, day by day of an object's life: one table that plans are made with and bills are written from. Pure.

A charge is linear in the number of objects and in their GiB, so a group of objects of one size class is billed exactly by its two
sums. Day `a` of a life is `[a, a + 1)` days after the object was made.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cost.tiering.fees import GETS, INTELLIGENT_TIERS, MONITORING, STANDARD_STORAGE, read_items, transition_item
from cost.tiering.fees import storage_item as storage_of
from cost.tiering.model import (
    ARCHIVE_DAYS,
    GIB,
    INFREQUENT_DAYS,
    MONTH_DAYS,
    OWN_OVERHEAD_BYTES,
    RULES,
    SMALL_BYTES,
    STANDARD_OVERHEAD_BYTES,
    StorageClass,
)

Floats = NDArray[np.float64]
_DAY = 1 / MONTH_DAYS
_SMALL_GIB = SMALL_BYTES / GIB
STORED, WATCHED, MOVED, LEFT_EARLY, READ = "stored", "watched", "moved", "left early", "read"


@dataclass(frozen=True, slots=True, eq=False)
class Access:
    """How objects of one kind are read and how they idle, by the day of their life; all of one length.

    Attributes:
        gets: Requests an object and day.
        read_share: Bytes that are read, of the bytes there are, a day.
        read_objects: Share of objects that are read at least once on a day.
        read_days: The same share, by bytes.
        idle_30: Share of bytes that were not read on a day nor on the 29 before.
        idle_90: The same of 90 days.
    """

    gets: Floats
    read_share: Floats
    read_objects: Floats
    read_days: Floats
    idle_30: Floats
    idle_90: Floats

    @property
    def days(self) -> int:
        """How many days it tells of."""
        return len(self.gets)

    @property
    def read(self) -> bool:
        """Whether anything is ever read."""
        return bool(self.gets.any() or self.read_share.any())


@dataclass(frozen=True, slots=True, eq=False)
class Charge:
    """One fee of a class.

    Attributes:
        item: What the book of prices calls it.
        why: `stored`, `watched`, `moved`, `left early` or `read`.
        per_object: Units an object and day (`entry`, `early`: an object), by the day of its life.
        per_gib: Units a GiB and day.
        lag: It runs from so many days after the object came into the class.
        entry: It is paid once, on coming into the class.
        least_days: It is paid on leaving, for each day by which the stay was shorter than this.
    """

    item: str
    why: str
    per_object: Floats
    per_gib: Floats
    lag: int = 0
    entry: bool = False
    least_days: int = 0
    _totals: tuple[Floats, Floats] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        totals = tuple(np.concatenate(([0.0], np.cumsum(each))) for each in (self.per_object, self.per_gib))
        object.__setattr__(self, "_totals", totals)

    def units(self, begin: Any, end: Any, entered: Any = None) -> tuple[Floats, Floats]:
        """Return units (an object, a GiB) of stays from day `begin` to day `end`; arrays that numpy can broadcast.

        Args:
            begin: The first day that is counted.
            end: The day after the last.
            entered: When the object came into the class, where that was before `begin`.
        """
        since = begin if entered is None else entered
        if self.entry:
            return self.per_object[begin] + 0.0 * end, self.per_gib[begin] + 0.0 * end
        if self.least_days:
            short = np.maximum(0, self.least_days - (end - since))
            return self.per_object[0] * short, self.per_gib[0] * short
        # Without a lag nothing has to be compared, and columns and rows need not become a matrix first.
        first = np.minimum(np.maximum(begin, since + self.lag), end) if self.lag else begin
        an_object, a_gib = self._totals
        return an_object[end] - an_object[first], a_gib[end] - a_gib[first]


def charges_of(name: StorageClass, access: Access, *, small: bool) -> tuple[Charge, ...]:
    """Return every fee of a class for objects that are read like this.

    Args:
        name: The class.
        access: How they are read.
        small: Whether they are below 128 KiB, all of them; else all are not.
    """
    flat, none = np.ones(access.days), np.zeros(access.days)
    rule = RULES[name]
    found = (
        [Charge(transition_item(name), MOVED, flat / 1000, none, entry=True)]
        if name is not StorageClass.STANDARD
        else []
    )
    if name is StorageClass.INTELLIGENT_TIERING:
        found += _intelligent(access, flat, none, small=small)
    else:
        billed = (_SMALL_GIB * flat, none) if rule.floor and small else (none, flat)
        own = OWN_OVERHEAD_BYTES / GIB if rule.overhead else 0.0
        storage = (billed[0] + own) * _DAY, billed[1] * _DAY
        found.append(Charge(storage_of(name), STORED, *storage))
        if rule.least_days:
            found.append(Charge(storage_of(name), LEFT_EARLY, *storage, least_days=rule.least_days))
        if rule.overhead:
            found.append(Charge(STANDARD_STORAGE, STORED, STANDARD_OVERHEAD_BYTES / GIB * _DAY * flat, none))
    return tuple(found + _reads(name, access, none))


def _intelligent(access: Access, flat: Floats, none: Floats, *, small: bool) -> list[Charge]:
    frequent, infrequent, archive = INTELLIGENT_TIERS
    found = [Charge(frequent, STORED, none, flat * _DAY)]
    if small:  # always billed as frequently read, and not watched
        return found
    idle_30, idle_90 = access.idle_30 * _DAY, access.idle_90 * _DAY
    return [
        *found,
        Charge(frequent, STORED, none, -idle_30, lag=INFREQUENT_DAYS),
        Charge(infrequent, STORED, none, idle_30, lag=INFREQUENT_DAYS),
        Charge(infrequent, STORED, none, -idle_90, lag=ARCHIVE_DAYS),
        Charge(archive, STORED, none, idle_90, lag=ARCHIVE_DAYS),
        Charge(MONITORING, WATCHED, flat * _DAY / 1000, none),
    ]


def _reads(name: StorageClass, access: Access, none: Floats) -> list[Charge]:
    items = read_items(name)
    if RULES[name].instant:
        found = [Charge(items[0], READ, access.gets / 1000, none)]
        return [*found, Charge(items[1], READ, none, access.read_share)] if len(items) > 1 else found
    return [
        Charge(items[0], READ, access.read_objects / 1000, none),
        Charge(items[1], READ, none, access.read_days),  # a restore brings the whole object
        Charge(STANDARD_STORAGE, READ, none, access.read_days * _DAY),
        Charge(GETS, READ, access.gets / 1000, none),
    ]
