"""The parts of the handoff manifest that follow from evidence alone. Pure.

The bundle writes them and the verification derives them again, so a manifest cannot say other than its evidence.
"""

from __future__ import annotations

from typing import TypeVar

from platform_lib.evidence import (
    CompiledPrecision,
    CompileReport,
    DeviceRun,
    EvaluationReport,
    GateReport,
    MetricsRow,
    ParityRung,
    Performance,
)
from platform_lib.handoff.model import (
    Evaluation,
    FileEntry,
    Gate,
    Latency,
    Rung,
    StepRecord,
    Target,
    Unknown,
    unknown,
)
from platform_lib.handoff.thresholds import Thresholds
from platform_lib.manifest import Manifest

COMPILED_FOLDER = "compiled"
_Value = TypeVar("_Value", int, float)


def evaluation_entries(
    report: EvaluationReport, compressed: EvaluationReport | None, thresholds: Thresholds
) -> tuple[Evaluation, ...]:
    """Return every figure of both evaluations, open loop before closed loop, float before compressed, baselines once."""
    entries: list[Evaluation] = []
    for source in (report, compressed):
        if source is not None:
            rows = report.open_loop if source is report else source.rows_beside(report)
            entries += [entry for row in rows for entry in _entries(source, row, thresholds, closed=False)]
            entries += [entry for row in source.closed_loop for entry in _entries(source, row, thresholds, closed=True)]
    return tuple(entries)


def rungs(report: CompileReport) -> tuple[Rung, ...]:
    """Return the parity ladder of a compile report."""
    return tuple(_rung(rung) for rung in report.parity)


def gates(report: GateReport) -> tuple[Gate, ...]:
    """Return the gates' results without their figures."""
    return tuple(Gate(gate=item.gate, status=item.status, reason=item.reason) for item in report.gates)


def target(report: CompileReport, chosen: CompiledPrecision, files: dict[str, FileEntry]) -> Target:
    """Describe the target of a compile report.

    Args:
        report: The compile report.
        chosen: Its precision that ships.
        files: The bundle's files by path; those of the compile lie below ``compiled/``.
    """
    contexts = tuple(files[f"{COMPILED_FOLDER}/{path}"] for path in chosen.context)
    encodings = None if chosen.encodings is None else (files[f"{COMPILED_FOLDER}/{chosen.encodings}"],)
    run, graph = report.on_device(chosen.precision), chosen.graph
    timed = run is not None and run.performance.latency_us is not None
    performance = run.performance if run is not None and timed else chosen.performance
    no_graph = unknown("the compile report has no graph of this precision")
    return Target(
        soc=report.target,
        soc_model=report.soc_model,
        id_confirmed=report.id_confirmed,
        architecture=report.architecture,
        precision=chosen.precision,
        tools=report.tools,
        flags=unknown("the compile report does not list the compiler's options; its manifest has the configuration"),
        artefacts=contexts,
        encodings=encodings or unknown("the compile report names no encodings"),
        latency=_latency(performance, run),
        memory_bytes=unknown("the vendor's estimate gives traffic to memory, not the working set"),
        ddr_read_bytes=_known(chosen.performance.ddr_read_bytes, chosen.performance.reason),
        ddr_write_bytes=_known(chosen.performance.ddr_write_bytes, chosen.performance.reason),
        npu_nodes=no_graph if graph is None else graph.npu_nodes,
        cpu_nodes=no_graph if graph is None else graph.cpu_nodes,
        measured_on=performance.measured_on,
    )


def step_record(manifest: Manifest, entry: FileEntry) -> StepRecord:
    """Describe the step behind a manifest that is packed as `entry`."""
    outside = unknown("the step ran outside a git checkout")
    return StepRecord(
        kind=manifest.kind,
        step_sha256=manifest.step_sha256,
        code_sha256=manifest.code.sha256,
        git_sha=manifest.code.git_sha or outside,
        git_dirty=outside if manifest.code.dirty is None else manifest.code.dirty,
        manifest=entry,
    )


def _entries(report: EvaluationReport, row: MetricsRow, thresholds: Thresholds, *, closed: bool) -> list[Evaluation]:
    no_interval = unknown("too few drives for an interval")
    return [
        Evaluation(
            planner=row.planner,
            loop="closed" if closed else "open",
            slice=row.slice,
            metric=metric,
            n=row.n,
            drives=row.drives,
            value=interval.value,
            low=no_interval if interval.low is None else interval.low,
            high=no_interval if interval.high is None else interval.high,
            threshold=_threshold(row, metric, thresholds, closed=closed),
            scorer_version=report.scorer_version,
            scorer_sha256=report.scorer_sha256,
            seeds=report.seeds,
        )
        for metric, interval in row.metrics.items()
    ]


def _threshold(row: MetricsRow, metric: str, thresholds: Thresholds, *, closed: bool) -> float | Unknown:
    asked = thresholds.float_model
    if row.planner == asked.planner:
        if closed and (row.slice, metric) == ("all", "collision_rate"):
            return asked.closed_loop_max_collision_rate
        limits = asked.slices.get(row.slice)
        if not closed and limits is not None and metric in ("ade_m", "fde_m"):
            return limits.ade_m if metric == "ade_m" else limits.fde_m
    return unknown("no threshold is written for this figure")


def _rung(rung: ParityRung) -> Rung:
    why = rung.reason or "the two are bit-identical"
    return Rung(
        name=rung.name,
        precision=rung.precision,
        status=rung.status,
        samples=rung.samples,
        sqnr_db=_known(rung.sqnr_db, why),
        max_abs_error=_known(rung.max_abs_error, why),
        threshold_db=_known(rung.threshold_db, why),
        reason=rung.reason or unknown("it passed"),
    )


def _latency(performance: Performance, run: DeviceRun | None) -> Latency:
    none = unknown(performance.reason or "the vendor gives no latency")
    why = "percentiles need a device; this is the vendor's simulation"
    percentiles = unknown(why)
    latency = performance.latency_us
    measured = run is not None and latency is not None and performance.measured_on == "device"
    return Latency(
        estimate_us=none if latency is None else latency.value,
        low_us=_known(None if latency is None else latency.low, none.reason),
        high_us=_known(None if latency is None else latency.high, none.reason),
        p50_us=latency.value if measured and latency is not None else percentiles,
        p99_us=_known(run.p99_us if measured and run is not None else None, why),
        max_us=_known(run.max_us if measured and run is not None else None, why),
    )


def _known(value: _Value | None, reason: str | None) -> _Value | Unknown:
    return unknown(reason or "the vendor gives none") if value is None else value
