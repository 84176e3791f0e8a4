"""The activity file: how busy accelerators were, and what the platform did in the same time. Strict; reads nothing itself."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

_Count = Annotated[Decimal, Field(ge=0, allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PoolActivity(_Strict):
    """How busy a pool's accelerators were.

    Attributes:
        pool: Its name.
        busy_share: Of the hours of its accelerators in which it had nodes, the share in which they computed:
            `avg_over_time(DCGM_FI_PROF_GR_ENGINE_ACTIVE)` over 1, say.
    """

    pool: str = Field(min_length=1)
    busy_share: Annotated[Decimal, Field(ge=0, le=1, allow_inf_nan=False)]


class UnitActivity(_Strict):
    """What one kind of work did, and which teams or pools paid for it.

    Attributes:
        unit: `kilometre ingested`, `scenario trained`, `model evaluated`, or one of your own.
        count: How many.
        pools: Pools whose cost it is; all of them where neither is given.
        teams: Teams whose cost it is.
    """

    unit: str = Field(min_length=1)
    count: _Count
    pools: tuple[str, ...] = ()
    teams: tuple[str, ...] = ()


class ActivityFile(_Strict):
    """The file."""

    format: Literal["drivetrain-activity/1"]
    pools: tuple[PoolActivity, ...] = ()
    units: tuple[UnitActivity, ...] = ()


NO_ACTIVITY = ActivityFile(format="drivetrain-activity/1")
