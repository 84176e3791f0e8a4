"""What blurring found of what is labelled: ``blur-recall.json``."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeInt, model_validator

from platform_lib.evidence.strict import Strict


class KindRecall(Strict):
    """How many labelled boxes of one kind were blurred; `lower_bound` is the one-sided one of `BlurRecall.confidence`."""

    labelled: Annotated[int, Field(gt=0)]
    blurred: NonNegativeInt
    recall: float
    lower_bound: float

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.blurred > self.labelled or not 0.0 <= self.lower_bound <= self.recall <= 1.0:
            raise ValueError(f"{self.blurred} of {self.labelled} is no recall of {self.recall} >= {self.lower_bound}")
        if abs(self.recall - self.blurred / self.labelled) > 1e-9:
            raise ValueError(f"{self.blurred} of {self.labelled} is not {self.recall}")
        return self


class BlurRecall(Strict):
    """What `blur recall` measured: ``blur-recall.json``.

    Attributes:
        config_sha256: Which detectors with which parameters; blurred frames name the same digest.
        composed: What is labelled was drawn, not seen by a camera.
        source: Where the labelled pictures come from, in words.
        covered_share: Share of a labelled box that has to lie under blurred regions.
        kinds: ``face``, ``plate``, ... -> recall.
    """

    schema_version: Literal[1] = 1
    config_sha256: str
    labels_name: str
    labels_version: str
    labels_sha256: str
    composed: bool
    source: str
    frames: NonNegativeInt
    regions: NonNegativeInt
    covered_share: float
    confidence: float
    kinds: Annotated[dict[str, KindRecall], Field(min_length=1)]
