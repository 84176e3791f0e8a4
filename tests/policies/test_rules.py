"""Each rule lets its good examples pass, and finds each planted fault at its address."""

from __future__ import annotations

import ast
import sys
from datetime import date
from pathlib import Path

import plan_examples as build
import pytest
from plan_examples import Document, plan, resource, tagged
from rule_edges import EDGES
from rule_examples import EXAMPLES

import policies
from policies.catalogue import RULES
from policies.plan_view import NoPlanError, PlanView, joined

TODAY = date(2026, 11, 30)
GOOD = [(rule, number) for rule, cases in EXAMPLES.items() for number in range(len(cases.good))]
BAD = [(rule, fault) for rule, cases in EXAMPLES.items() for fault in cases.bad]


EDGE_GOOD = [(rule, number) for rule, cases in EDGES.items() for number in range(len(cases.good))]
EDGE_BAD = [(rule, fault) for rule, cases in EDGES.items() for fault in cases.bad]


def found(rule: str, document: Document, **more: int) -> set[str]:
    return {item.address for item in RULES[rule].find(PlanView.of(document, TODAY, **more)) if not item.undecided}


def test_every_rule_has_examples_that_pass_and_such_that_fail() -> None:
    assert set(EXAMPLES) == set(RULES)
    assert all(item.good and item.bad for item in EXAMPLES.values())


def test_every_rule_says_what_it_is_for() -> None:
    for name, rule in RULES.items():
        assert name == rule.id
        assert rule.title
        assert rule.remedy
        assert rule.reason.endswith(".")
        assert rule.kinds


@pytest.mark.parametrize(("rule", "number"), GOOD)
def test_what_keeps_to_a_rule_passes(rule: str, number: int) -> None:
    assert found(rule, EXAMPLES[rule].good[number]) == set()


@pytest.mark.parametrize(("rule", "fault"), BAD)
def test_what_does_not_is_found_where_it_is(rule: str, fault: str) -> None:
    address, document = EXAMPLES[rule].bad[fault]
    assert address in found(rule, document)


@pytest.mark.parametrize(("rule", "number"), EDGE_GOOD)
def test_what_just_keeps_to_a_rule_passes(rule: str, number: int) -> None:
    assert found(rule, EDGES[rule].good[number]) == set()


@pytest.mark.parametrize(("rule", "fault"), EDGE_BAD)
def test_what_just_does_not_is_found_where_it_is(rule: str, fault: str) -> None:
    address, document = EDGES[rule].bad[fault]
    assert address in found(rule, document)


def test_a_rule_names_the_kinds_it_judges() -> None:
    for rule, cases in EXAMPLES.items():
        kinds = RULES[rule].kinds
        judged = {address.split(".")[0] for address, _ in cases.bad.values()}
        assert kinds == ("aws_*",) or judged <= set(kinds), rule


def test_the_raw_zone_is_held_against_the_days_of_its_environment() -> None:
    document = plan(*build.bucket(data="raw", lifecycle=build.lifecycle(30)))
    assert found("CKV_DT_23", document, raw_days=30) == set()
    assert found("CKV_DT_23", document, raw_days=29) == {"aws_s3_bucket.it"}


def test_a_policy_that_only_an_apply_tells_is_undecided_not_kept() -> None:
    policy = resource(
        "aws_s3_bucket_policy",
        bucket="drives",
        unknown={"policy": True},
        references={"bucket": ["aws_s3_bucket.it.bucket"]},
    )
    view = PlanView.of(plan(*build.bucket(policy=policy)), TODAY)
    (item,) = RULES["CKV_DT_15"].find(view)
    assert item.undecided


def test_what_is_deleted_is_not_judged() -> None:
    gone = tagged("aws_db_instance", actions=("delete",), publicly_accessible=True)
    gone["change"]["after"] = None
    assert found("CKV_DT_16", plan(gone)) == set()


def test_what_stays_as_it_is_is_judged() -> None:
    assert found("CKV_DT_16", plan(tagged("aws_db_instance", actions=("no-op",), publicly_accessible=True)))


def test_tags_of_the_provider_count_while_the_plan_does_not_know_them_all() -> None:
    document = plan(resource("aws_eip", unknown={"tags_all": True}, tags={"Name": "it"}))
    assert found("CKV_DT_1", document) == {"aws_eip.it"}
    expressions = document["configuration"]["provider_config"]["aws"]["expressions"]
    expressions["default_tags"] = [{"tags": {"constant_value": build.TAGS}}]
    assert found("CKV_DT_1", document) == set()


def test_a_stack_planned_in_two_parts_is_judged_as_one() -> None:
    """The second part repeats the bucket, without what belongs to it, beside what the first part has not."""
    first = plan(*build.bucket())
    second = plan(build.bucket()[0], tagged("aws_eks_addon", addon_name="coredns"), build.pool(), build.template())
    assert found("CKV_DT_14", second)
    whole = joined(first, second)
    assert found("CKV_DT_14", whole) == set()
    assert found("CKV_DT_29", whole) == {"aws_eks_addon.it"}
    assert found("CKV_DT_5", joined(plan(), plan(build.pool("CAPACITY_BLOCK"), build.template()))) == {
        "aws_eks_node_group.it"
    }
    assert len(whole["planned_values"]["root_module"]["resources"]) == len(whole["resource_changes"])


def test_another_document_is_no_plan() -> None:
    with pytest.raises(NoPlanError):
        PlanView.of({"resource": {}}, TODAY)


def test_rules_need_nothing_that_checkov_has_not() -> None:
    folder = Path(policies.__file__).parent
    for path in [
        folder / "model.py",
        folder / "plan_view.py",
        folder / "ranges.py",
        folder / "catalogue.py",
        *(folder / "rules").glob("*.py"),
    ]:
        for node in ast.walk(ast.parse(path.read_bytes())):
            names = [item.name for item in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                assert name.partition(".")[0] in {*sys.stdlib_module_names, "policies"}, f"{path.name} imports {name}"
