"""The order that prices give: read whole, or refused with the reason."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from clusters import place_of

from cdk.cluster.catalogue import objects_of
from cdk.cluster.kinds.karpenter import EC2NodeClass, NodePool
from cdk.cluster.kinds.kueue import ClusterQueue
from cdk.cluster.spot_order import SpotOrder, read_spot_order
from cdk.model import Capacity
from platform_lib.errors import ConfigError

PLACE = place_of("prod")
POOLS = PLACE.environment.pools


def _write(path: Path, **content: object) -> Path:
    path.write_text(json.dumps({"environment": "prod", "pools": [], **content}))
    return path


def test_an_order_moves_flavours_and_weights(tmp_path: Path) -> None:
    pools = [{"name": "train-h100-spot", "weight": 90}, {"name": "cpu", "weight": 40}]
    order = read_spot_order(_write(tmp_path / "o.json", pools=pools), "prod", POOLS)
    objects = objects_of(PLACE, order)
    share = next(item for item in objects if isinstance(item, ClusterQueue))
    tried = [item.name for item in share.spec.resource_groups[0].flavors]
    assert tried[:2] == ["train-h100-spot", "cpu"]
    assert tried[-1] == "system"
    weights = {item.metadata.name: item.spec.weight for item in objects if isinstance(item, NodePool)}
    assert weights == {"cpu": 40}


def test_without_an_order_the_environments_own_holds() -> None:
    pools = [item for item in POOLS if item.name in {"cpu", "cpu-arm", "cpu-west"}]
    assert [SpotOrder().weight(item, pools) for item in pools] == [100, 99, 98]
    assert [SpotOrder({"cpu-arm": 50}).weight(item, pools) for item in pools] == [49, 50, 48]
    assert SpotOrder().sorted(pools) == pools


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"pools": [{"name": "gone", "weight": 1}]}, "names pool 'gone'"),
        ({"pools": [{"name": "cpu", "weight": 101}]}, "less than or equal to 100"),
        ({"pools": [{"name": "cpu", "wieght": 1}]}, "wieght|weight"),
        ({"environment": "dev"}, "is the order of environment 'dev'"),
    ],
)
def test_a_wrong_order_is_refused(tmp_path: Path, content: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_spot_order(_write(tmp_path / "o.json", **content), "prod", POOLS)


def test_an_order_that_is_no_json_or_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_spot_order(tmp_path / "gone.json", "prod", POOLS)
    (tmp_path / "o.json").write_text("pools: []")
    with pytest.raises(ConfigError, match="is no JSON"):
        read_spot_order(tmp_path / "o.json", "prod", POOLS)


def test_karpenters_nodes_are_closed_encrypted_pinned_and_tagged() -> None:
    objects = objects_of(PLACE)
    for item in [item for item in objects if isinstance(item, EC2NodeClass)]:
        spec = item.spec
        assert spec.metadata_options.http_tokens == "required"
        assert spec.metadata_options.http_put_response_hop_limit == 1
        assert all(disk.ebs.encrypted and disk.ebs.volume_type == "gp3" for disk in spec.block_device_mappings)
        assert spec.ami_selector_terms[0].alias is not None
        assert not spec.ami_selector_terms[0].alias.endswith("latest")
        assert {"drivetrain:cost-center", "drivetrain:team", "drivetrain:environment"} <= spec.tags.keys()
    for pool in [item for item in objects if isinstance(item, NodePool)]:
        assert pool.spec.disruption.consolidation_policy == "WhenEmpty"
        assert pool.spec.template.spec.termination_grace_period.endswith("h")
        assert "nodes" in pool.spec.limits


def test_a_training_pool_of_karpenters_keeps_its_nodes_an_hour_and_efa_is_refused() -> None:
    training = next(item for item in POOLS if item.name == "notebooks-l40s")
    pool = training.model_copy(update={"manager": "karpenter", "capacity": Capacity.SPOT})
    karpenter = type(PLACE.karpenter_pools[0].manager).KARPENTER
    pool = pool.model_copy(update={"manager": karpenter})

    def nodes_with(item: object) -> list[NodePool]:
        environment = PLACE.environment.model_copy(
            update={"pools": tuple(item if other.name == "notebooks-l40s" else other for other in POOLS)}
        )
        place = type(PLACE)(environment, PLACE.region, "v1")
        return [found for found in objects_of(place) if isinstance(found, NodePool)]

    made = next(item for item in nodes_with(pool) if item.metadata.name == "notebooks-l40s")
    assert made.spec.disruption.consolidate_after == "60m"
    assert made.spec.template.spec.taints is not None
    with pytest.raises(ConfigError, match="EFA nodes of one placement group are not Karpenter's"):
        nodes_with(pool.model_copy(update={"efa": True}))
