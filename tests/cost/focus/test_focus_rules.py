"""Each rule of FOCUS 1.2 with a row that keeps to it and one that does not."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from cost.bill.model import Charge
from cost.focus.rows import focus_row
from cost.focus.rules import RULES, check
from cost.focus.services import CATEGORIES, SERVICES
from cost.focus.showback import Allotted

CHARGE = Charge(
    start=datetime(2026, 12, 31, 23, tzinfo=UTC),
    end=datetime(2027, 1, 1, tzinfo=UTC),
    account="1",
    region="us-east-1",
    service="AmazonEC2",
    usage_type="BoxUsage:m7i.large",
    quantity=Decimal(1),
    unit="Hrs",
    usd=Decimal("0.1"),
    kind="usage",
    resource="i-1",
    tags={"team": "data"},
    payer="9",
)
FAULTS = {
    "not-null": {"ServiceName": ""},
    "numeric": {"BilledCost": "$1"},
    "date-time": {"ChargePeriodStart": "2026-12-31 23:00"},
    "allowed-values": {"ChargeCategory": "Use"},
    "currency": {"BillingCurrency": "dollars"},
    "period": {"ChargePeriodEnd": "2026-12-31T23:00:00Z"},
    "quantity-and-unit": {"ConsumedUnit": ""},
    "tags": {"Tags": '{"a": {"b": 1}}'},
    "tax": {"ChargeCategory": "Tax", "ConsumedQuantity": "", "ConsumedUnit": ""},
}


def test_a_row_of_ours_keeps_to_every_rule() -> None:
    row = focus_row(Allotted(CHARGE, "whole"))
    assert check([row]) == ()
    assert row["BillingPeriodEnd"] == "2027-01-01T00:00:00Z"


@pytest.mark.parametrize("rule", [rule.id for rule in RULES])
def test_a_planted_fault_is_named_by_its_rule_and_row(rule: str) -> None:
    good = focus_row(Allotted(CHARGE, "whole"))
    broken = check([good, {**good, **FAULTS[rule]}])
    assert (rule, 2) in {(item.rule, item.row) for item in broken}
    assert {item.row for item in broken} == {2}


def test_a_column_too_few_or_too_many_is_named() -> None:
    good = focus_row(Allotted(CHARGE, "whole"))
    assert [item.rule for item in check([{**good, "Extra": ""}])] == ["columns"]
    less = {name: value for name, value in good.items() if name != "Tags"}
    assert "columns" in {item.rule for item in check([less])}


def test_services_are_of_known_categories() -> None:
    assert {category for _, category, _ in SERVICES.values()} <= CATEGORIES
