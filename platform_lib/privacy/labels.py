"""A labelled set of frames, and the recall of a blur on it as evidence."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, ValidationError, field_validator

from platform_lib.errors import ConfigError, IntegrityError, MissingPartError
from platform_lib.evidence import BlurRecall, KindRecall
from platform_lib.privacy.blurring import blur_frame
from platform_lib.privacy.config import BlurConfig
from platform_lib.privacy.detectors import make_detectors, provenance
from platform_lib.privacy.recall import CONFIDENCE, COVERED, Box, covered_share, lower_bound
from platform_lib.refusals import first_problem
from platform_lib.storage import sha256_tree

LABELS_FILE = "labels.json"
_Edge = Annotated[float, Field(ge=0.0)]
_Size = Annotated[float, Field(gt=0.0)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class LabelledBox(_Strict):
    """One face, plate or the like: its upper left corner and size, in pixels."""

    finds: str
    x_px: _Edge
    y_px: _Edge
    width_px: _Size
    height_px: _Size


class LabelledFrame(_Strict):
    """One image and everything in it that has to be blurred; `image` is relative to the labels."""

    image: str
    boxes: tuple[LabelledBox, ...]

    @field_validator("image")
    @classmethod
    def _inside(cls, value: str) -> str:
        path = PurePosixPath(value)
        if path.is_absolute() or ".." in path.parts or "\0" in value or not path.parts:
            raise ValueError("an image lies beside its labels or below them")
        return value


class LabelledSet(_Strict):
    """``labels.json``.

    Attributes:
        name: What the set is called, so that a figure says on what it was measured.
        source: Where the pictures come from, and under which licence.
        composed: Whether what is labelled was drawn or pasted, not seen by a camera.
    """

    schema_version: Literal[1]
    name: Annotated[str, Field(min_length=1)]
    version: Annotated[str, Field(min_length=1)]
    source: Annotated[str, Field(min_length=1)]
    composed: bool
    frames: Annotated[tuple[LabelledFrame, ...], Field(min_length=1)]


def read_labels(folder: Path) -> LabelledSet:
    """Read the labels of a folder.

    Raises:
        MissingPartError: There are none.
        ConfigError: They are not, or name no box at all.
    """
    path = folder / LABELS_FILE
    try:
        found = LabelledSet.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingPartError(
            f"no {LABELS_FILE}", where=folder, remedy="docs/guides/privacy.md shows what a labelled set is"
        ) from error
    except ValidationError as error:
        raise ConfigError(first_problem(error), where=path, remedy="compare it with docs/guides/privacy.md") from error
    if not any(frame.boxes for frame in found.frames):
        raise ConfigError("no frame has a labelled box, so there is nothing to find", where=path)
    return found


def measure_recall(folder: Path, config: BlurConfig) -> BlurRecall:
    """Blur a labelled set and count, by kind, the boxes that lie under what was blurred.

    Raises:
        MissingPartError: There are no labels, or no image that they name.
        IntegrityError: An image cannot be decoded.
    """
    labels, how = read_labels(folder), provenance(config)
    detectors = make_detectors(config)
    hits: dict[str, list[bool]] = {}
    regions = 0
    for frame in labels.frames:
        path = folder / frame.image
        if not path.is_file():
            raise MissingPartError("the labels name an image that is not there", where=path)
        encoding = "png" if path.suffix.lower() == ".png" else "jpeg"
        blurred = blur_frame(path.read_bytes(), encoding, detectors, config)
        if blurred is None:
            raise IntegrityError("the image cannot be decoded", where=path, remedy="fetch the labelled set again")
        regions += len(blurred.regions)
        for box in frame.boxes:
            share = covered_share(Box(box.x_px, box.y_px, box.width_px, box.height_px), blurred.regions)
            hits.setdefault(box.finds, []).append(share >= COVERED)
    return BlurRecall(
        config_sha256=how.sha256,
        labels_name=labels.name,
        labels_version=labels.version,
        labels_sha256=sha256_tree(folder),
        composed=labels.composed,
        source=labels.source,
        frames=len(labels.frames),
        regions=regions,
        covered_share=COVERED,
        confidence=CONFIDENCE,
        kinds={name: _kind(found) for name, found in sorted(hits.items())},
    )


def _kind(found: list[bool]) -> KindRecall:
    blurred: NonNegativeInt = sum(found)
    return KindRecall(
        labelled=len(found),
        blurred=blurred,
        recall=blurred / len(found),
        lower_bound=lower_bound(blurred, len(found)),
    )
