"""Pictures for people: recorded test frames with the driven and the planned paths in their pixels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from platform_lib.datasets.reader import DrivingDataset
from platform_lib.errors import IntegrityError
from platform_lib.evaluation.geometry import Doubles
from platform_lib.evaluation.scenes import Points, Scene, Scenes, telling_rows, title_of
from platform_lib.models.interface import Planner
from platform_lib.scenario.camera import FRONT_CAMERA
from platform_lib.storage import publish_bytes
from ray_jobs.samples import LoadedSplit

SCENES_FILE = "scenes.json"
_POINTS_BETWEEN = 8


def write_scenes(folder: Path, dataset: Path, split: LoadedSplit, planners: Mapping[str, Planner]) -> dict[str, Path]:
    """Write ``scenes.json`` and one JPEG, as recorded, for each telling test frame.

    Args:
        folder: Where the files go.
        dataset: The dataset the split is of.
        split: The test split.
        planners: Path name (``planned``, ``ego_only``) -> planner.

    Returns:
        File name -> path of everything written.
    """
    rows = telling_rows(split.frames, split.inputs.ego_history[:, -1, 0].astype(np.float64))
    jpegs = _jpegs(dataset, {split.sample_id[row] for row in rows.values()})
    chosen = split.inputs.take(np.array(list(rows.values()), dtype=np.int64))
    plans = {name: planner.plan(chosen).astype(np.float64) for name, planner in planners.items()}
    written: dict[str, Path] = {}
    scenes = []
    for place, (name, row) in enumerate(rows.items()):
        image = f"scene-{name.replace('_', '-')}.jpg"
        paths_m = {"driven": split.frames.future_m[row], **{label: plan[place] for label, plan in plans.items()}}
        data = jpegs[split.sample_id[row]]
        publish_bytes(folder / image, data)
        written[image] = folder / image
        scenes.append(_scene(name, image, data, split=split, row=row, paths_m=paths_m))
    publish_bytes(folder / SCENES_FILE, (Scenes(scenes=tuple(scenes)).model_dump_json(indent=2) + "\n").encode())
    return {**written, SCENES_FILE: folder / SCENES_FILE}


def _jpegs(dataset: Path, wanted: set[str]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with DrivingDataset.open(dataset) as opened:
        for batch in opened.batches("test", columns=("sample_id", "image")):
            for sample_id, image in zip(batch.column("sample_id"), batch.column("image"), strict=True):
                if sample_id.as_py() in wanted:
                    found[sample_id.as_py()] = image.as_py()
    return found


def _scene(
    name: str, image: str, data: bytes, *, split: LoadedSplit, row: int, paths_m: Mapping[str, Doubles]
) -> Scene:
    frame = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_COLOR)
    if frame is None:
        raise IntegrityError("an image cannot be decoded", where=split.sample_id[row], remedy="build the dataset again")
    driven = split.frames.future_m[row]
    ade_m = {label: float(np.linalg.norm(path - driven, axis=1).mean()) for label, path in paths_m.items()}
    figures = ", ".join(f"{label.replace('_', '-')} {ade_m[label]:.2f} m" for label in ade_m if label != "driven")
    slices = tuple(sorted(split.slices[row]))
    return Scene(
        title=title_of(name),
        caption=f"{', '.join(slice_name.replace('_', ' ') for slice_name in slices)}; ADE {figures}",
        image=image,
        width=int(frame.shape[1]),
        height=int(frame.shape[0]),
        sample_id=split.sample_id[row],
        drive_id=split.frames.drive[row],
        slices=slices,
        paths_m={label: _points(path) for label, path in paths_m.items()},
        paths_px={label: _pixels(path, wide=int(frame.shape[1])) for label, path in paths_m.items()},
        ade_m=ade_m,
    )


def _pixels(path_m: Doubles, *, wide: int) -> Points:
    """Project a path on the ground, drawn densely from the bumper on, to the picture's pixels."""
    knots = np.arange(len(path_m) + 1)
    dense = np.linspace(0, len(path_m), len(path_m) * _POINTS_BETWEEN + 1)
    whole = np.vstack([np.zeros((1, 2)), path_m])
    ground = np.stack([np.interp(dense, knots, whole[:, 0]), np.interp(dense, knots, whole[:, 1]), 0 * dense], axis=1)
    pixels, visible = FRONT_CAMERA.project_from_ego(ground)
    return _points(pixels[visible] * (wide / FRONT_CAMERA.width_px))


def _points(values: Doubles) -> Points:
    return tuple((round(float(x), 3), round(float(y), 3)) for x, y in values)
