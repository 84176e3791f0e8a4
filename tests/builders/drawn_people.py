"""Frames with faces and plates at known places, drawn: no licensed set of real ones can travel with a repository.

A drawn face has what a cascade was trained to look for (dark eyes under brows, bright nose and cheeks, a dark mouth), and
a plate dark characters on a bright field with a border. They prove that the machinery finds, blurs and counts what its
detectors see. They prove nothing about people on a road.
"""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from platform_lib.scenario.model import DriveSpec
from platform_lib.scenario.world import World

_OVERSAMPLED = 4
# Centre x and y, radii, brightness, all but the last as shares of the face's size.
_FEATURES = (
    (0.50, 0.16, 0.35, 0.10, -70),
    (0.32, 0.38, 0.11, 0.055, -110),
    (0.68, 0.38, 0.11, 0.055, -110),
    (0.32, 0.31, 0.13, 0.025, -60),
    (0.68, 0.31, 0.13, 0.025, -60),
    (0.50, 0.45, 0.05, 0.16, 35),
    (0.30, 0.56, 0.12, 0.09, 30),
    (0.70, 0.56, 0.12, 0.09, 30),
    (0.50, 0.61, 0.09, 0.025, -60),
    (0.50, 0.75, 0.16, 0.035, -90),
)


def background(count: int, seed: int = 5000) -> list[np.ndarray]:
    """Frames of the simulator, BGR."""
    world = World(DriveSpec(seed, "dt-001", "s", 0, duration_s=9.0, weather="clear", event="cruise"))
    found = []
    for tick in range(3 * count):
        seen = world.observe(camera=tick % 3 == 0)
        if tick % 3 == 0:
            found.append(cv2.cvtColor(seen.camera, cv2.COLOR_RGB2BGR))
        world.step(world.expert_control())
    return found


def face(size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A face (size, size, 3) and how opaque each of its pixels is (size, size), 0 to 1."""
    fine = size * _OVERSAMPLED
    rows, columns = np.mgrid[0:fine, 0:fine] / fine
    drawn = np.zeros((fine, fine, 3)) + np.array([150, 180, 215]) + rng.integers(-25, 25)
    for x, y, wide, high, value in _FEATURES:
        drawn += (np.exp(-(((columns - x) / wide) ** 2) - ((rows - y) / high) ** 2) * value)[..., None]
    mask = np.zeros((fine, fine), np.uint8)
    cv2.ellipse(mask, (fine // 2, fine // 2), (int(0.4 * fine), int(0.5 * fine)), 0, 0, 360, 255, -1)
    small = cv2.resize(np.clip(drawn, 0, 255).astype(np.uint8), (size, size), interpolation=cv2.INTER_AREA)
    return small, cv2.resize(mask, (size, size), interpolation=cv2.INTER_AREA) / 255.0


def plate(width: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A licence plate 4.7 times as wide as high, and its opacity."""
    wide, high = width * _OVERSAMPLED, int(width * _OVERSAMPLED / 4.7)
    drawn = np.full((high, wide, 3), 235, np.uint8)
    cv2.rectangle(drawn, (0, 0), (wide - 1, high - 1), (20, 20, 20), max(2, high // 18))
    letters = "".join(rng.choice(list("ABCEHKMOPTXY"), 3))
    text = f"{letters[0]}{rng.integers(100, 999)}{letters[1:]} {rng.integers(10, 99)}"
    stroke = max(2, high // 11)
    (reach, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 1.0, stroke)
    scale = min(high / 42, 0.9 * wide / reach)
    (reach, tall), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, stroke)
    place = ((wide - reach) // 2, (high + tall) // 2)
    cv2.putText(drawn, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, (15, 15, 15), stroke, cv2.LINE_AA)
    small = cv2.resize(drawn, (width, int(width / 4.7)), interpolation=cv2.INTER_AREA)
    return small, np.ones(small.shape[:2])


def paste(frame: np.ndarray, drawn: tuple[np.ndarray, np.ndarray], x: int, y: int) -> dict[str, float]:
    """Put something drawn into a frame; return its box."""
    patch, opacity = drawn
    high, wide = patch.shape[:2]
    part = frame[y : y + high, x : x + wide]
    part[:] = (part * (1 - opacity[..., None]) + patch * opacity[..., None]).astype(np.uint8)
    return {"x_px": x, "y_px": y, "width_px": wide, "height_px": high}


def jpeg(frame: np.ndarray) -> bytes:
    """Encode as a recorder would."""
    return cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes()


def labelled_set(folder: Path, *, frames: int = 24, seed: int = 0) -> Path:
    """Write a labelled set: a face and a plate in each frame, none overlapping the other."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    told = []
    for number, frame in enumerate(background(frames)):
        high, wide = frame.shape[:2]
        size, width = int(rng.integers(28, 56)), int(rng.integers(100, 140))
        boxes = [
            {
                "finds": "face",
                **paste(
                    frame, face(size, rng), int(rng.integers(4, wide // 2 - size)), int(rng.integers(4, high - size))
                ),
            },
            {
                "finds": "plate",
                **paste(
                    frame,
                    plate(width, rng),
                    int(rng.integers(wide // 2, wide - width)),
                    int(rng.integers(4, high - 40)),
                ),
            },
        ]
        (folder / f"{number}.jpg").write_bytes(jpeg(frame))
        told.append({"image": f"{number}.jpg", "boxes": boxes})
    document = {
        "schema_version": 1,
        "name": "drawn-people",
        "version": f"1-seed-{seed}",
        "source": "faces and plates drawn by a program on simulator frames; no licence needed, no camera saw them",
        "composed": True,
        "frames": told,
    }
    (folder / "labels.json").write_text(json.dumps(document))
    return folder
