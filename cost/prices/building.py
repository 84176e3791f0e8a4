"""Builds the snapshot that a release carries: `python -m cost.prices.building --data FOLDER --made DAY`.

The folder holds `aws_ec2_on_demand.csv` and `aws_unit_prices.csv`; what stands in no table is in `stated.yaml`.
"""

from __future__ import annotations

import argparse
import csv
import re
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

from cost.prices.model import Meter, Price, SpotPrice
from cost.prices.snapshot import SNAPSHOTS, add_snapshot, to_bytes

STATED = Path(__file__).with_name("stated.yaml")
EC2_DATED = date(2026, 7, 20)
EC2_SOURCE = "Karpenter's table of EC2 on-demand prices, aws/karpenter-provider-aws @1d92708"
_MONTH = re.compile(r"\b(20\d\d)-(\d\d)\b")


def build(data: Path, made: date, stated: Path = STATED) -> bytes:
    """Return the snapshot made of the tables of a folder and of what is stated beside this module.

    Raises:
        ValueError: A row without a source that names its month, or a meter with two prices.
    """
    document = yaml.safe_load(stated.read_bytes())
    prices = [
        *_on_demand(data / "aws_ec2_on_demand.csv"),
        *_units(data / "aws_unit_prices.csv"),
        *_stated(document, made),
    ]
    return to_bytes(made, prices, _spot(document))


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(newline="") as stream:
        yield from csv.DictReader(stream)


def _on_demand(path: Path) -> Iterator[Price]:
    for row in _rows(path):
        meter = Meter("ec2", f"on-demand {row['instance_type']}")
        yield Price(meter, row["region"], "hour", Decimal(row["usd_per_hour"]), EC2_SOURCE, EC2_DATED)


def _units(path: Path) -> Iterator[Price]:
    for row in _rows(path):
        month = _MONTH.search(row["source"])
        if month is None:
            raise ValueError(f"{row['service']} {row['item']}: the source names no month")
        dated = date(int(month[1]), int(month[2]), 1)
        meter = Meter(row["service"], row["item"])
        yield Price(meter, row["region"], row["unit"], Decimal(row["usd"]), row["source"], dated)


def _stated(document: dict[str, Any], made: date) -> Iterator[Price]:
    for group in document["prices"]:
        if made < group.get("since", made):
            continue
        for item, unit, usd in group["rows"]:
            meter = Meter(group["service"], item)
            yield Price(meter, document["region"], unit, Decimal(usd), group["source"], group["dated"])


def _spot(document: dict[str, Any]) -> Iterator[SpotPrice]:
    for group in document["spot"]:
        for kind, low, high in group["rows"]:
            yield SpotPrice(
                kind,
                document["region"],
                None,
                Decimal(low),
                None,
                Decimal(high),
                None,
                group["source"],
                group["dated"],
            )


def main() -> None:
    """Write the snapshot of a day into this package."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="where the tables of prices lie")
    parser.add_argument("--made", type=date.fromisoformat, required=True, help="the day, as 2026-11-20")
    given = parser.parse_args()
    add_snapshot(SNAPSHOTS, build(given.data, given.made), given.made)


if __name__ == "__main__":
    main()
