"""What would cost less, as proposals for `drivetrain cost report`: endpoints, gateways, services, placement. Pure."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal

from cost.amount import money
from cost.network.costing import BY_GATEWAY, ENDPOINT_HOUR, GB, NAT_DATA, NAT_HOUR, Costed
from cost.network.ledger import Traffic
from cost.network.model import Kind, Party, same_zone
from cost.prices.model import provenance
from cost.report.proposals import Proposal, ProposalFile, Saving

SOURCE = "drivetrain cost network"
_HOURS = Decimal(730)
_CENT = Decimal("0.01")
_VPC = "--vpc-id VPC"


@dataclass(frozen=True, slots=True)
class Placed:
    """What a placement would save.

    Attributes:
        near_bytes: A month's bytes that stay in a zone when services keep near, and nothing moves.
        moved_bytes: Further ones when things are placed anew.
        low_bytes: Of both, in nine of ten of the placements that the patches leave open.
        high_bytes: The same, at most.
        services: How many services are patched.
        workloads: How many workloads are.
        gap: How much less could cross at best, as a share of what then crosses.
        folder: Where the patches are; None where none were written.
        refused: Why nothing is proposed; empty where something is.
    """

    near_bytes: Decimal
    moved_bytes: Decimal
    low_bytes: Decimal
    high_bytes: Decimal
    services: int
    workloads: int
    gap: float | None
    folder: str | None
    refused: str = ""


def proposals_of(traffic: Traffic, costed: Costed, placed: Placed | None) -> ProposalFile:
    """Return all proposals, refused ones too."""
    certainty = f"recorded over {traffic.covered_s / 3600:.1f} h, taken for a month of 730 h"
    found = [
        *_by_gateway(costed, certainty),
        *_by_interface(traffic, costed, certainty),
        *_near_nat(traffic, costed, certainty),
    ]
    if placed is not None:
        found += _placement(placed, costed, certainty)
    return ProposalFile(
        format="drivetrain-proposals/1", source=SOURCE, prices=provenance(costed.prices.used), proposals=tuple(found)
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _cents(value: Decimal | None) -> Decimal | None:
    return None if value is None else value.quantize(_CENT, ROUND_HALF_EVEN)


def _saves(value: Decimal | None) -> Saving:
    return Saving(expected=_cents(value))


def _by_gateway(costed: Costed, certainty: str) -> list[Proposal]:
    """Propose gateway endpoints for what reaches S3 and DynamoDB through NAT or a paid endpoint: they cost nothing."""
    found = []
    for item in costed.outside:
        if item.way == Kind.NAT and item.service in BY_GATEWAY:
            known = None if item.usd.unknown else item.usd.usd
            found.append(
                _gateway(item.service, item.month_bytes, "a NAT gateway", known, certainty, costed.prices.region)
            )
    for item in costed.endpoints:
        service = item.service.rsplit(".", 1)[-1].upper()  # com.amazonaws.us-east-1.s3
        if service in BY_GATEWAY:
            known = None if item.usd.unknown else item.usd.usd
            by = f"the interface endpoint {item.service}"
            found.append(_gateway(service, item.month_bytes, by, known, certainty, costed.prices.region))
    return found


def _gateway(
    service: str, month_bytes: Decimal, by: str, usd: Decimal | None, certainty: str, region: str | None
) -> Proposal:  # fmt: skip
    name = service.lower()
    return Proposal(
        title=f"a gateway endpoint for {service}: {month_bytes / GB:,.0f} GB a month go through {by}",
        saves_usd=_saves(usd),
        certainty=f"{certainty}; a gateway endpoint costs nothing",
        command=f"aws ec2 create-vpc-endpoint {_VPC} --vpc-endpoint-type Gateway "
        f"--service-name com.amazonaws.{region or 'REGION'}.{name} --route-table-ids ROUTE-TABLES",
    )


def _by_interface(traffic: Traffic, costed: Costed, certainty: str) -> list[Proposal]:
    """Weigh interface endpoints against NAT for other services: an hourly price a zone against a lower one a GB."""
    zones = {
        str(zone) for flow in traffic.nat_inside for zone in (flow.source.zone, flow.target.zone) if zone is not None
    }
    hour, processed = costed.prices.of(ENDPOINT_HOUR), costed.prices.of(NAT_DATA)
    found = []
    for item in costed.outside:
        if item.way != Kind.NAT or item.service in BY_GATEWAY or item.service == "internet":
            continue
        title = f"an interface endpoint for {item.service}: {item.month_bytes / GB:,.0f} GB a month go through a NAT gateway"
        by_endpoint = costed.prices.endpoint_data(item.month_bytes)
        if hour is None or processed is None or by_endpoint.unknown or not zones:
            found.append(
                Proposal(
                    title=title,
                    saves_usd=Saving(),
                    certainty=certainty,
                    refused="a price that decides it is unknown: see `drivetrain cost prices show vpc`",
                )
            )
            continue
        hours = hour.usd * _HOURS * len(zones)
        saved = item.usd.usd - by_endpoint.usd - hours
        sums = (
            f"NAT {money(item.usd.usd)}, endpoint {money(by_endpoint.usd)} for the bytes and {money(hours)} for the hours "
            f"in {len(zones)} zones"
        )
        if saved > 0:
            command = (
                f"aws ec2 create-vpc-endpoint {_VPC} --vpc-endpoint-type Interface "
                f"--service-name com.amazonaws.{costed.prices.region}.SERVICE "
                "--private-dns-enabled --subnet-ids ONE-A-ZONE"
            )
            found.append(
                Proposal(title=title, saves_usd=_saves(saved), certainty=f"{certainty}; {sums}", command=command)
            )
        else:
            found.append(
                Proposal(title=title, saves_usd=_saves(saved), certainty=certainty, refused=f"it costs more: {sums}")
            )
    return found


def _near_nat(traffic: Traffic, costed: Costed, certainty: str) -> list[Proposal]:
    """Weigh a NAT gateway of its own for each zone that uses another zone's."""
    gates = {party for flow in traffic.nat_inside for party in (flow.source, flow.target) if party.kind is Kind.NAT}
    far: dict[str, Decimal] = defaultdict(Decimal)
    elsewhere = _share_by_gateway(traffic)
    for flow in traffic.nat_inside:
        user, gate = (flow.target, flow.source) if flow.source.kind is Kind.NAT else (flow.source, flow.target)
        if same_zone(user.zone, gate.zone) is False:
            # What a gateway endpoint takes is proposed there, and not saved twice.
            rest = 1 - elsewhere if not flow.service else Decimal(flow.service not in BY_GATEWAY)
            far[str(user.zone)] += flow.size_bytes * rest
    found = []
    hour = costed.prices.of(NAT_HOUR)
    for zone, size in sorted((zone, size) for zone, size in far.items() if size):
        own = next((gate for gate in gates if str(gate.zone) == zone), None)
        found.append(_zone_nat(zone, size * costed.factor, own, None if hour is None else hour.usd, costed, certainty))
    return found


