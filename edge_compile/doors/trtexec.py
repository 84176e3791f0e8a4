"""What `trtexec` is asked and what it says. Pure.

Source: NVIDIA TensorRT 10 documentation, "Command-Line Programs: trtexec" and "Performance Benchmarking", read 2026-11-30.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite, prod

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from platform_lib.errors import CompileError, ConfigError

FLAGS = {"fp16": ("--fp16",), "int8": ("--int8", "--fp16"), "fp8": ("--fp8", "--fp16")}
OUTPUTS, LAYERS, TIMING_CACHE = "outputs.json", "layers.json", "timing.cache"
_DURATION_S = 3
_VERSION = re.compile(r"TensorRT version:\s*([0-9][0-9.]*)")
_DEVICE = re.compile(r"Selected Device:\s*(\S.*?)\s*$", re.MULTILINE)
_CAPABILITY = re.compile(r"Compute Capability:\s*([0-9]+\.[0-9]+)")
_LATENCY = re.compile(r"\[I\]\s+Latency:\s+(.*?ms.*)$", re.MULTILINE)
_FIGURE = re.compile(r"(min|max|mean|median|percentile\(99%\)) = ([0-9.eE+-]+|nan|inf) ms")
_PASSED = re.compile(r"^&&&& PASSED TensorRT\.trtexec", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Said:
    """What one run of `trtexec` says of where it ran.

    Attributes:
        version: TensorRT's.
        device: The GPU's name.
        capability: Its compute capability, by which a generation is told: 8.7 is Orin's.
    """

    version: str
    device: str
    capability: str


@dataclass(frozen=True, slots=True)
class Times:
    """Host-to-host time of one inference in microseconds."""

    median_us: float
    min_us: float
    max_us: float
    p99_us: float


def build_arguments(precision: str, model: str, engine: str, timing_cache: str) -> tuple[str, ...]:
    """Return how an engine is built from a model, with a timing cache and its layers' types beside it; nothing is run.

    Args:
        precision: ``fp16``, ``int8`` or ``fp8``; the last two take their types from the model's own quantizers.
        model: The ONNX model.
        engine: The engine to write.
        timing_cache: What the builder timed before; read and written, so that the next engine takes less time.

    Raises:
        ConfigError: Another precision.
    """
    if precision not in FLAGS:
        raise ConfigError(f"TensorRT has no '{precision}' here", remedy=f"choose from {', '.join(FLAGS)}")
    return (
        f"--onnx={model}",
        f"--saveEngine={engine}",
        *FLAGS[precision],
        f"--timingCacheFile={timing_cache}",
        f"--exportLayerInfo={LAYERS}",
        "--profilingVerbosity=detailed",
        "--skipInference",
    )


def time_arguments(engine: str) -> tuple[str, ...]:
    """Return how an engine is timed."""
    return (f"--loadEngine={engine}", "--useSpinWait", f"--duration={_DURATION_S}")


def answer_arguments(engine: str, inputs: Mapping[str, str]) -> tuple[str, ...]:
    """Return how an engine answers one sample, whose inputs are raw float32 files by name.

    Raises:
        ConfigError: A name that the list of inputs cannot hold.
    """
    if bad := [name for name in inputs if set(name) & set(":,'")]:
        raise ConfigError(f"trtexec takes no input called {bad[0]!r}", remedy="rename the model's input")
    listed = ",".join(f"{name}:{file}" for name, file in inputs.items())
    return (
        f"--loadEngine={engine}",
        f"--loadInputs={listed}",
        f"--exportOutput={OUTPUTS}",
        *("--iterations=1", "--duration=0", "--warmUp=0"),
    )


def said_of(text: str) -> Said:
    """Return where a run took place.

    Raises:
        CompileError: It does not say so, or not that it passed.
    """
    found = [pattern.search(text) for pattern in (_VERSION, _DEVICE, _CAPABILITY)]
    version, device, capability = (None if item is None else item[1] for item in found)
    if version is None or device is None or capability is None or _PASSED.search(text) is None:
        raise CompileError(
            "trtexec does not say which TensorRT ran on which device, or that it passed",
            remedy="run it by hand, and compare what it prints with TensorRT 10's",
        )
    return Said(version, device, capability)


def times_of(text: str) -> Times:
    """Return the times of a run.

    Raises:
        CompileError: There is no line of them, or they are none.
    """
    line = _LATENCY.search(text)
    figures = {} if line is None else {key: float(value) * 1000 for key, value in _FIGURE.findall(line[1])}
    if not {"min", "max", "median", "percentile(99%)"} <= figures.keys():
        raise CompileError("trtexec printed no line of latencies")
    if not all(isfinite(value) and value > 0 for value in figures.values()) or figures["min"] > figures["max"]:
        raise CompileError(f"trtexec printed latencies that are none: {line[1][:200] if line else ''}")
    return Times(figures["median"], figures["min"], figures["max"], figures["percentile(99%)"])


class _Output(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    name: str
    dimensions: str
    values: list[float]


def outputs_of(text: str, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, NDArray[np.float32]]:
    """Read the outputs of one sample.

    Args:
        text: ``--exportOutput``'s file.
        shapes: Each output's, as the model has it.

    Raises:
        CompileError: An output is missing, or not of its shape.
    """
    try:
        listed = TypeAdapter(list[_Output]).validate_json(text)
    except ValidationError as error:
        raise CompileError("trtexec wrote no readable outputs") from error
    found = {item.name: np.asarray(item.values, dtype=np.float32) for item in listed}
    if missing := sorted(set(shapes) - set(found)):
        raise CompileError(f"trtexec wrote no output '{missing[0]}'")
    for name, shape in shapes.items():
        if found[name].size != prod(shape):
            raise CompileError(f"trtexec wrote {found[name].size} values of '{name}', which has {prod(shape)}")
    return {name: found[name].reshape(shape) for name, shape in shapes.items()}


def layer_types(text: str) -> dict[str, int]:
    """Count the layers' outputs by data type (``Int8``, ``FP8``, ``Half``, ``Float``), from ``--exportLayerInfo``'s file.

    Raises:
        CompileError: It is no such file.
    """
    try:
        layers = json.loads(text)["Layers"]
        formats = [str(output["Format/Datatype"]) for layer in layers for output in layer["Outputs"]]
    except (ValueError, KeyError, TypeError) as error:
        raise CompileError("trtexec wrote no readable account of its layers") from error
    counts: dict[str, int] = {}
    for said in formats:
        kind = next((kind for kind, words in _TYPES.items() if any(word in said.lower() for word in words)), "other")
        counts[kind] = counts.get(kind, 0) + 1
    return counts


# TensorRT names types inside its names of formats: "Channel major FP16 format where C % 4 == 0", "Int8 NC/32HW32".
_TYPES = {"int8": ("int8",), "fp8": ("fp8", "e4m3"), "fp16": ("fp16", "half"), "fp32": ("fp32", "float")}
