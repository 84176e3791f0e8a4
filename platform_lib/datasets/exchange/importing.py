"""Take a foreign dataset in: the same samples, splits and proof as from the lake, then export any dataset again."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Literal

from pydantic import JsonValue

from platform_lib.catalog.elsewhere import EXPORT, note_export
from platform_lib.catalog.erasures import Erasures
from platform_lib.console import progress
from platform_lib.datasets.assembly import assemble, metrics_of, plan_splits
from platform_lib.datasets.exchange import (
    lerobot,
    lerobot_export,
    lerobot_samples,
    mcap_export,
    nuscenes_source,
    parquet_source,
)
from platform_lib.datasets.exchange.model import ImportOptions, Prepared, prepare
from platform_lib.datasets.model import SkippedDrive
from platform_lib.datasets.reader import (
    KIND,
    MANIFEST_FILE,
    SAMPLES,
    SPLIT_FILE,
    STATS_FILE,
    DrivingDataset,
    erased_datasets,
)
from platform_lib.datasets.shards import Shard, write_samples
from platform_lib.datasets.splits import SPLITS
from platform_lib.erasure.scope import whole_drive
from platform_lib.errors import ConfigError, ContractError, MissingPartError
from platform_lib.home import Home
from platform_lib.lake.clips import refresh_clips
from platform_lib.lake.lake import Lake
from platform_lib.manifest import Input, Manifest, Step, input_of
from platform_lib.storage import publish_folder, sweep_unfinished

Layout = Literal["lerobot", "nuscenes", "parquet"]
Form = Literal["lerobot", "mcap"]
_WORK_PREFIX = "import-"
_LOOKED_FOR: dict[Layout, Callable[[Path], object]] = {
    "lerobot": lerobot.read_info,
    "nuscenes": nuscenes_source.find_tables,
    "parquet": parquet_source.find_files,
}
"""What refuses a folder that is not of the layout, without reading much of it."""


def import_dataset(
    home: Home, source: Path, name: str, *, layout: Layout, options: ImportOptions, seed: int, force: bool = False
) -> tuple[Path, Manifest, bool]:
    """Read `source` into ``HOME/datasets/<name>``; return the folder, its manifest, and whether it was up to date.

    Raises:
        MissingPartError: There is no such folder, or it is not of that layout.
        ContractError: Frames without a declared state of personal data, missing columns, too few drives.
        IntegrityError: A file is missing, cut short or another than it says.
    """
    if not source.is_dir():
        raise MissingPartError("no such folder", where=source, remedy="name the folder of the dataset")
    _LOOKED_FOR[layout](source)  # every file is hashed next, of whatever folder was named
    folder = home.datasets / name
    config: dict[str, JsonValue] = {"layout": layout, "seed": seed, "options": asdict(options)}
    with home.lock("dataset"), home.lock(f"dataset-{name}"):
        step = Step(KIND, inputs={"source": input_of(source)}, config=config, modules=(__name__,))
        sweep_unfinished(home.datasets)
        found = None if force else step.done(folder / MANIFEST_FILE)
        if step.sha256 in erased_datasets(home.root):
            raise ContractError(
                "an import of this very folder was erased, for good",
                where=source,
                remedy="delete the folder; import what may be kept of it from one without the rest",
            )
        with Lake.open(home) as lake:
            erased = {item.scope_sha256: item.erasure_id for item in Erasures(lake.catalog.engine).tombstones()}
        manifest = found or _build(home, step, _drives(source, layout, options), folder, seed=seed, erased=erased)
        with Lake.open(home) as lake:
            lake.catalog.record(manifest, folder)
            refresh_clips(lake)
    return folder, manifest, found is not None


def _drives(source: Path, layout: Layout, options: ImportOptions) -> Iterator[Prepared | SkippedDrive]:
    if layout == "lerobot" and lerobot_samples.holds_samples(info := lerobot.read_info(source)):
        yield from lerobot_samples.prepared(source, info, options)
        return
    readers = {
        "lerobot": lerobot.trajectories,
        "nuscenes": nuscenes_source.trajectories,
        "parquet": parquet_source.trajectories,
    }
    for drive in readers[layout](source, options):
        yield prepare(drive, options)


def _build(
    home: Home,
    step: Step,
    drives: Iterator[Prepared | SkippedDrive],
    folder: Path,
    *,
    seed: int,
    erased: Mapping[str, int],
) -> Manifest:
    home.scratch.mkdir(exist_ok=True)
    for old in home.scratch.glob(f"{_WORK_PREFIX}*"):  # of killed imports: the lock is ours
        shutil.rmtree(old, ignore_errors=True)
    work = Path(tempfile.mkdtemp(prefix=_WORK_PREFIX, dir=home.scratch))
    try:
        shards, skipped = _write_all(drives, work, where=step.inputs["source"].uri, erased=erased)
        if len(shards) < len(SPLITS):
            reasons = "; ".join(f"{item.drive_id}: {item.reason}" for item in skipped[:5])
            raise ContractError(
                f"{len(shards)} of {len(shards) + len(skipped)} drives gave samples, and a split needs {len(SPLITS)}"
                + (f": {reasons}" if reasons else ""),
                where=step.inputs["source"].uri,
                remedy="a sample needs one second before its frame and three after; import more or longer drives",
            )
        plan = plan_splits(shards, seed=seed)
        with publish_folder(folder) as temporary:
            assemble(plan, temporary)
            outputs = {name: temporary / name for name in (SAMPLES, SPLIT_FILE, STATS_FILE)}
            return step.finish(temporary / MANIFEST_FILE, outputs, metrics_of(plan, skipped))
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _write_all(
    drives: Iterator[Prepared | SkippedDrive], work: Path, *, where: str, erased: Mapping[str, int]
) -> tuple[list[Shard], list[SkippedDrive]]:
    """Write every drive's samples to a file of its own below `work`; return them, and the drives that gave none.

    A drive whose name was erased whole is refused: `erased` has digests of scopes, which tell no name.
    """
    shards: list[Shard] = []
    skipped: list[SkippedDrive] = []
    names: set[str] = set()
    with progress("drives", total=None) as bar:
        for drive in drives:
            name = drive.drive_id if isinstance(drive, SkippedDrive) else drive.samples.drive_id
            if name in names:  # it would take the first one's place on the disk
                raise ContractError(
                    f"two drives are called {name!r}", where=where, remedy="give every scene or drive a name of its own"
                )
            if (erasure_id := erased.get(whole_drive(name).sha256)) is not None:
                raise ContractError(
                    f"the drive {name!r} was erased here (erasure {erasure_id}), for good",
                    where=where,
                    remedy="leave it out of the folder, and delete the copy that it came from",
                )
            names.add(name)
            written = (
                drive
                if isinstance(drive, SkippedDrive)
                else write_samples(drive.samples, drive.images, work, files=drive.files, labels=drive.labels)
            )
            if isinstance(written, SkippedDrive):
                skipped.append(written)
            else:
                shards.append(written)
            bar.advance()
    return shards, skipped


def export_dataset(home: Home, name: str, out: Path, *, form: Form) -> dict[str, int]:
    """Write a dataset of this home for other tools into `out`, which must not exist yet; return what was written.

    Raises:
        MissingPartError: There is no such dataset.
        IntegrityError: The dataset was changed after it was made.
        ConfigError: `out` exists.
    """
    if out.exists():
        raise ConfigError("it exists", where=out, remedy="name a folder that does not")
    exporters = {"lerobot": lerobot_export.export, "mcap": mcap_export.export}
    with home.lock(f"dataset-{name}", shared=True), DrivingDataset.open(home.datasets / name) as dataset:
        made_from = {"dataset": Input(sha256=dataset.sha256, uri=str(dataset.folder))}
        note_export(home, Step(EXPORT, inputs=made_from, config={"form": form}, modules=(__name__,)).told, out)
        with publish_folder(out) as temporary:
            return exporters[form](dataset, temporary)
