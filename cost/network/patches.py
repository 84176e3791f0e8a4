"""What makes a placement happen: patches of workloads and services, as Kubernetes takes them. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cost.network.cluster import ZONE_LABEL, Owner, Pod, Service
from cost.network.grouping import has_hard_spread
from cost.network.placing import INTERCHANGEABLE, Placing

Json = dict[str, Any]
_HASH = "pod-template-hash"
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_TEMPLATES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "Deployment": ("apps/v1", ("spec", "template", "spec")),
    "StatefulSet": ("apps/v1", ("spec", "template", "spec")),
    "ReplicaSet": ("apps/v1", ("spec", "template", "spec")),
    "CronJob": ("batch/v1", ("spec", "jobTemplate", "spec", "template", "spec")),
}
PREFER = "PreferSameZone"
"""Kubernetes 1.35: stable. Source: Kubernetes documentation, "Virtual IPs and Service Proxies: traffic distribution"."""


@dataclass(frozen=True, slots=True)
class Patch:
    """One change of one object.

    Attributes:
        kind: `Deployment`, `Service`.
        namespace: Its namespace.
        name: Its name.
        body: The strategic merge patch; where `command` is None, what belongs into the pod template.
        command: What applies it, `{file}` in the place of the patch's file; None where the kind takes no such patch.
        exact: Whether it makes the placement that was computed, and not only one like it.
        why: In words.
    """

    kind: str
    namespace: str
    name: str
    body: Json
    command: str | None
    exact: bool
    why: str

    @property
    def file_name(self) -> str:
        """The name of its file."""
        return f"{self.namespace}.{self.kind.lower()}.{self.name}.yaml"


def patches_of(placing: Placing, placement: Sequence[int], services: Sequence[Service]) -> list[Patch]:
    """Return what has to change so that pods run as placed and services keep near; unchanged workloads get nothing."""
    return [*_services(placing.fanned, services), *_workloads(placing, placement)]


def service_patches(names: Sequence[str], services: Sequence[Service]) -> list[Patch]:
    """Return the patches that keep services' traffic in its zone."""
    return _services(names, services)


def _services(names: Sequence[str], services: Sequence[Service]) -> list[Patch]:
    wanted = set(names)
    return [
        Patch(
            "Service", item.namespace, item.name, {"spec": {"trafficDistribution": PREFER}},
            f"kubectl -n {item.namespace} patch service {item.name} --type strategic --patch-file {{file}}", exact=True,
            why="clients go to a replica in their zone where there is one",
        )
        for item in services
        if f"{item.namespace}/{item.name}" in wanted and item.distribution != PREFER and not item.local_only
    ]  # fmt: skip


def _workloads(placing: Placing, placement: Sequence[int]) -> list[Patch]:
    names, units = placing.problem.zones, placing.problem.units
    zones_of: dict[Owner, list[tuple[Pod, str]]] = defaultdict(list)
    counts: dict[Owner, Counter[int]] = defaultdict(Counter)
    moves: Counter[Owner] = Counter()
    for number, group in enumerate(placing.groups):
        now = units[number].now
        for pod in () if group is None else group.pods:
            zones_of[pod.owner].append((pod, names[placement[number]]))
            moves[pod.owner] += now != placement[number]
            counts[pod.owner][placement[number]] += 1
            if now is not None:
                counts[pod.owner][now] -= 1
    return [
        _workload(owner, members)
        for owner, members in sorted(zones_of.items(), key=lambda item: str(item[0]))
        # Replicas that nobody tells apart have only moved where a zone has more or fewer of them.
        if owner.kind != "Pod" and (any(counts[owner].values()) if owner.kind in INTERCHANGEABLE else moves[owner])
    ]


def _workload(owner: Owner, members: Sequence[tuple[Pod, str]]) -> Patch:
    pod = members[0][0]
    counts = Counter(zone for _, zone in members)
    zones = sorted(counts)
    spec: Json = {"affinity": _affinity(pod, zones)}
    skew = max(max(counts.values()) - min(counts.values()), 1)
    if len(zones) > 1 and not has_hard_spread(pod):
        spec["topologySpreadConstraints"] = [_spread(pod, skew)]
    # Of interchangeable replicas only the counts matter; those of a stateful set are each somebody.
    exact = len(zones) == 1 or (owner.kind != "StatefulSet" and skew == 1)
    said = ", ".join(f"{counts[zone]} in {zone}" for zone in zones)
    known = _TEMPLATES.get(owner.kind)
    if known is None:
        why = f"{said}; a {owner.kind} takes no patch of its pods: put this into the pod template where it is made"
        return Patch(owner.kind, owner.namespace, owner.name, spec, None, exact, why)
    body = spec
    for key in reversed(known[1]):
        body = {key: body}
    command = (
        f"kubectl -n {owner.namespace} patch {owner.kind.lower()} {owner.name} --type strategic --patch-file {{file}}"
    )
    return Patch(owner.kind, owner.namespace, owner.name, body, command, exact, said)


def _affinity(pod: Pod, zones: Sequence[str]) -> Json:
    """Return the node affinity with the zones in it; what a pod requires already stays, as lists are replaced as a whole."""
    wanted = {"key": ZONE_LABEL, "operator": "In", "values": list(zones)}
    required = ((pod.spec.get("affinity") or {}).get("nodeAffinity") or {}).get(_REQUIRED) or {}
    terms = []
    present: Sequence[Json] = required.get("nodeSelectorTerms") or ({},)
    for term in present:
        others = [item for item in term.get("matchExpressions") or () if item["key"] != ZONE_LABEL]
        terms.append({**term, "matchExpressions": [*others, wanted]})
    return {"nodeAffinity": {_REQUIRED: {"nodeSelectorTerms": terms}}}


def _spread(pod: Pod, skew: int) -> Json:
    labels = {key: value for key, value in pod.labels.items() if key not in _VOLATILE}
    found: Json = {
        "maxSkew": skew,
        "topologyKey": ZONE_LABEL,
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": labels},
    }
    if pod.owner.kind == "Deployment":  # a rollout's old pods are not to count against its new ones
        found["matchLabelKeys"] = [_HASH]
    return found


_VOLATILE = frozenset(
    {
        _HASH, "controller-revision-hash", "statefulset.kubernetes.io/pod-name", "apps.kubernetes.io/pod-index",
        "batch.kubernetes.io/controller-uid", "controller-uid", "batch.kubernetes.io/job-name", "job-name",
        "batch.kubernetes.io/job-completion-index",
    }
)  # fmt: skip
"""Labels that controllers set on each pod or each revision: no template has them."""
