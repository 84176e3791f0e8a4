"""What the doctor finds: one line a part, with what its absence costs and what mends it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warning", "missing"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One part of this machine.

    Attributes:
        group: ``python``, ``packages``, ``parts``, ``machine``, ``home`` or ``deep``.
        name: The part.
        status: ``missing`` = does not work, ``warning`` = works, but something is to be known.
        detail: What was found.
        disables: What does not work without it; always there when the status is ``missing``.
        remedy: What mends it; there whenever the status is not ``ok``.
        demo: Whether `drivetrain demo` needs it.
    """

    group: str
    name: str
    status: Status
    detail: str
    disables: str | None = None
    remedy: str | None = None
    demo: bool = False

    def __post_init__(self) -> None:
        if self.status != "ok" and self.remedy is None:
            raise ValueError(f"{self.name} is {self.status} and names no remedy")
        if self.status == "missing" and self.disables is None:
            raise ValueError(f"{self.name} is missing and does not say what that disables")

    @property
    def blocks_demo(self) -> bool:
        """Whether the demo cannot run because of this."""
        return self.demo and self.status == "missing"
