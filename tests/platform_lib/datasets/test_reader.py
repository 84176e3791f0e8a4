"""A dataset on disk: what goes in comes out, and any change to it is noticed."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pytest

from platform_lib.datasets.assembly import assemble, content_sha256, metrics_of, plan_splits
from platform_lib.datasets.building import build_samples
from platform_lib.datasets.images import decode_images
from platform_lib.datasets.model import AdmittedPii, DriveSamples, SampleRules
from platform_lib.datasets.reader import KIND, MANIFEST_FILE, SAMPLES, SPLIT_FILE, STATS_FILE, DrivingDataset
from platform_lib.datasets.shards import Shard, write_samples
from platform_lib.datasets.splits import SPLITS
from platform_lib.datasets.table import samples_table, with_split
from platform_lib.errors import ContractError, IntegrityError
from platform_lib.manifest import Step
from platform_lib.privacy.frames import AdmittedFrames
from platform_lib.storage import publish_folder

EVENTS = ("cruise", "lead", "cut_in", "pedestrian", "traffic_light")


def jpeg(number: int) -> bytes:
    picture = np.random.default_rng(number).integers(0, 255, (24, 48, 3), dtype=np.uint8)
    return bytes(cv2.imencode(".jpg", cv2.resize(picture, (384, 192)))[1])


def samples_of(drives: Any, number: int) -> DriveSamples:
    agent = drives.Agent(1, "vehicle", 130.0, -20.0, 0.7, 8.0)
    streams = drives.make(drives.Motion(curvature=0.01 * number), drive_id=f"drive-{number}", agents=(agent,))
    streams = dataclasses.replace(streams, labels={"weather": "clear", "event": EVENTS[number % 5]})
    samples = build_samples(streams, SampleRules(every=10))
    assert isinstance(samples, DriveSamples)
    return samples


def shard_of(drives: Any, number: int, folder: Path, *, pictures: int | None = None) -> Shard:
    samples = samples_of(drives, number)
    base = 1000 * (number if pictures is None else pictures)
    images = pa.chunked_array([[jpeg(base + frame) for frame in range(samples.frames)]], pa.large_binary())
    labels = {"weather": "clear", "event": EVENTS[number % 5]}
    frames = AdmittedFrames(images, ("none_present",) * samples.frames)
    return write_samples(samples, frames, folder, files=(f"file-{number}",), labels=labels)


def published(shards: list[Shard], folder: Path, *, seed: int = 3) -> DrivingDataset:
    step = Step(KIND, inputs={}, config={"seed": seed}, modules=("platform_lib.datasets.assembly",))
    with publish_folder(folder) as temporary:
        plan = plan_splits(shards, seed=seed)
        assemble(plan, temporary)
        outputs = {name: temporary / name for name in (SAMPLES, SPLIT_FILE, STATS_FILE)}
        step.finish(temporary / MANIFEST_FILE, outputs, metrics_of(plan, []))
    return DrivingDataset.open(folder)


@pytest.fixture(scope="module")
def shards(drives: Any, tmp_path_factory: pytest.TempPathFactory) -> list[Shard]:
    folder = tmp_path_factory.mktemp("shards")
    return [shard_of(drives, number, folder) for number in range(5)]


def test_what_goes_in_comes_out(drives: Any, shards: list[Shard], tmp_path: Path) -> None:
    dataset = published(shards, tmp_path / "demo")
    seen = set()
    for split in SPLITS:
        arrays = dataset.load_split(split)
        assert len(arrays) == dataset.sample_count(split) == dataset.proof.samples[split] > 0
        assert list(zip(arrays.drive_id, arrays.timestamp_ns, strict=True)) == sorted(
            zip(arrays.drive_id, arrays.timestamp_ns, strict=True)
        )
        for drive_id in dataset.proof.drives[split]:
            number = int(drive_id.removeprefix("drive-"))
            source = samples_of(drives, number)
            rows = [row for row, name in enumerate(arrays.drive_id) if name == drive_id]
            np.testing.assert_array_equal(arrays.ego_history[rows], source.ego_history)
            np.testing.assert_array_equal(arrays.future[rows], source.future)
            np.testing.assert_array_equal(arrays.ego_yaw_future[rows], source.ego_yaw_future)
            np.testing.assert_array_equal(arrays.command[rows], source.command)
            assert [arrays.slices[row] for row in rows] == list(source.slices)
            for row, around in zip(rows, source.objects, strict=True):
                assert arrays.objects[row].kind == around.kind
                np.testing.assert_array_equal(arrays.objects[row].step, around.step)
                np.testing.assert_array_equal(arrays.objects[row].box, around.box)
            expected = decode_images([jpeg(1000 * number + frame) for frame in source.frame], ["x"] * len(rows))
            np.testing.assert_array_equal(arrays.images[rows], expected)
            seen.update(arrays.sample_id[row] for row in rows)
    assert len(seen) == sum(shard.rows for shard in shards)


def test_the_proof_names_every_drive_once_and_shares_nothing(shards: list[Shard], tmp_path: Path) -> None:
    proof = published(shards, tmp_path / "demo").proof
    placed = [name for split in SPLITS for name in proof.drives[split]]
    assert sorted(placed) == [shard.drive_id for shard in shards]
    assert set(proof.shared_drives.values()) == set(proof.shared_content.values()) == {0}
    assert {name: digests for split in SPLITS for name, digests in proof.files[split].items()} == {
        shard.drive_id: shard.files for shard in shards
    }
    assert set(proof.pii_states["train"]) == {"none_present"}
    assert sum(proof.slices["train"].values()) >= proof.samples["train"]


def test_a_copy_of_a_drive_under_another_name_stays_in_its_split(
    drives: Any, shards: list[Shard], tmp_path: Path
) -> None:
    copy = shard_of(drives, 7, tmp_path, pictures=2)  # the pictures of drive 2, all else its own
    for seed in range(8):
        proof = published([*shards, copy], tmp_path / f"seed-{seed}", seed=seed).proof
        home = {name: split for split in SPLITS for name in proof.drives[split]}
        assert home["drive-7"] == home["drive-2"]
        assert proof.duplicates == (("drive-2", "drive-7"),)


def test_statistics_come_from_train_alone(shards: list[Shard], tmp_path: Path) -> None:
    dataset = published(shards, tmp_path / "demo")
    train = dataset.load_split("train")
    assert dataset.stats.samples == len(train)
    history = train.ego_history.reshape(-1, 3).astype(np.float64)
    np.testing.assert_allclose(dataset.stats.ego_history_mean, history.mean(axis=0))
    np.testing.assert_allclose(dataset.stats.future_mean, train.future.astype(np.float64).mean(axis=0))
    assert sum(dataset.stats.command_counts) == len(train)


def test_rows_do_not_depend_on_the_order_in_which_tasks_end(shards: list[Shard], tmp_path: Path) -> None:
    one, other = published(shards, tmp_path / "a"), published(shards[::-1], tmp_path / "b")
    assert one.manifest.metrics == other.manifest.metrics
    for split in SPLITS:
        assert one.load_split(split).sample_id == other.load_split(split).sample_id
    assert content_sha256(shards, one.proof) == content_sha256(shards[::-1], other.proof)


@pytest.mark.parametrize("damaged", [SPLIT_FILE, STATS_FILE, "data", "_versions"])
def test_any_change_is_noticed(shards: list[Shard], tmp_path: Path, damaged: str) -> None:
    folder = published(shards, tmp_path / "demo").folder
    victim = next((folder / SAMPLES / damaged).iterdir()) if (folder / SAMPLES / damaged).is_dir() else folder / damaged
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(data)
    with pytest.raises(IntegrityError, match="changed after it was made"):
        DrivingDataset.open(folder)


def test_an_added_file_and_a_manifest_of_something_else_are_noticed(shards: list[Shard], tmp_path: Path) -> None:
    folder = published(shards, tmp_path / "demo").folder
    (folder / SAMPLES / "data" / "more.lance").write_bytes(b"x")
    with pytest.raises(IntegrityError):
        DrivingDataset.open(folder)
    (folder / SAMPLES / "data" / "more.lance").unlink()
    document = json.loads((folder / MANIFEST_FILE).read_text())
    (folder / MANIFEST_FILE).write_text(json.dumps({**document, "kind": "run"}))
    with pytest.raises(IntegrityError, match="'run'"):
        DrivingDataset.open(folder)


def test_rows_whose_personal_data_is_not_admitted_stop_the_build(drives: Any) -> None:
    samples = samples_of(drives, 1)
    images = pa.chunked_array([[b"x"] * samples.frames], pa.large_binary())
    assert len(with_split(samples_table(samples, images), "train")) == len(samples)
    planted = dataclasses.replace(samples, pii_state=("present", *samples.pii_state[1:]))  # type: ignore[arg-type]  # the planted fault
    with pytest.raises(ContractError, match="'present'"):
        with_split(samples_table(planted, images), "train")
    assert "unknown" not in set(AdmittedPii)


def test_numbers_that_are_not_finite_stop_the_build(drives: Any) -> None:
    samples = samples_of(drives, 1)
    future = samples.future.copy()
    future[0, 0, 0] = np.nan
    images = pa.chunked_array([[b"x"] * samples.frames], pa.large_binary())
    with pytest.raises(ContractError, match="future"):
        with_split(samples_table(dataclasses.replace(samples, future=future), images), "train")


def test_images_are_cropped_to_the_road_and_shrunk_by_the_mean_of_blocks() -> None:
    picture = cv2.cvtColor(cv2.imdecode(np.frombuffer(jpeg(5), np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    blocks = picture[40:168].reshape(64, 2, 192, 2, 3).astype(np.int64).sum(axis=(1, 3))
    np.testing.assert_array_equal(decode_images([jpeg(5)], ["one"])[0], (blocks + 2) // 4)


@pytest.mark.parametrize("data", [b"", b"\xff\xd8 no picture \xff\xd9"])
def test_an_image_that_cannot_be_decoded_is_named(data: bytes) -> None:
    with pytest.raises(IntegrityError, match="one"):
        decode_images([data], ["one"])
