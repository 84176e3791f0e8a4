"""Nodes and pods as they stand, from `kubectl get nodes -o json` and `kubectl get pods -A -o json`. Broken items are counted and named."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cost.prices.model import Book
from cost.rightsize import quantity
from cost.rightsize.consolidation import Standing, disruption_of
from cost.rightsize.model import MIB, BrokenCounter, BrokenRows
from cost.rightsize.packing import WHOLE_GPU_MILLI, Pod, Shape
from cost.rightsize.workloads import items, owner_of
from platform_lib.errors import ConfigError

POOL_LABELS = ("karpenter.sh/nodepool", "eks.amazonaws.com/nodegroup")
TYPE_LABEL, REGION_LABEL = "node.kubernetes.io/instance-type", "topology.kubernetes.io/region"
CAPACITY_LABEL = "karpenter.sh/capacity-type"
GPU_RESOURCE, MODEL_LABEL = "nvidia.com/gpu", "nvidia.com/gpu.product"
_DELETION_COST, _DO_NOT_DISRUPT = "controller.kubernetes.io/pod-deletion-cost", "karpenter.sh/do-not-disrupt"


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster as it stands.

    Attributes:
        nodes: With their pods.
        pods: All that run on them or wait, but those of DaemonSets, whose sizes are taken off their node.
        shapes: Of the nodes: what is left for pods.
        disturbs: Of each pod what its eviction disturbs.
        waiting: Indices of pods without a node.
        types: Node -> (pool, instance type).
        broken: What could not be taken.
    """

    nodes: tuple[Standing, ...]
    pods: tuple[Pod, ...]
    shapes: tuple[Shape, ...]
    disturbs: tuple[float, ...]
    waiting: tuple[int, ...]
    types: Mapping[str, tuple[str, str | None]]
    broken: BrokenRows


@dataclass(frozen=True, slots=True)
class _Node:
    name: str
    pool: str
    type: str | None
    region: str | None
    spot: bool
    size: tuple[int, int, int]
    model: str


def read_types(path: Path) -> dict[str, tuple[str, str | None]]:
    """Return node -> (pool, instance type).

    Raises:
        ConfigError: It cannot be read, or holds no node.
    """
    counter = BrokenCounter()
    return {node.name: (node.pool, node.type) for node in _nodes(path, counter).values()}


