"""Reads the model to compile and refuses, before any work, what cannot be compiled or proven."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx

from edge_compile.op_advice import never_compiles
from edge_compile.rewrite_inputs import CAST_TYPES
from edge_compile.rewrite_suppression import cut_suppression
from edge_compile.rewrites import NEEDED_OPSET, OLDEST_OPSET, opset_of, rewrite
from edge_compile.samples import TensorSpec
from platform_lib.errors import ContractError, MissingPartError
from platform_lib.evidence import Rewrite

# Source: onnxruntime 1.31.1 loads opset 26 and IR version 13, and refuses the next; measured on 2026-11-20.
NEWEST_OPSET, NEWEST_IR = 26, 13
_STANDARD_DOMAINS = frozenset({"", "ai.onnx"})
# onnxruntime's own operators; whether the chip has one is the compiler's to say.
_RUNTIME_DOMAINS = frozenset({"com.microsoft"})
# One protobuf message holds 2 GiB at most; the quantized model is written as one file.
_LARGEST_BYTES = 1_900_000_000
_OTHER_FLOATS = frozenset({onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16, onnx.TensorProto.DOUBLE})
_FLOATS = _OTHER_FLOATS | {onnx.TensorProto.FLOAT}


@dataclass(frozen=True, slots=True)
class FloatModel:
    """A float model that passed every check.

    Attributes:
        proto: The model with all its weights in memory, rewritten where that was needed.
        external: Files beside the model that hold weights.
        rewrites: What was changed in it; the file is as it was brought.
        tail: What was cut off, to run beside the chip: it reads outputs of `proto` and gives the rest of the model's.
    """

    path: Path
    proto: onnx.ModelProto
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    opset: int
    external: tuple[Path, ...]
    rewrites: tuple[Rewrite, ...] = ()
    tail: onnx.ModelProto | None = None

    @property
    def cut_off(self) -> tuple[str, ...]:
        """The outputs that the tail gives, and the chip does not."""
        return () if self.tail is None else tuple(str(item.name) for item in self.tail.graph.output)


def read_model(path: Path) -> FloatModel:
    """Read and check a float ONNX model.

    Raises:
        MissingPartError: The file, or a file of external weights, does not exist.
        ContractError: Not ONNX, invalid, too old or too large, without a static shape, quantized already, or with
            weights that are not finite.
    """
    if not path.is_file():
        raise MissingPartError("no such ONNX file", where=path, remedy="export the model first, or name its file")
    if path.stat().st_size > _LARGEST_BYTES:
        raise ContractError(f"larger than {_LARGEST_BYTES} bytes", where=path, remedy="compile the model in parts")
    try:
        _check_valid(path)
        return _read(path)
    except ValueError as error:  # names that are no UTF-8, numbers that are no data type: onnx's checker lets them by
        raise ContractError(f"not a valid ONNX model ({error})", where=path, remedy="export the model again") from error


def _read(path: Path) -> FloatModel:
    external = _external_files(path)
    proto = onnx.load(path)
    if not proto.graph.node:
        raise ContractError("the ONNX model has no nodes", where=path, remedy="export the model again")
    _check_kind(path, proto)
    _check_opset(path, proto)
    _check_weights(path, proto)
    brought_as = {item.name: CAST_TYPES.get(item.type.tensor_type.elem_type, "float32") for item in proto.graph.input}
    proto, rewrites = rewrite(proto, where=path)
    proto, tail, cut = cut_suppression(proto)
    _check_operators(path, proto)
    inputs = tuple(replace(_spec(path, "input", item), brought_as=brought_as[item.name]) for item in proto.graph.input)
    outputs = tuple(_spec(path, "output", item) for item in proto.graph.output)
    if not inputs or not outputs:
        raise ContractError("the ONNX model has no input or no output", where=path, remedy="export the model again")
    _check_flow(path, proto)
    return FloatModel(path, proto, inputs, outputs, opset_of(proto) or 0, external, (*rewrites, *cut), tail)


def _check_valid(path: Path) -> None:
    try:
        # By path, so that a file that is no protobuf at all also ends in onnx's own error.
        onnx.checker.check_model(path)
    except onnx.checker.ValidationError as error:
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), "no reason given")
        if "should be stored in" in reason:
            raise MissingPartError(
                f"a file of weights is missing ({reason})",
                where=path,
                remedy="put it back beside the model, or export again",
            ) from error
        raise ContractError(
            f"not a valid ONNX model ({reason})", where=path, remedy="name an .onnx file, or export the model again"
        ) from error


def _external_files(path: Path) -> tuple[Path, ...]:
    bare = onnx.load(path, load_external_data=False)
    names = {
        entry.value
        for tensor in bare.graph.initializer
        if tensor.data_location == onnx.TensorProto.EXTERNAL
        for entry in tensor.external_data
        if entry.key == "location"
    }
    files = tuple(path.parent / name for name in sorted(names))
    for name, file in zip(sorted(names), files, strict=True):
        if not file.resolve().is_relative_to(path.parent.resolve()):
            raise ContractError(f"weights outside the model's folder ('{name}')", where=path, remedy="export it again")
    if sum(file.stat().st_size for file in files) > _LARGEST_BYTES:
        raise ContractError(f"weights exceed {_LARGEST_BYTES} bytes", where=path, remedy="compile the model in parts")
    return files


def _check_operators(path: Path, proto: onnx.ModelProto) -> None:
    """Refuse, before any work, the operators that no target has in any form."""
    if not (refused := [(node, why) for node in proto.graph.node if (why := never_compiles(node.op_type))]):
        return
    node, (what, remedy) = refused[0]
    more = f", and {len(refused) - 1} more such" if len(refused) > 1 else ""
    raise ContractError(f"the {node.op_type} '{node.name or node.output[0]}' {what}{more}", where=path, remedy=remedy)


def _check_opset(path: Path, proto: onnx.ModelProto) -> None:
    version = opset_of(proto)
    if version is None or version < OLDEST_OPSET:
        raise ContractError(
            f"opset {version} is too old: quantized models need {NEEDED_OPSET}, and {OLDEST_OPSET} can be raised to it",
            where=path,
            remedy="export with opset 20 (below it GELU decomposes into Erf, which the chip has not)",
        )
    if version > NEWEST_OPSET:
        raise ContractError(
            f"opset {version} is too new: the tools know up to {NEWEST_OPSET}",
            where=path,
            remedy="export with opset 20",
        )


def _check_flow(path: Path, proto: onnx.ModelProto) -> None:
    """Refuse an output that no node computes from the inputs: the chip's answer for one was wrong, by measurement."""
    inputs = {item.name for item in proto.graph.input}
    computed = set(inputs)
    for node in proto.graph.node:  # the checker has seen that they stand in the order of their flow
        if computed.intersection(_read_by(node)):
            computed.update(node.output)
    for item in proto.graph.output:
        if item.name in inputs or item.name not in computed:
            what = "is an input" if item.name in inputs else "does not depend on any input"
            raise ContractError(f"output '{item.name}' {what}", where=path, remedy="leave it out, and export again")


