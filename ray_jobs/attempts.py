"""How often training may begin anew: as long as it gets on. And how a worker says that it stops for good.

A worker that is killed, a node that goes, a process that hung: each begins anew from the last checkpoint. What happens
again at the same step would happen for ever; after three times at one step the run stops.
"""

from __future__ import annotations

import json
from pathlib import Path

from platform_lib.errors import PlatformError
from platform_lib.storage import publish_bytes
from ray_jobs.training_journal import tell_event

MOST_AT_ONE_STEP = 3
_ATTEMPTS, _STOPPED = "attempts.json", "stopped.json"


class TrainingError(PlatformError):
    """The training function failed; the message carries its own."""


def begin_attempt(run: Path, step: int) -> None:
    """Count a beginning after `step`.

    Raises:
        TrainingError: It is one too many at this step.
    """
    path = run / _ATTEMPTS
    try:
        known = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        known = {"step": -1, "count": 0}
    count = known["count"] + 1 if known["step"] == step else 1
    if count > MOST_AT_ONE_STEP:
        raise TrainingError(
            f"training ended {MOST_AT_ONE_STEP} times after step {step} without getting to a next checkpoint",
            where=run,
            remedy=f"see {run / 'events.jsonl'}: a worker that is killed again and again wants more memory than there is; "
            "one that hangs left its stacks in hung-*.txt",
        )
    publish_bytes(path, json.dumps({"step": step, "count": count}).encode())


def stop_for_good(run: Path, error: PlatformError) -> None:
    """Let the run end with this error instead of beginning anew."""
    text = {"kind": type(error).__name__, "what": error.what, "where": error.where, "remedy": error.remedy}
    publish_bytes(run / _STOPPED, json.dumps(text).encode())
    tell_event(run, "stopped", error.what)


def stopped_by(run: Path) -> PlatformError | None:
    """Return the error that `stop_for_good` was given; None if it was not."""
    try:
        told = json.loads((run / _STOPPED).read_text())
    except FileNotFoundError:
        return None
    kinds = {kind.__name__: kind for kind in _kinds(PlatformError)}
    kind = kinds.get(told["kind"], TrainingError)
    return kind(told["what"], where=told["where"], remedy=told["remedy"])


def clear_attempts(run: Path) -> None:
    """Forget both, for a command that begins."""
    for name in (_ATTEMPTS, _STOPPED):
        (run / name).unlink(missing_ok=True)


def _kinds(kind: type[PlatformError]) -> list[type[PlatformError]]:
    return [kind, *(found for below in kind.__subclasses__() for found in _kinds(below))]
