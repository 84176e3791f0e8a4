"""The page beside a compile: precisions, their front, the ladder, why a tensor is wide, what was rewritten. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape

from edge_compile.messages import SearchReport
from edge_compile.parity import ONNX_TARGET
from platform_lib.evidence import CompileReport, SharedContext

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "table{border-collapse:collapse;margin:.5rem 0 1.5rem}td,th{padding:.2rem .8rem .2rem 0;text-align:left;vertical-align:top}"
    "th{border-bottom:1px solid #999}.pass{color:#176b2c}.fail{color:#a11}.not_run{color:#8a5a00}"
)
_WIDTH, _HEIGHT, _EDGE = 640, 320, 56
_TABLE_ROWS = 200


@dataclass(frozen=True, slots=True)
class Point:
    """One precision in the picture: how long it takes, how close it comes to the float model, how large it is."""

    name: str
    latency_us: float
    sqnr_db: float
    size_kib: float


def points_of(report: CompileReport) -> tuple[Point, ...]:
    """Return the precisions with both a latency and an SQNR on the target; bit-identical ones have none."""
    ratios = {rung.precision: rung.sqnr_db for rung in report.parity if rung.name == ONNX_TARGET}
    found = []
    for item in report.precisions:
        latency, ratio = item.performance.latency_us, ratios.get(item.precision)
        if latency is not None and ratio is not None:
            found.append(Point(item.precision, latency.value, ratio, item.context_bytes / 1024))
    return tuple(found)


def front_of(points: Iterable[Point]) -> tuple[Point, ...]:
    """Return the points that no other beats in latency and in SQNR both, the fastest first."""
    found: list[Point] = []
    for point in sorted(points, key=lambda item: (item.latency_us, -item.sqnr_db)):
        if not found or point.sqnr_db > found[-1].sqnr_db:
            found.append(point)
    return tuple(found)


def page(report: CompileReport, search: SearchReport | None) -> str:
    """Return the page as HTML of its own, without a clock and without anything from elsewhere."""
    title = f"{report.model_name} for {report.target}"
    unconfirmed = "" if report.id_confirmed else ", unconfirmed"
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p>Chip id {report.soc_model} ({escape(report.architecture)}){unconfirmed}; chosen: "
        f"<b>{escape(report.chosen or 'none, no precision passed')}</b>. Times are {_kind_of_times(report)}.</p>",
        "<h2>Precisions</h2>",
        _precisions(report),
        _picture(points_of(report), report.chosen),
        "<h2>Parity ladder</h2>",
        _ladder(report),
    ]
    if report.shared is not None:
        parts += ["<h2>One binary for several chips</h2>", _shared(report.shared)]
    if report.device:
        parts += ["<h2>On a board</h2>", _device(report)]
    if search is not None:
        parts += ["<h2>Why a tensor is in 16 bits</h2>", _search(search)]
    if report.rewrites:
        rows = [(item.name, item.layer or "the model", item.what) for item in report.rewrites]
        parts += ["<h2>Rewritten, and proven equal</h2>", _table(("rewrite", "layer", "what"), rows)]
    parts += ["<h2>Notes</h2>", "<ul>", *(f"<li>{escape(note)}</li>" for note in report.notes), "</ul>"]
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'


def _kind_of_times(report: CompileReport) -> str:
    if any(item.performance.measured_on == "device" for item in report.precisions):
        return f"measured on {escape(report.tools['device'])} by {escape(report.tools['runner'])}"
    return "the vendor's simulation"


def _precisions(report: CompileReport) -> str:
    ratios = {rung.precision: rung for rung in report.parity if rung.name == ONNX_TARGET}
    rows = []
    for item in report.precisions:
        rung, latency = ratios.get(item.precision), item.performance.latency_us
        failed = [check.name for check in item.checks if check.status == "fail"]
        rows.append(
            (
                item.precision,
                "not run" if rung is None or rung.status == "not_run" else _decibel(rung.sqnr_db),
                f"{latency.value:g} us" if latency else f"unknown: {item.performance.reason}",
                f"{item.context_bytes / 1024:.0f} KiB" if item.context else "-",
                ", ".join(failed) or "none",
                "yes" if item.precision == report.chosen else "",
            )
        )
    return _table(("precision", "SQNR on the target", "time", "size", "failed checks", "chosen"), rows)


def _ladder(report: CompileReport) -> str:
    rows = [
        (rung.name, rung.precision, rung.status, str(rung.samples), _decibel(rung.sqnr_db), rung.reason or "")
        for rung in report.parity
    ]
    return _table(("rung", "precision", "verdict", "samples", "SQNR", "reason"), rows)


def _shared(shared: SharedContext) -> str:
    chips = ", ".join(f"{name} ({soc})" for name, soc in zip(shared.targets, shared.soc_models, strict=True))
    said = f"{shared.precision} for {chips}, ids read back: {', '.join(shared.context)}, {shared.context_bytes / 1024:.0f} KiB"
    rows = [(rung.name, rung.status, rung.reason or "") for rung in shared.parity]
    return f"<p>{escape(said)}</p>" + _table(("rung", "verdict", "reason"), rows)


def _device(report: CompileReport) -> str:
    rows = []
    for run in report.device:
        latency = run.performance.latency_us
        time = run.performance.reason or "" if latency is None else f"{latency.value:g} us, median of {run.timed}"
        tail = "-" if run.p99_us is None else f"{run.p99_us:g} us"
        rows.append((run.precision, f"{run.board} ({run.machine})", time, tail, run.measured_by, run.key_id[:16]))
    return _table(("precision", "board", "measured time", "99 %", "measured by", "key"), rows)


def _search(search: SearchReport) -> str:
    wide = [item for item in search.tensors if item.bits == 16]
    said = f"{len(wide)} of {len(search.tensors)} tensors need 16 bits for {search.tolerance_db:g} dB in simulation"
    said += "" if search.reached else "; the tolerance is not reached even so"
    said += "; the budget ended before every tensor was measured" if search.stopped else ""
    steps = [(str(step.wide), _decibel(step.sqnr_db)) for step in search.steps]
    rows = [(item.layer, item.tensor, str(item.bits), item.why) for item in search.tensors[:_TABLE_ROWS]]
    more = len(search.tensors) - len(rows)
    tail = f"<p>{more} more in mixed.search.json.</p>" if more else ""
    return (
        f"<p>{escape(said)}.</p>"
        + _table(("wide tensors", "SQNR in simulation"), steps)
        + _table(("layer", "tensor", "bits", "why"), rows)
        + tail
    )


def _picture(points: Sequence[Point], chosen: str | None) -> str:
    if len(points) < 2:
        return "<p>No picture: fewer than two precisions have both a time and an SQNR.</p>"
    front = front_of(points)
    across = _scale([point.latency_us for point in points], _EDGE, _WIDTH - _EDGE)
    up = _scale([point.sqnr_db for point in points], _HEIGHT - _EDGE, _EDGE)
    line = " ".join(f"{across(point.latency_us):.1f},{up(point.sqnr_db):.1f}" for point in front)
    marks = []
    for point in points:
        x, y = across(point.latency_us), up(point.sqnr_db)
        colour = "#176b2c" if point.name == chosen else "#1f5fa8"
        said = f"{point.name}: {point.latency_us:g} us, {point.sqnr_db:.1f} dB, {point.size_kib:.0f} KiB"
        marks.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{colour}"><title>{escape(said)}</title></circle>'
            f'<text x="{x + 8:.1f}" y="{y - 8:.1f}" font-size="13">{escape(point.name)}</text>'
        )
    floor, left = _HEIGHT - _EDGE + 24, _EDGE - 24
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" role="img" aria-label="time against closeness">'
        f'<path d="M{left} {_EDGE // 2}V{floor}H{_WIDTH - 8}" fill="none" stroke="#999"/>'
        f'<text x="{_WIDTH - 8}" y="{_HEIGHT - 8}" text-anchor="end" font-size="12">simulated time, us</text>'
        f'<text x="{left + 6}" y="{_EDGE // 2 - 4}" font-size="12">SQNR on the target, dB</text>'
        f'<polyline points="{line}" fill="none" stroke="#bbb" stroke-dasharray="4 3"/>{"".join(marks)}</svg>'
        f"<p>On the front: {escape(', '.join(point.name for point in front))}.</p>"
    )


def _scale(values: Sequence[float], start: float, stop: float) -> Callable[[float], float]:
    low = min(values)
    span = (max(values) - low) or 1.0
    return lambda value: start + (value - low) / span * (stop - start)


def _decibel(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} dB"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    verdicts = ("pass", "fail", "not_run")
    body = "".join(
        "<tr>"
        + "".join(f'<td class="{cell}">{cell}</td>' if cell in verdicts else f"<td>{escape(cell)}</td>" for cell in row)
        + "</tr>"
        for row in rows
    )
    return f"<table><tr>{''.join(f'<th>{escape(head)}</th>' for head in heads)}</tr>{body}</table>"
