"""Kinds of Argo CD, the Prometheus operator and External Secrets.

Source: custom resource definitions of Argo CD and of the Prometheus operator 0.93; of External Secrets its API, v1.
"""

from __future__ import annotations

from typing import ClassVar

from cdk.cluster.kinds.base import Document, Labels, LabelSelector, Manifest, Part, spelled

ARGO_NAMESPACE = "argocd"


class HelmSource(Part):
    """How a chart is rendered.

    Attributes:
        release_name: The release's name.
        values_object: The chart's values; their schema is the chart's own.
        skip_crds: Whether the chart's definitions are left out, because another application brings them.
    """

    release_name: str
    values_object: Document
    skip_crds: bool | None = None


class ChartSource(Part):
    """Where a chart lies, at one version."""

    repo_url: str | None = spelled("repoURL")
    chart: str
    target_revision: str
    helm: HelmSource


class Destination(Part):
    """Which cluster and namespace."""

    server: str = "https://kubernetes.default.svc"
    namespace: str


class AutomatedSync(Part):
    """Whether what is gone from the source goes from the cluster, and what was changed by hand is set back."""

    prune: bool
    self_heal: bool


class Backoff(Part):
    """How long between two tries."""

    duration: str
    factor: int
    max_duration: str


class Retry(Part):
    """How often a failed sync is tried again."""

    limit: int
    backoff: Backoff


class SyncPolicy(Part):
    """When and how an application is brought up to date."""

    automated: AutomatedSync
    sync_options: tuple[str, ...]
    retry: Retry


class ApplicationSpec(Part):
    """A chart in a cluster."""

    project: str
    source: ChartSource
    destination: Destination
    sync_policy: SyncPolicy


class Application(Manifest):
    """A chart in a cluster."""

    api_version: ClassVar[str] = "argoproj.io/v1alpha1"
    kind: ClassVar[str] = "Application"
    spec: ApplicationSpec


class GroupKind(Part):
    """A kind, or all of them."""

    group: str
    kind: str


class ProjectSpec(Part):
    """Where applications may come from and go to."""

    description: str
    source_repos: tuple[str, ...]
    destinations: tuple[Destination, ...]
    cluster_resource_whitelist: tuple[GroupKind, ...]


class AppProject(Manifest):
    """Where applications may come from and go to."""

    api_version: ClassVar[str] = "argoproj.io/v1alpha1"
    kind: ClassVar[str] = "AppProject"
    spec: ProjectSpec


class AlertRule(Part):
    """When somebody is told, and what to do."""

    alert: str
    expr: str
    # `for` is a word of Python.
    lasting: str | None = spelled("for")
    labels: Labels
    annotations: Labels


class RuleGroup(Part):
    """Rules that belong together."""

    name: str
    rules: tuple[AlertRule, ...]


class RulesSpec(Part):
    """All groups."""

    groups: tuple[RuleGroup, ...]


class PrometheusRule(Manifest):
    """Alarms."""

    api_version: ClassVar[str] = "monitoring.coreos.com/v1"
    kind: ClassVar[str] = "PrometheusRule"
    spec: RulesSpec


class Endpoint(Part):
    """Where metrics are read."""

    port: str
    path: str = "/metrics"
    interval: str = "30s"


class NamespaceSelection(Part):
    """Namespaces by name."""

    match_names: tuple[str, ...]


class PodMonitorSpec(Part):
    """Pods whose metrics are read."""

    selector: LabelSelector
    namespace_selector: NamespaceSelection
    pod_target_labels: tuple[str, ...] | None = None
    pod_metrics_endpoints: tuple[Endpoint, ...]


class PodMonitor(Manifest):
    """Pods whose metrics are read."""

    api_version: ClassVar[str] = "monitoring.coreos.com/v1"
    kind: ClassVar[str] = "PodMonitor"
    spec: PodMonitorSpec


class AwsProvider(Part):
    """AWS Secrets Manager, through a role."""

    service: str
    region: str
    role: str


class Provider(Part):
    """Where secrets come from."""

    aws: AwsProvider


class SecretStoreSpec(Part):
    """Where secrets come from."""

    provider: Provider


class ClusterSecretStore(Manifest):
    """Where secrets come from."""

    api_version: ClassVar[str] = "external-secrets.io/v1"
    kind: ClassVar[str] = "ClusterSecretStore"
    namespaced: ClassVar[bool] = False
    spec: SecretStoreSpec


class StoreReference(Part):
    """A store by name."""

    name: str
    kind: str


class SecretTemplate(Part):
    """How the Secret's values are made of the properties, as Go templates."""

    engine_version: str
    data: Labels


class SecretTarget(Part):
    """The Secret that is made."""

    name: str
    creation_policy: str
    template: SecretTemplate


class RemoteReference(Part):
    """One property of a secret elsewhere."""

    key: str
    property: str


class SecretDatum(Part):
    """One key of the Secret."""

    secret_key: str
    remote_ref: RemoteReference


class ExternalSecretSpec(Part):
    """A Secret that is a copy."""

    refresh_interval: str
    secret_store_ref: StoreReference
    target: SecretTarget
    data: tuple[SecretDatum, ...]


class ExternalSecret(Manifest):
    """A Secret that is a copy."""

    api_version: ClassVar[str] = "external-secrets.io/v1"
    kind: ClassVar[str] = "ExternalSecret"
    spec: ExternalSecretSpec
