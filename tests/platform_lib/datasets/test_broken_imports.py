"""Foreign folders with everything wrong that can be: each is refused by a sentence that says what, where and what to do."""

from __future__ import annotations

import json
import re
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from platform_lib.datasets.exchange import lerobot, lerobot_samples, nuscenes_source, parquet_source
from platform_lib.datasets.exchange.model import ImportOptions, Prepared, prepare
from platform_lib.datasets.model import COMMANDS, FUTURE_STEPS, HISTORY_STEPS
from platform_lib.errors import ContractError, PlatformError

FRAMES = 50
DECLARED = ImportOptions(pii_state="none_present", command=0)
CAMERA = "observation.images.front"
Change = Callable[[Path], object]


def jpeg(seed: int = 0) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (24, 32, 3), dtype=np.uint8)
    return bytes(cv2.imencode(".jpg", pixels)[1])


def refused(read: Callable[[], object]) -> PlatformError:
    """Return the refusal, which has to say what, where and what to do."""
    with pytest.raises(PlatformError) as caught:
        read()
    assert caught.value.what
    assert caught.value.where
    assert caught.value.remedy
    return caught.value


# Plain Parquet


def plain(folder: Path) -> Path:
    folder.mkdir()
    time_s = np.arange(FRAMES) / 10
    table = pa.table(
        {
            "drive_id": ["fährt/日本 'a'"] * FRAMES,
            "timestamp_ns": np.round(time_s * 1e9).astype(np.int64),
            "image": [jpeg(frame) for frame in range(FRAMES)],
            "x_m": 10 * time_s,
            "y_m": np.zeros(FRAMES),
            "yaw_rad": np.zeros(FRAMES),
        }
    )
    pq.write_table(table, folder / "a.parquet")
    return folder


def put(name: str, values: Any) -> Change:
    def change(folder: Path) -> None:
        table = pq.read_table(folder / "a.parquet")
        own = values(len(table)) if callable(values) else values
        table = table.drop_columns([name]) if name in table.column_names else table
        pq.write_table(
            table.append_column(name, own if isinstance(own, pa.Array) else pa.array(own)), folder / "a.parquet"
        )

    return change


def without(name: str) -> Change:
    return lambda folder: pq.write_table(pq.read_table(folder / "a.parquet").drop_columns([name]), folder / "a.parquet")


def damaged(folder: Path) -> None:
    content = bytearray((folder / "a.parquet").read_bytes())
    content[2000:9000] = bytes(7000)
    (folder / "a.parquet").write_bytes(content)


def second_file(folder: Path) -> None:
    table = pq.read_table(folder / "a.parquet")
    pq.write_table(table.set_column(0, "drive_id", pa.array(range(len(table)))), folder / "b.parquet")


def link_circle(folder: Path) -> None:
    (folder / "0.jpg").symlink_to(folder / "1.jpg")
    (folder / "1.jpg").symlink_to(folder / "0.jpg")
    put("image", ["0.jpg"] * FRAMES)(folder)


def link_outside(folder: Path) -> None:
    (folder.parent / "secret").write_bytes(jpeg())
    (folder / "0.jpg").symlink_to(folder.parent / "secret")
    put("image", ["0.jpg"] * FRAMES)(folder)


def is_folder(folder: Path) -> None:
    (folder / "0.jpg").mkdir()
    put("image", ["0.jpg"] * FRAMES)(folder)


def twice_named(folder: Path) -> None:
    table = pq.read_table(folder / "a.parquet")
    pq.write_table(table.append_column("x_m", table["y_m"]), folder / "a.parquet")


