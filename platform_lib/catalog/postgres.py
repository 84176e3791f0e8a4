"""The door to a home's database: its own embedded PostgreSQL, or the server that ``DRIVETRAIN_DATABASE_URL`` names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from platform_lib.catalog.account import DATABASE_URL_VARIABLE
from platform_lib.catalog.addresses import TRACKING_DATABASE, database_uri, ensure_database, external_uri, first_line
from platform_lib.catalog.liveness import orderly_termination
from platform_lib.catalog.postgres_server import Server
from platform_lib.errors import HomeError
from platform_lib.home import Home


@contextmanager
def embedded_postgres(home: Home) -> Iterator[str]:
    """Give the URI of this home's catalogue database, starting the server if nobody has.

    With ``DRIVETRAIN_DATABASE_URL`` set, that server is used instead and nothing is started. The databases
    ``drivetrain`` and ``mlflow`` exist when the block begins; `database_uri` turns the one's URI into the other's.

    Yields:
        A SQLAlchemy URI (``postgresql+psycopg://...``) of the catalogue database.

    Raises:
        HomeError: The server cannot be made, started or reached, the message quotes its log; or it ended in the
            middle of the block.
        ConfigError: ``DRIVETRAIN_DATABASE_URL`` is not a PostgreSQL URL.
    """
    external = os.environ.get(DATABASE_URL_VARIABLE)
    if external:
        uri = external_uri(external)
        ensure_database(uri)
        ensure_database(database_uri(uri, TRACKING_DATABASE))
        with _loss_is_told(make_url(uri).render_as_string()):
            yield uri
        return
    with own_postgres(home) as uri:
        yield uri


@contextmanager
def own_postgres(home: Home) -> Iterator[str]:
    """Give the URI of this home's own server, whatever ``DRIVETRAIN_DATABASE_URL`` says: what must never touch another one.

    Yields:
        A SQLAlchemy URI (``postgresql+psycopg://...``) of the catalogue database.

    Raises:
        HomeError: The server cannot be made, started or reached, or ended in the middle of the block.
    """
    server = Server.of(home)
    with _loss_is_told(server.log), orderly_termination(), server.used() as uri:
        yield uri


@contextmanager
def _loss_is_told(where: object) -> Iterator[None]:
    """Turn what SQLAlchemy raises when a server ends in the middle, or has no room left, into words for people."""
    try:
        yield
    except OperationalError as error:
        raise HomeError(
            f"the database stopped answering in the middle of the work: {first_line(error)}",
            where=where,
            remedy="run the command again: what was committed is there, and what was not is done anew",
        ) from error
