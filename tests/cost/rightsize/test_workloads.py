from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from cost.prices.snapshot import load
from cost.report.proposals import ProposalFile
from cost.rightsize import quantity
from cost.rightsize.cluster_json import read_cluster
from cost.rightsize.model import MIB, ContainerKey, Requested
from cost.rightsize.patches import Patch, faults, patches_of
from cost.rightsize.recommend import Bound, Recommendation, Refused
from cost.rightsize.saving import saving_of
from cost.rightsize.workloads import guessed_workload, read_workloads
from platform_lib.cli import run
from platform_lib.errors import ConfigError


def pod(
    name: str,
    *,
    node: str | None = "n1",
    owner: str | None = "ReplicaSet/web-6b7c8d9f4",
    cpu: str = "500m",
    **more: Any,
) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "namespace": "shop", **more.pop("metadata", {})}
    if owner:
        kind, _, owner_name = owner.partition("/")
        metadata["ownerReferences"] = [{"kind": kind, "name": owner_name, "controller": True}]
    resources = {"requests": {"cpu": cpu, "memory": "1Gi"}, "limits": {"memory": "2Gi"}}
    spec = {"containers": [{"name": "main", "resources": resources}], **({"nodeName": node} if node else {})}
    return {"kind": "Pod", "metadata": metadata, "spec": {**spec, **more}, "status": {"phase": "Running"}}


def node(name: str, kind: str = "m7i.xlarge", pool: str = "general") -> dict[str, Any]:
    labels = {
        "node.kubernetes.io/instance-type": kind,
        "topology.kubernetes.io/region": "us-east-1",
        "karpenter.sh/nodepool": pool,
    }
    allocatable = {"cpu": "3920m", "memory": "14Gi"}
    return {"kind": "Node", "metadata": {"name": name, "labels": labels}, "status": {"allocatable": allocatable}}


def write(path: Path, *items: Any) -> Path:
    path.write_text(json.dumps({"kind": "List", "items": items}))
    return path


@pytest.mark.parametrize(
    ("text", "value"),
    [("250m", 0.25), ("1.5", 1.5), ("512Mi", 512 * MIB), ("1e3", 1000.0), ("2k", 2000.0), (3, 3.0), (".5", 0.5)],
)
def test_quantities_are_read(text: object, value: float) -> None:
    assert quantity.parse(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "five", "1 Gi", "-1", "1Kb", None])
def test_what_is_no_quantity_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="no quantity"):
        quantity.parse(text)


def test_sizes_are_rounded_up() -> None:
    assert (quantity.cpu(0.2501), quantity.cpu(0.25), quantity.memory(MIB * 10), quantity.memory(MIB * 10 + 1)) == (
        "251m", "250m", "10Mi", "11Mi",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "workload"),
    [
        ("web-6b7c8d9f4-x2b4z", "Deployment/web"),
        ("db-0", "StatefulSet/db"),
        ("agent-x2b4z", "DaemonSet/agent"),
        ("once", "Pod/once"),
        ("my-web-6b7c8d9f4-x2b4z", "Deployment/my-web"),
    ],
)
def test_a_pod_that_is_gone_is_known_by_its_name(name: str, workload: str) -> None:
    assert guessed_workload(name) == workload


def test_requests_are_read_and_replicas_counted(tmp_path: Path) -> None:
    gone = {**pod("web-6b7c8d9f4-ggggg"), "status": {"phase": "Succeeded"}}
    found = read_workloads(
        write(tmp_path / "w.json", pod("web-6b7c8d9f4-x2b4z"), pod("web-6b7c8d9f4-x2b4k"), gone, {"kind": "Pod"}, 7)
    )
    key = ContainerKey("shop", "Deployment/web", "main")
    assert found.requested == {key: Requested(0.5, None, 1024 * MIB, 2048 * MIB, 2)}
    assert found.workload_of("shop", "web-6b7c8d9f4-x2b4z") == "Deployment/web"
    assert found.broken.total == 2
    assert "item 3" in str(found.broken.first)


@pytest.mark.parametrize("content", ["", "[]", '{"kind": "Pod"}'])
def test_what_is_no_list_says_how_to_write_one(tmp_path: Path, content: str) -> None:
    path = tmp_path / "w.json"
    path.write_text(content)
    with pytest.raises(ConfigError, match="kubectl get pods"):
        read_workloads(path)


def deployment() -> dict[str, Any]:
    container = {
        "name": "main",
        "image": "web:1",
        "resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "2", "memory": "4Gi"}},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}},
        },
    }


def recommendation(asked: Requested | None, workload: str = "Deployment/web") -> Recommendation:
    return Recommendation(
        ContainerKey("shop", workload, "main"), asked, Bound(0.2501, 0, 20, 1), Bound(300 * MIB, 0, 20, 1)
    )


def test_a_patch_makes_a_valid_deployment_and_touches_only_resources() -> None:
    (patch,) = patches_of([recommendation(Requested(cpu_limit_cores=2.0)), recommendation(None, "Pod/once")])
    assert faults(patch) == []
    changed = deployment()
    (container,) = changed["spec"]["template"]["spec"]["containers"]
    (patched,) = patch.body["spec"]["template"]["spec"]["containers"]
    assert patched["name"] == container["name"]
    for group, values in patched["resources"].items():
        container["resources"].setdefault(group, {}).update(values)
    kubernetes_validate.validate(changed, "1.35", strict=True)
    assert container["resources"] == {
        "requests": {"cpu": "251m", "memory": "300Mi"},
        "limits": {"cpu": "251m", "memory": "300Mi"},
    }
    assert "--type strategic --patch-file there/shop.deployment.web.yaml" in patch.command("there")


