"""Instance types, labels and what a node does when it starts."""

from __future__ import annotations

import json

import pytest

from cdk.blocks.node_start import ClusterEntry, node_config
from cdk.instances import INSTANCE_TYPES, accelerator_of, efa_layout, has_local_disks, is_arm
from cdk.labels import labels_of, tags_of, taints_of
from cdk.model import Addon, PolicyException, Pool, PoolKind
from cdk.support import ADDON_VERSIONS, EKS_VERSIONS, addon_version

TRAIN = Pool.model_validate(
    {
        "name": "train",
        "kind": "nvidia",
        "instance_types": ["p5.48xlarge"],
        "cost_center": "perception",
        "team": "planning",
    }
)
CLUSTER = ClusterEntry(name="c", endpoint="https://c", certificate="Y2E=", service_range="172.20.0.0/16")


@pytest.mark.parametrize(
    ("instance_type", "arm"),
    [
        ("m7g.large", True),
        ("c8gn.8xlarge", True),
        ("r8gd.large", True),
        ("g6e.48xlarge", False),
        ("p6-b200.48xlarge", False),
        ("m7i.large", False),
        ("dl2q.24xlarge", False),
    ],
)
def test_graviton_is_told_from_a_graphics_card(instance_type: str, arm: bool) -> None:
    assert is_arm(instance_type) is arm


def test_what_is_not_known_is_none_and_not_zero() -> None:
    assert accelerator_of("g6e.xlarge") == "nvidia-l40s"
    assert accelerator_of("m7i.large") is None
    assert efa_layout("g6e.xlarge") is None
    assert efa_layout("p6-b300.48xlarge") == (16, 1)
    assert has_local_disks("p5.48xlarge")
    assert not has_local_disks("dl2q.24xlarge")


def test_no_type_has_more_efa_cards_than_exist() -> None:
    assert max(item.efa_cards for item in INSTANCE_TYPES.values()) == 32
    assert all(item.accelerators in {1, 8} for item in INSTANCE_TYPES.values())


def test_labels_split_the_bill_and_schedule() -> None:
    assert labels_of(TRAIN) == {
        "drivetrain.io/accelerator": "nvidia-h100",
        "drivetrain.io/capacity": "on-demand",
        "drivetrain.io/cost-center": "perception",
        "drivetrain.io/kind": "nvidia",
        "drivetrain.io/pool": "train",
        "drivetrain.io/team": "planning",
    }
    mixed = TRAIN.model_copy(update={"instance_types": ("p5.48xlarge", "p5en.48xlarge")})
    assert "drivetrain.io/accelerator" not in labels_of(mixed)
    assert [item.key for item in taints_of(TRAIN)] == ["nvidia.com/gpu"]
    assert taints_of(TRAIN.model_copy(update={"kind": PoolKind.CPU})) == []


def test_an_exception_is_on_the_bill() -> None:
    excused = TRAIN.model_copy(
        update={"exception": PolicyException(reason='AWS\'s "best" offer, really', expires="2027-01-31")}
    )
    assert tags_of(excused)["drivetrain:exception-expires"] == "2027-01-31"
    assert tags_of(excused)["drivetrain:exception-reason"] == "AWSs best offer really"
    assert not any("exception" in name for name in tags_of(TRAIN))


def _spec(text: str) -> dict[str, object]:
    body = text.split("application/node.eks.aws\n\n")[1].rsplit("\n--drivetrain--", 1)[0]
    spec: dict[str, object] = json.loads(body)["spec"]
    return spec


def test_a_node_of_an_own_image_knows_its_cluster_labels_and_taints() -> None:
    spec = _spec(node_config(CLUSTER, labels={"b": "2", "a": "1"}, taints=taints_of(TRAIN), local_disks=True))
    assert spec["cluster"] == {
        "name": "c",
        "apiServerEndpoint": "https://c",
        "certificateAuthority": "Y2E=",
        "cidr": "172.20.0.0/16",
    }
    assert spec["kubelet"] == {
        "flags": ["--node-labels=a=1,b=2", "--register-with-taints=nvidia.com/gpu=present:NoSchedule"]
    }
    assert spec["instance"] == {"localStorage": {"strategy": "RAID0"}}


def test_a_node_of_eks_is_told_only_what_eks_does_not_know() -> None:
    assert _spec(node_config(None, labels={"a": "1"}, taints=[], local_disks=True)) == {
        "instance": {"localStorage": {"strategy": "RAID0"}}
    }


def test_the_addons_that_must_match_are_known_for_every_version() -> None:
    assert set(ADDON_VERSIONS) == set(EKS_VERSIONS)
    for version in EKS_VERSIONS:
        proxy = addon_version(version, Addon.KUBE_PROXY)
        assert proxy is not None
        assert proxy.startswith(f"v{version}.")  # it follows the API server, minor for minor
        assert addon_version(version, Addon.COREDNS) is not None
        assert addon_version(version, Addon.VPC_CNI) is not None
    assert addon_version("1.34", Addon.EBS_CSI) is None
    assert addon_version("1.99", Addon.COREDNS) is None
