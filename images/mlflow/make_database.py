"""Make the tracking server's database where it is not there yet; the server itself makes its tables."""

from __future__ import annotations

import os
import sys

import sqlalchemy
from sqlalchemy.exc import OperationalError, ProgrammingError

_VARIABLE = "MLFLOW_BACKEND_STORE_URI"
_ALREADY = "42P04"  # PostgreSQL's duplicate_database: another replica was first


def main() -> int:
    """Make the database that the variable names."""
    text = os.environ.get(_VARIABLE)
    if not text:
        print(f"error: {_VARIABLE} is not set", file=sys.stderr)  # noqa: T201 - a container's log
        return 1
    url = sqlalchemy.make_url(text)
    # A database is made from another one, and not within a transaction.
    engine = sqlalchemy.create_engine(url.set(database="postgres"), isolation_level="AUTOCOMMIT")
    name = str(url.database)
    there = sqlalchemy.text("SELECT 1 FROM pg_database WHERE datname = :name")
    try:
        with engine.connect() as connection:
            if connection.execute(there, {"name": name}).first() is None:
                quoted = engine.dialect.identifier_preparer.quote(name)
                connection.execute(sqlalchemy.text(f"CREATE DATABASE {quoted}"))
    except ProgrammingError as error:
        if getattr(error.orig, "sqlstate", None) != _ALREADY:
            raise
    except OperationalError as error:
        print(f"error: {url.host}: {error.orig}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
