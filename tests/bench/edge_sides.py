"""Both sides of `edge`, each for a fresh process: ``python -m tests.bench.edge_sides SIDE MODEL CALIBRATION PRECISION``."""

from __future__ import annotations

import sys
from pathlib import Path

SOC_MODEL = 52


def ours(model: Path, calibration: Path, precision: str) -> None:
    """Check, quantize and compile as `compile_model` does, without the float reference and the emulator."""
    import numpy as np

    from edge_compile.job import Settings, check_job
    from edge_compile.qnn import compile_precision
    from edge_compile.quantize import quantize
    from edge_compile.targets.table import find_target
    from edge_compile.worker import Limits

    with np.load(calibration) as stored:
        arrays = {name: stored[name] for name in stored.files}
    target = find_target("sa8255p")
    one = {name: values[:1] for name, values in arrays.items()}
    job = check_job(model, target, Settings((precision,)), calibration=arrays, frozen=one, reference=None)
    log = Path("tools.log")
    made = quantize(
        model,
        job.calibration,
        job.frozen,
        architecture=target.architecture,
        precisions=(precision,),
        scratch=Path("quantize").resolve(),
        log=log.resolve(),
        limits=Limits(),
    )
    compile_precision(
        made.models[precision],
        precision,
        target,
        {},
        scratch=Path("compile").resolve(),
        log=log.resolve(),
        limits=Limits(),
    )


def by_hand(model: Path, calibration: Path, precision: str) -> None:
    """Do the same as a short script of one's own would."""
    import numpy as np
    import onnx
    import onnxruntime as ort
    import onnxruntime_qnn as qnn
    from aimet_onnx import QuantizationSimModel
    from aimet_onnx.batch_norm_fold import fold_all_batch_norms_to_weight

    with np.load(calibration) as stored:
        arrays = {name: stored[name] for name in stored.files}
    count = len(next(iter(arrays.values())))
    proto = onnx.load(model)
    fold_all_batch_norms_to_weight(proto)
    simulation = QuantizationSimModel(
        proto,
        param_type="int8",
        activation_type={"w8a8": "int8", "w8a16": "int16"}[precision],
        quant_scheme="min_max",
        config_file="htp_v73",
        providers=["CPUExecutionProvider"],
    )
    simulation.compute_encodings([{name: values[row] for name, values in arrays.items()} for row in range(count)])
    onnx.save(simulation.to_onnx_qdq(export_int32_bias=True, prequantize_constants=True), "qdq.onnx")
    ort.register_execution_provider_library("QNNExecutionProvider", qnn.get_library_path())
    devices = [device for device in ort.get_ep_devices() if device.ep_name == "QNNExecutionProvider"]
    options = ort.SessionOptions()
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    options.add_provider_for_devices(devices, {"backend_path": qnn.get_qnn_htp_path(), "soc_model": str(SOC_MODEL)})
    ort.ModelCompiler(
        options,
        "qdq.onnx",
        embed_compiled_data_into_model=False,
        graph_optimization_level=ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    ).compile_to_file("ctx.onnx")


if __name__ == "__main__":
    {"ours": ours, "by_hand": by_hand}[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4])