PLAIN: dict[str, tuple[Change, str]] = {
    "no rows": (lambda folder: pq.write_table(pq.read_table(folder / "a.parquet")[:0], folder / "a.parquet"), "no row"),
    "no image column": (without("image"), "no column 'image'"),
    "no drive": (put("drive_id", ["a"] * (FRAMES - 1) + [None]), "1 of 50 rows name no drive"),
    "drives are lists": (put("drive_id", [["a"]] * FRAMES), "'drive_id' is list<.*>, not a name"),
    "times are texts": (put("timestamp_ns", ["now"] * FRAMES), "'timestamp_ns' is string, not a whole number"),
    "a time is missing": (put("timestamp_ns", [*range(FRAMES - 1), None]), "'timestamp_ns' has gaps"),
    "times beyond": (put("timestamp_ns", pa.array([2**64 - 1] * FRAMES, pa.uint64())), "beyond 2\\^63"),
    "poses are texts": (put("x_m", ["1"] * FRAMES), "'x_m' is string, not a number"),
    "poses are infinite": (put("yaw_rad", [float("inf")] * FRAMES), "not finite"),
    "half a command": (put("command", [0.5] * FRAMES), "no whole number"),
    "pictures are numbers": (put("image", list(range(FRAMES))), "'image' is int64, not a picture"),
    "pictures are lists": (put("image", [[1, 2]] * FRAMES), "not a picture"),
    "pictures of another struct": (put("image", [{"pixels": b""}] * FRAMES), "not a picture"),
    "a picture is missing": (put("image", [None, *[jpeg()] * (FRAMES - 1)]), "a frame has no image"),
    "states are numbers": (put("pii_state", [1] * FRAMES), "'pii_state' is int64, not a text"),
    "a state that is empty": (put("pii_state", [""] * FRAMES), "personal data is ''"),
    "damaged": (damaged, "not a whole Parquet file"),
    "files that differ": (second_file, "differ in their columns"),
    "links in a circle": (link_circle, "no (image|name)"),
    "a link outside": (link_outside, "lies outside the dataset"),
    "an absolute path": (put("image", ["/etc/hostname"] * FRAMES), "lies outside the dataset"),
    "a folder": (is_folder, "no image"),
    "two columns of a name": (twice_named, "not a whole Parquet file|two columns"),
}


@pytest.mark.parametrize("name", PLAIN)
def test_broken_parquet_is_refused_by_a_sentence(tmp_path: Path, name: str) -> None:
    change, said = PLAIN[name]
    folder = plain(tmp_path / "set")
    change(folder)
    options = ImportOptions(command=0) if "state" in name else DECLARED
    error = refused(lambda: [prepare(drive, options) for drive in parquet_source.trajectories(folder, options)])
    assert re.search(said, error.what), error


def test_what_is_unusual_and_sound_comes_in(tmp_path: Path) -> None:
    """Dictionaries as pandas writes categories, large strings, half floats, pictures as structs, any name of a drive."""
    folder = plain(tmp_path / "set")
    put("drive_id", lambda count: pa.array(["fährt/日本 'a'"] * count).dictionary_encode())(folder)
    put("y_m", lambda count: pa.array(np.zeros(count, np.float16)))(folder)
    put("pii_state", lambda count: pa.array(["blurred"] * count, pa.large_string()))(folder)
    put("image", [{"bytes": jpeg(frame), "path": None} for frame in range(FRAMES)])(folder)
    (drive,) = parquet_source.trajectories(folder, ImportOptions(command=0))
    one = prepare(drive, ImportOptions(command=0))
    assert isinstance(one, Prepared)
    assert one.samples.drive_id == "fährt/日本 'a'"


@pytest.mark.parametrize("state", ["present", "unknown", "none", "BLURRED", ""])
def test_a_refused_state_says_what_helps_a_foreign_folder(tmp_path: Path, state: str) -> None:
    folder = plain(tmp_path / "set")
    put("pii_state", [state] * FRAMES)(folder)
    told = refused(lambda: list(parquet_source.trajectories(folder, ImportOptions(command=0))))
    assert "before the import" in str(told.remedy)
    assert "blurs logs alone" in str(told.remedy)
    assert told.remedy == refused(lambda: ImportOptions(pii_state=state)).remedy


