"""Who may do what, of what exists before the first stack: planned and made by Terraform, judged as policies."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from iam_policies import allowed, listed, statements, unreadable, writing
from synthesised_stacks import Synthesised, synthesise_into

from cdk.config import load_environment
from cdk.delivery import emulator
from cdk.delivery.terraform import Terraform, find_program
from platform_lib.home import Home, open_home

ROOT = Path(__file__).resolve().parents[2]
ACCOUNT = "111111111111"
REPOSITORY = "example-org/drivetrain"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    made = open_home(tmp_path_factory.mktemp("roles") / "home")
    yield made
    emulator.stop(made)


def _planned(home: Home, name: str, variables: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what Terraform would make of one folder, as values."""
    folder = home.root / "infra" / "roles" / "work" / name
    folder.mkdir(parents=True, exist_ok=True)
    for path in (ROOT / "terraform" / name).glob("*.tf"):
        shutil.copyfile(path, folder / path.name)
    common = {"environment": "local", "emulated": True, "owner": "platform", "cost_center": "platform"}
    (folder / "terraform.tfvars.json").write_text(json.dumps({**common, **variables}))
    terraform = Terraform(find_program(), folder, emulator.start(home).environment())
    terraform.init()
    terraform.plan(folder / "plan.bin")
    terraform.apply(folder / "plan.bin")
    found: list[dict[str, Any]] = terraform.state()["values"]["root_module"]["resources"]
    return found


@pytest.fixture(scope="module")
def account(home: Home) -> list[dict[str, Any]]:
    return _planned(
        home,
        "account",
        {
            "account_id": ACCOUNT,
            "management_account_id": ACCOUNT,
            "region": "us-east-1",
            "deploy_role": "drivetrain-deploy",
            "trusted_role_patterns": [f"arn:aws:iam::{ACCOUNT}:role/drivetrain-ci-apply"],
            "reader_role_patterns": [f"arn:aws:iam::{ACCOUNT}:role/drivetrain-ci-plan"],
            "state_bucket": "drivetrain-local-state",
        },
    )


@pytest.fixture(scope="module")
def bootstrap(home: Home) -> list[dict[str, Any]]:
    return _planned(
        home,
        "bootstrap",
        {
            "management_account_id": ACCOUNT,
            "account_ids": [ACCOUNT, "333333333333"],
            "shared_account_id": "333333333333",
            "edge_account_id": "666666666666",
            "state_bucket": "drivetrain-local-state",
            "state_region": "us-east-1",
            "state_kms_alias": "alias/drivetrain-state",
            "deploy_role": "drivetrain-deploy",
            "ci_repository": REPOSITORY,
            "bootstrap_role_arn": f"arn:aws:iam::{ACCOUNT}:role/drivetrain-deploy",
        },
    )


