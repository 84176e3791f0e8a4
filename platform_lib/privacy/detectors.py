"""Detectors: pictures in, rectangles out. Which ones run, and how, is configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import JsonValue

from platform_lib.errors import ConfigError, MissingPartError
from platform_lib.privacy.config import BLUR_VERSION, BlurConfig, Cascade, Onnx, digest
from platform_lib.privacy.recall import Box
from platform_lib.storage import sha256_file

Picture = npt.NDArray[np.uint8]
"""(H, W, 3), BGR."""


class Detector(Protocol):
    """Finds one kind of personal data."""

    def find(self, picture: Picture) -> list[Box]:
        """Return what was found, in pixels of the picture; it may reach beyond its edges."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """How frames are blurred, told by content: what a blurred frame is known by.

    Attributes:
        document: Detectors with the digests of their files, parameters, versions.
        sha256: Its digest.
    """

    document: Mapping[str, JsonValue]
    sha256: str


def provenance(config: BlurConfig) -> Provenance:
    """Digest every file that a configuration names.

    Raises:
        MissingPartError: A cascade or a graph is not there.
    """
    detectors: list[JsonValue] = []
    engines = {"opencv": cv2.__version__}
    for item in config.detectors:
        told = item.model_dump(mode="json")
        path = cascade_path(item) if isinstance(item, Cascade) else item.model
        if not path.is_file():
            raise MissingPartError("no such detector", where=path, remedy="correct its path in the blur configuration")
        told["cascade" if isinstance(item, Cascade) else "model"] = path.name
        detectors.append({**told, "sha256": sha256_file(path)})
        if isinstance(item, Onnx):
            engines["onnxruntime"] = _onnxruntime().__version__
    rest: dict[str, JsonValue] = config.model_dump(mode="json", exclude={"detectors"})
    document: dict[str, JsonValue] = {
        **rest,
        "detectors": detectors,
        "engines": dict(engines),
        "blur_version": BLUR_VERSION,
    }
    return Provenance(document, digest(document))


def make_detectors(config: BlurConfig) -> list[Detector]:
    """Load every detector of a configuration.

    Raises:
        MissingPartError: A cascade or a graph is not there.
        ConfigError: It cannot be loaded, or has not the outputs that the configuration names.
    """
    return [CascadeDetector(item) if isinstance(item, Cascade) else OnnxDetector(item) for item in config.detectors]


def cascade_path(settings: Cascade) -> Path:
    """Say where a cascade lies: OpenCV's own go by their name."""
    folder = Path(cv2.data.haarcascades)  # type: ignore[attr-defined]  # there, but not in its stubs
    own = folder / settings.cascade
    return own if "/" not in settings.cascade and own.is_file() else Path(settings.cascade).expanduser()


class CascadeDetector:
    """OpenCV's cascade classifier."""

    def __init__(self, settings: Cascade) -> None:
        path = cascade_path(settings)
        if not path.is_file():
            raise MissingPartError("no such cascade", where=path, remedy="name one that comes with OpenCV, or a path")
        self._settings = settings
        try:
            self._cascade = cv2.CascadeClassifier(str(path))
        except (cv2.error, SystemError) as error:  # what its binding raises depends on where the file is wrong
            raise ConfigError("OpenCV cannot read it as a cascade", where=path) from error
        if self._cascade.empty():
            raise ConfigError("OpenCV cannot read it as a cascade", where=path)

    def find(self, picture: Picture) -> list[Box]:
        """See `Detector`."""
        grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
        enlarge = self._settings.enlarge
        if enlarge > 1:
            grey = cv2.resize(grey, None, fx=enlarge, fy=enlarge, interpolation=cv2.INTER_LINEAR)
        found = self._look(grey)
        if self._settings.mirrored:
            wide = grey.shape[1]
            found += [(wide - x - width, y, width, height) for x, y, width, height in self._look(cv2.flip(grey, 1))]
        return [Box(*(float(edge) / enlarge for edge in item)) for item in found]

    def _look(self, grey: npt.NDArray[np.uint8]) -> list[tuple[int, int, int, int]]:
        settings = self._settings
        least = tuple(max(1, round(edge * settings.enlarge)) for edge in settings.min_size_px)
        found = self._cascade.detectMultiScale(grey, settings.scale_factor, settings.min_neighbors, minSize=least)
        return [(int(x), int(y), int(width), int(height)) for x, y, width, height in found]


