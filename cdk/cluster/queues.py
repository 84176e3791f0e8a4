"""Kueue: which nodes there are, whose they are, who may borrow them, and who goes first."""

from __future__ import annotations

from cdk.cluster.kinds.base import LabelSelector, Manifest, Metadata, tainting, tolerating
from cdk.cluster.kinds.kueue import (
    ClusterQueue,
    ClusterQueueSpec,
    Cohort,
    CohortSpec,
    FairSharing,
    FlavorFungibility,
    FlavorShare,
    FlavorSpec,
    LocalQueue,
    LocalQueueSpec,
    Preemption,
    ResourceFlavor,
    ResourceGroup,
    ResourceShare,
    Topology,
    TopologyLevel,
    TopologySpec,
    WorkloadPriorityClass,
)
from cdk.cluster.namespaces import EDGE, RAY
from cdk.cluster.place import PART_OF, PRODUCT, Place, labels_for
from cdk.cluster.shapes import NVIDIA, QUALCOMM, accelerator_resource, smallest_shape
from cdk.cluster.spot_order import SpotOrder
from cdk.labels import POOL, taints_of
from cdk.model import Pool, PoolKind

COHORT = PRODUCT
TOPOLOGY = "zone-and-node"
ZONE_LABEL = "topology.kubernetes.io/zone"
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
PRIORITY_LABEL = "kueue.x-k8s.io/priority-class"
# What a queue must name, or Kueue does not admit a job that asks for it. EFA cards come with their nodes and are left out
# in Kueue's configuration.
_COVERED = ("cpu", "memory", NVIDIA, QUALCOMM)
_PRIORITIES = (
    ("release", 1000, "What a release waits for"),
    ("standard", 100, "Everything that says nothing else"),
    ("background", 10, "Sweeps and backfills: they run where nobody else would"),
)
DEFAULT_PRIORITY = "standard"
# How much of the system pool heads of jobs may take together; the rest is for controllers, metrics, tracking.
_HEADS_PART = 0.5


def queue_name(team: str) -> str:
    """Return the name of a team's queue."""
    return f"team-{team.lower().replace('_', '-').replace('.', '-')}"


def queues(place: Place, order: SpotOrder) -> list[Manifest]:
    """Return flavours, shares and queues of a cluster.

    Args:
        place: The cluster.
        order: Which pools are tried first.

    Raises:
        ConfigError: An instance type whose size is not known here.
    """
    pools = [*order.sorted(place.work_pools), *place.system_pools]
    found: list[Manifest] = [_topology(), Cohort(metadata=_meta(COHORT), spec=CohortSpec())]
    found += [_priority(*item) for item in _PRIORITIES]
    found += [_flavor(item) for item in pools]
    for team in place.teams:
        found.append(_share(team, pools, len(place.teams)))
        found += [
            LocalQueue(
                metadata=Metadata(name=queue_name(team), namespace=namespace, labels=labels_for("queues")),
                spec=LocalQueueSpec(cluster_queue=queue_name(team)),
            )
            for namespace in (RAY, EDGE)
        ]
    return found


def _meta(name: str) -> Metadata:
    return Metadata(name=name, labels=labels_for("queues"))


def _topology() -> Topology:
    levels = (TopologyLevel(node_label=ZONE_LABEL), TopologyLevel(node_label="kubernetes.io/hostname"))
    return Topology(metadata=_meta(TOPOLOGY), spec=TopologySpec(levels=levels))


def _priority(name: str, value: int, description: str) -> WorkloadPriorityClass:
    return WorkloadPriorityClass(metadata=_meta(name), value=value, description=description)


def _flavor(pool: Pool) -> ResourceFlavor:
    return ResourceFlavor(
        metadata=_meta(pool.name),
        spec=FlavorSpec(
            node_labels={POOL: pool.name},
            node_taints=tainting(taints_of(pool)),
            tolerations=tolerating(taints_of(pool)),
            # Gangs over EFA are placed by it; elsewhere a topology would only slow admission.
            topology_name=TOPOLOGY if pool.efa else None,
        ),
    )


def _share(team: str, pools: list[Pool], teams: int) -> ClusterQueue:
    return ClusterQueue(
        metadata=_meta(queue_name(team)),
        spec=ClusterQueueSpec(
            cohort_name=COHORT,
            namespace_selector=LabelSelector(match_labels={PART_OF: PRODUCT}),
            queueing_strategy="BestEffortFIFO",
            fair_sharing=FairSharing(weight=1),
            # Another team's idle nodes cost nothing more; another pool may: borrow before the next flavour is tried.
            flavor_fungibility=FlavorFungibility(when_can_borrow="MayStopSearch", when_can_preempt="TryNextFlavor"),
            preemption=Preemption(reclaim_within_cohort="Any", within_cluster_queue="LowerPriority"),
            resource_groups=(
                ResourceGroup(
                    covered_resources=_COVERED,
                    flavors=tuple(FlavorShare(name=item.name, resources=_quota(item, team, teams)) for item in pools),
                ),
            ),
        ),
    )


def _quota(pool: Pool, team: str, teams: int) -> tuple[ResourceShare, ...]:
    """A team owns the pools that it pays for, and borrows the others' as far as they are idle."""
    nodes = pool.maximum if pool.team == team else 0
    shape = smallest_shape(pool)
    accelerator = accelerator_resource(pool)
    amounts: dict[str, int | str] = {
        "cpu": nodes * shape.pod_cpu,
        "memory": f"{nodes * shape.pod_memory_gib}Gi",
        NVIDIA: nodes * shape.accelerators if accelerator == NVIDIA else 0,
        QUALCOMM: nodes * shape.accelerators if accelerator == QUALCOMM else 0,
    }
    if pool.kind is PoolKind.SYSTEM:
        # Heads of jobs run there: everyone has the same part of what services leave.
        part = _HEADS_PART * pool.maximum / teams
        amounts["cpu"] = f"{int(part * shape.pod_cpu * 1000)}m"
        amounts["memory"] = f"{int(part * shape.pod_memory_gib * 1024)}Mi"
    return tuple(ResourceShare(name=item, nominal_quota=amounts[item]) for item in _COVERED)
