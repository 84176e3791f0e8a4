"""What one side of a comparison offers, and what it is told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

Digests = dict[str, str]
"""Column or topic -> how many values, and a checksum of them in order."""

Parts = dict[str, float]
"""What a floor is made of: ``read``, ``inflate``, ``crc`` and ``copy``, each in CPU seconds."""


@dataclass(frozen=True, slots=True)
class Task:
    """What one side works on.

    Attributes:
        log: The file that is read.
        threads: How many threads, and cores, the side may use.
        scratch: A folder of its own for what it writes; it is emptied before each run.
        topics: Which topics, or parts of the file; empty for all.
        database: The bus database, where the work needs one.
    """

    log: Path
    threads: int
    scratch: Path
    topics: tuple[str, ...] = ()
    database: Path | None = None


class Side(Protocol):
    """One way to do the work."""

    def run(self) -> Parts | None:
        """Do the work once, from the opening of the file on. This is what is timed."""

    def check(self) -> Digests:
        """Do the work again and return what it gave; not timed."""
