"""What others wrote and we run: Argo CD applications, each a chart at one version, with our values."""

from __future__ import annotations

import yaml

from cdk.cluster.definitions import WAVE
from cdk.cluster.kinds.addons import (
    ARGO_NAMESPACE,
    Application,
    ApplicationSpec,
    AppProject,
    AutomatedSync,
    Backoff,
    ChartSource,
    Destination,
    GroupKind,
    HelmSource,
    ProjectSpec,
    Retry,
    SyncPolicy,
)
from cdk.cluster.kinds.base import Document, Manifest, Metadata
from cdk.cluster.place import PRODUCT, SYSTEM_NODES, Place, labels_for
from cdk.cluster.shapes import EFA
from cdk.cluster.versions import (
    CERT_MANAGER,
    CHARTS,
    DCGM_EXPORTER,
    EXTERNAL_SECRETS,
    KARPENTER,
    KARPENTER_CRD,
    KUBERAY_OPERATOR,
    KUEUE,
    OPENCOST,
    PROMETHEUS,
    Chart,
)
from cdk.labels import POOL, taints_of
from cdk.model import Nat, PoolKind

# All alpha in KubeRay 1.7, and off by default; without the first three a Ray cluster trusts whoever reaches it, and its
# logs go with it; without the last a head that is lost takes its jobs with it.
_RAY_FEATURES = (
    "RayClusterMTLS",
    "RayClusterNetworkPolicy",
    "RayClusterHistoryServer",
    "GCSFaultToleranceEmbeddedStorage",
)
_PROMETHEUS_URL = "http://prometheus-operated.monitoring.svc.cluster.local:9090"


def applications(place: Place) -> list[Manifest]:
    """Return the project and the applications of a cluster."""
    values = {
        CERT_MANAGER: _cert_manager(),
        EXTERNAL_SECRETS: _external_secrets(),
        PROMETHEUS: _prometheus(place),
        KARPENTER_CRD: {},
        KARPENTER: _karpenter(place),
        KUBERAY_OPERATOR: _kuberay(),
        KUEUE: _kueue(),
        DCGM_EXPORTER: _dcgm(place),
        OPENCOST: _opencost(place),
    }
    charts = [item for item in CHARTS if item is not DCGM_EXPORTER or _nvidia_pools(place)]
    return [_project(), *(_application(item, values[item]) for item in charts)]


def _nvidia_pools(place: Place) -> list[str]:
    return sorted(item.name for item in place.work_pools if item.kind is PoolKind.NVIDIA)


def _project() -> AppProject:
    return AppProject(
        metadata=Metadata(name=PRODUCT, namespace=ARGO_NAMESPACE, labels=labels_for("applications")),
        spec=ProjectSpec(
            description="What the platform's clusters run",
            source_repos=tuple(sorted({item.repository for item in CHARTS})),
            destinations=tuple(
                Destination(namespace=item) for item in sorted({"kube-system", *(chart.namespace for chart in CHARTS)})
            ),
            # Operators bring definitions, roles and webhooks, which lie in no namespace.
            cluster_resource_whitelist=(GroupKind(group="*", kind="*"),),
        ),
    )


def _application(chart: Chart, values: Document) -> Application:
    return Application(
        metadata=Metadata(
            name=chart.name,
            namespace=ARGO_NAMESPACE,
            labels=labels_for("applications"),
            annotations={WAVE: str(chart.wave)},
        ),
        spec=ApplicationSpec(
            project=PRODUCT,
            source=ChartSource(
                repo_url=chart.repository,
                chart=chart.name,
                target_revision=chart.version,
                helm=HelmSource(
                    release_name=chart.name,
                    values_object=values,
                    skip_crds=True if chart is KARPENTER else None,  # `karpenter-crd` brings them, and upgrades them
                ),
            ),
            destination=Destination(namespace=chart.namespace),
            sync_policy=SyncPolicy(
                automated=AutomatedSync(prune=True, self_heal=True),
                # Some definitions are longer than the annotation that client-side apply keeps them in.
                sync_options=("CreateNamespace=false", "ServerSideApply=true"),
                retry=Retry(limit=5, backoff=Backoff(duration="30s", factor=2, max_duration="10m")),
            ),
        ),
    )


