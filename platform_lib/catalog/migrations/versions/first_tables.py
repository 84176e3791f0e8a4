"""The first tables: files and drives, ingests and what they gave, lineage.

Revision ID: 0001
Revises:
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    _files_and_drives()
    _ingests()
    _streams()
    _quarantine()
    _lineage()


def downgrade() -> None:
    """Undo; every row is lost."""
    for table in (
        "edges",
        "artefacts",
        "quarantine",
        "streams",
        "ingests",
        "commits",
        "file_paths",
        "files",
        "drives",
    ):
        op.drop_table(table)


def _files_and_drives() -> None:
    op.create_table(
        "drives",
        sa.Column("drive_id", sa.Text, nullable=False),
        sa.Column("vehicle", sa.Text, comment="null where no log of the drive says"),
        sa.Column("session", sa.Text, nullable=False, comment="recorder session, or the folder's name"),
        sa.PrimaryKeyConstraint("drive_id", name="pk_drives"),
    )
    op.create_table(
        "files",
        sa.Column("file_sha256", sa.Text, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        _utc("first_seen_utc"),
        sa.PrimaryKeyConstraint("file_sha256", name="pk_files"),
    )
    op.create_table(
        "file_paths",
        sa.Column("file_sha256", sa.Text, nullable=False),
        sa.Column(
            "path", sa.Text, nullable=False, comment="where this content was found; one content may have many names"
        ),
        sa.ForeignKeyConstraint(["file_sha256"], ["files.file_sha256"], name="fk_file_paths_file_sha256"),
        sa.PrimaryKeyConstraint("file_sha256", "path", name="pk_file_paths"),
    )
    op.create_table(
        "commits",
        sa.Column("commit_id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("iceberg_snapshot_id", sa.BigInteger, comment="null until the signal table has its first snapshot"),
        sa.Column("lance_version", sa.BigInteger, nullable=False),
        _utc("committed_utc"),
        sa.PrimaryKeyConstraint("commit_id", name="pk_commits"),
        comment="Versions of both stores that belong together. A reader pins the newest.",
    )


def _ingests() -> None:
    op.create_table(
        "ingests",
        sa.Column("ingest_id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("file_sha256", sa.Text, nullable=False),
        sa.Column("reader_version", sa.Text, nullable=False),
        sa.Column("schema_version", sa.Integer, nullable=False),
        sa.Column(
            "options_sha256",
            sa.Text,
            nullable=False,
            comment="digest of what else decides the rows: DBC files, time zone",
        ),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("drive_id", sa.Text),
        sa.Column("commit_id", sa.BigInteger),
        sa.Column("recovered", sa.Boolean, nullable=False, server_default=sa.text("false")),
        sa.Column("bytes_lost", sa.BigInteger, comment="null: not recovered, or unknown"),
        sa.Column("signal_rows", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("sample_rows", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("start_ns", sa.BigInteger),
        sa.Column("stop_ns", sa.BigInteger),
        sa.Column("pii_state", sa.Text, nullable=False, server_default=sa.text("'unknown'")),
        sa.Column("metadata", JSONB, nullable=False, server_default=sa.text("'{}'")),
        sa.Column("problems", JSONB, nullable=False, server_default=sa.text("'[]'")),
        sa.CheckConstraint("state IN ('started', 'committed', 'superseded', 'deleted')", name="state"),
        sa.CheckConstraint(
            "state <> 'committed' OR (commit_id IS NOT NULL AND drive_id IS NOT NULL)",
            name="committed_is_complete",
        ),
        sa.CheckConstraint("pii_state IN ('unknown', 'present', 'blurred', 'none_present')", name="pii_state"),
        sa.ForeignKeyConstraint(["file_sha256"], ["files.file_sha256"], name="fk_ingests_file_sha256"),
        sa.ForeignKeyConstraint(["drive_id"], ["drives.drive_id"], name="fk_ingests_drive_id"),
        sa.ForeignKeyConstraint(["commit_id"], ["commits.commit_id"], name="fk_ingests_commit_id"),
        sa.PrimaryKeyConstraint("ingest_id", name="pk_ingests"),
        comment="One attempt to read one file. Only rows of committed ones are ever visible; deleted ones have none left.",
    )
    op.create_index("ix_ingests_drive_id", "ingests", ["drive_id"])
    op.create_index(
        "uq_ingests_committed_file",
        "ingests",
        ["file_sha256"],
        unique=True,
        postgresql_where=sa.text("state = 'committed'"),
    )


def _streams() -> None:
    op.create_table(
        "streams",
        sa.Column("ingest_id", sa.BigInteger, nullable=False),
        sa.Column("stream", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("kept_as", sa.Text, nullable=False),
        sa.Column("messages", sa.BigInteger, nullable=False),
        sa.Column("rows", sa.BigInteger, nullable=False, comment="rows in the signal table, or samples"),
        sa.Column("start_ns", sa.BigInteger),
        sa.Column("stop_ns", sa.BigInteger),
        sa.Column("message_type", sa.Text),
        sa.Column("schema_text", sa.Text),
        sa.Column("problem", sa.Text, comment="why it was left out, wholly or in part"),
        sa.CheckConstraint("kept_as IN ('signals', 'samples', 'nothing')", name="kept_as"),
        sa.ForeignKeyConstraint(["ingest_id"], ["ingests.ingest_id"], name="fk_streams_ingest_id"),
        sa.PrimaryKeyConstraint("ingest_id", "stream", name="pk_streams"),
    )


def _quarantine() -> None:
    op.create_table(
        "quarantine",
        sa.Column("quarantine_id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("file_sha256", sa.Text, nullable=False),
        sa.Column("reader_version", sa.Text, nullable=False),
        sa.Column("schema_version", sa.Integer, nullable=False),
        sa.Column("options_sha256", sa.Text, nullable=False),
        sa.Column("recover", sa.Boolean, nullable=False, comment="whether taking the whole parts was tried too"),
        sa.Column("kind", sa.Text, nullable=False, comment="the error's class"),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("remedy", sa.Text),
        _utc("quarantined_utc"),
        sa.ForeignKeyConstraint(["file_sha256"], ["files.file_sha256"], name="fk_quarantine_file_sha256"),
        sa.PrimaryKeyConstraint("quarantine_id", name="pk_quarantine"),
        sa.UniqueConstraint("file_sha256", name="uq_quarantine_file_sha256"),
        comment="The newest refusal of a content; gone once that content is committed.",
    )


def _lineage() -> None:
    op.create_table(
        "artefacts",
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("uri", sa.Text, nullable=False),
        _utc("recorded_utc"),
        sa.PrimaryKeyConstraint("sha256", name="pk_artefacts"),
    )
    op.create_table(
        "edges",
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("input_sha256", sa.Text, nullable=False, comment="an artefact, or a file of `files`"),
        sa.Column("role", sa.Text, nullable=False, comment="the input's name in the artefact's manifest"),
        sa.ForeignKeyConstraint(["sha256"], ["artefacts.sha256"], name="fk_edges_sha256"),
        sa.PrimaryKeyConstraint("sha256", "input_sha256", "role", name="pk_edges"),
    )
    op.create_index("ix_edges_input_sha256", "edges", ["input_sha256"])


def _utc(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now())
