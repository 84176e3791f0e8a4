from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from plan_examples import plan, resource

from cost.plan.budgets import BudgetFile, Verdict, judge
from cost.plan.estimate import Estimate, estimate
from cost.plan.resources import Place, sides_of
from cost.plan.usage import NO_USAGE
from cost.prices.snapshot import load
from platform_lib.cli import run

BOOK = load("2026-11-20")


def made(*resources: dict[str, Any]) -> Estimate:
    document = plan(*resources)
    return estimate([sides_of(document, Place("one", "1", "us-east-1"))], (), NO_USAGE, BOOK, BOOK.made)


def key(name: str, team: str = "data") -> dict[str, Any]:
    return (
        resource("aws_secretsmanager_secret_rotation", name)
        if not team
        else resource("aws_ebs_volume", name, type="gp3", size=1000, tags_all={"drivetrain:team": team})
    )  # 80 $ a month


def limits(**parts: Any) -> BudgetFile:
    return BudgetFile.model_validate({"format": "drivetrain-budgets/1", **parts})


@pytest.mark.parametrize(
    ("budget", "verdict", "fails"),
    [
        ({"monthly_usd": 160}, Verdict.WITHIN, False),
        ({"monthly_usd": "159.99"}, Verdict.OVER, True),
        ({"monthly_usd": 80, "team": "data"}, Verdict.WITHIN, False),
        ({"monthly_usd": 79, "team": "data"}, Verdict.OVER, True),
        ({"monthly_usd": 79, "team": "dta"}, Verdict.UNKNOWN, False),
        ({"monthly_usd": 79, "team": "dta", "unknown": "fail"}, Verdict.UNKNOWN, True),
        ({"monthly_usd": 79, "account": "1"}, Verdict.OVER, True),
        ({"monthly_usd": 79, "case": "max", "stack": "one"}, Verdict.OVER, True),
    ],
)
def test_a_budget_holds_everything_or_one_part(budget: dict[str, Any], verdict: Verdict, fails: bool) -> None:
    found = made(key("a"), key("b", "planning"))
    (judged,) = judge(found, limits(budgets=[{"name": "n", **budget}]))
    assert (judged.verdict, judged.fails) == (verdict, fails)


def test_what_is_within_only_as_far_as_it_is_known_does_not_pass() -> None:
    found = made(key("a"), resource("aws_eip"))
    within, strict, over = judge(
        found,
        limits(
            budgets=[
                {"name": "a", "monthly_usd": 100},
                {"name": "b", "monthly_usd": 100, "unknown": "fail"},
                {"name": "c", "monthly_usd": 79},
            ]
        ),
    )
    assert (within.verdict, within.fails) == (Verdict.UNKNOWN, False)
    assert (strict.verdict, strict.fails) == (Verdict.UNKNOWN, True)
    assert (over.verdict, over.fails) == (Verdict.OVER, True)


def test_guardrails_hold_the_change() -> None:
    there = key("there")
    there["change"]["before"] = there["change"]["after"]
    there["change"]["actions"] = ["no-op"]
    found = made(there, key("new"))  # 80 now, 160 later

    def verdict(**rail: Any) -> Verdict:
        return judge(found, limits(guardrails=[{"name": "r", **rail}]))[0].verdict

    assert verdict(max_increase_usd=80) is Verdict.WITHIN
    assert verdict(max_increase_usd=79) is Verdict.OVER
    assert verdict(max_increase_percent=100) is Verdict.WITHIN
    assert verdict(max_increase_percent=99) is Verdict.OVER
    assert verdict(max_unpriced=0) is Verdict.WITHIN
    more = made(there, key("new"), resource("aws_eip"))
    (judged,) = judge(more, limits(guardrails=[{"name": "r", "max_unpriced": 0}]))
    assert judged.fails
    (judged,) = judge(more, limits(guardrails=[{"name": "r", "max_increase_usd": 100, "unknown": "fail"}]))
    assert (judged.verdict, judged.fails) == (Verdict.UNKNOWN, True)


@pytest.mark.parametrize(
    "parts",
    [
        {"budgets": [{"name": "a", "monthly_usd": 1, "team": "x", "pool": "y"}]},
        {"budgets": [{"name": "a", "monthly_usd": 1}, {"name": "a", "monthly_usd": 2}]},
        {"budgets": [{"name": "a", "monthly_usd": 1, "teem": "x"}]},
        {"guardrails": [{"name": "a"}]},
        {"guardrails": [{"name": "a", "max_increase_usd": 1, "max_unpriced": 1}]},
    ],
)
def test_limits_that_cannot_mean_what_they_say_are_refused(parts: dict[str, Any]) -> None:
    limits(budgets=[{"name": "a", "monthly_usd": 1, "team": "x"}])
    with pytest.raises(ValueError, match=r"budget|guardrail|name"):
        limits(**parts)


def test_a_limit_that_fails_names_itself_and_ends_with_5(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "plan.json"
    budget = resource("aws_budgets_budget", limit_amount="10.0", time_unit="MONTHLY")
    budget["change"]["after"]["name"] = "dev-1"
    body = {"account": "1", "region": "us-east-1", "terraform": plan(key("a"), budget), "not_emulated": None}
    path.write_text(json.dumps({"format": "drivetrain-plan/1", "environment": "dev", "stacks": {"one": body}}))
    file = tmp_path / "budgets.yaml"
    command = ["cost", "plan", str(path), "--budgets", str(file), "--json"]
    file.write_text("format: drivetrain-budgets/1\nbudgets: [{name: ml, monthly_usd: 80, team: data}]\n")
    assert run(command) == 0
    said = json.loads(capsys.readouterr().out)
    # The plan's own budget tells, and fails nothing.
    assert [item.split(":")[0] for item in said["over_budget"]] == ["dev-1"]
    file.write_text("format: drivetrain-budgets/1\nbudgets: [{name: ml, monthly_usd: 50, team: data}]\n")
    assert run(command) == 5
    said = json.loads(capsys.readouterr().out)
    assert "ml: team data, desired: $80.00 of $50.00 a month" in said["over_budget"]
    assert [item["name"] for item in said["limits"] if item["fails"]] == ["ml"]
