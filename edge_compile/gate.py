"""The gate: evidence judged against written thresholds. Pure: values in, a `GateReport` out.

Only ``pass`` passes. Evidence that is missing, too thin or of another artefact never is one. Every comparison is
written so that a number that is not finite fails it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import combinations

from edge_compile.gate_dataset import DatasetFacts, dataset_facts
from platform_lib.contracts.evidence import ContractEvidence
from platform_lib.datasets.proof import SplitProof
from platform_lib.datasets.splits import PAIRS, Split
from platform_lib.evaluation.rates import wilson
from platform_lib.evidence import (
    CompiledPrecision,
    CompileReport,
    EvaluationReport,
    GateReport,
    GateResult,
    Interval,
    MetricsRow,
    ParityRung,
    Status,
)
from platform_lib.handoff.gates import GATES, blocking, state_of, worst
from platform_lib.handoff.thresholds import FloatModel, RungFloor, Splits, Thresholds
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
_SPLIT_PAIRS = tuple(f"{one}/{other}" for one, other in PAIRS)
# A reason names so many parts; all of them are in the evidence.
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class _Verdict:
    """One finding of a gate: its status and, in words with the figures, why."""

    status: Status
    text: str


@dataclass(frozen=True, slots=True)
class _Case:
    """All that is judged."""

    evaluation: EvaluationReport
    compressed: EvaluationReport | None
    compiled: CompileReport
    scored: Manifest | None
    rescored: Manifest | None
    facts: DatasetFacts
    thresholds: Thresholds

    @property
    def chosen(self) -> CompiledPrecision | None:
        """The compiled precision that ships."""
        return None if self.compiled.chosen is None else self.compiled.precision(self.compiled.chosen)


def judge(
    evaluation: EvaluationReport,
    compressed: EvaluationReport | None,
    compiled: CompileReport,
    dataset: Manifest,
    thresholds: Thresholds,
    *,
    scored: Manifest | None,
    rescored: Manifest | None,
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
    """
    case = _Case(evaluation, compressed, compiled, scored, rescored, dataset_facts(dataset), thresholds)
    results = tuple(_result(gate, [*_JUDGES[gate](case), *_unvouched(case, gate)]) for gate in GATES)
    return GateReport(state=state_of(results), target=compiled.target, gates=results, blocking=blocking(results))


def _result(gate: str, verdicts: list[_Verdict]) -> GateResult:
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


def _unvouched(case: _Case, gate: str) -> list[_Verdict]:
    """Keep a gate open whose evaluations lie there without the manifest that would show a change."""
    manifests = {"float": case.scored, "compressed": case.rescored}
    there = {"float": True, "compressed": case.compressed is not None}
    return [
        _Verdict("not_run", f"no manifest beside the {name} evaluation says that its figures are as they were scored")
        for name in _RESTS_ON.get(gate, ())
        if there[name] and manifests[name] is None
    ]


def _passes(condition: bool, text: str) -> _Verdict:  # noqa: FBT001 - the condition is the sentence
    return _Verdict("pass" if condition else "fail", text)


def _open(text: str) -> list[_Verdict]:
    return [_Verdict("not_run", text)]


def _figures(interval: Interval) -> str:
    if interval.low is None or interval.high is None:
        return f"{interval.value:.3f} (no interval)"
    return f"{interval.value:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


# G0: evidence, PII, contract


def _judge_evidence(case: _Case) -> list[_Verdict]:
    digest = case.evaluation.dataset_sha256
    known = digest in case.facts.digests
    said = f"evaluation.dataset_sha256 {digest[:12]} is the dataset's"
    found = [
        _passes(known, said if known else f"the evaluation is of another dataset ({digest[:12]})"),
        _passes(case.evaluation.split == "test", f"evaluated on the split '{case.evaluation.split}'"),
        *_sound(case.evaluation, "float"),
        _same_model(case),
        _whole_split(case),
    ]
    if case.compressed is None:
        return [*found, *_open("the compressed model was not evaluated")]
    pairs = (
        ("dataset", case.evaluation.dataset_sha256, case.compressed.dataset_sha256),
        ("split", case.evaluation.split, case.compressed.split),
        ("scorer version", case.evaluation.scorer_version, case.compressed.scorer_version),
        ("scorer", case.evaluation.scorer_sha256, case.compressed.scorer_sha256),
    )
    found += [_passes(one == other, f"{name}: float {one[:12]}, compressed {other[:12]}") for name, one, other in pairs]
    # The float evaluation also drives in closed loop, with seeds of its own.
    strange = set(case.compressed.seeds) - set(case.evaluation.seeds)
    found.append(_passes(not strange, f"{len(strange)} seeds of the compressed evaluation are not the float's"))
    return [*found, *_sound(case.compressed, "compressed"), _same_artefact(case, case.compressed)]


