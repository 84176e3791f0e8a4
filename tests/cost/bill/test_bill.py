"""Exports of AWS's read, laid beside a plan, and shown back as FOCUS."""

from __future__ import annotations

import csv
import gzip
import json
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from plan_examples import plan, resource

from cost.bill.comparing import compare, months_of
from cost.bill.model import Charge
from cost.bill.reading import read_bill
from cost.plan.estimate import Estimate, estimate
from cost.plan.resources import Place, sides_of
from cost.plan.usage import NO_USAGE
from cost.prices.snapshot import load
from platform_lib.cli import run
from platform_lib.errors import ConfigError, CorruptLog

BOOK = load("2026-11-20")
# 730 hours: a month as prices count it.
START, END = "2026-10-01T00:00:00.000Z", "2026-10-31T10:00:00.000Z"


def cur(
    usage: str, amount: str, usd: str, *, service: str = "AmazonEC2", kind: str = "Usage", **tags: str
) -> dict[str, Any]:
    return {
        "bill_payer_account_id": "9",
        "line_item_usage_account_id": "1",
        "line_item_line_item_type": kind,
        "line_item_usage_start_date": START,
        "line_item_usage_end_date": END,
        "line_item_product_code": service,
        "line_item_usage_type": usage,
        "line_item_usage_amount": amount,
        "line_item_unblended_cost": usd,
        "line_item_currency_code": "USD",
        "line_item_resource_id": "i-1",
        "product_region_code": "us-east-1",
        "pricing_unit": "Hrs",
        "resource_tags": json.dumps({f"user_drivetrain_{name}": value for name, value in tags.items()}),
    }


ROWS = [
    cur("BoxUsage:m7i.large", "1460", "160.60", pool="system", team="platform", cost_center="platform"),
    cur("EBS:VolumeUsage.gp2", "40", "4.00"),
    cur("NatGateway-Hours", "730", "32.85", service="AmazonEC2"),
    cur("SpotUsage:p5en.48xlarge", "100", "1700", pool="train", team="planning"),
    cur("", "0", "12.5", kind="Tax", service="AmazonEC2"),
]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def planned() -> Estimate:
    scaling = [{"desired_size": 2, "max_size": 2}]
    document = plan(
        resource("aws_eks_node_group", instance_types=["m7i.large", "m7a.large"], scaling_config=scaling),
        resource("aws_eip"),
        resource("aws_kms_key"),
    )
    return estimate([sides_of(document, Place("one", "1", "us-east-1"))], (), NO_USAGE, BOOK, BOOK.made)


def test_cur_and_its_gzip_and_parquet_read_alike(tmp_path: Path) -> None:
    path = write(tmp_path / "bill.csv", ROWS)
    zipped = tmp_path / "bill.csv.gz"
    zipped.write_bytes(gzip.compress(path.read_bytes()))
    import pyarrow as pa
    from pyarrow import parquet

    tables = [{**row, "resource_tags": list(json.loads(row["resource_tags"]).items())} for row in ROWS]
    kind = pa.map_(pa.string(), pa.string())
    table = pa.Table.from_pylist(tables).set_column(
        list(ROWS[0]).index("resource_tags"), "resource_tags", pa.array([row["resource_tags"] for row in tables], kind)
    )
    parquet.write_table(table, tmp_path / "bill.parquet")
    found = read_bill(path)
    assert found == read_bill(zipped) == read_bill(tmp_path / "bill.parquet")
    assert found[0].tags == {"pool": "system", "team": "platform", "cost-center": "platform"}
    assert (found[0].usd, found[4].kind) == (Decimal("160.60"), "tax")
    assert months_of(found) == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"line_item_unblended_cost": "a lot"}, "line 2"),
        ({"line_item_unblended_cost": "NaN"}, "no amount"),
        ({"line_item_currency_code": "EUR"}, "currency EUR"),
        ({"line_item_usage_start_date": "yesterday"}, "line 2"),
    ],
)
def test_a_line_that_cannot_be_read_is_named_and_never_left_out(
    tmp_path: Path, change: dict[str, str], said: str
) -> None:
    path = write(tmp_path / "bill.csv", [ROWS[0], {**ROWS[1], **change}])
    with pytest.raises(CorruptLog, match=said):
        read_bill(path)


def test_a_line_that_stands_there_twice_is_refused_and_equal_ones_are_not(tmp_path: Path) -> None:
    day = {"identity_time_interval": "2026-10-01T00:00:00Z/2026-10-02T00:00:00Z"}
    rows = [{**ROWS[0], **day, "identity_line_item_id": name} for name in ("a", "b")]
    assert len(read_bill(write(tmp_path / "bill.csv", rows))) == 2
    with pytest.raises(CorruptLog, match="is line 1 once more: item a") as caught:
        read_bill(write(tmp_path / "bill.csv", [*rows, rows[0]]))
    assert "--recover" not in str(caught.value.remedy)


def test_a_parquet_file_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bill.parquet"
    path.write_bytes(b"PAR1 and no more")
    with pytest.raises(ConfigError, match="the bill cannot be read"):
        read_bill(path)


def test_what_is_no_bill_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bill.csv"
    for text in ("", "a,b\n1,2\n"):
        path.write_text(text)
        with pytest.raises(ConfigError, match=r"no line|neither CUR"):
            read_bill(path)


