"""Jobs after they were submitted: where they stand, what they say, how they are ended and taken up again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from platform_lib.errors import ConfigError
from platform_lib.home import Home
from ray_jobs.cluster_job import NAMESPACE, object_name
from ray_jobs.job_log import lines_of
from ray_jobs.job_records import (
    JobRecord,
    JobStatus,
    State,
    find_job,
    job_folders,
    packages_folder,
    read_job,
    set_status,
)
from ray_jobs.local_cluster import CLUSTER, living_cluster, standing
from ray_jobs.submit import send
from ray_jobs.training_journal import CURVE


@dataclass(frozen=True, slots=True)
class JobLine:
    """A job, where it stands, and how many epochs its run has behind it."""

    record: JobRecord
    status: JobStatus
    epochs: int


def list_jobs(home: Home) -> list[JobLine]:
    """Return all jobs, the newest first."""
    return [
        JobLine(record, standing(home, folder), _epochs(home.runs / record.run / CURVE))
        for folder in reversed(job_folders(home))
        for record, _ in (read_job(folder),)
    ]


def follow(home: Home, name: str, *, wait: bool) -> Iterator[str]:
    """Yield a job's log, whether its cluster lives or not; with `wait` until the job is over.

    Raises:
        ConfigError: It runs elsewhere.
    """
    folder = find_job(home, name)
    _refuse_elsewhere(folder, "logs", "kubectl --namespace {namespace} logs --follow --selector job-name={name}")
    yield from lines_of(folder, follow=wait, over=lambda: standing(home, folder).state.over)


def cancel(home: Home, name: str) -> JobStatus:
    """Ask a job to end; its run keeps its checkpoints.

    Raises:
        ConfigError: It is over, or runs elsewhere.
    """
    folder = find_job(home, name)
    _refuse_elsewhere(folder, "cancel", "kubectl --namespace {namespace} delete rayjob {name}")
    record, status = read_job(folder)[0], standing(home, folder)
    if status.state.over:
        raise ConfigError(
            f"job '{record.id}' is over: {status.state}",
            where="drivetrain jobs cancel",
            remedy=f"nothing is left to end; `drivetrain jobs logs {record.id}` says how it went",
        )
    if not status.submission:  # the command that submitted it died before Ray had it
        return set_status(folder, State.STOPPED, submission="", attempts=status.attempts, message="never handed over")
    cluster = living_cluster(home)
    if cluster is not None:
        cluster.jobs().stop_job(status.submission)
    return standing(home, folder)


def resume(home: Home, name: str) -> JobStatus:
    """Submit a job once more, with the code it was submitted with: it goes on from its last checkpoint.

    Raises:
        ConfigError: It is done or at work, or its code is gone.
    """
    folder = find_job(home, name)
    # That cluster starts it anew itself (backoffLimit).
    _refuse_elsewhere(folder, "resume", "kubectl apply its rayjob.yaml under another name")
    record, status = read_job(folder)[0], standing(home, folder)
    if not status.state.over or status.state is State.SUCCEEDED:
        raise ConfigError(
            f"job '{record.id}' is {status.state}",
            where="drivetrain jobs resume",
            remedy=f"`drivetrain jobs logs -f {record.id}` follows it"
            if not status.state.over
            else f"nothing is left to do: its run is {record.run}",
        )
    if not (packages_folder(home) / f"{record.code_sha256}.zip").exists():
        raise ConfigError("the job's code is gone", where=packages_folder(home), remedy="submit it anew")
    return send(home, folder, record, attempts=status.attempts + 1)


def _refuse_elsewhere(folder: Path, command: str, remedy: str) -> None:
    """Refuse a job of a named cluster, which this machine does not reach; `remedy` is what reaches it."""
    record, _ = read_job(folder)
    if record.cluster == CLUSTER:
        return
    # Source: KubeRay 1.7: the Job that submits has its RayJob's name.
    filled = remedy.format(namespace=NAMESPACE, name=object_name(record.id))
    raise ConfigError(
        f"job '{record.id}' belongs to cluster '{record.cluster}', which this machine does not reach",
        where=f"drivetrain jobs {command}",
        remedy=filled,
    )


def _epochs(curve: Path) -> int:
    try:
        return curve.read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0
