"""Ranges of addresses that are the whole internet, or so much of it that nothing is named. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_network

# Nobody owns more of IPv4 than a /8; a registry gets its IPv6 from `2000::/3` in parts of /12.
_LEAST_PREFIX = {4: 8, 6: 12}


def anywhere(ranges: Iterable[object]) -> bool:
    """Whether any of some ranges is as good as everybody's; what is no range, a prefix list's id say, is not."""
    return any(map(_wide, ranges))


def _wide(text: object) -> bool:
    try:
        network = ip_network(str(text), strict=False)
    except ValueError:
        return False
    return network.prefixlen < _LEAST_PREFIX[network.version]
