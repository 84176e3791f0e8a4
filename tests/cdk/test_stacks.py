"""What stacks provision, by kind and attribute."""

from __future__ import annotations

import base64
import json
import re
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from synthesised_stacks import Synthesised, synthesise_into

from cdk.access import BOUNDARY, IDENTITIES
from cdk.blocks.backups import schedule
from cdk.blocks.interruption import EVENTS
from cdk.blocks.registry import IMAGE_ROLES
from cdk.config import load_environment
from cdk.model import Account, Addon, DataClass, Nat
from cdk.synthesis import synthesise
from cdk.wiring import apply_order, destroy_order, read_wiring
from cost.tiering.lifecycle import rules_document
from cost.tiering.model import Schedule, Step, StorageClass
from cost.tiering.settings import Housekeeping

TODAY = date(2026, 11, 30)
ROOT = Path(__file__).resolve().parents[2]
EAST, WEST = "us-east-1", "us-west-2"


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list) else value


def _statements(policy: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(policy)["Statement"]
    return found


# --- The whole ----------------------------------------------------------------------------------------------------


def test_production_has_every_stack(prod: Synthesised) -> None:
    once = {"data-lake", "metadata", "edge", *(f"governance-{item.value}" for item in Account)}
    regional = {
        f"{name}-{region}"
        for region in (EAST, WEST)
        for name in (
            "network-core",
            "network-ml",
            "network-data",
            "network-peering",
            "shared",
            "cluster",
            "pools",
            "karpenter",
            "backup-ml",
        )
    }
    assert set(prod.documents) == once | regional | {f"backup-data-{EAST}"}
    assert sum(len(kind) for document in prod.documents.values() for kind in document["resource"].values()) >= 150


def test_stacks_wait_for_those_they_take_from(prod: Synthesised) -> None:
    waves = apply_order(prod.wiring)
    place = {name: number for number, wave in enumerate(waves) for name in wave}
    chain = [f"network-ml-{EAST}", f"cluster-{EAST}", f"pools-{EAST}"]
    assert all(place[first] < place[second] for first, second in pairwise(chain))
    assert place[f"network-data-{EAST}"] < place["metadata"]
    assert place[f"network-ml-{WEST}"] < place[f"network-peering-{WEST}"]
    assert read_wiring(prod.out) == prod.wiring


@pytest.mark.parametrize("name", ["local", "dev", "prod"])
def test_every_environment_can_be_taken_away_in_order(name: str, request: pytest.FixtureRequest) -> None:
    wiring = request.getfixturevalue(name).wiring
    order = destroy_order(wiring)
    assert sorted(order) == sorted(wiring)
    place = {stack: number for number, stack in enumerate(order)}
    for stack, item in wiring.items():
        assert all(place[stack] < place[other] for other in item.depends_on)
    first_evidence = next(number for number, stack in enumerate(order) if stack.startswith("governance-"))
    assert all(stack.startswith("governance-") for stack in order[first_evidence:])
    assert order[-1] == "governance-management"


def test_a_stack_is_in_the_account_it_names(prod: Synthesised) -> None:
    for name, document in prod.documents.items():
        default = next(item for item in document["provider"]["aws"] if "alias" not in item)
        assert default["allowed_account_ids"] == [prod.wiring[name].account]
        assert _first(default["assume_role"])["role_arn"].split(":")[4] == prod.wiring[name].account


def test_every_resource_is_tagged_by_default_tags(prod: Synthesised) -> None:
    for name, document in prod.documents.items():
        for provider in document["provider"]["aws"]:
            tags = _first(provider["default_tags"])["tags"]
            assert tags["drivetrain:stack"] == name
            assert {"drivetrain:owner", "drivetrain:cost-center", "drivetrain:environment"} < set(tags)
            assert tags["drivetrain:data-classification"] == "personal"


def test_synthesis_twice_writes_the_same_and_touches_nothing(prod: Synthesised) -> None:
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in prod.out.rglob("cdk.tf.json")}
    synthesise(prod.environment, prod.out)
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in before} == before


def test_a_stack_that_is_no_more_is_removed(tmp_path: Path) -> None:
    stale = tmp_path / "stacks" / "old" / "cdk.tf.json"
    stale.parent.mkdir(parents=True)
    stale.write_text("{}")
    synthesise(load_environment("local", today=TODAY), tmp_path)
    assert not stale.exists()


def test_two_accounts_that_are_one_are_governed_once(environments: Path, tmp_path: Path) -> None:
    path = environments / "dev.yaml"
    path.write_text(path.read_text().replace('shared: "303030303030"', 'shared: "202020202020"'))
    small = synthesise_into(tmp_path / "out", load_environment("dev", today=TODAY, folder=environments))
    assert "governance-shared" not in small.documents
    budgets = small.resources("aws_budgets_budget", "governance-network")
    assert sorted(item["name"] for item in budgets) == ["drivetrain-dev-network-month", "drivetrain-dev-shared-month"]


# --- Network ------------------------------------------------------------------------------------------------------


def test_production_has_nat_in_every_zone(prod: Synthesised, local: Synthesised) -> None:
    assert len(prod.resources("aws_nat_gateway", f"network-ml-{EAST}")) == 3
    assert len(local.resources("aws_nat_gateway", f"network-ml-{EAST}")) == 1
    assert prod.resources("aws_nat_gateway", f"network-data-{EAST}") == []


