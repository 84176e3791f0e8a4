"""Which pods are placed as one, and what binds them: spreading, anti-affinity, affinity, volumes, gangs. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from cost.network.cluster import OLD_ZONE_LABEL, ZONE_LABEL, Node, Owner, Pod
from cost.network.placement.problem import Rule, RuleKind
from cost.network.scheduling import fits_node, selects

Json = Mapping[str, Any]
Volumes = Mapping[tuple[str, str], frozenset[str]]
_ZONE_KEYS = frozenset({ZONE_LABEL, OLD_ZONE_LABEL})
_STAYING = frozenset({"DaemonSet", "Node"})
_TEMPLATE, _REVISION = "pod-template-hash", "controller-revision-hash"
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


@dataclass(frozen=True, slots=True)
class Group:
    """What is placed as one.

    Attributes:
        name: A pod's, or a gang's.
        pods: Which pods.
    """

    name: str
    pods: tuple[Pod, ...]


def may_move(pod: Pod) -> bool:
    """Say whether another zone could take a pod at all: not what belongs to its node."""
    return not pod.host_network and pod.owner.kind not in _STAYING


def groups_of(pods: Sequence[Pod]) -> list[Group]:
    """Put gangs together, and what its own required affinity keeps in one zone; every other pod is a group of its own."""
    together: dict[str, list[Pod]] = defaultdict(list)
    for pod in pods:
        bound = next((f"{pod.owner}" for term in _terms(pod, "podAffinity") if _selects(term, pod, pod)), "")
        together[pod.gang or bound or f"{pod.namespace}/{pod.name}"].append(pod)
    return [Group(name, tuple(found)) for name, found in together.items()]


def zones_of(group: Group, nodes: Sequence[Node], volumes: Volumes | None, now: Mapping[str, str]) -> frozenset[str]:
    """Return the zones that a group may be in.

    Args:
        group: The group.
        nodes: Those that take pods.
        volumes: Where volumes can be used; None where that is not known: pods with a volume then stay.
        now: Zone of each node's name.
    """
    found = frozenset(node.zone.name or "" for node in nodes if node.zone is not None)
    for pod in {_placement_of(pod): pod for pod in group.pods}.values():
        found &= {node.zone.name or "" for node in nodes if node.zone is not None and fits_node(pod, node)}
    for pod in group.pods:
        for claim in pod.claims:
            if volumes is None or (pod.namespace, claim) not in volumes:
                found &= {now.get(pod.node, "")}
            else:
                found &= volumes[pod.namespace, claim]
    return found


def _placement_of(pod: Pod) -> str:
    """Return what decides which nodes take a pod, as a key: gangs have hundreds of pods that say the same."""
    affinity = (pod.spec.get("affinity") or {}).get("nodeAffinity")
    return repr((pod.spec.get("nodeSelector"), affinity, pod.spec.get("tolerations")))


@dataclass(frozen=True, slots=True)
class Bound:
    """A rule over pods, before they have numbers.

    Attributes:
        kind: Of rule.
        name: For messages.
        pods: Whom it binds, by uid.
        limit: See `Rule`.
        others: The other side, by uid.
        min_domains: Of a skew.
    """

    kind: RuleKind
    name: str
    pods: frozenset[str]
    limit: int = 0
    others: frozenset[str] = frozenset()
    min_domains: int = 1


def bounds_of(pods: Sequence[Pod], zone_of: Mapping[str, str], *, keep_zones: int) -> list[Bound]:
    """Return what binds pods to zones.

    Args:
        pods: All that may be placed, or that rules may name.
        zone_of: Zone of each node's name.
        keep_zones: A workload whose own rules do not spread it stays in as many zones as it is in today, up to so many: at
            most its share of the pods is in one zone. 1 keeps nothing.
    """
    found: dict[tuple[Any, ...], Bound] = {}
    by_owner: dict[Owner, list[Pod]] = defaultdict(list)
    by_namespace: dict[str, list[Pod]] = defaultdict(list)
    for pod in pods:
        by_owner[pod.owner].append(pod)
        by_namespace[pod.namespace].append(pod)
    for owner, members in by_owner.items():
        spread = False
        # Pods of one revision say the same.
        revisions = {(pod.labels.get(_TEMPLATE), pod.labels.get(_REVISION)): pod for pod in members}
        for pod in revisions.values():
            for bound in (*_skews(pod, by_namespace[pod.namespace]), *_affinities(pod, members, pods)):
                spread |= bound.kind in {RuleKind.SKEW, RuleKind.AT_MOST}
                found[bound.kind, bound.name, bound.pods, bound.others, bound.limit] = bound
        kept = min(keep_zones, len({zone_of.get(pod.node, "") for pod in members}))
        if not spread and kept > 1 and not any(pod.gang for pod in members):
            uids = frozenset(pod.uid for pod in members)
            bound = Bound(RuleKind.AT_MOST, f"{owner} stays in {kept} zones", uids, limit := ceil(len(members) / kept))
            found[bound.kind, bound.name, uids, frozenset(), limit] = bound
    return list(found.values())


def has_hard_spread(pod: Pod) -> bool:
    """Say whether a pod's own specification spreads it over zones."""
    return any(
        _is_zone(item.get("topologyKey")) and _hard(item) for item in pod.spec.get("topologySpreadConstraints") or ()
    )


