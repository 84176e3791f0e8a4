"""A job's log, brought from the cluster's session into the home while it grows."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ray_jobs.job_records import LOG, WORKERS

_FOLLOW_S = 0.3
_WORKER_LOG_BYTES = 16 << 20


class LogCopy:
    """Copies what one submission says.

    Args:
        folder: The job's, in the home.
        session: Ray's folder of the cluster's session.
        submission: The attempt.
    """

    def __init__(self, folder: Path, session: Path, submission: str) -> None:
        self._folder, self._session = folder, session
        self._source = session / "logs" / f"job-driver-{submission}.log"
        self._mark = folder / f".copied-{submission}"
        self._copied = int(self._mark.read_text()) if self._mark.exists() else 0

    def bring(self) -> None:
        """Add what is new."""
        try:
            with self._source.open("rb") as stream:
                stream.seek(self._copied)
                data = stream.read()
        except FileNotFoundError:
            return
        if data:
            with (self._folder / LOG).open("ab") as out:
                out.write(data)
            self._copied += len(data)
            self._mark.write_text(str(self._copied))

    def finish(self, ray_job: str | None) -> None:
        """Bring the rest, and what the job's workers wrote themselves: the ends of files that are large."""
        self.bring()
        for path in self._session.glob(f"logs/worker-*-{ray_job}-*") if ray_job else ():
            if path.stat().st_size == 0:
                continue
            target = self._folder / WORKERS / path.name
            target.parent.mkdir(exist_ok=True)
            with path.open("rb") as stream, target.open("wb") as out:
                stream.seek(max(0, path.stat().st_size - _WORKER_LOG_BYTES))
                shutil.copyfileobj(stream, out)


def lines_of(folder: Path, *, follow: bool, over: Callable[[], bool]) -> Iterator[str]:
    """Yield a job's log line by line; with `follow` until the job is over.

    Args:
        folder: The job's.
        follow: Whether to wait for more.
        over: Says that nothing more will come.
    """
    path, rest, at = folder / LOG, "", 0
    while True:
        ended = over()  # asked first: what was written before the end is read after it
        if path.exists():
            with path.open("rb") as stream:
                stream.seek(at)
                data = stream.read()
            at += len(data)
            *whole, rest = (rest + data.decode(errors="replace")).split("\n")
            yield from whole
        if ended or not follow:
            if rest:
                yield rest
            return
        time.sleep(_FOLLOW_S)
