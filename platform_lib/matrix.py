"""Models x targets x precisions: what was compiled, how close it is, how fast, and the evidence behind each cell. Pure."""

from __future__ import annotations

from html import escape
from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from platform_lib.evidence import CompileReport, Interval

_FLOAT = "fp16"
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem;color:#222}table{border-collapse:collapse}"
    "td,th{padding:.25rem .9rem .25rem 0;text-align:left}th{border-bottom:1px solid #999}"
    "a{color:inherit}.pass{color:#176b2c}.fail{color:#a11}.not_run{color:#8a5a00}"
)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Row(_Strict):
    """One precision of one model on one target.

    Attributes:
        sqnr_db: Against the float model, on the target's emulator; None where it is identical or was not run.
        verdict: ``pass`` where every check and every rung of its own passed, ``fail`` where one failed.
        measured_on: Where the latency comes from.
        task: The metric that was asked for, with its unit; None where none was.
        slices: Slice -> how much worse than float the precision is there, on the target where it was run on it; None
            where it is unknown.
        worst: The slice that lost most of what it may.
        profile: The file that the latency was read from, in the cell's folder; None where there is none.
        binary: The file whose size it is; None where nothing was compiled.
    """

    precision: str
    sqnr_db: float | None
    latency_us: Interval | None
    measured_on: str
    size_bytes: int
    verdict: str
    task: str | None = None
    slices: dict[str, float | None] = Field(default_factory=dict)
    worst: str | None = None
    profile: str | None = None
    binary: str | None = None

    @classmethod
    def of(cls, report: CompileReport) -> tuple[Self, ...]:
        """Return a report's rows."""
        found = []
        for item in report.precisions:
            rungs = [rung for rung in report.parity if rung.precision == item.precision]
            slices = _slices_of(report, item.precision)
            known = {name: loss for name, loss in slices.items() if loss is not None}
            first = next((score for score in report.task if score.precision == item.precision), None)
            ratio = next((rung.sqnr_db for rung in rungs if rung.name == "onnx->target"), None)
            asked = [check for check in item.checks if (item.precision, check.name) != (_FLOAT, "no_float_islands")]
            states = {check.status for check in asked} | {rung.status for rung in rungs}
            states |= {score.status for score in report.task if score.precision == item.precision}
            verdict = "fail" if "fail" in states else "not_run" if "not_run" in states or not rungs else "pass"
            found.append(
                cls(
                    precision=item.precision,
                    sqnr_db=ratio,
                    latency_us=item.performance.latency_us,
                    measured_on=item.performance.measured_on,
                    size_bytes=item.context_bytes,
                    verdict=verdict,
                    task=None if first is None else f"{first.metric} {first.unit}".rstrip(),
                    slices=slices,
                    worst=max(known, key=lambda name: known[name]) if known else None,
                    profile=next((name for name in report.digests if name == f"{item.precision}.profile.csv"), None),
                    binary=item.context[-1] if item.context else None,
                )
            )
        return tuple(found)


def _slices_of(report: CompileReport, precision: str) -> dict[str, float | None]:
    """Return how much each slice loses, by the engine nearest to the chip that answered for it."""
    found: dict[str, float | None] = {}
    for engine in ("simulation", "qdq", "target"):
        scores = [score for score in report.task if (score.precision, score.engine) == (precision, engine)]
        found |= {score.slice: score.loss for score in scores if score.loss is not None or score.slice not in found}
    return found


class Cell(_Strict):
    """One model on one target.

    Attributes:
        refused: Why nothing was compiled.
        skipped: It was up to date, and nothing ran.
        folder: Its evidence, relative to the matrix.
    """

    model: str
    target: str
    refused: str | None
    skipped: bool
    chosen: str | None
    folder: str
    rows: tuple[Row, ...]


class Matrix(_Strict):
    """All cells: ``matrix.json``."""

    schema_version: int = 1
    cells: tuple[Cell, ...]

    @property
    def whole(self) -> bool:
        """Whether every cell has a precision that passed."""
        return all(cell.chosen is not None for cell in self.cells)


def _behind(cell: Cell, file: str | None, text: str) -> str:
    """Link a figure to the file that it was read from."""
    return text if file is None else f'<a href="{escape(cell.folder)}/{escape(file)}">{text}</a>'


def _said_of_slices(row: Row) -> str:
    """Say what each slice loses, the worst one first."""
    if not row.slices:
        return "no task metric"
    order = sorted(row.slices, key=lambda name: (name != row.worst, name))
    losses = ((name, row.slices[name]) for name in order)
    said = ", ".join(f"{name} {'unknown' if loss is None else f'{loss:.3g}'}" for name, loss in losses)
    return escape(f"{row.task}: {said}")


def _said_of_time(row: Row) -> str:
    """Say the time with its bounds, and whether it was measured: one page may hold both kinds."""
    found = row.latency_us
    if found is None:
        return "unknown"
    bounds = "" if found.low is None or found.high is None else f" ({found.low:g} to {found.high:g})"
    return f"{found.value:g}{bounds} {'on a device' if row.measured_on == 'device' else 'simulated'}"


def matrix_page(matrix: Matrix) -> str:
    """Return the matrix as one HTML page; each figure links to the file of evidence that lies behind it."""
    heads = (
        *("model", "target", "precision", "SQNR on the target", "worse than float, by slice", "time, us", "KiB"),
        *("checks and ladder", "chosen"),
    )
    lines = []
    for cell in matrix.cells:
        link = f'<a href="{escape(cell.folder)}/report.html">{escape(cell.model)}</a>'
        if cell.refused is not None:
            said = f'<td colspan="7" class="fail">refused: {escape(cell.refused)}</td>'
            lines.append(f"<tr><td>{escape(cell.model)}</td><td>{escape(cell.target)}</td>{said}</tr>")
        for row in cell.rows:
            ratio = "-" if row.sqnr_db is None else f"{row.sqnr_db:.1f} dB"
            time = _said_of_time(row)
            values = (
                *(link, escape(cell.target), escape(row.precision)),
                _behind(cell, "report.json", ratio),
                _behind(cell, "report.html" if row.slices else None, _said_of_slices(row)),
                _behind(cell, row.profile, time),
                _behind(cell, row.binary, f"{row.size_bytes / 1024:.0f}"),
            )
            chosen = "yes" if row.precision == cell.chosen else ""
            gate = _behind(cell, "report.html", row.verdict)
            tail = f'<td class="{row.verdict}">{gate}</td><td>{chosen}</td>'
            lines.append("<tr>" + "".join(f"<td>{value}</td>" for value in values) + tail + "</tr>")
    head = "".join(f"<th>{name}</th>" for name in heads)
    said = "A simulated time is the vendor's estimate, not measured on a device; SQNR is against the float model. What passes here was compiled soundly; whether it may ship is judged by `drivetrain gate`. Each figure links to its file."
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Models and targets</title><style>{_STYLE}'
        f"</style></head><body><h1>Models and targets</h1><p>{said}</p><table><tr>{head}</tr>{''.join(lines)}</table>"
        "</body></html>\n"
    )
