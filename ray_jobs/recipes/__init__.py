"""Training recipes: each is a function that returns a complete, typed, frozen configuration."""

from __future__ import annotations

from collections.abc import Callable

from platform_lib.errors import ConfigError
from ray_jobs.recipes.config import TrainConfig
from ray_jobs.recipes.tiny import ego_only_tiny, planner_tiny

RECIPES: dict[str, Callable[[], TrainConfig]] = {recipe.__name__: recipe for recipe in (planner_tiny, ego_only_tiny)}


def recipe_named(name: str) -> TrainConfig:
    """Return the configuration of a recipe.

    Raises:
        ConfigError: There is no recipe of that name; the message lists those there are.
    """
    if name not in RECIPES:
        raise ConfigError(f"no recipe '{name}'", where="train", remedy=f"take one of: {', '.join(RECIPES)}")
    return RECIPES[name]()
