"""Foreign datasets: composed in their documented layouts, read as samples, written again; and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import lance
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory

from platform_lib.datasets.exchange import lerobot, nuscenes_source, parquet_source
from platform_lib.datasets.exchange.model import ImportOptions, Prepared, Trajectory, prepare
from platform_lib.datasets.model import SkippedDrive
from platform_lib.errors import ConfigError, ContractError, IntegrityError, MissingPartError, PlatformError
from platform_lib.home import open_home

T0_NS = 1_780_000_000_000_000_000
FRAMES, RATE_HZ, SPEED_MPS, YAW_RATE_RPS = 60, 10, 10.0, 0.1
DECLARED = ImportOptions(pii_state="none_present", command=0)
pytestmark = pytest.mark.filterwarnings("ignore:lance is not fork-safe")


def picture(seed: int) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 255, (12, 24, 3), dtype=np.uint8)
    return cv2.resize(coarse, (96, 64), interpolation=cv2.INTER_CUBIC)


def jpeg(seed: int) -> bytes:
    return bytes(cv2.imencode(".jpg", picture(seed))[1])


def circle(time_s: np.ndarray) -> np.ndarray:
    """Poses (N, 3) on a circle at constant speed."""
    yaw, radius = YAW_RATE_RPS * time_s, SPEED_MPS / YAW_RATE_RPS
    return np.column_stack([radius * np.sin(yaw), radius * (1 - np.cos(yaw)), yaw])


def check_circle(prepared: Prepared | SkippedDrive) -> None:
    assert isinstance(prepared, Prepared)
    samples = prepared.samples
    assert len(samples) > 10
    expected = circle(np.arange(1, 7) * 0.5)
    np.testing.assert_allclose(samples.future, np.broadcast_to(expected[:, :2], samples.future.shape), atol=0.02)
    np.testing.assert_allclose(samples.ego_yaw_future, np.broadcast_to(expected[:, 2], (len(samples), 6)), atol=1e-3)
    history = np.broadcast_to([SPEED_MPS, YAW_RATE_RPS, 0.0], samples.ego_history.shape)
    np.testing.assert_allclose(samples.ego_history, history, atol=0.02)


def frames(number: int, folder: Path, **changes: Any) -> dict[str, Any]:
    time_s = np.arange(FRAMES) / RATE_HZ
    pose = circle(time_s)
    for frame in range(FRAMES):
        (folder / f"{number}-{frame}.jpg").write_bytes(jpeg(1000 * number + frame))
    return {
        "drive_id": [f"../drive/{number}"] * FRAMES,
        "timestamp_ns": T0_NS + number * 86_400_000_000_000 + np.round(time_s * 1e9).astype(np.int64),
        "image": [f"{number}-{frame}.jpg" for frame in range(FRAMES)],
        "x_m": pose[:, 0],
        "y_m": pose[:, 1],
        "yaw_rad": pose[:, 2],
        "vehicle": ["v"] * FRAMES,
        "latitude_deg": np.full(FRAMES, 48.0 + number),
        "longitude_deg": np.full(FRAMES, 11.0),
        **changes,
    }


def write_parquet(folder: Path, count: int = 1, **changes: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    tables = [pa.table(frames(number, folder, **changes)) for number in range(count)]
    pq.write_table(pa.concat_tables(tables), folder / "frames.parquet")
    return folder


def read_parquet(folder: Path, options: ImportOptions = DECLARED) -> list[Prepared | SkippedDrive]:
    return [prepare(drive, options) for drive in parquet_source.trajectories(folder, options)]


def test_parquet_and_images_become_samples(tmp_path: Path) -> None:
    (one,) = read_parquet(write_parquet(tmp_path))
    check_circle(one)
    assert isinstance(one, Prepared)
    assert set(one.samples.objects) == {None}  # nobody looked, which is not nobody there
    assert one.samples.geohash[0] is not None
    assert one.samples.frames == FRAMES == len(one.samples) + sum(one.samples.dropped.values())


def test_columns_of_other_names_are_named(tmp_path: Path) -> None:
    write_parquet(tmp_path)
    table = pq.read_table(tmp_path / "frames.parquet")
    renamed = table.rename_columns(["pos_x" if name == "x_m" else name for name in table.column_names])
    pq.write_table(renamed, tmp_path / "frames.parquet")
    with pytest.raises(ContractError, match="no column 'x_m'"):
        read_parquet(tmp_path)
    check_circle(read_parquet(tmp_path, ImportOptions("none_present", None, {"x_m": "pos_x"}, 0))[0])
    with pytest.raises(ContractError, match="'xm' is no column of ours"):
        read_parquet(tmp_path, ImportOptions("none_present", None, {"xm": "pos_x"}, 0))


REFUSED: list[tuple[str, ImportOptions, dict[str, Any], type[PlatformError], str]] = [
    ("nobody declares", ImportOptions(command=0), {}, ContractError, "nobody declares"),
    ("the source says present", ImportOptions(command=0), {"pii_state": ["present"] * FRAMES}, ContractError, "'present'"),
    ("one frame unknown", ImportOptions(command=0), {"pii_state": ["blurred"] * 59 + ["unknown"]}, ContractError, "'unknown'"),
    ("one frame says nothing", ImportOptions(command=0), {"pii_state": ["blurred"] * 59 + [None]}, ContractError, "nobody"),
    ("contradicted", DECLARED, {"pii_state": ["blurred"] * FRAMES}, ContractError, "the source says"),
    ("no command", ImportOptions("blurred"), {}, ContractError, "no route command"),
    ("a gap", DECLARED, {"x_m": [None] * FRAMES}, ContractError, "not a number"),
    ("not finite", DECLARED, {"x_m": [float("nan")] * FRAMES}, ContractError, "has gaps"),
    ("two at one time", DECLARED, {"timestamp_ns": [T0_NS] * FRAMES}, ContractError, "do not increase"),
    ("float times", DECLARED, {"timestamp_ns": np.arange(FRAMES) * 0.1}, ContractError, "not a whole number"),
    ("outside", DECLARED, {"image": ["../../etc/passwd"] * FRAMES}, IntegrityError, "outside"),
    ("no name", DECLARED, {"image": ["a\0b"] * FRAMES}, IntegrityError, "no name of a file"),
    ("not there", DECLARED, {"image": ["none.jpg"] * FRAMES}, IntegrityError, "no image"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "changes", "kind", "said"), [row[1:] for row in REFUSED], ids=[r[0] for r in REFUSED]
)
def test_bad_parquet_is_refused(
    tmp_path: Path, options: ImportOptions, changes: dict[str, Any], kind: type[PlatformError], said: str
) -> None:
    with pytest.raises(kind, match=said):
        read_parquet(write_parquet(tmp_path, **changes), options)


def test_what_is_no_picture_is_dropped_and_counted_and_png_is_encoded_again(tmp_path: Path) -> None:
    write_parquet(tmp_path)
    (tmp_path / "0-20.jpg").write_bytes(b"no picture")
    (tmp_path / "0-21.jpg").write_bytes(bytes(cv2.imencode(".png", picture(21))[1]))
    (one,) = read_parquet(tmp_path)
    assert isinstance(one, Prepared)
    assert one.samples.dropped["image_is_no_jpeg"] == 1
    assert one.images.data[21].as_py()[:2] == b"\xff\xd8"


def test_no_folder_no_files_and_cut_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingPartError, match="no Parquet"):
        read_parquet(tmp_path)
    write_parquet(tmp_path)
    whole = (tmp_path / "frames.parquet").read_bytes()
    (tmp_path / "frames.parquet").write_bytes(whole[:-100])
    with pytest.raises(IntegrityError, match="not a whole"):
        read_parquet(tmp_path)
    for wrong in ({"pii_state": "unknown"}, {"pii_state": "none"}, {"command": 7}):
        with pytest.raises(PlatformError):
            ImportOptions(**wrong)  # type: ignore[arg-type]  # each is one wrong value


# nuScenes


def write_nuscenes(folder: Path, scenes: int = 1) -> Path:
    """Write the tables for some scenes of 6 s: camera at 10 Hz, a sample with a box ahead every 0.5 s."""
    tables: dict[str, list[dict[str, Any]]] = {name: [] for name in (
        "scene", "sample", "sample_data", "ego_pose", "calibrated_sensor", "sensor", "log", "sample_annotation", "instance",
        "category")}  # fmt: skip
    tables["sensor"] = [{"token": "cam", "channel": "CAM_FRONT", "modality": "camera"}]
    tables["calibrated_sensor"] = [{"token": "cal", "sensor_token": "cam", "translation": [0, 0, 0]}]
    tables["category"] = [{"token": "c", "name": "vehicle.car"}]
    (folder / "samples").mkdir(parents=True)
    for scene in range(scenes):
        start_us = T0_NS // 1000 + scene * 86_400_000_000
        tables["log"].append({"token": f"log{scene}", "vehicle": "n015", "location": "singapore-onenorth"})
        tables["scene"].append({"token": f"s{scene}", "name": f"scene-{scene:04d}", "log_token": f"log{scene}"})
        tables["instance"].append({"token": f"i{scene}", "category_token": "c"})
        for frame, pose in enumerate(circle(np.arange(FRAMES) / RATE_HZ)):
            key, at_us = f"{scene}-{frame}", start_us + frame * 100_000
            where = [300.0 + 1000.0 * scene + pose[0], 1000.0 + pose[1], 0.0]
            turned = [np.cos(pose[2] / 2), 0.0, 0.0, np.sin(pose[2] / 2)]
            sample = f"{scene}-{frame // 5 * 5}"
            name = f"samples/{key}.jpg"
            (folder / name).write_bytes(jpeg(1000 * scene + frame))
            tables["ego_pose"].append({"token": key, "timestamp": at_us, "translation": where, "rotation": turned})
            tables["sample_data"].append(
                {"token": key, "sample_token": sample, "ego_pose_token": key, "calibrated_sensor_token": "cal",
                 "timestamp": at_us, "filename": name}
            )  # fmt: skip
            if frame % 5 == 0:
                tables["sample"].append({"token": key, "timestamp": at_us, "scene_token": f"s{scene}"})
                ahead = [where[0] + 12 * np.cos(pose[2]), where[1] + 12 * np.sin(pose[2]), 0.0]
                tables["sample_annotation"].append(
                    {"token": key, "sample_token": key, "instance_token": f"i{scene}", "translation": ahead,
                     "size": [1.8, 4.5, 1.5], "rotation": turned}
                )  # fmt: skip
    place = folder / "v1.0-mini"
    place.mkdir()
    for table, rows in tables.items():
        (place / f"{table}.json").write_text(json.dumps(rows))
    return folder


def test_nuscenes_scenes_become_samples_with_objects_and_a_place(tmp_path: Path) -> None:
    (drive,) = list(nuscenes_source.trajectories(write_nuscenes(tmp_path), DECLARED))
    one = prepare(drive, DECLARED)
    check_circle(one)
    assert isinstance(one, Prepared)
    assert one.samples.vehicle == "n015"
    assert str(one.samples.geohash[0]).startswith("w21z")  # Singapore
    objects = one.samples.objects[0]
    assert objects is not None
    assert objects.kind == ("vehicle",) * 6
    # The car keeps 12 m ahead on the circle: at step k it is where the ego will be, and 12 m on.
    for step, (x, y, yaw, length, width) in zip(objects.step, objects.box, strict=True):
        ego = circle(np.array([0.5 * (step + 1)]))[0]
        expected = [ego[0] + 12 * np.cos(ego[2]), ego[1] + 12 * np.sin(ego[2]), ego[2], 4.5, 1.8]
        np.testing.assert_allclose([x, y, yaw, length, width], expected, atol=0.1)


def test_bad_nuscenes_is_refused(tmp_path: Path) -> None:
    folder = write_nuscenes(tmp_path / "whole")
    with pytest.raises(ContractError, match="nobody declares"):
        list(nuscenes_source.trajectories(folder, ImportOptions(command=0)))
    with pytest.raises(ConfigError, match="no channel 'CAM_BACK'"):
        list(nuscenes_source.trajectories(folder, ImportOptions("blurred", "CAM_BACK")))
    with pytest.raises(MissingPartError, match=r"0 folders v1\.0"):
        list(nuscenes_source.trajectories(tmp_path, DECLARED))
    tables = folder / "v1.0-mini"
    poses = (tables / "ego_pose.json").read_text()
    for text, said in (
        ("[]", "no row with the token"),
        ("[{}]", "not a nuScenes table"),
        ("[", "not a nuScenes table"),
    ):
        (tables / "ego_pose.json").write_text(text)
        with pytest.raises(IntegrityError, match=said):
            list(nuscenes_source.trajectories(folder, DECLARED))
    (tables / "ego_pose.json").write_text(poses)
    (folder / "samples" / "0-3.jpg").unlink()
    with pytest.raises(IntegrityError, match="no image"):
        prepare(next(nuscenes_source.trajectories(folder, DECLARED)), DECLARED)


# LeRobot


def write_lerobot(folder: Path, *, video: bool, names: tuple[str, ...] = ("x_m", "y_m", "yaw_rad")) -> Path:
    """Write one episode as LeRobot does, with its pictures in the data file or in a video."""
    key = "observation.images.front"
    time_s = np.arange(FRAMES) / RATE_HZ
    index = np.arange(FRAMES)
    columns: dict[str, Any] = {
        "observation.state": pa.array(circle(time_s).astype(np.float32).tolist(), pa.list_(pa.float32(), 3)),
        "timestamp": time_s.astype(np.float32),
        "frame_index": index,
        "episode_index": np.zeros(FRAMES, np.int64),
        "index": index,
        "task_index": np.zeros(FRAMES, np.int64),
    }
    episode = {"episode_index": 0, "tasks": ["drive"], "length": FRAMES, "data/chunk_index": 0, "data/file_index": 0}
    if video:
        path = folder / f"videos/{key}/chunk-000/file-000.mp4"
        path.parent.mkdir(parents=True)
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), RATE_HZ, (96, 64))
        for frame in range(FRAMES):
            writer.write(picture(frame))
        writer.release()
        episode |= {f"videos/{key}/{what}": 0 for what in ("chunk_index", "file_index", "from_timestamp")}
    else:
        columns[key] = pa.array([{"bytes": jpeg(frame), "path": f"{frame}.jpg"} for frame in range(FRAMES)])
    for name, table in (("data", pa.table(columns)), ("meta/episodes", pa.Table.from_pylist([episode]))):
        (folder / name / "chunk-000").mkdir(parents=True)
        pq.write_table(table, folder / name / "chunk-000/file-000.parquet")
    features = {
        key: {"dtype": "video" if video else "image", "shape": [64, 96, 3], "names": ["height", "width", "channels"]},
        "observation.state": {"dtype": "float32", "shape": [3], "names": {"motors": list(names)}},
        "timestamp": {"dtype": "float32", "shape": [1], "names": None},
    }
    info = {
        "codebase_version": "v3.0", "robot_type": "car", "total_episodes": 1, "total_frames": FRAMES, "fps": RATE_HZ,
        "data_path": lerobot.DATA, "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
        "features": features,
    }  # fmt: skip
    (folder / "meta/info.json").write_text(json.dumps(info))
    return folder


@pytest.mark.parametrize("video", [False, True])
def test_lerobot_episodes_become_samples(tmp_path: Path, *, video: bool) -> None:
    (drive,) = list(lerobot.trajectories(write_lerobot(tmp_path / "set", video=video), DECLARED))
    assert isinstance(drive, Trajectory)
    check_circle(prepare(drive, DECLARED))
    shown = cv2.imdecode(np.frombuffer(drive.image(30), np.uint8), cv2.IMREAD_COLOR).astype(float)
    assert np.abs(shown - picture(30)).mean() < 12  # and not its neighbour
    assert np.abs(shown - picture(31)).mean() > 40


def test_bad_lerobot_is_refused(tmp_path: Path) -> None:
    def read(folder: Path, options: ImportOptions = DECLARED) -> None:
        list(lerobot.trajectories(folder, options))

    with pytest.raises(MissingPartError, match="no meta/info"):
        read(tmp_path)
    with pytest.raises(ContractError, match="no feature 'x_m'"):
        read(write_lerobot(tmp_path / "unnamed", video=False, names=("a", "b", "c")))
    folder = write_lerobot(tmp_path / "set", video=False)
    with pytest.raises(ContractError, match="nobody declares"):
        read(folder, ImportOptions(command=0))
    with pytest.raises(ConfigError, match="no camera 'rear'"):
        read(folder, ImportOptions("blurred", "rear"))
    info = json.loads((folder / "meta/info.json").read_text())
    for change, kind, said in (
        ({"codebase_version": "v2.1"}, ContractError, "only v3"),
        ({"total_frames": 61}, IntegrityError, "60 frames in data/"),
        ({"fps": 0}, IntegrityError, "fps"),
    ):
        (folder / "meta/info.json").write_text(json.dumps(info | change))
        with pytest.raises(kind, match=said):
            read(folder)


def test_a_video_outside_the_dataset_is_not_opened(tmp_path: Path) -> None:
    folder = write_lerobot(tmp_path / "set", video=True)
    info = json.loads((folder / "meta/info.json").read_text())
    (folder / "videos").rename(tmp_path / "elsewhere")
    (folder / "meta/info.json").write_text(
        json.dumps(info | {"video_path": info["video_path"].replace("videos/", "../elsewhere/")})
    )
    with pytest.raises(IntegrityError, match="lies outside the dataset"):
        list(lerobot.trajectories(folder, DECLARED))


@pytest.mark.slow
def test_in_and_out_and_in_again(reachable_tmp: Path) -> None:
    """Parquet in; LeRobot out and in, row for row the same; MCAP out, read by the MCAP library."""
    from platform_lib.datasets.exchange.importing import export_dataset, import_dataset

    home, source = open_home(reachable_tmp / "home"), write_parquet(reachable_tmp / "source", 4)
    folder, manifest, skipped = import_dataset(home, source, "a", layout="parquet", options=DECLARED, seed=1)
    assert not skipped
    assert import_dataset(home, source, "a", layout="parquet", options=DECLARED, seed=1)[2]
    proof: Any = manifest.metrics["split_proof"]
    assert proof["near_duplicates"]["across"] == {"train/val": 0, "train/test": 0, "val/test": 0}
    assert proof["places"]["unpositioned"] == {"train": 0, "val": 0, "test": 0}
    out = reachable_tmp / "lerobot"
    counts = export_dataset(home, "a", out, form="lerobot")
    check_lerobot(out, counts)
    again, _, _ = import_dataset(home, out, "b", layout="lerobot", options=ImportOptions(), seed=1)
    one, other = (
        lance.dataset(str(place / "samples.lance")).to_table().drop_columns(["split"]).sort_by("sample_id")
        for place in (folder, again)
    )
    assert len(one) == counts["frames"] > 40
    assert one.equals(other)
    with pytest.raises(ConfigError, match="it exists"):
        export_dataset(home, "a", out, form="mcap")
    counts = export_dataset(home, "a", reachable_tmp / "mcap", form="mcap")
    assert counts == {"files": 4, "frames": len(one)}
    check_mcap(reachable_tmp / "mcap", one)


def check_lerobot(folder: Path, counts: dict[str, int]) -> None:
    """Hold an export against the layout, field by field."""
    info = json.loads((folder / "meta/info.json").read_text())
    assert {"codebase_version", "robot_type", "total_episodes", "total_frames", "total_tasks", "chunks_size", "fps", "splits",
            "data_path", "video_path", "features", "data_files_size_in_mb", "video_files_size_in_mb"} <= set(info)  # fmt: skip
    table = pq.read_table(folder / info["data_path"].format(chunk_index=0, file_index=0))
    assert set(table.column_names) == set(info["features"])
    for name, feature in info["features"].items():
        kind = table.schema.field(name).type
        if feature["dtype"] == "image":
            assert kind == pa.struct([("bytes", pa.binary()), ("path", pa.string())])
            assert (
                list(cv2.imdecode(np.frombuffer(table[name][0].as_py()["bytes"], np.uint8), 1).shape)
                == feature["shape"]
            )
        elif feature["shape"] == [1]:
            assert str(kind) == {"float32": "float"}.get(feature["dtype"], feature["dtype"])
        else:
            assert (kind.list_size, kind.value_type) == (feature["shape"][0], pa.float32())
            assert len(feature["names"]) == kind.list_size
    assert table["index"].to_pylist() == list(range(info["total_frames"]))
    episodes = pq.read_table(folder / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    assert len(episodes) == info["total_episodes"] == counts["episodes"]
    for episode in episodes:
        own = table.slice(episode["dataset_from_index"], episode["length"])
        assert own["episode_index"].unique().to_pylist() == [episode["episode_index"]]
        assert own["frame_index"].to_pylist() == list(range(episode["length"]))
        np.testing.assert_allclose(own["timestamp"].to_numpy(), np.arange(episode["length"]) / info["fps"], atol=1e-4)
    assert pq.ParquetFile(folder / "data/chunk-000/file-000.parquet").num_row_groups == len(episodes)
    assert info["splits"]["test"].endswith(f":{len(episodes)}")
    tasks = pq.read_table(folder / "meta/tasks.parquet").to_pandas()
    assert (tasks.index.name, list(tasks.columns), len(tasks)) == ("task", ["task_index"], info["total_tasks"])
    stats = json.loads((folder / "meta/stats.json").read_text())
    assert np.array(stats["observation.images.front"]["mean"]).shape == (3, 1, 1)
    assert len(stats["action"]["std"]) == 12


def check_mcap(folder: Path, rows: pa.Table) -> None:
    by_id = {row["sample_id"]: row for row in rows.to_pylist()}
    for path in sorted(folder.iterdir()):
        with path.open("rb") as stream:
            reader = make_reader(stream, validate_crcs=True, decoder_factories=[DecoderFactory()])
            pictures = {
                m.log_time: bytes(ros.data)
                for _, _, m, ros in reader.iter_decoded_messages(["/camera/front/image/compressed"])
            }
            assert next(iter(reader.iter_metadata())).metadata["pii_state"] == "none_present"
            for _, _, message in reader.iter_messages(["/drivetrain/sample"]):
                sample = json.loads(message.data)
                row = by_id.pop(sample["sample_id"])
                assert pictures[message.log_time] == row["image"]
                assert message.log_time == row["timestamp_ns"]
                np.testing.assert_array_equal(np.ravel(sample["future"]), row["future"])
                np.testing.assert_array_equal(np.ravel(sample["ego_history"]), row["ego_history"])
    assert not by_id


@pytest.mark.parametrize(
    ("layout", "text"), [("parquet", "no Parquet"), ("nuscenes", "0 folders"), ("lerobot", "no meta/info")]
)
def test_a_folder_of_another_layout_is_refused_before_its_files_are_read(
    reachable_tmp: Path, monkeypatch: pytest.MonkeyPatch, layout: Any, text: str
) -> None:
    from platform_lib.datasets.exchange import importing

    monkeypatch.setattr(importing, "input_of", lambda path: pytest.fail(f"{path} is hashed"))
    (reachable_tmp / "source").mkdir()
    with pytest.raises(MissingPartError, match=text):
        importing.import_dataset(
            open_home(reachable_tmp / "home"), reachable_tmp / "source", "a", layout=layout, options=DECLARED, seed=1
        )
