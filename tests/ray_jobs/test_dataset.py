"""The dataset step on simulated drives, against the simulator's truth; and what it refuses."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from platform_lib.errors import ConfigError, ContractError, IntegrityError, MissingPartError
from platform_lib.home import Home, open_home
from platform_lib.scenario.model import DriveSpec

COMMAND = [sys.executable, "-m", "platform_lib.cli", "dataset"]
DRIVES = 4
HISTORY_NS = np.arange(-9, 1) * 100_000_000
FUTURE_NS = np.arange(1, 7) * 500_000_000
# Lance says so whenever a process that imported it starts another with a hook in the child (Ray, PostgreSQL).
pytestmark = pytest.mark.filterwarnings("ignore:lance is not fork-safe")


@dataclass(frozen=True)
class Truth:
    """One drive as it was, from the simulator's truth file; times in the camera recorder's clock."""

    logs: Path
    columns: dict[str, np.ndarray]
    clock: dict[str, float]

    @classmethod
    def read(cls, file: Path, logs: Path) -> Truth:
        table = pq.read_table(file)
        columns = {name: table[name].to_numpy() for name in table.column_names}
        columns["yaw_rad"] = np.unwrap(columns["yaw_rad"])
        return cls(logs, columns, json.loads(table.schema.metadata[b"drivetrain.truth"])["mdf_clock"])

    def at(self, at_ns: Any, *names: str) -> np.ndarray:
        since = (np.asarray(at_ns) - self.columns["timestamp_ns"][0]) * 1e-9
        known = (self.columns["timestamp_ns"] - self.columns["timestamp_ns"][0]) * 1e-9
        return np.stack([np.interp(since, known, self.columns[name]) for name in names], axis=-1)

    def offset_s(self, mdf_ns: int) -> float:
        """What has to be added to a time of the bus recorder."""
        elapsed_s = (mdf_ns - self.clock["origin_ns"]) * 1e-9 - self.clock["offset_s"]
        return -self.clock["offset_s"] - elapsed_s * self.clock["drift_ppm"] * 1e-6

    def in_ego(self, at_ns: int, xy: np.ndarray) -> np.ndarray:
        x, y, yaw = self.at(at_ns, "x_m", "y_m", "yaw_rad")
        turn = np.array([[np.cos(yaw), np.sin(yaw)], [-np.sin(yaw), np.cos(yaw)]])
        return (xy - [x, y]) @ turn.T

    def in_world(self, at_ns: int, xy: np.ndarray) -> np.ndarray:
        x, y, yaw = self.at(at_ns, "x_m", "y_m", "yaw_rad")
        turn = np.array([[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]])
        return xy @ turn.T + [x, y]


@dataclass(frozen=True)
class Filled:
    """A home whose lake holds simulated drives, and the truth about them."""

    home: Home
    truth: dict[str, Truth]


SYNC_OFFSET_S = 1.7


def write_counters(path: Path, spec: DriveSpec) -> None:
    """Two recorders stamp the same counter; the first one's clock is behind, each loses some, a few wait in a queue."""
    from mcap.writer import Writer

    rng = np.random.default_rng(3)
    with path.open("wb") as stream:
        writer = Writer(stream)
        writer.start(profile="ros2")
        schema = writer.register_schema("std_msgs/msg/UInt32", "ros2msg", b"uint32 data")
        for topic, behind_s in (("/first/sync", SYNC_OFFSET_S), ("/second/sync", 0.0)):
            channel = writer.register_channel(topic, "cdr", schema)
            for number in np.flatnonzero(rng.random(200) > 0.1):
                late_s = 0.05 if rng.random() < 0.1 else 0.0
                stamp_ns = spec.start_ns + round((0.1 * number - behind_s + late_s + rng.normal(0.0, 2e-4)) * 1e9)
                writer.add_message(channel, stamp_ns, b"\0\1\0\0" + int(number).to_bytes(4, "little"), stamp_ns)
        writer.add_metadata("drive", {"vehicle": spec.vehicle, "session": spec.session})
        writer.finish()


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    from platform_lib.catalog.postgres import embedded_postgres
    from platform_lib.scenario.can_bus import DBC_PATH
    from platform_lib.scenario.drive_files import write_drive
    from platform_lib.scenario.fleet import demo_fleet
    from ray_jobs.ingest import ingest
    from ray_jobs.session import local_ray

    root = tmp_path_factory.mktemp("dataset")
    logs = root / "logs"
    logs.mkdir()
    truth: dict[str, Truth] = {}
    for spec in demo_fleet(DRIVES, seed=3):
        write_drive(spec, logs / spec.name, root / f"{spec.name}.parquet")
        truth[spec.session] = Truth.read(root / f"{spec.name}.parquet", logs / spec.name)
    # A drive of which only the bus was recorded: nothing to learn from, and to be named.
    lame = logs / "lame"
    lame.mkdir()
    bus_only = demo_fleet(DRIVES + 1, seed=3)[-1]
    write_drive(bus_only, root / "spare", root / "spare.parquet")
    shutil.copy(root / "spare" / "can.mf4", lame / "can.mf4")
    write_counters(lame / "sync.mcap", bus_only)
    home = open_home(root / "home")
    with embedded_postgres(home), local_ray(home):  # started once; every step below joins them
        report = ingest(home, [logs], dbc=[str(DBC_PATH)])
        assert not report.quarantined
        yield Filled(home, truth)


