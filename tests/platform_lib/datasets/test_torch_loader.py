"""The same loader as tensors, decoded in processes of its own."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import lance
import numpy as np
import pyarrow as pa
import pytest
import torch

from platform_lib.datasets.images import decode_images
from platform_lib.datasets.shuffle import Part, ShuffleRules
from platform_lib.datasets.torch_loader import TorchLoader
from platform_lib.errors import ConfigError
from platform_lib.manifest import Step

ROWS = 90
pytestmark = pytest.mark.filterwarnings("ignore:lance is not fork-safe")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("torch")
    rng = np.random.default_rng(0)
    history, future = rng.normal(size=(ROWS, 30)).astype(np.float32), rng.normal(size=(ROWS, 12)).astype(np.float32)
    jpegs = [bytes(cv2.imencode(".jpg", np.full((64, 192, 3), number, np.uint8))[1]) for number in range(ROWS)]
    columns = {
        "sample_id": [f"s{number}" for number in range(ROWS)],
        "split": ["train"] * ROWS,
        "pii_state": ["blurred"] * ROWS,
        "image": pa.array(jpegs, pa.large_binary()),
        "ego_history": pa.FixedSizeListArray.from_arrays(history.reshape(-1), 30),
        "command": pa.array(np.arange(ROWS) % 3, pa.int8()),
        "future": pa.FixedSizeListArray.from_arrays(future.reshape(-1), 12),
    }
    lance.write_dataset(pa.table(columns), str(place / "samples.lance"))
    Step("dataset", inputs={}, config={}, modules=()).finish(place / "manifest.json", {})
    return place


def loader(folder: Path, **changes: Any) -> TorchLoader:
    return TorchLoader(folder, "train", **{"batch": 8, "seed": 3, "rules": ShuffleRules(4, 3), **changes})


def ids(batches: Any) -> list[list[str]]:
    return [batch["sample_id"] for batch in batches]


def test_tensors_are_the_samples(folder: Path) -> None:
    stored = lance.dataset(str(folder / "samples.lance")).to_table()
    for batch in loader(folder):
        rows = [int(name[1:]) for name in batch["sample_id"]]
        images = decode_images([stored["image"][row].as_py() for row in rows], batch["sample_id"])
        np.testing.assert_array_equal(batch["image"].numpy(), images.transpose(0, 3, 1, 2))
        np.testing.assert_array_equal(batch["command"].numpy(), [row % 3 for row in rows])
        expected = np.array([stored["future"][row].as_py() for row in rows], np.float32).reshape(-1, 6, 2)
        np.testing.assert_array_equal(batch["future"].numpy(), expected)
        assert batch["ego_history"].shape == (len(rows), 10, 3)


def test_it_goes_on_in_the_middle_and_refuses_another_state(folder: Path) -> None:
    own = loader(folder)
    taken = ids(islice(own, 5))
    state = json.loads(json.dumps(own.state_dict()))
    resumed = loader(folder)
    resumed.load_state_dict(state)
    assert taken + ids(resumed) == ids(loader(folder))
    assert resumed.epoch == 1
    with pytest.raises(ConfigError, match="another"):
        loader(folder, workers=2).load_state_dict(state)


@pytest.mark.parametrize("rules", [ShuffleRules(4, 3), ShuffleRules(1, ROWS)])
@pytest.mark.parametrize("part", [Part(), Part(1, 3)])
def test_what_is_kept_in_memory_gives_the_same_batches(folder: Path, rules: ShuffleRules, part: Part) -> None:
    read, kept = (loader(folder, rules=rules, part=part, keep_bytes=keep) for keep in (0, 1 << 30))
    kept.load_state_dict(read.state_dict())
    for _ in range(2):
        for one, other in zip(read, kept, strict=True):
            assert one["sample_id"] == other["sample_id"]
            assert all(torch.equal(one[name], other[name]) for name in one if name != "sample_id")
    assert read.state_dict() == kept.state_dict()
    places = np.array([5, 89, 0])
    for one, other in ((read.take(places), kept.take(places)), *zip(read.in_order(40), kept.in_order(40), strict=True)):
        assert one["sample_id"] == other["sample_id"]
        assert torch.equal(one["image"], other["image"])
    with pytest.raises(ConfigError, match="one of both"):
        loader(folder, workers=2, keep_bytes=1)


def test_reading_draws_nothing_from_torch(folder: Path) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    ids(loader(folder))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.slow
def test_processes_lose_nothing_and_resume(folder: Path) -> None:
    own = loader(folder, workers=2, part=Part(0, 2))
    whole = ids(own)
    # The other rank, in the parts that its two processes would take.
    others = [ids(loader(folder, part=Part(index, 4))) for index in (2, 3)]
    names = [name for rank in (whole, *others) for batch in rank for name in batch]
    assert sorted(names) == sorted(f"s{number}" for number in range(ROWS))
    assert len(whole) == len(own) == sum(map(len, others))
    resumed = loader(folder, workers=2, part=Part(0, 2))
    resumed.load_state_dict(resumed.state_dict() | {"step": 3})  # an odd step: the other process comes first
    assert ids(resumed) == whole[3:]
