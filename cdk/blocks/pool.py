"""One pool of nodes: a launch template and a managed node group, whose update never takes the old away first."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cdktn import Fn, ITerraformDependable, TerraformResourceLifecycle
from cdktn_provider_aws.eks_node_group import (
    EksNodeGroup,
    EksNodeGroupLaunchTemplate,
    EksNodeGroupNodeRepairConfig,
    EksNodeGroupScalingConfig,
    EksNodeGroupTaint,
    EksNodeGroupUpdateConfig,
)
from cdktn_provider_aws.launch_template import (
    LaunchTemplate,
    LaunchTemplateBlockDeviceMappings,
    LaunchTemplateBlockDeviceMappingsEbs,
    LaunchTemplateCapacityReservationSpecification,
    LaunchTemplateCapacityReservationSpecificationCapacityReservationTarget,
    LaunchTemplateInstanceMarketOptions,
    LaunchTemplateMetadataOptions,
    LaunchTemplateMonitoring,
    LaunchTemplateNetworkInterfaces,
    LaunchTemplatePlacement,
    LaunchTemplateTagSpecifications,
)
from cdktn_provider_aws.placement_group import PlacementGroup

from cdk.blocks.node_start import ClusterEntry, node_config
from cdk.instances import efa_layout, has_local_disks, is_arm
from cdk.labels import labels_of, tags_of, taints_of
from cdk.model import Capacity, Pool, PoolKind
from cdk.stacks.base import PlatformStack

_CAPACITY_TYPES = {
    Capacity.ON_DEMAND: "ON_DEMAND",
    Capacity.SPOT: "SPOT",
    Capacity.RESERVED: "ON_DEMAND",
    Capacity.CAPACITY_BLOCK: "CAPACITY_BLOCK",
}
_EFFECTS = {"NoSchedule": "NO_SCHEDULE", "NoExecute": "NO_EXECUTE", "PreferNoSchedule": "PREFER_NO_SCHEDULE"}
_TAGGED = ("instance", "volume", "network-interface")


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolPlace:
    """Where pools of one cluster lie.

    Attributes:
        cluster: What nodes of own images must know.
        version: The cluster's Kubernetes version.
        node_role_arn: The role of nodes.
        subnets: Private subnets by zone.
        group_ids: Security groups of every node.
        efa_group_id: The group in which nodes of one pool talk past the kernel; None where no pool does.
        disk_key_arn: The key of their disks.
        ready: What must stand before nodes join.
    """

    cluster: ClusterEntry
    version: str
    node_role_arn: str
    subnets: Mapping[str, str]
    group_ids: Sequence[str]
    efa_group_id: str | None
    disk_key_arn: str
    ready: Sequence[ITerraformDependable]


class NodePool:
    """The nodes of one pool.

    Attributes:
        group: The node group, for what needs its nodes first.
    """

    def __init__(self, stack: PlatformStack, pool: Pool, place: PoolPlace) -> None:
        self._stack = stack
        self._pool = pool
        self._place = place
        self.group = self._group(self._template())

    def _template(self) -> LaunchTemplate:
        pool, place = self._pool, self._place
        groups = list(place.group_ids)
        return LaunchTemplate(
            self._stack,
            f"template-{pool.name}",
            name_prefix=f"{self._stack.name(pool.name)}-",
            description=f"Nodes of pool {pool.name}",
            update_default_version=True,
            image_id=pool.ami_id,
            instance_type=pool.instance_types[0] if pool.capacity is Capacity.CAPACITY_BLOCK else None,
            user_data=self._user_data(),
            block_device_mappings=[
                LaunchTemplateBlockDeviceMappings(
                    device_name="/dev/xvda",
                    ebs=LaunchTemplateBlockDeviceMappingsEbs(
                        volume_type="gp3",
                        volume_size=pool.disk_gib,
                        encrypted="true",
                        kms_key_id=place.disk_key_arn,
                        delete_on_termination="true",
                    ),
                )
            ],
            # One hop: a pod cannot reach the node's own role; pods have theirs by Pod Identity.
            metadata_options=LaunchTemplateMetadataOptions(
                http_endpoint="enabled", http_tokens="required", http_put_response_hop_limit=1
            ),
            monitoring=LaunchTemplateMonitoring(enabled=True),
            network_interfaces=self._interfaces() if pool.efa else None,
            vpc_security_group_ids=None if pool.efa else groups,
            placement=self._placement(),
            instance_market_options=LaunchTemplateInstanceMarketOptions(market_type="capacity-block")
            if pool.capacity is Capacity.CAPACITY_BLOCK
            else None,
            capacity_reservation_specification=self._reservation(),
            # Default tags stop at the template: what it makes is tagged here, or no report splits it.
            tag_specifications=[
                LaunchTemplateTagSpecifications(
                    resource_type=kind,
                    tags={**self._stack.default_tags(), **tags_of(pool), "Name": self._stack.name(pool.name)},
                )
                for kind in _TAGGED
            ],
            tags=tags_of(pool),
            lifecycle=TerraformResourceLifecycle(create_before_destroy=True),
        )

    def _user_data(self) -> str | None:
        pool = self._pool
        local_disks = all(has_local_disks(item) for item in pool.instance_types)
        own = pool.ami_id is not None
        if not own and not local_disks:
            return None
        text = node_config(
            self._place.cluster if own else None,
            labels=labels_of(pool),
            taints=taints_of(pool),
            local_disks=local_disks,
        )
        # With tokens in it Terraform encodes it; without, it is readable in the plan's digest alone.
        return Fn.base64encode(Fn.raw_string(text)) if own else base64.b64encode(text.encode()).decode()

    def _interfaces(self) -> list[LaunchTemplateNetworkInterfaces]:
        pool, place = self._pool, self._place
        layout = efa_layout(pool.instance_types[0])
        if layout is None:  # refused by the rules
            return []
        count, first = layout
        groups = [*place.group_ids, *([] if place.efa_group_id is None else [place.efa_group_id])]
        cards = sorted({0, *range(first, first + count)})
        found = []
        for card in cards:
            # The first card carries the node's address; the others EFA alone, so that they take no address.
            kind = ("efa" if first == 0 else "interface") if card == 0 else "efa-only"
            found.append(
                LaunchTemplateNetworkInterfaces(
                    device_index=0 if card == 0 else 1,
                    network_card_index=card,
                    interface_type=kind,
                    security_groups=groups,
                    delete_on_termination="true",
                    associate_public_ip_address=None if kind == "efa-only" else "false",
                )
            )
        return found

    def _placement(self) -> LaunchTemplatePlacement | None:
        pool = self._pool
        if pool.placement_group is not None:
            return LaunchTemplatePlacement(group_name=pool.placement_group)
        # A reservation lies where it was made, a Capacity Block in one UltraCluster: neither can be moved into a group.
        if not pool.efa or pool.capacity in {Capacity.RESERVED, Capacity.CAPACITY_BLOCK}:
            return None
        name = self._stack.name(pool.name, self._stack.region)
        PlacementGroup(
            self._stack, f"together-{pool.name}", name=name, strategy="cluster", tags={"Name": name, **tags_of(pool)}
        )
        # By name, which the node group waits for below: a reference would chain the template to a kind that an emulator
        # may lack.
        return LaunchTemplatePlacement(group_name=name)

    def _reservation(self) -> LaunchTemplateCapacityReservationSpecification | None:
        if self._pool.reservation_id is None:
            return None
        return LaunchTemplateCapacityReservationSpecification(
            capacity_reservation_target=LaunchTemplateCapacityReservationSpecificationCapacityReservationTarget(
                capacity_reservation_id=self._pool.reservation_id
            )
        )

    def _group(self, template: LaunchTemplate) -> EksNodeGroup:
        pool, place = self._pool, self._place
        own = pool.ami_id is not None
        zones = pool.zones or tuple(place.subnets)
        dependencies = list(place.ready)
        together = self._stack.node.try_find_child(f"together-{pool.name}")
        if isinstance(together, PlacementGroup):
            dependencies.append(together)
        return EksNodeGroup(
            self._stack,
            f"pool-{pool.name}",
            cluster_name=place.cluster.name,
            # A prefix: a group that must be made anew stands beside the old one, under its own name.
            node_group_name_prefix=f"{pool.name}-",
            node_role_arn=place.node_role_arn,
            subnet_ids=[place.subnets[zone] for zone in zones],
            ami_type="CUSTOM" if own else _ami_type(pool),
            version=None if own else place.version,
            capacity_type=_CAPACITY_TYPES[pool.capacity],
            instance_types=None if pool.capacity is Capacity.CAPACITY_BLOCK else list(pool.instance_types),
            launch_template=EksNodeGroupLaunchTemplate(id=template.id, version=f"{template.latest_version}"),
            scaling_config=EksNodeGroupScalingConfig(
                min_size=pool.minimum, desired_size=pool.desired, max_size=pool.maximum
            ),
            update_config=EksNodeGroupUpdateConfig(max_unavailable_percentage=25),
            node_repair_config=EksNodeGroupNodeRepairConfig(enabled=True),
            labels=labels_of(pool),
            taint=[
                EksNodeGroupTaint(key=item.key, value=item.value, effect=_EFFECTS[item.effect])
                for item in taints_of(pool)
            ],
            tags={"Name": self._stack.name(pool.name), **tags_of(pool)},
            lifecycle=TerraformResourceLifecycle(
                create_before_destroy=True,
                ignore_changes=["scaling_config[0].desired_size"],  # the autoscaler's
            ),
            depends_on=dependencies,
        )


def _ami_type(pool: Pool) -> str:
    architecture = "ARM_64" if is_arm(pool.instance_types[0]) else "x86_64"
    flavour = "NVIDIA" if pool.kind is PoolKind.NVIDIA else "STANDARD"
    return f"AL2023_{architecture}_{flavour}"
