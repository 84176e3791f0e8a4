"""What Karpenter needs of AWS: its role, its nodes' role, and the queue of interruptions. Node pools are manifests."""

from __future__ import annotations

from cdktn import App
from cdktn_provider_aws.eks_access_entry import EksAccessEntry
from cdktn_provider_aws.iam_instance_profile import IamInstanceProfile

from cdk.access import Workload
from cdk.blocks.interruption import InterruptionQueue
from cdk.blocks.pod_identity import pod_role
from cdk.blocks.role import Role, RolePlan, Statement, allow
from cdk.blocks.topic import AlarmPlan, alarm
from cdk.model import Account, Environment, Region
from cdk.stacks.base import PlatformStack
from cdk.stacks.cluster import ClusterStack
from cdk.stacks.governance import stand_in_topic, topic_output
from cdk.stacks.pools import NODE_POLICIES

# A spot node is gone two minutes after its warning.
_UNREAD_SECONDS = 120
# What Karpenter makes, and tags as its cluster's.
_MADE = ("fleet", "instance", "launch-template", "network-interface", "spot-instances-request", "volume")


class Karpenter(PlatformStack):
    """Karpenter's side of AWS, of one region's cluster."""

    def __init__(
        self, app: App, environment: Environment, region: Region, cluster: ClusterStack, governance: PlatformStack
    ) -> None:
        super().__init__(
            app, f"karpenter-{region.name}", environment=environment, account=Account.ML, region=region.name
        )
        self._cluster = cluster
        cluster_name = self.take(cluster, "cluster_name", cluster.cluster_name)
        queue = InterruptionQueue(self)
        nodes = self._node_role()
        # Node classes name the profile, not the role: Karpenter would make profiles itself, which the accounts' permissions
        # boundary lets no role do.
        profile = IamInstanceProfile(
            self, "node-profile", name=self.name("karpenter-nodes", self.region), role=nodes.name
        )
        EksAccessEntry(self, "entry-nodes", cluster_name=cluster_name, principal_arn=nodes.arn, type="EC2_LINUX")
        controller = pod_role(
            self,
            Workload.KARPENTER,
            cluster_name=cluster_name,
            cluster_arn=cluster.cluster_arn,
            statements=self._statements(nodes.arn, queue),
        )
        topic_arn = self.take(governance, topic_output(region.name), stand_in_topic(self))
        alarm(self, _unread(queue), topic_arn)
        self.give("interruption_queue_name", queue.name)
        self.give("node_instance_profile", profile.name)
        self.give("controller_role_arn", controller.arn)

    def _node_role(self) -> Role:
        return Role(
            self,
            RolePlan(
                name=f"karpenter-nodes-{self.region}",
                description="Nodes that Karpenter makes",
                trust=[{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
                managed=NODE_POLICIES,
            ),
        )

    def _statements(self, node_role_arn: str, queue: InterruptionQueue) -> list[Statement]:
        """Return what Karpenter may do: make, tag and end instances of this cluster, and nothing of another's."""
        ec2 = f"arn:aws:ec2:{self.region}:*"
        owned = {f"aws:ResourceTag/kubernetes.io/cluster/{self._cluster.cluster_name}": "owned"}
        asked = {f"aws:RequestTag/kubernetes.io/cluster/{self._cluster.cluster_name}": "owned"}
        made = [f"{ec2}:{kind}/*" for kind in _MADE]
        used = [
            f"{ec2}:{kind}/*" for kind in ("security-group", "subnet", "capacity-reservation", "placement-group")
        ] + [f"arn:aws:ec2:{self.region}::image/*", f"arn:aws:ec2:{self.region}::snapshot/*"]
        launch = ["ec2:CreateFleet", "ec2:RunInstances"]
        return [
            allow([*launch, "ec2:CreateLaunchTemplate"], made, StringEquals=asked),
            allow(launch, used),
            allow(launch, [f"{ec2}:launch-template/*"], StringEquals=owned),
            allow(
                ["ec2:CreateTags"],
                made,
                StringEquals={**asked, "ec2:CreateAction": ["CreateFleet", "CreateLaunchTemplate", "RunInstances"]},
            ),
            allow(["ec2:CreateTags"], [f"{ec2}:instance/*"], StringEquals=owned),
            allow(
                ["ec2:DeleteLaunchTemplate", "ec2:TerminateInstances"],
                [f"{ec2}:instance/*", f"{ec2}:launch-template/*"],
                StringEquals=owned,
            ),
            allow(
                ["ec2:Describe*", "pricing:GetProducts"],
                ["*"],  # reads, which take no resource
            ),
            allow(["ssm:GetParameter"], [f"arn:aws:ssm:{self.region}::parameter/aws/service/*"]),
            allow(["eks:DescribeCluster"], [self._cluster.cluster_arn]),
            allow(["iam:PassRole"], [node_role_arn], StringEquals={"iam:PassedToService": "ec2.amazonaws.com"}),
            allow(
                ["iam:GetInstanceProfile", "iam:ListInstanceProfiles"],
                [f"arn:aws:iam::{self.account_id}:instance-profile/*"],
            ),
            allow(
                ["sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:ReceiveMessage"], [queue.arn]
            ),
            allow(["kms:Decrypt"], [queue.key_arn]),
        ]


def _unread(queue: InterruptionQueue) -> AlarmPlan:
    return AlarmPlan(
        name="interruptions-unread",
        description="Karpenter does not read interruptions: spot nodes end without being drained",
        namespace="AWS/SQS",
        metric="ApproximateAgeOfOldestMessage",
        dimensions={"QueueName": queue.name},
        threshold=_UNREAD_SECONDS,
        minutes=5,
        statistic="Maximum",
    )
