"""Jobs after they were submitted: where they stand, what they say, how they are ended and taken up again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from platform_lib.errors import ConfigError
from platform_lib.home import Home
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
from ray_jobs.local_cluster import CLUSTER, living_cluster
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
        JobLine(record, _now(home, folder), _epochs(home.runs / record.run / CURVE))
        for folder in reversed(job_folders(home))
        for record, _ in (read_job(folder),)
    ]


def follow(home: Home, name: str, *, wait: bool) -> Iterator[str]:
    """Yield a job's log, whether its cluster lives or not; with `wait` until the job is over."""
    folder = find_job(home, name)
    yield from lines_of(folder, follow=wait, over=lambda: _now(home, folder).state.over)


def cancel(home: Home, name: str) -> JobStatus:
    """Ask a job to end; its run keeps its checkpoints.

    Raises:
        ConfigError: It is over, or runs elsewhere.
    """
    folder = find_job(home, name)
    record, status = read_job(folder)[0], _now(home, folder)
    if status.state.over:
        raise ConfigError(f"job '{record.id}' is over: {status.state}", where="drivetrain jobs cancel")
    cluster = living_cluster(home)
    if cluster is not None:
        cluster.jobs().stop_job(status.submission)
    return _now(home, folder)


def resume(home: Home, name: str) -> JobStatus:
    """Submit a job once more, with the code it was submitted with: it goes on from its last checkpoint.

    Raises:
        ConfigError: It is done or at work, or its code is gone.
    """
    folder = find_job(home, name)
    record, status = read_job(folder)[0], _now(home, folder)
    if not status.state.over or status.state is State.SUCCEEDED:
        raise ConfigError(f"job '{record.id}' is {status.state}", where="drivetrain jobs resume")
    if record.cluster != CLUSTER:
        raise ConfigError(
            f"job '{record.id}' belongs to cluster '{record.cluster}', which starts it anew itself (backoffLimit)",
            where="drivetrain jobs resume",
            remedy="kubectl apply its rayjob.yaml under another name",
        )
    if not (packages_folder(home) / f"{record.code_sha256}.zip").exists():
        raise ConfigError("the job's code is gone", where=packages_folder(home), remedy="submit it anew")
    return send(home, folder, record, attempts=status.attempts + 1)


def _now(home: Home, folder: Path) -> JobStatus:
    """Return where a job stands; one whose cluster died is lost, and says so from now on."""
    record, status = read_job(folder)
    if record.cluster == CLUSTER and not status.state.over and status.submission and living_cluster(home) is None:
        # The keeper may have written the end in the moment before it ended itself.
        _, status = read_job(folder)
        if not status.state.over:
            return set_status(
                folder,
                State.LOST,
                submission=status.submission,
                attempts=status.attempts,
                message="its cluster is gone; `drivetrain jobs resume` goes on from the last checkpoint",
            )
    return status


def _epochs(curve: Path) -> int:
    try:
        return curve.read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0
