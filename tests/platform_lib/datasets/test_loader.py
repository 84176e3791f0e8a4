"""The loader: every sample once, in an order that can be had again, from any batch on, by any number of readers."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import lance
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platform_lib.datasets.loader import SampleLoader
from platform_lib.datasets.shuffle import EpochOrder, Part, ShuffleRules, runs_of
from platform_lib.errors import ConfigError, IntegrityError, MissingPartError
from platform_lib.manifest import Step

ROWS = 1000
RULES = ShuffleRules(block_rows=16, window_blocks=4)
COLUMNS = ("sample_id", "image")
pytestmark = pytest.mark.filterwarnings("ignore:lance is not fork-safe")


def write(folder: Path, rows: int = ROWS, state: str = "blurred") -> Path:
    """Write a table like a dataset's: three drives, the second of which is in another split; one row has another state."""
    folder.mkdir()
    names = ["train" if number < rows // 2 or number > rows * 3 // 4 else "val" for number in range(rows)]
    images = [f"image {number}".encode() for number in range(rows)]
    table = pa.table(
        {
            "sample_id": [f"s{number}" for number in range(rows)],
            "split": names,
            "image": pa.array(images, pa.large_binary()),
            "pii_state": ["none_present"] * (rows - 1) + [state],
        }
    )
    lance.write_dataset(table, str(folder / "samples.lance"))
    Step("dataset", inputs={}, config={"rows": rows}, modules=()).finish(folder / "manifest.json", {})
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("loader") / "set")


def loader(folder: Path, **changes: Any) -> SampleLoader:
    return SampleLoader(folder, "train", **{"batch": 32, "seed": 7, "columns": COLUMNS, "rules": RULES, **changes})


def ids(batches: Any) -> list[list[str]]:
    return [batch.column("sample_id").to_pylist() for batch in batches]


def flat(batches: list[list[str]]) -> list[str]:
    return [name for batch in batches for name in batch]


def test_an_epoch_holds_every_sample_once_and_the_next_another_order(folder: Path) -> None:
    own = loader(folder)
    first, second = flat(ids(own)), flat(ids(own))
    expected = [f"s{number}" for number in range(ROWS) if number < 500 or number > 750]
    assert sorted(first) == sorted(second) == sorted(expected)
    assert first != second
    assert own.epoch == 2
    again = loader(folder)
    assert [flat(ids(again)), flat(ids(again))] == [first, second]
    assert flat(ids(loader(folder, seed=8))) != first
    assert flat(ids(loader(folder, seed=None))) == expected
    for batch in loader(folder):
        assert [f"image {name[1:]}".encode() for name in batch["sample_id"].to_pylist()] == batch["image"].to_pylist()


@pytest.mark.parametrize("stop", [0, 1, 7, 23, 24])
def test_a_loader_goes_on_from_any_batch(folder: Path, stop: int) -> None:
    whole, own = ids(loader(folder)), loader(folder)
    taken = list(islice(own, stop))
    state = json.loads(json.dumps(own.state_dict()))
    resumed = loader(folder)
    resumed.load_state_dict(state)
    assert ids(taken) + ids(resumed) == whole
    assert resumed.epoch == 1


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_parts_share_an_epoch_without_loss_in_equal_steps(folder: Path, count: int) -> None:
    parts = [ids(loader(folder, part=Part(index, count))) for index in range(count)]
    names = [name for part in parts for name in flat(part)]
    assert len(names) == len(set(names)) == 749
    assert len({len(part) for part in parts}) == 1
    sizes = [len(batch) for part in parts for batch in part]
    assert max(sizes) <= 32
    assert max(sizes) - min(sizes) <= 1


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.booleans(), min_size=1, max_size=400).filter(any),
    st.integers(1, 40), st.integers(1, 9), st.integers(1, 6), st.integers(1, 5), st.integers(0, 3),
)  # fmt: skip
def test_no_order_loses_or_repeats(
    member: list[bool], batch: int, block: int, window: int, count: int, epoch: int
) -> None:
    found: list[int] = []
    steps = set()
    for index in range(count):
        order = EpochOrder(
            runs_of(np.array(member)),
            batch=batch, seed=3, epoch=epoch, part=Part(index, count), rules=ShuffleRules(block, window),
        )  # fmt: skip
        own: list[int] = []
        for number in range(order.windows):
            one = order.window(number)
            rows = np.concatenate([np.arange(*piece) for piece in one.ranges])
            own += rows[one.order].tolist()
        assert order.step(order.steps - 1)[1] == len(own) == order.starts()[-1]
        steps.add(order.steps)
        found += own
    assert sorted(found) == np.flatnonzero(member).tolist()
    assert len(steps) == 1


