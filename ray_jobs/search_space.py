"""Which values of a recipe are searched, and how a chosen set of them becomes a configuration.

A space is a function that returns one, as a recipe is; names are paths into the recipe, ``fit.learning_rate``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from platform_lib.errors import ConfigError
from ray_jobs.recipes import called
from ray_jobs.recipes.config import TrainConfig


@dataclass(frozen=True, slots=True)
class Between:
    """A number between two; `log`: its logarithm is drawn evenly. Whole numbers give whole numbers."""

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ConfigError(f"nothing lies between {self.low} and {self.high}", where="search space")


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of some values."""

    values: tuple[str | int | float | bool, ...]


Range = Between | OneOf


@dataclass(frozen=True, slots=True)
class Space:
    """What is searched.

    Attributes:
        ranges: Path into the recipe -> values.
        metric: What is made small; one that the learner's `validate` returns.
    """

    ranges: Mapping[str, Range]
    metric: str = "val_ade_m"


def usual_space(config: TrainConfig) -> Space:
    """Return what is searched unless somebody says otherwise: learning rate and weight decay around the recipe's own."""
    rate, decay = config.fit.learning_rate, max(config.fit.weight_decay, 1e-4)
    return Space(
        {
            "fit.learning_rate": Between(rate / 10, rate * 3, log=True),
            "fit.weight_decay": Between(decay / 10, decay * 10, log=True),
        }
    )


def space_named(name: str) -> Space:
    """Return the space of ``module:function``.

    Raises:
        ConfigError: There is none, or its code raises.
    """
    made = called(name, what="space", where="--space")
    if not isinstance(made, Space):
        raise ConfigError(f"'{name}' returned a {type(made).__name__}", where="--space", remedy="return a Space")
    return made


def with_values(config: TrainConfig, values: Mapping[str, Any]) -> TrainConfig:
    """Return the recipe with some values set.

    Raises:
        ConfigError: A path leads nowhere.
    """
    for path, value in values.items():
        config = _set(config, path.split("."), value, path)
    return config


def _set(item: Any, names: list[str], value: Any, path: str) -> Any:
    name, *rest = names
    if not dataclasses.is_dataclass(item) or name not in {field.name for field in dataclasses.fields(item)}:
        raise ConfigError(
            f"'{path}' is nothing of this recipe", where="search space", remedy="name it as in the recipe"
        )
    inner = _set(getattr(item, name), rest, value, path) if rest else value
    return dataclasses.replace(item, **{name: inner})  # type: ignore[type-var]  # `item` is an instance, seen above
