from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, create_engine, inspect, text

from platform_lib.catalog.migrate import downgrade, head_revision, migrate
from platform_lib.catalog.schema import METADATA
from platform_lib.errors import HomeError

pytestmark = pytest.mark.slow


@pytest.fixture
def engine(database: str) -> Iterator[Engine]:
    made = create_engine(database)
    yield made
    made.dispose()


def test_the_revisions_make_exactly_the_tables_that_queries_are_built_from(engine: Engine) -> None:
    migrate(engine)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, METADATA) == []


def test_up_down_up_leaves_the_same_and_down_leaves_nothing(engine: Engine) -> None:
    migrate(engine)
    before = sorted(inspect(engine).get_table_names())
    downgrade(engine, "base")
    assert inspect(engine).get_table_names() == ["alembic_version"]
    migrate(engine)
    assert sorted(inspect(engine).get_table_names()) == before


def test_commands_that_start_together_migrate_once(database: str) -> None:
    failures: list[BaseException] = []

    def run() -> None:
        engine = create_engine(database)
        try:
            migrate(engine)
        except Exception as error:  # noqa: BLE001 - the test reports whatever went wrong in a thread
            failures.append(error)
        finally:
            engine.dispose()

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_catalogue_of_a_newer_release_is_refused(engine: Engine) -> None:
    migrate(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(HomeError, match="9999"):
        migrate(engine)
    assert head_revision() != "9999"


def test_a_catalogue_of_the_release_before_keeps_its_rows_and_is_listed(engine: Engine) -> None:
    migrate(engine, "privacy")
    with engine.begin() as connection:
        for statement in (
            "INSERT INTO drives (drive_id, vehicle, session) VALUES ('a', 'car', 's'), ('b', NULL, 't'), ('c', 'car', 'u')",
            "INSERT INTO files (file_sha256, bytes) VALUES ('1', 1), ('2', 1), ('3', 1)",
            "INSERT INTO commits (iceberg_snapshot_id, lance_version) VALUES (NULL, 1), (77, 2), (77, 3)",
            "INSERT INTO ingests (file_sha256, reader_version, schema_version, options_sha256, state, drive_id, commit_id,"
            " start_ns, stop_ns, pii_state) VALUES ('1', '1', 1, '', 'committed', 'a', 1, 50, 60, 'none_present'),"
            " ('2', '1', 1, '', 'committed', 'a', 1, 40, 55, 'blurred'), ('3', '1', 1, '', 'superseded', 'c', 1, 1, 2, 'present')",
        ):
            connection.execute(text(statement))
    migrate(engine)
    with engine.connect() as connection:
        drives = connection.execute(text("SELECT * FROM drives ORDER BY drive_id")).all()
        assert [(row.drive_id, row.listed_ns, row.stop_ns, row.pii_state) for row in drives] == [
            ("a", 40, 60, "blurred"),
            ("b", None, None, None),
            ("c", None, None, None),
        ]
        assert sorted(row.drive_number for row in drives) == [1, 2, 3]
        assert connection.execute(text("SELECT vehicle FROM vehicles")).scalars().all() == ["car"]
        assert connection.execute(text("SELECT drive_id FROM clips_due")).scalars().all() == ["a"]
        versions = connection.execute(text("SELECT name, version, commit_id FROM table_versions ORDER BY 1, 2")).all()
        assert [tuple(row) for row in versions] == [
            ("samples", 1, 1),
            ("samples", 2, 2),
            ("samples", 3, 3),
            ("signals", 77, 2),
        ]
    downgrade(engine, "privacy")
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM drives")).scalar_one() == 3
        columns = {item["name"] for item in inspect(engine).get_columns("drives")}
        assert columns == {"drive_id", "vehicle", "session"}
    migrate(engine)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT listed_ns FROM drives WHERE drive_id = 'a'")).scalar_one() == 40
