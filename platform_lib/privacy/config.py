"""How frames are blurred: the detectors and their parameters, as written in a YAML file."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from platform_lib.errors import ConfigError, MissingPartError
from platform_lib.refusals import first_problem

BLUR_VERSION = 2
"""Changes whenever the same detectors with the same parameters would give other pixels."""

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Kind = Annotated[str, Field(min_length=1, max_length=40)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Cascade(_Strict):
    """A cascade of Haar or LBP features, run by OpenCV.

    Attributes:
        finds: What it finds, for example ``face``.
        cascade: Name of one that comes with OpenCV, or a path.
        scale_factor: Step between the sizes that are looked at.
        min_neighbors: How many overlapping finds make one; fewer find more, true and false.
        min_size_px: Smallest width and height, in pixels of the recorded frame.
        enlarge: The frame is enlarged by this before; a cascade sees nothing smaller than its own window.
        mirrored: Look at the mirror image as well (a profile is learnt facing one way).
    """

    kind: Literal["cascade"] = "cascade"
    finds: Kind
    cascade: str
    scale_factor: Annotated[float, Field(gt=1.0, le=2.0)] = 1.05
    min_neighbors: Annotated[int, Field(ge=0)] = 2
    min_size_px: tuple[Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)]] = (12, 12)
    enlarge: Annotated[float, Field(ge=1.0, le=8.0)] = 1.0
    mirrored: bool = False


class Onnx(_Strict):
    """A detector as an ONNX graph of one image input (1, 3, H, W), run by onnxruntime on the CPU.

    Attributes:
        finds: What it finds.
        model: The graph's path; relative to the file that names it.
        input_px: Width and height it takes; the frame is stretched to it.
        order: Channels as the graph wants them.
        scale: Factor on 0 ... 255 values, after `mean` was taken off.
        mean: Of each channel, in 0 ... 255.
        boxes: Name of the output with the boxes, (N, 4) or (1, N, 4); or (1, 4 + classes, N) where `scores` is null.
        scores: Name of the output with the scores, (N,), (1, N) or (1, N, classes); the best class counts.
        classes: Columns of the scores that count; all by default.
        corners: How a box is written.
        relative: Whether boxes are shares of the input instead of its pixels.
        min_score: Finds below it are dropped.
        max_overlap: Of two finds that overlap more (intersection over union) the lower score is dropped.
    """

    kind: Literal["onnx"]
    finds: Kind
    model: Path
    input_px: tuple[Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)]]
    order: Literal["rgb", "bgr"] = "rgb"
    scale: float = 1 / 255
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    boxes: str
    scores: str | None
    classes: tuple[Annotated[int, Field(ge=0)], ...] | None = None
    corners: Literal["xyxy", "xywh", "cxcywh"] = "xyxy"
    relative: bool = False
    min_score: Share = 0.25
    max_overlap: Share = 0.6


class BlurConfig(_Strict):
    """All detectors, and what is done with what they find.

    Attributes:
        detectors: Each is run on every frame.
        margin: A region grows by this share of its size on each side.
        blocks: A region is averaged down to so many blocks across its shorter side, then smoothed.
        jpeg_quality: Of a frame that was changed; one without a find keeps its picture bit for bit.
    """

    schema_version: Literal[1] = 1
    detectors: Annotated[tuple[Annotated[Cascade | Onnx, Field(discriminator="kind")], ...], Field(min_length=1)]
    margin: Annotated[float, Field(ge=0.0, le=2.0)] = 0.25
    blocks: Annotated[int, Field(ge=1, le=6)] = 3
    jpeg_quality: Annotated[int, Field(ge=50, le=100)] = 92

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        names = [
            (item.finds, item.cascade if isinstance(item, Cascade) else str(item.model)) for item in self.detectors
        ]
        if len(set(names)) != len(names):
            raise ValueError("a detector is named twice")
        return self


DEFAULT = BlurConfig(
    detectors=(
        Cascade(finds="face", cascade="haarcascade_frontalface_alt2.xml"),
        Cascade(finds="face", cascade="haarcascade_profileface.xml", mirrored=True),
        Cascade(finds="plate", cascade="haarcascade_russian_plate_number.xml", min_size_px=(24, 8), enlarge=2.0),
    )
)
"""OpenCV's own cascades. They are a beginning, not a proof: measure their recall on your own labelled frames."""


def read_config(path: Path | None) -> BlurConfig:
    """Read a blur configuration; the default without a path.

    Raises:
        MissingPartError: There is no such file.
        ConfigError: It is not YAML, misspells a key, or holds a value that cannot be one.
    """
    if path is None:
        return DEFAULT
    try:
        config = BlurConfig.model_validate(yaml.safe_load(path.read_bytes()))
    except FileNotFoundError as error:
        raise MissingPartError("no blur configuration", where=path, remedy="name a file with --config") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"not YAML: {' '.join(str(error).split())}", where=path) from error
    except ValidationError as error:
        raise ConfigError(first_problem(error), where=path, remedy="compare it with docs/guides/privacy.md") from error
    found = tuple(
        item.model_copy(update={"model": (path.parent / item.model).resolve()}) if isinstance(item, Onnx) else item
        for item in config.detectors
    )
    return config.model_copy(update={"detectors": found})


def digest(document: object) -> str:
    """Return the sha256 of a JSON document, however its keys are ordered."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
