"""The rules on plans that Terraform 1.11.4 with the AWS provider 5.100.0 wrote, of two network stacks on a fresh account."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from policies.catalogue import RULES
from policies.plan_view import PlanView

DATA = Path(__file__).parent / "data"
TODAY = date(2026, 11, 30)
Plan = dict[str, Any]


def _read(name: str) -> Plan:
    document: Plan = json.loads((DATA / f"{name}.json").read_bytes())
    return document


def _found(document: Plan) -> set[tuple[str, str]]:
    view = PlanView.of(document, TODAY)
    return {
        (rule.id, item.address.split(".")[0])
        for rule in RULES.values()
        for item in rule.find(view)
        if not item.undecided
    }


def _without(kind: str, name: str = "") -> Callable[[Plan], None]:
    def change(document: Plan) -> None:
        kept = [item for item in document["resource_changes"] if item["type"] != kind or name not in item["address"]]
        assert len(kept) < len(document["resource_changes"])
        document["resource_changes"] = kept

    return change


def _with(kind: str, **values: Any) -> Callable[[Plan], None]:
    def change(document: Plan) -> None:
        found = [item["change"] for item in document["resource_changes"] if item["type"] == kind]
        assert found
        for item in found:
            item["after"].update(values)
            for name in values:
                item["after_unknown"].pop(name, None)

    return change


@pytest.mark.parametrize("name", ["network-core", "network-data"])
def test_what_the_stacks_make_keeps_to_the_rules(name: str) -> None:
    assert _found(_read(name)) == set()


def test_on_a_fresh_account_nothing_is_left_undecided() -> None:
    for name in ("network-core", "network-data"):
        view = PlanView.of(_read(name), TODAY)
        assert [item for rule in RULES.values() for item in rule.find(view) if item.undecided] == []


@pytest.mark.parametrize(
    ("name", "change", "found"),
    [
        ("network-core", _without("aws_s3_bucket_public_access_block"), ("CKV_DT_14", "aws_s3_bucket")),
        ("network-core", _without("aws_s3_bucket_policy"), ("CKV_DT_15", "aws_s3_bucket")),
        ("network-core", _with("aws_s3_bucket_policy", policy='{"Statement": []}'), ("CKV_DT_15", "aws_s3_bucket")),
        ("network-core", _without("aws_s3_bucket_versioning"), ("CKV_DT_21", "aws_s3_bucket")),
        (
            "network-core",
            _without("aws_s3_bucket_server_side_encryption_configuration"),
            ("CKV_DT_11", "aws_s3_bucket"),
        ),
        ("network-core", _without("aws_s3_bucket_lifecycle_configuration"), ("CKV_DT_24", "aws_s3_bucket")),
        ("network-core", _with("aws_kms_key", enable_key_rotation=False), ("CKV_DT_13", "aws_kms_key")),
        ("network-core", _with("aws_s3_bucket", tags_all={}), ("CKV_DT_1", "aws_s3_bucket")),
        ("network-data", _without("aws_vpc_endpoint", "s3"), ("CKV_DT_6", "aws_vpc")),
        ("network-data", _with("aws_vpc_endpoint", vpc_endpoint_type="Interface"), ("CKV_DT_6", "aws_vpc_endpoint")),
        ("network-data", _without("aws_flow_log"), ("CKV_DT_7", "aws_vpc")),
        ("network-data", _without("aws_default_security_group"), ("CKV_DT_8", "aws_vpc")),
        ("network-data", _with("aws_subnet", map_public_ip_on_launch=True), ("CKV_DT_10", "aws_subnet")),
    ],
)
def test_a_fault_planted_into_it_is_found(name: str, change: Callable[[Plan], None], found: tuple[str, str]) -> None:
    document = _read(name)
    change(document)
    assert found in _found(document)
