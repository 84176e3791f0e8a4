"""Failed drives as files: they open by every door, and drive again to the same end; scenes know what the world knows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mcap.reader import make_reader

from platform_lib.errors import CorruptLog
from platform_lib.evaluation.epdms import PARTS, score_epdms
from platform_lib.logs import open_log
from platform_lib.models.interface import ConstantVelocity
from platform_lib.scenario.foxglove import message_class
from platform_lib.scenario.replay import TOPICS, read_replay
from ray_jobs.driving import replay_of, write_failures
from ray_jobs.episodes import Drive, drive_again, drive_planner, worlds
from ray_jobs.known_scenes import asked, expert_scenes, joined, pairs


@pytest.fixture(scope="module")
def failed() -> Drive:
    """Constant velocity where a bend comes: it leaves the road."""
    drive = drive_planner(ConstantVelocity(), worlds()[3], looks=False, expert_progress_m=117.0)
    assert drive.episode.failed
    return drive


@pytest.fixture(scope="module")
def file(failed: Drive, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("failures")
    listed, files = write_failures([failed, failed], [replay_of(failed)], folder)
    assert [one.file for one in listed] == [f"failures/{failed.spec.session}.mcap", None]
    assert {one.seed for one in listed} == {failed.spec.seed}
    assert listed[0].what == failed.episode.failed
    return files[listed[0].file or ""]


def test_it_drives_again_to_the_same_end(failed: Drive, file: Path):
    found = read_replay(file)
    assert found.spec == failed.spec
    assert np.array_equal(found.controls, failed.controls)
    again = drive_again(
        found.spec, found.controls, found.outcome.planner, expert_progress_m=found.outcome.expert_progress_m
    )
    assert again == failed.episode
    other = found.controls.copy()
    other[:, 0] = -5.0  # braking at once, it stays on the road
    braked = drive_again(found.spec, np.vstack([other, np.tile(other[-1:], (150, 1))]), "x", expert_progress_m=117.0)
    assert braked.failed is None


def test_our_own_door_opens_it(failed: Drive, file: Path):
    with open_log(file) as log:
        assert {stream.name for stream in log.streams} == set(TOPICS)
        rows = {stream.name: stream.rows for stream in log.streams}
        (controls,) = log.read("/control")
        scene = next(iter(log.read("/scene"))).slice(1, 1).to_pylist()[0]
    assert rows["/ego"] == rows["/control"] + 1 == len(failed.controls) + 1
    assert controls.column("accel_mps2").to_pylist() == failed.controls[:, 0].tolist()
    assert scene["entities"][0]["id"] == "ego"
    assert scene["entities"][0]["cubes"][0]["size"] == {"x": 4.6, "y": 1.9, "z": 1.5}


def test_the_formats_own_library_reads_it_with_the_schemas_it_carries(failed: Drive, file: Path):
    with file.open("rb") as stream:
        reader = make_reader(stream, validate_crcs=True)
        messages = [(schema, channel, message) for schema, channel, message in reader.iter_messages()]
        told = [record.metadata for record in reader.iter_metadata()]
    assert {(channel.topic, schema.name) for schema, channel, _ in messages} == set(TOPICS.items())
    assert {schema.encoding for schema, _, _ in messages} == {"protobuf"}
    assert told[0]["seed"] == str(failed.spec.seed)
    log = next(message for _, channel, message in messages if channel.topic == "/log")
    assert message_class("foxglove.Log").FromString(log.data).message.endswith(failed.episode.failed or "")
    picture = next(message for _, channel, message in messages if channel.topic == "/camera")
    assert message_class("foxglove.CompressedImage").FromString(picture.data).data[:2] == b"\xff\xd8"


def test_the_same_drive_gives_the_same_bytes(failed: Drive, file: Path):
    assert replay_of(failed) == file.read_bytes()


def test_another_file_is_refused(tmp_path: Path):
    (tmp_path / "x.mcap").write_bytes(b"no mcap at all")
    with pytest.raises(CorruptLog, match="no recording of a simulated drive"):
        read_replay(tmp_path / "x.mcap")


def test_scenes_of_the_experts_drive_know_everything_and_the_expert_gets_all():
    spec = next(item for item in worlds() if item.event == "traffic_light")
    episode, scenes = expert_scenes(spec)
    assert episode.failed is None
    assert len(scenes) == 3
    known = joined(scenes)
    assert np.isfinite(known.lights.stop_s_m).all()
    now, before = asked(ConstantVelocity(), scenes)
    scores = score_epdms(known.frames.future_m, pairs(before, scenes), known)
    assert set(scores) == {*PARTS, "epdms"}
    for part in set(PARTS) - {"ec"}:
        assert scores[part].tolist() == [1.0] * 3, part
    s, d = known.frames.road.locate(np.zeros((3, 1)), np.zeros((3, 1)))
    assert s[:, 0] == pytest.approx(20.0, abs=0.01)
    assert (np.abs(d) < 7.0).all()
    assert now.shape == before.shape == (3, 6, 2)
