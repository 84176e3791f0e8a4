"""Who may write into the lake's folders: the readers of one run, and none of a run that was killed.

A reader outlives its killed command by some moments. What it wrote after the next command had swept would stay as files
that no version names. So a run leaves a mark while its readers write; the next one waits for readers that are at it,
sweeps, and takes the mark away, after which a reader of the former run writes nothing.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from platform_lib.errors import HomeError
from platform_lib.home import Home

_LOCK = "lake-writers"
_WAIT_FOR_READERS_S = 120.0


@dataclass(frozen=True, slots=True)
class Permit:
    """Leave to write for the readers of one run.

    Attributes:
        home: Whose lake.
        token: What the run's mark says.
    """

    home: Home
    token: str

    @contextmanager
    def used(self) -> Iterator[None]:
        """Write in the block; nobody sweeps meanwhile.

        Raises:
            HomeError: The run that gave this leave has ended.
        """
        with self.home.lock(_LOCK, wait_s=_WAIT_FOR_READERS_S, shared=True):
            if _read(self.home) != self.token:
                raise HomeError(
                    "the command that asked for this log has ended", where=self.home.lake, remedy="run it again"
                )
            yield


class Writers:
    """The mark of the run that writes, of one home; for the holder of the lock ``ingest``."""

    def __init__(self, home: Home) -> None:
        self._home = home

    @property
    def unfinished(self) -> bool:
        """Whether files may lie there that no version names: a run was killed, or one of its readers."""
        return _mark(self._home).exists()

    def begin(self) -> Permit:
        """Let the readers of a run write."""
        permit = Permit(self._home, uuid.uuid4().hex)
        _mark(self._home).write_text(permit.token)
        return permit

    def end(self) -> None:
        """Take the mark away: the readers are done, and what they wrote is named or deleted."""
        _mark(self._home).unlink(missing_ok=True)

    @contextmanager
    def barred(self) -> Iterator[None]:
        """Wait until nobody writes, and keep it so for the block.

        Raises:
            HomeBusyError: A reader of a former run still writes after two minutes.
        """
        with self._home.lock(_LOCK, wait_s=_WAIT_FOR_READERS_S):
            yield


def _mark(home: Home) -> Path:
    return home.lake / "unfinished"


def _read(home: Home) -> str | None:
    try:
        return _mark(home).read_text()
    except OSError:
        return None
