"""A search in MLflow: a run for the study, and below it one for each trial with its values, its curve and how it ended.

The truth is Optuna's study and the curves beside it; what MLflow lacks of them is added at each look. So a search that was killed
is completed by its next visit, and nothing is there twice.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from platform_lib.storage import publish_bytes
from platform_lib.tracking.mlflow_store import SEARCHES, Point, TrackedRun
from ray_jobs.training_follower import NOT_METRICS

MLFLOW_ID, TRIAL_IDS = "mlflow_run_id", "mlflow_trials"
_POLL_S = 2.0
_ENDED = frozenset({"complete", "pruned", "failed"})


@dataclass(frozen=True, slots=True)
class SearchRecord:
    """Where and as what a search is tracked.

    Attributes:
        uri: SQLAlchemy URI of the tracking database.
        artefacts: Folder for artefacts.
        study: Its name.
        folder: The study's; ids of MLflow runs are kept there.
        metric: What is made small.
        tags: Digests and names, of the study and each trial.
        epochs_of: Values of a trial -> how many epochs a whole one has.
    """

    uri: str
    artefacts: Path
    study: str
    folder: Path
    metric: str
    tags: Mapping[str, str]
    epochs_of: Callable[[Mapping[str, Any]], int]


def trial_state(trial: Any, *, epochs: int) -> str:
    """Return how a trial stands: ``running``, ``complete``, ``pruned`` where it was cut, or ``failed``.

    Ray tells Optuna that a trial which ASHA cut is complete; its curve says that it is not.
    """
    known = trial.state.name.lower()
    if known in ("running", "waiting"):
        return "running"
    if known == "fail":
        return "failed"
    return "pruned" if known == "pruned" or max(trial.intermediate_values, default=0) < epochs else "complete"


class TrackedSearch:
    """Tells MLflow of a study while it is searched, and at the end.

    Args:
        record: Where and as what.
        trials: Returns Optuna's trials as they are now; called from a thread of its own.
        curves: Returns the curves beside the study: values as sorted JSON -> rows by epoch.
        leave: Called when the thread ends, to let go of what `trials` holds for it.
    """

    def __init__(
        self,
        record: SearchRecord,
        *,
        trials: Callable[[], Sequence[Any]],
        curves: Callable[[], Mapping[str, Sequence[Mapping[str, Any]]]],
        leave: Callable[[], None] = lambda: None,
    ) -> None:
        self._record, self._trials, self._curves, self._leave = record, trials, curves, leave
        self._study = self._run(record.study, record.folder / MLFLOW_ID, {}, {}, parent=None)
        # Below the study's own id: what is left of a study that is no more is not taken for this one's.
        self._ids = record.folder / TRIAL_IDS / self._study.run_id
        self._runs: dict[int, TrackedRun] = {}
        self._done: set[int] = set()
        self._stop = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        if error is not None:
            self._study.fail()
        elif self._failure is not None:
            raise self._failure

    def look(self) -> None:
        """Add what MLflow does not have of each trial; one that ended is looked at once."""
        new = [trial for trial in self._trials() if not self._told(trial.number)]
        if not new:
            return
        curves = self._curves()
        for trial in new:
            self._tell(trial, curves.get(json.dumps(dict(trial.params), sort_keys=True), ()))

    def finish(self, *, files: tuple[Path, ...], best: Mapping[str, str]) -> None:
        """Look a last time, attach the files to the study's run and close it with tags of the best trial."""
        self._stop.set()
        self._thread.join()  # two looks at once would tell an epoch twice
        if self._failure is not None:
            raise self._failure
        self.look()
        self._study.finish(tags=best, files=files)

    def _follow(self) -> None:
        try:
            while not self._stop.wait(_POLL_S):
                self.look()
        except Exception as error:  # noqa: BLE001 - handed over to the main thread, which raises it
            self._failure = error
        finally:
            self._leave()

    def _tell(self, trial: Any, curve: Sequence[Mapping[str, Any]]) -> None:
        if not trial.params:
            return  # asked for a moment ago, its values are not drawn yet
        state = trial_state(trial, epochs=self._record.epochs_of(trial.params))
        run = self._runs.get(trial.number)
        if run is None:
            params = {name: str(value) for name, value in trial.params.items()}
            name = f"{self._record.study}-{trial.number}"
            run = self._run(name, self._ids / str(trial.number), params, {"state": state}, parent=self._study.run_id)
            self._runs[trial.number] = run
        run.log(self._points(trial, curve))
        if state not in _ENDED:
            return
        if state == "failed":
            run.fail(tags={"state": state})
        else:
            run.finish(tags={"state": state}, files=())
        self._done.add(trial.number)
        publish_bytes(self._ids / f"{trial.number}.told", b"")  # the next visit need not look at it

    def _told(self, number: int) -> bool:
        return number in self._done or (self._ids / f"{number}.told").exists()

    def _points(self, trial: Any, curve: Sequence[Mapping[str, Any]]) -> list[Point]:
        """Return the trial's own epochs; a curve of the same values may be longer, where an earlier trial went on."""
        now_ms = time.time_ns() // 1_000_000
        rows = {int(row["epoch"]): row for row in curve}
        return [
            Point(
                epoch,
                now_ms,
                {self._record.metric: value}
                | {
                    name: float(number)
                    for name, number in rows.get(epoch, {}).items()
                    if name not in NOT_METRICS and name != self._record.metric
                },
            )
            for epoch, value in sorted(trial.intermediate_values.items())
        ]

    def _run(
        self, name: str, id_file: Path, params: Mapping[str, str], tags: Mapping[str, str], *, parent: str | None
    ) -> TrackedRun:
        record = self._record
        return TrackedRun(
            record.uri,
            artefacts=record.artefacts,
            name=name,
            id_file=id_file,
            tags={**record.tags, **tags, "study": record.study},
            params=params,
            experiment=SEARCHES,
            parent=parent,
        )