def _requests(cpu: str, memory: str) -> Document:
    return {"requests": {"cpu": cpu, "memory": memory}, "limits": {"memory": memory}}


def _cert_manager() -> Document:
    system: Document = {"nodeSelector": SYSTEM_NODES, "resources": _requests("50m", "256Mi")}
    return {"crds": {"enabled": True, "keep": True}, **system, "webhook": system, "cainjector": system}


def _external_secrets() -> Document:
    system: Document = {"nodeSelector": SYSTEM_NODES, "resources": _requests("50m", "256Mi")}
    return {
        "installCRDs": True,
        # Pod Identity knows it by this name.
        "serviceAccount": {"create": True, "name": "external-secrets"},
        **system,
        "webhook": system,
        "certController": system,
    }


def _kuberay() -> Document:
    return {
        "featureGates": [{"name": item, "enabled": True} for item in _RAY_FEATURES],
        "nodeSelector": SYSTEM_NODES,
        "resources": _requests("200m", "1Gi"),
        "leaderElectionEnabled": True,
        "metrics": {"enabled": True, "serviceMonitor": {"enabled": True}},
    }


def _kueue() -> Document:
    configuration = {
        "apiVersion": "config.kueue.x-k8s.io/v1beta2",
        "kind": "Configuration",
        "health": {"healthProbeBindAddress": ":8081"},
        "metrics": {"bindAddress": ":8443", "enableClusterQueueResources": True},
        "webhook": {"port": 9443},
        "leaderElection": {"leaderElect": True, "resourceName": "c1f6bfd2.kueue.x-k8s.io"},
        "controller": {"groupKindConcurrency": {"Workload.kueue.x-k8s.io": 5}},
        # All pods of a gang, or none: half a gang would wait on nodes that cost as if they worked.
        "waitForPodsReady": {"timeout": "30m", "recoveryTimeout": "15m", "blockAdmission": False},
        "integrations": {"frameworks": ["batch/job", "ray.io/raycluster", "ray.io/rayjob"]},
        "fairSharing": {"preemptionStrategies": ["LessThanOrEqualToFinalShare", "LessThanInitialShare"]},
        # They come with their nodes, and no queue has a share of them.
        "resources": {"excludeResourcePrefixes": [EFA]},
    }
    return {
        "controllerManager": {
            "nodeSelector": SYSTEM_NODES,
            "manager": {"resources": _requests("200m", "1Gi")},
            "replicas": 2,
        },
        "enablePrometheus": True,
        "managerConfig": {"controllerManagerConfigYaml": yaml.safe_dump(configuration, sort_keys=True)},
    }


def _karpenter(place: Place) -> Document:
    return {
        "replicas": 2,
        "serviceAccount": {"create": True, "name": "karpenter"},
        "nodeSelector": SYSTEM_NODES,
        "controller": {"resources": _requests("500m", "1Gi")},
        "settings": {
            "clusterName": place.name,
            "interruptionQueue": place.named("interruptions", place.region.name),
            # Prices have no endpoint in a VPC: asked for all the same, each try waits until it is given up.
            "isolatedVPC": place.region.nat is Nat.NONE,
            "featureGates": {"reservedCapacity": True, "spotToSpotConsolidation": False, "nodeRepair": True},
        },
        "serviceMonitor": {"enabled": True},
        "podDisruptionBudget": {"name": "karpenter", "maxUnavailable": 1},
    }


