"""The process of a home's PostgreSQL: made, started, shared, adopted and stopped.

The server belongs to the home, not to a command. Every command that uses it leaves a file naming its process; the
first starts the server, the last stops it, and users that died without a word are not counted. What a kill -9 leaves
is mended by the next command: an unfinished initialisation is thrown away (it happens under a temporary name), a
server without users is adopted, a stale pid file is removed once nothing of that server lives.

It listens on a Unix socket in a folder of this home alone, never on TCP, and `fsync` stays on.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg
from sqlalchemy.engine import URL, make_url

from platform_lib.catalog.account import Account, drop_programs, programs_for
from platform_lib.catalog.addresses import (
    CATALOGUE_DATABASE,
    TRACKING_DATABASE,
    as_text,
    database_uri,
    ensure_database,
    first_line,
    libpq_uri,
)
from platform_lib.catalog.liveness import ProcessIdentity
from platform_lib.errors import HomeError
from platform_lib.home import Home
from platform_lib.short_folder import sweep_short_folders
from platform_lib.storage import sweep_unfinished

logger = logging.getLogger(__name__)

_ROLE = "drivetrain"
_PORT = 5432  # only the last part of the socket's name
_LOCK_WAIT_S = 120.0
_START_WAIT_S = 60.0
_STOP_WAIT_S = 30.0
_POLL_S = 0.05
# A socket's path holds 107 bytes and a NUL; its name here is ".s.PGSQL.5432". Source: unix(7), sun_path.
_SOCKET_FOLDER_LIMIT_BYTES = 107 - len("/.s.PGSQL.5432")
_SETTINGS = {
    "listen_addresses": "",
    "port": str(_PORT),
    "unix_socket_directories": "../run",
    "unix_socket_permissions": "0700",
    "max_connections": "64",
    "shared_buffers": "64MB",
    # The data lie on solid state and in the system's cache; pages are short, and compiling one takes longer than reading it.
    "random_page_cost": "1.1",
    "effective_cache_size": "2GB",
    "jit": "off",
    "fsync": "on",
}


@dataclass(frozen=True, slots=True)
class _Postmaster:
    """What a running server says of itself in postmaster.pid."""

    process: psutil.Process
    ready: bool


@dataclass(frozen=True, slots=True)
class Server:
    """The server of one home. Methods that change its state are called with the home's lock held."""

    home: Home
    account: Account | None

    @classmethod
    def of(cls, home: Home) -> Server:
        """Name the server of a home; nothing is started."""
        return cls(home=home, account=Account.choose(home.postgres / "data"))

    @property
    def data(self) -> Path:
        """The data folder."""
        return self.home.postgres / "data"

    @property
    def _here(self) -> str:
        """The data folder, in which the server is started, as the server names it.

        PostgreSQL makes "." absolute, and root's server runs as an account that may not walk down that path (/root is
        closed). The kernel's link to a process's own folder needs no walk.
        """
        return "." if self.account is None else "/proc/self/cwd"

    @property
    def users(self) -> Path:
        """Where each process that uses the server has its ticket."""
        return self.home.postgres / "users"

    @property
    def sockets(self) -> Path:
        """The socket's folder."""
        return self.home.postgres / "run"

    @property
    def log(self) -> Path:
        """What the server and its programs say."""
        return self.home.logs / "postgres.log"

    @contextmanager
    def used(self) -> Iterator[str]:
        """Register this process as a user, with the server running, until the block ends."""
        ticket = self.users / f"{ProcessIdentity.current()}.{uuid.uuid4().hex[:8]}"
        try:
            with self.home.lock("postgres", wait_s=_LOCK_WAIT_S):
                self.users.mkdir(parents=True, exist_ok=True)
                ticket.touch()
                uri = self._ensure_running()
                ensure_database(uri)
                ensure_database(database_uri(uri, TRACKING_DATABASE))
            yield uri
        finally:
            with self.home.lock("postgres", wait_s=_LOCK_WAIT_S):
                ticket.unlink(missing_ok=True)
                if not self._live_users():
                    self._stop()
                    drop_programs(self.home)

    def _live_users(self) -> int:
        count = 0
        for ticket in self.users.iterdir():
            identity = ProcessIdentity.parse(ticket.name.partition(".")[0])
            if identity is not None and identity.alive:
                count += 1
            else:
                logger.info("ticket=%s its process died; not counted", ticket.name)
                ticket.unlink(missing_ok=True)
        return count

    def _ensure_running(self) -> str:
        if not self.data.exists():
            self._initialise()
        deadline = time.monotonic() + _START_WAIT_S
        while True:
            found = self._postmaster()
            if found is None:
                self._clear_stale_pid_file()
                self._start()
                continue
            if found.ready and not (self.sockets / f".s.PGSQL.{_PORT}").exists():
                logger.warning("pid=%d its socket was deleted; restarting the server", found.process.pid)
                self._stop()
                continue
            uri = self._uri()
            refusal = _try_connect(uri)
            if refusal is None:
                return uri
            if time.monotonic() > deadline:
                raise self._failure(f"does not answer: {refusal}")
            time.sleep(_POLL_S)

    def _initialise(self) -> None:
        """Make the data folder under a temporary name; it takes its real name when it is whole."""
        sweep_unfinished(self.home.postgres)
        staging = self.home.postgres / f".tmp-{uuid.uuid4().hex[:12]}-data"
        staging.mkdir(mode=0o700)
        if self.account is not None:
            self.account.take(staging)
        try:
            self._run(
                "initdb",
                f"--pgdata={self._here}",
                f"--username={_ROLE}",
                "--auth=trust",  # the socket's folder is open to its owner alone
                "--encoding=UTF8",
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
                "--locale=C",
                "--no-instructions",
                folder=staging,
            )
            staging.rename(self.data)
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def _start(self) -> None:
        if self.account is not None:
            if self.data.stat().st_uid != self.account.uid:
                self.account.take(self.data)
        sweep_short_folders(_is_held)
        self._open_socket_folder()
        self._rotate_log()
        # pg_ctl hands its options to a shell.
        text = " ".join(f"-c {name}='{value}'" for name, value in _SETTINGS.items())
        self._run(
            "pg_ctl", "start", "-D", self._here, "-w", "-s", "-t", str(int(_START_WAIT_S)), "-o", text, folder=self.data
        )
        if self._postmaster() is None:
            raise self._failure("ended right after its start")

    def _stop(self) -> None:
        found = self._postmaster()
        if found is None:
            return
        for how in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):  # fast, immediate, and what nobody can refuse
            try:
                found.process.send_signal(how)
            except psutil.NoSuchProcess:
                return
            deadline = time.monotonic() + _STOP_WAIT_S
            while time.monotonic() < deadline:
                if ProcessIdentity.of(found.process.pid) is None:
                    return
                time.sleep(_POLL_S)
            logger.warning("pid=%d did not stop on %s", found.process.pid, how.name)

    def _postmaster(self) -> _Postmaster | None:
        """Find the live server of this data folder, whoever started it."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
            process = psutil.Process(int(lines[0]))
            ours = ProcessIdentity.of(process.pid) is not None and _works_in(process, self.data)
        except (FileNotFoundError, ValueError, IndexError, psutil.NoSuchProcess):
            return None
        except PermissionError as error:
            raise HomeError(
                "the database belongs to another account",
                where=self.data,
                remedy="run as the account that made this home (root, perhaps), or use another --home",
            ) from error
        if not ours:
            return None
        ready = len(lines) > 7 and lines[7].strip() == "ready"
        return _Postmaster(process=process, ready=ready)

    def _clear_stale_pid_file(self) -> None:
        """Remove the pid file of a dead server, after the last of its children has gone.

        PostgreSQL refuses to start when the number in that file was given to another process of the same account.
        Its own guard against live children of a dead server is what the file is for: so they are awaited here.
        """
        pid_file = self.data / "postmaster.pid"
        if not pid_file.exists():
            return
        children = [item for item in psutil.process_iter() if _works_in(item, self.data)]
        _, stubborn = psutil.wait_procs(children, timeout=5)
        for process in stubborn:
            process.kill()
        psutil.wait_procs(stubborn, timeout=5)
        pid_file.unlink(missing_ok=True)
        for leftover in self.sockets.glob(".s.PGSQL.*"):
            leftover.unlink(missing_ok=True)

    def _uri(self) -> str:
        url = URL.create(
            "postgresql+psycopg",
            username=_ROLE,
            database=CATALOGUE_DATABASE,
            query={"host": str(self._host()), "port": str(_PORT)},
        )
        return as_text(url)

    def _host(self) -> Path:
        """Return the socket's folder as clients name it: where that is long, a link to it in the home's short folder."""
        if _is_host(self.sockets):
            return self.sockets
        link = self.home.short / "pg"
        if not _is_host(link):
            raise HomeError(
                "the temporary folder's path is too long, or holds a comma: no socket can be named there",
                where=link,
                remedy="set TMPDIR to a short plain path such as /tmp",
            )
        if not link.is_symlink() or link.readlink() != self.sockets:
            link.unlink(missing_ok=True)
            link.symlink_to(self.sockets)
        return link

    def _open_socket_folder(self) -> None:
        """Make the socket's folder, which the server's account alone may enter."""
        self.sockets.mkdir(exist_ok=True)
        if self.account is not None:
            self.account.take(self.sockets)
            # The server passes through here from its data folder. What is above stays as closed as it is.
            self.home.postgres.chmod(0o711)
        self.sockets.chmod(0o700)

    def _run(self, program: str, *arguments: str, folder: Path) -> None:
        """Run one of PostgreSQL's programs in `folder`, its output into the log.

        No pipe is used: a server that inherited one would keep its reader waiting for ever.
        """
        binary = programs_for(self.account, self.home) / program
        account = self.account
        self.home.logs.mkdir(exist_ok=True)
        with self.log.open("ab") as log:
            try:
                subprocess.run(  # noqa: S603 - the wheel's own program, arguments from here
                    [str(binary), *arguments],
                    cwd=folder,
                    check=True,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
                    timeout=_START_WAIT_S * 2,
                    start_new_session=True,
                    user=None if account is None else account.uid,
                    group=None if account is None else account.gid,
                    extra_groups=None if account is None else (),
                )
            except subprocess.CalledProcessError as error:
                raise self._failure(f"does not start: {program} ended with status {error.returncode}") from error
            except (subprocess.TimeoutExpired, OSError) as error:
                raise self._failure(f"does not start: {program}: {first_line(error)}") from error

    def _rotate_log(self, limit_bytes: int = 8 << 20) -> None:
        if self.log.exists() and self.log.stat().st_size > limit_bytes:
            self.log.replace(self.log.with_suffix(".log.1"))

    def _failure(self, what: str) -> HomeError:
        tail = ""
        if self.log.exists():
            with self.log.open("rb") as stream:
                stream.seek(max(0, self.log.stat().st_size - 2000))
                tail = " | ".join(stream.read().decode(errors="replace").strip().splitlines()[-4:])
        return HomeError(
            f"the embedded PostgreSQL {what}. Its log ends: {tail or 'nothing was written'}",
            where=self.log,
            remedy="mend what the log names (disk full, rights, memory) and run the command again",
        )


def _is_host(folder: Path) -> bool:
    """Whether a client can name a socket in this folder; PostgreSQL takes a comma for the next host."""
    return len(os.fsencode(folder)) <= _SOCKET_FOLDER_LIMIT_BYTES and "," not in str(folder)


def _is_held(folder: Path) -> bool:
    """Whether a short folder whose home is gone is still in use."""
    if any(folder.glob("r*")):
        return True  # sessions of Ray, which the next command that starts Ray judges
    return any(_runs_from(process, folder) for process in psutil.process_iter())


def _runs_from(process: psutil.Process, folder: Path) -> bool:
    try:
        return Path(process.exe()).is_relative_to(folder)
    except psutil.Error:
        return False


def _works_in(process: psutil.Process, folder: Path) -> bool:
    try:
        return process.name() == "postgres" and Path(process.cwd()).resolve() == folder.resolve()
    except (psutil.NoSuchProcess, psutil.AccessDenied, FileNotFoundError, PermissionError):
        return False


def _try_connect(uri: str) -> str | None:
    """Return None when the server answers, else why it does not."""
    try:
        psycopg.connect(libpq_uri(make_url(uri).set(database="postgres")), connect_timeout=5).close()
    except psycopg.Error as error:
        return first_line(error)
    return None
