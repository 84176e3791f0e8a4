"""The evidence files that steps exchange: evaluation, compile report, gate report.

Rooms never import each other; what one writes and another reads is typed here. Every model refuses unknown keys,
and what was not measured is ``None`` with a reason, or ``not_run`` with a reason, never 0.
"""

from __future__ import annotations

from platform_lib.evidence.compiles import (
    MEASURED_BY,
    TARGET_DEVICE,
    Check,
    CompiledPrecision,
    CompileReport,
    DeviceRun,
    GraphSummary,
    NodeWaiver,
    OutputDistance,
    ParityRung,
    Performance,
    Rewrite,
    SharedContext,
    SliceScore,
    TriedTechnique,
)
from platform_lib.evidence.evaluation import (
    ChampionReport,
    Comparison,
    EvaluationReport,
    FailedEpisode,
    Interval,
    MetricsRow,
)
from platform_lib.evidence.files import read_evidence, write_evidence
from platform_lib.evidence.gates import GateReport, GateResult
from platform_lib.evidence.recall import BlurRecall, KindRecall
from platform_lib.evidence.strict import Status

__all__ = [
    "MEASURED_BY",
    "TARGET_DEVICE",
    "BlurRecall",
    "ChampionReport",
    "Check",
    "Comparison",
    "CompileReport",
    "CompiledPrecision",
    "DeviceRun",
    "EvaluationReport",
    "FailedEpisode",
    "GateReport",
    "GateResult",
    "GraphSummary",
    "Interval",
    "KindRecall",
    "MetricsRow",
    "NodeWaiver",
    "OutputDistance",
    "ParityRung",
    "Performance",
    "Rewrite",
    "SharedContext",
    "SliceScore",
    "Status",
    "TriedTechnique",
    "read_evidence",
    "write_evidence",
]