def test_gateway_endpoints_are_gateways(prod: Synthesised) -> None:
    for service in ("s3", "dynamodb"):
        endpoint = prod.one("aws_vpc_endpoint", f"network-ml-{EAST}", service_name=f"com.amazonaws.{EAST}.{service}")
        assert endpoint["vpc_endpoint_type"] == "Gateway"


def test_a_closed_network_has_endpoints_for_all_that_nodes_call_and_no_way_out(tmp_path: Path) -> None:
    environment = load_environment("dev", today=TODAY)
    region = environment.regions[0].model_copy(update={"nat": Nat.NONE})
    found = synthesise_into(tmp_path, environment.model_copy(update={"regions": (region,)}))
    stack = f"network-ml-{EAST}"
    for kind in ("aws_nat_gateway", "aws_internet_gateway", "aws_eip", "aws_route"):
        assert found.resources(kind, stack) == [], kind
    reached = {
        item["service_name"].removeprefix(f"com.amazonaws.{EAST}."): item["vpc_endpoint_type"]
        for item in found.resources("aws_vpc_endpoint", stack)
    }
    wanted = {"ec2", "ecr.api", "ecr.dkr", "eks", "eks-auth", "sts", "ssm", "sqs", "logs", "kms", "secretsmanager"}
    assert {name: reached.get(name) for name in wanted} == dict.fromkeys(wanted, "Interface")
    assert (reached["s3"], reached["dynamodb"]) == ("Gateway", "Gateway")


def test_vpcs_are_peered_across_accounts_with_routes_both_ways(prod: Synthesised) -> None:
    stack = f"network-peering-{WEST}"
    requests = prod.resources("aws_vpc_peering_connection", stack)
    # Its own VPC of data, and the main one, where the database lies.
    assert sorted(item["peer_region"] for item in requests) == [EAST, WEST]
    assert {item["peer_owner_id"] for item in requests} == {prod.environment.accounts.data}
    accepts = prod.resources("aws_vpc_peering_connection_accepter", stack)
    assert len(accepts) == 2
    assert all(item["auto_accept"] and item["provider"].startswith("aws.data_") for item in accepts)
    routes = prod.resources("aws_route", stack)
    to_east = [item for item in routes if item["destination_cidr_block"] == "10.65.0.0/20"]
    assert len(to_east) == 3  # one for each private route table of the cluster's VPC
    back = [item for item in routes if item["destination_cidr_block"] in {"10.80.0.0/16", "100.96.0.0/16"}]
    assert len(back) == 12  # nodes and pods, from three tables of each of two VPCs
    assert all("vpc_peering_connection_accepter" in item["vpc_peering_connection_id"] for item in routes)


def test_an_existing_vpc_is_used_and_none_is_made(environments: Path, tmp_path: Path) -> None:
    path = environments / "dev.yaml"
    given = (
        "ml: {cidr: 10.32.0.0/16, existing_vpc_id: vpc-0123456789abcdef0, "
        "existing_private_subnet_ids: [subnet-0000000a, subnet-0000000b], "
        "existing_private_route_table_ids: [rtb-0000000a]}"
    )
    path.write_text(path.read_text().replace("ml: {cidr: 10.32.0.0/16, pod_cidr: 100.72.0.0/16}", given))
    found = synthesise_into(tmp_path / "out", load_environment("dev", today=TODAY, folder=environments))
    document = found.documents[f"network-ml-{EAST}"]
    assert document.get("resource", {}) == {}
    assert document["output"]["vpc_id"]["value"] == "vpc-0123456789abcdef0"
    assert document["output"]["private_subnet_ids"]["value"] == ["subnet-0000000a", "subnet-0000000b"]
    # Without subnets for pods, pods take addresses of the nodes' subnets.
    cni = found.one("aws_eks_addon", addon_name=Addon.VPC_CNI.value)
    assert "eniConfig" not in json.loads(cni["configuration_values"])
    routes = found.resources("aws_route", f"network-peering-{EAST}")
    assert len([item for item in routes if item["destination_cidr_block"] == "10.33.0.0/20"]) == 1


# --- Images -------------------------------------------------------------------------------------------------------


def test_images_are_immutable_scanned_and_encrypted(prod: Synthesised) -> None:
    repositories = prod.resources("aws_ecr_repository", f"shared-{EAST}")
    assert sorted(item["name"] for item in repositories) == sorted(f"drivetrain/prod/{item}" for item in IMAGE_ROLES)
    for item in repositories:
        assert item["image_tag_mutability"] == "IMMUTABLE"
        assert _first(item["image_scanning_configuration"])["scan_on_push"] is True
        assert _first(item["encryption_configuration"])["encryption_type"] == "KMS"
        assert "force_delete" not in item
    assert len(prod.resources("aws_ecr_lifecycle_policy", f"shared-{EAST}")) == len(IMAGE_ROLES)


def test_images_are_pulled_by_the_accounts_that_run_them(prod: Synthesised) -> None:
    accounts = prod.environment.accounts
    for item in prod.resources("aws_ecr_repository_policy", f"shared-{EAST}"):
        (statement,) = _statements(item["policy"])
        pullers = {arn.split(":")[4] for arn in statement["Principal"]["AWS"]}
        assert pullers == {accounts.ml, accounts.edge, accounts.shared}
        assert not any("Put" in action or "Upload" in action for action in statement["Action"])


