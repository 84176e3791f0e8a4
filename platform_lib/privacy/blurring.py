"""Blur one frame: detect, average the regions away, encode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from platform_lib.privacy.config import BlurConfig
from platform_lib.privacy.decoding import decode_picture
from platform_lib.privacy.detectors import Detector, Picture
from platform_lib.privacy.plain_images import JPEG_MAGIC, plain_jpeg, plain_png
from platform_lib.privacy.recall import Box


@dataclass(frozen=True, slots=True)
class BlurredFrame:
    """A frame without what the detectors found.

    Attributes:
        data: An image file; where nothing was found the picture as it came in, without what the file held beside it.
        encoding: ``jpeg`` or ``png``.
        regions: What was blurred, margins included, inside the frame.
    """

    data: bytes
    encoding: str
    regions: tuple[Box, ...]


def blur_frame(data: bytes, encoding: str, detectors: Sequence[Detector], config: BlurConfig) -> BlurredFrame | None:
    """Blur what the detectors find; None if the frame cannot be decoded whole, so that nobody takes it for blurred."""
    # As stored: an orientation in the metadata turns the picture for viewers, and boxes are of what was stored.
    decoded = decode_picture(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    is_jpeg = data.startswith(JPEG_MAGIC)
    plain = plain_jpeg(data) if is_jpeg else plain_png(data)
    if decoded is None or (is_jpeg and plain is None):  # of a JPEG file that is cut short the rest would be grey
        return None
    picture: Picture = np.asarray(decoded, dtype=np.uint8)
    found = [box for detector in detectors for box in detector.find(picture)]
    regions = tuple(region for box in found if (region := _region(box, picture, config.margin)) is not None)
    if not regions and plain is not None:
        return BlurredFrame(plain, "jpeg" if is_jpeg else "png", ())
    for region in regions:
        _blur(picture, region, config.blocks)
    if encoding == "png":
        return BlurredFrame(cv2.imencode(".png", picture)[1].tobytes(), "png", regions)
    written = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, config.jpeg_quality])[1].tobytes()
    return BlurredFrame(written, "jpeg", regions)


def _region(box: Box, picture: Picture, margin: float) -> Box | None:
    """Return the box with its margin as whole pixels inside the frame; None if nothing of it is."""
    left = max(0, int(np.floor(box.x_px - margin * box.width_px)))
    top = max(0, int(np.floor(box.y_px - margin * box.height_px)))
    right = min(picture.shape[1], int(np.ceil(box.x_px + (1 + margin) * box.width_px)))
    bottom = min(picture.shape[0], int(np.ceil(box.y_px + (1 + margin) * box.height_px)))
    return Box(left, top, right - left, bottom - top) if right > left and bottom > top else None


def _blur(picture: Picture, region: Box, blocks: int) -> None:
    """Average a region down to a few blocks: nothing finer than a block is left to be made sharp again."""
    x, y, wide, high = (int(edge) for edge in (region.x_px, region.y_px, region.width_px, region.height_px))
    part = picture[y : y + high, x : x + wide]
    across = min(blocks, wide, high)
    size = (max(1, round(wide / min(wide, high) * across)), max(1, round(high / min(wide, high) * across)))
    small = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
    part[:] = cv2.resize(small, (wide, high), interpolation=cv2.INTER_LINEAR)