def test_no_cpu_limit_is_added_where_there_was_none() -> None:
    (patch,) = patches_of([recommendation(Requested(cpu_request_cores=1.0))])
    (container,) = patch.body["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"] == {"memory": "300Mi"}


def test_what_is_refused_is_not_patched() -> None:
    item = recommendation(None)
    refused = Refused("short", "wait")
    assert list(patches_of([Recommendation(item.key, None, refused, refused)])) == []


@pytest.mark.parametrize(
    ("resources", "says"),
    [
        ({"requests": {"cpu": "0m"}}, "cpu is 0m"),
        ({"requests": {"memory": "many"}}, "no quantity"),
        ({"requests": {"memory": "2Gi"}, "limits": {"memory": "1Gi"}}, "requests more memory than its limit"),
    ],
)
def test_a_patch_that_would_not_hold_is_found(resources: dict[str, Any], says: str) -> None:
    body = {"spec": {"template": {"spec": {"containers": [{"name": "main", "resources": resources}]}}}}
    assert any(says in fault for fault in faults(Patch("a", "deployment", "b", body)))


def test_saved_nodes_are_counted_by_packing_and_priced() -> None:
    asked = Requested(2.0, None, 8192 * MIB, 8192 * MIB, replicas=10)
    saved = saving_of([recommendation(asked)], "m7i.xlarge", "us-east-1", load())
    # One pod of 2 cores and 8 GiB a node of 3.92 cores and 13.2 GiB; of 251m 15 a node.
    assert (saved["nodes_now"], saved["nodes_then"]) == (10, 1)
    price = load().on_demand("m7i.xlarge", "us-east-1")
    assert price is not None
    assert saved["usd_a_month"] == 9 * price.usd * 730
    assert str(price.dated) in saved["how"]
    elsewhere = saving_of([recommendation(asked)], "m7i.xlarge", "eu-west-1", load())
    assert elsewhere["usd_a_month"] is None
    assert "unknown" in elsewhere["words"]
    assert saving_of([recommendation(None)], "m7i.xlarge", "us-east-1", load())["usd_a_month"] is None
    assert "not known to this release" in saving_of([recommendation(asked)], "q1.large", "us-east-1", load())["words"]


def test_a_cluster_is_read_with_its_daemons_taken_off(tmp_path: Path) -> None:
    pods = [
        pod("web-6b7c8d9f4-x2b4z"),
        pod("agent-x2b4z", owner="DaemonSet/agent", cpu="100m"),
        pod("wait-6b7c8d9f4-x2b4z", node=None),
        pod("bare", owner=None, node="n2"),
        pod("lost-6b7c8d9f4-x2b4z", node="gone"),
        {"kind": "Pod", "metadata": {}},
    ]
    found = read_cluster(write(tmp_path / "n.json", node("n1"), node("n2")), write(tmp_path / "p.json", *pods), load())
    assert [each.name for each in found.pods] == ["shop/web-6b7c8d9f4-x2b4z", "shop/wait-6b7c8d9f4-x2b4z", "shop/bare"]
    assert found.waiting == (1,)
    assert sorted(shape.cpu_milli for shape in found.shapes) == [3820, 3920]
    assert all(shape.usd_per_hour is not None for shape in found.shapes)
    assert found.nodes[1].pinned == "shop/bare has no owner that would make it anew"
    assert found.broken.counts == {"a pod of a node that is not listed": 1, "no pod (KeyError)": 1}
    with pytest.raises(ConfigError, match="holds no node"):
        read_cluster(write(tmp_path / "p.json", *pods), write(tmp_path / "p.json", *pods), load())


def test_a_spot_nodes_price_is_not_that_on_demand(tmp_path: Path) -> None:
    spot = node("n1")
    spot["metadata"]["labels"]["karpenter.sh/capacity-type"] = "spot"
    found = read_cluster(
        write(tmp_path / "n.json", spot), write(tmp_path / "p.json", pod("web-6b7c8d9f4-x2b4z")), load()
    )
    assert found.shapes[0].usd_per_hour is None


def test_the_command_says_which_nodes_to_empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nodes = write(tmp_path / "n.json", *(node(f"n{number}") for number in range(3)))
    pods = write(
        tmp_path / "p.json",
        *(pod(f"web-6b7c8d9f4-xxxx{letter}", node=f"n{at}") for letter, at in (("b", 0), ("c", 0), ("d", 1), ("f", 2))),
    )
    out = tmp_path / "proposals.json"
    command = ["cost", "rightsize", "nodes", "--nodes", str(nodes), "--pods", str(pods), "--proposals", str(out)]
    assert run([*command, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["present_nodes"], told["ours"]["nodes"], told["saves"]["nodes_of_present"]) == (3, 1, 2)
    assert [move["worth_it"] for move in told["moves"]] == [True, True]
    written = ProposalFile.model_validate_json(out.read_text())
    assert written.proposals[0].command == "kubectl drain n1 --ignore-daemonsets --delete-emptydir-data"
    price = load().on_demand("m7i.xlarge", "us-east-1")
    assert price is not None
    assert written.proposals[0].saves_usd.expected == (price.usd * 730).quantize(Decimal("0.01"))
    assert run([*command, "--types", "c7i.*", "--types", "q1.large"]) == 0
    shown = capsys.readouterr()
    assert "bound, linear" in shown.out
    assert "q1.large" in shown.err
    with pytest.raises(SystemExit):
        run([*command, "--types", "q1.large"])
    assert "has a known price and size" in capsys.readouterr().err
