"""Which model belongs to which configuration: a recipe names the configuration, and everything behind it follows.

A team's own model is one class and one line: a `Model` of a configuration (a frozen dataclass of plain values), and
`register` before the recipe is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol, cast

from pydantic import TypeAdapter, ValidationError
from torch import nn

from platform_lib.errors import ConfigError, ContractError
from platform_lib.models.bev import BevConfig
from platform_lib.models.bev_model import BevModel
from platform_lib.models.model import Model, Normalisation
from platform_lib.models.planner import CameraModel, PlannerConfig
from platform_lib.models.vla import VlaConfig
from platform_lib.models.vla_model import VlaModel

ModelConfig = Any
"""A frozen dataclass that some registered model is built from; which ones there are is not known before the run."""


class Builder(Protocol):
    """What makes a model: its class."""

    columns: tuple[str, ...]

    def __call__(self, config: Any, normalisation: Normalisation, /) -> Model:
        """Return the model, its weights drawn from torch's generator."""


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    config: type[Any]
    builder: Builder


_ENTRIES: dict[str, _Entry] = {}


def register(name: str, config: type[Any], builder: Builder) -> None:
    """Make a model known.

    Args:
        name: What ``weights.pt`` calls it.
        config: The dataclass that a recipe gives; one model each.
        builder: The model's class.

    Raises:
        ConfigError: The name or the configuration's class belongs to another model.
    """
    for known in _ENTRIES.values():
        if (known.name == name) != (known.config is config):
            raise ConfigError(
                f"'{known.name}' of {known.config.__name__} is registered already",
                where=name,
                remedy="take a name and a configuration class of their own",
            )
    _ENTRIES[name] = _Entry(name, config, builder)


def _entry(config: ModelConfig) -> _Entry:
    for entry in _ENTRIES.values():
        if entry.config is type(config):
            return entry
    raise ConfigError(
        f"no model is built from a {type(config).__name__}",
        where="recipe",
        remedy=f"register one, or take one of: {', '.join(entry.config.__name__ for entry in _ENTRIES.values())}",
    )


def is_registered(config: object) -> bool:
    """Say whether some model is built from this kind of configuration."""
    return any(entry.config is type(config) for entry in _ENTRIES.values())


def build_model(config: ModelConfig, normalisation: Normalisation) -> Model:
    """Return the model of a configuration with fresh weights, drawn from torch's generator.

    Raises:
        ConfigError: No model is registered for it.
    """
    return _entry(config).builder(config, normalisation)


def columns_of(config: ModelConfig) -> tuple[str, ...]:
    """Return the dataset's columns that the model learns from besides those of every planner.

    Raises:
        ConfigError: No model is registered for it.
    """
    return tuple(_entry(config).builder.columns)


def described(config: ModelConfig, normalisation: Normalisation) -> dict[str, Any]:
    """Return what a model is built from, without its weights."""
    return {"model": _entry(config).name, "planner": asdict(config), "normalisation": asdict(normalisation)}


def saved(config: ModelConfig, normalisation: Normalisation, network: nn.Module) -> dict[str, Any]:
    """Return what ``weights.pt`` holds: enough to build the model again."""
    return {**described(config, normalisation), "state": network.state_dict()}


def restored(weights: Mapping[str, Any]) -> Model:
    """Build a model from what ``weights.pt`` holds; files without a model's name are the camera planner's.

    Raises:
        ContractError: The model is unknown here, or its configuration or weights do not fit.
    """
    name = str(weights.get("model", "planner"))
    entry = _ENTRIES.get(name)
    if entry is None:
        raise ContractError(f"weights of '{name}', which is not registered here", where="weights.pt")
    try:
        config = _adapter(entry.config).validate_python(weights["planner"])
        normalisation = _adapter(Normalisation).validate_python(weights["normalisation"])
        model = entry.builder(config, normalisation)
        model.network.load_state_dict(weights["state"])
    except (KeyError, RuntimeError, ValidationError) as error:
        raise ContractError(
            f"not the weights of a '{name}' ({str(error).splitlines()[0]})", where="weights.pt"
        ) from error
    return model


def _adapter(config: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(config)


for _name, _config, _model in (
    ("planner", PlannerConfig, CameraModel),
    ("bev", BevConfig, BevModel),
    ("vla", VlaConfig, VlaModel),
):
    register(_name, _config, cast("Builder", _model))
