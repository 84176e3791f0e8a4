"""Charges as rows of FOCUS 1.2, and the same as 1.4. Pure.

Source: FinOps Open Cost and Usage Specification 1.2 (2025-05) and its later versions, focus.finops.org.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal

from cost.focus.services import SERVICES
from cost.focus.showback import Allotted

Row = dict[str, str]
METHOD = "drivetrain-accelerator-activity"
COLUMNS = (
    "AvailabilityZone BilledCost BillingAccountId BillingAccountName BillingAccountType BillingCurrency BillingPeriodEnd "
    "BillingPeriodStart CapacityReservationId CapacityReservationStatus ChargeCategory ChargeClass ChargeDescription "
    "ChargeFrequency ChargePeriodEnd ChargePeriodStart CommitmentDiscountCategory CommitmentDiscountId "
    "CommitmentDiscountName CommitmentDiscountQuantity CommitmentDiscountStatus CommitmentDiscountType "
    "CommitmentDiscountUnit ConsumedQuantity ConsumedUnit ContractedCost ContractedUnitPrice EffectiveCost InvoiceId "
    "InvoiceIssuerName ListCost ListUnitPrice PricingCategory PricingCurrency PricingQuantity PricingUnit ProviderName "
    "PublisherName RegionId RegionName ResourceId ResourceName ResourceType ServiceCategory ServiceName "
    "ServiceSubcategory SkuId SkuMeter SkuPriceDetails SkuPriceId SubAccountId SubAccountName SubAccountType Tags"
).split()
OWN = ("x_ServiceCode", "x_UsageType", "x_Part", "x_Share")
_CATEGORIES = {"usage": "Usage", "tax": "Tax", "credit": "Credit", "other": "Adjustment"}
_PARTS = {
    "used": " (accelerators computing)",
    "idle": " (accelerators idle)",
    "unmeasured": " (accelerators unmeasured)",
}


def focus_row(item: Allotted) -> Row:
    """Return one row of FOCUS 1.2; an empty text is its null.

    What a bill's line does not tell stays null. List and contracted costs are not in it: what was billed stands for all
    four costs, which 1.2 asks of every row.
    """
    charge = item.charge
    name, category, subcategory = SERVICES.get(charge.service, (charge.service, "Other", "Other (Other)"))
    start, end = _month(charge.start)
    usd = _plain(charge.usd)
    usage = charge.kind == "usage"
    row = dict.fromkeys((*COLUMNS, *OWN), "")
    row |= {
        "BilledCost": usd,
        "EffectiveCost": usd,
        "ListCost": usd,
        "ContractedCost": usd,
        "BillingAccountId": charge.payer,
        "BillingAccountType": "Management account",
        "BillingCurrency": "USD",
        "PricingCurrency": "USD",
        "BillingPeriodStart": start,
        "BillingPeriodEnd": end,
        "ChargePeriodStart": _time(charge.start),
        "ChargePeriodEnd": _time(charge.end),
        "ChargeCategory": _CATEGORIES[charge.kind],
        "ChargeFrequency": "Usage-Based" if usage else "One-Time",
        "ChargeDescription": f"{charge.usage_type}{_PARTS.get(item.part, '')}",
        "InvoiceIssuerName": "AWS",
        "ProviderName": "AWS",
        "PublisherName": "AWS",
        "RegionId": charge.region,
        "RegionName": charge.region,
        "ResourceId": charge.resource,
        "ServiceName": name,
        "ServiceCategory": category,
        "ServiceSubcategory": subcategory,
        "SubAccountId": charge.account,
        "SubAccountType": "Account",
        "Tags": json.dumps({f"drivetrain:{key}": value for key, value in sorted(charge.tags.items())}),
        "x_ServiceCode": charge.service,
        "x_UsageType": charge.usage_type,
        "x_Part": item.part,
        "x_Share": _plain(item.share),
    }
    if usage:
        unit = charge.unit or "Units"
        row |= {
            "ConsumedQuantity": _plain(charge.quantity),
            "ConsumedUnit": unit,
            "PricingQuantity": _plain(charge.quantity),
        }
        row |= {"PricingUnit": unit, "SkuMeter": charge.usage_type}
        row["PricingCategory"] = "Dynamic" if "SpotUsage" in charge.usage_type else "Standard"
    return row


def focus_rows(parts: Iterable[Allotted]) -> list[Row]:
    """Return rows of FOCUS 1.2."""
    return [focus_row(item) for item in parts]


def as_1_4(row: Row) -> Row:
    """Map a row of 1.2 to 1.4.

    1.3 put ServiceProviderName and HostProviderName in the place of ProviderName and PublisherName, and gave split
    charges columns of their own; those of split accelerator time come from this project's `x_` columns.
    """
    kept = {
        name: value for name, value in row.items() if name not in {"ProviderName", "PublisherName", "x_Part", "x_Share"}
    }
    split = row["x_Part"] in {"used", "idle"}
    details = {"Elements": [{"AllocatedRatio": float(row["x_Share"]), "UsageUnit": "Hours", "x_Part": row["x_Part"]}]}
    return {
        **kept,
        "ServiceProviderName": row["ProviderName"],
        "HostProviderName": row["PublisherName"],
        "AllocatedMethodId": METHOD if split else "",
        "AllocatedMethodDetails": json.dumps(details) if split else "",
        "AllocatedResourceId": row["ResourceId"] if split else "",
        "AllocatedResourceName": "",
        "AllocatedTags": row["Tags"] if split else "",
        "ContractApplied": "",
    }


def _month(moment: datetime) -> tuple[str, str]:
    first = moment.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    after = first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)
    return _time(first), _time(after)


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _plain(value: Decimal) -> str:
    return f"{value:f}"
