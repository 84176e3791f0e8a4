"""How a VPC's range is cut into subnets: private ones wide, public and pod ones by what they hold. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network

_MAX_ZONES = 6


@dataclass(frozen=True, slots=True)
class ZoneRanges:
    """The subnets of one zone.

    Attributes:
        private: Nodes, endpoints, databases.
        public: NAT gateways and load balancers; small.
        pods: Pods alone, of the second range; None where there is none.
    """

    private: IPv4Network
    public: IPv4Network
    pods: IPv4Network | None


def cut(cidr: IPv4Network, pod_cidr: IPv4Network | None, zones: int) -> list[ZoneRanges]:
    """Cut ranges for up to six zones, so that a zone added later moves none of the others.

    The range is cut into eight: six private ones, the seventh holds the public ones.

    Args:
        cidr: The VPC's range.
        pod_cidr: The second range.
        zones: How many zones there are now, at most six.
    """
    eighths = list(cidr.subnets(prefixlen_diff=3))
    publics = list(eighths[_MAX_ZONES].subnets(prefixlen_diff=3))
    pods = [None] * _MAX_ZONES if pod_cidr is None else list(pod_cidr.subnets(prefixlen_diff=3))
    return [ZoneRanges(eighths[zone], publics[zone], pods[zone]) for zone in range(zones)]
