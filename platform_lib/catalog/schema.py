"""The catalogue's tables. A migration in `migrations/versions` makes each; this module is what queries are built from."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_N_label)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

VEHICLES = Table(
    "vehicles",
    METADATA,
    Column("vehicle", Text, primary_key=True),
    Column("first_seen_utc", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

DRIVES = Table(
    "drives",
    METADATA,
    Column("drive_id", Text, primary_key=True),
    Column("vehicle", Text, ForeignKey(VEHICLES.c.vehicle), comment="null where no log of the drive says"),
    Column("session", Text, nullable=False, comment="recorder session, or the folder's name"),
    Column("drive_number", Integer, Identity(), nullable=False, comment="what clips name a drive by: 4 bytes"),
    Column("listed_ns", BigInteger, comment="its first time, 0 without rows; null: no committed file, so not listed"),
    Column("stop_ns", BigInteger),
    Column("pii_state", Text, comment="the least safe of its files"),
    UniqueConstraint("drive_number"),
    Index("ix_drives_listed", "listed_ns", "drive_number", postgresql_where=text("listed_ns IS NOT NULL")),
    Index("ix_drives_vehicle", "vehicle", "listed_ns", "drive_number", postgresql_where=text("listed_ns IS NOT NULL")),
    Index(
        "ix_drives_pii_state", "pii_state", "listed_ns", "drive_number", postgresql_where=text("listed_ns IS NOT NULL")
    ),
    Index(None, "session"),
)

FILES = Table(
    "files",
    METADATA,
    Column("file_sha256", Text, primary_key=True),
    Column("bytes", BigInteger, nullable=False),
    Column("first_seen_utc", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

FILE_PATHS = Table(
    "file_paths",
    METADATA,
    Column("file_sha256", Text, ForeignKey(FILES.c.file_sha256), primary_key=True),
    Column("path", Text, primary_key=True, comment="where this content was found; one content may have many names"),
)

COMMITS = Table(
    "commits",
    METADATA,
    Column("commit_id", BigInteger, Identity(), primary_key=True),
    Column("iceberg_snapshot_id", BigInteger, comment="null until the signal table has its first snapshot"),
    Column("lance_version", BigInteger, nullable=False),
    Column("committed_utc", DateTime(timezone=True), nullable=False, server_default=func.now()),
    comment="Versions of both stores that belong together. A reader pins the newest.",
)

TABLES = Table(
    "tables",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("format", Text, nullable=False, comment="iceberg or lance"),
    comment="The tables of the lake that have versions.",
)

TABLE_VERSIONS = Table(
    "table_versions",
    METADATA,
    Column("name", Text, ForeignKey(TABLES.c.name), primary_key=True),
    Column("version", BigInteger, primary_key=True, comment="an Iceberg snapshot's id, or a Lance version"),
    Column("commit_id", BigInteger, ForeignKey(COMMITS.c.commit_id), nullable=False, index=True),
    comment="Which commit first named a version; the store says which of them are still kept.",
)

INGESTS = Table(
    "ingests",
    METADATA,
    Column("ingest_id", BigInteger, Identity(), primary_key=True),
    Column("file_sha256", Text, ForeignKey(FILES.c.file_sha256), nullable=False),
    Column("reader_version", Text, nullable=False),
    Column("schema_version", Integer, nullable=False),
    Column(
        "options_sha256", Text, nullable=False, comment="digest of what else decides the rows: DBC files, time zone"
    ),
    Column("state", Text, nullable=False),
    Column("drive_id", Text, ForeignKey(DRIVES.c.drive_id)),
    Column("commit_id", BigInteger, ForeignKey(COMMITS.c.commit_id)),
    Column("recovered", Boolean, nullable=False, server_default=text("false")),
    Column("bytes_lost", BigInteger, comment="null: not recovered, or unknown"),
    Column("signal_rows", BigInteger, nullable=False, server_default=text("0")),
    Column("sample_rows", BigInteger, nullable=False, server_default=text("0")),
    Column("start_ns", BigInteger),
    Column("stop_ns", BigInteger),
    Column("pii_state", Text, nullable=False, server_default=text("'unknown'")),
    Column("metadata", JSONB, nullable=False, server_default=text("'{}'")),
    Column("problems", JSONB, nullable=False, server_default=text("'[]'")),
    Column(
        "checked_with",
        Text,
        comment="digest of the contracts and checks that it was last held against; null: of none, or its vehicle changed",
    ),
    CheckConstraint("state IN ('started', 'committed', 'superseded', 'deleted')", name="state"),
    CheckConstraint(
        "state <> 'committed' OR (commit_id IS NOT NULL AND drive_id IS NOT NULL)", name="committed_is_complete"
    ),
    CheckConstraint("pii_state IN ('unknown', 'present', 'blurred', 'none_present')", name="pii_state"),
    Index("uq_ingests_committed_file", "file_sha256", unique=True, postgresql_where=text("state = 'committed'")),
    Index("ix_ingests_checked_with", "checked_with", "ingest_id", postgresql_where=text("state = 'committed'")),
    Index(None, "drive_id"),
    comment="One attempt to read one file. Only rows of committed ones are ever visible; deleted ones have none left.",
)

STREAMS = Table(
    "streams",
    METADATA,
    Column("ingest_id", BigInteger, ForeignKey(INGESTS.c.ingest_id), primary_key=True),
    Column("stream", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("kept_as", Text, nullable=False),
    Column("messages", BigInteger, nullable=False),
    Column("rows", BigInteger, nullable=False, comment="rows in the signal table, or samples"),
    Column("start_ns", BigInteger),
    Column("stop_ns", BigInteger),
    Column("message_type", Text),
    Column("schema_text", Text),
    Column("problem", Text, comment="why it was left out, wholly or in part"),
    Column("schema_scope", Text, comment="null: what the stream is was not compared"),
    Column("schema_version", Integer),
    CheckConstraint("kept_as IN ('signals', 'samples', 'nothing')", name="kept_as"),
)

STREAM_SCHEMAS = Table(
    "stream_schemas",
    METADATA,
    Column("scope", Text, primary_key=True, comment="contract:ID or vehicle:NAME: streams that have to agree"),
    Column("name", Text, primary_key=True, comment="of the stream, from log to log"),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("sha256", Text, nullable=False, comment="digest of kept_as, message_type, definition, fields"),
    Column("kept_as", Text, nullable=False),
    Column("message_type", Text),
    Column("definition_sha256", Text, comment="of a definition that no reader decodes"),
    Column("fields", JSONB, nullable=False, comment="[name, type, unit or null], ..."),
    Column("reader", Text, nullable=False, comment="which reader told the types"),
    Column("cause", Text, nullable=False),
    Column("changes", JSONB, nullable=False, comment="what is other than in the version before"),
    Column("recorded_utc", DateTime(timezone=True), nullable=False, server_default=func.now()),
    CheckConstraint("cause IN ('first', 'compatible', 'contract', 'reader', 'accepted')", name="cause"),
    UniqueConstraint("scope", "name", "sha256"),
    comment="Every schema that rows of a stream were taken in with. Nothing in it is of one drive.",
)

QUARANTINE = Table(
    "quarantine",
    METADATA,
    Column("quarantine_id", BigInteger, Identity(), primary_key=True),
    Column("file_sha256", Text, ForeignKey(FILES.c.file_sha256), nullable=False),
    Column("reader_version", Text, nullable=False),
    Column("schema_version", Integer, nullable=False),
    Column("options_sha256", Text, nullable=False),
    Column("recover", Boolean, nullable=False, comment="whether taking the whole parts was tried too"),
    Column("kind", Text, nullable=False, comment="the error's class"),
    Column("reason", Text, nullable=False),
    Column("remedy", Text),
    Column("quarantined_utc", DateTime(timezone=True), nullable=False, server_default=func.now()),
    UniqueConstraint("file_sha256"),
    comment="The newest refusal of a content; gone once that content is committed.",
)

ARTEFACTS = Table(
    "artefacts",
    METADATA,
    Column("sha256", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("uri", Text, nullable=False),
    Column("recorded_utc", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

EDGES = Table(
    "edges",
    METADATA,
    Column("sha256", Text, ForeignKey(ARTEFACTS.c.sha256), primary_key=True),
    Column("input_sha256", Text, primary_key=True, index=True, comment="an artefact, or a file of `files`"),
    Column("role", Text, primary_key=True, comment="the input's name in the artefact's manifest"),
)

LAKE_FILES = Table(
    "lake_files",
    METADATA,
    Column("path", Text, primary_key=True, comment="below the home's lake folder"),
    Column("bytes", BigInteger, nullable=False),
    Column("sha256", Text, nullable=False),
    Column(
        "ingest_id",
        BigInteger,
        ForeignKey(INGESTS.c.ingest_id),
        index=True,
        comment="whose rows it holds; null: of several, after compaction",
    ),
    comment="Data files of both stores as they were written; `drivetrain lake check --digests` compares them.",
)

READ_OPTIONS = Table(
    "read_options",
    METADATA,
    Column("options_sha256", Text, primary_key=True),
    Column("databases", JSONB, nullable=False, comment="[bus or '', sha256, path when it was used], ..."),
    Column("timezone", Text),
    comment="What logs were read with, so that they can be read so again.",
)

RELEASES = Table(
    "releases",
    METADATA,
    Column("release_id", BigInteger, Identity(), primary_key=True),
    Column("file_sha256", Text, ForeignKey(FILES.c.file_sha256), nullable=False, index=True),
    Column("kind", Text, nullable=False),
    Column("reason", Text, nullable=False, comment="why it was in quarantine"),
    Column("note", Text, nullable=False, comment="why somebody let it out"),
    Column("quarantined_utc", DateTime(timezone=True), nullable=False),
    Column("released_utc", DateTime(timezone=True), nullable=False, server_default=func.now()),
    comment="What people let out of quarantine, and why.",
)

BUCKET_LOGS = Table(
    "bucket_logs",
    METADATA,
    Column("uri", Text, primary_key=True),
    Column("mark", Text, nullable=False, comment="digest of the objects' names, lengths and ETags"),
    Column("bytes", BigInteger, nullable=False),
    Column("file_sha256", Text, comment="null: it could not be fetched"),
    Column("kind", Text, comment="why it could not be fetched: the error's class"),
    Column("reason", Text),
    Column("remedy", Text),
    Column("noted_utc", DateTime(timezone=True), nullable=False, server_default=func.now()),
    CheckConstraint("(file_sha256 IS NULL) = (kind IS NOT NULL AND reason IS NOT NULL)", name="fetched_or_not"),
    comment="What is known of logs in buckets: a log of the same mark is not fetched again.",
)

CONTRACT_RUNS = Table(
    "contract_runs",
    METADATA,
    Column("run_id", BigInteger, Identity(), primary_key=True),
    Column("contract_id", Text, nullable=False),
    Column("contract_version", Text, nullable=False),
    Column("contract_sha256", Text, nullable=False),
    Column("checks_version", Integer, nullable=False),
    Column("ingest_id", BigInteger, ForeignKey(INGESTS.c.ingest_id), comment="null: of the lake or a dataset"),
    Column("artefact_sha256", Text, comment="the lake's version or the dataset; null: of a file"),
    Column("errors", Integer, nullable=False),
    Column("warnings", Integer, nullable=False),
    Column("figures", JSONB, nullable=False, comment="rule -> what was measured; none: the contract does not bind it"),
    Column("checked_utc", DateTime(timezone=True), nullable=False, server_default=func.now()),
    CheckConstraint("(ingest_id IS NULL) <> (artefact_sha256 IS NULL)", name="one_subject"),
    UniqueConstraint("ingest_id", "contract_id"),
    UniqueConstraint("artefact_sha256", "contract_id"),
    comment="The newest run of each contract on each file, lake version and dataset.",
)

CONTRACT_FINDINGS = Table(
    "contract_findings",
    METADATA,
    Column("run_id", BigInteger, ForeignKey(CONTRACT_RUNS.c.run_id, ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("rule", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("verdict", Text, nullable=False),
    Column("figure", Text, nullable=False),
    Column("unit", Text, nullable=False),
    Column("required", Text, nullable=False),
    Column("place", Text, nullable=False),
    Column("drive_id", Text, comment="where a rule over many drives names one"),
    CheckConstraint("severity IN ('error', 'warning', 'info')", name="severity"),
    CheckConstraint("verdict IN ('fail', 'not_run')", name="verdict"),
    comment="The rules that a run did not see kept.",
)

BLURS = Table(
    "blurs",
    METADATA,
    Column("blur_id", BigInteger, Identity(), primary_key=True),
    Column("ingest_id", BigInteger, ForeignKey(INGESTS.c.ingest_id), nullable=False),
    Column("config_sha256", Text, nullable=False, comment="digest of `config`"),
    Column("config", JSONB, nullable=False, comment="detectors with their digests, parameters, versions"),
    Column("state", Text, nullable=False),
    Column("frames", BigInteger, nullable=False, server_default=text("0")),
    Column("regions", BigInteger, nullable=False, server_default=text("0"), comment="blurred boxes"),
    Column("unreadable", BigInteger, nullable=False, server_default=text("0"), comment="frames left raw"),
    Column("begun_utc", DateTime(timezone=True), nullable=False, server_default=func.now()),
    CheckConstraint("state IN ('started', 'committed', 'superseded')", name="state"),
    Index("uq_blurs_committed_ingest", "ingest_id", unique=True, postgresql_where=text("state = 'committed'")),
    comment="One attempt to blur the raw frames of one ingest. Only rows of committed ones are visible.",
)

ERASURES = Table(
    "erasures",
    METADATA,
    Column("erasure_id", BigInteger, Identity(), primary_key=True),
    Column("scope_sha256", Text, nullable=False, comment="digest of what was asked for"),
    Column("requested_by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("plan", JSONB, comment="what is to go; null once it is gone"),
    Column("needles", LargeBinary, comment="64-bit digests of pieces to look for; null once none is found"),
    Column("counts", JSONB, nullable=False, server_default=text("'{}'")),
    Column("begun_utc", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("done_utc", DateTime(timezone=True)),
    CheckConstraint("state IN ('begun', 'removed', 'done')", name="state"),
    comment="Tombstones. Nothing in them tells what was erased.",
)

ERASED_FILES = Table(
    "erased_files",
    METADATA,
    Column("file_sha256", Text, primary_key=True),
    Column("erasure_id", BigInteger, ForeignKey(ERASURES.c.erasure_id), nullable=False),
    comment="Contents that are never taken in again.",
)

ERASURE_MARKS = Table(
    "erasure_marks",
    METADATA,
    Column("erasure_id", BigInteger, ForeignKey(ERASURES.c.erasure_id), primary_key=True),
    Column("sha256", Text, primary_key=True, index=True, comment="an artefact that was made from what is erased"),
    Column("kind", Text, nullable=False),
    Column("removed", Boolean, nullable=False, comment="whether the artefact itself was deleted"),
)
