"""The nouns of an export: form, target, what was written."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from platform_lib.logs.model import Stream


class Form(StrEnum):
    """What streams become."""

    PARQUET = "parquet"
    CSV = "csv"
    MCAP = "mcap"


@dataclass(frozen=True, slots=True)
class Target:
    """A stream and the file that it goes to."""

    stream: Stream
    path: Path


@dataclass(frozen=True, slots=True)
class Written:
    """A stream that was written: its name, the file, and how many rows."""

    stream: str
    path: Path
    rows: int


@dataclass(frozen=True, slots=True)
class Export:
    """What an export did.

    Attributes:
        written: One entry a stream.
        source_sha256: Of the log, where the form keeps it.
        left_out: Attachments that were too large to copy.
    """

    written: tuple[Written, ...]
    source_sha256: str | None = None
    left_out: tuple[str, ...] = ()
