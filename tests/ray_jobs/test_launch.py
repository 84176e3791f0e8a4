"""Before a launch: quotas, versions, prices; and the form of a cluster's job, filled in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from platform_lib.errors import ConfigError
from ray_jobs import cluster_job
from ray_jobs.launch_check import Checked, check_local, check_quota, quantity
from ray_jobs.launch_price import Price, cluster_price, local_price
from ray_jobs.recipes.config import Processes
from ray_jobs.submit import Plan, cheapest
from ray_jobs.support_table import cuda_on_driver


def queue(name: str, gpus: int, cpu: object = 100) -> dict[str, object]:
    shares = [{"name": "nvidia.com/gpu", "nominalQuota": gpus}, {"name": "cpu", "nominalQuota": cpu}]
    group = {"coveredResources": ["nvidia.com/gpu", "cpu"], "flavors": [{"name": "l40s", "resources": shares}]}
    return {"kind": "ClusterQueue", "metadata": {"name": name}, "spec": {"resourceGroups": [group]}}


def form(pool: str = "l40s", gpu: str | None = "8") -> dict[str, object]:
    requests = {"cpu": "30"} | ({} if gpu is None else {"nvidia.com/gpu": gpu, "vpc.amazonaws.com/efa": "4"})
    has = {"CPU": "30", f"pool-{pool}": "1"} | ({} if gpu is None else {"GPU": gpu})
    container = {
        "image": "registry/ray-cuda:v1",
        "resources": {"requests": requests},
        "env": [{"name": "DRIVETRAIN_BUCKET_DERIVED", "value": "derived"}],
    }
    worker = {"replicas": 0, "resources": has, "template": {"spec": {"containers": [container]}}}
    return {
        "metadata": {"name": f"form-{pool}", "labels": {"kueue.x-k8s.io/queue-name": "team-a"}},
        "spec": {"entrypoint": "/bin/false", "rayClusterSpec": {"workerGroupSpecs": [worker]}},
    }


QUALCOMM = form("ai100", None)
QUALCOMM["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["resources"]["qaic"] = "8"  # type: ignore[index]  # a document
CLUSTER = cluster_job.ClusterView(
    {"ai100": QUALCOMM, "cpu": form("cpu", None), "l40s": form()}, [queue("team-a", 8), queue("team-b", 8)], "us-east-1"
)


def test_what_a_queue_owns_borrows_and_nobody_has():
    queues = [queue("team-a", 8), queue("team-b", 8, "100")]
    owned = check_quota({"nvidia.com/gpu": "8"}, 1, "team-a", "l40s", queues)
    assert owned.problems == ()
    assert owned.notes == ("8 nvidia.com/gpu of the 8 that team-a owns",)
    borrowed = check_quota({"nvidia.com/gpu": "8"}, 2, "team-a", "l40s", queues)
    assert borrowed.problems == ()
    assert "has to borrow the rest" in borrowed.notes[0]
    refused = check_quota({"nvidia.com/gpu": "8"}, 3, "team-a", "l40s", queues)
    assert "all queues together have 16" in refused.problems[0]
    with pytest.raises(ConfigError, match="24 nvidia"):
        refused.refuse("submit")


@pytest.mark.parametrize(("text", "value"), [("690Gi", 690 * 2**30), ("666m", "0.666"), (8, 8), ("4096Mi", 2**32)])
def test_quantities(text, value):
    assert float(quantity(text)) == float(value)


def test_a_quantity_that_is_none():
    with pytest.raises(ConfigError, match="no quantity"):
        quantity("8 GB")


def test_this_machine_is_held_against_the_request(tmp_path: Path):
    assert check_local(Processes(), tmp_path).problems == ()
    assert "this machine has" in check_local(Processes(count=4096), tmp_path).problems[0]
    assert "GPUs are asked for" in check_local(Processes(gpu=True, count=64), tmp_path).problems[-1]
    assert "a local cluster has not" in check_local(Processes(placed_on="qualcomm"), tmp_path).problems[0]


def test_cuda_on_a_driver_that_is_new_enough_old_and_unknown():
    assert cuda_on_driver("12.8", "570.86.15").fits is True
    older = cuda_on_driver("12.8", "550.90.07")
    assert older.fits is True
    assert "minor version compatibility" in older.text
    assert cuda_on_driver("13.0", "570.86.15").fits is False
    assert cuda_on_driver("14.1", "570.86.15").fits is None
    with pytest.raises(ConfigError, match="no version"):
        cuda_on_driver("12.8", "N/A")


BOOK = {
    "prices": [
        {
            "meter": "ec2: on-demand g6e.48xlarge",
            "region": "us-east-1",
            "usd": "30.13118",
            "source": "price list",
            "dated": "2026-11-20",
            "stale": False,
        }
    ]
}
SPOT = {
    "policy": "survival",
    "pool_order": ["us-east-1c"],
    "pools": [{"pool": "us-east-1c", "checkpoint_interval_s": 1234}],
    "forecast": {"expected_usd": 88.2, "cost_usd_quantiles": {"0.05": 70.0, "0.95": 120.0}},
    "on_demand_only_usd": 150.0,
}


def test_the_price_names_its_source_and_the_spot_plans_interval(tmp_path: Path):
    (tmp_path / "job.spot.json").write_text(json.dumps(SPOT))
    found = cluster_price(
        lambda arguments: BOOK,
        instance_types=["g6e.48xlarge"],
        region="us-east-1",
        nodes=2,
        hours=10.0,
        spot=tmp_path / "job.spot.json",
    )
    assert found.document["on_demand_usd"] == pytest.approx(602.62, abs=0.01)
    assert "2 x g6e.48xlarge at $30.1312 = $60.26/h; $602.62 for 10 h (price list, 2026-11-20)" in found.lines[0]
    assert "$88.20 expected, nine of ten between $70.00 and $120.00" in found.lines[1]
    assert found.checkpoint_every_s == 1234


def test_an_unknown_price_is_not_zero(tmp_path: Path):
    found = cluster_price(
        lambda arguments: {"prices": []},
        instance_types=["dl2q.24xlarge"],
        region="us-east-1",
        nodes=1,
        hours=None,
        spot=None,
    )
    assert found.document["on_demand_usd_per_hour"] is None
    assert "unknown" in found.lines[0]
    assert local_price().document["usd_per_hour"] is None
    (tmp_path / "order.json").write_text("{}")
    with pytest.raises(ConfigError, match="not what `drivetrain cost spot` writes"):
        cluster_price(
            lambda arguments: BOOK,
            instance_types=["g6e.48xlarge"],
            region="us-east-1",
            nodes=1,
            hours=None,
            spot=tmp_path / "order.json",
        )


def test_pools_that_can_and_accelerators_are_left_to_those_who_need_them():
    assert cluster_job.able_pools(CLUSTER, Processes(), None) == ["cpu"]
    assert cluster_job.able_pools(CLUSTER, Processes(gpu=True), None) == ["l40s"]
    assert cluster_job.able_pools(CLUSTER, Processes(placed_on="pool-ai100"), None) == ["ai100"]
    assert cluster_job.able_pools(CLUSTER, Processes(), "cpu") == ["cpu"]
    with pytest.raises(ConfigError, match="has not what the recipe asks for"):
        cluster_job.able_pools(CLUSTER, Processes(gpu=True), "cpu")
    with pytest.raises(ConfigError, match="no pool 'h100'"):
        cluster_job.able_pools(CLUSTER, Processes(), "h100")
    with pytest.raises(ConfigError, match="no pool has") as refused:
        cluster_job.able_pools(CLUSTER, Processes(placed_on="pool-h100"), None)
    assert "pools are ai100, cpu, l40s" in str(refused.value.remedy)
    assert cluster_job.nodes_for(CLUSTER.forms["l40s"], Processes(count=12, gpu=True)) == 2
    assert cluster_job.check_cluster(CLUSTER, "l40s", 2).problems == ()
    assert cluster_job.check_cluster(CLUSTER, "l40s", 3).problems


def test_what_fits_the_quotas_goes_before_the_cheapest_and_a_known_price_before_an_unknown_one():
    def planned(pool: str, usd: float | None, *problems: str) -> Plan:
        return Plan(
            request=None,  # type: ignore[arg-type]  # of no matter here
            config=None,  # type: ignore[arg-type]
            package=None,  # type: ignore[arg-type]
            checked=Checked((), problems),
            price=Price((), {"on_demand_usd_per_hour": usd}),
            pool=pool,
        )

    assert cheapest([planned("a", 3.0), planned("b", 2.0), planned("c", 2.0)]).pool == "b"
    assert cheapest([planned("a", None), planned("b", 9.0)]).pool == "b"
    assert cheapest([planned("a", 1.0, "no quota"), planned("b", None)]).pool == "b"
    assert cheapest([planned("a", None), planned("b", None)]).pool == "a"


def test_a_form_is_filled_in_once():
    job = cluster_job.fill(
        CLUSTER.forms["l40s"],
        name="My_Run-20261130-" + "x" * 60,
        arguments=("train", "big", "--run", "my run"),
        nodes=2,
        code_uri="s3://derived/jobs/packages/abc.zip",
        variables={"DRIVETRAIN_JOB": "id"},
        labels={"drivetrain.io/run": "my-run"},
    )
    assert job["spec"]["entrypoint"] == "python -m platform_lib.cli train big --run 'my run'"
    assert yaml.safe_load(job["spec"]["runtimeEnvYAML"])["working_dir"].startswith("s3://derived/")
    worker = job["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]
    assert worker["replicas"] == worker["minReplicas"] == worker["maxReplicas"] == 2
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "team-a"
    assert len(job["metadata"]["name"]) <= 47
    assert CLUSTER.forms["l40s"]["spec"]["entrypoint"] == "/bin/false"
    with pytest.raises(ConfigError, match="not an unfilled form"):
        cluster_job.fill(job, name="x", arguments=(), nodes=1, code_uri="", variables={}, labels={})
