"""Evaluation reports for tests that look at one part of them."""

from __future__ import annotations

from platform_lib.evidence import EvaluationReport, MetricsRow


def report_of(*rows: MetricsRow) -> EvaluationReport:
    """Return a report of these open-loop rows and nothing else."""
    return EvaluationReport(
        model_name="m",
        weights_sha256="0",
        dataset_sha256="0",
        split="test",
        scorer_version="1",
        scorer_sha256="0",
        seeds=(1,),
        open_loop=rows,
        closed_loop=(),
    )