class OnnxDetector:
    """An ONNX graph, run by onnxruntime."""

    def __init__(self, settings: Onnx) -> None:
        runtime = _onnxruntime()
        if not settings.model.is_file():
            raise MissingPartError(
                "no such detector", where=settings.model, remedy="correct its path in the blur configuration"
            )
        options = runtime.SessionOptions()
        options.intra_op_num_threads = 1  # frames are spread over processes
        options.log_severity_level = 4
        try:
            self._session = runtime.InferenceSession(str(settings.model), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise ConfigError(f"onnxruntime cannot load it: {_line(error)}", where=settings.model) from error
        outputs = [item.name for item in self._session.get_outputs()]
        asked = [name for name in (settings.boxes, settings.scores) if name is not None]
        if missing := [name for name in asked if name not in outputs]:
            raise ConfigError(
                f"it has no output '{missing[0]}', only {', '.join(outputs)}",
                where=settings.model,
                remedy="correct 'boxes' and 'scores' in the blur configuration",
            )
        self._settings, self._asked = settings, asked

    def find(self, picture: Picture) -> list[Box]:
        """See `Detector`."""
        settings = self._settings
        wide, high = settings.input_px
        try:
            answer = self._session.run(self._asked, {self._session.get_inputs()[0].name: self._input(picture)})
        except Exception as error:
            raise ConfigError(f"onnxruntime cannot run it: {_line(error)}", where=settings.model) from error
        boxes, scores = self._rows(answer)
        keep = scores >= settings.min_score
        boxes, scores = _as_xywh(boxes[keep], settings.corners), scores[keep]
        stretch = np.array([picture.shape[1], picture.shape[0]] * 2, dtype=np.float64)
        boxes = boxes * stretch if settings.relative else boxes * stretch / np.array([wide, high] * 2)
        if not len(boxes):
            return []
        kept = cv2.dnn.NMSBoxes(boxes.tolist(), scores.tolist(), settings.min_score, settings.max_overlap)
        return [Box(*boxes[int(row)].tolist()) for row in np.asarray(kept).reshape(-1)]

    def _input(self, picture: Picture) -> npt.NDArray[np.float32]:
        settings = self._settings
        resized = cv2.resize(picture, settings.input_px, interpolation=cv2.INTER_AREA)
        ordered = resized if settings.order == "bgr" else resized[..., ::-1]
        values = (ordered.astype(np.float32) - np.array(settings.mean, np.float32)) * np.float32(settings.scale)
        return np.ascontiguousarray(values.transpose(2, 0, 1)[None])

    def _rows(self, answer: Sequence[Any]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return boxes (N, 4) as the graph writes them, and scores (N,)."""
        boxes = np.asarray(answer[0], dtype=np.float64)
        if self._settings.scores is None:
            joint = boxes.reshape(boxes.shape[-2:]).T
            boxes, scores = joint[:, :4], joint[:, 4:]
        else:
            boxes = boxes.reshape(-1, 4)
            scores = np.asarray(answer[1], dtype=np.float64)
            scores = scores.reshape(len(boxes), -1) if len(boxes) else np.zeros((0, 1))
        if self._settings.classes is not None:
            if max(self._settings.classes) >= scores.shape[1]:
                raise ConfigError(f"it tells {scores.shape[1]} classes apart", where=self._settings.model)
            scores = scores[:, list(self._settings.classes)]
        sound = np.isfinite(boxes).all(axis=1) & np.isfinite(scores).all(axis=1)
        if not sound.all():
            raise ConfigError("it gives numbers that are not finite", where=self._settings.model)
        return boxes, scores.max(axis=1, initial=0.0)


def _as_xywh(boxes: npt.NDArray[np.float64], corners: str) -> npt.NDArray[np.float64]:
    found = boxes.copy()
    if corners == "xyxy":
        found[:, 2:] -= found[:, :2]
    elif corners == "cxcywh":
        found[:, :2] -= found[:, 2:] / 2
    return found


def _onnxruntime() -> Any:
    import onnxruntime  # the extra `data` has none: only who configures a graph needs it

    return onnxruntime


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