def test_images_are_copied_to_the_second_region(prod: Synthesised, local: Synthesised) -> None:
    (copy,) = prod.resources("aws_ecr_replication_configuration")
    (rule,) = _first(copy["replication_configuration"])["rule"]
    assert [item["region"] for item in rule["destination"]] == [WEST]
    assert local.resources("aws_ecr_replication_configuration") == []


def test_ci_pushes_by_a_role_that_can_do_no_more(prod: Synthesised) -> None:
    role = prod.one("aws_iam_role", f"shared-{EAST}", name="drivetrain-prod-ci-images")
    (trust,) = _statements(role["assume_role_policy"])
    assert trust["Principal"]["AWS"] == f"arn:aws:iam::{prod.environment.accounts.management}:root"
    assert trust["Condition"]["ArnLike"]["aws:PrincipalArn"] == [
        f"arn:aws:iam::{prod.environment.accounts.management}:role/drivetrain-ci-images"
    ]
    policy = prod.one("aws_iam_role_policy", f"shared-{EAST}", name="ci-images")
    actions = [action for item in _statements(policy["policy"]) for action in _list(item["Action"])]
    assert all(action.startswith("ecr:") for action in actions)
    assert not any("Delete" in action or "SetRepositoryPolicy" in action for action in actions)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


# --- The lake -----------------------------------------------------------------------------------------------------


def _of(found: Synthesised, kind: str, data: str) -> list[dict[str, Any]]:
    """Return a kind's resources of one data class's bucket, by the bucket they refer to."""
    return [item for item in found.resources(kind, "data-lake") if re.search(rf"bucket-{data}\b(?!-)", item["bucket"])]


def test_every_data_class_has_a_bucket_closed_and_encrypted(prod: Synthesised) -> None:
    for data in DataClass:
        assert prod.one("aws_s3_bucket", "data-lake", bucket=f"drivetrain-prod-{data.value}-440440440440")
        (block,) = _of(prod, "aws_s3_bucket_public_access_block", data.value)
        assert all(block[name] for name in block if name.startswith(("block_", "ignore_", "restrict_")))
        (encryption,) = _of(prod, "aws_s3_bucket_server_side_encryption_configuration", data.value)
        default = _first(encryption["rule"][0]["apply_server_side_encryption_by_default"])
        assert default["sse_algorithm"] == "aws:kms"
        assert "aws_kms_key" in default["kms_master_key_id"]
        (versions,) = _of(prod, "aws_s3_bucket_versioning", data.value)
        assert _first(versions["versioning_configuration"])["status"] == "Enabled"
        (inventory,) = _of(prod, "aws_s3_bucket_inventory", data.value)
        assert "IntelligentTieringAccessTier" in inventory["optional_fields"]


def test_lifecycle_follows_the_days_of_the_class(prod: Synthesised) -> None:
    (raw,) = _of(prod, "aws_s3_bucket_lifecycle_configuration", "raw")
    (rule,) = raw["rule"]
    assert _first(rule["transition"]) == {"days": 0, "storage_class": "INTELLIGENT_TIERING"}
    assert _first(rule["expiration"]) == {"days": 1095}
    (checkpoints,) = _of(prod, "aws_s3_bucket_lifecycle_configuration", "checkpoints")
    assert _first(checkpoints["rule"][0]["transition"]) == {"days": 60, "storage_class": "GLACIER_IR"}
    (releases,) = _of(prod, "aws_s3_bucket_lifecycle_configuration", "releases")
    assert "expiration" not in releases["rule"][0]


def test_archive_tiers_are_opted_into_where_a_class_may_wait(prod: Synthesised) -> None:
    (tiers,) = prod.resources("aws_s3_bucket_intelligent_tiering_configuration", "data-lake")
    assert {item["access_tier"]: item["days"] for item in tiers["tiering"]} == {
        "ARCHIVE_ACCESS": 180,
        "DEEP_ARCHIVE_ACCESS": 360,
    }


def test_releases_are_locked_here_and_in_the_copy(prod: Synthesised) -> None:
    locks = prod.resources("aws_s3_bucket_object_lock_configuration", "data-lake")
    assert len(locks) == 2
    for lock in locks:
        assert _first(_first(lock["rule"])["default_retention"]) == {"days": 3650, "mode": "COMPLIANCE"}
    locked = [
        item["bucket"] for item in prod.resources("aws_s3_bucket", "data-lake") if item.get("object_lock_enabled")
    ]
    assert sorted(locked) == ["drivetrain-prod-releases-440440440440", "drivetrain-prod-releases-copy-440440440440"]


def test_copies_lie_in_the_second_region_under_a_key_of_it(prod: Synthesised) -> None:
    copies = [item for item in prod.resources("aws_s3_bucket", "data-lake") if "-copy-" in item["bucket"]]
    assert sorted(item["bucket"].split("-")[2] for item in copies) == ["raw", "releases", "samples"]
    assert {item["provider"] for item in copies} == {"aws.data_us_west_2"}
    rules = [item["rule"][0] for item in prod.resources("aws_s3_bucket_replication_configuration", "data-lake")]
    assert len(rules) == 3
    for rule in rules:
        destination = _first(rule["destination"])
        assert "key-lake-us-west-2" in _first(destination["encryption_configuration"])["replica_kms_key_id"]
        assert _first(_first(destination["replication_time"])["time"])["minutes"] == 15


