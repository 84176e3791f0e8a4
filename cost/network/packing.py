"""Whether what a zone gets also fits onto its nodes, one by one. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from cost.network.cluster import HOST_LABEL, OLD_ZONE_LABEL, ZONE_LABEL, Node, Pod
from cost.network.placing import Cluster, Placing, running
from cost.network.scheduling import fits_node, selects

_PLACED_BY_US = frozenset({ZONE_LABEL, OLD_ZONE_LABEL})


def unpacked(cluster: Cluster, placing: Placing, placement: Sequence[int]) -> dict[int, list[Pod]]:
    """Return by zone the pods that no node has room for, largest first onto the fullest node that takes them.

    First fit is no proof that another order would not do; where it fails, the zone is called full.
    """
    nodes = {node.name: node for node in cluster.nodes if node.ready and node.zone is not None}
    free = {name: {**node.allocatable} for name, node in nodes.items()}
    on: dict[str, list[Pod]] = defaultdict(list)
    placed = {pod.uid for group in placing.groups if group is not None for pod in group.pods}
    for pod in running(cluster.pods):
        if pod.uid not in placed and pod.node in free:
            _put(free[pod.node], pod)
            on[pod.node].append(pod)
    names = placing.problem.zones
    left: dict[int, list[Pod]] = defaultdict(list)
    wanted = [
        (placement[number], pod)
        for number, group in enumerate(placing.groups)
        if group is not None
        for pod in group.pods
    ]
    total = {
        key: sum(item.get(key, 0) for item in free.values()) or 1
        for key in {key for item in free.values() for key in item}
    }
    wanted.sort(
        key=lambda pair: -max((value / total.get(key, 1) for key, value in pair[1].requests.items()), default=0.0)
    )
    for zone, pod in wanted:
        into = [
            name
            for name in _open(pod, nodes, free, on)
            if (at := nodes[name].zone) is not None and at.name == names[zone]
        ]
        if not into:
            left[zone].append(pod)
            continue
        # The present node where that will do, else the fullest.
        chosen = pod.node if pod.node in into else min(into, key=lambda name: (free[name].get("cpu", 0), name))
        _put(free[chosen], pod)
        on[chosen].append(pod)
    return dict(left)


def _open(
    pod: Pod, nodes: Mapping[str, Node], free: Mapping[str, Mapping[str, int]], on: Mapping[str, Sequence[Pod]]
) -> Iterator[str]:  # fmt: skip
    alone = _hostname_terms(pod)
    for name, node in nodes.items():
        if any(free[name].get(key, 0) < value for key, value in pod.requests.items()) or free[name].get("pods", 1) < 1:
            continue
        if not fits_node(pod, node, without=_PLACED_BY_US):
            continue
        if any(
            other.namespace == pod.namespace and selects(term, other.labels)
            for term in alone
            for other in on.get(name, ())
        ):
            continue
        yield name


def _hostname_terms(pod: Pod) -> list[Mapping[str, object] | None]:
    required = ((pod.spec.get("affinity") or {}).get("podAntiAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    )
    return [term.get("labelSelector") for term in required or () if term.get("topologyKey") == HOST_LABEL]


def _put(free: dict[str, int], pod: Pod) -> None:
    for key, value in pod.requests.items():
        free[key] = free.get(key, 0) - value
    if "pods" in free:
        free["pods"] -= 1
