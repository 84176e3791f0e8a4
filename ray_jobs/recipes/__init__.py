"""Training recipes: each is a function that returns a complete, typed, frozen configuration.

A team's own is named ``module:function``; the module is looked for from the current folder on.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from platform_lib.code_digest import OWN_PACKAGES
from platform_lib.errors import ConfigError, PlatformError
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
    made = called(name, what="recipe")
    if not isinstance(made, TrainConfig):
        raise ConfigError(
            f"'{name}' returned a {type(made).__name__}", where="train", remedy="a recipe returns a TrainConfig"
        )
    return made


def called(name: str, *, what: str, where: str = "train") -> object:
    """Call somebody's own ``module:function``, and return what it made.

    Args:
        name: As it was named.
        what: What it is, for people.
        where: What of a command named it.

    Raises:
        ConfigError: There is none, or its code raises; what the platform itself refuses in it is raised as it is.
    """
    module_name, _, function = name.partition(":")
    make_importable(Path.cwd())
    try:
        found = getattr(importlib.import_module(module_name), function, None) if module_name else None
        if found is not None:
            return found()
    except PlatformError:
        raise
    except Exception as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing is None or not f"{module_name}.".startswith(f"{missing}."):
            raise ConfigError(
                f"{what} '{name}' raises {type(error).__name__}: {error}",
                where=_raised_in(error),
                remedy=f"mend it there; `python -c 'import {module_name}'` shows whether it can be imported",
            ) from error
    raise ConfigError(
        f"no {what} '{name}'", where=where, remedy="name MODULE:FUNCTION, the module importable from the current folder"
    )


def _raised_in(error: Exception) -> str:
    """Return the file and line that raised."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{last.filename}:{last.lineno}"


def make_importable(folder: Path) -> None:
    """Let this process and those that Ray starts for it import what lies in `folder`."""
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    inherited = os.environ.get("PYTHONPATH", "")
    if str(folder) not in inherited.split(os.pathsep):
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(folder), inherited)))


def make_classes_importable(config: TrainConfig) -> None:
    """Let processes that Ray starts import a configuration's own classes, from wherever this process found them."""
    for item in (config.planner, config.source):
        name = type(item).__module__
        file = getattr(sys.modules.get(name), "__file__", None)
        if item is not None and file is not None and name.partition(".")[0] not in ("__main__", *OWN_PACKAGES):
            path = Path(file).resolve()
            make_importable(path.parents[name.count(".") + (path.name == "__init__.py")])
