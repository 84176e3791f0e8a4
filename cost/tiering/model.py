"""Storage classes with the rules that S3 bills and moves by, sizes, schedules. Pure.

Source of every rule: S3 User Guide, "Understanding and managing Amazon S3 storage classes", "Transitioning objects using Amazon
S3 Lifecycle", and S3 pricing, as of 2026-11-20.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30
"""S3 bills a "GB" of 2^30 bytes."""
SMALL_BYTES = 128 * KIB
"""Below it S3 bills 128 KiB (IA, Instant), Intelligent-Tiering watches nothing, and lifecycle moves only what its size filter names."""
MONTH_DAYS = 730 / 24
"""A month has 730 hours, as everywhere in `cost`."""
INFREQUENT_DAYS, ARCHIVE_DAYS = 30, 90
"""Days without a read after which Intelligent-Tiering bills its infrequent and its archive instant tier."""


class StorageClass(StrEnum):
    """A storage class that lifecycle moves objects from or to, warmest first."""

    STANDARD = "STANDARD"
    INTELLIGENT_TIERING = "INTELLIGENT_TIERING"
    STANDARD_IA = "STANDARD_IA"
    ONEZONE_IA = "ONEZONE_IA"
    GLACIER_IR = "GLACIER_IR"
    GLACIER = "GLACIER"
    DEEP_ARCHIVE = "DEEP_ARCHIVE"


@dataclass(frozen=True, slots=True)
class ClassRule:
    """What S3 asks of a class.

    Attributes:
        title: As people call it, and as the book of prices does.
        least_days: Of storage that are billed, even if the object leaves earlier.
        floor: Whether fewer than 128 KiB are billed as 128 KiB.
        overhead: Whether 32 KiB of this class and 8 KiB of Standard are billed beside each object.
        instant: Whether objects can be read at once; the others have to be restored first.
        earliest_day: The first day of its life on which lifecycle moves an object here.
        next_after_days: How long lifecycle keeps it here before a next move.
        onward: Where lifecycle can move it from here.
    """

    title: str
    least_days: int = 0
    floor: bool = False
    overhead: bool = False
    instant: bool = True
    earliest_day: int = 0
    next_after_days: int = 1
    onward: tuple[StorageClass, ...] = ()


_C = StorageClass
_COLD = (_C.GLACIER, _C.DEEP_ARCHIVE)
RULES: Mapping[StorageClass, ClassRule] = {
    _C.STANDARD: ClassRule(
        "standard", onward=(_C.INTELLIGENT_TIERING, _C.STANDARD_IA, _C.ONEZONE_IA, _C.GLACIER_IR, *_COLD)
    ),
    _C.INTELLIGENT_TIERING: ClassRule("intelligent-tiering", onward=(_C.ONEZONE_IA, _C.GLACIER_IR, *_COLD)),
    _C.STANDARD_IA: ClassRule(
        "standard-ia",
        least_days=30,
        floor=True,
        earliest_day=30,
        next_after_days=30,
        onward=(_C.INTELLIGENT_TIERING, _C.ONEZONE_IA, _C.GLACIER_IR, *_COLD),
    ),
    _C.ONEZONE_IA: ClassRule(
        "onezone-ia", least_days=30, floor=True, earliest_day=30, next_after_days=30, onward=_COLD
    ),
    _C.GLACIER_IR: ClassRule("glacier instant", least_days=90, floor=True, onward=_COLD),
    _C.GLACIER: ClassRule("glacier flexible", least_days=90, overhead=True, instant=False, onward=(_C.DEEP_ARCHIVE,)),
    _C.DEEP_ARCHIVE: ClassRule("deep archive", least_days=180, overhead=True, instant=False),
}
OWN_OVERHEAD_BYTES, STANDARD_OVERHEAD_BYTES = 32 * KIB, 8 * KIB
# Source: S3 User Guide, "Archive retrieval options": how long a bulk retrieval takes at most, hours.
BULK_HOURS: Mapping[StorageClass, int] = {_C.GLACIER: 12, _C.DEEP_ARCHIVE: 48}


@dataclass(frozen=True, slots=True, order=True)
class SizeClass:
    """Objects of `low` to less than `high` bytes; no `high`: any larger one."""

    low: int
    high: int | None = None

    def __str__(self) -> str:
        if self.high is None:
            return f">= {_bytes(self.low)}"
        return f"< {_bytes(self.high)}" if self.low == 0 else f"{_bytes(self.low)} - {_bytes(self.high)}"

    @property
    def small(self) -> bool:
        """Whether all of them are below 128 KiB."""
        return self.high is not None and self.high <= SMALL_BYTES


SIZE_CLASSES = (
    SizeClass(0, SMALL_BYTES),
    SizeClass(SMALL_BYTES, MIB),
    SizeClass(MIB, 16 * MIB),
    SizeClass(16 * MIB, 128 * MIB),
    SizeClass(128 * MIB),
)
"""One limit is 128 KiB, so that no class holds objects that S3 bills by different rules."""


def size_class_of(size_bytes: int) -> int:
    """Return the number of an object's size class."""
    return sum(size_bytes >= item.low for item in SIZE_CLASSES[1:])


def _bytes(size: int) -> str:
    return f"{size // MIB} MiB" if size >= MIB else f"{size // KIB} KiB"


@dataclass(frozen=True, slots=True, order=True)
class Step:
    """On this day of their life objects go to this class."""

    day: int
    to: StorageClass


@dataclass(frozen=True, slots=True)
class Schedule:
    """Where objects lie, by age: Standard first, then step after step; no step: Standard for good.

    Raises:
        ValueError: S3 would refuse it.
    """

    steps: tuple[Step, ...] = ()

    def __post_init__(self) -> None:
        since, now = 0, StorageClass.STANDARD
        for number, step in enumerate(self.steps):
            rule = RULES[now]
            if step.to not in rule.onward:
                raise ValueError(f"lifecycle does not move from {now} to {step.to}")
            if step.day < RULES[step.to].earliest_day or (number and step.day < since + rule.next_after_days):
                raise ValueError(f"lifecycle does not move to {step.to} on day {step.day}")
            since, now = step.day, step.to

    def __str__(self) -> str:
        if not self.steps:
            return "Standard"
        return ", ".join(f"{RULES[step.to].title} from day {step.day}" for step in self.steps)

    def segments(self, life_days: int) -> tuple[tuple[StorageClass, int, int], ...]:
        """Return (class, first day, day after the last) for a life of so many days."""
        starts = [(StorageClass.STANDARD, 0), *((step.to, step.day) for step in self.steps)]
        ends = [step.day for step in self.steps] + [life_days]
        found = ((name, first, min(end, life_days)) for (name, first), end in zip(starts, ends, strict=True))
        return tuple(item for item in found if item[1] < item[2])


KEEP = Schedule()
"""No rule: everything stays in Standard."""
INTELLIGENT = Schedule((Step(0, StorageClass.INTELLIGENT_TIERING),))