def test_the_order_is_uniform_over_the_epoch_and_neighbours_are_apart() -> None:
    """Each row's place, over many epochs, has the mean and spread of a uniform one; what stays together is written."""
    rows, epochs = 4096, 200
    rules = ShuffleRules(block_rows=16, window_blocks=32)
    places = np.empty((epochs, rows))
    for epoch in range(epochs):
        order = EpochOrder(np.array([[0, rows]]), batch=32, seed=1, epoch=epoch, part=Part(), rules=rules)
        read = [order.window(number) for number in range(order.windows)]
        order_of_rows = np.concatenate([np.concatenate([np.arange(*r) for r in one.ranges])[one.order] for one in read])
        places[epoch, order_of_rows] = np.arange(rows)
    uniform_std = rows / np.sqrt(12)
    z = (places.mean(axis=0) - (rows - 1) / 2) / (uniform_std / np.sqrt(epochs))
    assert abs(z.std() - 1.0) < 0.15  # blocks move together, so rows are not independent
    assert np.abs(z).max() < 5.0
    assert abs(places.std(axis=0).mean() / uniform_std - 1.0) < 0.02
    near = np.abs(np.diff(places, axis=1)).mean() / rows
    assert 0.03 < near < 1 / 3  # rows that lie together end a third of a window apart; a true shuffle has 1/3


def test_a_state_of_another_loader_is_refused(folder: Path, tmp_path: Path) -> None:
    state = loader(folder).state_dict()
    for other in (
        loader(folder, seed=8),
        loader(folder, batch=8),
        loader(folder, part=Part(0, 2)),
        loader(write(tmp_path / "b", 500)),
    ):
        with pytest.raises(ConfigError, match="another"):
            other.load_state_dict(state)
    with pytest.raises(ConfigError, match="no step 99"):
        loader(folder).load_state_dict(state | {"step": 99})
    with pytest.raises(ConfigError, match="no samples"):
        SampleLoader(folder, "test", batch=1, columns=COLUMNS)
    with pytest.raises(MissingPartError, match="no dataset"):
        SampleLoader(tmp_path / "none", "train", batch=1)
    with pytest.raises(ConfigError, match="batch 0"):
        loader(folder, batch=0)


@pytest.mark.parametrize("state", ["unknown", "present", "BLURRED", None])
def test_no_batch_is_made_of_a_split_that_holds_a_raw_frame(tmp_path: Path, state: str | None) -> None:
    planted = write(tmp_path / "planted", 200, state)
    with pytest.raises(IntegrityError, match="state of personal data"):
        loader(planted)
    assert len(SampleLoader(planted, "val", batch=8, columns=COLUMNS)) > 0  # its split is sound
    silent = lance.dataset(str(planted / "samples.lance")).to_table().drop_columns(["pii_state"])
    lance.write_dataset(silent, str(planted / "samples.lance"), mode="overwrite")
    with pytest.raises(IntegrityError, match="does not say"):
        loader(planted)


def test_the_split_as_it_lies_and_by_place(folder: Path) -> None:
    own = loader(folder)
    next(iter(own))
    state = own.state_dict()
    expected = [f"s{number}" for number in range(ROWS) if number < 500 or number > 750]
    assert flat(ids(own.in_order(100))) == expected
    assert own.samples == len(expected)
    places = np.array([700, 0, 499, 500, 748])
    assert own.take(places)["sample_id"].to_pylist() == [expected[place] for place in places]
    rows = own.order(3).rows()
    assert [expected[place] for place in own.places(rows)] == [f"s{row}" for row in rows]
    assert own.state_dict() == state


_CONSUMER = """
import json, sys, time
from pathlib import Path
from platform_lib.datasets.loader import SampleLoader
from platform_lib.datasets.shuffle import ShuffleRules
own = SampleLoader(Path(sys.argv[1]), "train", batch=32, seed=7, columns=("sample_id",), rules=ShuffleRules(16, 4))
state = Path(sys.argv[2])
if state.exists():
    own.load_state_dict(json.loads(state.read_text()))
for batch in own:
    print(json.dumps([batch.column("sample_id").to_pylist(), own.state_dict()]), flush=True)
    if len(sys.argv) > 3:
        time.sleep(0.01)
"""


@pytest.mark.slow
def test_killed_in_the_middle_the_rest_is_the_same(folder: Path, tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    command = [sys.executable, "-W", "ignore", "-c", _CONSUMER, str(folder), str(state)]
    with subprocess.Popen([*command, "slowly"], stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        lines = [running.stdout.readline() for _ in range(9)]
        running.send_signal(signal.SIGKILL)
        lines += [line for line in running.stdout.readlines() if line.endswith("\n")]
    before = [json.loads(line) for line in lines[:-2]]  # the last ones were trained on and not checkpointed
    state.write_text(json.dumps(before[-1][1]))
    rest = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert [one for one, _ in before] + [json.loads(line)[0] for line in rest] == ids(loader(folder))
