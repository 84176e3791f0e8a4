"""Graphs of several kinds of systems: who talks to whom, with what must be spread, pinned and kept together."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from cost.network.placement.problem import Edge, Problem, Rule, RuleKind, Unit

ZONES = ("a", "b", "c")
_EVERY = frozenset(range(3))
_ROOM = 1.2
"""A zone holds so many times a third of everything."""
Draw = np.random.Generator


class _Made:
    """Collects units, edges and rules."""

    def __init__(self, random: Draw) -> None:
        self.random = random
        self.units: list[tuple[str, tuple[int, int], frozenset[int], int]] = []
        self.edges: list[Edge] = []
        self.rules: list[Rule] = []

    def unit(self, name: str, allowed: frozenset[int] = _EVERY, members: int = 1) -> int:
        cpu = int(self.random.choice([250, 500, 1000, 2000, 4000])) * members
        memory = int(cpu * self.random.uniform(1, 8))
        self.units.append((name, (cpu, memory), allowed, members))
        return len(self.units) - 1

    def group(self, name: str, size: int, skew: int = 1) -> list[int]:
        units = [self.unit(f"{name}-{number}") for number in range(size)]
        if size > 1:
            self.rules.append(Rule(RuleKind.SKEW, name, tuple(units), skew))
        return units

    def edge(self, source: int, targets: tuple[int, ...], weight: float) -> None:
        self.edges.append(Edge(source, targets, weight))

    def bytes(self, middle: float = 1e9, spread: float = 1.5) -> float:
        return float(self.random.lognormal(np.log(middle), spread))

    def problem(self) -> Problem:
        needs = np.array([unit[1] for unit in self.units])
        largest = needs.max(axis=0)
        top = tuple(int(value) for value in np.maximum(needs.sum(axis=0) / 3 * _ROOM, largest) + largest)
        units = tuple(Unit(name, need, allowed, None, members) for name, need, allowed, members in self.units)
        return Problem(ZONES, units, ("cpu", "memory"), (top,) * 3, tuple(self.edges), tuple(self.rules))


def services(size: int, random: Draw) -> Problem:
    """Web services in layers; one in three is spread over zones, calls go to whichever replica is near."""
    made = _Made(random)
    layers: list[list[list[int]]] = [[], [], []]
    while len(made.units) < size:
        replicas = 3 if random.random() < 0.33 and len(made.units) + 3 <= size else 1
        layers[int(random.choice(3, p=[0.25, 0.45, 0.3]))].append(made.group(f"service-{len(made.units)}", replicas))
    for upper, lower in ((0, 1), (1, 1), (1, 2), (0, 2)):
        for group in layers[upper]:
            for _ in range(int(random.integers(1, 3))):
                if not layers[lower]:
                    continue
                other = layers[lower][int(random.integers(len(layers[lower])))]
                if other is not group:
                    for unit in group:
                        made.edge(unit, tuple(other), made.bytes())
    return made.problem()


def pipelines(size: int, random: Draw) -> Problem:
    """Data pipelines: heavy chains, and here and there a side input; one stage in eight is pinned by its volume."""
    made = _Made(random)
    ends: list[int] = []
    while len(made.units) < size:
        zone = int(random.integers(3))
        chain = []
        for step in range(min(int(random.integers(4, 9)), size - len(made.units))):
            pinned = frozenset({zone}) if random.random() < 0.125 else _EVERY
            chain.append(made.unit(f"stage-{len(made.units)}-{step}", pinned))
        for one, other in pairwise(chain):
            made.edge(one, (other,), made.bytes(2e10, 1.0))
        if ends and random.random() < 0.5:
            made.edge(chain[0], (ends[int(random.integers(len(ends)))],), made.bytes(2e9, 1.0))
        ends.append(chain[-1])
    return made.problem()


def brokers(size: int, random: Draw) -> Problem:
    """A log with brokers in every zone, and its clients: each reads and writes partitions of a few brokers."""
    made = _Made(random)
    held = made.group("broker", max(3, size // 10))
    while len(made.units) < size:
        client = made.unit(f"client-{len(made.units)}")
        leaders = random.permutation(held)[: int(random.integers(1, 3))]
        for number, leader in enumerate(leaders.tolist()):
            made.edge(client, (leader,), made.bytes(5e9) * (1.0 if number == 0 else 0.15))
    for one in held:
        for other in held:
            if one < other:
                made.edge(one, (other,), made.bytes(1e8))
    return made.problem()


def communities(size: int, random: Draw) -> Problem:
    """Teams of about ten that talk among themselves much, and with others little."""
    made = _Made(random)
    teams = [made.unit(f"team-{number // 10}-{number}") // 10 for number in range(size)]
    for one in range(size):
        for other in range(one + 1, size):
            together = teams[one] == teams[other]
            if random.random() < (0.5 if together else 0.01):
                made.edge(one, (other,), made.bytes(1e9 if together else 5e8, 1.0))
    return made.problem()


def training(size: int, random: Draw) -> Problem:
    """Gangs of workers with their loaders, stores pinned to zones, and services beside them."""
    made = _Made(random)
    stores = [made.unit(f"store-{zone}-{number}", frozenset({zone})) for zone in range(3) for number in range(2)]
    while len(made.units) < size:
        gang = made.unit(f"gang-{len(made.units)}", members=int(random.choice([2, 4, 8])))
        # A run reads one data set; its copies lie in one store.
        store = stores[int(random.integers(len(stores)))]
        for number in range(min(int(random.integers(2, 6)), size - len(made.units))):
            loader = made.unit(f"loader-{gang}-{number}")
            made.edge(gang, (loader,), made.bytes(3e10, 0.7))
            made.edge(loader, (store,), made.bytes(5e9, 0.7))
    return made.problem()


def heavy_tail(size: int, random: Draw) -> Problem:
    """Everyone joins by a link or two to the popular; few links carry most of the bytes."""
    made = _Made(random)
    ends = [made.unit("first"), made.unit("second")]
    made.edge(0, (1,), made.bytes(1e9, 2.0))
    for number in range(2, size):
        unit = made.unit(f"unit-{number}")
        for other in {int(ends[int(random.integers(len(ends)))]) for _ in range(1 + (number % 3 == 0))}:
            made.edge(unit, (other,), made.bytes(1e9, 2.0))
            ends += [unit, other]
    return made.problem()


def shapeless(size: int, random: Draw) -> Problem:
    """Links at random, alike in bytes: nothing to find. No placement keeps three quarters of it within zones."""
    made = _Made(random)
    for number in range(size):
        made.unit(f"unit-{number}")
    for one in range(size):
        for other in random.permutation(size)[:3].tolist():
            if other != one:
                made.edge(one, (other,), made.bytes(1e9, 0.3))
    return made.problem()


FAMILIES: dict[str, Callable[[int, Draw], Problem]] = {
    "services": services,
    "pipelines": pipelines,
    "brokers": brokers,
    "communities": communities,
    "training": training,
    "heavy tail": heavy_tail,
    "shapeless": shapeless,
}
