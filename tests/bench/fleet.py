"""A catalogue of any size, made on the server from a seed: a million drives, ten files and a hundred clips each.

Nothing is random twice: every value is a hash of a row's number and the seed. Half of the vehicles drive in one city, so
that its places are crowded; ODD cells, states and tags are unevenly common. Indexes and keys are taken off, rows written
without a log of changes, and the same indexes put on again.
"""

# ruff: noqa: S608 - names of tables and whole statements are this module's own; nobody else writes into them
from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, text

from platform_lib.catalog.cells import SIDES
from platform_lib.catalog.schema import METADATA
from tests.bench.fleet_rows import CLIPS, DRIVES_A_VEHICLE, FILES, STATEMENTS

_FILLED = (
    "vehicles", "drives", "files", "file_paths", "commits", "ingests", "streams", "odd_cells", "tags", "clips",
    "drive_places", "clip_tags", "artefacts", "edges", "datasets", "dataset_clips", "runs", "models", "bundles",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fleet:
    """The size of a catalogue, and its seed."""

    drives: int
    seed: int = 7

    @property
    def vehicles(self) -> int:
        """Each drives `DRIVES_A_VEHICLE` times."""
        return max(1, self.drives // DRIVES_A_VEHICLE)

    @property
    def files(self) -> int:
        """Ten a drive."""
        return self.drives * FILES

    @property
    def clips(self) -> int:
        """A hundred a drive."""
        return self.drives * CLIPS

    def drive_id(self, number: int) -> str:
        """Return the id of the drive of a number, from 1."""
        n = number - 1
        return f"v{n % self.vehicles:05d}_s{n // self.vehicles:05d}"


def fill(engine: Engine, fleet: Fleet, tell: Callable[[str], None] = lambda _: None) -> None:
    """Fill an empty catalogue.

    Args:
        engine: Its database, migrated.
        fleet: How much.
        tell: Told how long each table took.
    """
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("SET maintenance_work_mem = '1GB'"))
        connection.execute(text("SET max_parallel_maintenance_workers = 2"))
        connection.execute(text("SET session_replication_role = replica"))  # foreign keys are true by construction
        for table in reversed(METADATA.sorted_tables):
            connection.execute(text(f'ALTER TABLE "{table.name}" SET UNLOGGED'))
        _functions(connection, fleet)
        indexes = _take_off(connection)
        for name in _FILLED:
            begin = time.perf_counter()
            for statement in STATEMENTS[name]:
                connection.execute(text(statement), _parameters(fleet) if ":" in statement else {})
            tell(f"{name}: rows in {time.perf_counter() - begin:.0f} s")
        for statement in indexes:
            begin = time.perf_counter()
            connection.execute(text(statement))
            if time.perf_counter() - begin > 1:
                tell(f"{time.perf_counter() - begin:.0f} s for {statement[:90]}")
        connection.execute(text("DROP FUNCTION bench_pick"))
        connection.execute(text("DROP TABLE bench_spread"))
        begin = time.perf_counter()
        connection.execute(text("VACUUM (ANALYZE)"))
        connection.execute(text("CHECKPOINT"))
        os.sync()  # what was written is on the disk: nobody asks while 40 GB are on their way there
        tell(f"analysed and on the disk in {time.perf_counter() - begin:.0f} s")


def size_bytes(engine: Engine) -> dict[str, int]:
    """Return what each filled table takes on the disk with its indexes, in bytes."""
    with engine.connect() as connection:
        sizes = {
            name: int(connection.execute(text(f"SELECT pg_total_relation_size('{name}')")).scalar_one())
            for name in _FILLED
        }
    return {**sizes, "together": sum(sizes.values())}


def _parameters(fleet: Fleet) -> dict[str, int]:
    return {"drives": fleet.drives, "vehicles": fleet.vehicles}


def _functions(connection: Connection, fleet: Fleet) -> None:
    """Make what rows are made with: a hash, and each cell's bits. Gone afterwards."""
    connection.execute(
        text(
            "CREATE FUNCTION bench_pick(n bigint, salt int) RETURNS float8 LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN "
            f"(hashint8extended(n, {fleet.seed} * 1000 + salt) & 1048575) / 1048576.0"
        )
    )
    connection.execute(text("CREATE UNLOGGED TABLE bench_spread (n int PRIMARY KEY, bits int)"))
    bits = " | ".join(f"((n >> {bit} & 1) << {2 * bit})" for bit in range(15))
    connection.execute(text(f"INSERT INTO bench_spread SELECT n, {bits} FROM generate_series(0, {SIDES - 1}) AS n"))
    connection.execute(text("ANALYZE bench_spread"))


def _take_off(connection: Connection) -> list[str]:
    """Drop every index and key of the filled tables; return the statements that put them on again."""
    statements: list[str] = []
    foreign: list[str] = []
    names = ", ".join(f"'{name}'" for name in _FILLED)
    constraints = connection.execute(
        text(
            "SELECT conrelid\\:\\:regclass\\:\\:text AS name, conname, contype\\:\\:text AS kind, pg_get_constraintdef(oid) AS body "
            "FROM pg_constraint WHERE contype IN ('p', 'u', 'f') AND connamespace = 'public'\\:\\:regnamespace "
            f"AND (conrelid\\:\\:regclass\\:\\:text IN ({names}) OR confrelid\\:\\:regclass\\:\\:text IN ({names})) "
            "ORDER BY contype = 'f' DESC"
        )
    ).all()
    for row in constraints:
        connection.execute(text(f'ALTER TABLE "{row.name}" DROP CONSTRAINT "{row.conname}"'))
        again = f'ALTER TABLE "{row.name}" ADD CONSTRAINT "{row.conname}" {row.body}'
        # What is true by construction is not looked at again; the server's own rows hold.
        (foreign if row.kind == "f" else statements).append(again + (" NOT VALID" if row.kind == "f" else ""))
    indexes = connection.execute(
        text(f"SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename IN ({names})")
    ).all()
    for row in indexes:
        connection.execute(text(f'DROP INDEX "{row.indexname}"'))
        statements.append(row.indexdef)
    return statements + foreign
