"""One region's cluster, or the one that is there already, and the roles of what runs in it."""

from __future__ import annotations

from cdktn import App, Fn, Token
from cdktn_provider_aws.data_aws_eks_cluster import DataAwsEksCluster

from cdk.access import EDGE_RELEASE, SECRET_READER, Workload, role_name
from cdk.blocks.backups import TIER_TAG
from cdk.blocks.cluster import Cluster, ClusterPlan
from cdk.blocks.pod_identity import pod_role
from cdk.blocks.role import allow
from cdk.emulator import CLUSTER_GROUP_ID
from cdk.model import Account, Environment, Region
from cdk.stacks.base import PlatformStack
from cdk.stacks.network import WorkloadNetwork


class ClusterStack(PlatformStack):
    """The control plane; nodes are stacks of their own, so that a change of one cannot reach the other."""

    def __init__(self, app: App, environment: Environment, region: Region, network: WorkloadNetwork) -> None:
        super().__init__(app, f"cluster-{region.name}", environment=environment, account=Account.ML, region=region.name)
        self.cluster_name = region.existing_cluster_name or self.name(region.name)
        if region.existing_cluster_name is None:
            self._made(region, network)
        else:
            self._existing(region.existing_cluster_name)
        self._pods()

    @property
    def cluster_arn(self) -> str:
        """The cluster's ARN, known before it exists."""
        return f"arn:aws:eks:{self.region}:{self.account_id}:cluster/{self.cluster_name}"

    def _made(self, region: Region, network: WorkloadNetwork) -> None:
        tier = self.environment.kubernetes.backup_tier
        pods = self.take_ids(network, "pod_subnet_ids", "subnet", len(region.zones)) if network.has_pods else []
        cluster = Cluster(
            self,
            ClusterPlan(
                name=self.cluster_name,
                kubernetes=self.environment.kubernetes,
                subnet_ids=self.take_ids(network, "private_subnet_ids", "subnet", len(region.zones)),
                pod_subnet_ids=dict(zip(region.zones, pods, strict=False)),
                deployer_arn=f"arn:aws:iam::{self.account_id}:role/{self.environment.deploy_role}",
                tags={} if tier is None else {TIER_TAG: tier},
            ),
        )
        self._name = cluster.name
        self.give("cluster_name", cluster.name)
        self.give("cluster_endpoint", cluster.endpoint)
        self.give("cluster_certificate", cluster.certificate)
        group_id = cluster.security_group_id
        if self.environment.emulated:
            group_id = Token.as_string(Fn.coalesce([group_id, CLUSTER_GROUP_ID]))
        self.give("cluster_security_group_id", group_id)
        self.give("cluster_service_range", cluster.service_range)

    def _existing(self, name: str) -> None:
        cluster = DataAwsEksCluster(self, "cluster", name=name)
        self._name = cluster.name
        self.give("cluster_name", cluster.name)
        self.give("cluster_endpoint", cluster.endpoint)
        self.give("cluster_certificate", cluster.certificate_authority.get(0).data)
        self.give("cluster_security_group_id", cluster.vpc_config.get(0).cluster_security_group_id)
        self.give("cluster_service_range", cluster.kubernetes_network_config.get(0).service_ipv4_cidr)

    def _pods(self) -> None:
        environment = self.environment
        for workload in (Workload.INGEST, Workload.JOBS, Workload.RAY_HISTORY, Workload.MLFLOW):
            self._pod(workload)
        release = f"arn:aws:iam::{environment.accounts.edge}:role/{role_name(environment, EDGE_RELEASE)}"
        self._pod(Workload.EDGE_COMPILE, statements=[allow(["sts:AssumeRole", "sts:TagSession"], [release])])
        reader = f"arn:aws:iam::{environment.accounts.data}:role/{role_name(environment, SECRET_READER)}"
        self._pod(Workload.EXTERNAL_SECRETS, statements=[allow(["sts:AssumeRole", "sts:TagSession"], [reader])])
        disks = f"arn:aws:kms:{self.region}:{self.account_id}:key/*"
        self._pod(
            Workload.EBS_CSI,
            managed=["service-role/AmazonEBSCSIDriverPolicy"],
            statements=[
                allow(
                    ["kms:CreateGrant", "kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKeyWithoutPlaintext"],
                    [disks],
                    StringEquals={"kms:ViaService": f"ec2.{self.region}.amazonaws.com"},
                )
            ],
        )

    def _pod(
        self, workload: Workload, *, statements: list[dict[str, object]] | None = None, managed: list[str] | None = None
    ) -> None:
        role = pod_role(
            self,
            workload,
            cluster_name=self._name,
            cluster_arn=self.cluster_arn,
            statements=statements or [],
            managed=managed or [],
        )
        self.give(f"pods_{workload.value.replace('-', '_')}_role_arn", role.arn)
