"""Build a dataset: each drive's samples as Ray tasks, then one split, one table, one manifest."""

from __future__ import annotations

import logging
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import ray
from pydantic import JsonValue

from platform_lib.catalog.filters import DriveFilter
from platform_lib.catalog.finding import Finder
from platform_lib.catalog.model import ContractRun, Drive
from platform_lib.console import progress
from platform_lib.contracts.admission import REASON, Admission, admit, refuse_broken
from platform_lib.contracts.document import read_contracts
from platform_lib.contracts.evidence import METRIC
from platform_lib.contracts.model import Contract
from platform_lib.contracts.tables import check_dataset
from platform_lib.datasets.assembly import assemble, metrics_of, plan_splits
from platform_lib.datasets.mixed_units import MixedSignal, mixed_units, refuse_mixed
from platform_lib.datasets.model import SampleRules, SkippedDrive
from platform_lib.datasets.reader import KIND, MANIFEST_FILE, SAMPLES, SPLIT_FILE, STATS_FILE
from platform_lib.datasets.shards import Shard, write_shard
from platform_lib.datasets.splits import FRACTIONS, SPLITS
from platform_lib.errors import ConfigError, ContractError, MissingPartError, PlatformError
from platform_lib.evidence import BlurRecall, read_evidence
from platform_lib.home import Home
from platform_lib.lake.clips import refresh_clips
from platform_lib.lake.lake import Lake
from platform_lib.lake.place import lake_of
from platform_lib.manifest import Input, Manifest, Step, input_of
from platform_lib.privacy.frames import AdmittedPii
from platform_lib.storage import publish_folder, sweep_unfinished
from ray_jobs.session import answer_of, local_ray

logger = logging.getLogger(__name__)

# Opening the lake costs a task some tenths of a second, so a task takes several drives; but not so many that the
# last one keeps the others waiting.
_TASKS_PER_CPU = 3
_PAGE = 1000
_WORK_PREFIX = "dataset-"
INPUTS_PAGE = "docs/reference/dataset-inputs.md"
_NOT_ON_BUS = "with a known unit on a bus"  # how `platform_lib.datasets.sources` ends that reason
_STATE = ".pii_state."  # part of the rule's name that says whether frames may enter
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class DatasetBuildError(PlatformError):
    """A worker died while it built samples."""


@dataclass(frozen=True, slots=True)
class DatasetOutcome:
    """What `build_dataset` did.

    Attributes:
        folder: The dataset.
        skipped: True when it was up to date and nothing ran.
    """

    folder: Path
    manifest: Manifest
    skipped: bool


def build_dataset(
    home: Home,
    name: str,
    *,
    seed: int = 7,
    rules: SampleRules | None = None,
    force: bool = False,
    blur_recall: Path | None = None,
    mix_units: bool = False,
    which: DriveFilter | None = None,
) -> DatasetOutcome:
    """Build ``HOME/datasets/<name>`` from everything the lake holds, or from the drives that `which` names.

    Of other drives no file is opened. With `mix_units` drives are joined whose signals changed their unit in between.

    Raises:
        ConfigError: The name cannot be a folder, or the seed is negative.
        MissingPartError: The lake holds no drive, or none such.
        ContractError: Too few drives gave samples to be split three ways, or a table breaks its data contract, or a signal
            changed its unit between drives.
        DatasetBuildError: A worker died.
        HomeBusyError: Another command builds a dataset in this home, or trains or scores on this very one.
    """
    chosen = rules or SampleRules()
    folder = home.datasets / valid_name(name)
    if seed < 0:
        raise ConfigError(f"seed {seed} is negative", where="--seed", remedy="take 0 or more")
    with home.lock("dataset"), Lake.open(home) as lake, lake.held("dataset", shared=True):
        version, drives = lake.version(), _drives(lake, which)
        if not drives:
            raise MissingPartError(
                "the lake holds no drive" if which is None else "the lake holds no such drive",
                where=lake.store.root,
                remedy="read some in with `drivetrain ingest FOLDER`; `drivetrain drives` lists what is there",
            )
        contracts = read_contracts(home.root)
        step = _step(home, version.sha256, seed=seed, rules=chosen, contracts=contracts)
        if mix_units:
            step.config["mix_units"] = True
        if which is not None:
            step.config["which"] = {name: value for name, value in asdict(which).items() if value is not None}
        if blur_recall is not None:
            read_evidence(BlurRecall, blur_recall)
            step.inputs["blur_recall"] = input_of(blur_recall)
        sweep_unfinished(home.datasets)
        found = None if force else step.done(folder / MANIFEST_FILE)
        if found is None:
            with home.lock(f"dataset-{name}"):  # what is trained or scored on it holds the same lock, shared
                admission = admit(lake, contracts, drives)
                mixed = mixed_units(lake, {item.drive_id for item in admission.drives})
                refuse_mixed(() if mix_units else mixed, where=f"dataset {name}")
                found, rows = _build(home, step, admission, contracts, folder, seed=seed, rules=chosen, mixed=mixed)
            lake.catalog.record_contract_runs(rows)
            _record(lake, found, folder)
            return DatasetOutcome(folder, found, skipped=False)
        _record(lake, found, folder)
    return DatasetOutcome(folder, found, skipped=True)


