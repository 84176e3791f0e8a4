"""Kinds of Kubernetes itself."""

from __future__ import annotations

from typing import ClassVar

from cdk.cluster.kinds.base import Labels, LabelSelector, Manifest, ObjectReference, Part, spelled
from cdk.cluster.kinds.pods import PodTemplate, PortNumber


class Namespace(Manifest):
    """A namespace."""

    api_version: ClassVar[str] = "v1"
    kind: ClassVar[str] = "Namespace"
    namespaced: ClassVar[bool] = False


class ServiceAccount(Manifest):
    """Who a pod is."""

    api_version: ClassVar[str] = "v1"
    kind: ClassVar[str] = "ServiceAccount"
    automount_service_account_token: bool | None = None


class ConfigMap(Manifest):
    """Texts by key."""

    api_version: ClassVar[str] = "v1"
    kind: ClassVar[str] = "ConfigMap"
    data: Labels


class ServicePort(Part):
    """A port of a service."""

    name: str
    port: int
    target_port: PortNumber
    protocol: str = "TCP"


class ServiceSpec(Part):
    """Which pods a service stands for."""

    selector: Labels
    ports: tuple[ServicePort, ...]
    type: str = "ClusterIP"
    cluster_ip: str | None = spelled("clusterIP")
    traffic_distribution: str | None = None


class Service(Manifest):
    """One address for several pods."""

    api_version: ClassVar[str] = "v1"
    kind: ClassVar[str] = "Service"
    spec: ServiceSpec


class QuotaSpec(Part):
    """At most so much in a namespace."""

    hard: Labels


class ResourceQuota(Manifest):
    """A namespace's limit."""

    api_version: ClassVar[str] = "v1"
    kind: ClassVar[str] = "ResourceQuota"
    spec: QuotaSpec


class LimitItem(Part):
    """Limits and defaults of one kind of thing."""

    type: str
    default: Labels | None = None
    default_request: Labels | None = None
    max: Labels | None = None


class LimitSpec(Part):
    """All limits."""

    limits: tuple[LimitItem, ...]


class LimitRange(Manifest):
    """What a container gets that asks for nothing."""

    api_version: ClassVar[str] = "v1"
    kind: ClassVar[str] = "LimitRange"
    spec: LimitSpec


class PriorityClass(Manifest):
    """Who may push whom out."""

    api_version: ClassVar[str] = "scheduling.k8s.io/v1"
    kind: ClassVar[str] = "PriorityClass"
    namespaced: ClassVar[bool] = False
    value: int
    description: str
    preemption_policy: str | None = None
    global_default: bool = False


class StorageClass(Manifest):
    """A kind of disk."""

    api_version: ClassVar[str] = "storage.k8s.io/v1"
    kind: ClassVar[str] = "StorageClass"
    namespaced: ClassVar[bool] = False
    provisioner: str
    parameters: Labels
    reclaim_policy: str = "Delete"
    volume_binding_mode: str = "WaitForFirstConsumer"
    allow_volume_expansion: bool = True


class RollingUpdate(Part):
    """How many pods change at once."""

    max_unavailable: int | str | None = None
    max_surge: int | str | None = None


class DeploymentStrategy(Part):
    """How pods are replaced."""

    type: str = "RollingUpdate"
    rolling_update: RollingUpdate | None = None


class DeploymentSpec(Part):
    """Pods that are alike."""

    replicas: int
    selector: LabelSelector
    strategy: DeploymentStrategy | None = None
    template: PodTemplate


class Deployment(Manifest):
    """Pods that are alike."""

    api_version: ClassVar[str] = "apps/v1"
    kind: ClassVar[str] = "Deployment"
    spec: DeploymentSpec


class DaemonSetStrategy(Part):
    """How a DaemonSet's pods are replaced."""

    type: str = "RollingUpdate"
    rolling_update: RollingUpdate | None = None


class DaemonSetSpec(Part):
    """A pod on every node."""

    selector: LabelSelector
    update_strategy: DaemonSetStrategy | None = None
    template: PodTemplate


class DaemonSet(Manifest):
    """A pod on every node it tolerates."""

    api_version: ClassVar[str] = "apps/v1"
    kind: ClassVar[str] = "DaemonSet"
    spec: DaemonSetSpec


class DisruptionBudgetSpec(Part):
    """How many pods may be away."""

    min_available: int | str | None = None
    max_unavailable: int | str | None = None
    selector: LabelSelector
    unhealthy_pod_eviction_policy: str | None = None


class PodDisruptionBudget(Manifest):
    """What a drain of nodes must leave running."""

    api_version: ClassVar[str] = "policy/v1"
    kind: ClassVar[str] = "PodDisruptionBudget"
    spec: DisruptionBudgetSpec


class IpBlock(Part):
    """A range of addresses."""

    cidr: str
    # `except` is a word of Python.
    without: tuple[str, ...] | None = spelled("except")


class Peer(Part):
    """The other side of traffic."""

    pod_selector: LabelSelector | None = None
    namespace_selector: LabelSelector | None = None
    ip_block: IpBlock | None = None


class PolicyPort(Part):
    """A port, or a range of them."""

    protocol: str = "TCP"
    port: PortNumber
    end_port: int | None = None


class IngressRule(Part):
    """Traffic that may come in."""

    # `from` is a word of Python.
    sources: tuple[Peer, ...] | None = spelled("from")
    ports: tuple[PolicyPort, ...] | None = None


class EgressRule(Part):
    """Traffic that may go out."""

    to: tuple[Peer, ...] | None = None
    ports: tuple[PolicyPort, ...] | None = None


class NetworkPolicySpec(Part):
    """What may reach pods, and what they may reach."""

    pod_selector: LabelSelector
    policy_types: tuple[str, ...]
    ingress: tuple[IngressRule, ...] | None = None
    egress: tuple[EgressRule, ...] | None = None


class NetworkPolicy(Manifest):
    """What may reach pods, and what they may reach."""

    api_version: ClassVar[str] = "networking.k8s.io/v1"
    kind: ClassVar[str] = "NetworkPolicy"
    spec: NetworkPolicySpec


class Rule(Part):
    """Verbs on resources."""

    api_groups: tuple[str, ...]
    resources: tuple[str, ...]
    verbs: tuple[str, ...]
    resource_names: tuple[str, ...] | None = None


class ClusterRole(Manifest):
    """What whoever has it may do."""

    api_version: ClassVar[str] = "rbac.authorization.k8s.io/v1"
    kind: ClassVar[str] = "ClusterRole"
    namespaced: ClassVar[bool] = False
    rules: tuple[Rule, ...]


class Subject(Part):
    """Who has a role."""

    kind: str
    name: str
    namespace: str | None = None
    api_group: str | None = None


class ClusterRoleBinding(Manifest):
    """A role, in every namespace."""

    api_version: ClassVar[str] = "rbac.authorization.k8s.io/v1"
    kind: ClassVar[str] = "ClusterRoleBinding"
    namespaced: ClassVar[bool] = False
    role_ref: ObjectReference
    subjects: tuple[Subject, ...]


class RoleBinding(Manifest):
    """A role, in one namespace."""

    api_version: ClassVar[str] = "rbac.authorization.k8s.io/v1"
    kind: ClassVar[str] = "RoleBinding"
    role_ref: ObjectReference
    subjects: tuple[Subject, ...]
