"""The stage of a compile that goes down to layers: of every precision on this machine, on the emulator where that is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edge_compile import parity
from edge_compile.job import Job, OnStage
from edge_compile.messages import LayerReport, LayerRow, LayersFile
from edge_compile.qnn import layers_on_emulator
from edge_compile.quantize import Quantized
from edge_compile.worker import WorkerStoppedError
from edge_compile.workplace import Workplace
from platform_lib.errors import CompileError
from platform_lib.evidence import ParityRung
from platform_lib.storage import publish_bytes

LAYERS = ".by_layer.json"
BY_LAYER = "layer by layer:"
_SAMPLES = 2
# Which report says where the rungs between two engines break. The chip's own is read last, since it is the nearest.
_EXPLAINS = {
    parity.ONNX_SIMULATION: parity.ONNX_QDQ,
    parity.ONNX_TARGET: parity.ONNX_QDQ,
    parity.QDQ_TARGET: parity.QDQ_TARGET,
}


def thresholds_of(job: Job) -> dict[str, float]:
    """Return precision -> the dB that the simulation has to keep, which is what each layer is held against."""
    return {
        name: parity.thresholds_db(name, job.settings.tolerance_db)[parity.ONNX_SIMULATION]
        for name in job.settings.precisions
    }


def go_down(
    job: Job,
    quantized: Quantized,
    rungs: Sequence[ParityRung],
    float_model: Path,
    workplace: Workplace,
    folder: Path,
    say: OnStage,
) -> tuple[list[ParityRung], tuple[LayerReport, ...]]:
    """Publish ``PRECISION.by_layer.json``, and return the rungs, of which each that failed names the first layer that breaks.

    The emulator's layers are looked at where that was asked for, and of every precision whose compiled model differs too
    much from its QDQ model.
    """
    reports = list(quantized.layers)
    for precision in job.settings.precisions:
        rung = next((r for r in rungs if (r.name, r.precision) == (parity.QDQ_TARGET, precision)), None)
        if rung is None or not rung.samples or not (job.settings.layers or rung.status == "fail"):
            continue
        say(f"{BY_LAYER} {precision} on the emulator")
        reports.append(_on_emulator(job, precision, quantized, float_model, workplace))
    for precision in job.settings.precisions:
        own = LayersFile(reports=tuple(item for item in reports if item.precision == precision))
        publish_bytes(folder / f"{precision}{LAYERS}", (own.model_dump_json(indent=2) + "\n").encode())
    return [_explained(rung, reports) for rung in rungs], tuple(reports)


def _on_emulator(
    job: Job, precision: str, quantized: Quantized, float_model: Path, workplace: Workplace
) -> LayerReport:
    threshold_db = parity.thresholds_db(precision, job.settings.tolerance_db)[parity.QDQ_TARGET]
    samples = min(_SAMPLES, job.emulated)
    try:
        return layers_on_emulator(
            float_model,
            quantized.models[precision],
            precision,
            job.target,
            job.settings.options or {},
            quantized.frozen,
            samples=samples,
            threshold_db=threshold_db,
            scratch=workplace.scratch / f"{precision}-layers",
            log=workplace.log,
            limits=job.settings.limits,
        )
    except WorkerStoppedError:
        raise
    except CompileError as error:  # the build with every layer as an output is another one, and may be refused
        return LayerReport(
            rung=parity.QDQ_TARGET,
            precision=precision,
            samples=0,
            threshold_db=threshold_db,
            rows=(),
            not_run=f"with each layer as an output: {error.what}",
        )


def _explained(rung: ParityRung, reports: Sequence[LayerReport]) -> ParityRung:
    """Name the first layer that breaks in the reason of a rung that failed."""
    wanted = _EXPLAINS.get(rung.name)
    report = next((item for item in reports if (item.rung, item.precision) == (wanted, rung.precision)), None)
    broken = None if report is None else report.first_break
    if rung.status != "fail" or broken is None:
        return rung
    return rung.model_copy(
        update={"first_break": broken.layer, "reason": f"{rung.reason}; first broken: {_said(broken)}"}
    )


def _said(row: LayerRow) -> str:
    if not row.finite:
        return f"{row.layer}, which holds NaN or infinity"
    if row.layout != "same":
        return f"{row.layer}, whose numbers lie in the order NHWC"
    return f"{row.layer} with {row.sqnr_db:.1f} dB"
