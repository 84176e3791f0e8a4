"""Checkpoints that are whole or absent, and are believed only after their digest was checked."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch

from platform_lib.storage import publish_folder, sha256_file

_LOG = logging.getLogger(__name__)
STATE, LABEL = "state.pt", "checkpoint.json"
_PUBLISHED = "published.jsonl"
_NAME, _SHA256 = re.compile(r"epoch-[0-9]{4,}(-step-[0-9]{8,})?"), re.compile("[0-9a-f]{64}")
KEPT = 2


@dataclass(frozen=True, slots=True)
class Loaded:
    """A checkpoint that was found whole.

    Attributes:
        epochs: The epochs it has behind it.
        state: What `save` was given.
        passed_over: Newer ones that are not whole or of another step, each with the reason.
    """

    epochs: int
    state: dict[str, Any]
    passed_over: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Published:
    """A checkpoint that training wrote, whether it still lies there or not.

    Attributes:
        name: Its folder's.
        sha256: Of its state.
        step: Steps behind it, from the run's first.

    Raises:
        ValueError: It is none: names become paths, and this is read from files.
    """

    name: str
    sha256: str
    step: int

    def __post_init__(self) -> None:
        if not (_NAME.fullmatch(self.name) and _SHA256.fullmatch(self.sha256)):
            raise ValueError(f"not a checkpoint: {self.name!r}, {self.sha256!r}")


def torch_bytes(value: object) -> bytes:
    """Serialise with torch; equal values give equal bytes (a file name would otherwise get into the archive)."""
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def save(folder: Path, *, epochs: int, identity: str, state: dict[str, Any], steps: int = 0, at_step: int = 0) -> Path:
    """Publish the state after `epochs` epochs as ``folder/epoch-0003/`` and delete all but it and the one before.

    Args:
        folder: The run's checkpoint folder.
        epochs: Epochs behind this state.
        identity: Digest of the step; a checkpoint of another step is never resumed.
        state: Tensors and plain values.
        steps: Steps of the next epoch that lie behind it too; ``folder/epoch-0003-step-00000120/`` then.
        at_step: All steps behind it, from the first; for those who look.
    """
    target = folder / (f"epoch-{epochs:04d}" + (f"-step-{steps:08d}" if steps else ""))
    data = torch_bytes(state)
    with publish_folder(target) as temporary:
        (temporary / STATE).write_bytes(data)
        sha256 = hashlib.sha256(data).hexdigest()
        label = {"epochs": epochs, "identity": identity, "sha256": sha256, "step": at_step}
        (temporary / LABEL).write_text(json.dumps(label) + "\n")
    _tell(folder, Published(target.name, sha256, at_step))
    there = _newest_first(folder)
    # What is named beyond this state was passed over when fitting went on from an older one: it would count as one of
    # the two, and as where training stands.
    passed_over = [path for path in there if path.name > target.name]
    for old in (*passed_over, *there[len(passed_over) + KEPT :]):
        shutil.rmtree(old, ignore_errors=True)
    return target


def load_newest(folder: Path, *, identity: str) -> Loaded | None:
    """Return the newest checkpoint of this very step that is whole; a broken one is named in the log and passed over."""
    path, passed_over = _newest_whole(folder, identity)
    if path is None:
        return None
    state = torch.load(path / STATE, map_location="cpu", weights_only=True)
    return Loaded(epochs=_epochs(path), state=cast("dict[str, Any]", state), passed_over=passed_over)


def resumable_epochs(folder: Path, *, identity: str) -> int:
    """Return how many epochs lie behind what `load_newest` would return; 0 for nothing."""
    path, _ = _newest_whole(folder, identity)
    return 0 if path is None else _epochs(path)


def newest_name(folder: Path) -> str:
    """Return the newest checkpoint's name without looking into it, ``""`` where there is none; names grow as steps do."""
    return next((path.name for path in _newest_first(folder)), "")


def published(folder: Path) -> tuple[Published, ...]:
    """Return every checkpoint that was ever published here, in that order; those deleted since too.

    A kill may fall between publishing and telling: what lies there is added to what was told.
    """
    found = {}
    for line in _told(folder):
        try:
            item = Published(**json.loads(line))
        except (ValueError, TypeError):
            continue  # a kill cut it
        found[item.sha256] = item
    for path in reversed(_newest_first(folder)):
        there = label_of(path)
        if there is not None:
            found.setdefault(there.sha256, there)
    return tuple(found.values())


def label_of(path: Path) -> Published | None:
    """Return what a checkpoint's own label says of it; None where it is not there or not whole."""
    try:
        label = json.loads((path / LABEL).read_text())
        return Published(path.name, str(label["sha256"]), int(label.get("step", 0)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _tell(folder: Path, item: Published) -> None:
    line = json.dumps({"name": item.name, "sha256": item.sha256, "step": item.step})
    descriptor = os.open(folder / _PUBLISHED, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        os.write(descriptor, f"{line}\n".encode())
    finally:
        os.close(descriptor)


def _told(folder: Path) -> list[bytes]:
    try:
        return (folder / _PUBLISHED).read_bytes().splitlines()
    except FileNotFoundError:
        return []


def _newest_whole(folder: Path, identity: str) -> tuple[Path | None, tuple[str, ...]]:
    passed_over: list[str] = []
    for path in _newest_first(folder):
        problem = _problem(path, identity)
        if problem is None:
            return path, tuple(passed_over)
        _LOG.warning("checkpoint=%s not resumed: %s", path, problem)
        passed_over.append(f"checkpoint {path.name} was passed over: {problem}")
    return None, tuple(passed_over)


def _epochs(path: Path) -> int:
    return int(path.name.split("-")[1])


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("epoch-[0-9]*"), reverse=True)


def _problem(path: Path, identity: str) -> str | None:
    try:
        label = json.loads((path / LABEL).read_text())
        sha256 = sha256_file(path / STATE)
    except (OSError, ValueError) as error:
        return f"cannot be read ({error})"
    if not isinstance(label, dict) or label.get("identity") != identity:
        return "it belongs to another configuration, dataset or code"
    return None if label.get("sha256") == sha256 else "its bytes differ from its digest"
