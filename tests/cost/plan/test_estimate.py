"""Both sides of a plan, sums with unknown parts, teams and pools, spot, and what the command prints."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from plan_examples import plan, resource, tagged

from cost.amount import Amount, total
from cost.plan import estimate as sums
from cost.plan.estimate import Estimate, estimate
from cost.plan.kinds import FREE, RULES
from cost.plan.resources import Place, sides_of
from cost.plan.usage import NO_USAGE, UsageFile
from cost.prices.model import Book, SpotPrice
from cost.prices.snapshot import load
from platform_lib.cli import run

TODAY = date(2026, 11, 20)
BOOK = load("2026-11-20")
Json = dict[str, Any]


def made(*resources: Json, book: Book = BOOK, **state: Any) -> Estimate:
    document = {**plan(*resources), **state}
    return estimate([sides_of(document, Place("one", "1", "us-east-1"))], (), NO_USAGE, book, TODAY)


def group(desired: int, most: int, *types: str, capacity: str = "ON_DEMAND", **more: Any) -> Json:
    scaling = [{"desired_size": desired, "max_size": most, "min_size": 0}]
    after = {"instance_types": list(types), "capacity_type": capacity, "scaling_config": scaling, **more}
    tags = {"drivetrain:team": "planning", "drivetrain:pool": "train"}
    template = {"launch_template": [{"id": "lt-1"}]}  # of no template in the plan: no disk is known, and none is priced
    return resource("aws_eks_node_group", tags=tags, tags_all=tags, **{**template, **after})


def without_disk(found: Estimate) -> Decimal:
    """The hours alone: a group without a template in the plan has EKS's own disk of 20 GB."""
    (item,) = found.priced
    return sum((line.expected.usd for line in item.after if line.meter.service == "ec2"), Decimal(0))


def test_a_sum_with_an_unknown_part_is_at_least_and_never_takes_it_for_0() -> None:
    assert str(total([Amount.of(Decimal(5)), Amount.of(None)])) == "at least $5.00"
    assert str(Amount.of(None)) == "unknown"
    assert str(total([Amount.of(Decimal(5)), Amount.of(Decimal(1))])) == "$6.00"
    assert Amount.of(None).document()["usd"] is None


def test_a_type_without_a_price_makes_the_sum_a_lower_bound_that_names_it() -> None:
    found = made(resource("aws_instance", instance_type="dl2q.24xlarge"), resource("aws_kms_key"))
    assert str(found.monthly.desired) == "at least $1.00"
    assert any("dl2q.24xlarge" in reason for reason in found.unpriced)


def test_a_region_of_which_nothing_is_known_is_unknown() -> None:
    document = plan(resource("aws_nat_gateway"))
    document["configuration"]["provider_config"]["aws"]["expressions"] = {"region": {"constant_value": "us-west-2"}}
    found = estimate([sides_of(document, Place("one", "1", "us-east-1"))], (), NO_USAGE, BOOK, TODAY)
    assert found.monthly.desired.nothing_known
    assert any("us-west-2" in reason for reason in found.unpriced)


def test_a_kind_that_no_rule_knows_is_unknown_and_not_free() -> None:
    found = made(resource("aws_quantum_annealer"))
    assert found.monthly.desired.nothing_known
    assert found.unpriced == ("aws_quantum_annealer (1): no rule prices this kind",)
    assert made(resource("aws_iam_role")).monthly.desired.complete


def test_a_pool_of_none_costs_nothing_now_and_something_at_most_even_without_a_price() -> None:
    found = made(group(0, 2, "m7i.large"))
    assert (without_disk(found), found.monthly.desired.complete) == (0, True)
    assert found.monthly.most.usd > 2 * 730 * Decimal("0.1")
    unknown = made(group(0, 1, "dl2q.24xlarge"))
    assert unknown.monthly.desired.complete
    assert not unknown.monthly.most.complete
    assert any("at most: no price of ec2: on-demand dl2q.24xlarge" in reason for reason in unknown.unpriced)


def test_what_is_there_comes_from_the_refreshed_state_and_else_from_before() -> None:
    change = group(4, 4, "m7i.large")
    change["change"]["before"] = {**change["change"]["after"], "scaling_config": [{"desired_size": 1, "max_size": 4}]}
    change["change"]["actions"] = ["update"]
    found = made(change)
    assert found.monthly.now.usd * 4 == found.monthly.desired.usd
    values = {**change["change"]["after"], "scaling_config": [{"desired_size": 2, "max_size": 4}]}
    kept = {"address": "aws_kms_key.kept", "type": "aws_kms_key", "mode": "managed", "values": {}}
    group_now = {"address": change["address"], "type": change["type"], "mode": "managed", "values": values}
    state = {"values": {"root_module": {"resources": [group_now], "child_modules": [{"resources": [kept]}]}}}
    refreshed = made(change, prior_state=state)
    assert refreshed.monthly.now.usd == found.monthly.now.usd * 2 + 1  # two nodes, and a key of the state alone


