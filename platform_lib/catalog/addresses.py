"""Addresses of PostgreSQL databases, as SQLAlchemy and as PostgreSQL's own programs read them."""

from __future__ import annotations

import time

import psycopg
from psycopg import sql
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from platform_lib.catalog.account import DATABASE_URL_VARIABLE
from platform_lib.errors import ConfigError, HomeError

CATALOGUE_DATABASE = "drivetrain"
TRACKING_DATABASE = "mlflow"

_WAIT_S = 60.0
_POLL_S = 0.05
_BEING_CREATED = (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation, psycopg.errors.ObjectInUse)


def database_uri(uri: str, database: str) -> str:
    """Return `uri` pointing at another database of the same server."""
    return as_text(make_url(uri).set(database=database))


def ensure_database(uri: str) -> None:
    """Create the database that `uri` names unless it exists.

    Raises:
        HomeError: The server cannot be reached or refuses.
    """
    url = make_url(uri)
    name = url.database or CATALOGUE_DATABASE
    deadline = time.monotonic() + _WAIT_S
    while True:
        try:
            with psycopg.connect(libpq_uri(url.set(database="postgres")), autocommit=True) as connection:
                found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone()
                if found is None:
                    connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
                return
        except psycopg.Error as error:
            # Somebody makes it at this moment: another command, or the server for a client that was killed.
            if isinstance(error, _BEING_CREATED) and time.monotonic() < deadline:
                time.sleep(_POLL_S)
                continue
            raise HomeError(
                f"the database '{name}' cannot be made or reached: {first_line(error)}",
                where=url.render_as_string(),
                remedy="create it by hand, or correct the server's address and rights",
            ) from error


def external_uri(text: str) -> str:
    """Return the address that ``DRIVETRAIN_DATABASE_URL`` holds as SQLAlchemy reads it.

    Raises:
        ConfigError: It is none of PostgreSQL.
    """
    try:
        url = make_url(text)
    except ArgumentError as error:
        raise ConfigError(
            "not a database URL",
            where=DATABASE_URL_VARIABLE,
            remedy="use postgresql://user:password@host:port/database",
        ) from error
    if url.get_backend_name() not in ("postgresql", "postgres"):
        raise ConfigError(
            f"the catalogue needs PostgreSQL, this URL names '{url.get_backend_name()}'",
            where=DATABASE_URL_VARIABLE,
            remedy="use postgresql://user:password@host:port/database, or unset it for the embedded server",
        )
    return as_text(url.set(drivername="postgresql+psycopg"))


def libpq_uri(uri: str | URL) -> str:
    """Return an address as PostgreSQL's own library and programs read it."""
    return as_text(make_url(uri).set(drivername="postgresql"))


def as_text(url: URL) -> str:
    """Write a URL as both SQLAlchemy and libpq read it: SQLAlchemy writes a space in the query as ``+``, libpq keeps that."""
    place, mark, query = url.render_as_string(hide_password=False).partition("?")
    return place + mark + query.replace("+", "%20")


def first_line(error: Exception) -> str:
    """Return what an error says first."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
