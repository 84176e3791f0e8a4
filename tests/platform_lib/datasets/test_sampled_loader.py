"""A loader that chooses its samples, and labels as tensors."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import cv2
import lance
import numpy as np
import pyarrow as pa
import pytest
import torch

from platform_lib.datasets.loader import TRAINING_COLUMNS
from platform_lib.datasets.sample_labels import LABEL_COLUMNS, MOST_BOXES, label_tensors
from platform_lib.datasets.sampled_loader import SampledLoader
from platform_lib.datasets.table import OBJECT
from platform_lib.datasets.torch_loader import TorchLoader
from platform_lib.errors import ConfigError
from platform_lib.manifest import Step
from platform_lib.models.sampling import SampleTable, SamplingConfig

ROWS = 30
HARD = SamplingConfig(hard_share=0.2, hard_boost=3.0)
pytestmark = pytest.mark.filterwarnings("ignore:lance is not fork-safe")


def car(step: int, x: float, kind: str = "vehicle") -> dict[str, object]:
    return {"step": step, "kind": kind, "x": x, "y": 1.0, "yaw": 0.1, "length": 4.5, "width": 1.9}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("sampled")
    jpeg = bytes(cv2.imencode(".jpg", np.zeros((64, 192, 3), np.uint8))[1])
    objects: list[list[dict[str, object]] | None] = [
        [car(0, float(row)), car(5, 9.0, "traffic_light_red")] for row in range(ROWS)
    ]
    objects[3] = None
    objects[4] = [car(1, float(far)) for far in range(100)]
    columns = {
        "sample_id": [f"s{number}" for number in range(ROWS)],
        "split": ["train"] * ROWS,
        "pii_state": ["blurred"] * ROWS,
        "image": pa.array([jpeg] * ROWS, pa.large_binary()),
        "ego_history": pa.FixedSizeListArray.from_arrays(np.zeros(ROWS * 30, np.float32), 30),
        "command": pa.array(np.arange(ROWS) % 3, pa.int8()),
        "future": pa.FixedSizeListArray.from_arrays(np.zeros(ROWS * 12, np.float32), 12),
        "objects": pa.array(objects, pa.list_(OBJECT)),
        "slices": pa.array([["rain", "lead"]] * ROWS, pa.list_(pa.string())),
    }
    lance.write_dataset(pa.table(columns), str(place / "samples.lance"))
    Step("dataset", inputs={}, config={}, modules=()).finish(place / "manifest.json", {})
    return place


def loader(folder: Path, config: SamplingConfig = HARD, seed: int = 3) -> SampledLoader:
    columns = (*TRAINING_COLUMNS, *LABEL_COLUMNS)
    inner = TorchLoader(folder, "train", batch=8, seed=seed, columns=columns, keep_bytes=1 << 30)
    table = SampleTable(np.ones((ROWS, 1), np.uint8), np.arange(ROWS, dtype=np.float64), np.full(ROWS, np.nan))
    return SampledLoader(inner, table, config, batch=8, seed=seed)


def epoch(made: SampledLoader, steps: int | None = None) -> list[list[str]]:
    """Take steps of an epoch, telling the loader that sample k was wrong by k metres."""
    names = []
    for batch in islice(made, steps):
        places = batch["place"].numpy()
        assert [f"s{place}" for place in places] == batch["sample_id"]
        made.observe(places, places.astype(np.float64))
        names.append(batch["sample_id"])
    return names


def test_what_was_wrong_comes_again_in_the_next_epoch(folder: Path) -> None:
    made = loader(folder)
    first = [name for batch in epoch(made) for name in batch]
    assert sorted(first) == sorted(f"s{row}" for row in range(ROWS))
    second = [name for batch in epoch(made) for name in batch]
    assert len(second) == ROWS
    assert all(second.count(f"s{row}") >= 2 for row in range(24, 30))


@pytest.mark.parametrize("steps", [1, 3, 4, 5, 7])
def test_killed_after_any_step_it_goes_on_with_the_same_samples(folder: Path, tmp_path: Path, steps: int) -> None:
    whole = loader(folder)
    expected = [*epoch(whole), *epoch(whole)]
    killed = loader(folder)
    taken = epoch(killed, min(steps, 4))
    if steps > 4:
        taken += epoch(killed, steps - 4)
    torch.save(killed.state_dict(), tmp_path / "state.pt")
    again = loader(folder)
    again.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    while len(taken) < len(expected):
        taken += epoch(again)
    assert taken == expected


def test_a_state_of_another_choice_is_refused(folder: Path) -> None:
    state = loader(folder).state_dict()
    with pytest.raises(ConfigError, match="another sampling"):
        loader(folder, SamplingConfig()).load_state_dict(state)
    with pytest.raises(ConfigError, match="seed"):
        loader(folder, seed=4).load_state_dict(state)


def test_labels_are_tensors_of_one_shape(folder: Path) -> None:
    found = label_tensors(lance.dataset(str(folder / "samples.lance")).to_table(columns=list(LABEL_COLUMNS)))
    assert found["boxes"].shape == (ROWS, MOST_BOXES, 6)
    assert found["boxes_known"].tolist() == [row != 3 for row in range(ROWS)]
    assert found["boxes"][7, 0].tolist() == pytest.approx([0, 7, 1, 0.1, 4.5, 1.9])
    assert (found["boxes"][7, 1:, 0] == -1).all()
    assert (found["boxes"][3, :, 0] == -1).all()
    assert found["boxes"][4, :, 1].tolist() == [float(far) for far in range(MOST_BOXES)]  # the nearest
    assert found["tags"][0].tolist() == [0, 1, 0, 0, 0, 0, 1, 0]


def test_a_loader_without_label_columns_has_none(folder: Path) -> None:
    batch = next(iter(TorchLoader(folder, "train", batch=2)))
    assert set(batch) == {"sample_id", "image", "ego_history", "command", "future"}
