"""Post-training quantization in a worker process, and what every engine that is no chip answers to the frozen inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from edge_compile.arrays import load_arrays, save_arrays
from edge_compile.messages import (
    LayerReport,
    QuantizeAnswer,
    QuantizeRequest,
    SearchReport,
    SearchRequest,
    TechniqueRequest,
    TriedTechnique,
    candidate_name,
)
from edge_compile.samples import Samples
from edge_compile.worker import Limits, run_worker

_WORKER = "edge_compile.quantize_worker"


@dataclass(frozen=True, slots=True)
class Quantized:
    """What quantization made, in its scratch folder.

    Attributes:
        frozen: ``.npz`` of the frozen inputs, for the engines still to run.
        onnx: The float model's outputs on the frozen inputs, onnxruntime on the CPU.
        original: The same of the model as it was brought, where it was rewritten.
        simulation: Precision, or candidate of a search, -> outputs of AIMET's simulation.
        qdq: Precision -> outputs of the exported QDQ model, onnxruntime on the CPU.
        models: Precision -> the QDQ model.
        encodings: Precision -> AIMET's encodings.
        search: What the search for a mix found, if ``mixed`` was asked for.
        techniques: What was tried beyond plain ranges, and what it gave.
    """

    frozen: Path
    onnx: Samples
    original: Samples | None
    simulation: Mapping[str, Samples]
    qdq: Mapping[str, Samples]
    models: Mapping[str, Path]
    encodings: Mapping[str, Path]
    folded_batch_norms: int
    search: SearchReport | None
    techniques: tuple[TriedTechnique, ...]
    notes: tuple[str, ...]
    layers: tuple[LayerReport, ...] = ()
    rejoined: Samples | None = None


def quantize(
    model: Path,
    calibration: Samples,
    frozen: Samples,
    *,
    architecture: str,
    precisions: tuple[str, ...],
    scratch: Path,
    log: Path,
    limits: Limits,
    export_int32_bias: bool = True,
    original: Path | None = None,
    search: SearchRequest | None = None,
    techniques: TechniqueRequest | None = None,
    watch: Callable[[], None] | None = None,
    layers: Mapping[str, float] | None = None,
    tail: Path | None = None,
    original_frozen: Samples | None = None,
) -> Quantized:
    """Quantize a float model at each precision.

    Args:
        model: The float model.
        calibration: Input name -> (N, *shape).
        frozen: The same, run through every engine.
        architecture: Chip generation, for example ``v73``.
        precisions: ``w8a16``, ``w8a8``.
        scratch: A folder to make; everything lands in it.
        log: Where the tools' messages go.
        limits: Time and memory.
        export_int32_bias: Only a test of the float-island check turns it off.

        search: How to find the mix, where ``mixed`` is asked for.
        techniques: How to quantize, and what is within the tolerance; None for plainly.
        watch: Called now and then while the worker works.
        original: The model as it was brought, where `model` is a rewrite of it.
        layers: Precision -> the dB below which a layer is broken; those named are compared layer by layer.
        tail: What was cut off the original, if anything was.
        original_frozen: The frozen inputs for the original, where they are others.

    Raises:
        CompileError: AIMET refused the model, crashed, or ran over a limit.
    """
    scratch.mkdir()
    save_arrays(scratch / "calibration.npz", calibration)
    save_arrays(scratch / "frozen.npz", frozen)
    others = scratch / "original.npz"
    if original_frozen is not None:
        save_arrays(others, original_frozen)
    request = QuantizeRequest.model_validate(
        {
            "model": str(model),
            "calibration": str(scratch / "calibration.npz"),
            "frozen": str(scratch / "frozen.npz"),
            "architecture": architecture,
            "precisions": precisions,
            "export_int32_bias": export_int32_bias,
            "original": None if original is None else str(original),
            "original_frozen": None if original_frozen is None else str(others),
            "tail": None if tail is None else str(tail),
            "search": search,
            "layers": layers or {},
            "techniques": techniques,
        }
    )
    answer = run_worker(_WORKER, request, QuantizeAnswer, scratch=scratch, log=log, limits=limits, watch=watch)
    made = [name for name in precisions if name != "mixed"]
    if answer.search is not None:
        # Which of them is `mixed` the compiler decides.
        kept = [item for item in answer.search.candidates if item.made]
        made += [candidate_name(row) for row in range(len(kept))]
    return Quantized(
        frozen=scratch / "frozen.npz",
        onnx=load_arrays(scratch / "fp32.outputs.npz"),
        rejoined=None if tail is None else load_arrays(scratch / "rejoined.outputs.npz"),
        original=None if original is None else load_arrays(scratch / "original.outputs.npz"),
        simulation={name: load_arrays(scratch / f"{name}.simulation.npz") for name in made},
        qdq={name: load_arrays(scratch / f"{name}.qdq.npz") for name in made},
        models={name: scratch / f"{name}.qdq.onnx" for name in made},
        encodings={name: scratch / f"{name}.encodings.json" for name in made},
        folded_batch_norms=answer.folded_batch_norms,
        search=answer.search,
        notes=answer.notes,
        layers=answer.layers,
        techniques=answer.techniques,
    )
