"""A month of each kind of resource, beside the calculation by hand from the price lists of the snapshot of 2026-11-20.

Hours of a month: 730. Every number on the right is the price that stands in the snapshot, written out once more.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from plan_examples import plan, resource

from cost.plan.estimate import Estimate, Priced, estimate
from cost.plan.karpenter import pools_of
from cost.plan.kinds import FREE, RULES
from cost.plan.model import Resource
from cost.plan.resources import Place, sides_of
from cost.plan.usage import NO_USAGE, UsageFile
from cost.prices.snapshot import load

TODAY = date(2026, 11, 20)
HERE = Place(region="us-east-1")
BOOK = load("2026-11-20")
LIMIT = Decimal("0.02")


@dataclass(frozen=True)
class Golden:
    """One case: resources, what is used, and the sum by hand of the kind's resource; `at_least` where a part is unknown."""

    kind: str
    by_hand: float
    after: dict[str, Any] = field(default_factory=dict)
    usage: dict[str, Any] = field(default_factory=dict)
    beside: tuple[dict[str, Any], ...] = ()
    references: dict[str, Any] = field(default_factory=dict)
    at_least: bool = False
    most: float | None = None
    name: str = ""


TEMPLATE = resource(
    "aws_launch_template",
    instance_type="m7i.large",
    block_device_mappings=[{"ebs": [{"volume_size": 100, "volume_type": "gp3"}]}],
)
OF_TEMPLATE = {"launch_template": {"id": ["aws_launch_template.it.id", "aws_launch_template.it"]}}
GOLDENS = [
    Golden("aws_eks_cluster", 730 * 0.10, {"version": "1.35"}),  # 73.00
    Golden("aws_eks_cluster", 730 * 0.60, {"version": "1.30"}, name="extended support"),  # 438.00
    # 3 x m7i.large x 730 h x 0.1008 = 220.75, and 3 x 100 GB of gp3 x 0.08 = 24.00; at most 5 of each
    Golden(
        "aws_eks_node_group",
        3 * 730 * 0.1008 + 3 * 100 * 0.08,
        {
            "instance_types": ["m7i.large"],
            "capacity_type": "ON_DEMAND",
            "scaling_config": [{"desired_size": 3, "max_size": 5, "min_size": 1}],
        },
        beside=(TEMPLATE,),
        references=OF_TEMPLATE,
        most=5 * 730 * 0.1008 + 5 * 100 * 0.08,
    ),
    # Two p5en as spot at the lowest price seen (16.56), and 200 GB of disk; at most 4 at 63.30 on demand
    Golden(
        "aws_eks_node_group",
        2 * 730 * 16.56 + 2 * 100 * 0.08,
        {
            "instance_types": ["p5en.48xlarge"],
            "capacity_type": "SPOT",
            "scaling_config": [{"desired_size": 2, "max_size": 4}],
        },
        beside=(TEMPLATE,),
        references=OF_TEMPLATE,
        at_least=True,
        most=4 * 730 * 63.296 + 4 * 100 * 0.08,
        name="spot",
    ),
    # EKS's own choice of disk where there is no template: 20 GB of gp2
    Golden(
        "aws_eks_node_group",
        730 * 0.20160 + 20 * 0.10,
        {"instance_types": ["m7i.xlarge"], "scaling_config": [{"desired_size": 1, "max_size": 1}]},
        name="without a template",
    ),
    Golden(
        "aws_autoscaling_group",
        2 * 730 * 0.1008 + 2 * 100 * 0.08,
        {"desired_capacity": 2, "max_size": 2},
        beside=(TEMPLATE,),
        references=OF_TEMPLATE,
    ),
    Golden(
        "aws_instance",
        730 * 0.0832 + 50 * 0.08,  # 60.74 + 4.00
        {"instance_type": "t3.large", "root_block_device": [{"volume_size": 50, "volume_type": "gp3"}]},
    ),
    Golden("aws_spot_instance_request", 730 * 13.03, {"instance_type": "p6-b200.48xlarge"}, at_least=True),
    Golden("aws_ec2_capacity_reservation", 2 * 730 * 63.296, {"instance_type": "p5en.48xlarge", "instance_count": 2}),
    Golden("aws_ebs_volume", 500 * 0.08, {"type": "gp3", "size": 500}),
    Golden("aws_ebs_volume", 500 * 0.10, {"type": "gp2", "size": 500}, name="gp2"),
    Golden("aws_ebs_volume", 2000 * 0.045, {"type": "st1", "size": 2000}, name="st1"),
    Golden("aws_ebs_volume", 2000 * 0.015, {"type": "sc1", "size": 2000}, name="sc1"),
    Golden("aws_ebs_volume", 100 * 0.125, {"type": "io1", "size": 100, "iops": 500}, at_least=True, name="io1"),
    Golden(
        "aws_nat_gateway", 730 * 0.045 + 1000 * 0.045, usage={"nat_gateways": [{"match": "*", "processed_gb": 1000}]}
    ),
    Golden(
        "aws_vpc_endpoint",
        3 * 730 * 0.01 + 500 * 0.01,
        {"vpc_endpoint_type": "Interface", "subnet_ids": ["a", "b", "c"]},
        {"endpoints": [{"match": "*", "processed_gb": 500}]},
    ),
    # 1 PB at .01, 4 PB at .006, 1 PB at .004, in one zone
    Golden(
        "aws_vpc_endpoint",
        730 * 0.01 + 1_000_000 * 0.01 + 4_000_000 * 0.006 + 1_000_000 * 0.004,
        {"vpc_endpoint_type": "Interface", "subnet_ids": ["a"]},
        {"endpoints": [{"match": "*", "processed_gb": 6_000_000}]},
        name="tiers",
    ),
    Golden("aws_vpc_endpoint", 0, {"vpc_endpoint_type": "Gateway"}, name="gateway"),
    # A GB is paid on both sides: 2 x 0.01
    Golden("aws_vpc_peering_connection", 5000 * 2 * 0.01, usage={"peerings": [{"match": "*", "cross_zone_gb": 5000}]}),
    Golden(
        "aws_lb",
        730 * 0.0225 + 2 * 730 * 0.008,  # 16.43 + 11.68
        {"load_balancer_type": "application"},
        {"balancers": [{"match": "*", "capacity_units": 2}]},
    ),
    Golden("aws_alb", 730 * 0.0225, usage={"balancers": [{"match": "*", "capacity_units": 0}]}),
    Golden(
        "aws_db_instance",
        730 * 0.145 + 100 * 0.115 + 50 * 0.095 + 0.40,  # 105.85 + 11.50 + 4.75 + the master's secret
        {
            "engine": "postgres",
            "instance_class": "db.t3.large",
            "storage_type": "gp2",
            "allocated_storage": 100,
            "max_allocated_storage": 400,
            "manage_master_user_password": True,
        },
        {"databases": [{"match": "*", "additional_backup_gb": 50}]},
        most=730 * 0.145 + 400 * 0.115 + 50 * 0.095 + 0.40,
    ),
    Golden(
        "aws_db_instance_automated_backups_replication",
        200 * 0.095,
        usage={"database_copies": [{"match": "*", "stored_gb": 200}]},
    ),
    # 10 TB Standard, 20 TB Intelligent-Tiering (half of it cold) with 40,000 objects watched, 5 TB Deep Archive,
    # 2M PUT at .005 and 50M GET at .0004 a thousand
    Golden(
        "aws_s3_bucket",
        10_000 * 0.023
        + 10_000 * 0.023
        + 10_000 * 0.0125
        + 40 * 0.0025
        + 5_000 * 0.00099
        + 2_000 * 0.005
        + 50_000 * 0.0004,
        usage={
            "buckets": [
                {
                    "match": "*",
                    "standard_gb": 10_000,
                    "intelligent_frequent_gb": 10_000,
                    "intelligent_infrequent_gb": 10_000,
                    "intelligent_kilo_objects": 40,
                    "deep_archive_gb": 5_000,
                    "put_kilo_requests": 2_000,
                    "get_kilo_requests": 50_000,
                }
            ]
        },
    ),
    Golden(
        "aws_s3_bucket",
        1_000 * 0.0125 + 2_000 * 0.004 + 300 * 0.01 + 100 * 0.03,
        usage={
            "buckets": [
                {
                    "match": "*",
                    "standard_gb": 0,
                    "standard_ia_gb": 1_000,
                    "glacier_instant_gb": 2_000,
                    "standard_ia_retrieved_gb": 300,
                    "glacier_instant_retrieved_gb": 100,
                    "put_kilo_requests": 0,
                    "get_kilo_requests": 0,
                }
            ]
        },
        name="cold",
    ),
    Golden("aws_ecr_repository", 80 * 0.10, usage={"repositories": [{"match": "*", "stored_gb": 80}]}),
    Golden(
        "aws_backup_vault",
        500 * 0.06 + 100 * 0.055,
        usage={"backups": [{"match": "*", "efs_gb": 500, "fsx_lustre_gb": 100, "other_gb": 0}]},
    ),
    Golden("aws_kms_key", 1.00 + 50 * 0.03, usage={"keys": [{"match": "*", "requests": 500_000}]}),
    Golden("aws_kms_replica_key", 1.00 + 1 * 0.03, usage={"keys": [{"match": "*", "requests": 10_000}]}),
    Golden("aws_secretsmanager_secret", 0.40 + 3 * 0.05, usage={"secrets": [{"match": "*", "requests": 30_000}]}),
    Golden("aws_sqs_queue", 10 * 0.40, usage={"queues": [{"match": "*", "requests": 10_000_000}]}),
    Golden(
        "aws_sqs_queue",
        10 * 0.50,
        {"fifo_queue": True},
        {"queues": [{"match": "*", "requests": 10_000_000}]},
        name="fifo",
    ),
    Golden("aws_sns_topic", 4 * 0.50, usage={"topics": [{"match": "*", "requests": 4_000_000}]}),
    Golden(
        "aws_cloudtrail",
        20 * 0.10 + 5 * 2.00,
        {"event_selector": [{"read_write_type": "All"}]},
        {"trails": [{"match": "*", "data_events": 2_000_000, "additional_management_events": 500_000}]},
    ),
    Golden(
        "aws_cloudwatch_log_group",
        100 * 0.50 + 300 * 0.03,
        usage={"logs": [{"match": "*", "ingested_gb": 100, "stored_gb": 300}]},
    ),
    Golden("aws_cloudwatch_metric_alarm", 0.10, {"period": 300}),
    Golden("aws_cloudwatch_metric_alarm", 0.30, {"period": 10}, name="high resolution"),
    Golden(
        "aws_cloudwatch_metric_alarm",
        3 * 0.10,
        {"metric_query": [{"id": "e", "metric": []}, *({"id": n, "metric": [{"period": 60}]} for n in "abc")]},
        name="three metrics",
    ),
    Golden("aws_config_configuration_recorder", 10_000 * 0.003, usage={"config": [{"match": "*", "items": 10_000}]}),
    Golden("aws_config_config_rule", 50_000 * 0.001, usage={"config": [{"match": "*", "evaluations": 50_000}]}),
]


