"""The gate: evidence judged against written thresholds. Pure: values in, a `GateReport` out.

Only ``pass`` passes. Evidence that is missing, too thin or of another artefact never is one. Every comparison is
written so that a number that is not finite fails it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

from edge_compile.gate_case import Case, Verdict, left_open
from edge_compile.gate_compression import judge_margins, judge_npu, judge_toolchain
from edge_compile.gate_data import judge_contract, judge_drives, judge_near_duplicates, judge_pii, judge_places
from edge_compile.gate_dataset import dataset_facts
from edge_compile.gate_evidence import judge_evidence, judge_scorer
from edge_compile.gate_float import judge_camera, judge_champion, judge_closed_loop, judge_limits
from edge_compile.gate_parity import judge_device, judge_ladder
from edge_compile.gate_speed import judge_latency, judge_regression
from platform_lib.evidence import CompileReport, EvaluationReport, GateReport, GateResult
from platform_lib.handoff.gates import GATES, blocking, state_of, worst
from platform_lib.handoff.thresholds import Thresholds
from platform_lib.manifest import Manifest

__all__ = ["Thresholds", "judge"]

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
    "G0 evidence": judge_evidence,
    "G0 PII": judge_pii,
    "G0 contract": judge_contract,
    "G1 drives": judge_drives,
    "G1 near-duplicates": judge_near_duplicates,
    "G1 places": judge_places,
    "G2 scorer": judge_scorer,
    "G3 limits": judge_limits,
    "G3 camera": judge_camera,
    "G3 closed loop": judge_closed_loop,
    "G3 champion": judge_champion,
    "G4 margins": judge_margins,
    "G4 NPU": judge_npu,
    "G4 latency": judge_latency,
    "G4 regression": judge_regression,
    "G4 toolchain": judge_toolchain,
    "G5 ladder": judge_ladder,
    "G5 device": judge_device,
    "G6 reproduce": _judge_reproduce,
    "G7 approval": _judge_approval,
    "G8 deployment": _judge_deployment,
}