def test_a_lifecycle_file_and_an_existing_bucket_are_honoured(environments: Path, tmp_path: Path) -> None:
    path = environments / "dev.yaml"
    text = path.read_text()
    text = text.replace("derived: {}", "derived: {lifecycle_file: derived.json}")
    path.write_text(text.replace("samples: {}", "samples: {existing_bucket: team-samples}"))
    cold = Schedule((Step(30, StorageClass.STANDARD_IA), Step(90, StorageClass.GLACIER_IR)))
    rules = rules_document({("sweeps/", 3): cold, ("sweeps/", 4): cold}, None, Housekeeping(old_version_days=30))
    (environments / "derived.json").write_text(json.dumps(rules))
    found = synthesise_into(tmp_path / "out", load_environment("dev", today=TODAY, folder=environments))
    (lifecycle,) = _of(found, "aws_s3_bucket_lifecycle_configuration", "derived")
    rule, housekeeping = lifecycle["rule"]
    assert rule["id"] == "tiering-sweeps-3-4"
    assert rule["transition"] == [
        {"days": 30, "storage_class": "STANDARD_IA"},
        {"days": 90, "storage_class": "GLACIER_IR"},
    ]
    assert _first(_first(rule["filter"])["and"]) == {"prefix": "sweeps/", "object_size_greater_than": (16 << 20) - 1}
    assert _first(housekeeping["noncurrent_version_expiration"]) == {"noncurrent_days": 30}
    assert not any("samples" in item["bucket"] for item in found.resources("aws_s3_bucket", "data-lake"))
    assert found.documents["data-lake"]["output"]["bucket_samples"]["value"] == "team-samples"
    jobs = found.one("aws_iam_role_policy", f"cluster-{EAST}", name=f"ray-jobs-{EAST}")
    assert "arn:aws:s3:::team-samples/*" in jobs["policy"]


def test_a_bucket_lets_in_the_roles_that_use_it_and_no_other(prod: Synthesised) -> None:
    (policy,) = _of(prod, "aws_s3_bucket_policy", "releases")
    allowed = [item for item in _statements(policy["policy"]) if item["Effect"] == "Allow"]
    patterns = {arn for item in allowed for arn in item["Condition"]["ArnLike"]["aws:PrincipalArn"]}
    assert patterns == {"arn:aws:iam::660660660660:role/drivetrain-prod-edge-release"}
    (raw,) = _of(prod, "aws_s3_bucket_policy", "raw")
    readers = [item for item in _statements(raw["policy"]) if item["Sid"].startswith("Read")]
    assert all("s3:PutObject" not in item["Action"] for item in readers)
    assert {item["Condition"]["ArnLike"]["aws:PrincipalArn"][0].split("/")[1] for item in readers} == {
        "drivetrain-prod-ray-jobs-*"
    }


# --- The database -------------------------------------------------------------------------------------------------


def test_the_database_survives_a_zone_and_is_copied(prod: Synthesised) -> None:
    database = prod.one("aws_db_instance")
    assert database["multi_az"] is True
    assert database["storage_encrypted"] is True
    assert database["deletion_protection"] is True
    assert database["publicly_accessible"] is False
    assert database["backup_retention_period"] == 35
    assert database["performance_insights_enabled"] is True
    assert database["manage_master_user_password"] is True
    assert "password" not in database
    assert database["final_snapshot_identifier"] == "drivetrain-prod-metadata-final"
    copy = prod.one("aws_db_instance_automated_backups_replication")
    assert copy["provider"] == "aws.data_us_west_2"
    assert copy["retention_period"] == 35
    rotation = prod.one("aws_secretsmanager_secret_rotation")
    assert _first(rotation["rotation_rules"])["automatically_after_days"] == 30


def test_an_emulated_database_can_be_destroyed(local: Synthesised) -> None:
    database = local.one("aws_db_instance")
    assert database["deletion_protection"] is False
    assert database["skip_final_snapshot"] is True


def test_the_database_speaks_tls_alone_to_clusters_and_data(prod: Synthesised) -> None:
    group = prod.one("aws_db_parameter_group")
    parameters = {item["name"]: item["value"] for item in group["parameter"]}
    assert parameters["rds.force_ssl"] == "1"
    assert group["family"] == "postgres17"
    ranges = {item["cidr_ipv4"] for item in prod.resources("aws_vpc_security_group_ingress_rule", "metadata")}
    assert ranges == {"10.65.0.0/20", "10.64.0.0/16", "100.80.0.0/16", "10.80.0.0/16", "100.96.0.0/16"}
    assert {item["from_port"] for item in prod.resources("aws_vpc_security_group_ingress_rule", "metadata")} == {5432}


# --- Clusters -----------------------------------------------------------------------------------------------------


