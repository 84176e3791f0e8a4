"""The page beside a compile: precisions, their front, the ladder, why a tensor is wide, what was rewritten. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from edge_compile.front_picture import Axes, Point, picture
from edge_compile.messages import LayerReport, SearchReport
from edge_compile.parity import ONNX_TARGET
from edge_compile.task_slices import worst_of
from platform_lib.evidence import CompiledPrecision, CompileReport, Interval, ParityRung, SharedContext

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "table{border-collapse:collapse;margin:.5rem 0 1.5rem}td,th{padding:.2rem .8rem .2rem 0;text-align:left;vertical-align:top}"
    "td:first-child{white-space:nowrap}th{border-bottom:1px solid #999}.pass{color:#176b2c}.fail{color:#a11}.not_run{color:#8a5a00}"
)
_TABLE_ROWS = 200


def points_of(report: CompileReport) -> tuple[Point, ...]:
    """Return the precisions with both a latency and an SQNR on the target; bit-identical ones have none."""
    ratios = {rung.precision: rung.sqnr_db for rung in report.parity if rung.name == ONNX_TARGET}
    found = []
    for item in report.precisions:
        latency, ratio = item.performance.latency_us, ratios.get(item.precision)
        if latency is not None and ratio is not None:
            kib = item.context_bytes / 1024
            said = f"{item.precision}: {latency.value:g} us, {ratio:.1f} dB, {kib:.0f} KiB"
            found.append(Point(item.precision, latency.value, ratio, said))
    return tuple(found)


def page(report: CompileReport, search: SearchReport | None, layers: Sequence[LayerReport] = ()) -> str:
    """Return the page as HTML of its own, without a clock and without anything from elsewhere."""
    title = f"{report.model_name} for {report.target}"
    unconfirmed = "" if report.id_confirmed else ", unconfirmed"
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p>Chip id {report.soc_model} ({escape(report.architecture)}){unconfirmed}; chosen: "
        f"<b>{escape(report.chosen or 'none, no precision passed')}</b>. Times are {_kind_of_times(report)}.</p>",
        "<h2>Precisions</h2>",
        _precisions(report),
        picture(
            points_of(report), report.chosen, Axes("simulated time, us", "SQNR on the target, dB"), kind="precisions"
        ),
        "<h2>Parity ladder</h2>",
        _ladder(report),
    ]
    if layers:
        parts += ["<h2>Layer by layer</h2>", *(_layers(item) for item in layers)]
    if report.task:
        parts += ["<h2>The task, slice by slice</h2>", task_table(report)]
    if report.techniques:
        parts += ["<h2>How it was quantized</h2>", _techniques(report)]
    if report.shared is not None:
        parts += ["<h2>One binary for several chips</h2>", _shared(report.shared)]
    if report.device:
        parts += ["<h2>On a board</h2>", _device(report)]
    if search is not None:
        parts += ["<h2>What the search weighed</h2>", _candidates(search)]
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
        rows.append(
            (
                item.precision,
                "not run" if rung is None else _ratio(rung),
                _time(latency) if latency else f"unknown: {item.performance.reason}",
                f"{item.context_bytes / 1024:.0f} KiB" if item.context else "-",
                _verdict(item),
                "yes" if item.precision == report.chosen else "",
            )
        )
    short = [
        (item.precision, check.name, check.status, check.detail)
        for item in report.precisions
        for check in item.checks
        if check.status != "pass"
    ]
    table = _table(("precision", "SQNR on the target", "time", "size", "checks", "chosen"), rows)
    return table + (_table(("precision", "check", "verdict", "what"), short) if short else "")


def _verdict(item: CompiledPrecision) -> str:
    """Say what a precision's checks came to: a check that was not run is no pass."""
    if not item.checks:
        return "none"
    failed, left = (sum(check.status == status for check in item.checks) for status in ("fail", "not_run"))
    said = [f"{count} {words}" for count, words in ((failed, "failed"), (left, "not run")) if count]
    return ", ".join(said) or "pass"


def _time(latency: Interval) -> str:
    bounds = "" if latency.low is None or latency.high is None else f" ({latency.low:g} to {latency.high:g})"
    return f"{latency.value:g} us{bounds}"


def _ratio(rung: ParityRung) -> str:
    """Return a rung's SQNR; equal bytes have none, and say so."""
    if rung.status == "not_run":
        return "not run"
    return "identical" if rung.sqnr_db is None and rung.status == "pass" else _decibel(rung.sqnr_db)


def _ladder(report: CompileReport) -> str:
    rows = [
        (
            rung.name,
            rung.precision,
            rung.status,
            str(rung.samples),
            _ratio(rung),
            "-" if rung.threshold_db is None else f"{rung.threshold_db:g} dB",
            "-" if rung.max_abs_error is None else f"{rung.max_abs_error:.3g}",
            "-" if rung.cosine is None else f"{rung.cosine:.4f}",
            rung.reason or "",
        )
        for rung in report.parity
    ]
    return _table(
        ("rung", "precision", "verdict", "samples", "SQNR", "needs", "largest error", "cosine", "reason"), rows
    )