def _sound(report: EvaluationReport, name: str) -> list[_Verdict]:
    """Judge what any evaluation has to have: digests that are digests, seeds, and no row twice."""
    digests = {"weights": report.weights_sha256, "dataset": report.dataset_sha256, "scorer": report.scorer_sha256}
    bad = [what for what, digest in digests.items() if _SHA256.fullmatch(digest) is None]
    found = [_passes(not bad, f"{name} evaluation: {f'no digest of {bad[0]}' if bad else 'names what it scored'}")]
    for rows in (report.open_loop, report.closed_loop):
        keys = [(row.planner, row.slice) for row in rows]
        if twice := sorted({f"{planner}/{part}" for planner, part in keys if keys.count((planner, part)) > 1}):
            found.append(_Verdict("fail", f"{name} evaluation: {twice[0]} is there twice"))
    return found if report.seeds else [*found, *_open(f"{name} evaluation: names no seed")]


def _same_model(case: _Case) -> _Verdict:
    ours = case.compiled.onnx_sha256
    if case.scored is None:
        return _Verdict("not_run", "no manifest beside the float evaluation says which model it scored")
    same = any(item.sha256 == ours for item in case.scored.inputs.values())
    said = f"the model compiled is {ours[:12]}, which the float evaluation {'scored' if same else 'did not score'}"
    return _passes(same, said)


def _whole_split(case: _Case) -> _Verdict:
    row = case.evaluation.row(case.thresholds.float_model.planner, "all")
    proof = case.facts.proof
    if row is None or proof is None or not proof.samples.get("test"):
        return _Verdict("not_run", "it cannot be said how much of the test split was evaluated")
    said = (
        f"{row.n} of {proof.samples['test']} test samples, {row.drives} of {len(proof.drives['test'])} drives evaluated"
    )
    if row.n > proof.samples["test"] or row.drives > len(proof.drives["test"]):
        return _Verdict("fail", said)
    whole = (row.n, row.drives) == (proof.samples["test"], len(proof.drives["test"]))
    return _Verdict("pass" if whole else "not_run", said)


def _same_artefact(case: _Case, compressed: EvaluationReport) -> _Verdict:
    qdq = None if case.chosen is None else case.chosen.qdq
    expected = None if qdq is None else case.compiled.digests.get(qdq)
    if expected is None:
        return _Verdict("not_run", "the compile report names no digest of the compressed model")
    said = f"compressed evaluation scored {compressed.weights_sha256[:12]}, the compile report ships {expected[:12]}"
    return _passes(compressed.weights_sha256 == expected, said)


def _judge_pii(case: _Case) -> list[_Verdict]:
    states, proof = case.facts.pii_states, case.facts.proof
    if not states or proof is None:
        return _open("the dataset's manifest counts no pii_state")
    said = "samples by pii_state: " + ", ".join(f"{state} {count}" for state, count in sorted(states.items()))
    if not states.keys() <= {"none_present", "blurred"}:
        return [_Verdict("fail", said)]
    uncounted = [split for split, n in proof.samples.items() if sum(proof.pii_states.get(split, {}).values()) != n]
    if uncounted or any(count < 0 for of in proof.pii_states.values() for count in of.values()):
        return [_Verdict("fail", f"{said}; but {sum(proof.samples.values())} samples in all")]
    if states.get("blurred"):
        return _judge_blur(case, said)
    return _open("the dataset has no samples") if not sum(states.values()) else [_Verdict("pass", said)]