def _skews(pod: Pod, neighbours: Sequence[Pod]) -> Iterator[Bound]:
    for item in pod.spec.get("topologySpreadConstraints") or ():
        if not _is_zone(item.get("topologyKey")) or not _hard(item):
            continue
        keys = item.get("matchLabelKeys") or ()
        members = frozenset(
            other.uid
            for other in neighbours
            if selects(item.get("labelSelector"), other.labels)
            and all(other.labels.get(key) == pod.labels.get(key) for key in keys)
        )
        if members:
            yield Bound(
                RuleKind.SKEW, f"{pod.owner} topologySpreadConstraints", members, int(item["maxSkew"]),
                min_domains=int(item.get("minDomains") or 1),
            )  # fmt: skip


def _affinities(pod: Pod, own: Sequence[Pod], pods: Sequence[Pod]) -> Iterator[Bound]:
    mine = frozenset(other.uid for other in own)
    for term in _terms(pod, "podAntiAffinity"):
        chosen = frozenset(other.uid for other in pods if _selects(term, pod, other))
        if chosen & mine:
            yield Bound(RuleKind.AT_MOST, f"{pod.owner} podAntiAffinity", mine, 1)
        if chosen - mine:
            yield Bound(RuleKind.APART, f"{pod.owner} podAntiAffinity", mine, others=chosen - mine)
    for term in _terms(pod, "podAffinity"):
        chosen = frozenset(other.uid for other in pods if _selects(term, pod, other))
        if pod.uid not in chosen:  # what selects itself is one group
            yield Bound(RuleKind.NEAR, f"{pod.owner} podAffinity", mine, others=chosen)


def _terms(pod: Pod, kind: str) -> list[Json]:
    terms = ((pod.spec.get("affinity") or {}).get(kind) or {}).get(_REQUIRED) or ()
    return [term for term in terms if _is_zone(term.get("topologyKey"))]


def _selects(term: Json, of: Pod, other: Pod) -> bool:
    if (
        term.get("namespaceSelector") is not None
    ):  # an empty one selects every namespace; labels of namespaces are not known
        named = True
    else:
        named = other.namespace in (term.get("namespaces") or (of.namespace,))
    return named and selects(term.get("labelSelector"), other.labels)


def _is_zone(key: object) -> bool:
    return key in _ZONE_KEYS


def _hard(item: Json) -> bool:
    return bool(item.get("whenUnsatisfiable", "DoNotSchedule") == "DoNotSchedule")


def as_rule(bound: Bound, unit_of: Mapping[str, int], allowed: Mapping[int, frozenset[int]]) -> Rule | None:
    """Number a rule; None where it binds nothing that is placed."""
    units = tuple(sorted({unit_of[uid] for uid in bound.pods if uid in unit_of}))
    others = tuple(sorted({unit_of[uid] for uid in bound.others if uid in unit_of} - set(units)))
    if not units or (bound.kind in {RuleKind.APART, RuleKind.NEAR} and not bound.others):
        return None
    zones = frozenset().union(*(allowed[unit] for unit in units)) if bound.kind is RuleKind.SKEW else frozenset()
    return Rule(bound.kind, bound.name, units, bound.limit, others, zones, bound.min_domains > len(zones) > 0)
