"""Whether driver, CUDA and PyTorch fit together, before a job waits for nodes on which it could not run."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from platform_lib.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Fit:
    """What the table says of a CUDA version on a driver.

    Attributes:
        fits: None where the table does not know.
        text: The same for people.
    """

    fits: bool | None
    text: str


def cuda_on_driver(cuda: str, driver: str) -> Fit:
    """Say whether programs of a CUDA version run on a driver.

    Raises:
        ConfigError: A version is no version.
    """
    table = _table()
    exact, major = table["cuda"].get(cuda), table["cuda_major"].get(cuda.partition(".")[0])
    have = _version(driver)
    if exact is not None and have >= _version(exact["driver"]):
        return Fit(fits=True, text=f"CUDA {cuda} runs on driver {driver} (from {exact['driver']} on)")
    if major is None:
        return Fit(fits=None, text=f"CUDA {cuda} is not in the table, so whether driver {driver} runs it is unknown")
    if have < _version(major["driver"]):
        return Fit(fits=False, text=f"CUDA {cuda} needs driver {major['driver']} or newer, and there is {driver}")
    return Fit(
        fits=True,
        text=f"CUDA {cuda} runs on driver {driver} by minor version compatibility, without what newer drivers added",
    )


def _version(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split("."))
    except ValueError as error:
        raise ConfigError(f"'{text}' is no version", where="driver", remedy="write it as 580.65.06") from error


@cache
def _table() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "support_table.yaml").read_text())
    return found
