"""What some models learn besides the path, as tensors of one shape each: other agents' boxes, and what happens in words."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from platform_lib.datasets.model import FutureObjects
from platform_lib.datasets.table import objects_of
from platform_lib.models.tags import tag_rows

LABEL_COLUMNS = ("objects", "slices")
MOST_BOXES = 64
"""Boxes of a sample over its six times that are kept, the nearest; the fullest sample of a demo has 60."""
SOLID_KINDS = frozenset({"vehicle", "pedestrian"})
"""What takes room on the ground; a traffic light hangs over it."""
LABEL_BYTES = MOST_BOXES * 6 * 4 + 16


def label_tensors(table: pa.Table) -> dict[str, Any]:
    """Return the labels of N rows for those of the label columns that the table has.

    Returns:
        ``boxes`` float32 (N, 64, 6): step, x_m, y_m, yaw_rad, length_m, width_m, step -1 where there is none;
        ``boxes_known`` bool (N,); ``tags`` uint8 (N, 8).
    """
    found: dict[str, Any] = {}
    if "objects" in table.column_names:
        objects = objects_of(table)
        found["boxes"] = torch.from_numpy(np.stack([_boxes(one) for one in objects]))
        found["boxes_known"] = torch.tensor([one is not None for one in objects])
    if "slices" in table.column_names:
        found["tags"] = torch.from_numpy(tag_rows(table["slices"].to_pylist()))
    return found


def _boxes(objects: FutureObjects | None) -> npt.NDArray[np.float32]:
    rows = np.zeros((MOST_BOXES, 6), dtype=np.float32)
    rows[:, 0] = -1.0
    if objects is None:
        return rows
    solid = np.array([kind in SOLID_KINDS for kind in objects.kind], dtype=np.bool_)
    step, box = objects.step[solid], objects.box[solid]
    nearest = np.sort(np.argsort(np.hypot(box[:, 0], box[:, 1]), kind="stable")[:MOST_BOXES])
    rows[: len(nearest), 0] = step[nearest]
    rows[: len(nearest), 1:] = box[nearest]
    return rows
