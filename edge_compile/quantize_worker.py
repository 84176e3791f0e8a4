"""AIMET post-training quantization, in a process of its own: its import takes 3.5 s and it writes much to the terminal."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from aimet_onnx import QuantizationSimModel
from aimet_onnx.batch_norm_fold import fold_all_batch_norms_to_weight
from numpy.typing import NDArray

from edge_compile.arrays import load_arrays, save_arrays
from edge_compile.messages import Message, QuantizeAnswer, QuantizeRequest
from edge_compile.samples import Samples
from platform_lib.errors import CompileError

_ACTIVATIONS = {"w8a16": "int16", "w8a8": "int8"}


def quantize(request: QuantizeRequest) -> QuantizeAnswer:
    """Quantize into the current folder, and run every engine that is no chip on the frozen inputs."""
    calibration, frozen = load_arrays(Path(request.calibration)), load_arrays(Path(request.frozen))
    names = [item.name for item in onnx.load(request.model).graph.output]
    run_session(_cpu_session(request.model), frozen, names, Path("fp32.outputs.npz"))
    folded = 0
    for precision in request.precisions:
        model = onnx.load(request.model)
        conv_pairs, linear_pairs = fold_all_batch_norms_to_weight(model)
        folded = len(conv_pairs) + len(linear_pairs)
        simulation = QuantizationSimModel(
            model,
            param_type="int8",
            activation_type=_ACTIVATIONS[precision],
            quant_scheme="min_max",
            config_file=f"htp_{request.architecture}",
            providers=["CPUExecutionProvider"],
        )
        simulation.compute_encodings(list(_each(calibration)))
        _save(simulation, precision, request, frozen, names)
    return QuantizeAnswer(folded_batch_norms=folded, precisions=request.precisions)


def _save(simulation: Any, precision: str, request: QuantizeRequest, frozen: Samples, names: list[str]) -> None:
    run_session(simulation.session, frozen, names, Path(f"{precision}.simulation.npz"))
    quantized = simulation.to_onnx_qdq(export_int32_bias=request.export_int32_bias, prequantize_constants=True)
    if [item.name for item in quantized.graph.output] != names:
        raise CompileError("AIMET renamed the model's outputs", where=precision)
    onnx.save(quantized, f"{precision}.qdq.onnx")
    run_session(_cpu_session(f"{precision}.qdq.onnx"), frozen, names, Path(f"{precision}.qdq.npz"))
    folder = Path(f"aimet-{precision}")
    folder.mkdir()
    simulation.export(str(folder), precision, export_model=False)
    shutil.move(folder / f"{precision}.encodings", f"{precision}.encodings.json")


def run_session(session: Any, samples: Samples, names: list[str], out: Path) -> None:
    """Run a session on each sample alone and write ``.npz`` of output name -> (N, *shape)."""
    run: Callable[..., list[NDArray[np.float32]]] = session.run
    rows = [run(None, sample) for sample in _each(samples)]
    if len(rows[0]) != len(names):
        raise CompileError(f"{len(rows[0])} outputs instead of {len(names)}", where=out.name)
    save_arrays(out, {name: np.stack([row[index] for row in rows]) for index, name in enumerate(names)})


def _cpu_session(model: str) -> Any:
    options = ort.SessionOptions()
    # Higher levels replace the simulated arithmetic of quantized nodes by integer kernels of this machine's CPU.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _each(samples: Samples) -> list[Samples]:
    count = len(next(iter(samples.values())))
    return [{name: values[index] for name, values in samples.items()} for index in range(count)]


def serve(request_json: bytes) -> Message:
    """Answer one request."""
    return quantize(QuantizeRequest.model_validate_json(request_json))
