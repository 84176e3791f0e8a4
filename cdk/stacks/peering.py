"""The VPC of a region's cluster and the VPCs of data reach each other."""

from __future__ import annotations

from cdktn import App

from cdk.blocks.peering import Peering, Side
from cdk.model import Account, Environment, Region
from cdk.stacks.base import PlatformStack
from cdk.stacks.network import WorkloadNetwork


class NetworkPeering(PlatformStack):
    """Peerings of one region's cluster: with its own VPC of data, and with the main one, where the database lies."""

    def __init__(
        self, app: App, environment: Environment, region: Region, ml: WorkloadNetwork, data: list[WorkloadNetwork]
    ) -> None:
        super().__init__(
            app, f"network-peering-{region.name}", environment=environment, account=Account.ML, region=region.name
        )
        requester = self._side(ml)
        for network in data:
            Peering(self, f"ml-data-{network.region}", requester=requester, accepter=self._side(network))

    def _side(self, network: WorkloadNetwork) -> Side:
        tables = [f"rtb-{place:017x}" for place in range(network.route_tables)]
        ranges = [network.vpc.cidr] if network.vpc.pod_cidr is None else [network.vpc.cidr, network.vpc.pod_cidr]
        return Side(
            account_id=network.account_id,
            region=network.region,
            vpc_id=self.take(network, "vpc_id", "vpc-00000000"),
            ranges=ranges,
            route_table_ids=self.take_list(network, "private_route_table_ids", tables),
            provider=self.provider_in(network.region, network.account),
        )
