"""The managed node groups of one region's cluster, and the add-ons that need nodes."""

from __future__ import annotations

from cdktn import App
from cdktn_provider_aws.security_group import SecurityGroup
from cdktn_provider_aws.vpc_security_group_egress_rule import VpcSecurityGroupEgressRule
from cdktn_provider_aws.vpc_security_group_ingress_rule import VpcSecurityGroupIngressRule

from cdk.blocks.addons import NEEDING_NODES, install
from cdk.blocks.key import Key
from cdk.blocks.node_start import ClusterEntry
from cdk.blocks.offers import require_offered
from cdk.blocks.pool import NodePool, PoolPlace
from cdk.blocks.role import Role, RolePlan
from cdk.model import Account, Environment, Manager, Pool, PoolKind, Region
from cdk.stacks.base import PlatformStack
from cdk.stacks.cluster import ClusterStack
from cdk.stacks.network import WorkloadNetwork

# What every node may do, whoever made it.
NODE_POLICIES = (
    "AmazonEKSWorkerNodePolicy",
    "AmazonEKS_CNI_Policy",
    "AmazonEC2ContainerRegistryPullOnly",
    "AmazonSSMManagedInstanceCore",
)


class Pools(PlatformStack):
    """Pools whose nodes EKS makes; those of Karpenter are Kubernetes objects."""

    def __init__(
        self,
        app: App,
        environment: Environment,
        region: Region,
        *,
        network: WorkloadNetwork,
        cluster: ClusterStack,
    ) -> None:
        super().__init__(app, f"pools-{region.name}", environment=environment, account=Account.ML, region=region.name)
        pools = environment.pools_of(region, Manager.NODE_GROUP)
        role = self._node_role()
        key = Key(self, f"node-disks-{region.name}", through=[f"ec2.{region.name}.amazonaws.com"])
        subnets = self.take_ids(network, "private_subnet_ids", "subnet", len(region.zones))
        place = PoolPlace(
            cluster=cluster_entry(self, cluster),
            version=environment.kubernetes.version,
            node_role_arn=role.arn,
            subnets=dict(zip(region.zones, subnets, strict=True)),
            group_ids=[self.take_id(cluster, "cluster_security_group_id", "sg")],
            efa_group_id=self._efa_group(network, pools),
            disk_key_arn=key.arn,
            ready=role.ready,
        )
        groups = {pool.name: NodePool(self, pool, place).group for pool in pools}
        # An emulator has the offers of some account on some day, which says nothing about yours.
        if not environment.emulated:
            for pool in (*pools, *environment.pools_of(region, Manager.KARPENTER)):
                require_offered(self, pool, region.zones)
        if region.existing_cluster_name is None:
            system = [groups[pool.name] for pool in pools if pool.kind is PoolKind.SYSTEM]
            install(self, environment.kubernetes, place.cluster.name, NEEDING_NODES, system)
        self.give("node_role_arn", role.arn)

    def _node_role(self) -> Role:
        # EKS itself makes the access entry of the role of a managed node group.
        return Role(
            self,
            RolePlan(
                name=f"nodes-{self.region}",
                description="Nodes of managed node groups",
                trust=[{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
                managed=NODE_POLICIES,
            ),
        )

    def _efa_group(self, network: WorkloadNetwork, pools: list[Pool]) -> str | None:
        if not any(item.efa for item in pools):
            return None
        name = self.name("efa", self.region)
        group = SecurityGroup(
            self,
            "efa-group",
            name=name,
            description="Nodes of one pool talk over EFA, which is no IP and needs everything allowed both ways",
            vpc_id=self.take_id(network, "vpc_id", "vpc"),
            tags={"Name": name},
        )
        for rule, kind in (("efa-in", VpcSecurityGroupIngressRule), ("efa-out", VpcSecurityGroupEgressRule)):
            kind(
                self,
                rule,
                security_group_id=group.id,
                referenced_security_group_id=group.id,
                ip_protocol="-1",
                description="Everything between nodes of this group",
            )
        return str(group.id)


def cluster_entry(stack: PlatformStack, cluster: ClusterStack) -> ClusterEntry:
    """Take what a node must know of its cluster."""
    return ClusterEntry(
        name=stack.take(cluster, "cluster_name", cluster.cluster_name),
        endpoint=stack.take(cluster, "cluster_endpoint", "https://not-applied-yet.example"),
        certificate=stack.take(cluster, "cluster_certificate", "bm90LWFwcGxpZWQteWV0"),
        service_range=stack.take(cluster, "cluster_service_range", "172.20.0.0/16"),
    )
