"""What objects must agree on with each other and with the pools: no schema can tell. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from cdk.cluster.definitions import undefined
from cdk.cluster.kinds.addons import ExternalSecret
from cdk.cluster.kinds.admission import ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding
from cdk.cluster.kinds.base import Labels, Manifest, Part
from cdk.cluster.kinds.core import (
    ConfigMap,
    Namespace,
    PodDisruptionBudget,
    PriorityClass,
    Service,
    ServiceAccount,
)
from cdk.cluster.kinds.karpenter import EC2NodeClass, NodePool
from cdk.cluster.kinds.kueue import ClusterQueue, Cohort, LocalQueue, ResourceFlavor, Topology
from cdk.cluster.kinds.pods import Container, PodTemplate
from cdk.cluster.place import NAMESPACE_NAME
from cdk.cluster.queues import QUEUE_LABEL
from cdk.labels import POOL, Taint, labels_of, taints_of
from cdk.model import Pool

# There without us.
_FOREIGN_NAMESPACES = {"kube-system"}
_FOREIGN_PRIORITIES = {"system-node-critical", "system-cluster-critical"}
_MOVING_TAGS = {"latest", "nightly", "main", "master", "stable", "edge"}
_IMAGE = re.compile(r"^(?P<name>[^@]+?)(?::(?P<tag>[A-Za-z0-9_.-]+))?(?:@sha256:(?P<digest>[0-9a-f]{64}))?$")
_VERSION = re.compile(r"\d")


@dataclass(frozen=True, slots=True)
class Incoherence:
    """What does not fit together.

    Attributes:
        where: The object.
        what: What is wrong with it.
    """

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


@dataclass(frozen=True, slots=True)
class _Pods:
    """Pods that an object makes."""

    owner: Manifest
    template: PodTemplate

    @property
    def labels(self) -> Labels:
        return (self.template.metadata.labels if self.template.metadata else None) or {}


def incoherences(objects: Sequence[Manifest], pools: Sequence[Pool]) -> list[Incoherence]:
    """Hold objects against each other and against the pools they run on; empty where all is well.

    Args:
        objects: Those of one cluster; forms of jobs may be among them.
        pools: The pools of its region.
    """
    pods = [_Pods(item, template) for item in objects for template in _templates(item)]
    return [
        *_twice(objects),
        *_homeless(objects),
        *_selecting_nothing(objects, pods),
        *_missing_names(objects, pods),
        *_queues(objects),
        *_policies_nowhere(objects),
        *(Incoherence(name_of(item), what) for item, what in undefined(objects)),
        *_nodes(objects, pools),
        *(found for item in pods for found in _placement(item, pools)),
        *(found for item in pods for found in _containers(item)),
    ]


def name_of(item: Manifest) -> str:
    """Return an object's name for people: `Service mlflow/mlflow`."""
    namespace = f"{item.metadata.namespace}/" if item.metadata.namespace else ""
    return f"{item.kind} {namespace}{item.metadata.name}"


def _templates(part: object) -> Iterator[PodTemplate]:
    if isinstance(part, PodTemplate):
        yield part
    elif isinstance(part, Part):
        for name in type(part).model_fields:
            yield from _templates(getattr(part, name))
    elif isinstance(part, tuple):
        for item in part:
            yield from _templates(item)


def _twice(objects: Sequence[Manifest]) -> Iterator[Incoherence]:
    for identity, count in Counter(item.identity for item in objects).items():
        if count > 1:
            yield Incoherence(f"{identity[1]} {identity[2]}/{identity[3]}", f"is there {count} times")


def _homeless(objects: Sequence[Manifest]) -> Iterator[Incoherence]:
    known = {item.metadata.name for item in objects if isinstance(item, Namespace)} | _FOREIGN_NAMESPACES
    for item in objects:
        namespace = item.metadata.namespace
        if item.namespaced and namespace is None:
            yield Incoherence(name_of(item), "is in no namespace, and its kind needs one")
        elif not item.namespaced and namespace is not None:
            yield Incoherence(name_of(item), "is in a namespace, and its kind has none")
        elif namespace is not None and namespace not in known:
            yield Incoherence(name_of(item), f"is in namespace {namespace}, which nobody makes")


