"""The FinOps Foundation's own validator on what showback writes: the columns of FOCUS 1.0, in an environment of its own."""

from __future__ import annotations

import csv
import re
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from cost.bill.model import Charge
from cost.focus.activity import ActivityFile, PoolActivity
from cost.focus.rows import Row, focus_rows
from cost.focus.showback import allot

pytestmark = pytest.mark.slow

_ENVIRONMENT = Path(__file__).resolve().parents[3] / ".venv-focus"
_RULES = "lib/python3.11/site-packages/focus_validator/rules/version_sets/1.0"
# Its rules of 1.0 call these columns as drafts of 1.0 did.
_DRAFT_NAMES = {
    "InvoiceIssuerName": "InvoiceIssuer",
    "ProviderName": "Provider",
    "PublisherName": "Publisher",
    "ResourceId": "ResourceID",
}
# What fails for every file, and why.
_ITS_OWN = {
    "SkuPriceId_Nullable",  # asks for the column ChargeType, which 1.0 replaced by ChargeCategory
    "BillingAccountId_IsString",  # pandas reads the digits of an AWS account as a number
    "SubAccountId_IsString",
}


def _charge(usage: str, usd: str, kind: str = "usage", **tags: str) -> Charge:
    return Charge(
        start=datetime(2026, 10, 1, tzinfo=UTC),
        end=datetime(2026, 11, 1, tzinfo=UTC),
        account="123456789012",
        region="us-east-1",
        service="AmazonEC2",
        usage_type=usage,
        quantity=Decimal(100),
        unit="Hrs",
        usd=Decimal(usd),
        kind=kind,
        resource="i-1",
        tags=tags,
        payer="210987654321",
    )


def _rows() -> list[Row]:
    charges = [
        _charge("BoxUsage:m7i.large", "160.60", team="platform", pool="system"),
        _charge("SpotUsage:p5en.48xlarge", "1700", team="planning", pool="train"),
        _charge("BoxUsage:p5.48xlarge", "900", team="planning", pool="nobody-measures"),
        _charge("", "12.5", kind="tax"),
    ]
    pools = (PoolActivity(pool="train", busy_share=Decimal("0.6")),)
    return focus_rows(allot(charges, ActivityFile(format="drivetrain-activity/1", pools=pools)))


def _failed(rows: Sequence[Row], folder: Path) -> set[str]:
    """Return the names of the rules that the validator says are broken, beside its own."""
    assert (_ENVIRONMENT / ".installed").exists(), "run `make tools`: focus-validator is not installed"
    columns = {path.name.split("_")[0] for path in (_ENVIRONMENT / _RULES).glob("*.yaml")}
    named = [{_DRAFT_NAMES.get(name, name): value for name, value in row.items()} for row in rows]
    path = folder / "focus.csv"
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, [name for name in named[0] if name in columns], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(named)
    done = subprocess.run(
        [_ENVIRONMENT / "bin" / "focus-validator", "--data-file", path, "--validate-version", "1.0"],
        capture_output=True,
        text=True,
        check=False,
        cwd=_ENVIRONMENT / "lib/python3.11/site-packages",  # where it looks for its list of currencies
    )
    failed = set(re.findall(r"^(\w+) failed:", done.stdout, re.MULTILINE))
    assert failed >= _ITS_OWN, done.stdout + done.stderr
    return failed - _ITS_OWN


def test_showback_keeps_to_focus_1_0(tmp_path: Path) -> None:
    rows = _rows()
    assert {row["x_Part"] for row in rows} == {"whole", "used", "idle", "unmeasured"}
    assert _failed(rows, tmp_path) == set()


def test_planted_faults_are_seen_by_the_validator(tmp_path: Path) -> None:
    rows = _rows()
    faults = {
        "BilledCost_IsDecimal": {"BilledCost": "$1"},
        "BillingCurrency_IsCurrencyCode": {"BillingCurrency": "dollars"},
        "ChargePeriodStart_IsDateTime": {"ChargePeriodStart": "1 October"},
        "ChargeFrequency_Enum": {"ChargeFrequency": "Sometimes"},
        "ServiceName_NotNull": {"ServiceName": ""},
    }
    for fault in faults.values():
        rows[0] = {**rows[0], **fault}
    assert _failed(rows, tmp_path) >= set(faults)