def _estimate(golden: Golden) -> Estimate:
    document = plan(resource(golden.kind, references=golden.references, **golden.after), *golden.beside)
    usage = UsageFile.model_validate({"format": "drivetrain-usage/1", **golden.usage})
    return estimate([sides_of(document, HERE)], (), usage, BOOK, TODAY)


def _one(found: Estimate, kind: str) -> Priced:
    (item,) = [item for item in found.priced if item.resource.kind == kind]
    return item


def _near(usd: Decimal, by_hand: float) -> bool:
    return abs(usd - Decimal(str(by_hand))) <= LIMIT * Decimal(str(by_hand))


@pytest.mark.parametrize("golden", GOLDENS, ids=lambda item: f"{item.kind} {item.name}".strip())
def test_a_month_is_within_two_percent_of_the_calculation_by_hand(golden: Golden) -> None:
    item = _one(_estimate(golden), golden.kind)
    assert _near(item.cost_desired.usd, golden.by_hand), f"{item.cost_desired} for {golden.by_hand:.2f}"
    assert item.cost_desired.complete is not golden.at_least, item.reasons
    assert item.cost_now.usd == 0
    if golden.most is not None:
        assert _near(item.cost_most.usd, golden.most), f"at most {item.cost_most} for {golden.most:.2f}"


