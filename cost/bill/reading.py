"""Reads an export of AWS's: CUR 2.0 or FOCUS 1.0 to 1.2, as CSV, gzipped CSV or Parquet."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from cost.bill.model import Charge
from platform_lib.errors import ConfigError, CorruptLog

Row = Mapping[str, Any]
_CUR = frozenset(
    {
        "line_item_unblended_cost",
        "line_item_usage_amount",
        "line_item_usage_type",
        "line_item_product_code",
        "line_item_usage_start_date",
        "line_item_usage_end_date",
        "line_item_usage_account_id",
        "line_item_line_item_type",
    }
)
_FOCUS = frozenset(
    {"BilledCost", "ChargePeriodStart", "ChargePeriodEnd", "ChargeCategory", "SubAccountId", "BillingCurrency", "Tags"}
)
_MEND = "export it again, in USD and as one file of one export; lines count from the one below the header"
_KINDS = {"usage": "usage", "tax": "tax", "credit": "credit", "refund": "credit"}


def read_bill(path: Path) -> list[Charge]:
    """Read all lines of an export; one that cannot be read is refused with its number, never left out.

    Raises:
        ConfigError: It is missing, or neither CUR 2.0 nor FOCUS.
        CorruptLog: A line cannot be read, is not in USD, or stands there twice by the identity that CUR gives it.
    """
    rows = _rows(path)
    first = next(rows, None)
    if first is None:
        raise ConfigError("the bill has no line", where=path, remedy="export a month that has ended")
    names = set(first)
    if names >= _CUR:
        parse = _of_cur
    elif names >= _FOCUS:
        parse = _of_focus
    else:
        lacking = _CUR - names, _FOCUS - names
        missing = sorted(lacking[0] if len(lacking[0]) <= len(lacking[1]) else lacking[1])
        raise ConfigError(
            f"is neither CUR 2.0 nor FOCUS: no column {', '.join(missing)}",
            where=path,
            remedy="export with AWS Data Exports: CUR 2.0 or FOCUS 1.2",
        )
    found, seen = [], dict[tuple[str, str], int]()
    for number, row in enumerate(_chained(first, rows), start=1):
        try:
            found.append(parse(row))
        except (KeyError, ValueError, TypeError, InvalidOperation) as error:
            raise CorruptLog(
                f"cannot be read: {error or type(error).__name__}", where=f"{path}, line {number}", remedy=_MEND
            ) from error
        if identity := str(row.get("identity_line_item_id") or ""):
            before = seen.setdefault((identity, str(row.get("identity_time_interval") or "")), number)
            if before != number:
                raise CorruptLog(
                    f"is line {before} once more: item {identity}", where=f"{path}, line {number}", remedy=_MEND
                )
    return found


def _chained(first: Row, rows: Iterator[Row]) -> Iterator[Row]:
    yield first
    yield from rows


def _rows(path: Path) -> Iterator[Row]:
    try:
        if path.suffix == ".parquet":
            yield from _parquet(path)
            return
        opened = gzip.open if path.suffix == ".gz" else open
        with opened(path, "rt", encoding="utf-8-sig", newline="") as stream:
            yield from csv.DictReader(stream)
    except (OSError, UnicodeDecodeError, csv.Error, EOFError) as error:
        raise ConfigError(f"the bill cannot be read: {error}", where=path, remedy="export it again") from error


def _parquet(path: Path) -> Iterator[Row]:
    from pyarrow import parquet  # of the extra `data`
    from pyarrow.lib import ArrowException

    try:
        for batch in parquet.ParquetFile(path).iter_batches():
            yield from batch.to_pylist()
    except ArrowException as error:
        raise ConfigError(f"the bill cannot be read: {error}", where=path, remedy="export it again") from error


def _of_cur(row: Row) -> Charge:
    if (currency := row.get("line_item_currency_code") or "USD") != "USD":
        raise ValueError(f"currency {currency}")
    kind = str(row["line_item_line_item_type"]).lower()
    return Charge(
        start=_time(row["line_item_usage_start_date"]),
        end=_time(row["line_item_usage_end_date"]),
        account=str(row["line_item_usage_account_id"]),
        region=str(row.get("product_region_code") or ""),
        service=str(row["line_item_product_code"]),
        usage_type=str(row["line_item_usage_type"]),
        quantity=_decimal(row["line_item_usage_amount"]),
        unit=str(row.get("pricing_unit") or ""),
        usd=_decimal(row["line_item_unblended_cost"]),
        kind="usage" if kind.endswith("usage") else _KINDS.get(kind, "other"),
        resource=str(row.get("line_item_resource_id") or ""),
        tags=_tags(row.get("resource_tags")),
        payer=str(row.get("bill_payer_account_id") or row["line_item_usage_account_id"]),
    )


def _of_focus(row: Row) -> Charge:
    if row["BillingCurrency"] != "USD":
        raise ValueError(f"currency {row['BillingCurrency']}")
    return Charge(
        start=_time(row["ChargePeriodStart"]),
        end=_time(row["ChargePeriodEnd"]),
        account=str(row["SubAccountId"] or ""),
        region=str(row.get("RegionId") or ""),
        service=str(row.get("x_ServiceCode") or row.get("ServiceName") or ""),
        usage_type=str(row.get("x_UsageType") or row.get("SkuMeter") or ""),
        quantity=_decimal(row.get("ConsumedQuantity") or 0),
        unit=str(row.get("ConsumedUnit") or ""),
        usd=_decimal(row["BilledCost"]),
        kind=_KINDS.get(str(row["ChargeCategory"]).lower(), "other"),
        resource=str(row.get("ResourceId") or ""),
        tags=_tags(row["Tags"]),
        payer=str(row.get("BillingAccountId") or row["SubAccountId"] or ""),
    )


def _time(value: object) -> datetime:
    found = value if isinstance(value, datetime) else datetime.fromisoformat(str(value).replace("Z", "+00:00"))
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def _decimal(value: object) -> Decimal:
    found = Decimal(str(value))
    if not found.is_finite():
        raise ValueError(f"{value} is no amount")
    return found


def _tags(value: Any) -> dict[str, str]:
    """Return the platform's tags: CUR writes `user_drivetrain_cost_center`, FOCUS `drivetrain:cost-center`."""
    pairs = json.loads(value) if isinstance(value, str) and value.strip() else value or {}
    items = dict(pairs).items()
    found = {}
    for key, text in items:
        name = str(key).removeprefix("user:").removeprefix("user_")
        for prefix in ("drivetrain:", "drivetrain_"):
            if name.startswith(prefix) and text:
                found[name.removeprefix(prefix).replace("_", "-")] = str(text)
    return found
