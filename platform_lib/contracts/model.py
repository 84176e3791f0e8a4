"""The nouns of contract checks: a contract, a rule, what it has to keep, and what it found (pure)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from open_data_contract_standard.model import CustomProperty, OpenDataContractStandard

Severity = Literal["error", "warning", "info"]
Verdict = Literal["pass", "fail", "not_run"]
Kind = Literal["stream", "view", "dataset"]

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")


@dataclass(frozen=True, slots=True)
class Contract:
    """One contract.

    Attributes:
        document: What it says.
        sha256: Digest of its bytes.
        path: Where it was read.
    """

    document: OpenDataContractStandard
    sha256: str
    path: Path

    @property
    def id(self) -> str:
        """Its id, the same for every version."""
        return str(self.document.id)

    @property
    def version(self) -> str:
        """Its version."""
        return str(self.document.version)

    @property
    def vehicles(self) -> tuple[str, ...]:
        """Which vehicles it binds, as patterns; ``*`` binds logs that name no vehicle too."""
        listed = custom(self.document.customProperties).get("vehicles", ())
        return tuple(map(str, listed)) if isinstance(listed, list) else ()


def custom(properties: Iterable[CustomProperty] | None) -> dict[str, Any]:
    """Return custom properties by name."""
    return {str(item.property): item.value for item in properties or ()}


@dataclass(frozen=True, slots=True)
class Limit:
    """What a figure has to keep.

    Attributes:
        operator: ODCS's name, for example ``mustBeLessThan``.
        value: The bound; for ``mustBe`` and ``mustNotBe`` perhaps a text.
        high: The upper bound of ``mustBeBetween`` and ``mustNotBeBetween``.
    """

    operator: str
    value: float | str
    high: float | None = None

    def holds(self, figure: float | str | None) -> bool:
        """Whether a figure keeps it; nothing, a NaN or a text beside a number never does."""
        if self.operator in ("mustBe", "mustNotBe"):
            known = figure is not None and not (isinstance(figure, float) and math.isnan(figure))
            return known and (figure == self.value) == (self.operator == "mustBe")
        if not isinstance(figure, (int, float)) or not isinstance(self.value, (int, float)):
            return False
        match self.operator:
            case "mustBeGreaterThan":
                return figure > self.value
            case "mustBeGreaterOrEqualTo":
                return figure >= self.value
            case "mustBeLessThan":
                return figure < self.value
            case "mustBeLessOrEqualTo":
                return figure <= self.value
            case "mustBeBetween" | "mustNotBeBetween" if self.high is not None and not math.isnan(figure):
                return (self.value <= figure <= self.high) == (self.operator == "mustBeBetween")
        return False

    def __str__(self) -> str:
        match self.operator:
            case "mustBe":
                return f"= {_text(self.value)}"
            case "mustNotBe":
                return f"not {_text(self.value)}"
            case "mustBeBetween" | "mustNotBeBetween":
                inside = f"{_text(self.value)} ... {_text(self.high)}"
                return inside if self.operator == "mustBeBetween" else f"not in {inside}"
        sign = {
            "mustBeGreaterThan": ">",
            "mustBeGreaterOrEqualTo": ">=",
            "mustBeLessThan": "<",
            "mustBeLessOrEqualTo": "<=",
        }
        return f"{sign[self.operator]} {_text(self.value)}"


def _text(value: float | str | None) -> str:
    return f"{value:g}" if isinstance(value, (int, float)) else str(value)


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that a contract promises.

    Attributes:
        id: ``object.rule`` or ``object.property.rule``, unique in its contract.
        severity: ``error`` keeps data out of datasets; ``warning`` and ``info`` are recorded.
        kind: What its object is: a stream of a log, a view of the lake, a dataset's table.
        source: The object's physical name; for a stream perhaps a pattern, or ``*``.
        column: The property's physical name; None where the rule is of the whole object.
        check: A measure of `platform_lib.contracts.measures`, ``sql``, or a metric of ODCS's library.
        limit: What its figure has to keep.
        unit: Of the figure and the limit.
        arguments: What else the check needs, by name.
    """

    id: str
    severity: Severity
    kind: Kind
    source: str
    column: str | None
    check: str
    limit: Limit
    unit: str
    arguments: tuple[tuple[str, object], ...] = ()

    def argument(self, name: str) -> object:
        """Return one argument; None where it is not given."""
        return dict(self.arguments).get(name)


@dataclass(frozen=True, slots=True)
class Result:
    """What one rule found on one subject.

    Attributes:
        figure: The measured number or text; None where there was nothing to measure.
        where: The place of the worst, for people: stream, column, seconds from the stream's start, a drive.
        drive_id: The drive that a view's row is about, where it names one.
    """

    rule: Rule
    verdict: Verdict
    figure: float | str | None
    where: str
    drive_id: str | None = None

    @property
    def is_error(self) -> bool:
        """Whether it keeps its subject out of datasets."""
        return self.verdict == "fail" and self.rule.severity == "error"

    @property
    def sentence(self) -> str:
        """Rule, figure, limit and place in one line."""
        figure = "nothing" if self.figure is None else f"{shown(self.figure)} {self.rule.unit}".strip()
        return f"{self.rule.id}: {figure}, has to be {self.rule.limit}" + (f" ({self.where})" if self.where else "")


def shown(figure: float | str | None) -> str:
    """Return a figure as people read it."""
    if figure is None:
        return ""
    if isinstance(figure, str):
        return figure
    return f"{figure:.0f}" if abs(figure) >= 1000 else f"{figure:.4g}"


def judge(rule: Rule, figure: float | str | None, where: str, *, drive_id: str | None = None) -> Result:
    """Hold a figure against a rule; without a figure the rule was not run."""
    if figure is None:
        return Result(rule, "not_run", None, where, drive_id)
    return Result(rule, "pass" if rule.limit.holds(figure) else "fail", figure, where, drive_id)
