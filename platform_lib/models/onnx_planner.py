"""Any ONNX file with the planner's interface, run by ONNX Runtime on the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort

from platform_lib.errors import ContractError, MissingPartError
from platform_lib.models.interface import (
    COMMANDS,
    EGO_CHANNELS,
    EGO_STEPS,
    IMAGE_HEIGHT,
    IMAGE_WIDTH,
    PLAN_STEPS,
    Float,
    PlannerInput,
    network_inputs,
)

# ONNX Runtime's exceptions share no parent of their own.
_LOAD_ERRORS = tuple(
    getattr(ort.capi.onnxruntime_pybind11_state, name)
    for name in ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NotImplemented", "RuntimeException")
)
_INTERFACE = {
    "image": [1, 3, IMAGE_HEIGHT, IMAGE_WIDTH],
    "ego_history": [1, EGO_STEPS, EGO_CHANNELS],
    "command": [1, len(COMMANDS)],
}


class OnnxPlanner:
    """An ONNX graph behind the planner interface.

    Args:
        name: The name that stands in reports.
        path: The ONNX file; quantize-dequantize graphs run as they are.
        threads: Threads of one inference.

    Raises:
        MissingPartError: There is no such file.
        ContractError: It is no ONNX model, or its inputs or output differ from the planner's interface.
    """

    def __init__(self, name: str, path: Path, *, threads: int = 2) -> None:
        self._name = name
        if not path.is_file():
            raise MissingPartError("no such ONNX file", where=path, remedy="name a model.onnx or a *.qdq.onnx")
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        try:
            self._session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except _LOAD_ERRORS as error:
            raise ContractError(
                f"ONNX Runtime cannot load it ({str(error).splitlines()[0][:160]})", where=path
            ) from error
        found = {item.name: item.shape for item in self._session.get_inputs()}
        outputs = {item.name: item.shape for item in self._session.get_outputs()}
        if found != _INTERFACE or outputs != {"plan": [1, PLAN_STEPS, 2]}:
            raise ContractError(
                f"not a planner: inputs {found}, outputs {outputs}",
                where=path,
                remedy=f"export a graph with inputs {_INTERFACE} and output plan [1, {PLAN_STEPS}, 2]",
            )

    @property
    def name(self) -> str:
        """Return the name that stands in reports."""
        return self._name

    def plan(self, inputs: PlannerInput) -> Float:
        """Return (N, 6, 2) metres, one frame at a time as in the vehicle."""
        plans = np.zeros((len(inputs), PLAN_STEPS, 2), dtype=np.float32)
        arrays = network_inputs(inputs)
        for row in range(len(inputs)):
            feed = {name: array[row : row + 1] for name, array in arrays.items()}
            plans[row] = self._session.run(["plan"], feed)[0][0]
        return plans