def test_what_goes_away_costs_now_and_nothing_later() -> None:
    change = resource("aws_kms_key", actions=("delete",))
    change["change"]["before"], change["change"]["after"] = {"id": "k"}, None
    found = made(change)
    assert (found.monthly.now.usd, found.monthly.desired.usd) == (1, 0)
    assert sums.difference(found.priced).usd == -1


def test_what_stays_the_same_does_not_make_the_difference_unknown() -> None:
    kept = resource("aws_eip", actions=("no-op",))
    kept["change"]["before"] = kept["change"]["after"]
    known = sums.difference(made(kept, resource("aws_kms_alias"), group(1, 1, "m7i.large")).priced)
    assert known.complete
    assert known.usd > 70
    assert not sums.difference(made(resource("aws_eip")).priced).complete


def test_sums_by_team_and_pool_add_up() -> None:
    found = made(group(1, 2, "m7i.large"), tagged("aws_nat_gateway"))
    for key in (sums.by_team, sums.by_pool, sums.by_stack, sums.by_account, sums.by_kind):
        parts = found.by(key)
        assert total(item.desired for item in parts.values()) == found.monthly.desired
    assert set(found.by(sums.by_team)) == {"planning", sums.NOBODY}


def test_spot_is_a_distribution_where_its_history_is_known() -> None:
    seen = SpotPrice(
        "m7i.large", "us-east-1", "us-east-1a", Decimal("0.03"), Decimal("0.04"), Decimal("0.05"), 9, "h", TODAY
    )
    book = Book.of("own", TODAY, BOOK.prices.values(), [seen])
    found = made(group(2, 2, "m7i.large", capacity="SPOT"), book=book)
    (item,) = found.spot
    assert (item.low, item.expected, item.high) == (Decimal("43.80"), Decimal("58.40"), Decimal("73.00"))
    assert found.monthly.desired.complete
    # At most nobody pays more than on demand: 2 x 730 x 0.1008
    assert found.priced[0].after[0].most.usd == 2 * 730 * Decimal("0.1008")


def test_spot_without_history_is_unknown_below_its_price_on_demand() -> None:
    found = made(group(2, 2, "m7i.large", capacity="SPOT"))
    (item,) = found.spot
    assert (item.low, item.expected) == (None, None)
    assert item.high == 2 * 730 * Decimal("0.1008")
    assert not found.monthly.desired.complete
    assert found.monthly.most.complete


def test_the_first_type_of_a_node_group_is_the_price_and_the_dearest_is_the_most() -> None:
    found = made(group(1, 1, "m7i.xlarge", "m7a.xlarge"))
    line = found.priced[0].after[0]
    assert (line.expected.usd, line.most.usd) == (730 * Decimal("0.2016"), 730 * Decimal("0.23184"))
    unknown = made(group(1, 1, "m7i.xlarge", "nobody.large")).priced[0].after[0]
    assert unknown.expected.complete
    assert not unknown.most.complete


def test_a_cluster_past_its_support_costs_more() -> None:
    def month(version: str, **more: Any) -> Amount:
        return made(resource("aws_eks_cluster", version=version, **more)).monthly.desired

    assert (month("1.35").usd, month("1.31").usd) == (73, 438)
    assert month("1.31", upgrade_policy=[{"support_type": "STANDARD"}]).usd == 73
    assert month("1.99").nothing_known
    document = plan(resource("aws_eks_cluster", version="1.34"))
    later = estimate([sides_of(document, Place(region="us-east-1"))], (), NO_USAGE, BOOK, date(2026, 12, 3))
    assert later.monthly.desired.usd == 438  # standard support of 1.34 ended on 2026-12-02


def test_every_kind_that_the_stacks_make_is_priced_free_or_named_as_unknown() -> None:
    """By the classes that the blocks import: what is synthesised is held against the rules where stacks are tested."""
    root = Path(__file__).resolve().parents[3]
    names = set()
    for path in [*(root / "cdk").rglob("*.py")]:
        for line in path.read_text().splitlines():
            if line.startswith("from cdktn_provider_aws."):
                names.add(line.split(".")[1].split()[0])
    kinds = {f"aws_{name}" for name in names if not name.startswith(("data_", "provider"))}
    assert len(kinds) > 60
    assert kinds - set(RULES) - set(FREE) == set()


# --- files and the command ---------------------------------------------------------------------------------------


def write(tmp_path: Path, document: Json, name: str = "plan.json") -> Path:
    path = tmp_path / name
    path.write_text(json.dumps(document))
    return path


def stacks(**parts: Json) -> Json:
    body = {"account": "111111111111", "region": "us-east-1", "not_emulated": None}
    return {
        "format": "drivetrain-plan/1",
        "environment": "dev",
        "stacks": {name: {**body, "terraform": document} for name, document in parts.items()},
    }


def command(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, Json]:
    try:
        status = run(["cost", "plan", *map(str, arguments), "--json"])
    except SystemExit as error:
        status = int(str(error.code))
    return status, json.loads(capsys.readouterr().out)


