"""Before a launch: quotas, versions, prices; and the form of a cluster's job, filled in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from platform_lib.errors import ConfigError
from ray_jobs import cluster_job, launch_check, support_table
from ray_jobs.launch_check import Checked, check_image, check_local, check_quota, quantity
from ray_jobs.launch_price import Price, cluster_price, local_price
from ray_jobs.recipes.config import Processes
from ray_jobs.submit import Plan, cheapest
from ray_jobs.support_table import cuda_on_driver, installed_versions, pairs_of


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


def test_a_recipe_that_is_compiled_wants_a_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert check_local(Processes(), tmp_path).problems == ()
    (problem,) = check_local(Processes(), tmp_path, compiled=True).problems
    assert "no C++ compiler 'no-such-compiler'" in problem


def test_cuda_on_a_driver_that_is_new_enough_old_and_unknown():
    assert cuda_on_driver("12.8", "570.86.15").fits is True
    older = cuda_on_driver("12.8", "550.90.07")
    assert older.fits is True
    assert "minor version compatibility" in older.text
    assert cuda_on_driver("13.0", "570.86.15").fits is False
    assert cuda_on_driver("14.1", "570.86.15").fits is None
    with pytest.raises(ConfigError, match="no version"):
        cuda_on_driver("12.8", "N/A")


@pytest.mark.parametrize(
    ("versions", "fits"),
    [
        ({"torch": "2.13.0", "cuda": "13.0", "driver": "580.65.06", "gpu": "9.0"}, True),
        ({"torch": "2.13.0", "cuda": "12.6", "driver": "560.28.03", "gpu": "7.0"}, True),
        ({"torch": "2.13.0", "cuda": "12.8"}, False),
        ({"cuda": "13.0", "gpu": "7.0"}, False),
        ({"cuda": "12.6", "gpu": "10.0"}, False),
        ({"cuda": "13.0", "driver": "570.86.15"}, False),
        ({"tensorrt": "10.6.0", "cuda": "13.0"}, False),
        ({"tensorrt": "10.13.2", "cuda": "13.0"}, True),
        ({"tensorrt": "10.13.2", "cuda": "11.8"}, False),
        ({"onnxruntime-qnn": "2.7.0", "onnxruntime": "1.24.1"}, False),
        ({"onnxruntime-qnn": "2.7.0", "onnxruntime": "1.31.1", "python": "3.11.7", "qnn": "2.51.0"}, True),
        ({"onnxruntime-qnn": "2.7.0", "qnn": "2.50.0"}, False),
        ({"aimet-onnx": "2.42.0", "onnxruntime": "1.18.1"}, False),
        ({"aimet-onnx": "2.42.0", "onnxruntime": "1.31.1", "python": "3.10"}, True),
        ({"aimet-onnx": "3.0.0", "onnxruntime": "1.31.1"}, None),
        ({"torch": "2.1.0", "cuda": "12.1"}, None),
    ],
)
def test_pairs_that_fit_that_cannot_and_that_nobody_knows(versions: dict[str, str], fits: bool | None):
    found = pairs_of(versions)
    assert found
    if fits is False:
        (wrong,) = [item for item in found if item.fits is False]
        assert "there is" in wrong.text
    else:
        assert {item.fits for item in found} == {fits}


def test_every_row_names_its_source_and_what_is_installed_here_fits():
    table = yaml.safe_load(Path(support_table.__file__).with_suffix(".yaml").read_text())
    assert all(row["source"] for row in table["pairs"])
    parts = {row["part"] for row in table["pairs"]} | {row["other"] for row in table["pairs"]}
    assert parts >= {"torch", "cuda", "gpu", "tensorrt", "aimet-onnx", "onnxruntime-qnn", "qnn", "python"}
    found = pairs_of(installed_versions())
    assert [item.text for item in found if not item.fits] == []
    assert len(found) >= 3, "torch, and what the extras bring"


def test_an_impossible_pair_is_refused_before_a_launch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    good = installed_versions()
    monkeypatch.setattr(launch_check, "installed_versions", lambda: {**good, "tensorrt": "10.6.0", "cuda": "13.0"})
    checked = check_local(Processes(), tmp_path)
    with pytest.raises(
        ConfigError, match=r"TensorRT 10\.6\.0 wants CUDA >=11\.8,<13, and there is 13\.0 \(source: NVIDIA"
    ):
        checked.refuse("drivetrain submit train")


def test_a_pools_gpus_are_held_against_what_the_image_is_built_with(tmp_path: Path):
    constraints = tmp_path / "constraints.txt"
    constraints.write_text("numpy==2.4.6\ntorch==2.13.0\ntorchvision==0.28.0\n")
    fits = check_image(["g6e.48xlarge", "p5.48xlarge"], constraints)
    assert fits.problems == ()
    assert "PyTorch 2.13.0 comes with CUDA 13.0, which needs driver 580.65.06" in fits.notes[0]
    volta = check_image(["p3.16xlarge"], constraints)
    with pytest.raises(ConfigError, match=r"CUDA 13\.0 wants compute capability >=7\.5, and there is 7\.0"):
        volta.refuse("drivetrain submit train")
    assert "not in the table" in " ".join(check_image(["x9.large"], constraints).notes)
    assert "unknown" in check_image(["p5.48xlarge"], tmp_path / "none.txt").notes[0]


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
