"""What traffic costs: between zones both ways, NAT, endpoints; what is not known stays so. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from cost.amount import ZERO, Amount, total
from cost.network.ledger import Flow, Traffic, between
from cost.network.model import Kind, Party, Route, same_zone
from cost.prices.model import Book, Price

GB = Decimal(2**30)
"""Bytes that AWS counts as a GB of transfer. Source: AWS, "Understanding data transfer charges", read 2026-11."""
MONTH_S = 730 * 3600
ACROSS = ("ec2", "data transfer between zones each direction")
NAT_DATA = ("vpc", "nat gateway data processed")
NAT_HOUR = ("vpc", "nat gateway")
ENDPOINT_HOUR = ("vpc", "interface endpoint per zone")
ENDPOINT_DATA = (
    (Decimal(1_000_000), "interface endpoint data first 1 PB"),
    (Decimal(5_000_000), "interface endpoint data next 4 PB"),
    (None, "interface endpoint data over 5 PB"),
)
BY_GATEWAY = frozenset({"S3", "DYNAMODB"})
"""Services with a gateway endpoint, which costs nothing. Source: Amazon VPC user guide, "Gateway endpoints", read 2026-11."""


@dataclass(frozen=True, slots=True)
class Prices:
    """The prices of one region; None is unknown.

    Attributes:
        book: Where they come from.
        region: Whose they are.
    """

    book: Book
    region: str | None

    def of(self, meter: tuple[str, str]) -> Price | None:
        """Return one."""
        return self.book.price(*meter, self.region)

    def usd(self, meter: tuple[str, str], units: Decimal) -> Amount:
        """Return what so many units cost; of none, no part of a sum."""
        price = self.of(meter)
        return Amount() if units == 0 else Amount.of(None if price is None else price.usd * units)

    def across(self, size_bytes: Decimal) -> Amount:
        """Return what bytes across zones cost: both ends pay for each."""
        return self.usd(ACROSS, 2 * size_bytes / GB)

    def endpoint_data(self, size_bytes: Decimal) -> Amount:
        """Return what an interface endpoint takes for bytes, a month's in all."""
        gigabytes, below, parts = size_bytes / GB, Decimal(0), []
        for end, item in ENDPOINT_DATA:
            part = gigabytes - below if end is None else min(gigabytes, end) - below
            if part > 0:
                parts.append(self.usd(("vpc", item), part))
            below = gigabytes if end is None else end
        return total(parts)

    @property
    def used(self) -> tuple[Price, ...]:
        """Return the prices that a report of traffic may use."""
        meters = [ACROSS, NAT_DATA, NAT_HOUR, ENDPOINT_HOUR, *(("vpc", item) for _, item in ENDPOINT_DATA)]
        return tuple(found for meter in meters if (found := self.of(meter)) is not None)


@dataclass(frozen=True, slots=True)
class Pair:
    """Who sends to whom, from which zone to which.

    Attributes:
        source: Whose bytes.
        target: To whom.
        source_zone: From where; `unknown`.
        target_zone: To where.
        crosses: Whether these are two zones; None where that is not known.
        month_bytes: A month's.
        usd: A month's, both ways.
    """

    source: str
    target: str
    source_zone: str
    target_zone: str
    crosses: bool | None
    month_bytes: Decimal
    usd: Amount


@dataclass(frozen=True, slots=True)
class Outside:
    """What leaves the network or comes into it, by one way.

    Attributes:
        service: `S3`, `internet`.
        way: `nat gateway ...`, `gateway endpoint`.
        month_bytes: A month's, both directions.
        usd: What the way takes for it; transfer to the internet itself is not in it.
    """

    service: str
    way: str
    month_bytes: Decimal
    usd: Amount


@dataclass(frozen=True, slots=True)
class Costed:
    """A month of traffic with its cost.

    Attributes:
        pairs: Within the network, dearest first.
        outside: Beyond it, and NAT.
        endpoints: Bytes of each interface endpoint, by name, and what they cost.
        across: All that crosses zones.
        nat: All that NAT gateways process.
        endpoint: All that interface endpoints process.
        factor: What makes a month of what was recorded.
        prices: The prices.
    """

    pairs: tuple[Pair, ...]
    outside: tuple[Outside, ...]
    endpoints: tuple[Outside, ...]
    across: Amount
    nat: Amount
    endpoint: Amount
    factor: Decimal
    prices: Prices

    @property
    def total(self) -> Amount:
        """Everything together."""
        return total((self.across, self.nat, self.endpoint))

    def bytes_where(self, *, crosses: bool | None) -> Decimal:
        """Return a month's bytes of the pairs that cross zones, do not, or of which it is not known."""
        return sum((pair.month_bytes for pair in self.pairs if pair.crosses is crosses), ZERO)


def cost_of(traffic: Traffic, prices: Prices, *, complete: bool) -> Costed:
    """Price a month of what was recorded.

    Args:
        traffic: What was recorded.
        prices: The region's.
        complete: Whether nothing is known to be missing from the records; else every sum is "at least".
    """
    factor = Decimal(MONTH_S) / traffic.covered_s if traffic.covered_s else Decimal(0)
    missing = () if complete else (Amount.of(None),)
    inside = [*between(traffic.flows), *traffic.nat_inside]
    pairs = _pairs(inside, prices, factor)
    endpoints = _endpoints(inside, prices, factor)
    processed = sum((flow.size_bytes for flow in traffic.nat_inside), 0)
    return Costed(
        pairs,
        _outside(traffic, prices, factor),
        endpoints,
        # What stays in its zone is no part of this sum: a known 0 must not make an unknown look like one.
        total((*(pair.usd for pair in pairs if pair.crosses is not False), *missing)),
        total((prices.usd(NAT_DATA, processed * factor / GB), *missing)),
        total((prices.endpoint_data(sum((item.month_bytes for item in endpoints), ZERO)), *missing)),
        factor,
        prices,
    )


