"""Training runs in MLflow, written so that a run killed at any moment goes on as the same MLflow run.

The run folder holds the MLflow run's id; the curve in the run folder is the truth, and what MLflow lacks of it is
added on the next visit. So a half-written store is completed, never doubled.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Before the import: MLflow would otherwise report its use over the network.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"

from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from platform_lib.storage import publish_bytes

_LOG = logging.getLogger(__name__)
EXPERIMENT, SEARCHES = "planners", "searches"
# MLflow refuses longer parameter values.
_PARAM_BYTES = 6000
_BATCH = 1000  # Source: MLflow, REST API, "log-batch": 1,000 metrics a request


@dataclass(frozen=True, slots=True)
class Point:
    """One logged step of the curve; `time_ms` is the UTC epoch."""

    step: int
    time_ms: int
    metrics: Mapping[str, float]


class TrackedRun:
    """One training run in MLflow.

    Args:
        uri: SQLAlchemy URI of the tracking database.
        artefacts: Folder for artefacts.
        name: The run's name, for people.
        id_file: Where the MLflow run id is kept; removed together with the run folder when a run starts anew.
        tags: Digests and names, set on every visit.
        params: Flat configuration.
        experiment: What MLflow lists it under.
        parent: Id of the MLflow run that it is shown below.
    """

    def __init__(
        self,
        uri: str,
        *,
        artefacts: Path,
        name: str,
        id_file: Path,
        tags: Mapping[str, str],
        params: Mapping[str, str],
        experiment: str = EXPERIMENT,
        parent: str | None = None,
    ) -> None:
        _quiet()
        self._client = MlflowClient(tracking_uri=uri)
        self.run_id = self._known(id_file) or self._create(self._experiment(experiment, artefacts), name, id_file)
        above = {} if parent is None else {MLFLOW_PARENT_RUN_ID: parent}
        self._client.log_batch(
            self.run_id,
            params=[Param(key, value[:_PARAM_BYTES]) for key, value in params.items()],
            tags=[RunTag(key, value) for key, value in {**tags, **above}.items()],
        )
        self._client.update_run(self.run_id, status="RUNNING")

    def log(self, points: list[Point]) -> int:
        """Add the points whose step MLflow does not have yet; return how many were added."""
        last = self._last_step(points[0]) if points else -1
        new = [point for point in points if point.step > last]
        for point in new:
            metrics = [Metric(key, value, point.time_ms, point.step) for key, value in point.metrics.items()]
            self._client.log_batch(self.run_id, metrics=metrics)
        return len(new)

    def log_system(self, points: Sequence[tuple[int, Mapping[str, float]]]) -> None:
        """Add what machines and processes did, each at a UTC time in milliseconds; the same point again changes nothing.

        Args:
            points: Time and name -> value. MLflow shows names that begin with ``system/`` on a page of their own.
        """
        found = [
            Metric(name, value, time_ms, time_ms // 1000)
            for time_ms, metrics in points
            for name, value in metrics.items()
        ]
        for start in range(0, len(found), _BATCH):
            self._client.log_batch(self.run_id, metrics=found[start : start + _BATCH])

    def attach(self, name: str, document: Mapping[str, object]) -> None:
        """Put a JSON document among the run's artefacts, in place of an earlier one of that name."""
        self._client.log_dict(self.run_id, dict(document), name)

    def finish(self, *, tags: Mapping[str, str], files: tuple[Path, ...]) -> None:
        """Attach the files, set the final tags and close the run."""
        for path in files:
            self._client.log_artifact(self.run_id, str(path))
        self._client.log_batch(self.run_id, tags=[RunTag(key, value) for key, value in tags.items()])
        self._client.set_terminated(self.run_id, "FINISHED")

    def fail(self, *, tags: Mapping[str, str] | None = None) -> None:
        """Mark the run as failed; a later visit sets it running again."""
        if tags:
            self._client.log_batch(self.run_id, tags=[RunTag(key, value) for key, value in tags.items()])
        self._client.set_terminated(self.run_id, "FAILED")

    def _last_step(self, point: Point) -> int:
        history: list[Any] = self._client.get_metric_history(self.run_id, next(iter(point.metrics)))
        return max((int(metric.step) for metric in history), default=-1)

    def _experiment(self, name: str, artefacts: Path) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        artefacts.mkdir(parents=True, exist_ok=True)
        try:
            return str(self._client.create_experiment(name, artifact_location=artefacts.as_uri()))
        except MlflowException:
            # Another command made it between the two calls.
            return str(self._client.get_experiment_by_name(name).experiment_id)

    def _known(self, id_file: Path) -> str | None:
        try:
            run_id = id_file.read_text().strip()
            return str(self._client.get_run(run_id).info.run_id)
        except FileNotFoundError:
            return None
        except MlflowException as error:
            _LOG.warning("run=%s is not in the tracking store, a new one is made (%s)", run_id, error.error_code)
            return None

    def _create(self, experiment: str, name: str, id_file: Path) -> str:
        run_id = str(self._client.create_run(experiment, run_name=name).info.run_id)
        publish_bytes(id_file, f"{run_id}\n".encode())
        return run_id


def _quiet() -> None:
    """Keep MLflow's and alembic's start-up notes out of the terminal; warnings and errors still show."""
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