def _judge_blur(case: _Case, said: str) -> list[_Verdict]:
    """Judge the blur of the samples by the recall that the dataset's manifest carries for it."""
    recall, asked = case.facts.blur_recall, case.thresholds.privacy
    if recall is None:
        return _open(f"{said}; the recall of the blur was not measured")
    if case.facts.blur_configs != {recall.config_sha256}:
        return _open(f"{said}; the recall measured is of another blur configuration")
    where = f"{recall.labels_name} {recall.labels_version} ({recall.labels_sha256[:12]})"
    if asked is None:
        return _open(f"{said}; no recall is written as threshold, measured on {where}")
    found = []
    for kind, least in asked.min_blur_recall.items():
        item = recall.kinds.get(kind)
        if item is None:
            found.append(_Verdict("not_run", f"{said}; {kind}: no box is labelled in {where}"))
            continue
        told = f"{kind}: {item.blurred} of {item.labelled} blurred on {where}, at least {item.lower_bound:.3f}, limit {least:g}"
        if item.lower_bound >= least and recall.composed:
            found.append(_Verdict("not_run", f"{told}; but its pictures are composed, not recorded"))
        else:
            found.append(_passes(item.lower_bound >= least, told))
    return found


def _judge_contract(case: _Case) -> list[_Verdict]:
    found, proof = case.facts.contracts, case.facts.proof
    if found is None or proof is None:
        return _open("the dataset's manifest carries no evidence of data contracts that can be read")
    verdicts = []
    for item in found.contracts:
        said = (
            f"{item.contract_id} {item.version} ({item.sha256[:12]}), {item.rules} rules on {_subjects(item)}: "
            f"{item.errors} errors, {item.warnings} warnings"
        )
        if item.errors:
            verdicts.append(_Verdict("fail", said))
        elif item.not_run or not item.rules:
            verdicts.append(_Verdict("not_run", f"{said}, {item.not_run} rules found nothing to measure"))
        else:
            verdicts.append(_Verdict("pass", said))
    levels = {item.level for item in found.contracts}
    lacking = [f"no contract on {what}" for what in ("file", "lake", "dataset") if what not in levels]
    drives = sum(len(of) for of in proof.drives.values())
    if found.drives != drives:
        lacking.append(f"contracts were held against {found.drives} drives, and the dataset has {drives}")
    if found.uncovered:
        lacking.append(f"{len(found.uncovered)} drives lack files under contract, {found.uncovered[0]} the first")
    return [*verdicts, *(_Verdict("not_run", text) for text in lacking)]


def _subjects(item: ContractEvidence) -> str:
    return f"{item.subjects} files" if item.level == "file" else f"the {item.level}"


# G1, G2: splits and scorer


def _judge_drives(case: _Case) -> list[_Verdict]:
    proof = case.facts.proof
    if proof is None:
        return _open("the dataset's manifest carries no split proof that can be read")
    members = {split: set(drives) for split, drives in proof.drives.items()}
    said = "drives by split: " + ", ".join(f"{split} {len(drives)}" for split, drives in sorted(members.items()))
    empty = [split for split in ("train", "val", "test") if not proof.drives.get(split)]
    shared = {drive for one, other in combinations(members, 2) for drive in members[one] & members[other]}
    files = {split: {file for held in of.values() for file in held} for split, of in proof.files.items()}
    shared |= {file for one, other in combinations(files, 2) for file in files[one] & files[other]}
    counted = {**proof.shared_drives, **proof.shared_content}
    if shared or any(count != 0 for count in counted.values()):
        return [_Verdict("fail", f"{said}; in two splits: {', '.join(sorted(shared)[:5]) or counted}")]
    if empty:
        return _open(f"{said}; {', '.join(empty)} is empty")
    unlisted = [d for split, of in members.items() for d in sorted(of) if not proof.files.get(split, {}).get(d)]
    if unlisted:
        return _open(f"{said}; no log file of {unlisted[0]} is listed")
    if len(proof.shared_content) < len(list(combinations(members, 2))):
        return _open(f"{said}; images were not compared between every two splits")
    return [_Verdict("pass", f"{said}; no drive, log file or image is in two")]


