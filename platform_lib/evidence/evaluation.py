"""What an evaluation found: ``evaluation.json``."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeInt, StringConstraints, model_validator

from platform_lib.evidence.strict import Status, Strict

BASELINES = frozenset({"ego_only", "constant_velocity"})
"""Planners whose rows stand beside every judged one."""


class Interval(Strict):
    """A measured value with its 95 % confidence interval; the ends are None where one sample allows none."""

    value: float
    low: float | None
    high: float | None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        # The value may lie outside its own percentile interval when few drives are resampled; the ends may not cross.
        if (self.low is None) != (self.high is None):
            raise ValueError("one end of the interval is missing")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"not an interval: {self.low} to {self.high}")
        return self


class MetricsRow(Strict):
    """Scores of one planner on one slice.

    Attributes:
        planner: ``camera``, ``ego_only``, ``constant_velocity``, or the name of a compressed artefact.
        slice: ``all``, a weather (``clear``, ``night``, ``rain``), or what happens (``pedestrian``, ``cut_in``, ...).
        n: Samples (open loop) or episodes (closed loop) scored.
        drives: Distinct drives they come from: the unit that the intervals resample.
        metrics: Name with unit suffix (``ade_m``, ``fde_m``, ``collision_rate``, ...) -> value.
    """

    planner: str
    slice: str
    n: NonNegativeInt
    drives: NonNegativeInt
    metrics: dict[str, Interval]


class FailedEpisode(Strict):
    """One simulated drive that went wrong.

    Attributes:
        seed: Of the world, which decides all of it.
        what: What went wrong, in words.
        after_s: When it ended.
        file: The MCAP file to look at and to drive again, beside the report; None where it was not written.
    """

    planner: str
    world: str
    seed: NonNegativeInt
    weather: str
    event: str
    what: Annotated[str, StringConstraints(min_length=1)]
    after_s: float
    file: str | None


class Comparison(Strict):
    """One figure of the challenger less the champion's on the same frames of one slice.

    Attributes:
        difference: Below 0 the challenger is better; its interval is for this comparison alone.
        margin: So much worse is still taken for not worse.
        p: One-sided, that it is worse by the margin or more; None where too few drives tell.
        p_holm: The same, corrected for all comparisons of the report.
        status: ``pass`` where `p_holm` shows that it is not worse; ``fail`` where the interval lies beyond the margin;
            ``not_run`` where neither is shown, with the reason.
    """

    slice: str
    metric: str
    n: NonNegativeInt
    drives: NonNegativeInt
    difference: Interval
    margin: float
    p: float | None
    p_holm: float | None
    status: Status
    reason: str


class ChampionReport(Strict):
    """The challenger against the champion: not worse, slice by slice."""

    champion: str
    champion_sha256: str
    alpha: float
    comparisons: Annotated[tuple[Comparison, ...], Field(min_length=1)]

    @property
    def status(self) -> Status:
        """``pass`` only where every comparison passes."""
        found = {item.status for item in self.comparisons}
        return "fail" if "fail" in found else "not_run" if "not_run" in found else "pass"


class EvaluationReport(Strict):
    """What `evaluate` found: ``evaluation.json``.

    Attributes:
        self_test_sha256: Of the scorer's test before these figures; part of `scorer_sha256` too.
        pseudo_closed_loop: The EPDMS and its parts, on scenes of the simulator about which everything is known.
        not_run: What was not scored -> why.
        failures: Every simulated drive of the judged planner that went wrong, the worst first.
        champion: The comparison with the champion, where one was named.
    """

    schema_version: Literal[1] = 1
    model_name: str
    weights_sha256: str
    dataset_sha256: str
    split: str
    scorer_version: str
    scorer_sha256: str
    seeds: tuple[int, ...]
    open_loop: tuple[MetricsRow, ...]
    closed_loop: tuple[MetricsRow, ...]
    findings: tuple[str, ...] = ()
    self_test_sha256: str | None = None
    pseudo_closed_loop: tuple[MetricsRow, ...] = ()
    not_run: dict[str, str] = Field(default_factory=dict)
    failures: tuple[FailedEpisode, ...] = ()
    champion: ChampionReport | None = None

    def row(self, planner: str, slice_name: str) -> MetricsRow | None:
        """Return the open-loop row of a planner on a slice, if it was scored."""
        return next((row for row in self.open_loop if (row.planner, row.slice) == (planner, slice_name)), None)

    def rows_beside(self, float_report: EvaluationReport) -> tuple[MetricsRow, ...]:
        """Return the open-loop rows that the float model's report lacks: baselines stand in both, and are shown once."""
        return tuple(
            row
            for row in self.open_loop
            if row.planner not in BASELINES or float_report.row(row.planner, row.slice) is None
        )
