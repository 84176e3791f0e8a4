"""The catalogue's tables of clips and of what is made from them. `platform_lib.catalog.schema` has the others."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ENUM

from platform_lib.catalog.schema import ARTEFACTS, METADATA

PII_STATE = ENUM("unknown", "present", "blurred", "none_present", name="pii_state")
"""The least safe first, so that the least is the least safe. In a clip it takes 4 bytes, as text up to 13."""

ODD_CELLS = Table(
    "odd_cells",
    METADATA,
    Column("odd_id", Integer, Identity(), primary_key=True),
    Column("odd_cell", Text, nullable=False, comment="axis=value, ...: the labels that splits are balanced by"),
    UniqueConstraint("odd_cell"),
)

CLIPS = Table(
    "clips",
    METADATA,
    Column("drive_number", Integer, primary_key=True, autoincrement=False),
    Column("start_ns", BigInteger, primary_key=True, autoincrement=False, comment="a multiple of 20 s, and so long"),
    Column("odd_id", Integer, ForeignKey(ODD_CELLS.c.odd_id), nullable=False),
    Column("pii_state", PII_STATE, comment="the least safe of its frames; null: it has none"),
    Column("cell", Integer, comment="geohash of 6 letters as 30 bits; null: nobody knows where it was"),
    Column("latitude_e7", Integer, comment="its first position, 1e-7 degrees"),
    Column("longitude_e7", Integer),
    Index("ix_clips_odd", "odd_id", "start_ns", "drive_number"),
    # With the position: of a crowded cell most clips lie outside a small circle, and are told by the index alone. The newest
    # come first, so that it is read forwards: pages that are read backwards come from the disk one at a time.
    Index(
        "ix_clips_cell",
        "cell",
        text("start_ns DESC"),
        text("drive_number DESC"),
        postgresql_include=["latitude_e7", "longitude_e7"],
        postgresql_where=text("cell IS NOT NULL"),
    ),
    comment="Windows of 20 s of a drive in which anything was recorded. Derived from the lake; see clips_due.",
)

CLIPS_DUE = Table(
    "clips_due",
    METADATA,
    Column("drive_id", Text, primary_key=True),
    Column("mark", BigInteger, Identity(), nullable=False),
    comment="Drives whose clips are to be derived anew: noted in the transaction that changed what is visible.",
)

DRIVE_PLACES = Table(
    "drive_places",
    METADATA,
    Column("cell", Integer, primary_key=True, autoincrement=False),
    Column("listed_ns", BigInteger, primary_key=True, autoincrement=False, comment="the drive's"),
    Column("drive_number", Integer, primary_key=True, autoincrement=False),
    Index(None, "drive_number"),
    comment="Every cell that a drive was in.",
)

TAGS = Table(
    "tags",
    METADATA,
    Column("tag_id", Integer, Identity(), primary_key=True),
    Column("tag", Text, nullable=False),
    UniqueConstraint("tag"),
)

CLIP_TAGS = Table(
    "clip_tags",
    METADATA,
    Column("tag_id", Integer, ForeignKey(TAGS.c.tag_id), primary_key=True, autoincrement=False),
    Column("start_ns", BigInteger, primary_key=True, autoincrement=False),
    Column("drive_number", Integer, primary_key=True, autoincrement=False),
    Index("ix_clip_tags_drive_number_start_ns", "drive_number", "start_ns"),
    comment="What a dataset's samples of a clip show.",
)

DATASETS = Table(
    "datasets",
    METADATA,
    Column("sha256", Text, ForeignKey(ARTEFACTS.c.sha256), primary_key=True),
    Column("dataset_number", Integer, Identity(), nullable=False),
    Column("name", Text, nullable=False, index=True),
    Column("train", BigInteger, comment="samples"),
    Column("val", BigInteger),
    Column("test", BigInteger),
    Column("bytes", BigInteger, nullable=False),
    Column("clips_noted", Boolean, nullable=False, server_default=text("false")),
    Column("created_utc", DateTime(timezone=True), nullable=False),
    UniqueConstraint("dataset_number"),
)

DATASET_CLIPS = Table(
    "dataset_clips",
    METADATA,
    Column("dataset_number", Integer, primary_key=True, autoincrement=False),
    Column("drive_number", Integer, primary_key=True, autoincrement=False),
    Column("start_ns", BigInteger, primary_key=True, autoincrement=False),
    Column("samples", Integer, nullable=False),
    Column("split", Text, nullable=False),
    Index("ix_dataset_clips_drive_number_start_ns", "drive_number", "start_ns"),
    comment="Which clips a dataset's samples were taken from.",
)

RUNS = Table(
    "runs",
    METADATA,
    Column("sha256", Text, ForeignKey(ARTEFACTS.c.sha256), primary_key=True),
    Column("name", Text, nullable=False, index=True),
    Column("recipe", Text),
    Column("epochs", Integer),
    Column("val_ade_m", Double, comment="after the last epoch"),
    Column("created_utc", DateTime(timezone=True), nullable=False),
)

MODELS = Table(
    "models",
    METADATA,
    Column("sha256", Text, ForeignKey(ARTEFACTS.c.sha256), primary_key=True),
    Column("run_sha256", Text, ForeignKey(RUNS.c.sha256), nullable=False, index=True),
    Column("file", Text, nullable=False),
    Column("bytes", BigInteger, nullable=False),
)

BUNDLES = Table(
    "bundles",
    METADATA,
    Column("sha256", Text, ForeignKey(ARTEFACTS.c.sha256), primary_key=True),
    Column("name", Text, nullable=False, index=True),
    Column("bytes", BigInteger, nullable=False),
    Column("created_utc", DateTime(timezone=True), nullable=False),
)
