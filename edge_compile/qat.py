"""Quantization-aware training with aimet_torch, for what post-training quantization does not bring within its tolerance.

The tool is no part of this installation: it pins a release of bokeh that other parts here are too new for, although it only
draws with it. It lies in a folder of its own, put on the path of the one worker that trains.
"""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from edge_compile.arrays import load_arrays, save_arrays
from edge_compile.job import Arrays
from edge_compile.messages import FLOAT_ANSWERS, TRAINED_ANSWERS, QatAnswer, QatRequest
from edge_compile.task_files import LABEL, SLICE
from edge_compile.worker import Limits, run_worker
from edge_compile.workplace import open_workplace
from platform_lib.errors import ConfigError, ContractError, MissingPartError
from platform_lib.storage import publish_bytes

AIMET_TORCH = "aimet-torch==2.42.0"
_WORKER = "edge_compile.qat_worker"
_BITS = {"w8a8": (8, 8), "w8a16": (8, 16), "w4a8": (4, 8), "w4a16": (4, 16)}
_FEWEST_SAMPLES = 8


def fine_tune(
    module: str,
    calibration: Arrays,
    precision: str,
    out: str | Path,
    *,
    outputs: Sequence[str],
    argument: str | None = None,
    frozen: Arrays | None = None,
    aimet_torch: str | Path | None = None,
    architecture: str = "v73",
    steps: int = 500,
    batch: int = 16,
    learning_rate: float = 1e-3,
    limits: Limits | None = None,
) -> QatAnswer:
    """Train a torch module to answer, quantized, as it does in float, and write it as an ONNX file to compile.

    It learns from its own float answers to three quarters of the samples; the rest decide which step is kept. Ranges stay
    as they were calibrated, and the weights that are written lie on their grid, so that `compile_model` finds them again.
    Batch norms are folded first.

    Args:
        module: ``module:function`` or ``file.py:function``; the function takes nothing and returns the module, weights loaded.
        calibration: Input name -> float32 (N, *shape), the inputs in the order in which the module takes them.
        precision: ``w8a8``, ``w8a16``, ``w4a8`` or ``w4a16``.
        out: The ONNX file to write.
        outputs: What to call the outputs.
        argument: What the function is given instead of nothing.
        frozen: Inputs to compile with, as `calibration`. Beside `out` then lies ``.frozen.npz`` with them, what the trained
            module answers (the first engine of the ladder), and what it answered before training: ``label_OUTPUT``.
        aimet_torch: The folder of ``pip install --no-deps --target FOLDER aimet-torch==2.42.0``; None if it is installed.
        architecture: Chip generation.
        steps: Of the optimiser.
        batch: Samples a step.
        learning_rate: At the first step.
        limits: Time and memory.

    Raises:
        MissingPartError: There is no aimet_torch, or no such function.
        ConfigError: A precision or a number makes no sense.
        ContractError: Too few samples, or not float32.
        CompileError: The tool failed.
    """
    folder = _tool(aimet_torch)
    if precision not in _BITS:
        raise ConfigError(f"precision {precision}", where="training", remedy=f"choose from {', '.join(_BITS)}")
    if steps < 1 or batch < 1 or not 0.0 < learning_rate < np.inf:
        raise ConfigError(
            f"{steps} steps of {batch} at {learning_rate}", where="training", remedy="give numbers above 0"
        )
    samples = _samples(calibration)
    if frozen is not None and (missing := samples.keys() - frozen.keys()):
        raise ContractError(f"the frozen inputs lack '{min(missing)}'", remedy=f"give: {', '.join(samples)}")
    path = Path(out).expanduser().resolve()
    weight_bits, activation_bits = _BITS[precision]
    with open_workplace(path) as workplace:
        scratch = workplace.scratch / "training"
        scratch.mkdir()
        save_arrays(scratch / "calibration.npz", samples)
        if frozen is not None:
            save_arrays(scratch / "frozen.npz", {name: np.asarray(frozen[name], np.float32) for name in samples})
        request = QatRequest(
            module=_absolute(module),
            argument=argument,
            frozen=None if frozen is None else str(scratch / "frozen.npz"),
            calibration=str(scratch / "calibration.npz"),
            names=(tuple(samples), tuple(outputs)),
            weight_bits=weight_bits,
            activation_bits=activation_bits,
            architecture=architecture,
            steps=steps,
            batch=batch,
            learning_rate=learning_rate,
            aimet_torch=folder,
            onnx="trained.onnx",
        )
        answer = run_worker(
            _WORKER, request, QatAnswer, scratch=scratch, log=workplace.log, limits=limits or Limits(time_s=3600.0)
        )
        if frozen is not None:
            publish_bytes(frozen_beside(path), _to_compile_with(frozen, samples, scratch))
        publish_bytes(path, (scratch / "trained.onnx").read_bytes())
    return answer


def frozen_beside(onnx: Path) -> Path:
    """Name the frozen inputs that lie beside a trained model."""
    return onnx.with_suffix(".frozen.npz")


def _to_compile_with(frozen: Arrays, inputs: Sequence[str] | Mapping[str, object], scratch: Path) -> bytes:
    """Return the NPZ for a compile of the trained model: inputs, slices, its answers, and the answers it was to keep."""
    before, after = (load_arrays(scratch / name) for name in (FLOAT_ANSWERS, TRAINED_ANSWERS))
    arrays = {name: np.asarray(frozen[name]) for name in (*inputs, *({SLICE} & set(frozen)))}
    arrays |= after | {f"{LABEL}{name}": values for name, values in before.items()}
    written = io.BytesIO()
    np.savez(written, **arrays)  # type: ignore[arg-type]  # numpy's stub takes the flag's type for every array's
    return written.getvalue()


def _tool(folder: str | Path | None) -> str | None:
    remedy = f"pip install --no-deps --target FOLDER {AIMET_TORCH}, and name the FOLDER as aimet_torch"
    if folder is None:
        if importlib.util.find_spec("aimet_torch") is None:
            raise MissingPartError("aimet_torch is not available here", remedy=remedy)
        return None
    path = Path(folder).expanduser().resolve()
    if not (path / "aimet_torch" / "__init__.py").is_file():
        raise MissingPartError("holds no aimet_torch", where=path, remedy=remedy)
    return str(path)


def _samples(calibration: Arrays) -> dict[str, np.ndarray]:
    counts = {name: len(values) for name, values in calibration.items()}
    if not counts or len(set(counts.values())) > 1 or min(counts.values()) < _FEWEST_SAMPLES:
        raise ContractError(
            f"calibration samples: {counts}", remedy=f"give {_FEWEST_SAMPLES} or more, as many of each input"
        )
    for name, values in calibration.items():
        if values.dtype != np.float32 or not np.isfinite(values).all():
            raise ContractError(f"'{name}' is {values.dtype}, or not finite", remedy="give finite float32")
    return {name: np.asarray(values, np.float32) for name, values in calibration.items()}


def _absolute(module: str) -> str:
    """Name a file from anywhere: the worker runs in a folder of its own."""
    place, _, function = module.rpartition(":")
    return f"{Path(place).resolve()}:{function}" if place.endswith(".py") else module