def test_a_cluster_is_private_and_entered_by_entries_alone(prod: Synthesised) -> None:
    cluster = prod.one("aws_eks_cluster", f"cluster-{EAST}")
    network = _first(cluster["vpc_config"])
    assert network["endpoint_private_access"] is True
    assert network["endpoint_public_access"] is False
    access = _first(cluster["access_config"])
    assert access == {"authentication_mode": "API", "bootstrap_cluster_creator_admin_permissions": False}
    assert _first(cluster["encryption_config"])["resources"] == ["secrets"]
    assert set(cluster["enabled_cluster_log_types"]) == {
        "api",
        "audit",
        "authenticator",
        "controllerManager",
        "scheduler",
    }
    logs = prod.one("aws_cloudwatch_log_group", f"cluster-{EAST}")
    assert logs["retention_in_days"] == 365
    assert "kms_key_id" in logs


def test_people_and_the_deployer_have_entries(prod: Synthesised) -> None:
    policies = {
        item["principal_arn"].split("/")[-1]: item["policy_arn"].split("/")[-1]
        for item in prod.resources("aws_eks_access_policy_association", f"cluster-{EAST}")
    }
    assert policies == {
        "drivetrain-deploy": "AmazonEKSClusterAdminPolicy",
        "platform-admin": "AmazonEKSClusterAdminPolicy",
        "ml-engineer": "AmazonEKSViewPolicy",
        "support": "AmazonEKSViewPolicy",
    }
    nodes = prod.one("aws_eks_access_entry", f"karpenter-{EAST}")
    assert nodes["type"] == "EC2_LINUX"


def test_addons_are_pinned_and_pods_have_their_own_subnets(prod: Synthesised) -> None:
    stacks = (f"cluster-{EAST}", f"pools-{EAST}")
    addons = {item["addon_name"]: item for stack in stacks for item in prod.resources("aws_eks_addon", stack)}
    assert set(addons) == {item.value for item in Addon}
    assert all(re.fullmatch(r"v[\d.]+-eksbuild\.\d+", item["addon_version"]) for item in addons.values())
    cni = json.loads(addons[Addon.VPC_CNI.value]["configuration_values"])
    assert set(cni["eniConfig"]["subnets"]) == {"us-east-1a", "us-east-1b", "us-east-1d"}
    assert cni["env"]["AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG"] == "true"
    assert cni["env"]["ENABLE_PREFIX_DELEGATION"] == "true"


def test_addons_that_need_nodes_wait_for_the_system_nodes(prod: Synthesised) -> None:
    waiting = {item["addon_name"]: item for item in prod.resources("aws_eks_addon", f"pools-{EAST}")}
    assert set(waiting) == {Addon.COREDNS.value, Addon.EBS_CSI.value}
    for item in waiting.values():
        assert item["depends_on"] == ["aws_eks_node_group.pool-system"]
        assert '"drivetrain.io/kind": "system"' in item["configuration_values"]
    for item in prod.resources("aws_eks_addon", f"cluster-{EAST}"):
        assert "depends_on" not in item


def test_an_addon_without_a_known_version_is_resolved_by_a_data_source(environments: Path, tmp_path: Path) -> None:
    path = environments / "dev.yaml"
    path.write_text(
        path.read_text().replace('version: "1.35"', 'version: "1.34"\n  addon_versions: {coredns: v1.14.9-eksbuild.1}')
    )
    found = synthesise_into(tmp_path / "out", load_environment("dev", today=TODAY, folder=environments))
    document = found.documents[f"pools-{EAST}"]
    (source,) = document["data"]["aws_eks_addon_version"].values()
    assert (source["addon_name"], source["kubernetes_version"]) == (Addon.EBS_CSI.value, "1.34")
    csi = found.one("aws_eks_addon", addon_name=Addon.EBS_CSI.value)
    assert "data.aws_eks_addon_version" in csi["addon_version"]
    assert found.one("aws_eks_addon", addon_name=Addon.COREDNS.value)["addon_version"] == "v1.14.9-eksbuild.1"


def test_every_identity_has_its_pods_role(prod: Synthesised) -> None:
    associations = [
        item
        for stack in (f"cluster-{EAST}", f"karpenter-{EAST}")
        for item in prod.resources("aws_eks_pod_identity_association", stack)
    ]
    found = {(item["namespace"], item["service_account"]) for item in associations}
    assert found == {(item.namespace, item.service_account) for item in IDENTITIES.values()}
    role = prod.one("aws_iam_role", f"cluster-{EAST}", name=f"drivetrain-prod-ray-jobs-{EAST}")
    (trust,) = _statements(role["assume_role_policy"])
    assert trust["Principal"] == {"Service": "pods.eks.amazonaws.com"}
    assert trust["Condition"]["ArnEquals"]["aws:SourceArn"].endswith(f":cluster/drivetrain-prod-{EAST}")


def test_jobs_read_raw_drives_and_do_not_change_them(prod: Synthesised) -> None:
    policy = prod.one("aws_iam_role_policy", f"cluster-{EAST}", name=f"ray-jobs-{EAST}")
    for statement in _statements(policy["policy"]):
        if any("-raw-" in item for item in _list(statement["Resource"])):
            assert not any(action.startswith(("s3:Put", "s3:Delete")) for action in statement["Action"])


