"""Bring a catalogue database to this release's schema."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from platform_lib.errors import HomeError

# Any constant of ours: commands that start together must not run the same revision twice.
_ADVISORY_LOCK = 0x6472_6976_6574_7261


def head_revision() -> str:
    """Return the revision this release works with."""
    head = ScriptDirectory(_scripts()).get_current_head()
    if head is None:
        raise HomeError("this installation holds no migrations", where=_scripts(), remedy="install the package again")
    return head


def migrate(engine: Engine, revision: str = "head") -> None:
    """Upgrade to `revision` in one transaction, under an advisory lock.

    Raises:
        HomeError: The database was made by a newer release.
    """
    with engine.begin() as connection:
        _lock(connection)
        current = MigrationContext.configure(connection).get_current_revision()
        if current == head_revision() and revision == "head":
            return
        known = {item.revision for item in ScriptDirectory(_scripts()).walk_revisions()}
        if current is not None and current not in known:
            raise HomeError(
                f"the catalogue has schema revision {current}, which this release does not know",
                remedy="use the release that made it, or another --home",
            )
        command.upgrade(_config(connection), revision)


def downgrade(engine: Engine, revision: str) -> None:
    """Go back to `revision` (``"base"`` for none) in one transaction; what the undone tables hold is lost."""
    with engine.begin() as connection:
        _lock(connection)
        command.downgrade(_config(connection), revision)


def _lock(connection: Connection) -> None:
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_scripts()).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _scripts() -> Path:
    return Path(__file__).parent / "migrations"
