"""`compile_module`: a torch module in, exported as it is best for the chip, and compared with torch's own answers."""

from __future__ import annotations

import inspect
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_compile.compiler import CompileResult, compile_model
from edge_compile.job import Arrays
from platform_lib.errors import CompileError, ContractError

# From here on ONNX has Gelu; torch's older exporter gives graphs that AIMET and the chip's compiler know.
_OPSET = 20


def compile_module(
    module: Any,
    target: str,
    calibration: Arrays,
    out: str | Path,
    *,
    frozen: Arrays | None = None,
    outputs: Sequence[str] = (),
    name: str | None = None,
    **settings: Any,
) -> CompileResult:
    """Export a torch module with batch 1, and compile it as `compile_model` does.

    torch's answers to the frozen inputs are the first engine of the parity ladder, so that the export is proven too.

    Args:
        module: A ``torch.nn.Module``; it is run as in ``eval()``, and left in the mode that it is in.
        target: As in `compile_model`.
        calibration: Argument of ``forward`` -> float32 (N, *shape), in the order of its arguments.
        out: The folder to publish.
        frozen: Inputs for the ladder; the calibration inputs without them.
        outputs: Names of what ``forward`` returns; ``output_0`` and so on without them.
        name: What the model is called; its class's name by default.
        **settings: Whatever else `compile_model` takes.

    Raises:
        ContractError: That is no torch module, or the samples are not those of its ``forward``.
        CompileError: torch cannot export it.
        PlatformError: As from `compile_model`.
    """
    import torch

    if not isinstance(module, torch.nn.Module):
        raise ContractError(f"{type(module).__name__} is no torch module", remedy="give a torch.nn.Module")
    _check_arguments(module, calibration)
    asked = calibration if frozen is None else frozen
    training = module.training
    module.eval()
    try:
        answers = _answers(module, asked, list(calibration))
        given = tuple(outputs) or tuple(f"output_{at}" for at in range(len(answers)))
        if len(given) != len(answers):
            raise ContractError(f"{len(given)} names for {len(answers)} outputs", remedy="name each output, in order")
        with tempfile.TemporaryDirectory(prefix="drivetrain-export-") as folder:
            path = Path(folder) / f"{name or type(module).__name__.lower()}.onnx"
            _export(module, path, calibration, given)
            reference = dict(zip(given, answers, strict=True))
            return compile_model(path, target, calibration, out, frozen=asked, reference=reference, **settings)
    finally:
        module.train(training)


def _check_arguments(module: Any, calibration: Arrays) -> None:
    known = list(inspect.signature(module.forward).parameters)
    if not calibration or list(calibration) != known[: len(calibration)]:
        raise ContractError(
            f"samples for {', '.join(calibration) or 'nothing'}, and forward takes {', '.join(known)}",
            remedy="give a dict of its arguments in their order",
        )


def _rows(arrays: Arrays, names: list[str]) -> list[tuple[Any, ...]]:
    import torch

    values = {name: np.asarray(arrays[name]) for name in names}
    counts = {len(array) for array in values.values() if array.ndim}
    if len(counts) != 1 or any(not array.ndim for array in values.values()):
        raise ContractError("samples of differing numbers, or none", remedy="give N of each input: (N, *shape)")
    return [tuple(torch.from_numpy(values[name][row][np.newaxis]) for name in names) for row in range(counts.pop())]


def _answers(module: Any, arrays: Arrays, names: list[str]) -> list[NDArray[np.float32]]:
    """Return each output of torch's on the inputs, (N, *shape) with a batch of 1 in the shape."""
    import torch

    if missing := [name for name in names if name not in arrays]:
        raise ContractError(f"the frozen inputs lack '{missing[0]}'", remedy=f"give: {', '.join(names)}")
    with torch.no_grad():
        found = [module(*row) for row in _rows(arrays, names)]
    rows = [item if isinstance(item, tuple | list) else (item,) for item in found]
    return [np.stack([row[at].numpy() for row in rows]) for at in range(len(rows[0]))]


def _export(module: Any, path: Path, calibration: Arrays, outputs: tuple[str, ...]) -> None:
    import torch

    names = list(calibration)
    first = _rows({name: np.asarray(calibration[name])[:1] for name in names}, names)[0]
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch announces that this exporter is the older one
            torch.onnx.export(
                *(module, first, path),
                input_names=names,
                output_names=list(outputs),
                opset_version=_OPSET,
                dynamo=False,
            )
    except Exception as error:  # of many kinds, with no parent of their own
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise CompileError(
            f"torch cannot export it: {reason[:300]}",
            where=type(module).__name__,
            remedy="leave what has no ONNX operator outside the module",
        ) from error
