"""Raw frames of an MDF bus-logging group, in bounded chunks: what bus decoders build on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

FrameKind = Literal["CAN_DataFrame", "CAN_RemoteFrame", "CAN_ErrorFrame", "LIN_Frame"]
FRAME_KINDS: tuple[FrameKind, ...] = ("CAN_DataFrame", "CAN_RemoteFrame", "CAN_ErrorFrame", "LIN_Frame")
TIME = "time_ns"


@dataclass(frozen=True, slots=True)
class FrameChunk:
    """Consecutive frames of one group, in recorded order.

    Attributes:
        rows: How many frames.
        columns: Raw (unconverted) samples by field name without the frame's prefix (``ID``, not
            ``CAN_DataFrame.ID``), each of length `rows`, native byte order: ``time_ns`` is int64, UTC, and always
            there; ``DataBytes`` is (rows, width) uint8, padded with zeros, its width may differ between chunks;
            everything else is a vector of integers or floats.
        first_row: The first frame's row in its group.
        valid: By field name, (rows,) bool, ``False`` where the frame's invalidation bit is set; only fields that have
            invalid samples in this chunk are listed.
        sizes: By field name, (rows,) int64, how many bytes of a row were recorded; only fields of variable length.
    """

    rows: int
    columns: dict[str, npt.NDArray[Any]] = field(repr=False)
    first_row: int = 0
    valid: dict[str, npt.NDArray[np.bool_]] = field(default_factory=dict, repr=False)
    sizes: dict[str, npt.NDArray[np.int64]] = field(default_factory=dict, repr=False)


class FrameGroup(Protocol):
    """A bus-logging group.

    Attributes:
        name: Its stream's name.
        kind: What its frames are.
        fields: Its fields, without the prefix: ``ID``, ``IDE``, ``BusChannel``, ``DLC``, ``DataLength``,
            ``DataBytes``, ``Dir``, ...
        rows: How many frames it has, exactly.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - documented above

    @property
    def kind(self) -> FrameKind: ...  # noqa: D102

    @property
    def fields(self) -> tuple[str, ...]: ...  # noqa: D102

    @property
    def rows(self) -> int: ...  # noqa: D102

    def chunks(self, fields: Sequence[str]) -> Iterator[FrameChunk]:
        """Yield all frames with these fields and ``time_ns``."""


def iter_frames(group: FrameGroup, fields: Sequence[str] | None = None) -> Iterator[FrameChunk]:
    """Yield a group's frames in recorded order, at most a few MiB at a time.

    Args:
        group: A bus-logging group, see `MdfSource.frame_groups`.
        fields: Which fields; those that the group lacks are left out. All by default.

    Raises:
        CorruptLog: The bytes contradict the format (while iterating).
    """
    wanted = group.fields if fields is None else tuple(name for name in fields if name in group.fields)
    return group.chunks(wanted)
