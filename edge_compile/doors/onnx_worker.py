"""The worker process that answers frozen inputs by ONNX Runtime on the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

from edge_compile.arrays import load_arrays, save_arrays
from edge_compile.messages import Message
from platform_lib.errors import CompileError

_LOG_ERRORS = 3


class AnswerRequest(Message):
    """Run a model on every sample.

    Attributes:
        inputs: ``.npz`` of name -> (N, *shape).
        outputs: ``.npz`` to write.
    """

    model: str
    inputs: str
    outputs: str


class Answered(Message):
    """How many samples ran, and how many quantizers the model has."""

    samples: int
    quantizers: int


def serve(request_json: bytes) -> Message:
    """Answer one request."""
    request = AnswerRequest.model_validate_json(request_json)
    options = ort.SessionOptions()
    options.log_severity_level = _LOG_ERRORS
    try:
        session = ort.InferenceSession(request.model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's own errors have no common base
        raise CompileError(
            f"ONNX Runtime does not load it: {str(error)[:300]}", where=Path(request.model).name
        ) from error
    names = [item.name for item in session.get_outputs()]
    stored = load_arrays(Path(request.inputs))
    count = len(next(iter(stored.values())))
    rows = [session.run(names, {name: array[index] for name, array in stored.items()}) for index in range(count)]
    save_arrays(Path(request.outputs), {name: np.stack([row[i] for row in rows]) for i, name in enumerate(names)})
    return Answered(samples=count, quantizers=_quantizers_of(request.model))


def _quantizers_of(model: str) -> int:
    nodes = onnx.load(model, load_external_data=False).graph.node
    return sum(node.op_type in ("QuantizeLinear", "TRT_FP8QuantizeLinear") for node in nodes)