def _prometheus(place: Place) -> Document:
    # Ours carry no label of a release: they are taken from everywhere.
    everywhere = {
        f"{kind}SelectorNilUsesHelmValues": False for kind in ("serviceMonitor", "podMonitor", "rule", "probe")
    }
    claim = {
        "spec": {
            "storageClassName": "gp3-encrypted",
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "200Gi"}},
        }
    }
    return {
        "crds": {"enabled": True},
        "prometheus": {
            "prometheusSpec": {
                **everywhere,
                "retention": "30d",
                "retentionSize": "180GB",
                "nodeSelector": SYSTEM_NODES,
                "resources": _requests("500m", "4Gi"),
                "externalLabels": {"cluster": place.name, "environment": place.environment.environment},
                "storageSpec": {"volumeClaimTemplate": claim},
            }
        },
        "prometheusOperator": {"nodeSelector": SYSTEM_NODES, "resources": _requests("100m", "512Mi")},
        "alertmanager": {
            "alertmanagerSpec": {"nodeSelector": SYSTEM_NODES, "resources": _requests("50m", "256Mi"), "replicas": 2}
        },
        "grafana": {"nodeSelector": SYSTEM_NODES, "resources": _requests("100m", "512Mi")},
        "kube-state-metrics": {
            "nodeSelector": SYSTEM_NODES,
            "resources": _requests("50m", "512Mi"),
            # By pool and team is how alarms and bills are split.
            "metricLabelsAllowlist": [
                f"nodes=[{POOL},drivetrain.io/team,drivetrain.io/capacity,drivetrain.io/kind]",
                "pods=[ray.io/cluster,ray.io/node-type,drivetrain.io/team,drivetrain.io/pool]",
            ],
            # Jobs of Ray are no kind that it knows: their state is read off the object.
            "customResourceState": {"enabled": True, "config": _ray_state()},
            "rbac": {"extraRules": [{"apiGroups": ["ray.io"], "resources": ["rayjobs"], "verbs": ["list", "watch"]}]},
        },
        "prometheus-node-exporter": {"resources": _requests("50m", "64Mi")},
        # EKS runs these where no scrape reaches them.
        "kubeControllerManager": {"enabled": False},
        "kubeEtcd": {"enabled": False},
        "kubeScheduler": {"enabled": False},
    }


def _ray_state() -> Document:
    return {
        "kind": "CustomResourceStateMetrics",
        "spec": {
            "resources": [
                {
                    "groupVersionKind": {"group": "ray.io", "version": "v1", "kind": "RayJob"},
                    "metricNamePrefix": "drivetrain_rayjob",
                    "labelsFromPath": {"job": ["metadata", "name"], "namespace": ["metadata", "namespace"]},
                    "metrics": [
                        {
                            "name": "start_time_seconds",
                            "help": "When the job began.",
                            "each": {"type": "Gauge", "gauge": {"path": ["status", "startTime"], "nilIsZero": False}},
                        },
                        {
                            "name": "status",
                            "help": "The job's state.",
                            "each": {
                                "type": "StateSet",
                                "stateSet": {
                                    "labelName": "status",
                                    "path": ["status", "jobStatus"],
                                    "list": ["PENDING", "RUNNING", "STOPPED", "SUCCEEDED", "FAILED"],
                                },
                            },
                        },
                    ],
                }
            ]
        },
    }


def _dcgm(place: Place) -> Document:
    taints = sorted({item.key for pool in place.work_pools for item in taints_of(pool) if pool.kind is PoolKind.NVIDIA})
    condition = {"key": POOL, "operator": "In", "values": _nvidia_pools(place)}
    terms = {"nodeSelectorTerms": [{"matchExpressions": [condition]}]}
    return {
        "serviceMonitor": {"enabled": True, "interval": "15s", "honorLabels": True},
        "resources": _requests("100m", "512Mi"),
        "tolerations": [{"key": item, "operator": "Exists", "effect": "NoSchedule"} for item in taints],
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}},
    }


def _opencost(place: Place) -> Document:
    return {
        "opencost": {
            "nodeSelector": SYSTEM_NODES,
            "exporter": {
                "defaultClusterId": place.name,
                "resources": _requests("100m", "1Gi"),
            },
            "prometheus": {"internal": {"enabled": False}, "external": {"enabled": True, "url": _PROMETHEUS_URL}},
            "ui": {"enabled": False},
            "metrics": {"serviceMonitor": {"enabled": True}},
        },
    }