def truth_of(filled: Filled, drive_id: str) -> Truth:
    return next(truth for session, truth in filled.truth.items() if session in drive_id)


@pytest.mark.slow
def test_samples_agree_with_the_simulators_truth(filled: Filled) -> None:
    from platform_lib.datasets.reader import DrivingDataset
    from ray_jobs.dataset import build_dataset

    outcome = build_dataset(filled.home, "demo", seed=7)
    metrics: dict[str, Any] = dict(outcome.manifest.metrics)
    assert not outcome.skipped
    assert metrics["drives"] == {"used": DRIVES, "skipped": 1}
    assert "no /camera/front/image/compressed" in metrics["skipped_drives"][0]["reason"]
    frames = metrics["frames"]
    assert frames["kept"] + frames["thinned"] + sum(frames["dropped"].values()) == frames["recorded"]
    errors_s = clock_errors_s(filled, metrics["clocks"])
    assert max(errors_s) < 0.005
    dataset = DrivingDataset.open(outcome.folder)
    rows = 0
    for split in ("train", "val", "test"):
        arrays = dataset.load_split(split)  # type: ignore[arg-type]  # the loop variable is no literal
        assert arrays.images.shape == (len(arrays), 64, 192, 3)
        assert set(arrays.drive_id) == set(dataset.proof.drives[split])  # type: ignore[index]  # the same
        for row in range(len(arrays)):
            check_sample(truth_of(filled, arrays.drive_id[row]), arrays, row)
        for drive_id in set(arrays.drive_id):
            check_objects(truth_of(filled, drive_id), arrays, drive_id)
        rows += len(arrays)
    assert rows == frames["kept"] > DRIVES * 60
    check_reading(outcome.folder)
    check_clips(filled.home, outcome.manifest.step_sha256, rows)


def check_clips(home: Home, digest: str, rows: int) -> None:
    """Every sample counts for the clip that it was taken from, and clips say what their samples show."""
    from platform_lib.catalog.filters import ClipFilter
    from platform_lib.catalog.finding import Finder
    from platform_lib.lake.lake import Lake

    with Lake.open(home) as lake:
        finder = Finder(lake.catalog.engine)
        clips = finder.clips(ClipFilter(dataset=digest), limit=1000).clips
        taken = [finder.saw_clip(item.drive_id, item.start_ns) for item in clips]
    assert all(len(items) == 1 and items[0].sha256 == digest for items in taken)
    assert sum(items[0].samples for items in taken) == rows
    assert {item.drive_id for item in clips} > set()
    assert all(item.tags and not {"clear", "rain", "fog"} & set(item.tags) for item in clips)
    assert all("weather=unknown" not in item.odd_cell for item in clips)


