"""What one reading process may take of the machine's memory: over it, it ends by itself before the kernel picks a victim."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil

from platform_lib.home import Home

_SHARE = 0.7  # of the machine, all readers together: the rest is for the stores, PostgreSQL and this process
_LEAST_BYTES = 1 << 30
_LOOK_EVERY_S = 0.05


@dataclass(frozen=True, slots=True)
class MemoryCap:
    """The most that one reader may hold.

    Attributes:
        bytes: Of its resident memory.
        notes: Folder where a reader that passed it says so.
    """

    bytes: int
    notes: Path

    @classmethod
    def among(cls, workers: int, home: Home) -> Self:
        """Divide this machine's memory among readers."""
        home.scratch.mkdir(exist_ok=True)
        return cls(max(_LEAST_BYTES, int(psutil.virtual_memory().total * _SHARE) // workers), home.scratch)

    @contextmanager
    def kept(self, ingest_id: int) -> Iterator[None]:
        """End this process if it takes more in the block, leaving a note under `ingest_id`."""
        ended = threading.Event()
        watcher = threading.Thread(target=self._look, args=(ended, self._note(ingest_id)), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            ended.set()
            watcher.join()

    def _look(self, ended: threading.Event, note: Path) -> None:
        process = psutil.Process()
        while not ended.wait(_LOOK_EVERY_S):
            if process.memory_info().rss > self.bytes:
                note.touch()
                os._exit(1)

    def was_passed(self, ingest_id: int) -> bool:
        """Whether the reader of that ingest ended for this; told once."""
        note = self._note(ingest_id)
        found = note.exists()
        note.unlink(missing_ok=True)
        return found

    def _note(self, ingest_id: int) -> Path:
        return self.notes / f"over-memory-{ingest_id}"
