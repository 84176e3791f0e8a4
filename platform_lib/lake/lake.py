"""Reading the lake: what committed ingests hold, and nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from platform_lib.catalog.blurs import Blurs
from platform_lib.catalog.catalog import Catalog
from platform_lib.catalog.model import Drive, LakeHead, LakeView
from platform_lib.catalog.postgres import embedded_postgres
from platform_lib.catalog.turns import WAIT_FOR_OTHER_S, taken
from platform_lib.errors import ConfigError
from platform_lib.home import Home
from platform_lib.lake.objects import ObjectPath
from platform_lib.lake.own_files import refuse_strange_blurred, refuse_strange_pictures
from platform_lib.lake.packing import unpack
from platform_lib.lake.place import lake_of, told
from platform_lib.lake.query import Answer, QueryResult, run_query, stream_query
from platform_lib.lake.sample_reading import open_samples
from platform_lib.lake.signal_table import parquet_dataset
from platform_lib.lake.store import Store
from platform_lib.lake.tables import SAMPLES_RESULT, SIGNALS_RESULT
from platform_lib.privacy.frames import ADMITTED, IMAGE_ENCODINGS

_SAMPLE_COLUMNS = ["ingest_id", "timestamp_ns", "publish_ns", "encoding", "pii_state", "data"]
_IMAGE = f"encoding IN ({', '.join(map(repr, IMAGE_ENCODINGS))})"
_RAW_IMAGE = f"{_IMAGE} AND pii_state NOT IN ({', '.join(map(repr, sorted(ADMITTED)))})"


@dataclass(frozen=True, slots=True)
class LakeVersion:
    """What the lake holds, told by content.

    Attributes:
        sha256: Over the sorted keys of the committed files, and of how their raw frames were blurred: the same logs
            read by the same reader give the same digest on any machine, in any order of arrival.
        iceberg_snapshot_id: The signal table's snapshot; None before the first.
        lance_version: The sample store's version; None before the first.
    """

    sha256: str
    iceberg_snapshot_id: int | None
    lance_version: int | None


class Lake:
    """The lake of one home, joined to its catalogue. Get one from `Lake.open`."""

    def __init__(self, catalog: Catalog, store: Store) -> None:
        self.catalog = catalog
        self.store = store
        self.blurs = Blurs(catalog.engine)

    @classmethod
    @contextmanager
    def open(cls, home: Home) -> Iterator[Lake]:
        """Open the lake; PostgreSQL runs for as long as the block does.

        Raises:
            HomeError: The lake in the bucket is another database's.
            PlatformError: The bucket is not there, cannot be used, or stops answering in the block.
        """
        with embedded_postgres(home) as uri, Catalog(uri) as catalog:
            with told(lake_of(home)):
                store = Store(home, uri)
                try:
                    yield cls(catalog, store)
                finally:
                    store.close()

    @classmethod
    @contextmanager
    def turn(cls, home: Home, *names: str) -> Iterator[Lake]:
        """Open the lake, holding the named locks: of the home, and of a lake in a bucket against other machines too.

        Raises:
            HomeBusyError: Another command did not end within an hour.
        """
        with home.turn(*names), cls.open(home) as lake, lake.held(*names):
            yield lake

    @contextmanager
    def held(self, *names: str, shared: bool = False, wait_s: float = WAIT_FOR_OTHER_S) -> Iterator[None]:
        """Hold locks against other machines; `Home.turn` or `Home.lock` holds them against this one's commands.

        Args:
            names: Which.
            shared: Beside others who say so too.
            wait_s: How long to wait for each.

        Raises:
            HomeBusyError: Another machine did not end in that time.
        """
        if not isinstance(self.store.root, ObjectPath):  # no other machine can get at it
            yield
            return
        engines = [self.catalog.engine, self.store.iceberg_engine]
        with taken(self.store.database_uri, str(self.store.root), names, engines, shared=shared, wait_s=wait_s):
            yield

    def drives(self) -> list[Drive]:
        """Return the drives that have a committed file, in order of their ids."""
        return self.catalog.drives()

    def version(self) -> LakeVersion:
        """Return what is visible now, as one digest and the stores' own versions."""
        view = self.catalog.view()
        keys = sorted(
            f"{item.key.file_sha256} {item.key.reader_version} {item.key.schema_version} {item.key.options_sha256}"
            f" {'recovered' if item.recovered else 'whole'}\n"
            for item in view.ingests
        )
        keys += sorted(f"{item.file_sha256} blurred {item.config_sha256}\n" for item in self.blurs.visible())
        digest = hashlib.sha256("".join(keys).encode()).hexdigest()
        if view.head is None:
            return LakeVersion(digest, None, None)
        return LakeVersion(digest, view.head.iceberg_snapshot_id, view.head.lance_version)

    def signals(self, drive_id: str, *, stream: str | None = None, signals: Sequence[str] | None = None) -> pa.Table:
        """Read signal rows of a drive, sorted by stream, signal and time.

        Args:
            drive_id: Whose.
            stream: One stream as `open_log` names it; all by default.
            signals: Names to keep; all by default.

        Returns:
            Columns stream, signal, unit, timestamp_ns (int64), value (double), text. No row where the drive has none
            of that stream or name.

        Raises:
            ConfigError: No such drive.
        """
        view = self.catalog.view([drive_id])
        ids = _ingests_of(view, drive_id)
        return SIGNALS_RESULT.empty_table() if view.head is None else self.signals_of(view.head, ids, stream, signals)

    def signals_of(
        self, head: LakeHead, ids: Sequence[int], stream: str | None = None, signals: Sequence[str] | None = None
    ) -> pa.Table:
        """Read signal rows of some ingests in one version of the stores, as `signals` does."""
        condition = ds.field("ingest_id").isin(ids)
        if stream is not None:
            condition &= ds.field("stream") == stream
        if signals is not None:
            condition &= ds.field("signal").is_null() | ds.field("signal").isin(list(signals))
        source = parquet_dataset(self.store.signal_files(head, ids, stream=stream))
        return unpack(source.to_table(filter=condition))

    def signals_by_file(self, drive_id: str, signals: Sequence[str]) -> dict[str, pa.Table]:
        """Read some signals of a drive by the log file they come from: digest -> rows as `signals` gives them."""
        view = self.catalog.view([drive_id])
        ids = set(_ingests_of(view, drive_id))
        if view.head is None:
            return {}
        named = ds.field("signal").is_null() | ds.field("signal").isin(list(signals))
        found = {}
        for item in view.ingests:
            if item.ingest_id in ids:
                source = parquet_dataset(self.store.signal_files(view.head, [item.ingest_id]))
                table = unpack(source.to_table(filter=(ds.field("ingest_id") == item.ingest_id) & named))
                if len(table):
                    found[item.key.file_sha256] = table
        return found

    def samples(self, drive_id: str, stream: str) -> pa.Table:
        """Read the samples of one stream of a drive, sorted by time; of frames only those that were blurred, or need not be.

        Returns:
            Columns timestamp_ns, publish_ns, encoding, message_type, schema_text, pii_state, data (large_binary).
            ``encoding`` is ``jpeg``, ``png`` or ``webp`` (image bytes), ``cdr`` (a ROS 2 message payload, for
            `platform_lib.logs.decode_cdr`) or ``raw`` (a payload that no reader of ours decodes).

        Raises:
            ConfigError: No such drive.
            IntegrityError: Pictures lie in files that no command of ours wrote.
        """
        view = self.catalog.view([drive_id])
        ids = _ingests_of(view, drive_id)
        if view.head is None:
            return SAMPLES_RESULT.empty_table()
        quoted = stream.replace("'", "''")
        wanted = f"stream = '{quoted}' AND NOT ({_RAW_IMAGE})"
        table = open_samples(self.catalog, self.store, view.head, ids, _SAMPLE_COLUMNS, wanted)
        refuse_strange_pictures(self.store, self.store.samples(view.head), ids, f"{wanted} AND {_IMAGE}")
        blurs = [item.blur_id for item in self.blurs.visible() if item.ingest_id in ids]
        refuse_strange_blurred(self.catalog, self.store, blurs)
        blurred = self.store.blurred.rows(blurs, columns=_SAMPLE_COLUMNS, condition=f"stream = '{quoted}'")
        table = pa.concat_tables([table, blurred.cast(table.schema)])
        told = {
            ingest_id: next((item for item in items if item.stream == stream), None)
            for ingest_id, items in self.catalog.streams(ids).items()
        }
        types = {key: None if item is None else item.message_type for key, item in told.items()}
        texts = {key: None if item is None else item.schema_text for key, item in told.items()}
        table = table.append_column("message_type", _lookup(table["ingest_id"], types))
        table = table.append_column("schema_text", _lookup(table["ingest_id"], texts))
        return table.select(SAMPLES_RESULT.names).sort_by("timestamp_ns").cast(SAMPLES_RESULT)

    def raw_frames(self, drive_id: str, stream: str) -> int:
        """Return how many frames of a stream wait to be blurred, or cannot be: none of them is among `samples`."""
        ids = _ingests_of(self.catalog.view([drive_id]), drive_id)
        condition = f"stream = '{stream.replace(chr(39), chr(39) * 2)}'"
        raw = len(self.store.raw.rows(ids, columns=["ingest_id"], condition=condition))
        blurs = [item.blur_id for item in self.blurs.visible() if item.ingest_id in ids]
        return raw - len(self.store.blurred.rows(blurs, columns=["blur_id"], condition=condition))

    def query(self, sql: str, *, limit: int | None = None, timeout_s: float | None = None) -> QueryResult:
        """Run one SELECT over the views signals, samples (without data), drives, files, streams, schemas and quarantine.

        Args:
            sql: DuckDB's dialect.
            limit: Most rows to return; all by default.
            timeout_s: After how long it is ended; never by default.

        Raises:
            ConfigError: The statement is wrong, is not a single SELECT, or did not end in time.
        """
        return run_query(self.catalog, self.store, sql, limit=limit, timeout_s=timeout_s)

    def stream_query(
        self, sql: str, use: Callable[[pa.RecordBatchReader], Answer], *, timeout_s: float | None = None
    ) -> Answer:
        """Run a SELECT as `query` does, and let `use` read its rows batch by batch, in bounded memory."""
        return stream_query(self.catalog, self.store, sql, use, timeout_s=timeout_s)


def _ingests_of(view: LakeView, drive_id: str) -> list[int]:
    ids = [item.ingest_id for item in view.ingests if item.drive_id == drive_id]
    if not ids:
        raise ConfigError(f"no drive '{drive_id}' in the lake", remedy="`drivetrain drives` lists them")
    return ids


def _lookup(ids: pa.ChunkedArray, values: dict[int, str | None]) -> pa.ChunkedArray:
    keys = pa.array(list(values), pa.int64())
    return pc.take(pa.array(list(values.values()), pa.string()), pc.index_in(ids, keys))