def test_a_wrong_price_would_be_seen() -> None:
    golden = GOLDENS[0]
    assert not _near(_one(_estimate(golden), golden.kind).cost_desired.usd, golden.by_hand * 1.03)


POOL = {
    "kind": "NodePool",
    "metadata": {"name": "cpu"},
    "spec": {
        "limits": {"nodes": "20", "cpu": "640"},
        "template": {
            "metadata": {"labels": {"drivetrain.io/team": "data", "drivetrain.io/pool": "cpu"}},
            "spec": {
                "nodeClassRef": {"name": "cpu"},
                "requirements": [
                    {"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["on-demand"]},
                    {
                        "key": "node.kubernetes.io/instance-type",
                        "operator": "In",
                        "values": ["c7a.8xlarge", "c7i.8xlarge"],
                    },
                    {"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["us-east-1a", "us-east-1b"]},
                ],
            },
        },
    },
}
CLASS = {
    "kind": "EC2NodeClass",
    "metadata": {"name": "cpu"},
    "spec": {"blockDeviceMappings": [{"ebs": {"volumeSize": "200Gi"}}]},
}


def _karpenter(pool: dict[str, Any], usage: UsageFile = NO_USAGE) -> tuple[Priced, Resource]:
    (made,) = pools_of([(None, pool), (None, CLASS)])
    (priced,) = estimate([], [made], usage, BOOK, TODAY).priced
    return priced, made


def test_a_node_pool_of_karpenter_is_a_range_up_to_its_limit() -> None:
    priced, made = _karpenter(POOL)
    # At most 20 nodes of the dearest type, c7a.8xlarge at 1.64224, each with 200 GB of gp3
    assert _near(priced.cost_most.usd, 20 * 730 * 1.64224 + 20 * 200 * 0.08)
    assert priced.cost_desired.nothing_known
    assert any("average_nodes" in reason for reason in priced.reasons)
    assert (made.region, made.tag("team")) == ("us-east-1", "data")


def test_a_node_pool_whose_mean_is_known_has_a_price_of_the_cheapest_type() -> None:
    usage = UsageFile.model_validate(
        {"format": "drivetrain-usage/1", "nodes": [{"match": "cpu", "average_nodes": "2.5"}]}
    )
    priced, _ = _karpenter(POOL, usage)
    assert _near(priced.cost_desired.usd, 2.5 * 730 * 1.428 + 2.5 * 200 * 0.08)
    assert priced.cost_desired.complete


def test_a_node_pool_without_a_limit_has_no_most() -> None:
    pool = {**POOL, "spec": {**POOL["spec"], "limits": {}}}  # type: ignore[dict-item]
    assert _karpenter(pool)[0].cost_most.nothing_known


def test_at_least_25_kinds_have_a_golden_and_every_free_kind_says_by_whose_word() -> None:
    charged = {golden.kind for golden in GOLDENS if golden.by_hand > 0} | {"karpenter_node_pool"}
    assert len(charged) >= 25, sorted(charged)
    assert set(FREE) & set(RULES) == set()
    assert all("Source: " in why or "a setting of another resource" in why for why in FREE.values())
