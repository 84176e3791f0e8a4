"""The network account's core, and one VPC for each workload and region."""

from __future__ import annotations

from cdktn import App

from cdk.blocks.bucket import BucketPlan, PrivateBucket, expire_rule
from cdk.blocks.key import Key
from cdk.blocks.network import Network, NetworkPlan
from cdk.model import Account, Environment, Nat, Region, Vpc, Workload
from cdk.rules import CLOSED_ENDPOINTS
from cdk.stacks.base import PlatformStack

_FLOW_DAYS = 90
# With NAT, an endpoint pays where its bytes would cost more through NAT than its hours: registry pulls and logs do.
_PAYING_ENDPOINTS = ("ecr.api", "ecr.dkr", "logs", "sts")
_LOG_DELIVERY = "delivery.logs.amazonaws.com"


class NetworkCore(PlatformStack):
    """Where flow logs of every VPC go, so that one query sees who sends what across zones."""

    def __init__(self, app: App, environment: Environment, region: str) -> None:
        super().__init__(app, f"network-core-{region}", environment=environment, account=Account.NETWORK, region=region)
        workloads = [environment.accounts.ml, environment.accounts.data]
        key = Key(self, f"flow-logs-{region}", services=[_LOG_DELIVERY])
        bucket = PrivateBucket(
            self,
            BucketPlan(
                name=f"flow-logs-{region}",
                statements=_delivery(workloads),
                rules=[expire_rule(_FLOW_DAYS, old_version_days=1)],
            ),
            key,
        )
        self.give("flow_bucket_arn", bucket.arn)


class WorkloadNetwork(PlatformStack):
    """One workload's VPC in one region."""

    def __init__(
        self, app: App, environment: Environment, region: Region, workload: Workload, core: NetworkCore
    ) -> None:
        account = Account(workload.value)
        name = f"network-{workload.value}-{region.name}"
        super().__init__(app, name, environment=environment, account=account, region=region.name)
        vpc = region.ml if workload is Workload.ML else region.data
        flow_bucket_arn = self.take(core, "flow_bucket_arn", "arn:aws:s3:::not-applied-yet")
        self.zones = region.zones
        self.vpc = vpc
        self.has_pods = bool(vpc.existing_pod_subnet_ids if vpc.existing_vpc_id else vpc.pod_cidr)
        if vpc.existing_vpc_id is not None:
            self._existing(vpc.existing_vpc_id, vpc)
            return
        network = Network(
            self,
            NetworkPlan(
                name=self.name(workload.value, region.name),
                cidr=vpc.cidr,
                pod_cidr=vpc.pod_cidr,
                zones=region.zones,
                nat=region.nat if workload is Workload.ML else Nat.NONE,
                endpoints=_endpoints(region) if workload is Workload.ML else (),
                flow_bucket_arn=flow_bucket_arn,
                cluster_tags=workload is Workload.ML,
            ),
        )
        self.give("vpc_id", network.vpc_id)
        self.give("private_subnet_ids", network.private_subnet_ids)
        self.give("pod_subnet_ids", network.pod_subnet_ids)
        self.give("private_route_table_ids", network.private_route_table_ids)

    @property
    def route_tables(self) -> int:
        """How many private route tables it has."""
        return len(self.vpc.existing_private_route_table_ids) if self.vpc.existing_vpc_id else len(self.zones)

    def _existing(self, vpc_id: str, vpc: Vpc) -> None:
        self.give("vpc_id", vpc_id)
        self.give("private_subnet_ids", list(vpc.existing_private_subnet_ids))
        self.give("pod_subnet_ids", list(vpc.existing_pod_subnet_ids))
        self.give("private_route_table_ids", list(vpc.existing_private_route_table_ids))


def _endpoints(region: Region) -> tuple[str, ...]:
    if region.interface_endpoints != "auto":
        return region.interface_endpoints
    return CLOSED_ENDPOINTS if region.nat is Nat.NONE else _PAYING_ENDPOINTS


def _delivery(accounts: list[str]) -> list[dict[str, object]]:
    # Source: AWS, "Publish flow logs to Amazon S3", the policy for buckets of another account.
    condition = {"StringEquals": {"aws:SourceAccount": accounts}}
    return [
        {
            "Sid": "FlowLogsWrite",
            "Effect": "Allow",
            "Principal": {"Service": _LOG_DELIVERY},
            "Action": "s3:PutObject",
            "Resource": "BUCKET/*",
            "Condition": {"StringEquals": {"aws:SourceAccount": accounts, "s3:x-amz-acl": "bucket-owner-full-control"}},
        },
        {
            "Sid": "FlowLogsCheck",
            "Effect": "Allow",
            "Principal": {"Service": _LOG_DELIVERY},
            "Action": ["s3:GetBucketAcl", "s3:ListBucket"],
            "Resource": "BUCKET",
            "Condition": condition,
        },
    ]