def test_a_picture_with_a_hostile_header_is_left_out_and_counted(tmp_path: Path) -> None:
    """It begins and ends as a JPEG does; OpenCV raises at the size that one claims, and finds nothing in the other."""
    from platform_lib.datasets.shards import Shard, write_samples
    from platform_lib.privacy.blurring import blur_frame
    from platform_lib.privacy.config import DEFAULT

    folder, sound = plain(tmp_path / "set"), jpeg()
    at = sound.index(b"\xff\xc0") + 5
    huge = sound[:at] + struct.pack(">HH", 65_000, 65_000) + sound[at + 4 :]
    empty = sound[: sound.index(b"\xff\xda")] + b"\xff\xd9"
    assert blur_frame(huge, "jpeg", (), DEFAULT) is None
    pictures = [jpeg(frame) for frame in range(FRAMES)]
    pictures[12], pictures[13] = huge, empty
    put("image", pictures)(folder)
    (drive,) = parquet_source.trajectories(folder, DECLARED)
    one = prepare(drive, DECLARED)
    assert isinstance(one, Prepared)
    shard = write_samples(one.samples, one.images, tmp_path, files=one.files, labels={})
    assert isinstance(shard, Shard)
    assert shard.dropped["image_is_no_jpeg"] == 2
    assert shard.rows == len(one.samples) - 2


# LeRobot: trajectories


def robot(folder: Path) -> Path:
    index = np.arange(FRAMES)
    columns: dict[str, Any] = {
        CAMERA: [{"bytes": jpeg(frame), "path": f"{frame}.jpg"} for frame in range(FRAMES)],
        "observation.state": pa.array(np.zeros((FRAMES, 3), np.float32).tolist(), pa.list_(pa.float32(), 3)),
        "frame_index": index,
        "episode_index": np.zeros(FRAMES, np.int64),
    }
    (folder / "data/chunk-000").mkdir(parents=True)
    pq.write_table(pa.table(columns), folder / "data/chunk-000/a.parquet")
    (folder / "meta").mkdir()
    features = {
        CAMERA: {"dtype": "image", "shape": [24, 32, 3], "names": ["height", "width", "channels"]},
        "observation.state": {"dtype": "float32", "shape": [3], "names": ["x_m", "y_m", "yaw_rad"]},
    }
    info = {
        "codebase_version": "v3.0", "total_episodes": 1, "total_frames": FRAMES, "fps": 10, "data_path": lerobot.DATA,
        "features": features,
    }  # fmt: skip
    (folder / "meta/info.json").write_text(json.dumps(info))
    return folder


def told(**changes: Any) -> Change:
    """Change ``info.json``: keys of it, or features with ``f_`` before their name (None takes one out)."""

    def change(folder: Path) -> None:
        info = json.loads((folder / "meta/info.json").read_text())
        for name, value in changes.items():
            if name.startswith("f_"):
                key = {"f_camera": CAMERA, "f_state": "observation.state"}.get(name, name[2:])
                info["features"] = {k: v for k, v in info["features"].items() if k != key}
                info["features"] |= {} if value is None else {key: value}
            else:
                info[name] = value
        (folder / "meta/info.json").write_text(json.dumps(info))

    return change


def held(change: Change) -> Change:
    """Change the data file."""
    return lambda folder: change(folder / "data/chunk-000")


def wrote(name: str, content: bytes) -> Change:
    return lambda folder: (folder / name).write_bytes(content)


def no_data(folder: Path) -> None:
    (folder / "data/chunk-000/a.parquet").unlink()
    told(total_frames=0)(folder)


def no_rows(folder: Path) -> None:
    table = pq.read_table(folder / "data/chunk-000/a.parquet")
    pq.write_table(table[:0], folder / "data/chunk-000/a.parquet")
    told(total_frames=0)(folder)


