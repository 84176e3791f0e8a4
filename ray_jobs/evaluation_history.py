"""What was ever scored in this home: one small file an evaluation, never rewritten, and what got worse from one to the next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from platform_lib.errors import IntegrityError
from platform_lib.evidence import EvaluationReport, FailedEpisode, MetricsRow, Status
from platform_lib.home import Home
from platform_lib.manifest import Manifest
from platform_lib.refusals import first_problem
from platform_lib.storage import publish_bytes

_FOLDER = "evaluations"
# Loop -> figures kept of it, and whether less is better.
KEPT: dict[str, dict[str, bool]] = {
    "open_loop": {"ade_m": True, "collision_rate": True},
    "pseudo_closed_loop": {"epdms": False},
    "closed_loop": {"collision_rate": True, "at_fault_rate": True, "progress_ratio": False},
}
JUDGED = "camera"
_Entry = TypeVar("_Entry", bound=BaseModel)


class Scored(BaseModel):
    """One evaluation of one run.

    Attributes:
        folder: Where its evidence lies, or lay: a later evaluation of the same run takes its place.
        champion: How it stands against the champion that was named, if one was.
        checkpoint: Of a training that went on; None for a finished run.
        step: Training steps behind that checkpoint.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    schema_version: Literal[1] = 1
    created_utc: datetime
    run: str
    dataset: str
    dataset_sha256: str
    weights_sha256: str
    scorer_sha256: str
    folder: Path
    rows: dict[str, tuple[MetricsRow, ...]]
    failures: tuple[FailedEpisode, ...]
    champion: Status | None
    checkpoint: str | None = None
    step: int | None = None
    checkpoint_sha256: str | None = None

    @property
    def title(self) -> str:
        """Name it for people."""
        return self.run if self.checkpoint is None else f"{self.run}, step {self.step}"

    def value(self, loop: str, metric: str, slice_name: str = "all", planner: str = JUDGED) -> MetricsRow | None:
        """Return the row that holds a figure, if it was scored."""
        rows = self.rows.get(loop, ())
        return next(
            (row for row in rows if (row.planner, row.slice) == (planner, slice_name) and metric in row.metrics), None
        )


class NotScored(BaseModel):
    """A checkpoint that has no score and will have none.

    Attributes:
        why: Deleted before anybody held it, damaged, or nothing that can be scored.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    created_utc: datetime
    run: str
    dataset: str
    checkpoint: str
    step: int
    checkpoint_sha256: str
    why: str


@dataclass(frozen=True, slots=True)
class CheckpointPlace:
    """Which checkpoint an evaluation judges: its name, the training steps behind it, the digest of its state."""

    name: str
    step: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Change:
    """One figure on one slice, before and now.

    Attributes:
        beyond_doubt: Whether the two intervals are apart.
    """

    loop: str
    metric: str
    slice: str
    before: float
    now: float
    worse: bool
    beyond_doubt: bool


def note(
    home: Home,
    report: EvaluationReport,
    manifest: Manifest,
    folder: Path,
    *,
    checkpoint: CheckpointPlace | None = None,
) -> Scored:
    """Add an evaluation to the history; the same one again changes nothing."""
    entry = Scored(
        created_utc=manifest.created_utc,
        run=report.model_name,
        dataset=Path(manifest.inputs["dataset"].uri).name,
        dataset_sha256=report.dataset_sha256,
        weights_sha256=report.weights_sha256,
        scorer_sha256=report.scorer_sha256,
        folder=folder,
        rows={loop: tuple(_thinned(getattr(report, loop), metrics)) for loop, metrics in KEPT.items()},
        failures=report.failures,
        champion=None if report.champion is None else report.champion.status,
        checkpoint=None if checkpoint is None else checkpoint.name,
        step=None if checkpoint is None else checkpoint.step,
        checkpoint_sha256=None if checkpoint is None else checkpoint.sha256,
    )
    if checkpoint is None:
        stamp = manifest.created_utc.strftime("%Y%m%dT%H%M%S%fZ")
        path = home.reports / _FOLDER / "history" / f"{stamp}-{report.model_name}.json"
    else:
        path = checkpoint_entry(home, checkpoint.sha256)
    path.parent.mkdir(parents=True, exist_ok=True)
    publish_bytes(path, (entry.model_dump_json(indent=1) + "\n").encode())
    return entry


def checkpoint_entry(home: Home, sha256: str) -> Path:
    """Say where a checkpoint's evaluation lies in the history: one place a digest, so there is never a second."""
    return home.reports / _FOLDER / "history" / f"checkpoint-{sha256}.json"


