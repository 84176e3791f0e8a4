"""An EKS cluster: private endpoint, secrets under an own key, entry by access entries alone, pinned add-ons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cdktn import ITerraformDependable
from cdktn_provider_aws.cloudwatch_log_group import CloudwatchLogGroup
from cdktn_provider_aws.eks_access_entry import EksAccessEntry
from cdktn_provider_aws.eks_access_policy_association import (
    EksAccessPolicyAssociation,
    EksAccessPolicyAssociationAccessScope,
)
from cdktn_provider_aws.eks_cluster import (
    EksCluster,
    EksClusterAccessConfig,
    EksClusterEncryptionConfig,
    EksClusterEncryptionConfigProvider,
    EksClusterUpgradePolicy,
    EksClusterVpcConfig,
)

from cdk.blocks.addons import install
from cdk.blocks.key import Key
from cdk.blocks.role import Role, RolePlan
from cdk.model import Addon, Kubernetes
from cdk.stacks.base import PlatformStack

_LOGS = ("api", "audit", "authenticator", "controllerManager", "scheduler")
_POLICY = "arn:aws:eks::aws:cluster-access-policy"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterPlan:
    """What a cluster is to be.

    Attributes:
        name: Its name.
        kubernetes: Its configuration.
        subnet_ids: Private subnets, in which its endpoint lies.
        pod_subnet_ids: Subnets for pods by zone; empty: pods take addresses of the nodes' subnets.
        deployer_arn: The role that applies manifests.
        tags: Further tags.
    """

    name: str
    kubernetes: Kubernetes
    subnet_ids: Sequence[str]
    pod_subnet_ids: Mapping[str, str]
    deployer_arn: str
    tags: Mapping[str, str]


class Cluster:
    """A cluster without nodes.

    Attributes:
        name: Its name, a token: what takes it waits for the cluster.
        endpoint: Its API server's address.
        certificate: Its certificate authority, base64.
        security_group_id: The group of control plane and nodes.
        service_range: The range of its services.
    """

    def __init__(self, stack: PlatformStack, plan: ClusterPlan) -> None:
        self._stack = stack
        self._plan = plan
        cluster = self._cluster()
        self.name = cluster.name
        self.endpoint = cluster.endpoint
        self.certificate = cluster.certificate_authority.get(0).data
        self.security_group_id = cluster.vpc_config.cluster_security_group_id
        self.service_range = cluster.kubernetes_network_config.service_ipv4_cidr
        self._entries()
        self._addons()

    def _cluster(self) -> EksCluster:
        stack, plan = self._stack, self._plan
        key = Key(stack, f"cluster-{stack.region}", services=[f"logs.{stack.region}.amazonaws.com"])
        logs = CloudwatchLogGroup(
            stack,
            "cluster-logs",
            name=f"/aws/eks/{plan.name}/cluster",  # made here, or EKS makes it and keeps everything for ever
            retention_in_days=plan.kubernetes.log_retention_days,
            kms_key_id=key.arn,
        )
        role = Role(
            stack,
            RolePlan(
                name=f"cluster-{stack.region}",
                description="The control plane's own role",
                trust=[
                    {
                        "Effect": "Allow",
                        "Principal": {"Service": "eks.amazonaws.com"},
                        "Action": ["sts:AssumeRole", "sts:TagSession"],
                    }
                ],
                managed=["AmazonEKSClusterPolicy"],
            ),
        )
        dependencies: list[ITerraformDependable] = [logs, *role.ready]
        public = [str(item) for item in plan.kubernetes.public_endpoint_cidrs]
        return EksCluster(
            stack,
            "cluster",
            name=plan.name,
            version=plan.kubernetes.version,
            role_arn=role.arn,
            vpc_config=EksClusterVpcConfig(
                subnet_ids=list(plan.subnet_ids),
                endpoint_private_access=True,
                endpoint_public_access=bool(public),
                public_access_cidrs=public or None,
            ),
            access_config=EksClusterAccessConfig(
                authentication_mode="API",
                bootstrap_cluster_creator_admin_permissions=False,  # entries below say who, and nothing else
            ),
            encryption_config=EksClusterEncryptionConfig(
                resources=["secrets"], provider=EksClusterEncryptionConfigProvider(key_arn=key.arn)
            ),
            # Add-ons are below; what EKS would install beside them nobody updates.
            bootstrap_self_managed_addons=False,
            enabled_cluster_log_types=list(_LOGS),
            upgrade_policy=EksClusterUpgradePolicy(
                support_type="EXTENDED" if plan.kubernetes.allow_extended_support else "STANDARD"
            ),
            tags={"Name": plan.name, **plan.tags},
            depends_on=dependencies,
        )

    def _entries(self) -> None:
        kubernetes = self._plan.kubernetes
        self._entry("deployer", self._plan.deployer_arn, "AmazonEKSClusterAdminPolicy", [])
        for place, arn in enumerate(kubernetes.admin_role_arns):
            self._entry(f"admin-{place}", arn, "AmazonEKSClusterAdminPolicy", ["drivetrain:admins"])
        for place, arn in enumerate(kubernetes.viewer_role_arns):
            # Not the admin's view: that one shows secrets.
            self._entry(f"viewer-{place}", arn, "AmazonEKSViewPolicy", ["drivetrain:viewers"])

    def _entry(self, name: str, principal_arn: str, policy: str, groups: Sequence[str]) -> None:
        entry = EksAccessEntry(
            self._stack,
            f"entry-{name}",
            cluster_name=self.name,
            principal_arn=principal_arn,
            kubernetes_groups=list(groups) or None,
            type="STANDARD",
        )
        EksAccessPolicyAssociation(
            self._stack,
            f"entry-{name}-policy",
            cluster_name=self.name,
            principal_arn=principal_arn,
            policy_arn=f"{_POLICY}/{policy}",
            access_scope=EksAccessPolicyAssociationAccessScope(type="cluster"),
            depends_on=[entry],
        )

    def _addons(self) -> None:
        settings: dict[Addon, dict[str, object]] = {
            Addon.VPC_CNI: self._pod_network(),
            Addon.KUBE_PROXY: {},
            Addon.POD_IDENTITY: {},
        }
        # On every node: they need none to be healthy, and nodes need them to be.
        install(self._stack, self._plan.kubernetes, self.name, settings)

    def _pod_network(self) -> dict[str, object]:
        # Prefixes: a node takes sixteen addresses at once, so that pods start faster and more fit on a node.
        env = {"ENABLE_PREFIX_DELEGATION": "true", "WARM_PREFIX_TARGET": "1"}
        if not self._plan.pod_subnet_ids:
            return {"enableNetworkPolicy": "true", "env": env}
        env |= {
            "AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG": "true",
            "ENI_CONFIG_LABEL_DEF": "topology.kubernetes.io/zone",
        }
        subnets = {
            zone: {"id": subnet, "securityGroups": [self.security_group_id]}
            for zone, subnet in self._plan.pod_subnet_ids.items()
        }
        return {
            "enableNetworkPolicy": "true",
            "env": env,
            "eniConfig": {"create": True, "region": self._stack.region, "subnets": subnets},
        }
