from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import pytest
from network_logs import GIB

from cost.network.advice import Placed, proposals_of
from cost.network.costing import Costed, Prices, cost_of
from cost.network.interfaces import endpoint_services
from cost.network.ledger import Flow, Traffic
from cost.network.model import INSIDE, Kind, Party, Route, Zone
from cost.prices.snapshot import load
from cost.report.proposals import Proposal

A, B = Zone("us-east-1a", "use1-az4", "1"), Zone("us-east-1b", "use1-az6", "1")
PRICES = Prices(load(), "us-east-1")
POD_A = Party(Kind.POD, "n/a", "node-a", A, "n/Deployment/a")
POD_B = Party(Kind.POD, "n/b", "node-b", B, "n/Deployment/b")
NAT_B = Party(Kind.NAT, "nat-1", "eni-nat", B)
S3 = Party(Kind.SERVICE, "S3")
SQS = Party(Kind.SERVICE, "SQS")


def flow(source: Party, target: Party, gib: float, route: Route = Route.UNKNOWN, service: str = "") -> Flow:
    return Flow(source, target, int(gib * GIB), route, service=service)


def traffic(flows: Iterable[Flow] = (), inside: Iterable[Flow] = (), outside: Iterable[Flow] = ()) -> Traffic:
    return Traffic(tuple(flows), tuple(inside), tuple(outside), 730 * 3600, 0, 730 * 3600, 0, 0, packet=True)


def cost(found: Traffic, *, complete: bool = True, prices: Prices = PRICES) -> Costed:
    return cost_of(found, prices, complete=complete)


def test_both_ends_pay_for_each_byte() -> None:
    costed = cost(traffic([flow(POD_A, POD_B, 100), flow(POD_B, POD_A, 50), flow(POD_A, POD_A, 7)]))
    assert costed.across.usd == Decimal("3.00")
    assert costed.across.complete


def test_a_petabyte_between_zones_and_one_by_nat() -> None:
    # The published sums, of decimal units: 1 PB between zones $20k, to S3 by NAT $45k, by a gateway endpoint nothing.
    size = 1e15 / GIB
    decimal = Decimal(2**30) / Decimal(10**9)
    assert float(cost(traffic([flow(POD_A, POD_B, size)])).across.usd * decimal) == pytest.approx(20_000, rel=1e-6)
    nat = cost(traffic(inside=[flow(POD_B, NAT_B, size)], outside=[flow(NAT_B, S3, size)]))
    assert float(nat.nat.usd * decimal) == pytest.approx(45_000, rel=1e-6)
    free = cost(traffic([flow(POD_A, S3, size, Route.GATEWAY_ENDPOINT), flow(S3, POD_A, 1)]))
    assert free.total.usd == 0
    assert [(item.way, item.usd.usd) for item in free.outside] == [("gateway endpoint", 0)]  # what comes back too


def test_endpoints_cost_by_tier_and_nothing_for_the_zones() -> None:
    endpoint = Party(Kind.ENDPOINT, "com.amazonaws.us-east-1.sqs", "eni-e", B)
    costed = cost(traffic([flow(POD_A, endpoint, 1_500_000)]))
    assert costed.across.usd == 0
    assert costed.endpoint.usd == Decimal(1_000_000) * Decimal("0.01") + Decimal(500_000) * Decimal("0.006")


@pytest.mark.parametrize("kind", [Kind.BALANCER, Kind.UNKNOWN])
def test_what_is_not_known_is_no_zero(kind: Kind) -> None:
    other = Party(kind, "x", "eni-x", B if kind is Kind.BALANCER else None)
    costed = cost(traffic([flow(POD_A, other, 100), flow(POD_A, POD_B, 100)]))
    assert str(costed.across) == "at least $2.00"
    assert str(cost(traffic([flow(POD_A, other, 100)])).across) == "unknown"
    assert str(cost(traffic([flow(POD_A, POD_B, 100)]), complete=False).across) == "at least $2.00"