def test_every_role_is_under_the_boundary_of_its_account(prod: Synthesised) -> None:
    roles = [(name, body) for name in prod.documents for body in prod.resources("aws_iam_role", name)]
    assert len(roles) > 20
    for name, body in roles:
        account = prod.wiring[name].account
        assert body["permissions_boundary"] == f"arn:aws:iam::{account}:policy/{BOUNDARY}", f"{name}: {body['name']}"
    names = [(prod.wiring[name].account, body["name"]) for name, body in roles]
    assert len(set(names)) == len(names)
    assert max(len(body["name"]) for _, body in roles) <= 64


def test_the_boundary_is_the_one_that_terraform_makes_in_every_account() -> None:
    text = (ROOT / "terraform" / "account" / "main.tf").read_text()
    (name,) = re.findall(r'resource "aws_iam_policy" "boundary" \{\s+name\s+= "([^"]+)"', text)
    assert name == BOUNDARY


def test_no_pods_role_needs_what_the_boundary_denies(prod: Synthesised) -> None:
    # It lets nobody write to IAM; Karpenter's nodes take a profile that is there.
    for body in prod.resources("aws_iam_role_policy"):
        for statement in _statements(body["policy"]):
            writes = [item for item in _list(statement["Action"]) if item.startswith("iam:")]
            assert set(writes) <= {"iam:GetInstanceProfile", "iam:ListInstanceProfiles", "iam:PassRole"}
    profile = prod.one("aws_iam_instance_profile", f"karpenter-{EAST}")
    assert profile["name"] == f"drivetrain-prod-karpenter-nodes-{EAST}"


def test_an_existing_cluster_is_used_and_none_is_made(environments: Path, tmp_path: Path) -> None:
    path = environments / "dev.yaml"
    path.write_text(path.read_text().replace("    nat: one", "    existing_cluster_name: theirs\n    nat: one"))
    found = synthesise_into(tmp_path / "out", load_environment("dev", today=TODAY, folder=environments))
    assert found.resources("aws_eks_cluster") == []
    assert found.resources("aws_eks_addon") == []
    document = found.documents[f"cluster-{EAST}"]
    (source,) = document["data"]["aws_eks_cluster"].values()
    assert source["name"] == "theirs"
    assert len(found.resources("aws_eks_pod_identity_association", f"cluster-{EAST}")) == 7
    assert found.resources("aws_eks_node_group", f"pools-{EAST}")


# --- Pools --------------------------------------------------------------------------------------------------------


def _template(found: Synthesised, pool: str) -> dict[str, Any]:
    return next(
        item
        for item in found.resources("aws_launch_template")
        if item["name_prefix"] == f"drivetrain-{found.environment.environment}-{pool}-"
    )


def _group(found: Synthesised, pool: str) -> dict[str, Any]:
    return found.one("aws_eks_node_group", node_group_name_prefix=f"{pool}-")


def test_every_template_closes_metadata_and_encrypts_disks(prod: Synthesised) -> None:
    templates = prod.resources("aws_launch_template")
    assert len(templates) == 10  # one for each node group
    for item in templates:
        metadata = _first(item["metadata_options"])
        assert metadata["http_tokens"] == "required"
        assert metadata["http_put_response_hop_limit"] == 1
        disk = _first(_first(item["block_device_mappings"])["ebs"])
        assert (disk["volume_type"], disk["encrypted"]) == ("gp3", "true")
        tagged = {entry["resource_type"]: entry["tags"] for entry in item["tag_specifications"]}
        assert set(tagged) == {"instance", "volume", "network-interface"}
        for tags in tagged.values():
            assert {"drivetrain:cost-center", "drivetrain:team", "drivetrain:pool", "drivetrain:environment"} < set(
                tags
            )


def test_a_group_is_never_taken_away_before_its_successor_stands(prod: Synthesised) -> None:
    for item in [*prod.resources("aws_eks_node_group"), *prod.resources("aws_launch_template")]:
        assert item["lifecycle"]["create_before_destroy"] is True
        assert "name_prefix" in item or "node_group_name_prefix" in item
    for item in prod.resources("aws_eks_node_group"):
        assert item["lifecycle"]["ignore_changes"] == ["scaling_config[0].desired_size"]
        assert _first(item["update_config"])["max_unavailable_percentage"] == 25


@pytest.mark.parametrize(
    ("pool", "ami_type", "capacity_type"),
    [
        ("system", "AL2023_x86_64_STANDARD", "ON_DEMAND"),
        ("cpu-arm", "AL2023_ARM_64_STANDARD", "SPOT"),
        ("train-h100-spot", "AL2023_x86_64_NVIDIA", "SPOT"),
        ("train-h200", "AL2023_x86_64_NVIDIA", "ON_DEMAND"),
        ("train-b200-block", "AL2023_x86_64_NVIDIA", "CAPACITY_BLOCK"),
        ("ai100", "CUSTOM", "ON_DEMAND"),
    ],
)
def test_a_pools_image_and_purchase(pool: str, ami_type: str, capacity_type: str, prod: Synthesised) -> None:
    group = _group(prod, pool)
    assert group["ami_type"] == ami_type
    assert group["capacity_type"] == capacity_type
    assert ("version" in group) is (ami_type != "CUSTOM")
    assert group["labels"]["drivetrain.io/pool"] == pool


