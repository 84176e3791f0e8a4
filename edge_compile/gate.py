"""The gate: evidence judged against written thresholds. Pure: values in, a `GateReport` out.

Only ``pass`` passes. Evidence that is missing, too thin or of another artefact never is one. Every comparison is
written so that a number that is not finite fails it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from datetime import date

from edge_compile.gate_case import Case, Verdict, figures, left_open, passes
from edge_compile.gate_data import judge_contract, judge_drives, judge_near_duplicates, judge_pii, judge_places
from edge_compile.gate_dataset import dataset_facts
from edge_compile.gate_speed import judge_latency, judge_regression
from platform_lib.evaluation.rates import wilson
from platform_lib.evidence import (
    CompileReport,
    EvaluationReport,
    GateReport,
    GateResult,
    Interval,
    MetricsRow,
    ParityRung,
)
from platform_lib.handoff.gates import GATES, blocking, state_of, worst
from platform_lib.handoff.thresholds import FloatModel, RungFloor, Thresholds
from platform_lib.manifest import Manifest

__all__ = ["Thresholds", "judge"]

BASELINES = frozenset({"camera", "ego_only", "constant_velocity"})
# What an evaluation says of its scorer's own test begins so; how many cases passed follows, or anything else.
SELF_TEST = "scorer self-test:"
_SELF_TEST_PASSED = re.compile(
    r"scorer self-test: passed [1-9][0-9]* cases and caught [1-9][0-9]* planted wrong scorers"
)
_SHA256 = re.compile(r"[0-9a-f]{64}")
# The camera's ADE less the baseline's on the same frames, as the evaluation pairs them.
PAIRED = "ade_vs_ego_only_m"
# A reason names so many parts; all of them are in the evidence.
_SHOWN = 3


def judge(
    evaluation: EvaluationReport,
    compressed: EvaluationReport | None,
    compiled: CompileReport,
    dataset: Manifest,
    thresholds: Thresholds,
    *,
    scored: Manifest | None,
    rescored: Manifest | None,
    today: date | None = None,
) -> GateReport:
    """Judge every gate of `GATES`.

    Args:
        evaluation: Of the float model.
        compressed: Of the compressed model, by the same scorer on the same frames; None if it was not evaluated.
        compiled: What was compiled and compared.
        dataset: The manifest of the dataset both evaluations name.
        thresholds: What has to be reached.
        scored: The manifest of the float model's evaluation, whose inputs name the model; None if it has none. Its
            figures then fail where they are bad, and pass nothing.
        rescored: The same of the compressed model's.
        today: The day whose waivers hold; none holds without it.
    """
    case = Case(evaluation, compressed, compiled, scored, rescored, dataset_facts(dataset), thresholds)
    results = tuple(
        _waived(_result(gate, [*_JUDGES[gate](case), *_unvouched(case, gate)]), case, today) for gate in GATES
    )
    return GateReport(state=state_of(results), target=compiled.target, gates=results, blocking=blocking(results))


def _result(gate: str, verdicts: list[Verdict]) -> GateResult:
    status = worst(verdict.status for verdict in verdicts)
    deciding = [verdict.text for verdict in verdicts if verdict.status == status] or ["no evidence"]
    more = [f"and {len(deciding) - _SHOWN} more"] if len(deciding) > _SHOWN else []
    return GateResult(
        gate=gate,
        title=GATES[gate],
        status=status,
        reason="; ".join([*deciding[:_SHOWN], *more]),
        evidence=tuple(f"{verdict.status}: {verdict.text}" for verdict in verdicts),
    )


def _waived(result: GateResult, case: Case, today: date | None) -> GateResult:
    """Note on a gate that was not run until when a person has waived it; a failure is waived by nobody."""
    found = [
        item
        for item in case.thresholds.waivers
        if (item.gate, item.target) == (result.gate, case.compiled.target) and today is not None and today <= item.until
    ]
    if result.status != "not_run" or not found:
        return result
    last = max(found, key=lambda item: item.until)
    said = f"{result.reason}; waived until {last.until} by {last.approved_by}: {last.why}"
    return result.model_copy(update={"reason": said, "waived_until": last.until})


def _unvouched(case: Case, gate: str) -> list[Verdict]:
    """Keep a gate open whose evaluations lie there without the manifest that would show a change."""
    manifests = {"float": case.scored, "compressed": case.rescored}
    there = {"float": True, "compressed": case.compressed is not None}
    return [
        Verdict("not_run", f"no manifest beside the {name} evaluation says that its figures are as they were scored")
        for name in _RESTS_ON.get(gate, ())
        if there[name] and manifests[name] is None
    ]


# G0: evidence


def _judge_evidence(case: Case) -> list[Verdict]:
    digest = case.evaluation.dataset_sha256
    known = digest in case.facts.digests
    said = f"evaluation.dataset_sha256 {digest[:12]} is the dataset's"
    found = [
        passes(known, said if known else f"the evaluation is of another dataset ({digest[:12]})"),
        passes(case.evaluation.split == "test", f"evaluated on the split '{case.evaluation.split}'"),
        *_sound(case.evaluation, "float"),
        _same_model(case),
        _whole_split(case),
    ]
    if case.compressed is None:
        return [*found, *left_open("the compressed model was not evaluated")]
    pairs = (
        ("dataset", case.evaluation.dataset_sha256, case.compressed.dataset_sha256),
        ("split", case.evaluation.split, case.compressed.split),
        ("scorer version", case.evaluation.scorer_version, case.compressed.scorer_version),
        ("scorer", case.evaluation.scorer_sha256, case.compressed.scorer_sha256),
    )
    found += [passes(one == other, f"{name}: float {one[:12]}, compressed {other[:12]}") for name, one, other in pairs]
    # The float evaluation also drives in closed loop, with seeds of its own.
    strange = set(case.compressed.seeds) - set(case.evaluation.seeds)
    found.append(passes(not strange, f"{len(strange)} seeds of the compressed evaluation are not the float's"))
    return [*found, *_sound(case.compressed, "compressed"), _same_artefact(case, case.compressed)]


def _sound(report: EvaluationReport, name: str) -> list[Verdict]:
    """Judge what any evaluation has to have: digests that are digests, seeds, and no row twice."""
    digests = {"weights": report.weights_sha256, "dataset": report.dataset_sha256, "scorer": report.scorer_sha256}
    bad = [what for what, digest in digests.items() if _SHA256.fullmatch(digest) is None]
    found = [passes(not bad, f"{name} evaluation: {f'no digest of {bad[0]}' if bad else 'names what it scored'}")]
    for rows in (report.open_loop, report.closed_loop):
        keys = [(row.planner, row.slice) for row in rows]
        if twice := sorted({f"{planner}/{part}" for planner, part in keys if keys.count((planner, part)) > 1}):
            found.append(Verdict("fail", f"{name} evaluation: {twice[0]} is there twice"))
    return found if report.seeds else [*found, *left_open(f"{name} evaluation: names no seed")]


def _same_model(case: Case) -> Verdict:
    ours = case.compiled.onnx_sha256
    if case.scored is None:
        return Verdict("not_run", "no manifest beside the float evaluation says which model it scored")
    same = any(item.sha256 == ours for item in case.scored.inputs.values())
    said = f"the model compiled is {ours[:12]}, which the float evaluation {'scored' if same else 'did not score'}"
    return passes(same, said)


def _whole_split(case: Case) -> Verdict:
    row = case.evaluation.row(case.thresholds.float_model.planner, "all")
    proof = case.facts.proof
    if row is None or proof is None or not proof.samples.get("test"):
        return Verdict("not_run", "it cannot be said how much of the test split was evaluated")
    said = (
        f"{row.n} of {proof.samples['test']} test samples, {row.drives} of {len(proof.drives['test'])} drives evaluated"
    )
    if row.n > proof.samples["test"] or row.drives > len(proof.drives["test"]):
        return Verdict("fail", said)
    whole = (row.n, row.drives) == (proof.samples["test"], len(proof.drives["test"]))
    return Verdict("pass" if whole else "not_run", said)


def _same_artefact(case: Case, compressed: EvaluationReport) -> Verdict:
    qdq = None if case.chosen is None else case.chosen.qdq
    expected = None if qdq is None else case.compiled.digests.get(qdq)
    if expected is None:
        return Verdict("not_run", "the compile report names no digest of the compressed model")
    said = f"compressed evaluation scored {compressed.weights_sha256[:12]}, the compile report ships {expected[:12]}"
    return passes(compressed.weights_sha256 == expected, said)


# G2: scorer


def _judge_scorer(case: Case) -> list[Verdict]:
    reports = [("float", case.evaluation), *(() if case.compressed is None else [("compressed", case.compressed)])]
    found = []
    for name, report in reports:
        where = f"{name} evaluation, scorer {report.scorer_version} ({report.scorer_sha256[:12]})"
        lines = [line for line in report.findings if line.lower().startswith(SELF_TEST)]
        if not lines:
            found.append(Verdict("not_run", f"{where}: carries no self-test"))
        found += [passes(_SELF_TEST_PASSED.fullmatch(line) is not None, f"{where}: {line}") for line in lines]
    return found


# G3: the float model


def _judge_limits(case: Case) -> list[Verdict]:
    asked, found = case.thresholds.float_model, []
    for name, limits in asked.slices.items():
        row = case.evaluation.row(asked.planner, name)
        for metric, limit in (("ade_m", limits.ade_m), ("fde_m", limits.fde_m)):
            found.append(_within(row, f"{asked.planner}/{name} {metric}", metric, limit, asked))
    return found


def _within(row: MetricsRow | None, where: str, metric: str, limit: float, asked: FloatModel) -> Verdict:
    if row is None or metric not in row.metrics:
        return Verdict("not_run", f"{where} was not scored")
    interval = row.metrics[metric]
    said = f"{where} {figures(interval)}, limit {limit:g}, n {row.n}, {row.drives} drives"
    if not 0.0 <= interval.value <= limit:  # a mean beyond the limit needs no interval to fail
        return Verdict("fail", said)
    if (thin := _too_thin(row, asked)) or interval.high is None:
        return Verdict("not_run", f"{said}: {thin or 'no interval'}")
    if limit < interval.high < math.inf:
        return Verdict("not_run", f"{said}: within the limit, but too few drives to show it")
    return passes(interval.high <= limit, said)


def _too_thin(row: MetricsRow, asked: FloatModel) -> str:
    """Say what a slice lacks before its figures are believed; nothing if it has enough."""
    if not row.drives >= asked.min_drives:
        return f"too few drives (at least {asked.min_drives})"
    return "" if row.n >= asked.min_samples else f"too few samples (at least {asked.min_samples})"


def _judge_camera(case: Case) -> list[Verdict]:
    asked, found = case.thresholds.float_model, []
    for name in (asked.scene, *asked.scene_slices):
        row = case.evaluation.row(asked.planner, name)
        pair = None if row is None else row.metrics.get(PAIRED)
        if row is None or pair is None or not row.n > 0:
            found.append(Verdict("not_run", f"{name}: {asked.planner} and {asked.baseline} were not paired"))
            continue
        said = f"{name} ({row.n} frames of {row.drives} drives): {PAIRED} {figures(pair)}"
        thin = _too_thin(row, asked)
        found.append(Verdict("not_run", f"{said}: {thin}") if thin else _paired(pair, said, pooled=name == asked.scene))
    return found


def _paired(pair: Interval, said: str, *, pooled: bool) -> Verdict:
    """Judge camera less baseline: the pooled slice has to be better beyond doubt, its parts not worse beyond doubt."""
    if pair.low is None or pair.high is None:
        return Verdict("not_run", f"{said}: no interval")
    if not all(math.isfinite(number) for number in (pair.value, pair.low, pair.high)) or pair.low > 0:
        return Verdict("fail", f"{said}: worse beyond doubt")
    if pooled and not (pair.high < 0 and pair.value < 0):
        return Verdict(
            "not_run", f"{said}: neither better nor worse is shown, it takes more drives or a better planner"
        )
    return Verdict("pass", f"{said}: {'better beyond doubt' if pair.high < 0 else 'not shown to be worse'}")


def _judge_closed_loop(case: Case) -> list[Verdict]:
    asked = case.thresholds.float_model
    limit = asked.closed_loop_max_collision_rate
    rows = [r for r in case.evaluation.closed_loop if (r.planner, r.slice) == (asked.planner, "all")]
    if len(rows) != 1 or "collision_rate" not in rows[0].metrics or not rows[0].n > 0:
        return left_open(f"{asked.planner} was not driven in closed loop")
    rate = rows[0].metrics["collision_rate"]
    if not 0.0 <= rate.value <= 1.0:
        return [Verdict("fail", f"collision_rate {rate.value} is no rate")]
    high = wilson(rate.value, rows[0].n)[1]
    said = (
        f"{asked.planner} collision_rate {rate.value:.3f} in {rows[0].n} episodes, "
        f"95 % upper bound {high:.3f}, limit {limit:g}"
    )
    if not rate.value <= limit:
        return [Verdict("fail", said)]
    return [Verdict("pass", said) if high <= limit else Verdict("not_run", f"{said}: too few episodes to show it")]


def _judge_champion(case: Case) -> list[Verdict]:
    report = case.evaluation.champion
    if report is None:
        return left_open("there is no champion to compare with")
    if report.champion_sha256 == case.compiled.onnx_sha256:
        return left_open(f"{report.champion} is this model itself: nothing is not inferior to itself")
    found = [
        Verdict(
            item.status,
            f"{report.champion}: {item.metric} on {item.slice} {figures(item.difference)}, margin {item.margin:g}: {item.reason}",
        )
        for item in report.comparisons
    ]
    compared = {item.slice for item in report.comparisons}
    missing = sorted({"all", *case.thresholds.float_model.scene_slices} - compared)
    return found + [Verdict("not_run", f"{report.champion}: not compared on {name}") for name in missing]


# G4: compression


def _judge_margins(case: Case) -> list[Verdict]:
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


def _judge_npu(case: Case) -> list[Verdict]:
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


def _judge_toolchain(case: Case) -> list[Verdict]:
    if case.chosen is None:
        return left_open("no precision was chosen")
    checks = case.chosen.checks
    missing = set(case.thresholds.compression.required_checks) - {check.name for check in checks}
    found = [Verdict(check.status, f"{check.name}: {check.detail}") for check in checks]
    if not case.compiled.id_confirmed:
        found += left_open(f"the chip id {case.compiled.soc_model} of {case.compiled.target} is a guess")
    return found + [Verdict("not_run", f"no check '{name}' in the compile report") for name in sorted(missing)]


# G5: parity


def _judge_ladder(case: Case) -> list[Verdict]:
    if case.compiled.chosen is None:
        return left_open("no precision was chosen")
    asked = case.thresholds.parity
    found = [_rung(case, floor) for floor in asked.rungs]
    named = {floor.name for floor in (*asked.rungs, asked.device_rung)}
    extra = [r for r in case.compiled.parity if r.precision in ("fp32", case.compiled.chosen) and r.name not in named]
    return found + [Verdict(rung.status, f"{rung.name}: {_db(rung)}") for rung in extra]


def _judge_device(case: Case) -> list[Verdict]:
    if case.compiled.chosen is None:
        return left_open("no precision was chosen")
    return [_rung(case, case.thresholds.parity.device_rung)]


def _rung(case: Case, floor: RungFloor) -> Verdict:
    precision = "fp32" if "fp32" in floor.min_db else str(case.compiled.chosen)
    where = f"{floor.name} ({precision})"
    if precision not in floor.min_db:
        return Verdict("not_run", f"{where}: no floor is written for this precision")
    rungs = [rung for rung in case.compiled.parity if (rung.name, rung.precision) == (floor.name, precision)]
    if not rungs:
        return Verdict("not_run", f"{where}: was not run")
    if len(rungs) > 1:
        return Verdict("fail", f"{where}: {len(rungs)} results contradict each other")
    return _rung_verdict(rungs[0], where, floor.min_db[precision], floor.min_samples)


def _rung_verdict(rung: ParityRung, where: str, floor_db: float, min_samples: int) -> Verdict:
    if rung.status != "pass":
        return Verdict(rung.status, f"{where}: {rung.reason}")
    needed_db = floor_db if rung.threshold_db is None else max(floor_db, rung.threshold_db)
    said = f"{where}: {_db(rung)}, needs {needed_db:g} dB, {rung.samples} samples"
    if not rung.samples >= min_samples:
        return Verdict("not_run", f"{said}: at least {min_samples} needed")
    if rung.sqnr_db is None:
        return passes(rung.max_abs_error == 0.0, f"{said}, max_abs_error {rung.max_abs_error}")
    return passes(rung.sqnr_db >= needed_db, said)


def _db(rung: ParityRung) -> str:
    if rung.sqnr_db is not None:
        return f"{rung.sqnr_db:.1f} dB"
    return "bit-identical" if rung.status == "pass" and rung.max_abs_error == 0.0 else "no SQNR"


# G6 to G8


def _judge_reproduce(case: Case) -> list[Verdict]:
    del case
    return left_open("no second build was compared")


def _judge_approval(case: Case) -> list[Verdict]:
    del case
    return left_open("no person has approved; two have to")


def _judge_deployment(case: Case) -> list[Verdict]:
    del case
    return left_open("nothing has been deployed")


_RESTS_ON = {
    "G0 evidence": ("float", "compressed"),
    "G2 scorer": ("float", "compressed"),
    "G3 limits": ("float",),
    "G3 camera": ("float",),
    "G3 closed loop": ("float",),
    "G4 margins": ("float", "compressed"),
}
"""Whose evaluation's figures decide a gate."""
_JUDGES: dict[str, Callable[[Case], list[Verdict]]] = {
    "G0 evidence": _judge_evidence,
    "G0 PII": judge_pii,
    "G0 contract": judge_contract,
    "G1 drives": judge_drives,
    "G1 near-duplicates": judge_near_duplicates,
    "G1 places": judge_places,
    "G2 scorer": _judge_scorer,
    "G3 limits": _judge_limits,
    "G3 camera": _judge_camera,
    "G3 closed loop": _judge_closed_loop,
    "G3 champion": _judge_champion,
    "G4 margins": _judge_margins,
    "G4 NPU": _judge_npu,
    "G4 latency": judge_latency,
    "G4 regression": judge_regression,
    "G4 toolchain": _judge_toolchain,
    "G5 ladder": _judge_ladder,
    "G5 device": _judge_device,
    "G6 reproduce": _judge_reproduce,
    "G7 approval": _judge_approval,
    "G8 deployment": _judge_deployment,
}
