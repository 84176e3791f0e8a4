"""VPCs: ways to S3 that cost nothing, records of who talks to whom, and no way in. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from policies.model import Rule, Severity, Violation, say
from policies.plan_view import PlanView, Resource
from policies.ranges import anywhere

_GATEWAYS = ("s3", "dynamodb")


def _service(endpoint: Resource) -> str:
    return str(endpoint.get("service_name") or "").rpartition(".")[2]


def _gateway_endpoints(plan: PlanView) -> Iterator[Violation]:
    for endpoint in plan.kind("aws_vpc_endpoint"):
        kind = endpoint.get("vpc_endpoint_type")
        if _service(endpoint) in _GATEWAYS and kind not in {"Gateway", None}:
            yield say(endpoint, f"is of type {kind}, which is billed by hour and byte; a gateway is free")
    for vpc in plan.kind("aws_vpc"):
        inside = plan.pointing("aws_vpc_endpoint", "vpc_id", vpc)
        found = {_service(item) for item in inside if item.get("vpc_endpoint_type") in {"Gateway", None}}
        for service in _GATEWAYS:
            if service not in found:
                yield say(vpc, f"has no gateway endpoint for {service}")


def _flow_logs(plan: PlanView) -> Iterator[Violation]:
    for vpc in plan.kind("aws_vpc"):
        logs = plan.pointing("aws_flow_log", "vpc_id", vpc)
        if not any(item.get("traffic_type") == "ALL" for item in logs):
            yield say(vpc, "has no flow log of all traffic")


def _default_group(plan: PlanView) -> Iterator[Violation]:
    for vpc in plan.kind("aws_vpc"):
        groups = plan.pointing("aws_default_security_group", "vpc_id", vpc)
        if not groups:
            yield say(vpc, "its default security group lets everything in it talk")
        for group in groups:
            if group.blocks("ingress") or group.blocks("egress"):
                yield say(group, "has rules: whatever names no group gets them")


def _open_ingress(plan: PlanView) -> Iterator[Violation]:
    for item in plan.kind("aws_security_group", "aws_default_security_group"):
        for block in item.blocks("ingress"):
            ranges = {*(block.get("cidr_blocks") or ()), *(block.get("ipv6_cidr_blocks") or ())}
            if anywhere(ranges):
                yield say(item, f"lets the whole internet in on port {block.get('from_port')}")
    for item in plan.kind("aws_security_group_rule"):
        ranges = {*(item.get("cidr_blocks") or ()), *(item.get("ipv6_cidr_blocks") or ())}
        if item.get("type") == "ingress" and anywhere(ranges):
            yield say(item, f"lets the whole internet in on port {item.get('from_port')}")
    for item in plan.kind("aws_vpc_security_group_ingress_rule"):
        if anywhere((item.get("cidr_ipv4"), item.get("cidr_ipv6"))):
            yield say(item, f"lets the whole internet in on port {item.get('from_port')}")


def _public_addresses(plan: PlanView) -> Iterator[Violation]:
    for item in plan.kind("aws_subnet"):
        if item.get("map_public_ip_on_launch") is True:
            yield say(item, "gives each instance a public address")
    for item in plan.kind("aws_launch_template"):
        if any(
            str(card.get("associate_public_ip_address")).lower() == "true" for card in item.blocks("network_interfaces")
        ):
            yield say(item, "gives each instance a public address")


RULES = (
    Rule(
        id="CKV_DT_6",
        title="Every VPC has gateway endpoints for S3 and DynamoDB",
        severity=Severity.HIGH,
        reason="A petabyte to S3 costs 45,000 USD through NAT and nothing through a gateway endpoint.",
        remedy="add aws_vpc_endpoint with vpc_endpoint_type `Gateway` for both services",
        kinds=("aws_vpc", "aws_vpc_endpoint"),
        find=_gateway_endpoints,
    ),
    Rule(
        id="CKV_DT_7",
        title="Every VPC logs all of its flows",
        severity=Severity.MEDIUM,
        reason="Without flow logs nobody can say who moved bytes across zones, or out.",
        remedy="add aws_flow_log with traffic_type `ALL`",
        kinds=("aws_vpc",),
        find=_flow_logs,
    ),
    Rule(
        id="CKV_DT_8",
        title="Default security groups are empty",
        severity=Severity.MEDIUM,
        reason="Whatever names no group lands in the default one, which lets all its members talk.",
        remedy="add aws_default_security_group without rules",
        kinds=("aws_vpc", "aws_default_security_group"),
        find=_default_group,
    ),
    Rule(
        id="CKV_DT_9",
        title="Nothing lets the whole internet in",
        severity=Severity.HIGH,
        reason="An open port is found by scanners within minutes.",
        remedy="name the ranges that need it",
        kinds=(
            "aws_security_group",
            "aws_default_security_group",
            "aws_security_group_rule",
            "aws_vpc_security_group_ingress_rule",
        ),
        find=_open_ingress,
    ),
    Rule(
        id="CKV_DT_10",
        title="No subnet and no launch template gives public addresses",
        severity=Severity.HIGH,
        reason="A node with a public address can be reached, and is billed for the address.",
        remedy="set map_public_ip_on_launch to false; nodes reach out through NAT",
        kinds=("aws_subnet", "aws_launch_template"),
        find=_public_addresses,
    ),
)