def not_scored_entry(home: Home, sha256: str) -> Path:
    """Say where it is told that a checkpoint has no score."""
    return home.reports / _FOLDER / "not-scored" / f"{sha256}.json"


def not_scored(home: Home) -> tuple[NotScored, ...]:
    """Return every checkpoint that will have no score, the oldest first.

    Raises:
        IntegrityError: A file was changed.
    """
    found = [
        _read(NotScored, path, "a checkpoint without a score")
        for path in (home.reports / _FOLDER / "not-scored").glob("*.json")
    ]
    return tuple(sorted(found, key=lambda one: (one.created_utc, one.step)))


def _read(kind: type[_Entry], path: Path, what: str) -> _Entry:
    try:
        return kind.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise IntegrityError(f"not {what}: {first_problem(error)}", where=path, remedy="delete it") from error


def _thinned(rows: Sequence[MetricsRow], metrics: dict[str, bool]) -> Iterator[MetricsRow]:
    for row in rows:
        kept = {name: row.metrics[name] for name in metrics if name in row.metrics}
        if kept:
            yield row.model_copy(update={"metrics": kept})


def history(home: Home) -> tuple[Scored, ...]:
    """Return every evaluation, the oldest first.

    Raises:
        IntegrityError: A file of the history was changed.
    """
    paths = sorted((home.reports / _FOLDER / "history").glob("*.json"))
    found = [_read(Scored, path, "an entry of the history") for path in paths]
    return tuple(sorted(found, key=lambda one: one.created_utc))


def page_path(home: Home) -> Path:
    """Say where the page of all evaluations lies."""
    return home.reports / _FOLDER / "index.html"


def before_of(entries: Sequence[Scored], place: int) -> Scored | None:
    """Return the evaluation that one can be compared with: the last one of other weights, same data, same scorer.

    Finished runs are compared with one another, a checkpoint with the one before it in the same training.
    """
    entry = entries[place]
    for other in reversed(entries[:place]):
        if (entry.checkpoint is None) != (other.checkpoint is None):
            continue
        if entry.checkpoint is not None and entry.run != other.run:
            continue
        same = (other.dataset_sha256, other.scorer_sha256) == (entry.dataset_sha256, entry.scorer_sha256)
        if same and other.weights_sha256 != entry.weights_sha256:
            return other
    return None


def changes(before: Scored, now: Scored) -> tuple[Change, ...]:
    """Return what became worse or better beyond what rounding shows, the doubtless first."""
    found = []
    for loop, metrics in KEPT.items():
        for row in now.rows.get(loop, ()):
            for metric, less_is_better in metrics.items():
                other = before.value(loop, metric, row.slice) if row.planner == JUDGED else None
                if other is None or metric not in row.metrics:
                    continue
                old, new = other.metrics[metric], row.metrics[metric]
                if abs(new.value - old.value) < 5e-4:
                    continue
                apart = None not in (old.low, old.high, new.low, new.high) and (
                    new.low > old.high or new.high < old.low  # type: ignore[operator]  # none of them is None
                )
                worse = (new.value > old.value) == less_is_better
                found.append(Change(loop, metric, row.slice, old.value, new.value, worse, bool(apart)))
    return tuple(sorted(found, key=lambda one: (not one.worse, not one.beyond_doubt)))
