"""The metadata's backup: destroyed and restored equal; a changed row, a torn file, a taken server are found."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from platform_lib.catalog.addresses import libpq_uri
from platform_lib.catalog.backup import (
    BackupError,
    DatabaseState,
    TableState,
    back_up,
    compare,
    read_backup,
    restore,
    state_of,
)
from platform_lib.catalog.catalog import Catalog
from platform_lib.catalog.postgres import own_postgres
from platform_lib.errors import IntegrityError
from platform_lib.home import Home, open_home

ONE = DatabaseState(tables={"public.a": TableState(rows=2, digest="1")}, sequences={"public.s": 3})


def test_equal_states_do_not_differ() -> None:
    assert compare(ONE, ONE) == []


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (DatabaseState(tables={}, sequences={"public.s": 3}), "table public.a is missing"),
        (
            DatabaseState(tables={"public.a": TableState(rows=1, digest="1")}, sequences={"public.s": 3}),
            "table public.a has 1 rows, not 2",
        ),
        (
            DatabaseState(tables={"public.a": TableState(rows=2, digest="2")}, sequences={"public.s": 3}),
            "table public.a has as many rows, and other values",
        ),
        (DatabaseState(tables=ONE.tables, sequences={"public.s": None}), "sequence public.s is at None, not 3"),
    ],
)
def test_a_difference_is_said(other: DatabaseState, what: str) -> None:
    assert compare(ONE, other) == [what]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    import tempfile

    with tempfile.TemporaryDirectory(prefix="drivetrain-backup-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)
        yield open_home(Path(folder) / "home")


@pytest.mark.slow
def test_backed_up_destroyed_and_restored_everything_is_equal(home: Home, tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    with own_postgres(home) as uri:
        Catalog(uri).close()  # the catalogue's own schema
        with psycopg.connect(libpq_uri(uri)) as connection:
            connection.execute("CREATE TABLE odd (id serial PRIMARY KEY, v double precision, t text, b bytea)")
            connection.execute(
                "INSERT INTO odd (v, t, b) VALUES (0.1, 'ü\n,\"', '\\x00ff'), ('NaN', NULL, NULL), ('-Infinity', '', '')"
            )
        made = back_up(uri, backup)
        before = state_of(uri)
        # What is written afterwards is in no backup of before.
        with psycopg.connect(libpq_uri(uri)) as connection:
            connection.execute("INSERT INTO odd (v) VALUES (1)")
    assert made.databases["drivetrain"].state == before
    assert before.tables["public.odd"].rows == 3
    assert len(before.tables) > 15

    shutil.rmtree(home.postgres)
    with own_postgres(home) as uri:
        assert state_of(uri).tables == {}
        assert restore(backup, uri) == []
        assert state_of(uri) == before
        with Catalog(uri) as catalog:  # and this release works with it
            assert catalog.drives() == []
        with pytest.raises(BackupError, match=r"holds \d+ tables already"):
            restore(backup, uri)
        with psycopg.connect(libpq_uri(uri)) as connection:
            connection.execute("UPDATE odd SET v = 0.2 WHERE id = 1")
        assert compare(before, state_of(uri)) == ["table public.odd has as many rows, and other values"]
        with pytest.raises(BackupError, match="is there already"):
            back_up(uri, backup)


@pytest.mark.slow
def test_a_backup_whose_bytes_changed_is_not_restored(home: Home, tmp_path: Path) -> None:
    with own_postgres(home) as uri:
        back_up(uri, tmp_path / "b")
    dump = tmp_path / "b" / "drivetrain.dump"
    content = bytearray(dump.read_bytes())
    content[len(content) // 2] ^= 1
    dump.write_bytes(content)
    with pytest.raises(IntegrityError, match="is not the file that was backed up"):
        read_backup(tmp_path / "b")
    with pytest.raises(BackupError, match="is no backup"):
        read_backup(tmp_path)
