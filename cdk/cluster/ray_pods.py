"""Heads and workers of Ray clusters: what they ask for, where they run, how they end."""

from __future__ import annotations

from collections.abc import Sequence

from cdk.access import IDENTITIES, Workload
from cdk.cluster.kinds.base import tolerating
from cdk.cluster.kinds.pods import (
    RESTRICTED,
    Container,
    ContainerPort,
    EmptyDir,
    Execution,
    FieldReference,
    Handler,
    KeyReference,
    Lifecycle,
    Mount,
    PodSecurityContext,
    PodSpec,
    PodTemplate,
    Resources,
    SeccompProfile,
    TemplateMetadata,
    ValueSource,
    Variable,
    Volume,
)
from cdk.cluster.kinds.ray import HeadGroup, WorkerGroup
from cdk.cluster.namespaces import CRITICAL, JOBS
from cdk.cluster.place import Place, labels_for
from cdk.cluster.queues import ZONE_LABEL
from cdk.cluster.shapes import EFA, accelerator_resource, smallest_shape
from cdk.cluster.tracking import DATABASE_SECRET, DATABASE_URL_KEY, TRACKING_URI
from cdk.cluster.traffic import DASHBOARD_PORT, RAY_METRICS_PORT
from cdk.labels import POOL, cost_labels, is_spot, labels_of, taints_of
from cdk.model import DataClass, Pool, PoolKind
from platform_lib.abilities import ABILITIES, EVALUATES, GPU, QAIC, TRAINS, Ability, offer, pool_resource

USER_ID = 1000  # the images' user
_GCS_PORT, _CLIENT_PORT = 6379, 10001
# A spot node is gone two minutes after its warning; the rest is for Karpenter to see it and to evict.
_SPOT_GRACE_S = 100
_GRACE_S = 600
_STOP_S = 20  # of that for Ray's own processes; the rest is for trainings to save
_NOTICE = "/tmp/interruption-notice"  # noqa: S108 - in the container, whose processes are all one user's
_SHARED_MEMORY_PART = 0.3  # of a worker's memory, as Ray's own object store takes
# By the images that pools run (images/README.md): none of a Ray worker's holds the compilers of vehicles' chips, so that
# no pool says it can compile. A node that has them announces it itself.
ABILITIES_OF: dict[PoolKind, tuple[Ability, ...]] = {
    PoolKind.NVIDIA: (TRAINS,),
    PoolKind.QUALCOMM: (EVALUATES,),
    PoolKind.CPU: (EVALUATES,),
    PoolKind.SYSTEM: (),
}
_NO_DISTURBANCE = {"karpenter.sh/do-not-disrupt": "true"}


def security() -> PodSecurityContext:
    """Return how far Ray's pods may go."""
    return PodSecurityContext(
        run_as_non_root=True,
        run_as_user=USER_ID,
        run_as_group=USER_ID,
        fs_group=USER_ID,
        fs_group_change_policy="OnRootMismatch",
        seccomp_profile=SeccompProfile(),
    )


def system_node(place: Place) -> dict[str, str]:
    """Return the selector of nodes that no interruption takes; by pool, which is what Kueue knows nodes by."""
    return {POOL: place.system_pools[0].name}


def variables(place: Place) -> tuple[Variable, ...]:
    """Return what every Ray process of ours is told."""
    return (
        Variable(name="DRIVETRAIN_ENVIRONMENT", value=place.environment.environment),
        Variable(
            name="DRIVETRAIN_DATABASE_URL",
            value_from=ValueSource(secret_key_ref=KeyReference(name=DATABASE_SECRET, key=DATABASE_URL_KEY)),
        ),
        # In the one bucket of the two with derived data of which nothing expires: a lake keeps what its catalogue names.
        Variable(name="DRIVETRAIN_LAKE", value=f"s3://{place.bucket(DataClass.SAMPLES)}/lake"),
        Variable(name="MLFLOW_TRACKING_URI", value=TRACKING_URI),
        Variable(name="AWS_REGION", value=place.bucket_region),
        *(
            Variable(name=f"DRIVETRAIN_BUCKET_{item.name}", value=place.bucket(item))
            for item in (DataClass.RAW, DataClass.DERIVED, DataClass.SAMPLES, DataClass.CHECKPOINTS)
        ),
        Variable(name="DRIVETRAIN_INTERRUPTION_NOTICE", value=_NOTICE),
        Variable(name="POD_NAME", value_from=ValueSource(field_ref=FieldReference(field_path="metadata.name"))),
        # One driver for all of a node's memory: Ray spills before the kernel kills.
        Variable(name="RAY_memory_usage_threshold", value="0.92"),
    )


