"""What carries bytes: NAT, endpoints, peering, addresses, load balancers. Pure."""

from __future__ import annotations

from decimal import Decimal

from cost.plan.kinds.rule import Context, Rule, always, line
from cost.plan.model import HOURS, Line, Resource

# GB of an interface endpoint by price. Source: Infracost golden vpc_endpoint_test 2024-07.
_ENDPOINT_TIERS = (
    (Decimal(1_000_000), "interface endpoint data first 1 PB"),
    (Decimal(5_000_000), "interface endpoint data next 4 PB"),
    (None, "interface endpoint data over 5 PB"),
)


def _nat(resource: Resource, context: Context) -> list[Line]:
    moved = context.used("nat_gateways", resource, "processed_gb")
    return [
        always(context, resource, ("vpc", "nat gateway")),
        line(
            context,
            resource,
            ("vpc", "nat gateway data processed"),
            moved,
            unit="GB",
            asked="nat_gateways.processed_gb",
        ),
    ]


def _endpoint(resource: Resource, context: Context) -> list[Line]:
    kind = resource.get("vpc_endpoint_type") or "Gateway"  # Terraform's own choice
    if kind == "Gateway":
        return [always(context, resource, ("vpc", "gateway endpoint"))]
    subnets = resource.get("subnet_ids")
    linked = len(resource.links.get("subnet_ids", ()))
    zones = len(subnets) if isinstance(subnets, list) and subnets else linked or None
    hours = None if zones is None else HOURS * zones
    found = [line(context, resource, ("vpc", "interface endpoint per zone"), hours, unit="hour", asked="its zones")]
    moved = context.used("endpoints", resource, "processed_gb")
    if moved is None:
        first = ("vpc", _ENDPOINT_TIERS[0][1])
        return [*found, line(context, resource, first, None, unit="GB", asked="endpoints.processed_gb")]
    below = Decimal(0)
    for end, item in _ENDPOINT_TIERS:
        part = moved - below if end is None else min(moved, end) - below
        if part > 0:
            found.append(line(context, resource, ("vpc", item), part, unit="GB"))
        below = moved if end is None else end
    return found


def _peering(resource: Resource, context: Context) -> list[Line]:
    moved = context.used("peerings", resource, "cross_zone_gb")
    peer = resource.get("peer_region")
    if isinstance(peer, str) and peer != resource.region:
        item = f"data transfer to {peer}"
        return [line(context, resource, ("ec2", item), moved, unit="GB", asked="peerings.cross_zone_gb")]
    both = None if moved is None else moved * 2  # a GB leaves one side and enters the other; each is paid for
    meter = ("ec2", "data transfer between zones each direction")
    return [line(context, resource, meter, both, unit="GB", asked="peerings.cross_zone_gb")]


def _address(resource: Resource, context: Context) -> list[Line]:
    return [always(context, resource, ("vpc", "public IPv4 address"))]


def _balancer(resource: Resource, context: Context) -> list[Line]:
    kind = str(resource.get("load_balancer_type") or "application")
    units = context.used("balancers", resource, "capacity_units")
    hours = None if units is None else units * HOURS
    meter = ("elb", f"{kind} load balancer capacity unit")
    return [
        always(context, resource, ("elb", f"{kind} load balancer")),
        line(context, resource, meter, hours, unit="hour", asked="balancers.capacity_units"),
    ]


def _flow_log(resource: Resource, context: Context) -> list[Line]:
    to = str(resource.get("log_destination_type") or "cloud-watch-logs")
    return [line(context, resource, ("vpc", f"flow logs delivered to {to}"), None, unit="GB", asked="none can tell")]


NETWORK: dict[str, Rule] = {
    "aws_alb": _balancer,
    "aws_eip": _address,
    "aws_flow_log": _flow_log,
    "aws_lb": _balancer,
    "aws_nat_gateway": _nat,
    "aws_vpc_endpoint": _endpoint,
    "aws_vpc_peering_connection": _peering,
}
