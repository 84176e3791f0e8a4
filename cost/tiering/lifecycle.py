"""Lifecycle rules as S3's API spells them: those a bucket has, and those it is to have. Pure.

What is written is both what `put-bucket-lifecycle-configuration` takes and what an environment's `lifecycle_file` names.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_pascal

from cost.tiering.model import KEEP, SIZE_CLASSES, SMALL_BYTES, Schedule, SizeClass, Step, StorageClass
from cost.tiering.settings import Housekeeping

MOST_RULES = 1000
_BY_ITSELF = "tiering-"


class _Api(BaseModel):
    """S3's own answer may hold what is not needed here; it is kept as it came."""

    model_config = ConfigDict(extra="allow", frozen=True, alias_generator=to_pascal, populate_by_name=True)


class CurrentTransition(_Api):
    """One move of a rule."""

    storage_class: str
    days: int | None = None


class CurrentRule(_Api):
    """One rule of a bucket."""

    id: str = Field(default="", alias="ID")
    status: str
    prefix: str | None = None
    filter: dict[str, Any] = {}
    transitions: tuple[CurrentTransition, ...] = ()


class CurrentRules(_Api):
    """What `get-bucket-lifecycle-configuration` answers, or what was written here before."""

    rules: tuple[CurrentRule, ...]
    transition_default_minimum_object_size: str | None = None


@dataclass(frozen=True, slots=True)
class Reach:
    """Which objects a rule is about.

    Attributes:
        prefix: Keys begin with it.
        above: Objects are larger than this, bytes.
        below: And smaller than this; None: of any size.
        sized: Whether the rule says a size at all.
        tagged: Whether it asks for tags, which no inventory tells.
    """

    prefix: str
    above: int
    below: int | None
    sized: bool
    tagged: bool

    def holds(self, prefix: str, size: SizeClass) -> bool:
        """Say whether it is about all objects of a prefix and size class."""
        low = self.above < size.low or (size.low == 0 and self.above <= 1)
        high = self.below is None or (size.high is not None and size.high <= self.below)
        return not self.tagged and prefix.startswith(self.prefix) and low and high


def reach_of(rule: CurrentRule) -> Reach:
    """Return which objects a rule is about."""
    asked = {**rule.filter, **rule.filter.get("And", {})}
    above, below = asked.get("ObjectSizeGreaterThan"), asked.get("ObjectSizeLessThan")
    return Reach(
        str(asked.get("Prefix") or rule.prefix or ""),
        -1 if above is None else int(above),
        None if below is None else int(below),
        above is not None or below is not None,
        bool(asked.get("Tag") or asked.get("Tags")),
    )


def schedule_of(current: CurrentRules | None, prefix: str, size: SizeClass) -> tuple[Schedule, tuple[str, ...]]:
    """Return where a bucket's rules move objects of a prefix and size, and what of them could not be taken in."""
    if current is None:
        return KEEP, ()
    moves: list[tuple[int, StorageClass]] = []
    notes = []
    for rule in current.rules:
        reach = reach_of(rule)
        if rule.status != "Enabled" or not rule.transitions or not reach.holds(prefix, size):
            continue
        for move in rule.transitions:
            if move.days is None or move.storage_class not in StorageClass.__members__:
                notes.append(f"rule {rule.id or '?'}: a move to {move.storage_class} by date is kept and not judged")
                continue
            to = StorageClass(move.storage_class)
            if size.high is not None and size.high <= SMALL_BYTES and not reach.sized and not _varies(current, to):
                continue  # S3's default: below 128 KiB nothing moves unless the rule names sizes
            moves.append((move.days, to))
    steps: tuple[Step, ...] = ()
    for day, to in sorted(moves, key=lambda item: (item[0], list(StorageClass).index(item[1]))):
        if steps and steps[-1].to is to:  # a second rule says the same, later
            continue
        try:
            steps = Schedule((*steps, Step(day, to))).steps
        except ValueError as error:
            notes.append(f"{error}: passed over")
    return Schedule(steps), tuple(notes)


