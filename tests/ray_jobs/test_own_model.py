"""The example of a team's own model and data: it learns, its processes share its rows, and a notebook trains it whole."""

from __future__ import annotations

from pathlib import Path

import pytest
import slow_training  # noqa: F401 - makes the examples importable

from platform_lib.datasets.shuffle import Part
from platform_lib.home import open_home
from platform_lib.models.fitting import Fit, seeded
from ray_jobs.comparing import compare_runs
from ray_jobs.training_journal import read_lines


def test_it_learns_and_two_processes_see_each_row_once(tmp_path: Path) -> None:
    from own_model import own_recipe

    config = own_recipe()
    seeded(config.fit)
    learner = config.planner.learner(None)
    batches = config.source.batches(batch=config.fit.batch, seed=config.fit.seed, part=Part())
    fitting = Fit(learner, config.fit, train=batches, folder=tmp_path, identity="")
    fitting.run()
    losses = [record.train_loss for record in fitting.records]
    assert len(losses) == config.fit.epochs
    assert losses[-1] < 0.7 * losses[0]
    seen = [
        row
        for index in range(2)
        for samples in config.source.batches(batch=8, seed=5, part=Part(index, 2))
        for row in samples["sample_id"]
    ]
    assert sorted(seen) == sorted(f"bend-{row}" for row in range(config.source.rows))


@pytest.mark.slow
@pytest.mark.soak  # starts Ray and PostgreSQL
@pytest.mark.filterwarnings("ignore::Warning")
def test_a_notebook_trains_it_and_mlflow_holds_what_it_was_made_from(reachable_tmp: Path) -> None:
    from mlflow.tracking import MlflowClient
    from own_model import own_recipe

    from platform_lib.catalog.addresses import TRACKING_DATABASE, database_uri
    from platform_lib.catalog.postgres import embedded_postgres
    from platform_lib.manifest import git_state
    from ray_jobs.train import train

    home = open_home(reachable_tmp / "home")
    done = train(home, own_recipe(), run="mine")
    assert not done.skipped
    assert train(home, own_recipe(), run="mine").skipped
    train(home, own_recipe(), run="other")
    compared = compare_runs(home, "mine", "other").document
    assert compared["configuration"] == compared["environment"] == {}
    assert compared["same_sample_order"]
    assert compared["inputs"]["weights"][0] == compared["inputs"]["weights"][1]
    with embedded_postgres(home) as uri:
        client = MlflowClient(tracking_uri=database_uri(uri, TRACKING_DATABASE))
        run_id = (done.run / "mlflow_run_id").read_text().strip()
        run = client.get_run(run_id)
        files = {item.path for item in client.list_artifacts(run_id)}
        system = {
            name: client.get_metric_history(run_id, name) for name in run.data.metrics if name.startswith("system/")
        }
        curve = [metric.value for metric in client.get_metric_history(run_id, "train_loss")]
    manifest = done.manifest
    told = run.data.tags
    assert told["dataset_sha256"] == manifest.inputs["dataset"].sha256
    assert told["code_sha256"] == manifest.code.sha256
    assert told["config_sha256"] == own_recipe().sha256
    assert told["weights_sha256"] == manifest.outputs["weights.pt"].sha256
    assert told["git_commit"] == (git_state()[0] or "outside a checkout")
    assert Path(told["checkpoints"]).is_dir()
    assert files >= {"environment.json", "curve.jsonl", "weights.pt", "manifest.json"}
    assert curve == [line["train_loss"] for line in read_lines(done.run / "curve.jsonl")]
    assert {f"system/rank-0/{name}" for name in ("process_cpu_cores", "process_memory_bytes")} <= set(system)
    assert {f"system/rank-0/{name}" for name in ("node_cpu_share", "node_memory_bytes")} <= set(system)
    assert system["system/rank-0/process_memory_bytes"][-1].value > 100e6, "torch alone is more"
    assert not any("gpu" in name for name in system), "there is none, so nothing is said of it"
    assert run.data.params["fit.learning_rate"] == "0.01"
    assert run.info.status == "FINISHED"
