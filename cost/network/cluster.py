"""Pods, nodes, services and volumes as `kubectl get -o json` writes them, taken for what placement and counting need. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cost.network.model import Zone
from cost.network.quantities import amount_of, seconds_of

Json = Mapping[str, Any]
ZONE_LABEL = "topology.kubernetes.io/zone"
OLD_ZONE_LABEL = "failure-domain.beta.kubernetes.io/zone"
ZONE_ID_LABEL = "topology.k8s.aws/zone-id"
"""EKS sets it. Source: Amazon EKS user guide, "Use IAM and node labels ...", read 2026-11."""
HOST_LABEL = "kubernetes.io/hostname"
_HASH = "pod-template-hash"
_OF_CRON = re.compile(r"-\d{8,}$")
_GANG_LABELS = (
    "kueue.x-k8s.io/pod-group-name", "ray.io/cluster", "jobset.sigs.k8s.io/jobset-name", "volcano.sh/group-name",
    "scheduling.x-k8s.io/pod-group",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Node:
    """A node.

    Attributes:
        name: Its name.
        instance: Its EC2 instance; empty where its `providerID` does not say.
        zone: Its zone; None without a label.
        addresses: Its own.
        allocatable: What it has for pods: `cpu` in thousandths, the rest in units or bytes.
        labels: Its labels.
        taints: (key, value, effect).
        ready: Whether pods may be put on it.
    """

    name: str
    instance: str
    zone: Zone | None
    addresses: tuple[str, ...]
    allocatable: Mapping[str, int]
    labels: Mapping[str, str]
    taints: tuple[tuple[str, str, str], ...]
    ready: bool


@dataclass(frozen=True, slots=True)
class Owner:
    """What makes a pod again when it is gone.

    Attributes:
        namespace: Of both.
        kind: `Deployment`, `StatefulSet`, `Job`; `Pod` for one that nobody owns.
        name: Its name.
    """

    namespace: str
    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.kind}/{self.name}"


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod.

    Attributes:
        uid: Its id.
        namespace: Its namespace.
        name: Its name.
        owner: Its workload.
        gang: What it must run together with, as `namespace/label/value`; empty for none.
        node: The name of its node; empty while it waits.
        addresses: Its own; those of its node where `host_network` is set.
        host_network: Whether it shares its node's addresses.
        start_s: When it got its node; seconds since the UTC epoch.
        end_s: When it ended; None while it runs.
        requests: What it asks for, as `Node.allocatable`.
        labels: Its labels.
        spec: Its specification, for what decides where it may run.
        claims: Names of its volume claims.
    """

    uid: str
    namespace: str
    name: str
    owner: Owner
    gang: str
    node: str
    addresses: tuple[str, ...]
    host_network: bool
    start_s: int
    end_s: int | None
    requests: Mapping[str, int]
    labels: Mapping[str, str]
    spec: Json = field(repr=False)
    claims: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Service:
    """A service that spreads what is sent to it over its pods.

    Attributes:
        namespace: Of it and its pods.
        name: Its name.
        selector: Labels of its pods.
        distribution: Its `trafficDistribution`; empty for none.
        local_only: Whether `internalTrafficPolicy: Local` already keeps its traffic on each node.
    """

    namespace: str
    name: str
    selector: Mapping[str, str]
    distribution: str
    local_only: bool

    def selects(self, namespace: str, labels: Mapping[str, str]) -> bool:
        """Say whether it sends to a pod."""
        return namespace == self.namespace and all(labels.get(key) == value for key, value in self.selector.items())


def items_of(document: Json, kind: str) -> Sequence[Json]:
    """Return the objects of a list of that kind.

    Raises:
        ValueError: It is no list, or an object in it is of another kind.
    """
    found = document.get("items")
    if document.get("kind") == kind:
        return [document]
    if not isinstance(found, list):
        raise ValueError("no `items`: not what `kubectl get -o json` writes")
    wrong = {str(item.get("kind", kind)) for item in found} - {kind}
    if wrong:
        raise ValueError(f"holds {', '.join(sorted(wrong))} where {kind} is wanted")
    return found


