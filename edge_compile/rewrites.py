"""Rewrites of a float model into operators that the chip has; each keeps the arithmetic. Pure over ONNX protos.

None is believed: the compiler runs the model as it was brought and as it was rewritten on the frozen inputs, and refuses
where they differ (the rung ``original->onnx``). What was rewritten stands in the report, layer by layer.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import onnx

from edge_compile.rewrite_gelu import GELU_OPSET, fuse_gelu, has_gelu
from edge_compile.rewrite_inputs import float_inputs
from edge_compile.rewrite_recurrent import unroll
from edge_compile.rewrite_transpose import lower_transposes
from edge_compile.rewrite_weights import own_weights
from platform_lib.errors import ContractError
from platform_lib.evidence import Rewrite

# Per-channel QuantizeLinear, which every precision here uses, appeared in opset 13.
# Source: https://onnx.ai/onnx/operators/onnx__QuantizeLinear.html, read 2026-11-20.
NEEDED_OPSET = 13
# onnx's converter knows the way from here: Source: onnx 1.23.2, on every model of the tests, 2026-11-30.
OLDEST_OPSET = 11


def rewrite(proto: onnx.ModelProto, *, where: Path | None = None) -> tuple[onnx.ModelProto, tuple[Rewrite, ...]]:
    """Return the model in operators that the chip has, and what was changed; the model given stays as it is.

    Args:
        proto: A sound float model.
        where: Its file, for the message.

    Raises:
        ContractError: Its opset is too old to be raised.
    """
    model = onnx.ModelProto()
    model.CopyFrom(proto)
    found: list[Rewrite] = []
    if OLDEST_OPSET <= (opset_of(model) or 0) < NEEDED_OPSET:
        model = _raised(model, NEEDED_OPSET, found, where)
    found += float_inputs(model)
    found += _fix_batch(model) or _settle_outputs(model)
    if has_gelu(model) and (opset_of(model) or 0) < GELU_OPSET:
        # A model that cannot be raised keeps its Erf, and the compiler will name it.
        with suppress(ContractError):
            model = _raised(model, GELU_OPSET, found, where)
    if (opset_of(model) or 0) >= GELU_OPSET:
        found += fuse_gelu(model)
    found += unroll(model)
    found += lower_transposes(model)
    found += own_weights(model)
    return model, tuple(found)


def opset_of(proto: onnx.ModelProto) -> int | None:
    """Return the version of ONNX's own operators that a model uses."""
    return next((int(item.version) for item in proto.opset_import if item.domain in ("", "ai.onnx")), None)


def _raised(proto: onnx.ModelProto, version: int, found: list[Rewrite], where: Path | None) -> onnx.ModelProto:
    """Return the model in a newer opset, and note it in `found`."""
    old = opset_of(proto)
    try:
        # onnx's converter ends in errors of many kinds, some of C++, that share no parent but this.
        raised = onnx.version_converter.convert_version(proto, version)
        onnx.checker.check_model(raised)
    except Exception as error:
        raise ContractError(
            f"opset {old} is too old, and could not be raised to {version} ({_first_line(error)})",
            where=where,
            remedy="export with opset 20 (below it GELU decomposes into Erf, which the chip has not)",
        ) from error
    found.append(Rewrite(name="opset", layer="", what=f"raised from {old} to {version}"))
    return raised


def _fix_batch(model: onnx.ModelProto) -> tuple[Rewrite, ...]:
    """Set a batch that the exporter left open to 1; other open axes are for their reader to refuse."""
    graph = model.graph
    opened = [item for item in graph.input if _open_axes(item) == [0]]
    if not opened or any(_open_axes(item) not in ([], [0]) for item in graph.input):
        return ()
    for item in opened:
        item.type.tensor_type.shape.dim[0].dim_value = 1
    _infer_outputs(model)
    return tuple(
        Rewrite(name="static-batch", layer=item.name, what="the open batch axis is fixed to 1") for item in opened
    )


def _settle_outputs(model: onnx.ModelProto) -> tuple[Rewrite, ...]:
    """Say the shape of outputs that the exporter left open, where it follows from inputs whose shapes are all known."""
    graph = model.graph
    opened = [item.name for item in graph.output if _open_axes(item)]
    if not opened or any(_open_axes(item) for item in graph.input):
        return ()
    _infer_outputs(model)
    return tuple(
        Rewrite(name="static-output", layer=item.name, what="its shape follows from the inputs', and is said")
        for item in graph.output
        if item.name in opened and not _open_axes(item)
    )


def _infer_outputs(model: onnx.ModelProto) -> None:
    """Find the outputs' shapes anew, from the inputs'."""
    graph = model.graph
    del graph.value_info[:]  # they still say the open axes
    names = {item.name: item for item in graph.output}
    for item in graph.output:
        for axis in _open_axes(item):
            item.type.tensor_type.shape.dim[axis].Clear()
    for found in onnx.shape_inference.infer_shapes(model, data_prop=True).graph.output:
        names[found.name].CopyFrom(found)
    if any(_open_axes(item) for item in graph.output):
        _infer_by_runtime(model)


def _infer_by_runtime(model: onnx.ModelProto) -> None:
    """Give outputs the shapes that onnxruntime finds, which folds what computes a shape; onnx's inference stops at some of it."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception:  # noqa: BLE001 - of many kinds, with no parent of their own; the open axis is refused by its reader
        return
    found = {item.name: item.shape for item in session.get_outputs()}
    for item in model.graph.output:
        for axis, size in enumerate(found.get(item.name, ())):
            if isinstance(size, int) and size > 0 and axis < len(item.type.tensor_type.shape.dim):
                item.type.tensor_type.shape.dim[axis].dim_value = size


def _open_axes(item: onnx.ValueInfoProto) -> list[int]:
    shape = item.type.tensor_type.shape
    return [axis for axis, size in enumerate(shape.dim) if not size.HasField("dim_value")]


def _first_line(error: Exception) -> str:
    return next((line.strip()[:200] for line in str(error).splitlines() if line.strip()), type(error).__name__)
