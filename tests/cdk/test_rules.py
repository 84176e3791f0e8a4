"""Every rule: an environment it lets pass and one it refuses, with the line that is to be changed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest

from cdk.config import environment_names, load_environment
from cdk.rules import RULES
from platform_lib.errors import ConfigError

TODAY = date(2026, 11, 30)


@dataclass(frozen=True)
class Fault:
    """One way to spoil an environment.

    Attributes:
        rule: The rule that sees it.
        old: What stands in the file, once.
        new: What is put in its place.
        line: What the named line then holds.
        what: A part of what is said.
        base: The environment that is spoilt.
        today: The day it is read.
    """

    rule: str
    old: str
    new: str
    line: str
    what: str
    base: str = "prod"
    today: date = TODAY


LAST_BUDGET = "    - {account: edge, monthly_usd: 15000}\n"
TRAIN_H200 = "    reservation_id: cr-0123456789abcdef0\n"
VPC = "existing_vpc_id: vpc-0123456789abcdef0"
SUBNETS = "existing_private_subnet_ids: [subnet-00000001, subnet-00000002, subnet-00000003]"
TABLES = "existing_private_route_table_ids: [rtb-00000001]"
PEERED = "    data: {cidr: 10.65.0.0/20}\n"

FAULTS = (
    Fault("_accounts_differ", 'data: "440440440440"', 'data: "550550550550"', "data:", "is 'data' and also ml"),
    Fault("_regions_once", "  - name: us-west-2\n", "  - name: us-east-1\n", "- name: us-east-1", "stands twice"),
    Fault(
        "_zones_in_region",
        "us-east-1b, us-east-1d",
        "us-east-1b, us-west-1d",
        "zones:",
        "us-west-1d is not in us-east-1",
    ),
    Fault("_zones_in_region", "us-east-1b, us-east-1d", "us-east-1b, us-east-1b", "zones:", "stands twice"),
    Fault("_ranges_apart", "10.81.0.0/20", "10.64.0.0/20", "10.64.0.0/20", "overlaps 10.64.0.0/16"),
    Fault("_ranges_fit", "10.81.0.0/20", "10.81.0.0/24", "10.81.0.0/24", "prefix of /24"),
    Fault("_ranges_fit", "10.81.0.0/20", "11.81.0.0/20", "11.81.0.0/20", "public range"),
    Fault(
        "_existing_subnets",
        PEERED,
        f"    data: {{cidr: 10.65.0.0/20, {VPC}, {TABLES}}}\n",
        "existing_vpc_id",
        "0 existing subnets for 3 zones",
    ),
    Fault(
        "_existing_subnets",
        PEERED,
        f"    data: {{cidr: 10.65.0.0/20, {SUBNETS}}}\n",
        "existing_private_subnet_ids",
        "no existing VPC",
    ),
    Fault(
        "_existing_subnets",
        PEERED,
        f"    data: {{cidr: 10.65.0.0/20, {VPC}, {SUBNETS}}}\n",
        "existing_vpc_id",
        "names no route tables",
    ),
    Fault(
        "_existing_subnets",
        PEERED,
        f"    data: {{cidr: 10.65.0.0/20, {VPC}, {SUBNETS}, {TABLES}, existing_pod_subnet_ids: [subnet-00000009]}}\n",
        "existing_pod_subnet_ids",
        "1 subnets for pods and 3 zones",
    ),
    Fault("_kubernetes_supported", 'version: "1.35"', 'version: "1.29"', "version:", "is not known here"),
    Fault("_kubernetes_supported", 'version: "1.35"', 'version: "1.33"', "version:", "out of standard support"),
    Fault(
        "_kubernetes_supported",
        'version: "1.35"',
        'version: "1.33"',
        "version:",
        "out of support since",
        today=date(2027, 12, 1),
    ),
    Fault(
        "_endpoint_closed",
        '  version: "1.35"\n',
        '  version: "1.35"\n  public_endpoint_cidrs: [0.0.0.0/0]\n',
        "0.0.0.0/0",
        "reach the API server",
    ),
    Fault("_pools_once", "name: train-h200", "name: ai100", "ai100", "stands twice"),
    Fault(
        "_pools_once", "name: system-west, kind: system", "name: system-west, kind: cpu", "pools:", "has no system pool"
    ),
    Fault(
        "_pools_placed",
        "name: system-west, kind: system, region: us-west-2",
        "name: sw, kind: system, region: eu-west-1",
        "region: eu-west-1",
        "none of this environment's",
    ),
    Fault("_pools_placed", "zones: [us-east-1b]", "zones: [us-east-1f]", "us-east-1f", "none of region us-east-1's"),
    Fault("_pools_placed", "zones: [us-east-1b]", "zones: [us-east-1a, us-east-1b]", "efa:", "all nodes in one zone"),
    Fault("_pools_sized", "maximum: 40,", "maximum: 40, desired: 50,", "maximum: 40", "0 <= 50 <= 40 does not hold"),
    Fault(
        "_pools_sized",
        "minimum: 3, desired: 3, maximum: 6, cost_center: platform, team: platform}\n  - {name: system-w",
        "minimum: 1, desired: 3, maximum: 6, cost_center: platform, team: platform}\n  - {name: system-w",
        "minimum: 1",
        "fewer than 2 nodes",
    ),
    Fault(
        "_pools_alike", "[c8g.8xlarge, m8g.8xlarge]", "[c8g.8xlarge, m8i.8xlarge]", "m8i.8xlarge", "x86 and Graviton"
    ),
    Fault(
        "_pools_sized",
        "name: system-west, kind: system,",
        "name: system-west, kind: system, manager: karpenter,",
        "manager: karpenter",
        "Karpenter itself runs on system nodes",
    ),
    Fault("_pools_alike", "[p5en.48xlarge]", "[m7i.48xlarge]", "m7i.48xlarge", "no type with NVIDIA"),
    Fault("_pools_alike", "[p6-b200.48xlarge]", "[p6-b200.48xlarge, p5.48xlarge]", "p6-b200", "one instance type"),
    Fault("_pools_alike", "[p5en.48xlarge]", "[p5en.48xlarge, p5.48xlarge]", "p5en", "differ in their EFA cards"),
    Fault("_pools_alike", "[p5en.48xlarge]", "[g6e.xlarge]", "g6e.xlarge", "has no EFA cards known here"),
    Fault("_pools_complete", TRAIN_H200, "", "capacity: reserved", "no reservation is named"),
    Fault(
        "_pools_complete",
        "    capacity: reserved\n",
        "    capacity: spot\n",
        "reservation_id",
        "a reservation is named",
    ),
    Fault(
        "_pools_complete",
        "    zones: [us-east-1a]\n    efa: true\n    reservation_id",
        "    zones: [us-east-1a, us-east-1b]\n    efa: false\n    reservation_id",
        "zones:",
        "a Capacity Block lies in one zone",
    ),
    Fault(
        "_pools_complete",
        "    capacity: capacity_block\n",
        "    capacity: capacity_block\n    placement_group: theirs\n",
        "placement_group",
        "a placement group of others",
    ),
    Fault("_pools_complete", "    ami_id: ami-0a1b2c3d4e5f60718\n", "", "name: ai100", "no machine image"),
    Fault(
        "_pools_complete",
        "    instance_types: [dl2q.24xlarge]\n",
        "    instance_types: [dl2q.24xlarge]\n    manager: karpenter\n",
        "manager:",
        "Karpenter knows no qualcomm.com/qaic",
    ),
    Fault("_pools_complete", "[dl2q.24xlarge]", "[p5.48xlarge]", "instance_types", "only dl2q"),
    Fault(
        "_pools_complete",
        'offered as spot", expires: "2027-06-30"',
        'offered as spot", expires: "2026-02-30"',
        "expires",
        "is no day",
    ),
    Fault(
        "_pools_complete",
        'offered as spot", expires: "2027-06-30"',
        'offered as spot", expires: "2026-06-30"',
        "expires",
        "ended on 2026-06-30",
    ),
    Fault("_data_complete", "    derived: {expire_days: 1095}\n", "", "buckets:", "'derived' has no bucket"),
    Fault("_data_complete", "replica_region: us-west-2", "replica_region: us-east-1", "replica_region", "lost with it"),
    Fault(
        "_data_complete", "lock_days: 3650,", "lock_days: 3650, expire_days: 30,", "expire_days: 30", "are locked for"
    ),
    Fault(
        "_data_complete", "{expire_days: 1095, archive", "{expire_days: 100, archive", "archive_days", "before they are"
    ),
    Fault("_data_complete", "{lock_days: 3650, ", "{", "releases:", "are not locked"),
    Fault(
        "_lifecycle_once",
        "derived: {expire_days: 1095}",
        "derived: {expire_days: 1095, lifecycle_file: derived.json}",
        "expire_days",
        "stands beside lifecycle_file",
    ),
    Fault(
        "_lifecycle_once",
        "samples: {replicate: true}",
        "samples: {replicate: true, existing_bucket: theirs}",
        "existing_bucket",
        "others made this bucket",
    ),
    Fault("_backups_known", "backup_tier: cluster", "backup_tier: clusters", "clusters", "none of this environment's"),
    Fault("_backups_known", "  backup_tier: cluster\n", "", "cluster:", "nothing is backed up by tier 'cluster'"),
    Fault(
        "_backups_known",
        "{rpo_hours: 1, rto_hours: 4, keep_days: 35}",
        "{rpo_hours: 1, rto_hours: 4, keep_days: 36}",
        "keep_days: 36",
        "needs continuous backups",
    ),
    Fault(
        "_database_complete",
        "max_storage_gib: 4000",
        "max_storage_gib: 400",
        "max_storage_gib",
        "less than storage_gib",
    ),
    Fault(
        "_database_complete", "backup_region: us-west-2", "backup_region: us-east-1", "backup_region", "lost with it"
    ),
    Fault("_budgets_once", LAST_BUDGET, "", "budgets:", "'edge' has no budget"),
    Fault("_budgets_once", LAST_BUDGET, LAST_BUDGET + LAST_BUDGET, "account: edge", "'edge' has two budgets"),
    Fault(
        "_closed_network",
        "    nat: per_zone\n  - name: us-west-2",
        "    nat: none\n    interface_endpoints: [sts]\n  - name: us-west-2",
        "interface_endpoints",
        "without NAT, nodes cannot reach ec2",
    ),
    Fault(
        "_closed_network",
        "    data: {cidr: 10.81.0.0/20}\n    nat: per_zone",
        "    data: {cidr: 10.81.0.0/20}\n    nat: none",
        "nat: none",
        "us-west-2 cannot reach the buckets",
    ),
    Fault(
        "_emulated_provider",
        "aws_provider: 5.100.0",
        "aws_provider: ~> 6.0",
        "aws_provider",
        "one provider",
        base="local",
    ),
)


def test_every_rule_has_a_fault_that_it_sees() -> None:
    assert {rule.__name__ for rule in RULES} == {fault.rule for fault in FAULTS}


@pytest.mark.parametrize("name", environment_names())
def test_the_environments_pass_every_rule(name: str) -> None:
    environment = load_environment(name, today=TODAY)
    for rule in RULES:
        assert list(rule(environment, TODAY)) == [], rule.__name__


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.rule}: {fault.what}"[:60])
def test_a_fault_is_refused_with_its_line_and_a_remedy(fault: Fault, environments: Path) -> None:
    path = environments / f"{fault.base}.yaml"
    text = path.read_text()
    assert text.count(fault.old) >= 1, f"{fault.old!r} is not in {path.name}"
    path.write_text(text.replace(fault.old, fault.new, 1))
    with pytest.raises(ConfigError) as refused:
        load_environment(fault.base, today=fault.today, folder=environments)
    said = str(refused.value)
    found = [item for item in said.splitlines() if fault.what in item]
    assert found, said
    number = re.search(rf"{re.escape(path.name)}:(\d+)", found[0])
    assert number, f"no line in {found[0]!r}"
    assert fault.line in path.read_text().splitlines()[int(number[1]) - 1]
    assert refused.value.remedy


@pytest.mark.parametrize("rule", sorted({fault.rule for fault in FAULTS}))
def test_a_fault_is_seen_by_its_own_rule_alone(rule: str, environments: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fault = next(item for item in FAULTS if item.rule == rule)
    path = environments / f"{fault.base}.yaml"
    path.write_text(path.read_text().replace(fault.old, fault.new, 1))
    monkeypatch.setattr("cdk.rules.RULES", tuple(item for item in RULES if item.__name__ != rule))
    said = ""
    try:
        load_environment(fault.base, today=fault.today, folder=environments)
    except ConfigError as refused:
        said = str(refused)
    assert fault.what not in said
