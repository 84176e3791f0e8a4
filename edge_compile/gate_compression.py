"""What compression may cost, and whether the toolchain did what it was asked."""

from __future__ import annotations

from collections.abc import Sequence

from edge_compile.gate_case import Case, Verdict, left_open, passes
from platform_lib.evidence import EvaluationReport, MetricsRow

BASELINES = frozenset({"camera", "ego_only", "constant_velocity"})


def judge_margins(case: Case) -> list[Verdict]:
    """G4 margins: compression costs no slice more than its margin."""
    if case.compressed is None:
        return left_open("the compressed model was not evaluated")
    planner = compressed_planner(case.compressed)
    if planner is None:
        return left_open("the compressed evaluation does not name one compressed planner")
    asked = case.thresholds.compression
    margins = {"ade_m": asked.max_ade_increase_m, "fde_m": asked.max_fde_increase_m}
    found = []
    for name in case.thresholds.float_model.slices:
        one = case.evaluation.row(case.thresholds.float_model.planner, name)
        other = case.compressed.row(planner, name)
        found += [_grown(one, other, f"{planner}/{name} {metric}", metric, limit) for metric, limit in margins.items()]
    return found


def compressed_planner(report: EvaluationReport) -> str | None:
    """Name the planner a compressed evaluation is about: the one that is no baseline, else the camera planner."""
    names = {row.planner for row in report.open_loop}
    compressed = names - BASELINES
    if len(compressed) == 1:
        return compressed.pop()
    return "camera" if not compressed and "camera" in names else None


def _grown(one: MetricsRow | None, other: MetricsRow | None, where: str, metric: str, margin: float) -> Verdict:
    if one is None or other is None or metric not in one.metrics or metric not in other.metrics:
        return Verdict("not_run", f"{where} was not scored on both")
    if (one.n, one.drives) != (other.n, other.drives) or not one.n > 0:
        return Verdict("fail", f"{where}: float on {one.n} samples, compressed on {other.n}: not the same frames")
    before, after = one.metrics[metric].value, other.metrics[metric].value
    if not min(before, after) >= 0.0:
        return Verdict("fail", f"{where}: float {before}, compressed {after}: no distances")
    change = after - before
    return passes(change <= margin, f"{where} {change:+.3f} on the same {one.n} frames, margin {margin:g}")


def judge_npu(case: Case) -> list[Verdict]:
    """G4 NPU: every node on the NPU, none in float."""
    graph = None if case.chosen is None else case.chosen.graph
    if case.chosen is None or graph is None:
        return left_open("the compile report has no graph of a chosen precision")
    name = case.chosen.precision
    found = [
        passes(graph.npu_nodes > 0, f"{name}: {graph.npu_nodes} nodes on the NPU"),
        passes(graph.cpu_nodes == 0, f"{name}: {graph.cpu_nodes} nodes on the CPU"),
        _in_float(case, name, graph.float_nodes),
        passes(not graph.unsupported, f"{name}: {len(graph.unsupported)} nodes refused by the compiler"),
    ]
    return found


def _in_float(case: Case, name: str, nodes: Sequence[str]) -> Verdict:
    """Judge nodes that compute in float; one that is waived for a while is neither a failure nor a pass."""
    waived = {item.node: item for item in case.compiled.waivers if item.precision == name}
    if nodes and all(node in waived for node in nodes):
        until = min(waived[node].until for node in nodes)
        return Verdict("not_run", f"{name}: {len(nodes)} nodes compute in float, waived until {until}")
    return passes(not nodes, f"{name}: {len(nodes)} nodes compute in float")


def judge_toolchain(case: Case) -> list[Verdict]:
    """G4 toolchain: no silent failure of the toolchain."""
    if case.chosen is None:
        return left_open("no precision was chosen")
    checks = case.chosen.checks
    asked = case.thresholds.compression
    required = asked.required_checks_for.get(case.chosen.precision, asked.required_checks)
    missing = set(required) - {check.name for check in checks}
    found = [Verdict(check.status, f"{check.name}: {check.detail}") for check in checks]
    if not case.compiled.id_confirmed:
        found += left_open(f"the chip id {case.compiled.soc_model} of {case.compiled.target} is a guess")
    return found + [Verdict("not_run", f"no check '{name}' in the compile report") for name in sorted(missing)]
