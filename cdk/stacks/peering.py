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
        ranges = [network.vpc.cidr] if network.vpc.pod_cidr is None else [network.vpc.cidr, network.vpc.pod_cidr]
        return Side(
            account_id=network.account_id,
            region=network.region,
            vpc_id=self.take_id(network, "vpc_id", "vpc"),
            ranges=ranges,
            route_table_ids=self.take_ids(network, "private_route_table_ids", "rtb", network.route_tables),
            provider=self.provider_in(network.region, network.account),
        )
