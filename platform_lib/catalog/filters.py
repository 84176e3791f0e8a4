"""What is asked of lists: which drives, which clips, and where a page begins."""

from __future__ import annotations

from dataclasses import dataclass

from platform_lib.catalog.cells import Near

Key = tuple[int, int]
"""Where a page ended: a time and a drive's number; of a dataset's clips the number first."""


@dataclass(frozen=True, slots=True)
class DriveFilter:
    """Which drives; what is None is not asked.

    Attributes:
        since_ns: Drives that begin then or later.
        until_ns: Drives that begin before.
        near: Drives that were in a cell (0.6 by at most 1.2 km) that this circle touches.
        pii_state: The least safe of its files.
    """

    vehicle: str | None = None
    since_ns: int | None = None
    until_ns: int | None = None
    near: Near | None = None
    pii_state: str | None = None


@dataclass(frozen=True, slots=True)
class ClipFilter:
    """Which clips; what is None is not asked, but one of drive, tag, odd_cell, near and dataset has to be.

    Attributes:
        near: Clips that begin in this circle.
        dataset: A dataset's digest.
        since_ns: Clips that begin then or later.
        until_ns: Clips that begin before.
    """

    drive: str | None = None
    tag: str | None = None
    odd_cell: str | None = None
    near: Near | None = None
    dataset: str | None = None
    pii_state: str | None = None
    since_ns: int | None = None
    until_ns: int | None = None
