"""Evidence files refuse what cannot be a finding: NaN, misspelt keys, a missing reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from platform_lib.errors import IntegrityError, MissingPartError
from platform_lib.evidence import (
    CompiledPrecision,
    CompileReport,
    EvaluationReport,
    GateReport,
    GateResult,
    Interval,
    MetricsRow,
    ParityRung,
    Performance,
    read_evidence,
    write_evidence,
)


def _row(slice_name: str = "all") -> MetricsRow:
    interval = Interval(value=0.5, low=0.4, high=0.7)
    return MetricsRow(planner="camera", slice=slice_name, n=10, drives=3, metrics={"ade_m": interval})


def _evaluation() -> EvaluationReport:
    return EvaluationReport(
        model_name="planner",
        weights_sha256="a",
        dataset_sha256="b",
        split="test",
        scorer_version="1",
        scorer_sha256="c",
        seeds=(1, 2),
        open_loop=(_row(), _row("night")),
        closed_loop=(),
    )


def _rung(**changes: Any) -> dict[str, Any]:
    rung = {"name": "torch->onnx", "precision": "fp32", "status": "pass", "samples": 8, "sqnr_db": 90.0}
    return rung | {"max_abs_error": 1e-6, "cosine": 1.0, "threshold_db": 60.0} | changes


def _compile() -> CompileReport:
    performance = Performance(
        measured_on="not_run", latency_us=None, ddr_read_bytes=None, ddr_write_bytes=None, reason="no profile"
    )
    precision = CompiledPrecision(
        precision="w8a16",
        qdq=None,
        encodings=None,
        context=(),
        context_bytes=0,
        graph=None,
        performance=performance,
        checks=(),
    )
    return CompileReport(
        model_name="planner",
        onnx_sha256="a",
        target="sa8255p",
        soc_model=52,
        architecture="v73",
        id_confirmed=False,
        tools={},
        chosen=None,
        precisions=(precision,),
        parity=(ParityRung.model_validate(_rung()),),
        digests={},
    )


def _gates() -> GateReport:
    gate = GateResult(gate="G1", title="parity", status="not_run", reason="no device", evidence=("report.json",))
    return GateReport(state="candidate", target="sa8255p", gates=(gate,), blocking=("G1",))


def _kinds() -> list[EvaluationReport | CompileReport | GateReport]:
    return [_evaluation(), _compile(), _gates()]


@pytest.mark.parametrize("evidence", _kinds(), ids=lambda item: type(item).__name__)
def test_what_is_written_reads_back(tmp_path: Path, evidence: Any) -> None:
    write_evidence(tmp_path / "e.json", evidence)
    assert read_evidence(type(evidence), tmp_path / "e.json") == evidence


@pytest.mark.parametrize("evidence", _kinds(), ids=lambda item: type(item).__name__)
@pytest.mark.parametrize("fault", ["unknown key", "missing key", "another version", "cut short"])
def test_evidence_of_another_shape_is_refused(tmp_path: Path, evidence: Any, fault: str) -> None:
    document = json.loads(evidence.model_dump_json())
    text = json.dumps(document)
    if fault == "unknown key":
        text = json.dumps(document | {"aproved": True})
    elif fault == "missing key":
        del document["target" if "target" in document else "split"]
        text = json.dumps(document)
    elif fault == "another version":
        text = json.dumps(document | {"schema_version": 2})
    else:
        text = text[:-5]
    (tmp_path / "e.json").write_text(text)
    with pytest.raises(IntegrityError, match=f"not a valid {type(evidence).__name__}"):
        read_evidence(type(evidence), tmp_path / "e.json")


def test_absent_evidence_is_a_missing_part(tmp_path: Path) -> None:
    with pytest.raises(MissingPartError, match="Remedy: run the step"):
        read_evidence(GateReport, tmp_path / "gates.json")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number_is_no_finding(value: float) -> None:
    with pytest.raises(ValidationError, match="finite number"):
        Interval(value=value, low=None, high=None)
    with pytest.raises(ValidationError, match="finite number"):
        ParityRung.model_validate(_rung(sqnr_db=value))


@pytest.mark.parametrize("status", ["not_run", "fail"])
@pytest.mark.parametrize("reason", [None, ""])
def test_a_rung_that_does_not_pass_gives_its_reason(status: str, reason: str | None) -> None:
    with pytest.raises(ValidationError, match="gives no reason"):
        ParityRung.model_validate(_rung(status=status, reason=reason))
    assert ParityRung.model_validate(_rung(status=status, reason="because")).reason == "because"


def test_a_status_that_is_none_of_the_three_is_refused() -> None:
    with pytest.raises(ValidationError):
        ParityRung.model_validate(_rung(status="skipped"))


def test_evidence_cannot_be_changed_after_it_was_read() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        _gates().state = "approved"


def test_rows_and_precisions_are_found_by_name() -> None:
    assert _evaluation().row("camera", "night") == _row("night")
    assert _evaluation().row("camera", "rain") is None
    found = _compile().precision("w8a16")
    assert found is not None
    assert found.performance.latency_us is None
    assert _compile().precision("w4a16") is None


@pytest.mark.parametrize(("low", "high"), [(0.6, 0.4), (0.4, None), (None, 0.7), (0.1, 0.0)])
def test_an_interval_has_both_ends_in_order_or_none(low, high):
    with pytest.raises(ValidationError):
        Interval(value=0.5, low=low, high=high)
    assert Interval(value=0.5, low=0.1, high=0.2).high == 0.2


def test_an_unknown_latency_gives_its_reason():
    fields = {"measured_on": "not_run", "latency_us": None, "ddr_read_bytes": None, "ddr_write_bytes": None}
    with pytest.raises(ValidationError, match="no reason"):
        Performance(**fields)
    assert Performance(**fields, reason="the vendor gives none for v68").latency_us is None


def test_counts_are_not_negative():
    with pytest.raises(ValidationError):
        MetricsRow(planner="camera", slice="all", n=-1, drives=1, metrics={})


def test_what_is_no_evidence_is_told_without_an_empty_place_and_with_a_remedy(tmp_path: Path) -> None:
    path = tmp_path / "gates.json"
    path.write_text("{")
    with pytest.raises(IntegrityError) as refused:
        read_evidence(GateReport, path)
    assert refused.value.what.startswith("not a valid GateReport: Invalid JSON")
    assert refused.value.remedy is not None
