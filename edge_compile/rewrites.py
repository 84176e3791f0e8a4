"""Rewrites of a float model into operators that the chip has; each keeps the arithmetic. Pure over ONNX protos.

None is believed: the compiler runs the model as it was brought and as it was rewritten on the frozen inputs, and refuses
where they differ (the rung ``original->onnx``). What was rewritten stands in the report, layer by layer.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx

from edge_compile.rewrite_gelu import fuse_gelu
from edge_compile.rewrite_transpose import lower_transposes
from platform_lib.errors import ContractError
from platform_lib.evidence import Rewrite

# Per-channel QuantizeLinear, which every precision here uses, appeared in opset 13.
# Source: https://onnx.ai/onnx/operators/onnx__QuantizeLinear.html, read 2026-11-20.
NEEDED_OPSET = 13
# onnx's converter knows the way from here: Source: onnx 1.23.2, on every model of the tests, 2026-11-30.
OLDEST_OPSET = 11

_Pass = Callable[[onnx.ModelProto], tuple[Rewrite, ...]]


def rewrite(proto: onnx.ModelProto) -> tuple[onnx.ModelProto, tuple[Rewrite, ...]]:
    """Return the model in operators that the chip has, and what was changed; the model given stays as it is.

    Raises:
        ContractError: Its opset is too old to be raised.
    """
    model, found = _raise_opset(proto)
    if model is proto:
        model = onnx.ModelProto()
        model.CopyFrom(proto)
    passes: tuple[_Pass, ...] = (_fix_batch, fuse_gelu, lower_transposes)
    for one in passes:
        found += one(model)
    return model, found


def opset_of(proto: onnx.ModelProto) -> int | None:
    """Return the version of ONNX's own operators that a model uses."""
    return next((int(item.version) for item in proto.opset_import if item.domain in ("", "ai.onnx")), None)


def _raise_opset(proto: onnx.ModelProto) -> tuple[onnx.ModelProto, tuple[Rewrite, ...]]:
    version = opset_of(proto)
    if version is None or not OLDEST_OPSET <= version < NEEDED_OPSET:
        return proto, ()
    try:
        # onnx's converter ends in errors of many kinds, some of C++, that share no parent but this.
        raised = onnx.version_converter.convert_version(proto, NEEDED_OPSET)
        onnx.checker.check_model(raised)
    except Exception as error:
        raise ContractError(
            f"opset {version} is too old, and could not be raised to {NEEDED_OPSET} ({_first_line(error)})",
            remedy="export with opset 20 (below it GELU decomposes into Erf, which the chip has not)",
        ) from error
    return raised, (Rewrite(name="opset", layer="", what=f"raised from {version} to {NEEDED_OPSET}"),)


def _fix_batch(model: onnx.ModelProto) -> tuple[Rewrite, ...]:
    """Set a batch that the exporter left open to 1; other open axes are for their reader to refuse."""
    graph = model.graph
    opened = [item for item in graph.input if _open_axes(item) == [0]]
    if not opened or any(_open_axes(item) not in ([], [0]) for item in graph.input):
        return ()
    for item in opened:
        item.type.tensor_type.shape.dim[0].dim_value = 1
    del graph.value_info[:]  # they still say the open batch
    names = {item.name: item for item in graph.output}
    for item in graph.output:
        for axis in _open_axes(item):
            item.type.tensor_type.shape.dim[axis].Clear()
    for found in onnx.shape_inference.infer_shapes(model, data_prop=True).graph.output:
        names[found.name].CopyFrom(found)
    return tuple(Rewrite(name="static-batch", layer=item.name, what="the open batch axis is fixed to 1") for item in opened)


def _open_axes(item: onnx.ValueInfoProto) -> list[int]:
    shape = item.type.tensor_type.shape
    return [axis for axis, size in enumerate(shape.dim) if not size.HasField("dim_value")]


def _first_line(error: Exception) -> str:
    return next((line.strip()[:200] for line in str(error).splitlines() if line.strip()), type(error).__name__)
