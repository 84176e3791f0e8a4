"""The placement problem as values. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from math import isfinite


@dataclass(frozen=True, slots=True)
class Unit:
    """What is placed as one: a pod, or a gang of pods.

    Attributes:
        name: Its name.
        needs: Of each of the problem's resources.
        allowed: Zones it may be in; one for a pinned unit.
        now: Where it is; None for nowhere.
        members: How many pods it is, for rules that count pods.
    """

    name: str
    needs: tuple[int, ...]
    allowed: frozenset[int]
    now: int | None = None
    members: int = 1


@dataclass(frozen=True, slots=True)
class Edge:
    """Bytes between a unit and another, or a unit and whichever of several is nearest.

    The bytes cross zones unless one of the targets is in the source's zone.

    Attributes:
        source: A unit.
        targets: Units; several where any of them serves.
        weight: Bytes, both ways together.
    """

    source: int
    targets: tuple[int, ...]
    weight: float


class RuleKind(IntEnum):
    """What a rule asks for."""

    SKEW = 0
    """Zones' pods of the group differ by `limit` at most (`topologySpreadConstraints.maxSkew`)."""
    AT_MOST = 1
    """A zone has at most `limit` pods of the group."""
    APART = 2
    """No zone has one of `units` and one of `others`."""
    NEAR = 3
    """A zone that has one of `units` has one of `others` too."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What a placement must keep to.

    Attributes:
        kind: What it asks for.
        name: Whose it is, for messages.
        units: Whom it binds.
        limit: See `RuleKind`.
        others: See `RuleKind`.
        zones: Of a skew: the zones that are compared; all for the empty set.
        least_is_zero: Of a skew: whether the least is taken for 0 (`minDomains` above the number of zones).
    """

    kind: RuleKind
    name: str
    units: tuple[int, ...]
    limit: int = 0
    others: tuple[int, ...] = ()
    zones: frozenset[int] = frozenset()
    least_is_zero: bool = False


@dataclass(frozen=True, slots=True)
class Problem:
    """A whole problem.

    Attributes:
        zones: Their names.
        units: What is placed.
        resources: What units need: `cpu`, `memory`, `nvidia.com/gpu`.
        capacity: Of each zone, of each resource.
        edges: Bytes.
        rules: What a placement must keep to.
        stay: What leaving its present zone costs a unit, in bytes: small, so that nothing moves for nothing.
    """

    zones: tuple[str, ...]
    units: tuple[Unit, ...]
    resources: tuple[str, ...]
    capacity: tuple[tuple[int, ...], ...]
    edges: tuple[Edge, ...]
    rules: tuple[Rule, ...] = ()
    stay: float = field(default=0.0)

    def __post_init__(self) -> None:
        count, zones = len(self.units), range(len(self.zones))
        if not self.zones or len(self.capacity) != len(self.zones):
            raise ValueError("each zone needs its capacity, and there must be one")
        if any(len(row) != len(self.resources) for row in (*self.capacity, *(unit.needs for unit in self.units))):
            raise ValueError("needs and capacity are of each resource")
        if any(zone not in zones for unit in self.units for zone in (*unit.allowed, unit.now or 0)):
            raise ValueError("a unit names a zone that is none")
        for edge in self.edges:
            if not edge.targets or edge.source in edge.targets or not isfinite(edge.weight) or edge.weight < 0:
                raise ValueError("an edge runs from one unit to others, with bytes of 0 or more")
        named = [unit for edge in self.edges for unit in (edge.source, *edge.targets)]
        named += [unit for rule in self.rules for unit in (*rule.units, *rule.others)]
        if any(not 0 <= unit < count for unit in named):
            raise ValueError("an edge or a rule names a unit that is none")

    @property
    def total(self) -> float:
        """All bytes, whether they cross zones or not."""
        return sum(edge.weight for edge in self.edges)


Placement = tuple[int, ...]
"""The zone of each unit."""


def crossing(problem: Problem, placement: Sequence[int]) -> float:
    """Return the bytes that cross zones."""
    return sum(
        edge.weight
        for edge in problem.edges
        if all(placement[target] != placement[edge.source] for target in edge.targets)
    )


def moved(problem: Problem, placement: Sequence[int]) -> int:
    """Return how many units would leave their present zone."""
    return sum(unit.now is not None and unit.now != zone for unit, zone in zip(problem.units, placement, strict=True))


def objective(problem: Problem, placement: Sequence[int]) -> float:
    """Return what is minimised: bytes that cross zones, and the small cost of moving."""
    return crossing(problem, placement) + problem.stay * moved(problem, placement)


def present(problem: Problem) -> Placement | None:
    """Return where everything is now; None where a unit is nowhere."""
    zones = [unit.now for unit in problem.units]
    return None if any(zone is None for zone in zones) else tuple(zone for zone in zones if zone is not None)