def _selecting_nothing(objects: Sequence[Manifest], pods: Sequence[_Pods]) -> Iterator[Incoherence]:
    for item in objects:
        if isinstance(item, Service):
            wanted = item.spec.selector
        elif isinstance(item, PodDisruptionBudget):
            wanted = item.spec.selector.match_labels or {}
        else:
            continue
        there = [
            pod
            for pod in pods
            if pod.owner.metadata.namespace == item.metadata.namespace and wanted.items() <= pod.labels.items()
        ]
        if not there:
            yield Incoherence(name_of(item), f"selects no pod: {wanted}")
        elif isinstance(item, Service):
            yield from _ports(item, there)


def _ports(service: Service, pods: Iterable[_Pods]) -> Iterator[Incoherence]:
    named = {port.name for pod in pods for container in pod.template.spec.containers for port in container.ports or ()}
    for port in service.spec.ports:
        if isinstance(port.target_port, str) and port.target_port not in named:
            yield Incoherence(name_of(service), f"leads to port '{port.target_port}', which no container has")


def _missing_names(objects: Sequence[Manifest], pods: Sequence[_Pods]) -> Iterator[Incoherence]:
    accounts = {(item.metadata.namespace, item.metadata.name) for item in objects if isinstance(item, ServiceAccount)}
    priorities = {item.metadata.name for item in objects if isinstance(item, PriorityClass)} | _FOREIGN_PRIORITIES
    secrets = {
        (item.metadata.namespace, item.spec.target.name, key)
        for item in objects
        if isinstance(item, ExternalSecret)
        for key in item.spec.target.template.data
    }
    configs = {
        (item.metadata.namespace, item.metadata.name, key)
        for item in objects
        if isinstance(item, ConfigMap)
        for key in item.data
    }
    for pod in pods:
        spec, namespace = pod.template.spec, pod.owner.metadata.namespace
        account = spec.service_account_name
        if account is not None and (namespace, account) not in accounts:
            yield Incoherence(name_of(pod.owner), f"runs as service account {account}, which nobody makes")
        if spec.priority_class_name is not None and spec.priority_class_name not in priorities:
            yield Incoherence(name_of(pod.owner), f"has priority {spec.priority_class_name}, which nobody makes")
        for container in _all_containers(pod):
            for variable in container.env or ():
                source = variable.value_from
                for reference, known in (
                    (source.secret_key_ref if source else None, secrets),
                    (source.config_map_key_ref if source else None, configs),
                ):
                    if reference is not None and (namespace, reference.name, reference.key) not in known:
                        yield Incoherence(
                            name_of(pod.owner), f"reads {reference.name}/{reference.key}, which nobody makes"
                        )


def _queues(objects: Sequence[Manifest]) -> Iterator[Incoherence]:
    named = {(item.kind, item.metadata.namespace, item.metadata.name) for item in objects}
    for item in objects:
        wanted: list[tuple[str, str | None, str]] = []
        if isinstance(item, LocalQueue):
            wanted.append((ClusterQueue.kind, None, item.spec.cluster_queue))
        elif isinstance(item, ClusterQueue):
            wanted.append((Cohort.kind, None, item.spec.cohort_name))
            wanted += [
                (ResourceFlavor.kind, None, flavor.name)
                for group in item.spec.resource_groups
                for flavor in group.flavors
            ]
        elif isinstance(item, ResourceFlavor) and item.spec.topology_name is not None:
            wanted.append((Topology.kind, None, item.spec.topology_name))
        elif isinstance(item, NodePool):
            wanted.append((EC2NodeClass.kind, None, item.spec.template.spec.node_class_ref.name))
        queue = (item.metadata.labels or {}).get(QUEUE_LABEL)
        if queue is not None:
            wanted.append((LocalQueue.kind, item.metadata.namespace, queue))
        for kind, namespace, name in wanted:
            if (kind, namespace, name) not in named:
                yield Incoherence(name_of(item), f"names {kind} {name}, which nobody makes")


