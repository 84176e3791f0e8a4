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
