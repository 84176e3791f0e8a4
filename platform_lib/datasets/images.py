"""Camera frames from JPEG bytes to the arrays a planner is trained on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import numpy.typing as npt

from platform_lib.errors import IntegrityError
from platform_lib.models.interface import IMAGE_HEIGHT, IMAGE_WIDTH
from platform_lib.privacy.decoding import decode_picture

VIEW_TOP, VIEW_BOTTOM = 5 / 24, 7 / 8
"""Rows of a frame that are kept, as shares of its height: from above the road's far end to some 5 m ahead."""

_BLOCK = 32


def decode_images(jpegs: Sequence[bytes], names: Sequence[str]) -> npt.NDArray[np.uint8]:
    """Decode, crop and shrink JPEGs, in parallel (OpenCV releases the interpreter lock).

    Args:
        jpegs: N images of any size.
        names: N names, for the error.

    Returns:
        uint8 (N, 64, 192, 3), RGB: the rows between `VIEW_TOP` and `VIEW_BOTTOM`, all columns, shrunk by averaging
        (`cv2.INTER_AREA`; on whole multiples of the size this is the mean of blocks of pixels, rounded half up).

    Raises:
        IntegrityError: One cannot be decoded.
    """
    out = np.empty((len(jpegs), IMAGE_HEIGHT, IMAGE_WIDTH, 3), dtype=np.uint8)

    def block(start: int) -> None:
        for row in range(start, min(start + _BLOCK, len(jpegs))):
            out[row] = _decode(jpegs[row], names[row])

    if len(jpegs) <= _BLOCK:
        block(0)
        return out
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        for done in [pool.submit(block, start) for start in range(0, len(jpegs), _BLOCK)]:
            done.result()
    return out


def _decode(jpeg: bytes, name: str) -> npt.NDArray[np.uint8]:
    frame = decode_picture(jpeg, cv2.IMREAD_COLOR)
    if frame is None:
        raise IntegrityError("an image cannot be decoded", where=name, remedy="build the dataset again")
    height = frame.shape[0]
    frame = frame[round(height * VIEW_TOP) : max(round(height * VIEW_BOTTOM), 1)]
    if frame.shape[:2] != (IMAGE_HEIGHT, IMAGE_WIDTH):
        frame = cv2.resize(frame, (IMAGE_WIDTH, IMAGE_HEIGHT), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), dtype=np.uint8)