def _read_by(node: onnx.NodeProto) -> set[str]:
    """Name what a node reads, the branches inside it included."""
    found = set(node.input)
    for attribute in node.attribute:
        for inner in attribute.g.node:
            found |= _read_by(inner)
    return found


def _check_kind(path: Path, proto: onnx.ModelProto) -> None:
    if proto.ir_version > NEWEST_IR:
        raise ContractError(
            f"IR version {proto.ir_version} is too new: the tools know up to {NEWEST_IR}",
            where=path,
            remedy=f"set the model's ir_version to {NEWEST_IR} or less, or export it with an older onnx",
        )
    weights = {item.name for item in proto.graph.initializer}
    if both := next((item.name for item in proto.graph.input if item.name in weights), None):
        raise ContractError(
            f"the weight '{both}' is also an input",
            where=path,
            remedy="export with keep_initializers_as_inputs=False (IR version 4 or newer)",
        )
    kinds = {node.op_type for node in proto.graph.node}
    if "EPContext" in kinds:
        raise ContractError("this is a compiled context already", where=path, remedy="name the float model")
    if kinds & {"QuantizeLinear", "DequantizeLinear"}:
        raise ContractError("this model is quantized already", where=path, remedy="name the float model")
    known = _STANDARD_DOMAINS | _RUNTIME_DOMAINS | {item.domain for item in proto.functions}
    if foreign := next((node for node in proto.graph.node if node.domain not in known), None):
        raise ContractError(
            f"the operator '{foreign.op_type}' of '{foreign.domain}' is not one of ONNX's",
            where=path,
            remedy="export the model with standard operators, and leave what has none outside it",
        )


def _check_weights(path: Path, proto: onnx.ModelProto) -> None:
    constants = [attribute.t for node in proto.graph.node if node.op_type == "Constant" for attribute in node.attribute]
    for tensor in (*proto.graph.initializer, *constants):
        if tensor.data_type in _OTHER_FLOATS and math.prod(tensor.dims) > 1:
            kind = onnx.TensorProto.DataType.Name(tensor.data_type)
            raise ContractError(
                f"the weight '{tensor.name or 'a constant'}' is {kind}; only FLOAT weights are quantized",
                where=path,
                remedy="export the model in float32",
            )
        if tensor.data_type not in _FLOATS:
            continue
        values = onnx.numpy_helper.to_array(tensor, base_dir=str(path.parent))
        if not np.isfinite(values).all():
            bad = int(values.size - np.isfinite(values).sum())
            raise ContractError(
                f"{bad} of {values.size} weights of '{tensor.name or 'a constant'}' are NaN or infinite",
                where=path,
                remedy="the training diverged: take an earlier checkpoint",
            )


def _spec(path: Path, role: str, item: onnx.ValueInfoProto) -> TensorSpec:
    kind = item.type.tensor_type
    if kind.elem_type != onnx.TensorProto.FLOAT:
        name = onnx.TensorProto.DataType.Name(kind.elem_type)
        remedy = (
            "give the model a float32 input, and cast that to what it needs inside; or leave a table's look-up outside"
            if role == "input"
            else "give the scores, and take the ArgMax outside the model"
        )
        raise ContractError(
            f"{role} '{item.name}' is {name}; only FLOAT {role}s are compiled so far",
            where=path,
            remedy=f"{remedy}; then export again",
        )
    return TensorSpec(item.name, _static_shape(path, role, item))


def _static_shape(path: Path, role: str, item: onnx.ValueInfoProto) -> tuple[int, ...]:
    kind = item.type.tensor_type
    if not kind.HasField("shape"):
        raise ContractError(f"{role} '{item.name}' has no shape", where=path, remedy="export with static shapes")
    for axis, dimension in enumerate(kind.shape.dim):
        if not dimension.HasField("dim_value") or dimension.dim_value < 1:
            label = dimension.dim_param or "unknown"
            raise ContractError(
                f"{role} '{item.name}' has a dynamic shape (axis {axis} is '{label}'); the chip needs static ones",
                where=path,
                remedy="export with static shapes (of open axes only a batch, the first, can be fixed to 1 here)",
            )
    return tuple(int(dimension.dim_value) for dimension in kind.shape.dim)