def _share_by_gateway(traffic: Traffic) -> Decimal:
    """Return the share of what NAT gateways forward that a gateway endpoint would take."""
    total = sum(flow.size_bytes for flow in traffic.nat_outside)
    ends = ((flow, flow.target if flow.source.kind is Kind.NAT else flow.source) for flow in traffic.nat_outside)
    taken = sum(flow.size_bytes for flow, party in ends if party.name in BY_GATEWAY)
    return Decimal(taken) / total if total else Decimal(0)


def _zone_nat(
    zone: str, month_bytes: Decimal, own: Party | None, hour_usd: Decimal | None, costed: Costed, certainty: str
) -> Proposal:  # fmt: skip
    usd = costed.prices.across(month_bytes)
    title = f"{zone} moves {month_bytes / GB:,.0f} GB a month by a NAT gateway in another zone"
    if own is not None:
        return Proposal(
            title=f"{title}, and has {own.name} of its own", saves_usd=_saves(None if usd.unknown else usd.usd), certainty=certainty,
            command="aws ec2 replace-route --route-table-id ROUTE-TABLE --destination-cidr-block 0.0.0.0/0 "
            f"--nat-gateway-id {own.name}",
        )  # fmt: skip
    if usd.unknown or hour_usd is None:
        return Proposal(
            title=title, saves_usd=Saving(), certainty=certainty, refused="a price that decides it is unknown"
        )  # fmt: skip
    hours = hour_usd * _HOURS
    saved = usd.usd - hours
    sums = f"{money(usd.usd)} for crossing zones, {money(hours)} for the hours of one more NAT gateway"
    if saved > 0:
        return Proposal(
            title=f"{title}: one of its own", saves_usd=_saves(saved), certainty=f"{certainty}; {sums}",
            command="aws ec2 create-nat-gateway --subnet-id PUBLIC-SUBNET --allocation-id ADDRESS",
        )  # fmt: skip
    return Proposal(
        title=f"{title}: one of its own", saves_usd=_saves(saved), certainty=certainty, refused=f"it costs more: {sums}"
    )  # fmt: skip


def _placement(placed: Placed, costed: Costed, certainty: str) -> list[Proposal]:
    found = []

    def usd(size: Decimal) -> Decimal | None:
        amount = costed.prices.across(abs(size))
        return None if amount.unknown else amount.usd.copy_sign(size)

    where = placed.folder or "the folder of --out"
    if placed.services:
        found.append(
            Proposal(
                title=f"{_count(placed.services, 'service')} kept to the clients' zone (trafficDistribution: PreferSameZone)",
                saves_usd=_saves(usd(placed.near_bytes)),
                certainty=f"{certainty}; where pods run today, and a replica in the zone takes all of its zone's clients",
                command=f"sh {where}/services.sh",
            )
        )
    if placed.workloads:
        gap = "" if placed.gap is None else f", within {placed.gap:.0%} of what any placement could reach"
        found.append(
            Proposal(
                title=f"{_count(placed.workloads, 'workload')} placed by zone"
                + (", services as above" if placed.services else ""),
                saves_usd=Saving(
                    low=_cents(usd(placed.low_bytes - placed.near_bytes)),
                    expected=_cents(usd(placed.moved_bytes)),
                    high=_cents(usd(placed.high_bytes - placed.near_bytes)),
                ),
                certainty=f"{certainty}{gap}; the range is over the placements that the patches leave open",
                command=f"sh {where}/workloads.sh",
            )
        )
    if placed.refused or not found:
        why = placed.refused or "nothing better was found than what is"
        found.append(Proposal(title="pods placed by zone", saves_usd=Saving(), certainty=certainty, refused=why))
    return found
