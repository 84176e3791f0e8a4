"""What a recipe returns: everything a training run depends on, besides its data and its code."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import cast

from pydantic import JsonValue

from platform_lib.models.fitting import FitConfig
from platform_lib.models.planner import PlannerConfig


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """The resolved configuration of one training run.

    Attributes:
        recipe: The recipe's name.
        planner: The network.
        fit: How it is fitted.
        calibration_frames: Recorded training frames written for quantization; the extreme ones come once more, stretched.
        frozen_frames: Test frames, spread over the slices, on which every later engine is compared with torch.
    """

    recipe: str
    planner: PlannerConfig
    fit: FitConfig
    calibration_frames: int = 80
    frozen_frames: int = 32

    def resolved(self) -> dict[str, JsonValue]:
        """Return the configuration as JSON values, for the manifest and its digest."""
        return cast("dict[str, JsonValue]", _listed(asdict(self)))

    @property
    def sha256(self) -> str:
        """Digest of the resolved configuration, as in the manifest."""
        text = json.dumps(self.resolved(), sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()


def _listed(value: object) -> object:
    """Turn tuples into lists, as JSON would: a manifest that is read back has to give the same digest."""
    if isinstance(value, dict):
        return {name: _listed(item) for name, item in value.items()}
    return [_listed(item) for item in value] if isinstance(value, list | tuple) else value
