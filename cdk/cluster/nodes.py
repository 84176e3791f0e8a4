"""Karpenter: how its nodes are launched, and when they go."""

from __future__ import annotations

from cdk.cluster.kinds.base import Manifest, Metadata, tainting
from cdk.cluster.kinds.karpenter import (
    AmiTerm,
    ClaimMetadata,
    DeviceMapping,
    Disk,
    Disruption,
    DisruptionWindow,
    EC2NodeClass,
    MetadataOptions,
    NodeClaimSpec,
    NodeClaimTemplate,
    NodeClassReference,
    NodeClassSpec,
    NodePool,
    NodePoolSpec,
    Requirement,
    ReservationTerm,
    TagTerm,
)
from cdk.cluster.place import Place, labels_for
from cdk.cluster.queues import ZONE_LABEL
from cdk.cluster.shapes import largest_shape
from cdk.cluster.spot_order import SpotOrder
from cdk.cluster.versions import AMI_ALIAS
from cdk.instances import has_local_disks, is_arm
from cdk.labels import labels_of, tags_of, taints_of
from cdk.model import Capacity, Pool, PoolKind
from platform_lib.errors import ConfigError

_CAPACITY = {
    Capacity.ON_DEMAND: "on-demand",
    Capacity.SPOT: "spot",
    Capacity.RESERVED: "reserved",
    Capacity.CAPACITY_BLOCK: "reserved",
}
# Expiry is forceful and heeds no budget; without a grace period it would wait for ever for a pod that may not be
# disturbed. Source: Karpenter 1.14, "Disruption: Expiration".
_EXPIRE_AFTER = "720h"
_JOB_GRACE = "48h"  # a training run's longest time between two checkpoints, many times over
_COMPILE_GRACE = "12h"
_TRAINING_EMPTY = "60m"  # a job's next step starts on the same nodes, without a launch of a quarter of an hour
_CPU_EMPTY = "10m"


def nodes(place: Place, order: SpotOrder) -> list[Manifest]:
    """Return the node pools of a cluster that Karpenter makes, and their classes.

    Raises:
        ConfigError: A pool that Karpenter cannot make.
    """
    pools = place.karpenter_pools
    found: list[Manifest] = []
    for pool in pools:
        if pool.efa:
            raise ConfigError(
                "EFA nodes of one placement group are not Karpenter's",
                where=f"pool {pool.name}",
                remedy="set manager: node_group",
            )
        found += [_node_class(place, pool), _node_pool(place, pool, order.weight(pool, pools))]
    return found


def _node_class(place: Place, pool: Pool) -> EC2NodeClass:
    own = pool.ami_id is not None
    local_disks = all(has_local_disks(item) for item in pool.instance_types)
    return EC2NodeClass(
        metadata=Metadata(name=pool.name, labels=labels_for("nodes")),
        spec=NodeClassSpec(
            ami_family="AL2023" if own else None,
            ami_selector_terms=(AmiTerm(id=pool.ami_id) if own else AmiTerm(alias=AMI_ALIAS),),
            instance_profile=place.node_profile,
            subnet_selector_terms=_subnets(place),
            # EKS gives its own group of nodes and control plane this tag, and puts it back where it is removed.
            security_group_selector_terms=(TagTerm(tags={"aws:eks:cluster-name": place.name}),),
            capacity_reservation_selector_terms=None
            if pool.reservation_id is None
            else (ReservationTerm(id=pool.reservation_id),),
            associate_public_ip_address=False,
            block_device_mappings=(
                DeviceMapping(
                    device_name="/dev/xvda",
                    root_volume=True,
                    ebs=Disk(
                        volume_size=f"{pool.disk_gib}Gi",
                        volume_type="gp3",
                        encrypted=True,
                        delete_on_termination=True,
                        kms_key_id=place.disk_key_alias,
                    ),
                ),
            ),
            instance_store_policy="RAID0" if local_disks else None,
            # One hop: a pod cannot reach the node's own role; pods have theirs by Pod Identity.
            metadata_options=MetadataOptions(
                http_endpoint="enabled",
                http_protocol_ipv6="disabled",
                http_put_response_hop_limit=1,
                http_tokens="required",
            ),
            detailed_monitoring=True,
            tags=_tags(place, pool),
        ),
    )


def _subnets(place: Place) -> tuple[TagTerm, ...]:
    existing = place.region.ml.existing_private_subnet_ids
    if existing:
        return tuple(TagTerm(id=item) for item in existing)
    return (TagTerm(tags={"karpenter.sh/discovery": place.named("ml", place.region.name)}),)


def _tags(place: Place, pool: Pool) -> dict[str, str]:
    """What cost allocation needs; Terraform's default tags do not reach what Karpenter makes."""
    tags = place.environment.tags
    return {
        "drivetrain:environment": place.environment.environment,
        "drivetrain:owner": tags.owner,
        "drivetrain:data-classification": tags.data_classification,
        **tags_of(pool),
        "Name": place.named(pool.name),
    }


def _node_pool(place: Place, pool: Pool, weight: int) -> NodePool:
    training = pool.kind is PoolKind.NVIDIA
    shape = largest_shape(pool)
    zones = pool.zones or place.region.zones
    return NodePool(
        metadata=Metadata(name=pool.name, labels=labels_for("nodes")),
        spec=NodePoolSpec(
            template=NodeClaimTemplate(
                metadata=ClaimMetadata(labels=labels_of(pool)),
                spec=NodeClaimSpec(
                    node_class_ref=NodeClassReference(name=pool.name),
                    requirements=(
                        Requirement(
                            key="karpenter.sh/capacity-type", operator="In", values=(_CAPACITY[pool.capacity],)
                        ),
                        Requirement(
                            key="node.kubernetes.io/instance-type", operator="In", values=tuple(pool.instance_types)
                        ),
                        Requirement(key=ZONE_LABEL, operator="In", values=tuple(zones)),
                        Requirement(
                            key="kubernetes.io/arch",
                            operator="In",
                            values=("arm64" if is_arm(pool.instance_types[0]) else "amd64",),
                        ),
                        Requirement(key="kubernetes.io/os", operator="In", values=("linux",)),
                    ),
                    taints=tainting(taints_of(pool)),
                    expire_after=_EXPIRE_AFTER,
                    termination_grace_period=_JOB_GRACE if training else _COMPILE_GRACE,
                ),
            ),
            # Never for being little used: that would evict what runs.
            disruption=Disruption(
                consolidation_policy="WhenEmpty",
                consolidate_after=_TRAINING_EMPTY if training else _CPU_EMPTY,
                budgets=(
                    DisruptionWindow(nodes="100%", reasons=("Empty",)),
                    DisruptionWindow(nodes="10%", reasons=("Drifted", "Underutilized")),
                ),
            ),
            limits={
                "nodes": str(pool.maximum),
                "cpu": str(pool.maximum * shape.vcpu),
                "memory": f"{pool.maximum * shape.memory_gib}Gi",
            },
            weight=weight,
        ),
    )
