"""What AWS's price APIs answer, as prices: the Price List's products, spot's history, rates of Savings Plans. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from cost.prices.model import Meter, Price, SavingsRate, SpotPrice

Json = Mapping[str, Any]
PRICE_LIST = "AWS Price List API, GetProducts"
SPOT_HISTORY = "EC2 DescribeSpotPriceHistory"
SAVINGS = "Savings Plans DescribeSavingsPlansOfferingRates"
_YEAR_S = 31_536_000
# `USE2-`, `USW2-`, `EUC1-`, and `EU-` for Ireland: the region before a usage type; us-east-1 has none.
_PLACE = re.compile(r"^(?:[A-Z]{2,4}\d+|EU)-(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class Wanted:
    """One usage type of the Price List and the meter that it is here.

    Attributes:
        service_code: The Price List's service.
        family: Its product family, by which AWS is asked.
        usage: The usage type without its region.
        meter: What it is called here.
        unit: What the price is for here.
    """

    service_code: str
    family: str
    usage: str
    meter: Meter
    unit: str


def _wanted(service_code: str, family: str, *rows: tuple[str, str, str, str]) -> tuple[Wanted, ...]:
    return tuple(Wanted(service_code, family, usage, Meter(service, item), unit) for usage, service, item, unit in rows)


# Source: usage types of AWS Cost and Usage Reports and Price Lists.
WANTED: tuple[Wanted, ...] = (
    *_wanted(
        "AmazonEC2",
        "NAT Gateway",
        ("NatGateway-Hours", "vpc", "nat gateway", "hour"),
        ("NatGateway-Bytes", "vpc", "nat gateway data processed", "GB"),
    ),
    *_wanted(
        "AmazonEC2",
        "Storage",
        ("EBS:VolumeUsage.gp3", "ebs", "gp3", "GB-month"),
        ("EBS:VolumeUsage.gp2", "ebs", "gp2", "GB-month"),
        ("EBS:VolumeUsage.st1", "ebs", "st1", "GB-month"),
        ("EBS:VolumeUsage.sc1", "ebs", "sc1", "GB-month"),
    ),
    *_wanted("AmazonVPC", "VpcEndpoint", ("VpcEndpoint-Hours", "vpc", "interface endpoint per zone", "hour")),
    *_wanted("AmazonVPC", "VPCPublicIPv4Address", ("PublicIPv4:InUseAddress", "vpc", "public IPv4 address", "hour")),
    *_wanted(
        "AmazonEKS",
        "Compute",
        ("AmazonEKS-Hours:perCluster", "eks", "cluster standard support", "hour"),
        ("AmazonEKS-Hours:extendedSupport", "eks", "cluster extended support", "hour"),
    ),
    *_wanted("AmazonECR", "EC2 Container Registry", ("TimedStorage-ByteHrs", "ecr", "storage", "GB-month")),
    *_wanted("awskms", "Encryption Key", ("KMS-Keys", "kms", "customer key", "month")),
    *_wanted("AWSSecretsManager", "Secret", ("AWSSecretsManager-Secrets", "secretsmanager", "secret", "month")),
    *_wanted(
        "AmazonRDS",
        "Database Storage",
        ("RDS:GP3-Storage", "rds", "storage gp3 single-az", "GB-month"),
        ("RDS:Multi-AZ-GP3-Storage", "rds", "storage gp3 multi-az", "GB-month"),
    ),
)


def usage_of(text: str) -> str:
    """Return a usage type without the region before it."""
    return _PLACE.sub("", text)


def instance_prices(products: Iterable[Json], *, read: date) -> Iterator[Price]:
    """Yield hours of instances on demand: Linux, shared hardware, nothing installed, not in a reservation."""
    for product in products:
        attributes = product["product"]["attributes"]
        plain = (
            attributes.get("operatingSystem") == "Linux"
            and attributes.get("tenancy") == "Shared"
            and attributes.get("preInstalledSw") == "NA"
            and attributes.get("capacitystatus") == "Used"
        )
        if plain and (usd := _only_price(product, "Hrs")) is not None:
            meter = Meter("ec2", f"on-demand {attributes['instanceType']}")
            yield Price(meter, attributes["regionCode"], "hour", usd, PRICE_LIST, read)


def database_prices(products: Iterable[Json], *, read: date) -> Iterator[Price]:
    """Yield hours of PostgreSQL databases, with a standby in another zone and without."""
    spread = {"Single-AZ": "single-az", "Multi-AZ": "multi-az"}
    for product in products:
        attributes = product["product"]["attributes"]
        place = spread.get(str(attributes.get("deploymentOption")))
        if attributes.get("databaseEngine") != "PostgreSQL" or place is None:
            continue
        if (usd := _only_price(product, "Hrs")) is not None:
            meter = Meter("rds", f"postgresql {attributes['instanceType']} {place}")
            yield Price(meter, attributes["regionCode"], "hour", usd, PRICE_LIST, read)


def unit_prices(products: Iterable[Json], wanted: Sequence[Wanted], *, read: date) -> Iterator[Price]:
    """Yield the prices of usage types; one that has steps has no single price and is left out."""
    known = {item.usage: item for item in wanted}
    for product in products:
        attributes = product["product"]["attributes"]
        item = known.get(usage_of(str(attributes.get("usagetype"))))
        if item is not None and (usd := _only_price(product)) is not None:
            yield Price(item.meter, attributes["regionCode"], item.unit, usd, PRICE_LIST, read)


def _only_price(product: Json, unit: str | None = None) -> Decimal | None:
    """Return the one price on demand; None where there are steps, another currency, or a unit nobody asked for."""
    terms = (product.get("terms") or {}).get("OnDemand") or {}
    steps = [step for term in terms.values() for step in (term.get("priceDimensions") or {}).values()]
    if len(steps) != 1 or (unit is not None and steps[0].get("unit") != unit):
        return None
    usd = (steps[0].get("pricePerUnit") or {}).get("USD")
    # Products that were withdrawn stay in the list at 0: that is no price.
    return Decimal(usd) if usd is not None and Decimal(usd) > 0 else None


def spot_prices(points: Iterable[Json], region: str, *, start: datetime, end: datetime) -> Iterator[SpotPrice]:
    """Yield one row a type and zone: 10th percentile, mean and 90th percentile of the price, weighted by time.

    Args:
        points: Changes of price as `DescribeSpotPriceHistory` gives them, in any order.
        region: Of all of them.
        start: From when on; the change before it holds at it.
        end: Until when.
    """
    series: dict[tuple[str, str], dict[datetime, Decimal]] = {}
    for point in points:
        usd = Decimal(point["SpotPrice"])
        if usd > 0:
            place = (point["InstanceType"], point["AvailabilityZone"])
            series.setdefault(place, {})[point["Timestamp"]] = usd
    for (kind, zone), changes in sorted(series.items()):
        held = held_for(sorted(changes.items()), start=start, end=end)
        if held:
            low, middle, high = weighted(held)
            source = f"{SPOT_HISTORY}, {start.date()} to {end.date()}"
            yield SpotPrice(kind, region, zone, low, middle, high, len(changes), source, end.date())


def held_for(
    changes: Sequence[tuple[datetime, Decimal]], *, start: datetime, end: datetime
) -> list[tuple[Decimal, Decimal]]:
    """Return each price and for how many seconds of the window it held."""
    found = []
    for place, (since, usd) in enumerate(changes):
        until = changes[place + 1][0] if place + 1 < len(changes) else end
        seconds = (min(until, end) - max(since, start)).total_seconds()
        if seconds > 0:
            found.append((usd, Decimal(str(seconds))))
    return found


def weighted(held: Sequence[tuple[Decimal, Decimal]]) -> tuple[Decimal, Decimal, Decimal]:
    """Return 10th percentile, mean and 90th percentile of prices by how long each held."""
    whole = sum((seconds for _, seconds in held), Decimal(0))
    mean = sum((usd * seconds for usd, seconds in held), Decimal(0)) / whole
    marks = []
    for share in (Decimal("0.1"), Decimal("0.9")):
        so_far = Decimal(0)
        for usd, seconds in sorted(held):
            so_far += seconds
            if so_far >= share * whole:
                marks.append(usd)
                break
    return marks[0], mean.quantize(Decimal("0.000001")), marks[1]


def savings_rates(results: Iterable[Json], *, read: date) -> Iterator[SavingsRate]:
    """Yield hours of Linux on shared hardware under Savings Plans of one and three years."""
    for result in results:
        properties = {item["name"]: item["value"] for item in result.get("properties") or ()}
        offering = result["savingsPlanOffering"]
        plain = properties.get("productDescription") == "Linux/UNIX" and properties.get("tenancy") == "shared"
        if not plain or result.get("unit") != "Hrs" or "instanceType" not in properties:
            continue
        yield SavingsRate(
            instance_type=properties["instanceType"],
            region=properties["region"],
            plan=offering["planType"],
            years=int(offering["durationSeconds"]) // _YEAR_S,
            payment=offering["paymentOption"],
            usd=Decimal(result["rate"]),
            source=SAVINGS,
            dated=read,
        )