def read_cluster(nodes_file: Path, pods_file: Path, book: Book) -> Cluster:
    """Read a cluster; an on-demand node's price is that of its type and region, any other's is not known.

    Raises:
        ConfigError: A file cannot be read, or holds no node.
    """
    counter = BrokenCounter()
    nodes = _nodes(nodes_file, counter)
    daemons: dict[str, list[int]] = {name: [0, 0, 0] for name in nodes}
    on: dict[str, list[int]] = {name: [] for name in nodes}
    pinned: dict[str, str] = {}
    pods: list[Pod] = []
    disturbs: list[float] = []
    waiting: list[int] = []
    for number, item in enumerate(items(pods_file)):
        try:
            if item["kind"] != "Pod" or (item.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
                continue
            pod, node = _pod(item), item["spec"].get("nodeName")
            kind = owner_of(item["metadata"]).partition("/")[0]
            if node is not None and node not in nodes:
                counter.add("a pod of a node that is not listed", pod.name)
                continue
            if node is not None and kind in ("DaemonSet", "Node"):
                for at, size in enumerate((pod.cpu_milli, pod.memory_mib, pod.gpus)):
                    daemons[node][at] += size
                continue
            annotations = item["metadata"].get("annotations") or {}
            if node is None:
                waiting.append(len(pods))
            else:
                on[node].append(len(pods))
                if annotations.get(_DO_NOT_DISRUPT) == "true":
                    pinned[node] = f"{pod.name} is not to be disrupted"
                elif kind == "Pod":
                    pinned[node] = f"{pod.name} has no owner that would make it anew"
            pods.append(pod)
            disturbs.append(
                disruption_of(float(annotations.get(_DELETION_COST, 0)), float(item["spec"].get("priority", 0)))
            )
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            counter.add(f"no pod ({type(error).__name__})", f"item {number}")
    shapes, of_node = _shapes(nodes, daemons, book)
    standing = tuple(
        Standing(name, nodes[name].pool, of_node[name], tuple(on[name]), pinned.get(name)) for name in sorted(nodes)
    )
    types = {node.name: (node.pool, node.type) for node in nodes.values()}
    return Cluster(standing, tuple(pods), shapes, tuple(disturbs), tuple(waiting), types, counter.found())


def _nodes(path: Path, counter: BrokenCounter) -> dict[str, _Node]:
    found = {}
    for number, item in enumerate(items(path)):
        try:
            if item["kind"] != "Node":
                continue
            labels, allocatable = item["metadata"].get("labels") or {}, item["status"]["allocatable"]
            pool = next((labels[label] for label in POOL_LABELS if label in labels), "")
            size = (
                math.floor(quantity.parse(allocatable["cpu"]) * 1000 + 1e-6),
                math.floor(quantity.parse(allocatable["memory"]) / MIB + 1e-6),
                int(allocatable.get(GPU_RESOURCE, 0)),
            )
            name = str(item["metadata"]["name"])
            spot = labels.get(CAPACITY_LABEL) == "spot" or labels.get("eks.amazonaws.com/capacityType") == "SPOT"
            found[name] = _Node(
                name, pool, labels.get(TYPE_LABEL), labels.get(REGION_LABEL), spot, size, labels.get(MODEL_LABEL, "")
            )
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            counter.add(f"no node ({type(error).__name__})", f"item {number}")
    if not found:
        raise ConfigError("holds no node", where=path, remedy="write it with: kubectl get nodes -o json")
    return found


def _pod(item: Any) -> Pod:
    """Return a pod's size: the sum of its containers, or its largest initial one where that is more."""
    spec = item["spec"]
    name = f"{item['metadata']['namespace']}/{item['metadata']['name']}"
    sums = [sum(sizes) for sizes in zip(*(_sizes(each) for each in spec["containers"]), strict=True)]
    for first in spec.get("initContainers") or ():
        own = _sizes(first)
        if first.get("restartPolicy") == "Always":  # a sidecar runs beside the others
            sums = [total + size for total, size in zip(sums, own, strict=True)]
        else:
            sums = [max(total, size) for total, size in zip(sums, own, strict=True)]
    for at, size in enumerate(_amounts(spec.get("overhead") or {})):
        sums[at] += size
    cpu, memory, gpus = sums
    return Pod(name, cpu, memory, gpus, WHOLE_GPU_MILLI if gpus else 0)


def _sizes(container: Any) -> tuple[int, int, int]:
    resources = container.get("resources") or {}
    return _amounts({**(resources.get("limits") or {}), **(resources.get("requests") or {})})


def _amounts(asked: Mapping[str, object]) -> tuple[int, int, int]:
    return (
        math.ceil(quantity.parse(asked.get("cpu", 0)) * 1000 - 1e-6),
        math.ceil(quantity.parse(asked.get("memory", 0)) / MIB - 1e-6),
        int(str(asked.get(GPU_RESOURCE, 0))),
    )


def _shapes(
    nodes: Mapping[str, _Node], daemons: Mapping[str, list[int]], book: Book
) -> tuple[tuple[Shape, ...], dict[str, int]]:
    """Nodes of one type and pool with as much left for pods are of one shape."""
    shapes: list[Shape] = []
    numbers: dict[tuple[object, ...], int] = {}
    counts: dict[int, int] = {}
    of_node = {}
    for name in sorted(nodes):
        node = nodes[name]
        cpu, memory, gpus = (max(size - taken, 0) for size, taken in zip(node.size, daemons[name], strict=True))
        key = (node.type, node.region, node.spot, node.model, cpu, memory, gpus)
        if key not in numbers:
            numbers[key] = len(shapes)
            price = None if node.type is None or node.spot else book.on_demand(node.type, node.region)
            label = f"{node.type or 'unknown type'}{' spot' if node.spot else ''}"
            again = sum(shape.name.partition(" #")[0] == label for shape in shapes)
            title = f"{label} #{again + 1}" if again else label
            usd, origin = (None, "") if price is None else (price.usd, price.origin)
            shapes.append(Shape(title, cpu, memory, gpus, node.model, None, usd, origin))
        of_node[name] = numbers[key]
        counts[numbers[key]] = counts.get(numbers[key], 0) + 1
    sized = (replace(shape, most=counts[at]) for at, shape in enumerate(shapes))
    return tuple(sized), of_node
