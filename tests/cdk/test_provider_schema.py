"""Every synthesised argument is one that the oldest provider in use knows: found here, not by whoever runs `make plan`."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from provider_schemas import differences, untaggable
from synthesised_stacks import Synthesised

from cdk.delivery.mirrors import find_mirror, mirrored_versions
from cdk.delivery.terraform import Terraform, find_program
from cdk.model import Account
from platform_lib.errors import MissingPartError

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

VERSION = "5.100.0"
# Arguments that only version 6 has, each of a kind that the stacks use. Source: the schemas of 6.69.1.
V6_ONLY = (
    ("aws_eks_cluster", "deletion_protection", True),
    ("aws_eks_node_group", "warm_pool_config", [{}]),
    ("aws_launch_template", "network_performance_options", [{"bandwidth_weighting": "vpc-1"}]),
    ("aws_eks_addon", "namespace_config", [{"namespace": "x"}]),
    ("aws_eks_pod_identity_association", "target_role_arn", "arn:aws:iam::444444444444:role/x"),
    ("aws_nat_gateway", "availability_mode", "regional"),
    ("aws_kms_key", "region", "us-east-1"),
)


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose subfolders Terraform can be run in; providers come from this machine."""
    try:
        find_program()
    except MissingPartError as missing:
        pytest.skip(f"not held against the provider's schema: {missing.what}")
    mirror = find_mirror()
    if mirror is None or VERSION not in mirrored_versions(mirror):
        pytest.skip(f"not held against the provider's schema: no local mirror holds hashicorp/aws {VERSION}")
    return tmp_path_factory.mktemp("terraform")


@pytest.fixture(scope="session")
def schemas(workshop: Path) -> dict[str, Any]:
    folder = workshop / "schema" / "work"
    folder.mkdir(parents=True)
    needed = {"terraform": {"required_providers": {"aws": {"source": "hashicorp/aws", "version": VERSION}}}}
    (folder / "main.tf.json").write_text(json.dumps(needed))
    terraform = Terraform(find_program(), folder, {})
    terraform.init()
    return terraform.schemas()


@pytest.mark.parametrize("name", ["local", "dev", "prod"])
def test_no_argument_is_unknown_to_the_oldest_provider(
    name: str, schemas: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    found: Synthesised = request.getfixturevalue(name)
    wrong = {stack: differences(schemas, document) for stack, document in found.all_documents()}
    assert {stack: item for stack, item in wrong.items() if item} == {}


@pytest.mark.parametrize(("kind", "word", "value"), V6_ONLY)
def test_an_argument_of_version_6_alone_is_found(
    kind: str, word: str, value: object, schemas: dict[str, Any], prod: Synthesised
) -> None:
    document = deepcopy(next(item for item in prod.documents.values() if kind in item.get("resource", {})))
    name = next(iter(document["resource"][kind]))
    document["resource"][kind][name][word] = value
    assert differences(schemas, document) == [f"{kind}.{name}.{word}: no such argument"]


def test_an_argument_inside_a_block_is_found_too(schemas: dict[str, Any], prod: Synthesised) -> None:
    document = deepcopy(prod.documents["cluster-us-east-1"])
    (cluster,) = document["resource"]["aws_eks_cluster"].values()
    cluster["vpc_config"]["control_plane_egress_mode"] = "customer"
    (wrong,) = differences(schemas, document)
    assert wrong.endswith(".vpc_config.control_plane_egress_mode: no such argument")


def test_what_a_kind_demands_and_what_can_only_be_read_is_found(schemas: dict[str, Any], prod: Synthesised) -> None:
    document = deepcopy(prod.documents["cluster-us-east-1"])
    (cluster,) = document["resource"]["aws_eks_cluster"].values()
    del cluster["role_arn"], cluster["vpc_config"]
    cluster["arn"] = "x"
    said = sorted(item.rpartition(".")[2] for item in differences(schemas, document))
    assert said == ["arn: can only be read", "role_arn: is missing", "vpc_config: is missing"]


def test_what_takes_tags_gets_them_from_its_provider(schemas: dict[str, Any], prod: Synthesised) -> None:
    taggable = {kind for stack in prod.documents.values() for kind in stack["resource"]} - untaggable(schemas)
    assert {"aws_db_instance", "aws_eks_cluster", "aws_eks_node_group", "aws_kms_key", "aws_s3_bucket"} < taggable
    for stack, document in prod.documents.items():
        tagging = {
            ".".join(["aws", item["alias"]] if "alias" in item else ["aws"])
            for item in document["provider"]["aws"]
            if item["default_tags"][0]["tags"]["drivetrain:stack"] == stack
        }
        for kind in taggable & set(document["resource"]):
            for body in document["resource"][kind].values():
                assert body.get("provider", "aws") in tagging


@pytest.mark.timeout(900)
def test_terraform_itself_finds_every_stack_valid(workshop: Path, local: Synthesised) -> None:
    program = find_program()
    # Accounts differ in their ids alone: of those that hold no trail, one stands for all.
    alike = {f"governance-{item.value}" for item in Account} - {"governance-management", "governance-data"}

    def errors(name: str, document: dict[str, Any]) -> list[dict[str, Any]]:
        folder = workshop / "validated" / name.replace("/", "-")
        folder.mkdir(parents=True)
        # The bucket of the state is not asked: what is valid depends on the provider alone.
        content = {**document, "terraform": {key: v for key, v in document["terraform"].items() if key != "backend"}}
        (folder / "cdk.tf.json").write_text(json.dumps(content))
        terraform = Terraform(program, folder, {})
        terraform.init()
        return terraform.validate()

    chosen = [(name, document) for name, document in local.all_documents() if name.rpartition("/")[2] not in alike]
    with ThreadPoolExecutor(2) as pool:
        found = dict(zip((name for name, _ in chosen), pool.map(lambda item: errors(*item), chosen), strict=True))
    assert len(found) > 15
    assert {name: item for name, item in found.items() if item} == {}
