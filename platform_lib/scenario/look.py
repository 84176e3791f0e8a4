"""How a drive looks in each weather: colours, light, fog, sky. Pure given a random stream."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from platform_lib.scenario.camera import PinholeCamera
from platform_lib.scenario.model import Weather

Colour = tuple[int, int, int]
Image = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Look:
    """Colours (RGB) and light of one weather.

    Attributes:
        ambient: Share of an object's own colour that shows away from any lamp.
        beam: What the headlights add straight ahead and close by.
        fog_m: Distance at which fog hides 63 % of a colour.
        noise: Standard deviation of the sensor's noise, in grey levels.
        wet: Whether the road mirrors lamps and rain falls.
    """

    sky_top: Colour
    sky_low: Colour
    hill_far: Colour
    hill_near: Colour
    grass_far: Colour
    grass_near: Colour
    fog: Colour
    fog_m: float
    ambient: float
    beam: float
    noise: float
    wet: bool = False
    lamps_lit: bool = False


LOOKS: dict[Weather, Look] = {
    "clear": Look(
        sky_top=(72, 134, 214), sky_low=(206, 226, 244), hill_far=(136, 164, 186), hill_near=(92, 134, 110),
        grass_far=(128, 164, 100), grass_near=(84, 138, 62), fog=(196, 216, 232), fog_m=260.0, ambient=1.0, beam=0.0,
        noise=2.0,
    ),
    "night": Look(
        sky_top=(6, 9, 22), sky_low=(30, 34, 58), hill_far=(19, 22, 38), hill_near=(12, 15, 24),
        grass_far=(70, 84, 70), grass_near=(84, 120, 70), fog=(14, 16, 26), fog_m=150.0, ambient=0.26, beam=0.85,
        noise=3.5, lamps_lit=True,
    ),
    "rain": Look(
        sky_top=(112, 120, 130), sky_low=(172, 178, 184), hill_far=(146, 154, 160), hill_near=(112, 124, 122),
        grass_far=(122, 136, 116), grass_near=(82, 108, 74), fog=(164, 170, 177), fog_m=85.0, ambient=0.82, beam=0.0,
        noise=4.0, wet=True, lamps_lit=True,
    ),
}  # fmt: skip


def light_at(look: Look, x_m: float, y_m: float) -> float:
    """Return the share of an object's colour that shows at a place of the ego frame."""
    if look.beam == 0.0:
        return look.ambient
    angle = math.atan2(y_m, max(x_m, 1.0))
    reach = max(0.0, 1.0 - x_m / 75.0)
    return min(1.0, look.ambient + look.beam * math.exp(-((angle / 0.38) ** 2)) * reach)


def shade(look: Look, colour: Colour, x_m: float, y_m: float, *, shines: bool = False) -> Colour:
    """Return a colour as seen at a place of the ego frame: lit (unless it shines by itself), then hidden by fog."""
    light = 1.0 if shines else light_at(look, x_m, y_m)
    clear = math.exp(-math.hypot(x_m, y_m) / look.fog_m)
    red, green, blue = (
        int(min(255.0, own * light) * clear + far * (1.0 - clear)) for own, far in zip(colour, look.fog, strict=True)
    )
    return red, green, blue


def ground_maps(look: Look, camera: PinholeCamera) -> tuple[Image, Image]:
    """Return (multiply, add), uint8 (H, W, 3): ``ground * multiply / 255 + add`` lights and fogs a flat road."""
    rows, columns = np.mgrid[0 : camera.height_px, 0 : camera.width_px].astype(np.float64)
    below = np.maximum(rows - camera.horizon_px, 0.35)
    distance = camera.mount_z_m * camera.focal_px / below
    side = (camera.cx_px - columns) / camera.focal_px * distance
    light = np.full_like(distance, look.ambient)
    if look.beam > 0.0:
        angle = np.arctan2(side, distance)
        light += look.beam * np.exp(-((angle / 0.38) ** 2)) * np.clip(1.0 - distance / 75.0, 0.0, 1.0)
    clear = np.exp(-np.hypot(distance, side) / look.fog_m)
    above = rows < camera.horizon_px
    multiply = np.where(above, 1.0, np.minimum(light, 1.0) * clear)[..., None]
    add = np.where(above, 0.0, 1.0 - clear)[..., None] * np.array(look.fog, dtype=np.float64)
    return np.repeat(multiply * 255.0, 3, axis=2).astype(np.uint8), add.astype(np.uint8)


def panorama(look: Look, camera: PinholeCamera, rng: np.random.Generator) -> Image:
    """Paint sky, hills and grass all around: uint8 (H, turn + W, 3), the last W columns repeat the first.

    One turn is ``2 * pi * focal`` columns wide, so a column is about as wide as a pixel in the middle of the picture.
    """
    turn = round(2 * math.pi * camera.focal_px)
    horizon = round(camera.horizon_px)
    image = np.empty((camera.height_px, turn, 3), dtype=np.uint8)
    image[:horizon] = _gradient(look.sky_top, look.sky_low, horizon)[:, None]
    image[horizon:] = _gradient(look.grass_far, look.grass_near, camera.height_px - horizon)[:, None]
    _clouds_or_stars(image[:horizon], look, rng)
    angle = np.arange(turn) * (2 * math.pi / turn)
    for colour, height, octaves in ((look.hill_far, 13.0, (3, 5, 9)), (look.hill_near, 7.0, (4, 11, 19))):
        ridge = np.full(turn, height)
        for wave in octaves:
            ridge += height * 0.9 / math.sqrt(wave) * np.sin(wave * angle + rng.uniform(0.0, 2 * math.pi))
        for column, top in enumerate(np.clip(ridge, 1.0, 30.0).astype(int)):
            image[horizon - top : horizon, column] = colour
    return np.ascontiguousarray(np.concatenate([image, image[:, : camera.width_px]], axis=1))


def _gradient(top: Colour, bottom: Colour, rows: int) -> Image:
    share = np.linspace(0.0, 1.0, rows)[:, None]
    return np.asarray(np.array(top) * (1 - share) + np.array(bottom) * share, dtype=np.uint8)


def _clouds_or_stars(sky: Image, look: Look, rng: np.random.Generator) -> None:
    rows, columns = sky.shape[:2]
    if look.ambient < 0.5:
        at = rng.integers(0, (rows - 25, columns), size=(220, 2))
        sky[at[:, 0], at[:, 1]] = rng.integers(60, 170, size=(220, 1))
        return
    cover = np.zeros((rows, columns), dtype=np.float32)
    for _ in range(60):
        centre = (int(rng.integers(columns)), int(rng.integers(2, rows - 22)))
        size = (int(rng.integers(14, 52)), int(rng.integers(2, 7)))
        weight = float(rng.uniform(0.35, 0.8))
        for turn in (-columns, 0, columns):
            cv2.ellipse(cover, (centre[0] + turn, centre[1]), size, 0, 0, 360, weight, -1)
    # Blur three turns and keep the middle one, so that the sky has no seam.
    blurred = cv2.GaussianBlur(np.tile(cover, (1, 3)), (0, 0), sigmaX=7, sigmaY=2)
    cover = blurred[:, columns : 2 * columns, None]
    white = np.array((250, 251, 253) if not look.wet else (196, 200, 205), dtype=np.float32)
    sky[:] = (sky * (1.0 - cover) + white * cover).astype(np.uint8)