def _judge_near_duplicates(case: _Case) -> list[_Verdict]:
    found = None if case.facts.proof is None else case.facts.proof.near_duplicates
    if case.facts.proof is None or found is None:
        return _open("no search for near-duplicate frames across splits was run")
    asked = case.thresholds.splits
    frames = ", ".join(f"{split} {count}" for split, count in found.compared.items())
    nearest = min((bits for bits in found.nearest_bits.values() if bits is not None), default=None)
    said = f"{found.method}, up to {found.max_bits} of them different; frames compared: {frames}" + (
        "" if nearest is None else f"; the nearest two differ in {nearest}"
    )
    verdicts = [_nowhere(found.across, said)]
    if found.max_bits < asked.near_duplicate_bits:
        verdicts += _open(f"searched for {found.max_bits} bits, {asked.near_duplicate_bits} are asked")
    return verdicts + _known_share(case.facts.proof, found.compared, found.featureless, asked, "a picture to compare")


def _judge_places(case: _Case) -> list[_Verdict]:
    proof = case.facts.proof
    if proof is None or proof.places is None or proof.trips is None:
        return _open("the split does not look at where and when drives were driven")
    asked, places, trips = case.thresholds.splits, proof.places, proof.trips
    cells = ", ".join(f"{split} {count}" for split, count in places.cells.items())
    verdicts = [
        _nowhere(places.shared, f"{places.cell}; cells: {cells}"),
        _nowhere(trips.shared, f"a vehicle's recordings less than {trips.gap_s} s apart are one trip"),
    ]
    if places.reach_m is None or not places.reach_m >= asked.place_reach_m:
        verdicts += _open(f"places are compared up to {places.reach_m} m, {asked.place_reach_m:g} are asked")
    if trips.gap_s < asked.trip_gap_s:
        verdicts += _open(f"trips are joined up to {trips.gap_s} s, {asked.trip_gap_s} are asked")
    if trips.unnamed:
        verdicts += _open(f"no log names the vehicle of {len(trips.unnamed)} drives, {trips.unnamed[0]} first")
    return verdicts + _known_share(proof, places.positioned, places.unpositioned, asked, "a position")


def _nowhere(shared: Mapping[str, int], said: str) -> _Verdict:
    """Judge counts of what two splits share: every pair has to be there, and zero."""
    missing = [pair for pair in _SPLIT_PAIRS if pair not in shared]
    if found := [f"{pair} {count}" for pair, count in shared.items() if count != 0]:
        return _Verdict("fail", f"{said}; shared: {', '.join(found)}")
    return _Verdict("not_run", f"{said}; not compared: {', '.join(missing)}") if missing else _Verdict("pass", said)


def _known_share(
    proof: SplitProof, known: Mapping[Split, int], unknown: Mapping[Split, int], asked: Splits, what: str
) -> list[_Verdict]:
    """Judge whether enough of each split could be compared; what was counted has to be all there is."""
    found = []
    for split, samples in proof.samples.items():
        have, lack = known.get(split, 0), unknown.get(split, 0)
        if min(have, lack) < 0 or have + lack != samples or not samples:
            found.append(_Verdict("not_run", f"{split}: {have} with {what} and {lack} without, of {samples} samples"))
        elif lack > asked.max_unknown_share * samples:
            found.append(_Verdict("not_run", f"{split}: {lack} of {samples} samples without {what}"))
    return found


def _judge_scorer(case: _Case) -> list[_Verdict]:
    reports = [("float", case.evaluation), *(() if case.compressed is None else [("compressed", case.compressed)])]
    found = []
    for name, report in reports:
        where = f"{name} evaluation, scorer {report.scorer_version} ({report.scorer_sha256[:12]})"
        lines = [line for line in report.findings if line.lower().startswith(SELF_TEST)]
        if not lines:
            found.append(_Verdict("not_run", f"{where}: carries no self-test"))
        found += [_passes(_SELF_TEST_PASSED.fullmatch(line) is not None, f"{where}: {line}") for line in lines]
    return found


# G3: the float model


def _judge_limits(case: _Case) -> list[_Verdict]:
    asked, found = case.thresholds.float_model, []
    for name, limits in asked.slices.items():
        row = case.evaluation.row(asked.planner, name)
        for metric, limit in (("ade_m", limits.ade_m), ("fde_m", limits.fde_m)):
            found.append(_within(row, f"{asked.planner}/{name} {metric}", metric, limit, asked))
    return found


