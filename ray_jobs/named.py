"""What commands name: datasets and runs, which are folders of a home."""

from __future__ import annotations

import re
from pathlib import Path

from platform_lib.datasets.reader import DrivingDataset
from platform_lib.errors import ConfigError
from platform_lib.home import Home
from platform_lib.manifest import Input
from ray_jobs.recipes.config import TrainConfig

RUN_IDENTITY = "step.json"
"""In a run's folder from its beginning: what it is a run of."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def valid_name(name: str, *, what: str) -> str:
    """Return `name` if it can be a folder's.

    Raises:
        ConfigError: It cannot.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"'{name}' cannot name a folder", where=what, remedy="use letters, digits, '.', '_' and '-'")
    return name


def dataset_input(folder: Path) -> Input:
    """Return a dataset as an input, every byte of it checked against its manifest.

    Raises:
        MissingPartError: There is none.
        IntegrityError: A file was changed after the dataset was made.
    """
    with DrivingDataset.open(folder) as dataset:
        return Input(sha256=dataset.sha256, uri=str(folder))


def needs_data(config: TrainConfig, dataset: str | None) -> None:
    """Refuse a recipe that has no data, or two.

    Raises:
        ConfigError: The recipe brings its own and a dataset is named, or neither.
    """
    if config.source is not None and dataset is not None:
        raise ConfigError(
            f"recipe '{config.recipe}' brings its own data, and dataset '{dataset}' is named too",
            where="--dataset",
            remedy="leave --dataset away",
        )
    if config.source is None and dataset is None:
        raise ConfigError("no dataset is named", where="--dataset", remedy="name one of `ls HOME/datasets`")


def training_data(home: Home, config: TrainConfig, dataset: str | None) -> tuple[Path | None, Input]:
    """Return the dataset's folder, None for a recipe that brings its own data, and what is trained on, checked.

    Raises:
        ConfigError: The recipe has no data, or two.
        MissingPartError: There is no such dataset.
        IntegrityError: Its files differ from its manifest.
    """
    needs_data(config, dataset)
    if config.source is not None:
        return None, Input(sha256=config.source.sha256(), uri=f"{type(config.source).__name__} of {config.recipe}")
    folder = home.datasets / valid_name(str(dataset), what="--dataset")
    return folder, dataset_input(folder)
