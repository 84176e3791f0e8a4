"""What an ONNX model takes and gives, read from the file."""

from __future__ import annotations

from pathlib import Path

import onnx

from edge_compile.statements import tensor
from platform_lib.errors import ContractError
from platform_lib.handoff.model import Tensor


def read_interface(path: Path) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Return the model's inputs and outputs.

    Raises:
        ContractError: A shape is not static, or weights lie in another file that would be left behind.
    """
    proto = onnx.load(path, load_external_data=False)
    outside = [item.name for item in proto.graph.initializer if item.data_location == onnx.TensorProto.EXTERNAL]
    if outside:
        raise ContractError(
            f"{len(outside)} weights lie outside the file, for example '{outside[0]}'",
            where=path.name,
            remedy="export the model into one file",
        )
    weights = {item.name for item in proto.graph.initializer}
    inputs = tuple(_tensor(item) for item in proto.graph.input if item.name not in weights)
    return inputs, tuple(_tensor(item) for item in proto.graph.output)


def _tensor(value: onnx.ValueInfoProto) -> Tensor:
    kind = value.type.tensor_type
    shape = tuple(dim.dim_value for dim in kind.shape.dim)
    if not all(size > 0 for size in shape):
        raise ContractError(f"the shape of '{value.name}' is not static", where="model", remedy="export it static")
    return tensor(value.name, onnx.TensorProto.DataType.Name(kind.elem_type).lower(), shape)