def _varies(current: CurrentRules, to: StorageClass) -> bool:
    cold = to in {StorageClass.GLACIER, StorageClass.DEEP_ARCHIVE}
    return current.transition_default_minimum_object_size == "varies_by_storage_class" and cold


def nested(prefix: str, prefixes: Sequence[str]) -> bool:
    """Say whether other prefixes lie below one: a rule for it would take them too."""
    return any(other != prefix and other.startswith(prefix) for other in prefixes)


def rules_document(
    schedules: Mapping[tuple[str, int], Schedule], current: CurrentRules | None, keep: Housekeeping
) -> dict[str, Any]:
    """Return a bucket's whole configuration.

    Args:
        schedules: By prefix and number of size class.
        current: The rules that the bucket has: their moves are replaced, everything else of them is kept.
        keep: What has to be done beside; written where it says more than the rules that are kept.
    """
    rules = [*_kept(current), *_moving(schedules)]
    if current is None or keep != Housekeeping():
        rules.append(_housekeeping(keep))
    return {"Rules": rules}


def _kept(current: CurrentRules | None) -> Iterator[dict[str, Any]]:
    for rule in () if current is None else current.rules:
        document = rule.model_dump(by_alias=True, exclude_unset=True)
        judged = rule.status == "Enabled" and not reach_of(rule).tagged
        if judged:
            left = [move for move in document.get("Transitions", ()) if "Days" not in move]
            document["Transitions"] = left
            if not left:
                del document["Transitions"]
        if set(document) - {"ID", "Status", "Filter", "Prefix"}:
            yield document


def _moving(schedules: Mapping[tuple[str, int], Schedule]) -> Iterator[dict[str, Any]]:
    for prefix in sorted({prefix for prefix, _ in schedules}):
        for first, last, schedule in _runs(
            {number: each for (name, number), each in schedules.items() if name == prefix}
        ):
            sizes: dict[str, int] = {}
            # A rule that names a size moves what is below 128 KiB, too; one that names none does not. S3 asks for more than 0.
            low, high = max(1, SIZE_CLASSES[first].low - 1), SIZE_CLASSES[last].high
            sizes["ObjectSizeGreaterThan"] = low
            if high is not None:
                sizes["ObjectSizeLessThan"] = high
            asked = {"Prefix": prefix, **sizes} if prefix else sizes
            yield {
                "ID": _name(prefix, first, last),
                "Status": "Enabled",
                "Filter": {"And": asked} if len(asked) > 1 else asked,
                "Transitions": [{"Days": step.day, "StorageClass": step.to.value} for step in schedule.steps],
            }


def _runs(by_size: Mapping[int, Schedule]) -> Iterator[tuple[int, int, Schedule]]:
    """Yield neighbouring size classes with one schedule together; those that stay in Standard need no rule."""
    run: tuple[int, int, Schedule] | None = None
    for number, schedule in sorted(by_size.items()):
        if run is not None and run[1] == number - 1 and run[2] == schedule:
            run = run[0], number, schedule
            continue
        if run is not None and run[2].steps:
            yield run
        run = number, number, schedule
    if run is not None and run[2].steps:
        yield run


def _name(prefix: str, first: int, last: int) -> str:
    """Return an ID of at most 255 characters that stays what it is."""
    where = prefix.rstrip("/") or "all"
    if len(where) > 200:
        where = f"{where[:180]}-{hashlib.sha256(prefix.encode()).hexdigest()[:12]}"
    return f"{_BY_ITSELF}{where}-{first}" if first == last else f"{_BY_ITSELF}{where}-{first}-{last}"


def _housekeeping(keep: Housekeeping) -> dict[str, Any]:
    found: dict[str, Any] = {"ID": "housekeeping", "Status": "Enabled", "Filter": {"Prefix": ""}}
    if keep.expire_days is not None:
        found["Expiration"] = {"Days": keep.expire_days}
    if keep.old_version_days is not None:
        found["NoncurrentVersionExpiration"] = {"NoncurrentDays": keep.old_version_days}
    found["AbortIncompleteMultipartUpload"] = {"DaysAfterInitiation": keep.abort_upload_days}
    return found