def clock_errors_s(filled: Filled, clocks: dict[str, Any]) -> list[float]:
    errors = []
    for drive_id, clock in clocks.items():
        truth = truth_of(filled, drive_id)
        middle_ns = int(truth.columns["timestamp_ns"].mean())
        error = abs(clock["offset_s"] - truth.offset_s(middle_ns))
        assert error < 4.0 * clock["offset_sigma_s"], drive_id
        assert clock["offset_sigma_s"] < 0.02
        errors.append(error)
    return errors


@pytest.mark.slow
def test_the_clocks_of_every_drive_are_shown(filled: Filled) -> None:
    sync = "/first/sync:data=/second/sync:data"
    done = run_timeline(filled.home, "--sync", sync)
    shown = done["clocks"]
    by_signals = {item["drive_id"]: item for item in shown if item["method"] == "shared signals"}
    assert sum(item["verdict"] == "aligned" for item in by_signals.values()) == DRIVES
    aligned = {name: item for name, item in by_signals.items() if item["verdict"] == "aligned"}
    assert max(clock_errors_s(filled, aligned)) < 0.005
    (lame,) = (item for item in by_signals.values() if item["verdict"] == "refused")
    assert "no /odom" in lame["reason"]
    assert lame["offset_s"] is None
    by_events = [item for item in shown if item["method"] == "events"]
    (found,) = (item for item in by_events if item["verdict"] == "aligned")
    assert found["offset_s"] == pytest.approx(SYNC_OFFSET_S, abs=0.001)
    assert (found["recorder"], found["reference"]) == ("/first/sync", "/second/sync")
    assert len(by_events) == DRIVES + 1
    assert [item["drive_id"] for item in run_timeline(filled.home, lame["drive_id"])["clocks"]] == [lame["drive_id"]]
    assert "no drive" in run_timeline(filled.home, "nobody")["error"]["what"]