def _policies_nowhere(objects: Sequence[Manifest]) -> Iterator[Incoherence]:
    """A policy without a binding, or whose binding selects no namespace, refuses nothing and says nothing."""
    namespaces = [
        {**(item.metadata.labels or {}), NAMESPACE_NAME: item.metadata.name}
        for item in objects
        if isinstance(item, Namespace)
    ]
    policies = {item.metadata.name for item in objects if isinstance(item, ValidatingAdmissionPolicy)}
    bindings = [item for item in objects if isinstance(item, ValidatingAdmissionPolicyBinding)]
    for name in sorted(policies - {item.spec.policy_name for item in bindings}):
        yield Incoherence(f"ValidatingAdmissionPolicy {name}", "has no binding: it holds nowhere")
    for item in bindings:
        if item.spec.policy_name not in policies:
            yield Incoherence(name_of(item), f"names policy {item.spec.policy_name}, which nobody makes")
        if not any(item.spec.match_resources.namespace_selector.selects(labels) for labels in namespaces):
            yield Incoherence(name_of(item), "selects no namespace: its policy holds nowhere")


def _nodes(objects: Sequence[Manifest], pools: Sequence[Pool]) -> Iterator[Incoherence]:
    """Flavours and node pools must carry a pool's labels and taints, no more and no less."""
    known = {item.name: item for item in pools}
    for item in objects:
        if isinstance(item, ResourceFlavor):
            labels, taints = item.spec.node_labels, item.spec.node_taints
        elif isinstance(item, NodePool):
            labels, taints = item.spec.template.metadata.labels, item.spec.template.spec.taints
        else:
            continue
        pool = known.get(labels.get(POOL, ""))
        if pool is None:
            yield Incoherence(name_of(item), f"is of pool {labels.get(POOL)}, which this region has not")
            continue
        if not labels.items() <= labels_of(pool).items():
            yield Incoherence(name_of(item), f"labels nodes {labels}, and pool {pool.name} has {labels_of(pool)}")
        found = {(taint.key, taint.value, taint.effect) for taint in taints or ()}
        if found != {(taint.key, taint.value, taint.effect) for taint in taints_of(pool)}:
            yield Incoherence(name_of(item), f"taints nodes {sorted(map(str, found))}, and pool {pool.name} does not")


def _placement(pod: _Pods, pools: Sequence[Pool]) -> Iterator[Incoherence]:
    """A pod must fit some pool's labels, live with its taints, and tolerate nothing that no pool has."""
    spec = pod.template.spec
    wanted = spec.node_selector or {}
    fitting = [item for item in pools if wanted.items() <= labels_of(item).items()]
    if wanted and not fitting:
        yield Incoherence(name_of(pod.owner), f"wants nodes {wanted}, which no pool has")
    if not wanted and spec.affinity is None:
        yield Incoherence(name_of(pod.owner), "says on which nodes it runs by no selector and no affinity")
    for item in fitting if wanted else ():
        for taint in taints_of(item):
            if not any(_tolerates(taint, other) for other in spec.tolerations or ()):
                yield Incoherence(name_of(pod.owner), f"runs on pool {item.name} and does not tolerate {taint.key}")
    taints = [taint for item in pools for taint in taints_of(item)]
    for toleration in spec.tolerations or ():
        if not any(_tolerates(taint, toleration) for taint in taints):
            yield Incoherence(name_of(pod.owner), f"tolerates {toleration.key}, which no pool is tainted with")


def _tolerates(taint: Taint, toleration: object) -> bool:
    key, value, effect = (getattr(toleration, name) for name in ("key", "value", "effect"))
    exists = getattr(toleration, "operator", "Equal") == "Exists"
    return key == taint.key and effect in {None, taint.effect} and (exists or value == taint.value)


def _all_containers(pod: _Pods) -> tuple[Container, ...]:
    return (*(pod.template.spec.init_containers or ()), *pod.template.spec.containers)


def _containers(pod: _Pods) -> Iterator[Incoherence]:
    for container in _all_containers(pod):
        where = f"{name_of(pod.owner)}, container {container.name}"
        wrong = _unpinned(container.image)
        if wrong is not None:
            yield Incoherence(where, f"image {container.image} {wrong}")
        for resource in ("cpu", "memory"):
            if resource not in container.resources.requests:
                yield Incoherence(where, f"asks for no {resource}")
        if "memory" not in (container.resources.limits or {}):
            yield Incoherence(where, "has no limit on memory: it takes its neighbours with it")


def _unpinned(image: str) -> str | None:
    match = _IMAGE.match(image)
    if match is None:
        return "is no image's name"
    if match.group("digest"):
        return None
    tag = match.group("tag")
    if tag is None:
        return "has no version"
    if tag in _MOVING_TAGS or not _VERSION.search(tag):
        return f"has tag '{tag}', which moves"
    return None
