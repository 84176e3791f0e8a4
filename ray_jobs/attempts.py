"""How often training may begin anew: as long as it gets on. And how a worker says that it stops for good.

A worker that is killed, a node that goes, a process that hung: each begins anew from the last checkpoint. What happens
again at the same step would happen for ever; after three times at one step the run stops.
"""

from __future__ import annotations

import errno
import json
from contextlib import suppress
from pathlib import Path

from platform_lib.errors import PlatformError
from platform_lib.storage import publish_bytes
from ray_jobs.training_journal import tell_event

MOST_AT_ONE_STEP = 3
_ATTEMPTS, _STOPPED, _RESERVE = "attempts.json", "stopped.json", "reserve"
_RESERVE_BYTES = 64 << 10
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


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
    data = json.dumps(text).encode()
    try:
        publish_bytes(run / _STOPPED, data)
    except OSError:
        (run / _RESERVE).unlink(missing_ok=True)  # unsaid, training would begin anew for ever
        publish_bytes(run / _STOPPED, data)
    with suppress(OSError):
        tell_event(run, "stopped", error.what)


def no_room(error: BaseException) -> bool:
    """Whether nothing more can be written, so that beginning anew would not help."""
    return isinstance(error, OSError) and error.errno in _NO_ROOM


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
    """Forget both, for a command that begins, and set aside the room that saying why it stopped takes on a full disk."""
    for name in (_ATTEMPTS, _STOPPED):
        (run / name).unlink(missing_ok=True)
    publish_bytes(run / _RESERVE, bytes(_RESERVE_BYTES))


def release(run: Path) -> None:
    """Give back what was set aside, for a run that is done."""
    (run / _RESERVE).unlink(missing_ok=True)


def _kinds(kind: type[PlatformError]) -> list[type[PlatformError]]:
    return [kind, *(found for below in kind.__subclasses__() for found in _kinds(below))]
