"""What the gates judged: ``gates.json``."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import StringConstraints

from platform_lib.evidence.strict import Status, Strict


class GateResult(Strict):
    """One gate's judgement; `evidence` names the file and the figures it rests on.

    Attributes:
        waived_until: The last day on which a person lets it stand that this gate was not run.
    """

    gate: str
    title: str
    status: Status
    reason: Annotated[str, StringConstraints(min_length=1)]
    evidence: tuple[str, ...]
    waived_until: date | None = None


class GateReport(Strict):
    """What `gate` decided: ``gates.json``.

    Attributes:
        state: ``rejected`` when a gate fails, ``candidate`` while one is not run, ``approved`` when all pass.
        blocking: The gates that keep it from approval.
    """

    schema_version: Literal[1] = 1
    state: Literal["rejected", "candidate", "approved"]
    target: str
    gates: tuple[GateResult, ...]
    blocking: tuple[str, ...]
