"""Prices as values: each with its source and its date; what a book does not have is unknown. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

STALE_DAYS = 180
"""After so many days a price is called stale: AWS changed S3 or EC2 prices about once in half a year in 2023-2026."""


@dataclass(frozen=True, slots=True, order=True)
class Meter:
    """What is counted and paid for.

    Attributes:
        service: `ec2`, `s3`, `rds`.
        item: What of it: `on-demand m7i.large`, `nat gateway`.
    """

    service: str
    item: str

    def __str__(self) -> str:
        return f"{self.service}: {self.item}"


@dataclass(frozen=True, slots=True)
class Price:
    """What one unit costs.

    Attributes:
        meter: Of what.
        region: Where; AWS's name of the region.
        unit: Of what one is paid for: `hour`, `GB-month`, `1M requests`.
        usd: For one unit.
        source: Where the number was read.
        dated: When it was true there; the first of the month where the source names a month alone.
    """

    meter: Meter
    region: str
    unit: str
    usd: Decimal
    source: str
    dated: date

    def __post_init__(self) -> None:
        if not self.usd.is_finite() or self.usd < 0:
            raise ValueError(f"{self.meter} in {self.region}: {self.usd} is no price")
        if not self.source.strip():
            raise ValueError(f"{self.meter} in {self.region}: a price without its source")

    @property
    def origin(self) -> str:
        """Its source and day, in words."""
        return f"{self.source}, {self.dated}"


@dataclass(frozen=True, slots=True)
class SpotPrice:
    """What an hour of spot was seen to cost: a range, and its quantiles where enough was seen.

    Attributes:
        instance_type: Of what.
        region: Where.
        zone: In which zone; None for what was seen in any of the region's.
        low: The 10th percentile, or the lowest seen where `samples` is None. USD an hour.
        middle: The time-weighted mean; None where only the range is known.
        high: The 90th percentile, or the highest seen.
        samples: How many price changes it was made from.
        source: Where it was read.
        dated: The last day it speaks of.
    """

    instance_type: str
    region: str
    zone: str | None
    low: Decimal
    middle: Decimal | None
    high: Decimal
    samples: int | None
    source: str
    dated: date

    def __post_init__(self) -> None:
        # The mean may lie outside the 10th to 90th percentile, where rare prices are extreme.
        if not self.source.strip() or not 0 < self.low <= self.high or (self.middle is not None and self.middle <= 0):
            raise ValueError(f"spot {self.instance_type} in {self.region}: no range with a source")


@dataclass(frozen=True, slots=True)
class SavingsRate:
    """What an hour costs under a Savings Plan.

    Attributes:
        instance_type: Of what.
        region: Where.
        plan: `Compute`, `EC2Instance`.
        years: Of commitment.
        payment: `No Upfront`, `Partial Upfront`, `All Upfront`.
        usd: An hour.
        source: Where it was read.
        dated: When.
    """

    instance_type: str
    region: str
    plan: str
    years: int
    payment: str
    usd: Decimal
    source: str
    dated: date


@dataclass(frozen=True, slots=True)
class Book:
    """A snapshot of prices, to be looked up.

    Attributes:
        name: The snapshot's name.
        made: The day it was made.
        prices: By meter and region.
        spot: By type and region; several where zones differ.
        savings: All rates of Savings Plans.
    """

    name: str
    made: date
    prices: Mapping[tuple[Meter, str], Price]
    spot: Mapping[tuple[str, str], tuple[SpotPrice, ...]] = field(default_factory=dict)
    savings: tuple[SavingsRate, ...] = ()

    @classmethod
    def of(
        cls,
        name: str,
        made: date,
        prices: Iterable[Price],
        spot: Iterable[SpotPrice] = (),
        savings: Iterable[SavingsRate] = (),
    ) -> Book:
        """Index rows.

        Raises:
            ValueError: One meter has two prices in one region.
        """
        by_meter: dict[tuple[Meter, str], Price] = {}
        for price in prices:
            key = (price.meter, price.region)
            if key in by_meter:
                raise ValueError(f"{price.meter} has two prices in {price.region}")
            by_meter[key] = price
        by_type: dict[tuple[str, str], tuple[SpotPrice, ...]] = {}
        for seen in spot:
            place = (seen.instance_type, seen.region)
            by_type[place] = (*by_type.get(place, ()), seen)
        return cls(name, made, by_meter, by_type, tuple(savings))

    def price(self, service: str, item: str, region: str | None) -> Price | None:
        """Return a price, or None: it is unknown, and not 0."""
        return None if region is None else self.prices.get((Meter(service, item), region))

    def on_demand(self, instance_type: str, region: str | None) -> Price | None:
        """Return an hour's price of an instance bought on demand, or None."""
        return self.price("ec2", f"on-demand {instance_type}", region)

    def spot_of(self, instance_type: str, region: str | None, zones: Iterable[str] = ()) -> tuple[SpotPrice, ...]:
        """Return what was seen of a type's spot price: of these zones, or of the whole region where none is named."""
        if region is None:
            return ()
        chosen = frozenset(zones)
        found = self.spot.get((instance_type, region), ())
        return tuple(item for item in found if item.zone is None or not chosen or item.zone in chosen)

    @property
    def regions(self) -> tuple[str, ...]:
        """Regions of which anything is known."""
        return tuple(sorted({region for _, region in self.prices}))


def stale(prices: Iterable[Price], today: date, *, days: int = STALE_DAYS) -> tuple[Price, ...]:
    """Return the prices that are older than so many days, oldest first."""
    old = (item for item in prices if (today - item.dated).days > days)
    return tuple(sorted(old, key=lambda item: (item.dated, item.meter, item.region)))


def provenance(prices: Iterable[Price]) -> tuple[str, ...]:
    """Return in words where prices are from, the oldest first, and how many from each."""
    found = Counter((item.dated, item.origin) for item in prices)
    return tuple(f"{origin} ({count})" for (_, origin), count in sorted(found.items()))
