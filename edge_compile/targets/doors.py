"""Compilers of other makers' chips: the command line each is called by, and what is missing here. Pure but for the look-up.

Neither can be had from the package index, and neither was here when this was written. So nothing is run: the contract of
the command line is recorded and tested, and a compile for such a target ends by saying what to install and what to run.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from platform_lib.errors import ConfigError, MissingPartError

_INT8 = ("--int8", "--fp16")


@dataclass(frozen=True, slots=True)
class Door:
    """One compiler outside the package index.

    Attributes:
        maker: Whose chips.
        tool: Its program.
        package: What to install, and from whom.
        command: Precision, quantized model, artefact -> the command line.
    """

    maker: str
    tool: str
    package: str
    command: Callable[[str, str, str], tuple[str, ...]]


def trtexec(precision: str, model: str, engine: str) -> tuple[str, ...]:
    """Return how TensorRT builds an engine from a QDQ model, with a timing cache and its layers' times beside it.

    Args:
        precision: ``fp16``, ``int8`` (types from the model's own quantizers) or ``fp8``.
        model: The ONNX model.
        engine: The engine to write.

    Raises:
        ConfigError: Another precision.

    Source: NVIDIA TensorRT 10 documentation, "Command-Line Programs: trtexec", read 2026-11-20.
    """
    flags = {"fp16": ("--fp16",), "int8": _INT8, "fp8": ("--fp8", "--fp16")}.get(precision)
    if flags is None:
        raise ConfigError(f"TensorRT has no '{precision}' here", remedy="choose fp16, int8 or fp8")
    return (
        "trtexec",
        f"--onnx={model}",
        f"--saveEngine={engine}",
        *flags,
        f"--timingCacheFile={engine}.timing",
        f"--exportTimes={engine}.times.json",
        f"--exportLayerInfo={engine}.layers.json",
        "--profilingVerbosity=detailed",
        "--skipInference",
    )


def qaic_exec(precision: str, model: str, folder: str) -> tuple[str, ...]:
    """Return how the Cloud AI 100 compiler makes a program container (QPC); it needs no card.

    Raises:
        ConfigError: A precision it has not.

    Source: Qualcomm Cloud AI SDK documentation, "qaic-exec" (`-aic-hw -compile-only`), read 2026-11-20.
    """
    flags = {"fp16": ("-convert-to-fp16",), "int8": ()}.get(precision)
    if flags is None:
        raise ConfigError(f"Cloud AI 100 has no '{precision}' here", remedy="choose fp16 or int8")
    return (
        "qaic-exec",
        f"-m={model}",
        "-aic-hw",
        "-aic-hw-version=2.0",
        "-compile-only",
        f"-aic-binary-dir={folder}",
        *flags,
    )


NVIDIA = Door(
    "NVIDIA", "trtexec", "TensorRT 10, from NVIDIA's own package index (developer.nvidia.com/tensorrt)", trtexec
)
AIC100 = Door("Qualcomm Cloud AI 100", "qaic-exec", "the Cloud AI Apps SDK, from Qualcomm", qaic_exec)
# By the beginning of the name.
DOORS = {
    **dict.fromkeys(("orin", "thor", "xavier", "jetson", "nvidia", "tensorrt"), NVIDIA),
    **dict.fromkeys(("aic", "qaic"), AIC100),
}


def door_of(target: str) -> Door | None:
    """Return the compiler of a target that is none of the table's, None if its maker is unknown."""
    name = target.strip().lower()
    return next((door for start, door in DOORS.items() if name.startswith(start)), None)


def refuse(door: Door, target: str, *, search_path: str | None = None) -> MissingPartError | ConfigError:
    """Return the error that ends a compile for a door's target: the tool is missing, or it is here and not driven.

    Args:
        door: The compiler.
        target: As it was asked for.
        search_path: Where programs are looked for; the environment's by default.
    """
    line = shlex.join(door.command("int8", "int8.qdq.onnx", f"{target}.engine"))
    found = shutil.which(door.tool, path=search_path)
    if found is None:
        return MissingPartError(
            f"{door.tool} is not available here, which compiles for '{target}' ({door.maker}); nothing was run",
            where=target,
            remedy=f"install {door.package}, quantize here for another target, then run: {line}",
        )
    return ConfigError(
        f"{Path(found).name} is here, but {door.maker} targets are not supported yet ('{target}'): its result would not be "
        "compared with anything",
        where=target,
        remedy=f"run it by hand, and compare its outputs with the QDQ model's: {line}",
    )
