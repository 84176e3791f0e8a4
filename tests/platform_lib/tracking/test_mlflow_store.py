"""MLflow runs that are continued, whatever was left of them."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest

from platform_lib.catalog.addresses import TRACKING_DATABASE, database_uri
from platform_lib.catalog.postgres import embedded_postgres
from platform_lib.home import Home, open_home

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::Warning")]


@pytest.fixture(scope="module")
def store():
    # Not pytest's own folder: run by root, PostgreSQL is another user and cannot reach it.
    with tempfile.TemporaryDirectory(prefix="drivetrain-test-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)
        home = open_home(Path(folder) / "home")
        with embedded_postgres(home) as uri:
            yield home, database_uri(uri, TRACKING_DATABASE)


def tracked(store: tuple[Home, str], id_file: Path):
    from platform_lib.tracking.mlflow_store import TrackedRun

    home, uri = store
    return TrackedRun(
        uri,
        artefacts=home.mlflow,
        name="run",
        id_file=id_file,
        tags={"dataset_sha256": "ab"},
        params={"fit.epochs": "3"},
    )


def points(last: int):
    from platform_lib.tracking.mlflow_store import Point

    return [Point(step, 1_700_000_000_000 + step, {"train_loss": 1.0 / step}) for step in range(1, last + 1)]


def seen(store: tuple[Home, str], run_id: str):
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=store[1])
    steps = [metric.step for metric in client.get_metric_history(run_id, "train_loss")]
    return client.get_run(run_id), steps


def test_a_run_is_continued_and_no_point_is_doubled(store, tmp_path):
    id_file = tmp_path / "id"
    first = tracked(store, id_file)
    assert first.log(points(2)) == 2
    # Here the process is killed; the next one finds the id, and the whole curve in the run folder.
    second = tracked(store, id_file)
    assert second.run_id == first.run_id
    assert second.log(points(4)) == 2
    (tmp_path / "curve.jsonl").write_text("{}\n")
    for version in ("1", "2"):
        second.attach("environment.json", {"torch": version})
    second.finish(tags={"weights_sha256": "cd"}, files=(tmp_path / "curve.jsonl",))
    run, steps = seen(store, first.run_id)
    assert steps == [1, 2, 3, 4]
    assert run.info.status == "FINISHED"
    assert (run.data.tags["dataset_sha256"], run.data.tags["weights_sha256"]) == ("ab", "cd")
    assert run.data.params == {"fit.epochs": "3"}
    artefacts = store[0].mlflow / first.run_id / "artifacts"
    assert (artefacts / "curve.jsonl").is_file()
    assert json.loads((artefacts / "environment.json").read_text()) == {"torch": "2"}


def test_what_machines_did_is_kept_by_time_and_once(store, tmp_path):
    from mlflow.tracking import MlflowClient

    first = tracked(store, tmp_path / "id")
    told = [(1_700_000_000_000 + 1000 * n, {"system/rank-0/process_cpu_cores": 0.5 + n}) for n in range(3)]
    first.log_system(told)
    tracked(store, tmp_path / "id").log_system(told)  # the next process reads the run's lines from their beginning
    history = MlflowClient(tracking_uri=store[1]).get_metric_history(first.run_id, "system/rank-0/process_cpu_cores")
    assert [(metric.timestamp, metric.value) for metric in history] == [
        (time_ms, metrics["system/rank-0/process_cpu_cores"]) for time_ms, metrics in told
    ]


def test_an_id_that_the_store_does_not_know_gives_a_new_run(store, tmp_path, caplog):
    id_file = tmp_path / "id"
    id_file.write_text("0" * 32 + "\n")
    found = tracked(store, id_file)
    assert found.run_id != "0" * 32
    assert id_file.read_text().strip() == found.run_id
    assert "not in the tracking store" in caplog.text


def test_a_failed_run_runs_again_when_it_is_visited(store, tmp_path):
    first = tracked(store, tmp_path / "id")
    first.fail()
    assert seen(store, first.run_id)[0].info.status == "FAILED"
    tracked(store, tmp_path / "id")
    assert seen(store, first.run_id)[0].info.status == "RUNNING"


def test_telemetry_is_off(store, tmp_path):
    import os

    tracked(store, tmp_path / "id")
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
