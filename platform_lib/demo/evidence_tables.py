"""Evidence as rows a page or a terminal can show: one place that turns figures into text. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from platform_lib.demo.charts import label_of
from platform_lib.evidence import CompileReport, EvaluationReport, Interval, MetricsRow, ParityRung

_LADDER_TOP_DB = 100.0


@dataclass(frozen=True, slots=True)
class Cell:
    """One figure; `best` marks the winner of its row."""

    text: str
    best: bool = False


@dataclass(frozen=True, slots=True)
class SliceRow:
    """One slice of the metrics table."""

    slice: str
    n: int
    drives: int
    cells: tuple[Cell, ...]


def planners_of(*reports: EvaluationReport | None) -> list[str]:
    """Name the open-loop planners in the order they were reported."""
    return list(dict.fromkeys(row.planner for report in reports if report for row in report.open_loop))


def slice_rows(report: EvaluationReport, compressed: EvaluationReport | None) -> list[SliceRow]:
    """Lay the planners side by side for each slice: first ADE / FDE, then collision rate."""
    planners = planners_of(report, compressed)
    rows = [*report.open_loop, *(compressed.rows_beside(report) if compressed else ())]
    result = []
    for name in dict.fromkeys(row.slice for row in rows):
        found = {row.planner: row for row in rows if row.slice == name}
        first = next(iter(found.values()))
        cells = [
            *_cells([_displacement(found.get(planner)) for planner in planners]),
            *_cells([_share(found.get(planner)) for planner in planners]),
        ]
        result.append(SliceRow(name.replace("_", " "), first.n, first.drives, tuple(cells)))
    return result


def _displacement(row: MetricsRow | None) -> tuple[float | None, str]:
    ade, fde = (row.metrics.get(name) if row else None for name in ("ade_m", "fde_m"))
    if ade is None or fde is None:
        return None, "not measured"
    return round(ade.value, 2), f"{ade.value:.2f} / {fde.value:.2f}"


def _share(row: MetricsRow | None) -> tuple[float | None, str]:
    rate = row.metrics.get("collision_rate") if row else None
    return (None, "not measured") if rate is None else (round(rate.value, 3), f"{100 * rate.value:.1f} %")


def _cells(figures: Sequence[tuple[float | None, str]]) -> list[Cell]:
    """Mark the smallest as it is shown: what reads the same is the same."""
    known = [value for value, _ in figures if value is not None]
    best = min(known, default=None)
    several = len(set(known)) > 1
    return [Cell(text, best=several and value is not None and value == best) for value, text in figures]


@dataclass(frozen=True, slots=True)
class IntervalCell:
    """A figure and, where it is known, its interval."""

    text: str
    interval: str = ""


def interval_cell(value: Interval | None, *, digits: int = 2) -> IntervalCell:
    """Write a value and its interval."""
    if value is None:
        return IntervalCell("not measured")
    text = f"{value.value:.{digits}f}"
    if value.low is None or value.high is None:
        return IntervalCell(text)
    return IntervalCell(text, f"{value.low:.{digits}f} to {value.high:.{digits}f}")


@dataclass(frozen=True, slots=True)
class LadderRow:
    """One rung, with the bar's and the mark's place in percent of the ladder's top."""

    name: str
    precision: str
    status: str
    bar: float | None
    mark: float | None
    text: str
    error: str
    samples: int


def ladder_rows(rungs: Sequence[ParityRung]) -> list[LadderRow]:
    """Turn rungs into rows; a rung without a figure says why."""
    return [_ladder_row(rung) for rung in rungs]


def _ladder_row(rung: ParityRung) -> LadderRow:
    mark = None if rung.threshold_db is None else min(100.0, 100.0 * rung.threshold_db / _LADDER_TOP_DB)
    error = "" if rung.max_abs_error is None else f"{rung.max_abs_error:.3g}"
    if rung.sqnr_db is not None:
        bar, text = max(0.0, min(100.0, 100.0 * rung.sqnr_db / _LADDER_TOP_DB)), f"{rung.sqnr_db:.1f} dB"
        if rung.threshold_db is not None:
            text += f", at least {rung.threshold_db:.0f}"
    elif rung.status == "pass":
        bar, text = 100.0, "bit-identical"
    else:
        bar, text = None, rung.reason or ""
    return LadderRow(rung.name, rung.precision, rung.status, bar, mark, text, error, rung.samples)


@dataclass(frozen=True, slots=True)
class PrecisionRow:
    """One compiled precision."""

    precision: str
    latency: str
    bounds: str
    ddr: str
    size: str
    nodes: str
    note: str


def precision_rows(report: CompileReport) -> list[PrecisionRow]:
    """Describe each compiled precision: the vendor's simulated latency, memory traffic, size and placement."""
    rows = []
    for item in report.precisions:
        speed, graph = item.performance, item.graph
        latency = speed.latency_us
        known = latency is not None and latency.low is not None and latency.high is not None
        rows.append(
            PrecisionRow(
                precision=item.precision,
                latency=f"{latency.value:.0f} us" if latency else f"unknown: {speed.reason}",
                bounds=f"{latency.low:.0f} to {latency.high:.0f}" if latency and known else "",
                ddr=bytes_text(speed.ddr_read_bytes),
                size=bytes_text(item.context_bytes),
                nodes=f"{graph.npu_nodes} / {graph.cpu_nodes}" if graph else "unknown",
                note="chosen" if item.precision == report.chosen else "",
            )
        )
    return rows


def bytes_text(count: int | None) -> str:
    """Write a byte count for people; unknown stays unknown."""
    if count is None:
        return "unknown"
    for unit, size in (("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.2f} {unit}"
    return f"{count} B"


def planner_label(planner: str) -> str:
    """Return a planner's name for a table head."""
    return label_of(planner)
