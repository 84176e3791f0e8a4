"""The cluster of one machine that takes jobs: who keeps it, how it is reached, and Ray's Jobs API behind a token.

It is kept by a process of its own, so that the laptop's terminal may be closed, and ends itself when nothing is to do.
Whoever can read ``cluster.json`` (this user alone) may run jobs there: it holds the token.
"""

from __future__ import annotations

import logging
import os
import secrets
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from platform_lib.catalog.liveness import ProcessIdentity
from platform_lib.errors import HomeError, PlatformError
from platform_lib.home import Home
from platform_lib.storage import publish_file
from ray_jobs.job_records import JobStatus, State, read_job, set_status

CLUSTER = "local"
_FILE = "cluster.json"
_LOG = "cluster.log"
_START_S = 600.0


class ClusterFile(BaseModel):
    """How the cluster is reached.

    Attributes:
        keeper: The process that keeps it; see `ProcessIdentity`.
        address: Of its Jobs API, ``http://127.0.0.1:PORT``.
        gcs: What its jobs join.
        session: Ray's folder of this session.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    keeper: str
    address: str
    gcs: str
    token: str
    session: str
    nodes: int


@dataclass(frozen=True, slots=True)
class Cluster:
    """A living cluster."""

    file: ClusterFile

    def jobs(self) -> Any:
        """Return a client of its Jobs API.

        Raises:
            HomeError: It does not answer.
        """
        return jobs_client(self.file.address, self.file.token)


def jobs_client(address: str, token: str) -> Any:
    """Return a client of the Jobs API at `address`.

    Raises:
        HomeError: It does not answer, or refuses the token.
    """
    from ray.exceptions import RayError
    from ray.job_submission import JobSubmissionClient

    try:
        client = JobSubmissionClient(address, headers={"Authorization": f"Bearer {token}"})
    except (ConnectionError, RuntimeError, RayError) as error:  # RayError: another token than the cluster's
        raise HomeError(
            f"Ray's Jobs API does not answer as it should: {str(error).splitlines()[0]}",
            where=address,
            remedy="`drivetrain jobs stop-cluster`, then submit again: runs go on from their checkpoints",
        ) from error
    logging.getLogger("ray").setLevel(logging.WARNING)  # it tells of every upload, and has set its own level by now
    return client


def cluster_file(home: Home) -> Path:
    """Return where the cluster says how it is reached."""
    return home.short / _FILE


def write_cluster_file(home: Home, told: ClusterFile) -> None:
    """Say how the cluster is reached, to this user alone."""
    with publish_file(cluster_file(home)) as temporary:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(told.model_dump_json())


def living_cluster(home: Home) -> Cluster | None:
    """Return the cluster if one lives."""
    try:
        told = ClusterFile.model_validate_json((home.short_path / _FILE).read_bytes())
    except (OSError, ValidationError):
        return None
    keeper = ProcessIdentity.parse(told.keeper)
    return Cluster(told) if keeper is not None and keeper.alive else None


def ensure_cluster(home: Home, *, nodes: int = 1, idle_s: float = 600.0) -> Cluster:
    """Return the living cluster, started if there is none.

    Args:
        home: Whose cluster.
        nodes: Ray nodes of a new one, each a process of its own with this machine's CPUs shared among them.
        idle_s: A new one ends itself after so long without a job.

    Raises:
        HomeError: It does not come up.
    """
    with home.lock("ray-cluster-start", wait_s=_START_S):
        found = living_cluster(home)
        if found is not None:
            return found
        home.logs.mkdir(parents=True, exist_ok=True)
        log = home.logs / _LOG
        command = [sys.executable, "-m", "ray_jobs.cluster_keeper", str(home.root), str(nodes), str(idle_s)]
        with log.open("ab") as stream:
            keeper = subprocess.Popen(  # noqa: S603 - our own module
                command,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
                env=_environment(),
            )
        return _awaited(home, keeper, log)


def _awaited(home: Home, keeper: subprocess.Popen[bytes], log: Path) -> Cluster:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        found = living_cluster(home)
        if found is not None:
            keeper.returncode = 0  # it is to outlive this process, which waits for it no more
            return found
        if keeper.poll() is not None:
            break
        time.sleep(0.1)
    said = (log.read_text(errors="replace").strip().splitlines() or ["nothing"])[-1]
    raise HomeError(f"the local cluster does not come up; it said: {said}", where=log)


def _environment() -> dict[str, str]:
    """Let the keeper find this package though it was started from elsewhere, and give it its token: Ray reads that once."""
    root, before = str(Path(__file__).resolve().parent.parent), os.environ.get("PYTHONPATH")
    path = root if not before else f"{root}{os.pathsep}{before}"
    return {
        **os.environ,
        "PYTHONPATH": path,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        # Its usual 20 s are short on a busy machine, where eleven processes start at once.
        "RAY_DASHBOARD_STARTUP_TIMEOUT_S": "240",
    }


def standing(home: Home, folder: Path) -> JobStatus:
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


def stop_cluster(home: Home) -> bool:
    """End the cluster with all that runs there; return whether there was one.

    Raises:
        PlatformError: It does not end.
    """
    import psutil

    found = living_cluster(home)
    if found is None:
        return False
    keeper = ProcessIdentity.parse(found.file.keeper)
    if keeper is None:
        return False
    process = psutil.Process(keeper.pid)
    process.terminate()
    try:
        process.wait(timeout=60.0)
    except psutil.TimeoutExpired as error:
        raise PlatformError(
            "the local cluster does not end", where=f"process {keeper.pid}", remedy=f"kill -9 {keeper.pid}"
        ) from error
    return True
