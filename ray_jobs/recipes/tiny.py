"""Recipes for two processor cores: a camera planner that trains in about a minute, and its ego-only baseline."""

from __future__ import annotations

from platform_lib.models.fitting import Augmentation, FitConfig
from platform_lib.models.planner import PlannerConfig
from ray_jobs.recipes.config import TrainConfig


def planner_tiny() -> TrainConfig:
    """Camera, ego history and route command to three seconds of waypoints."""
    return TrainConfig(
        recipe="planner_tiny",
        planner=PlannerConfig(
            kind="camera", channels=(16, 32, 48, 64), squeeze=16, hidden=160, ego_hidden=64, dropout=0.1
        ),
        fit=FitConfig(
            epochs=24,
            batch=32,
            learning_rate=2e-3,
            weight_decay=0.02,
            warmup_share=0.1,
            seed=1,
            threads=2,
            augmentation=Augmentation(brightness=0.25, noise=0.02, ego_blackout=0.3),
        ),
    )


def ego_only_tiny() -> TrainConfig:
    """The same interface and loss without looking at the image: the row that shows what the camera is worth."""
    return TrainConfig(
        recipe="ego_only_tiny",
        planner=PlannerConfig(kind="ego_only", channels=(), squeeze=0, hidden=128, ego_hidden=64, dropout=0.1),
        fit=FitConfig(
            epochs=60,
            batch=32,
            learning_rate=2e-3,
            weight_decay=0.02,
            warmup_share=0.1,
            seed=1,
            threads=2,
            augmentation=Augmentation(brightness=0.0, noise=0.0, ego_blackout=0.0),
        ),
    )
