"""Trains a torch module with AIMET's quantizers in it, in a process of its own."""

from __future__ import annotations

import copy
import importlib
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from edge_compile.arrays import load_arrays, save_arrays
from edge_compile.messages import FLOAT_ANSWERS, TRAINED_ANSWERS, Message, QatAnswer, QatRequest
from edge_compile.own_code import own_function
from edge_compile.parity import sqnr_db
from platform_lib.errors import ContractError

_TOOL = "aimet_torch"  # no dependency of this project, see `edge_compile.qat`
_HELD_OUT = 4  # every fourth sample
_CHECKS = 10  # how often the held-out samples are asked
_BEST_DB = 300.0
_OPSET = 20


def train(request: QatRequest) -> QatAnswer:
    """Train in the current folder, and write the ONNX file there."""
    tool = _tool(request.aimet_torch)
    torch.manual_seed(0)
    module = _module(request.module, request.argument)
    samples = [torch.from_numpy(values) for values in load_arrays(Path(request.calibration)).values()]
    count = len(samples[0])
    held = torch.arange(count) % _HELD_OUT == _HELD_OUT - 1
    learned, kept = ([values[mask] for values in samples] for mask in (~held, held))
    with torch.no_grad():
        reference = [_outputs(module, rows) for rows in (learned, kept)]
    folded = copy.deepcopy(module)
    example = tuple(values[:1] for values in samples)
    tool.batch_norm_fold.fold_all_batch_norms(folded, None, dummy_input=example)
    simulation = tool.QuantizationSimModel(
        folded,
        example,
        quant_scheme="tf",
        default_param_bw=request.weight_bits,
        default_output_bw=request.activation_bits,
        config_file=f"htp_{request.architecture}",
    )
    simulation.compute_encodings(lambda model, _: model(*learned), None)
    before = _closeness(simulation.model, kept, reference[1])
    best_step = _learn(simulation.model, learned, reference[0], kept, reference[1], request, before)
    after = _closeness(simulation.model, kept, reference[1])
    plain = tool.QuantizationSimModel.get_original_model(simulation.model, qdq_weights=True).eval()
    answer = QatAnswer(
        before_db=before,
        after_db=after,
        float_db=_closeness(plain, kept, reference[1]),
        best_step=best_step,
        learned_from=len(learned[0]),
        held_out=len(kept[0]),
    )
    if request.frozen is not None:
        _answer_frozen(request.frozen, request.names, {FLOAT_ANSWERS: module, TRAINED_ANSWERS: plain})
    _export(plain, example, request)
    return answer


def _answer_frozen(path: str, names: tuple[tuple[str, ...], tuple[str, ...]], modules: Mapping[str, Any]) -> None:
    """Write what each module answers to the frozen inputs, sample by sample: the file's name -> output name -> (N, *shape)."""
    inputs, outputs = names
    arrays = load_arrays(Path(path))
    rows = [[torch.from_numpy(arrays[name][row : row + 1]) for name in inputs] for row in range(len(arrays[inputs[0]]))]
    for file, module in modules.items():
        with torch.no_grad():
            found = [_outputs(module, row) for row in rows]
        answers = {name: torch.cat([row[at] for row in found]).numpy() for at, name in enumerate(outputs)}
        save_arrays(Path(file), answers)


def _learn(
    model: Any,
    learned: list[torch.Tensor],
    wanted: list[torch.Tensor],
    kept: list[torch.Tensor],
    truth: list[torch.Tensor],
    request: QatRequest,
    before_db: float,
) -> int:
    """Train the weights under their fixed grids; leave the best step's in the model and return which one that was."""
    weights = []
    for name, parameter in model.named_parameters():
        # Grids stay: what is written has to be found again by plain calibration.
        parameter.requires_grad_("quantizers" not in name)
        if "quantizers" not in name:
            weights.append(parameter)
    optimiser = torch.optim.Adam(weights, lr=request.learning_rate)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, request.steps)
    strength = [max(float(values.square().mean()), 1e-12) for values in wanted]
    best, best_db, best_step = copy.deepcopy(model.state_dict()), before_db, 0
    every = max(1, request.steps // _CHECKS)
    for step in range(1, request.steps + 1):
        rows = torch.randint(0, len(learned[0]), (min(request.batch, len(learned[0])),))
        answers = _outputs(model, [values[rows] for values in learned])
        losses = [
            (answer - values[rows]).square().mean() / power
            for answer, values, power in zip(answers, wanted, strength, strict=True)
        ]
        optimiser.zero_grad()
        torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        falling.step()
        if step % every == 0 or step == request.steps:
            found = _closeness(model, kept, truth)
            if found > best_db:
                best, best_db, best_step = copy.deepcopy(model.state_dict()), found, step
    model.load_state_dict(best)
    return best_step


def _closeness(model: Any, samples: list[torch.Tensor], truth: list[torch.Tensor]) -> float:
    with torch.no_grad():
        answers = _outputs(model, samples)
    found = [sqnr_db(first.numpy(), second.numpy()) for first, second in zip(truth, answers, strict=True)]
    return min((_BEST_DB if ratio is None else ratio for ratio in found), default=_BEST_DB)


def _outputs(model: Any, samples: list[torch.Tensor]) -> list[torch.Tensor]:
    found = model(*samples)
    return list(found) if isinstance(found, tuple | list) else [found]


def _module(name: str, argument: str | None) -> torch.nn.Module:
    function, _ = own_function(name)
    found = function() if argument is None else function(argument)
    if not isinstance(found, torch.nn.Module):
        raise ContractError(
            f"returned a {type(found).__name__}", where=name, remedy="return the torch module, with its weights loaded"
        )
    return found.eval()


def _tool(folder: str | None) -> Any:
    """Import aimet_torch; it needs torchvision, whose wheel beside a CPU torch lacks two operators and cannot be imported.

    Their schemas alone make it import; suppression itself stays unusable.
    """
    if folder is not None:
        sys.path.insert(0, folder)
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            library.define(  # type: ignore[no-untyped-call]
                f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            )
    found = importlib.import_module(_TOOL)
    importlib.import_module(f"{_TOOL}.batch_norm_fold")
    return found


def _export(module: torch.nn.Module, example: tuple[torch.Tensor, ...], request: QatRequest) -> None:
    inputs, outputs = request.names
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch announces that this exporter is the older one
        torch.onnx.export(
            module, example, request.onnx, input_names=list(inputs), output_names=list(outputs), opset_version=_OPSET,
            dynamo=False,
        )  # fmt: skip


def serve(request_json: bytes) -> Message:
    """Answer one request."""
    return train(QatRequest.model_validate_json(request_json))
