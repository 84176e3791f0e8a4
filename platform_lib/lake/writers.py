"""Who may write into the lake's folders: the workers of one run, and none of a run that was killed.

A worker outlives its killed command by some moments. What it wrote after the next command had swept would stay as files
that no version names. So a run leaves a mark while its workers write; the next one waits for workers that are at it,
sweeps, and takes the mark away, after which a worker of the former run writes nothing.

Readers of logs and workers that blur have a mark each, since their commands run beside each other.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from platform_lib.errors import HomeError
from platform_lib.home import Home
from platform_lib.lake.objects import ObjectPath
from platform_lib.lake.place import LakePath, delete, lake_of, read_note, size_of, write_note

Work = Literal["lake", "blur"]
_MARKS: dict[Work, str] = {"lake": "unfinished", "blur": "unfinished-blur"}
_WAIT_FOR_READERS_S = 120.0


@dataclass(frozen=True, slots=True)
class Permit:
    """Leave to write for the workers of one run.

    Attributes:
        home: Whose lake.
        token: What the run's mark says.
        work: What they do.
    """

    home: Home
    token: str
    work: Work = "lake"

    @contextmanager
    def used(self) -> Iterator[None]:
        """Write in the block; nobody sweeps meanwhile.

        Raises:
            HomeError: The run that gave this leave has ended.
        """
        with self.home.lock(_lock(self.work), wait_s=_WAIT_FOR_READERS_S, shared=True):
            mark = _mark(self.home, self.work)
            self._refuse_ended(mark)
            yield
            if isinstance(mark, ObjectPath):  # another machine's command does not wait for this one's workers
                self._refuse_ended(mark)

    def _refuse_ended(self, mark: LakePath) -> None:
        if read_note(mark) != self.token:
            raise HomeError("the command that asked for this log has ended", where=mark.parent, remedy="run it again")


class Writers:
    """The mark of the run that writes, of one home; for the holder of the lock ``ingest``, or of ``blur``.

    Args:
        home: Whose.
        work: Readers of logs (``lake``), or workers that blur (``blur``).
    """

    def __init__(self, home: Home, work: Work = "lake") -> None:
        self._home, self._work = home, work

    @property
    def unfinished(self) -> bool:
        """Whether files may lie there that no version names: a run was killed, or one of its workers."""
        return size_of(_mark(self._home, self._work)) is not None

    def begin(self) -> Permit:
        """Let the readers of a run write."""
        permit = Permit(self._home, uuid.uuid4().hex, self._work)
        write_note(_mark(self._home, self._work), permit.token)
        return permit

    def end(self) -> None:
        """Take the mark away: the readers are done, and what they wrote is named or deleted."""
        delete([_mark(self._home, self._work)])

    @contextmanager
    def barred(self) -> Iterator[None]:
        """Wait until nobody writes, and keep it so for the block.

        Raises:
            HomeBusyError: A reader of a former run still writes after two minutes.
        """
        with self._home.lock(_lock(self._work), wait_s=_WAIT_FOR_READERS_S):
            yield


def _lock(work: Work) -> str:
    return f"{work}-writers"


def _mark(home: Home, work: Work) -> LakePath:
    return lake_of(home) / _MARKS[work]
