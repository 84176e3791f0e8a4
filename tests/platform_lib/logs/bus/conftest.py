"""Frames straight from arrays, and databases as text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from platform_lib.logs.mdf4.frames import FrameChunk, FrameKind


@dataclass(frozen=True)
class ArrayFrames:
    """A bus-logging group that lies in memory; see `platform_lib.logs.mdf4.frames.FrameGroup`."""

    frame_id: np.ndarray
    data: np.ndarray
    columns: dict[str, np.ndarray] = field(default_factory=dict)
    valid: dict[str, np.ndarray] = field(default_factory=dict)
    step: int = 1 << 20
    kind: FrameKind = "CAN_DataFrame"
    name: str = "0:bus"

    @property
    def rows(self) -> int:
        return len(self.frame_id)

    @property
    def fields(self) -> tuple[str, ...]:
        return ("ID", "DataBytes", *self.columns)

    def chunks(self, fields: Sequence[str]) -> Iterator[FrameChunk]:
        every = {"ID": self.frame_id, "DataBytes": self.data, **self.columns}
        time_ns = np.arange(self.rows, dtype=np.int64) * 1000
        for first in range(0, self.rows, self.step):
            part = slice(first, first + self.step)
            columns = {"time_ns": time_ns[part], **{name: every[name][part] for name in fields if name in every}}
            valid = {name: mask[part] for name, mask in self.valid.items()}
            yield FrameChunk(len(columns["time_ns"]), columns, first, valid)


@pytest.fixture
def array_frames() -> Callable[..., ArrayFrames]:
    def make(frame_id: Sequence[int] | np.ndarray, data: np.ndarray | Sequence[bytes], **options: Any) -> ArrayFrames:
        if not isinstance(data, np.ndarray):
            width = max(map(len, data))
            columns = dict(options.pop("columns", {}))
            columns.setdefault("DataLength", np.array([len(item) for item in data], np.uint8))
            options["columns"] = columns
            data = np.frombuffer(b"".join(item.ljust(width, b"\0") for item in data), np.uint8).reshape(-1, width)
        return ArrayFrames(np.asarray(frame_id, np.uint32), data, **options)

    return make