def node_of(item: Json) -> Node:
    """Read a node."""
    meta, status, spec = item["metadata"], item.get("status") or {}, item.get("spec") or {}
    labels = {str(key): str(value) for key, value in (meta.get("labels") or {}).items()}
    provider = str(spec.get("providerID") or "")
    name, zone_id = labels.get(ZONE_LABEL) or labels.get(OLD_ZONE_LABEL), labels.get(ZONE_ID_LABEL)
    conditions = {entry["type"]: entry["status"] for entry in status.get("conditions") or ()}
    return Node(
        meta["name"],
        provider.rsplit("/", 1)[-1] if provider.startswith("aws:") else "",
        Zone(name, zone_id) if name or zone_id else None,
        tuple(entry["address"] for entry in status.get("addresses") or () if entry["type"] == "InternalIP"),
        {key: amount_of(key, value) for key, value in (status.get("allocatable") or {}).items()},
        {HOST_LABEL: meta["name"], **labels},
        tuple((t["key"], str(t.get("value", "")), t["effect"]) for t in spec.get("taints") or ()),
        conditions.get("Ready", "True") == "True" and not spec.get("unschedulable", False),
    )


def pod_of(item: Json) -> Pod:
    """Read a pod."""
    meta, spec, status = item["metadata"], item["spec"], item.get("status") or {}
    labels = {str(key): str(value) for key, value in (meta.get("labels") or {}).items()}
    namespace = meta.get("namespace", "default")
    owner = _owner(meta, labels, namespace)
    addresses = [entry["ip"] for entry in status.get("podIPs") or ()]
    if not addresses and status.get("podIP"):
        addresses = [status["podIP"]]
    volumes = spec.get("volumes") or ()
    return Pod(
        str(meta.get("uid") or f"{namespace}/{meta['name']}"),
        namespace,
        meta["name"],
        owner,
        _gang(owner, labels, meta.get("annotations") or {}),
        spec.get("nodeName") or "",
        tuple(addresses),
        bool(spec.get("hostNetwork")),
        seconds_of(status.get("startTime") or meta["creationTimestamp"]),
        _end(meta, status),
        _requests(spec),
        labels,
        spec,
        tuple(entry["persistentVolumeClaim"]["claimName"] for entry in volumes if "persistentVolumeClaim" in entry),
    )


def service_of(item: Json) -> Service | None:
    """Read a service; None for one that spreads nothing: headless, external, or without a selector."""
    spec, meta = item.get("spec") or {}, item["metadata"]
    selector = spec.get("selector") or {}
    if not selector or spec.get("clusterIP") == "None" or spec.get("type") == "ExternalName":
        return None
    return Service(
        meta.get("namespace", "default"), meta["name"], {str(k): str(v) for k, v in selector.items()},
        spec.get("trafficDistribution") or "", spec.get("internalTrafficPolicy") == "Local",
    )  # fmt: skip


def volume_zones(items: Sequence[Json]) -> dict[tuple[str, str], frozenset[str]]:
    """Return in which zones (names) each claim's volume can be used: (namespace, claim) to zones; no entry for anywhere."""
    found = {}
    for item in items:
        spec = item.get("spec") or {}
        claim = spec.get("claimRef")
        if claim is None:
            continue
        zones: set[str] = set()
        required = (spec.get("nodeAffinity") or {}).get("required") or {}
        for term in required.get("nodeSelectorTerms") or ():
            for rule in term.get("matchExpressions") or ():
                if rule["key"] in {ZONE_LABEL, OLD_ZONE_LABEL, "topology.ebs.csi.aws.com/zone"}:
                    zones.update(rule.get("values") or ())
        if zones:
            found[claim["namespace"], claim["name"]] = frozenset(zones)
    return found


