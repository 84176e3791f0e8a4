"""Requests with a stated risk, or why none can be stated. Pure.

CPU: with at most a given chance, more than a given share of next week's windows lie above the request. Memory: with at most a given
chance, next week's highest working set lies above the limit. A window is one step of the history; throttling within it, by bursts that
its mean hides, is not seen, unless the counters of throttled periods tell.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cost.rightsize import conformal
from cost.rightsize.model import DAYS_A_WEEK, MIB, ContainerKey, Requested, Resource, Usage
from cost.rightsize.weeks import Weeks, weeks_of

LEAST_CPU_CORES, LEAST_MEMORY_BYTES = 0.010, 16 * MIB
"""Below that a request is noise: 10 m as KRR has it, and 16 MiB."""
_AT_LIMIT = 0.95
"""Usage at 95 % of its limit is taken to be held down by it."""
_MOSTLY_MEASURED = 0.8


@dataclass(frozen=True, slots=True)
class Risk:
    """What may go wrong, and how often.

    Attributes:
        throttled_windows: Share of a week's windows that may lie above the CPU request.
        throttled_chance: With which a week may have more of them.
        oom_chance: With which a week's memory may pass the limit.
    """

    throttled_windows: float = 0.01
    throttled_chance: float = 0.05
    oom_chance: float = 0.01

    def __post_init__(self) -> None:
        if not 0 <= self.throttled_windows < 1 or not 0 < self.throttled_chance < 1 or not 0 < self.oom_chance < 1:
            raise ValueError("risks are shares between 0 and 1")

    def chance(self, resource: Resource) -> float:
        """Return with what chance a resource's bound may be passed in a week."""
        return self.throttled_chance if resource == "cpu" else self.oom_chance


@dataclass(frozen=True, slots=True)
class Bound:
    """What a container should get of one resource.

    Attributes:
        value: Cores, or bytes.
        growth_a_week: By which usage grows, as a share; 0 where no trend is more than chance.
        scores: Held-out weeks the margin was learnt from.
        weeks_each: How many of each container.
        notes: What else is to be known.
    """

    value: float
    growth_a_week: float
    scores: int
    weeks_each: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """Why no size is recommended, and what would help."""

    reason: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Recommendation:
    """One container: what it asks for, what it should."""

    key: ContainerKey
    requested: Requested | None
    cpu: Bound | Refused
    memory: Bound | Refused


def recommend(
    usages: Sequence[Usage], risk: Risk, requested: Mapping[ContainerKey, Requested] | None = None
) -> tuple[Recommendation, ...]:
    """Recommend for every container of a fleet; the fleet's own held-out weeks calibrate it.

    Args:
        usages: Histories, any number of containers; at least three whole weeks of each that is to get a size.
        risk: What may go wrong, and how often.
        requested: What they ask for today, where known.
    """
    asked = requested or {}
    cpu = _of_resource(usages, "cpu", risk, asked)
    memory = _of_resource(usages, "memory", risk, asked)
    return tuple(
        Recommendation(usage.key, asked.get(usage.key), cpu[number], memory[number])
        for number, usage in enumerate(usages)
    )


def _of_resource(
    usages: Sequence[Usage], resource: Resource, risk: Risk, asked: Mapping[ContainerKey, Requested]
) -> list[Bound | Refused]:
    nothing = Requested()
    weeks = [
        weeks_of(
            usage,
            resource,
            share=risk.throttled_windows,
            limit_bytes=asked.get(usage.key, nothing).memory_limit_bytes,
        )
        for usage in usages
    ]
    held_down = [_held_down(usage, resource, asked.get(usage.key, nothing), risk) for usage in usages]
    # What a limit held down says nothing about demand, of itself or of others.
    fleet = [conformal.held_out(each) for each, refused in zip(weeks, held_down, strict=True) if refused is None]
    learnt = conformal.calibrate([each for each in fleet if each], risk.chance(resource))
    return [
        refused or _bound(usage, each, resource, learnt)
        for usage, each, refused in zip(usages, weeks, held_down, strict=True)
    ]


def _bound(
    usage: Usage, weeks: Weeks, resource: Resource, learnt: conformal.Calibration | conformal.TooFew
) -> Bound | Refused:
    seen = conformal.current(weeks)
    if seen is None:
        return Refused(
            f"history too short: {usage.days:.1f} days, of which the last {weeks.whole} weeks hold enough; "
            f"{conformal.LEAST_WEEKS} whole weeks are needed",
            f"measure until there are {conformal.LEAST_WEEKS * DAYS_A_WEEK} days, or read a longer range",
        )
    if isinstance(learnt, conformal.TooFew):
        return Refused(
            f"{learnt.scores} held-out weeks in all, and a chance this small needs {learnt.needed}",
            "read more containers or more weeks together, or accept a greater chance",
        )
    bound, group = learnt.bound(seen)
    value = math.exp(bound)
    value = max(value, LEAST_CPU_CORES if resource == "cpu" else LEAST_MEMORY_BYTES)
    return Bound(value, math.expm1(seen.trend), group.scores, learnt.weeks_each, tuple(_notes(usage, weeks, resource)))


def _held_down(usage: Usage, resource: Resource, asked: Requested, risk: Risk) -> Refused | None:
    """Return why CPU usage says nothing about demand; memory at its limit shows by its kills."""
    if resource == "memory":
        return None
    remedy = "raise or drop its CPU limit, and measure three weeks: what a limit holds down shows no demand"
    if usage.throttled is not None and usage.throttled > risk.throttled_windows:
        return Refused(f"throttled in {usage.throttled:.1%} of its periods already", remedy)
    limit = asked.cpu_limit_cores
    if limit is None:
        return None
    measured = usage.cpu_cores[np.isfinite(usage.cpu_cores)]
    at_limit = float((measured >= _AT_LIMIT * limit).mean()) if len(measured) else 0.0
    if at_limit > risk.throttled_windows:
        return Refused(f"at its CPU limit of {limit:g} cores in {at_limit:.1%} of the windows", remedy)
    return None


def _notes(usage: Usage, weeks: Weeks, resource: Resource) -> list[str]:
    notes = []
    if weeks.measured < _MOSTLY_MEASURED:
        notes.append(f"measured {weeks.measured:.0%} of the time: a job, or an outage; shares are of what was measured")
    if resource == "memory" and usage.oom_kills_utc_s:
        notes.append(f"killed for memory {len(usage.oom_kills_utc_s)} times: those weeks count a fifth above its limit")
    return notes
