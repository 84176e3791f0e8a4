"""Jobs that are asked about when their cluster is gone, elsewhere, or never had them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from platform_lib.errors import ConfigError
from platform_lib.home import Home, open_home
from ray_jobs import cluster_job
from ray_jobs.job_records import JobRecord, State, add_job, read_job, set_status
from ray_jobs.jobs import cancel, follow, list_jobs, resume
from ray_jobs.submit import Request, plan

JOB = "r-20261130-120000-abcd"


def added(home: Home, state: State, *, cluster: str = "local", submission: str = "s-1") -> Path:
    record = JobRecord(
        id=JOB,
        kind="train",
        cluster=cluster,
        run="r",
        recipe="planner_tiny",
        dataset="d",
        arguments=("train",),
        code_sha256="0" * 64,
        code_commit=None,
        code_dirty=False,
        price={},
        submitted_utc=datetime(2026, 11, 30, tzinfo=UTC),
    )
    folder = add_job(home, record)
    set_status(folder, state, submission=submission, attempts=1)
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return open_home(tmp_path / "home")


def test_a_job_whose_cluster_died_is_lost_and_its_run_may_be_submitted_again(home: Home) -> None:
    folder = added(home, State.RUNNING)
    with pytest.raises(
        ConfigError, match="no dataset is named"
    ):  # what comes behind the question whether it is at work
        plan(home, request("other"), lambda arguments: {})
    assert read_job(folder)[1].state is State.RUNNING, "nobody asked yet"
    (line,) = list_jobs(home)
    assert line.status.state is State.LOST
    with pytest.raises(ConfigError, match="is over: lost") as refused:
        cancel(home, JOB)
    assert f"drivetrain jobs logs {JOB}" in str(refused.value.remedy)


def request(run: str, dataset: str | None = None) -> Request:
    return Request(recipe="planner_tiny", dataset=dataset, run=run, cluster="local", code=Path.cwd())


def test_one_that_ray_never_had_is_ended_at_once_and_does_not_hold_its_run(home: Home) -> None:
    folder = added(home, State.PENDING, submission="")
    assert cancel(home, "r").state is State.STOPPED
    assert read_job(folder)[1].message == "never handed over"


def test_one_of_a_named_cluster_says_what_reaches_it(home: Home) -> None:
    added(home, State.RENDERED, cluster="dev", submission="")
    for act, told in (
        (lambda: cancel(home, JOB), f"kubectl --namespace ray delete rayjob {JOB}"),
        (
            lambda: list(follow(home, JOB, wait=False)),
            f"kubectl --namespace ray logs --follow --selector job-name={JOB}",
        ),
        (lambda: resume(home, JOB), "rayjob.yaml"),
    ):
        with pytest.raises(ConfigError, match="belongs to cluster 'dev', which this machine does not reach") as refused:
            act()
        assert told in str(refused.value.remedy)


def test_what_is_at_work_or_done_is_not_resumed(home: Home) -> None:
    added(home, State.SUCCEEDED)
    with pytest.raises(ConfigError, match="is succeeded") as refused:
        resume(home, JOB)
    assert refused.value.remedy == "nothing is left to do: its run is r"


def test_forms_and_commands_name_the_same_namespace() -> None:
    from cdk.cluster.namespaces import RAY

    assert cluster_job.NAMESPACE == RAY