def test_efa_pools_lie_in_one_zone_together(prod: Synthesised) -> None:
    template = _template(prod, "train-h100-spot")
    interfaces = template["network_interfaces"]
    assert len(interfaces) == 32
    assert [item["interface_type"] for item in interfaces] == ["efa", *["efa-only"] * 31]
    assert [item["network_card_index"] for item in interfaces] == list(range(32))
    assert [item["device_index"] for item in interfaces] == [0, *[1] * 31]
    assert "vpc_security_group_ids" not in template
    name = _first(template["placement"])["group_name"]
    assert prod.one("aws_placement_group", f"pools-{EAST}", name=name)["strategy"] == "cluster"
    group = _group(prod, "train-h100-spot")
    assert len(group["subnet_ids"]) == 1
    assert any(item.startswith("aws_placement_group.") for item in group["depends_on"])


def test_reserved_capacity_is_aimed_at(prod: Synthesised) -> None:
    reserved = _template(prod, "train-h200")
    target = _first(_first(reserved["capacity_reservation_specification"])["capacity_reservation_target"])
    assert target["capacity_reservation_id"] == "cr-0123456789abcdef0"
    assert "instance_market_options" not in reserved
    assert "placement" not in reserved
    block = _template(prod, "train-b200-block")
    assert _first(block["instance_market_options"])["market_type"] == "capacity-block"
    assert block["instance_type"] == "p6-b200.48xlarge"
    assert "instance_types" not in _group(prod, "train-b200-block")


def test_accelerators_are_kept_for_those_who_ask(prod: Synthesised) -> None:
    (taint,) = _group(prod, "train-h200")["taint"]
    assert taint == {"effect": "NO_SCHEDULE", "key": "nvidia.com/gpu", "value": "present"}
    (taint,) = _group(prod, "ai100")["taint"]
    assert taint["key"] == "qualcomm.com/qaic"
    assert not _group(prod, "cpu-arm").get("taint")
    assert _group(prod, "train-h200")["labels"]["drivetrain.io/accelerator"] == "nvidia-h200"


def test_an_own_image_is_told_its_cluster(prod: Synthesised) -> None:
    template = _template(prod, "ai100")
    assert template["image_id"].startswith("ami-")
    data = template["user_data"]
    assert data.startswith("${base64encode(")
    assert "node.eks.aws/v1alpha1" in data
    assert "cluster_endpoint" in data
    assert "--register-with-taints=qualcomm.com/qaic=present:NoSchedule" in data
    local_disks = base64.b64decode(_template(prod, "train-h200")["user_data"]).decode()
    assert '"strategy": "RAID0"' in local_disks
    assert "user_data" not in _template(prod, "system")


def test_pools_of_karpenter_are_no_node_groups(prod: Synthesised) -> None:
    prefixes = {item["node_group_name_prefix"] for item in prod.resources("aws_eks_node_group")}
    assert not prefixes & {"cpu-", "cpu-west-"}


# --- Karpenter ----------------------------------------------------------------------------------------------------


def test_karpenter_hears_of_interruptions(prod: Synthesised) -> None:
    stack = f"karpenter-{EAST}"
    queue = prod.one("aws_sqs_queue", stack)
    assert queue["message_retention_seconds"] == 300
    assert "aws_kms_key" in queue["kms_master_key_id"]
    rules = [json.loads(item["event_pattern"]) for item in prod.resources("aws_cloudwatch_event_rule", stack)]
    assert sorted(item["detail-type"][0] for item in rules) == sorted(
        item["detail-type"][0] for item in EVENTS.values()
    )
    assert len(prod.resources("aws_cloudwatch_event_target", stack)) == len(EVENTS)


def test_karpenter_ends_instances_of_its_own_cluster_alone(prod: Synthesised) -> None:
    policy = prod.one("aws_iam_role_policy", f"karpenter-{EAST}", name=f"karpenter-{EAST}")
    for statement in _statements(policy["policy"]):
        if "ec2:TerminateInstances" in statement["Action"]:
            condition = statement["Condition"]["StringEquals"]
            assert condition == {f"aws:ResourceTag/kubernetes.io/cluster/drivetrain-prod-{EAST}": "owned"}
            break
    else:
        pytest.fail("Karpenter may end no instance")


# --- Edge ---------------------------------------------------------------------------------------------------------


def test_one_role_signs_releases(prod: Synthesised) -> None:
    key = prod.one("aws_kms_key", "edge", key_usage="SIGN_VERIFY")
    assert key["customer_master_key_spec"] == "ECC_NIST_P256"
    (deny,) = [item for item in _statements(key["policy"]) if item["Effect"] == "Deny"]
    assert deny["Action"] == "kms:Sign"
    assert deny["Condition"]["ArnNotLike"]["aws:PrincipalArn"].endswith(":role/drivetrain-prod-edge-release")
    policy = prod.one("aws_iam_role_policy", "edge", name="edge-release")
    actions = [action for item in _statements(policy["policy"]) for action in _list(item["Action"])]
    assert "kms:Sign" in actions
    assert not any("Delete" in action for action in actions)


# --- Backups ------------------------------------------------------------------------------------------------------


