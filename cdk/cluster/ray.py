"""Ray clusters and jobs: one that stays for people, and for each pool the form of a job that `submit` fills in."""

from __future__ import annotations

import json

from cdk.access import IDENTITIES, Workload
from cdk.cluster.kinds.addons import Endpoint, NamespaceSelection, PodMonitor, PodMonitorSpec
from cdk.cluster.kinds.base import LabelSelector, Manifest, Metadata
from cdk.cluster.kinds.core import ConfigMap
from cdk.cluster.kinds.pods import (
    RESTRICTED,
    Container,
    PodSpec,
    PodTemplate,
    Resources,
    TemplateMetadata,
    Variable,
)
from cdk.cluster.kinds.ray import (
    AuthOptions,
    AutoscalerOptions,
    CollectorOptions,
    GcsFaultTolerance,
    GcsStorage,
    HistoryServerOptions,
    NetworkRules,
    RayCluster,
    RayClusterSpec,
    RayJob,
    RayJobSpec,
    RayNetworkPolicy,
    SubmitterConfig,
    TlsOptions,
    WorkerGroup,
)
from cdk.cluster.namespaces import DISK_CLASS, RAY
from cdk.cluster.place import NAME, Place, labels_for
from cdk.cluster.queues import DEFAULT_PRIORITY, PRIORITY_LABEL, QUEUE_LABEL, queue_name
from cdk.cluster.ray_pods import head, image_of, security, system_node, workers
from cdk.cluster.traffic import (
    DASHBOARD_PORT,
    MLFLOW_PORT,
    RAY_METRICS_PORT,
    api_server,
    database,
    dns,
    from_pods,
    https,
    pod_identity,
    to_pods,
)
from cdk.cluster.versions import COLLECTOR_IMAGE
from cdk.cluster.versions import RAY as RAY_VERSION
from cdk.labels import cost_labels
from cdk.model import DataClass, Pool
from platform_lib.errors import ConfigError
from policies.kubernetes.catalogue import SHARED_CLUSTER

# Source: Kueue and KubeRay 1.7: a RayJob with more worker groups is refused.
WORKER_GROUPS = 17
HISTORY_ROOT = "ray-history"
TEMPLATES = "ray-job-templates"
# People's cluster takes at most this part of a pool: it is not queued, jobs are.
_SHARED_PART = 4
_IDLE_S = 600
_JOB_HOURS = 14 * 24
_KEPT_AFTER_S = 3600  # time to look at what failed; logs stay in the history
_RETRIES = 2
# What an unfilled form runs, so that it fails at once and says so.
UNFILLED = "/bin/false"


def ray_objects(place: Place) -> list[Manifest]:
    """Return the cluster that stays, the forms of jobs, and what reads Ray's metrics.

    Raises:
        ConfigError: More pools than a Ray cluster can have worker groups, or a pool of unknown size.
    """
    return [_shared(place), _forms(place), _metrics()]


