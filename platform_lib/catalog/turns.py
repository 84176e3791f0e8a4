"""Turns at a lake that several machines write: PostgreSQL advisory locks, held by a session of their own.

A home's locks are known to one machine. A lake in a bucket has one database, which all of its machines ask; the server lets
go of a lock when the session of its holder ends, however that ended. A holder whose session is lost may not know it: so every
transaction that it commits meanwhile looks first whether the locks are still its own.

The session must reach the server itself: a pooler that lends connections by the transaction cannot keep a lock.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

import psycopg
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import make_url

from platform_lib.catalog.addresses import libpq_uri
from platform_lib.errors import HomeBusyError, HomeError

logger = logging.getLogger(__name__)

WAIT_FOR_OTHER_S = 3600.0
_POLL_S = 0.2
# A machine that is gone without a word is noticed by the server after a minute; the settings mean nothing to a socket.
_SESSION = (
    "SET tcp_keepalives_idle = 30",
    "SET tcp_keepalives_interval = 10",
    "SET tcp_keepalives_count = 3",
    "SET idle_session_timeout = 0",
)
_MINE = (
    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid = {pid}"
    " AND (classid::bigint << 32 | objid::bigint) IN ({keys})"
)
_HOLDER = (
    "SELECT coalesce(a.client_addr::text, 'this machine'), a.pid FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid"
    " WHERE l.locktype = 'advisory' AND l.granted AND (l.classid::bigint << 32 | l.objid::bigint) = %s LIMIT 1"
)


@contextmanager
def taken(
    uri: str,
    lake: str,
    names: Sequence[str],
    engines: Sequence[Engine],
    *,
    shared: bool = False,
    wait_s: float = WAIT_FOR_OTHER_S,
) -> Iterator[None]:
    """Hold locks of a lake against every other machine, waiting for another holder with a word about it.

    Args:
        uri: The catalogue database.
        lake: Where the lake lies.
        names: What is guarded, in the order in which everybody takes them.
        engines: Ways to the database; while the locks are held they commit nothing once a lock is lost.
        shared: Beside others who ask for the same, but not beside one who asks for it alone.
        wait_s: How long to wait for each.

    Raises:
        HomeBusyError: Another machine did not end in that time.
        HomeError: The database cannot be reached; or, out of a commit in the block, a lock was lost.
    """
    keys = [_key(lake, name) for name in names]
    with _session(uri, lake) as session:
        for name, key in zip(names, keys, strict=True):
            _take(session, lake, name, key, shared=shared, wait_s=wait_s)
        guard = _guard(session.info.backend_pid, keys, lake)
        for engine in engines:
            event.listen(engine, "commit", guard)
        try:
            yield
        finally:
            for engine in engines:
                event.remove(engine, "commit", guard)


def _key(lake: str, name: str) -> int:
    """Return a lock's number, 63 bits, so that both ways to write it down agree."""
    return int.from_bytes(hashlib.sha256(f"drivetrain\n{lake}\n{name}".encode()).digest()[:8]) >> 1


@contextmanager
def _session(uri: str, lake: str) -> Iterator[psycopg.Connection]:
    try:
        connection = psycopg.connect(libpq_uri(make_url(uri)), autocommit=True, application_name="drivetrain turn")
    except psycopg.Error as error:
        raise HomeError(
            f"the database that guards the lake cannot be reached: {str(error).splitlines()[0]}",
            where=lake,
            remedy="check DRIVETRAIN_DATABASE_URL and the server",
        ) from error
    try:
        for setting in _SESSION:
            connection.execute(setting)
        yield connection
    finally:
        with suppress(psycopg.Error):  # the server may be gone, and the locks with it
            connection.close()


def _take(session: psycopg.Connection, lake: str, name: str, key: int, *, shared: bool, wait_s: float) -> None:
    ask = "SELECT pg_try_advisory_lock_shared(%s)" if shared else "SELECT pg_try_advisory_lock(%s)"
    deadline = time.monotonic() + wait_s
    said = False
    while True:
        row = session.execute(ask, [key]).fetchone()
        if row is not None and row[0]:
            return
        holder = session.execute(_HOLDER, [key]).fetchone()
        who = "another machine" if holder is None else f"another command (of {holder[0]}, session {holder[1]})"
        if time.monotonic() >= deadline:
            raise HomeBusyError(f"{who} is at work on '{name}' in this lake", where=lake, remedy="wait for it to end")
        if not said:
            logger.warning("%s is at work on '%s' in this lake; waiting for it", who, name)
            said = True
        time.sleep(_POLL_S)


def _guard(pid: int, keys: Sequence[int], lake: str) -> Callable[[Connection], None]:
    statement = _MINE.format(pid=pid, keys=", ".join(map(str, keys)))

    def refuse_without_lock(connection: Connection) -> None:
        if connection.exec_driver_sql(statement).scalar_one() < len(keys):
            raise HomeError(
                "the session that held this lake against other machines was lost, so nothing more is committed",
                where=lake,
                remedy="run the command again: what was committed is there, and what was not is done anew",
            )

    return refuse_without_lock
