"""Ends a training process that takes no step any more, and says where every one of its threads stood.

The guard is a thread below Python, so it also works where Python itself hangs. A process that is ended so is started
again, and goes on from its checkpoint.
"""

from __future__ import annotations

import faulthandler
import time
from pathlib import Path
from typing import TextIO

_PATTERN = "hang-rank-*.txt"


class HangGuard:
    """One process's guard.

    Args:
        run: The run's folder, for the stacks.
        rank: This process.
        limit_s: How long nothing may happen; 0 guards nothing.
    """

    def __init__(self, run: Path, *, rank: int, limit_s: float) -> None:
        self._limit_s = limit_s
        self._file: TextIO | None = None
        self._armed_s = float("-inf")
        if limit_s > 0:
            self._file = (run / f"hang-rank-{rank}.txt").open("w", encoding="utf-8")

    def beat(self, step: int | None = None) -> None:
        """Say that something happened."""
        del step
        now = time.monotonic()
        # Arming starts a thread; that often is enough.
        if self._file is not None and now - self._armed_s > self._limit_s / 20:
            faulthandler.dump_traceback_later(self._limit_s, exit=True, file=self._file)
            self._armed_s = now

    def stop(self) -> None:
        """Guard no longer."""
        if self._file is not None:
            faulthandler.cancel_dump_traceback_later()
            self._file.close()
            Path(self._file.name).unlink(missing_ok=True)
            self._file = None


def take_stacks(run: Path) -> list[Path]:
    """Return where processes hung since this was last asked: their stacks, under names that stay."""
    found = []
    for path in sorted(run.glob(_PATTERN)):
        if path.stat().st_size:
            kept = run / f"hung-{len(list(run.glob('hung-*.txt'))) + 1}.txt"
            found.append(path.rename(kept))
    return found