def _within(row: MetricsRow | None, where: str, metric: str, limit: float, asked: FloatModel) -> _Verdict:
    if row is None or metric not in row.metrics:
        return _Verdict("not_run", f"{where} was not scored")
    interval = row.metrics[metric]
    said = f"{where} {_figures(interval)}, limit {limit:g}, n {row.n}, {row.drives} drives"
    if not 0.0 <= interval.value <= limit:  # a mean beyond the limit needs no interval to fail
        return _Verdict("fail", said)
    if (thin := _too_thin(row, asked)) or interval.high is None:
        return _Verdict("not_run", f"{said}: {thin or 'no interval'}")
    if limit < interval.high < math.inf:
        return _Verdict("not_run", f"{said}: within the limit, but too few drives to show it")
    return _passes(interval.high <= limit, said)


def _too_thin(row: MetricsRow, asked: FloatModel) -> str:
    """Say what a slice lacks before its figures are believed; nothing if it has enough."""
    if not row.drives >= asked.min_drives:
        return f"too few drives (at least {asked.min_drives})"
    return "" if row.n >= asked.min_samples else f"too few samples (at least {asked.min_samples})"


def _judge_camera(case: _Case) -> list[_Verdict]:
    asked, found = case.thresholds.float_model, []
    for name in (asked.scene, *asked.scene_slices):
        row = case.evaluation.row(asked.planner, name)
        pair = None if row is None else row.metrics.get(PAIRED)
        if row is None or pair is None or not row.n > 0:
            found.append(_Verdict("not_run", f"{name}: {asked.planner} and {asked.baseline} were not paired"))
            continue
        said = f"{name} ({row.n} frames of {row.drives} drives): {PAIRED} {_figures(pair)}"
        thin = _too_thin(row, asked)
        found.append(
            _Verdict("not_run", f"{said}: {thin}") if thin else _paired(pair, said, pooled=name == asked.scene)
        )
    return found


def _paired(pair: Interval, said: str, *, pooled: bool) -> _Verdict:
    """Judge camera less baseline: the pooled slice has to be better beyond doubt, its parts not worse beyond doubt."""
    if pair.low is None or pair.high is None:
        return _Verdict("not_run", f"{said}: no interval")
    if not all(math.isfinite(number) for number in (pair.value, pair.low, pair.high)) or pair.low > 0:
        return _Verdict("fail", f"{said}: worse beyond doubt")
    if pooled and not (pair.high < 0 and pair.value < 0):
        return _Verdict(
            "not_run", f"{said}: neither better nor worse is shown, it takes more drives or a better planner"
        )
    return _Verdict("pass", f"{said}: {'better beyond doubt' if pair.high < 0 else 'not shown to be worse'}")


def _judge_closed_loop(case: _Case) -> list[_Verdict]:
    asked = case.thresholds.float_model
    limit = asked.closed_loop_max_collision_rate
    rows = [r for r in case.evaluation.closed_loop if (r.planner, r.slice) == (asked.planner, "all")]
    if len(rows) != 1 or "collision_rate" not in rows[0].metrics or not rows[0].n > 0:
        return _open(f"{asked.planner} was not driven in closed loop")
    rate = rows[0].metrics["collision_rate"]
    if not 0.0 <= rate.value <= 1.0:
        return [_Verdict("fail", f"collision_rate {rate.value} is no rate")]
    high = wilson(rate.value, rows[0].n)[1]
    said = (
        f"{asked.planner} collision_rate {rate.value:.3f} in {rows[0].n} episodes, "
        f"95 % upper bound {high:.3f}, limit {limit:g}"
    )
    if not rate.value <= limit:
        return [_Verdict("fail", said)]
    return [_Verdict("pass", said) if high <= limit else _Verdict("not_run", f"{said}: too few episodes to show it")]


def _judge_champion(case: _Case) -> list[_Verdict]:
    del case
    return _open("there is no champion to compare with")


# G4: compression


