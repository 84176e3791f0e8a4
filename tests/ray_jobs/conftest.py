"""A small dataset of simulated frames, made without the lake, in a home of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

SLICES = {"lead": "lead", "pedestrian": "pedestrian", "cruise": "cruise", "cut_in": "cut_in"}
FRAMES = 10


def _drive(number: int, event: str, weather: str) -> list[dict[str, object]]:
    """Record one short drive: every fourth frame, with what followed."""
    import cv2

    from platform_lib.scenario.model import DriveSpec
    from platform_lib.scenario.world import World

    spec = DriveSpec(5000 + number, "dt-001", f"s{number}", 0, duration_s=9.0, weather=weather, event=event)
    world, seen, poses, around = World(spec), [], [], []
    for tick in range(90):
        seen.append(world.observe(camera=tick % 4 == 0))
        poses.append((world.ego.x_m, world.ego.y_m, world.ego.yaw_rad))
        around.append(world.objects())
        world.step(world.expert_control())
    rows = []
    for tick in range(12, 12 + 4 * FRAMES, 4):
        x, y, yaw = poses[tick]
        turn = np.array([[np.cos(yaw), np.sin(yaw)], [-np.sin(yaw), np.cos(yaw)]])
        ahead = np.array(poses[tick + 5 : tick + 31 : 5])
        image = cv2.imencode(".jpg", cv2.cvtColor(seen[tick].camera, cv2.COLOR_RGB2BGR))[1].tobytes()
        objects = []
        for step, then in enumerate(range(tick + 5, tick + 31, 5)):
            ego_x, ego_y, ego_yaw = poses[then]
            for item in around[then]:
                c, s = np.cos(ego_yaw), np.sin(ego_yaw)
                place = turn @ np.array(
                    [ego_x + c * item.x_m - s * item.y_m - x, ego_y + s * item.x_m + c * item.y_m - y]
                )
                objects.append(
                    {
                        "step": step,
                        "kind": item.kind,
                        "x": float(place[0]),
                        "y": float(place[1]),
                        "yaw": float(item.yaw_rad + ego_yaw - yaw),
                        "length": item.length_m,
                        "width": item.width_m,
                    }
                )
        rows.append(
            {
                "sample_id": f"drive-{number}/{tick}",
                "drive_id": f"drive-{number}",
                "timestamp_ns": tick * 100_000_000,
                "image": image,
                "ego_history": seen[tick].ego_history.reshape(-1).tolist(),
                "command": int(seen[tick].command),
                "future": ((ahead[:, :2] - [x, y]) @ turn.T).reshape(-1).tolist(),
                "slices": [weather, event],
                "objects": objects,
                "ego_yaw_future": (ahead[:, 2] - yaw).tolist(),
                "speed_mps": float(seen[tick].ego_history[-1, 0]),
                "pii_state": "none_present",
            }
        )
    return rows


def make_dataset(folder: Path, *, seed: int = 0, times: int = 1) -> None:
    """Publish a dataset of six drives under `folder`, as `drivetrain dataset` would; of so many times six."""
    import lance
    import pyarrow as pa

    from platform_lib.datasets.proof import SplitProof
    from platform_lib.datasets.reader import KIND, MANIFEST_FILE, SAMPLES, SPLIT_FILE, STATS_FILE
    from platform_lib.datasets.statistics import dataset_stats
    from platform_lib.datasets.table import SCHEMA
    from platform_lib.manifest import Step
    from platform_lib.storage import publish_folder

    drives = [
        ("train", "lead", "clear"),
        ("train", "pedestrian", "night"),
        ("train", "cruise", "rain"),
        ("val", "lead", "rain"),
        ("test", "lead", "clear"),
        ("test", "cut_in", "night"),
    ] * times
    rows = [
        {**row, "split": split}
        for number, (split, event, weather) in enumerate(drives)
        for row in _drive(100 * seed + number, event, weather)
    ]
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    train = [row for row in rows if row["split"] == "train"]
    stats = dataset_stats(
        np.array([row["ego_history"] for row in train], dtype=np.float32),
        np.array([row["future"] for row in train], dtype=np.float32),
        np.array([row["command"] for row in train], dtype=np.int8),
    )
    names = {
        split: tuple(sorted({str(r["drive_id"]) for r in rows if r["split"] == split}))
        for split in ("train", "val", "test")
    }
    counts = {split: sum(row["split"] == split for row in rows) for split in names}
    proof = SplitProof(
        seed=seed,
        drives=names,
        files={split: {name: () for name in found} for split, found in names.items()},
        shared_drives={},
        shared_content={},
        samples=counts,
        slices={split: {} for split in names},
        pii_states={split: {"none_present": count} for split, count in counts.items()},
        duplicates=(),
    )
    step = Step(KIND, inputs={}, config={"seed": seed}, modules=("platform_lib.datasets.table",))
    with publish_folder(folder) as temporary:
        lance.write_dataset(table, str(temporary / SAMPLES))
        (temporary / SPLIT_FILE).write_text(proof.model_dump_json())
        (temporary / STATS_FILE).write_text(stats.model_dump_json())
        outputs = {name: temporary / name for name in (SAMPLES, SPLIT_FILE, STATS_FILE)}
        step.finish(temporary / MANIFEST_FILE, outputs)


@pytest.fixture(scope="session")
def small_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a finished dataset of 60 frames; copy it into a home's `datasets`."""
    folder = tmp_path_factory.mktemp("dataset") / "small"
    make_dataset(folder)
    return folder
