"""What all evidence has in common: nothing unknown in it, no NaN, no infinity; it is not changed once it was read."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

Status = Literal["pass", "fail", "not_run"]


class Strict(BaseModel):
    """Part of an evidence file."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
