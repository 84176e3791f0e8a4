"""Does the evidence belong together, and was its scorer itself tested?"""

from __future__ import annotations

import re

from edge_compile.gate_case import Case, Verdict, left_open, passes
from platform_lib.evidence import EvaluationReport

# What an evaluation says of its scorer's own test begins so; how many cases passed follows, or anything else.
SELF_TEST = "scorer self-test:"
_SELF_TEST_PASSED = re.compile(
    r"scorer self-test: passed [1-9][0-9]* cases and caught [1-9][0-9]* planted wrong scorers"
)
_SHA256 = re.compile(r"[0-9a-f]{64}")


def judge_evidence(case: Case) -> list[Verdict]:
    """G0 evidence: dataset, split, scorer, model and artefact are one another's."""
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


def judge_scorer(case: Case) -> list[Verdict]:
    """G2 scorer: it found its planted wrong answers."""
    reports = [("float", case.evaluation), *(() if case.compressed is None else [("compressed", case.compressed)])]
    found = []
    for name, report in reports:
        where = f"{name} evaluation, scorer {report.scorer_version} ({report.scorer_sha256[:12]})"
        lines = [line for line in report.findings if line.lower().startswith(SELF_TEST)]
        if not lines:
            found.append(Verdict("not_run", f"{where}: carries no self-test"))
        found += [passes(_SELF_TEST_PASSED.fullmatch(line) is not None, f"{where}: {line}") for line in lines]
    return found