def test_no_price_is_no_sum() -> None:
    costed = cost(traffic([flow(POD_A, POD_B, 100)]), prices=Prices(load(), "mars-1"))
    assert str(costed.total).startswith("unknown")
    assert costed.prices.used == ()


def titles(found: Traffic, prices: Prices = PRICES, placed: Placed | None = None) -> dict[str, Proposal]:
    return {item.title: item for item in proposals_of(found, cost(found, prices=prices), placed).proposals}


def only(found: dict[str, Proposal], text: str) -> Proposal:
    (item,) = (item for title, item in found.items() if text in title)
    return item


def test_s3_by_nat_goes_by_gateway_endpoint_and_is_saved_once() -> None:
    found = titles(traffic(inside=[flow(POD_A, NAT_B, 1000, service="S3")], outside=[flow(NAT_B, S3, 1000)]))
    assert only(found, "gateway endpoint for S3").saves_usd.expected == Decimal("45.00")
    assert len(found) == 1
    # Without packets' addresses, by S3's share of what leaves.
    plain = traffic(inside=[flow(POD_A, NAT_B, 1000)], outside=[flow(NAT_B, S3, 600), flow(NAT_B, SQS, 400)])
    assert "400 GB" in only(titles(plain), "another zone").title


def test_an_interface_endpoint_is_weighed_against_its_hours() -> None:
    def with_sqs(gib: float) -> Proposal:
        return only(titles(traffic(inside=[flow(POD_B, NAT_B, gib)], outside=[flow(NAT_B, SQS, gib)])), "SQS")

    small, large = with_sqs(10), with_sqs(10_000)
    assert small.refused is not None
    assert small.refused == "it costs more: NAT $0.45, endpoint $0.10 for the bytes and $7.30 for the hours in 1 zones"
    assert large.saves_usd.expected == Decimal("342.70")
    assert large.command is not None


def test_a_nat_gateway_of_ones_own_zone_is_weighed_against_its_hours() -> None:
    def from_a(gib: float) -> Proposal:
        return only(
            titles(traffic(inside=[flow(POD_A, NAT_B, gib, service="x")], outside=[flow(NAT_B, SQS, gib)])),
            "another zone",
        )

    assert (
        from_a(100).refused == "it costs more: $2.00 for crossing zones, $32.85 for the hours of one more NAT gateway"
    )
    assert from_a(10_000).saves_usd.expected == Decimal("167.15")
    own = Party(Kind.NAT, "nat-a", "eni-nat-a", A)
    both = traffic(
        inside=[flow(POD_A, NAT_B, 100, service="x"), flow(POD_A, own, 1, service="x")], outside=[flow(NAT_B, SQS, 100)]
    )
    assert "replace-route" in str(only(titles(both), "nat-a").command)


def test_a_paid_endpoint_to_s3_is_found_by_its_service() -> None:
    services = endpoint_services(
        {"VpcEndpoints": [{"ServiceName": "com.amazonaws.us-east-1.s3", "NetworkInterfaceIds": ["eni-e"]}]}
    )
    endpoint = Party(Kind.ENDPOINT, services["eni-e"], "eni-e", A)
    found = titles(traffic([flow(POD_A, endpoint, 1000)]))
    assert only(found, "gateway endpoint for S3").saves_usd.expected == Decimal("10.00")


def test_a_refused_placement_says_why() -> None:
    zero = Decimal(0)
    placed = Placed(zero, zero, zero, zero, 0, 0, None, None, refused="the nodes are in one zone")
    assert titles(traffic(), placed=placed)["pods placed by zone"].refused == "the nodes are in one zone"


def test_without_prices_proposals_have_no_number() -> None:
    found = titles(
        traffic(inside=[flow(POD_A, NAT_B, 9)], outside=[flow(NAT_B, S3, 9), flow(NAT_B, SQS, 9)]), Prices(load(), None)
    )
    assert all(item.saves_usd.expected is None for item in found.values())


def test_kinds_inside_are_all_but_two() -> None:
    assert set(Kind) - INSIDE == {Kind.SERVICE, Kind.INTERNET}
