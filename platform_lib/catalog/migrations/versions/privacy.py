"""Blurring and erasure: what was blurred how, what was erased why, and what that touched.

Revision ID: privacy
Revises: bucket_logs
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "privacy"
down_revision = "bucket_logs"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    _blurs()
    _erasures()


def downgrade() -> None:
    """Undo; tombstones are lost, so what was erased could be read in again."""
    for table in ("erasure_marks", "erased_files", "erasures", "blurs"):
        op.drop_table(table)


def _blurs() -> None:
    op.create_table(
        "blurs",
        sa.Column("blur_id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("ingest_id", sa.BigInteger, nullable=False),
        sa.Column("config_sha256", sa.Text, nullable=False, comment="digest of `config`"),
        sa.Column("config", JSONB, nullable=False, comment="detectors with their digests, parameters, versions"),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("frames", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("regions", sa.BigInteger, nullable=False, server_default=sa.text("0"), comment="blurred boxes"),
        sa.Column("unreadable", sa.BigInteger, nullable=False, server_default=sa.text("0"), comment="frames left raw"),
        _utc("begun_utc"),
        sa.CheckConstraint("state IN ('started', 'committed', 'superseded')", name="state"),
        sa.ForeignKeyConstraint(["ingest_id"], ["ingests.ingest_id"], name="fk_blurs_ingest_id"),
        sa.PrimaryKeyConstraint("blur_id", name="pk_blurs"),
        comment="One attempt to blur the raw frames of one ingest. Only rows of committed ones are visible.",
    )
    op.create_index(
        "uq_blurs_committed_ingest",
        "blurs",
        ["ingest_id"],
        unique=True,
        postgresql_where=sa.text("state = 'committed'"),
    )


def _erasures() -> None:
    op.create_table(
        "erasures",
        sa.Column("erasure_id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("scope_sha256", sa.Text, nullable=False, comment="digest of what was asked for"),
        sa.Column("requested_by", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("plan", JSONB, comment="what is to go; null once it is gone"),
        sa.Column("needles", sa.LargeBinary, comment="64-bit digests of pieces to look for; null once none is found"),
        sa.Column("counts", JSONB, nullable=False, server_default=sa.text("'{}'")),
        _utc("begun_utc"),
        sa.Column("done_utc", sa.DateTime(timezone=True)),
        sa.CheckConstraint("state IN ('begun', 'removed', 'done')", name="state"),
        sa.PrimaryKeyConstraint("erasure_id", name="pk_erasures"),
        comment="Tombstones. Nothing in them tells what was erased.",
    )
    op.create_table(
        "erased_files",
        sa.Column("file_sha256", sa.Text, nullable=False),
        sa.Column("erasure_id", sa.BigInteger, nullable=False),
        sa.ForeignKeyConstraint(["erasure_id"], ["erasures.erasure_id"], name="fk_erased_files_erasure_id"),
        sa.PrimaryKeyConstraint("file_sha256", name="pk_erased_files"),
        comment="Contents that are never taken in again.",
    )
    op.create_table(
        "erasure_marks",
        sa.Column("erasure_id", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False, comment="an artefact that was made from what is erased"),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("removed", sa.Boolean, nullable=False, comment="whether the artefact itself was deleted"),
        sa.ForeignKeyConstraint(["erasure_id"], ["erasures.erasure_id"], name="fk_erasure_marks_erasure_id"),
        sa.PrimaryKeyConstraint("erasure_id", "sha256", name="pk_erasure_marks"),
    )
    op.create_index("ix_erasure_marks_sha256", "erasure_marks", ["sha256"])


def _utc(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now())
