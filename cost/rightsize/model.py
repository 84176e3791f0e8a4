"""What right-sizing speaks of: containers, their measured usage, what they request, what is recommended. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Samples = npt.NDArray[np.float32]
Resource = Literal["cpu", "memory"]

DAY_S, WEEK_S = 86_400.0, 604_800.0
MIB = float(1 << 20)
DAYS_A_WEEK = 7


@dataclass(frozen=True, slots=True, order=True)
class ContainerKey:
    """One container of one workload, whatever its pods are called.

    Attributes:
        namespace: Its namespace.
        workload: `Deployment/name`; of an unknown kind, the name alone.
        container: Its name in the pod template.
    """

    namespace: str
    workload: str
    container: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.workload}/{self.container}"


@dataclass(frozen=True, slots=True, eq=False)
class Usage:
    """A container's usage on a grid of equal steps; of several replicas the busiest counts, since all get the same request.

    Attributes:
        key: Whose.
        start_utc_s: Of the first step, seconds since 1970.
        step_s: From one step to the next.
        cpu_cores: (steps,) mean cores over the step; NaN where nothing was measured.
        memory_bytes: (steps,) the step's highest working set; NaN where nothing was measured.
        oom_kills_utc_s: When it was killed for memory.
        throttled: Share of its CFS periods in which it was throttled, over all of the history; None where not measured.
    """

    key: ContainerKey
    start_utc_s: float
    step_s: float
    cpu_cores: Samples
    memory_bytes: Samples
    oom_kills_utc_s: tuple[float, ...] = ()
    throttled: float | None = None

    def __post_init__(self) -> None:
        if self.step_s <= 0 or DAY_S % self.step_s:
            raise ValueError(f"{self.key}: a step of {self.step_s:g} s does not divide a day")
        if self.cpu_cores.shape != self.memory_bytes.shape or self.cpu_cores.ndim != 1:
            raise ValueError(f"{self.key}: CPU and memory lie on different grids")

    @property
    def days(self) -> float:
        """How long the grid is."""
        return len(self.cpu_cores) * self.step_s / DAY_S


@dataclass(frozen=True, slots=True)
class Requested:
    """What a container asks for today; None is "not set".

    Attributes:
        cpu_request_cores: Cores it is promised.
        cpu_limit_cores: Cores at which it is throttled.
        memory_request_bytes: Bytes it is promised.
        memory_limit_bytes: Bytes at which it is killed.
        replicas: How many pods run.
    """

    cpu_request_cores: float | None = None
    cpu_limit_cores: float | None = None
    memory_request_bytes: float | None = None
    memory_limit_bytes: float | None = None
    replicas: int = 1


@dataclass(frozen=True, slots=True)
class Sizes:
    """What some method gives a container; None where it gives nothing.

    Attributes:
        cpu_cores: The CPU request.
        memory_bytes: The memory request, and limit.
    """

    cpu_cores: float | None
    memory_bytes: float | None


@dataclass(frozen=True, slots=True)
class BrokenRows:
    """What a reader could not take, by reason, with the first places of each.

    Attributes:
        counts: How many, by reason.
        first: Up to five places (`line 12`), by reason.
    """

    counts: Mapping[str, int] = field(default_factory=dict)
    first: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """How many in all."""
        return sum(self.counts.values())

    def document(self) -> dict[str, object]:
        """Return its form in JSON."""
        return {reason: {"rows": count, "first": list(self.first[reason])} for reason, count in self.counts.items()}


class BrokenCounter:
    """Counts what a reader could not take."""

    MOST_NAMED = 5

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._first: dict[str, list[str]] = {}

    def add(self, reason: str, place: str) -> None:
        """Count one."""
        self._counts[reason] = self._counts.get(reason, 0) + 1
        named = self._first.setdefault(reason, [])
        if len(named) < self.MOST_NAMED:
            named.append(place)

    def found(self) -> BrokenRows:
        """Return what was counted."""
        return BrokenRows(dict(self._counts), {reason: tuple(named) for reason, named in self._first.items()})


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """What a reader found.

    Attributes:
        usages: By container, in order.
        broken: What it could not take.
        source: Where it was read, for people.
    """

    usages: tuple[Usage, ...]
    broken: BrokenRows
    source: str