VECTOR: dict[str, Any] = {"dtype": "float32", "shape": [3], "names": ["x_m", "y_m", "yaw_rad"]}
ROBOT: dict[str, tuple[Change, str]] = {
    "cut JSON": (wrote("meta/info.json", b'{"fps": 1'), "not a LeRobot info"),
    "no JSON": (wrote("meta/info.json", b"\xff\xfe\0"), "not a LeRobot info"),
    "a list": (wrote("meta/info.json", b"[]"), "not a LeRobot info"),
    "no features": (told(features={}), "no feature is a picture; there are none"),
    "features as a list": (told(features=[1]), "not a LeRobot info"),
    "endless fps": (told(fps=float("inf")), "not a LeRobot info: fps"),
    "no camera in the data": (held(without(CAMERA)), f"no column '{CAMERA}', though meta/info.json names it"),
    "no state in the data": (held(without("observation.state")), "names observation.state, which the data files lack"),
    "no episodes in the data": (held(without("episode_index")), "no column 'episode_index'"),
    "no frame numbers": (held(without("frame_index")), "no column 'frame_index'"),
    "episodes are texts": (held(put("episode_index", ["a"] * FRAMES)), "'episode_index' is string"),
    "a frame number is missing": (held(put("frame_index", [None, *range(FRAMES - 1)])), "'frame_index' has gaps"),
    "a shorter state": (held(put("observation.state", [[1.0, 2.0]] * FRAMES)), "not 3 numbers"),
    "a longer state": (held(put("observation.state", [[1.0] * 4] * FRAMES)), "not 3 numbers"),
    "a ragged state": (held(put("observation.state", [[1.0] * 3] * (FRAMES - 1) + [[1.0]])), "of different lengths"),
    "a state is missing": (held(put("observation.state", [[1.0] * 3] * (FRAMES - 1) + [None])), "of different lengths"),
    "a state of texts": (held(put("observation.state", [["a"] * 3] * FRAMES)), "not 3 numbers"),
    "a state of gaps": (held(put("observation.state", [[1.0, None, 2.0]] * FRAMES)), "not finite"),
    "a single state": (held(put("observation.state", [1.0] * FRAMES)), "not 3 numbers"),
    "a camera of numbers": (held(put(CAMERA, [1.0] * FRAMES)), "not a picture"),
    "a state told as an image": (told(f_state=VECTOR | {"dtype": "image"}), "no feature 'x_m'"),
    "names that are numbers": (told(f_state=VECTOR | {"names": {"axes": [1, 2, 3]}}), "no feature 'x_m', 'y_m', 'yaw_rad'; there are 1, 2, 3"),
    "a single that is a vector": (told(f_x_m={"dtype": "float32", "shape": [1]}, f_state=None), "no feature 'x_m'"),
    "no data files": (no_data, "no data/"),
    "no rows": (no_rows, "no row"),
    "a damaged data file": (held(damaged), "not a whole Parquet file"),
    "no video_path": (told(f_camera={"dtype": "video", "shape": [24, 32, 3]}), "no meta/episodes"),
}  # fmt: skip


@pytest.mark.parametrize("name", ROBOT)
def test_broken_lerobot_is_refused_by_a_sentence(tmp_path: Path, name: str) -> None:
    change, said = ROBOT[name]
    folder = robot(tmp_path / "set")
    change(folder)
    error = refused(lambda: [prepare(drive, DECLARED) for drive in lerobot.trajectories(folder, DECLARED)])
    assert said in error.what, error


# LeRobot: pictures in videos


def filmed(folder: Path) -> Path:
    """Two episodes of one drive, one after the other in one video."""
    robot(folder)
    index = np.arange(FRAMES) // (FRAMES // 2)
    held(put("episode_index", index))(folder)
    held(put("frame_index", np.arange(FRAMES)))(folder)
    held(put("drive_id", ["one"] * FRAMES))(folder)
    held(without(CAMERA))(folder)
    told(
        f_camera={"dtype": "video", "shape": [48, 64, 3]},
        f_drive_id={"dtype": "string", "shape": [1]},
        video_path="videos/{video_key}-{chunk_index}-{file_index}.mp4",
    )(folder)
    (folder / "videos").mkdir()
    path = str(folder / f"videos/{CAMERA}-0-0.mp4")
    writer = cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*"mp4v"), 10, (64, 48))
    for frame in range(FRAMES):
        writer.write(np.full((48, 64, 3), 5 * frame, np.uint8))
    writer.release()
    rows = [
        {"episode_index": one, **{f"videos/{CAMERA}/{name}": 0 for name in ("chunk_index", "file_index")},
         f"videos/{CAMERA}/from_timestamp": one * 2.5}
        for one in range(2)
    ]  # fmt: skip
    (folder / "meta/episodes/chunk-000").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / "meta/episodes/chunk-000/a.parquet")
    return folder


def listed(change: Change) -> Change:
    """Change the table of episodes."""
    return lambda folder: change(folder / "meta/episodes/chunk-000")