def _one(found: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    (values,) = [item["values"] for item in found if item["type"] == kind and item["values"]["name"] == name]
    return values


@pytest.fixture(scope="module")
def read_policy(account: list[dict[str, Any]]) -> str:
    return str(_one(account, "aws_iam_role_policy", "read")["policy"])


def test_the_role_of_pull_requests_reads_and_changes_nothing(read_policy: str) -> None:
    assert writing(read_policy) == set()


@pytest.mark.parametrize("action", ["s3:PutObject", "ec2:*", "iam:PassRole", "kms:GenerateDataKey", "*"])
def test_a_planted_right_to_write_is_found(read_policy: str, action: str) -> None:
    document = json.loads(read_policy)
    document["Statement"][0]["Action"].append(action)
    assert writing(json.dumps(document)) == {action}


def test_it_reads_the_state_of_this_environment_and_no_other_object(read_policy: str) -> None:
    state = "arn:aws:s3:::drivetrain-local-state/local/*"
    reading = [item for item in statements(read_policy) if "s3:GetObject" in listed(item["Action"])]
    assert [(item["Effect"], item["Resource"]) for item in reading] == [("Allow", state)]
    (closed,) = [item for item in statements(read_policy) if item.get("NotResource")]
    assert (closed["Effect"], closed["Action"], closed["NotResource"]) == ("Deny", "s3:GetObject*", state)


def test_it_reads_no_secrets_images_log_lines_or_messages(read_policy: str) -> None:
    denied = {
        action for item in statements(read_policy) if item["Effect"] == "Deny" for action in listed(item["Action"])
    }
    assert {"secretsmanager:GetSecretValue", "ecr:BatchGetImage", "logs:GetLogEvents", "sqs:ReceiveMessage"} <= denied


def test_every_kind_that_stacks_have_can_be_read(read_policy: str, tmp_path: Path) -> None:
    from datetime import date

    stacks: Synthesised = synthesise_into(tmp_path, load_environment("prod", today=date(2026, 11, 30)))
    kinds = {kind for document in stacks.documents.values() for kind in document["resource"]}
    assert len(kinds) > 60
    assert list(unreadable(read_policy, kinds)) == []
    assert list(unreadable(read_policy, {"aws_transfer_server", "aws_vpc"})) == ["aws_transfer_server"]
    less = json.dumps({"Statement": [{"Effect": "Allow", "Action": ["ec2:Describe*"]}]})
    assert list(unreadable(less, {"aws_vpc", "aws_kms_key"})) == ["aws_kms_key"]


def test_who_may_read_may_not_deploy(account: list[dict[str, Any]]) -> None:
    trusted = {
        name: statements(_one(account, "aws_iam_role", name)["assume_role_policy"])[0]["Condition"]["ArnLike"]
        for name in ("drivetrain-deploy", "drivetrain-deploy-read")
    }
    assert listed(trusted["drivetrain-deploy"]["aws:PrincipalArn"]) == [
        f"arn:aws:iam::{ACCOUNT}:role/drivetrain-ci-apply"
    ]
    assert listed(trusted["drivetrain-deploy-read"]["aws:PrincipalArn"]) == [
        f"arn:aws:iam::{ACCOUNT}:role/drivetrain-ci-plan"
    ]
    assert _one(account, "aws_iam_role", "drivetrain-deploy-read")["permissions_boundary"].endswith(
        "drivetrain-boundary"
    )


SUBJECTS = {
    "plan": [f"repo:{REPOSITORY}:pull_request", f"repo:{REPOSITORY}:ref:refs/heads/main"],
    "apply": [f"repo:{REPOSITORY}:environment:local"],
    "images": [f"repo:{REPOSITORY}:ref:refs/heads/main"],
    "scan": [f"repo:{REPOSITORY}:ref:refs/heads/main"],
    "release": [f"repo:{REPOSITORY}:environment:local-release"],
}


@pytest.mark.parametrize("pipeline", SUBJECTS)
def test_a_pipelines_role_is_taken_from_its_repository_and_place_alone(
    bootstrap: list[dict[str, Any]], pipeline: str
) -> None:
    (trust,) = statements(_one(bootstrap, "aws_iam_role", f"drivetrain-ci-{pipeline}")["assume_role_policy"])
    conditions = trust["Condition"]["StringEquals"]
    assert conditions["token.actions.githubusercontent.com:aud"] == "sts.amazonaws.com"
    assert sorted(listed(conditions["token.actions.githubusercontent.com:sub"])) == sorted(SUBJECTS[pipeline])
    assert "StringLike" not in trust["Condition"]


@pytest.mark.parametrize("pipeline", SUBJECTS)
def test_a_pipelines_role_assumes_one_kind_of_role_and_does_nothing_else(
    bootstrap: list[dict[str, Any]], pipeline: str
) -> None:
    policy = str(_one(bootstrap, "aws_iam_role_policy", pipeline)["policy"])
    assert allowed(policy) == {"sts:AssumeRole", "sts:TagSession"}
    roles = {item.rpartition(":role/")[2] for statement in statements(policy) for item in listed(statement["Resource"])}
    assert (
        roles
        == {
            "plan": {"drivetrain-deploy-read"},
            "apply": {"drivetrain-deploy"},
            "images": {"drivetrain-local-ci-images"},
            "scan": {"drivetrain-local-ci-scan"},
            "release": {"drivetrain-local-edge-release"},
        }[pipeline]
    )


def test_the_roles_they_assume_are_those_that_stacks_make(tmp_path: Path) -> None:
    from datetime import date

    stacks = synthesise_into(tmp_path, load_environment("dev", today=date(2026, 11, 30)))
    for pipeline, name in (
        ("images", "drivetrain-dev-ci-images"),
        ("scan", "drivetrain-dev-ci-scan"),
        ("release", "drivetrain-dev-edge-release"),
    ):
        (role,) = [item for item in stacks.resources("aws_iam_role") if item["name"] == name]
        patterns = [
            pattern
            for item in statements(role["assume_role_policy"])
            for pattern in listed(item["Condition"]["ArnLike"]["aws:PrincipalArn"])
        ]
        assert f"arn:aws:iam::101010101010:role/drivetrain-ci-{pipeline}" in patterns
        assert not any(item.endswith("ci-*") for item in patterns)
