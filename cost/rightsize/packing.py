"""Pods and node shapes, and best fit: the pod goes where least is left. Pure; all sizes are whole numbers, so that fitting is exact."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import numpy.typing as npt

WHOLE_GPU_MILLI = 1000
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Pod:
    """What a pod asks for.

    Attributes:
        name: Unique.
        cpu_milli: Thousandths of a core.
        memory_mib: MiB.
        gpus: How many GPUs it touches.
        gpu_milli: Thousandths of each of these: 1000 is the whole GPU.
        models: GPU models it accepts; empty: any.
    """

    name: str
    cpu_milli: int
    memory_mib: int
    gpus: int = 0
    gpu_milli: int = 0
    models: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if min(self.cpu_milli, self.memory_mib, self.gpus, self.gpu_milli) < 0 or self.gpu_milli > WHOLE_GPU_MILLI:
            raise ValueError(f"{self.name}: sizes below 0, or more than the whole of a GPU")
        if (self.gpus == 0) != (self.gpu_milli == 0):
            raise ValueError(f"{self.name}: GPUs without a part of them, or the other way round")

    @property
    def kind(self) -> tuple[int, int, int, int, frozenset[str]]:
        """What makes two pods alike."""
        return self.cpu_milli, self.memory_mib, self.gpus, self.gpu_milli, self.models


@dataclass(frozen=True, slots=True)
class Shape:
    """A kind of node, and how many of it there are to use.

    Attributes:
        name: Unique.
        cpu_milli: For pods.
        memory_mib: For pods.
        gpus: How many.
        model: Of which model; empty without GPUs.
        most: How many there are; None: as many as are wanted.
        usd_per_hour: None where the price is not known.
        price_source: Where the price is from, and of which day.
    """

    name: str
    cpu_milli: int
    memory_mib: int
    gpus: int = 0
    model: str = ""
    most: int | None = None
    usd_per_hour: Decimal | None = None
    price_source: str = ""

    def holds(self, pod: Pod) -> bool:
        """Whether an empty node of this shape takes the pod."""
        return (
            pod.cpu_milli <= self.cpu_milli
            and pod.memory_mib <= self.memory_mib
            and pod.gpus <= self.gpus
            and (not pod.gpus or not pod.models or self.model in pod.models)
        )


@dataclass(frozen=True, slots=True)
class Placed:
    """Where one pod is: its index, and the GPUs it has a part of."""

    pod: int
    gpus: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Packing:
    """Nodes with their pods.

    Attributes:
        shapes: As they were given.
        nodes: (index of the shape, pods), none empty.
        unplaced: Indices of pods that found no place.
    """

    shapes: tuple[Shape, ...]
    nodes: tuple[tuple[int, tuple[Placed, ...]], ...]
    unplaced: tuple[int, ...]

    def counts(self) -> dict[str, int]:
        """Return how many nodes of each shape are used."""
        found: dict[str, int] = {}
        for shape, _ in self.nodes:
            name = self.shapes[shape].name
            found[name] = found.get(name, 0) + 1
        return found

    def usd_per_hour(self) -> Decimal | None:
        """Return what the nodes cost; None where the price of one that is used is not known."""
        total = Decimal(0)
        for shape, _ in self.nodes:
            price = self.shapes[shape].usd_per_hour
            if price is None:
                return None
            total += price
        return total


class Bins:
    """Nodes while they are filled. What is free lies in arrays, a row a node, so that one look finds the best.

    Args:
        shapes: What can be opened.
        pods: What is to be placed.
    """

    def __init__(self, shapes: Sequence[Shape], pods: Sequence[Pod]) -> None:
        self.shapes, self.pods = tuple(shapes), tuple(pods)
        self._width = max((shape.gpus for shape in shapes), default=0)
        self._models = {name: number for number, name in enumerate(sorted({shape.model for shape in shapes}))}
        self.left = [shape.most for shape in shapes]
        self.used = 0
        self.free: Counts = np.zeros((0, 2), np.int64)
        self.gpu: Counts = np.zeros((0, self._width), np.int64)
        self.shape: Counts = np.zeros(0, np.int64)
        self._room(64)
        self.held: list[list[Placed]] = []
        self.unplaced: list[int] = []

    def _room(self, rows: int) -> None:
        old = self.used
        free = np.zeros((rows, 2), np.int64)
        gpu = np.full((rows, self._width), -1, np.int64)  # a GPU that is not there fits nothing
        shape = np.zeros(rows, np.int64)
        if old:
            free[:old], gpu[:old], shape[:old] = self.free[:old], self.gpu[:old], self.shape[:old]
        self.free, self.gpu, self.shape = free, gpu, shape

    def open(self, shape: int) -> int:
        """Open a node of a shape; its index."""
        if self.used == len(self.free):
            self._room(2 * self.used)
        at, made = self.used, self.shapes[shape]
        left = self.left[shape]
        if left is not None:
            self.left[shape] = left - 1
        self.free[at] = made.cpu_milli, made.memory_mib
        self.gpu[at] = -1
        self.gpu[at, : made.gpus] = WHOLE_GPU_MILLI
        self.shape[at] = shape
        self.held.append([])
        self.used += 1
        return at

    def can_open(self, shape: int, pod: Pod) -> bool:
        """Whether there is one more node of this shape, and it takes the pod."""
        left = self.left[shape]
        return (left is None or left > 0) and self.shapes[shape].holds(pod)

    def best(self, number: int, among: npt.NDArray[np.bool_] | None = None) -> int | None:
        """Return the open node on which least is left beside a pod, as a share of the node; None where it fits nowhere."""
        pod, used = self.pods[number], self.used
        if not used:
            return None
        free, gpu = self.free[:used], self.gpu[:used]
        fits = (free[:, 0] >= pod.cpu_milli) & (free[:, 1] >= pod.memory_mib)
        if among is not None:
            fits &= among[:used]
        if pod.gpus:
            fits &= (gpu >= pod.gpu_milli).sum(axis=1) >= pod.gpus
            if pod.models:
                fits &= self._of_models(pod.models)[self.shape[:used]]
        rows = np.flatnonzero(fits)
        if not len(rows):
            return None
        shape = self.shape[rows]
        left = (free[rows, 0] - pod.cpu_milli) / self._sizes()[shape, 0]
        left = left + (free[rows, 1] - pod.memory_mib) / self._sizes()[shape, 1]
        gpus = self._sizes()[shape, 2]
        rest = np.maximum(gpu[rows], 0).sum(axis=1) - pod.gpus * pod.gpu_milli
        # Free GPUs weigh double under a pod that needs none: they are what others wait for.
        left = left + (2.0 if not pod.gpus else 1.0) * rest / np.maximum(gpus * WHOLE_GPU_MILLI, 1)
        return int(rows[int(left.argmin())])

    def fits(self, number: int, node: int) -> bool:
        """Whether a pod fits on an open node as it is filled now."""
        pod = self.pods[number]
        return bool(
            self.free[node, 0] >= pod.cpu_milli
            and self.free[node, 1] >= pod.memory_mib
            and (not pod.gpus or (self.gpu[node] >= pod.gpu_milli).sum() >= pod.gpus)
            and (not pod.gpus or not pod.models or self.shapes[int(self.shape[node])].model in pod.models)
        )

    def put(self, number: int, node: int) -> None:
        """Put a pod on a node where it fits; of its GPUs those with least left that still fit."""
        pod = self.pods[number]
        self.free[node, 0] -= pod.cpu_milli
        self.free[node, 1] -= pod.memory_mib
        chosen: tuple[int, ...] = ()
        if pod.gpus:
            row = self.gpu[node]
            fitting = np.flatnonzero(row >= pod.gpu_milli)
            chosen = tuple(fitting[np.argsort(row[fitting], kind="stable")][: pod.gpus].tolist())
            row[list(chosen)] -= pod.gpu_milli
        self.held[node].append(Placed(number, chosen))

    def take(self, node: int) -> list[Placed]:
        """Take every pod off a node; return them."""
        taken = self.held[node]
        for placed in taken:
            self._give_back(node, placed)
        self.held[node] = []
        return taken

    def undo(self, number: int, node: int) -> None:
        """Take one pod off a node, the last that was put there."""
        placed = self.held[node].pop()
        if placed.pod != number:
            raise ValueError("pods are taken off in the order opposite to that in which they were put")
        self._give_back(node, placed)

    def restore(self, node: int, taken: Iterable[Placed]) -> None:
        """Put pods back on the very GPUs they had."""
        for placed in taken:
            pod = self.pods[placed.pod]
            self.free[node, 0] -= pod.cpu_milli
            self.free[node, 1] -= pod.memory_mib
            self.gpu[node, list(placed.gpus)] -= pod.gpu_milli
            self.held[node].append(placed)

    def packing(self) -> Packing:
        """Return what is used."""
        nodes = tuple((int(self.shape[node]), tuple(held)) for node, held in enumerate(self.held) if held)
        return Packing(self.shapes, nodes, tuple(sorted(self.unplaced)))

    def _give_back(self, node: int, placed: Placed) -> None:
        pod = self.pods[placed.pod]
        self.free[node, 0] += pod.cpu_milli
        self.free[node, 1] += pod.memory_mib
        self.gpu[node, list(placed.gpus)] += pod.gpu_milli

    def _sizes(self) -> Counts:
        return np.asarray([(max(s.cpu_milli, 1), max(s.memory_mib, 1), s.gpus) for s in self.shapes], np.int64)

    def _of_models(self, models: frozenset[str]) -> npt.NDArray[np.bool_]:
        return np.asarray([shape.model in models for shape in self.shapes])


def decreasing(pods: Sequence[Pod], shapes: Sequence[Shape]) -> list[int]:
    """Return pods by their greatest share of the largest node, greatest first."""
    most = [
        max((getattr(shape, name) for shape in shapes), default=1) or 1 for name in ("cpu_milli", "memory_mib", "gpus")
    ]

    def share(number: int) -> tuple[float, int]:
        pod = pods[number]
        gpus = pod.gpus * pod.gpu_milli / WHOLE_GPU_MILLI
        return -max(pod.cpu_milli / most[0], pod.memory_mib / most[1], gpus / most[2]), number

    return sorted(range(len(pods)), key=share)


def best_fit(
    pods: Sequence[Pod], shapes: Sequence[Shape], order: Sequence[int] | None = None, *, bins: Bins | None = None
) -> Packing:
    """Place pods one after the other where least is left; open a node only where none takes the pod.

    Args:
        pods: What is to be placed.
        shapes: What can be opened: the cheapest that takes the pod, where all prices are known; else the smallest.
        order: Of the pods; decreasing sizes if not given.
        bins: Nodes that are partly filled.
    """
    filled = bins or Bins(shapes, pods)
    for number in decreasing(pods, shapes) if order is None else order:
        node = filled.best(number)
        if node is None:
            shape = smallest(filled, pods[number])
            if shape is None:
                filled.unplaced.append(number)
                continue
            node = filled.open(shape)
        filled.put(number, node)
    return filled.packing()


def smallest(bins: Bins, pod: Pod) -> int | None:
    """Return the shape to open for a pod: the cheapest where all that take it are priced, else the one it fills most."""
    fitting = [number for number in range(len(bins.shapes)) if bins.can_open(number, pod)]
    if not fitting:
        return None
    prices = [bins.shapes[number].usd_per_hour for number in fitting]
    if all(price is not None for price in prices):
        return min(fitting, key=lambda number: (bins.shapes[number].usd_per_hour or 0, number))

    def left(number: int) -> tuple[float, int]:
        shape = bins.shapes[number]
        gpus = 0.0 if not shape.gpus else 1 - pod.gpus * pod.gpu_milli / WHOLE_GPU_MILLI / shape.gpus
        return 2 - pod.cpu_milli / shape.cpu_milli - pod.memory_mib / shape.memory_mib + gpus, number

    return min(fitting, key=left)
