"""The QNN compiler and its HTP emulator, in a process of its own that `edge_compile.qnn` starts.

The vendor's libraries are loaded from where their package put them, and never copied anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import onnxruntime_qnn

from edge_compile.arrays import load_arrays, save_arrays
from edge_compile.context import check_context
from edge_compile.layer_run import qdq_to_target, tap_model
from edge_compile.layers import makers_of
from edge_compile.messages import (
    CompileAnswer,
    CompileRequest,
    LayerReport,
    LayersRequest,
    Message,
    QnnRequest,
    RunAnswer,
    RunRequest,
)
from edge_compile.provider_options import check_provider_options
from edge_compile.samples import Samples
from platform_lib.errors import CompileError

_PROVIDER = "QNNExecutionProvider"
_LOG_WARNINGS = 2  # onnxruntime's severity: 0 verbose, 1 info, 2 warning, 3 error


def compile_context(request: CompileRequest) -> CompileAnswer:
    """Compile in the current folder.

    Raises:
        ConfigError: An option that is not on the allow-list.
    """
    options = {
        "soc_model": ",".join(map(str, (request.soc_model, *request.also))),
        "enable_framework_op_trace": "1",
        "dump_json_qnn_graph": "1",
        "json_qnn_graph_dir": ".",
        "profiling_level": "basic",
        "profiling_file_path": "profile.csv",
        **request.options,
    }
    level = getattr(ort.GraphOptimizationLevel, request.optimisation_level)
    # Given as bytes: given as a path, the path's hash ends up in the binary, and equal models give differing files.
    compiler = ort.ModelCompiler(
        session_options(options),
        Path(request.model).read_bytes(),
        embed_compiled_data_into_model=False,
        graph_optimization_level=level,
    )
    compiler.compile_to_file(request.context)
    here = Path.cwd()
    return CompileAnswer(
        provider_options=options,
        optimisation_level=request.optimisation_level,
        current_folder=str(here),
        files=tuple(sorted(item.name for item in here.iterdir())),
    )


def run_context(request: RunRequest) -> RunAnswer:
    """Run the first samples, one at a time, on the emulator.

    Raises:
        IntegrityError: The context's bytes changed, or it was built for another chip.
    """
    path = Path(request.context)
    info = check_context(path, digests=request.digests, soc_model=request.soc_model)
    few = _first(load_arrays(Path(request.inputs)), request.samples)
    save_arrays(Path(request.outputs), _emulate(path, request.soc_model, few))
    count = len(next(iter(few.values())))
    return RunAnswer(checked_files=(path.name, *info.binaries), soc_model=request.soc_model, samples=count)


def compare_layers(request: LayersRequest) -> LayerReport:
    """Compile in the current folder with each layer as an output, run that, and compare it with the CPU."""
    model = Path(request.compile.model)
    names = tap_model(Path(request.float_model), Path(request.qdq), model)
    compile_context(request.compile)
    few = _first(load_arrays(Path(request.inputs)), request.samples)
    return qdq_to_target(
        model,
        names,
        makers_of(onnx.load(request.float_model, load_external_data=False).graph),
        few,
        _emulate(Path(request.compile.context), request.compile.soc_model, few),
        precision=request.precision,
        threshold_db=request.threshold_db,
    )


def _first(samples: Samples, count: int) -> Samples:
    return {name: values[:count] for name, values in samples.items()}


def _emulate(context: Path, soc_model: int, samples: Samples) -> Samples:
    session = ort.InferenceSession(context, session_options({"soc_model": str(soc_model)}))
    names = [item.name for item in session.get_outputs()]
    inputs = {item.name: samples[item.name] for item in session.get_inputs()}
    count = len(next(iter(inputs.values())))
    rows = [
        session.run(names, {key: np.asarray(value[index]) for key, value in inputs.items()}) for index in range(count)
    ]
    return {name: np.stack([row[index] for row in rows]) for index, name in enumerate(names)}


def session_options(options: Mapping[str, str], entries: Mapping[str, str] | None = None) -> Any:
    """Return a session's options for the chip alone, every provider option checked; `entries` are the session's own.

    Raises:
        ConfigError: An option that is not on the allow-list.
        CompileError: There is no QNN here.
    """
    provider_options = {"backend_path": onnxruntime_qnn.get_qnn_htp_path(), **options}
    check_provider_options(provider_options)
    if not _devices():  # a second registration is an error
        ort.register_execution_provider_library(_PROVIDER, onnxruntime_qnn.get_library_path())
    devices = _devices()
    if not devices:
        raise CompileError("onnxruntime found no QNN device", remedy="install onnxruntime-qnn for this platform")
    made = ort.SessionOptions()
    made.log_severity_level = _LOG_WARNINGS
    made.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    for name, value in (entries or {}).items():
        made.add_session_config_entry(name, value)
    made.add_provider_for_devices(devices, provider_options)
    return made


def _devices() -> list[Any]:
    return [device for device in ort.get_ep_devices() if device.ep_name == _PROVIDER]


def serve(request_json: bytes) -> Message:
    """Answer one request."""
    request = QnnRequest.model_validate_json(request_json).root
    if isinstance(request, LayersRequest):
        return compare_layers(request)
    return compile_context(request) if isinstance(request, CompileRequest) else run_context(request)
