"""Asks AWS for its prices of today and makes a new snapshot of them; what AWS does not tell stays as it was, with its date."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from cost.prices import offers
from cost.prices.model import Book, Price, SavingsRate, SpotPrice

# The Price List answers in few regions, and for all. Source: AWS, "Price List Query API endpoints".
_PRICE_LIST_REGION = "us-east-1"
_RETRIES = Config(retries={"mode": "standard", "max_attempts": 3})


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for.

    Attributes:
        regions: Where.
        types: Instance types whose spot prices and Savings Plans are asked for.
        window_days: How far back spot prices are looked at.
        now: The end of that window.
    """

    regions: tuple[str, ...]
    types: tuple[str, ...]
    window_days: int
    now: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass(slots=True)
class Answers:
    """What AWS told.

    Attributes:
        prices: Per unit.
        spot: By zone.
        savings: Rates.
        refused: What it did not tell, and why.
    """

    prices: list[Price] = field(default_factory=list)
    spot: list[SpotPrice] = field(default_factory=list)
    savings: list[SavingsRate] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    @property
    def nothing(self) -> bool:
        """Whether AWS told nothing at all."""
        return not (self.prices or self.spot or self.savings)


def ask(wish: Wish) -> Answers:
    """Ask AWS region by region; a part that is refused is noted, and the others go on."""
    answers = Answers()
    for region in wish.regions:
        _ask_region(answers, region, wish)
    return answers


def _ask_region(answers: Answers, region: str, wish: Wish) -> None:
    _try(answers, f"Price List of {region}", lambda: answers.prices.extend(_prices(region, wish)))
    _try(answers, f"spot history of {region}", lambda: answers.spot.extend(_spot(region, wish)))
    _try(answers, f"Savings Plans of {region}", lambda: answers.savings.extend(_savings(region, wish)))


def _try(answers: Answers, what: str, part: Callable[[], None]) -> None:
    try:
        part()
    except (BotoCoreError, ClientError, KeyError, ValueError, ArithmeticError) as error:
        answers.refused.append(f"{what}: {type(error).__name__}: {str(error).splitlines()[0]}")


def _prices(region: str, wish: Wish) -> list[Price]:
    client = boto3.client("pricing", region_name=_PRICE_LIST_REGION, config=_RETRIES)
    read = wish.now.date()
    found: list[Price] = []
    for kind in wish.types:
        products = _products(client, "AmazonEC2", region, instanceType=kind, operatingSystem="Linux", tenancy="Shared")
        found.extend(offers.instance_prices(products, read=read))
    products = _products(client, "AmazonRDS", region, productFamily="Database Instance", databaseEngine="PostgreSQL")
    found.extend(offers.database_prices(products, read=read))
    for service, family in dict.fromkeys((item.service_code, item.family) for item in offers.WANTED):
        wanted = [item for item in offers.WANTED if (item.service_code, item.family) == (service, family)]
        products = _products(client, service, region, productFamily=family)
        found.extend(offers.unit_prices(products, wanted, read=read))
    return list({(item.meter, item.region): item for item in found}.values())


def _products(client: Any, service: str, region: str, **terms: str) -> Iterator[dict[str, Any]]:
    fields = {"regionCode": region, **terms}
    filters = [{"Type": "TERM_MATCH", "Field": name, "Value": value} for name, value in fields.items()]
    for page in client.get_paginator("get_products").paginate(ServiceCode=service, Filters=filters):
        for text in page["PriceList"]:
            yield json.loads(text)


def _spot(region: str, wish: Wish) -> list[SpotPrice]:
    client = boto3.client("ec2", region_name=region, config=_RETRIES)
    start = wish.now - timedelta(days=wish.window_days)
    pages = client.get_paginator("describe_spot_price_history").paginate(
        InstanceTypes=list(wish.types), ProductDescriptions=["Linux/UNIX"], StartTime=start, EndTime=wish.now
    )
    points = [point for page in pages for point in page["SpotPriceHistory"]]
    return list(offers.spot_prices(points, region, start=start, end=wish.now))


def _savings(region: str, wish: Wish) -> list[SavingsRate]:
    client = boto3.client("savingsplans", region_name=_PRICE_LIST_REGION, config=_RETRIES)
    request: dict[str, Any] = {
        "products": ["EC2"],
        "filters": [
            {"name": "region", "values": [region]},
            {"name": "instanceType", "values": list(wish.types)},
            {"name": "tenancy", "values": ["shared"]},
            {"name": "productDescription", "values": ["Linux/UNIX"]},
        ],
    }
    found: list[SavingsRate] = []
    while True:
        page = client.describe_savings_plans_offering_rates(**request)
        found.extend(offers.savings_rates(page.get("searchResults") or (), read=wish.now.date()))
        if not page.get("nextToken"):
            return found
        request["nextToken"] = page["nextToken"]


def merged(book: Book, answers: Answers) -> tuple[list[Price], list[SpotPrice], list[SavingsRate]]:
    """Return the rows of a new snapshot: what AWS told today, and what it did not tell as the old one has it."""
    prices = {**book.prices, **{(item.meter, item.region): item for item in answers.prices}}
    told = {(item.instance_type, item.region) for item in answers.spot}
    kept = [item for place, items in book.spot.items() if place not in told for item in items]
    rates = _by_offer([*book.savings, *answers.savings])
    return list(prices.values()), [*kept, *answers.spot], rates


def _by_offer(rates: Iterable[SavingsRate]) -> list[SavingsRate]:
    newest = {(item.instance_type, item.region, item.plan, item.years, item.payment): item for item in rates}
    return list(newest.values())


def types_of(book: Book, asked: Sequence[str]) -> tuple[str, ...]:
    """Return the instance types to ask for: those named, else all that a book knows."""
    if asked:
        return tuple(dict.fromkeys(asked))
    on_demand = (meter.item.removeprefix("on-demand ") for meter, _ in book.prices if meter.service == "ec2")
    return tuple(sorted({item for item in on_demand if "." in item and " " not in item}))
