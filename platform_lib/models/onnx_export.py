"""The planner as an ONNX graph: opset 20, static batch of one, the same bytes for the same weights."""

from __future__ import annotations

import warnings
from pathlib import Path

import onnx
import torch
from torch import nn
from torch.jit._trace import TracerWarning

from platform_lib.models.interface import COMMANDS, EGO_CHANNELS, EGO_STEPS, IMAGE_HEIGHT, IMAGE_WIDTH

OPSET = 20
INPUT_NAMES = ("image", "ego_history", "command")
OUTPUT_NAME = "plan"


def export_onnx(
    network: nn.Module, path: Path, *, cameras: int = 1, size_px: tuple[int, int] = (IMAGE_HEIGHT, IMAGE_WIDTH)
) -> None:
    """Write the network to `path`; the graph's input and output names and shapes are those of the model interface.

    Args:
        network: What is called with image, ego history and command, and gives the plan.
        path: The file.
        cameras: How many cameras' pictures come stacked along the channels; the interface is that of one.
        size_px: Rows and columns of a picture; the interface's own unless said.

    The image input stays in the graph's signature also where the network does not look at it (`ego_only`), so that
    everything behind it handles one interface.
    """
    network = network.eval()
    example = (
        torch.zeros(1, 3 * cameras, *size_px),
        torch.zeros(1, EGO_STEPS, EGO_CHANNELS),
        torch.zeros(1, len(COMMANDS)),
    )
    with warnings.catch_warnings():
        # The TorchScript exporter is deprecated; the new one writes graphs that the HTP compiler was not seen to take.
        warnings.simplefilter("ignore", DeprecationWarning)
        # Shapes are decided while tracing, which is what a static graph is.
        warnings.simplefilter("ignore", TracerWarning)
        torch.onnx.export(
            network,
            example,
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=list(INPUT_NAMES),
            output_names=[OUTPUT_NAME],
        )
    model = onnx.load(str(path))
    if "image" not in {item.name for item in model.graph.input}:
        shape = [1, 3 * cameras, *size_px]
        model.graph.input.insert(0, onnx.helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, shape))
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))