def test_every_dollar_of_a_bill_is_in_one_row_with_its_reason(tmp_path: Path) -> None:
    charges = read_bill(write(tmp_path / "bill.csv", ROWS))
    rows = {row.what: row for row in compare(planned(), charges)}
    assert sum(row.paid_usd for row in rows.values()) == sum(charge.usd for charge in charges)
    nodes = rows["ec2: on-demand any of m7i.large, m7a.large"]
    # Two nodes planned and two paid, at 0.11 in place of 0.1008 an hour
    assert nodes.planned_usd == 1460 * Decimal("0.1008")
    assert nodes.by_quantity_usd == 0
    assert nodes.by_price_usd == Decimal("160.60") - 1460 * Decimal("0.1008")
    assert nodes.why.startswith("dearer")
    assert rows["ebs: gp2"].why == "as planned"
    assert rows["vpc: nat gateway"].why == "not in the plan"
    assert rows["kms: customer key"].why == "planned and not used"
    assert rows["vpc: public IPv4 address"].planned_usd is None
    assert rows["tax"].paid_usd == Decimal("12.5")


def test_more_of_the_same_is_told_from_a_dearer_one(tmp_path: Path) -> None:
    more = [cur("BoxUsage:m7i.large", "2920", str(2920 * 0.1008))]
    (row,) = [row for row in compare(planned(), read_bill(write(tmp_path / "b.csv", more))) if "any of" in row.what]
    assert row.why.startswith("more used: $147.17")
    assert abs(row.by_price_usd or 0) < Decimal("0.01")


def test_half_a_month_is_compared_with_half_a_month(tmp_path: Path) -> None:
    half = [{**cur("BoxUsage:m7i.large", "730", "73.584"), "line_item_usage_end_date": "2026-10-16T05:00:00Z"}]
    charges = read_bill(write(tmp_path / "b.csv", half))
    assert months_of(charges) == Decimal("0.5")
    (row,) = [row for row in compare(planned(), charges) if "any of" in row.what]
    assert row.why == "as planned"


def test_the_command_lays_the_bill_beside(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "plan.json"
    file.write_text(json.dumps(plan(resource("aws_kms_key"))))
    bill = write(tmp_path / "bill.csv", ROWS)
    command = ["cost", "plan", str(file), "--region", "us-east-1", "--bill", str(bill)]
    assert run([*command, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["bill"]["paid_usd"] == pytest.approx(1909.95)
    assert run(command) == 0
    assert "not in the plan" in capsys.readouterr().out


# --- showback ----------------------------------------------------------------------------------------------------

ACTIVITY = """
format: drivetrain-activity/1
pools: [{pool: train, busy_share: 0.6}]
units:
  - {unit: scenario trained, count: 1000, pools: [train]}
  - {unit: kilometre ingested, count: 0}
"""


def shown(tmp_path: Path, capsys: pytest.CaptureFixture[str], activity: str = ACTIVITY, *more: str) -> dict[str, Any]:
    (tmp_path / "activity.yaml").write_text(activity)
    bill = write(tmp_path / "bill.csv", ROWS)
    with suppress(SystemExit):  # of a refusal, which the document says
        run(["cost", "showback", str(bill), "--activity", str(tmp_path / "activity.yaml"), "--json", *more])
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_idle_accelerators_are_a_line_of_their_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = shown(tmp_path, capsys)
    assert found["by_team"]["planning"] == {"usd": 1700, "used_usd": 1020, "idle_usd": 680}
    assert found["by_team"]["platform"] == {"usd": 160.6, "whole_usd": 160.6}
    assert found["paid_usd"] == pytest.approx(sum(row["usd"] for row in found["by_team"].values()))
    scenario, kilometre = found["units"]
    assert scenario["usd_per_unit"] == pytest.approx(1.7)
    assert kilometre["usd_per_unit"] is None


def test_accelerators_that_nobody_measured_are_not_idle_and_not_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = shown(tmp_path, capsys, "format: drivetrain-activity/1\n")
    assert found["by_team"]["planning"] == {"usd": 1700, "unmeasured_usd": 1700}


@pytest.mark.parametrize(
    ("activity", "said"),
    [
        ("pools: [{pool: trian, busy_share: 0.6}]", "no pool trian"),
        ("pools: [{pool: train, busy_share: 1.6}]", "less than or equal"),
        ("units: [{unit: x, count: 1, teams: [nobody]}]", "no team nobody"),
        ("unit: []", "unit"),
    ],
)
def test_an_activity_file_with_a_slip_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], activity: str, said: str
) -> None:
    assert said in shown(tmp_path, capsys, f"format: drivetrain-activity/1\n{activity}\n")["error"]["what"]


def test_what_is_written_is_focus_and_reads_back_as_the_same_bill(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "focus.csv"
    shown(tmp_path, capsys, ACTIVITY, "--out", str(out))
    again = read_bill(out)
    paid = read_bill(tmp_path / "bill.csv")
    assert sum(item.usd for item in again) == sum(item.usd for item in paid)
    assert {item.tags.get("pool") for item in again} == {item.tags.get("pool") for item in paid}
    assert [item.meter for item in again if item.service == "AmazonEC2"][:1] == [paid[0].meter]
    shown(tmp_path, capsys, ACTIVITY, "--out", str(out), "--focus", "1.4")
    with out.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert "ProviderName" not in rows[0]
    assert {row["ServiceProviderName"] for row in rows} == {"AWS"}
    split = [row for row in rows if row["AllocatedMethodId"]]
    ratios = [json.loads(row["AllocatedMethodDetails"])["Elements"][0]["AllocatedRatio"] for row in split]
    assert sorted(ratios) == [0.4, 0.6]


def test_a_charge_has_a_meter_only_where_the_book_has_one(tmp_path: Path) -> None:
    charges: list[Charge] = read_bill(
        write(tmp_path / "b.csv", [cur("USW2-BoxUsage:p5.48xlarge", "1", "1"), cur("Odd", "1", "1")])
    )
    assert [None if item.meter is None else str(item.meter[0]) for item in charges] == [
        "ec2: on-demand p5.48xlarge",
        None,
    ]
