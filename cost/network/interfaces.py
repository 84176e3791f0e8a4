"""Network interfaces as `aws ec2 describe-network-interfaces` writes them, and what else AWS names addresses by. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

from cost.network.model import Kind, Zone

Json = Mapping[str, Any]
_BALANCER = re.compile(r"ELB (app|net|gwy)/([^/]+)/")
_KINDS = {
    "nat_gateway": Kind.NAT,
    "vpc_endpoint": Kind.ENDPOINT,
    "network_load_balancer": Kind.NETWORK_BALANCER,
    "load_balancer": Kind.BALANCER,
}
"""`InterfaceType`. Source: Amazon EC2 API reference, NetworkInterface, read 2026-11."""


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface.

    Attributes:
        interface_id: `eni-...`.
        kind: What it is of.
        name: What people know it by: a NAT gateway's id, an endpoint's service or id, a load balancer's name.
        account: Its owner.
        vpc: Its VPC.
        zone: Where it is.
        instance: The EC2 instance that it is attached to; empty for none.
        addresses: Its private addresses, its own first.
        prefixes: Address ranges delegated to it, which pods use.
    """

    interface_id: str
    kind: Kind
    name: str
    account: str
    vpc: str
    zone: Zone | None
    instance: str
    addresses: tuple[str, ...]
    prefixes: tuple[IPv4Network | IPv6Network, ...]


def interface_of(item: Json) -> Interface:
    """Read one."""
    account = str(item.get("OwnerId") or "")
    kind, name = _kind_and_name(item)
    names = item.get("AvailabilityZone"), item.get("AvailabilityZoneId")
    v4 = [entry["PrivateIpAddress"] for entry in item.get("PrivateIpAddresses") or ()]
    own = item.get("PrivateIpAddress")
    v6 = [entry["Ipv6Address"] for entry in item.get("Ipv6Addresses") or ()]
    prefixes = [entry["Ipv4Prefix"] for entry in item.get("Ipv4Prefixes") or ()]
    prefixes += [entry["Ipv6Prefix"] for entry in item.get("Ipv6Prefixes") or ()]
    return Interface(
        item["NetworkInterfaceId"], kind, name, account, str(item.get("VpcId") or ""),
        Zone(names[0], names[1], account or None) if any(names) else None,
        str((item.get("Attachment") or {}).get("InstanceId") or ""),
        tuple(dict.fromkeys(([own] if own else []) + v4 + v6)),
        tuple(ip_network(text) for text in prefixes),
    )  # fmt: skip


def _kind_and_name(item: Json) -> tuple[Kind, str]:
    told, said = str(item.get("InterfaceType") or "interface"), str(item.get("Description") or "")
    tags = {entry.get("Key"): entry.get("Value") for entry in item.get("TagSet") or ()}
    balancer = _BALANCER.match(said)
    if balancer is not None:
        return (Kind.NETWORK_BALANCER if balancer[1] == "net" else Kind.BALANCER), balancer[2]
    kind = _KINDS.get(told)
    if kind is None and said.startswith("ELB "):
        return Kind.BALANCER, said.removeprefix("ELB ")
    if kind is Kind.NAT:
        return kind, said.rsplit(" ", 1)[-1] or item["NetworkInterfaceId"]
    if kind is Kind.ENDPOINT:
        return kind, str(tags.get("Name") or said.rsplit(" ", 1)[-1] or item["NetworkInterfaceId"])
    name = str(tags.get("Name") or said or item["NetworkInterfaceId"])
    return kind or Kind.INTERFACE, name


def endpoint_services(document: Json) -> dict[str, str]:
    """Return the service of each interface of an endpoint, of `aws ec2 describe-vpc-endpoints`.

    An interface itself names the endpoint's id alone.
    """
    return {
        interface: item["ServiceName"]
        for item in document["VpcEndpoints"]
        for interface in item.get("NetworkInterfaceIds") or ()
    }


def zone_ids(document: Json) -> dict[str, str]:
    """Return an account's zone names with their ids, of `aws ec2 describe-availability-zones`.

    Raises:
        ValueError: It is no such answer.
    """
    zones = document.get("AvailabilityZones")
    if not isinstance(zones, list):
        raise ValueError("no `AvailabilityZones`: not what `aws ec2 describe-availability-zones` writes")
    return {item["ZoneName"]: item["ZoneId"] for item in zones}


@dataclass(frozen=True, slots=True)
class ServiceRange:
    """A public range of an AWS service.

    Attributes:
        network: The range.
        service: `S3`, `DYNAMODB`; `AMAZON` covers all that AWS has.
        region: Where.
    """

    network: IPv4Network | IPv6Network
    service: str
    region: str


def service_ranges(document: Json) -> list[ServiceRange]:
    """Return the ranges of AWS's `ip-ranges.json`.

    Raises:
        ValueError: It is not that file.
    """
    if not isinstance(document.get("prefixes"), list):
        raise ValueError("no `prefixes`: not AWS's ip-ranges.json")
    found = [
        ServiceRange(ip_network(item["ip_prefix"]), item["service"], item["region"]) for item in document["prefixes"]
    ]
    further: Sequence[Json] = document.get("ipv6_prefixes") or ()
    return found + [ServiceRange(ip_network(item["ipv6_prefix"]), item["service"], item["region"]) for item in further]