def _shared(place: Place) -> RayCluster:
    payer = place.system_pools[0]  # its head runs there, for everybody
    groups = tuple(
        workers(place, item, maximum=max(1, item.maximum // _SHARED_PART), idle_s=_IDLE_S) for item in place.work_pools
    )
    return RayCluster(
        metadata=Metadata(
            name=SHARED_CLUSTER[1], namespace=SHARED_CLUSTER[0], labels=labels_for("ray-shared", **cost_labels(payer))
        ),
        spec=cluster_spec(place, groups, image=place.image("ray-cpu"), autoscales=True, payer=payer),
    )


def cluster_spec(
    place: Place, groups: tuple[WorkerGroup, ...], *, image: str, autoscales: bool, payer: Pool
) -> RayClusterSpec:
    """Return a Ray cluster's specification: its head's state on a disk, tokens, mutual TLS, policies, history.

    Args:
        place: The cluster.
        groups: Its workers.
        image: What its head runs.
        autoscales: Whether it changes its size by itself.
        payer: The pool whose team and cost centre the head is billed to.

    Raises:
        ConfigError: Too many worker groups.
    """
    if len(groups) > WORKER_GROUPS:
        raise ConfigError(
            f"{len(groups)} pools make {len(groups)} worker groups, and a Ray job can have {WORKER_GROUPS}",
            where=f"region {place.region.name}",
            remedy="merge pools that differ only in their instance type",
        )
    return RayClusterSpec(
        ray_version=RAY_VERSION,
        enable_in_tree_autoscaling=autoscales,
        autoscaler_options=_autoscaler() if autoscales else None,
        auth_options=AuthOptions(mode="token"),
        tls_options=TlsOptions(enabled=True),
        network_policy=_network_policy(place),
        # RocksDB in the head's own process, on a disk that outlives its pod: no database server that could be lost, or
        # that would need a password and a network of its own.
        gcs_fault_tolerance_options=GcsFaultTolerance(
            backend="rocksdb",
            storage=GcsStorage(
                size="20Gi",
                storage_class_name=DISK_CLASS,
                access_modes=("ReadWriteOnce",),
                deletion_policy="DeleteWithCluster",
            ),
        ),
        history_server_options=HistoryServerOptions(
            collector_options=CollectorOptions(
                image=COLLECTOR_IMAGE,
                env=history_variables(place),
                resources=Resources(requests={"cpu": "50m", "memory": "128Mi"}, limits={"memory": "512Mi"}),
            )
        ),
        head_group_spec=head(place, image=image, autoscales=autoscales, payer=payer, groups=groups),
        worker_group_specs=groups,
    )


def history_variables(place: Place) -> tuple[Variable, ...]:
    """Return where logs and events of clusters lie; collector and history server must agree."""
    return (
        Variable(name="STORAGE_BACKEND", value="s3"),
        Variable(name="S3_BUCKET", value=place.bucket(DataClass.DERIVED)),
        Variable(name="S3_REGION", value=place.bucket_region),
        Variable(name="STORAGE_ROOT_DIR", value=f"{HISTORY_ROOT}/{place.region.name}"),
    )


def _autoscaler() -> AutoscalerOptions:
    return AutoscalerOptions(
        version="v2",
        upscaling_mode="Default",
        idle_timeout_seconds=_IDLE_S,
        resources=Resources(requests={"cpu": "200m", "memory": "512Mi"}, limits={"memory": "512Mi"}),
        security_context=RESTRICTED,
    )


def _network_policy(place: Place) -> RayNetworkPolicy:
    """Head and workers reach each other by the operator's own rules; everything else is here."""
    tracking = to_pods("mlflow", {NAME: "mlflow"}, MLFLOW_PORT)
    out = (dns(), pod_identity(), https(), database(place), tracking)
    metrics = from_pods("monitoring", {NAME: "prometheus"}, RAY_METRICS_PORT)
    dashboard = from_pods(RAY, {NAME: "ray-history"}, DASHBOARD_PORT)
    return RayNetworkPolicy(
        mode="DenyAll",
        head=NetworkRules(ingress_rules=(metrics, dashboard), egress_rules=(*out, api_server(place))),
        worker=NetworkRules(ingress_rules=(metrics,), egress_rules=out),
    )


def job_form(place: Place, pool: Pool) -> RayJob:
    """Return the form of a job on one pool: `submit` sets name, command, workers, and image.

    Raises:
        ConfigError: A pool of unknown size.
    """
    spec = cluster_spec(
        place,
        (workers(place, pool, maximum=pool.maximum, idle_s=None),),
        image=image_of(place, pool),
        autoscales=False,  # Kueue admits a job as it is, whole
        payer=pool,
    )
    return RayJob(
        metadata=Metadata(
            name=f"form-{pool.name}",
            namespace=RAY,
            # The operator puts them on the cluster of the job too.
            labels=labels_for(
                "ray-job",
                **{QUEUE_LABEL: queue_name(pool.team), PRIORITY_LABEL: DEFAULT_PRIORITY},
                **cost_labels(pool),
            ),
        ),
        spec=RayJobSpec(
            entrypoint=UNFILLED,
            suspend=True,
            submission_mode="K8sJobMode",
            shutdown_after_job_finishes=True,
            ttl_seconds_after_finished=_KEPT_AFTER_S,
            backoff_limit=_RETRIES,
            active_deadline_seconds=_JOB_HOURS * 3600,
            submitter_config=SubmitterConfig(backoff_limit=_RETRIES),
            submitter_pod_template=_submitter(place, pool),
            ray_cluster_spec=spec,
        ),
    )


def _submitter(place: Place, pool: Pool) -> PodTemplate:
    return PodTemplate(
        metadata=TemplateMetadata(labels=labels_for("ray-submitter", **cost_labels(pool))),
        spec=PodSpec(
            service_account_name=IDENTITIES[Workload.JOBS].service_account,
            restart_policy="Never",
            node_selector=system_node(place),
            security_context=security(),
            containers=(
                Container(
                    name="ray-job-submitter",
                    image=image_of(place, pool),
                    resources=Resources(requests={"cpu": "100m", "memory": "512Mi"}, limits={"memory": "512Mi"}),
                    security_context=RESTRICTED,
                ),
            ),
        ),
    )


def _forms(place: Place) -> ConfigMap:
    """The forms lie in the cluster they fit: `submit` reads them there and needs nothing of this package."""
    return ConfigMap(
        metadata=Metadata(name=TEMPLATES, namespace=RAY, labels=labels_for("ray-job")),
        data={
            f"{pool.name}.json": json.dumps(job_form(place, pool).document(), indent=1, sort_keys=True) + "\n"
            for pool in place.work_pools
        },
    )


def _metrics() -> PodMonitor:
    return PodMonitor(
        metadata=Metadata(name="ray", namespace=RAY, labels=labels_for("metrics")),
        spec=PodMonitorSpec(
            selector=LabelSelector(match_labels={"ray.io/is-ray-node": "yes"}),
            namespace_selector=NamespaceSelection(match_names=(RAY,)),
            pod_target_labels=("ray.io/cluster", "ray.io/node-type", "drivetrain.io/pool", "drivetrain.io/team"),
            pod_metrics_endpoints=(Endpoint(port="metrics"),),
        ),
    )