def head(place: Place, *, image: str, autoscales: bool, payer: Pool, groups: Sequence[WorkerGroup] = ()) -> HeadGroup:
    """Return a head: on a node that stays, without work of its own, at the expense of `payer`.

    It announces what nodes of `groups` can do: tasks have to know before the first such node is there.
    """
    offered = sorted({name for group in groups for name in group.resources if name in ABILITIES})
    return HeadGroup(
        ray_start_params={"dashboard-host": "0.0.0.0"},  # noqa: S104 - a pod's own address; policies say who reaches it
        resources={"CPU": "0", **{offer(name): "1" for name in offered}},
        template=PodTemplate(
            metadata=TemplateMetadata(labels=labels_for("ray-head", **cost_labels(payer)), annotations=_NO_DISTURBANCE),
            spec=PodSpec(
                service_account_name=IDENTITIES[Workload.JOBS].service_account,
                automount_service_account_token=autoscales,
                priority_class_name=CRITICAL,
                node_selector=system_node(place),
                termination_grace_period_seconds=60,
                security_context=security(),
                containers=(
                    Container(
                        name="ray-head",
                        image=image,
                        env=variables(place),
                        ports=(
                            ContainerPort(name="gcs-server", container_port=_GCS_PORT),
                            ContainerPort(name="dashboard", container_port=DASHBOARD_PORT),
                            ContainerPort(name="client", container_port=_CLIENT_PORT),
                            ContainerPort(name="metrics", container_port=RAY_METRICS_PORT),
                        ),
                        resources=Resources(requests={"cpu": "500m", "memory": "3Gi"}, limits={"memory": "3Gi"}),
                        security_context=RESTRICTED,
                    ),
                ),
            ),
        ),
    )


def image_of(place: Place, pool: Pool) -> str:
    """Return the image that a pool's workers run; Cloud AI 100's software comes with its node, mounted."""
    return place.image("ray-cuda" if pool.kind is PoolKind.NVIDIA else "ray-cpu")


def workers(place: Place, pool: Pool, *, maximum: int, idle_s: int | None) -> WorkerGroup:
    """Return a pool's workers, one a node: a job that shares a node with another cannot be told what it costs.

    Args:
        place: The cluster.
        pool: The pool.
        maximum: Workers at most.
        idle_s: After how long an idle worker goes, seconds; None: the autoscaler's own.
    """
    shape = smallest_shape(pool)
    resource = accelerator_resource(pool)
    asked = {"cpu": str(shape.pod_cpu), "memory": f"{shape.pod_memory_gib}Gi"}
    devices: dict[str, str] = {}
    rays: dict[str, str] = {"CPU": str(shape.pod_cpu), pool_resource(pool.name): "1"}
    rays |= {name: "1" for name in ABILITIES_OF[pool.kind]}
    if resource is not None:
        devices[resource] = str(shape.accelerators)
        rays[GPU if pool.kind is PoolKind.NVIDIA else QAIC] = str(shape.accelerators)
    if pool.efa:
        devices[EFA] = str(shape.efa_cards)
    return WorkerGroup(
        group_name=pool.name,
        replicas=0,
        min_replicas=0,
        max_replicas=maximum,
        idle_timeout_seconds=idle_s,
        ray_start_params={},
        resources=rays,
        labels=_ray_labels(pool),
        template=PodTemplate(
            metadata=TemplateMetadata(labels=_labels(pool), annotations=_annotations(pool)),
            spec=PodSpec(
                service_account_name=IDENTITIES[Workload.JOBS].service_account,
                automount_service_account_token=False,
                priority_class_name=JOBS,
                node_selector={POOL: pool.name},
                tolerations=tolerating(taints_of(pool)),
                termination_grace_period_seconds=_SPOT_GRACE_S if is_spot(pool) else _GRACE_S,
                security_context=security(),
                containers=(
                    Container(
                        name="ray-worker",
                        image=image_of(place, pool),
                        env=variables(place),
                        ports=(ContainerPort(name="metrics", container_port=RAY_METRICS_PORT),),
                        resources=Resources(
                            requests={**asked, **devices}, limits={"memory": asked["memory"], **devices}
                        ),
                        security_context=RESTRICTED,
                        lifecycle=_ending(pool),
                        volume_mounts=(Mount(name="shared-memory", mount_path="/dev/shm"),),  # noqa: S108
                    ),
                ),
                volumes=(
                    Volume(
                        name="shared-memory",
                        empty_dir=EmptyDir(
                            medium="Memory", size_limit=f"{max(1, int(shape.pod_memory_gib * _SHARED_MEMORY_PART))}Gi"
                        ),
                    ),
                ),
            ),
        ),
    )


def _labels(pool: Pool) -> dict[str, str]:
    # OpenCost splits the bill by labels of pods.
    return labels_for(
        "ray-worker", **{key: value for key, value in labels_of(pool).items() if not key.endswith("/kind")}
    )


def _ray_labels(pool: Pool) -> dict[str, str]:
    return {POOL: pool.name, "drivetrain.io/team": pool.team}


def _annotations(pool: Pool) -> dict[str, str]:
    if not pool.efa:
        return dict(_NO_DISTURBANCE)
    return {**_NO_DISTURBANCE, "kueue.x-k8s.io/podset-required-topology": ZONE_LABEL}


def _ending(pool: Pool) -> Lifecycle:
    """Trainings hear of their node's end first, save, and take no further step; then Ray's processes are stopped."""
    wait_s = (_SPOT_GRACE_S if is_spot(pool) else _GRACE_S) - _STOP_S - 10
    command = f"python -m ray_jobs.interruption --wait-s {wait_s}; ray stop --grace-period {_STOP_S}"
    return Lifecycle(pre_stop=Handler(execute=Execution(command=("/bin/sh", "-c", command))))