def test_backups_follow_their_tiers(prod: Synthesised) -> None:
    stack = f"backup-data-{EAST}"
    plans = {item["name"]: item for item in prod.resources("aws_backup_plan", stack)}
    assert set(plans) == {f"drivetrain-prod-metadata-{EAST}", f"drivetrain-prod-releases-{EAST}"}
    metadata = plans[f"drivetrain-prod-metadata-{EAST}"]
    (rule,) = metadata["rule"]
    assert rule["enable_continuous_backup"] is True
    assert rule["schedule"] == "cron(0 0/1 * * ? *)"
    assert _first(rule["copy_action"])["lifecycle"]["delete_after"] == 35
    assert metadata["tags"] == {"drivetrain:rpo-hours": "1", "drivetrain:rto-hours": "4"}
    chosen = [_first(item["selection_tag"])["value"] for item in prod.resources("aws_backup_selection", stack)]
    assert sorted(chosen) == ["metadata", "releases"]
    assert prod.one("aws_db_instance")["tags"]["drivetrain:backup-tier"] == "metadata"
    vaults = prod.resources("aws_backup_vault", stack)
    assert sorted(item.get("provider", "aws") for item in vaults) == ["aws", "aws.data_us_west_2"]
    locks = prod.resources("aws_backup_vault_lock_configuration", stack)
    assert {item["changeable_for_days"] for item in locks} == {7}


@pytest.mark.parametrize("hours", range(1, 169))
def test_a_backup_is_never_older_than_its_tier_says(hours: int) -> None:
    found = schedule(hours)
    interval = 24 if found == "cron(0 3 * * ? *)" else int(found.split("/")[1].split(" ")[0])
    assert 24 % interval == 0
    # A backup starts within an hour of its time. An hour alone is kept by continuous backups.
    assert interval + 1 <= hours or hours == 1


# --- Governance ---------------------------------------------------------------------------------------------------


def test_one_trail_records_the_organisation(prod: Synthesised) -> None:
    trail = prod.one("aws_cloudtrail")
    assert trail["is_organization_trail"] is True
    assert trail["is_multi_region_trail"] is True
    assert trail["enable_log_file_validation"] is True
    assert "aws_kms_key" in trail["kms_key_id"]
    assert prod.resources("aws_cloudtrail", "governance-management") == [trail]


def test_every_account_is_watched_in_every_region(prod: Synthesised) -> None:
    for account in Account:
        stack = f"governance-{account.value}"
        for kind in ("aws_guardduty_detector", "aws_config_configuration_recorder", "aws_ebs_encryption_by_default"):
            providers = sorted(item.get("provider", "aws") for item in prod.resources(kind, stack))
            assert providers == ["aws", f"aws.{account.value}_us_west_2"], f"{stack}: {kind}"
        assert prod.one("aws_s3_account_public_access_block", stack)["restrict_public_buckets"] is True
        (budget,) = prod.resources("aws_budgets_budget", stack)
        assert {item["notification_type"] for item in budget["notification"]} == {"ACTUAL", "FORECASTED"}


def test_what_config_records_is_kept_in_the_management_account(prod: Synthesised) -> None:
    bucket = prod.one("aws_s3_bucket", bucket="drivetrain-prod-config-110110110110")
    assert bucket in prod.resources("aws_s3_bucket", "governance-management")
    assert prod.resources("aws_s3_bucket", "governance-ml") == []
    assert "governance-management" in prod.wiring["governance-ml"].depends_on
    channels = prod.resources("aws_config_delivery_channel", "governance-ml")
    assert {item["s3_bucket_name"] for item in channels} == {"${var.governance_management_config_bucket}"}


def test_costs_are_watched_and_split(prod: Synthesised, dev: Synthesised) -> None:
    subscription = prod.one("aws_ce_anomaly_subscription", "governance-management")
    assert subscription["frequency"] == "IMMEDIATE"
    dimension = _first(_first(subscription["threshold_expression"])["dimension"])
    assert dimension["values"] == ["500"]
    keys = {item["tag_key"] for item in prod.resources("aws_ce_cost_allocation_tag")}
    assert {"drivetrain:cost-center", "drivetrain:team", "drivetrain:pool", "drivetrain:environment"} < keys
    assert dev.resources("aws_ce_cost_allocation_tag") == []


# --- The documentation --------------------------------------------------------------------------------------------


def test_the_documentation_names_every_stack(prod: Synthesised) -> None:
    text = (ROOT / "docs" / "reference" / "infrastructure.md").read_text()
    for name in prod.documents:
        general = name
        for region in (EAST, WEST):
            general = general.replace(region, "<region>")
        general = re.sub(r"^governance-.*", "governance-<account>", general)
        general = re.sub(r"^backup-(data|ml)-", "backup-<account>-", general)
        assert f"`{general}`" in text, name


def test_the_default_group_is_written_down_as_empty(prod: Synthesised) -> None:
    """Left out, rules that somebody puts there by hand stay: the provider keeps what is not written."""
    groups = prod.resources("aws_default_security_group")
    assert len(groups) == 4
    assert all((body["ingress"], body["egress"]) == ([], []) for body in groups)


def test_the_guide_names_stacks_that_there_are(prod: Synthesised) -> None:
    guide = (ROOT / "docs" / "guides" / "infrastructure-engineer.md").read_text()
    named = {name for words in re.findall(r'STACK="([^"]+)"', guide) for name in words.split()}
    assert named
    assert named <= set(prod.wiring)
