"""The lake's two stores, on disk or in a bucket: the Iceberg signal table and the Lance sample store.

Both are written by one process at a time, the holder of the lock ``ingest``. What they hold beyond the
versions that the catalogue names is invisible: left by a kill, or on its way.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.io.pyarrow import parquet_files_to_data_files
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table
from sqlalchemy import Engine

from platform_lib.catalog.model import LakeHead
from platform_lib.errors import HomeError
from platform_lib.home import Home
from platform_lib.lake.durable import BucketFileIO, DurableFileIO
from platform_lib.lake.inventory import (
    Inventory,
    forget_versions,
    fragment_files,
    lance_orphans,
    replaced_before,
    signal_orphans,
    take_inventory,
)
from platform_lib.lake.lance_rewriting import compact_fragments
from platform_lib.lake.lance_table import (
    append_lance,
    create_lance,
    delete_fragments,
    is_lance,
    open_lance,
)
from platform_lib.lake.objects import ObjectPath, unfinished_uploads
from platform_lib.lake.ownership import NAMESPACE, claim, refuse_foreign
from platform_lib.lake.place import (
    LakePath,
    abort_uploads,
    delete,
    files_below,
    flushed,
    lake_of,
    located,
    make_folder,
    refuse_unreachable,
)
from platform_lib.lake.rewriting import merge
from platform_lib.lake.signal_table import SIGNAL_PARTITIONS, SIGNALS, SignalFile, SignalPlan, among, only_ingest
from platform_lib.lake.tables import BLURRED_NAME, RAW_NAME, SAMPLE_SCHEMA, TIMES, VALUE_LISTS
from platform_lib.lake.writer import WrittenFiles
from platform_lib.lake.writers import Writers
from platform_lib.privacy.zone import BLURRED_SCHEMA, RAW_SCHEMA, FrameStore

logger = logging.getLogger(__name__)

_TABLE = f"{NAMESPACE}.signals"
_LAST_VERSION = 2**64 - 1  # Lance names version v's manifest by this number less v, so that the newest sorts first


@dataclass(frozen=True, slots=True)
class SampleFragments:
    """The fragments of one version of the sample store.

    Attributes:
        version: Which.
        by_path: Data file below the lake's folder -> its fragment (`lance.LanceFragment`).
        unrecorded: Files of which the catalogue does not know whose rows they hold.
    """

    version: int
    by_path: Mapping[str, Any]
    unrecorded: AbstractSet[str]


class Store:
    """Both stores of one home.

    Args:
        home: Whose.
        uri: The catalogue database, which also keeps Iceberg's catalogue.

    Raises:
        HomeError: The home's path cannot be written as an Iceberg location, or the bucket holds another database's lake.
        PlatformError: The bucket is not there, or cannot be used.
    """

    def __init__(self, home: Home, uri: str) -> None:
        self.root = lake_of(home)
        if any(sign in str(self.root) for sign in "#?%"):
            raise HomeError(
                "a home whose path holds '#', '?' or '%' cannot hold Iceberg tables",
                where=home.root,
                remedy="use another --home",
            )
        self.signals_folder = self.root / "signals"
        self.samples_uri = self.root / "samples.lance"
        self.raw = FrameStore(self.root / RAW_NAME, RAW_SCHEMA, "ingest_id")
        self.blurred = FrameStore(self.root / BLURRED_NAME, BLURRED_SCHEMA, "blur_id")
        self.database_uri = uri
        self.writers, self.blur_writers = Writers(home), Writers(home, "blur")
        self.rewriting = self.root / "rewriting"
        kind = BucketFileIO if isinstance(self.root, ObjectPath) else DurableFileIO
        file_io = {"py-io-impl": f"{kind.__module__}.{kind.__name__}"}
        self._iceberg = SqlCatalog("drivetrain", uri=uri, warehouse=str(self.root), **file_io)
        if isinstance(self.root, ObjectPath):
            refuse_foreign(self.root, self._iceberg)
        self.fragments: SampleFragments | None = None  # likewise
        self.strange: tuple[int, tuple[Any, ...]] | None = None  # of blurred frames: likewise, those that nobody noted
        self._plan: SignalPlan | None = None  # of the version that was asked for last: a version never changes

    @property
    def signals_data(self) -> LakePath:
        """Where Parquet files of the signal table are written."""
        return self.signals_folder / "data"

    @property
    def iceberg_engine(self) -> Engine:
        """The way to the database by which Iceberg's catalogue is changed."""
        return self._iceberg.engine

    def close(self) -> None:
        """Give the database connections back."""
        self._iceberg.close()

    # Reading ----------------------------------------------------------------------------------------------------

    def signal_files(
        self, head: LakeHead, ingest_ids: Sequence[int] | None = None, *, stream: str | None = None
    ) -> list[str]:
        """Return the Parquet files of a version that may hold rows of these ingests and this stream (all by default)."""
        return [item.path for item in self.partitioned_files(head, ingest_ids, stream=stream)]

    def partitioned_files(
        self, head: LakeHead, ingest_ids: Sequence[int] | None = None, *, stream: str | None = None
    ) -> list[SignalFile]:
        """Return the same files, each with what all of its rows have."""
        if head.iceberg_snapshot_id is None:
            return []
        if self._plan is None or self._plan.snapshot_id != head.iceberg_snapshot_id:
            self._plan = SignalPlan(self._table(), head.iceberg_snapshot_id)
        return self._plan.files(ingest_ids, stream=stream)

    def samples(self, head: LakeHead) -> Any:
        """Open a version of the sample store (a `lance.LanceDataset`)."""
        return open_lance(self.samples_uri, head.lance_version)

    # Writing: under the home's lock "ingest" -----------------------------------------------------------------------

    def create(self) -> None:
        """Make what does not exist yet."""
        make_folder(self.root)
        self._iceberg.create_namespace_if_not_exists(NAMESPACE)
        if isinstance(self.root, ObjectPath):
            if self._iceberg.table_exists(_TABLE):
                self._table()  # it says where this database's lake lies, if that is elsewhere
            claim(self.root, self._iceberg)
        new = not self.exists
        if not self._iceberg.table_exists(_TABLE):  # trying to make it again would leave a metadata file each time
            self._iceberg.create_table(
                _TABLE,
                schema=SIGNALS,
                location=str(self.signals_folder),
                partition_spec=SIGNAL_PARTITIONS,
                properties={
                    "write.metadata.previous-versions-max": "20",
                    "write.metadata.delete-after-commit.enabled": "true",
                    **{
                        f"write.metadata.metrics.column.{name}.element": "none"
                        for name in (TIMES, *VALUE_LISTS.values())
                    },
                },
            )
        self._table()
        self.raw.create()
        if not is_lance(self.samples_uri):
            create_lance(self.samples_uri, SAMPLE_SCHEMA)
        if new:
            self.collect_garbage()  # of a command that was killed while it made them

    def mend(self, head: LakeHead | None) -> None:
        """Take back versions of the Lance stores that a power loss left torn; `head`, the newest seen, is not among them.

        Readers of raw frames take the newest version: rows that would be lost with a seen one show in the check's counts.

        Raises:
            HomeError: The version that the catalogue names is damaged.
        """
        _take_back_torn(self.samples_uri, seen=0 if head is None else head.lance_version)
        _take_back_torn(self.raw.uri, seen=0)

    def mend_blurred(self) -> None:
        """Do the same for blurred frames; under the home's lock ``blur``."""
        _take_back_torn(self.blurred.uri, seen=0)

    def append(self, written: Sequence[WrittenFiles]) -> LakeHead:
        """Add written files to both stores: Iceberg first, then Lance. Visible only once the catalogue says so."""
        table = self._table()
        files = [path for item in written for path in item.signals]
        self.raw.append([text for item in written for text in item.raw_fragments])
        if files:
            table.add_files(files, check_duplicate_files=False)  # their names hold a fresh random token
        fragments = [text for item in written for text in item.fragments]
        store = open_lance(self.samples_uri)
        if fragments:
            store = append_lance(self.samples_uri, store, fragments)
        return _head(table, store)

    def drop(self, ingest_ids: Sequence[int], owners: Mapping[str, int | None]) -> LakeHead:
        """Delete every row of these ingests from both stores, and every file that no version names.

        Args:
            ingest_ids: Whose.
            owners: Data file below the lake's folder -> whose rows it holds; None for those of several. A file of one
                owner is kept or dropped unread, so that one that is lost or damaged does not stand in the way.
        """
        table = self._table()
        named = among(ingest_ids)
        files = [task.file for task in table.scan(row_filter=named).plan_files()] if ingest_ids else []
        if any(only_ingest(file) is None for file in files):
            self._drop_from_shared(files, ingest_ids)
        elif files:
            table.delete(named)
        self.raw.drop(ingest_ids)
        store = self._drop_samples(set(ingest_ids), {self.root / path: one for path, one in owners.items()})
        self.collect_garbage()
        return _head(self._table(), store)

    def _drop_from_shared(self, files: Sequence[DataFile], ingest_ids: Sequence[int]) -> None:
        """Write files of several ingests anew without some of these; files that hold nothing else go."""
        old = [located(file.file_path) for file in files]
        new = []
        for path in old:
            target = path.with_name(f"compact-{uuid.uuid4().hex[:12]}.parquet")
            if merge([path], target, without=ingest_ids):
                new.append(target)
        self.replace_signals(old, new)

    def replace_signals(self, old: Sequence[LakePath], new: Sequence[LakePath]) -> None:
        """Let the signal table hold `new` files in the place of `old` ones, in one snapshot."""
        table = self._table()
        gone = {str(path) for path in old}
        replaced = [task.file for task in table.scan().plan_files() if task.file.file_path in gone]
        with table.transaction() as change, change.update_snapshot().overwrite() as snapshot:
            for file in replaced:
                snapshot.delete_data_file(file)
            for file in parquet_files_to_data_files(table.io, table.metadata, iter(map(str, new))):
                snapshot.append_data_file(file)

    def compact_samples(self, *, small_bytes: int, target_bytes: int, round_bytes: int) -> None:
        """Put small fragments of the sample store together; see `compact_fragments`."""
        compact_fragments(self.samples_uri, small_bytes=small_bytes, target_bytes=target_bytes, round_bytes=round_bytes)

    def _drop_samples(self, ingest_ids: Collection[int], owners: Mapping[LakePath, int | None]) -> Any:
        store = open_lance(self.samples_uri)
        named = among(list(ingest_ids))
        whole: list[int] = []
        changed: list[Any] = []
        for fragment in store.get_fragments() if ingest_ids else ():
            owned_by = {owners.get(path) for path in fragment_files(self.samples_uri, fragment.metadata)}
            if None not in owned_by:
                whole += [fragment.fragment_id] if owned_by <= set(ingest_ids) else []
            elif store.scanner(
                filter=named, fragments=[fragment]
            ).count_rows():  # a fragment's own holds up all threads
                with flushed(self.samples_uri):
                    rest = fragment.delete(named)
                if rest is None:
                    whole.append(fragment.fragment_id)
                else:
                    changed.append(rest)
        if whole or changed:
            store = delete_fragments(self.samples_uri, store, changed, whole, named)
        return store

    def inventory(self, head: LakeHead) -> Inventory:
        """List the data files of a version of both stores."""
        return take_inventory(self._table(), self.samples_uri, self.raw.uri, head)

    def orphans(self) -> list[LakePath]:
        """Return the files that no version names, in the folders of signals, samples and raw frames."""
        found = signal_orphans(self._table(), self.signals_folder)
        for uri in (self.samples_uri, self.raw.uri):
            found |= lance_orphans(uri)
        return sorted(found, key=str)

    def unfinished_uploads(self) -> list[str]:
        """Return the objects below the lake that somebody began to write and never completed; none on a disk."""
        if not isinstance(self.root, ObjectPath):
            return []
        return [f"{item.path} (upload)" for item in unfinished_uploads(self.root)]

    def expire(self, head: LakeHead, older_than: timedelta) -> tuple[int, int]:
        """Forget versions that were replaced so long ago, and delete the files that only they name; `head` stays.

        Returns:
            How many versions of the signal table and of the sample store went.

        Raises:
            HomeError: The stores are ahead of `head`.
        """
        table = self._table()
        self.refuse_ahead(head)
        snapshots = sorted(table.metadata.snapshots, key=lambda item: item.timestamp_ms)
        moment_s = (datetime.now(UTC) - older_than).timestamp()
        gone = replaced_before([(item.snapshot_id, item.timestamp_ms / 1000) for item in snapshots], moment_s)
        gone = [number for number in gone if number != head.iceberg_snapshot_id]
        if gone:
            table.maintenance.expire_snapshots().by_ids(gone).commit()
        with flushed(self.samples_uri):
            forgotten = forget_versions(self.samples_uri, older_than)
        self.raw.expire(older_than)
        self.blurred.expire(older_than)
        self.collect_garbage()
        return len(gone), forgotten

    def refuse_ahead(self, head: LakeHead) -> None:
        """Refuse to change versions while there are some that readers do not see.

        Raises:
            HomeError: The stores are ahead of `head`.
        """
        if self.newest() != head:
            raise HomeError(
                "the stores are ahead of what readers see",
                where=self.root,
                remedy="`drivetrain lake check --repair` mends it; then try again",
            )

    def newest(self) -> LakeHead:
        """Return the newest versions of both stores, which readers may not see yet."""
        return _head(self._table(), open_lance(self.samples_uri))

    @property
    def exists(self) -> bool:
        """Whether anything was ever written."""
        return is_lance(self.samples_uri) and self._iceberg.table_exists(_TABLE)

    def collect_garbage(self) -> list[LakePath]:
        """Remove files that no version names, and what uploads have left; return the files. Only while nothing is written."""
        for folder in (self.signals_folder, self.samples_uri, self.raw.uri):
            for name in abort_uploads(folder):
                logger.info("file=%s its upload was never completed; aborted", name)
        found = self.orphans()
        for path in found:
            logger.info("file=%s is named by no version; removed", path)
        delete(found)
        return found

    def signal_table(self) -> Table:
        """Open the signal table at its newest version, seen or not."""
        return self._table()

    def _table(self) -> Table:
        try:
            table = self._iceberg.load_table(_TABLE)
        except NoSuchTableError as error:
            raise HomeError(
                "the catalogue names lake rows, but this database has no signal table",
                where=self.signals_folder,
                remedy="use the database that this home was filled with",
            ) from error
        except FileNotFoundError as error:
            raise HomeError(
                "the signal table's files are not where its catalogue says",
                where=self.signals_folder,
                remedy="a home cannot be moved or copied to another path; put it back, or ingest into a new one",
            ) from error
        if table.location() != str(self.signals_folder):
            raise HomeError(
                f"the signal table belongs to {table.location()}",
                where=self.signals_folder,
                remedy="a home cannot be moved or copied to another path, nor two homes share one database",
            )
        return table


def _take_back_torn(uri: LakePath, *, seen: int) -> None:
    manifests = [path for path in files_below(uri / "_versions") if path.suffix == ".manifest"]
    for manifest in sorted(manifests, key=str):  # the newest first
        try:
            open_lance(uri)
        except (OSError, ValueError, RuntimeError) as error:
            refuse_unreachable(uri, error)
            version = _LAST_VERSION - int(manifest.stem) if manifest.stem.isdecimal() else 0
            if version <= seen:
                raise HomeError(
                    f"version {seen} of the sample store cannot be read: {str(error).splitlines()[0]}",
                    where=uri,
                    remedy="restore the home from a backup, or ingest the logs into a new one",
                ) from error
            logger.warning("store=%s version=%d is torn and was never seen; removed", uri, version)
            delete([manifest])
        else:
            return


def _head(table: Table, store: Any) -> LakeHead:
    snapshot = table.refresh().current_snapshot()
    return LakeHead(None if snapshot is None else snapshot.snapshot_id, store.version)
