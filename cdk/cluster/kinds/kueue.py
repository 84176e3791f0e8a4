"""Kinds of Kueue. Source: its custom resource definitions, v1beta2."""

from __future__ import annotations

from typing import ClassVar

from cdk.cluster.kinds.base import Labels, LabelSelector, Manifest, NodeTaint, Part, Toleration

_API = "kueue.x-k8s.io/v1beta2"


class TopologyLevel(Part):
    """One level, by the label that names its members."""

    node_label: str


class TopologySpec(Part):
    """Levels, the widest first."""

    levels: tuple[TopologyLevel, ...]


class Topology(Manifest):
    """How near nodes lie to each other."""

    api_version: ClassVar[str] = _API
    kind: ClassVar[str] = "Topology"
    namespaced: ClassVar[bool] = False
    spec: TopologySpec


class FlavorSpec(Part):
    """Which nodes a flavour stands for."""

    node_labels: Labels
    node_taints: tuple[NodeTaint, ...] | None = None
    tolerations: tuple[Toleration, ...] | None = None
    topology_name: str | None = None


class ResourceFlavor(Manifest):
    """Nodes of one pool."""

    api_version: ClassVar[str] = _API
    kind: ClassVar[str] = "ResourceFlavor"
    namespaced: ClassVar[bool] = False
    spec: FlavorSpec


class FairSharing(Part):
    """How much of what is free a queue's share is."""

    weight: int


class CohortSpec(Part):
    """Queues that lend to each other."""

    parent_name: str | None = None
    fair_sharing: FairSharing | None = None


class Cohort(Manifest):
    """Queues that lend to each other."""

    api_version: ClassVar[str] = _API
    kind: ClassVar[str] = "Cohort"
    namespaced: ClassVar[bool] = False
    spec: CohortSpec


class ResourceShare(Part):
    """How much of a resource is a queue's own, and how much it may borrow and lend."""

    name: str
    nominal_quota: int | str
    borrowing_limit: int | str | None = None
    lending_limit: int | str | None = None


class FlavorShare(Part):
    """A queue's share of one flavour."""

    name: str
    resources: tuple[ResourceShare, ...]


class ResourceGroup(Part):
    """Flavours in the order in which they are tried."""

    covered_resources: tuple[str, ...]
    flavors: tuple[FlavorShare, ...]


class FlavorFungibility(Part):
    """Whether the next flavour is tried before borrowing or preempting."""

    when_can_borrow: str
    when_can_preempt: str


class Preemption(Part):
    """Whom a queue may push out."""

    reclaim_within_cohort: str
    within_cluster_queue: str


class ClusterQueueSpec(Part):
    """One team's share of a cluster."""

    cohort_name: str
    namespace_selector: LabelSelector
    queueing_strategy: str
    fair_sharing: FairSharing
    flavor_fungibility: FlavorFungibility
    preemption: Preemption
    resource_groups: tuple[ResourceGroup, ...]


class ClusterQueue(Manifest):
    """One team's share of a cluster."""

    api_version: ClassVar[str] = _API
    kind: ClassVar[str] = "ClusterQueue"
    namespaced: ClassVar[bool] = False
    spec: ClusterQueueSpec


class LocalQueueSpec(Part):
    """Which share jobs of a namespace take from."""

    cluster_queue: str


class LocalQueue(Manifest):
    """A team's door to its share, in one namespace."""

    api_version: ClassVar[str] = _API
    kind: ClassVar[str] = "LocalQueue"
    spec: LocalQueueSpec


class WorkloadPriorityClass(Manifest):
    """Which job goes first, without a word on its pods."""

    api_version: ClassVar[str] = _API
    kind: ClassVar[str] = "WorkloadPriorityClass"
    namespaced: ClassVar[bool] = False
    value: int
    description: str
