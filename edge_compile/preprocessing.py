"""What turns raw sensor values into a model's inputs: in the graph, on the chip, or outside of it; by choice, and by digest.

Samples are raw in both cases, so that changing `where` changes nothing else. Each element becomes ``raw * factor + offset``
in float32, of which both ways make the same two operations; with layout ``NHWC`` the channels move before them.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import onnx
import yaml
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from edge_compile.samples import Samples, TensorSpec
from platform_lib.errors import ConfigError, MissingPartError
from platform_lib.evidence import Rewrite
from platform_lib.refusals import first_problem

_RANK = 4  # of an image: batch, and three more
_TO_NCHW = (0, 3, 1, 2)
_REMEDY = "{where: graph, inputs: {image: {layout: NHWC, scale: 0.00392156862745098, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]}}}"
Numbers = Annotated[tuple[float, ...], Field(min_length=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class InputSteps(_Strict):
    """One input: ``(raw * scale - mean) / std``, one number of `mean` and `std` for each channel, or one for all.

    Attributes:
        layout: How the raw values lie; the model's own input is (N, channels, height, width).
    """

    layout: Literal["NCHW", "NHWC"] = "NCHW"
    scale: float = Field(default=1.0, gt=0.0)
    mean: Numbers = (0.0,)
    std: Annotated[tuple[Annotated[float, Field(gt=0.0)], ...], Field(min_length=1)] = (1.0,)


class Preprocessing(_Strict):
    """What is done to which inputs, and where: ``preprocessing.json`` of a compile."""

    where: Literal["graph", "outside"]
    inputs: Annotated[dict[str, InputSteps], Field(min_length=1)]

    @property
    def sha256(self) -> str:
        """Digest of what is done, whichever way: both give the model the same numbers."""
        steps = {name: item.model_dump(mode="json") for name, item in sorted(self.inputs.items())}
        return hashlib.sha256(json.dumps(steps, sort_keys=True).encode()).hexdigest()


def read_preprocessing(path: Path) -> Preprocessing:
    """Read a file of preprocessing.

    Raises:
        MissingPartError: There is no such file.
        ConfigError: It is none, or misspells a key.
    """
    try:
        return Preprocessing.model_validate(yaml.safe_load(path.read_bytes()))
    except FileNotFoundError as error:
        raise MissingPartError("no preprocessing", where=path, remedy="name a file with --preprocess") from error
    except (yaml.YAMLError, OSError) as error:
        raise ConfigError("not YAML", where=path, remedy=_REMEDY) from error
    except ValidationError as error:
        raise ConfigError(first_problem(error), where=path, remedy=_REMEDY) from error


def raw_specs(asked: Preprocessing, specs: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
    """Return what the raw samples look like; bytes are taken beside float32.

    Raises:
        ConfigError: The model has no such input, or its channels are other ones.
    """
    known = {spec.name: spec for spec in specs}
    if unknown := sorted(set(asked.inputs) - set(known)):
        raise ConfigError(f"preprocessing of '{unknown[0]}', which is no input", remedy=f"inputs: {', '.join(known)}")
    found = []
    for spec in specs:
        steps = asked.inputs.get(spec.name)
        if steps is None:
            found.append(spec)
            continue
        if steps.layout == "NHWC" and len(spec.shape) != _RANK:
            raise ConfigError(f"'{spec.name}' has {len(spec.shape)} axes, and NHWC needs 4", remedy="leave layout out")
        channels = spec.shape[1] if len(spec.shape) > 1 else 1
        if not {len(steps.mean), len(steps.std)} <= {1, channels}:
            said = f"'{spec.name}' has {channels} channels, mean has {len(steps.mean)} numbers and std {len(steps.std)}"
            raise ConfigError(said, remedy="give one number for each channel, or one for all")
        shape = spec.shape
        if steps.layout == "NHWC":
            shape = (shape[0], shape[2], shape[3], shape[1])
        found.append(TensorSpec(spec.name, shape, brought_as="uint8"))
    return tuple(found)


def apply(asked: Preprocessing, raw: Samples) -> Samples:
    """Return the samples as the model takes them: name -> (N, *shape)."""
    found: Samples = dict(raw)
    for name, steps in asked.inputs.items():
        values = raw[name]
        if steps.layout == "NHWC":
            values = values.transpose(0, *(axis + 1 for axis in _TO_NCHW))
        factor, offset = _terms(steps, values.ndim - 1)
        found[name] = np.ascontiguousarray(values * factor + offset)
    return found


def into_graph(
    asked: Preprocessing, model: onnx.ModelProto, specs: tuple[TensorSpec, ...]
) -> tuple[onnx.ModelProto, tuple[Rewrite, ...]]:
    """Return the model with the preprocessing before everything else, and what was put in."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    graph, found = changed.graph, []
    shapes = {spec.name: spec.shape for spec in raw_specs(asked, specs)}
    for item in graph.input:
        steps = asked.inputs.get(item.name)
        if steps is None:
            continue
        rank = len(item.type.tensor_type.shape.dim)
        _prepend(graph, item.name, steps, rank)
        for axis, size in enumerate(shapes[item.name]):
            item.type.tensor_type.shape.dim[axis].dim_value = size
        moved = f"{steps.layout} to NCHW, " if steps.layout == "NHWC" else ""
        what = f"{moved}(x * {steps.scale:g} - {list(steps.mean)}) / {list(steps.std)} in the graph"
        found.append(Rewrite(name="preprocessing", layer=item.name, what=what))
    return changed, tuple(found)


def _prepend(graph: onnx.GraphProto, name: str, steps: InputSteps, rank: int) -> None:
    ready = f"{name}/preprocessed"
    for node in graph.node:
        _rename(node, name, ready)
    for value in graph.output:
        if value.name == name:
            raise ConfigError(f"'{name}' is an input and an output", remedy="export the model without it")
    factor, offset = _terms(steps, rank)
    keys = {f"{name}/factor": factor, f"{name}/offset": offset}
    graph.initializer.extend(onnx.numpy_helper.from_array(value, key) for key, value in keys.items())
    make, taken, nodes = onnx.helper.make_node, name, []
    if steps.layout == "NHWC":
        nodes.append(make("Transpose", [taken], [f"{name}/nchw"], name=f"{name}/to_nchw", perm=list(_TO_NCHW)))
        taken = f"{name}/nchw"
    nodes.append(make("Mul", [taken, f"{name}/factor"], [f"{name}/scaled"], name=f"{name}/scale"))
    nodes.append(make("Add", [f"{name}/scaled", f"{name}/offset"], [ready], name=f"{name}/shift"))
    for node in reversed(nodes):
        graph.node.insert(0, node)


def _rename(node: onnx.NodeProto, old: str, new: str) -> None:
    node.input[:] = [new if name == old else name for name in node.input]
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                _rename(inner, old, new)


def _terms(steps: InputSteps, rank: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return factor and offset in float32, of a shape that meets the channels of (batch, channels, ...)."""
    std, mean = np.array(steps.std), np.array(steps.mean)
    shape = (1, -1, *([1] * (rank - 2))) if rank > 1 else (-1,)
    factor, offset = steps.scale / std, -mean / std
    return factor.astype(np.float32).reshape(shape), offset.astype(np.float32).reshape(shape)


def described(asked: Preprocessing | None) -> dict[str, JsonValue] | None:
    """Return what a manifest says of it: where it is done, and the digest of what is done."""
    return None if asked is None else {"where": asked.where, "sha256": asked.sha256}
