"""``python -m ray_jobs.cluster_keeper HOME NODES IDLE_S``: keeps the local cluster, and brings home what its jobs say."""

from __future__ import annotations

import logging
import os
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from platform_lib.catalog.liveness import ProcessIdentity, orderly_termination
from platform_lib.errors import HomeError, PlatformError
from platform_lib.home import Home, open_home
from ray_jobs.job_log import LogCopy
from ray_jobs.job_records import State, job_folders, read_job, set_status
from ray_jobs.local_cluster import CLUSTER, ClusterFile, cluster_file, jobs_client, write_cluster_file
from ray_jobs.session import JobTakingRay, job_taking_ray

_LOG = logging.getLogger(__name__)
_POLL_S = 0.5
_START_S = 420.0
# Source: ray.job_submission.JobStatus, Ray 2.60.
_STATES = {
    "PENDING": State.PENDING,
    "RUNNING": State.RUNNING,
    "SUCCEEDED": State.SUCCEEDED,
    "FAILED": State.FAILED,
    "STOPPED": State.STOPPED,
}


def main(arguments: list[str]) -> int:
    """Keep the cluster until nothing was to do for long enough."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    home, nodes, idle_s = open_home(Path(arguments[0])), int(arguments[1]), float(arguments[2])
    cpus = len(os.sched_getaffinity(0))
    shares = [max(1, cpus // nodes + (number < cpus % nodes)) for number in range(nodes)]
    with orderly_termination(), home.lock("ray-cluster"), ExitStack() as started:
        ray = started.enter_context(job_taking_ray(home, cpus=shares[0]))
        for share in shares[1:]:
            ray.add_node(cpus=share)
        jobs = _answering(ray)
        _LOG.info("jobs are taken at %s", ray.jobs)
        told = ClusterFile(
            keeper=str(ProcessIdentity.current()),
            address=ray.jobs,
            gcs=ray.gcs,
            token=ray.token,
            session=str(ray.session),
            nodes=nodes,
        )
        write_cluster_file(home, told)
        started.callback(lambda: cluster_file(home).unlink(missing_ok=True))
        _keep(home, jobs, ray, idle_s)
    return 0


def _answering(ray: JobTakingRay) -> Any:
    """Wait until the Jobs API answers."""
    deadline = time.monotonic() + _START_S
    while True:
        try:
            return jobs_client(ray.jobs, ray.token)
        except HomeError:
            if time.monotonic() > deadline or not ray.living:
                raise
            time.sleep(0.3)


def _keep(home: Home, jobs: Any, ray: JobTakingRay, idle_s: float) -> None:
    """Bring home statuses and logs, until no job was there for `idle_s`, or the head is gone."""
    session = ray.session
    copies: dict[str, LogCopy] = {}
    idle_since = time.monotonic()
    while time.monotonic() - idle_since < idle_s:
        time.sleep(_POLL_S)
        if not ray.living:
            _LOG.error("the head is gone; its jobs are lost")
            return
        for folder in job_folders(home):
            with suppress(PlatformError):
                if _bring(folder, jobs, session, copies):
                    idle_since = time.monotonic()
    _LOG.info("nothing was to do for %.0f s; the cluster ends", idle_s)


def _bring(folder: Path, jobs: Any, session: Path, copies: dict[str, LogCopy]) -> bool:
    """Bring home what one job said; return whether it goes on."""
    record, status = read_job(folder)
    if record.cluster != CLUSTER or status.state.over or not status.submission:
        return False
    try:
        told = jobs.get_job_info(status.submission)
    except RuntimeError:  # of another cluster, which is gone
        set_status(folder, State.LOST, submission=status.submission, attempts=status.attempts)
        return False
    copy = copies.setdefault(status.submission, LogCopy(folder, session, status.submission))
    copy.bring()
    state = _STATES[told.status.value]
    if state.over:
        copy.finish(told.driver_info.id if told.driver_info else None)
        copies.pop(status.submission)
    if state is not status.state:
        message = (told.message or "").strip().splitlines()
        set_status(
            folder,
            state,
            submission=status.submission,
            attempts=status.attempts,
            message=message[-1] if message else "",
        )
    return not state.over


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
