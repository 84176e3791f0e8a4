"""What a training run writes about itself while it goes: steps, curve, events; cut back to where it resumed.

``steps.jsonl`` and ``curve.jsonl`` are those of an undisturbed run, however often it was killed. ``events.jsonl`` tells what
happened on the way, and is only ever added to.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from platform_lib.models.fitting import EpochRecord, StepRecord
from platform_lib.models.slow_ranks import SlowRank
from platform_lib.storage import publish_bytes
from ray_jobs.hang_guard import HangGuard
from ray_jobs.interruption import Notices

STEPS, CURVE, EVENTS = "steps.jsonl", "curve.jsonl", "events.jsonl"


def tell_event(run: Path, event: str, text: str, **more: float | str) -> None:
    """Add one event of a run; lines of several processes do not mix."""
    line = json.dumps({"utc": datetime.now(UTC).isoformat(timespec="seconds"), "event": event, "text": text, **more})
    descriptor = os.open(run / EVENTS, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        os.write(descriptor, f"{line}\n".encode())
    finally:
        os.close(descriptor)


def read_lines(path: Path) -> list[dict[str, object]]:
    """Return a file's whole JSON lines; one that a kill cut is left out."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in data[: data.rfind(b"\n") + 1].splitlines() if line]


class Journal:
    """Writes what `Fit` tells, in one training process.

    Args:
        run: The run's folder.
        rank: Rank 0 writes; the others keep their guards alone.
        guard: Ends the process when no step comes.
        begun: Told the step that fitting begins after; may refuse to go on.
        report: Told of every epoch, in every process.
    """

    def __init__(
        self,
        run: Path,
        *,
        rank: int,
        guard: HangGuard,
        begun: Callable[[int], None],
        report: Callable[[EpochRecord], None],
    ) -> None:
        self._run, self._writes, self._guard, self._begun, self._report = run, rank == 0, guard, begun, report
        self._steps: TextIO | None = None
        self._notices = Notices(run, rank=rank, beat=guard.beat)

    def resumed(self, step: int, passed_over: Sequence[str]) -> None:
        """Cut the steps back to where fitting begins."""
        self._begun(step)
        self._guard.beat()
        self._notices.begin()
        if not self._writes:
            return
        self._steps = _cut(self._run / STEPS, step)
        for text in passed_over:
            tell_event(self._run, "checkpoint-passed-over", text, step=step)
        if step:
            tell_event(self._run, "resumed", f"goes on after step {step}", step=step)

    def stepped(self, record: StepRecord) -> None:
        """Write the step."""
        self._guard.beat(record.step)
        if self._steps is not None:
            line = {"step": record.step, "loss": record.loss, "order_sha256": record.order_sha256}
            self._steps.write(json.dumps(line) + "\n")
            self._steps.flush()

    def saved(self, step: int) -> None:
        """Let what was written outlive the machine as the checkpoint does."""
        self._guard.beat(step)
        if self._steps is not None:
            os.fsync(self._steps.fileno())
        self._notices.saved(step, lambda text: tell_event(self._run, "saved-on-notice", text, step=step))

    def epoch_ended(self, record: EpochRecord, records: Sequence[EpochRecord]) -> None:
        """Publish the curve, then report."""
        self._guard.beat(record.step)
        if self._writes:
            write_curve(self._run, records)
        self._report(record)

    def held_up(self, found: Sequence[SlowRank]) -> None:
        """Name the processes that hold the others up."""
        for item in found if self._writes else ():
            tell_event(self._run, "slow-rank", str(item), rank=item.rank, own_s=item.own_s, others_s=item.others_s)

    def state_wanted(self) -> bool:
        """Whether somebody asked for a state at once, or this process heard of its end."""
        return self._notices.wanted()

    def close(self) -> None:
        """Stop writing."""
        self._guard.stop()
        self._notices.end()
        if self._steps is not None:
            self._steps.close()


def write_curve(run: Path, records: Sequence[EpochRecord]) -> None:
    """Publish the learning curve."""
    publish_bytes(run / CURVE, "".join(json.dumps(record.line()) + "\n" for record in records).encode())


def _cut(path: Path, step: int) -> TextIO:
    """Leave the lines of the first `step` steps, and open the file behind them."""
    path.touch()
    with path.open("r+b") as stream:
        for _ in range(step):
            if not stream.readline().endswith(b"\n"):
                break
        stream.truncate(stream.tell())
    return path.open("a", encoding="utf-8")