def test_episodes_of_one_drive_in_one_video_are_one_drive(tmp_path: Path) -> None:
    (drive,) = lerobot.trajectories(filmed(tmp_path / "set"), DECLARED)
    assert (drive.drive_id, len(drive.frame_ns)) == ("one", FRAMES)
    shown = [np.mean(cv2.imdecode(np.frombuffer(drive.image(at), np.uint8), 0)) for at in (0, 24, 25, 49)]
    np.testing.assert_allclose(shown, [0, 120, 125, 245], atol=4)


FILMED: dict[str, tuple[Change, str]] = {
    "no column": (listed(without(f"videos/{CAMERA}/file_index")), f"no column 'videos/{CAMERA}/file_index'"),
    "a beginning is a text": (listed(put(f"videos/{CAMERA}/from_timestamp", ["a", "b"])), "not a number"),
    "a beginning is missing": (listed(put(f"videos/{CAMERA}/from_timestamp", [0.0, None])), "has gaps"),
    "a beginning before": (listed(put(f"videos/{CAMERA}/from_timestamp", [-1.0, 0.0])), "begins at -1.0 s"),
    "a beginning beyond": (listed(put(f"videos/{CAMERA}/from_timestamp", [0.0, 1e3])), "cannot be decoded"),
    "another episode": (listed(put("episode_index", [0, 7])), "episode 1 is in only one of both"),
    "one episode twice": (listed(put("episode_index", [0, 0])), "episode 1 is in only one of both"),
    "another file": (listed(put(f"videos/{CAMERA}/file_index", [0, 3])), "no such video"),
    "no rows": (listed(lambda f: pq.write_table(pq.read_table(f / "a.parquet")[:0], f / "a.parquet")), "in only one of both"),
    "damaged": (listed(lambda f: (f / "a.parquet").write_bytes(b"PAR1")), "not a whole Parquet file"),
    "an unknown place": (told(video_path="videos/{episode}.mp4"), "cannot be filled in"),
    "a place by number": (told(video_path="videos/{}.mp4"), "cannot be filled in"),
    "no place": (told(video_path=None), "there is no video_path"),
    "outside": (told(video_path="../{video_key}.mp4"), "lies outside the dataset"),
    "two drives in one": (held(put("drive_id", ["one"] * 10 + ["two"] * (FRAMES - 10))), "is of the drives"),
}  # fmt: skip


@pytest.fixture(scope="module")
def whole_film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return filmed(tmp_path_factory.mktemp("film") / "set")


@pytest.mark.parametrize("name", FILMED)
def test_broken_videos_and_episodes_are_refused_by_a_sentence(tmp_path: Path, whole_film: Path, name: str) -> None:
    change, said = FILMED[name]
    folder = tmp_path / "set"
    shutil.copytree(whole_film, folder)
    change(folder)
    error = refused(lambda: list(lerobot.trajectories(folder, DECLARED)))
    assert said in error.what, error


# LeRobot: whole samples, as an export from here has them


def exported(folder: Path) -> Path:
    count = 4
    widths = {"observation.ego_history": HISTORY_STEPS * 3, "action": FUTURE_STEPS * 2, "action.yaw": FUTURE_STEPS}
    box = {"step": 0, "kind": "vehicle", "x": 1.0, "y": 0.0, "yaw": 0.0, "length": 4.0, "width": 2.0}
    singles: dict[str, Any] = {
        "observation.command": np.zeros(count, np.int64),
        "timestamp_ns": np.arange(count),
        "drive_id": ["a"] * count,
        "slices": ['["rain"]'] * count,
        "objects": [json.dumps([box])] * count,
        "geohash": ["u281z0k"] * count,
        "pii_state": ["blurred"] * count,
    }
    columns = {
        CAMERA: [{"bytes": jpeg(), "path": "a.jpg"}] * count,
        **{name: pa.array([[0.0] * width] * count, pa.list_(pa.float32(), width)) for name, width in widths.items()},
        **singles,
    }
    (folder / "data/chunk-000").mkdir(parents=True)
    (folder / "meta").mkdir()
    pq.write_table(pa.table(columns), folder / "data/chunk-000/a.parquet")
    features = {CAMERA: {"dtype": "image", "shape": [24, 32, 3]}}
    features |= {name: {"dtype": "float32", "shape": [width]} for name, width in widths.items()}
    features |= {name: {"dtype": "string", "shape": [1]} for name in singles}
    info = {
        "codebase_version": "v3.0",
        "total_episodes": 1,
        "total_frames": count,
        "fps": 10,
        "data_path": "",
        "features": features,
    }
    (folder / "meta/info.json").write_text(json.dumps(info))
    return folder


