"""Recipes of the bird's-eye transformer: one that trains on two processor cores, and two of a size for accelerators.

All take the front camera, which is what datasets hold today; `surround` is a rig of six for a dataset that has them.
"""

from __future__ import annotations

import math
from dataclasses import replace

from platform_lib.datasets.images import VIEW_BOTTOM, VIEW_TOP
from platform_lib.models.augmentation import Augmentation
from platform_lib.models.bev import BevConfig
from platform_lib.models.fitting import FitConfig
from platform_lib.models.interface import IMAGE_HEIGHT, IMAGE_WIDTH
from platform_lib.models.rig import BevGrid, Rig, RigCamera
from platform_lib.scenario.camera import FRONT_CAMERA, PinholeCamera
from ray_jobs.recipes.config import TrainConfig


def dataset_camera(camera: PinholeCamera) -> RigCamera:
    """Return a recorded camera as the dataset's pictures show it: rows cropped, then shrunk to the planner's size."""
    shrink = IMAGE_WIDTH / camera.width_px
    kept = round(camera.height_px * VIEW_BOTTOM) - round(camera.height_px * VIEW_TOP)
    if round(kept * shrink) != IMAGE_HEIGHT:
        raise ValueError(f"{camera.name} is shrunk by different factors along its rows and columns")
    return RigCamera(
        name=camera.name,
        focal_px=camera.focal_px * shrink,
        cx_px=camera.cx_px * shrink,
        cy_px=(camera.cy_px - round(camera.height_px * VIEW_TOP)) * shrink,
        x_m=camera.mount_x_m,
        y_m=0.0,
        z_m=camera.mount_z_m,
        pitch_rad=camera.pitch_rad,
    )


FRONT_RIG = Rig((dataset_camera(FRONT_CAMERA),), IMAGE_HEIGHT, IMAGE_WIDTH)


def surround_rig(height_px: int, width_px: int, *, focal_px: float) -> Rig:
    """Return six cameras around the car, 60 degrees apart, mirror-symmetric; a plain rig to size models with."""
    cameras = [
        RigCamera(
            name=f"camera_{round(math.degrees(yaw)) % 360:03d}",
            focal_px=focal_px,
            cx_px=width_px / 2,
            cy_px=height_px / 2,
            x_m=1.0 + 0.7 * math.cos(yaw),
            y_m=0.7 * math.sin(yaw),
            z_m=1.6,
            yaw_rad=yaw,
        )
        for yaw in (step * math.pi / 3 for step in range(6))
    ]
    return Rig(tuple(cameras), height_px, width_px)


def bev_tiny() -> TrainConfig:
    """Front camera on a grid of 72 cells, small enough for two processor cores."""
    model = BevConfig(
        rig=FRONT_RIG,
        # Cells of 4 m by the width of a lane.
        grid=BevGrid(x_m=(0.0, 48.0), y_m=(-10.5, 10.5), cells=(12, 6), heights_m=(0.0, 1.0)),
        channels=(16, 32, 48),
        blocks=0,
        width=48,
        heads=4,
        layers=2,
        decoder_layers=1,
        feedforward=96,
        points=1,
        ego_hidden=64,
        hidden=128,
        dropout=0.1,
    )
    fit = FitConfig(
        epochs=8,
        batch=16,
        learning_rate=2e-3,
        weight_decay=0.05,
        warmup_share=0.1,
        seed=1,
        threads=1,  # most of its operators are too small to share
        augmentation=_augmentation(FRONT_RIG),
    )
    return TrainConfig(recipe="bev_tiny", planner=model, fit=fit)


def bev_base() -> TrainConfig:
    """The same on 1,152 cells of 1.3 m by 1 m, for one accelerator; not trained by the product's own tests."""
    tiny = bev_tiny()
    model = replace(
        tiny.planner,
        grid=BevGrid(x_m=(0.0, 64.0), y_m=(-12.0, 12.0), cells=(48, 24), heights_m=(0.0, 0.5, 1.0, 2.0)),
        channels=(48, 96, 192),
        blocks=2,
        width=256,
        heads=8,
        layers=4,
        decoder_layers=3,
        feedforward=1024,
        points=2,
        ego_hidden=128,
        hidden=256,
    )
    fit = replace(tiny.fit, epochs=24, batch=64, learning_rate=4e-4)
    return replace(tiny, recipe="bev_base", planner=model, fit=fit)


def bev_large() -> TrainConfig:
    """The same on 2,304 cells with four times the width in the backbone; for several accelerators."""
    base = bev_base()
    model = replace(
        base.planner,
        grid=replace(base.planner.grid, cells=(64, 36)),
        channels=(96, 192, 384),
        blocks=3,
        width=512,
        heads=16,
        layers=6,
        decoder_layers=4,
        feedforward=2048,
        points=4,
    )
    return replace(base, recipe="bev_large", planner=model, fit=replace(base.fit, batch=128, learning_rate=3e-4))


def _augmentation(rig: Rig) -> Augmentation:
    return Augmentation(
        brightness=0.3,
        noise=0.0,
        mirror=0.5,
        turn_std_rad=0.04,
        focal_px=rig.cameras[0].focal_px,
        mirrored_cameras=rig.mirrored(),
    )