def _drives(lake: Lake, which: DriveFilter | None) -> list[Drive]:
    """Return the drives that a dataset is made from, in order of their ids."""
    if which is None:
        return lake.drives()
    finder, found = Finder(lake.catalog.engine), list[Drive]()
    page = finder.drives(which, limit=_PAGE)
    found += page.drives
    while page.after is not None:
        page = finder.drives(which, limit=_PAGE, after=page.after)
        found += page.drives
    return sorted(found, key=lambda item: item.drive_id)


def valid_name(name: str) -> str:
    """Return a dataset's name if it can be a folder's.

    Raises:
        ConfigError: It holds a slash, begins with a dot, is empty or too long.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} cannot name a dataset",
            where="NAME",
            remedy="use 1 to 64 letters, digits, '.', '_' and '-', the first a letter or digit",
        )
    return name


def _step(home: Home, lake_sha256: str, *, seed: int, rules: SampleRules, contracts: Sequence[Contract]) -> Step:
    fractions: dict[str, JsonValue] = {str(split): fraction for split, fraction in FRACTIONS.items()}
    held: dict[str, JsonValue] = {item.id: item.sha256 for item in contracts}
    config: dict[str, JsonValue] = {"seed": seed, "fractions": fractions, "rules": asdict(rules), "contracts": held}
    return Step(
        KIND,
        inputs={"lake": Input(sha256=lake_sha256, uri=str(lake_of(home)))},
        config=config,
        modules=("ray_jobs.dataset",),
    )


def _build(
    home: Home,
    step: Step,
    admission: Admission,
    contracts: Sequence[Contract],
    folder: Path,
    *,
    seed: int,
    rules: SampleRules,
    mixed: Sequence[MixedSignal],
) -> tuple[Manifest, list[ContractRun]]:
    """Build and publish a dataset; return its manifest and what contracts found of its rows."""
    work = _work_folder(home)
    try:
        results = _build_drives(home, admission.drives, rules, work, lake_sha256=step.inputs["lake"].sha256)
        shards = [item for item in results if isinstance(item, Shard)]  # 1 drive : 1 shard, or none and the reason
        skipped = [item for item in results if isinstance(item, SkippedDrive)]
        skipped += [SkippedDrive(drive_id, reason) for drive_id, reason in admission.left_out.items()]
        _refuse_too_few(shards, skipped, where=f"dataset {folder.name}")
        plan = plan_splits(shards, seed=seed)
        with publish_folder(folder) as temporary:
            assemble(plan, temporary)
            rows = check_dataset(temporary / SAMPLES, contracts, sha256=step.sha256)
            refuse_broken(rows, where=folder.name)
            outputs = {name: temporary / name for name in (SAMPLES, SPLIT_FILE, STATS_FILE)}
            evidence = admission.evidence([item.drive_id for item in plan.shards], rows).model_dump(mode="json")
            metrics = {**metrics_of(plan, skipped), METRIC: evidence, **_blur_metrics(home, step, shards)}
            metrics["mixed_units"] = [item.sentence for item in mixed]
            return step.finish(temporary / MANIFEST_FILE, outputs, metrics), rows
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _blur_metrics(home: Home, step: Step, shards: Sequence[Shard]) -> dict[str, JsonValue]:
    """Say how blurred samples were blurred, and with what recall; nothing where none is."""
    if not any(shard.pii_states.get(AdmittedPii.BLURRED) for shard in shards):
        return {}
    files = {digest for shard in shards for digest in shard.files}
    with Lake.open(home) as lake:
        configs = sorted({item.config_sha256 for item in lake.blurs.visible() if item.file_sha256 in files})
        if (
            lake.version().sha256 != step.inputs["lake"].sha256
        ):  # a blur by another configuration may have ended just now
            raise _lake_changed(str(home.root))
    given = step.inputs.get("blur_recall")
    recall = None if given is None else read_evidence(BlurRecall, Path(given.uri)).model_dump(mode="json")
    return {"blur": {"config_sha256": list(configs), "recall": recall}}


def _work_folder(home: Home) -> Path:
    """Clear what killed builds left (the lock is ours) and make a folder of this build's own.

    A fresh name each time: an orphaned worker of a killed build may still write, and must not write here.
    """
    home.scratch.mkdir(exist_ok=True)
    for old in home.scratch.glob(f"{_WORK_PREFIX}*"):
        shutil.rmtree(old, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=_WORK_PREFIX, dir=home.scratch))


def _refuse_too_few(shards: Sequence[Shard], skipped: Sequence[SkippedDrive], *, where: str = "dataset") -> None:
    if len(shards) >= len(SPLITS):
        return
    counts = Counter(item.reason for item in skipped).most_common()
    reasons = "; ".join(f"{reason} ({count} drives)" if count > 1 else reason for reason, count in counts[:5])
    raise ContractError(
        f"{len(shards)} of {len(shards) + len(skipped)} drives gave samples, and a split needs at least {len(SPLITS)}"
        + (f": {reasons}" if reasons else ""),
        where=where,
        remedy=_remedy([reason for reason, _ in counts]),
    )


def _remedy(reasons: Sequence[str]) -> str:
    page = f"{INPUTS_PAGE} lists the topics and signals that a drive needs"
    if any(reason.startswith(REASON) and _STATE in reason for reason in reasons):
        return "frames that may show people: `drivetrain blur frames`; `drivetrain contract check` shows all that is broken"
    if reasons and all(reason.startswith(REASON) for reason in reasons):
        return "`drivetrain contract check` shows what is broken and where; mend the recordings or the contract"
    if any(reason.endswith(_NOT_ON_BUS) for reason in reasons):
        return f"name the vehicle's CAN database and read the logs again: `drivetrain ingest FOLDER --dbc FILE`; {page}"
    return f"ingest more drives that hold them; {page}"


def _build_drives(
    home: Home, drives: Sequence[Drive], rules: SampleRules, work: Path, *, lake_sha256: str
) -> list[Shard | SkippedDrive]:
    """Build every drive's samples as Ray tasks; return what became of each, in the order the tasks ended."""
    results: list[Shard | SkippedDrive] = []
    with local_ray(home), progress("drives", total=len(drives)) as bar:
        cpus = int(ray.cluster_resources().get("CPU", 1))
        size = max(1, len(drives) // (_TASKS_PER_CPU * max(1, cpus)))
        blocks = [[item.drive_id for item in drives[start : start + size]] for start in range(0, len(drives), size)]
        task = ray.remote(max_retries=1)(build_block)
        pending: list[Any] = [task.remote(str(home.root), block, rules, str(work), lake_sha256) for block in blocks]
        while pending:
            done, pending = ray.wait(pending, num_returns=1)
            for result in answer_of(done[0], died=_worker_died):
                if isinstance(result, SkippedDrive):
                    logger.info("drive=%s skipped: %s", result.drive_id, result.reason)
                results.append(result)
                bar.advance(note=result.drive_id)
    return results


def _worker_died(what: str) -> DatasetBuildError:
    return DatasetBuildError(
        what,
        where="dataset",
        remedy="look at free memory, then run the command again; nothing of the old dataset is lost",
    )


def build_block(
    home_root: str, drive_ids: Sequence[str], rules: SampleRules, work: str, lake_sha256: str
) -> list[Shard | SkippedDrive]:
    """Build some drives' samples in a worker.

    Raises:
        ContractError: The lake is no longer what the dataset was begun from.
    """
    with Lake.open(Home(Path(home_root))) as lake:
        by_id = {item.drive_id: item for item in lake.catalog.drives(drive_ids)}
        results = [write_shard(lake, by_id[drive_id], rules, Path(work)) for drive_id in drive_ids if drive_id in by_id]
        if lake.version().sha256 != lake_sha256 or len(results) != len(drive_ids):
            raise _lake_changed(home_root)
    return results


def _lake_changed(where: str) -> ContractError:
    return ContractError(
        "the lake changed while a dataset was built from it",
        where=where,
        remedy="run the command again when nothing is being ingested or blurred",
    )


def _record(lake: Lake, manifest: Manifest, folder: Path) -> None:
    """Tell the catalogue what the dataset was made from: the lake's version, each split's log files, and the clips."""
    lake.catalog.record(manifest, folder)
    refresh_clips(lake)
