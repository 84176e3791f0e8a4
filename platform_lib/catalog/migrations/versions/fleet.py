"""Vehicles, clips, versions of tables, datasets, runs, models and bundles: a catalogue that is searched by them.

Drives get a number, the keys that lists are ordered and filtered by, and their clips are noted to be derived.

Revision ID: fleet
Revises: stream_schemas
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ENUM

revision = "fleet"
down_revision = "stream_schemas"
branch_labels = None
depends_on = None

_LISTED = sa.text("listed_ns IS NOT NULL")
_PII = ENUM("unknown", "present", "blurred", "none_present", name="pii_state", create_type=False)


def upgrade() -> None:
    """Apply; what the catalogue holds already is numbered and listed."""
    _vehicles_and_drives()
    _tables()
    _clips()
    _made()
    _backfill()
    _drive_indexes()


def downgrade() -> None:
    """Undo; clips and the rows of datasets, runs, models and bundles are lost, and derived anew after an upgrade."""
    for table in (
        "bundles", "models", "runs", "dataset_clips", "datasets", "clip_tags", "tags", "drive_places", "clips_due",
        "clips", "odd_cells", "table_versions", "tables",
    ):  # fmt: skip
        op.drop_table(table)
    op.execute("DROP TYPE pii_state")
    for index in ("ix_drives_listed", "ix_drives_vehicle", "ix_drives_pii_state", "ix_drives_session"):
        op.drop_index(index, "drives")
    op.drop_constraint("fk_drives_vehicle", "drives")
    op.drop_constraint("uq_drives_drive_number", "drives")
    for column in ("drive_number", "listed_ns", "stop_ns", "pii_state"):
        op.drop_column("drives", column)
    op.drop_table("vehicles")


def _vehicles_and_drives() -> None:
    op.create_table(
        "vehicles",
        sa.Column("vehicle", sa.Text, nullable=False),
        _utc("first_seen_utc", server_default=sa.func.now()),
        sa.PrimaryKeyConstraint("vehicle", name="pk_vehicles"),
    )
    for column in (
        sa.Column(
            "drive_number", sa.Integer, sa.Identity(), nullable=False, comment="what clips name a drive by: 4 bytes"
        ),
        sa.Column(
            "listed_ns", sa.BigInteger, comment="its first time, 0 without rows; null: no committed file, so not listed"
        ),
        sa.Column("stop_ns", sa.BigInteger),
        sa.Column("pii_state", sa.Text, comment="the least safe of its files"),
    ):
        op.add_column("drives", column)


def _tables() -> None:
    op.create_table(
        "tables",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("format", sa.Text, nullable=False, comment="iceberg or lance"),
        sa.PrimaryKeyConstraint("name", name="pk_tables"),
        comment="The tables of the lake that have versions.",
    )
    op.create_table(
        "table_versions",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False, comment="an Iceberg snapshot's id, or a Lance version"),
        sa.Column("commit_id", sa.BigInteger, nullable=False),
        sa.ForeignKeyConstraint(["name"], ["tables.name"], name="fk_table_versions_name"),
        sa.ForeignKeyConstraint(["commit_id"], ["commits.commit_id"], name="fk_table_versions_commit_id"),
        sa.PrimaryKeyConstraint("name", "version", name="pk_table_versions"),
        comment="Which commit first named a version; the store says which of them are still kept.",
    )
    op.create_index("ix_table_versions_commit_id", "table_versions", ["commit_id"])


def _clips() -> None:
    op.execute("CREATE TYPE pii_state AS ENUM ('unknown', 'present', 'blurred', 'none_present')")
    op.create_table(
        "odd_cells",
        sa.Column("odd_id", sa.Integer, sa.Identity(), nullable=False),
        sa.Column(
            "odd_cell", sa.Text, nullable=False, comment="axis=value, ...: the labels that splits are balanced by"
        ),
        sa.PrimaryKeyConstraint("odd_id", name="pk_odd_cells"),
        sa.UniqueConstraint("odd_cell", name="uq_odd_cells_odd_cell"),
    )
    op.create_table(
        "clips",
        sa.Column("drive_number", sa.Integer, nullable=False),
        sa.Column("start_ns", sa.BigInteger, nullable=False, comment="a multiple of 20 s, and so long"),
        sa.Column("odd_id", sa.Integer, nullable=False),
        sa.Column("pii_state", _PII, comment="the least safe of its frames; null: it has none"),
        sa.Column("cell", sa.Integer, comment="geohash of 6 letters as 30 bits; null: nobody knows where it was"),
        sa.Column("latitude_e7", sa.Integer, comment="its first position, 1e-7 degrees"),
        sa.Column("longitude_e7", sa.Integer),
        sa.ForeignKeyConstraint(["odd_id"], ["odd_cells.odd_id"], name="fk_clips_odd_id"),
        sa.PrimaryKeyConstraint("drive_number", "start_ns", name="pk_clips"),
        comment="Windows of 20 s of a drive in which anything was recorded. Derived from the lake; see clips_due.",
    )
    op.create_index("ix_clips_odd", "clips", ["odd_id", "start_ns", "drive_number"])
    op.create_index(
        "ix_clips_cell",
        "clips",
        ["cell", "start_ns", "drive_number"],
        postgresql_include=["latitude_e7", "longitude_e7"],
        postgresql_where=sa.text("cell IS NOT NULL"),
    )
    op.create_table(
        "clips_due",
        sa.Column("drive_id", sa.Text, nullable=False),
        sa.Column("mark", sa.BigInteger, sa.Identity(), nullable=False),
        sa.PrimaryKeyConstraint("drive_id", name="pk_clips_due"),
        comment="Drives whose clips are to be derived anew: noted in the transaction that changed what is visible.",
    )
    op.create_table(
        "drive_places",
        sa.Column("cell", sa.Integer, nullable=False),
        sa.Column("listed_ns", sa.BigInteger, nullable=False, comment="the drive's"),
        sa.Column("drive_number", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("cell", "listed_ns", "drive_number", name="pk_drive_places"),
        comment="Every cell that a drive was in.",
    )
    op.create_index("ix_drive_places_drive_number", "drive_places", ["drive_number"])
    op.create_table(
        "tags",
        sa.Column("tag_id", sa.Integer, sa.Identity(), nullable=False),
        sa.Column("tag", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("tag_id", name="pk_tags"),
        sa.UniqueConstraint("tag", name="uq_tags_tag"),
    )
    op.create_table(
        "clip_tags",
        sa.Column("tag_id", sa.Integer, nullable=False),
        sa.Column("start_ns", sa.BigInteger, nullable=False),
        sa.Column("drive_number", sa.Integer, nullable=False),
        sa.ForeignKeyConstraint(["tag_id"], ["tags.tag_id"], name="fk_clip_tags_tag_id"),
        sa.PrimaryKeyConstraint("tag_id", "start_ns", "drive_number", name="pk_clip_tags"),
        comment="What a dataset's samples of a clip show.",
    )
    op.create_index("ix_clip_tags_drive_number_start_ns", "clip_tags", ["drive_number", "start_ns"])


def _made() -> None:
    _artefact_table(
        "datasets",
        sa.Column("dataset_number", sa.Integer, sa.Identity(), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("train", sa.BigInteger, comment="samples"),
        sa.Column("val", sa.BigInteger),
        sa.Column("test", sa.BigInteger),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("clips_noted", sa.Boolean, nullable=False, server_default=sa.text("false")),
        _utc("created_utc"),
        sa.UniqueConstraint("dataset_number", name="uq_datasets_dataset_number"),
    )
    op.create_table(
        "dataset_clips",
        sa.Column("dataset_number", sa.Integer, nullable=False),
        sa.Column("drive_number", sa.Integer, nullable=False),
        sa.Column("start_ns", sa.BigInteger, nullable=False),
        sa.Column("samples", sa.Integer, nullable=False),
        sa.Column("split", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("dataset_number", "drive_number", "start_ns", name="pk_dataset_clips"),
        comment="Which clips a dataset's samples were taken from.",
    )
    op.create_index("ix_dataset_clips_drive_number_start_ns", "dataset_clips", ["drive_number", "start_ns"])
    _artefact_table(
        "runs",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("recipe", sa.Text),
        sa.Column("epochs", sa.Integer),
        sa.Column("val_ade_m", sa.Double, comment="after the last epoch"),
        _utc("created_utc"),
    )
    _artefact_table(
        "models",
        sa.Column("run_sha256", sa.Text, nullable=False),
        sa.Column("file", sa.Text, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.ForeignKeyConstraint(["run_sha256"], ["runs.sha256"], name="fk_models_run_sha256"),
    )
    _artefact_table(
        "bundles",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        _utc("created_utc"),
    )
    for table in ("datasets", "runs", "bundles"):
        op.create_index(f"ix_{table}_name", table, ["name"])
    op.create_index("ix_models_run_sha256", "models", ["run_sha256"])


def _artefact_table(name: str, *columns: sa.schema.SchemaItem) -> None:
    op.create_table(
        name,
        sa.Column("sha256", sa.Text, nullable=False),
        *columns,
        sa.ForeignKeyConstraint(["sha256"], ["artefacts.sha256"], name=f"fk_{name}_sha256"),
        sa.PrimaryKeyConstraint("sha256", name=f"pk_{name}"),
    )


def _backfill() -> None:
    op.execute("INSERT INTO vehicles (vehicle) SELECT DISTINCT vehicle FROM drives WHERE vehicle IS NOT NULL")
    op.execute(
        """
        UPDATE drives SET listed_ns = coalesce(seen.start_ns, 0), stop_ns = seen.stop_ns, pii_state = seen.pii_state
        FROM (
            SELECT drive_id, min(start_ns) AS start_ns, max(stop_ns) AS stop_ns,
                   min(pii_state::pii_state)::text AS pii_state
            FROM ingests WHERE state = 'committed' GROUP BY drive_id
        ) AS seen
        WHERE seen.drive_id = drives.drive_id
        """
    )
    op.execute("INSERT INTO clips_due (drive_id) SELECT drive_id FROM drives WHERE listed_ns IS NOT NULL")
    op.execute("INSERT INTO tables (name, format) VALUES ('signals', 'iceberg'), ('samples', 'lance')")
    op.execute(
        """
        INSERT INTO table_versions (name, version, commit_id)
        SELECT 'signals', iceberg_snapshot_id, min(commit_id) FROM commits
        WHERE iceberg_snapshot_id IS NOT NULL GROUP BY iceberg_snapshot_id
        UNION ALL SELECT 'samples', lance_version, min(commit_id) FROM commits GROUP BY lance_version
        """
    )


def _drive_indexes() -> None:
    op.create_unique_constraint("uq_drives_drive_number", "drives", ["drive_number"])
    op.create_foreign_key("fk_drives_vehicle", "drives", "vehicles", ["vehicle"], ["vehicle"])
    op.create_index("ix_drives_listed", "drives", ["listed_ns", "drive_number"], postgresql_where=_LISTED)
    op.create_index("ix_drives_vehicle", "drives", ["vehicle", "listed_ns", "drive_number"], postgresql_where=_LISTED)
    op.create_index(
        "ix_drives_pii_state", "drives", ["pii_state", "listed_ns", "drive_number"], postgresql_where=_LISTED
    )
    op.create_index("ix_drives_session", "drives", ["session"])


def _utc(name: str, server_default: Any = None) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False, server_default=server_default)
