"""Decode an image file that anybody may have written."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt


def decode_picture(data: bytes, flags: int) -> npt.NDArray[Any] | None:
    """Return the pixels as `cv2.imdecode` does with these flags; None where the bytes are no picture, or one beyond 2^30 pixels.

    OpenCV returns nothing for most bytes that are none, and raises where the header claims a size that it refuses.
    """
    if not len(data):
        return None
    try:
        found = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), flags)
    except cv2.error:
        return None
    return None if found is None else np.asarray(found)
