"""Makes the placement problem out of pods, nodes and traffic. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from cost.network.cluster import Node, Pod, Service
from cost.network.costing import crosses
from cost.network.grouping import Bound, Group, Volumes, as_rule, bounds_of, groups_of, may_move, zones_of
from cost.network.ledger import Flow, Traffic, between
from cost.network.model import Kind, Party
from cost.network.placement.problem import Edge, Problem, Rule, Unit

_UNPRICED = frozenset({Kind.ENDPOINT, Kind.BALANCER})
"""Between zones these cost nothing, or it is not known what: they pull nothing."""
_STAY_SHARE = 1e-4
"""A unit is not moved for less than this share of what all of them send on average."""
PODS = "pods"
INTERCHANGEABLE = frozenset({"Deployment", "ReplicaSet"})
"""What their replicas did is shared out evenly: which of them talked to whom is chance, and a new one would do otherwise."""
_ZONE_END = "zone "
"""Before a zone's name: the end of a link that stays there. No uid has a space."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """What runs where.

    Attributes:
        pods: Of the newest snapshot.
        nodes: All.
        services: Those that spread; None where that is not known.
        volumes: Zones of volume claims; None where that is not known.
    """

    pods: tuple[Pod, ...]
    nodes: tuple[Node, ...]
    services: tuple[Service, ...] | None
    volumes: Volumes | None


@dataclass(frozen=True, slots=True)
class Placing:
    """A problem, and what its numbers mean.

    Attributes:
        problem: The problem; weights are a month's bytes.
        groups: Of each unit: its pods; None for a zone's own end, where what cannot move is.
        fanned: Services that several replicas serve, by `namespace/name`: what `trafficDistribution` works on.
        now_bytes: What of the problem's traffic crosses zones today, as recorded.
        near_bytes: What would, if services kept near and nothing moved.
        left_out_bytes: Of pods, but in no placement: the other end's zone, or the pod's node, is not known.
        at_nodes_bytes: Within the network, but known by node alone, as logs without packets' addresses tell it.
    """

    problem: Problem
    groups: tuple[Group | None, ...]
    fanned: tuple[str, ...]
    now_bytes: float
    near_bytes: float
    left_out_bytes: float
    at_nodes_bytes: float


def running(pods: Iterable[Pod]) -> tuple[Pod, ...]:
    """Return the pods that run."""
    return tuple(pod for pod in pods if pod.node and pod.end_s is None)


def make_placing(cluster: Cluster, traffic: Traffic, *, factor: Decimal, keep_zones: int) -> Placing:
    """Make the problem.

    Args:
        cluster: What runs where.
        traffic: What was recorded.
        factor: Makes a month of it.
        keep_zones: See `grouping.bounds_of`.
    """
    zone_of = {node.name: node.zone.name or "" for node in cluster.nodes if node.zone is not None}
    takers = [node for node in cluster.nodes if node.ready and node.zone is not None]
    zones = tuple(sorted({zone_of[node.name] for node in takers}))
    pods = [pod for pod in running(cluster.pods) if zone_of.get(pod.node) in zones]
    links = _Links(pods, cluster.services, zone_of, float(factor), packet=traffic.packet)
    for flow in (*between(traffic.flows), *traffic.nat_inside):
        links.add(flow)
    bounds = bounds_of([pod for pod in pods if may_move(pod)], zone_of, keep_zones=keep_zones)
    groups = _placed(pods, links.named, bounds)
    number = {pod.uid: place for place, group in enumerate(groups) for pod in group.pods}
    staying = [pod for pod in pods if pod.uid not in number]
    index = {zone: place for place, zone in enumerate(zones)}
    kinds = sorted({key for group in groups for pod in group.pods for key in pod.requests})
    resources = (*kinds, PODS)
    units = [_unit(group, takers, cluster.volumes, zone_of, index, resources) for group in groups]
    ends = [
        Unit(f"what stays in {zone}", (0,) * len(resources), frozenset({place}), place) for zone, place in index.items()
    ]
    rules = _rules(bounds, number, units)
    edges, fanned = links.edges(number, len(units), index)
    mean = sum(edge.weight for edge in edges) / max(len(units), 1)
    problem = Problem(
        zones, (*units, *ends), resources, _capacity(takers, staying, zone_of, index, resources), edges, rules,
        mean * _STAY_SHARE,
    )  # fmt: skip
    return Placing(
        problem, (*groups, *(None for _ in ends)), fanned, links.now_bytes, links.near_bytes(), links.left_out, links.at_nodes
    )  # fmt: skip


def _placed(pods: Sequence[Pod], named: set[str], bounds: Sequence[Bound]) -> list[Group]:
    """Return the groups worth placing: those with traffic, and all that a rule binds them to."""
    movable = [pod for pod in pods if may_move(pod)]
    chosen = {pod.uid for pod in movable if pod.uid in named}
    grown = True
    while grown:
        before = len(chosen)
        for bound in bounds:
            both = bound.pods | bound.others
            if both & chosen:
                chosen |= both
        for group in (found := groups_of(movable)):
            uids = {pod.uid for pod in group.pods}
            if uids & chosen:
                chosen |= uids
        grown = len(chosen) > before
    return [group for group in found if any(pod.uid in chosen for pod in group.pods)]


def _unit(
    group: Group, nodes: Sequence[Node], volumes: Volumes | None, zone_of: Mapping[str, str], index: Mapping[str, int],
    resources: Sequence[str],
) -> Unit:  # fmt: skip
    needs = [sum(pod.requests.get(key, 0) for pod in group.pods) for key in resources[:-1]]
    allowed = zones_of(group, nodes, volumes, zone_of)
    present = {zone_of[pod.node] for pod in group.pods}
    now = index[next(iter(present))] if len(present) == 1 else None
    return Unit(
        group.name,
        (*needs, len(group.pods)),
        frozenset(index[zone] for zone in allowed if zone in index),
        now,
        len(group.pods),
    )


def _rules(bounds: Sequence[Bound], number: Mapping[str, int], units: Sequence[Unit]) -> tuple[Rule, ...]:
    allowed = {place: unit.allowed for place, unit in enumerate(units)}
    made = (as_rule(bound, number, allowed) for bound in bounds)
    return tuple(dict.fromkeys(rule for rule in made if rule is not None))


def _capacity(
    nodes: Sequence[Node], staying: Sequence[Pod], zone_of: Mapping[str, str], index: Mapping[str, int], resources: Sequence[str]
) -> tuple[tuple[int, ...], ...]:  # fmt: skip
    free = [[0] * len(resources) for _ in index]
    for node in nodes:
        row = free[index[zone_of[node.name]]]
        for place, key in enumerate(resources):
            row[place] += node.allocatable.get(key, 0)
    ready = {node.name for node in nodes}
    for pod in staying:
        if pod.node not in ready:
            continue
        row = free[index[zone_of[pod.node]]]
        for place, key in enumerate(resources):
            row[place] -= 1 if key == PODS else pod.requests.get(key, 0)
    return tuple(tuple(max(value, 0) for value in row) for row in free)


class _Links:
    """Collects bytes between pods, and between pods and what stays in a zone."""

    def __init__(
        self, pods: Sequence[Pod], services: tuple[Service, ...] | None, zone_of: Mapping[str, str], factor: float,
        *, packet: bool,
    ) -> None:  # fmt: skip
        self._by_name = {f"{pod.namespace}/{pod.name}": pod for pod in pods}
        self._by_workload: dict[str, list[Pod]] = defaultdict(list)
        for pod in pods:
            self._by_workload[str(pod.owner)].append(pod)
        self._zone_of = zone_of
        self._factor = factor
        self._packet = packet
        self._service_of = _serving(pods, services or ())
        self._direct: dict[tuple[str, str], float] = defaultdict(float)
        self._fans: dict[tuple[str, str], float] = defaultdict(float)
        self.named: set[str] = set()
        self.now_bytes = self.left_out = self.at_nodes = 0.0
        self._fans_now = 0.0

    def add(self, flow: Flow) -> None:
        """Add one flow."""
        kinds = {flow.source.kind, flow.target.kind}
        if kinds & _UNPRICED:
            return
        size = flow.size_bytes * self._factor
        if Kind.POD not in kinds or (Kind.NODE in kinds and not self._packet):
            self.at_nodes += size
            return
        ends = [self._ends(party) for party in (flow.source, flow.target)]
        if not all(ends):
            self.left_out += size
            return
        if all(end.startswith(_ZONE_END) for end in (*ends[0], *ends[1])):
            return  # nothing of it can move
        if crosses(flow):
            self.now_bytes += size
        share = size / (len(ends[0]) * len(ends[1]))
        for one in ends[0]:
            for other in ends[1]:
                self._link(flow, one, other, share)

    def _link(self, flow: Flow, one: str, other: str, share: float) -> None:
        sides = {"source": (other, one), "target": (one, other)}
        client, server = sides.get(flow.server, ("", ""))
        if not server:  # the ports do not tell: the one that a service selects serves, if that is one of the two
            serving = [end for end in (one, other) if end in self._service_of]
            server = serving[0] if len(serving) == 1 else ""
            client = other if server == one else one
        service = self._service_of.get(server)
        if service is not None and client in {one, other} and client != server:
            self._fans[client, service] += share
            self._fans_now += share if crosses(flow) else 0.0
        elif one != other:
            self._direct[min(one, other), max(one, other)] += share

    def _ends(self, party: Party) -> list[str]:
        """Return the pods that a party is today, or the zone that it stays in; nothing where that is not known."""
        if party.kind is Kind.POD:
            pod = self._by_name.get(party.name)
            # What a pod that is gone did, its workload's pods do now.
            found = [pod] if pod is not None else self._by_workload.get(party.workload, [])
            if pod is not None and pod.owner.kind in INTERCHANGEABLE:
                found = self._by_workload[str(pod.owner)]
            moving = [item.uid for item in found if may_move(item)]
            self.named.update(moving)
            return moving or [_ZONE_END + self._zone_of[item.node] for item in found if item.node in self._zone_of]
        name = None if party.zone is None else party.zone.name
        return [_ZONE_END + name] if name else []

    def near_bytes(self) -> float:
        """Return what would cross zones if each service's clients went to a replica in their zone where there is one."""
        zone = {pod.uid: self._zone_of[pod.node] for pod in self._by_name.values()}
        serving: dict[str, set[str]] = defaultdict(set)
        for uid, service in self._service_of.items():
            serving[service].add(zone[uid])
        far = sum(
            size
            for (client, service), size in self._fans.items()
            if zone.get(client, client.removeprefix(_ZONE_END)) not in serving[service]
        )
        return self.now_bytes - self._fans_now + far

    def edges(
        self, number: Mapping[str, int], units: int, index: Mapping[str, int]
    ) -> tuple[tuple[Edge, ...], tuple[str, ...]]:
        """Return the edges by unit, and the services of those that several serve."""
        places = {**number, **{_ZONE_END + zone: units + place for zone, place in index.items()}}
        sums: dict[tuple[int, tuple[int, ...]], float] = defaultdict(float)
        fanned = set()
        members: dict[str, set[int]] = defaultdict(set)
        for uid, service in self._service_of.items():
            if uid in places:
                members[service].add(places[uid])
        for (client, service), size in self._fans.items():
            source = places.get(client)
            targets = members[service]
            if source is None or source in targets:
                continue
            if len(targets) > 1:
                fanned.add(service)
            sums[source, tuple(sorted(targets))] += size
        for (one, other), size in self._direct.items():
            first, second = places.get(one), places.get(other)
            if first is None or second is None or first == second or (first >= units and second >= units):
                continue
            sums[min(first, second), (max(first, second),)] += size
        return tuple(Edge(source, targets, size) for (source, targets), size in sorted(sums.items())), tuple(
            sorted(fanned)
        )


def _serving(pods: Sequence[Pod], services: Sequence[Service]) -> dict[str, str]:
    """Return the service whose traffic may go to any of its pods, by a pod's uid."""
    found: dict[str, str] = {}
    for service in services:
        for pod in pods:
            # Clients of a stateful set choose their replica themselves.
            if pod.owner.kind != "StatefulSet" and service.selects(pod.namespace, pod.labels):
                found.setdefault(pod.uid, f"{service.namespace}/{service.name}")
    return found
