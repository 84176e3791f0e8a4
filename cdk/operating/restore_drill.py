"""A restore drill of the metadata: backed up, destroyed, restored, compared, and timed against what was promised."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from cdk.model import Environment
from platform_lib.home import Home, open_home

_MINUTE_S = 60.0


@dataclass(frozen=True, slots=True)
class Promise:
    """What the environment promises of its metadata.

    Attributes:
        tier: The backup tier's name.
        rto_min: Minutes until it is back at most.
        rpo_min: Minutes of work lost at most.
    """

    tier: str
    rto_min: float
    rpo_min: float


@dataclass(frozen=True, slots=True)
class Drill:
    """What a drill measured.

    Attributes:
        promise: What it is held against.
        rows: Rows backed up.
        tables: Tables compared.
        size_bytes: Bytes of the backup.
        backup_min: Minutes of the backup.
        restore_min: Minutes from nothing at all to a server that was compared.
        differences: How what was restored differs; empty where all is equal.
        made_up_rows: Rows that the drill wrote itself, so that it has something to restore.
    """

    promise: Promise
    rows: int
    tables: int
    size_bytes: int
    backup_min: float
    restore_min: float
    differences: tuple[str, ...]
    made_up_rows: int

    @property
    def passes(self) -> bool:
        """Whether all is equal, and back in time."""
        return not self.differences and self.rows > 0 and self.restore_min <= self.promise.rto_min

    @property
    def dump_gib_within_rto(self) -> float | None:
        """How large a backup would be back in time at the speed measured; None where too little was restored to tell."""
        if self.restore_min <= 0 or self.size_bytes < 1 << 20:
            return None
        return self.size_bytes / (1 << 30) / self.restore_min * self.promise.rto_min


def promise_of(environment: Environment) -> Promise:
    """Return what an environment promises of its metadata; rules see to it that the tier exists."""
    name = environment.database.backup_tier
    tier = environment.backups[name]
    return Promise(name, tier.rto_hours * _MINUTE_S, tier.rpo_hours * _MINUTE_S)


def drill(home: Home, promise: Promise, scratch: Path, *, made_up_rows: int = 0) -> Drill:
    """Back up a home's metadata, lose a copy of it altogether, and bring that back.

    The home itself is read and nothing else: what is destroyed is a copy, restored from the backup into an own server under
    `scratch`.

    Args:
        home: Whose metadata; with ``DRIVETRAIN_DATABASE_URL`` that server's.
        promise: What it is held against.
        scratch: An empty folder, gone afterwards.
        made_up_rows: Rows to write into the copy before it is backed up, for a drill of some size.
    """
    from platform_lib.catalog.backup import back_up, restore
    from platform_lib.catalog.postgres import embedded_postgres, own_postgres

    copy = open_home(scratch / "copy")
    first, second = scratch / "first", scratch / "second"
    with embedded_postgres(home) as uri:
        source = back_up(uri, first)
    with own_postgres(copy) as uri:
        differences = [f"the copy: {line}" for line in restore(first, uri)]
        if made_up_rows:
            _write_rows(uri, made_up_rows)
        backup = back_up(uri, second) if made_up_rows else source
    kept = second if made_up_rows else first
    shutil.rmtree(copy.postgres)  # the loss: data, log of writes, everything
    started = time.monotonic()
    with own_postgres(copy) as uri:
        differences += restore(kept, uri)
        restore_s = time.monotonic() - started
    return Drill(
        promise=promise,
        rows=backup.rows,
        tables=sum(len(item.state.tables) for item in backup.databases.values()),
        size_bytes=backup.size_bytes,
        backup_min=backup.seconds / _MINUTE_S,
        restore_min=restore_s / _MINUTE_S,
        differences=tuple(differences),
        made_up_rows=made_up_rows,
    )


def _write_rows(uri: str, rows: int) -> None:
    """Write rows of an incompressible kind: a size that a compressor made disappear would measure nothing."""
    import psycopg

    from platform_lib.catalog.addresses import libpq_uri

    with psycopg.connect(libpq_uri(uri)) as connection:
        connection.execute("CREATE TABLE drill_rows (id bigserial PRIMARY KEY, sha256 bytea NOT NULL, note text)")
        connection.execute(
            "INSERT INTO drill_rows (sha256, note) SELECT sha256(('drill ' || n)::bytea), repeat(md5(n::text), 4) "
            "FROM generate_series(1, %s) AS n",
            [rows],
        )
