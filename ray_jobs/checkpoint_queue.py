"""Checkpoints of trainings that are at work: which wait to be scored, and how one is kept from being deleted meanwhile.

Training keeps two checkpoints and deletes the others. So what is seen is held at once, by a second link to its state in
``HOME/reports/evaluations/waiting/<digest>/``, and scored from there. What was scored is in the history under the checkpoint's
digest, what could not be in ``not-scored``: each is one file that is whole or absent, so that a kill at any moment loses
nothing and doubles nothing.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from platform_lib.errors import HomeBusyError, PlatformError
from platform_lib.home import Home
from platform_lib.models.checkpoint import LABEL, STATE, Published, label_of, published
from platform_lib.storage import publish_bytes, publish_folder, sweep_unfinished
from ray_jobs.evaluation_history import NotScored, checkpoint_entry, not_scored_entry
from ray_jobs.named import RUN_IDENTITY

_LOG = logging.getLogger(__name__)
_EGO_ONLY = "ego_only"
_CLAIM = "claim.json"
_WAIT_S = 30.0
GONE = "deleted by its training before it could be held: it keeps two, and nobody looked in between"


class Claim(BaseModel):
    """A checkpoint that is held until it is scored.

    Attributes:
        recipe: What the training was started with, ``module:function`` of one's own too; None from a notebook.
        step: Training steps behind it.
        sha256: Of its state, as training wrote it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    created_utc: datetime
    run: str
    recipe: str | None
    dataset: str
    checkpoint: str
    step: int
    sha256: str


@dataclass(frozen=True, slots=True)
class _Training:
    folder: Path
    recipe: str | None
    dataset: str
    finished: bool


def hold_new(home: Home) -> int:
    """Hold every checkpoint that is new, and note those that are gone; return how many were held.

    Of a run that nobody watched while it trained nothing is held once it is finished: it is scored itself.
    """
    try:
        with home.lock("checkpoints-held", wait_s=_WAIT_S):
            sweep_unfinished(_waiting(home))
            return sum(_hold_of(home, training) for training in _trainings(home))
    except HomeBusyError:
        return 0  # another watch is at it


def waiting_checkpoints(home: Home) -> tuple[Claim, ...]:
    """Return what is held and not scored, the oldest first."""
    found = []
    for path in _waiting(home).glob(f"[0-9a-f]*/{_CLAIM}"):
        with suppress(FileNotFoundError, ValidationError):
            claim = Claim.model_validate_json(path.read_bytes())
            if not _is_known(home, claim.sha256):
                found.append(claim)
    return tuple(sorted(found, key=lambda one: (one.created_utc, one.step, one.sha256)))


def held_state(home: Home, claim: Claim) -> Path:
    """Say where a held checkpoint's state lies."""
    return _waiting(home) / claim.sha256 / STATE


def let_go(home: Home, claim: Claim) -> None:
    """Hold it no longer."""
    shutil.rmtree(_waiting(home) / claim.sha256, ignore_errors=True)


def clear_known(home: Home) -> None:
    """Let go of what a kill left held although it was scored."""
    for folder in _waiting(home).glob("[0-9a-f]*"):
        if _is_known(home, folder.name):
            shutil.rmtree(folder, ignore_errors=True)


def note_not_scored(home: Home, claim: Claim, why: str) -> None:
    """Record that a checkpoint has no score and will have none."""
    entry = NotScored(
        created_utc=datetime.now(UTC),
        run=claim.run,
        dataset=claim.dataset,
        checkpoint=claim.checkpoint,
        step=claim.step,
        checkpoint_sha256=claim.sha256,
        why=why,
    )
    path = not_scored_entry(home, claim.sha256)
    path.parent.mkdir(parents=True, exist_ok=True)
    publish_bytes(path, (entry.model_dump_json(indent=1) + "\n").encode())
    let_go(home, claim)


@contextmanager
def holding(home: Home, *, every_s: float) -> Iterator[None]:
    """Hold what is new all the while: scoring one run can take longer than training keeps a checkpoint."""
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(every_s):
            try:
                hold_new(home)
            except (OSError, PlatformError) as error:
                _LOG.warning("checkpoints cannot be held: %s", error)

    thread = threading.Thread(target=look, name="holds-checkpoints", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _hold_of(home: Home, training: _Training) -> int:
    found = published(training.folder / "checkpoints")
    seen = [_is_known(home, item.sha256) or (_waiting(home) / item.sha256).is_dir() for item in found]
    if training.finished and not any(seen):
        return 0
    held, watched = 0, False
    for item, known in zip(found, seen, strict=True):
        if known:
            watched = True
            continue
        claim = _claim(training, item)
        if _hold(home, training.folder / "checkpoints" / item.name, claim):
            held, watched = held + 1, True
        elif watched:  # what was gone before anybody looked at this run is no news
            note_not_scored(home, claim, GONE)
    return held


def _claim(training: _Training, item: Published) -> Claim:
    return Claim(
        created_utc=datetime.now(UTC),
        run=training.folder.name,
        recipe=training.recipe,
        dataset=training.dataset,
        checkpoint=item.name,
        step=item.step,
        sha256=item.sha256,
    )


def _hold(home: Home, checkpoint: Path, claim: Claim) -> bool:
    """Link a checkpoint's state where training does not delete it; False where it is gone, or another one by now."""
    try:
        label = label_of(checkpoint)
        if label is None or label.sha256 != claim.sha256:
            return False
        with publish_folder(_waiting(home) / claim.sha256) as temporary:
            _link(checkpoint / STATE, temporary / STATE)
            (temporary / LABEL).write_bytes((checkpoint / LABEL).read_bytes())
            (temporary / _CLAIM).write_text(claim.model_dump_json(indent=1) + "\n")
    except FileNotFoundError:
        return False
    return True


def _link(state: Path, target: Path) -> None:
    try:
        os.link(state, target)
    except FileNotFoundError:
        raise
    except OSError:  # a file system without second links, or another one
        shutil.copyfile(state, target)


def _trainings(home: Home) -> Sequence[_Training]:
    """Return the runs whose checkpoints could be scored: those that learn to drive from a dataset of this home."""
    found = []
    for marker in sorted(home.runs.glob(f"*/{RUN_IDENTITY}")):
        try:
            told: dict[str, Any] = json.loads(marker.read_text())
            dataset, kind = told["dataset"], told["kind"]
        except (OSError, ValueError, KeyError, TypeError):
            continue  # of an earlier release, or being written
        if dataset is None or kind is None or kind == _EGO_ONLY:
            continue
        finished = (marker.parent / "manifest.json").exists()
        found.append(_Training(marker.parent, told.get("recipe"), str(dataset), finished))
    return found


def _is_known(home: Home, sha256: str) -> bool:
    return checkpoint_entry(home, sha256).exists() or not_scored_entry(home, sha256).exists()


def _waiting(home: Home) -> Path:
    return home.reports / "evaluations" / "waiting"
