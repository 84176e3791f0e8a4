"""One VPC: private subnets in each zone, a range for pods, NAT, endpoints, flow logs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network

from cdktn import TerraformResourceLifecycle
from cdktn_provider_aws.default_security_group import DefaultSecurityGroup
from cdktn_provider_aws.eip import Eip
from cdktn_provider_aws.flow_log import FlowLog, FlowLogDestinationOptions
from cdktn_provider_aws.internet_gateway import InternetGateway
from cdktn_provider_aws.nat_gateway import NatGateway
from cdktn_provider_aws.route import Route
from cdktn_provider_aws.route_table import RouteTable
from cdktn_provider_aws.route_table_association import RouteTableAssociation
from cdktn_provider_aws.security_group import SecurityGroup
from cdktn_provider_aws.subnet import Subnet
from cdktn_provider_aws.vpc import Vpc
from cdktn_provider_aws.vpc_endpoint import VpcEndpoint
from cdktn_provider_aws.vpc_ipv4_cidr_block_association import VpcIpv4CidrBlockAssociation
from cdktn_provider_aws.vpc_security_group_ingress_rule import VpcSecurityGroupIngressRule

from cdk.addresses import ZoneRanges, cut
from cdk.model import Nat
from cdk.stacks.base import PlatformStack

# Every field that says who talks to whom across zones, from where to what; the cost of it is computed from these.
# Source: AWS, "VPC Flow Logs record fields", versions 2 to 8.
FLOW_FIELDS = (
    "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action "
    "log-status vpc-id subnet-id instance-id tcp-flags type pkt-srcaddr pkt-dstaddr region az-id pkt-src-aws-service "
    "pkt-dst-aws-service flow-direction traffic-path"
)
GATEWAY_SERVICES = ("s3", "dynamodb")


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkPlan:
    """What a VPC is to be.

    Attributes:
        name: Prefix of its resources' names.
        cidr: Its range.
        pod_cidr: Second range, for pods; None for none.
        zones: Zones, in order.
        nat: How private subnets reach the internet.
        endpoints: Interface endpoints, by AWS's short service names.
        flow_bucket_arn: Where flow logs go.
        cluster_tags: Whether subnets carry the tags by which load balancers and Karpenter find them.
    """

    name: str
    cidr: IPv4Network
    pod_cidr: IPv4Network | None
    zones: Sequence[str]
    nat: Nat
    endpoints: Sequence[str]
    flow_bucket_arn: str
    cluster_tags: bool


class Network:
    """A VPC with its subnets and ways out.

    Attributes:
        vpc_id: Its id.
        private_subnet_ids: One a zone.
        pod_subnet_ids: One a zone; empty without a pod range.
        private_route_table_ids: One a zone.
    """

    def __init__(self, stack: PlatformStack, plan: NetworkPlan) -> None:
        self._stack = stack
        self._plan = plan
        ranges = cut(plan.cidr, plan.pod_cidr, len(plan.zones))
        self._vpc = Vpc(
            stack,
            "vpc",
            cidr_block=str(plan.cidr),
            enable_dns_hostnames=True,
            enable_dns_support=True,
            tags={"Name": plan.name},
        )
        self.vpc_id = self._vpc.id
        # The default group lets everything in it talk: emptied, nobody can use it by mistake. Left out, its rules would be
        # emptied once and then kept as they are; written down as none, a plan takes away what is put there by hand.
        DefaultSecurityGroup(
            stack, "default-closed", vpc_id=self.vpc_id, ingress=[], egress=[], tags={"Name": f"{plan.name}-unused"}
        )
        self._second = self._pod_range()
        self._private = self._subnets("private", [item.private for item in ranges])
        self._pods = self._subnets("pods", [item.pods for item in ranges if item.pods is not None])
        self._tables = self._route_tables()
        self._ways_out(ranges)
        self._endpoints()
        self._flow_logs()
        self.private_subnet_ids = [item.id for item in self._private]
        self.pod_subnet_ids = [item.id for item in self._pods]
        self.private_route_table_ids = [item.id for item in self._tables]

    def _pod_range(self) -> VpcIpv4CidrBlockAssociation | None:
        if self._plan.pod_cidr is None:
            return None
        return VpcIpv4CidrBlockAssociation(
            self._stack, "pod-range", vpc_id=self.vpc_id, cidr_block=str(self._plan.pod_cidr)
        )

    def _subnets(self, tier: str, ranges: Sequence[IPv4Network]) -> list[Subnet]:
        tags = {"drivetrain:tier": tier}
        if self._plan.cluster_tags and tier == "private":
            tags |= {"kubernetes.io/role/internal-elb": "1", "karpenter.sh/discovery": self._plan.name}
        if self._plan.cluster_tags and tier == "public":
            tags["kubernetes.io/role/elb"] = "1"
        subnets = []
        for zone, network in zip(self._plan.zones, ranges, strict=False):
            subnet = Subnet(
                self._stack,
                f"{tier}-{zone}",
                vpc_id=self.vpc_id,
                availability_zone=zone,
                cidr_block=str(network),
                map_public_ip_on_launch=False,
                tags={"Name": f"{self._plan.name}-{tier}-{zone}", **tags},
                depends_on=[self._second] if tier == "pods" and self._second is not None else None,
            )
            subnets.append(subnet)
        return subnets

    def _route_tables(self) -> list[RouteTable]:
        tables = []
        for place, zone in enumerate(self._plan.zones):
            table = RouteTable(
                self._stack,
                f"private-routes-{zone}",
                vpc_id=self.vpc_id,
                tags={"Name": f"{self._plan.name}-private-{zone}"},
            )
            for tier, subnets in (("private", self._private), ("pods", self._pods)):
                if place < len(subnets):
                    RouteTableAssociation(
                        self._stack, f"{tier}-{zone}-routes", subnet_id=subnets[place].id, route_table_id=table.id
                    )
            tables.append(table)
        return tables

    def _ways_out(self, ranges: Sequence[ZoneRanges]) -> None:
        if self._plan.nat is Nat.NONE:
            return
        gateway = InternetGateway(self._stack, "internet", vpc_id=self.vpc_id, tags={"Name": self._plan.name})
        public = self._subnets("public", [item.public for item in ranges])
        table = RouteTable(self._stack, "public-routes", vpc_id=self.vpc_id, tags={"Name": f"{self._plan.name}-public"})
        Route(
            self._stack,
            "public-out",
            route_table_id=table.id,
            destination_cidr_block="0.0.0.0/0",
            gateway_id=gateway.id,
        )
        for zone, subnet in zip(self._plan.zones, public, strict=True):
            RouteTableAssociation(self._stack, f"public-{zone}-routes", subnet_id=subnet.id, route_table_id=table.id)
        count = len(self._plan.zones) if self._plan.nat is Nat.PER_ZONE else 1
        gateways = []
        for zone, subnet in list(zip(self._plan.zones, public, strict=True))[:count]:
            address = Eip(
                self._stack, f"nat-address-{zone}", domain="vpc", tags={"Name": f"{self._plan.name}-nat-{zone}"}
            )
            gateways.append(
                NatGateway(
                    self._stack,
                    f"nat-{zone}",
                    allocation_id=address.id,
                    subnet_id=subnet.id,
                    tags={"Name": f"{self._plan.name}-{zone}"},
                    depends_on=[gateway],
                )
            )
        for place, (zone, private) in enumerate(zip(self._plan.zones, self._tables, strict=True)):
            Route(
                self._stack,
                f"private-out-{zone}",
                route_table_id=private.id,
                destination_cidr_block="0.0.0.0/0",
                nat_gateway_id=gateways[place % count].id,
            )

    def _endpoints(self) -> None:
        tables = [item.id for item in self._tables]
        for service in GATEWAY_SERVICES:
            VpcEndpoint(
                self._stack,
                f"endpoint-{service}",
                vpc_id=self.vpc_id,
                service_name=self._service(service),
                # Left out, it becomes an interface endpoint, which is billed by hour and byte.
                vpc_endpoint_type="Gateway",
                route_table_ids=tables,
                tags={"Name": f"{self._plan.name}-{service}"},
            )
        if not self._plan.endpoints:
            return
        group = SecurityGroup(
            self._stack,
            "endpoints-group",
            name=f"{self._plan.name}-endpoints",
            description="HTTPS from inside the VPC to AWS services",
            vpc_id=self.vpc_id,
            tags={"Name": f"{self._plan.name}-endpoints"},
        )
        for name, network in (("nodes", self._plan.cidr), ("pods", self._plan.pod_cidr)):
            if network is not None:
                VpcSecurityGroupIngressRule(
                    self._stack,
                    f"endpoints-from-{name}",
                    security_group_id=group.id,
                    description=f"HTTPS from {name}",
                    cidr_ipv4=str(network),
                    from_port=443,
                    to_port=443,
                    ip_protocol="tcp",
                )
        for service in self._plan.endpoints:
            VpcEndpoint(
                self._stack,
                f"endpoint-{service.replace('.', '-')}",
                vpc_id=self.vpc_id,
                service_name=self._service(service),
                vpc_endpoint_type="Interface",
                private_dns_enabled=True,
                subnet_ids=[item.id for item in self._private],
                security_group_ids=[group.id],
                tags={"Name": f"{self._plan.name}-{service}"},
            )

    def _service(self, short: str) -> str:
        return f"com.amazonaws.{self._stack.region}.{short}"

    def _flow_logs(self) -> None:
        FlowLog(
            self._stack,
            "flow-log",
            vpc_id=self.vpc_id,
            traffic_type="ALL",
            log_destination_type="s3",
            log_destination=self._plan.flow_bucket_arn,
            log_format=" ".join(f"$${{{name}}}" for name in FLOW_FIELDS.split()),  # two signs: none of Terraform's own
            max_aggregation_interval=600,
            destination_options=FlowLogDestinationOptions(
                file_format="parquet", hive_compatible_partitions=True, per_hour_partition=False
            ),
            tags={"Name": self._plan.name},
            lifecycle=TerraformResourceLifecycle(create_before_destroy=True),
        )
