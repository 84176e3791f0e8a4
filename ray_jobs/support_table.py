"""Whether versions fit together, before a job waits for nodes on which it could not run.

Drivers, CUDA, PyTorch, GPUs, TensorRT, AIMET and Qualcomm's runtime: ``support_table.yaml`` says which pairs fit and who says so.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from operator import eq, ge, lt
from pathlib import Path
from typing import Any

import yaml

from platform_lib.errors import ConfigError

_PACKAGES = ("torch", "onnxruntime", "tensorrt", "aimet-onnx", "onnxruntime-qnn")
_BOUNDS: dict[str, Callable[[tuple[int, ...], tuple[int, ...]], bool]] = {">=": ge, "<": lt, "==": eq}
_NAMES = {"torch": "PyTorch", "cuda": "CUDA", "gpu": "compute capability", "tensorrt": "TensorRT", "qnn": "QNN"}


@dataclass(frozen=True, slots=True)
class Fit:
    """What the table says of two versions.

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
    have = _version(driver, where="driver")
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


def pairs_of(versions: Mapping[str, str]) -> tuple[Fit, ...]:
    """Say of every two of these parts that have to do with each other whether they fit.

    Args:
        versions: Part -> version: ``torch``, ``cuda``, ``driver``, ``gpu`` (compute capability), ``python``, ``tensorrt``,
            ``onnxruntime``, ``onnxruntime-qnn``, ``qnn``, ``aimet-onnx``. What is not named is not judged.

    Raises:
        ConfigError: A version is no version.
    """
    table = _table()
    found = []
    if "cuda" in versions and "driver" in versions:
        found.append(cuda_on_driver(versions["cuda"], versions["driver"]))
    for part, other in dict.fromkeys((row["part"], row["other"]) for row in table["pairs"]):
        if part in versions and other in versions:
            found.append(_pair(part, versions[part], other, versions[other]))
    return tuple(found)


def installed_versions() -> dict[str, str]:
    """Return what of the table's parts this Python has; none of it is imported."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name).partition("+")[0]
        except PackageNotFoundError:
            continue
    return found


def cuda_of_pypi(torch: str) -> str | None:
    """Return the CUDA version that PyTorch's wheel on PyPI is built with; None where the table does not know."""
    found: str | None = _table()["torch_on_pypi"].get(".".join(torch.split(".")[:2]))
    return found


def least_driver(cuda: str) -> str | None:
    """Return the first driver that runs programs of a CUDA version, with minor version compatibility."""
    major = _table()["cuda_major"].get(cuda.partition(".")[0])
    return None if major is None else str(major["driver"])


def gpu_of(instance_type: str) -> str | None:
    """Return the compute capability of an EC2 instance type's GPUs; None where the table does not know."""
    found: str | None = _table()["gpu_of_family"].get(instance_type.partition(".")[0])
    return found


def _pair(part: str, have: str, other: str, other_have: str) -> Fit:
    told = f"{_name(part)} {have} with {_name(other)} {other_have}"
    rows = [row for row in _table()["pairs"] if (row["part"], row["other"]) == (part, other)]
    row = next((row for row in rows if _within(have, row["versions"])), None)
    if row is None:
        return Fit(fits=None, text=f"{told}: not in the table, so unknown")
    if _within(other_have, row["fits"]):
        return Fit(fits=True, text=told)
    wanted = row["fits"].replace("|", " or ")
    return Fit(
        fits=False,
        text=f"{_name(part)} {have} wants {_name(other)} {wanted}, and there is {other_have} (source: {row['source']})",
    )


def _within(have: str, bounds: str) -> bool:
    """Say whether a version lies within bounds: all of ``a,b``, any of ``a|b``; ``==`` compares the digits it names."""
    return any(all(_meets(have, bound) for bound in group.split(",")) for group in bounds.split("|"))


def _meets(have: str, bound: str) -> bool:
    sign = next(sign for sign in _BOUNDS if bound.startswith(sign))
    limit, found = _version(bound.removeprefix(sign)), _version(have)
    if sign == "==":
        found = found[: len(limit)]
    width = max(len(limit), len(found))
    return _BOUNDS[sign](*(item + (0,) * (width - len(item)) for item in (found, limit)))


def _name(part: str) -> str:
    return _NAMES.get(part, part)


def _version(text: str, *, where: str = "versions") -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split("."))
    except ValueError as error:
        raise ConfigError(f"'{text}' is no version", where=where, remedy="write it as 580.65.06") from error


@cache
def _table() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "support_table.yaml").read_text())
    return found