def run_timeline(home: Home, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "platform_lib.cli", "timeline", *arguments, "--home", str(home.root), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found: dict[str, Any] = json.loads(done.stdout)
    assert (done.returncode == 0) == ("error" not in found), done.stderr
    return found


def check_sample(truth: Truth, arrays: Any, row: int) -> None:
    at_ns = int(arrays.timestamp_ns[row])
    # Within what was true at most 25 ms before or after (steering steps are sharp), and the sensors' noise.
    around = at_ns + HISTORY_NS[:, None] + np.arange(-25, 26, 5) * 1_000_000
    history = truth.at(around, "v_mps", "yaw_rate_rps", "accel_mps2")
    noise = [0.05, 0.01, 0.2]
    assert (arrays.ego_history[row] > history.min(axis=1) - noise).all()
    assert (arrays.ego_history[row] < history.max(axis=1) + noise).all()
    future = truth.in_ego(at_ns, truth.at(at_ns + FUTURE_NS, "x_m", "y_m"))
    np.testing.assert_allclose(arrays.future[row], future, atol=0.02)
    turned = truth.at(at_ns + FUTURE_NS, "yaw_rad")[:, 0] - truth.at(at_ns, "yaw_rad")[0]
    np.testing.assert_allclose(arrays.ego_yaw_future[row], turned, atol=0.005)
    place = np.searchsorted(truth.columns["timestamp_ns"], at_ns, side="right") - 1
    assert arrays.command[row] == truth.columns["command"][place]


def check_objects(truth: Truth, arrays: Any, drive_id: str) -> None:
    """Compare with the messages themselves, placed by the true poses and not by the odometry."""
    from platform_lib.logs import open_log

    with open_log(truth.logs / "sensors.mcap") as log:
        table = pa.Table.from_batches(list(log.read("/ground_truth/objects")))
    messages = dict(zip(table["timestamp_ns"].to_pylist(), table["objects"].to_pylist(), strict=True))
    times = np.array(sorted(messages))
    compared = 0
    for row in [row for row, name in enumerate(arrays.drive_id) if name == drive_id]:
        at_ns = int(arrays.timestamp_ns[row])
        for step, future_ns in enumerate(at_ns + FUTURE_NS):
            seen_ns = int(times[np.argmin(np.abs(times - future_ns))])
            if abs(seen_ns - future_ns) > 5_000_000:
                continue  # this message was lost; neighbours were interpolated
            expected = {
                (
                    item["kind"],
                    *np.round(truth.in_ego(at_ns, truth.in_world(seen_ns, np.array([item["x"], item["y"]]))), 1),
                )
                for item in messages[seen_ns]
            }
            found = arrays.objects[row]
            own = [place for place in range(len(found.kind)) if found.step[place] == step]
            assert len(own) == len(expected)
            for kind, x, y in expected:
                distance = min(
                    (
                        np.hypot(found.box[place, 0] - x, found.box[place, 1] - y)
                        for place in own
                        if found.kind[place] == kind
                    ),
                    default=np.inf,
                )
                assert distance < 0.3
                compared += 1
    assert compared > 0 or not any(messages.values())


def check_reading(folder: Path) -> None:
    from platform_lib.datasets.reader import DrivingDataset

    dataset = DrivingDataset.open(folder)
    started = time.monotonic()
    count = len(dataset.load_split("train"))
    assert (time.monotonic() - started) / count < 0.01  # 0.4 ms where nothing else runs
    with pytest.raises(ContractError, match="no split"):
        dataset.load_split("holdout")  # type: ignore[arg-type]  # the planted fault


@pytest.mark.slow
def test_a_second_run_is_skipped_and_a_forced_one_gives_the_same_rows(filled: Filled) -> None:
    from ray_jobs.dataset import build_dataset

    first = build_dataset(filled.home, "again", seed=7)
    assert build_dataset(filled.home, "again", seed=7).skipped
    forced = build_dataset(filled.home, "again", seed=7, force=True)
    assert not forced.skipped
    assert forced.manifest.metrics == first.manifest.metrics
    assert not list((filled.home.root / "scratch").glob("dataset-*"))


@pytest.mark.slow
def test_a_dataset_of_chosen_drives_opens_no_file_of_the_others(filled: Filled) -> None:
    """The files of the two newest drives are garbage: who does not choose them does not notice."""
    from platform_lib.catalog.filters import DriveFilter
    from platform_lib.lake.lake import Lake
    from ray_jobs.dataset import build_dataset

    with Lake.open(filled.home) as lake:
        drives = sorted(lake.drives(), key=lambda item: item.start_ns or 0)
        first_left_out = drives[-2]
        gone = {item.ingest_id for item in lake.catalog.view([item.drive_id for item in drives[-2:]]).ingests}
        paths = [filled.home.lake / path for path, (_, of) in lake.catalog.lake_files().items() if of in gone]
    saved = {path: path.read_bytes() for path in paths}
    assert any(path.suffix == ".lance" for path in saved)
    assert any(path.suffix == ".parquet" for path in saved)
    try:
        for path in saved:
            path.write_bytes(b"garbage")
        made = build_dataset(filled.home, "chosen", which=DriveFilter(until_ns=first_left_out.start_ns))
    finally:
        for path, content in saved.items():
            path.write_bytes(content)
    assert made.manifest.config["which"] == {"until_ns": first_left_out.start_ns}
    assert made.manifest.metrics["drives"] == {"used": len(drives) - 2, "skipped": 0}


def test_too_few_drives_are_refused_with_the_reasons_and_the_page_that_lists_what_is_needed() -> None:
    from platform_lib.datasets.model import SkippedDrive
    from ray_jobs.dataset import INPUTS_PAGE, _refuse_too_few

    skipped = [SkippedDrive(f"drive-{number}", "no /odom") for number in range(4)]
    with pytest.raises(ContractError) as refused:
        _refuse_too_few([], [*skipped, SkippedDrive("drive-9", "no /route/command data")])
    assert refused.value.what == (
        "0 of 5 drives gave samples, and a split needs at least 3: no /odom (4 drives); no /route/command data"
    )
    assert refused.value.remedy is not None
    assert INPUTS_PAGE in refused.value.remedy
    assert "--dbc" not in refused.value.remedy
    assert (Path(__file__).parents[2] / INPUTS_PAGE).is_file()


@pytest.mark.parametrize("role", ["BUS_SPEED", "BUS_YAW_RATE"])
def test_a_bus_that_nobody_decoded_points_to_its_database(role: str) -> None:
    from platform_lib.datasets import sources
    from platform_lib.datasets.model import SkippedDrive
    from ray_jobs.dataset import _refuse_too_few

    reason = f"no {getattr(sources, role).name} with a known unit on a bus"
    assert "with a known unit on a bus" in Path(str(sources.__file__)).read_text(), "the reason is still said so"
    with pytest.raises(ContractError, match="drivetrain ingest FOLDER --dbc FILE"):
        _refuse_too_few([], [SkippedDrive("drive-1", reason)])


def test_the_page_of_what_a_drive_needs_names_every_topic_signal_and_unit() -> None:
    from platform_lib.datasets import sources
    from ray_jobs.dataset import INPUTS_PAGE

    page = (Path(__file__).parents[2] / INPUTS_PAGE).read_text()
    topics = [sources.CAMERA_TOPIC, sources.ODOMETRY_TOPIC, sources.COMMAND_TOPIC, sources.OBJECTS_TOPIC]
    roles = (sources.BUS_SPEED, sources.BUS_YAW_RATE, sources.BUS_ACCEL)
    signals = [name for role in roles for alternative in role.signals for name in alternative]
    units = [unit for role in roles for unit in role.scale]
    assert [word for word in (*topics, *signals, *units) if f"`{word}`" not in page] == []


@pytest.mark.slow
def test_a_kill_leaves_the_old_dataset_and_a_rerun_gives_the_new_one(filled: Filled) -> None:
    from platform_lib.datasets.reader import DrivingDataset
    from ray_jobs.dataset import build_dataset

    old = build_dataset(filled.home, "killed", seed=1).manifest
    arguments = [*COMMAND, "killed", "--seed", "2", "--home", str(filled.home.root), "--json"]
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 60
    while not list((filled.home.root / "scratch").glob("dataset-*/*.arrow")) and time.monotonic() < deadline:
        time.sleep(0.02)
        assert process.poll() is None, "the build ended before it could be killed"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert DrivingDataset.open(filled.home.datasets / "killed").manifest == old
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert not document["skipped"]
    rebuilt = DrivingDataset.open(filled.home.datasets / "killed")
    assert rebuilt.proof.seed == 2
    assert document["content_sha256"] == rebuilt.manifest.metrics["content_sha256"]


@pytest.mark.slow
def test_a_home_without_drives_is_refused(tmp_path: Path) -> None:
    from ray_jobs.dataset import build_dataset

    with pytest.raises(MissingPartError, match="holds no drive"):
        build_dataset(open_home(tmp_path / "empty"), "demo")


@pytest.mark.parametrize("name", ["", "a/b", "../up", ".hidden", "-x", "a" * 65, "sp ace"])
def test_a_name_that_is_no_folder_is_refused_before_anything_starts(tmp_path: Path, name: str) -> None:
    from ray_jobs.dataset import build_dataset

    with pytest.raises(ConfigError, match="cannot name a dataset"):
        build_dataset(open_home(tmp_path / "home"), name)
    assert not (tmp_path / "home" / "postgres").exists()


def test_a_folder_that_is_no_dataset_is_refused(tmp_path: Path) -> None:
    from platform_lib.datasets.reader import DrivingDataset

    with pytest.raises(MissingPartError, match="no dataset"):
        DrivingDataset.open(tmp_path / "nothing")
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(IntegrityError):
        DrivingDataset.open(tmp_path)
