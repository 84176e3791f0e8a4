"""How fast, how large and how hungry the artefact is: against float on the same chip, and against what was released last."""

from __future__ import annotations

from edge_compile.gate_case import Case, Verdict, figures, left_open, passes
from edge_compile.gate_parity import unlike_float
from platform_lib.evidence import CompiledPrecision, Interval, Performance


def judge_latency(case: Case) -> list[Verdict]:
    """G4 latency: compressed is faster than float."""
    name = case.thresholds.compression.reference_precision
    reference = case.compiled.precision(name)
    if case.chosen is None or reference is None:
        return left_open(f"no latency of both the chosen precision and {name}")
    ours, theirs = _performances(case, case.chosen, reference)
    for item, performance in ((case.chosen.precision, ours), (name, theirs)):
        if performance.measured_on == "not_run" or performance.latency_us is None:
            return left_open(f"{item} has no latency: {performance.reason or 'no reason given'}")
    if ours.latency_us is None or theirs.latency_us is None or ours.measured_on != theirs.measured_on:
        return left_open(
            f"{case.chosen.precision} on {ours.measured_on}, {name} on {theirs.measured_on}: not comparable"
        )
    said = f"{case.chosen.precision} {figures(ours.latency_us)} us, {name} {figures(theirs.latency_us)} us, " + (
        "vendor simulated, not measured" if ours.measured_on == "simulator" else "measured on the device"
    )
    if ours.reason is not None:
        return left_open(f"{said}: {ours.reason}")
    if not min(ours.latency_us.value, theirs.latency_us.value) > 0:
        return [Verdict("fail", f"{said}: no time at all")]
    found = _faster(ours.latency_us, theirs.latency_us, said)
    if found.status == "pass" and (wrong := unlike_float(case, name)):
        return left_open(f"{said}: {name} was not shown to compute what the model does: {wrong[0].text}")
    return [found]


def _performances(
    case: Case, chosen: CompiledPrecision, reference: CompiledPrecision
) -> tuple[Performance, Performance]:
    """Return what two precisions took on a board, where both were timed there; else as they were compiled."""
    measured = [case.compiled.on_device(item.precision) for item in (chosen, reference)]
    timed = [run.performance for run in measured if run is not None and run.performance.latency_us is not None]
    return (timed[0], timed[1]) if len(timed) == 2 else (chosen.performance, reference.performance)


def _faster(ours: Interval, theirs: Interval, said: str) -> Verdict:
    low, high = _ends(ours)
    their_low, their_high = _ends(theirs)
    if high < their_low:
        return Verdict("pass", said)
    if low <= their_high and ours.value < theirs.value:
        return Verdict("not_run", f"{said}: the bounds overlap and decide nothing; measure it on the device")
    return Verdict("fail", f"{said}: not faster")


def _ends(interval: Interval) -> tuple[float, float]:
    """Return the widest bounds there are: a value may lie outside its own interval."""
    ends = [end for end in (interval.value, interval.low, interval.high) if end is not None]
    return min(ends), max(ends)


def judge_regression(case: Case) -> list[Verdict]:
    """G4 regression: no slower, larger or hungrier than the last released artefact, beyond what is written."""
    asked, last = case.thresholds.compression.regression, case.thresholds.compression.released
    if last is None:
        return left_open("no released artefact was named to compare with (--released)")
    if case.chosen is None:
        return left_open("no precision was chosen")
    if last.target != case.compiled.target:
        return left_open(f"{last.model_name} was released for {last.target}, this is for {case.compiled.target}")
    item = case.chosen
    where = f"{item.precision} against {last.model_name} {last.precision} ({last.report_sha256[:12]})"
    time = item.performance.latency_us
    if (item.performance.measured_on, last.measured_on) in (("device", "simulator"), ("simulator", "device")):
        time_said = f"latency of {where}: on {item.performance.measured_on} and on {last.measured_on}, not comparable"
        speed = [Verdict("not_run", time_said)]
    else:
        ours_us = None if time is None else time.value
        speed = [_grown(f"latency in us of {where}", ours_us, last.latency_us, asked.max_latency_increase)]
    return [
        *speed,
        _grown(f"size in bytes of {where}", item.context_bytes or None, last.size_bytes, asked.max_size_increase),
        _grown(f"memory traffic in bytes of {where}", traffic_of(item), last.ddr_bytes, asked.max_traffic_increase),
    ]


def traffic_of(item: CompiledPrecision) -> int | None:
    """Return the bytes read from and written to memory per inference; None where one of them is unknown."""
    read, written = item.performance.ddr_read_bytes, item.performance.ddr_write_bytes
    return None if read is None or written is None else read + written


def _grown(where: str, ours: float | None, last: float | None, allowed: float) -> Verdict:
    if ours is None or last is None:
        return Verdict("not_run", f"{where}: {'not known' if ours is None else 'not known of the released artefact'}")
    limit = last * (1.0 + allowed)
    return passes(0.0 <= ours <= limit, f"{where}: {ours:g} after {last:g}, at most {limit:g}")
