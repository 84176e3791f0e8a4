"""Simulate a fleet into a folder: several processes, published whole, refused where something else lies."""

from __future__ import annotations

import fcntl
import logging
import multiprocessing
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import JsonValue

from platform_lib.errors import ConfigError, HomeBusyError, IntegrityError, PlatformError
from platform_lib.manifest import Manifest, Step, manifest_path_of, read_manifest
from platform_lib.processes import end_with_parent
from platform_lib.scenario.can_bus import DBC_TEXT
from platform_lib.scenario.drive_files import Written, write_broken, write_drive
from platform_lib.scenario.fleet import demo_fleet
from platform_lib.scenario.model import DriveSpec
from platform_lib.storage import publish_folder

logger = logging.getLogger(__name__)

KIND = "drives"
_MARKER = ".simulated"
_BYTES_PER_DRIVE = 8_000_000
_LEFTOVER = re.compile(r"\.tmp-(?P<old>old-)?[0-9a-f]{12}-(?P<name>.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Simulated:
    """What `simulate_fleet` did; `skipped` when the finished artefact was already there."""

    out: Path
    truth: Path
    manifest_path: Path
    manifest: Manifest
    skipped: bool


def simulate_fleet(
    out: Path,
    *,
    drives: int,
    seed: int,
    duration_s: float = 20.0,
    broken: bool = False,
    jobs: int | None = None,
    force: bool = False,
    advance: Callable[[str], None] = lambda name: None,
) -> Simulated:
    """Write `drives` synthetic drives to `out` and their truth to ``<out>.truth``, the manifest last.

    Args:
        out: New, empty, or a folder this function wrote before (which is then replaced).
        drives: How many.
        seed: Decides every one of them; a larger fleet begins with the smaller one.
        duration_s: Length of each.
        broken: Also write damaged files to ``out/broken``, made from one more drive.
        jobs: Processes; as many as there are CPUs when None. The bytes do not depend on it.
        force: Simulate even if the finished artefact is there.
        advance: Called with each drive's name as it is done.

    Raises:
        ConfigError: A number is out of range, `out` holds something else, or the disk is too small.
        HomeBusyError: Another process is simulating beside `out`.
        PlatformError: A worker died.
    """
    fleet = demo_fleet(drives, seed, duration_s=duration_s)
    if broken:
        fleet = demo_fleet(drives + 1, seed, duration_s=duration_s)
    workers = _workers(jobs, len(fleet))
    out = _usable(out)
    truth = out.with_name(out.name + ".truth")
    step = Step(
        KIND,
        inputs={},
        config={"drives": drives, "seed": seed, "duration_s": duration_s, "broken": broken},
        modules=("platform_lib.scenario.simulation",),
    )
    manifest_path = manifest_path_of(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with _alone(out.parent):
        _sweep(out.parent, (out.name, truth.name))
        found = None if force else step.done(manifest_path)
        if found is not None:
            return Simulated(out, truth, manifest_path, found, skipped=True)
        _refuse_foreign(out, manifest_path)
        _refuse_foreign(truth, manifest_path)
        _refuse_small_disk(out.parent, len(fleet))
        with publish_folder(truth) as new_truth, publish_folder(out) as new_out:
            written = _write_all(fleet, new_out, new_truth, workers, advance, broken=broken)
        manifest = step.finish(manifest_path, {"drives": out, "truth": truth}, _metrics(written))
    return Simulated(out, truth, manifest_path, manifest, skipped=False)


def _workers(jobs: int | None, drives: int) -> int:
    if jobs is not None and not 1 <= jobs <= 256:
        raise ConfigError(f"{jobs} processes cannot work", where="--jobs", remedy="take 1 to 256")
    return min(jobs or len(os.sched_getaffinity(0)), drives)


def _usable(out: Path) -> Path:
    out = out.expanduser().resolve()
    if not out.name:
        raise ConfigError("the root of the file system cannot be replaced", where=out, remedy="name a folder below it")
    if out.exists() and not out.is_dir():
        raise ConfigError("not a folder", where=out, remedy="name a new folder with --out")
    return out


def _refuse_foreign(folder: Path, manifest_path: Path) -> None:
    """Refuse to replace a folder that holds anything but an earlier simulation."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if folder.is_dir() and (folder / _MARKER).is_file():
        return
    raise ConfigError(
        f"holds something that `simulate` did not write (manifest: {_kind(manifest_path)})",
        where=folder,
        remedy="name a new or empty folder with --out",
    )


def _kind(manifest_path: Path) -> str:
    try:
        return f"kind {read_manifest(manifest_path).kind}"
    except FileNotFoundError:
        return "none"
    except IntegrityError:
        return "unreadable"


def _refuse_small_disk(folder: Path, drives: int) -> None:
    free, needed = shutil.disk_usage(folder).free, drives * _BYTES_PER_DRIVE
    if free < needed:
        raise ConfigError(
            f"{drives} drives need about {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free",
            where=folder,
            remedy="ask for fewer --drives, or name a larger disk with --out",
        )


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder's kernel lock, which a death releases; nothing is written for it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise HomeBusyError(
            "another `simulate` is writing into this folder", where=folder, remedy="wait for it to end"
        ) from None
    finally:
        os.close(descriptor)


def _sweep(folder: Path, names: tuple[str, ...]) -> None:
    """Clear what a killed simulation left under the temporary names of these folders, and of no others."""
    for path in sorted(folder.glob(".tmp-*")):
        match = _LEFTOVER.fullmatch(path.name)
        if match is None or match["name"] not in names:
            continue
        home = folder / match["name"]
        if match["old"] and not home.exists():
            path.rename(home)
        else:
            shutil.rmtree(path, ignore_errors=True)


def _write_all(
    fleet: tuple[DriveSpec, ...], out: Path, truth: Path, workers: int, advance: Callable[[str], None], *, broken: bool
) -> list[Written]:
    """Write every drive, the marker and the DBC; the last drive of the fleet is the one to break."""
    for folder in (out, truth):
        (folder / _MARKER).write_text("Written by `drivetrain simulate`, which may replace this folder.\n")
    (out / "vehicle.dbc").write_text(DBC_TEXT, encoding="ascii")
    targets = [(spec, out / spec.name, truth / f"{spec.name}.parquet") for spec in fleet]
    if broken:
        spare = targets[-1][0]
        targets[-1] = (replace(spare, session=f"{spare.session}-broken"), out / ".spare", truth / ".spare")
    written = {}
    for done in _run(targets, workers):
        logger.info("drive=%s bytes=%d", done.name, done.log_bytes)
        written[done.name] = done
        advance(done.name)
    if broken:
        write_broken(out / ".spare", out / "broken")
        shutil.rmtree(out / ".spare")
        (truth / ".spare").unlink()
        targets = targets[:-1]
    return [written[spec.name] for spec, _, _ in targets]


def _run(targets: list[tuple[DriveSpec, Path, Path]], workers: int) -> Iterator[Written]:
    if workers == 1:
        yield from (write_drive(*target) for target in targets)
        return
    # Spawned, not forked: OpenCV, Arrow and asammdf hold threads and locks that do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_begin_worker) as pool:
        try:
            for future in as_completed([pool.submit(write_drive, *target) for target in targets]):
                yield future.result()
        except BrokenProcessPool as error:
            raise PlatformError(
                "a worker process died", where="drivetrain simulate", remedy="free memory, or use fewer --jobs"
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _begin_worker() -> None:
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent answers Ctrl-C, once


def _metrics(written: list[Written]) -> dict[str, JsonValue]:
    return {
        "drives": len(written),
        "names": [item.name for item in written],
        "log_bytes": sum(item.log_bytes for item in written),
        "distance_m": round(sum(item.distance_m for item in written), 1),
        "lost_can_frames": sum(item.lost_can_frames for item in written),
        "lost_camera_frames": sum(item.lost_camera_frames for item in written),
        "lost_sweeps": sum(item.lost_sweeps for item in written),
    }