def test_the_command_writes_what_the_page_of_a_plan_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, stacks(a=plan(group(1, 3, "m7i.large")), b=plan(resource("aws_eip"))))
    status, document = command(capsys, path)
    assert status == 0
    assert set(document["monthly_usd"]) == {"now", "desired", "max"}
    assert document["monthly_usd"]["desired"] == pytest.approx(730 * 0.1008 + 20 * 0.10)
    assert document["at_least"] == {"now": False, "desired": True, "max": True}
    assert document["unpriced"] == ["aws_eip (1): no price of vpc: public IPv4 address in us-east-1"]
    assert document["priced_as_of"] == "2024-07-01 to 2026-07-20"
    assert document["stale_prices"] == ["ebs: gp2 (us-east-1): 2024-07-01"]
    assert set(document["by_stack"]) == {"a", "b"}
    from cdk.delivery.cost_of_plan import read_cost

    assert read_cost(json.dumps(document)).unknown is None


def test_what_an_emulator_lacks_is_priced_all_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = stacks(a=plan(resource("aws_kms_key")))
    document["stacks"]["a"]["not_emulated"] = plan(resource("aws_kms_key"), resource("aws_kms_key", "second"))
    _, found = command(capsys, write(tmp_path, document))
    assert found["monthly_usd"]["desired"] == 2.0


def test_a_cluster_without_manifests_says_that_karpenters_pools_are_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, stacks(a=plan(resource("aws_eks_cluster", version="1.35"))))
    _, found = command(capsys, path)
    assert found["monthly_usd"]["now"] == 0  # a fresh account has no cluster, and nothing that Karpenter makes
    assert any("no manifests given" in reason for reason in found["unpriced"])
    folder = tmp_path / "manifests"
    (folder / "us-east-1").mkdir(parents=True)
    _, found = command(capsys, path, "--manifests", folder)
    assert found["unpriced"] == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no JSON"),
        ("[]", "not an object"),
        ("{}", "neither"),
        ('{"format": "drivetrain-plan/1", "environment": "dev", "stacks": {"a": {}}}', "no plan"),
        ('{"resource_changes": [{"address": "x"}]}', "no plan"),
    ],
)
def test_what_is_no_plan_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, said: str) -> None:
    path = tmp_path / "plan.json"
    path.write_text(text)
    status, document = command(capsys, path)
    assert status == 1
    assert said in document["error"]["what"]


@pytest.mark.parametrize(
    ("usage", "said"),
    [
        ("nat_gateways: [{match: '*', processed_gib: 5}]", "processed_gib"),
        ("nat_gateways: [{match: '*', processed_gb: -5}]", "greater than or equal"),
        ("nat_gateways: [{match: nothing, processed_gb: 5}]", "matches nothing"),
        ("buckets: [{match: '*', standard_gb: 5}]", "matches nothing"),
    ],
)
def test_a_usage_file_with_a_slip_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], usage: str, said: str
) -> None:
    path = write(tmp_path, plan(resource("aws_nat_gateway")))
    good = tmp_path / "usage.yaml"
    good.write_text("format: drivetrain-usage/1\nnat_gateways: [{match: 'aws_nat*', processed_gb: 100}]\n")
    status, document = command(capsys, path, "--usage", good, "--region", "us-east-1")
    assert (status, document["unpriced"]) == (0, [])
    assert document["monthly_usd"]["desired"] == pytest.approx(730 * 0.045 + 4.5)
    bad = tmp_path / "bad.yaml"
    bad.write_text(f"format: drivetrain-usage/1\n{usage}\n")
    status, document = command(capsys, path, "--usage", bad)
    assert status == 1
    assert said in document["error"]["what"]


def test_the_first_entry_that_matches_counts_and_a_key_left_out_stays_unknown() -> None:
    usage = UsageFile.model_validate(
        {
            "format": "drivetrain-usage/1",
            "logs": [{"match": "*api*", "ingested_gb": 10}, {"match": "*", "ingested_gb": 1, "stored_gb": 0}],
        }
    )
    document = plan(resource("aws_cloudwatch_log_group", "api"), resource("aws_cloudwatch_log_group", "b"))
    found = estimate([sides_of(document, Place(region="us-east-1"))], (), usage, BOOK, TODAY)
    first, second = found.priced
    assert (first.cost_desired.usd, first.cost_desired.complete) == (5, False)
    assert (second.cost_desired.usd, second.cost_desired.complete) == (Decimal("0.5"), True)


def test_the_readable_form_says_at_least_and_names_what_is_unknown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, stacks(a=plan(group(1, 3, "m7i.large", capacity="SPOT"), resource("aws_eip"))))
    assert run(["cost", "plan", str(path)]) == 0
    said = capsys.readouterr().out
    assert "at least" in said
    assert "public IPv4 address" in said
    assert "expected unknown" in said
    assert "older than 180 days" in said
