"""What the gate judges, and what a judgement is made of (pure)."""

from __future__ import annotations

from dataclasses import dataclass

from edge_compile.gate_dataset import DatasetFacts
from platform_lib.evidence import CompiledPrecision, CompileReport, EvaluationReport, Interval, Status
from platform_lib.handoff.thresholds import Thresholds
from platform_lib.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Verdict:
    """One finding of a gate: its status and, in words with the figures, why."""

    status: Status
    text: str


@dataclass(frozen=True, slots=True)
class Case:
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


def passes(condition: bool, text: str) -> Verdict:  # noqa: FBT001 - the condition is the sentence
    """Return a pass where a condition holds, else a failure."""
    return Verdict("pass" if condition else "fail", text)


def left_open(text: str) -> list[Verdict]:
    """Return that something was not run, and why."""
    return [Verdict("not_run", text)]


def figures(interval: Interval) -> str:
    """Write a value with its interval."""
    if interval.low is None or interval.high is None:
        return f"{interval.value:.3f} (no interval)"
    return f"{interval.value:.3f} [{interval.low:.3f}, {interval.high:.3f}]"
