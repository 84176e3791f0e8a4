"""Open a dataset: checked against its manifest, then read by split."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import lance
import numpy as np
import pyarrow as pa
from pydantic import ValidationError

from platform_lib.datasets.images import decode_images
from platform_lib.datasets.model import FUTURE_STEPS, HISTORY_STEPS, AdmittedPii
from platform_lib.datasets.proof import SplitProof
from platform_lib.datasets.splits import SPLITS, Split
from platform_lib.datasets.statistics import DatasetStats
from platform_lib.datasets.table import SplitArrays, fixed_array, objects_of
from platform_lib.errors import ContractError, IntegrityError, MissingPartError
from platform_lib.manifest import Manifest, changed_outputs, read_manifest
from platform_lib.storage import publish_bytes

logger = logging.getLogger(__name__)

SAMPLES, SPLIT_FILE, STATS_FILE, MANIFEST_FILE = "samples.lance", "split.json", "stats.json", "manifest.json"
KIND = "dataset"
ERASED_FILE = "erased_datasets"
_NOT_ADMITTED = f"pii_state IS NULL OR pii_state NOT IN ({', '.join(repr(str(state)) for state in AdmittedPii)})"


def erased_datasets(home: Path) -> frozenset[str]:
    """Return the digests of datasets that erasures removed from a home, should one come back from a backup."""
    try:
        return frozenset((home / ERASED_FILE).read_text().split())
    except (FileNotFoundError, NotADirectoryError):
        return frozenset()


def note_erased(home: Path, digests: Collection[str]) -> None:
    """Remember datasets that an erasure removes."""
    if new := set(digests) - erased_datasets(home):
        told = sorted({*new, *erased_datasets(home)})
        publish_bytes(home / ERASED_FILE, "".join(f"{digest}\n" for digest in told).encode())


@dataclass(frozen=True, slots=True)
class DrivingDataset:
    """One dataset whose bytes are what its manifest says. Get one with `DrivingDataset.open`.

    Attributes:
        folder: Where it lies.
        manifest: Its provenance.
        proof: Which drive is in which split, and that none is in two.
        stats: Numbers to normalise with, from the training split alone.
    """

    folder: Path
    manifest: Manifest
    proof: SplitProof
    stats: DatasetStats

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open a dataset and verify every byte of it.

        Raises:
            MissingPartError: There is none.
            IntegrityError: A file differs from the manifest, the manifest is of something else, or the dataset was erased.
        """
        name = folder.name
        remedy = f"make it again with `drivetrain dataset {name} --force`"
        manifest = cls._manifest(folder)
        if manifest.kind != KIND or not {SAMPLES, SPLIT_FILE, STATS_FILE} <= set(manifest.outputs):
            raise IntegrityError(f"the manifest is of a {manifest.kind!r}, not of a whole dataset", where=folder)
        changed = changed_outputs(manifest, folder)
        if changed:
            raise IntegrityError(f"changed after it was made: {', '.join(changed)}", where=folder, remedy=remedy)
        try:
            proof = SplitProof.model_validate_json((folder / SPLIT_FILE).read_bytes())
            stats = DatasetStats.model_validate_json((folder / STATS_FILE).read_bytes())
        except ValidationError as error:
            raise IntegrityError(
                f"{error.title} is of another release: {error.errors()[0]['msg']}", where=folder, remedy=remedy
            ) from error
        if lance.dataset(str(folder / SAMPLES)).count_rows(filter=_NOT_ADMITTED):
            raise IntegrityError("a sample's state of personal data is not admitted", where=folder, remedy=remedy)
        return cls(folder, manifest, proof, stats)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is held open between reads."""

    @staticmethod
    def digest(folder: Path) -> str:
        """Return the digest that a dataset's manifest gives it, without verifying its bytes.

        Raises:
            MissingPartError: There is no dataset.
        """
        return DrivingDataset._manifest(folder).step_sha256

    @staticmethod
    def _manifest(folder: Path) -> Manifest:
        try:
            manifest = read_manifest(folder / MANIFEST_FILE)
            if manifest.step_sha256 in erased_datasets(folder.parent.parent):
                raise IntegrityError(
                    "it holds what was erased from this home, and came back from a copy",
                    where=folder,
                    remedy=f"delete it and the copy, then build it again: `drivetrain dataset {folder.name} --force`",
                )
            return manifest
        except (FileNotFoundError, NotADirectoryError) as error:
            raise MissingPartError(
                f"no dataset '{folder.name}'", where=folder, remedy=f"make it with `drivetrain dataset {folder.name}`"
            ) from error

    @property
    def sha256(self) -> str:
        """The digest that stands for this dataset in runs and reports."""
        return self.manifest.step_sha256

    def sample_count(self, split: Split) -> int:
        """Return the number of samples of one split."""
        return self.proof.samples[_known(split)]

    def batches(
        self, split: Split, *, columns: tuple[str, ...] | None = None, rows: int = 256, drive_id: str | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Yield one split's rows in order, of one drive or all, as stored (JPEG bytes, flat lists), in bounded memory."""
        condition = f"split = '{_known(split)}'"
        if drive_id is not None:
            quoted = drive_id.replace("'", "''")
            condition += f" AND drive_id = '{quoted}'"
        scanner = lance.dataset(str(self.folder / SAMPLES)).scanner(
            columns=None if columns is None else list(columns),
            filter=condition,
            batch_size=rows,
            scan_in_order=True,
        )
        yield from scanner.to_batches()

    def load_split(self, split: Split) -> SplitArrays:
        """Read and decode one split in full: about 55 kB of memory a sample.

        Raises:
            IntegrityError: The number of rows is not what the proof says, an image cannot be decoded, or a row's
                state of personal data is not admitted.
            ContractError: There is no such split.
        """
        batches = list(self.batches(split))
        if not batches and self.proof.samples[_known(split)] == 0:
            raise ContractError(f"the {split} split has no samples", where=self.folder)
        table = pa.Table.from_batches(batches)
        if len(table) != self.proof.samples[split]:
            raise IntegrityError(
                f"{len(table)} {split} samples, the split proof says {self.proof.samples[split]}", where=self.folder
            )
        if not set(table.column("pii_state").unique().to_pylist()) <= set(AdmittedPii):
            raise IntegrityError("a sample's state of personal data is not admitted", where=self.folder)
        sample_id = tuple(table.column("sample_id").to_pylist())
        logger.info("dataset=%s split=%s samples=%d", self.folder.name, split, len(table))
        return SplitArrays(
            sample_id=sample_id,
            drive_id=tuple(table.column("drive_id").to_pylist()),
            timestamp_ns=table.column("timestamp_ns").to_numpy(),
            images=decode_images(table.column("image").to_pylist(), sample_id),
            ego_history=fixed_array(table, "ego_history").reshape(-1, HISTORY_STEPS, 3),
            command=table.column("command").to_numpy().astype(np.int64),
            future=fixed_array(table, "future").reshape(-1, FUTURE_STEPS, 2),
            ego_yaw_future=fixed_array(table, "ego_yaw_future"),
            speed_mps=table.column("speed_mps").to_numpy(),
            slices=tuple(tuple(names) for names in table.column("slices").to_pylist()),
            objects=objects_of(table),
        )


def _known(split: Split) -> Split:
    if split not in SPLITS:
        raise ContractError(f"no split {split!r}", where="dataset", remedy=f"name one of {', '.join(SPLITS)}")
    return split
