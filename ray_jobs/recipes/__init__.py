"""Training recipes: each is a function that returns a complete, typed, frozen configuration.

A team's own is named ``module:function``; the module is looked for from the current folder on.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

from platform_lib.errors import ConfigError
from ray_jobs.recipes.bev import bev_base, bev_large, bev_tiny
from ray_jobs.recipes.config import TrainConfig
from ray_jobs.recipes.tiny import ego_only_tiny, planner_tiny
from ray_jobs.recipes.vla import vla_base, vla_tiny

RECIPES: dict[str, Callable[[], TrainConfig]] = {
    recipe.__name__: recipe
    for recipe in (planner_tiny, ego_only_tiny, bev_tiny, bev_base, bev_large, vla_tiny, vla_base)
}


def recipe_named(name: str) -> TrainConfig:
    """Return the configuration of a recipe.

    Args:
        name: One of `RECIPES`, or ``module:function``.

    Raises:
        ConfigError: There is no recipe of that name; the message lists those there are.
    """
    if ":" in name:
        return _own(name)
    if name not in RECIPES:
        raise ConfigError(
            f"no recipe '{name}'",
            where="train",
            remedy=f"take one of: {', '.join(RECIPES)}; your own is named MODULE:FUNCTION",
        )
    return RECIPES[name]()


def _own(name: str) -> TrainConfig:
    module_name, _, function = name.partition(":")
    make_importable(Path.cwd())
    try:
        made = getattr(importlib.import_module(module_name), function)()
    except (ModuleNotFoundError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"no recipe '{name}': {error}",
            where="train",
            remedy="name MODULE:FUNCTION, the module importable from the current folder",
        ) from error
    if not isinstance(made, TrainConfig):
        raise ConfigError(
            f"'{name}' returned a {type(made).__name__}", where="train", remedy="a recipe returns a TrainConfig"
        )
    return made


def make_importable(folder: Path) -> None:
    """Let this process and those that Ray starts for it import what lies in `folder`."""
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    inherited = os.environ.get("PYTHONPATH", "")
    if str(folder) not in inherited.split(os.pathsep):
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(folder), inherited)))
