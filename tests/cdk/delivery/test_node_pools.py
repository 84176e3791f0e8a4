"""The pools that Karpenter makes are on the page of a plan, which Terraform knows nothing of."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

from plan_examples import plan, resource

from cdk.config import load_environment
from cdk.delivery.cost_of_plan import cost_of
from cdk.delivery.node_pools import write_node_pools


def test_a_plan_without_karpenter_is_not_charged_with_its_nodes(tmp_path: Path) -> None:
    dev = load_environment("dev", today=date(2026, 11, 30))
    folder = write_node_pools(dev, tmp_path / "node_pools")
    assert len(list(folder.rglob("nodepool*.yaml"))) == 1
    assert list(write_node_pools(dev, folder, ("karpenter-us-east-1",)).rglob("*.yaml")) == []


def test_the_page_of_a_plan_prices_karpenters_pools_and_without_them_says_that_they_are_missing(tmp_path: Path) -> None:
    folder = write_node_pools(load_environment("dev", today=date(2026, 11, 30)), tmp_path / "node_pools")
    assert [path.parent.parent.name for path in folder.rglob("nodepool*.yaml")] == ["us-east-1"]
    file = tmp_path / "plan.json"
    body = {"account": "1", "region": "us-east-1", "terraform": plan(resource("aws_eks_cluster", version="1.35"))}
    stack = {"cluster": {**body, "not_emulated": None}}
    file.write_text(json.dumps({"format": "drivetrain-plan/1", "environment": "dev", "stacks": stack}))
    with_pools, without = cost_of(file, folder), cost_of(file)
    assert with_pools.unknown is None
    # 20 nodes of m7i.8xlarge at 1.61280 with 100 GB each, and the cluster
    assert with_pools.monthly_usd.max is not None
    assert 20 * 730 * 1.6 < with_pools.monthly_usd.max < 25_000
    assert any("no manifests given" in reason for reason in without.unpriced)
    assert not any("no manifests given" in reason for reason in with_pools.unpriced)
