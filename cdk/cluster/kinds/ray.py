"""Kinds of the KubeRay operator. Source: its custom resource definitions, release 1.7."""

from __future__ import annotations

from typing import ClassVar

from cdk.cluster.kinds.base import Labels, Manifest, Part, spelled
from cdk.cluster.kinds.core import EgressRule, IngressRule
from cdk.cluster.kinds.pods import PodTemplate, Resources, SecurityContext, Variable


class AuthOptions(Part):
    """Who may speak to a Ray cluster."""

    mode: str
    secret_name: str | None = None


class AutoscalerOptions(Part):
    """How workers come and go."""

    version: str
    upscaling_mode: str
    idle_timeout_seconds: int
    resources: Resources
    security_context: SecurityContext | None = None


class GcsStorage(Part):
    """The disk on which the head keeps its state."""

    size: str
    storage_class_name: str
    access_modes: tuple[str, ...]
    deletion_policy: str


class GcsFaultTolerance(Part):
    """How the head's state survives its pod."""

    backend: str
    storage: GcsStorage


class CollectorOptions(Part):
    """The container beside Ray that brings logs and events to the object store."""

    image: str
    env: tuple[Variable, ...]
    resources: Resources


class HistoryServerOptions(Part):
    """What is kept of a cluster after it is gone."""

    collector_options: CollectorOptions


class NetworkRules(Part):
    """Traffic of head or workers beside that between them."""

    ingress_rules: tuple[IngressRule, ...] | None = None
    egress_rules: tuple[EgressRule, ...] | None = None


class RayNetworkPolicy(Part):
    """What may reach a Ray cluster, and what it may reach."""

    mode: str
    head: NetworkRules
    worker: NetworkRules


class TlsOptions(Part):
    """Whether Ray's processes know each other by certificates."""

    enabled: bool


class HeadGroup(Part):
    """The head."""

    service_type: str = "ClusterIP"
    ray_start_params: Labels
    resources: Labels
    labels: Labels | None = None
    template: PodTemplate


class WorkerGroup(Part):
    """Workers that are alike."""

    group_name: str
    replicas: int
    min_replicas: int
    max_replicas: int
    idle_timeout_seconds: int | None = None
    ray_start_params: Labels
    resources: Labels
    labels: Labels | None = None
    template: PodTemplate


class RayClusterSpec(Part):
    """A Ray cluster."""

    ray_version: str
    suspend: bool | None = None
    enable_in_tree_autoscaling: bool
    autoscaler_options: AutoscalerOptions | None = None
    auth_options: AuthOptions
    tls_options: TlsOptions
    network_policy: RayNetworkPolicy
    gcs_fault_tolerance_options: GcsFaultTolerance
    history_server_options: HistoryServerOptions
    head_group_spec: HeadGroup
    worker_group_specs: tuple[WorkerGroup, ...]


class RayCluster(Manifest):
    """A Ray cluster that stays."""

    api_version: ClassVar[str] = "ray.io/v1"
    kind: ClassVar[str] = "RayCluster"
    spec: RayClusterSpec


class SubmitterConfig(Part):
    """How often submitting is tried again."""

    backoff_limit: int


class RayJobSpec(Part):
    """A job with a Ray cluster of its own."""

    entrypoint: str
    # Kueue lets it begin.
    suspend: bool
    submission_mode: str
    shutdown_after_job_finishes: bool
    ttl_seconds_after_finished: int
    backoff_limit: int
    active_deadline_seconds: int
    runtime_env: str | None = spelled("runtimeEnvYAML")
    submitter_config: SubmitterConfig
    submitter_pod_template: PodTemplate
    ray_cluster_spec: RayClusterSpec


class RayJob(Manifest):
    """A job with a Ray cluster of its own."""

    api_version: ClassVar[str] = "ray.io/v1"
    kind: ClassVar[str] = "RayJob"
    spec: RayJobSpec
