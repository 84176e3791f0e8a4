"""Jobs that were submitted, as the home remembers them: what was asked, by which code, at what price, what became of it.

``HOME/jobs/<id>/`` holds ``job.json`` (never changed), ``status.json``, ``log.txt`` and the workers' own logs. All of it outlives
the cluster.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from platform_lib.errors import ConfigError, IntegrityError
from platform_lib.home import Home
from platform_lib.refusals import first_problem
from platform_lib.storage import publish_bytes

_JOB, _STATUS, LOG, WORKERS = "job.json", "status.json", "log.txt", "workers"


class State(StrEnum):
    """What became of a job. `LOST`: its cluster went before it was done."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"
    LOST = "lost"
    RENDERED = "rendered"

    @property
    def over(self) -> bool:
        """Whether nothing more will become of it."""
        return self not in (State.PENDING, State.RUNNING)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class JobRecord(_Strict):
    """What was asked for.

    Attributes:
        arguments: What follows ``drivetrain`` in the cluster.
        price: What was shown before launch.
    """

    schema_version: Literal[1] = 1
    id: str
    kind: str
    cluster: str
    run: str
    recipe: str
    dataset: str | None
    arguments: tuple[str, ...]
    code_sha256: str
    code_commit: str | None
    code_dirty: bool
    price: dict[str, JsonValue]
    submitted_utc: datetime


class JobStatus(_Strict):
    """Where it stands.

    Attributes:
        submission: The attempt's id in Ray's Jobs API; every resumption is another.
        attempts: How often it was submitted.
        message: What Ray says of it.
    """

    state: State
    submission: str
    attempts: int
    message: str = ""
    changed_utc: datetime


def jobs_folder(home: Home) -> Path:
    """Return where jobs are remembered."""
    return home.root / "jobs"


def packages_folder(home: Home) -> Path:
    """Return where the code of jobs is kept."""
    return jobs_folder(home) / "packages"


def add_job(home: Home, record: JobRecord) -> Path:
    """Remember a job; return its folder."""
    folder = jobs_folder(home) / record.id
    folder.mkdir(parents=True)
    publish_bytes(folder / _JOB, (record.model_dump_json(indent=2) + "\n").encode())
    return folder


def set_status(folder: Path, state: State, *, submission: str, attempts: int, message: str = "") -> JobStatus:
    """Write where a job stands."""
    status = JobStatus(
        state=state, submission=submission, attempts=attempts, message=message, changed_utc=datetime.now(UTC)
    )
    publish_bytes(folder / _STATUS, (status.model_dump_json(indent=2) + "\n").encode())
    return status


def read_job(folder: Path) -> tuple[JobRecord, JobStatus]:
    """Return a job and where it stands.

    Raises:
        IntegrityError: Its files cannot be read.
    """
    try:
        record = JobRecord.model_validate_json((folder / _JOB).read_bytes())
        status = JobStatus.model_validate_json((folder / _STATUS).read_bytes())
    except FileNotFoundError as error:
        raise IntegrityError(
            "the job was not submitted to its end", where=folder, remedy="delete the folder, and submit it again"
        ) from error
    except ValidationError as error:
        raise IntegrityError(f"not a job's file: {first_problem(error)}", where=folder) from error
    return record, status


def find_job(home: Home, name: str) -> Path:
    """Return the folder of the job that is named, by its id, an unambiguous beginning of it, or its run's newest.

    Raises:
        ConfigError: There is none, or more than one.
    """
    folders = job_folders(home)
    exact = [folder for folder in folders if folder.name == name]
    of_run = [folder for folder in folders if read_job(folder)[0].run == name]
    begun = [folder for folder in folders if name and folder.name.startswith(name)]
    found: Sequence[Path] = exact or of_run[-1:] or begun
    if len(found) == 1:
        return found[0]
    raise ConfigError(
        f"{len(found)} jobs begin with '{name}'" if found else f"no job '{name}'",
        where="drivetrain jobs",
        remedy="`drivetrain jobs list` shows them; a run's name stands for its newest job",
    )


def job_folders(home: Home) -> list[Path]:
    """Return the folders of all jobs, the oldest first."""
    root = jobs_folder(home)
    return sorted(
        (path.parent for path in root.glob(f"*/{_JOB}") if (path.parent / _STATUS).exists()),
        key=lambda folder: (folder / _JOB).stat().st_mtime_ns,
    )