def _layers(found: LayerReport) -> str:
    title = f"<h3>{escape(found.rung)}, {escape(found.precision)}</h3>"
    if found.not_run is not None:
        return f"{title}<p>Not run: {escape(found.not_run)}</p>"
    broken = found.first_break
    first = f"the first below {found.threshold_db:g} dB is {broken.layer}" if broken else "none is broken"
    rows = []
    for row in found.rows[:_TABLE_ROWS]:
        ratio = "NaN or infinity" if not row.finite else "identical" if row.sqnr_db is None else _decibel(row.sqnr_db)
        error = "-" if row.max_abs_error is None else f"{row.max_abs_error:.3g}"
        marks = ("in the order NHWC " if row.layout != "same" else "") + ("broken" if found.broken(row) else "")
        rows.append((row.layer, row.tensor, ratio, error, f"{row.cosine:.4f}", marks))
    more = len(found.rows) - len(rows)
    return (
        f"{title}<p>{found.samples} samples, {len(found.rows)} layers; {escape(first)}.</p>"
        + f"<details{' open' if broken else ''}><summary>Layers</summary>"
        + _table(("layer", "tensor", "SQNR", "largest error", "cosine", ""), rows)
        + (f"<p>{more} more in {escape(found.precision)}.by_layer.json.</p>" if more > 0 else "")
        + "</details>"
    )


def task_table(report: CompileReport) -> str:
    """Return the metric of each precision by slice, the worst slice of each said first."""
    first = report.task[0]
    unit = f" {first.unit}" if first.unit else ""
    truth = "labels" if first.truth == "labels" else "the float model's answers"
    said = f"{first.metric} against {truth}; each slice may be {first.tolerance:g}{unit} worse than float, the worst decides."
    worst = []
    for name in dict.fromkeys(item.precision for item in report.task):
        found = worst_of(report.task, name)
        if found is not None:
            worst.append(f"{name}: '{found.slice}' {found.status}")
    rows = [
        (item.precision, item.engine, item.slice, item.status, str(item.n), *map(_figure, (item.float_value, item.value, item.loss)),
         item.reason or "")
        for item in report.task
    ]  # fmt: skip
    heads = ("precision", "engine", "slice", "verdict", "samples", "float", "here", f"worse by{unit}", "reason")
    return f"<p>{escape(said)} Worst slice: {escape('; '.join(worst))}.</p>" + _table(heads, rows)


def _techniques(report: CompileReport) -> str:
    rows = [
        (
            item.precision,
            item.techniques,
            _decibel(item.sqnr_db),
            _figure(item.loss),
            "yes" if item.enough else "no",
            "yes" if item.taken else "",
            item.said,
        )
        for item in report.techniques
    ]
    heads = ("precision", "technique", "SQNR in simulation", "worst slice loses", "within tolerance", "taken", "what")
    return _table(heads, rows)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _shared(shared: SharedContext) -> str:
    chips = ", ".join(f"{name} ({soc})" for name, soc in zip(shared.targets, shared.soc_models, strict=True))
    said = f"{shared.precision} for {chips}, ids read back: {', '.join(shared.context)}, {shared.context_bytes / 1024:.0f} KiB"
    rows = [(rung.name, rung.status, rung.reason or "") for rung in shared.parity]
    return f"<p>{escape(said)}</p>" + _table(("rung", "verdict", "reason"), rows)


def _candidates(search: SearchReport) -> str:
    """Show every candidate, and the front of those that were compiled: what it costs against how close it is."""
    by_size = search.minimise == "size" or all(item.latency_us is None for item in search.candidates)
    axes = Axes("binary, KiB" if by_size else "simulated time, us", "SQNR in simulation, dB")
    points = []
    for item in search.candidates:
        cost = None if item.size_bytes is None else item.size_bytes / 1024 if by_size else item.latency_us
        if cost is not None and item.sqnr_db is not None and item.refused is None:
            points.append(Point(item.name, cost, item.sqnr_db, f"{item.name}: {cost:g}, {item.sqnr_db:.1f} dB"))
    rows = [
        (
            item.name,
            f"{len(item.wide)} of {len(search.tensors)}",
            f"{len(item.coarse)} of {len(search.weights)}",
            _decibel(item.sqnr_db),
            "-" if item.loss is None else f"{item.loss:.3g} ('{item.slice}')",
            "-" if item.latency_us is None else f"{item.latency_us:g} us",
            "-" if item.size_bytes is None else f"{item.size_bytes / 1024:.0f} KiB",
            item.refused or ("" if item.enough else "outside the tolerance"),
            "yes" if item.chosen else "",
        )
        for item in search.candidates
    ]
    heads = (
        "mix",
        "in 16 bits",
        "weights in 4",
        "SQNR",
        "worst slice loses",
        "time",
        "size",
        "left out because",
        "chosen",
    )
    chosen = next((item.name for item in search.candidates if item.chosen), None)
    return picture(points, chosen, axes, kind="compiled candidates") + _table(heads, rows)


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
