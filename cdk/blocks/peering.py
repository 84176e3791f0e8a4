"""Two VPCs that reach each other, across accounts and regions, with the routes of both sides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network

from cdktn_provider_aws.provider import AwsProvider
from cdktn_provider_aws.route import Route
from cdktn_provider_aws.vpc_peering_connection import VpcPeeringConnection
from cdktn_provider_aws.vpc_peering_connection_accepter import VpcPeeringConnectionAccepterA

from cdk.stacks.base import PlatformStack


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One VPC.

    Attributes:
        account_id: Its account.
        region: Its region.
        vpc_id: Its id.
        ranges: Its ranges, which the other side routes to.
        route_table_ids: Its tables, which get a route to the other side.
        provider: The provider of its account and region.
    """

    account_id: str
    region: str
    vpc_id: str
    ranges: Sequence[IPv4Network]
    route_table_ids: Sequence[str]
    provider: AwsProvider


class Peering:
    """A peering connection that the other account accepts.

    No transit gateway: it is billed by hour and byte, and two or four VPCs need none.
    """

    def __init__(self, stack: PlatformStack, name: str, *, requester: Side, accepter: Side) -> None:
        tags = {"Name": stack.name(name)}
        connection = VpcPeeringConnection(
            stack,
            f"{name}-request",
            vpc_id=requester.vpc_id,
            peer_vpc_id=accepter.vpc_id,
            peer_owner_id=accepter.account_id,
            peer_region=accepter.region,
            auto_accept=False,
            tags=tags,
            provider=requester.provider,
        )
        accepted = VpcPeeringConnectionAccepterA(
            stack,
            f"{name}-accept",
            vpc_peering_connection_id=connection.id,
            auto_accept=True,
            tags=tags,
            provider=accepter.provider,
        )
        for direction, side, other in (("out", requester, accepter), ("back", accepter, requester)):
            for place, table in enumerate(side.route_table_ids):
                for network in other.ranges:
                    target = str(network.network_address).replace(".", "-")
                    Route(
                        stack,
                        f"{name}-{direction}-{place}-{target}",
                        route_table_id=table,
                        destination_cidr_block=str(network),
                        # The accepter's id is the same, known once it is accepted: a route before that is refused.
                        vpc_peering_connection_id=accepted.id,
                        provider=side.provider,
                    )