def samples_of(folder: Path) -> list[Prepared]:
    info = lerobot.read_info(folder)
    assert lerobot_samples.holds_samples(info)
    return list(lerobot_samples.prepared(folder, info, ImportOptions()))


EXPORTED: dict[str, tuple[Change, str]] = {
    "no samples' column": (held(without("action")), "no column 'action', though meta/info.json names it"),
    "no pictures": (held(without(CAMERA)), f"no column '{CAMERA}'"),
    "no drives": (held(without("drive_id")), "no column 'drive_id'"),
    "no data": (no_data, "no data/"),
    "no rows": (no_rows, "no row"),
    "slices are no JSON": (held(put("slices", ["rain"] * 4)), "slices is not the JSON"),
    "slices are a number": (held(put("slices", ["5"] * 4)), "slices is not the JSON"),
    "slices are missing": (held(put("slices", [None] * 4)), "slices is not the JSON"),
    "objects are cut": (held(put("objects", ['[{"step": 0'] * 4)), "objects is not the JSON"),
    "objects lack a size": (held(put("objects", ['[{"step": 0, "kind": "a"}]'] * 4)), "0.x: Field required"),
    "objects beyond 3 s": (
        held(put("objects", ['[{"step":6,"kind":"a","x":0,"y":0,"yaw":0,"length":1,"width":1}]'] * 4)), "objects is not the JSON"
    ),
    "a path of texts": (held(put("action", [["a"] * 12] * 4)), "not 12 numbers"),
    "a shorter path": (held(put("action", [[0.0]] * 4)), "not 12 numbers"),
    "a path of gaps": (held(put("action", [[None] * 12] * 4)), "not 12 numbers"),
    "an endless path": (held(put("action", [[float("nan")] * 12] * 4)), "not finite"),
    "a command is missing": (held(put("observation.command", [0, 1, None, 2])), "has gaps"),
    "a command out of range": (held(put("observation.command", [COMMANDS] * 4)), "not in 0..2"),
    "commands are texts": (held(put("observation.command", ["0"] * 4)), "not a whole number"),
    "times are texts": (held(put("timestamp_ns", ["0"] * 4)), "not a whole number"),
    "one time twice": (held(put("timestamp_ns", [0, 1, 1, 2])), "two frames have one time"),
    "a place that is none": (held(put("geohash", ["a"] * 4)), "'a' is no geohash"),
    "pictures are numbers": (held(put(CAMERA, [1] * 4)), "not a picture"),
    "a picture that is none": (held(put(CAMERA, [{"bytes": b"none", "path": ""}] * 4)), "it is no picture"),
    "raw frames": (held(put("pii_state", ["blurred", "blurred", "present", "blurred"])), "personal data is 'present'"),
    "nobody says": (held(put("pii_state", ["blurred", "blurred", None, "blurred"])), "nobody declares"),
}  # fmt: skip


@pytest.mark.parametrize("name", EXPORTED)
def test_a_broken_export_is_refused_by_a_sentence(tmp_path: Path, name: str) -> None:
    change, said = EXPORTED[name]
    folder = exported(tmp_path / "set")
    change(folder)
    error = refused(lambda: samples_of(folder))
    assert said in error.what, error


def test_a_whole_export_comes_in(tmp_path: Path) -> None:
    (one,) = samples_of(exported(tmp_path / "set"))
    assert len(one.samples) == 4
    assert one.samples.objects[0] is not None


# nuScenes


