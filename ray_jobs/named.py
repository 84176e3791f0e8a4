"""What commands name: datasets and runs, which are folders of a home."""

from __future__ import annotations

import re
from pathlib import Path

from platform_lib.datasets.reader import DrivingDataset
from platform_lib.errors import ConfigError
from platform_lib.manifest import Input

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