def _judge_margins(case: _Case) -> list[_Verdict]:
    if case.compressed is None:
        return _open("the compressed model was not evaluated")
    planner = compressed_planner(case.compressed)
    if planner is None:
        return _open("the compressed evaluation does not name one compressed planner")
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


def _grown(one: MetricsRow | None, other: MetricsRow | None, where: str, metric: str, margin: float) -> _Verdict:
    if one is None or other is None or metric not in one.metrics or metric not in other.metrics:
        return _Verdict("not_run", f"{where} was not scored on both")
    if (one.n, one.drives) != (other.n, other.drives) or not one.n > 0:
        return _Verdict("fail", f"{where}: float on {one.n} samples, compressed on {other.n}: not the same frames")
    before, after = one.metrics[metric].value, other.metrics[metric].value
    if not min(before, after) >= 0.0:
        return _Verdict("fail", f"{where}: float {before}, compressed {after}: no distances")
    change = after - before
    return _passes(change <= margin, f"{where} {change:+.3f} on the same {one.n} frames, margin {margin:g}")


def _judge_npu(case: _Case) -> list[_Verdict]:
    graph = None if case.chosen is None else case.chosen.graph
    if case.chosen is None or graph is None:
        return _open("the compile report has no graph of a chosen precision")
    name = case.chosen.precision
    found = [
        _passes(graph.npu_nodes > 0, f"{name}: {graph.npu_nodes} nodes on the NPU"),
        _passes(graph.cpu_nodes == 0, f"{name}: {graph.cpu_nodes} nodes on the CPU"),
        _passes(not graph.float_nodes, f"{name}: {len(graph.float_nodes)} nodes compute in float"),
        _passes(not graph.unsupported, f"{name}: {len(graph.unsupported)} nodes refused by the compiler"),
    ]
    return found


def _judge_latency(case: _Case) -> list[_Verdict]:
    name = case.thresholds.compression.reference_precision
    reference = case.compiled.precision(name)
    if case.chosen is None or reference is None:
        return _open(f"no latency of both the chosen precision and {name}")
    ours, theirs = case.chosen.performance, reference.performance
    for item, performance in ((case.chosen.precision, ours), (name, theirs)):
        if performance.measured_on == "not_run" or performance.latency_us is None:
            return _open(f"{item} has no latency: {performance.reason or 'no reason given'}")
    if ours.latency_us is None or theirs.latency_us is None or ours.measured_on != theirs.measured_on:
        return _open(f"{case.chosen.precision} on {ours.measured_on}, {name} on {theirs.measured_on}: not comparable")
    said = f"{case.chosen.precision} {_figures(ours.latency_us)} us, {name} {_figures(theirs.latency_us)} us, " + (
        "vendor simulated, not measured" if ours.measured_on == "simulator" else "measured on the device"
    )
    if ours.reason is not None:
        return _open(f"{said}: {ours.reason}")
    if not min(ours.latency_us.value, theirs.latency_us.value) > 0:
        return [_Verdict("fail", f"{said}: no time at all")]
    return [_faster(ours.latency_us, theirs.latency_us, said)]


def _faster(ours: Interval, theirs: Interval, said: str) -> _Verdict:
    low, high = _ends(ours)
    their_low, their_high = _ends(theirs)
    if high < their_low:
        return _Verdict("pass", said)
    if low <= their_high and ours.value < theirs.value:
        return _Verdict("not_run", f"{said}: the bounds overlap and decide nothing; measure it on the device")
    return _Verdict("fail", f"{said}: not faster")


def _ends(interval: Interval) -> tuple[float, float]:
    """Return the widest bounds there are: a value may lie outside its own interval."""
    ends = [end for end in (interval.value, interval.low, interval.high) if end is not None]
    return min(ends), max(ends)


def _judge_toolchain(case: _Case) -> list[_Verdict]:
    if case.chosen is None:
        return _open("no precision was chosen")
    checks = case.chosen.checks
    missing = set(case.thresholds.compression.required_checks) - {check.name for check in checks}
    found = [_Verdict(check.status, f"{check.name}: {check.detail}") for check in checks]
    if not case.compiled.id_confirmed:
        found += _open(f"the chip id {case.compiled.soc_model} of {case.compiled.target} is a guess")
    return found + [_Verdict("not_run", f"no check '{name}' in the compile report") for name in sorted(missing)]


