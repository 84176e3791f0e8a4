"""Work lands on nodes that announce that they can do it: a real Ray of three node processes, and one that announces nothing."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest
import ray

from platform_lib.abilities import COMPILES, EVALUATES, SHARE, TRAINS, offer
from platform_lib.errors import MissingPartError
from ray_jobs.placement import resources_for

ROOT = Path(__file__).resolve().parents[2]


def _announced(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 2.0, **dict.fromkeys(names, 1.0)})


def test_work_asks_for_what_is_announced_or_may_be_started_and_never_for_what_nobody_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _announced(monkeypatch, "memory")
    assert resources_for(COMPILES) == {}, "a local Ray announces nothing and runs everything"
    _announced(monkeypatch, COMPILES, TRAINS)
    assert resources_for(COMPILES) == {COMPILES: SHARE}
    _announced(monkeypatch, offer(EVALUATES))
    assert resources_for(EVALUATES) == {EVALUATES: SHARE}, "its node is yet to be started"
    with pytest.raises(MissingPartError, match="no node of this cluster announces 'can-compile'") as refused:
        resources_for(COMPILES)
    assert "its nodes announce can-evaluate" in str(refused.value)
    assert "ray start" in str(refused.value.remedy)


# The real compile and the real planning task, on nodes of which each can do one of the two; the head could do neither, and
# would be taken first: it is where the driver is.
_CLUSTER = """
import json, sys, time
from pathlib import Path
import numpy as np, ray, torch
from ray.util.state import list_nodes, list_tasks
from platform_lib.home import open_home
from platform_lib.models.interface import PlannerInput
from platform_lib.models.onnx_export import export_onnx
from platform_lib.models.planner import Normalisation, PlannerConfig, PlannerNet
from ray_jobs.evaluate import _plans_on_ray
from ray_jobs.matrix import compile_matrix, plan
from ray_jobs.session import job_taking_ray

home, out = open_home(Path(sys.argv[1])), Path(sys.argv[2])
models = out / "models"
models.mkdir()
net = PlannerNet(
    PlannerConfig("ego_only", channels=(), squeeze=0, hidden=8, ego_hidden=8, dropout=0.0),
    Normalisation((8.0, 0.0, 0.0), (4.0, 0.1, 1.0), ((1.0, 0.5),) * 6),
)
export_onnx(net, out / "ego.onnx")
for name in ("a", "b"):
    (models / f"{name}.onnx").write_bytes(b"no model")
    np.savez(models / f"{name}.calibration.npz", x=np.zeros((1, 4), np.float32))
with job_taking_ray(home, cpus=2) as started:
    started.add_node(cpus=2, resources={"can-compile": 1})
    started.add_node(cpus=2, resources={"can-evaluate": 1})
    ray.init(address=started.gcs, log_to_driver=False, configure_logging=False)
    able = {
        node["NodeID"]: sorted(name for name in node["Resources"] if name.startswith("can-")) for node in ray.nodes()
    }
    matrix = compile_matrix(home, plan(models, ("sa8255p",), out / "built"), out / "built")
    rows = 64
    inputs = PlannerInput(
        image=np.zeros((rows, 3, 64, 192), np.uint8),
        ego_history=np.zeros((rows, 10, 3), np.float32),
        command=np.zeros(rows, np.int64),
    )
    plans = _plans_on_ray({"ego": out / "ego.onnx"}, inputs)
    deadline = time.monotonic() + 60
    while True:
        told = [task for task in list_tasks(detail=True, limit=200) if task.state == "FINISHED"]
        if len(told) >= 4 or time.monotonic() > deadline:
            break
        time.sleep(0.3)
    print(json.dumps({
        "able": sorted(able.values()),
        "ran": sorted({(task.name, *able[task.node_id]) for task in told}),
        "refused": [cell.refused for cell in matrix.cells],
        "planned": len(plans["ego"]),
    }))
    ray.shutdown()
"""


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_compiles_and_evaluation_land_on_the_nodes_that_can(reachable_tmp: Path) -> None:
    out = reachable_tmp / "out"
    out.mkdir()
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
    }
    command = [sys.executable, "-W", "ignore", "-c", _CLUSTER, str(reachable_tmp / "home"), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["able"] == [[], ["can-compile"], ["can-evaluate"]]
    assert told["ran"] == [["_plan_remotely", "can-evaluate"], ["run_compile", "can-compile"]]
    assert told["planned"] == 64
    assert all(told["refused"]), "the models are none, so each compile ran, and said so"