def crosses(flow: Flow) -> bool | None:
    """Say whether a flow's bytes cross zones; None where a zone is not known."""
    if flow.source.host and flow.source.host == flow.target.host:
        return False
    return (lambda same: None if same is None else not same)(same_zone(flow.source.zone, flow.target.zone))


def _across_usd(flow: Flow, size: Decimal, prices: Prices) -> Amount:
    found = crosses(flow)
    kinds = {flow.source.kind, flow.target.kind}
    if found is False:
        return Amount.of(ZERO)
    # PrivateLink: free between zones since 2022-04-01. Source: AWS What's New, "Data transfer price reduction for AWS
    # PrivateLink, AWS Transit Gateway, and AWS Client VPN services", 2022-04.
    if Kind.ENDPOINT in kinds:
        return Amount.of(ZERO)
    # Between an application balancer and its targets zones cost nothing, between it and clients they do; a flow log tells
    # not which it is. Source: AWS, "Exploring Data Transfer Costs for Classic and Application Load Balancers".
    if found is None or Kind.BALANCER in kinds:
        return Amount.of(None)
    return prices.across(size)


def _pairs(flows: Iterable[Flow], prices: Prices, factor: Decimal) -> tuple[Pair, ...]:
    sums: dict[tuple[str, str, str, str, bool | None], tuple[Decimal, Amount]] = {}
    for flow in flows:
        key = (flow.source.label, flow.target.label, _zone(flow.source), _zone(flow.target), crosses(flow))
        size = flow.size_bytes * factor
        before = sums.get(key, (ZERO, Amount()))
        usd = _across_usd(flow, size, prices)
        # Parts of one pair are one part of the sum.
        known = Amount.of(None) if before[1].unknown or usd.unknown else Amount.of(before[1].usd + usd.usd)
        sums[key] = (before[0] + size, known)
    found = [Pair(*key, size, usd) for key, (size, usd) in sums.items()]
    return tuple(sorted(found, key=lambda item: (-item.usd.usd, -item.month_bytes, item.source, item.target)))


def _zone(party: Party) -> str:
    return "unknown" if party.zone is None else str(party.zone)


def _endpoints(flows: Iterable[Flow], prices: Prices, factor: Decimal) -> tuple[Outside, ...]:
    sums: dict[str, int] = defaultdict(int)
    for flow in flows:
        for party in {flow.source, flow.target}:
            if party.kind is Kind.ENDPOINT:
                sums[party.name] += flow.size_bytes
    return tuple(
        Outside(name, Kind.ENDPOINT, size * factor, prices.endpoint_data(size * factor))
        for name, size in sorted(sums.items(), key=lambda item: -item[1])
    )


def _outside(traffic: Traffic, prices: Prices, factor: Decimal) -> tuple[Outside, ...]:
    ways: dict[tuple[str, str], int] = defaultdict(int)
    through_nat: dict[str, int] = defaultdict(int)
    for flow in traffic.nat_outside:
        party = flow.target if flow.source.kind is Kind.NAT else flow.source
        through_nat[party.name] += flow.size_bytes
    behind = {
        party.host for flow in traffic.nat_inside for party in (flow.source, flow.target) if party.kind is not Kind.NAT
    }
    leaving = [flow for flow in traffic.flows if not (flow.source.inside and flow.target.inside)]
    told = _told_routes(leaving)
    for flow in leaving:
        near, far = (flow.source, flow.target) if flow.source.inside else (flow.target, flow.source)
        route = told.get((near.host, far.name), Route.UNKNOWN) if flow.route is Route.UNKNOWN else flow.route
        way = _way(route, far, by_nat=near.host in behind and far.name in through_nat)
        if way:
            ways[far.name, way] += flow.size_bytes
    found = [
        Outside(name, Kind.NAT, size * factor, prices.usd(NAT_DATA, size * factor / GB))
        for name, size in through_nat.items()
    ]
    for (name, way), size in ways.items():
        free = way in {Route.GATEWAY_ENDPOINT, Route.INTERNET_GATEWAY}
        found.append(Outside(name, way, size * factor, Amount.of(ZERO if free else None)))
    return tuple(sorted(found, key=lambda item: (-item.usd.usd, -item.month_bytes, item.service, item.way)))


def _told_routes(flows: Iterable[Flow]) -> dict[tuple[str, str], Route]:
    """Return the way that most bytes take from a host to a service: what comes back names none, and takes the same."""
    sums: dict[tuple[str, str], dict[Route, int]] = defaultdict(lambda: defaultdict(int))
    for flow in flows:
        if flow.route is not Route.UNKNOWN and flow.source.inside:
            sums[flow.source.host, flow.target.name][flow.route] += flow.size_bytes
    return {key: max(found, key=lambda route: (found[route], route)) for key, found in sums.items()}


def _way(route: Route, far: Party, *, by_nat: bool) -> str:
    """Return how bytes left, as far as it is known; empty for what a NAT gateway's own records tell of already."""
    if route in {Route.GATEWAY_ENDPOINT, Route.INTERNET_GATEWAY}:
        return route
    if route is Route.INTERNET_OR_ENDPOINT:
        # Public addresses leave by an internet gateway; only these services have an endpoint of that kind.
        return Route.INTERNET_GATEWAY if far.name not in BY_GATEWAY else route
    if by_nat:
        return ""
    return "a NAT gateway or another middle box" if route is Route.LOCAL else route
