"""Zones, who talks, and one line of a flow log, as values. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Zone:
    """An availability zone as somebody named it.

    A name (`us-east-1a`) means a zone of one account alone: two accounts may use one name for two places. An id
    (`use1-az4`) is the same everywhere. Source: AWS RAM user guide, "Availability Zone IDs for your AWS resources".

    Attributes:
        name: The account's name of it; None where only the id is known.
        zone_id: The id; None where only the name is known.
        account: Whose name it is; None where that is not known.
    """

    name: str | None = None
    zone_id: str | None = None
    account: str | None = None

    def __post_init__(self) -> None:
        if not self.name and not self.zone_id:
            raise ValueError("a zone without name and id")

    def __str__(self) -> str:
        if self.name and self.zone_id:
            return f"{self.name} ({self.zone_id})"
        return self.name or str(self.zone_id)


def same_zone(one: Zone | None, other: Zone | None) -> bool | None:
    """Say whether two zones are one place; None where that is not known.

    Ids decide. Names alone decide only within one account.
    """
    if one is None or other is None:
        return None
    if one.zone_id is not None and other.zone_id is not None:
        return one.zone_id == other.zone_id
    if one.name is not None and other.name is not None and one.account == other.account:
        return one.name == other.name
    return None


class Kind(StrEnum):
    """What a party is."""

    POD = "pod"
    NODE = "node"
    NAT = "nat gateway"
    ENDPOINT = "interface endpoint"
    NETWORK_BALANCER = "network load balancer"
    BALANCER = "load balancer"
    INTERFACE = "interface"
    SERVICE = "AWS service"
    INTERNET = "internet"
    UNKNOWN = "unknown"


INSIDE = frozenset(set(Kind) - {Kind.SERVICE, Kind.INTERNET})
"""Kinds that lie in the network, whoever owns them."""


@dataclass(frozen=True, slots=True)
class Party:
    """One that sends or receives.

    Attributes:
        kind: What it is.
        name: `namespace/pod`, a node's name, an interface's id, a service's name; an address where nothing is known.
        host: What its bytes leave the network interface of: a node's name, an interface's id; empty outside.
        zone: Where it is; None where that is not known, or outside.
        workload: `namespace/Kind/name` of a pod; empty for others.
    """

    kind: Kind
    name: str
    host: str = ""
    zone: Zone | None = None
    workload: str = ""

    def __hash__(self) -> int:
        return hash((self.name, self.host))  # it is a key for every record, and these two tell most apart

    @property
    def inside(self) -> bool:
        """Whether it lies in the network."""
        return self.kind in INSIDE

    @property
    def label(self) -> str:
        """What people call it: the workload of a pod, else its kind and name."""
        return self.workload or (self.name if self.kind is Kind.INTERNET else f"{self.kind}: {self.name}")


class Route(StrEnum):
    """Which way bytes took out of the network, as far as a log tells."""

    UNKNOWN = "unknown"
    LOCAL = "within the VPC"
    GATEWAY_ENDPOINT = "gateway endpoint"
    INTERNET_GATEWAY = "internet gateway"
    INTERNET_OR_ENDPOINT = "internet gateway or gateway endpoint"
    PEERING = "peering in the region"
    FAR_PEERING = "peering to another region"
    PRIVATE_GATEWAY = "virtual private gateway"
    LOCAL_GATEWAY = "local gateway"


ROUTES = {
    1: Route.LOCAL,
    2: Route.INTERNET_OR_ENDPOINT,
    3: Route.PRIVATE_GATEWAY,
    4: Route.PEERING,
    5: Route.FAR_PEERING,
    6: Route.LOCAL_GATEWAY,
    7: Route.GATEWAY_ENDPOINT,
    8: Route.INTERNET_GATEWAY,
}
"""`traffic-path` of egress flows. Source: Amazon VPC user guide, "Flow log records", read 2026-11."""


@dataclass(frozen=True, slots=True)
class FlowRecord:
    """What one interface saw of one flow in one window.

    Attributes:
        interface: The interface's id; empty where the format lacks it.
        account: Whose interface; empty where the format lacks it.
        instance: The instance's id; empty where the format lacks it.
        zone_id: The interface's zone id; empty where the format lacks it.
        source: Address of the sender: of the packet where the format has it, else of the interface.
        target: Address of the receiver, the same way.
        near_source: `srcaddr`, where it differs from the packet's: the middle layer's address.
        near_target: `dstaddr`, the same way.
        source_service: AWS service of the sender as the log names it; empty for none.
        target_service: The same of the receiver.
        packet: Whether source and target are those of the packet.
        size_bytes: Bytes in the window.
        start_s: Begin of the window, seconds since the UTC epoch.
        end_s: Its end.
        direction: `ingress`, `egress`, or empty where the format lacks it.
        route: Of egress flows.
        accepted: False for what was rejected: it was not delivered.
        server: Which end serves, by its port: `source`, `target`, or empty where the ports do not tell.
    """

    interface: str
    account: str
    instance: str
    zone_id: str
    source: str
    target: str
    near_source: str
    near_target: str
    source_service: str
    target_service: str
    packet: bool
    size_bytes: int
    start_s: int
    end_s: int
    direction: str
    route: Route
    accepted: bool
    server: str = ""
