"""Own rules of FOCUS 1.2: each with its source; what breaks one is named by row and column. Pure.

Source of all: FinOps Open Cost and Usage Specification 1.2, focus.finops.org; the section stands beside
each rule.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from cost.focus.rows import COLUMNS, Row
from cost.focus.services import CATEGORIES

_TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
_NOT_NULL = (
    "BilledCost BillingAccountId BillingCurrency BillingPeriodEnd BillingPeriodStart ChargeCategory ChargePeriodEnd "
    "ChargePeriodStart ContractedCost EffectiveCost InvoiceIssuerName ListCost ProviderName PublisherName "
    "ServiceCategory ServiceName"
).split()
_NUMBERS = (
    "BilledCost ContractedCost ContractedUnitPrice EffectiveCost ListCost ListUnitPrice ConsumedQuantity PricingQuantity "
    "CommitmentDiscountQuantity"
).split()
_TIMES = ("BillingPeriodStart", "BillingPeriodEnd", "ChargePeriodStart", "ChargePeriodEnd")
_LISTS = {
    "ChargeCategory": {"Usage", "Purchase", "Tax", "Credit", "Adjustment"},
    "ChargeClass": {"", "Correction"},
    "ChargeFrequency": {"One-Time", "Recurring", "Usage-Based"},
    "PricingCategory": {"", "Standard", "Dynamic", "Committed", "Other"},
    "CommitmentDiscountStatus": {"", "Used", "Unused"},
    "CapacityReservationStatus": {"", "Used", "Unused"},
    "ServiceCategory": CATEGORIES,
}


@dataclass(frozen=True, slots=True)
class Broken:
    """One row that breaks one rule.

    Attributes:
        rule: The rule's id.
        row: The row's number, from 1; 0 for the whole file.
        said: What is wrong.
    """

    rule: str
    row: int
    said: str


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        id: Its id.
        section: Where the specification says so.
        check: Yields what is wrong with a row.
    """

    id: str
    section: str
    check: Callable[[Row], Iterator[str]]


def _not_null(row: Row) -> Iterator[str]:
    yield from (f"{name} is null" for name in _NOT_NULL if not row.get(name))


def _numbers(row: Row) -> Iterator[str]:
    yield from (
        f"{name} '{row[name]}' is no number" for name in _NUMBERS if row.get(name) and _number(row[name]) is None
    )


def _number(text: str) -> Decimal | None:
    try:
        found = Decimal(text)
    except InvalidOperation:
        return None
    return found if found.is_finite() else None


def _times(row: Row) -> Iterator[str]:
    yield from (
        f"{name} '{row[name]}' is no UTC time" for name in _TIMES if row.get(name) and not _TIME.match(row[name])
    )


def _lists(row: Row) -> Iterator[str]:
    yield from (
        f"{name} '{row.get(name)}' is not allowed" for name, known in _LISTS.items() if row.get(name) not in known
    )


def _currency(row: Row) -> Iterator[str]:
    yield from (
        f"{name} '{row.get(name)}' is no currency's code"
        for name in ("BillingCurrency", "PricingCurrency")
        if not re.fullmatch(r"[A-Z]{3}", row.get(name) or "")
    )


def _periods(row: Row) -> Iterator[str]:
    for name in ("BillingPeriod", "ChargePeriod"):
        start, end = row.get(f"{name}Start") or "", row.get(f"{name}End") or ""
        if not start < end:  # of one form, so that texts order as times do
            yield f"{name}End {end} is not after its start {start}"


def _quantities(row: Row) -> Iterator[str]:
    for quantity, unit in (("ConsumedQuantity", "ConsumedUnit"), ("PricingQuantity", "PricingUnit")):
        if bool(row.get(quantity)) is not bool(row.get(unit)):
            yield f"{quantity} and {unit} are not both given or both null"
    if row.get("ChargeCategory") in {"Tax", "Credit"} and row.get("ConsumedQuantity"):
        yield f"ConsumedQuantity of a {row['ChargeCategory']}"


def _tags(row: Row) -> Iterator[str]:
    try:
        found = json.loads(row.get("Tags") or "{}")
    except ValueError:
        yield "Tags is no JSON"
        return
    if not isinstance(found, dict) or not all(isinstance(value, (str, bool, int, float)) for value in found.values()):
        yield "Tags is no object of plain values"


def _tax(row: Row) -> Iterator[str]:
    if row.get("ChargeCategory") == "Tax" and (row.get("SkuId") or row.get("SkuMeter")):
        yield "a tax with a SKU"


RULES: tuple[Rule, ...] = (
    Rule("not-null", "column requirements, Nullability", _not_null),
    Rule("numeric", "attribute NumericFormat", _numbers),
    Rule("date-time", "attribute DateTimeFormat", _times),
    Rule("allowed-values", "columns' Allowed Values", _lists),
    Rule("currency", "attribute CurrencyFormat (ISO 4217)", _currency),
    Rule("period", "BillingPeriodEnd and ChargePeriodEnd are exclusive", _periods),
    Rule("quantity-and-unit", "ConsumedUnit, PricingUnit", _quantities),
    Rule("tags", "attribute KeyValueFormat", _tags),
    Rule("tax", "SkuId, SkuMeter: null for taxes", _tax),
)


def check(rows: Sequence[Row]) -> tuple[Broken, ...]:
    """Hold rows against every rule; an empty answer is a pass."""
    return (*_columns(rows), *_each(rows))


def _columns(rows: Iterable[Row]) -> Iterator[Broken]:
    for number, row in enumerate(rows, start=1):
        missing = [name for name in COLUMNS if name not in row]
        strange = [name for name in row if name not in COLUMNS and not name.startswith("x_")]
        if missing:
            yield Broken("columns", number, f"without {', '.join(missing)}")
        if strange:
            yield Broken("columns", number, f"{', '.join(strange)}: own columns begin with x_")


def _each(rows: Iterable[Row]) -> Iterator[Broken]:
    for number, row in enumerate(rows, start=1):
        for rule in RULES:
            yield from (Broken(rule.id, number, said) for said in rule.check(row))
