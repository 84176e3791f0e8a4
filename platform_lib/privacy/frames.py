"""The state of personal data as a type: bytes of a frame are to be had only where that state admits them.

`AdmittedFrames` is what datasets are made from. There is no way to make one that holds the bytes of a frame whose state
is ``unknown`` or ``present``: whoever has one needs not look.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import pyarrow as pa
import pyarrow.compute as pc

from platform_lib.errors import ContractError


class AdmittedPii(StrEnum):
    """The only states of personal data in which a frame may enter a dataset. ``unknown`` and ``present`` are none."""

    NONE_PRESENT = "none_present"
    BLURRED = "blurred"


ADMITTED = frozenset(str(state) for state in AdmittedPii)
FRAME_TYPES = frozenset(
    f"{package}{middle}{name}"
    for package, names in {
        "sensor_msgs": ("CompressedImage", "Image"),
        "foxglove": ("CompressedImage", "RawImage", "CompressedVideo"),
        "foxglove_msgs": ("CompressedImage", "RawImage", "CompressedVideo"),
    }.items()
    for name in names
    for middle in ("/msg/", "/", ".")
)
"""Message types whose payload is what a camera saw. Source: ROS 2 sensor_msgs; Foxglove schemas."""
IMAGE_ENCODINGS = ("jpeg", "png", "webp")
"""`encoding` of samples that are image files."""


def admit_pii(state: str, *, where: object, remedy: str = "blur the frames: `drivetrain blur frames`") -> AdmittedPii:
    """Return the admitted state; `remedy` is said where it is another.

    Raises:
        ContractError: It is any other state than ``none_present`` or ``blurred``.
    """
    try:
        return AdmittedPii(state)
    except ValueError:
        raise ContractError(
            f"personal data is {state!r}; only {', '.join(AdmittedPii)} can enter a dataset",
            where=where,
            remedy=remedy,
        ) from None


def is_raw_frame(message_type: str | None, pii_state: str) -> bool:
    """Whether a stream's messages belong into the zone of raw frames."""
    return message_type in FRAME_TYPES and pii_state not in ADMITTED


@dataclass(frozen=True, slots=True)
class AdmittedFrames:
    """Frames with their bytes, those of frames that are not admitted emptied. Make one with `AdmittedFrames.of`.

    Attributes:
        data: N images (large_binary); empty where the state is not admitted.
        pii_state: N states as the lake has them.
    """

    data: pa.ChunkedArray
    pii_state: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.data) != len(self.pii_state):
            raise ContractError(f"{len(self.data)} frames and {len(self.pii_state)} states", where="AdmittedFrames")
        sizes = pc.binary_length(self.data)
        for row, state in enumerate(self.pii_state):
            if state not in ADMITTED and sizes[row].as_py():
                admit_pii(state, where="AdmittedFrames")

    @classmethod
    def of(cls, table: pa.Table) -> AdmittedFrames:
        """Take the columns ``data`` and ``pii_state`` of N samples, and drop the bytes of what is not admitted."""
        states = tuple(str(state) for state in table["pii_state"].to_pylist())
        data = table["data"].cast(pa.large_binary())
        if not set(states) <= ADMITTED:
            admitted = pa.array([state in ADMITTED for state in states], pa.bool_())
            data = pc.if_else(admitted, data, pa.scalar(b"", pa.large_binary()))
        return cls(data if isinstance(data, pa.ChunkedArray) else pa.chunked_array([data]), states)