def latest_time_s(items: Sequence[Json]) -> int | None:
    """Return the latest time that objects name: when their list was made at the earliest; None where none names one."""
    return max((found for item in items for found in _times(item)), default=None)


def _times(value: object) -> Iterator[int]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if isinstance(inner, str) and key.endswith(("Time", "Timestamp", "At")):
                try:
                    yield seconds_of(inner)
                except ValueError:
                    continue
            elif key != "spec":
                yield from _times(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _times(inner)


def _owner(meta: Json, labels: Mapping[str, str], namespace: str) -> Owner:
    owners = meta.get("ownerReferences") or ()
    first = next((item for item in owners if item.get("controller")), owners[0] if owners else None)
    if first is None:
        return Owner(namespace, "Pod", meta["name"])
    kind, name = first["kind"], first["name"]
    suffix = labels.get(_HASH)
    if kind == "ReplicaSet" and suffix and name.endswith(f"-{suffix}"):
        return Owner(namespace, "Deployment", name.removesuffix(f"-{suffix}"))
    if kind == "Job" and _OF_CRON.search(name):
        return Owner(namespace, "CronJob", _OF_CRON.sub("", name))
    if kind == "Node":  # a static pod: it is the node's own
        return Owner(namespace, "Node", name)
    return Owner(namespace, kind, name)


def _gang(owner: Owner, labels: Mapping[str, str], annotations: Json) -> str:
    for label in _GANG_LABELS:
        if labels.get(label):
            return f"{owner.namespace}/{label}/{labels[label]}"
    # An indexed job's pods wait for each other.
    indexed = "batch.kubernetes.io/job-completion-index"
    if owner.kind == "Job" and (indexed in labels or indexed in annotations):
        return f"{owner.namespace}/Job/{owner.name}"
    return ""


def _end(meta: Json, status: Json) -> int | None:
    if status.get("phase") not in {"Succeeded", "Failed"}:
        return None
    ended = [
        seconds_of(entry["state"]["terminated"]["finishedAt"])
        for entry in status.get("containerStatuses") or ()
        if (entry.get("state") or {}).get("terminated", {}).get("finishedAt")
    ]
    if ended:
        return max(ended)
    if meta.get("deletionTimestamp"):
        return seconds_of(meta["deletionTimestamp"])
    # It has ended; when, its last change tells best.
    changes = [
        entry["lastTransitionTime"] for entry in status.get("conditions") or () if entry.get("lastTransitionTime")
    ]
    return max(map(seconds_of, [*changes, status.get("startTime") or meta["creationTimestamp"]]))


def _requests(spec: Json) -> dict[str, int]:
    """Return what the scheduler counts: containers and sidecars together, or the greatest init container, and overhead.

    Source: Kubernetes, "Pod Lifecycle / Init Containers: resource sharing" and "Sidecar Containers".
    """
    total: dict[str, int] = {}
    most: dict[str, int] = {}
    for container in spec.get("initContainers") or ():
        asked = _asked(container)
        if container.get("restartPolicy") == "Always":
            _add(total, asked)
            asked = {}
        for key in {*asked, *total}:
            most[key] = max(most.get(key, 0), asked.get(key, 0) + total.get(key, 0))
    for container in spec.get("containers") or ():
        _add(total, _asked(container))
    found = {key: max(total.get(key, 0), most.get(key, 0)) for key in {*total, *most}}
    _add(found, {key: amount_of(key, value) for key, value in (spec.get("overhead") or {}).items()})
    return {key: value for key, value in found.items() if value}


def _asked(container: Json) -> dict[str, int]:
    resources = container.get("resources") or {}
    asked = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
    return {key: amount_of(key, value) for key, value in asked.items()}


def _add(total: dict[str, int], more: Mapping[str, int]) -> None:
    for key, value in more.items():
        total[key] = total.get(key, 0) + value