def tables(folder: Path) -> dict[str, list[dict[str, Any]]]:
    rows: dict[str, list[dict[str, Any]]] = {
        "sensor": [{"token": "cam", "channel": "CAM_FRONT"}],
        "calibrated_sensor": [{"token": "cal", "sensor_token": "cam"}],
        "category": [{"token": "c", "name": "vehicle.car"}],
        "instance": [{"token": "i", "category_token": "c"}],
        "log": [{"token": "l", "vehicle": "n", "location": "boston-seaport"}],
        "scene": [{"token": "s", "name": "scene", "log_token": "l"}],
        "sample": [],
        "sample_data": [],
        "ego_pose": [],
        "sample_annotation": [],
    }
    (folder / "samples").mkdir(parents=True)
    for at in range(FRAMES):
        key, at_us = f"k{at}", at * 100_000
        (folder / f"samples/{at}.jpg").write_bytes(jpeg(at))
        rows["ego_pose"].append(
            {"token": key, "timestamp": at_us, "translation": [float(at), 0.0, 0.0], "rotation": [1.0, 0.0, 0.0, 0.0]}
        )
        rows["sample"].append({"token": key, "timestamp": at_us, "scene_token": "s"})
        rows["sample_data"].append(
            {"token": key, "sample_token": key, "ego_pose_token": key, "calibrated_sensor_token": "cal",
             "timestamp": at_us, "filename": f"samples/{at}.jpg"}
        )  # fmt: skip
    return rows


Tables = dict[str, list[dict[str, Any]]]


def cell(table: str, name: str, value: Any) -> Callable[[Tables], object]:
    return lambda rows: rows[table][0].update({name: value})


SCENES: dict[str, tuple[Callable[[Tables], object], str]] = {
    "a sensor that is not there": (cell("calibrated_sensor", "sensor_token", "x"), "no row with the token 'x'"),
    "a log that is not there": (cell("scene", "log_token", "x"), "no row with the token 'x'"),
    "a sample that is not there": (cell("sample_data", "sample_token", "x"), "no row with the token 'x'"),
    "a pose of two numbers": (cell("ego_pose", "translation", [1.0, 2.0]), "not a nuScenes table: 0.translation"),
    "a pose that is none": (cell("ego_pose", "translation", [float("nan"), 0.0, 0.0]), "not a nuScenes table"),
    "a time beyond": (cell("ego_pose", "timestamp", 2**70), "not a nuScenes table: 0.timestamp"),
    "a time that is a text": (cell("sample_data", "timestamp", "now"), "not a nuScenes table: 0.timestamp"),
    "a picture outside": (cell("sample_data", "filename", "../../etc/passwd"), "lies outside"),
    "a picture that is a folder": (cell("sample_data", "filename", "samples"), "no image"),
    "a token that is a number": (cell("scene", "token", 5), "not a nuScenes table: 0.token"),
}


@pytest.mark.parametrize("name", SCENES)
def test_broken_nuscenes_is_refused_by_a_sentence(tmp_path: Path, name: str) -> None:
    change, said = SCENES[name]
    rows = tables(tmp_path)
    change(rows)
    (tmp_path / "v1.0-mini").mkdir()
    for table, content in rows.items():
        (tmp_path / f"v1.0-mini/{table}.json").write_text(json.dumps(content))
    error = refused(lambda: [prepare(drive, DECLARED) for drive in nuscenes_source.trajectories(tmp_path, DECLARED)])
    assert said in error.what, error


def test_two_drives_of_one_name_are_refused(tmp_path: Path) -> None:
    from platform_lib.datasets.exchange.importing import _write_all

    (drive,) = parquet_source.trajectories(plain(tmp_path / "set"), DECLARED)
    one = prepare(drive, DECLARED)

    def both() -> Iterator[Any]:
        yield one
        yield one

    with pytest.raises(ContractError, match="two drives are called"):
        _write_all(both(), tmp_path, where="set", erased={})


def test_a_drive_that_was_erased_does_not_come_back_by_an_import(tmp_path: Path) -> None:
    """An export from before the erasure, say; the tombstone knows the drive by the digest of what was asked for."""
    from platform_lib.datasets.exchange.importing import _write_all
    from platform_lib.erasure.scope import make_scope

    (drive,) = parquet_source.trajectories(plain(tmp_path / "set"), DECLARED)
    one = prepare(drive, DECLARED)
    erased = {make_scope(drive.drive_id, None, None, None).sha256: 7}
    told = refused(lambda: _write_all(iter([one]), tmp_path, where="set", erased=erased))
    assert "was erased here (erasure 7)" in told.what
    other = {make_scope(drive.drive_id, "1", None, None).sha256: 7, make_scope("other", None, None, None).sha256: 8}
    assert len(_write_all(iter([one]), tmp_path, where="set", erased=other)[0]) == 1