# G5: parity


def _judge_ladder(case: _Case) -> list[_Verdict]:
    if case.compiled.chosen is None:
        return _open("no precision was chosen")
    asked = case.thresholds.parity
    found = [_rung(case, floor) for floor in asked.rungs]
    named = {floor.name for floor in (*asked.rungs, asked.device_rung)}
    extra = [r for r in case.compiled.parity if r.precision == case.compiled.chosen and r.name not in named]
    return found + [_Verdict(rung.status, f"{rung.name}: {_db(rung)}") for rung in extra]


def _judge_device(case: _Case) -> list[_Verdict]:
    if case.compiled.chosen is None:
        return _open("no precision was chosen")
    return [_rung(case, case.thresholds.parity.device_rung)]


def _rung(case: _Case, floor: RungFloor) -> _Verdict:
    precision = "fp32" if "fp32" in floor.min_db else str(case.compiled.chosen)
    where = f"{floor.name} ({precision})"
    if precision not in floor.min_db:
        return _Verdict("not_run", f"{where}: no floor is written for this precision")
    rungs = [rung for rung in case.compiled.parity if (rung.name, rung.precision) == (floor.name, precision)]
    if not rungs:
        return _Verdict("not_run", f"{where}: was not run")
    if len(rungs) > 1:
        return _Verdict("fail", f"{where}: {len(rungs)} results contradict each other")
    return _rung_verdict(rungs[0], where, floor.min_db[precision], floor.min_samples)


def _rung_verdict(rung: ParityRung, where: str, floor_db: float, min_samples: int) -> _Verdict:
    if rung.status != "pass":
        return _Verdict(rung.status, f"{where}: {rung.reason}")
    needed_db = floor_db if rung.threshold_db is None else max(floor_db, rung.threshold_db)
    said = f"{where}: {_db(rung)}, needs {needed_db:g} dB, {rung.samples} samples"
    if not rung.samples >= min_samples:
        return _Verdict("not_run", f"{said}: at least {min_samples} needed")
    if rung.sqnr_db is None:
        return _passes(rung.max_abs_error == 0.0, f"{said}, max_abs_error {rung.max_abs_error}")
    return _passes(rung.sqnr_db >= needed_db, said)


def _db(rung: ParityRung) -> str:
    if rung.sqnr_db is not None:
        return f"{rung.sqnr_db:.1f} dB"
    return "bit-identical" if rung.status == "pass" and rung.max_abs_error == 0.0 else "no SQNR"


# G6 to G8


def _judge_reproduce(case: _Case) -> list[_Verdict]:
    del case
    return _open("no second build was compared")


def _judge_approval(case: _Case) -> list[_Verdict]:
    del case
    return _open("no person has approved; two have to")


def _judge_deployment(case: _Case) -> list[_Verdict]:
    del case
    return _open("nothing has been deployed")


_RESTS_ON = {
    "G0 evidence": ("float", "compressed"),
    "G2 scorer": ("float", "compressed"),
    "G3 limits": ("float",),
    "G3 camera": ("float",),
    "G3 closed loop": ("float",),
    "G4 margins": ("float", "compressed"),
}
"""Whose evaluation's figures decide a gate."""
_JUDGES: dict[str, Callable[[_Case], list[_Verdict]]] = {
    "G0 evidence": _judge_evidence,
    "G0 PII": _judge_pii,
    "G0 contract": _judge_contract,
    "G1 drives": _judge_drives,
    "G1 near-duplicates": _judge_near_duplicates,
    "G1 places": _judge_places,
    "G2 scorer": _judge_scorer,
    "G3 limits": _judge_limits,
    "G3 camera": _judge_camera,
    "G3 closed loop": _judge_closed_loop,
    "G3 champion": _judge_champion,
    "G4 margins": _judge_margins,
    "G4 NPU": _judge_npu,
    "G4 latency": _judge_latency,
    "G4 toolchain": _judge_toolchain,
    "G5 ladder": _judge_ladder,
    "G5 device": _judge_device,
    "G6 reproduce": _judge_reproduce,
    "G7 approval": _judge_approval,
    "G8 deployment": _judge_deployment,
}
